#include "server/render.h"

#include "tests/unit.h"

#include <string.h>

static void
assert_text(const struct buf *b, const char *expected)
{
    struct str s = buf_str(b);
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

static const struct entry plain = {
    .lsn     = 9,
    .mark    = {0x1234, 7},
    .lamport = 42,
    .wall    = {1767323045678},
    .origin  = {(const uint8_t *)"localhost:3000", 14},
    .topic   = {(const uint8_t *)"a/\"b\"", 5},
    .body    = {(const uint8_t *)"up\0\n", 4},
};

/* Clients parse this shape; were a name or the order of escapes to change, all of them
 * would break. */
static void
message_is_shown_whole(void **state)
{
    (void)state;
    struct buf   out;
    struct entry e = plain;
    buf_init(&out, 0);
    e.headers = STR("content-type: text/plain\nmeta-a: 1\nmeta-b: \"2\"\n");
    render_message(&out, &e, STR(""));
    assert_text(&out, "{\"id\":\"0000000000001234-7\",\"topic\":\"a/\\\"b\\\"\",\"lamport\":42,"
                      "\"origin\":\"localhost:3000\",\"time\":\"2026-01-02T03:04:05.678Z\","
                      "\"type\":\"text/plain\",\"meta\":{\"a\":\"1\",\"b\":\"\\\"2\\\"\"},"
                      "\"body\":\"up\\u0000\\n\"}");
    buf_fini(&out);
}

/* A body that is not UTF-8 would make the whole answer invalid JSON. */
static void
bytes_go_as_base64(void **state)
{
    (void)state;
    struct buf   out;
    struct entry e = plain;
    buf_init(&out, 0);
    e.body = STR("\xff\xfe");
    e.late = true;
    render_message(&out, &e, STR("CUR"));
    assert_text(&out, "{\"id\":\"0000000000001234-7\",\"topic\":\"a/\\\"b\\\"\",\"lamport\":42,"
                      "\"origin\":\"localhost:3000\",\"time\":\"2026-01-02T03:04:05.678Z\","
                      "\"body_base64\":\"//4=\",\"late\":true,\"cursor\":\"CUR\"}");
    buf_reset(&out);
    render_delivery(&out, &e, STR("CUR"));
    assert_text(&out, "{\"type\":\"publish\",\"topic\":\"a/\\\"b\\\"\",\"message_base64\":\"//4=\","
                      "\"lamport_timestamp\":42,\"id\":\"0000000000001234-7\",\"late\":true,"
                      "\"cursor\":\"CUR\"}\n");
    buf_fini(&out);
}

/* Headers come from other brokers as well: whatever they hold, the answer stays JSON. */
static void
strange_headers_stay_json(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *shown;
    } row[] = {
        {"content-type: \xff\n", ",\"type\":\"\\ufffd\""},
        {"no colon\ncontent-type:x", ",\"type\":\"x\""},
        {"content-type: x\ncontent-type: y\n", ",\"type\":\"x\""},
        {"meta-: \n", ",\"meta\":{\"\":\"\"}"},
        {"\n\n:\n", "\"body\":"},
        {"other: x\n", "\"body\":"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct buf   out;
        struct entry e = plain;
        buf_init(&out, 0);
        e.headers = str_of(row[i].headers);
        render_message(&out, &e, STR(""));
        render(&out, (struct str){(const uint8_t *)"", 1});
        assert_non_null(strstr((const char *)out.p, row[i].shown));
        buf_fini(&out);
    }
}

/* A client matches answers by `ref`, which must come back as it was written. */
static void
answers_carry_ref_and_id(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    render_ack(&out, plain.mark, 5, CAUSAL_UNASKED, STR(""));
    render_ack(&out, plain.mark, 5, CAUSAL_YES, STR("17"));
    render_ack(&out, plain.mark, 5, CAUSAL_NO, STR("\"x\\n\""));
    render_subscribed(&out, STR("CUR"), STR("1"));
    render_error(&out, STR("no \"topic\""), (struct mark){0}, STR(""));
    render_error(&out, STR("unknown"), plain.mark, STR("2"));
    assert_text(
        &out,
        "{\"type\":\"ack\",\"id\":\"0000000000001234-7\",\"lamport_timestamp\":5}\n"
        "{\"type\":\"ack\",\"id\":\"0000000000001234-7\",\"lamport_timestamp\":5,"
        "\"causal\":true,\"ref\":17}\n"
        "{\"type\":\"ack\",\"id\":\"0000000000001234-7\",\"lamport_timestamp\":5,"
        "\"causal\":false,\"ref\":\"x\\n\"}\n"
        "{\"type\":\"subscribed\",\"cursor\":\"CUR\",\"ref\":1}\n"
        "{\"type\":\"error\",\"error\":\"no \\\"topic\\\"\"}\n"
        "{\"type\":\"error\",\"error\":\"unknown\",\"id\":\"0000000000001234-7\",\"ref\":2}\n");
    buf_reset(&out);
    render_receipt(&out, &(struct receipt){.mark    = {UINT64_MAX >> 1, UINT64_MAX},
                                           .lamport = STAMP_MAX,
                                           .origin  = STR("h:1"),
                                           .cursor  = STR("CUR"),
                                           .copies  = 3,
                                           .causal  = true});
    assert_text(&out,
                "{\"id\":\"7fffffffffffffff-18446744073709551615\",\"lamport\":9007199254740991,"
                "\"origin\":\"h:1\",\"copies\":3,\"cursor\":\"CUR\",\"causal\":true}\n");
    buf_reset(&out);
    render_receipt(&out, &(struct receipt){.mark   = {1, 2},
                                           .origin = STR("h:1"),
                                           .cursor = STR("CUR"),
                                           .copies = 1,
                                           .fewer  = true});
    assert_text(&out, "{\"id\":\"0000000000000001-2\",\"lamport\":0,\"origin\":\"h:1\","
                      "\"copies\":1,\"cursor\":\"CUR\",\"causal\":false,\"status\":202}\n");
    buf_fini(&out);
}

/* Clients compute with these numbers, and show where the messages were from. */
static void
gaps_are_shown_whole(void **state)
{
    (void)state;
    struct buf   out;
    struct entry gap = {.mark   = {0x5f0c6a1b2d3e4f50, 11},
                        .gap_to = 9007199254740993,
                        .origin = {(const uint8_t *)"h\":1", 4}};
    buf_init(&out, 0);
    render_gap(&out, &gap);
    assert_text(&out, "{\"stream\":\"5f0c6a1b2d3e4f50\",\"origin\":\"h\\\":1\",\"from\":11,"
                      "\"to\":9007199254740993}");
    buf_reset(&out);
    gap.origin = STR("");
    gap.gap_to = 11;
    render_page_gap(&out, &gap, 7);
    assert_text(&out, "{\"stream\":\"5f0c6a1b2d3e4f50\",\"origin\":\"\",\"from\":11,"
                      "\"to\":11,\"at\":7}");
    buf_reset(&out);
    render_gap_delivery(&out, &gap, STR("CUR"));
    assert_text(&out, "{\"type\":\"gap\",\"stream\":\"5f0c6a1b2d3e4f50\",\"origin\":\"\","
                      "\"from\":11,\"to\":11,\"cursor\":\"CUR\"}\n");
    buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_is_shown_whole),   cmocka_unit_test(gaps_are_shown_whole),
        cmocka_unit_test(bytes_go_as_base64),       cmocka_unit_test(strange_headers_stay_json),
        cmocka_unit_test(answers_carry_ref_and_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
