/* swarm_faults.c - what goes wrong: a function for each row of faults.def that happens. */
#include "sim/oracle.h"
#include "sim/swarm_part.h"

#include <stdio.h>

static bool
is_pair(struct swarm *w, uint32_t *i, uint32_t *j)
{
    *i = any(w, w->o->brokers);
    *j = any(w, w->o->brokers);
    return *i != *j;
}

/* ---- the network ---- */

static bool
fault_cut(struct swarm *w)
{
    uint32_t i, j;
    if (!is_pair(w, &i, &j))
        return false;
    if (one_in(w, 2)) {
        sim_heal(w->s, i, j);
        return false;
    }
    sim_cut(w->s, i, j);
    return true;
}

static bool
fault_one_way(struct swarm *w)
{
    uint32_t i, j;
    if (!is_pair(w, &i, &j))
        return false;
    if (one_in(w, 3)) {
        sim_heal(w->s, i, j);
        return false;
    }
    sim_cut_one_way(w->s, i, j);
    return true;
}

static bool
fault_halves(struct swarm *w)
{
    uint32_t n = w->o->brokers, side = any(w, UINT32_C(1) << n);
    bool     did = false;
    if (one_in(w, 3)) {
        sim_heal_all(w->s);
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++)
            if ((side >> i & 1) != (side >> j & 1)) {
                sim_cut(w->s, i, j);
                did = true;
            }
    return did;
}

static bool
fault_island(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    for (uint32_t j = 0; j < w->o->brokers; j++)
        if (j != i)
            sim_cut(w->s, i, j);
    return w->o->brokers > 1;
}

static bool
fault_chain(struct swarm *w)
{
    uint32_t n = w->o->brokers, from = any(w, n);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = i + 1; j < n; j++) {
            if (j == i + 1)
                sim_heal(w->s, (from + i) % n, (from + j) % n);
            else
                sim_cut(w->s, (from + i) % n, (from + j) % n);
        }
    return n > 2;
}

static bool
fault_reset(struct swarm *w)
{
    uint32_t i, j;
    if (!is_pair(w, &i, &j))
        return false;
    sim_reset(w->s, i, j);
    return true;
}

static bool
fault_delay(struct swarm *w)
{
    uint32_t i, j;
    if (!is_pair(w, &i, &j))
        return false;
    sim_delay(w->s, i, j, one_in(w, 3) ? 0 : 2 + any(w, w->o->delay_ms));
    return true;
}

static bool
fault_stall(struct swarm *w)
{
    uint32_t i, j;
    if (!is_pair(w, &i, &j))
        return false;
    sim_stall(w->s, i, j, 1 + any(w, w->o->stall_ms));
    return true;
}

static bool
fault_lose(struct swarm *w)
{
    uint32_t i, j;
    if (!is_pair(w, &i, &j))
        return false;
    sim_lose_pushes(w->s, i, j, 1 + any(w, 3));
    return true;
}

static bool
fault_echo(struct swarm *w)
{
    uint32_t i, j;
    if (!is_pair(w, &i, &j))
        return false;
    sim_echo_pushes(w->s, i, j);
    return true;
}

static bool
fault_bad_frame(struct swarm *w)
{
    return sim_bad_frame(w->s, any(w, w->o->brokers), prng_next(&w->prng));
}

/* ---- processes ---- */

void
swarm_start(struct swarm *w, uint32_t i)
{
    sim_start(w->s, i);
    if (w->is_full[i])
        sim_room(w->s, i, false);
}

/* Whoever it is that is to go, or NOBODY: one that is down comes back instead. */
static uint32_t
victim(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    if (i == w->newcomer || sim_is_paused(w->s, i))
        return NOBODY;
    if (sim_is_up(w->s, i))
        return i;
    swarm_start(w, i);
    return NOBODY;
}

static bool
fault_crash(struct swarm *w)
{
    uint32_t i = victim(w);
    if (i == NOBODY)
        return false;
    sim_crash(w->s, i);
    return true;
}

static bool
fault_crash_inside(struct swarm *w)
{
    uint32_t i = victim(w);
    if (i == NOBODY)
        return false;
    sim_crash_in(w->s, i, 1 + any(w, w->o->crash_effects));
    if (one_in(w, 2))
        swarm_publish(w, 1 + any(w, 4));
    return true;
}

static bool
fault_stop(struct swarm *w)
{
    uint32_t i = victim(w);
    if (i == NOBODY)
        return false;
    sim_stop(w->s, i);
    return true;
}

static bool
fault_pause(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    if (!sim_is_up(w->s, i))
        return false;
    if (sim_is_paused(w->s, i)) {
        sim_resume(w->s, i);
        return false;
    }
    sim_pause(w->s, i);
    return true;
}

static bool
fault_clock(struct swarm *w)
{
    int64_t by = 1 + any(w, w->o->clock_ms);
    sim_step_clock(w->s, any(w, w->o->brokers), one_in(w, 2) ? by : -by);
    return true;
}

static bool
fault_options(struct swarm *w)
{
    uint32_t i = one_that_runs(w);
    if (i == NOBODY || sim_is_paused(w->s, i))
        return false;
    sim_options(w->s, i, one_in(w, 2) ? any(w, 8000) : 1 << 20);
    return true;
}

/* ---- disks ---- */

