#include "server/runs.h"

#include "tests/broker_kit.h"

enum { PEOPLE = 3, LARGE = 512 << 10 };

struct lab {
    struct desk d;
    struct runs runs;
    uint64_t    who[PEOPLE];
};

static void
publish_some(struct lab *l, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(publish(&l->d, "x"), ERR_OK);
    turn(&l->d);
    store_answers_all(&l->d, ERR_OK);
}

static void
open_lab(struct lab *l)
{
    const struct str f = STR("t");
    open_desk(&l->d);
    runs_init(&l->runs);
    for (uint32_t i = 0; i < PEOPLE; i++) {
        assert_int_equal(
            step(&l->d, &(struct fact){.kind      = FACT_SUBSCRIBE,
                                       .subscribe = {.filter = &f, .filter_count = 1}}),
            ERR_OK);
        l->who[i] = l->d.last.session;
    }
}

static void
close_lab(struct lab *l)
{
    runs_clear(&l->runs);
    close_desk(&l->d);
}

/* Delivers so many messages to one of them, as so many bytes. */
static void
deliver(struct lab *l, uint64_t session, enum face face, uint32_t messages, size_t bytes)
{
    struct run *run  = run_begin(&l->runs, l->d.b, session, face);
    uint8_t    *text = mem_new(bytes);
    memset(text, '.', bytes);
    assert_non_null(run);
    for (uint32_t i = 0; i < messages; i++) {
        struct entry e;
        assert_int_equal(broker_pull(l->d.b, session, &e), ERR_OK);
        run->messages++;
    }
    run_end(&l->runs, run, l->d.b, session, (struct str){text, bytes});
    mem_free(text);
}

static const struct run *
find(const struct lab *l, uint64_t session, enum face face, size_t room)
{
    return runs_find(&l->runs, l->d.b, session, face, room);
}

/* Broken when somebody gets bytes of another face, more than there is room for, or none at
 * all because the next message alone is longer than its room ever is. */
static void
found_by_who_can_take_it(void **state)
{
    (void)state;
    struct lab l;
    open_lab(&l);
    publish_some(&l, 3);
    assert_null(find(&l, l.who[1], FACE_SSE, LARGE));
    deliver(&l, l.who[0], FACE_SSE, 2, 1000);
    assert_null(find(&l, l.who[0], FACE_SSE, LARGE)); /* it is further on */
    assert_null(find(&l, l.who[1], FACE_JSON, LARGE));
    assert_null(find(&l, l.who[1], FACE_SSE, 999));
    const struct run *run = find(&l, l.who[1], FACE_SSE, 1000);
    assert_non_null(run);
    assert_int_equal(run->bytes.n, 1000);
    assert_int_equal(run->messages, 2);

    broker_move(l.d.b, l.who[1], &run->to, run->messages);
    deliver(&l, l.who[0], FACE_SSE, 1, LARGE);
    run = find(&l, l.who[1], FACE_SSE, 0);
    assert_non_null(run);
    assert_int_equal(run->bytes.n, LARGE);
    close_lab(&l);
}

/* Broken when large messages, or a reader that lags behind all of them, hold more than the
 * budget, when the newest are not the ones that are kept, or when something is left. */
static void
memory_is_bounded(void **state)
{
    (void)state;
    enum { COUNT = 2 * RUNS_BYTES_MAX / LARGE };
    struct lab l;
    open_lab(&l);
    publish_some(&l, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t held = 0;
        deliver(&l, l.who[0], FACE_JSON, 1, LARGE);
        for (uint32_t k = 0; k < RUNS_MAX; k++)
            held += l.runs.at[k].bytes.cap;
        assert_int_equal(held, l.runs.held);
        assert_true(held <= RUNS_BYTES_MAX);
    }
    assert_true(l.runs.held > RUNS_BYTES_MAX / 2);
    assert_null(find(&l, l.who[2], FACE_JSON, LARGE));
    for (uint32_t i = 0; i + 1 < COUNT; i++) {
        struct entry e;
        assert_int_equal(broker_pull(l.d.b, l.who[1], &e), ERR_OK);
    }
    assert_non_null(find(&l, l.who[1], FACE_JSON, LARGE));
    runs_clear(&l.runs);
    assert_null(find(&l, l.who[1], FACE_JSON, LARGE));
    assert_int_equal(l.runs.held, 0);
    close_lab(&l);
}

/* Broken when what is longer than all that may be kept is kept. */
static void
too_long_for_all_of_it(void **state)
{
    (void)state;
    struct lab l;
    open_lab(&l);
    publish_some(&l, 1);
    deliver(&l, l.who[0], FACE_JSON, 1, RUNS_BYTES_MAX + 1);
    assert_null(find(&l, l.who[1], FACE_JSON, LARGE));
    assert_int_equal(l.runs.held, 0);
    close_lab(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_by_who_can_take_it),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(too_long_for_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
