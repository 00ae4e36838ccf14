#include "codec/base64.h"

#include "tests/unit.h"

#include <string.h>

/* RFC 4648 section 10, then the ways to be wrong (NULL). */
static const struct {
    const char *text, *bytes;
} base64[] = {
    {"", ""},
    {"Zg==", "f"},
    {"Zm8=", "fo"},
    {"Zm9v", "foo"},
    {"Zm9vYg==", "foob"},
    {"Zm9vYmE=", "fooba"},
    {"Zm9vYmFy", "foobar"},
    {"+/+/", "\xfb\xff\xbf"},
    {"Zg=", NULL},
    {"Zg", NULL},
    {"Z", NULL},
    {"Zh==", NULL}, /* unused bits set */
    {"Zm9=", NULL},
    {"Z===", NULL},
    {"====", NULL},
    {"Zg==Zg==", NULL},
    {"Zg=a", NULL},
    {"Zm9v\n", NULL},
    {"Zm 9v", NULL},
    {"-_-_", NULL}, /* the URL alphabet is another one */
    {"Zm\xc3\xa9", NULL},
};

/* Would be broken: bodies that are not UTF-8. */
static void
codes_base64(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof base64 / sizeof *base64; i++) {
        uint8_t    room[16];
        struct str got;
        enum err   e = base64_decode(str_of(base64[i].text), room, &got);
        assert_int_equal(e, base64[i].bytes ? ERR_OK : ERR_INVALID);
        if (e != ERR_OK)
            continue;
        assert_true(str_eq(got, str_of(base64[i].bytes)));
        buf_reset(&out);
        assert_int_equal(base64_encode(&out, got), ERR_OK);
        assert_true(str_eq(buf_str(&out), str_of(base64[i].text)));
    }
    buf_fini(&out);
}

/* Would be broken: cursors.  Section 5 has two other letters, and no padding. */
static void
codes_base64url(void **state)
{
    static const struct {
        const char *text, *bytes;
    } row[] = {
        {"", ""},        {"Zg", "f"},        {"Zm8", "fo"},
        {"Zm9v", "foo"}, {"Zm9vYg", "foob"}, {"-_-_", "\xfb\xff\xbf"},
        {"Z", NULL},     {"Zh", NULL}, /* unused bits set */
        {"Zg==", NULL},  {"+/+/", NULL},     {"Zm 9", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct str text     = str_of(row[i].text);
        uint8_t    room[16] = {0}, again[16];
        assert_int_equal(base64url_decode(text, room), row[i].bytes != NULL);
        if (!row[i].bytes)
            continue;
        size_t n = strlen(row[i].bytes);
        assert_memory_equal(room, row[i].bytes, n);
        assert_int_equal(base64url_bytes(n), text.n);
        base64url_encode(again, room, n);
        assert_memory_equal(again, text.p, text.n);
    }
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(codes_base64),
        cmocka_unit_test(codes_base64url),
    };
    return cmocka_run_group_tests_name("base64", test, NULL, NULL);
}
