/* Disks that fill up, fail and forget, in virtual time. */
#include "tests/unit.h"

#include "core/gossip.h"
#include "core/journal.h"
#include "core/roster.h"
#include "core/vector.h"
#include "story.h"

#include <stdio.h>

enum { A, B, C };

static struct sim *
cluster_of(uint32_t brokers, size_t tail_bytes)
{
    struct sim *s =
        sim_new(&(struct sim_config){.seed = 1, .brokers = brokers, .tail_bytes = tail_bytes});
    sim_start_all(s);
    story_settle(s, 8000);
    return s;
}

static bool
holds(struct sim *s, uint32_t i, uint32_t publish)
{
    return vector_has(broker_vector(sim_broker(s, i)), sim_mark(s, publish));
}

/* ---- full ---- */

/* A publish that was refused for want of room would turn up somewhere, or a broker without room
 * would take its peers' messages, or serve nobody. */
static void
full_disk(void **state)
{
    (void)state;
    struct sim *s     = cluster_of(3, 0);
    uint32_t    first = sim_publish(s, A, "t", "first");
    uint32_t    at_a  = sim_subscribe(s, A, "#", FROM_EARLIEST);
    sim_run(s, 1000);
    sim_room(s, A, false);
    uint32_t refused = sim_publish(s, A, "t", "refused");
    uint32_t there   = sim_publish(s, B, "t", "there");
    sim_run(s, 5000);
    assert_int_equal(sim_outcome(s, refused), ERR_FULL);
    assert_int_equal(sim_outcome(s, there), ERR_OK);
    assert_true(holds(s, C, there) && !holds(s, A, there));
    /* Others go on without it: it is not able, so it will not lead; and it still serves. */
    assert_false(roster_is_able(broker_roster(sim_broker(s, A)), (struct mono){sim_now(s)}));
    uint32_t late = sim_subscribe(s, A, "#", FROM_EARLIEST);
    sim_run(s, 100);
    oracle_got_all(s, late, "first");
    sim_room(s, A, true);
    sim_run(s, 2000);
    uint32_t after = sim_publish(s, A, "t", "after");
    sim_run(s, 1000);
    assert_int_equal(sim_mark(s, after).stream, sim_mark(s, first).stream); /* nothing burned */
    assert_int_equal(sim_mark(s, after).seq, 2);
    oracle_level(s);
    oracle_all_acked_everywhere(s);
    oracle_got_all(s, at_a, "first there after");
    story_ends(s, "full_disk");
}

/* What was sealed when room ran out would be lost, or answered before what came first. */
static void
full_disk_in_the_middle(void **state)
{
    (void)state;
    struct sim *s = cluster_of(2, 0);
    sim_publish(s, A, "t", "before");
    sim_run(s, 1000);
    sim_slow_disk(s, A, 200);
    uint32_t sealed = sim_publish(s, A, "t", "sealed");
    uint32_t queued = sim_publish(s, A, "t", "queued");
    sim_run(s, 50);
    sim_room(s, A, false);
    assert_int_equal(sim_outcome(s, queued), SIM_PENDING);
    sim_run(s, 1000);
    assert_int_equal(sim_outcome(s, sealed), ERR_OK);
    assert_int_equal(sim_outcome(s, queued), ERR_FULL);
    sim_crash(s, A);
    sim_start(s, A);
    sim_room(s, A, false); /* a start looks before it takes anything */
    uint32_t refused = sim_publish(s, A, "t", "refused");
    sim_run(s, 5000);
    assert_int_equal(sim_outcome(s, refused), ERR_FULL);
    sim_room(s, A, true);
    sim_publish(s, A, "t", "after");
    story_settle(s, 10000);
    sim_run(s, 1000);
    oracle_level(s);
    oracle_all_acked_everywhere(s);
    uint32_t all = sim_subscribe(s, B, "#", FROM_EARLIEST);
    sim_run(s, 100);
    oracle_got_all(s, all, "before sealed after");
    story_ends(s, "full_in_the_middle");
}

/* ---- failing ---- */

/* A disk that fails again and again while all publish would lose something, store something
 * twice, or keep the others from going on. */
static void
disk_that_fails_now_and_then(void **state)
{
    (void)state;
    struct sim *s   = cluster_of(3, 0);
    uint32_t    sub = sim_subscribe(s, B, "#", FROM_LATEST);
    char        body[16];
    uint32_t    unknown = 0, refused = 0;
    for (int round = 0; round < 3; round++) {
        store_mem_fail(sim_disk(s, A), 2, 1 + (uint32_t)round, ERR_IO);
        for (int i = 0; i < 20; i++) {
            snprintf(body, sizeof body, "%d.%d", round, i);
            uint32_t at_a = sim_publish(s, A, "t", body);
            sim_publish(s, C, "t", body);
            sim_run(s, 20);
            unknown += sim_outcome(s, at_a) == ERR_UNKNOWN;
            refused += sim_outcome(s, at_a) == ERR_FULL;
        }
        sim_run(s, 8000);
    }
    assert_true(unknown > 0 && refused > unknown);
    story_settle(s, 40000);
    sim_run(s, 2000);
    oracle_level(s);
    oracle_all_acked_everywhere(s);
    oracle_got_everything(s, sub);
    story_ends(s, "fails_now_and_then");
}

