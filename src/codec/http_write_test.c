#include "codec/http_write.h"

#include "base/limits.h"
#include "codec/http_response.h"
#include "codec/json.h"

#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

static void
assert_buf(struct buf *b, const char *want)
{
    assert_true(buf_addf(b, "%c", 0) == ERR_OK);
    assert_string_equal((const char *)buf_str(b).p, want);
    buf_reset(b);
}

/* Would be broken: what every client reads first. */
static void
writes_heads_to_the_byte(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    const struct http_header header[] = {{STR("Hearsay-Cursor"), STR("AX")}, {STR("X"), STR("")}};
    struct http_answer       a        = {.status        = 200,
                                         .version_minor = 1,
                                         .keep_alive    = true,
                                         .content_type  = STR("application/json"),
                                         .header        = header,
                                         .header_count  = 2};
    assert_int_equal(http_answer_write(&out, &a, STR("{}")), ERR_OK);
    assert_buf(&out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                     "Cache-Control: no-store\r\nHearsay-Cursor: AX\r\nX: \r\n\r\n{}");
    a = (struct http_answer){.status = 204, .version_minor = 0, .keep_alive = true};
    assert_int_equal(http_head_write(&out, &a), ERR_OK);
    assert_buf(&out, "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n"
                     "Cache-Control: no-store\r\n\r\n");
    assert_int_equal(http_answer_write(&out, &a, STR("never sent")), ERR_OK);
    assert_buf(&out, "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n"
                     "Cache-Control: no-store\r\n\r\n");
    a = (struct http_answer){.status = 299, .version_minor = 1, .keep_alive = true};
    assert_int_equal(http_head_write(&out, &a), ERR_OK);
    assert_buf(&out, "HTTP/1.1 299 Unknown\r\nCache-Control: no-store\r\n\r\n");
    const struct http_header tab = {STR("X"), STR("a\tb")};
    a.header                     = &tab;
    a.header_count               = 1;
    assert_int_equal(http_head_write(&out, &a), ERR_OK);
    assert_buf(&out, "HTTP/1.1 299 Unknown\r\nCache-Control: no-store\r\nX: a\tb\r\n\r\n");
    a = (struct http_answer){.status        = 304,
                             .version_minor = 1,
                             .keep_alive    = true,
                             .lines         = STR("ETag: \"a\"\r\nX: y\r\n")};
    assert_int_equal(http_answer_write(&out, &a, STR("never sent")), ERR_OK);
    assert_buf(&out, "HTTP/1.1 304 Not Modified\r\nCache-Control: no-store\r\n"
                     "ETag: \"a\"\r\nX: y\r\n\r\n");
    a = (struct http_answer){
        .status = 200, .version_minor = 1, .keep_alive = true, .framing = FRAMING_CHUNKED};
    assert_int_equal(http_head_write(&out, &a), ERR_OK);
    assert_buf(&out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: no-store\r\n"
                     "X-Accel-Buffering: no\r\n\r\n");
    a.framing = FRAMING_UNTIL_CLOSE;
    assert_int_equal(http_head_write(&out, &a), ERR_OK);
    assert_buf(&out, "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\n"
                     "X-Accel-Buffering: no\r\n\r\n");
    const struct http_header up = {STR("Upgrade"), STR("hearsay-peer/1")};
    a = (struct http_answer){.status = 101, .header = &up, .header_count = 1};
    assert_int_equal(http_head_write(&out, &a), ERR_OK);
    assert_buf(&out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                     "Upgrade: hearsay-peer/1\r\n\r\n");
    buf_fini(&out);
}

/* Would be broken: stored metadata could add headers to other people's answers, or a
 * full buffer could keep half an answer. */
