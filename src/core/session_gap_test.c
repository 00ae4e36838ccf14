#include "core/session.h"

#include "core/vector.h"
#include "tests/session_kit.h"

/* ---- gaps that were stored ---- */

/* Broken when a live subscriber is not told what it will never get, because its filter did
 * not match: nobody knows what was in it. */
static void
a_gap_wakes_everybody(void **state)
{
    (void)state;
    struct desk   d;
    struct entry  e;
    struct writer a = writer_of(3), b = writer_of(7);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 2}));
    store(&d, write_one(&b));
    struct session *s[2] = {subscribe_at(&d, "t", &VECTOR({3, 2}, {7, 1})),
                            subscribe_at(&d, "else/+", &VECTOR({3, 2}, {7, 1}))};
    store_gap(&d, &b, 9);
    for (int i = 0; i < 2; i++) {
        assert_non_null(sessions_next_ready(&d.all));
        assert_cursor(&d, s[i], &VECTOR({3, 2}, {7, 1})); /* as before the gap */
        assert_int_equal(session_pull(&d.all, s[i], &d.j, &e), ERR_OK);
        assert_int_equal(e.mark.stream, 7);
        assert_int_equal(e.mark.seq, 2);
        assert_int_equal(e.gap_to, 9);
        assert_int_equal(e.lsn, 4);
        assert_int_equal(e.lamport, 9);
        assert_true(str_eq(e.origin, STR("gone:3000")));
        assert_int_equal(e.topic.n + e.headers.n + e.body.n, 0);
        assert_cursor(&d, s[i], &VECTOR({3, 2}, {7, 9}));
        assert_quiet(&d, s[i]);
        assert_int_equal(s[i]->stamp, 9);
    }
    assert_null(sessions_next_ready(&d.all));
    assert_int_equal(d.all.deliveries, 0);
    store(&d, write_one(&b));
    assert_next(&d, s[0], 7, 10);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when a first gap, with nothing of its stream before it, starts anywhere but at 1. */
static void
a_gap_at_the_front_of_a_stream(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3);
    open_desk(&d, 1 << 20);
    struct session *s = subscribe_at(&d, "t", &nothing);
    store_gap(&d, &a, 4);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_cursor(&d, s, &nothing);
    assert_gap(&d, s, 3, 1, 4);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a client is told that what it read elsewhere is gone. */
static void
a_gap_is_cut_to_what_was_not_seen(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(7);
    open_desk(&d, 1 << 20);
    store(&d, write_one(&a));
    struct session *some = subscribe_at(&d, "t", &VECTOR({3, 1}, {7, 5}));
    struct session *all  = subscribe_at(&d, "t", &VECTOR({3, 1}, {7, 8}));
    store_gap(&d, &b, 8);
    assert_gap(&d, some, 7, 6, 8);
    assert_quiet(&d, some);
    assert_quiet(&d, all);
    assert_cursor(&d, all, &VECTOR({3, 1}, {7, 8}));
    /* One that comes later sees it in the place where it was stored. */
    store(&d, write_one(&a));
    struct session *late = subscribe_at(&d, "t", &VECTOR({7, 2}));
    assert_next(&d, late, 3, 1);
    assert_gap(&d, late, 7, 3, 8);
    assert_next(&d, late, 3, 2);
    assert_quiet(&d, late);
    close_desk(&d);
}

/* Broken when a cursor that lacks nothing but a gap is taken for one that lacks nothing. */
static void
only_a_gap_is_missing(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(7);
    open_desk(&d, 1 << 20);
    store(&d, write_one(&a));
    store_gap(&d, &b, 8);
    struct session *s = subscribe_at(&d, "t", &VECTOR({3, 1}));
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_gap(&d, s, 7, 1, 8);
    assert_quiet(&d, s);
    close_desk(&d);

    /* ... and when there is no message left at all. */
    a = writer_of(3);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 4}));
    retain(&d, 4);
    s = subscribe_at(&d, "t", &VECTOR({3, 1}));
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_gap(&d, s, 3, 2, 4);
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({3, 4}));
    close_desk(&d);
}

/* ---- retention ---- */

