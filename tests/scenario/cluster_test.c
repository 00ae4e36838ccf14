#include "tests/unit.h"

#include "story.h"

#include "core/bully.h"
#include "core/journal.h"
#include "core/vector.h"

/* A dead coordinator would never be replaced. */
static void
leader_dies(void **state)
{
    (void)state;
    struct sim *s = story_cluster(3);
    assert_int_equal(sim_coordinator(s, 0), 2);
    sim_crash(s, 2);
    sim_run(s, 8000);
    assert_int_equal(sim_coordinator(s, 0), 1);
    assert_int_equal(sim_coordinator(s, 1), 1);
    sim_start(s, 2);
    sim_run(s, 8000);
    assert_true(sim_has_coordinator(s));
    assert_int_equal(sim_coordinator(s, 0), 2);
    uint64_t quiet = sim_frames(s, FRAME_COORDINATOR) + sim_frames(s, FRAME_ELECTION);
    sim_run(s, 20000); /* L4: stable */
    assert_int_equal(sim_frames(s, FRAME_COORDINATOR) + sim_frames(s, FRAME_ELECTION), quiet);
    story_ends(s, "leader_dies");
}

/* A restart of a lower broker would shake the cluster. */
static void
lower_restarts_and_changes_nothing(void **state)
{
    (void)state;
    struct sim  *s      = story_cluster(3);
    struct token before = bully_token(broker_bully(sim_broker(s, 2)));
    sim_crash(s, 0);
    sim_run(s, 2000);
    sim_start(s, 0);
    sim_run(s, 10000);
    assert_int_equal(sim_coordinator(s, 0), 2);
    struct token after = bully_token(broker_bully(sim_broker(s, 2)));
    assert_int_equal(before.epoch, after.epoch);
    story_ends(s, "lower_restarts");
}

/* One side of a cut would refuse publishes, or lose them when it heals. */
static void
cut_in_halves(void **state)
{
    (void)state;
    struct sim *s    = story_cluster(4);
    uint32_t    at_a = sim_subscribe(s, 0, "#", FROM_LATEST);
    uint32_t    at_d = sim_subscribe(s, 3, "#", FROM_LATEST);
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t j = 2; j < 4; j++)
            sim_cut(s, i, j);
    sim_publish(s, 0, "t", "a1");
    sim_publish(s, 3, "t", "d1");
    sim_run(s, 20000); /* each side has a coordinator of its own */
    assert_int_equal(sim_coordinator(s, 0), 1);
    assert_int_equal(sim_coordinator(s, 3), 3);
    sim_publish(s, 1, "t", "b1");
    sim_publish(s, 2, "t", "c1");
    sim_run(s, 1000);
    sim_heal_all(s);
    story_settle(s, 10000);
    sim_run(s, 3000);
    oracle_level(s);
    oracle_all_acked_everywhere(s);
    oracle_got_all(s, at_a, "a1 b1 c1 d1");
    oracle_got_all(s, at_d, "a1 b1 c1 d1");
    assert_int_equal(sim_coordinator(s, 0), 3);
    story_ends(s, "cut_in_halves");
}

/* Two that cannot talk would never get each other's messages, though a third talks to both. */
static void
partial_cut_heals_through_the_third(void **state)
{
    (void)state;
    struct sim *s   = story_cluster(3);
    uint32_t    sub = sim_subscribe(s, 1, "#", FROM_LATEST);
    sim_cut(s, 0, 1);
    sim_publish(s, 0, "t", "x");
    sim_run(s, 2000);
    oracle_level(s);
    oracle_got_all(s, sub, "x");
    sim_run(s, 20000); /* C still reaches both: nobody elects */
    assert_int_equal(sim_coordinator(s, 0), 2);
    assert_int_equal(sim_coordinator(s, 1), 2);
    story_ends(s, "partial_cut");
}

