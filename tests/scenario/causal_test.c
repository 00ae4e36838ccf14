#include "tests/unit.h"

#include "story.h"

#include "core/gossip.h"

enum { A, B, C, D, WAIT = 10000 };

/* What is left of a disk of which the file was mended by hand: nothing of one stream, as on
 * a disk of a broker that waived it. */
static void
lose_stream(struct sim *s, uint32_t i, struct mark lost)
{
    const struct store_mem *was = sim_disk(s, i);
    struct store_mem       *is  = store_mem_new();
    struct commit_result    result;
    struct commit           waiver = {.kind = COMMIT_WAIVED, .mark = lost};
    const struct batch     *b;
    uint64_t                lsn;
    store_mem_commit(is, &waiver, 1, (struct wall){0}, &result);
    for (uint32_t k = 0; (b = store_mem_batch(was, k, &lsn)); k++) {
        struct commit c = {
            .kind = COMMIT_BATCH, .batch = (struct batch *)(uintptr_t)b, .late = true};
        if (b->stream != lost.stream)
            store_mem_commit(is, &c, 1, (struct wall){0}, &result);
    }
    sim_tell(s, "%c loses what it had of another broker", 'A' + (int)i);
    sim_replace_disk(s, i, is);
}

static struct mark
publish(struct sim *s, uint32_t i, const char *body)
{
    uint32_t p = sim_publish(s, i, "t", body);
    sim_run(s, 200);
    assert_int_equal(sim_outcome(s, p), ERR_OK);
    return sim_mark(s, p);
}

static void
assert_got(struct sim *s, uint32_t sub, const char *bodies, uint64_t late)
{
    assert_string_equal(sim_got(s, sub), bodies);
    assert_int_equal(sim_late(s, sub), late);
}

/* C never heard of a, nor of b and d that came after it, at brokers that have lost a since: it
 * is in A's file alone.  All but C are down, and C has a subscriber. */
struct scene {
    struct sim *s;
    uint32_t    sub;
    struct mark a;
};

static struct scene
begin(void)
{
    struct scene x = {.s = story_cluster(4)};
    for (uint32_t i = A; i <= D; i++)
        if (i != C)
            sim_cut(x.s, i, C);
    x.a = publish(x.s, A, "a");
    sim_crash(x.s, A);
    sim_cut(x.s, B, D);
    publish(x.s, B, "b");
    publish(x.s, D, "d");
    sim_crash(x.s, B);
    sim_crash(x.s, D);
    lose_stream(x.s, B, x.a);
    lose_stream(x.s, D, x.a);
    sim_run(x.s, 15000); /* C is alone, and knows */
    sim_heal_all(x.s);
    x.sub = sim_subscribe(x.s, C, "#", FROM_LATEST);
    return x;
}

/* A message would be held back for ever, since the only disk with one before it is lost. */
static void
what_is_lost_holds_nobody_up(void **state)
{
    (void)state;
    struct scene x = begin();
    store_mem_wipe(sim_disk(x.s, A));
    sim_start(x.s, A);
    sim_start(x.s, B);
    sim_run(x.s, WAIT - 100);
    assert_got(x.s, x.sub, "", 0);
    sim_run(x.s, 600);
    assert_got(x.s, x.sub, "b", 1);
    publish(x.s, B, "b2");
    assert_got(x.s, x.sub, "b b2", 1);
    sim_start(x.s, D); /* d misses the same */
    sim_run(x.s, 1000);
    assert_got(x.s, x.sub, "b b2 d", 2);
    sim_run(x.s, 2 * WAIT);
    oracle_level(x.s);
    story_ends(x.s, "causal_lost");
}

/* While all wait, the same batches would go over the wire again and again. */
static void
waiting_is_quiet(void **state)
{
    (void)state;
    struct scene x = begin();
    sim_start(x.s, B);
    sim_run(x.s, 1000);
    uint64_t pulls = sim_frames(x.s, FRAME_PULL), pushes = sim_frames(x.s, FRAME_PUSH);
    sim_run(x.s, WAIT - 2000);
    assert_int_equal(sim_frames(x.s, FRAME_PULL), pulls);
    assert_int_equal(sim_frames(x.s, FRAME_PUSH), pushes);
    assert_got(x.s, x.sub, "", 0);
    sim_run(x.s, 3000);
    assert_got(x.s, x.sub, "b", 1);
    sim_free(x.s);
}

/* Messages would come in the wrong order though the right one was to be had. */
static void
who_has_it_comes_back_in_time(void **state)
{
    (void)state;
    struct scene x = begin();
    sim_start(x.s, B);
    sim_run(x.s, 5000);
    sim_start(x.s, A); /* it shows what it has, and is gone before C asked for it */
    sim_run(x.s, 100);
    sim_crash(x.s, A);
    sim_run(x.s, WAIT - 1000);
    assert_got(x.s, x.sub, "", 0);
    sim_start(x.s, A);
    sim_run(x.s, WAIT);
    assert_got(x.s, x.sub, "a b", 0);
    sim_start(x.s, D);
    sim_run(x.s, 5000);
    assert_got(x.s, x.sub, "a b d", 0);
    oracle_level(x.s);
    oracle_all_acked_everywhere(x.s);
    story_ends(x.s, "causal_comes_back");
}

/* What was waived would never come any more, or be called late itself. */
static void
what_was_given_up_comes_after_all(void **state)
{
    (void)state;
    struct scene x = begin();
    sim_start(x.s, B);
    sim_run(x.s, WAIT + 2000);
    assert_got(x.s, x.sub, "b", 1);
    sim_start(x.s, A);
    sim_run(x.s, 5000);
    assert_got(x.s, x.sub, "b a", 1);
    sim_start(x.s, D); /* now nothing is missing */
    sim_run(x.s, 5000);
    assert_got(x.s, x.sub, "b a d", 1);
    oracle_level(x.s);
    oracle_all_acked_everywhere(x.s);
    story_ends(x.s, "causal_after_all");
}

