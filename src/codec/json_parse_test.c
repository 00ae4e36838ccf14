#include "codec/json.h"

#include "base/prng.h"

#include "tests/unit.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER(text) "{\"a\":" text "}"

/* Objects -> accepted or not; jansson has to agree but where `alone` is set. */
static const struct {
    const char *object;
    bool        ok, alone;
} row[] = {
    {"{}", true, false},
    {" \t\r\n{ } \n", true, false},
    {MEMBER("1"), true, false},
    {"{ \"a\" : 1 , \"b\" : 2 }", true, false},
    {MEMBER("[1,\"x\",null,true,false,{},[]]"), true, false},
    {MEMBER("\"\\u0000\""), true, false},
    {MEMBER("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\""), true, false},
    {MEMBER("\"caf\xc3\xa9 \xf0\x9f\x98\x80 \x7f\""), true, false},
    {MEMBER("0"), true, false},
    {MEMBER("-0"), true, false},
    {MEMBER("-1.25e+10"), true, false},
    {MEMBER("1E-2"), true, false},
    {"{\"a\":1,\"A\":2,\"\":3,\"aa\":4}", true, false},
    {"{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}", true, false},
    {"{\"type\":\"publish\",\"topic\":\"stocks\",\"message\":\"up\",\"lamport_timestamp\":17}",
     true, false},

    {"{\"id\":\"5f0c6a1b2d3e4f50-1\",\"time\":\"2026-01-02T03:04:05.678Z\",\"meta\":{\"name\":"
     "\"x\",\"other "
     "name\":\"y\"},\"body\":\"a text long enough that most of what happens, happens to it\"}",
     true, false},

    {"", false, false},
    {" ", false, false},
    {"{", false, false},
    {"}", false, false},
    {"{}}", false, false},
    {"{}{}", false, false},
    {"{} x", false, false},
    {"\xef\xbb\xbf{}", false, false},
    {"{,}", false, false},
    {"{\"a\"}", false, false},
    {"{\"a\":}", false, false},
    {"{\"a\" 1}", false, false},
    {"{\"a\":1,}", false, false},
    {"{\"a\":1 \"b\":2}", false, false},
    {"{a:1}", false, false},
    {"{'a':1}", false, false},
    {"{1:1}", false, false},
    {MEMBER("1]"), false, false},
    {MEMBER("[1,]"), false, false},
    {MEMBER("[,1]"), false, false},
    {MEMBER("[1 2]"), false, false},
    {MEMBER("[1"), false, false},
    {MEMBER("[1}"), false, false},
    {MEMBER("01"), false, false},
    {MEMBER("-"), false, false},
    {MEMBER("+1"), false, false},
    {MEMBER(".5"), false, false},
    {MEMBER("5."), false, false},
    {MEMBER("5.e1"), false, false},
    {MEMBER("1e"), false, false},
    {MEMBER("1e+"), false, false},
    {MEMBER("0x1"), false, false},
    {MEMBER("NaN"), false, false},
    {MEMBER("Infinity"), false, false},
    {MEMBER("tru"), false, false},
    {MEMBER("truex"), false, false},
    {MEMBER("True"), false, false},
    {MEMBER("nul"), false, false},
    {MEMBER("// x\n1"), false, false},
    {MEMBER("\"x"), false, false},
    {MEMBER("\"x\ny\""), false, false},
    {MEMBER("\"\001\""), false, false},
    {MEMBER("\"\\x\""), false, false},
    {MEMBER("\"\\u12\""), false, false},
    {MEMBER("\"\\u12g4\""), false, false},
    {MEMBER("\"\\ud83d\""), false, false},
    {MEMBER("\"\\ud83dx\""), false, false},
    {MEMBER("\"\\ud83d\\n\""), false, false},
    {MEMBER("\"\\ud83d\\u0041\""), false, false},
    {MEMBER("\"\\ud83d\\ud83d\""), false, false},
    {MEMBER("\"\\ude00\""), false, false},
    {MEMBER("\"\xff\""), false, false},
    {MEMBER("\"\xc3\""), false, false},
    {MEMBER("\"\xc0\x80\""), false, false},
    {MEMBER("\"\xed\xa0\x80\""), false, false},
    {MEMBER("\"\xf4\x90\x80\x80\""), false, false},
    {"{\"\xff\":1}", false, false},
    {"{\"a\":1,\"a\":1}", false, false},
    {"{\"a\":1,\"b\":2,\"\\u0061\":1}", false, false},
    {"{\"\\u0061\":1,\"b\":2,\"a\":1}", false, false},
    {"{\"\\n\":1,\"\\u000a\":1}", false, false},
    {"{\"\":1,\"\":1}", false, false},
    {"{\"x\":{\"a\":1,\"a\":1}}", false, false},
    {"{\"x\":[{\"a\":1,\"a\":1}]}", false, false},

    /* Where we differ from jansson, and mean to: it reads numbers into machine words and keys
     * into zero-terminated strings, we only check their grammar; and only objects are ours. */
    {MEMBER("9223372036854775808"), true, true},
    {MEMBER("1e999"), true, true},
    {"{\"\\u0000\":1}", true, true},
    {"{\"a\\u0000b\":1}", true, true},
    {"[]", false, true},
    {"[{}]", false, true},
    {MEMBER("[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"), false, true}, /* 17 levels */
    {MEMBER("[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]"), false, true},
};