/* What is not a direct neighbour would be left out: of messages and of the election. */
static void
chain_of_four(void **state)
{
    (void)state;
    struct sim *s = sim_new(&(struct sim_config){.seed = 1, .brokers = 4});
    sim_cut(s, 0, 2);
    sim_cut(s, 0, 3);
    sim_cut(s, 1, 3);
    sim_start_all(s);
    story_settle(s, 20000);
    uint32_t sub = sim_subscribe(s, 3, "#", FROM_LATEST);
    sim_publish(s, 0, "t", "far");
    sim_run(s, 3000);
    oracle_level(s);
    oracle_got_all(s, sub, "far");
    assert_int_equal(sim_coordinator(s, 0), 3); /* the end of the chain leads all of it */
    story_ends(s, "chain_of_four");
}

/* A broker with a slow disk would ask again and again for what is on its way there. */
static void
slow_commit_pulls_nothing(void **state)
{
    (void)state;
    struct sim *s = story_cluster(2);
    sim_slow_disk(s, 0, 3000);
    sim_publish(s, 1, "t", "first");
    sim_run(s, 1000);
    for (int i = 0; i < 10; i++) {
        sim_publish(s, 1, "t", "more");
        sim_run(s, 100);
    }
    sim_run(s, 9000);
    oracle_level(s);
    assert_int_equal(sim_frames(s, FRAME_PULL), 0);
    story_ends(s, "slow_commit");
}

/* A batch that comes twice, or comes home, would be stored twice. */
static void
own_batch_comes_back(void **state)
{
    (void)state;
    struct sim *s   = story_cluster(2);
    uint32_t    sub = sim_subscribe(s, 0, "#", FROM_LATEST);
    sim_echo_pushes(s, 1, 0);
    sim_publish(s, 1, "t", "once");
    sim_run(s, 1000);
    sim_publish(s, 1, "t", "twice");
    sim_run(s, 1000);
    oracle_got_all(s, sub, "once twice");
    uint64_t quiet = sim_frames(s, FRAME_PUSH);
    sim_run(s, 20000); /* L5: it ends */
    assert_int_equal(sim_frames(s, FRAME_PUSH), quiet);
    oracle_level(s);
    story_ends(s, "own_batch_back");
}

/* After a failed commit the next batches would be stored on top of a hole. */
static void
failed_commit_with_more_queued(void **state)
{
    (void)state;
    struct sim *s  = story_cluster(2);
    uint32_t    ok = sim_publish(s, 0, "t", "before");
    sim_run(s, 1000);
    sim_slow_disk(s, 0, 100);
    store_mem_fail(sim_disk(s, 0), 1, 1, ERR_FULL);
    uint32_t sealed = sim_publish(s, 0, "t", "sealed");
    uint32_t queued = sim_publish(s, 0, "t", "queued");
    sim_run(s, 200);
    uint32_t refused = sim_publish(s, 0, "t", "refused");
    assert_int_equal(sim_outcome(s, ok), ERR_OK);
    assert_int_equal(sim_outcome(s, sealed), ERR_UNKNOWN); /* it was pushed beside the commit */
    assert_int_equal(sim_outcome(s, queued), ERR_FULL);    /* never sealed: stored nowhere */
    assert_int_equal(sim_outcome(s, refused), ERR_FULL);
    sim_run(s, 3000);
    uint32_t after = sim_publish(s, 0, "t", "after");
    sim_run(s, 3000);
    assert_int_equal(sim_outcome(s, after), ERR_OK);
    assert_true(sim_mark(s, after).stream != sim_mark(s, ok).stream); /* the old one is burned */
    oracle_level(s);
    uint32_t all = sim_subscribe(s, 0, "#", FROM_EARLIEST);
    sim_run(s, 100);
    oracle_got_all(s, all, "before sealed after");
    story_ends(s, "failed_commit");
}

/* A broker with an old copy of its file would reuse seqs that others hold. */
static void
old_copy_restored(void **state)
{
    (void)state;
    struct sim *s = story_cluster(3);
    sim_publish(s, 0, "t", "one");
    sim_run(s, 1000);
    struct store_mem *old = store_mem_copy(sim_disk(s, 0));
    sim_publish(s, 0, "t", "two");
    sim_publish(s, 0, "t", "three");
    sim_run(s, 1000);
    sim_crash(s, 0);
    sim_replace_disk(s, 0, old);
    sim_start(s, 0);
    sim_publish(s, 0, "t", "four");
    story_settle(s, 8000);
    sim_run(s, 1000);
    oracle_level(s);
    oracle_all_acked_everywhere(s);
    uint32_t all = sim_subscribe(s, 0, "#", FROM_EARLIEST);
    sim_run(s, 100);
    oracle_got_all(s, all, "one two three four");
    story_ends(s, "old_copy");
}

