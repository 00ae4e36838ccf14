#include "core/place.h"

#include "base/prng.h"
#include "core/vector.h"
#include "tests/session_kit.h"

/* A desk with one batch of two in the log, and a writer for more. */
static struct writer
open_with_two(struct desk *d)
{
    struct writer w = writer_of(7);
    open_desk(d, 1 << 20);
    store(d, write_batch(&w, (struct writing){.count = 2}));
    return w;
}

/* ---- finding each other ---- */

/* Broken when what was delivered to one is not found to be what another gets, or when that one
 * is not as if it had pulled it by itself. */
static void
who_stands_in_one_place_goes_on_alike(void **state)
{
    (void)state;
    struct desk     d;
    struct place    from, to;
    struct writer   w   = open_with_two(&d);
    struct session *one = subscribe_at(&d, "t", &VECTOR({7, 2}));
    struct session *two = subscribe_at(&d, "t", &VECTOR({7, 2}));
    place_init(&from);
    place_init(&to);
    store(&d, write_batch(&w, (struct writing){.count = 3}));
    assert_true(place_take(&from, &d.all, one, &d.j));
    assert_true(place_is(&from, &d.all, two));
    assert_next(&d, one, 7, 3);
    assert_false(place_is(&from, &d.all, one)); /* it went on */

    assert_true(place_take(&to, &d.all, one, &d.j)); /* on the way */
    place_move(&d.all, two, &to, 1);
    assert_true(place_is(&to, &d.all, two));
    assert_cursor(&d, two, &VECTOR({7, 3}));
    assert_next(&d, one, 7, 4);
    assert_next(&d, two, 7, 4);

    assert_true(place_take(&from, &d.all, two, &d.j)); /* to the end */
    assert_next(&d, one, 7, 5);
    assert_quiet(&d, one);
    assert_true(place_take(&to, &d.all, one, &d.j));
    assert_true(place_is(&from, &d.all, two));
    place_move(&d.all, two, &to, 1);
    assert_quiet(&d, two);
    assert_cursor(&d, two, &VECTOR({7, 5}));
    assert_int_equal(two->stamp, one->stamp);
    assert_int_equal(d.all.deliveries, 6);
    store(&d, write_one(&w));
    assert_next(&d, two, 7, 6);
    place_fini(&from);
    place_fini(&to);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when somebody gets what another wanted, has seen or was told, or by another cursor. */
static void
who_differs_stands_elsewhere(void **state)
{
    (void)state;
    struct desk   d;
    struct place  p;
    struct writer w = open_with_two(&d);
    place_init(&p);
    struct session *one     = subscribe_at(&d, "t", &VECTOR({7, 2}));
    struct session *filter  = subscribe_at(&d, "#", &VECTOR({7, 2}));
    struct session *ahead   = subscribe_at(&d, "t", &VECTOR({7, 2}, {9, 1}));
    struct session *behind  = subscribe_at(&d, "t", &VECTOR({7, 1}));
    struct session *stamped = subscribe(&d, "t", 1);
    assert_int_equal(session_start_at(&d.all, stamped, &d.j, &VECTOR({7, 2}), 99), ERR_OK);
    struct str      both[] = {STR("t"), STR("u")};
    struct session *more;
    assert_int_equal(session_open(&d.all, both, 2, 1, &more), ERR_OK);
    assert_int_equal(session_start_at(&d.all, more, &d.j, &VECTOR({7, 2}), 0), ERR_OK);
    struct session *further = subscribe_at(&d, "t", &VECTOR({7, 2}, {9, 2}));
    store(&d, write_batch(&w, (struct writing){.count = 3}));

    assert_true(place_take(&p, &d.all, ahead, &d.j));
    assert_false(place_is(&p, &d.all, further));
    assert_true(place_take(&p, &d.all, one, &d.j));
    struct session *const others[] = {filter, ahead, behind, stamped, more, further};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(place_is(&p, &d.all, others[i]));
    assert_true(place_is(&p, &d.all, one));
    assert_next(&d, one, 7, 3);
    assert_false(place_is(&p, &d.all, one));
    place_fini(&p);
    close_desk(&d);
}

/* Broken when somebody is passed over what is in no log: a page of history, or a gap for a
 * stream that was retired meanwhile. */
static void
who_reads_something_else_has_none(void **state)
{
    (void)state;
    struct desk   d;
    struct place  p;
    struct writer w = open_with_two(&d), old = writer_of(5);
    place_init(&p);
    store(&d, write_one(&old));
    struct session *since = subscribe(&d, "t", 1);
    session_start_since(&d.all, since, &d.j, (struct wall){1});
    assert_false(place_take(&p, &d.all, since, &d.j));
    struct page *page = assert_reads(&d, since, READ_SINCE);
    assert_false(place_take(&p, &d.all, since, &d.j));
    sessions_page(&d.all, pool_handle(since), page);
    assert_false(place_take(&p, &d.all, since, &d.j));
    assert_next(&d, since, 7, 1);

    struct session *lags = subscribe_at(&d, "t", &VECTOR({7, 1}));
    assert_true(place_take(&p, &d.all, lags, &d.j));
    retain(&d, 2);
    disk_retains(&d, 3);
    core_hears(&d, (uint64_t[]){5}, 1);
    assert_int_equal(lags->gone.count, 1);
    assert_false(place_is(&p, &d.all, lags));
    store(&d, write_one(&w));
    assert_false(place_take(&p, &d.all, lags, &d.j));
    place_fini(&p);
    close_desk(&d);
}

static void
come_live(struct desk *d, const char *topic, uint32_t count)
{
    struct msg m[8];
    for (uint32_t i = 0; i < count; i++)
        m[i] = (struct msg){.topic = str_of(topic), .body = STR("x")};
    const struct batch_parts p = {
        .lamport_first = 50, .origin = STR("o:1"), .msg = m, .count = count};
    struct batch *b = batch_make_live(&p);
    sessions_live(&d->all, b);
    blob_drop(b);
}

static void
assert_live(struct desk *d, struct session *s, uint64_t number)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_OK);
    assert_int_equal(e.live, number);
}

