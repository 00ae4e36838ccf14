#include "base/buf.h"

#include "base/prng.h"
#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

/* Broken when bytes that stream through a connection's buffer are lost, doubled or
 * come in another order.  The model is the number of each byte in the stream. */
static void
is_a_stream_of_bytes(void **state)
{
    (void)state;
    struct prng r = {3};
    struct buf  b;
    uint64_t    in = 0, out = 0;
    uint8_t     chunk[700];
    buf_init(&b, 5000);
    for (int step = 0; step < 20000; step++) {
        size_t n = prng_below(&r, sizeof chunk);
        for (size_t i = 0; i < n; i++)
            chunk[i] = (uint8_t)((in + i) * 131 >> 3);
        bool     fits = b.n + n <= 5000;
        enum err e    = buf_add(&b, (struct str){chunk, n});
        assert_int_equal(e, fits ? ERR_OK : ERR_LIMIT);
        in += fits ? n : 0;

        size_t take = prng_below(&r, b.n + 1);
        for (size_t i = 0; i < take; i++)
            assert_int_equal(buf_str(&b).p[i], (uint8_t)((out + i) * 131 >> 3));
        buf_consume(&b, take);
        out += take;
        assert_int_equal(b.n, in - out);
        assert_true(b.cap <= 8192);
    }
    buf_fini(&b);
}

/* Broken when a limit is off by one, or when what is refused changes the buffer. */
static void
keeps_its_limit(void **state)
{
    (void)state;
    struct buf b;
    uint8_t   *room;
    buf_init(&b, 10);
    assert_int_equal(buf_add(&b, STR("0123456789")), ERR_OK);
    assert_int_equal(buf_add(&b, STR("x")), ERR_LIMIT);
    assert_int_equal(buf_add(&b, STR("")), ERR_OK);
    assert_int_equal(buf_room(&b, SIZE_MAX, &room), ERR_LIMIT);
    assert_int_equal(buf_addf(&b, "%d", 1), ERR_LIMIT);
    assert_true(str_eq(buf_str(&b), STR("0123456789")));
    buf_consume(&b, 3);
    assert_int_equal(buf_addf(&b, "%s", "abc"), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("3456789abc")));
    buf_reset(&b);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.limit, 10);
    buf_clear_free(&b);
    assert_null(b.p);
    assert_int_equal(buf_add(&b, STR("0123456789")), ERR_OK);
    assert_int_equal(buf_add(&b, STR("x")), ERR_LIMIT);
    buf_fini(&b);
}

/* Broken when room that was asked for is not there, or is counted before it is used. */
static void
gives_room_to_write_into(void **state)
{
    (void)state;
    struct buf b;
    uint8_t   *room;
    buf_init(&b, 0);
    assert_int_equal(buf_add(&b, STR("ab")), ERR_OK);
    assert_int_equal(buf_room(&b, 100000, &room), ERR_OK);
    memset(room, 'x', 100000);
    assert_int_equal(b.n, 2);
    buf_grew(&b, 3);
    assert_true(str_eq(buf_str(&b), STR("abxxx")));
    buf_fini(&b);
}

/* Broken when a formatted text is cut where it no longer fits the stack, or where
 * the limit leaves no room for a terminating zero that is not even kept. */
static void
formats_short_and_long_texts(void **state)
{
    static const size_t size[] = {0, 1, 510, 511, 512, 513, 5000};
    (void)state;
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        struct buf b;
        char      *text = malloc(size[i] + 1);
        assert_non_null(text);
        memset(text, 'y', size[i]);
        text[size[i]] = '\0';
        buf_init(&b, size[i] + 3);
        assert_int_equal(buf_addf(&b, "<%s>", text), ERR_OK);
        assert_int_equal(b.n, size[i] + 2);
        assert_int_equal(buf_str(&b).p[0], '<');
        assert_int_equal(buf_str(&b).p[b.n - 1], '>');
        buf_fini(&b);
        free(text);
    }
}

/* Broken when a buffer that is cut to its bytes loses some, or keeps the memory. */
static void
fits_its_bytes(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_add(&b, STR("0123456789")), ERR_OK);
    buf_consume(&b, 9995);
    buf_fit(&b);
    assert_int_equal(b.cap, 5);
    assert_true(str_eq(buf_str(&b), STR("56789")));
    assert_int_equal(buf_add(&b, STR("ab")), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("56789ab")));
    buf_consume(&b, 7);
    buf_fit(&b);
    assert_null(b.p);
    assert_int_equal(buf_add(&b, STR("x")), ERR_OK);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(is_a_stream_of_bytes),     cmocka_unit_test(keeps_its_limit),
        cmocka_unit_test(gives_room_to_write_into), cmocka_unit_test(formats_short_and_long_texts),
        cmocka_unit_test(fits_its_bytes),
    };
    return cmocka_run_group_tests_name("buf", test, NULL, NULL);
}