/* A broker with an empty folder would stay empty. */
static void
lost_database(void **state)
{
    (void)state;
    struct sim *s = story_cluster(3);
    sim_publish(s, 0, "t", "a");
    sim_publish(s, 1, "t", "b");
    sim_run(s, 1000);
    sim_crash(s, 0);
    store_mem_wipe(sim_disk(s, 0));
    sim_start(s, 0);
    story_settle(s, 8000);
    sim_run(s, 1000);
    oracle_level(s);
    oracle_all_acked_everywhere(s);
    uint32_t all = sim_subscribe(s, 0, "#", FROM_EARLIEST);
    sim_run(s, 100);
    oracle_got_all(s, all, "a b");
    story_ends(s, "lost_database");
}

/* Without a peers file a cluster could not be made. */
static void
members_by_join_alone(void **state)
{
    (void)state;
    struct sim *s = sim_new(&(struct sim_config){.seed = 1, .brokers = 4, .no_seeds = true});
    sim_start(s, 0);
    for (uint32_t i = 1; i < 4; i++) {
        sim_join(s, i, i - 1); /* each knows but the one before it */
        sim_start(s, i);
    }
    story_settle(s, 12000);
    sim_run(s, 2000);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(roster_count(broker_roster(sim_broker(s, i))), 4);
        assert_int_equal(sim_coordinator(s, i), 3);
    }
    sim_publish(s, 0, "t", "hello");
    sim_run(s, 1000);
    oracle_level(s);
    sim_crash(s, 1); /* the roster was stored: D finds A without the one in between */
    sim_crash(s, 3);
    sim_run(s, 1000);
    sim_start(s, 3);
    sim_run(s, 8000);
    assert_int_equal(sim_coordinator(s, 0), 3);
    story_ends(s, "join_alone");
}

/* A paused coordinator would depose the living when it comes back, or never lead again. */
static void
paused_leader_catches_up(void **state)
{
    (void)state;
    struct sim *s = story_cluster(3);
    sim_pause(s, 2);
    sim_run(s, 10000);
    assert_int_equal(sim_coordinator(s, 0), 1);
    sim_publish(s, 0, "t", "meanwhile");
    sim_run(s, 10000);
    sim_resume(s, 2);
    sim_run(s, 10000);
    oracle_level(s);
    assert_int_equal(sim_coordinator(s, 0), 2);
    assert_int_equal(sim_coordinator(s, 1), 2);
    assert_int_equal(sim_coordinator(s, 2), 2);
    story_ends(s, "paused_leader");
}

/* A cursor of one broker would skip or repeat at another. */
static void
cursor_hops(void **state)
{
    (void)state;
    struct sim *s      = story_cluster(3);
    uint32_t    sub    = sim_subscribe(s, 0, "t/#", FROM_LATEST);
    const char *body[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"};
    for (uint32_t i = 0; i < 12; i++) {
        sim_publish(s, i % 3, "t/x", body[i]);
        sim_run(s, i % 4); /* now and then it moves before the message is everywhere */
        sim_move(s, sub, (i + 1) % 3);
    }
    sim_run(s, 1000);
    oracle_got_all(s, sub, "0 1 2 3 4 5 6 7 8 9 10 11");
    oracle_level(s);
    story_ends(s, "cursor_hops");
}

/* A clean goodbye would cost an election's timeout; a forgotten member would come back. */
static void
goodbye_and_forget(void **state)
{
    (void)state;
    struct sim *s = story_cluster(3);
    sim_stop(s, 2);
    sim_run(s, 4000);
    assert_int_equal(sim_coordinator(s, 0), 1);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 0))), 3); /* it stays a member */
    sim_forget(s, 0, 2);
    sim_run(s, 2000);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 0))), 2);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 1))), 2);
    sim_run(s, 10000);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 1))), 2);
    sim_start(s, 2); /* a new life may join again */
    sim_run(s, 10000);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 0))), 3);
    assert_int_equal(sim_coordinator(s, 0), 2);
    story_ends(s, "goodbye_and_forget");
}

