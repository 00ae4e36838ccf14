#include "codec/json_write.h"

#include "base/prng.h"
#include "codec/base64.h"
#include "codec/json.h"

#include "tests/unit.h"

#include <string.h>

/* Would be broken: every answer in JSON. */
static void
writes_values_with_their_commas(void **state)
{
    (void)state;
    struct buf         out;
    struct json_writer w;
    buf_init(&out, 0);
    json_write_begin(&w, &out);
    json_write_open(&w, '{');
    json_write_key(&w, STR("a"));
    json_write_text(&w, STR("0"));
    json_write_key(&w, STR("b\""));
    json_write_open(&w, '[');
    json_write_text(&w, STR("1"));
    json_write_text(&w, STR("2"));
    json_write_open(&w, '{');
    json_write_close(&w, '}');
    json_write_open(&w, '[');
    json_write_close(&w, ']');
    json_write_close(&w, ']');
    json_write_key(&w, STR(""));
    json_write_open(&w, '{');
    json_write_close(&w, '}');
    json_write_key(&w, STR("c"));
    json_write_base64(&w, STR("hello"));
    json_write_key(&w, STR("d"));
    json_write_text(&w, STR(""));
    json_write_close(&w, '}');
    assert_int_equal(json_write_end(&w), ERR_OK);
    assert_true(str_eq(buf_str(&out), STR("{\"a\":\"0\",\"b\\\"\":[\"1\",\"2\",{},[]],\"\":{},"
                                          "\"c\":\"aGVsbG8=\",\"d\":\"\"}")));
    buf_fini(&out);
}

/* Would be broken: bodies with quotes, controls or text beyond ASCII. */
static void
escapes_what_must_be_and_nothing_else(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    struct str text = STR("\"\\/\b\f\n\r\t\0\001\037\177 caf\xc3\xa9 \xf0\x9f\x98\x80");
    assert_int_equal(json_add_text(&out, text), ERR_OK);
    assert_true(str_eq(buf_str(&out), STR("\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u0001\\u001f\177 "
                                          "caf\xc3\xa9 \xf0\x9f\x98\x80\"")));
    buf_fini(&out);
}

/* Would be broken: the promise that each line the broker writes is JSON, or a buffer
 * that keeps half an answer. */
static void
takes_everything_back_at_an_error(void **state)
{
    (void)state;
    struct buf         out;
    struct json_writer w;
    buf_init(&out, 16);
    assert_int_equal(buf_add(&out, STR("before")), ERR_OK);
    assert_int_equal(json_add_text(&out, STR("\xff")), ERR_INVALID);
    assert_int_equal(json_add_text(&out, STR("\xed\xa0\x80")), ERR_INVALID);
    assert_int_equal(json_add_text(&out, STR("ninebytes")), ERR_LIMIT);
    const struct str text[] = {STR("\xff"), STR("too long for it")};
    for (size_t i = 0; i < 2; i++) {
        json_write_begin(&w, &out);
        json_write_open(&w, '[');
        json_write_text(&w, text[i]);
        json_write_text(&w, STR("a")); /* what follows an error is dropped */
        json_write_key(&w, STR("b"));
        json_write_base64(&w, STR("c"));
        json_write_close(&w, ']');
        assert_int_equal(json_write_end(&w), i == 0 ? ERR_INVALID : ERR_LIMIT);
        assert_true(str_eq(buf_str(&out), STR("before")));
    }
    assert_int_equal(base64_encode(&out, STR("12345678")), ERR_LIMIT);
    assert_true(str_eq(buf_str(&out), STR("before")));
    assert_int_equal(json_add_text(&out, STR("12345678")), ERR_OK); /* to the last byte */
    buf_fini(&out);
}

static size_t
random_text(struct prng *r, uint8_t *to)
{
    static const char *const part[] = {"a",
                                       "plain run of text",
                                       "\"",
                                       "\\",
                                       "\n",
                                       "\t",
                                       "\x1f",
                                       "\x7f",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "/"};
    size_t                   n      = 0;
    for (size_t i = prng_below(r, 12); i > 0; i--) {
        const char *p = part[prng_below(r, sizeof part / sizeof *part)];
        memcpy(to + n, p, strlen(p));
        n += strlen(p);
    }
    return n;
}

/* Would be broken: a message would arrive as another than was published. */
static void
reads_back_every_text_it_writes(void **state)
{
    (void)state;
    struct prng r = {1};
    struct buf  out;
    buf_init(&out, 0);
    for (int round = 0; round < 2000; round++) {
        uint8_t             bytes[256], room[1024];
        struct str          text = {bytes, random_text(&r, bytes)}, got;
        struct json_members m;
        const char         *why;
        struct json_writer  w;
        buf_reset(&out);
        json_write_begin(&w, &out);
        json_write_open(&w, '{');
        json_write_key(&w, text);
        json_write_text(&w, text);
        json_write_close(&w, '}');
        assert_int_equal(json_write_end(&w), ERR_OK);
        assert_int_equal(json_parse(buf_str(&out), &m, &why), ERR_OK);
        assert_true(m.at[0].value.raw.n <= sizeof room);
        assert_true(json_text(&m.at[0].value, room, &got));
        assert_true(str_eq(got, text));
        assert_true(json_text_is(&m.at[0].value, text));
        assert_true(str_eq(json_key_text(&m.at[0], room), text));
        assert_ptr_equal(json_member(&m, text), &m.at[0].value);
    }
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(writes_values_with_their_commas),
        cmocka_unit_test(escapes_what_must_be_and_nothing_else),
        cmocka_unit_test(takes_everything_back_at_an_error),
        cmocka_unit_test(reads_back_every_text_it_writes),
    };
    return cmocka_run_group_tests_name("json_write", test, NULL, NULL);
}
