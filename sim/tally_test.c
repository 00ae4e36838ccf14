/* tally_test - many runs that were no trial of something are no proof of it. */
#include "tests/unit.h"

#include "sim/tally.h"

#include <stdlib.h>

enum { SEEDS = 300, FEW = 15 };

/* Everything happened, and was looked at, in each seed. */
static struct swarm_report
full(uint64_t seed)
{
    struct swarm_report r = {.seed = seed, .brokers = 3, .publishes = SWARM_PUBLISHES_MIN};
    for (int f = 0; f < FAULT_END; f++)
        r.fired[f] = 1;
    for (int k = 0; k < RARE_END; k++)
        r.rare[k] = 1;
    for (int k = 1; k <= 19; k++)
        r.checks.s[k] = 1;
    for (int k = 1; k <= 7; k++)
        r.checks.l[k] = 1;
    return r;
}

/* What `miss` takes from a report, in all seeds but the first `but`. */
static uint32_t
blind(uint64_t seeds, void (*miss)(struct swarm_report *r, int which), int which, uint64_t but)
{
    struct tally t    = {0};
    char        *text = NULL;
    size_t       n    = 0;
    FILE        *to   = open_memstream(&text, &n);
    assert_non_null(to);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct swarm_report r = full(seed);
        if (miss && seed > but)
            miss(&r, which);
        tally_add(&t, &r, 1);
    }
    uint32_t found = tally_blind(&t, to);
    fclose(to);
    uint32_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, found); /* each is named */
    free(text);
    return found;
}

static void
no_s(struct swarm_report *r, int which)
{
    r->checks.s[which] = 0;
}

static void
no_l(struct swarm_report *r, int which)
{
    r->checks.l[which] = 0;
}

static void
no_fault(struct swarm_report *r, int which)
{
    r->fired[which] = 0;
}

static void
no_rare(struct swarm_report *r, int which)
{
    r->rare[which] = 0;
}

/* Broken when a run passes in which some invariant was never held against anything. */
static void
each_invariant_was_looked_at(void **state)
{
    (void)state;
    assert_int_equal(blind(SEEDS, NULL, 0, 0), 0);
    for (int k = 1; k <= 19; k++) {
        assert_int_equal(blind(SEEDS, no_s, k, 0), 1);
        assert_int_equal(blind(SEEDS, no_s, k, 1), 0);
    }
    for (int k = 1; k <= 7; k++) {
        assert_int_equal(blind(SEEDS, no_l, k, 0), 1);
        assert_int_equal(blind(SEEDS, no_l, k, 1), 0);
    }
}

/* Broken when a class of faults may stay silent. */
static void
each_fault_fired(void **state)
{
    (void)state;
    for (int f = 0; f < FAULT_END; f++) {
        assert_int_equal(blind(SEEDS, no_fault, f, 0), 1);
        assert_int_equal(blind(SEEDS, no_fault, f, 1), 0);
    }
}

/* Broken when something happens in hardly any seed, and the run passes for a trial of it. */
static void
what_is_rare_happened_in_a_twentieth(void **state)
{
    (void)state;
    for (int k = 0; k < RARE_END; k++) {
        assert_int_equal(blind(SEEDS, no_rare, k, FEW - 1), 1);
        assert_int_equal(blind(SEEDS, no_rare, k, FEW), 0);
    }
}

/* Broken when one seed, replayed, fails for what it does not show. */
static void
few_seeds_need_not_show_all(void **state)
{
    (void)state;
    assert_int_equal(blind(1, no_s, 15, 0), 0);
    assert_int_equal(blind(60, no_rare, RARE_late, 0), 0);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(each_invariant_was_looked_at),
        cmocka_unit_test(each_fault_fired),
        cmocka_unit_test(what_is_rare_happened_in_a_twentieth),
        cmocka_unit_test(few_seeds_need_not_show_all),
    };
    return cmocka_run_group_tests_name("tally", test, NULL, NULL);
}
