#include "tests/unit.h"

#include "story.h"

#include <stdio.h>

/* Who loses its connection before the first message would miss that one. */
static void
a_subscription_before_the_first_message(void **state)
{
    (void)state;
    struct sim *s   = story_cluster(3);
    uint32_t    sub = sim_subscribe(s, 0, "#", FROM_LATEST);
    sim_crash(s, 0);
    sim_publish(s, 1, "t", "first");
    sim_run(s, 1000);
    sim_move(s, sub, 2);
    sim_run(s, 100);
    assert_string_equal(sim_got(s, sub), "first");
    story_ends(s, "clients_first");
}

/* Where its broker dies a client would skip, or get again, what the next one has later. */
static void
fail_over_to_one_that_lags(void **state)
{
    (void)state;
    struct sim *s   = story_cluster(3);
    uint32_t    sub = sim_subscribe(s, 0, "#", FROM_LATEST);
    sim_publish(s, 1, "t", "a");
    sim_run(s, 100);
    sim_cut(s, 0, 2);
    sim_cut(s, 1, 2);
    sim_publish(s, 1, "t", "b");
    sim_run(s, 100);
    sim_crash(s, 0);
    sim_move(s, sub, 2); /* it has seen b, which is not there yet */
    sim_publish(s, 2, "t", "c");
    sim_run(s, 1000);
    assert_string_equal(sim_got(s, sub), "a b c");
    sim_move(s, sub, 1); /* back to where b is, from where it never was */
    sim_publish(s, 1, "t", "d");
    sim_run(s, 1000);
    assert_string_equal(sim_got(s, sub), "a b c d");
    sim_heal_all(s);
    story_settle(s, 20000);
    sim_run(s, 1000);
    assert_string_equal(sim_got(s, sub), "a b c d");
    oracle_told_all(s, sub);
    story_ends(s, "clients_failover");
}

/* A quiet client would scan, and be told to be gone, what its filter had passed over. */
static void
a_quiet_clients_cursor_moves(void **state)
{
    (void)state;
    struct sim *s = sim_new(&(struct sim_config){
        .seed = 1, .brokers = 2, .retention = {.age_ms = 60000, .retire_ms = 300000}});
    sim_start_all(s);
    story_settle(s, 20000);
    uint32_t quiet = sim_subscribe(s, 0, "none", FROM_LATEST);
    uint32_t gone  = sim_subscribe(s, 0, "none", FROM_LATEST);
    sim_leave(s, gone);
    sim_publish(s, 0, "t", "a");
    sim_publish(s, 1, "t", "b");
    sim_run(s, 1000);
    sim_hear_cursor(s, quiet);
    sim_leave(s, quiet);
    sim_run(s, 90000);
    sim_move(s, quiet, 1);
    sim_move(s, gone, 1);
    sim_run(s, 1000);
    assert_int_equal(sim_gone(s, quiet), 0);
    assert_int_equal(sim_gone(s, gone), 2);
    story_ends(s, "clients_quiet");
}

/* Whose broker dies between commit and answer would find its message twice, or in parts. */
static void
an_unknown_outcome_is_once_or_never(void **state)
{
    (void)state;
    struct sim *s = sim_new(&(struct sim_config){.seed = 1, .brokers = 2, .told_ms = 5});
    sim_start_all(s);
    story_settle(s, 20000);
    uint32_t stored = sim_publish(s, 0, "t", "stored");
    for (int ms = 0; ms < 20 && store_mem_batches(sim_disk(s, 0)) == 0; ms++)
        sim_run(s, 1); /* on disk, and not known yet */
    sim_crash(s, 0);
    sim_start(s, 0);
    story_settle(s, 20000);
    uint32_t lost = sim_publish(s, 0, "t", "lost");
    sim_run(s, 1); /* not on disk yet */
    sim_crash(s, 0);
    sim_start(s, 0);
    story_settle(s, 20000);
    assert_int_equal(sim_outcome(s, stored), SIM_PENDING);
    assert_int_equal(sim_outcome(s, lost), SIM_PENDING);
    uint32_t sub = sim_subscribe(s, 1, "#", FROM_EARLIEST);
    sim_run(s, 1000);
    assert_string_equal(sim_got(s, sub), "stored"); /* once; and the other one never */
    oracle_level(s);
    story_ends(s, "clients_unknown");
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(a_subscription_before_the_first_message),
        cmocka_unit_test(fail_over_to_one_that_lags),
        cmocka_unit_test(a_quiet_clients_cursor_moves),
        cmocka_unit_test(an_unknown_outcome_is_once_or_never),
    };
    story_quiet();
    return cmocka_run_group_tests_name("clients", test, NULL, NULL);
}