static void
appends_all_or_nothing(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 64);
    assert_int_equal(buf_add(&out, STR("before")), ERR_OK);
    const struct http_header bad[] = {
        {STR("X"), STR("a\r\nSet-Cookie: b")},
        {STR("X"), STR("a\nb")},
        {STR("X Y"), STR("a")},
        {STR(""), STR("a")},
        {STR("X:"), STR("a")},
        {STR("X"), STR("a\177")},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_answer a = {.status = 200, .header = &bad[i], .header_count = 1};
        struct http_call   c = {.method       = STR("GET"),
                                .target       = STR("/"),
                                .host         = STR("a"),
                                .header       = &bad[i],
                                .header_count = 1};
        out.limit            = 4096;
        assert_int_equal(http_head_write(&out, &a), ERR_INVALID);
        assert_int_equal(http_call_write(&out, &c), ERR_INVALID);
        out.limit = 64;
    }
    struct http_answer type = {.status = 200, .content_type = STR("a\r\nb")};
    assert_int_equal(http_head_write(&out, &type), ERR_INVALID);
    struct http_answer a = {.status = 200, .content_type = STR("text/plain")};
    assert_int_equal(http_answer_write(&out, &a, STR("hello")), ERR_LIMIT);
    /* The first thing that does not fit decides. */
    out.limit               = 12;
    struct http_answer late = {.status = 200, .header = bad, .header_count = 1};
    assert_int_equal(http_head_write(&out, &late), ERR_LIMIT);
    out.limit = 64;
    out.limit = 12;
    assert_int_equal(http_chunk_write(&out, STR("hello")), ERR_LIMIT);
    struct http_call c = {.method = STR("GET"), .target = STR("/a b"), .host = STR("a")};
    assert_int_equal(http_call_write(&out, &c), ERR_INVALID);
    c.target = STR("/\177");
    assert_int_equal(http_call_write(&out, &c), ERR_INVALID);
    c.target = STR("");
    assert_int_equal(http_call_write(&out, &c), ERR_INVALID);
    c.target = STR("/");
    c.method = STR("GET /x HTTP/1.1\r\n");
    assert_int_equal(http_call_write(&out, &c), ERR_INVALID);
    assert_true(str_eq(buf_str(&out), STR("before")));
    buf_fini(&out);
}

/* Would be broken: streams, for every client that decodes chunks. */
static void
writes_chunks_that_read_back(void **state)
{
    (void)state;
    struct buf out, got;
    buf_init(&out, 0);
    buf_init(&got, 0);
    assert_int_equal(http_chunk_write(&out, STR("hello, sixteen..")), ERR_OK);
    assert_int_equal(http_chunk_write(&out, STR("")), ERR_OK);
    assert_int_equal(http_chunk_write(&out, STR("x")), ERR_OK);
    assert_int_equal(http_chunk_end(&out), ERR_OK);
    assert_true(str_eq(buf_str(&out), STR("10\r\nhello, sixteen..\r\n1\r\nx\r\n0\r\n\r\n")));
    struct http_body    b = {.framing = FRAMING_CHUNKED, .limit = 100};
    struct http_problem p;
    while (!b.done) {
        struct str piece;
        size_t     used;
        assert_int_equal(http_body_next(&b, buf_str(&out), &used, &piece, &p), ERR_OK);
        assert_int_equal(buf_add(&got, piece), ERR_OK);
        buf_consume(&out, used);
    }
    assert_true(str_eq(buf_str(&got), STR("hello, sixteen..x")));
    assert_int_equal(out.n, 0);
    buf_fini(&out);
    buf_fini(&got);
}

/* Would be broken: the client library and peers, which write what brokers read. */
static void
writes_requests_that_read_back(void **state)
{
    (void)state;
    const struct http_header header[] = {{STR("Connection"), STR("Upgrade")},
                                         {STR("Upgrade"), STR("hearsay-peer/1")}};
    struct http_call         c        = {.method         = STR("POST"),
                                         .target         = STR("/topics/a?x=1"),
                                         .host           = STR("[::1]:3000"),
                                         .framing        = FRAMING_LENGTH,
                                         .content_length = 18446744073709551615u,
                                         .header         = header,
                                         .header_count   = 2};
    struct buf               out;
    struct http_request      r;
    struct http_problem      p;
    size_t                   seen = 0, used;
    buf_init(&out, 0);
    assert_int_equal(http_call_write(&out, &c), ERR_OK);
    assert_int_equal(http_request_decode(buf_str(&out), &seen, &r, &used, &p), ERR_OK);
    assert_int_equal(used, out.n);
    assert_true(str_eq(r.host, c.host));
    assert_true(str_eq(r.target, c.target));
    assert_true(str_eq(r.upgrade, STR("hearsay-peer/1")));
    assert_true(r.content_length == c.content_length);
    c.framing = FRAMING_CHUNKED;
    buf_reset(&out);
    assert_int_equal(http_call_write(&out, &c), ERR_OK);
    assert_int_equal(http_request_decode(buf_str(&out), &seen, &r, &used, &p), ERR_OK);
    assert_true(r.chunked && !r.has_length);
    buf_fini(&out);
}

