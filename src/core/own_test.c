#include "core/own.h"

#include "tests/core_kit.h"

struct desk {
    struct own     own;
    struct journal journal;
    struct stamp   clock;
    struct sealed  sealed; /* the last one */
};

static void
open_desk(struct desk *d)
{
    own_init(&d->own, STR("me:3000"), 42);
    journal_init(&d->journal, NULL, 64 << 20);
    stamp_init(&d->clock, 0);
    d->sealed = (struct sealed){0};
}

static void
close_desk(struct desk *d)
{
    blob_drop(d->sealed.batch);
    own_fini(&d->own);
    journal_fini(&d->journal);
    assert_int_equal(blob_bytes_used(), 0);
}

static uint64_t
publish(struct desk *d, size_t headers, size_t body)
{
    static const uint8_t space[BODY_BYTES_MAX];
    const struct msg m = {.topic = STR("t"), .headers = {space, headers}, .body = {space, body}};
    uint64_t         serial = 0;
    assert_int_equal(queue_add(&d->own.queue, &m, &serial), ERR_OK);
    return serial;
}

static const struct batch *
seal(struct desk *d)
{
    blob_drop(d->sealed.batch);
    assert_int_equal(own_seal(&d->own, &d->journal, &d->clock, (struct wall){77}, &d->sealed),
                     ERR_OK);
    assert_true(batch_is_valid(d->sealed.batch));
    assert_true(batch_digests(d->sealed.batch));
    return d->sealed.batch;
}

static void
to_disk(struct desk *d)
{
    journal_persist(&d->journal, d->sealed.batch, d->journal.lsn + 1, false);
}

/* Broken when a publish is stored with another's text, or answered with another's id. */
static void
what_was_published_is_what_is_sealed(void **state)
{
    (void)state;
    struct desk d;
    uint64_t    serial;
    open_desk(&d);
    const struct msg a = {.topic = STR("a/b"), .headers = STR("meta-x: y\n"), .body = STR("one")};
    const struct msg b = {.topic = STR("c")};
    assert_int_equal(queue_add(&d.own.queue, &a, &serial), ERR_OK);
    assert_int_equal(serial, 1);
    assert_int_equal(queue_add(&d.own.queue, &b, &serial), ERR_OK);
    assert_int_equal(serial, 2);
    assert_int_equal(d.own.queue.count, 2);
    const struct batch *s = seal(&d);
    assert_int_equal(d.sealed.serial, 1);
    assert_int_equal(s->count, 2);
    assert_int_equal(s->first, 1);
    assert_int_equal(s->wall.ms, 77);
    assert_true(str_eq(s->origin, STR("me:3000")));
    assert_true(str_eq(s->msg[0].topic, STR("a/b")));
    assert_true(str_eq(s->msg[0].headers, STR("meta-x: y\n")));
    assert_true(str_eq(s->msg[0].body, STR("one")));
    assert_true(str_eq(s->msg[1].topic, STR("c")));
    assert_int_equal(s->msg[1].body.n, 0);
    assert_int_equal(d.own.queue.count, 0);

    struct hash128 chain  = s->chain;
    uint64_t       stream = s->stream;
    assert_int_equal(publish(&d, 0, 5), 3);
    s = seal(&d); /* though the first is not on disk yet */
    assert_int_equal(d.sealed.serial, 3);
    assert_int_equal(s->stream, stream);
    assert_int_equal(s->first, 3);
    assert_true(hash128_eq(s->prev, chain));
    assert_int_equal(s->origin.n, 0);
    assert_int_equal(s->lamport_first, 3);
    close_desk(&d);
}

/* Broken when a batch stands before what the client had seen. */
static void
stamps_are_above_all_that_is_known(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    stamp_client(&d.clock, 500);
    publish(&d, 0, 1);
    publish(&d, 0, 1);
    assert_int_equal(seal(&d)->lamport_first, 501);
    assert_int_equal(d.clock.now, 502);
    stamp_merge(&d.clock, 900);
    publish(&d, 0, 1);
    assert_int_equal(seal(&d)->lamport_first, 901);
    d.clock.now = STAMP_MAX; /* and when there are none left */
    publish(&d, 0, 1);
    blob_drop(d.sealed.batch);
    d.sealed.batch = NULL;
    assert_int_equal(own_seal(&d.own, &d.journal, &d.clock, (struct wall){0}, &d.sealed),
                     ERR_LIMIT);
    assert_int_equal(d.own.queue.count, 1);
    close_desk(&d);
}

