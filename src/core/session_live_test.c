/* What is live, in the eyes of subscriptions. */
#include "core/session.h"

#include "tests/session_kit.h"

/* A batch of `count` messages; bodies are the stamps from `lamport` on. */
static struct batch *
live_batch(const char *topic, uint32_t count, uint64_t lamport)
{
    static char       body[BATCH_MESSAGES_MAX][24];
    static struct msg msg[BATCH_MESSAGES_MAX];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(body[i], sizeof body[i], "%llu", (unsigned long long)(lamport + i));
        msg[i] = (struct msg){.topic = str_of(topic), .body = str_of(body[i])};
    }
    const struct batch_parts p = {
        .lamport_first = lamport, .origin = STR("o:1"), .msg = msg, .count = count};
    return batch_make_live(&p);
}

static void
come(struct desk *d, const char *topic, uint32_t count, uint64_t lamport)
{
    struct batch *b = live_batch(topic, count, lamport);
    sessions_live(&d->all, b);
    blob_drop(b);
}

static void
expect_live(struct desk *d, struct session *s, uint64_t lamport, uint64_t lost)
{
    struct entry e;
    char         body[24];
    snprintf(body, sizeof body, "%llu", (unsigned long long)lamport);
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_OK);
    assert_true(e.live > 0 && e.gap_to == 0 && e.mark.stream == 0 && e.lsn == 0);
    assert_int_equal(e.lamport, lamport);
    assert_int_equal(e.lost, lost);
    assert_true(str_eq(e.body, str_of(body)));
    assert_true(str_eq(e.origin, STR("o:1")));
}

static void
expect_stored(struct desk *d, struct session *s, struct mark m)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_OK);
    assert_int_equal(e.live, 0);
    assert_int_equal(e.mark.stream, m.stream);
    assert_int_equal(e.mark.seq, m.seq);
}

static void
expect_nothing(struct desk *d, struct session *s)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_MORE);
}

/* Broken when a live message does not come to whoever listens, comes twice (by two filters, or
 * two pulls), to who does not listen, or wakes nobody. */
static void
it_comes_once_to_each_that_listens(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1 << 20);
    struct session *a = subscribe_at(&d, "x/#", &nothing), *b = subscribe_at(&d, "y", &nothing), *c;
    const struct str two[] = {STR("x/+"), STR("x/1")};
    assert_int_equal(session_open(&d.all, two, 2, 3, &c), ERR_OK);
    assert_int_equal(session_start_at(&d.all, c, &d.j, &nothing, 0), ERR_OK);
    while (sessions_next_ready(&d.all))
        ;
    come(&d, "x/1", 2, 10);
    uint32_t woken = 0;
    for (struct session *s; (s = sessions_next_ready(&d.all)); woken++)
        assert_ptr_not_equal(s, b);
    assert_int_equal(woken, 2);
    for (uint64_t stamp = 10; stamp < 12; stamp++) {
        expect_live(&d, a, stamp, 0);
        expect_live(&d, c, stamp, 0);
    }
    expect_nothing(&d, a);
    expect_nothing(&d, b);
    expect_nothing(&d, c);
    assert_int_equal(d.all.live_deliveries, 4);
    assert_int_equal(d.all.shelf.bytes, 0);
    close_desk(&d);
}

/* Broken when a live message moves a cursor, so that what is stored would be skipped. */
static void
it_moves_no_cursor(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    struct vector cursor;
    uint64_t      stamp;
    open_desk(&d, 1 << 20);
    struct session *s = subscribe_at(&d, "t", &nothing);
    store(&d, write_one(&w));
    come(&d, "t", 1, 1000);
    expect_live(&d, s, 1000, 0);
    vector_init(&cursor);
    assert_true(session_cursor(s, &d.j, &cursor, &stamp));
    assert_vector(&cursor, &nothing);
    assert_int_equal(stamp, 0);
    expect_stored(&d, s, (struct mark){7, 1});
    expect_nothing(&d, s);
    assert_true(session_cursor(s, &d.j, &cursor, &stamp));
    assert_vector(&cursor, &VECTOR({7, 1}));
    vector_fini(&cursor);
    close_desk(&d);
}

/* Broken when the live ones wait for all of the log, or the log for all that is live. */
static void
live_and_log_take_turns(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_desk(&d, 1 << 20);
    for (int i = 0; i < 3; i++)
        store(&d, write_one(&w));
    struct session *s = subscribe_at(&d, "t", &nothing);
    come(&d, "t", 3, 50);
    for (uint64_t i = 0; i < 3; i++) {
        expect_live(&d, s, 50 + i, 0);
        expect_stored(&d, s, (struct mark){7, i + 1});
    }
    expect_nothing(&d, s);
    close_desk(&d);
}

/* Broken when who waits for the disk gets nothing live meanwhile, or is not woken for it. */
static void
it_comes_while_the_disk_is_read(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    struct read   r;
    struct entry  e;
    open_desk(&d, 0); /* all lies on disk alone */
    store(&d, write_one(&w));
    store(&d, write_one(&w));
    struct session *s = subscribe_at(&d, "t", &nothing);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
    assert_ptr_equal(sessions_next_read(&d.all, &d.j, &r), s);
    come(&d, "t", 1, 50);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    expect_live(&d, s, 50, 0);
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
    sessions_page(&d.all, pool_handle(s), page_of(&d, &r));
    expect_stored(&d, s, (struct mark){7, 1});
    close_desk(&d);
}

