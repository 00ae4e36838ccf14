#include "core/rules.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

static void
copy(struct rules *r, const struct topic_rule *rule, uint32_t count)
{
    size_t bytes = count * sizeof *r->at;
    for (uint32_t i = 0; i < count; i++)
        bytes += rule[i].filter.n;
    r->at       = mem_new(bytes);
    uint8_t *at = (uint8_t *)(r->at + count);
    for (uint32_t i = 0; i < count; at += rule[i++].filter.n) {
        memcpy(at, rule[i].filter.p, rule[i].filter.n);
        r->at[i] = (struct topic_rule){{at, rule[i].filter.n}, rule[i].store};
    }
}

void
rules_init(struct rules *r, const struct topic_rule *rule, uint32_t count)
{
    CHECK(count <= TOPIC_RULES_MAX);
    *r = (struct rules){.count = count};
    /* A filter may have as many levels as a topic: room for the deepest of all of them. */
    subs_init(&r->subs, TOPIC_RULES_MAX * TOPIC_LEVELS_MAX / SUBS_LEVELS_PER_SUBSCRIPTION);
    subs_hits_init(&r->hits);
    if (count == 0)
        return;
    copy(r, rule, count);
    for (uint32_t i = 0; i < count; i++) {
        enum err e = subs_add(&r->subs, r->at[i].filter, &r->at[i]);
        CHECK(e == ERR_OK);
    }
}

void
rules_fini(struct rules *r)
{
    subs_hits_fini(&r->hits);
    subs_fini(&r->subs);
    mem_free(r->at);
}

bool
rules_store(struct rules *r, struct str topic)
{
    const struct topic_rule *last = NULL;
    if (r->count == 0)
        return true;
    subs_match(&r->subs, topic, &r->hits);
    for (uint32_t i = 0; i < r->hits.count; i++) {
        const struct topic_rule *rule = r->hits.at[i];
        if (!last || rule > last)
            last = rule;
    }
    return !last || last->store;
}
