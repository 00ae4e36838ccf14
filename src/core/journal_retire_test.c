/* Streams that are over: when they leave the vectors, what they are afterwards, and when they
 * are forgotten. */
#include "core/journal.h"

#include "core/page.h"

#include "tests/core_kit.h"

enum { S = 7, HEAD = 3 };

struct lab {
    struct journal j;
    struct writer  w;
    struct wall    now;
};

/* One stream of three messages, of which nothing is left. */
static void
open_lab(struct lab *l, bool gone)
{
    *l = (struct lab){.w = writer_of(S)};
    journal_init(&l->j, NULL, 1 << 20);
    l->j.retire_ms = 1000;
    journal_put(&l->j, write_batch(&l->w, (struct writing){.count = HEAD}));
    struct stream *s = journal_find(&l->j, S);
    if (gone) {
        struct stream_floor floor = {.stream = S, .floor = HEAD, .stamp = s->durable_stamp};
        journal_retain(&l->j,
                       &(struct retained){.lsn_first = HEAD + 1, .count = 1, .floor = &floor});
        assert_int_equal(s->floor, HEAD);
    }
}

static void
close_lab(struct lab *l)
{
    journal_fini(&l->j);
    assert_int_equal(blob_bytes_used(), 0);
}

static void
retire(struct lab *l, uint64_t stream)
{
    journal_retain(&l->j, &(struct retained){.retired_count = 1, .retired = &stream});
}

static void
forget(struct lab *l, uint64_t stream)
{
    journal_retain(&l->j, &(struct retained){.forgotten_count = 1, .forgotten = &stream});
}

static enum verdict
judge_next(struct lab *l)
{
    struct mark   missing;
    bool          late;
    struct batch *b = write_one(&l->w);
    enum verdict  v = journal_judge(&l->j, b, &missing, &late);
    blob_drop(b);
    return v;
}

/* Broken when a stream that is over comes back by a broker that slept, or when what depends on
 * it waits for ever. */
static void
what_is_retired_is_over(void **state)
{
    (void)state;
    struct lab l;
    open_lab(&l, true);
    retire(&l, S);
    assert_null(journal_find(&l.j, S));
    assert_int_equal(l.j.durable.count, 0);
    assert_int_equal(journal_retired(&l.j, S)->head, HEAD);
    assert_null(journal_stream(&l.j, S));
    assert_int_equal(judge_next(&l), VERDICT_DUPLICATE);
    bool late = false;
    assert_true(journal_covers(&l.j, (struct mark){S, HEAD}, &late));
    assert_false(late);
    assert_true(journal_covers(&l.j, (struct mark){S, HEAD + 1}, &late));
    assert_true(late); /* it cannot come any more */
    late = false;
    assert_false(journal_covers(&l.j, (struct mark){S + 1, 1}, &late));
    assert_false(late);
    retire(&l, S); /* once more is nothing */
    retire(&l, S + 1);
    forget(&l, S);
    assert_null(journal_retired(&l.j, S));
    forget(&l, S);
    close_lab(&l);
}

/* Broken when a stream goes although there is more of it, or more of it is on its way. */
static void
what_goes_on_is_not_retired(void **state)
{
    (void)state;
    struct lab l;
    open_lab(&l, false); /* all of it is still here */
    retire(&l, S);
    assert_non_null(journal_find(&l.j, S));
    close_lab(&l);

    open_lab(&l, true);
    struct batch *next = write_one(&l.w);
    struct mark   missing;
    assert_int_equal(journal_judge(&l.j, next, &missing, &(bool){0}), VERDICT_STORE);
    journal_hand_over(&l.j, next); /* at the store */
    retire(&l, S);
    assert_non_null(journal_find(&l.j, S));
    blob_drop(next);
    close_lab(&l);

    open_lab(&l, true); /* our own */
    journal_find(&l.j, S)->live = true;
    retire(&l, S);
    assert_non_null(journal_find(&l.j, S));
    close_lab(&l);

    for (int which = 0; which < 3; which++) { /* somebody waits for it */
        open_lab(&l, true);
        struct stream *s     = journal_find(&l.j, S);
        struct list   *in[3] = {&s->waiting, &s->lacking, &s->offers}, node;
        list_init(&node);
        list_push_back(in[which], &node);
        retire(&l, S);
        assert_ptr_equal(journal_find(&l.j, S), s);
        assert_null(journal_retired(&l.j, S));
        list_remove(&node);
        close_lab(&l);
    }
}

