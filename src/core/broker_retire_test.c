#include "core/broker.h"

#include "core/vector.h"
#include "tests/broker_kit.h"

enum { RETIRE_MS = 20000 };

/* Publishes, and waits for the disk; where it is then. */
static struct mark
published(struct desk *d)
{
    forget_seen(d);
    assert_int_equal(publish(d, "x"), ERR_OK);
    turn(d);
    store_answers_all(d, ERR_OK);
    assert_int_equal(seen_nth(d, EFFECT_ANSWER, 0)->err, ERR_OK);
    return seen_nth(d, EFFECT_ANSWER, 0)->mark;
}

static void
assert_next_of(struct mark now, struct mark before)
{
    assert_int_equal(now.stream, before.stream);
    assert_int_equal(now.seq, before.seq + 1);
}

static void
assert_minted(struct mark now, struct mark before)
{
    assert_int_not_equal(now.stream, before.stream);
    assert_int_equal(now.seq, 1);
}

/* The store took all of the stream, and says that it is retired. */
static void
retires(struct desk *d, uint64_t stream)
{
    const struct stream_floor floor = {.stream = stream,
                                       .floor  = vector_seq(broker_vector(d->b), stream)};
    const struct retained     r     = {.lsn_first     = d->lsn + 1,
                                       .floor         = &floor,
                                       .count         = 1,
                                       .retired       = &stream,
                                       .retired_count = 1};
    assert_int_equal(step(d, &(struct fact){.kind = FACT_RETAINED, .retained = &r}), ERR_OK);
}

/* Broken when a broker goes on with a stream that others have retired: they would refuse what
 * it acknowledged. */
static void
a_stream_that_is_quiet_for_long_is_given_up(void **state)
{
    (void)state;
    struct desk d;
    open_desk_retiring(&d, RETIRE_MS);
    settle(&d);
    struct mark m = published(&d);
    pass(&d, RETIRE_MS / 2 - 200);
    struct mark next = published(&d);
    assert_next_of(next, m);
    pass(&d, RETIRE_MS / 2 - 200);
    assert_next_of(published(&d), next);
    pass(&d, RETIRE_MS / 2);
    m = published(&d);
    assert_minted(m, next);
    assert_int_equal(broker_vector(d.b)->count, 2); /* the old one stays until it expires */
    /* It publishes after a long silence in which no time was told. */
    d.now = mono_after(d.now, RETIRE_MS);
    assert_minted(published(&d), m);
    close_desk(&d);
}

/* Broken when a stream is given up while a batch of it is at the store. */
static void
a_slow_disk_is_not_quiet(void **state)
{
    (void)state;
    struct desk d;
    open_desk_retiring(&d, RETIRE_MS);
    settle(&d);
    publish(&d, "slow");
    turn(&d);
    pass(&d, RETIRE_MS);
    forget_seen(&d);
    store_answers_all(&d, ERR_OK);
    struct mark m = seen_nth(&d, EFFECT_ANSWER, 0)->mark;
    assert_vector(broker_vector(d.b), &VECTOR(m));
    assert_minted(published(&d), m); /* it was quiet for as long */
    close_desk(&d);
}

/* Broken when the loop is woken for it: a broker that has nothing to do sleeps. */
static void
nobody_is_woken_for_it(void **state)
{
    (void)state;
    struct desk never, some;
    struct mark m;
    open_desk_retiring(&never, 0);
    settle(&never);
    m = published(&never);
    pass(&never, RETIRE_MS);
    struct mono at = broker_deadline(never.b);
    assert_next_of(published(&never), m); /* 0: never */
    close_desk(&never);
    open_desk_retiring(&some, RETIRE_MS);
    settle(&some);
    published(&some);
    for (uint64_t ms = 0; ms < RETIRE_MS; ms += 1000) {
        assert_true(mono_since(broker_deadline(some.b), some.now) > 0);
        pass(&some, 1000);
    }
    assert_int_equal(broker_deadline(some.b).ms, at.ms);
    close_desk(&some);
}

/* Broken when a machine that slept for a week goes on with a stream that its own store, by the
 * wall clock, has retired. */