/* Two that were made to forget each other could never meet again: neither would dial. */
static void
forgotten_by_both(void **state)
{
    (void)state;
    struct sim *s = story_cluster(2);
    sim_forget(s, 0, 1);
    sim_forget(s, 1, 0);
    sim_run(s, 5000);
    sim_stop(s, 0);
    sim_run(s, 1000);
    sim_start(s, 0); /* the peers file does not bring back who was forgotten */
    sim_run(s, 15000);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 0))), 1);
    sim_stop(s, 0);
    sim_join(s, 0, 1);
    sim_stop(s, 1);
    sim_run(s, 1000);
    sim_start(s, 0); /* with --join, but there is nobody: that makes no member */
    sim_run(s, 15000);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 0))), 1);
    sim_start(s, 1);
    sim_run(s, 15000);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 0))), 2);
    assert_int_equal(roster_count(broker_roster(sim_broker(s, 1))), 2);
    assert_int_equal(sim_coordinator(s, 0), 1);
    story_ends(s, "forgotten_by_both");
}

/* A hole would stay open for as long as what comes behind it keeps coming. */
static void
hole_is_filled_under_load(void **state)
{
    (void)state;
    struct sim *s = story_cluster(2);
    sim_publish(s, 0, "t", "first");
    sim_run(s, 1000);
    sim_lose_pushes(s, 0, 1, 1);
    uint32_t lost = sim_publish(s, 0, "t", "lost");
    for (int i = 0; i < 50; i++) {
        sim_run(s, 20);
        sim_publish(s, 0, "t", "more");
    }
    assert_true(vector_has(broker_vector(sim_broker(s, 1)), sim_mark(s, lost)));
    sim_run(s, 1000);
    oracle_level(s);
    story_ends(s, "hole_under_load");
}

/* The largest cluster would not settle, or a seventeenth member would break it. */
static void
sixteen_members(void **state)
{
    (void)state;
    struct sim *s = story_cluster(SIM_BROKERS_MAX);
    assert_true(sim_now(s) <= 1000000 + 8000);
    for (uint32_t i = 0; i < SIM_BROKERS_MAX; i++) {
        sim_publish(s, i, "t", "x");
        assert_int_equal(roster_count(broker_roster(sim_broker(s, i))), SIM_BROKERS_MAX);
    }
    sim_run(s, 1000);
    oracle_level(s);
    oracle_all_acked_everywhere(s);
    /* One hop, no redundant copies: each of the others got each batch once. */
    assert_int_equal(sim_frames(s, FRAME_PUSH), SIM_BROKERS_MAX * (SIM_BROKERS_MAX - 1));
    assert_int_equal(sim_frames(s, FRAME_PULL), 0);
    story_ends(s, "sixteen");
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(leader_dies),
        cmocka_unit_test(lower_restarts_and_changes_nothing),
        cmocka_unit_test(cut_in_halves),
        cmocka_unit_test(partial_cut_heals_through_the_third),
        cmocka_unit_test(chain_of_four),
        cmocka_unit_test(slow_commit_pulls_nothing),
        cmocka_unit_test(own_batch_comes_back),
        cmocka_unit_test(failed_commit_with_more_queued),
        cmocka_unit_test(old_copy_restored),
        cmocka_unit_test(lost_database),
        cmocka_unit_test(members_by_join_alone),
        cmocka_unit_test(paused_leader_catches_up),
        cmocka_unit_test(cursor_hops),
        cmocka_unit_test(goodbye_and_forget),
        cmocka_unit_test(forgotten_by_both),
        cmocka_unit_test(hole_is_filled_under_load),
        cmocka_unit_test(sixteen_members),
    };
    story_quiet();
    return cmocka_run_group_tests_name("scenario", test, NULL, NULL);
}
