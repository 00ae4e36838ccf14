/* filter_fuzz.c - any bytes as a topic and filters, a line each: what is valid and what
 * matches is what a naive reading of MQTT 5.0 section 4.7 says, and the index of
 * subscriptions finds just those that match. */
#include "base/check.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "core/filter.h"
#include "core/subs.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
    FILTERS = 8,
    LIMIT   = FILTERS * TOPIC_LEVELS_MAX / SUBS_LEVELS_PER_SUBSCRIPTION, /* all levels fit */
};

/* ---- the judge: one level after the other, from strings that were taken apart before ---- */

struct levels {
    uint32_t   count;
    struct str at[TOPIC_LEVELS_MAX];
};

/* false: there are more. */
static bool
take_apart(struct str s, struct levels *l)
{
    size_t from = 0;
    l->count    = 0;
    for (size_t i = 0; i <= s.n; i++) {
        if (i < s.n && s.p[i] != '/')
            continue;
        if (l->count == TOPIC_LEVELS_MAX)
            return false;
        l->at[l->count++] = str_cut(s, from, i);
        from              = i + 1;
    }
    return true;
}

static bool
is_text(struct str s)
{
    if (s.n < 1 || s.n > TOPIC_BYTES_MAX || !utf8_is_valid(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] == 0x7f ||
            (s.p[i] == 0xc2 && s.p[i + 1] >= 0x80 && s.p[i + 1] < 0xa0))
            return false;
    return true;
}

static bool
is_topic(struct str s, struct levels *l)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '+' || s.p[i] == '#')
            return false;
    return is_text(s) && take_apart(s, l);
}

static bool
is_filter(struct str s, struct levels *l)
{
    if (!is_text(s) || !take_apart(s, l))
        return false;
    for (uint32_t i = 0; i < l->count; i++) {
        struct str level = l->at[i];
        for (size_t k = 0; k < level.n; k++)
            if ((level.p[k] == '+' && level.n > 1) ||
                (level.p[k] == '#' && (level.n > 1 || i + 1 < l->count)))
                return false;
    }
    return true;
}

static bool
is_wild(struct str level, char which)
{
    return level.n == 1 && level.p[0] == (uint8_t)which;
}

static bool
matches(const struct levels *f, uint32_t i, const struct levels *t, uint32_t k)
{
    bool hidden = k == 0 && t->at[0].n > 0 && t->at[0].p[0] == '$';
    if (i < f->count && is_wild(f->at[i], '#'))
        return !hidden;
    if (i == f->count || k == t->count)
        return i == f->count && k == t->count;
    if (is_wild(f->at[i], '+') ? hidden : !str_eq(f->at[i], t->at[k]))
        return false;
    return matches(f, i + 1, t, k + 1);
}

/* ---- */

static uint32_t
times(const struct subs_hits *hits, const void *who)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < hits->count; i++)
        n += hits->at[i] == who;
    return n;
}

static void
check_index(const struct str *filter, const bool *hit, uint32_t count, struct str topic)
{
    struct subs      subs;
    struct subs_hits hits;
    uint8_t          who[FILTERS]; /* only their addresses count */
    uint32_t         wanted = 0;
    subs_init(&subs, LIMIT);
    subs_hits_init(&hits);
    for (uint32_t i = 0; i < count; i++)
        CHECK(subs_add(&subs, filter[i], &who[i]) == ERR_OK);
    subs_match(&subs, topic, &hits);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(times(&hits, &who[i]) == hit[i]);
        wanted += hit[i];
    }
    CHECK(hits.count == wanted);
    for (uint32_t i = 0; i < count; i++)
        CHECK(subs_remove(&subs, filter[i], &who[i]) == ERR_OK);
    subs_match(&subs, topic, &hits);
    CHECK(hits.count == 0 && subs.nodes == 0);
    subs_hits_fini(&hits);
    subs_fini(&subs);
}

static struct str
next_line(struct str *rest)
{
    size_t     n    = str_index(*rest, '\n');
    struct str line = str_cut(*rest, 0, n);
    *rest           = str_cut(*rest, n + 1, rest->n);
    return line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str    rest = {data, n}, topic = next_line(&rest), filter[FILTERS];
    struct levels t, f;
    bool          hit[FILTERS], topic_is_fine = is_topic(topic, &t);
    uint32_t      count = 0;
    CHECK((topic_problem(topic) == NULL) == topic_is_fine);
    while (rest.n > 0 && count < FILTERS) {
        filter[count] = next_line(&rest);
        bool is_fine  = is_filter(filter[count], &f);
        CHECK((filter_problem(filter[count]) == NULL) == is_fine);
        if (!is_fine || !topic_is_fine)
            continue;
        hit[count] = matches(&f, 0, &t, 0);
        CHECK(filter_match(filter[count], topic) == hit[count]);
        if (filter_is_literal(filter[count]))
            CHECK(hit[count] == str_eq(filter[count], topic));
        count++;
    }
    if (topic_is_fine)
        check_index(filter, hit, count, topic);
    return 0;
}