/* Raw answers -> status, or 0 for what is refused. */
static const struct {
    const char *bytes;
    int         status;
} row[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 200},
    {"HTTP/1.0 200 OK\r\n\r\n", 200},
    {"HTTP/1.1 404 \r\n\r\n", 404},
    {"HTTP/1.1 404\r\n\r\n", 404},
    {"HTTP/1.1 100 Continue\r\n\r\n", 100},
    {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: hearsay-peer/1\r\n\r\n",
     101},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200},
    {"HTTP/2 200\r\n\r\n", 0},
    {"HTTP/1.2 200 OK\r\n\r\n", 0},
    {"HTTP/1.1 2\r\n\r\n", 0},
    {"HTTP/1.1\r\n\r\n", 0},
    {"HTTP/1.\r\n\r\n", 0},
    {"SSH-2.0-OpenSSH_9.2\r\n\r\n", 0},
    {"{\"type\":\"error\"}\r\n\r\n", 0},
    {"HTTP/1.1 99 X\r\n\r\n", 0},
    {"HTTP/1.1 2000 X\r\n\r\n", 0},
    {"HTTP/1.1 OK\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\n\n", 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 0},
};

/* Would be broken: a client would hang on, or believe, what is no answer of a broker. */
static void
reads_answers_and_every_cut_of_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct str           in = str_of(row[i].bytes);
        struct http_response r;
        const char          *why  = NULL;
        size_t               seen = 0, used, cut = 0;
        enum err             e = ERR_MORE;
        for (; cut <= in.n && e == ERR_MORE; cut++)
            e = http_response_decode(str_cut(in, 0, cut), &seen, &r, &used, &why);
        if (e != (row[i].status ? ERR_OK : ERR_PROTO))
            print_message("%s\n", row[i].bytes);
        assert_int_equal(e, row[i].status ? ERR_OK : ERR_PROTO);
        if (e == ERR_PROTO)
            assert_non_null(why);
        if (e != ERR_OK)
            continue;
        assert_int_equal(r.status, row[i].status);
        assert_int_equal(used, in.n);
        assert_int_equal(cut, in.n + 1);
        assert_int_equal(r.upgrade.n, r.status == 101 ? 14 : 0);
    }
}

/* Would be broken: a client that is sent headers without end, or 101 to nothing that it asked. */
static void
holds_answers_to_their_limits(void **state)
{
    (void)state;
    static char          bytes[HTTP_HEAD_BYTES_MAX + 2] = "HTTP/1.1 200 OK\r\n";
    struct http_response r;
    const char          *why  = "";
    size_t               seen = 0, used, n = strlen(bytes);
    for (size_t i = 0; i <= HTTP_HEADERS_MAX; i++)
        n += (size_t)snprintf(bytes + n, sizeof bytes - n, "X: y\r\n");
    memcpy(bytes + n, "\r\n", 2);
    assert_int_equal(
        http_response_decode((struct str){(uint8_t *)bytes, n + 2}, &seen, &r, &used, &why),
        ERR_PROTO);
    assert_non_null(strstr(why, "64 headers"));

    seen = 0;
    memset(bytes + n, 'z', sizeof bytes - n);
    assert_int_equal(
        http_response_decode((struct str){(uint8_t *)bytes, sizeof bytes}, &seen, &r, &used, &why),
        ERR_PROTO);
    assert_non_null(strstr(why, "16 KiB"));

    seen            = 0;
    struct str bare = STR("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n");
    assert_int_equal(http_response_decode(bare, &seen, &r, &used, &why), ERR_OK);
    assert_int_equal(r.upgrade.n, 0);
    seen            = 0;
    struct str shut = STR("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    assert_int_equal(http_response_decode(shut, &seen, &r, &used, &why), ERR_OK);
    assert_int_equal(r.upgrade.n, 0);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(writes_heads_to_the_byte),
        cmocka_unit_test(appends_all_or_nothing),
        cmocka_unit_test(writes_chunks_that_read_back),
        cmocka_unit_test(writes_requests_that_read_back),
        cmocka_unit_test(reads_answers_and_every_cut_of_them),
        cmocka_unit_test(holds_answers_to_their_limits),
    };
    return cmocka_run_group_tests_name("http_write", test, NULL, NULL);
}
