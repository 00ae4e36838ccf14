#include "io/resolve.h"

#include <string.h>

#include "tests/unit.h"

static void
test_numeric_addresses(void **state)
{
    /* Broken if an address is read or shown as another one, or a name passes for one. */
    (void)state;
    static const struct {
        const char *in;
        enum err    err;
        const char *text;
    } row[] = {
        {"127.0.0.1", ERR_OK, "127.0.0.1:3000"},
        {"::1", ERR_OK, "[::1]:3000"},
        {"[2001:db8::7]", ERR_OK, "[2001:db8::7]:3000"},
        {"localhost", ERR_INVALID, NULL},
        {"127.0.0.1.", ERR_INVALID, NULL},
        {"127.1", ERR_INVALID, NULL},
        {"256.0.0.1", ERR_INVALID, NULL},
        {"", ERR_INVALID, NULL},
        {"[]", ERR_INVALID, NULL},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct endpoint e;
        char            text[ENDPOINT_TEXT_BYTES];
        assert_int_equal(endpoint_parse(str_of(row[i].in), 3000, &e), row[i].err);
        if (row[i].err != ERR_OK)
            continue;
        endpoint_text(&e, text);
        assert_string_equal(text, row[i].text);
    }
}

static void
test_localhost_is_ipv4(void **state)
{
    /* Broken if brokers on one machine announce different addresses for one name. */
    (void)state;
    struct endpoint e;
    const char     *why;
    assert_int_equal(resolve_now(STR("localhost"), 3000, &e, &why), ERR_OK);
    assert_int_equal(e.family, 4);
    assert_int_equal(e.ip[0], 127);
    assert_int_equal(e.port, 3000);
    assert_true(endpoint_is_local(&e));
    struct endpoint other = {.family = 4, .ip = {192, 0, 2, 1}};
    assert_false(endpoint_is_local(&other));
    assert_int_equal(resolve_now(STR("no such name"), 1, &e, &why), ERR_NOTFOUND);
    assert_true(strlen(why) > 0);
}

static void
on_found(void *ctx, const struct endpoint *e)
{
    *(struct endpoint *)ctx = *e;
}

static void
test_without_waiting(void **state)
{
    /* Broken if a name that does not resolve is never answered. */
    (void)state;
    struct loop    *l    = loop_new();
    struct endpoint good = {.family = 99}, bad = {.family = 99}, numeric = {.family = 99};
    resolve_start(l, STR("localhost"), 7, on_found, &good);
    resolve_start(l, STR("host.invalid"), 8, on_found, &bad);
    resolve_start(l, STR("10.0.0.1"), 9, on_found, &numeric);
    assert_int_equal(numeric.family, 4);
    while (good.family == 99 || bad.family == 99)
        loop_step(l);
    assert_int_equal(good.family, 4);
    assert_int_equal(good.port, 7);
    assert_int_equal(bad.family, 0);
    assert_int_equal(bad.port, 8);
    loop_free(l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numeric_addresses),
        cmocka_unit_test(test_localhost_is_ipv4),
        cmocka_unit_test(test_without_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