/* ---- flipped bits ---- */

static const struct repairs *
repairs_of(struct sim *s, uint32_t i)
{
    return &broker_gossip(sim_broker(s, i))->repairs;
}

static void
flip(struct sim *s, uint32_t i, uint32_t publish)
{
    assert_true(store_mem_flip(sim_disk(s, i), sim_mark(s, publish)));
    sim_tell(s, "a bit of a message flips at %c", 'A' + (char)i);
}

/* A message that cannot be read here any more would stay lost though another has it. */
static void
flipped_message(void **state)
{
    (void)state;
    struct sim *s   = cluster_of(2, 1);
    uint32_t    hit = sim_publish(s, A, "t", "hit");
    sim_run(s, 100);
    static const char *const more[] = {"m1", "m2", "m3"};
    for (uint32_t i = 0; i < 3; i++) {
        sim_publish(s, i % 2, "t", more[i]);
        sim_run(s, 100);
    }
    flip(s, A, hit);
    uint32_t sub = sim_subscribe(s, A, "#", FROM_EARLIEST);
    sim_run(s, 100);
    assert_int_equal(sim_gone(s, sub), 0); /* it comes from B, at once */
    oracle_got_all(s, sub, "hit m1 m2 m3");
    assert_int_equal(repairs_of(s, A)->mended, 1);
    uint32_t anew = sim_subscribe(s, A, "#", FROM_EARLIEST);
    sim_run(s, 100);
    assert_int_equal(sim_gone(s, anew), 0);
    oracle_got_all(s, anew, "hit m1 m2 m3");
    uint64_t quiet = sim_frames(s, FRAME_PULL);
    sim_run(s, 60000);
    assert_int_equal(sim_frames(s, FRAME_PULL), quiet);
    oracle_level(s);
    story_ends(s, "flipped_message");
}

/* Who gets its log from a broker with a flipped bit would never get that message. */
static void
flipped_message_goes_round(void **state)
{
    (void)state;
    struct sim *s = sim_new(&(struct sim_config){.seed = 1, .brokers = 3, .tail_bytes = 1});
    sim_cut(s, B, C);
    sim_start(s, A);
    sim_start(s, B);
    sim_run(s, 8000);
    uint32_t hit = sim_publish(s, A, "t", "hit");
    sim_run(s, 100);
    sim_publish(s, A, "t", "m1");
    sim_publish(s, B, "t", "m2");
    sim_run(s, 1000);
    sim_crash(s, B); /* the only one that could mend it */
    flip(s, A, hit);
    sim_start(s, C);
    sim_run(s, 3000);
    uint32_t at_c = sim_subscribe(s, C, "#", FROM_EARLIEST);
    sim_run(s, 100);
    assert_int_equal(sim_gone(s, at_c), 1); /* its digest came, and nothing else */
    oracle_got_all(s, at_c, "m1 m2");
    sim_start(s, B);
    sim_run(s, 8000); /* A gets it from B, */
    assert_int_equal(repairs_of(s, A)->mended, 1);
    sim_heal_all(s);
    story_settle(s, 20000);
    sim_run(s, 5000); /* and C from one of them */
    assert_int_equal(repairs_of(s, C)->mended, 1);
    uint32_t anew = sim_subscribe(s, C, "#", FROM_EARLIEST);
    sim_run(s, 100);
    assert_int_equal(sim_gone(s, anew), 0);
    oracle_got_all(s, anew, "hit m1 m2");
    oracle_level(s);
    story_ends(s, "flipped_goes_round");
}

/* A broker that nobody can help would ask without end, or stop. */
static void
flipped_message_that_nobody_has(void **state)
{
    (void)state;
    struct sim *s   = cluster_of(2, 1);
    uint32_t    hit = sim_publish(s, A, "t", "hit");
    sim_run(s, 100);
    sim_publish(s, A, "t", "more");
    sim_run(s, 100);
    flip(s, A, hit);
    flip(s, B, hit);
    for (uint32_t i = A; i <= B; i++) {
        uint32_t sub = sim_subscribe(s, i, "#", FROM_EARLIEST);
        sim_run(s, 1000);
        assert_int_equal(sim_gone(s, sub), 1);
        oracle_got_all(s, sub, "more");
    }
    sim_run(s, 3600000);
    assert_in_range(sim_frames(s, FRAME_PULL), 2, 60); /* ever more seldom */
    assert_false(repairs_of(s, A)->futile);
    oracle_level(s);
    story_ends(s, "flipped_everywhere");
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(full_disk),
        cmocka_unit_test(full_disk_in_the_middle),
        cmocka_unit_test(disk_that_fails_now_and_then),
        cmocka_unit_test(flipped_message),
        cmocka_unit_test(flipped_message_goes_round),
        cmocka_unit_test(flipped_message_that_nobody_has),
    };
    story_quiet();
    return cmocka_run_group_tests_name("disks", test, NULL, NULL);
}
