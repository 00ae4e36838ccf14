#include "core/stamp.h"

#include "base/limits.h"
#include "tests/unit.h"

/* Without it two events of one broker share a stamp, and their order is lost. */
static void
events_tick_and_gossip_merges(void **state)
{
    (void)state;
    struct stamp s;
    stamp_init(&s, 7);
    assert_int_equal(s.now, 7);
    assert_int_equal(stamp_tick(&s), 8);
    stamp_merge(&s, 5);
    assert_int_equal(s.now, 8);
    stamp_merge(&s, 20);
    assert_int_equal(s.now, 20);
    stamp_client(&s, 30);
    assert_int_equal(s.now, 30);
    stamp_client(&s, 1);
    assert_int_equal(s.now, 30);
    assert_int_equal(s.capped, 0);
}

/* Without it a batch's stamps overlap those of the one before. */
static void
a_batch_takes_a_stamp_a_message(void **state)
{
    (void)state;
    struct stamp s;
    uint64_t     first = 0;
    stamp_init(&s, 0);
    assert_int_equal(stamp_seal(&s, 3, &first), ERR_OK);
    assert_int_equal(first, 1);
    assert_int_equal(s.now, 3);
    stamp_client(&s, 10);
    assert_int_equal(stamp_seal(&s, 1, &first), ERR_OK);
    assert_int_equal(first, 11);
}

/* Without it one publish with a huge stamp ends the clock for the whole cluster. */
static void
a_client_is_capped_and_counted(void **state)
{
    (void)state;
    struct stamp s;
    stamp_init(&s, 100);
    stamp_client(&s, 100 + STAMP_AHEAD_MAX);
    assert_true(s.now == 100 + STAMP_AHEAD_MAX);
    assert_int_equal(s.capped, 0);
    uint64_t before = s.now;
    stamp_client(&s, UINT64_MAX);
    assert_true(s.now == before + STAMP_AHEAD_MAX);
    assert_int_equal(s.capped, 1);
}

/* Without it patient clients push the clock to 2^53 within minutes, and nobody can
 * publish ever again. */
static void
clients_cannot_use_the_clock_up(void **state)
{
    (void)state;
    struct stamp s;
    stamp_init(&s, 0);
    for (int i = 0; i < 4 << 20; i++)
        stamp_client(&s, UINT64_MAX);
    assert_true(s.now >= STAMP_MAX / 2);
    assert_true(s.now < STAMP_MAX / 16 * 9);
}

/* Without it stamps pass 2^53, JSON readers round them, and peers freeze the stream. */
static void
the_end_is_an_answer_and_not_a_wrap(void **state)
{
    (void)state;
    struct stamp s;
    uint64_t     first = 0;
    stamp_init(&s, STAMP_MAX - 2);
    assert_int_equal(stamp_seal(&s, 3, &first), ERR_LIMIT);
    assert_true(s.now == STAMP_MAX - 2);
    assert_int_equal(stamp_seal(&s, 2, &first), ERR_OK);
    assert_true(first == STAMP_MAX - 1 && s.now == STAMP_MAX);
    assert_true(stamp_tick(&s) == STAMP_MAX);
    stamp_client(&s, UINT64_MAX);
    stamp_merge(&s, UINT64_MAX);
    assert_true(s.now == STAMP_MAX);
    assert_int_equal(stamp_seal(&s, 1, &first), ERR_LIMIT);
    stamp_init(&s, UINT64_MAX);
    assert_true(s.now == STAMP_MAX);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(events_tick_and_gossip_merges),
        cmocka_unit_test(a_batch_takes_a_stamp_a_message),
        cmocka_unit_test(a_client_is_capped_and_counted),
        cmocka_unit_test(clients_cannot_use_the_clock_up),
        cmocka_unit_test(the_end_is_an_answer_and_not_a_wrap),
    };
    return cmocka_run_group_tests_name("stamp", test, NULL, NULL);
}
