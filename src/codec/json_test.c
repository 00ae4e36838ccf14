#include "codec/json.h"

#include "base/buf.h"

#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

/* A stream -> what is found in it: objects as they stand, '!' for each error. */
static const struct {
    const char *stream, *found;
} row[] = {
    {"", ""},
    {" \r\n\t", ""},
    {"{}", "{}"},
    {"  {} ", "{}"},
    {"{}{}", "{}{}"},
    {"{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}{\"b\":2}"},
    {"{\"a\":{\"b\":[{},{\"c\":[[]]}]}}{}", "{\"a\":{\"b\":[{},{\"c\":[[]]}]}}{}"},
    {"{\"a\":\n  {\"b\":\n [\n  {},\n  {}]}}", "{\"a\":\n  {\"b\":\n [\n  {},\n  {}]}}"},
    {"{\"}\":\"{\\\"}\\\\\"}{}", "{\"}\":\"{\\\"}\\\\\"}{}"},
    {"{\"a\":\"caf\xc3\xa9 \xff\"}", "{\"a\":\"caf\xc3\xa9 \xff\"}"},   /* UTF-8 is for parse */
    {"{\"a\":}{\"b\" 1}{nonsense}{}", "{\"a\":}{\"b\" 1}{nonsense}{}"}, /* well framed */

    /* between objects */
    {"garbage", "!"},
    {"garbage\n", "!"},
    {"garbage{}", "!"}, /* only a new line makes a new start */
    {"garbage\n{}", "!{}"},
    {"garbage\n  \r\n {}", "!{}"},
    {"garbage\nmore\n\n[]\n{}", "!{}"}, /* one error for a run of it */
    {"{},{}\n{}", "{}!{}"},
    {"{}]\n{}}\n{}", "{}!{}!{}"},
    {"\xef\xbb\xbf{}\n{}", "!{}"},
    {"[{}]\n{}", "!{}"},

    /* inside objects */
    {"{\"a\":\"x\n{\"b\":1}\n{}", "!{\"b\":1}{}"}, /* a string not closed */
    {"{\"a\":\"x\\\n{\"b\":1}", "!{\"b\":1}"},     /* and a backslash last */
    {"{\"a\":\"x\001\"}\n{}", "!{}"},
    {"{\"a\":1\n{\"b\":1}\n{}", "!{\"b\":1}{}"}, /* an object not closed */
    {"{\"a\":\"x\"\n\n \t{\"b\":1}{}", "!{\"b\":1}{}"},
    {"{\n{\"b\":1}{}", "!{\"b\":1}{}"},
    {"{\"a\":1,\n{\"b\":1}{}", "!{\"b\":1}{}"},
    {"{\"a\":[1\n{\"b\":1}{}", "!{\"b\":1}{}"},
    {"{\"a\":\n{\"b\":1}\n{\"c\":2}", "!{\"c\":2}"}, /* it might have been nested, so one is lost */
    {"{\"a\":1{\"b\":1}}{}\n{}", "!{}"},             /* on one line there is no telling */
    {"{\"a\":[1}\n{}", "!{}"},
    {"{\"a\":{]}\n{}", "!{}"},
};

static void
sweep(struct str in, size_t step, struct buf *found)
{
    struct json_scan scan = {0};
    size_t           from = 0, to = 0;
    for (;;) {
        struct str  object;
        size_t      used;
        const char *why = NULL;
        enum err    e   = json_find(&scan, str_cut(in, from, to), &object, &used, &why);
        from += used;
        if (e == ERR_OK) {
            assert_ptr_equal(object.p + object.n, in.p + from);
            assert_int_equal(buf_add(found, object), ERR_OK);
            assert_true(json_scan_is_idle(&scan));
        } else if (e == ERR_PROTO) {
            assert_non_null(why);
            assert_int_equal(buf_add(found, STR("!")), ERR_OK);
        } else if (to == in.n) {
            return;
        } else {
            assert_int_equal(e, ERR_MORE);
            to = in.n - to < step ? in.n : to + step;
        }
    }
}

/* Would be broken: objects that the network cut or joined, and the good objects that
 * follow a bad one. */
