#include "core/session.h"

#include "core/vector.h"
#include "tests/session_kit.h"

/* ---- starting ---- */

/* Broken when a live subscriber gets old messages, or none, or the same twice. */
static void
one_at_the_head_gets_what_comes(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&w, (struct writing){.count = 2}));
    struct session *s = subscribe_at(&d, "t", &VECTOR({7, 2}));
    assert_null(sessions_next_ready(&d.all));
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({7, 2}));
    store(&d, write_batch(&w, (struct writing){.topic = "other"}));
    assert_null(sessions_next_ready(&d.all)); /* not its topic */
    assert_cursor(&d, s, &VECTOR({7, 3}));    /* ... but its cursor moves */
    store(&d, write_batch(&w, (struct writing){.count = 2}));
    store(&d, write_one(&w));
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_null(sessions_next_ready(&d.all)); /* woken once */
    assert_next(&d, s, 7, 4);
    assert_cursor(&d, s, &VECTOR({7, 4}));
    assert_next(&d, s, 7, 5);
    assert_next(&d, s, 7, 6);
    assert_quiet(&d, s);
    assert_int_equal(d.all.deliveries, 3);
    assert_null(s->seen.at); /* one that waits takes no memory */
    close_desk(&d);
}

/* Broken when an entry is delivered with the place, stamp or origin of another. */
static void
an_entry_says_where_it_is_from(void **state)
{
    (void)state;
    struct desk   d;
    struct entry  e;
    struct writer w = writer_of(7);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&w, (struct writing){.count = 3, .lamport = 40}));
    struct session *s = subscribe_at(&d, "#", &VECTOR({7, 1}));
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_OK);
    assert_int_equal(e.lsn, 2);
    assert_int_equal(e.mark.seq, 2);
    assert_int_equal(e.lamport, 41);
    assert_int_equal(e.wall.ms, 1700000000000);
    assert_true(str_eq(e.origin, STR("host:3000")));
    assert_true(str_eq(e.topic, STR("t")));
    assert_true(str_eq(e.body, STR("2")));
    assert_false(e.late);
    close_desk(&d);
}

/* Broken when a message that was removed is delivered as an empty one, or passed over in
 * silence; or told one by one with hundreds of neighbours. */
static void
digests_are_a_gap(void **state)
{
    (void)state;
    struct desk        d;
    const struct msg   msg[4] = {{.flags = MSG_DIGEST_ONLY},
                                 {.flags = MSG_DIGEST_ONLY},
                                 {.topic = {(const uint8_t *)"t", 1}},
                                 {.flags = MSG_DIGEST_ONLY}};
    struct batch_parts parts  = {
         .stream = 7, .first = 1, .lamport_first = 1, .origin = STR("h:1"), .msg = msg, .count = 1};
    open_desk(&d, 1 << 20);
    struct session *s     = subscribe_at(&d, "#", &nothing);
    struct batch   *first = batch_make(&parts);
    struct hash128  chain = first->chain;
    store(&d, first);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_gap(&d, s, 7, 1, 1);
    parts = (struct batch_parts){
        .stream = 7, .first = 2, .prev = chain, .lamport_first = 2, .msg = msg, .count = 4};
    store(&d, batch_make(&parts));
    assert_gap(&d, s, 7, 2, 3);
    assert_next(&d, s, 7, 4);
    assert_gap(&d, s, 7, 5, 5);
    assert_quiet(&d, s);
    s = subscribe_at(&d, "no such topic", &VECTOR({7, 2}));
    assert_gap(&d, s, 7, 3, 3);
    assert_gap(&d, s, 7, 5, 5);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a cursor in the middle of a batch repeats or skips the rest of it. */
static void
one_behind_starts_at_what_it_lacks(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 3}));
    store(&d, write_batch(&b, (struct writing){.count = 2}));
    store(&d, write_one(&a));
    struct session *s = subscribe_at(&d, "t", &VECTOR({3, 2}, {5, 1}));
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_next(&d, s, 3, 3);
    assert_next(&d, s, 5, 2); /* 5-1 lies behind 3-3 and is skipped */
    assert_next(&d, s, 3, 4);
    assert_quiet(&d, s);
    s = subscribe_at(&d, "t", &nothing);
    assert_next(&d, s, 3, 1);
    close_desk(&d);
}