/* Down it goes, if it is not; false: it is left alone. */
static bool
has_lost(struct swarm *w, uint32_t i)
{
    if (i == w->newcomer || sim_is_paused(w->s, i))
        return false;
    if (sim_is_up(w->s, i))
        sim_crash(w->s, i);
    w->lost_a_disk = true;
    return true;
}

static bool
fault_lost_disk(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    if (!has_lost(w, i))
        return false;
    sim_replace_disk(w->s, i, store_mem_new());
    if (one_in(w, 2))
        swarm_start(w, i);
    return true;
}

/* A copy is made while it runs; later it takes the place of the file. */
static bool
fault_old_disk(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    if (!w->old[i]) {
        w->old[i] = store_mem_copy(sim_disk(w->s, i));
        return false;
    }
    if (one_in(w, 2) || !has_lost(w, i))
        return false;
    sim_replace_disk(w->s, i, w->old[i]);
    w->old[i] = NULL;
    if (one_in(w, 2))
        swarm_start(w, i);
    return true;
}

static bool
fault_slow_disk(struct swarm *w)
{
    sim_slow_disk(w->s, any(w, w->o->brokers), 1 + any(w, w->o->commit_ms));
    return true;
}

static bool
fault_slow_word(struct swarm *w)
{
    sim_slow_word(w->s, any(w, w->o->brokers), any(w, w->o->told_ms + 1));
    return true;
}

static bool
fault_bad_commit(struct swarm *w)
{
    store_mem_fail(sim_disk(w->s, any(w, w->o->brokers)), 1 + any(w, 3), 1 + any(w, 3), ERR_FULL);
    return true;
}

/* Its broker is told, and perhaps too late. */
static bool
fault_full_disk(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers);
    if (sim_is_paused(w->s, i))
        return false;
    w->is_full[i] = !w->is_full[i];
    if (sim_is_up(w->s, i))
        sim_room(w->s, i, !w->is_full[i]);
    store_mem_fail(sim_disk(w->s, i), 1, w->is_full[i] && one_in(w, 2) ? UINT32_MAX : 0, ERR_FULL);
    return w->is_full[i];
}

static bool
fault_flip(struct swarm *w)
{
    bool did = false;
    for (uint32_t n = 1 + any(w, 2); n > 0; n--)
        did |= sim_flip(w->s, any(w, w->o->brokers), any(w, one_in(w, 2) ? 40 : 1000));
    return did;
}

/* ---- members and clients ---- */

/* Only who is down: one that runs would stay out until it is started anew.  And only one until
 * all have met again, and not by who joined: two that do not know each other never meet. */
static bool
fault_forget(struct swarm *w)
{
    uint32_t i = any(w, w->o->brokers), at = one_that_runs(w);
    if (w->has_forgotten || at == NOBODY || at == w->joiner || i == w->newcomer ||
        sim_is_up(w->s, i))
        return false;
    sim_forget(w->s, at, i);
    w->has_forgotten = true;
    return true;
}

static bool
fault_move(struct swarm *w)
{
    uint32_t k = any(w, SUBS), to = one_that_runs(w), at = w->sub_at[k];
    if (to == NOBODY || sim_is_paused(w->s, at))
        return false;
    sim_move(w->s, w->sub[k], to);
    w->sub_at[k] = to;
    return at != to;
}

static bool
fault_slow_reader(struct swarm *w)
{
    uint32_t k = any(w, SUBS);
    if (sim_is_paused(w->s, w->sub_at[k]))
        return false;
    bool slow = !one_in(w, 3);
    sim_take(w->s, w->sub[k], slow ? any(w, 20) : UINT32_MAX);
    return slow;
}

static bool
fault_stamp(struct swarm *w)
{
    char     body[32];
    uint32_t i = one_that_runs(w);
    if (i == NOBODY)
        return false;
    snprintf(body, sizeof body, "m%u", ++w->published);
    sim_publish_stamp(w->s, i, swarm_topic[any(w, TOPICS)], body, UINT64_MAX >> any(w, 40));
    return true;
}

static bool
fault_sleep(struct swarm *w)
{
    sim_run(w->s, 2000 + any(w, w->o->sleep_ms));
    return true;
}

/* ---- the table ---- */

/* Traits of a whole run: no time is theirs. */
static bool
fault_join(struct swarm *w)
{
    (void)w;
    return false;
}
#define fault_retention fault_join
#define fault_retire fault_join

static bool (*const make_happen[])(struct swarm *w) = {
#define FAULT(name, weight, percent, text) fault_##name,
#include "sim/faults.def"
};

/* Beside the faults that end by themselves or by their like. */
enum { HEAL_WEIGHT = 1 };

void
swarm_fault(struct swarm *w)
{
    uint32_t sum = HEAL_WEIGHT;
    for (int f = 0; f < FAULT_END; f++)
        sum += options_has(w->o, (enum fault)f) ? fault_weight((enum fault)f) : 0;
    uint32_t at = any(w, sum);
    if (at < HEAL_WEIGHT) {
        sim_heal_all(w->s);
        return;
    }
    at -= HEAL_WEIGHT;
    int f = 0;
    for (; f < FAULT_END; f++) {
        uint32_t weight = options_has(w->o, (enum fault)f) ? fault_weight((enum fault)f) : 0;
        if (at < weight)
            break;
        at -= weight;
    }
    w->report->fired[f] += make_happen[f](w);
}
