/* swarm_judge.c - faults stop; what must hold then. */
#include "core/gossip.h"
#include "sim/oracle.h"
#include "sim/sim_part.h"
#include "sim/swarm_part.h"

/* Level and led: L1, L4.  QUIET_MS: then as much again without a change. */
enum { LEVEL_MS = 30000, QUIET_MS = 20000 };

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

/* L7. */
static void
nothing_waits(struct swarm *w)
{
    for (uint32_t i = 0; i < w->o->brokers; i++) {
        const struct gossip *g = broker_gossip(sim_broker(w->s, i));
        sim_must(w->s, g->held_back.used == 0 && g->offers.used == 0,
                 "L7: something is held back for ever", i);
    }
}

/* L4, L5: stable and quiet. */
static void
nothing_moves(struct swarm *w)
{
    struct sim *s         = w->s;
    uint64_t    elections = sim_frames(s, FRAME_COORDINATOR), pushes = sim_frames(s, FRAME_PUSH);
    sim_tell(s, "calm");
    sim_run(s, QUIET_MS);
    sim_must(s, sim_has_coordinator(s) && sim_frames(s, FRAME_COORDINATOR) == elections,
             "L4: the coordinator is not stable", 0);
    /* Repairs ask again. */
    bool damages = options_has(w->o, FAULT_flip);
    sim_must(s, sim_is_level(s) && (damages || sim_frames(s, FRAME_PUSH) == pushes),
             "L5: messages are sent, and nothing is published", 0);
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
    for (uint32_t k = 0; k < SUBS; k++)
        oracle_told_all(w->s, w->sub[k]);
    if (!retains)
        oracle_level(w->s);
    if (w->lost_a_disk || retains)
        return;
    oracle_all_acked_everywhere(w->s);
    for (uint32_t k = 0; k < ALL_SUBS && !damages; k++)
        oracle_got_everything(w->s, w->sub[k]);
}

void
swarm_judge(struct swarm *w)
{
    sim_must(w->s, sim_until(w->s, swarm_has_settled, LEVEL_MS), "L1: not level in 30 s", 0);
    for (uint32_t k = 0; k < SUBS; k++) {
        w->sub_at[k] = k % w->o->brokers;
        sim_move(w->s, w->sub[k], w->sub_at[k]);
    }
    sim_run(w->s, QUIET_MS); /* half-open links are found in 10 s, then a higher one claims */
    oracle_check(w->s);
    oracle_heads(w->s);
    oracle_beliefs(w->s);
    oracle_content(w->s);
    oracle_acked_here(w->s);
    same_newest(w);
    all_was_told(w);
    nothing_moves(w);
    nothing_waits(w);
}

void
swarm_rebuild(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    if (w->o->brokers == 1)
        return;
    sim_crash(w->s, i);
    sim_replace_disk(w->s, i, store_mem_new());
    w->lost_a_disk = true;
    swarm_start(w, i);
    if (one_in(w, 2))
        swarm_publish(w, 1 + any(w, 3));
    sim_must(w->s, sim_until(w->s, swarm_has_settled, LEVEL_MS),
             "L6: an emptied broker is not rebuilt", i);
    sim_run(w->s, QUIET_MS);
    oracle_content(w->s);
    same_newest(w);
}