enum { GOOD_ROWS = 16 }; /* at the front of the table */

static bool
jansson_takes(struct str in)
{
    json_error_t error;
    json_t      *value =
        json_loadb((const char *)in.p, in.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    json_decref(value);
    return value != NULL;
}

static bool
we_take(struct str in)
{
    static struct json_members m;
    const char                *why = NULL;
    enum err                   e   = json_parse(in, &m, &why);
    assert_true(e == ERR_OK || (e == ERR_INVALID && why));
    return e == ERR_OK;
}

/* Would be broken: the same object would be good at one broker and bad in a library, or a
 * key that stands twice would mean this to one reader and that to another. */
static void
takes_and_refuses_the_table(void **state)
{
    (void)state;
    assert_true(row[GOOD_ROWS - 1].ok && !row[GOOD_ROWS].ok);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct str in = str_of(row[i].object);
        if (we_take(in) != row[i].ok)
            print_message("%s\n", row[i].object);
        assert_int_equal(we_take(in), row[i].ok);
        assert_int_equal(jansson_takes(in), row[i].ok != row[i].alone);
    }
}

/* Would be broken: half an object would be taken for a whole one. */
static void
refuses_every_cut_of_an_object(void **state)
{
    (void)state;
    struct str in = STR("{\"a\":[1,\"x\\u00e9\",{\"b\":null}],\"c\":-1.5e3,\"d\":true}");
    assert_true(we_take(in));
    for (size_t n = 0; n < in.n; n++) {
        uint8_t *exact = malloc(n + 1); /* so that a read behind the end is seen */
        memcpy(exact, in.p, n);
        assert_false(we_take((struct str){exact, n}));
        free(exact);
    }
}

/* Not an object, nested too deep for us, or a number or key that jansson cannot hold. */
static bool
differs_on_purpose(struct str in, bool ours)
{
    size_t deep = 0, most = 0, digits = 0, run = 0;
    bool   quoted = false, exponent = false, nul = false;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (quoted && c == '\\') {
            nul = nul || str_starts(str_cut(in, i, in.n), STR("\\u0000"));
            i++;
            continue;
        }
        if (c == '"')
            quoted = !quoted;
        if (quoted)
            continue;
        deep += c == '{' || c == '[';
        deep -= deep > 0 && (c == '}' || c == ']');
        most     = deep > most ? deep : most;
        run      = c >= '0' && c <= '9' ? run + 1 : 0;
        digits   = run > digits ? run : digits;
        exponent = exponent || c == 'e' || c == 'E';
    }
    size_t first = 0;
    while (first < in.n && (in.p[first] <= ' '))
        first++;
    if (ours)
        return digits > 18 || exponent || nul;
    return most > JSON_DEPTH_MAX || (first < in.n && in.p[first] == '[');
}

