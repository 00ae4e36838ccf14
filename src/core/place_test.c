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
    assert_true(place_take(&from, one, &d.j));
    assert_true(place_is(&from, two));
    assert_next(&d, one, 7, 3);
    assert_false(place_is(&from, one)); /* it went on */

    assert_true(place_take(&to, one, &d.j)); /* on the way */
    place_move(&d.all, two, &to, 1);
    assert_true(place_is(&to, two));
    assert_cursor(&d, two, &VECTOR({7, 3}));
    assert_next(&d, one, 7, 4);
    assert_next(&d, two, 7, 4);

    assert_true(place_take(&from, two, &d.j)); /* to the end */
    assert_next(&d, one, 7, 5);
    assert_quiet(&d, one);
    assert_true(place_take(&to, one, &d.j));
    assert_true(place_is(&from, two));
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

    assert_true(place_take(&p, ahead, &d.j));
    assert_false(place_is(&p, further));
    assert_true(place_take(&p, one, &d.j));
    struct session *const others[] = {filter, ahead, behind, stamped, more, further};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(place_is(&p, others[i]));
    assert_true(place_is(&p, one));
    assert_next(&d, one, 7, 3);
    assert_false(place_is(&p, one));
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
    assert_false(place_take(&p, since, &d.j));
    struct page *page = assert_reads(&d, since, READ_SINCE);
    assert_false(place_take(&p, since, &d.j));
    sessions_page(&d.all, pool_handle(since), page);
    assert_false(place_take(&p, since, &d.j));
    assert_next(&d, since, 7, 1);

    struct session *lags = subscribe_at(&d, "t", &VECTOR({7, 1}));
    assert_true(place_take(&p, lags, &d.j));
    retain(&d, 2);
    disk_retains(&d, 3);
    core_hears(&d, (uint64_t[]){5}, 1);
    assert_int_equal(lags->gone.count, 1);
    assert_false(place_is(&p, lags));
    store(&d, write_one(&w));
    assert_false(place_take(&p, lags, &d.j));
    place_fini(&p);
    close_desk(&d);
}

static void
come_live(struct desk *d)
{
    const struct msg         m = {.topic = STR("t"), .body = STR("x")};
    const struct batch_parts p = {.lamport_first = 50, .origin = STR("o:1"), .msg = &m, .count = 1};
    struct batch            *b = batch_make_live(&p);
    sessions_live(&d->all, b);
    blob_drop(b);
}

/* Broken when what is stored nowhere is passed on to who has it already, or is passed over. */
static void
who_has_live_messages_to_take_has_none(void **state)
{
    (void)state;
    struct desk     d;
    struct place    p;
    struct entry    e;
    struct writer   w   = open_with_two(&d);
    struct session *one = subscribe_at(&d, "t", &VECTOR({7, 2}));
    struct session *two = subscribe_at(&d, "t", &VECTOR({7, 2}));
    place_init(&p);
    come_live(&d);
    assert_false(place_take(&p, one, &d.j));
    assert_int_equal(session_pull(&d.all, one, &d.j, &e), ERR_OK);
    assert_int_equal(session_pull(&d.all, two, &d.j, &e), ERR_OK);
    assert_true(place_take(&p, one, &d.j));

    store(&d, write_one(&w));
    assert_true(place_take(&p, one, &d.j));
    assert_true(place_is(&p, two));
    come_live(&d);
    assert_false(place_is(&p, two));
    assert_false(place_take(&p, one, &d.j));
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
    assert_false(place_take(&p, many, &d.j));
    assert_true(place_take(&p, few, &d.j));
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
    bool told = place_take(&from, first->moved, &d->j);
    while (n < most && pull_both(d, first))
        n++;
    told = told && place_take(&to, first->moved, &d->j);
    for (int i = 0; told && i < PEOPLE; i++) {
        struct entry e;
        if (!place_is(&from, all[i].moved))
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_stands_in_one_place_goes_on_alike),
        cmocka_unit_test(who_differs_stands_elsewhere),
        cmocka_unit_test(who_reads_something_else_has_none),
        cmocka_unit_test(who_has_live_messages_to_take_has_none),
        cmocka_unit_test(many_streams_are_not_compared),
        cmocka_unit_test(who_is_moved_is_as_who_pulls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
