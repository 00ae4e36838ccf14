/* sim_live.c - topics that are not stored: "live/#", at all brokers but each third, which stores
 * what is published there, so the origin's rule decides.
 *
 * What is looked at: nothing of them is on any disk (S8, sim_past.c); each is delivered at most
 * once to a subscription, with the stamp of its receipt, and those of one process in their order
 * (S11); a broker takes and answers them at once, whatever its disk does, and gives them in the
 * same turn to who subscribes there and reads (L3); once faults have stopped all get them (L2). */
#include "base/check.h"
#include "base/mem.h"
#include "core/broker_part.h"
#include "core/filter.h"
#include "sim/oracle.h"
#include "sim/oracle_part.h"

#include <string.h>

bool
sim_rules_live(uint32_t i)
{
    return i % 3 != 2;
}

void
live_handed_in(struct sim *s, const struct sim_publish *p)
{
    const struct broker *b = s->node[p->node].broker;
    bool live              = sim_rules_live(p->node) && str_starts(str_of(p->topic), STR("live/"));
    if (p->outcome == SIM_PENDING)
        sim_must(s, p->live == live, "S8: taken against the rule of its broker", p->node);
    if (live && !b->stopping && b->live.count < QUEUE_MESSAGES_MAX)
        sim_must(s, p->outcome == SIM_PENDING, "L3: a publish that is not stored is refused",
                 p->node);
}

static bool
wants(const struct sim_sub *sub, const struct sim_publish *p)
{
    struct str filters = str_of(sub->filter);
    while (filters.n > 0) {
        struct str f = str_cut(filters, 0, str_index(filters, ' '));
        if (filter_match(f, str_of(p->topic)))
            return true;
        filters = str_cut(filters, f.n + 1, filters.n);
    }
    return false;
}

/* From the back: what is delivered was published lately. */
static struct sim_publish *
published(struct sim *s, struct str body, uint32_t *number)
{
    for (uint32_t k = s->publish_count; k-- > 0;)
        if (s->publish[k].live && str_eq(str_of(s->publish[k].body), body)) {
            *number = k;
            return &s->publish[k];
        }
    return NULL;
}

/* Is it the first time that this comes to this session, and behind what its process said before?
 * (Who moves may get again what was under way.) */
static bool
is_next(struct sim *s, struct sim_sub *sub, uint32_t number, uint64_t stamp)
{
    const struct sim_publish *p = &s->publish[number];
    for (uint32_t k = sub->live_since; k < sub->live_count; k++) {
        const struct sim_publish *old = &s->publish[sub->live[k].number];
        if (sub->live[k].number == number)
            return false;
        if (old->node == p->node && old->life == p->life && sub->live[k].stamp >= stamp)
            return false;
    }
    return true;
}

void
live_deliver(struct sim *s, struct sim_sub *sub, const struct entry *e)
{
    uint32_t            number = 0;
    struct sim_publish *p      = published(s, e->body, &number);
    sim_must(s, p && e->mark.stream == 0 && str_eq(str_of(p->topic), e->topic),
             "S8: delivered live, and nobody published it so", sub->node);
    sim_must(s, p->outcome == SIM_PENDING || p->outcome == SIM_LIVE,
             "S8: delivered live, and it was refused", sub->node);
    sim_must(s, p->outcome == SIM_PENDING || p->lamport == e->lamport,
             "S11: delivered live with another stamp than was answered", sub->node);
    sim_must(s, is_next(s, sub, number, e->lamport),
             "S11: delivered live twice, or out of the order of its origin", sub->node);
    if (sub->live_count == sub->live_cap) {
        sub->live_cap = sub->live_cap > 0 ? 2 * sub->live_cap : 16;
        sub->live     = mem_resize(sub->live, sub->live_cap * sizeof *sub->live);
    }
    sub->live[sub->live_count++] = (struct sim_heard){number, e->lamport};
    if (p->node == sub->node && p->life == s->node[p->node].life)
        sub->live_due--;
    CHECK(e->lost == 0); /* so few wait that there is room for all */
    if (!s->config.terse)
        sim_tell(s, "%s delivers %.*s: %.*s (live)", s->node[sub->node].host, STR_ARG(e->topic),
                 STR_ARG(e->body));
}

void
live_answer(struct sim *s, uint32_t i, struct sim_publish *p, const struct effect *e)
{
    p->outcome     = e->answer.err == ERR_OK ? SIM_LIVE : (int)e->answer.err;
    p->lamport     = e->answer.lamport + p->serial - e->answer.serial;
    p->answered_ms = s->now_ms;
    for (uint32_t k = 0; k < s->sub_count; k++)
        s->sub[k].live_due += s->sub[k].node == i && s->sub[k].open && wants(&s->sub[k], p);
    sim_must(s, e->answer.mark.stream == 0, "S8: answered live, and with a place in a log", i);
    sim_must(s, e->answer.err == ERR_OK && s->now_ms == p->handed_ms,
             "L3: a live publish is answered late, or not well", i);
}

void
live_turn(struct sim *s, uint32_t i)
{
    for (uint32_t k = 0; k < s->sub_count; k++) {
        const struct sim_sub *sub = &s->sub[k];
        if (sub->node == i && sub->open && !sub->held_up)
            sim_must(s, sub->live_due == 0, "L3: what is live waits, though its client reads", i);
    }
}

void
oracle_live_everywhere(struct sim *s, uint32_t publish)
{
    const struct sim_publish *p = &s->publish[publish];
    if (!p->live)
        return;
    sim_must(s, p->outcome == SIM_LIVE, "L2: not answered, and faults have stopped", p->node);
    for (uint32_t k = 0; k < s->sub_count; k++) {
        const struct sim_sub *sub   = &s->sub[k];
        uint32_t              heard = sub->live_count;
        while (heard > 0 && sub->live[heard - 1].number != publish)
            heard--;
        if (sub->open && wants(sub, p))
            sim_must(s, heard > 0, "L2: what is live came not to all, and faults have stopped",
                     sub->node);
    }
}