/* Broken when an old cursor skips what retention took in silence, or `earliest` complains. */
static void
what_retention_took_is_named_first(void **state)
{
    (void)state;
    struct desk   d;
    struct vector floors;
    struct writer a = writer_of(3), b = writer_of(5);
    vector_init(&floors);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 3}));
    store(&d, write_batch(&b, (struct writing){.count = 2}));
    store(&d, write_batch(&a, (struct writing){.count = 2}));
    retain(&d, 5);
    struct session *s = subscribe_at(&d, "t", &VECTOR({3, 1}));
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_gap(&d, s, 3, 2, 3);
    assert_cursor(&d, s, &VECTOR({3, 3}));
    assert_gap(&d, s, 5, 1, 2);
    assert_next(&d, s, 3, 4);
    assert_next(&d, s, 3, 5);
    assert_quiet(&d, s);
    assert_int_equal(d.all.deliveries, 2);

    struct session *first = subscribe(&d, "t", 2);
    assert_int_equal(journal_floors(&d.j, &floors), ERR_OK);
    assert_int_equal(session_start_earliest(&d.all, first, &d.j, &floors), ERR_OK);
    assert_next(&d, first, 3, 4); /* all of it is in memory */
    assert_next(&d, first, 3, 5);
    assert_quiet(&d, first);
    vector_fini(&floors);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when a client that reads while retention runs loses in silence what it took. */
static void
retention_overtakes_one_that_reads(void **state)
{
    (void)state;
    struct desk   d;
    struct entry  e;
    struct read   r;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1);
    d.page_max = 2;
    for (int i = 0; i < 4; i++) {
        store(&d, write_one(&a));
        store(&d, write_one(&b));
    }
    struct session *s = subscribe_at(&d, "t", &nothing);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_next(&d, s, 3, 1);
    assert_next(&d, s, 5, 1);
    /* The disk is ahead of core when the page is read... */
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
    assert_non_null(sessions_next_read(&d.all, &d.j, &r));
    disk_retains(&d, 4);
    struct page *p = page_of(&d, &r);
    core_hears(&d, NULL, 0);
    sessions_page(&d.all, pool_handle(s), p);
    assert_gap(&d, s, 3, 2, 2);
    assert_gap(&d, s, 5, 2, 2);
    /* ... and what the page still shows is shown, though it is gone by now. */
    retain(&d, 6);
    assert_next(&d, s, 3, 3);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_gap(&d, s, 5, 3, 3);
    assert_next(&d, s, 3, 4);
    assert_next(&d, s, 5, 4);
    assert_quiet(&d, s);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when one that reads from memory is overtaken there. */
static void
retention_overtakes_one_in_memory(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    struct session *s = subscribe_at(&d, "t", &nothing);
    for (int i = 0; i < 3; i++) {
        store(&d, write_one(&a));
        store(&d, write_one(&b));
    }
    assert_next(&d, s, 3, 1);
    retain(&d, 3); /* of what is unread 5-1 and 3-2 */
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_gap(&d, s, 3, 2, 2);
    assert_gap(&d, s, 5, 1, 1);
    assert_next(&d, s, 5, 2);
    assert_next(&d, s, 3, 3);
    assert_next(&d, s, 5, 3);
    assert_quiet(&d, s);
    store(&d, write_one(&a)); /* live again */
    assert_next(&d, s, 3, 4);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a gap is forgotten with the page that told it, or told again with the next. */
static void
a_dropped_page_costs_no_gap(void **state)
{
    (void)state;
    enum { FULL = 65 << 20 }; /* as if others held so much */
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 2}));
    store(&d, write_batch(&b, (struct writing){.count = 2}));
    store(&d, write_one(&a));
    retain(&d, 4);
    struct session *s = subscribe_at(&d, "t", &nothing);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_gap(&d, s, 3, 1, 2);
    d.all.page_bytes += FULL;
    session_stall(&d.all, s);
    assert_null(s->page);
    d.all.page_bytes -= FULL;
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_gap(&d, s, 5, 1, 2);
    assert_next(&d, s, 3, 3);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when `since` names what it did not ask for, or forgets that it had found its place:
 * then what retention takes afterwards is gone in silence. */
static void
since_a_time_keeps_its_place(void **state)
{
    (void)state;
    enum { FULL = 65 << 20 };
    struct desk   d;
    struct writer a = writer_of(3);
    open_desk(&d, 1);
    for (int i = 0; i < 6; i++)
        store(&d, write_one(&a));
    retain(&d, 2);
    struct session *s = subscribe(&d, "t", 1);
    session_start_since(&d.all, s, &d.j, (struct wall){1});
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_SINCE));
    assert_cursor(&d, s, &VECTOR({3, 2}));
    assert_next(&d, s, 3, 3);
    d.all.page_bytes += FULL;
    session_stall(&d.all, s);
    d.all.page_bytes -= FULL;
    assert_cursor(&d, s, &VECTOR({3, 3}));
    retain(&d, 4);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_gap(&d, s, 3, 4, 4);
    assert_next(&d, s, 3, 5);
    assert_next(&d, s, 3, 6);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a message that cannot be read any more is passed over in silence. */
