#include "codec/http_url.h"

#include "tests/unit.h"

#include <string.h>

/* raw -> decoded; NULL: INVALID */
static const struct {
    const char *raw, *decoded;
} row[] = {
    {"", ""},
    {"stocks", "stocks"},
    {"a/+/b", "a/+/b"},
    {"a/%2B/b", "a/+/b"},
    {"a/%2b%23", "a/+#"},
    {"caf%C3%A9", "caf\xc3\xa9"},
    {"%25%32%46", "%2F"}, /* decoded once, not twice */
    {"%ff", "\xff"},      /* whether it is UTF-8 is for the topic to say */
    {"%", NULL},
    {"%4", NULL},
    {"a%4g", NULL},
    {"%%41", NULL},
    {"%+1", NULL},
};

static void
check(enum err e, struct str got, const char *want)
{
    assert_int_equal(e, want ? ERR_OK : ERR_INVALID);
    if (want)
        assert_true(str_eq(got, str_of(want)));
}

/* Would be broken: the topics people mean would not be those that they get. */
static void
decodes_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint8_t    room[64];
        struct str raw = str_of(row[i].raw), got = STR("");
        enum err   e = http_url_decode(raw, room, &got);
        check(e, got, row[i].decoded);
    }
    struct str raw = STR("a/+"), got;
    uint8_t    room[3];
    assert_int_equal(http_url_decode(raw, room, &got), ERR_OK);
    assert_ptr_equal(got.p, raw.p); /* no copy where nothing is escaped */
}

/* Would be broken: NUL in a topic would end it early instead of being refused. */
static void
keeps_a_nul(void **state)
{
    (void)state;
    uint8_t    room[8];
    struct str got;
    assert_int_equal(http_url_decode(STR("a%00b"), room, &got), ERR_OK);
    assert_int_equal(got.n, 3);
    assert_memory_equal(got.p, "a\0b", 3);
}

/* Would be broken: filters of one subscription, and parameters written in odd ways. */
static void
walks_parameters(void **state)
{
    (void)state;
    static const char *const want[][2] = {
        {"filter", "a/%2B"}, {"filter", "b"}, {"flag", ""}, {"x", "1=2"}, {"", "v"}, {"w%61it", ""},
    };
    struct str query = STR("&filter=a/%2B&filter=b&&flag&x=1=2&=v&w%61it=&");
    struct str rest  = query, key, value;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(http_query_next(&rest, &key, &value));
        assert_true(str_eq(key, str_of(want[i][0])));
        assert_true(str_eq(value, str_of(want[i][1])));
    }
    assert_false(http_query_next(&rest, &key, &value));
    assert_false(http_query_key_is(STR("filte"), STR("filter")));
    assert_false(http_query_key_is(STR("filte%7"), STR("filter")));
    assert_false(http_query_key_is(STR("filters"), STR("filter")));
    assert_true(http_query_find(query, STR("filter"), &value));
    assert_true(str_eq(value, STR("a/%2B")));
    assert_true(http_query_find(query, STR("wait"), &value));
    assert_false(http_query_find(query, STR("filt"), &value));
    assert_false(http_query_find(query, STR("filters"), &value));
    assert_false(http_query_find(STR(""), STR("filter"), &value));
    assert_false(http_query_key_is(STR("a%"), STR("a")));
}

/* Would be broken: what the client library asks for would be another topic. */
static void
encodes_what_decodes_to_the_same(void **state)
{
    (void)state;
    uint8_t    all[256], room[256 * 3];
    struct str bytes = {all, sizeof all}, got;
    struct buf out;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    buf_init(&out, 0);
    assert_int_equal(http_path_encode(&out, bytes), ERR_OK);
    assert_int_equal(http_url_decode(buf_str(&out), room, &got), ERR_OK);
    assert_true(str_eq(got, bytes));
    buf_reset(&out);
    assert_int_equal(http_query_encode(&out, bytes), ERR_OK);
    assert_int_equal(http_url_decode(buf_str(&out), room, &got), ERR_OK);
    assert_true(str_eq(got, bytes));
    buf_reset(&out);
    assert_int_equal(http_path_encode(&out, STR("a/+/#?x y")), ERR_OK);
    assert_true(str_eq(buf_str(&out), STR("a/+/%23%3Fx%20y")));
    buf_fini(&out);
    buf_init(&out, 4);
    assert_int_equal(http_path_encode(&out, STR("a#b")), ERR_LIMIT);
    assert_int_equal(out.n, 0);
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(decodes_the_table),
        cmocka_unit_test(keeps_a_nul),
        cmocka_unit_test(walks_parameters),
        cmocka_unit_test(encodes_what_decodes_to_the_same),
    };
    return cmocka_run_group_tests_name("http_url", test, NULL, NULL);
}