/* Broken when a batch is larger than the protocol allows: every peer would refuse it. */
static void
origin_and_deps_count_for_the_limit(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a   = writer_of(3);
    const size_t  all = BATCH_REST_BYTES_MAX, most = HEADERS_BYTES_MAX, topic = 1;
    open_desk(&d);
    for (int round = 0; round < 3; round++) { /* 8 messages that fit to the byte, if alone */
        for (int i = 0; i < 7; i++)
            publish(&d, most, 1);
        publish(&d, all - 7 * (most + topic) - topic, 1);
        if (round == 2)
            journal_put(&d.journal, write_one(&a));
        assert_int_equal(seal(&d)->count, round == 1 ? 8 : 7);
        assert_int_equal(d.sealed.batch->origin.n > 0, round == 0);
        assert_int_equal(d.sealed.batch->deps_count, round == 2);
        if (round != 1)
            assert_int_equal(seal(&d)->count, 1);
    }
    close_desk(&d);
}

/* Broken when a stream whose commit failed is appended to: peers that have the lost batch
 * would see a fork. */
static void
a_burned_stream_is_left_for_a_new_one(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    publish(&d, 0, 1);
    const struct batch *s = seal(&d);
    uint64_t            a = s->stream;
    to_disk(&d);
    publish(&d, 0, 1);
    s = seal(&d);
    assert_int_equal(s->first, 2);
    own_burn(&d.own, &d.journal);
    journal_roll_back(&d.journal);
    assert_false(journal_find(&d.journal, a)->live);
    struct mark missing; /* what a peer has of it comes back as from anyone */
    assert_int_equal(journal_judge(&d.journal, d.sealed.batch, &missing, &(bool){0}),
                     VERDICT_STORE);

    publish(&d, 0, 1);
    s = seal(&d);
    assert_int_not_equal(s->stream, a);
    assert_in_range(s->stream, 1, INT64_MAX);
    assert_int_equal(s->first, 1);
    assert_true(str_eq(s->origin, STR("me:3000")));
    assert_int_equal(s->deps_count, 1); /* the burned one counts as a foreign one now */
    assert_int_equal(s->deps[0].stream, a);
    assert_int_equal(s->deps[0].seq, 1);
    assert_int_equal(s->lamport_first, 3);
    own_burn(&d.own, &d.journal);
    own_burn(&d.own, &d.journal); /* nothing minted since: harmless */
    close_desk(&d);
}

/* Broken when a subscriber elsewhere sees an answer before the question. */
static void
batches_carry_what_they_depend_on(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d);
    journal_put(&d.journal, write_one(&a));
    journal_put(&d.journal, write_one(&b));
    publish(&d, 0, 1);
    const struct batch *s = seal(&d);
    assert_int_equal(s->deps_count, 2); /* the first: everything */
    assert_int_equal(s->deps[0].stream, 3);
    assert_int_equal(s->deps[1].stream, 5);
    to_disk(&d);
    publish(&d, 0, 1);
    assert_int_equal(seal(&d)->deps_count, 0); /* later ones: what moved since */
    to_disk(&d);
    journal_put(&d.journal, write_one(&b));
    publish(&d, 0, 1);
    s = seal(&d);
    assert_int_equal(s->deps_count, 1);
    assert_int_equal(s->deps[0].stream, 5);
    assert_int_equal(s->deps[0].seq, 2);
    close_desk(&d);
}

/* Broken when a full table of streams ends the process, or loses the queue in silence. */
static void
no_room_for_a_stream_is_an_answer(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    for (uint64_t i = 1; i <= STREAMS_MAX; i++)
        assert_non_null(journal_stream(&d.journal, i));
    publish(&d, 0, 1);
    assert_int_equal(own_seal(&d.own, &d.journal, &d.clock, (struct wall){0}, &d.sealed),
                     ERR_LIMIT);
    assert_int_equal(d.own.queue.count, 1);
    assert_int_equal(d.clock.now, 0);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_published_is_what_is_sealed),
        cmocka_unit_test(stamps_are_above_all_that_is_known),
        cmocka_unit_test(origin_and_deps_count_for_the_limit),
        cmocka_unit_test(a_burned_stream_is_left_for_a_new_one),
        cmocka_unit_test(batches_carry_what_they_depend_on),
        cmocka_unit_test(no_room_for_a_stream_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
