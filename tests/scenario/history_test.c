#include "tests/unit.h"

#include "story.h"

#include <stdio.h>
#include <string.h>

/* Hardly more than a message stays in memory, and core hears of a commit well after the reader
 * could see it. */
static struct sim *
cluster(uint32_t brokers)
{
    struct sim *s = sim_new(&(struct sim_config){
        .seed = 1, .brokers = brokers, .tail_bytes = 1000, .told_ms = 5, .terse = true});
    sim_start_all(s);
    story_settle(s, 20000);
    return s;
}

/* "name1 name2 ..." is published, and written down in `all`. */
static void
publish_some(struct sim *s, uint32_t i, const char *topic, const char *name, uint32_t count,
             char *all)
{
    for (uint32_t k = 1; k <= count; k++) {
        char body[16];
        snprintf(body, sizeof body, "%s%u", name, k);
        sim_publish(s, i, topic, body);
        sprintf(all + strlen(all), "%s%s", *all ? " " : "", body);
        sim_run(s, 3);
    }
}

/* Who reads slower than others write would lose, or get again, what lies where memory ends and
 * the disk begins. */
static void
one_that_lags_goes_between_disk_and_memory(void **state)
{
    (void)state;
    char        all[8192] = "";
    struct sim *s         = cluster(2);
    uint32_t    sub       = sim_subscribe(s, 0, "#", FROM_LATEST);
    for (uint32_t round = 0; round < 6; round++) {
        char a[8], b[8];
        snprintf(a, sizeof a, "a%u.", round);
        snprintf(b, sizeof b, "b%u.", round);
        sim_take(s, sub, 3);
        publish_some(s, 0, "t", a, 20, all);
        sim_take(s, sub, round % 2 == 0 ? 15 : UINT32_MAX); /* in the middle; to the head */
        publish_some(s, 1, "t", b, 10, all);
        sim_run(s, 50);
    }
    oracle_got_all(s, sub, all);
    oracle_got_everything(s, sub);
    oracle_level(s);
    story_ends(s, "history_lags");
}

/* Subscribers that never read would keep others from reading, or lose their own place. */
static void
a_hundred_that_never_read_then_read_all(void **state)
{
    (void)state;
    char        all[8192] = "";
    uint32_t    sub[100];
    struct sim *s = cluster(2);
    for (uint32_t k = 0; k < 100; k++) {
        sub[k] = sim_subscribe(s, 0, "#", FROM_LATEST);
        sim_take(s, sub[k], 0);
    }
    publish_some(s, 1, "t", "x", 100, all);
    sim_run(s, 100);
    assert_string_equal(sim_got(s, sub[99]), "");
    for (uint32_t k = 0; k < 100; k++) {
        sim_take(s, sub[k], UINT32_MAX);
        if (k % 2 == 0)
            sim_move(s, sub[k], 1); /* by its cursor */
    }
    sim_run(s, 1000);
    for (uint32_t k = 0; k < 100; k++)
        assert_string_equal(sim_got(s, sub[k]), all);
    story_ends(s, "history_never_read");
}

/* What came late by gossip would be too old for who asks for the last minutes. */
static void
since_is_when_it_came_here(void **state)
{
    (void)state;
    char        all[256] = "";
    struct sim *s        = cluster(2);
    publish_some(s, 0, "t", "old", 2, all);
    sim_run(s, 1000);
    sim_cut(s, 0, 1);
    publish_some(s, 1, "t", "far", 2, all);
    sim_run(s, 60000);
    sim_heal_all(s);
    story_settle(s, 20000);
    publish_some(s, 0, "t", "new", 2, all);
    sim_run(s, 1000);
    uint32_t late  = sim_subscribe_since(s, 0, "#", 40000),
             there = sim_subscribe_since(s, 1, "#", 40000);
    sim_run(s, 100);
    assert_string_equal(sim_got(s, late), "far1 far2 new1 new2");
    assert_string_equal(sim_got(s, there), "new1 new2");
    story_ends(s, "history_since");
}

/* A message that matches two filters would come twice; one of none would come at all. */
static void
several_filters_are_one_subscription(void **state)
{
    (void)state;
    char        all[256] = "", none[256] = "";
    struct sim *s    = cluster(2);
    uint32_t    live = sim_subscribe(s, 0, "a/# +/x b", FROM_LATEST);
    publish_some(s, 0, "a/x", "both", 2, all);
    publish_some(s, 1, "c", "none", 2, none);
    publish_some(s, 1, "b", "one", 2, all);
    sim_run(s, 1000);
    uint32_t past = sim_subscribe(s, 1, "a/# +/x b", FROM_EARLIEST);
    sim_run(s, 100);
    oracle_got_all(s, live, all);
    oracle_got_all(s, past, all);
    story_ends(s, "history_filters");
}

/* `latest` would begin with what was published elsewhere before, and a poll that asks for what
 * its client has seen would be answered by a broker that lacks it. */
static void
covered_waits_for_what_was_seen(void **state)
{
    (void)state;
    struct sim *s   = cluster(2);
    uint32_t    sub = sim_subscribe(s, 0, "#", FROM_LATEST);
    sim_publish(s, 0, "t", "a");
    sim_run(s, 100);
    assert_true(sim_covered(s, 1, sub, 1000));
    sim_cut(s, 0, 1);
    sim_publish(s, 0, "t", "b");
    sim_run(s, 100);
    assert_false(sim_covered(s, 1, sub, 1000));
    sim_heal_all(s);
    assert_true(sim_covered(s, 1, sub, 20000));
    sim_move(s, sub, 1);
    sim_publish(s, 1, "t", "c");
    sim_run(s, 1000);
    oracle_got_all(s, sub, "a b c");
    story_ends(s, "history_covered");
}

/* What was published elsewhere before, and is on its way, would be shown as new. */
static void
latest_is_after_what_others_told(void **state)
{
    (void)state;
    struct sim *s = cluster(2);
    sim_publish(s, 0, "t", "first");
    sim_run(s, 1000);
    sim_slow_disk(s, 1, 1000);
    sim_publish(s, 0, "t", "before");
    sim_run(s, 200); /* B knows of it, and has it not on disk */
    uint32_t sub = sim_subscribe(s, 1, "#", FROM_LATEST);
    sim_run(s, 3000);
    sim_publish(s, 0, "t", "after");
    sim_run(s, 3000);
    assert_string_equal(sim_got(s, sub), "after");
    story_ends(s, "history_latest");
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(one_that_lags_goes_between_disk_and_memory),
        cmocka_unit_test(a_hundred_that_never_read_then_read_all),
        cmocka_unit_test(since_is_when_it_came_here),
        cmocka_unit_test(several_filters_are_one_subscription),
        cmocka_unit_test(latest_is_after_what_others_told),
        cmocka_unit_test(covered_waits_for_what_was_seen),
    };
    story_quiet();
    return cmocka_run_group_tests_name("history", test, NULL, NULL);
}