/* Broken when a client that came from a broker which retired a stream before us is told of a
 * gap that is none. */
static void
what_may_be_retired_elsewhere(void **state)
{
    (void)state;
    struct lab l;
    open_lab(&l, true);
    struct stream *s = journal_find(&l.j, S);
    s->came          = (struct wall){5000};
    l.j.wall         = (struct wall){5000 + 499};
    assert_false(journal_may_be_retired(&l.j, s));
    l.j.wall.ms++; /* half of the time: clocks and patience differ */
    assert_true(journal_may_be_retired(&l.j, s));
    s->live = true;
    assert_false(journal_may_be_retired(&l.j, s));
    s->live       = false;
    l.j.retire_ms = 0;
    assert_false(journal_may_be_retired(&l.j, s));
    l.j.retire_ms = 1000;
    s->floor--;
    assert_false(journal_may_be_retired(&l.j, s));
    s->floor = s->durable = 0;
    assert_false(journal_may_be_retired(&l.j, s));
    close_lab(&l);
}

/* Broken when a waiver for a stream of which nothing ever came stays for ever, or goes with a
 * stream that is held. */
static void
waivers_are_forgotten(void **state)
{
    (void)state;
    struct lab        l;
    const struct mark never = {S + 1, 4};
    open_lab(&l, false);
    struct stream *waited = journal_stream(&l.j, never.stream);
    journal_waive(waited, never.seq);
    journal_waive(waited, never.seq - 1); /* less than was waived already */
    assert_int_equal(waited->waived, never.seq);
    journal_waiver_persist(&l.j, never);
    journal_waiver_persist(&l.j, (struct mark){never.stream, 1});
    journal_waiver_persist(&l.j, (struct mark){S + 2, 1}); /* gone meanwhile */
    assert_int_equal(journal_find(&l.j, never.stream)->waived_durable, never.seq);
    forget(&l, never.stream);
    assert_null(journal_find(&l.j, never.stream));
    forget(&l, S); /* held: it is nothing to forget */
    assert_non_null(journal_find(&l.j, S));
    journal_stream(&l.j, S + 3)->frozen = true;
    forget(&l, S + 3);
    assert_non_null(journal_find(&l.j, S + 3));
    journal_stream(&l.j, S + 4)->live = true;
    forget(&l, S + 4);
    assert_non_null(journal_find(&l.j, S + 4));
    close_lab(&l);
}

/* Broken when a log full of retired streams stops a start, or a step of retention. */
static void
retired_streams_are_limited(void **state)
{
    (void)state;
    struct journal       j;
    struct stream_state *was = mem_new((RETIRED_MAX + 1) * sizeof *was);
    memset(was, 0, (RETIRED_MAX + 1) * sizeof *was);
    for (uint32_t i = 0; i <= RETIRED_MAX; i++)
        was[i] = (struct stream_state){.stream = i + 100, .head = 1, .retired = true};
    const struct recovered r = {.stream = was, .stream_count = RETIRED_MAX + 1};
    journal_init(&j, &r, 1 << 20);
    assert_int_equal(j.retired.used, RETIRED_MAX);
    assert_non_null(journal_retired(&j, 100));
    assert_null(journal_retired(&j, RETIRED_MAX + 100));

    struct writer       w     = writer_of(S);
    struct stream_floor floor = {.stream = S, .floor = 1};
    journal_put(&j, write_one(&w));
    journal_retain(&j, &(struct retained){.lsn_first = 2, .count = 1, .floor = &floor});
    journal_retain(&j, &(struct retained){.count = 1, .floor = &floor}); /* told again */
    journal_retain(&j, &(struct retained){.retired_count = 1, .retired = (uint64_t[]){S}});
    assert_non_null(journal_find(&j, S)); /* it stays in the vectors */
    mem_free(was);
    journal_fini(&j);
    retained_drop(NULL); /* a step of retention that failed */
    assert_int_equal(blob_bytes_used(), 0);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(what_is_retired_is_over),
        cmocka_unit_test(what_goes_on_is_not_retired),
        cmocka_unit_test(what_may_be_retired_elsewhere),
        cmocka_unit_test(waivers_are_forgotten),
        cmocka_unit_test(retired_streams_are_limited),
    };
    return cmocka_run_group_tests_name("journal_retire", test, NULL, NULL);
}