/* Broken when what is stored nowhere is encoded anew for each, is given to who has it already, who
 * came later or wants something else, or is passed over. */
static void
who_waits_for_the_same_live_message_goes_on_alike(void **state)
{
    (void)state;
    struct desk     d;
    struct place    from, to;
    struct writer   w     = open_with_two(&d);
    struct session *one   = subscribe_at(&d, "t", &VECTOR({7, 2}));
    struct session *two   = subscribe_at(&d, "t", &VECTOR({7, 2}));
    struct session *other = subscribe_at(&d, "#", &VECTOR({7, 2}));
    place_init(&from);
    place_init(&to);
    come_live(&d, "t", 2);
    struct session *late = subscribe_at(&d, "t", &VECTOR({7, 2}));
    come_live(&d, "t", 3);
    assert_true(place_take(&from, &d.all, one, &d.j));
    uint64_t first = session_next_live(&d.all, one);
    assert_true(place_is(&from, &d.all, two));
    assert_false(place_is(&from, &d.all, other));
    assert_false(place_is(&from, &d.all, late));
    for (uint64_t i = 0; i < 2; i++)
        assert_live(&d, one, first + i);
    assert_false(place_is(&from, &d.all, one));
    uint64_t next = session_next_live(&d.all, one);
    assert_live(&d, one, next);

    assert_true(place_take(&to, &d.all, one, &d.j));
    place_move(&d.all, two, &to, 3); /* more than one batch */
    assert_true(place_is(&to, &d.all, two));
    assert_int_equal(d.all.live_deliveries, 6);
    for (uint64_t i = 1; i < 3; i++) {
        assert_live(&d, one, next + i);
        assert_live(&d, two, next + i);
    }
    assert_quiet(&d, one);
    assert_quiet(&d, two);
    assert_live(&d, late, next);
    assert_true(place_take(&from, &d.all, late, &d.j));
    store(&d, write_one(&w)); /* now it reads the log as well */
    assert_false(place_is(&from, &d.all, late));
    place_fini(&from);
    place_fini(&to);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when who lost some is not told so: another's bytes do not say it. */
static void
who_lost_live_messages_has_none(void **state)
{
    (void)state;
    struct desk  d;
    struct place p;
    (void)open_with_two(&d);
    struct session *slow = subscribe_at(&d, "t", &VECTOR({7, 2}));
    place_init(&p);
    for (uint32_t i = 0; i <= LIVE_RUNS_MAX; i++)
        come_live(&d, "t", 1);
    assert_false(place_take(&p, &d.all, slow, &d.j));
    place_fini(&p);
    close_desk(&d);
}

/* Broken when what is live is passed on to who reads the log, or the log to who has it to take. */
static void
who_has_live_messages_and_reads_has_none(void **state)
{
    (void)state;
    struct desk     d;
    struct place    p;
    struct entry    e;
    struct writer   w   = open_with_two(&d);
    struct session *one = subscribe_at(&d, "t", &VECTOR({7, 2}));
    struct session *two = subscribe_at(&d, "t", &VECTOR({7, 2}));
    place_init(&p);
    come_live(&d, "t", 1);
    assert_int_equal(session_pull(&d.all, one, &d.j, &e), ERR_OK);
    assert_int_equal(session_pull(&d.all, two, &d.j, &e), ERR_OK);
    store(&d, write_one(&w));
    assert_true(place_take(&p, &d.all, one, &d.j));
    assert_true(place_is(&p, &d.all, two));
    come_live(&d, "t", 1);
    assert_false(place_is(&p, &d.all, two));
    assert_false(place_take(&p, &d.all, one, &d.j));
    place_fini(&p);
    close_desk(&d);
}

/* Broken when a place holds, and each delivery compares, thousands of streams. */
static void
many_streams_are_not_compared(void **state)
{
    (void)state;
    struct desk   d;
    struct place  p;
    struct writer w    = open_with_two(&d);
    struct vector seen = {0};
    place_init(&p);
    for (uint64_t i = 1; i <= PLACE_STREAMS_MAX; i++)
        assert_int_equal(vector_raise(&seen, (struct mark){1000 + i, 1}), ERR_OK);
    struct session *many = subscribe_at(&d, "t", &seen);
    struct session *few  = subscribe_at(&d, "t", &VECTOR({7, 2}));
    store(&d, write_one(&w));
    assert_false(place_take(&p, &d.all, many, &d.j));
    assert_true(place_take(&p, &d.all, few, &d.j));
    vector_fini(&seen);
    place_fini(&p);
    close_desk(&d);
}

/* ---- at random ---- */

enum { PEOPLE = 6, WRITERS = 3, STEPS = 120 };

/* Somebody who may be moved, and a twin who pulls all by itself. */
struct person {
    struct session *moved, *alone;
};

/* One entry at most, as the twin gets it. */
static bool
pull_both(struct desk *d, struct person *p)
{
    struct entry a, b;
    enum err     one = session_pull(&d->all, p->moved, &d->j, &a);
    enum err     two = session_pull(&d->all, p->alone, &d->j, &b);
    assert_int_equal(one, two);
    if (one != ERR_OK)
        return false;
    assert_int_equal(a.live, b.live);
    assert_int_equal(a.lsn, b.lsn);
    assert_int_equal(a.gap_to, b.gap_to);
    assert_int_equal(a.mark.seq, b.mark.seq);
    return true;
}

static void
assert_same_cursor(const struct desk *d, const struct person *p)
{
    struct vector a = {0}, b = {0};
    uint64_t      one, two;
    assert_int_equal(session_cursor(p->moved, &d->j, &a, &one),
                     session_cursor(p->alone, &d->j, &b, &two));
    assert_vector(&a, &b);
    assert_int_equal(one, two);
    vector_fini(&a);
    vector_fini(&b);
}

/* One of them is delivered something; all who stand there are moved to where it comes. */
static void
deliver_to(struct desk *d, struct person *all, struct person *first, uint64_t most)
{
    struct place from, to;
    uint32_t     n = 0;
    place_init(&from);
    place_init(&to);
    bool told = place_take(&from, &d->all, first->moved, &d->j);
    while (n < most && pull_both(d, first))
        n++;
    told = told && place_take(&to, &d->all, first->moved, &d->j);
    for (int i = 0; told && i < PEOPLE; i++) {
        struct entry e;
        if (!place_is(&from, &d->all, all[i].moved))
            continue;
        place_move(&d->all, all[i].moved, &to, n);
        for (uint32_t k = 0; k < n; k++)
            assert_int_equal(session_pull(&d->all, all[i].alone, &d->j, &e), ERR_OK);
        if (n < most) /* the first found that there was no more */
            assert_false(pull_both(d, &all[i]));
        assert_same_cursor(d, &all[i]);
    }
    place_fini(&from);
    place_fini(&to);
}

static struct session *
start(struct desk *d, const char *filter, const struct vector *seen, uint64_t stamp)
{
    struct session *s = subscribe(d, filter, 1);
    assert_int_equal(session_start_at(&d->all, s, &d->j, seen, stamp), ERR_OK);
    return s;
}

/* Broken when who is moved gets anything else, or gets cursors other than, who pulls. */
static void
who_is_moved_is_as_who_pulls(void **state)
{
    (void)state;
    const char *const filter[] = {"t", "#", "u"}, *const topic[] = {"t", "u", "x"};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct desk   d;
        struct prng   r          = {seed};
        struct writer w[WRITERS] = {writer_of(7), writer_of(3), writer_of(9)};
        struct person all[PEOPLE];
        open_desk(&d, 1 << 20);
        for (int i = 0; i < PEOPLE; i++) {
            struct vector ahead = VECTOR({9, 1 + prng_below(&r, 5)});
            bool          has   = prng_below(&r, 3) == 0;
            const char   *f     = filter[prng_below(&r, 3)];
            all[i].moved        = start(&d, f, has ? &ahead : &nothing, 0);
            all[i].alone        = start(&d, f, has ? &ahead : &nothing, 0);
        }
        for (int step = 0; step < STEPS; step++) {
            struct writer *writer = &w[prng_below(&r, WRITERS)];
            if (prng_below(&r, 2) == 0)
                store(&d,
                      write_batch(writer, (struct writing){.count = 1 + (uint32_t)prng_below(&r, 4),
                                                           .topic = topic[prng_below(&r, 3)]}));
            else
                deliver_to(&d, all, &all[prng_below(&r, PEOPLE)], 1 + prng_below(&r, 6));
        }
        for (int i = 0; i < PEOPLE; i++) {
            while (pull_both(&d, &all[i]))
                ;
            assert_same_cursor(&d, &all[i]);
        }
        close_desk(&d);
    }
}

