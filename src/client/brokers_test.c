#include "client/brokers.h"

#include "tests/unit.h"

static void
parses_lists(void **state)
{
    (void)state;
    /* Broken: the addresses people write would be refused or end up at another port. */
    struct brokers b;
    assert_int_equal(brokers_parse(&b, STR("localhost:3001, b.example ,[::1]:9")), ERR_OK);
    assert_int_equal(b.count, 3);
    assert_string_equal(b.at[0].host, "localhost");
    assert_int_equal(b.at[0].port, 3001);
    assert_string_equal(b.at[1].text, "b.example:3000");
    assert_string_equal(b.at[2].host, "::1");
    assert_string_equal(b.at[2].text, "[::1]:9");
}

static void
refuses_what_is_no_list(void **state)
{
    (void)state;
    /* Broken: a typo would be tried as a host name, or slip into the Host header. */
    static const char *const bad[] = {
        "",      ",",     "a,",   "a:",      "a:0",  "a:65536", "a:x",
        ":3000", "::1:3", "[::1", "[::1]x1", "a\rb", "a/b",     "http://a",
    };
    struct brokers b;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (brokers_parse(&b, str_of(bad[i])) != ERR_INVALID)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(brokers_parse(&b, STR("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a")), ERR_LIMIT);
}

static void
goes_round_with_growing_pauses(void **state)
{
    (void)state;
    /* Broken: a dead broker would be hammered, or a live one further down never tried. */
    struct brokers b;
    struct mono    t = {1000};
    assert_int_equal(brokers_parse(&b, STR("a,b,c")), ERR_OK);
    assert_false(brokers_failed(&b, t));
    assert_string_equal(brokers_now(&b)->host, "b");
    assert_false(brokers_failed(&b, t));
    assert_string_equal(brokers_now(&b)->host, "c");
    assert_int_equal(b.not_before.ms, 0);
    assert_true(brokers_failed(&b, t));
    assert_string_equal(brokers_now(&b)->host, "a");
    assert_int_equal(b.not_before.ms, 1000 + PAUSE_MS_MIN);
    for (int i = 0; i < 30; i++)
        brokers_failed(&b, t);
    assert_int_equal(b.not_before.ms, 1000 + PAUSE_MS_MAX);

    brokers_worked(&b);
    assert_int_equal(b.not_before.ms, 0);
    assert_false(brokers_failed(&b, t));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_lists),
        cmocka_unit_test(refuses_what_is_no_list),
        cmocka_unit_test(goes_round_with_growing_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
