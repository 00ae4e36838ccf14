/* The disk in the eyes of core: room that runs out, and comes back. */
#include "core/broker.h"

#include "base/trace.h"
#include "core/gossip.h"
#include "core/journal.h"
#include "tests/broker_kit.h"

enum { A = 3000 };

static void
room(struct desk *d, bool enough)
{
    assert_int_equal(step(d, &(struct fact){.kind = FACT_ROOM, .room = {enough}}), ERR_OK);
}

/* ---- publishing ---- */

/* Broken when a publish that is refused for want of room was sealed, a sealed one is
 * refused, or the stream is burned though nothing failed. */
static void
without_room_nothing_is_sealed(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    link_up(&d, 0, A, 7);
    settle(&d);
    publish(&d, "on disk");
    turn(&d);
    store_answers(&d, ERR_OK);
    uint64_t stream = broker_vector(d.b)->at[0].stream;
    publish(&d, "sealed");
    turn(&d);
    publish(&d, "waits");
    turn(&d);
    forget_seen(&d);
    room(&d, false);
    assert_int_equal(publish(&d, "new"), ERR_FULL);
    assert_false(broker_can_publish(d.b));
    assert_false(broker_disk_works(d.b));
    assert_int_equal(count_seen(&d, EFFECT_ANSWER), 0); /* first what was sealed */
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_HEADS)->a & HEADS_NO_STORE, HEADS_NO_STORE);
    store_answers_all(&d, ERR_OK);
    assert_answer(&d, 0, 2, 1, ERR_OK);
    assert_answer(&d, 1, 3, 1, ERR_FULL);
    assert_int_equal(count_seen(&d, EFFECT_ANSWER), 2);
    assert_vector(broker_vector(d.b), &VECTOR({stream, 2}));
    pass(&d, 2000);
    assert_int_equal(d.commit_count, 0); /* nothing is probed: nothing failed */
    room(&d, true);
    assert_true(broker_can_publish(d.b));
    turn(&d);
    publish(&d, "again");
    turn(&d);
    store_answers_all(&d, ERR_OK);
    assert_vector(broker_vector(d.b), &VECTOR({stream, 3})); /* one stream, without a hole */
    close_desk(&d);
}

/* Broken when what waits unsealed at an idle store is never answered. */
static void
what_waits_unsealed_is_refused_at_once(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    settle(&d);
    publish(&d, "waits");
    publish(&d, "waits too");
    room(&d, false);
    assert_answer(&d, 0, 1, 2, ERR_FULL);
    turn(&d);
    assert_int_equal(count_seen(&d, EFFECT_PERSIST), 0);
    assert_int_equal(broker_journal(d.b)->streams.used, 0); /* no stream was minted */
    room(&d, false);
    room(&d, true);
    publish(&d, "fits");
    turn(&d);
    assert_int_equal(d.commit_count, 1);
    store_answers_all(&d, ERR_OK);
    assert_answer(&d, 1, 3, 1, ERR_OK);
    close_desk(&d);
}

/* Broken when a disk that fails while there is no room counts as working as soon as
 * there is, or the other way round. */
static void
room_and_a_working_disk_are_two_things(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    turn(&d);
    settle(&d);
    publish(&d, "sealed");
    turn(&d);
    room(&d, false);
    store_answers_all(&d, ERR_IO);
    room(&d, true);
    assert_int_equal(publish(&d, "x"), ERR_FULL);
    room(&d, false);
    pass(&d, 1100);
    assert_int_equal(store_answers(&d, ERR_OK), COMMIT_PROBE);
    assert_int_equal(publish(&d, "x"), ERR_FULL);
    room(&d, true);
    assert_int_equal(publish(&d, "x"), ERR_OK);
    close_desk(&d);
}

/* ---- replication ---- */

/* Broken when a broker without room takes its peers' batches, forgets those that it had
 * taken, or does not fetch what it missed. */
static void
replication_in_pauses_without_room(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_desk(&d);
    link_up(&d, 0, A, 7);
    settle(&d);
    struct batch *b1 = write_one(&w), *b2 = write_one(&w);
    get_heads(&d, 0, 7, 1);
    get_push(&d, 0, b1);
    room(&d, false);
    get_push(&d, 0, again(b2));
    get_heads(&d, 0, 7, 2);
    store_answers_all(&d, ERR_OK); /* the first one was at the store already */
    assert_vector(broker_vector(d.b), &VECTOR({7, 1}));
    forget_seen(&d);
    pass(&d, 3000);
    assert_null(sent(&d, 0, FRAME_PULL));
    assert_null(sent(&d, 0, FRAME_CREDIT));
    assert_int_equal(count_seen(&d, EFFECT_PERSIST), 0);
    room(&d, true);
    pass(&d, LACK_MS + 50);
    assert_non_null(sent(&d, 0, FRAME_PULL));
    get_push(&d, 0, b2);
    store_answers_all(&d, ERR_OK);
    assert_vector(broker_vector(d.b), &VECTOR({7, 2}));
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(without_room_nothing_is_sealed),
        cmocka_unit_test(what_waits_unsealed_is_refused_at_once),
        cmocka_unit_test(room_and_a_working_disk_are_two_things),
        cmocka_unit_test(replication_in_pauses_without_room),
    };
    trace_set_sink(trace_drop, NULL);
    return cmocka_run_group_tests_name("broker and its disk", test, NULL, NULL);
}