/* Broken when a client that moved here gets what it saw at another broker, once it arrives. */
static void
a_cursor_ahead_of_this_broker_is_kept(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    store(&d, write_one(&a));
    struct session *s = subscribe_at(&d, "t", &VECTOR({3, 2}, {5, 2}, {9, 4}));
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 2}, {9, 4}));
    store(&d, write_batch(&b, (struct writing){.count = 3}));
    assert_next(&d, s, 5, 3);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 3}, {9, 4}));
    store(&d, write_one(&a)); /* 3-2: seen */
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 3}, {9, 4}));
    store(&d, write_one(&a));
    assert_next(&d, s, 3, 3);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when the highest stamp of a cursor falls: retired streams would look like gaps. */
static void
a_cursor_carries_the_highest_stamp(void **state)
{
    (void)state;
    struct desk     d;
    struct vector   v;
    uint64_t        stamp;
    struct writer   w = writer_of(3);
    struct session *s;
    open_desk(&d, 1 << 20);
    vector_init(&v);
    store(&d, write_batch(&w, (struct writing){.lamport = 10}));
    s = subscribe(&d, "t", 1);
    assert_int_equal(session_start_at(&d.all, s, &d.j, &nothing, 7), ERR_OK);
    assert_true(session_cursor(s, &d.j, &v, &stamp));
    assert_int_equal(stamp, 7);
    assert_next(&d, s, 3, 1);
    assert_true(session_cursor(s, &d.j, &v, &stamp));
    assert_int_equal(stamp, 10);
    assert_quiet(&d, s);
    store(&d, write_batch(&w, (struct writing){.topic = "other", .lamport = 20}));
    assert_true(session_cursor(s, &d.j, &v, &stamp));
    assert_int_equal(stamp, 20);
    vector_fini(&v);
    close_desk(&d);
}

/* ---- from the disk ---- */

/* Broken when what is no longer in memory is lost, or delivered twice where the disk's
 * part and the memory's part meet. */
static void
history_comes_from_disk_and_goes_on_in_memory(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_desk(&d, 1);
    for (int i = 0; i < 4; i++)
        store(&d, write_batch(&w, (struct writing){.count = 2}));
    assert_int_equal(d.j.tail.lsn_first, 7);
    struct session *s = subscribe_at(&d, "t", &VECTOR({7, 1}));
    d.page_max        = 3; /* ends in the middle of a batch */
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_next(&d, s, 7, 2);
    assert_cursor(&d, s, &VECTOR({7, 2}));
    assert_next(&d, s, 7, 3);
    assert_next(&d, s, 7, 4);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_next(&d, s, 7, 5);
    store(&d, write_one(&w)); /* the tail moves on meanwhile */
    assert_int_equal(d.j.tail.lsn_first, 9);
    assert_next(&d, s, 7, 6);
    assert_next(&d, s, 7, 7);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_next(&d, s, 7, 8);
    assert_next(&d, s, 7, 9);
    assert_quiet(&d, s);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when scanning what nobody wants leads nowhere: the same page is read for ever. */
static void
a_page_without_matches_moves_the_cursor(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1);
    store(&d, write_batch(&a, (struct writing){.count = 2, .topic = "other", .lamport = 90}));
    store(&d, write_batch(&b, (struct writing){.topic = "other"}));
    store(&d, write_one(&b));
    struct session *s = subscribe_at(&d, "t", &nothing);
    d.page_max        = 2;
    struct page *p    = assert_reads(&d, s, READ_AT_VECTOR);
    assert_int_equal(p->lsn_first, 1);
    assert_int_equal(p->lsn_next, 3);
    assert_int_equal(p->count, 0);
    sessions_page(&d.all, pool_handle(s), p);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_cursor(&d, s, &VECTOR({3, 2}));
    assert_int_equal(s->stamp, 91);
    assert_next(&d, s, 5, 2);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 2}));
    close_desk(&d);
}

/* Broken when `since` delivers too much, or its cursor would deliver the old again. */
static void
since_a_time_starts_where_the_disk_says(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 2}));
    store(&d, write_one(&b));
    store(&d, write_one(&a));
    struct session *s = subscribe(&d, "t", 1);
    session_start_since(&d.all, s, &d.j, (struct wall){2});
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    /* A cursor from before the page would mean the earliest: all of it again. */
    struct vector v;
    uint64_t      stamp;
    vector_init(&v);
    assert_false(session_cursor(s, &d.j, &v, &stamp));
    vector_fini(&v);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_SINCE));
    assert_cursor(&d, s, &VECTOR({3, 2}));
    assert_next(&d, s, 5, 1);
    assert_next(&d, s, 3, 3);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a disk that cannot be read is asked without end, or never again. */