/* A broker that slept would give up in the instant in which it wakes, before it hears that
 * everything is there. */
static void
sleep_is_no_wait(void **state)
{
    (void)state;
    struct scene x = begin();
    sim_start(x.s, B);
    sim_run(x.s, 5000);
    sim_pause(x.s, C);
    sim_run(x.s, 1000);
    sim_start(x.s, A);
    sim_run(x.s, 6000); /* not so long that its links end */
    sim_resume(x.s, C);
    sim_run(x.s, 5000);
    assert_got(x.s, x.sub, "a b", 0);
    story_ends(x.s, "causal_sleep");
}

/* After a restart all that was given up would be waited for once more. */
static void
a_restart_does_not_wait_twice(void **state)
{
    (void)state;
    struct scene x = begin();
    sim_start(x.s, B);
    sim_run(x.s, WAIT + 2000);
    assert_got(x.s, x.sub, "b", 1);
    sim_crash(x.s, C);
    sim_run(x.s, 1000);
    sim_start(x.s, C);
    uint32_t sub = sim_subscribe(x.s, C, "#", FROM_EARLIEST);
    sim_start(x.s, D);
    sim_run(x.s, 3000);
    assert_got(x.s, sub, "b d", 2);
    story_ends(x.s, "causal_restart");
}

/* A stream of which nothing more is taken would hold up whoever has seen more of it. */
static void
a_frozen_stream_holds_nobody_up(void **state)
{
    (void)state;
    struct sim          *s = story_cluster(3);
    struct commit        freeze;
    struct commit_result result;
    freeze = (struct commit){.kind = COMMIT_FROZEN, .stream = publish(s, A, "a").stream};
    sim_crash(s, C);
    sim_tell(s, "C has met another branch of what A writes");
    store_mem_commit(sim_disk(s, C), &freeze, 1, (struct wall){0}, &result);
    publish(s, A, "a2");
    publish(s, B, "b");
    sim_start(s, C);
    uint32_t sub = sim_subscribe(s, C, "#", FROM_EARLIEST);
    sim_run(s, 3000);
    assert_got(s, sub, "a b", 1);
    story_ends(s, "causal_frozen");
}

static bool
c_is_offered_a_gap(struct sim *s)
{
    return gossip_has_offers(broker_gossip(sim_broker(s, C)));
}

/* What retention took would be waited for as if it were lost, or what came after it be called
 * late; and when nobody says any more that it is gone, all would wait for ever. */
static void
a_gap_comes_before_a_waiver(void **state)
{
    (void)state;
    struct scene x = begin();
    sim_cut(x.s, A, C);
    sim_cut(x.s, A, B); /* else B would take the gap first, and offer it */
    sim_retention(x.s, A, (struct retention){.age_ms = 5000});
    sim_start(x.s, A);
    sim_start(x.s, B);
    sim_run(x.s, 6000);
    sim_heal(x.s, A, C);
    assert_true(sim_until(x.s, c_is_offered_a_gap, 5000));
    sim_crash(x.s, A); /* before C has taken it */
    sim_run(x.s, WAIT - 500);
    assert_got(x.s, x.sub, "", 0);
    assert_int_equal(sim_gone(x.s, x.sub), 0);
    sim_start(x.s, A);
    sim_run(x.s, 6000);
    assert_got(x.s, x.sub, "b", 0);
    assert_int_equal(sim_gone(x.s, x.sub), 1);
    sim_crash(x.s, A);
    sim_start(x.s, D); /* nobody has a, and nobody needs it */
    sim_run(x.s, 3000);
    assert_got(x.s, x.sub, "b d", 0);
    story_ends(x.s, "causal_gap");
}

static bool
d_has_it(struct sim *s)
{
    return broker_vector(sim_broker(s, D))->count > 0;
}

/* Who moves away from a broker that is cut off would publish once a second for as long as that
 * lasts; or, once it was told to go ahead, never again behind what it saw. */
static void
who_comes_from_the_other_side_waits_once(void **state)
{
    (void)state;
    struct sim *s = story_cluster(4);
    bool        causal;
    for (uint32_t i = A; i <= B; i++) {
        sim_cut(s, i, C);
        sim_cut(s, i, D);
    }
    struct mark a = publish(s, A, "a");
    assert_int_equal(sim_after(s, C, a, &causal), 1000);
    assert_false(causal);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(sim_after(s, C, a, &causal), 0);
        assert_false(causal);
    }
    a = publish(s, A, "a2");
    assert_int_equal(sim_after(s, C, a, &causal), 0);
    assert_false(causal);
    sim_heal(s, B, D); /* C opens no link, and hears of it from D */
    assert_true(sim_until(s, d_has_it, 20000));
    sim_run(s, 60);
    assert_in_range(sim_after(s, C, a, &causal), 1, 900);
    assert_true(causal);
    story_ends(s, "causal_other_side");
}

int
main(void)
{
    story_quiet();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_lost_holds_nobody_up),
        cmocka_unit_test(waiting_is_quiet),
        cmocka_unit_test(who_has_it_comes_back_in_time),
        cmocka_unit_test(what_was_given_up_comes_after_all),
        cmocka_unit_test(sleep_is_no_wait),
        cmocka_unit_test(a_restart_does_not_wait_twice),
        cmocka_unit_test(a_frozen_stream_holds_nobody_up),
        cmocka_unit_test(a_gap_comes_before_a_waiver),
        cmocka_unit_test(who_comes_from_the_other_side_waits_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
