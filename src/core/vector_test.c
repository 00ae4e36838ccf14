#include "core/vector.h"

#include "base/prng.h"
#include "tests/unit.h"

enum { STREAMS = 12 };

/* The model: seq by stream number. */
struct model {
    uint64_t seq[STREAMS + 1];
};

static void
check(const struct vector *v, const struct model *m)
{
    uint32_t count = 0;
    for (uint64_t s = 1; s <= STREAMS; s++) {
        assert_int_equal(vector_seq(v, s), m->seq[s]);
        count += m->seq[s] > 0;
    }
    assert_int_equal(v->count, count);
    for (uint32_t i = 1; i < v->count; i++)
        assert_true(v->at[i - 1].stream < v->at[i].stream);
}

static struct mark
random_mark(struct prng *r)
{
    return (struct mark){1 + prng_below(r, STREAMS), prng_below(r, 5)};
}

static void
random_vector(struct prng *r, struct vector *v)
{
    vector_reset(v);
    for (uint64_t n = prng_below(r, STREAMS); n > 0; n--)
        assert_int_equal(vector_raise(v, random_mark(r)), ERR_OK);
}

/* Broken when a vector forgets a stream, keeps one twice, or holds seq 0: cursors
 * and pulls would repeat or skip. */
static void
agrees_with_an_array(void **state)
{
    (void)state;
    struct prng   r = {1};
    struct model  m = {{0}};
    struct vector v;
    vector_init(&v);
    for (int step = 0; step < 20000; step++) {
        struct mark at = random_mark(&r);
        assert_int_equal(vector_has(&v, at), at.seq <= m.seq[at.stream]);
        if (prng_below(&r, 2) == 0) {
            assert_int_equal(vector_raise(&v, at), ERR_OK);
            m.seq[at.stream] = at.seq > m.seq[at.stream] ? at.seq : m.seq[at.stream];
        } else {
            assert_int_equal(vector_set(&v, at), ERR_OK);
            m.seq[at.stream] = at.seq;
        }
        check(&v, &m);
    }
    vector_fini(&v);
}

static bool
equal(const struct vector *a, const struct vector *b)
{
    return vector_covers(a, b) && vector_covers(b, a);
}

static void
join(struct vector *out, const struct vector *a, const struct vector *b)
{
    assert_int_equal(vector_copy(out, a), ERR_OK);
    assert_int_equal(vector_merge(out, b), ERR_OK);
}

/* Broken when a merge leaves out, doubles or misplaces a stream. */
static void
merge_is_raising_one_by_one(void **state)
{
    (void)state;
    struct prng   r = {3};
    struct vector a, b, want;
    vector_init(&a);
    vector_init(&b);
    vector_init(&want);
    for (int step = 0; step < 3000; step++) {
        random_vector(&r, &a);
        random_vector(&r, &b);
        assert_int_equal(vector_copy(&want, &a), ERR_OK);
        for (uint32_t i = 0; i < b.count; i++)
            assert_int_equal(vector_raise(&want, b.at[i]), ERR_OK);
        assert_int_equal(vector_merge(&a, &b), ERR_OK);
        assert_int_equal(a.count, want.count);
        if (a.count > 0)
            assert_memory_equal(a.at, want.at, a.count * sizeof *a.at);
    }
    vector_fini(&a);
    vector_fini(&b);
    vector_fini(&want);
}

/* Broken when the order in which brokers hear of each other changes what they
 * believe: merge is a join semilattice, and covers() is its order. */
static void
merge_is_a_semilattice(void **state)
{
    (void)state;
    struct prng    r = {2};
    struct vector  a, b, c, ab, ba, x, y;
    struct vector *all[] = {&a, &b, &c, &ab, &ba, &x, &y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        vector_init(all[i]);
    for (int step = 0; step < 3000; step++) {
        random_vector(&r, &a);
        random_vector(&r, &b);
        random_vector(&r, &c);
        join(&ab, &a, &b);
        join(&ba, &b, &a);
        assert_true(equal(&ab, &ba));
        assert_true(vector_covers(&ab, &a) && vector_covers(&ab, &b));
        join(&x, &ab, &c);
        join(&y, &b, &c);
        join(&ba, &a, &y);
        assert_true(equal(&x, &ba));
        join(&x, &a, &a);
        assert_true(equal(&x, &a));
        assert_int_equal(vector_covers(&a, &b), equal(&ab, &a));
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        vector_fini(all[i]);
}

/* Broken when hostile stream names make a vector grow without end, or when a
 * refused one changes it. */
static void
answers_at_its_limit(void **state)
{
    (void)state;
    struct vector v, copy;
    vector_init(&v);
    vector_init(&copy);
    for (uint64_t s = STREAMS_MAX; s >= 1; s--) /* from the back: each goes to the front */
        assert_int_equal(vector_raise(&v, (struct mark){2 * s, s}), ERR_OK);
    assert_int_equal(v.count, STREAMS_MAX);
    assert_int_equal(vector_copy(&copy, &v), ERR_OK);
    assert_int_equal(vector_raise(&v, (struct mark){1, 1}), ERR_LIMIT);
    assert_int_equal(vector_set(&v, (struct mark){3, 1}), ERR_LIMIT);
    assert_true(equal(&v, &copy));
    assert_int_equal(vector_raise(&v, (struct mark){2, 9}), ERR_OK);
    assert_int_equal(vector_seq(&v, 2), 9);
    assert_int_equal(vector_set(&v, (struct mark){4, 0}), ERR_OK);
    assert_int_equal(vector_raise(&v, (struct mark){1, 1}), ERR_OK);
    assert_int_equal(v.count, STREAMS_MAX);

    struct mark   other[] = {{5, 1}};
    struct vector one     = {.at = other, .count = 1, .cap = 1};
    assert_int_equal(vector_merge(&v, &one), ERR_LIMIT);
    struct mark   more[] = {{5, 1}, {7, 1}};
    struct vector two    = {.at = more, .count = 2, .cap = 2};
    assert_int_equal(vector_merge(&v, &two), ERR_LIMIT);
    const struct vector monster = {.count = STREAMS_MAX + 1};
    assert_int_equal(vector_copy(&copy, &monster), ERR_LIMIT);
    assert_int_equal(vector_merge(&v, &v), ERR_OK); /* full, and nothing new */
    vector_reset(&v);
    assert_int_equal(vector_seq(&v, 1), 0);
    assert_true(vector_covers(&copy, &v));
    assert_false(vector_covers(&v, &copy));
    vector_fini(&v);
    vector_fini(&copy);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(merge_is_raising_one_by_one),
        cmocka_unit_test(merge_is_a_semilattice),
        cmocka_unit_test(answers_at_its_limit),
    };
    return cmocka_run_group_tests_name("vector", test, NULL, NULL);
}
