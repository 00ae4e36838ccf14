#include "sim/swarm.h"

#include "core/gossip.h"
#include "core/journal.h"
#include "sim/swarm_part.h"

#include <stdio.h>

const char *const swarm_topic[TOPICS] = {"a/b", "c", "d/e/f"};

uint32_t
any(struct swarm *w, uint32_t below)
{
    return (uint32_t)prng_below(&w->prng, below);
}

bool
one_in(struct swarm *w, uint32_t n)
{
    return any(w, n) == 0;
}

uint32_t
one_that_runs(struct swarm *w)
{
    uint32_t from = any(w, w->o->brokers);
    for (uint32_t k = 0; k < w->o->brokers; k++) {
        uint32_t i = (from + k) % w->o->brokers;
        if (sim_is_up(w->s, i) && !sim_is_paused(w->s, i))
            return i;
    }
    return NOBODY;
}

/* ---- what clients do ---- */

static const char *
next_body(struct swarm *w, char body[32])
{
    snprintf(body, 32, "m%u", ++w->published);
    return body;
}

/* Each in a turn of its own, or all in one. */
void
swarm_publish(struct swarm *w, uint32_t count)
{
    char     body[32];
    uint32_t i        = one_that_runs(w);
    bool     together = one_in(w, 2);
    for (; count > 0 && i != NOBODY && sim_is_up(w->s, i); count--) {
        const char *to = swarm_topic[any(w, TOPICS)];
        if (together)
            sim_hand_in(w->s, i, to, next_body(w, body));
        else
            sim_publish(w->s, i, to, next_body(w, body));
    }
    if (together && i != NOBODY)
        sim_turn(w->s, i);
}

static void
publish_some(struct swarm *w)
{
    swarm_publish(w, 1 + any(w, w->o->burst_max));
}

static void
publish_acks(struct swarm *w)
{
    char     body[32];
    uint32_t i = one_that_runs(w);
    if (i == NOBODY)
        return;
    int copies = 1 + (int)any(w, w->o->brokers + 2);
    if (copies > (int)w->o->brokers)
        copies = copies == (int)w->o->brokers + 1 ? COPIES_MAJORITY : COPIES_ALL;
    sim_publish_acks(w->s, i, swarm_topic[any(w, TOPICS)], next_body(w, body), copies,
                     1 + any(w, 5000));
}

/* By a client that saw what a subscriber saw, perhaps elsewhere. */
static void
publish_after(struct swarm *w)
{
    char     body[32];
    uint32_t i = one_that_runs(w);
    if (i == NOBODY)
        return;
    sim_publish_after(w->s, i, swarm_topic[any(w, TOPICS)], next_body(w, body),
                      w->sub[any(w, ALL_SUBS)]);
}

/* To a topic that most brokers do not store. */
static void
publish_live(struct swarm *w)
{
    char     body[32];
    uint32_t i = one_that_runs(w);
    for (uint32_t n = 1 + any(w, 4); n > 0 && i != NOBODY; n--)
        sim_hand_in(w->s, i, "live/x", next_body(w, body));
    if (i != NOBODY)
        sim_turn(w->s, i);
}

uint32_t
swarm_publish_live(struct swarm *w, uint32_t i)
{
    char body[32];
    return sim_publish(w->s, i, "live/x", next_body(w, body));
}

static void
work(struct swarm *w)
{
    if (w->o->live_percent > 0 && any(w, 100) < w->o->live_percent) {
        publish_live(w);
        return;
    }
    switch (any(w, 8)) {
    case 0:
        publish_after(w);
        return;
    case 1:
        publish_acks(w);
        return;
    default:
        publish_some(w);
    }
}

/* ---- a run ---- */

/* Streams retire alike everywhere when all keep alike; else each broker keeps as it likes. */
static struct retention
policy(struct swarm *w)
{
    if (options_has(w->o, FAULT_retire))
        return (struct retention){.age_ms = 3000, .retire_ms = w->o->retire_ms};
    switch (any(w, 6)) {
    case 0:
        return (struct retention){0};
    case 1:
        return (struct retention){.bytes = 70 * (2 + any(w, 30))};
    case 2:
        return (struct retention){.bytes = 70 * (2 + any(w, 60)), .age_ms = 300 + any(w, 10000)};
    default:
        return (struct retention){.age_ms = 300 + any(w, 6000)};
    }
}

/* All know all, but for the newcomer, who knows one. */
static void
introduce(struct swarm *w)
{
    for (uint32_t i = 0; i < w->o->brokers; i++)
        for (uint32_t k = 0; k < w->o->brokers; k++)
            if (i != k && i != w->newcomer && k != w->newcomer)
                sim_join(w->s, i, k);
    if (w->newcomer != NOBODY)
        sim_join(w->s, w->newcomer, (w->newcomer + 1) % w->o->brokers);
}

static void
begin(struct swarm *w, bool story)
{
    const struct options *o = w->o;
    w->joiner   = options_has(o, FAULT_join) && o->brokers > 1 ? any(w, o->brokers) : NOBODY;
    w->newcomer = w->joiner;
    w->s        = sim_new(&(struct sim_config){
               .seed           = o->seed,
               .brokers        = o->brokers,
               .no_seeds       = true,
               .tail_bytes     = o->tail_bytes,
               .retain_ms      = o->retain_ms,
               .causal_wait_ms = o->causal_wait_ms,
               .story_bytes    = story ? 0 : 4096,
    });
    sim_tell(w->s, "seed %llu", (unsigned long long)o->seed);
    introduce(w);
    for (uint32_t i = 0; options_has(o, FAULT_retention) && i < o->brokers; i++)
        sim_retention(w->s, i, policy(w));
    for (uint32_t i = 0; i < o->brokers; i++)
        if (i != w->newcomer)
            sim_start(w->s, i);
    for (uint32_t k = 0; k < SUBS; k++) {
        w->sub_at[k] = one_that_runs(w);
        w->sub[k]    = sim_subscribe(w->s, w->sub_at[k], k < ALL_SUBS ? "#" : swarm_topic[k % 2],
                                  k == 0 ? FROM_LATEST : FROM_EARLIEST);
    }
}

