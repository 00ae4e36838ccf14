/* swarm_test - random faults under many seeds; the invariants hold in all of them.
 *
 * SEEDS=1000 tests/scenario/swarm_test   runs so many (60 by default)
 * SEED=17                                runs that one and prints its story */
#include "tests/unit.h"

#include "sim/oracle.h"
#include "sim/sim.h"

#include "base/prng.h"
#include "base/trace.h"
#include "core/gossip.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 150, SUBS = 3 };

struct swarm {
    struct sim       *s;
    struct prng       prng;
    uint32_t          brokers, published;
    uint32_t          sub[SUBS], sub_at[SUBS];
    bool              paused[SIM_BROKERS_MAX];
    bool              may_lose_disks, lost_a_disk, retains;
    struct store_mem *old[SIM_BROKERS_MAX];
};

static uint32_t
any(struct swarm *w, uint32_t below)
{
    return (uint32_t)prng_below(&w->prng, below);
}

/* A broker that runs, or -1. */
static int
one_that_runs(struct swarm *w)
{
    uint32_t from = any(w, w->brokers);
    for (uint32_t k = 0; k < w->brokers; k++) {
        uint32_t i = (from + k) % w->brokers;
        if (sim_is_up(w->s, i) && !w->paused[i])
            return (int)i;
    }
    return -1;
}

static void
publish(struct swarm *w)
{
    char body[32];
    int  i = one_that_runs(w);
    for (uint32_t n = any(w, 4); i >= 0 && n > 0; n--) {
        snprintf(body, sizeof body, "m%u", ++w->published);
        sim_publish(w->s, (uint32_t)i, n % 2 ? "a/b" : "c", body);
    }
}

static void
move(struct swarm *w)
{
    uint32_t k  = any(w, SUBS);
    int      to = one_that_runs(w);
    if (to < 0 || (sim_is_up(w->s, w->sub_at[k]) && w->paused[w->sub_at[k]]))
        return;
    sim_move(w->s, w->sub[k], (uint32_t)to);
    w->sub_at[k] = (uint32_t)to;
}

static void
crash_or_start(struct swarm *w)
{
    uint32_t i = any(w, w->brokers);
    if (w->paused[i])
        return;
    if (!sim_is_up(w->s, i)) {
        if (w->may_lose_disks && any(w, 4) == 0) {
            store_mem_wipe(sim_disk(w->s, i));
            w->lost_a_disk = true;
        } else if (w->may_lose_disks && w->old[i] && any(w, 3) == 0) {
            sim_replace_disk(w->s, i, w->old[i]);
            w->old[i]      = NULL;
            w->lost_a_disk = true;
        }
        sim_start(w->s, i);
        return;
    }
    if (w->may_lose_disks && !w->old[i])
        w->old[i] = store_mem_copy(sim_disk(w->s, i));
    sim_crash(w->s, i);
}

static void
pause_or_resume(struct swarm *w)
{
    uint32_t i = any(w, w->brokers);
    if (!sim_is_up(w->s, i))
        return;
    if (w->paused[i])
        sim_resume(w->s, i);
    else
        sim_pause(w->s, i);
    w->paused[i] = !w->paused[i];
}

static void
cut_or_heal(struct swarm *w)
{
    uint32_t i = any(w, w->brokers), j = any(w, w->brokers);
    if (i == j)
        return;
    if (any(w, 2))
        sim_cut(w->s, i, j);
    else
        sim_heal(w->s, i, j);
}

static void
disk_trouble(struct swarm *w)
{
    uint32_t i = any(w, w->brokers);
    if (any(w, 2))
        sim_slow_disk(w->s, i, 1 + any(w, 400));
    else
        store_mem_fail(sim_disk(w->s, i), 1, 1 + any(w, 3), ERR_FULL);
}

static void
echo(struct swarm *w)
{
    uint32_t i = any(w, w->brokers), j = any(w, w->brokers);
    if (i != j)
        sim_echo_pushes(w->s, i, j);
}

static void
lose_pushes(struct swarm *w)
{
    uint32_t i = any(w, w->brokers), j = any(w, w->brokers);
    if (i != j)
        sim_lose_pushes(w->s, i, j, 1 + any(w, 3));
}

static void (*const fault[])(struct swarm *w) = {
    publish,         publish,     publish,      publish, move,        crash_or_start,
    pause_or_resume, cut_or_heal, disk_trouble, echo,    lose_pushes,
};

static void
calm_down(struct swarm *w)
{
    sim_heal_all(w->s);
    for (uint32_t i = 0; i < w->brokers; i++) {
        store_mem_fail(sim_disk(w->s, i), 1, 0, ERR_OK);
        sim_slow_disk(w->s, i, 2);
        if (!sim_is_up(w->s, i))
            sim_start(w->s, i);
        else if (w->paused[i])
            sim_resume(w->s, i);
        w->paused[i] = false;
    }
}

static bool
has_settled(struct sim *s)
{
    return sim_is_level(s) && sim_has_coordinator(s);
}

