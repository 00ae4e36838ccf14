#include "client/request.h"

#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

/* The bytes with a zero behind them. */
static const char *
text(struct buf *b)
{
    assert_int_equal(buf_add(b, STR("\0")), ERR_OK);
    return (const char *)buf_str(b).p;
}

static void
writes_a_publish(void **state)
{
    (void)state;
    /* Broken: a topic or a body would arrive as another one. */
    struct buf                out, sent;
    size_t                    head;
    const char               *why;
    const struct hearsay_pair meta[] = {{"Name", "x y"}};
    struct hearsay_publish    p      = {.topic      = "a/b c/#",
                                        .body       = "1\r\n2",
                                        .body_bytes = 4,
                                        .type       = "text/plain",
                                        .meta       = meta,
                                        .meta_count = 1,
                                        .acks       = "majority",
                                        .lamport    = 7};
    buf_init(&out, 0);
    buf_init(&sent, 0);
    assert_int_equal(request_publish(&out, &head, "h:1", &p, &why), ERR_OK);
    request_send(&sent, buf_str(&out), head, "CURSOR");
    const char *all = text(&sent);
    assert_non_null(
        strstr(all, "POST /topics/a/b%20c/%23?acks=majority&timeout=5000ms HTTP/1.1\r\n"));
    assert_non_null(strstr(all, "Host: h:1\r\n"));
    assert_non_null(strstr(all, "Content-Length: 4\r\n"));
    assert_non_null(strstr(all, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(all, "Hearsay-Meta-Name: x y\r\n"));
    assert_non_null(strstr(all, "Hearsay-After: CURSOR\r\n"));
    assert_non_null(strstr(all, "Hearsay-Lamport: 7\r\n"));
    assert_string_equal(strstr(all, "\r\n\r\n"), "\r\n\r\n1\r\n2");
    buf_reset(&sent);
    request_send(&sent, buf_str(&out), head, "");
    all = text(&sent);
    assert_null(strstr(all, "Hearsay-After"));
    assert_string_equal(strstr(all, "\r\n\r\n"), "\r\n\r\n1\r\n2");
    buf_fini(&sent);
    buf_fini(&out);
}

static void
refuses_to_smuggle(void **state)
{
    (void)state;
    /* Broken: a value from outside could end the head and begin a request of its own. */
    struct hearsay_pair    pair  = {"n", "v"};
    struct hearsay_publish good  = {.topic = "a", .meta = &pair, .meta_count = 1};
    struct hearsay_publish bad[] = {good, good, good, good, good, good, good, good};
    struct hearsay_pair    line = {"n", "v\r\nX: y"}, name = {"n: v\r\nX", "y"}, none = {"", "v"};
    struct buf             out;
    size_t                 head;
    const char            *why = NULL;

    bad[0].type       = "text/plain\r\nX: y";
    bad[1].after      = "A\nB";
    bad[2].meta       = &line;
    bad[3].meta       = &name;
    bad[4].meta       = &none;
    bad[5].topic      = "";
    bad[6].body_bytes = (1 << 20) + 1;
    bad[7].meta_count = 1000;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(request_publish(&out, &head, "h", &bad[i], &why), ERR_INVALID);
        assert_non_null(why);
        assert_int_equal(out.n, 0);
    }
    assert_int_equal(request_publish(&out, &head, "h", &good, &why), ERR_OK);
    buf_fini(&out);
}

static void
writes_polls(void **state)
{
    (void)state;
    /* Broken: a filter with '#' or '+' would ask for something else. */
    struct buf          out, filters;
    struct request_poll poll = {.filters = &filters, .from = "earliest", .wait_s = 30, .limit = 5};
    buf_init(&out, 0);
    buf_init(&filters, 0);
    assert_int_equal(buf_add(&filters, STR("a/+\0#\0")), ERR_OK);
    assert_int_equal(request_poll(&out, "h", &poll), ERR_OK);
    assert_non_null(strstr(text(&out), "GET /topics?filter=a%2F%2B&filter=%23&cursor=earliest"
                                       "&wait=30&limit=5 HTTP/1.1\r\n"));
    buf_reset(&out);
    poll.from = "10m";
    assert_int_equal(request_poll(&out, "h", &poll), ERR_OK);
    assert_non_null(strstr(text(&out), "&since=10m&"));
    assert_true(request_is_time("500ms") && request_is_time("2d"));
    assert_false(request_is_time("10") || request_is_time("m") || request_is_time("latest"));
    buf_fini(&out);
    buf_fini(&filters);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_a_publish),
        cmocka_unit_test(refuses_to_smuggle),
        cmocka_unit_test(writes_polls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