/* Broken when who is moved over live messages misses any, or gets one twice. */
static void
who_is_moved_over_live_ones_is_as_who_pulls(void **state)
{
    (void)state;
    const char *const filter[] = {"t", "#", "u"}, *const topic[] = {"t", "u", "x"};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct desk   d;
        struct prng   r = {seed};
        struct person all[PEOPLE];
        open_desk(&d, 1 << 20);
        for (int i = 0; i < PEOPLE; i++) {
            const char *f = filter[prng_below(&r, 3)];
            all[i].moved  = start(&d, f, &nothing, 0);
            all[i].alone  = start(&d, f, &nothing, 0);
        }
        for (int step = 0; step < STEPS; step++)
            if (prng_below(&r, 2) == 0)
                come_live(&d, topic[prng_below(&r, 3)], 1 + (uint32_t)prng_below(&r, 4));
            else
                deliver_to(&d, all, &all[prng_below(&r, PEOPLE)], 1 + prng_below(&r, 6));
        for (int i = 0; i < PEOPLE; i++)
            while (pull_both(&d, &all[i]))
                ;
        assert_int_equal(d.all.live_runs, 0);
        assert_int_equal(d.all.shelf.bytes, 0);
        close_desk(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_stands_in_one_place_goes_on_alike),
        cmocka_unit_test(who_differs_stands_elsewhere),
        cmocka_unit_test(who_reads_something_else_has_none),
        cmocka_unit_test(who_waits_for_the_same_live_message_goes_on_alike),
        cmocka_unit_test(who_lost_live_messages_has_none),
        cmocka_unit_test(who_has_live_messages_and_reads_has_none),
        cmocka_unit_test(many_streams_are_not_compared),
        cmocka_unit_test(who_is_moved_is_as_who_pulls),
        cmocka_unit_test(who_is_moved_over_live_ones_is_as_who_pulls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
