#include "tests/unit.h"

#include "story.h"

/* Broken when a publish is answered with other than so many copies, or waits for them still. */
static void
assert_answered(struct sim *s, uint32_t publish, bool reached, int copies)
{
    bool was_reached;
    int  got = sim_copies(s, publish, &was_reached);
    if (got != copies || was_reached != reached)
        fail_msg("answered with %d copies%s:\n%s", got, was_reached ? "" : ", too few",
                 sim_story(s));
}

static void
assert_waits(struct sim *s, uint32_t publish)
{
    bool reached;
    if (sim_copies(s, publish, &reached) != SIM_PENDING)
        fail_msg("answered too early:\n%s", sim_story(s));
}

/* With three of five lost for good, no publish would ever have a majority again. */
static void
forget_changes_the_majority(void **state)
{
    (void)state;
    struct sim *s    = story_cluster(5);
    uint32_t    calm = sim_publish_acks(s, 0, "t", "calm", COPIES_ALL, 5000);
    sim_run(s, 200);
    assert_answered(s, calm, true, 5);
    sim_crash(s, 2);
    sim_crash(s, 3);
    sim_crash(s, 4);
    sim_run(s, 15000);
    uint32_t early = sim_publish_acks(s, 0, "t", "early", COPIES_MAJORITY, 1000);
    uint32_t most  = sim_publish_acks(s, 0, "t", "most", COPIES_MAJORITY, 60000);
    uint32_t all   = sim_publish_acks(s, 1, "t", "all", COPIES_ALL, 60000);
    uint32_t two   = sim_publish_acks(s, 1, "t", "two", 2, 60000);
    sim_run(s, 2000);
    assert_answered(s, early, false, 2);
    assert_answered(s, two, true, 2);
    sim_forget(s, 0, 4);
    sim_run(s, 1000);
    assert_waits(s, most); /* three of four */
    sim_forget(s, 1, 3);
    sim_run(s, 1000);
    assert_answered(s, most, true, 2); /* two of three */
    assert_waits(s, all);
    sim_forget(s, 0, 2);
    sim_run(s, 1000);
    assert_answered(s, all, true, 2);
    story_ends(s, "acks_forget");
}

/* A broker that is gone would still be one of the copies, while others are waited for. */
static void
who_answered_and_died_is_no_copy(void **state)
{
    (void)state;
    struct sim *s = story_cluster(3);
    sim_slow_disk(s, 2, 4000);
    uint32_t three = sim_publish_acks(s, 0, "t", "three", 3, 30000);
    uint32_t brief = sim_publish_acks(s, 0, "t", "brief", 3, 1000);
    sim_run(s, 500);
    sim_crash(s, 1);
    sim_run(s, 14000);
    assert_answered(s, brief, false, 1);
    assert_waits(s, three); /* C has it by now, and B has not: so far as A can know */
    uint32_t again = sim_publish_acks(s, 0, "t", "again", 2, 30000);
    sim_run(s, 9000);
    assert_answered(s, again, true, 2);
    sim_start(s, 1);
    sim_run(s, 4000);
    assert_answered(s, three, true, 3);
    story_ends(s, "acks_death");
}

/* A member would count once for each of its lives. */
static void
a_restart_is_no_second_copy(void **state)
{
    (void)state;
    struct sim *s     = story_cluster(2);
    uint32_t    three = sim_publish_acks(s, 0, "t", "three", 3, 60000);
    for (int i = 0; i < 2; i++) {
        sim_run(s, 1000);
        sim_crash(s, 1);
        sim_run(s, 1000);
        sim_start(s, 1);
        sim_run(s, 14000);
    }
    sim_echo_pushes(s, 1, 0);
    sim_publish(s, 1, "t", "echo");
    sim_run(s, 40000);
    assert_answered(s, three, false, 2);
    story_ends(s, "acks_restart");
}

/* Who joins while somebody waits would never count, or before it has anything. */
static void
a_newcomer_counts_once_it_has_it(void **state)
{
    (void)state;
    struct sim *s = sim_new(&(struct sim_config){.seed = 1, .brokers = 3, .no_seeds = true});
    sim_join(s, 1, 0);
    sim_join(s, 2, 0);
    sim_start(s, 0);
    sim_start(s, 1);
    story_settle(s, 10000);
    uint32_t three = sim_publish_acks(s, 0, "t", "three", 3, 60000);
    sim_run(s, 1000);
    assert_waits(s, three);
    sim_slow_disk(s, 2, 5000);
    sim_start(s, 2);
    sim_run(s, 3000);
    uint32_t all = sim_publish_acks(s, 0, "t", "all", COPIES_ALL, 60000);
    sim_run(s, 1000);
    assert_waits(s, three);
    assert_waits(s, all); /* it is one of all from now on */
    sim_run(s, 20000);
    assert_answered(s, three, true, 3);
    assert_answered(s, all, true, 3);
    story_ends(s, "acks_newcomer");
}

/* What expired, and the gap that stands for it, would be told to be on disks. */
static void
a_gap_is_no_copy(void **state)
{
    (void)state;
    struct sim *s = sim_new(&(struct sim_config){
        .seed = 1, .brokers = 3, .retention = {.age_ms = 5000}, .causal_wait_ms = 10000});
    sim_retention(s, 2, (struct retention){.age_ms = 0});
    sim_start_all(s);
    story_settle(s, 10000);
    uint32_t kept = sim_publish_acks(s, 0, "t", "kept", 3, 5000);
    sim_run(s, 100);
    sim_crash(s, 2);
    uint32_t gone = sim_publish_acks(s, 0, "t", "gone", 3, 30000);
    sim_run(s, 12000);
    sim_start(s, 2); /* it kept the first, and of the second it gets the gap */
    sim_run(s, 8000);
    oracle_heads(s);
    assert_waits(s, gone);
    sim_run(s, 12000);
    assert_answered(s, kept, true, 3);
    assert_answered(s, gone, false, 0);
    story_ends(s, "acks_gap");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forget_changes_the_majority),
        cmocka_unit_test(who_answered_and_died_is_no_copy),
        cmocka_unit_test(a_restart_is_no_second_copy),
        cmocka_unit_test(a_newcomer_counts_once_it_has_it),
        cmocka_unit_test(a_gap_is_no_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