static void
give_up(struct swarm *w, const char *why)
{
    fprintf(stderr, "%s\n", sim_story(w->s));
    fail_msg("%s", why);
}

/* A disk that is lost takes along all that came after what was on it alone: nothing ever
 * depends on what nobody has.  And L7. */
static void
nothing_is_late_or_waits(struct swarm *w)
{
    for (uint32_t k = 0; k < SUBS; k++)
        if (sim_late(w->s, w->sub[k]) > 0)
            give_up(w, "S9: something came late without need");
    for (uint32_t i = 0; i < w->brokers; i++) {
        const struct gossip *g = broker_gossip(sim_broker(w->s, i));
        if (g->waived > 0 || g->late > 0)
            give_up(w, "S9: something was waived without need");
        if (g->held_back.used > 0)
            give_up(w, "L7: something is held back for ever");
    }
}

static void
judge(struct swarm *w)
{
    if (!sim_until(w->s, has_settled, 30000))
        give_up(w, "not settled in 30 s");
    for (uint32_t k = 0; k < SUBS; k++)
        sim_move(w->s, w->sub[k], k % w->brokers);
    sim_run(w->s, 20000); /* half-open links are found in 10 s, then a higher one claims */
    oracle_check(w->s);
    oracle_heads(w->s);
    for (uint32_t k = 0; k < SUBS; k++)
        oracle_told_all(w->s, w->sub[k]);
    if (!w->retains)
        oracle_level(w->s);
    if (!w->lost_a_disk && !w->retains) {
        oracle_all_acked_everywhere(w->s);
        for (uint32_t k = 0; k < SUBS; k++)
            oracle_got_everything(w->s, w->sub[k]);
    }
    uint64_t elections = sim_frames(w->s, FRAME_COORDINATOR), pushes = sim_frames(w->s, FRAME_PUSH);
    sim_tell(w->s, "calm");
    sim_run(w->s, 20000); /* L4, L5: stable and quiet */
    if (!has_settled(w->s) || sim_frames(w->s, FRAME_COORDINATOR) != elections ||
        sim_frames(w->s, FRAME_PUSH) != pushes)
        give_up(w, "not stable and quiet");
    nothing_is_late_or_waits(w);
}

/* How often what the checks are for did happen. */
static struct {
    uint64_t gaps, latest, gone;
} tally;

static void
count(const struct swarm *w)
{
    tally.gaps += sim_frames(w->s, FRAME_GAP);
    tally.latest += sim_frames(w->s, FRAME_LATEST);
    for (uint32_t k = 0; k < SUBS; k++)
        tally.gone += sim_gone(w->s, w->sub[k]);
}

static void
run(uint64_t seed)
{
    struct swarm w   = {.prng = {seed}};
    w.brokers        = 2 + any(&w, 4);
    w.may_lose_disks = seed % 3 == 0;
    w.s              = sim_new(&(struct sim_config){.seed = seed, .brokers = w.brokers});
    sim_tell(w.s, "seed %llu", (unsigned long long)seed);
    w.retains = seed % 2 == 0;
    for (uint32_t i = 0; w.retains && i < w.brokers; i++)
        sim_retention(w.s, i, (struct retention){.age_ms = 500 + any(&w, 10000)});
    sim_start_all(w.s);
    for (uint32_t k = 0; k < SUBS; k++)
        w.sub[k] = sim_subscribe(w.s, w.sub_at[k] = k % w.brokers, "#", FROM_EARLIEST);
    for (uint32_t step = 0; step < STEPS; step++) {
        fault[any(&w, sizeof fault / sizeof *fault)](&w);
        sim_run(w.s, any(&w, 20) == 0 ? any(&w, 8000) : any(&w, 60));
    }
    calm_down(&w);
    judge(&w);
    count(&w);
    if (getenv("SEED"))
        puts(sim_story(w.s));
    for (uint32_t i = 0; i < w.brokers; i++)
        store_mem_free(w.old[i]);
    sim_free(w.s);
}

static uint64_t
number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t    value;
    return text && str_to_u64(str_of(text), &value) ? value : otherwise;
}

/* Some mix of crashes, cuts, pauses and bad disks would lose, repeat or reorder messages. */
static void
the_invariants_hold_under_random_faults(void **state)
{
    (void)state;
    uint64_t first = number("SEED", 1), count = getenv("SEED") ? 1 : number("SEEDS", 60);
    for (uint64_t seed = first; seed < first + count; seed++)
        run(seed);
    if (count >= 60) {
        assert_true(tally.gaps > count);
        assert_true(tally.latest > count / 4);
        assert_true(tally.gone > count);
    }
    print_message("%llu gaps and %llu newest messages sent, %llu messages told to be gone\n",
                  (unsigned long long)tally.gaps, (unsigned long long)tally.latest,
                  (unsigned long long)tally.gone);
}

static void
drop_trace(void *ctx, enum trace_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest test[] = {cmocka_unit_test(the_invariants_hold_under_random_faults)};
    trace_set_sink(drop_trace, NULL);
    return cmocka_run_group_tests_name("swarm", test, NULL, NULL);
}
