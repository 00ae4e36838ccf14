#include "base/map.h"

#include "base/prng.h"
#include "tests/unit.h"

enum { KEYS = 300 };

static uint64_t item[KEYS]; /* the value of key k is &item[k], which holds k */

static bool
same(const void *value, const void *key)
{
    return *(const uint64_t *)value == *(const uint64_t *)key;
}

/* Bad hashes on purpose: `spread` different ones, some at the end of the table so
 * that probes wrap around. */
static uint64_t
hash_of(uint64_t key, uint64_t spread)
{
    return spread == 0 ? key * UINT64_C(0x9e3779b97f4a7c15) : UINT64_MAX - key % spread;
}

static void
check(const struct map *m, const bool *in, uint64_t spread)
{
    size_t count = 0, seen = 0, at = 0;
    for (uint64_t k = 0; k < KEYS; k++) {
        count += in[k];
        assert_ptr_equal(map_find(m, hash_of(k, spread), same, &k), in[k] ? &item[k] : NULL);
    }
    assert_int_equal(m->count, count);
    bool        once[KEYS] = {false};
    const void *value;
    while ((value = map_next(m, &at)) != NULL) {
        size_t k = (size_t)((const uint64_t *)value - item);
        assert_true(in[k] && !once[k]);
        once[k] = true;
        seen++;
    }
    assert_int_equal(seen, count);
}

static void
run(uint64_t spread)
{
    struct prng r        = {spread};
    bool        in[KEYS] = {false};
    struct map  m;
    map_init(&m);
    for (int step = 0; step < 4000; step++) {
        uint64_t k = prng_below(&r, KEYS);
        if (in[k])
            map_remove(&m, hash_of(k, spread), &item[k]);
        else
            map_add(&m, hash_of(k, spread), &item[k]);
        in[k] = !in[k];
        if (step % 16 == 0)
            check(&m, in, spread);
    }
    map_fini(&m);
}

/* Broken when a removal breaks the probe of another key, or growing loses one. */
static void
agrees_with_an_array(void **state)
{
    static const uint64_t spread[] = {0, 1, 3, 17, 1000};
    (void)state;
    for (uint64_t k = 0; k < KEYS; k++)
        item[k] = k;
    for (size_t i = 0; i < sizeof spread / sizeof *spread; i++)
        run(spread[i]);
}

/* Broken when a map that never held anything is looked into. */
static void
empty_ones_hold_nothing(void **state)
{
    (void)state;
    struct map m;
    size_t     at = 0;
    map_init(&m);
    assert_null(map_find(&m, 1, same, &item[1]));
    assert_null(map_next(&m, &at));
    map_fini(&m);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(empty_ones_hold_nothing),
    };
    return cmocka_run_group_tests_name("map", test, NULL, NULL);
}
