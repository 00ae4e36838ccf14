/* http_fuzz.c - any bytes as what a client sends, or a server: request after request with their
 * bodies, an address, and text that is sent in chunks.
 *
 * Nothing but an ordinary answer comes out, every slice lies in the input, where the reads end
 * makes no difference, and what was put into chunks comes out of them.
 *
 * The first byte says where the reads end, the second how large a body may be. */
#include "base/check.h"
#include "codec/http_response.h"
#include "codec/http_url.h"
#include "codec/http_write.h"
#include "tests/fuzz/cuts.h"

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
}

static void
check_url(struct str target)
{
    uint8_t   *room = malloc(target.n);
    struct str decoded, key, value;
    if (http_url_decode(target, room, &decoded) == ERR_OK) {
        struct buf out;
        buf_init(&out, 0);
        struct str twice;
        CHECK(decoded.n <= target.n);
        CHECK(http_path_encode(&out, decoded) == ERR_OK);
        uint8_t *again = malloc(out.n);
        CHECK(http_url_decode(buf_str(&out), again, &twice) == ERR_OK);
        CHECK(str_eq(twice, decoded));
        free(again);
        buf_fini(&out);
    }
    (void)http_query_find(target, STR("wait"), &value);
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
    CHECK(problem->status >= 400 && problem->status < 600);
    CHECK(problem->code && problem->detail && *problem->code && *problem->detail);
}

/* ---- a connection ---- */

struct talk {
    struct str  in;
    bool        answers; /* what a server sends */
    struct cuts cuts;
    uint64_t    limit;
    size_t      from, to; /* taken, and read */
    struct buf  said;     /* all that came out */
};

static struct str
unread(const struct talk *t)
{
    return str_cut(t->in, t->from, t->to);
}

/* false: the other side has closed. */
static bool
read_on(struct talk *t)
{
    if (t->to == t->in.n)
        return false;
    t->to = cuts_next(&t->cuts, t->to, t->in);
    return true;
}

static void
say(struct talk *t, const char *what, const char *detail)
{
    CHECK(buf_addf(&t->said, "\n%s %s at %zu\n", what, detail, t->from) == ERR_OK);
}

/* false: nothing follows it. */
static bool
take_body(struct talk *t, struct http_body *b)
{
    struct http_problem problem;
    for (;;) {
        struct str piece;
        size_t     used;
        struct str in = unread(t);
        enum err   e  = http_body_next(b, in, &used, &piece, &problem);
        CHECK(e == ERR_PROTO || (used <= in.n && b->total <= b->limit));
        if (e == ERR_PROTO) {
            t->from = t->in.n; /* what of it was eaten before depends on the reads */
            say(t, "refused", problem.detail);
            return false;
        }
        check_in(piece, str_cut(in, 0, used));
        CHECK(b->framing == FRAMING_UNTIL_CLOSE || buf_add(&t->said, piece) == ERR_OK);
        t->from += used;
        if (e == ERR_OK && piece.n == 0) {
            CHECK(b->done);
            say(t, "whole", "");
            return true;
        }
        if (e == ERR_MORE && !read_on(t)) {
            say(t, "cut off", http_body_closed(b) ? "" : "inside");
            return false;
        }
    }
}

static bool
take_request(struct talk *t, struct str head, const struct http_request *r)
{
    struct http_problem problem;
    struct http_body    body;
    struct str          value;
    CHECK(!(r->chunked && r->has_length));
    check_in(r->target, head);
    if (!str_eq(r->path, STR("/"))) /* of http://host?query it is not in the input */
        check_in(r->path, head);
    check_in(r->query, head);
    check_in(r->host, head);
    check_in(r->upgrade, head);
    check_headers(&r->headers, head);
    check_url(r->target);
    if (http_header_find(&r->headers, STR("Content-Type"), &value))
        (void)http_type_is(value, STR("application/json"));
    say(t, r->keep_alive ? "request" : "last request", "");
    if (http_body_start(&body, r, t->limit, &problem) == ERR_OK)
        return take_body(t, &body);
    say(t, "refused", problem.detail);
    return false;
}

