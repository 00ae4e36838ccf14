#include "tests/unit.h"

#include "story.h"

#include "core/journal.h"
#include "core/vector.h"

#include <stdio.h>

static const struct retention minute = {.age_ms = 60000, .retire_ms = 300000};

static struct sim *
cluster(uint32_t brokers, struct retention retention)
{
    struct sim *s = sim_new(&(struct sim_config){
        .seed = 1, .brokers = brokers, .retention = retention, .causal_wait_ms = 10000});
    sim_start_all(s);
    story_settle(s, 20000);
    return s;
}

static void
publish_some(struct sim *s, uint32_t i, const char *topic, char name, uint32_t count)
{
    for (uint32_t k = 1; k <= count; k++) {
        char body[16];
        snprintf(body, sizeof body, "%c%u", name, k);
        sim_publish(s, i, topic, body);
        sim_run(s, 100);
    }
}

static void
empty_disk(struct sim *s, uint32_t i)
{
    sim_replace_disk(s, i, store_mem_new());
    sim_tell(s, "the disk of %c is empty", 'A' + (int)i);
}

/* Expired history would vanish in silence for whoever had not read it. */
static void
an_old_cursor_is_told_what_is_gone(void **state)
{
    (void)state;
    struct sim *s   = cluster(3, minute);
    uint32_t    sub = sim_subscribe(s, 0, "#", FROM_LATEST);
    publish_some(s, 0, "t", 'a', 2);
    sim_leave(s, sub);
    publish_some(s, 0, "t", 'b', 3);
    publish_some(s, 1, "u", 'c', 2);
    sim_run(s, 90000);
    publish_some(s, 2, "t", 'd', 2);
    sim_move(s, sub, 2);
    sim_run(s, 1000);
    oracle_got_all(s, sub, "a1 a2 d1 d2");
    assert_int_equal(sim_gone(s, sub), 5);
    uint32_t fresh = sim_subscribe(s, 1, "#", FROM_EARLIEST);
    sim_run(s, 100);
    oracle_got_all(s, fresh, "d1 d2");
    assert_int_equal(sim_gone(s, fresh), 0); /* `earliest` is what is left */
    oracle_newest(s, "u", "c2");
    story_ends(s, "old_cursor");
}

/* A newcomer would never become level with brokers that have expired their past. */
static void
a_newcomer_takes_gaps(void **state)
{
    (void)state;
    struct sim *s   = cluster(3, minute);
    uint32_t    old = sim_subscribe(s, 0, "#", FROM_LATEST);
    sim_leave(s, old);
    publish_some(s, 0, "t", 'a', 3);
    publish_some(s, 1, "u", 'b', 3);
    sim_crash(s, 2);
    empty_disk(s, 2);
    sim_run(s, 90000);
    publish_some(s, 0, "t", 'c', 2);
    sim_start(s, 2);
    uint32_t live = sim_subscribe(s, 2, "#", FROM_EARLIEST);
    story_settle(s, 20000);
    sim_run(s, 2000);
    oracle_heads(s);
    oracle_newest(s, "t", "c2");
    oracle_newest(s, "u", "b3");
    oracle_got_all(s, live, "c1 c2");
    sim_move(s, old, 2);
    publish_some(s, 1, "u", 'd', 1);
    sim_run(s, 1000);
    oracle_got_all(s, old, "c1 c2 d1");
    assert_int_equal(sim_gone(s, old), 6);
    story_ends(s, "newcomer");
}

/* A broker that expires early would take from others what they still keep. */
static void
who_keeps_longer_supplies(void **state)
{
    (void)state;
    struct sim *s = cluster(3, (struct retention){0});
    sim_retention(s, 0, minute);
    publish_some(s, 0, "t", 'a', 3);
    publish_some(s, 1, "t", 'b', 3);
    sim_crash(s, 2);
    empty_disk(s, 2);
    sim_run(s, 90000);
    publish_some(s, 0, "t", 'c', 2);
    sim_start(s, 2);
    uint32_t sub = sim_subscribe(s, 2, "#", FROM_EARLIEST);
    story_settle(s, 30000);
    sim_run(s, 2000);
    oracle_got_all(s, sub, "a1 a2 a3 b1 b2 b3 c1 c2");
    assert_int_equal(sim_gone(s, sub), 0);
    story_ends(s, "keeps_longer");
}