static void
a_damaged_message_is_a_gap_of_one(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3);
    open_desk(&d, 1);
    store(&d, write_batch(&a, (struct writing){.count = 3}));
    store(&d, write_one(&a));
    d.damaged         = 2;
    struct session *s = subscribe_at(&d, "t", &nothing);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_next(&d, s, 3, 1);
    assert_gap(&d, s, 3, 2, 2);
    assert_next(&d, s, 3, 3);
    assert_next(&d, s, 3, 4);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a message that may be mended is told as a gap, or a reader does not go on. */
static void
what_may_be_mended_is_waited_for(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3);
    struct entry  e;
    open_desk(&d, 1);
    store(&d, write_batch(&a, (struct writing){.count = 3}));
    store(&d, write_one(&a));
    d.damaged         = 2;
    struct session *s = subscribe_at(&d, "t", &nothing);
    sessions_cut(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR), 2);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    struct read read;
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
    assert_ptr_equal(sessions_next_read(&d.all, &d.j, &read), s);
    assert_int_equal(read.lsn_last, 1);
    sessions_page(&d.all, pool_handle(s), page_of(&d, &read));
    assert_next(&d, s, 3, 1);
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_MORE);
    assert_cursor(&d, s, &VECTOR({3, 1}));
    assert_null(sessions_next_read(&d.all, &d.j, &read));
    assert_ptr_equal(sessions_next_ready(&d.all), s); /* of the page */
    assert_null(sessions_next_ready(&d.all));
    d.damaged = 0;
    sessions_mended(&d.all);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    for (uint64_t seq = 2; seq <= 4; seq++)
        assert_next(&d, s, 3, seq);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* ---- retired streams ---- */

/* Streams 1..n with two messages each, all of it gone and retired; stream 50 lives on.  The
 * higher the stream the lower its last stamp: 11 for n, 21 for n - 1... */
static void
open_with_retired(struct desk *d, uint64_t n)
{
    uint64_t      id[16];
    struct writer live = writer_of(50);
    open_desk(d, 1 << 20);
    for (uint64_t i = 1; i <= n; i++) {
        struct writer w = writer_of(id[i - 1] = i);
        store(d, write_batch(&w, (struct writing){.count = 2, .lamport = 10 * (n + 1 - i)}));
    }
    disk_retains(d, 2 * n);
    core_hears(d, id, (uint32_t)n);
    store(d, write_batch(&live, (struct writing){.lamport = 1000}));
}

static struct session *
resume(struct desk *d, const struct vector *seen, uint64_t stamp)
{
    struct session *s = subscribe(d, "t", 1);
    assert_int_equal(session_start_at(&d->all, s, &d->j, seen, stamp), ERR_OK);
    return s;
}

/* Leaves and comes again with the cursor. */
static struct session *
resume_by_cursor(struct desk *d, struct session *s)
{
    struct vector v;
    uint64_t      stamp;
    vector_init(&v);
    assert_true(session_cursor(s, &d->j, &v, &stamp));
    session_close(&d->all, s);
    s = resume(d, &v, stamp);
    vector_fini(&v);
    return s;
}

/* Broken when a stream that is in no vector any more is lost in silence to a client that had
 * not read it, or named to one that had. */
static void
retired_streams_are_named_by_the_stamp(void **state)
{
    (void)state;
    struct desk d;
    open_with_retired(&d, 4);
    struct session *s = resume(&d, &VECTOR({1, 1}, {4, 2}), 21);
    assert_cursor(&d, s, &VECTOR({1, 1})); /* what needs no mark is dropped */
    assert_gap(&d, s, 1, 2, 2);
    assert_gap(&d, s, 2, 1, 2);
    assert_next(&d, s, 50, 1);
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({50, 1}));
    s = resume_by_cursor(&d, s);
    assert_quiet(&d, s);

    /* Nothing but them is missing. */
    s = resume(&d, &VECTOR({50, 1}), 31);
    assert_gap(&d, s, 1, 1, 2);
    assert_quiet(&d, s);
    s = resume(&d, &VECTOR({50, 1}), 41);
    assert_int_equal(s->state, SESSION_HEAD);

    /* Who says that it read a part lacks the rest, whatever its stamp. */
    s = resume(&d, &VECTOR({2, 1}, {50, 1}), 1000);
    assert_gap(&d, s, 2, 2, 2);
    s = resume_by_cursor(&d, s);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a client that leaves between two of these gaps loses one, or hears one twice. */
