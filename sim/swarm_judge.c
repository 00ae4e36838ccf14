/* swarm_judge.c - faults stop; what must hold then. */
#include "sim/oracle.h"
#include "sim/sim_part.h"
#include "sim/swarm_part.h"

/* All that is left to read is read, and all that waits is answered. */
enum {
    READ_MS = 6000,
    LIVE_MS = 500,   /* delays of links are mended, too */
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
