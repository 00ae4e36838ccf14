#include "base/pool.c" /* a slot that was used for long is made by hand */

#include "base/prng.h"
#include "tests/unit.h"

#include <string.h>

enum { LIMIT = 200, OBJECT_BYTES = 24 };

/* Broken when a late event for a connection finds the one that took its place. */
static void
stale_handles_find_nothing(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, OBJECT_BYTES, LIMIT);
    assert_null(pool_find(&p, 0));
    void    *a      = pool_take(&p);
    uint64_t handle = pool_handle(a);
    assert_int_not_equal(handle, 0);
    assert_ptr_equal(pool_find(&p, handle), a);
    assert_null(pool_find(&p, handle + 1));
    assert_null(pool_find(&p, UINT64_MAX));
    memset(a, 0xff, OBJECT_BYTES);
    pool_give(&p, a);
    assert_null(pool_find(&p, handle));

    const uint8_t *b = pool_take(&p);
    assert_ptr_equal(a, b); /* reused, but a new one */
    for (int i = 0; i < OBJECT_BYTES; i++)
        assert_int_equal(b[i], 0);
    assert_null(pool_find(&p, handle));
    assert_ptr_equal(pool_find(&p, pool_handle(b)), b);
    pool_fini(&p);
}

/* Broken when a slot that was used a thousand million times has a handle that means something else
 * (core/gossip.h takes bit 63 for its own), none, or is not free any more. */
static void
generations_begin_anew(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, OBJECT_BYTES, 1);
    pool_give(&p, pool_take(&p));
    p.item[0]->generation = GENERATION_MASK - 3;
    for (int i = 0; i < 6; i++) {
        void    *a      = pool_take(&p);
        uint64_t handle = pool_handle(a);
        assert_true(handle != 0 && handle >> 63 == 0);
        assert_ptr_equal(pool_find(&p, handle), a);
        pool_give(&p, a);
        assert_null(pool_find(&p, handle));
    }
    pool_fini(&p);
}

#ifdef __SANITIZE_ADDRESS__
/* Broken when AddressSanitizer lets a use of what was given back pass, or stops one that is fine.
 */
static void
what_was_given_back_is_poisoned(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, OBJECT_BYTES, 1);
    for (int i = 0; i < 3; i++) {
        uint8_t *a = pool_take(&p);
        assert_null(__asan_region_is_poisoned(a, OBJECT_BYTES));
        pool_give(&p, a);
        assert_ptr_equal(__asan_region_is_poisoned(a, OBJECT_BYTES), a);
        assert_int_equal(__asan_address_is_poisoned(a + OBJECT_BYTES - 1), 1);
    }
    pool_fini(&p);
}
#endif

/* Broken when the limit is not an ordinary answer, or when full once is full for ever. */
static void
answers_at_its_limit(void **state)
{
    (void)state;
    struct pool p;
    void       *object[LIMIT];
    pool_init(&p, OBJECT_BYTES, LIMIT);
    for (int i = 0; i < LIMIT; i++) {
        object[i] = pool_take(&p);
        assert_non_null(object[i]);
        assert_int_equal((uintptr_t)object[i] % 16, 0);
    }
    assert_null(pool_take(&p));
    assert_int_equal(p.used, LIMIT);
    pool_give(&p, object[7]);
    assert_ptr_equal(pool_take(&p), object[7]);
    assert_null(pool_take(&p));
    pool_fini(&p);
    assert_non_null(pool_take(&p)); /* usable anew */
    pool_fini(&p);
}

/* Broken when objects move, share memory, or the walk misses one. */
static void
agrees_with_an_array(void **state)
{
    (void)state;
    struct prng r = {5};
    struct pool p;
    uint64_t   *object[LIMIT], handle[LIMIT];
    uint32_t    count = 0;
    pool_init(&p, OBJECT_BYTES, LIMIT);
    for (uint64_t step = 1; step < 5000; step++) {
        if (count < LIMIT && prng_below(&r, 2) == 0) {
            object[count]  = pool_take(&p);
            *object[count] = step;
            handle[count]  = pool_handle(object[count]);
            count++;
        } else if (count > 0) {
            uint32_t i = (uint32_t)prng_below(&r, count);
            pool_give(&p, object[i]);
            assert_null(pool_find(&p, handle[i]));
            count--;
            object[i] = object[count];
            handle[i] = handle[count];
        }
        uint64_t        sum = 0, want = 0;
        uint32_t        at = 0;
        const uint64_t *o;
        while ((o = pool_next(&p, &at)) != NULL)
            sum += *o;
        for (uint32_t i = 0; i < count; i++) {
            want += *object[i];
            assert_ptr_equal(pool_find(&p, handle[i]), object[i]);
        }
        assert_int_equal(sum, want);
        assert_int_equal(p.used, count);
    }
    pool_fini(&p);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(stale_handles_find_nothing),
        cmocka_unit_test(generations_begin_anew),
#ifdef __SANITIZE_ADDRESS__
        cmocka_unit_test(what_was_given_back_is_poisoned),
#endif
        cmocka_unit_test(answers_at_its_limit),
        cmocka_unit_test(agrees_with_an_array),
    };
    return cmocka_run_group_tests_name("pool", test, NULL, NULL);
}