static void
one_may_leave_between_retired_streams(void **state)
{
    (void)state;
    struct desk d;
    open_with_retired(&d, 3);
    struct session *s = resume(&d, &nothing, 0);
    assert_gap(&d, s, 1, 1, 2);
    s = resume_by_cursor(&d, s);
    assert_gap(&d, s, 2, 1, 2);
    s = resume_by_cursor(&d, s);
    assert_gap(&d, s, 3, 1, 2);
    s = resume_by_cursor(&d, s);
    assert_next(&d, s, 50, 1);
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({50, 1}));
    close_desk(&d);
}

/* Broken when who asks for no history is told what is missing in it. */
static void
other_starts_lack_no_retired_stream(void **state)
{
    (void)state;
    struct desk d;
    open_with_retired(&d, 3);
    struct session *s = subscribe(&d, "t", 1);
    assert_int_equal(session_start_earliest(&d.all, s, &d.j, &nothing), ERR_OK);
    s = resume_by_cursor(&d, s);
    assert_next(&d, s, 50, 1);
    s = subscribe(&d, "t", 1);
    session_start_since(&d.all, s, &d.j, (struct wall){1});
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_SINCE));
    s = resume_by_cursor(&d, s);
    assert_next(&d, s, 50, 1);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a client that reads nothing for weeks loses in silence what was retired
 * meanwhile, since then no page names it. */
static void
a_stream_is_retired_under_one_that_lags(void **state)
{
    (void)state;
    struct desk     d;
    struct writer   a = writer_of(3), b = writer_of(5);
    struct session *s[4];
    open_desk(&d, 1 << 20);
    for (int i = 0; i < 3; i++)
        store(&d, write_one(&a));
    store(&d, write_batch(&b, (struct writing){.lamport = 1000}));
    s[0] = subscribe_at(&d, "t", &VECTOR({3, 1}));
    s[1] = resume(&d, &nothing, 5000);
    s[2] = subscribe_at(&d, "t", &VECTOR({3, 3}));
    s[3] = subscribe_at(&d, "t", &VECTOR({3, 3}, {5, 1}));
    assert_next(&d, s[0], 3, 2);
    /* This one has a page in hand that was read before. */
    d.j.tail.bytes_max = 1;
    store(&d, write_one(&b));
    sessions_page(&d.all, pool_handle(s[1]), assert_reads(&d, s[1], READ_AT_LSN));
    assert_next(&d, s[1], 3, 1);
    disk_retains(&d, 3);
    core_hears(&d, (uint64_t[]){3}, 1);

    assert_gap(&d, s[0], 3, 3, 3);
    sessions_page(&d.all, pool_handle(s[0]), assert_reads(&d, s[0], READ_AT_LSN));
    assert_next(&d, s[0], 5, 1);
    for (uint64_t seq = 2; seq <= 3; seq++)
        assert_next(&d, s[1], 3, seq);
    assert_next(&d, s[1], 5, 1);
    assert_next(&d, s[1], 5, 2);
    sessions_page(&d.all, pool_handle(s[2]), assert_reads(&d, s[2], READ_AT_LSN));
    assert_next(&d, s[2], 5, 1);
    for (int i = 0; i < 4; i++) {
        struct entry e;
        if (i != 1)
            assert_next(&d, s[i], 5, 2);
        assert_int_equal(session_pull(&d.all, s[i], &d.j, &e), ERR_MORE);
        assert_cursor(&d, s[i], &VECTOR({5, 2}));
    }
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when one that had read all, or asked for newer messages alone, is told of it; or when
 * who had read more of it elsewhere carries it in its cursor for as long as it stays. */
static void
a_stream_is_retired_under_others(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1);
    store(&d, write_one(&a));
    store(&d, write_batch(&b, (struct writing){.lamport = 1000}));
    struct session *live  = subscribe_at(&d, "t", &VECTOR({3, 1}, {5, 1}));
    struct session *ahead = subscribe_at(&d, "t", &VECTOR({3, 2}, {5, 1}));
    struct session *since = subscribe(&d, "t", 1);
    session_start_since(&d.all, since, &d.j, (struct wall){2});
    assert_cursor(&d, ahead, &VECTOR({3, 2}, {5, 1}));
    disk_retains(&d, 1);
    core_hears(&d, (uint64_t[]){3}, 1);
    sessions_page(&d.all, pool_handle(since), assert_reads(&d, since, READ_SINCE));
    assert_next(&d, since, 5, 1);
    assert_quiet(&d, since);
    assert_cursor(&d, ahead, &VECTOR({5, 1}));
    store(&d, write_one(&b));
    assert_next(&d, live, 5, 2);
    assert_quiet(&d, live);
    close_desk(&d);
}

