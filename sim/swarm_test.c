/* swarm_test - the simulator itself: what it reports can be repeated, and is a trial. */
#include "tests/unit.h"

#include "sim/swarm.h"

#include "base/trace.h"

#include <string.h>

static struct swarm_report
run(const struct options *o)
{
    struct swarm_report r;
    swarm_run(o, false, &r);
    return r;
}

static struct swarm_report
run_seed(uint64_t seed)
{
    struct options o = options_draw(seed);
    return run(&o);
}

/* A seed would tell of a violation that nobody can look at a second time. */
static void
the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    struct options o = options_draw(1);
    o.brokers        = SWARM_BROKERS_MAX;
    o.publishes      = 5000;
    o.windows        = 32;
    o.steps          = 100;
    o.faults         = (UINT64_C(1) << FAULT_retire) - 1; /* that would end it earlier */

    struct swarm_report first = run(&o), again = run(&o);
    assert_true(first.events > 100000);
    assert_memory_equal(&first, &again, sizeof first);
}

/* The hash would be blind. */
static void
other_seeds_give_other_runs(void **state)
{
    (void)state;
    assert_true(run_seed(1).hash != run_seed(2).hash);
}

static uint32_t
bits(uint64_t v)
{
    uint32_t n = 0;
    for (; v > 0; v &= v - 1)
        n++;
    return n;
}

/* Some class, or some size of cluster, would never be drawn, or all of them always be. */
static void
each_seed_has_some_of_the_faults(void **state)
{
    (void)state;
    uint64_t brokers = 0, some = 0, all = UINT64_MAX;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct options o = options_draw(seed);
        assert_in_range(o.brokers, 1, SWARM_BROKERS_MAX);
        assert_int_equal(o.windows % 4, 0); /* a quarter of them is quiet */
        assert_in_range(bits(o.faults), 3, FAULT_END - 3);
        brokers |= UINT64_C(1) << o.brokers;
        some |= o.faults;
        all &= o.faults;
    }
    assert_int_equal(bits(brokers), SWARM_BROKERS_MAX);
    assert_int_equal(bits(some), FAULT_END);
    assert_int_equal(all, 0);
}

/* A run without trouble, or with too little to do, would count as one that was passed. */
static void
a_run_is_a_trial_when_enough_happened(void **state)
{
    (void)state;
    struct swarm_report r = run_seed(3);
    assert_true(swarm_counts(&r));
    r.publishes = SWARM_PUBLISHES_MIN - 1;
    assert_false(swarm_counts(&r));
    r.publishes = SWARM_PUBLISHES_MIN;
    memset(r.fired, 0, sizeof r.fired);
    r.fired[FAULT_retention] = 1; /* a trait */
    assert_false(swarm_counts(&r));
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(other_seeds_give_other_runs),
        cmocka_unit_test(each_seed_has_some_of_the_faults),
        cmocka_unit_test(a_run_is_a_trial_when_enough_happened),
    };
    trace_set_sink(trace_drop, NULL);
    return cmocka_run_group_tests_name("swarm", test, NULL, NULL);
}
