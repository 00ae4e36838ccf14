#include "client/request.h"

#include "client/kept.h"

#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

/* The bytes with a zero behind them. */
static const char *
text(struct buf *b)
{
    assert_int_equal(buf_add(b, STR("\0")), ERR_OK);
    return (const char *)buf_str(b).p;
}

static const struct hearsay_pair    meta[] = {{"Name", "x y"}};
static const struct hearsay_publish full   = {.topic      = "a/b c/#",
                                              .body       = "1\r\n2",
                                              .body_bytes = 4,
                                              .type       = "text/plain",
                                              .meta       = meta,
                                              .meta_count = 1,
                                              .acks       = "majority",
                                              .lamport    = 7,
                                              .after      = "CURSOR"};

static void
writes_a_publish(void **state)
{
    (void)state;
    /* Broken: a topic or a body would arrive as another one. */
    struct buf             out;
    bool                   as_line;
    struct hearsay_publish p = full;
    buf_init(&out, 0);
    request_publish(&out, "h:1", &p, &as_line);
    const char *all = text(&out);
    assert_false(as_line);
    assert_non_null(
        strstr(all, "POST /topics/a/b%20c/%23?acks=majority&timeout=5000ms HTTP/1.1\r\n"));
    assert_non_null(strstr(all, "Host: h:1\r\n"));
    assert_non_null(strstr(all, "Content-Length: 4\r\n"));
    assert_non_null(strstr(all, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(all, "Hearsay-Meta-Name: x y\r\n"));
    assert_non_null(strstr(all, "Hearsay-After: CURSOR\r\n"));
    assert_non_null(strstr(all, "Hearsay-Lamport: 7\r\n"));
    assert_string_equal(strstr(all, "\r\n\r\n"), "\r\n\r\n1\r\n2");
    buf_reset(&out);
    p.after = "";
    request_publish(&out, "h:1", &p, &as_line);
    assert_null(strstr(text(&out), "Hearsay-After"));
    buf_fini(&out);
}

static void
writes_a_line_where_a_head_is_too_short(void **state)
{
    (void)state;
    /* Broken: who has seen thousands of streams could publish no more. */
    static char            cursor[9000], value[9000];
    struct hearsay_pair    long_meta = {"n", value};
    struct buf             out;
    bool                   as_line;
    struct hearsay_publish p = full;
    memset(cursor, 'A', sizeof cursor - 1);
    memset(value, 'v', sizeof value - 1);
    buf_init(&out, 0);
    p.after = cursor;
    request_publish(&out, "h:1", &p, &as_line);
    const char *all = text(&out), *body = strstr(all, "\r\n\r\n");
    char        length[40];
    assert_true(as_line);
    assert_non_null(strstr(all, "POST /topics?acks=majority&timeout=5000ms HTTP/1.1\r\n"));
    assert_non_null(strstr(all, "Content-Type: application/x-ndjson\r\n"));
    assert_non_null(strstr(all, "Hearsay-Lamport: 7\r\n"));
    assert_non_null(body);
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body + 4));
    assert_non_null(strstr(all, length));
    assert_non_null(strstr(body, "{\"topic\":\"a/b c/#\",\"after\":\"AAAA"));
    assert_non_null(strstr(body, "A\",\"type\":\"text/plain\",\"meta\":{\"name\":\"x y\"},"
                                 "\"body\":\"1\\r\\n2\"}"));
    buf_reset(&out);
    p.body = "\xff\0\xfe\xfd";
    request_publish(&out, "h:1", &p, &as_line);
    assert_non_null(strstr(text(&out), "\"body_base64\":\"/wD+/Q==\"}"));
    /* Two that are short enough are too long together. */
    buf_reset(&out);
    cursor[8000] = '\0';
    p.meta       = &long_meta;
    request_publish(&out, "h:1", &p, &as_line);
    assert_true(as_line);
    buf_fini(&out);
}

static void
keeps_a_publish(void **state)
{
    (void)state;
    /* Broken: what is sent again would be something else. */
    struct kept            k;
    struct hearsay_publish p = full, none = {.topic = "t"};
    char                   name[] = "a", value[] = "b", body[] = "1\r\n2";
    struct hearsay_pair    pair[2] = {{name, value}, {"c", ""}};
    kept_init(&k);
    kept_set(&k, &none);
    assert_string_equal(k.p.topic, "t");
    assert_null(k.p.type);
    assert_null(k.p.acks);
    assert_null(k.p.after);
    p.meta       = pair;
    p.meta_count = 2;
    p.body       = body;
    kept_set(&k, &p);
    name[0] = value[0] = body[0] = '?';
    pair[1]                      = pair[0];
    assert_memory_equal(k.p.body, "1\r\n2", 4);
    assert_string_equal(k.p.topic, "a/b c/#");
    assert_string_equal(k.p.type, "text/plain");
    assert_string_equal(k.p.acks, "majority");
    assert_string_equal(k.p.after, "CURSOR");
    assert_int_equal(k.p.meta_count, 2);
    assert_string_equal(k.p.meta[0].name, "a");
    assert_string_equal(k.p.meta[0].value, "b");
    assert_string_equal(k.p.meta[1].value, "");
    kept_fini(&k);
}

static void
refuses_to_smuggle(void **state)
{
    (void)state;
    /* Broken: a value from outside could end the head and begin a request of its own. */
    struct hearsay_pair    pair  = {"n", "v"};
    struct hearsay_publish good  = {.topic = "a", .meta = &pair, .meta_count = 1};
    struct hearsay_publish bad[] = {good, good, good, good, good, good, good, good, good};
    struct hearsay_pair    line = {"n", "v\r\nX: y"}, name = {"n: v\r\nX", "y"}, none = {"", "v"};
    struct buf             scratch;
    const char            *why;

    bad[0].type       = "text/plain\r\nX: y";
    bad[1].after      = "A\nB";
    bad[2].meta       = &line;
    bad[3].meta       = &name;
    bad[4].meta       = &none;
    bad[5].topic      = "";
    bad[6].body_bytes = (1 << 20) + 1;
    bad[7].meta_count = 1000;
    bad[8].topic      = "\xff";
    buf_init(&scratch, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why = NULL;
        assert_int_equal(request_check(&scratch, &bad[i], &why), ERR_INVALID);
        assert_non_null(why);
    }
    assert_int_equal(request_check(&scratch, &good, &why), ERR_OK);
    buf_fini(&scratch);
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
    assert_non_null(strstr(text(&out), "GET /topics?filter=a%2F%2B&filter=%23&wait=30&limit=5"
                                       "&cursor=earliest HTTP/1.1\r\n"));
    buf_reset(&out);
    poll.from = "10m";
    assert_int_equal(request_poll(&out, "h", &poll), ERR_OK);
    assert_non_null(strstr(text(&out), "&since=10m "));
    static char cursor[9000];
    memset(cursor, 'A', sizeof cursor - 1);
    buf_reset(&out);
    poll.from = cursor;
    assert_int_equal(request_poll(&out, "h", &poll), ERR_OK);
    assert_non_null(strstr(text(&out), "GET /topics HTTP/1.1\r\n"));
    assert_non_null(strstr(text(&out), "Content-Type: application/x-www-form-urlencoded\r\n"));
    assert_non_null(
        strstr(text(&out), "\r\n\r\nfilter=a%2F%2B&filter=%23&wait=30&limit=5&cursor=AAA"));
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
        cmocka_unit_test(writes_a_line_where_a_head_is_too_short),
        cmocka_unit_test(keeps_a_publish),
        cmocka_unit_test(refuses_to_smuggle),
        cmocka_unit_test(writes_polls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