/* Broken when cursors keep the thousands of streams of a cluster's restarts for ever. */
static void
cursors_shrink(void **state)
{
    (void)state;
    enum { STREAMS = 5000 };
    static struct mark         mark[STREAMS];
    static uint64_t            id[STREAMS];
    static struct stream_floor floor[STREAMS];
    struct desk                d;
    struct vector              v;
    uint64_t                   stamp;
    open_desk(&d, 1 << 20);
    for (uint32_t i = 0; i < STREAMS; i++) {
        struct writer w = writer_of(id[i] = i + 1);
        journal_put(&d.j, write_batch(&w, (struct writing){.lamport = i + 1}));
        mark[i]  = (struct mark){i + 1, 1};
        floor[i] = (struct stream_floor){.stream = i + 1, .floor = 1};
    }
    struct vector all = {mark, STREAMS, STREAMS};
    vector_init(&v);
    struct session *s = subscribe_at(&d, "t", &all);
    assert_true(session_cursor(s, &d.j, &v, &stamp));
    assert_int_equal(v.count, STREAMS);
    journal_retain(&d.j, &(struct retained){.lsn_first     = STREAMS + 1,
                                            .floor         = floor,
                                            .count         = STREAMS,
                                            .retired       = id,
                                            .retired_count = STREAMS - 1});
    assert_true(session_cursor(s, &d.j, &v, &stamp));
    assert_int_equal(v.count, 1);
    assert_int_equal(stamp, STREAMS);
    s = resume(&d, &all, STREAMS); /* one from before comes back */
    assert_quiet(&d, s);
    assert_true(session_cursor(s, &d.j, &v, &stamp));
    assert_int_equal(v.count, 1);
    vector_fini(&v);
    close_desk(&d);
}

/* ---- reads ---- */

/* Broken when topics are looked up where a pattern was asked for: most would be missing. */
static void
exact_topics_are_said_to_the_reader(void **state)
{
    (void)state;
    static const struct {
        struct str filter[2];
        bool       literal;
    } row[] = {
        {{{(const uint8_t *)"a/b", 3}, {(const uint8_t *)"c", 1}}, true},
        {{{(const uint8_t *)"a/b", 3}, {(const uint8_t *)"c/+", 3}}, false},
        {{{(const uint8_t *)"#", 1}, {(const uint8_t *)"c", 1}}, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct desk     d;
        struct session *s;
        struct entry    e;
        struct read     r;
        struct writer   w = writer_of(7);
        open_desk(&d, 1);
        store(&d, write_one(&w));
        store(&d, write_one(&w));
        assert_int_equal(session_open(&d.all, row[i].filter, 2, 0, &s), ERR_OK);
        assert_int_equal(session_start_at(&d.all, s, &d.j, &nothing, 0), ERR_OK);
        assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
        assert_ptr_equal(sessions_next_read(&d.all, &d.j, &r), s);
        assert_int_equal(r.literal_count, row[i].literal ? 2 : 0);
        for (uint32_t k = 0; k < r.literal_count; k++) {
            assert_true(str_eq(r.literal[k], row[i].filter[k]));
            assert_ptr_not_equal(r.literal[k].p, row[i].filter[k].p); /* the reader outlives us */
        }
        if (!row[i].literal)
            assert_null(r.literal);
        close_desk(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_wakes_everybody),
        cmocka_unit_test(a_gap_at_the_front_of_a_stream),
        cmocka_unit_test(a_gap_is_cut_to_what_was_not_seen),
        cmocka_unit_test(only_a_gap_is_missing),
        cmocka_unit_test(what_retention_took_is_named_first),
        cmocka_unit_test(retention_overtakes_one_that_reads),
        cmocka_unit_test(retention_overtakes_one_in_memory),
        cmocka_unit_test(a_dropped_page_costs_no_gap),
        cmocka_unit_test(since_a_time_keeps_its_place),
        cmocka_unit_test(a_damaged_message_is_a_gap_of_one),
        cmocka_unit_test(what_may_be_mended_is_waited_for),
        cmocka_unit_test(retired_streams_are_named_by_the_stamp),
        cmocka_unit_test(one_may_leave_between_retired_streams),
        cmocka_unit_test(other_starts_lack_no_retired_stream),
        cmocka_unit_test(a_stream_is_retired_under_one_that_lags),
        cmocka_unit_test(a_stream_is_retired_under_others),
        cmocka_unit_test(cursors_shrink),
        cmocka_unit_test(exact_topics_are_said_to_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