static void
join(struct swarm *w)
{
    if (w->newcomer == NOBODY)
        return;
    sim_start(w->s, w->newcomer);
    w->newcomer = NOBODY;
    w->report->fired[FAULT_join]++;
}

static void
window(struct swarm *w, bool is_calm, uint32_t publishes, uint64_t end_ms)
{
    const struct options *o = w->o;
    sim_tell(w->s, is_calm ? "---- a quiet while" : "----");
    if (is_calm)
        swarm_mend(w);
    for (uint32_t step = 0; step < 8 * o->steps && sim_now(w->s) < end_ms; step++) {
        if (step >= o->steps && sim_acked(w->s) >= publishes)
            break;
        if (!is_calm && any(w, 100) < o->fault_percent)
            swarm_fault(w);
        else
            work(w);
        sim_run(w->s, one_in(w, 20) ? any(w, 8000) : any(w, o->pace_ms));
    }
    /* An old disk may have forgotten whom the others forgave: two that forgot each other never
     * meet again. */
    if (is_calm && !options_has(o, FAULT_old_disk) && sim_until(w->s, swarm_has_settled, 5000))
        w->has_forgotten = false;
}

/* Who is cut off for half the time after which streams retire is not told of all of them. */
static void
trouble(struct swarm *w)
{
    const struct options *o = w->o;
    uint64_t              end =
        sim_now(w->s) + (options_has(o, FAULT_retire) ? o->retire_ms / 2 - 30000 : UINT32_MAX);
    uint32_t calm = o->windows / 4, done = sim_acked(w->s);
    for (uint32_t k = 0; k < o->windows; k++) {
        bool is_calm = any(w, o->windows - k) < calm;
        calm -= is_calm;
        window(w, is_calm, done + o->publishes * (k + 1) / o->windows, end);
        if (k == o->windows / 2)
            join(w);
    }
    join(w);
}

/* Where there was no room for so many, they come now. */
static void
fill_up(struct swarm *w)
{
    swarm_mend(w);
    for (uint32_t k = 0; k < 1000 && sim_acked(w->s) < w->o->publishes; k++) {
        swarm_publish(w, 1 + any(w, 20));
        sim_run(w->s, 5 + any(w, 20));
    }
}

static void
run_twice(struct swarm *w)
{
    sim_run(w->s, w->o->retire_ms / 3 + any(w, 2 * w->o->retire_ms));
    if (one_in(w, 2))
        swarm_rebuild(w);
    trouble(w);
    fill_up(w);
    swarm_judge(w);
}

static void
sum_up(struct swarm *w)
{
    struct swarm_report *r = w->report;
    struct sim          *s = w->s;
    r->seed                = w->o->seed;
    r->brokers             = w->o->brokers;
    r->hash                = sim_hash(s);
    r->events              = sim_events(s);
    r->publishes           = sim_acked(s);
    r->virtual_ms          = sim_now(s) - 1000000;
    r->rare[RARE_gap]      = sim_frames(s, FRAME_GAP);
    r->rare[RARE_latest]   = sim_frames(s, FRAME_LATEST);
    r->checks              = *sim_checks(s);
    for (uint32_t k = 0; k < SUBS; k++) {
        r->rare[RARE_gone] += sim_gone(s, w->sub[k]);
        r->rare[RARE_late] += sim_late(s, w->sub[k]);
    }
    for (uint32_t i = 0; i < w->o->brokers; i++) {
        r->mended += broker_gossip(sim_broker(s, i))->repairs.mended;
    }
    r->rare[RARE_retired]   = sim_retired(s);
    r->rare[RARE_forgotten] = sim_forgotten(s);
    sim_waits(s, &r->rare[RARE_all], &r->rare[RARE_too_few]);
    for (int f = FAULT_retention; f <= FAULT_retire; f++) /* traits */
        r->fired[f] += options_has(w->o, (enum fault)f);
}

void
swarm_run(const struct options *o, bool story, struct swarm_report *report)
{
    *report        = (struct swarm_report){0};
    struct swarm w = {.o = o, .prng = {o->seed}, .report = report};
    begin(&w, story);
    trouble(&w);
    fill_up(&w);
    swarm_judge(&w);
    if (options_has(o, FAULT_retire))
        run_twice(&w);
    else if (one_in(&w, 3))
        swarm_rebuild(&w);
    if (!options_has(o, FAULT_retire) && one_in(&w, 2))
        swarm_orphan(&w);
    sum_up(&w);
    if (story)
        puts(sim_story(w.s));
    for (uint32_t i = 0; i < o->brokers; i++)
        store_mem_free(w.old[i]);
    sim_free(w.s);
}

bool
swarm_counts(const struct swarm_report *r)
{
    uint64_t fired = 0;
    for (int f = 0; f < FAULT_retention; f++)
        fired += r->fired[f];
    return fired > 0 && r->publishes >= SWARM_PUBLISHES_MIN;
}