/* Away for longer than retention: what it missed is named, what it has stays in order. */
static void
away_for_longer_than_retention(void **state)
{
    (void)state;
    struct sim *s = cluster(3, minute);
    sim_retention(s, 2, (struct retention){0});
    uint32_t sub = sim_subscribe(s, 2, "#", FROM_LATEST);
    publish_some(s, 0, "t", 'a', 2);
    sim_cut(s, 0, 2);
    sim_cut(s, 1, 2);
    publish_some(s, 0, "t", 'b', 3);
    publish_some(s, 1, "t", 'c', 3);
    sim_run(s, 90000);
    publish_some(s, 0, "t", 'd', 2);
    sim_heal_all(s);
    story_settle(s, 30000);
    sim_run(s, 3000);
    oracle_heads(s);
    oracle_got_all(s, sub, "a1 a2 d1 d2");
    assert_int_equal(sim_gone(s, sub), 6);
    publish_some(s, 1, "t", 'e', 1);
    sim_run(s, 1000);
    oracle_got_all(s, sub, "a1 a2 d1 d2 e1");
    story_ends(s, "away");
}

/* Each restart leaves a stream; vectors and cursors would grow for ever. */
static void
streams_of_old_lifetimes_retire(void **state)
{
    (void)state;
    struct sim *s   = cluster(2, minute);
    uint32_t    sub = sim_subscribe(s, 1, "#", FROM_LATEST);
    uint32_t    old = sim_subscribe(s, 1, "#", FROM_LATEST);
    sim_leave(s, old);
    for (int k = 0; k < 40; k++) {
        char body[16];
        sim_crash(s, 0);
        sim_start(s, 0);
        sim_run(s, 1000);
        snprintf(body, sizeof body, "x%d", k);
        sim_publish(s, 0, "t", body);
        sim_run(s, 500);
    }
    assert_int_equal(broker_vector(sim_broker(s, 1))->count, 40);
    assert_int_equal(sim_gone(s, sub), 0);
    sim_run(s, 400000); /* expired, then quiet for longer than retire_ms */
    assert_int_equal(broker_vector(sim_broker(s, 0))->count, 0);
    assert_int_equal(broker_vector(sim_broker(s, 1))->count, 0);
    sim_publish(s, 0, "t", "y");
    sim_run(s, 1000);
    assert_int_equal(broker_vector(sim_broker(s, 1))->count, 1);
    sim_move(s, old, 0); /* it lacks them all: their stamps are above its own */
    sim_run(s, 1000);
    assert_int_equal(sim_gone(s, old), 40);
    sim_move(s, sub, 0); /* it saw them all */
    sim_run(s, 1000);
    assert_int_equal(sim_gone(s, sub), 0);
    sim_crash(s, 1); /* what a start finds is the same */
    sim_start(s, 1);
    sim_run(s, 5000);
    assert_int_equal(broker_vector(sim_broker(s, 1))->count, 1);
    sim_run(s, 400000); /* and forgotten */
    story_ends(s, "retired");
}

/* A subscriber that reads slowly would be overtaken by retention without a word. */
static void
retention_overtakes_a_stopped_broker(void **state)
{
    (void)state;
    struct sim *s   = cluster(2, minute);
    uint32_t    sub = sim_subscribe(s, 0, "#", FROM_LATEST);
    publish_some(s, 1, "t", 'a', 3);
    sim_crash(s, 0); /* its subscriber waits; its own file expires at the next start */
    publish_some(s, 1, "t", 'b', 3);
    sim_run(s, 90000);
    sim_start(s, 0);
    sim_move(s, sub, 0);
    publish_some(s, 1, "t", 'c', 2);
    story_settle(s, 20000);
    sim_run(s, 3000);
    oracle_heads(s);
    oracle_got_all(s, sub, "a1 a2 a3 c1 c2");
    assert_int_equal(sim_gone(s, sub), 3);
    story_ends(s, "overtaken");
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(an_old_cursor_is_told_what_is_gone),
        cmocka_unit_test(a_newcomer_takes_gaps),
        cmocka_unit_test(who_keeps_longer_supplies),
        cmocka_unit_test(away_for_longer_than_retention),
        cmocka_unit_test(streams_of_old_lifetimes_retire),
        cmocka_unit_test(retention_overtakes_a_stopped_broker),
    };
    story_quiet();
    return cmocka_run_group_tests_name("retention", test, NULL, NULL);
}