/* Broken when who takes nothing is woken again and again, is dropped, keeps memory without
 * end, or is not told how much it lost.  Topics in turns: so no two lie behind one another. */
static void
who_takes_nothing_loses_the_oldest_and_hears_it(void **state)
{
    (void)state;
    enum { MORE = 5 };
    struct desk d;
    open_desk(&d, 1 << 20);
    struct session *s = subscribe_at(&d, "t", &nothing);
    while (sessions_next_ready(&d.all))
        ;
    come(&d, "t", 1, 1);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    for (uint64_t i = 1; i < LIVE_RUNS_MAX + MORE; i++) {
        come(&d, "t", 1, 1 + i);
        assert_null(sessions_next_ready(&d.all));
    }
    assert_int_equal(d.all.live_runs, LIVE_RUNS_MAX);
    assert_int_equal(d.all.shelf.lost, MORE);
    expect_live(&d, s, 1 + MORE, MORE);
    for (uint64_t i = MORE + 1; i < LIVE_RUNS_MAX + MORE; i++)
        expect_live(&d, s, 1 + i, 0);
    expect_nothing(&d, s);
    assert_null(s->live); /* the memory of a long wait is given back */
    assert_int_equal(d.all.live_runs, 0);
    close_desk(&d);
}

/* Broken when what one does not take is lost for another who does, is not counted when the shelf
 * was too short for it, or stays when its client leaves. */
static void
the_shelf_is_bounded_for_all(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1 << 20);
    struct session *slow  = subscribe_at(&d, "t", &nothing),
                   *quick = subscribe_at(&d, "t", &nothing);
    uint64_t stamp        = 1;
    for (; d.all.shelf.first == 0; stamp += BATCH_MESSAGES_MAX) {
        come(&d, "t", BATCH_MESSAGES_MAX, stamp);
        for (uint64_t i = 0; i < BATCH_MESSAGES_MAX; i++)
            expect_live(&d, quick, stamp + i, 0);
    }
    assert_true(d.all.shelf.bytes <= LIVE_WAITING_BYTES_MAX);
    uint64_t gone = d.all.shelf.first * BATCH_MESSAGES_MAX;
    assert_int_equal(d.all.shelf.lost, gone); /* at once, though its client does not ask */
    assert_int_equal(session_next_live(&d.all, slow), 0); /* it has to hear of them first */
    expect_live(&d, slow, 1 + gone, gone);
    assert_int_not_equal(session_next_live(&d.all, slow), 0);
    assert_int_equal(d.all.shelf.lost, gone);
    session_close(&d.all, slow);
    assert_int_equal(d.all.shelf.lost, gone); /* who leaves has lost nothing */
    assert_int_equal(d.all.shelf.bytes, 0);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when the next poll of a client gets what another asked for, loses what it has already,
 * or takes what is no longer there. */
static void
what_waits_goes_to_who_asks_for_the_same(void **state)
{
    (void)state;
    struct desk      d;
    struct session  *two;
    const struct str both[] = {STR("t"), STR("u")};
    open_desk(&d, 1 << 20);
    struct session *one   = subscribe_at(&d, "t", &nothing);
    struct session *other = subscribe_at(&d, "u", &nothing);
    struct session *same  = subscribe_at(&d, "t", &nothing);
    assert_int_equal(session_open(&d.all, both, 2, 4, &two), ERR_OK);
    assert_int_equal(session_start_at(&d.all, two, &d.j, &nothing, 0), ERR_OK);
    session_take_live(&d.all, one, same); /* there is nothing */
    assert_false(session_has_live(same));
    come(&d, "t", 1, 1);
    session_take_live(&d.all, one, one);
    session_take_live(&d.all, one, other);
    session_take_live(&d.all, one, two);
    session_take_live(&d.all, one, same); /* which has one of its own */
    assert_false(session_has_live(other));
    expect_live(&d, same, 1, 0);
    expect_nothing(&d, same);
    expect_live(&d, one, 1, 0);
    expect_live(&d, two, 1, 0);

    struct session *next = subscribe_at(&d, "t", &nothing);
    while (sessions_next_ready(&d.all))
        ;
    session_take_live(&d.all, one, next); /* all of it was delivered */
    assert_null(sessions_next_ready(&d.all));
    expect_nothing(&d, next);
    come(&d, "t", 1, 2);
    next = subscribe_at(&d, "t", &nothing);
    while (sessions_next_ready(&d.all))
        ;
    session_take_live(&d.all, one, next);
    assert_ptr_equal(sessions_next_ready(&d.all), next);
    expect_live(&d, next, 2, 0);
    expect_nothing(&d, one);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(it_comes_once_to_each_that_listens),
        cmocka_unit_test(it_moves_no_cursor),
        cmocka_unit_test(live_and_log_take_turns),
        cmocka_unit_test(it_comes_while_the_disk_is_read),
        cmocka_unit_test(who_takes_nothing_loses_the_oldest_and_hears_it),
        cmocka_unit_test(the_shelf_is_bounded_for_all),
        cmocka_unit_test(what_waits_goes_to_who_asks_for_the_same),
    };
    return cmocka_run_group_tests_name("session_live", test, NULL, NULL);
}
