#include "base/instant.h"

#include "tests/unit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Broken when a person reads a wrong time: leap years, before 1970, and the years
 * that four digits cannot hold. */
static void
writes_known_times(void **state)
{
    static const struct {
        int64_t     ms;
        const char *text;
    } row[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-86400000, "1969-12-31T00:00:00.000Z"},
        {-86400001, "1969-12-30T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1709164800000, "2024-02-29T00:00:00.000Z"},
        {1767323045678, "2026-01-02T03:04:05.678Z"},
        {4107542399999, "2100-02-28T23:59:59.999Z"}, /* no leap year */
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {-62167219200000, "0000-01-01T00:00:00.000Z"},
        {-62167219200001, "0000-01-01T00:00:00.000Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[WALL_TEXT_BYTES];
        memset(text, 'x', sizeof text);
        wall_text((struct wall){row[i].ms}, text);
        assert_string_equal(text, row[i].text);
    }
}

/* The same, for a time in each week of years 0..9999, against the C library. */
static void
agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t s = -62167219200; s < 253402300800; s += 7 * 86400 + 12345) {
        char      text[WALL_TEXT_BYTES], want[80];
        time_t    t = (time_t)s;
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        snprintf(want, sizeof want, "%04d-%02d-%02dT%02d:%02d:%02d.007Z", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        wall_text((struct wall){s * 1000 + 7}, text);
        if (strcmp(text, want) != 0)
            fail_msg("%s, not %s", text, want);
    }
}

/* Broken when a deadline far away wraps around and is reached at once. */
static void
deadlines_do_not_wrap(void **state)
{
    (void)state;
    struct mono late = {UINT64_MAX - 5};
    assert_true(mono_after(late, 10).ms == UINT64_MAX);
    assert_true(mono_after(MONO_NEVER, UINT64_MAX).ms == UINT64_MAX);
    assert_int_equal(mono_after((struct mono){3}, 4).ms, 7);
    assert_int_equal(mono_since((struct mono){10}, (struct mono){4}), 6);
    assert_int_equal(mono_since((struct mono){4}, (struct mono){10}), 0);
    assert_true(mono_reached((struct mono){4}, (struct mono){4}));
    assert_false(mono_reached((struct mono){3}, (struct mono){4}));
    assert_false(mono_reached(late, MONO_NEVER));
    assert_int_equal(mono_min((struct mono){3}, MONO_NEVER).ms, 3);
    assert_int_equal(mono_min(MONO_NEVER, (struct mono){3}).ms, 3);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(writes_known_times),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(deadlines_do_not_wrap),
    };
    return cmocka_run_group_tests_name("instant", test, NULL, NULL);
}