static size_t
mutate(struct prng *r, struct str from, uint8_t *to)
{
    static const char bits[] =
        "{}[]:,\"\\/ \n\t0123456789.-+eEtrufalsn\001\177\200\303\251\355\377";
    size_t n = from.n;
    memcpy(to, from.p, n);
    for (size_t i = 1 + prng_below(r, 4) / 3; i > 0 && n > 1; i--) {
        size_t at  = prng_below(r, n);
        size_t len = 1 + prng_below(r, n - at < 8 ? n - at : 8);
        switch (prng_below(r, 4)) {
        case 0:
            to[at] = (uint8_t)bits[prng_below(r, sizeof bits - 1)];
            break;
        case 1: /* take some out */
            memmove(to + at, to + at + len, n - at - len);
            n -= len;
            break;
        case 2: /* say some twice */
            memmove(to + at + len, to + at, n - at);
            n += len;
            break;
        default: /* put one in */
            memmove(to + at + 1, to + at, n - at);
            to[at] = (uint8_t)bits[prng_below(r, sizeof bits - 1)];
            n++;
        }
    }
    return n;
}

/* Would be broken: the grammar, in a corner that no one thought of. */
static void
agrees_with_jansson_on_what_is_json(void **state)
{
    (void)state;
    struct prng r     = {42};
    size_t      taken = 0, excused = 0;
    for (int round = 0; round < 50000; round++) {
        size_t     at   = prng_below(&r, sizeof row / sizeof *row);
        struct str from = str_of(row[round % 2 ? at : at % GOOD_ROWS].object);
        uint8_t    bytes[512];
        struct str in   = {bytes, mutate(&r, from, bytes)};
        bool       ours = we_take(in);
        taken += ours;
        if (ours == jansson_takes(in))
            continue;
        excused++;
        if (!differs_on_purpose(in, ours))
            print_message("we say %d: %.*s\n", ours, STR_ARG(in));
        assert_true(differs_on_purpose(in, ours));
    }
    assert_true(taken > 5000);   /* the test would prove nothing on garbage alone */
    assert_true(excused < 5000); /* nor if everything were excused */
}

/* Would be broken: what the broker understands of an object. */
static void
gives_the_members_in_order(void **state)
{
    (void)state;
    struct json_members m, other;
    const char         *why;
    struct str          in =
        STR("{\"type\":\"publish\",\"t\\u006fpic\":\"a\\/b\",\"n\":42,\"ack\":true,"
            "\"no\":false,\"x\":null,\"meta\":{\"k\":[1]},\"list\":[1, \"]\\\"\" ,{}]}");
    assert_int_equal(json_parse(in, &m, &why), ERR_OK);
    assert_int_equal(m.count, 8);
    uint8_t    room[32];
    struct str text;
    uint64_t   n;
    bool       flag;
    assert_true(json_text(json_member(&m, STR("type")), room, &text));
    assert_true(text.p > in.p && text.p < in.p + in.n); /* no copy */
    assert_true(str_eq(text, STR("publish")));
    assert_true(json_text(json_member(&m, STR("topic")), room, &text));
    assert_true(str_eq(text, STR("a/b")));
    assert_true(json_text_is(json_member(&m, STR("topic")), STR("a/b")));
    assert_false(json_text_is(json_member(&m, STR("topic")), STR("a\\/b")));
    assert_false(json_text_is(json_member(&m, STR("topic")), STR("a/bc")));
    assert_int_equal(json_parse(STR("{\"a\":\"\\u20ac!\",\"\\u00e9\":2}"), &other, &why), ERR_OK);
    assert_true(json_text_is(json_member(&other, STR("a")), STR("\xe2\x82\xac!")));
    assert_false(json_text_is(json_member(&other, STR("a")), STR("\xe2\x82\xad!")));
    assert_false(json_text_is(json_member(&other, STR("a")), STR("\xe2\x82")));
    assert_true(json_u64(json_member(&other, STR("\xc3\xa9")), &n));
    assert_true(str_eq(json_key_text(&m.at[1], room), STR("topic")));
    assert_true(json_u64(json_member(&m, STR("n")), &n));
    assert_int_equal(n, 42);
    assert_true(json_bool(json_member(&m, STR("ack")), &flag) && flag);
    assert_true(json_bool(json_member(&m, STR("no")), &flag) && !flag);
    assert_int_equal(json_member(&m, STR("x"))->kind, JSON_KIND_NULL);
    assert_true(str_eq(json_member(&m, STR("meta"))->raw, STR("{\"k\":[1]}")));
    assert_null(json_member(&m, STR("k")));
    assert_null(json_member(&m, STR("t\\u006fpic")));
    assert_false(json_text(json_member(&m, STR("n")), room, &text));
    assert_false(json_text_is(json_member(&m, STR("n")), STR("42")));
    assert_false(json_bool(json_member(&m, STR("n")), &flag));
    assert_false(json_u64(json_member(&m, STR("type")), &n));
}

