#include "base/digits.h"

#include "base/prng.h"
#include "tests/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void
check(uint64_t value)
{
    char   got[DIGITS_U64_MAX], want[DIGITS_U64_MAX + 1], hex[DIGITS_HEX64 + 1];
    int    n      = snprintf(want, sizeof want, "%" PRIu64, value);
    size_t digits = digits_u64(got, value);
    assert_int_equal(digits, n);
    assert_memory_equal(got, want, digits);

    for (unsigned width = 1; width <= (unsigned)n; width++) {
        digits_fixed(got, width, value);
        assert_memory_equal(got, want + n - width, width);
    }
    snprintf(hex, sizeof hex, "%016" PRIx64, value);
    digits_hex64(got, value);
    assert_memory_equal(got, hex, DIGITS_HEX64);
}

/* Broken when a number is not what printf() makes of it. */
static void
numbers_read_as_they_are(void **state)
{
    (void)state;
    struct prng r = {1};
    for (uint64_t v = 0; v < 1100; v++)
        check(v);
    for (unsigned bits = 0; bits < 64; bits++) {
        check(((uint64_t)1 << bits) - 1);
        check((uint64_t)1 << bits);
        for (int i = 0; i < 100; i++)
            check(prng_next(&r) >> bits);
    }
    check(UINT64_MAX);
}

/* Broken when a number that is shorter than its place keeps what stood there. */
static void
zeros_lead(void **state)
{
    (void)state;
    char text[5] = "????";
    digits_fixed(text, 4, 7);
    assert_string_equal(text, "0007");
    digits_fixed(text, 3, 42);
    assert_string_equal(text, "0427");
}

/* Broken when what is no digit is read as one: the neighbours of each range, and what has its low
 * bits. */
static void
hex_digits_alone_have_a_value(void **state)
{
    (void)state;
    const char digit[] = "0123456789abcdefABCDEF";
    for (unsigned c = 0; c < 256; c++) {
        const char *at = c > 0 ? strchr(digit, (int)c) : NULL;
        int         i  = at ? (int)(at - digit) : -1;
        assert_int_equal(digits_hex_value((uint8_t)c), i < 16 ? i : i - 6);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_read_as_they_are),
        cmocka_unit_test(zeros_lead),
        cmocka_unit_test(hex_digits_alone_have_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
