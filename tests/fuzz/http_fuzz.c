/* http_fuzz.c - any bytes as a request, an answer, a body, a target: nothing but an
 * ordinary answer comes out, every slice lies in the input, and where the input is cut
 * makes no difference. */
#include "base/check.h"
#include "codec/http_response.h"
#include "codec/http_url.h"
#include "codec/http_write.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_in(struct str s, struct str in)
{
    CHECK(s.n == 0 || (s.p >= in.p && s.p + s.n <= in.p + in.n));
}

static void
check_headers(const struct http_headers *h, struct str in)
{
    CHECK(h->count <= HTTP_HEADERS_MAX);
    for (uint32_t i = 0; i < h->count; i++) {
        CHECK(h->at[i].name.n > 0);
        check_in(h->at[i].name, in);
        check_in(h->at[i].value, in);
    }
    const struct str offer[] = {STR("application/json"), STR("text/event-stream")};
    CHECK(http_accept_pick(h, offer, 2) <= 2);
    (void)http_header_has_token(h, STR("Connection"), STR("upgrade"));
}

/* Everything the body gives, `step` bytes at a time. */
static enum err
read_body(struct http_body *b, struct str in, size_t step, struct buf *got, size_t *end)
{
    struct http_problem problem;
    size_t              to = 0;
    *end                   = 0;
    for (;;) {
        struct str piece;
        size_t     used;
        enum err   e = http_body_next(b, str_cut(in, *end, to), &used, &piece, &problem);
        if (e == ERR_PROTO)
            return e;
        CHECK(used <= to - *end);
        *end += used;
        if (e == ERR_OK && piece.n == 0)
            return e;
        if (e == ERR_OK) {
            check_in(piece, in);
            CHECK(buf_add(got, piece) == ERR_OK);
        } else if (to == in.n) {
            return e;
        } else {
            to = in.n - to < step ? in.n : to + step;
        }
    }
}

static void
check_body(struct http_body whole, struct str in, size_t step)
{
    struct http_body cut = whole;
    struct buf       a, b;
    size_t           end_a, end_b;
    buf_init(&a, 0);
    buf_init(&b, 0);
    enum err e = read_body(&whole, in, in.n + 1, &a, &end_a);
    enum err f = read_body(&cut, in, step, &b, &end_b);
    CHECK(e == f && whole.done == cut.done && whole.total <= whole.limit);
    CHECK(e == ERR_PROTO || (str_eq(buf_str(&a), buf_str(&b)) && end_a == end_b));
    buf_fini(&a);
    buf_fini(&b);
}

static void
check_url(struct str target)
{
    uint8_t   *room = malloc(target.n + 1);
    struct str decoded, key, value;
    if (http_url_decode(target, room, &decoded) == ERR_OK) {
        struct buf out;
        buf_init(&out, 0);
        uint8_t   *again = malloc(target.n * 3 + 1);
        struct str twice;
        CHECK(decoded.n <= target.n);
        CHECK(http_path_encode(&out, decoded) == ERR_OK);
        CHECK(http_url_decode(buf_str(&out), again, &twice) == ERR_OK);
        CHECK(str_eq(twice, decoded));
        free(again);
        buf_fini(&out);
    }
    while (http_query_next(&target, &key, &value)) {
        (void)http_query_key_is(key, STR("filter"));
        if (http_url_decode(value, room, &decoded) == ERR_OK)
            CHECK(decoded.n <= value.n);
    }
    free(room);
}

static void
check_problem(const struct http_problem *problem)
{
    struct buf out;
    buf_init(&out, 0);
    CHECK(problem->status >= 400 && problem->status < 600);
    CHECK(http_problem_write(&out, problem, NULL) == ERR_OK);
    buf_fini(&out);
}

static void
check_request(struct str in, size_t step)
{
    struct http_request r, again;
    struct http_problem problem = {0}, other = {0};
    size_t              seen = 0, used = 0, used_again = 0;
    enum err            e = http_request_decode(in, &seen, &r, &used, &problem), f = ERR_MORE;
    seen = 0;
    for (size_t to = 0; f == ERR_MORE; to += step) {
        f = http_request_decode(str_cut(in, 0, to), &seen, &again, &used_again, &other);
        if (to >= in.n)
            break;
    }
    CHECK(e == f && used == used_again && problem.detail == other.detail);
    if (e == ERR_PROTO)
        check_problem(&problem);
    if (e != ERR_OK)
        return;
    CHECK(used <= in.n && !(r.chunked && r.has_length));
    check_in(r.target, in);
    check_in(r.query, in);
    check_in(r.host, in);
    check_headers(&r.headers, in);
    check_url(r.target);
    struct http_body body;
    if (http_body_start(&body, &r, 4096, &problem) == ERR_OK)
        check_body(body, str_cut(in, used, in.n), step);
}

static void
check_response(struct str in, size_t step)
{
    struct http_response r, again;
    const char          *why;
    size_t               seen = 0, used = 0, used_again = 0;
    enum err             e = http_response_decode(in, &seen, &r, &used, &why), f = ERR_MORE;
    seen = 0;
    for (size_t to = 0; f == ERR_MORE; to += step) {
        f = http_response_decode(str_cut(in, 0, to), &seen, &again, &used_again, &why);
        if (to >= in.n)
            break;
    }
    CHECK(e == f && used == used_again);
    if (e != ERR_OK)
        return;
    CHECK(r.status >= 100 && r.status <= 999);
    check_headers(&r.headers, in);
    struct http_body body;
    http_body_start_response(&body, &r, METHOD_GET, 4096);
    check_body(body, str_cut(in, used, in.n), step);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    size_t     step = 1 + data[0] % 7;
    struct str in   = {data + 1, n - 1};
    check_request(in, step);
    check_response(in, step);
    check_url(in);
    check_body((struct http_body){.framing = FRAMING_CHUNKED, .limit = 4096}, in, step);
    return 0;
}