static void
the_store_may_retire_our_own(void **state)
{
    (void)state;
    struct desk d;
    open_desk_retiring(&d, RETIRE_MS);
    settle(&d);
    struct mark m = published(&d);
    retires(&d, m.stream);
    assert_int_equal(broker_vector(d.b)->count, 0);
    struct mark next = published(&d);
    assert_minted(next, m);

    /* A batch is on its way: the store takes the stream back with it. */
    publish(&d, "late");
    turn(&d);
    retires(&d, next.stream);
    assert_int_equal(broker_vector(d.b)->count, 1);
    forget_seen(&d);
    store_answers_all(&d, ERR_OK);
    assert_next_of(seen_nth(&d, EFFECT_ANSWER, 0)->mark, next);
    next.seq++;
    assert_next_of(published(&d), next);
    close_desk(&d);
}

/* What a client is given at once. */
static enum err
start(struct desk *d, enum subscribe_from from, struct vector cursor, uint64_t stamp,
      struct entry *entry)
{
    const struct str  filter = STR("t");
    const struct fact f      = {.kind      = FACT_SUBSCRIBE,
                                .subscribe = {.filter       = &filter,
                                              .filter_count = 1,
                                              .from         = from,
                                              .cursor       = cursor,
                                              .cursor_stamp = stamp}};
    assert_int_equal(step(d, &f), ERR_OK);
    return entry ? broker_pull(d->b, d->last.session, entry) : ERR_OK;
}

/* Broken when the stamp of a cursor does not reach the session, or a live one is not told what
 * was retired under it. */
static void
clients_hear_of_it(void **state)
{
    (void)state;
    struct desk  d;
    struct entry e;
    open_desk_retiring(&d, RETIRE_MS);
    settle(&d);
    struct mark m = published(&d);
    published(&d);
    assert_int_equal(start(&d, FROM_CURSOR, nothing, 0, NULL), ERR_OK);
    uint64_t lags = d.last.session;
    retires(&d, m.stream);
    assert_int_equal(broker_pull(d.b, lags, &e), ERR_OK);
    assert_int_equal(e.mark.seq, 1);
    assert_int_equal(e.gap_to, 2);
    assert_int_equal(start(&d, FROM_CURSOR, nothing, 2, &e), ERR_MORE);
    assert_int_equal(start(&d, FROM_CURSOR, nothing, 1, &e), ERR_OK);
    assert_int_equal(e.gap_to, 2);
    assert_int_equal(start(&d, FROM_LATEST, nothing, 0, &e), ERR_MORE);
    assert_int_equal(start(&d, FROM_EARLIEST, nothing, 0, &e), ERR_MORE);
    close_desk(&d);
}

/* A peer tells that it has this stream up to `last`, and nothing of it any more. */
static void
get_gap(struct desk *d, uint32_t link, uint64_t stream, uint64_t last)
{
    const struct head h = {.stream = stream, .head = last, .floor = last};
    get(d, link,
        &(struct frame){.kind  = FRAME_HEADS,
                        .heads = {.head = &h, .count = 1, .flags = HEADS_FULL}});
    get(d, link,
        &(struct frame){.kind = FRAME_GAP,
                        .gap  = {.stream = stream,
                                 .from   = 1,
                                 .to     = last,
                                 .chain  = {{1}},
                                 .stamp  = 9,
                                 .origin = STR("gone:1")}});
}

/* Broken when of several gaps that are stored together a live subscriber hears of the last
 * alone. */
static void
gaps_that_come_together_are_all_named(void **state)
{
    (void)state;
    struct desk  d;
    struct entry e;
    open_desk_retiring(&d, RETIRE_MS);
    settle(&d);
    link_up(&d, 0, 3000, 7);
    start(&d, FROM_LATEST, nothing, 0, NULL);
    uint64_t live = d.last.session, woken, ref;
    for (uint64_t i = 1; i <= 3; i++)
        get_gap(&d, 0, 7 * i, i);
    pass(&d, 6000);
    store_answers_all(&d, ERR_OK);
    assert_vector(broker_vector(d.b), &VECTOR({7, 1}, {14, 2}, {21, 3}));
    assert_true(broker_ready(d.b, &woken, &ref));
    assert_int_equal(woken, live);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(broker_pull(d.b, live, &e), ERR_OK);
        assert_int_equal(e.mark.stream, 7 * i);
        assert_int_equal(e.mark.seq, 1);
        assert_int_equal(e.gap_to, i);
        assert_true(str_eq(e.origin, STR("gone:1")));
    }
    assert_int_equal(broker_pull(d.b, live, &e), ERR_MORE);
    close_desk(&d);
}