static bool
take_answer(struct talk *t, struct str head, const struct http_response *r)
{
    struct http_body body;
    CHECK(r->status >= 100 && r->status <= 999);
    check_in(r->upgrade, head);
    check_headers(&r->headers, head);
    say(t, r->keep_alive ? "answer" : "last answer", "");
    http_body_start_response(&body, r, t->from % 5 ? METHOD_GET : METHOD_HEAD, t->limit);
    return take_body(t, &body);
}

/* A head and its body; false: nothing follows. */
static bool
take_message(struct talk *t)
{
    static struct http_request  r;
    static struct http_response a;
    struct http_problem         problem = {0};
    const char                 *why     = NULL;
    size_t                      seen = 0, used = 0;
    enum err                    e;
    do
        e = t->answers ? http_response_decode(unread(t), &seen, &a, &used, &why)
                       : http_request_decode(unread(t), &seen, &r, &used, &problem);
    while (e == ERR_MORE && read_on(t));
    if (e == ERR_PROTO && !t->answers)
        check_problem(&problem);
    if (e != ERR_OK) {
        say(t, e == ERR_MORE ? "cut off" : "refused",
            e == ERR_MORE ? ""
            : t->answers  ? why
                          : problem.detail);
        return false;
    }
    struct str head = str_cut(unread(t), 0, used);
    CHECK(used > 0 && head.n == used);
    t->from += used;
    return t->answers ? take_answer(t, head, &a) : take_request(t, head, &r);
}

static void
check_talk(struct str in, bool answers, uint8_t how, uint64_t limit)
{
    struct talk whole = {.in = in, .answers = answers, .limit = limit, .cuts = {CUTS_WHOLE}};
    struct talk cut   = {.in = in, .answers = answers, .limit = limit, .cuts = {how}};
    buf_init(&whole.said, 0);
    buf_init(&cut.said, 0);
    while (take_message(&whole))
        ;
    cuts_show(in, 0);
    while (take_message(&cut))
        ;
    cuts_show(in, in.n);
    CHECK(str_eq(buf_str(&whole.said), buf_str(&cut.said)));
    buf_fini(&whole.said);
    buf_fini(&cut.said);
}

/* ---- chunks, written here ---- */

/* Pieces as long as their first byte says. */
static void
write_chunks(struct buf *out, struct str text)
{
    enum err e = ERR_OK;
    for (unsigned i = 0; text.n > 0; i++) {
        struct str piece = str_cut(text, 0, 1 + text.p[0]);
        e                = buf_addf(out,
                     i % 3 == 2 ? "00%zX;a=\"b\"\r\n"
                                    : i % 3    ? "%zx\r\n"
                                               : "%zX;n\r\n",
                                    piece.n);
        CHECK(e == ERR_OK && buf_add(out, piece) == ERR_OK && buf_add(out, STR("\r\n")) == ERR_OK);
        text = str_cut(text, piece.n, text.n);
    }
    CHECK(buf_add(out, STR("0\r\nTrailer: \tx\r\nAnother:\r\n\r\n")) == ERR_OK);
}

static void
check_chunks(struct str text, uint8_t how)
{
    struct http_body b    = {.framing = FRAMING_CHUNKED, .limit = text.n};
    struct talk      talk = {.cuts = {how}, .limit = text.n}, wanted = {0};
    struct buf       sent;
    buf_init(&sent, 0);
    buf_init(&talk.said, 0);
    buf_init(&wanted.said, 0);
    write_chunks(&sent, text);
    wanted.from = sent.n;
    CHECK(buf_add(&wanted.said, text) == ERR_OK);
    say(&wanted, "whole", "");

    CHECK(buf_add(&sent, STR("GET / HTTP/1.1\r\n")) == ERR_OK); /* is not of the body */
    talk.in = buf_str(&sent);
    CHECK(take_body(&talk, &b));
    CHECK(str_eq(buf_str(&talk.said), buf_str(&wanted.said)));
    cuts_show(talk.in, talk.in.n);
    buf_fini(&wanted.said);
    buf_fini(&talk.said);
    buf_fini(&sent);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    uint8_t    how   = data[0];
    uint64_t   limit = data[1] % 2 ? 4096 : data[1];
    struct str in    = {data + 2, n - 2};
    check_talk(in, false, how, limit);
    check_talk(in, true, how, limit);
    check_url(in);
    check_chunks(in, how);
    return 0;
}
