/* swarm_judge.c - faults stop; what must hold then. */
#include "sim/oracle.h"
#include "sim/sim_part.h"
#include "sim/swarm_part.h"

#include "core/gossip.h"
#include "core/journal.h"

#include <stdio.h>

/* All that is left to read is read, and all that waits is answered. */
enum {
    READ_MS = 6000,
    LIVE_MS = 500,   /* delays of links are mended, too */
    PUSH_MS = 100,   /* committed here, pushed, and committed there */
    MEND_MS = 20000, /* at each damaged place others are asked first, which takes a second or two */
};

void
swarm_mend(struct swarm *w)
{
    struct sim *s = w->s;
    sim_mend_links(s);
    for (uint32_t i = 0; i < w->o->brokers; i++) {
        store_mem_fail(sim_disk(s, i), 1, 0, ERR_OK);
        sim_slow_disk(s, i, 2);
        sim_slow_word(s, i, 0);
        s->node[i].crash_in = 0;
        if (i == w->newcomer)
            continue;
        if (sim_is_paused(s, i))
            sim_resume(s, i);
        if (w->is_full[i] && sim_is_up(s, i))
            sim_room(s, i, true);
        w->is_full[i] = false;
        if (!sim_is_up(s, i))
            swarm_start(w, i);
    }
    for (uint32_t k = 0; k < SUBS; k++)
        sim_take(s, w->sub[k], UINT32_MAX);
}

bool
swarm_has_settled(struct sim *s)
{
    return sim_is_level(s) && sim_has_coordinator(s);
}

static void
same_newest(struct swarm *w)
{
    for (uint32_t k = 0; k < TOPICS && !options_has(w->o, FAULT_flip); k++)
        oracle_all_newest(w->s, swarm_topic[k]);
}

static void
all_was_told(struct swarm *w)
{
    bool retains = options_has(w->o, FAULT_retention), damages = options_has(w->o, FAULT_flip);
    for (uint32_t k = 0; k < SUBS; k++) {
        oracle_told_all(w->s, w->sub[k]);
        oracle_cursor_at_head(w->s, w->sub[k]);
    }
    if (!retains)
        oracle_level(w->s);
    if (w->lost_a_disk || retains)
        return;
    oracle_all_acked_everywhere(w->s);
    for (uint32_t k = 0; k < ALL_SUBS && !damages; k++)
        oracle_got_everything(w->s, w->sub[k]);
}

static void
live_comes_to_all(struct swarm *w)
{
    uint32_t p = swarm_publish_live(w, any(w, w->o->brokers));
    sim_run(w->s, LIVE_MS);
    oracle_live_everywhere(w->s, p);
}

void
swarm_judge(struct swarm *w)
{
    sim_introduce(w->s); /* one may have forgotten the other, which never knew it */
    oracle_settles(w->s);
    for (uint32_t k = 0; k < SUBS; k++) {
        w->sub_at[k] = k % w->o->brokers;
        sim_move(w->s, w->sub[k], w->sub_at[k]);
    }
    sim_run(w->s, READ_MS + (options_has(w->o, FAULT_flip) ? MEND_MS : 0));
    live_comes_to_all(w);
    oracle_check(w->s);
    oracle_heads(w->s);
    oracle_beliefs(w->s);
    oracle_content(w->s);
    oracle_acked_here(w->s);
    same_newest(w);
    all_was_told(w);
    oracle_nothing_waits(w->s);
    oracle_quiet(w->s);
    oracle_restart(w->s, any(w, w->o->brokers));
}

void
swarm_rebuild(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    if (w->o->brokers == 1)
        return;
    oracle_rebuild(w->s, i);
    w->lost_a_disk = true;
    if (one_in(w, 2))
        swarm_publish(w, 1 + any(w, 3));
    oracle_settles(w->s);
    sim_run(w->s, READ_MS);
    oracle_content(w->s);
    same_newest(w);
}

static bool
publish_at(struct swarm *w, uint32_t i, struct mark *mark)
{
    char body[32];
    snprintf(body, sizeof body, "m%u", ++w->published);
    uint32_t p = sim_publish(w->s, i, swarm_topic[any(w, TOPICS)], body);
    sim_run(w->s, PUSH_MS);
    *mark = sim_mark(w->s, p);
    return sim_outcome(w->s, p) == ERR_OK;
}

static void
cut_from_others(struct swarm *w, uint32_t x, uint32_t y)
{
    for (uint32_t k = 0; k < w->o->brokers; k++)
        if (k != x && k != y) {
            sim_cut(w->s, x, k);
            sim_cut(w->s, y, k);
        }
}

/* What an old copy of a disk becomes when its newest batch is brought there by hand, and the
 * cause, which stood before it, is waived: NULL when that batch is another one. */
static struct store_mem *
without_cause(const struct store_mem *now, struct store_mem *old, struct mark cause,
              struct mark effect)
{
    uint64_t             lsn;
    uint32_t             n = store_mem_batches(now);
    const struct batch  *b = n > 0 ? store_mem_batch(now, n - 1, &lsn) : NULL;
    struct commit_result result[2];
    const struct commit  c[] = {
         {.kind = COMMIT_WAIVED, .mark = cause},
         {.kind = COMMIT_BATCH, .batch = (struct batch *)(uintptr_t)b, .late = true}};
    if (!b || b->stream != effect.stream || b->first != effect.seq || b->gap_last > 0)
        return NULL;
    store_mem_commit(old, c, 2, (struct wall){0}, result);
    return old;
}

/* x publishes the cause, y what depends on it, and the file of y, mended by hand, has the second
 * alone.  The others get that from y, and x is gone for longer than anybody waits. */
void
swarm_orphan(struct swarm *w)
{
    struct sim *s = w->s;
    uint32_t    n = w->o->brokers, x = any(w, n), y = (x + 1) % n;
    uint64_t    wait = w->o->causal_wait_ms > 0 ? w->o->causal_wait_ms : CAUSAL_WAIT_MS;
    struct mark cause, effect;
    if (n < 3)
        return;
    sim_tell(s, "---- a cause dies with who has it");
    cut_from_others(w, x, y);
    struct store_mem *old = store_mem_copy(sim_disk(s, y));
    bool              all = publish_at(w, x, &cause) && publish_at(w, y, &effect);
    sim_crash(s, x);
    sim_crash(s, y);
    if (all && without_cause(sim_disk(s, y), old, cause, effect)) {
        sim_replace_disk(s, y, old);
        w->lost_a_disk = true;
    } else {
        store_mem_free(old);
    }
    sim_heal_all(s);
    swarm_start(w, y);
    sim_run(s, wait + READ_MS);
    swarm_mend(w);
    oracle_settles(s);
    sim_run(s, READ_MS);
    oracle_content(s);
    same_newest(w);
}