/* Would be broken: stamps that a client writes oddly or beyond what JSON numbers hold. */
static void
takes_whole_numbers_to_2_to_the_53(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        bool        ok;
        uint64_t    value;
    } number[] = {{"0", true, 0},
                  {"9007199254740991", true, STAMP_MAX},
                  {"9007199254740992", false, 0},
                  {"99999999999999999999999", false, 0},
                  {"-0", false, 0},
                  {"-1", false, 0},
                  {"1.0", false, 0},
                  {"1e3", false, 0}};
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        struct json_value v = {.kind = JSON_KIND_NUMBER, .raw = str_of(number[i].raw)};
        uint64_t          n;
        assert_int_equal(json_u64(&v, &n), number[i].ok);
        if (number[i].ok)
            assert_true(n == number[i].value);
    }
}

/* Would be broken: the client library, which reads {"messages":[{...}]}. */
static void
walks_arrays(void **state)
{
    (void)state;
    static const struct {
        enum json_kind kind;
        const char    *raw;
    } want[] = {
        {JSON_KIND_OBJECT, "{\"id\":\"]}\\\"\"}"},
        {JSON_KIND_STRING, "a,\\\\"},
        {JSON_KIND_NUMBER, "-1.5"},
        {JSON_KIND_ARRAY, "[ [], {} ]"},
        {JSON_KIND_TRUE, "true"},
        {JSON_KIND_NULL, "null"},
        {JSON_KIND_STRING, ""},
    };
    struct json_members m;
    const char         *why;
    struct str          in =
        STR("{\"m\":[ {\"id\":\"]}\\\"\"} ,\"a,\\\\\",-1.5\n,[ [], {} ],true,null,\"\" ],"
            "\"e\":[],\"f\":[ ],\"s\":\"[1]\"}");
    assert_int_equal(json_parse(in, &m, &why), ERR_OK);
    struct str        rest = json_items(json_member(&m, STR("m")));
    struct json_value v;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(json_items_next(&rest, &v));
        assert_int_equal(v.kind, want[i].kind);
        assert_true(str_eq(v.raw, str_of(want[i].raw)));
        assert_int_equal(v.escaped, i == 1);
    }
    assert_false(json_items_next(&rest, &v));
    const char *const none[] = {"e", "f", "s"};
    for (size_t i = 0; i < 3; i++) {
        rest = json_items(json_member(&m, str_of(none[i])));
        assert_false(json_items_next(&rest, &v));
    }
}

/* Would be broken: the table of members would overrun, at the top or in a nested object. */
static void
takes_sixty_four_members_and_no_more(void **state)
{
    (void)state;
    for (int count = JSON_MEMBERS_MAX; count <= JSON_MEMBERS_MAX + 1; count++) {
        char   object[2048] = "{", nested[2100];
        size_t n            = 1;
        for (int i = 0; i < count; i++)
            n +=
                (size_t)snprintf(object + n, sizeof object - n, "%s\"k%d\":%d", i ? "," : "", i, i);
        strcat(object, "}");
        snprintf(nested, sizeof nested, "{\"a\":[%s]}", object);
        assert_int_equal(we_take(str_of(object)), count == JSON_MEMBERS_MAX);
        assert_int_equal(we_take(str_of(nested)), count == JSON_MEMBERS_MAX);
    }
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(takes_and_refuses_the_table),
        cmocka_unit_test(refuses_every_cut_of_an_object),
        cmocka_unit_test(agrees_with_jansson_on_what_is_json),
        cmocka_unit_test(gives_the_members_in_order),
        cmocka_unit_test(takes_whole_numbers_to_2_to_the_53),
        cmocka_unit_test(walks_arrays),
        cmocka_unit_test(takes_sixty_four_members_and_no_more),
    };
    return cmocka_run_group_tests_name("json_parse", test, NULL, NULL);
}