/* The disk has no room for what waits there, and then it has. */
static void
fails_and_recovers(struct desk *d)
{
    store_answers_all(d, ERR_FULL);
    assert_false(broker_disk_works(d->b));
    for (int i = 0; i < 20 && !broker_disk_works(d->b); i++) {
        pass(d, 1000);
        store_answers_all(d, ERR_OK);
    }
    assert_true(broker_disk_works(d->b));
    forget_seen(d);
}

/* What the broker writes for itself is written; the next is of this kind. */
static void
wait_for_commit(struct desk *d, enum commit_kind kind)
{
    for (int i = 0; i < 1000; i++) {
        if (d->commit_count == 0)
            pass(d, 100);
        else if (d->commit[d->commit_first % 64].kind != kind)
            store_answers(d, ERR_OK);
        else
            return;
    }
    fail_msg("there is no such commit");
}

/* Broken when gaps, or the newest messages in them, that could not be written count as held:
 * they would be passed over in silence after the next start. */
static void
gaps_that_were_not_written_are_none(void **state)
{
    (void)state;
    const struct frame latest = {
        .kind   = FRAME_LATEST,
        .latest = {.mark = {7, 2}, .lamport = 8, .msg = {.topic = STR("t"), .body = STR("x")}}};
    struct desk d;
    open_desk_retiring(&d, RETIRE_MS);
    settle(&d);
    link_up(&d, 0, 3000, 7);
    get_gap(&d, 0, 7, 3);
    get(&d, 0, &latest);
    wait_for_commit(&d, COMMIT_LATEST);
    fails_and_recovers(&d);
    get_gap(&d, 0, 7, 3);
    wait_for_commit(&d, COMMIT_GAPS);
    fails_and_recovers(&d);
    assert_vector(broker_vector(d.b), &nothing);
    assert_int_equal(journal_find(broker_journal(d.b), 7)->held, 0);
    get_gap(&d, 0, 7, 3);
    pass(&d, 6000);
    store_answers_all(&d, ERR_OK);
    assert_vector(broker_vector(d.b), &VECTOR({7, 3}));
    close_desk(&d);
}

/* Broken when a waiver that could not be written counts as one after the next start too. */
static void
a_waiver_that_was_not_written_is_not_durable(void **state)
{
    (void)state;
    const struct mark missing = {5, 1};
    struct desk       d;
    struct writer     w = writer_of(7);
    open_desk_retiring(&d, RETIRE_MS);
    settle(&d);
    link_up(&d, 0, 3000, 7);
    get_push(&d, 0, write_batch(&w, (struct writing){.deps = &missing, .deps_count = 1}));
    get_heads(&d, 0, 7, 1);
    for (uint64_t i = 0; i < 12; i++) { /* longer than anybody waits for it */
        pass(&d, 1000);
        get_ping(&d, 0, i, false);
    }
    wait_for_commit(&d, COMMIT_WAIVED);
    store_answers(&d, ERR_FULL);
    assert_int_equal(journal_find(broker_journal(d.b), 5)->waived_durable, 0);
    fails_and_recovers(&d);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_that_is_quiet_for_long_is_given_up),
        cmocka_unit_test(a_slow_disk_is_not_quiet),
        cmocka_unit_test(nobody_is_woken_for_it),
        cmocka_unit_test(the_store_may_retire_our_own),
        cmocka_unit_test(clients_hear_of_it),
        cmocka_unit_test(gaps_that_come_together_are_all_named),
        cmocka_unit_test(gaps_that_were_not_written_are_none),
        cmocka_unit_test(a_waiver_that_was_not_written_is_not_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
