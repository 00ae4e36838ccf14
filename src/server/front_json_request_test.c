#include "server/front_json_request.h"

#include "tests/unit.h"

#include <string.h>

static enum err
decode(const char *text, struct buf *room, struct json_request *r)
{
    const char *why = NULL;
    enum err    e   = json_request_decode(str_of(text), room, r, &why);
    assert_true((e == ERR_OK) == (why == NULL));
    return e;
}

static void
assert_str(struct str s, const char *expected)
{
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

/* Were a member not read, or taken for another, a client's message would be lost or
 * stored wrongly. */
static void
members_are_read(void **state)
{
    (void)state;
    struct buf          room;
    struct json_request r;
    buf_init(&room, 0);

    assert_int_equal(
        decode("{\"type\":\"publish\",\"topic\":\"a/b\",\"message\":\"up\","
               "\"lamport_timestamp\":7,\"ack\":true,\"ref\":\"x\\n\",\"after\":\"C\"}",
               &room, &r),
        ERR_OK);
    assert_int_equal(r.verb, JSON_VERB_PUBLISH);
    assert_str(r.topic[0], "a/b");
    assert_str(r.message, "up");
    assert_int_equal(r.stamp, 7);
    assert_true(r.ack);
    assert_str(r.ref, "\"x\\n\"");
    assert_true(r.has_cursor);
    assert_str(r.cursor, "C");

    assert_int_equal(decode("{\"type\":\"subscribe\",\"topic\":\"a/#\",\"ref\":-1.5e3,"
                            "\"after\":5,\"message\":{},\"unknown\":[1,{}]}",
                            &room, &r),
                     ERR_OK);
    assert_int_equal(r.verb, JSON_VERB_SUBSCRIBE);
    assert_str(r.topic[0], "a/#");
    assert_str(r.ref, "-1.5e3");
    assert_false(r.ack || r.has_cursor);
    assert_int_equal(r.topic_count, 1);

    assert_int_equal(
        decode("{\"type\":\"subscribe\",\"topic\":[ \"a/#\",\"\\u0062\" , \"\\u0063/+\"]}", &room,
               &r),
        ERR_OK);
    assert_int_equal(r.topic_count, 3);
    assert_str(r.topic[0], "a/#");
    assert_str(r.topic[1], "b");
    assert_str(r.topic[2], "c/+");
    buf_fini(&room);
}

/* Escaped and coded texts share one piece of memory: none may lie over another. */
static void
texts_do_not_overlap(void **state)
{
    (void)state;
    struct buf          room;
    struct json_request r;
    buf_init(&room, 0);
    assert_int_equal(
        decode("{\"type\":\"pub\\u006cish\",\"topic\":\"\\u0061/b\",\"after\":\"\\u0043\","
               "\"message_base64\":\"aGVsbG8\\u003d\"}",
               &room, &r),
        ERR_OK);
    assert_str(r.topic[0], "a/b");
    assert_str(r.message, "hello");
    assert_str(r.cursor, "C");
    assert_int_equal(
        decode("{\"t\\u0079pe\":\"publish\",\"topic\":\"t\",\"message\":\"\\u0000x\"}", &room, &r),
        ERR_OK);
    assert_int_equal(r.message.n, 2);
    assert_memory_equal(r.message.p, "\0x", 2);
    buf_fini(&room);
}

/* Each of these must be answered with an error and change nothing. */
static void
bad_objects_are_refused(void **state)
{
    (void)state;
    static const char *row[] = {
        "{}",
        "{\"type\":\"publish\"}",
        "{\"type\":5,\"topic\":\"t\",\"message\":\"m\"}",
        "{\"type\":\"Publish\",\"topic\":\"t\",\"message\":\"m\"}",
        "{\"type\":\"publish\",\"topic\":\"t\"}",
        "{\"type\":\"publish\",\"topic\":null,\"message\":\"m\"}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":1}",
        "{\"type\":\"publish\",\"topic\":\"t/+\",\"message\":\"m\"}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":\"m\",\"message_base64\":\"\"}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message_base64\":\"a\"}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":\"m\",\"ack\":\"true\"}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":\"m\",\"ref\":null}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":\"m\",\"ref\":[1]}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":\"m\",\"after\":1}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":\"m\",\"lamport_timestamp\":1e3}",
        "{\"type\":\"publish\",\"topic\":\"t\",\"message\":\"m\",\"message\":\"m\"}",
        "{\"type\":\"subscribe\",\"topic\":\"a#\"}",
        "{\"type\":\"subscribe\",\"topic\":\"a\",\"cursor\":true}",
        "{\"type\":\"subscribe\",\"topic\":\"a\",}",
        "{\"type\":\"subscribe\",\"topic\":[]}",
        "{\"type\":\"subscribe\",\"topic\":[\"a\",1]}",
        "{\"type\":\"subscribe\",\"topic\":[\"a\",\"b#\"]}",
        "{\"type\":\"subscribe\",\"topic\":{\"a\":\"a\"}}",
        "{\"type\":\"subscribe\",\"topic\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\","
        "\"10\",\"11\",\"12\","
        "\"13\",\"14\",\"15\",\"16\",\"17\"]}",
        "{\"type\":\"publish\",\"topic\":[\"a\"],\"message\":\"m\"}",
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct buf          room;
        struct json_request r;
        buf_init(&room, 0);
        if (decode(row[i], &room, &r) != ERR_INVALID)
            fail_msg("taken: %s", row[i]);
        buf_fini(&room);
    }
}

/* A client that labels its requests wants the label on errors above all. */
static void
errors_keep_the_ref(void **state)
{
    (void)state;
    struct buf          room;
    struct json_request r;
    char                text[400] = "{\"ref\":\"";
    buf_init(&room, 0);
    assert_int_equal(decode("{\"type\":\"x\",\"ref\":17}", &room, &r), ERR_INVALID);
    assert_str(r.ref, "17");
    memset(text + 8, 'r', 300);
    memcpy(text + 308, "\"}", 3);
    assert_int_equal(decode(text, &room, &r), ERR_INVALID);
    assert_int_equal(r.ref.n, 0);
    buf_fini(&room);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_read),
        cmocka_unit_test(texts_do_not_overlap),
        cmocka_unit_test(bad_objects_are_refused),
        cmocka_unit_test(errors_keep_the_ref),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