static void
finds_the_objects_of_the_table_however_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct str in = str_of(row[i].stream);
        for (size_t step = 1; step <= in.n + 1; step++) {
            struct buf found;
            buf_init(&found, 0);
            sweep(in, step, &found);
            if (!str_eq(buf_str(&found), str_of(row[i].found)))
                print_message("%s: %.*s\n", row[i].stream, STR_ARG(buf_str(&found)));
            assert_true(str_eq(buf_str(&found), str_of(row[i].found)));
            buf_fini(&found);
        }
    }
}

/* Would be broken: a client that sends a byte at a time would cost the square of its
 * object, since each byte would be looked at again and again. */
static void
remembers_what_it_has_seen(void **state)
{
    (void)state;
    struct json_scan scan = {0};
    struct str       in   = STR("  {\"a\":\"b\"}"), object;
    size_t           used;
    const char      *why;
    assert_int_equal(json_find(&scan, str_cut(in, 0, 2), &object, &used, &why), ERR_MORE);
    assert_int_equal(used, 2); /* blanks are given back at once */
    in = str_cut(in, 2, in.n);
    for (size_t to = 1; to < in.n; to++) {
        assert_int_equal(json_find(&scan, str_cut(in, 0, to), &object, &used, &why), ERR_MORE);
        assert_int_equal(used, 0);
        assert_int_equal(scan.seen, to);
        assert_false(json_scan_is_idle(&scan));
    }
    assert_int_equal(json_find(&scan, in, &object, &used, &why), ERR_OK);
    assert_int_equal(used, in.n);
    /* Bad input and what is dropped behind it are nothing to wait for. */
    assert_int_equal(json_find(&scan, STR("x"), &object, &used, &why), ERR_PROTO);
    assert_true(json_scan_is_idle(&scan));
    assert_int_equal(json_find(&scan, STR("y\n "), &object, &used, &why), ERR_MORE);
    assert_true(json_scan_is_idle(&scan));
}

/* Would be broken: a depth bomb would overrun the stack of whoever parses it. */
static void
refuses_what_is_too_deep(void **state)
{
    (void)state;
    for (int deep = JSON_DEPTH_MAX; deep <= JSON_DEPTH_MAX + 1; deep++) {
        char                bytes[128] = "{\"a\":";
        struct json_scan    scan       = {0};
        struct json_members m;
        struct str          object;
        size_t              used;
        const char         *why;
        for (int i = 1; i < deep; i++)
            strcat(bytes, "[");
        for (int i = 1; i < deep; i++)
            strcat(bytes, "]");
        strcat(bytes, "}");
        bool fits = deep == JSON_DEPTH_MAX;
        assert_int_equal(json_find(&scan, str_of(bytes), &object, &used, &why),
                         fits ? ERR_OK : ERR_PROTO);
        assert_int_equal(json_parse(str_of(bytes), &m, &why), fits ? ERR_OK : ERR_INVALID);
    }
}

/* Would be broken: an object without end would fill memory, or the greatest one that is
 * allowed would be refused; and the connection would not live on behind it. */
static void
holds_objects_to_their_limit(void **state)
{
    (void)state;
    size_t   most  = JSON_OBJECT_BYTES_MAX;
    uint8_t *bytes = malloc(most + 8);
    assert_non_null(bytes);
    for (size_t over = 0; over < 2; over++) {
        struct json_scan scan = {0};
        struct str       in   = {bytes, most + over}, object;
        size_t           used;
        const char      *why;
        memset(bytes, 'x', in.n);
        memcpy(bytes, "{\"a\":\"", 6);
        memcpy(bytes + in.n - 2, "\"}", 2);
        enum err e = json_find(&scan, in, &object, &used, &why);
        assert_int_equal(e, over ? ERR_PROTO : ERR_OK);
        assert_int_equal(used, most);
        if (!over)
            continue;
        memcpy(bytes + in.n, "\n{}", 3);
        in.n += 3;
        assert_int_equal(json_find(&scan, str_cut(in, used, in.n), &object, &used, &why), ERR_OK);
        assert_true(str_eq(object, STR("{}")));
    }
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(finds_the_objects_of_the_table_however_cut),
        cmocka_unit_test(remembers_what_it_has_seen),
        cmocka_unit_test(refuses_what_is_too_deep),
        cmocka_unit_test(holds_objects_to_their_limit),
    };
    return cmocka_run_group_tests_name("json", test, NULL, NULL);
}