static void
a_failed_read_waits_to_be_retried(void **state)
{
    (void)state;
    struct desk   d;
    struct entry  e;
    struct read   r;
    struct writer w = writer_of(7);
    open_desk(&d, 1);
    store(&d, write_one(&w));
    store(&d, write_one(&w));
    struct session *s = subscribe_at(&d, "t", &nothing);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    blob_drop(assert_reads(&d, s, READ_AT_VECTOR));
    sessions_page(&d.all, pool_handle(s), NULL);
    assert_null(sessions_next_ready(&d.all));
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
    assert_null(sessions_next_read(&d.all, &d.j, &r));
    sessions_retry(&d.all);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_next(&d, s, 7, 1);
    assert_next(&d, s, 7, 2);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* ---- filters and limits ---- */

/* Broken when a message that two filters want comes twice, or one of them is forgotten. */
static void
several_filters_are_one_subscription(void **state)
{
    (void)state;
    struct desk      d;
    struct session  *s        = NULL;
    const struct str filter[] = {STR("a/+"), STR("a/#"), STR("b")};
    struct writer    w        = writer_of(7);
    open_desk(&d, 1 << 20);
    assert_int_equal(session_open(&d.all, filter, 3, 5, &s), ERR_OK);
    assert_int_equal(session_start_at(&d.all, s, &d.j, &nothing, 0), ERR_OK);
    store(&d, write_batch(&w, (struct writing){.topic = "a/x"}));
    store(&d, write_batch(&w, (struct writing){.topic = "c"}));
    store(&d, write_batch(&w, (struct writing){.topic = "b"}));
    assert_next(&d, s, 7, 1);
    assert_next(&d, s, 7, 3);
    assert_quiet(&d, s);
    uint64_t handle = pool_handle(s);
    assert_ptr_equal(sessions_find(&d.all, handle), s);
    session_close(&d.all, s);
    assert_null(sessions_find(&d.all, handle));
    store(&d, write_batch(&w, (struct writing){.topic = "b"})); /* wakes nobody */
    assert_null(sessions_next_ready(&d.all));
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when one session too many takes memory, or spoils those that are. */
static void
sessions_and_filters_are_limited(void **state)
{
    (void)state;
    struct desk     d;
    struct session *s;
    struct str      filter[FILTERS_MAX];
    for (uint32_t i = 0; i < FILTERS_MAX; i++)
        filter[i] = STR("a");
    open_desk(&d, 1 << 20);
    for (uint32_t i = 0; i < SUBSCRIBED_FILTERS_MAX / FILTERS_MAX; i++)
        assert_int_equal(session_open(&d.all, filter, FILTERS_MAX, i, &s), ERR_OK);
    assert_int_equal(session_open(&d.all, filter, 1, 0, &s), ERR_LIMIT);
    size_t used = blob_bytes_used();
    assert_int_equal(session_open(&d.all, filter, 2, 0, &s), ERR_LIMIT);
    assert_int_equal(blob_bytes_used(), used);
    assert_int_equal(d.all.pool.used, SUBSCRIBED_FILTERS_MAX / FILTERS_MAX);
    assert_int_equal(subs_count(&d.all.subs), SUBSCRIBED_FILTERS_MAX);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);

    open_desk(&d, 1 << 20);
    for (uint32_t i = 0; i < SESSIONS_MAX; i++)
        assert_int_equal(session_open(&d.all, filter, 1, i, &s), ERR_OK);
    assert_int_equal(session_open(&d.all, filter, 1, 0, &s), ERR_LIMIT);
    const struct vector monster = {.count = STREAMS_MAX + 1};
    assert_int_equal(session_start_at(&d.all, s, &d.j, &monster, 0), ERR_LIMIT);
    close_desk(&d);
}

/* Broken when clients that ask for history and leave at once pile up reads without end. */
static void
reads_under_way_are_limited(void **state)
{
    (void)state;
    struct desk     d;
    struct session *s = NULL;
    struct read     r;
    struct entry    e;
    struct str      filter = STR("t");
    struct writer   w      = writer_of(7);
    open_desk(&d, 1);
    for (int i = 0; i < 4; i++)
        store(&d, write_one(&w)); /* all but the newest on disk alone */
    uint64_t first = 0;
    for (uint32_t i = 0; i <= READS_MAX; i++) {
        assert_int_equal(session_open(&d.all, &filter, 1, i, &s), ERR_OK);
        assert_int_equal(session_start_at(&d.all, s, &d.j, &VECTOR({0, 0}), 0), ERR_OK);
        assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
        first = i == 0 ? pool_handle(s) : first;
    }
    for (uint32_t i = 0; i < READS_MAX; i++)
        assert_non_null(sessions_next_read(&d.all, &d.j, &r));
    assert_int_equal(session_pull(&d.all, sessions_find(&d.all, first), &d.j, &e), ERR_BUSY);
    assert_null(sessions_next_read(&d.all, &d.j, &r));
    session_close(&d.all, sessions_find(&d.all, first));
    assert_null(sessions_next_read(&d.all, &d.j, &r)); /* its read is still under way */
    sessions_page(&d.all, first, NULL);
    assert_ptr_equal(sessions_next_read(&d.all, &d.j, &r), s);
    uint64_t last = pool_handle(s);
    session_close(&d.all, s);
    sessions_cut(&d.all, last, NULL, 2); /* told of something damaged, it is gone */
    assert_int_equal(d.all.reads, READS_MAX - 1);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when thousands of clients that do not read hold a page each, or when one whose page
 * was dropped misses a message or gets one twice. */
static void
who_stalls_does_not_hold_pages(void **state)
{
    (void)state;
    enum { CLIENTS = 200 };
    struct desk     d;
    struct session *s[CLIENTS];
    struct entry    e;
    struct read     r;
    struct writer   w = writer_of(7);
    open_desk(&d, 1);
    for (int i = 0; i < 4; i++)
        store(&d, write_one(&w)); /* all but the newest on disk alone */
    for (uint32_t i = 0; i < CLIENTS; i++) {
        s[i] = subscribe_at(&d, "t", &VECTOR({0, 0}));
        sessions_page(&d.all, pool_handle(s[i]), assert_reads(&d, s[i], READ_AT_VECTOR));
        assert_next(&d, s[i], 7, 1);
    }
    size_t held = d.all.page_bytes;
    for (uint32_t i = 0; i < CLIENTS; i++)
        session_stall(&d.all, s[i]);
    assert_true(d.all.page_bytes < held);
    assert_true(d.all.page_bytes > held / 50); /* for those that may read on */
    held = d.all.page_bytes;
    assert_next(&d, s[CLIENTS - 1], 7, 2); /* it stalled last */
    session_stall(&d.all, s[CLIENTS - 1]);
    assert_int_equal(d.all.page_bytes, held);
    assert_next(&d, s[CLIENTS - 1], 7, 3);
    assert_int_equal(session_pull(&d.all, s[0], &d.j, &e), ERR_BUSY);
    assert_ptr_equal(sessions_next_read(&d.all, &d.j, &r), s[0]);
    sessions_page(&d.all, pool_handle(s[0]), page_of(&d, &r));
    for (uint64_t seq = 2; seq <= 4; seq++)
        assert_next(&d, s[0], 7, seq);
    session_stall(&d.all, s[0]); /* done with: nothing is read again */
    assert_quiet(&d, s[0]);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_the_head_gets_what_comes),
        cmocka_unit_test(an_entry_says_where_it_is_from),
        cmocka_unit_test(digests_are_a_gap),
        cmocka_unit_test(one_behind_starts_at_what_it_lacks),
        cmocka_unit_test(a_cursor_ahead_of_this_broker_is_kept),
        cmocka_unit_test(a_cursor_carries_the_highest_stamp),
        cmocka_unit_test(history_comes_from_disk_and_goes_on_in_memory),
        cmocka_unit_test(a_page_without_matches_moves_the_cursor),
        cmocka_unit_test(since_a_time_starts_where_the_disk_says),
        cmocka_unit_test(a_failed_read_waits_to_be_retried),
        cmocka_unit_test(several_filters_are_one_subscription),
        cmocka_unit_test(sessions_and_filters_are_limited),
        cmocka_unit_test(reads_under_way_are_limited),
        cmocka_unit_test(who_stalls_does_not_hold_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
