#include "base/str.h"

#include "tests/unit.h"

#include <string.h>

/* Broken when a comparison reads beyond a slice, or takes a prefix for the whole. */
static void
compares_bytes(void **state)
{
    (void)state;
    assert_true(str_eq(str_of("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq((struct str){NULL, 0}, STR("")));
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));

    assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
    assert_false(str_eq_nocase(STR("[x"), STR("{x"))); /* 32 apart, but no letters */
    assert_false(str_eq_nocase(STR("\xc4"), STR("\xe4")));
    assert_false(str_eq_nocase(STR("a"), STR("ab")));

    assert_true(str_starts(STR("stocks"), STR("stock")));
    assert_true(str_starts(STR("x"), STR("")));
    assert_false(str_starts(STR("stock"), STR("stocks")));
}

/* Broken when a cut beyond the end reaches into what lies behind. */
static void
finds_cuts_and_trims(void **state)
{
    (void)state;
    assert_int_equal(str_index(STR("a/b/c"), '/'), 1);
    assert_int_equal(str_index(STR("abc"), '/'), 3);
    assert_int_equal(str_index(STR("a\0b"), 'b'), 2);
    assert_int_equal(str_index((struct str){NULL, 0}, 'x'), 0);

    assert_true(str_eq(str_cut(STR("abcdef"), 1, 3), STR("bc")));
    assert_true(str_eq(str_cut(STR("abc"), 1, SIZE_MAX), STR("bc")));
    assert_int_equal(str_cut(STR("abc"), 7, 9).n, 0);
    assert_int_equal(str_cut(STR("abc"), 2, 1).n, 0);

    assert_true(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
    assert_int_equal(str_trim(STR(" \t ")).n, 0);
    assert_true(str_eq(str_trim(STR("\na\r")), STR("\na\r")));
}

/* Broken when a length or a port that is not a number, or too large, is believed. */
static void
reads_decimal_numbers_strictly(void **state)
{
    static const struct {
        const char *text;
        bool        want;
        uint64_t    value;
    } row[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"184467440737095516150", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x1", false, 0},
        {"1a", false, 0},
        {"\xb2", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint64_t value = 0;
        if (str_to_u64(str_of(row[i].text), &value) != row[i].want || value != row[i].value)
            fail_msg("%s", row[i].text);
    }
    uint64_t value;
    assert_false(str_to_u64(STR("1\0"), &value));
}

/* Broken when a time is taken for another, or one that no 64 bits hold for a short one. */
static void
times_have_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t    ms;
    } row[]                         = {{"0s", 0},
                                       {"500ms", 500},
                                       {"5s", 5000},
                                       {"1m", 60000},
                                       {"2h", 7200000},
                                       {"30d", UINT64_C(2592000000)},
                                       {"213503982334d", UINT64_C(213503982334) * 86400000}};
    static const char *const none[] = {"",
                                       "5",
                                       "ms",
                                       "5 s",
                                       "5S",
                                       "-1s",
                                       "1.5s",
                                       "5sm",
                                       "s5",
                                       "213503982335d",
                                       "99999999999999999999ms"};
    (void)state;
    uint64_t ms;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        assert_true(str_to_ms(str_of(row[i].text), &ms));
        assert_true(ms == row[i].ms);
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(str_to_ms(str_of(none[i]), &ms));
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(times_have_units),
        cmocka_unit_test(compares_bytes),
        cmocka_unit_test(finds_cuts_and_trims),
        cmocka_unit_test(reads_decimal_numbers_strictly),
    };
    return cmocka_run_group_tests_name("str", test, NULL, NULL);
}
