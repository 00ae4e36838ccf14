#include "client/line.h"

#include "base/check.h"
#include "io/clock.h"

#include <stdio.h>

void
line_init(struct line *l)
{
    *l = (struct line){.connect_ms = LINE_CONNECT_MS, .answer_ms = LINE_ANSWER_MS};
    dial_init(&l->dial);
    buf_init(&l->out, 0);
    buf_init(&l->in, LINE_BODY_BYTES_MAX);
    buf_init(&l->body, LINE_BODY_BYTES_MAX + 1); /* and a zero */
    buf_init(&l->cursor, 0);
}

void
line_fini(struct line *l)
{
    dial_close(&l->dial);
    buf_fini(&l->out);
    buf_fini(&l->in);
    buf_fini(&l->body);
    buf_fini(&l->cursor);
}

void
line_close(struct line *l)
{
    if (line_is_open(l))
        l->unsent = l->out.n;
    dial_close(&l->dial);
    buf_reset(&l->out);
    buf_reset(&l->in);
    l->seen     = 0;
    l->in_body  = false;
    l->answered = false;
    l->heard    = false;
}

bool
line_is_open(const struct line *l)
{
    return dial_is_open(&l->dial);
}

void
line_check(struct line *l)
{
    if (line_is_open(l) && dial_has_ended(&l->dial))
        line_close(l);
}

const char *
line_problem(const struct line *l)
{
    return l->dial.text;
}

enum err
line_open(struct line *l, struct mono until)
{
    const struct broker_at *at = brokers_now(&l->brokers);
    if (!dial_is_connecting(&l->dial)) {
        line_close(l);
        dial_wait_until(mono_min(l->brokers.not_before, until));
        if (!mono_reached(mono_now(), l->brokers.not_before))
            return ERR_MORE;
        l->opened++;
        enum err e = dial_start(&l->dial, at->host, at->port, (uint64_t)l->connect_ms);
        if (e != ERR_OK)
            return e;
    }
    return dial_open(&l->dial, until);
}

struct mono
line_open_at(const struct line *l)
{
    return dial_is_connecting(&l->dial) ? l->dial.try_by : l->brokers.not_before;
}

static enum err
broken(struct line *l, enum err e, const char *why)
{
    bool heard = l->heard;
    if (why)
        snprintf(l->dial.text, sizeof l->dial.text, "%s", why);
    line_close(l);
    l->heard = heard;
    return e;
}

enum err
line_flush(struct line *l, struct mono deadline)
{
    enum err e = ERR_OK;
    while (e == ERR_OK && l->out.n > 0)
        e = dial_move(&l->dial, &l->out, &l->in, true, deadline);
    return e;
}

static enum err
read_head(struct line *l, enum http_method method)
{
    struct http_response r;
    size_t               used;
    const char          *why = "not HTTP";
    struct str           cursor;

    for (;;) {
        enum err e = http_response_decode(buf_str(&l->in), &l->seen, &r, &used, &why);
        if (e == ERR_PROTO)
            return broken(l, e, why);
        if (e != ERR_OK)
            return e;
        l->seen = 0;
        if (r.status >= 200)
            break;
        buf_consume(&l->in, used); /* an interim answer: the real one follows */
    }
    l->status     = r.status;
    l->keep_alive = r.keep_alive;
    buf_reset(&l->body);
    buf_reset(&l->cursor);
    if (http_header_find(&r.headers, STR("Hearsay-Cursor"), &cursor) && cursor.n > 0)
        CHECK(buf_add(&l->cursor, cursor) == ERR_OK && buf_add(&l->cursor, STR("\0")) == ERR_OK);
    http_body_start_response(&l->framing, &r, method, LINE_BODY_BYTES_MAX);
    l->in_body = true;
    buf_consume(&l->in, used);
    return ERR_OK;
}

/* OK: the body is whole. */
static enum err
read_body(struct line *l)
{
    struct http_problem problem;
    struct str          piece = {0};
    size_t              used;
    for (;;) {
        enum err e = http_body_next(&l->framing, buf_str(&l->in), &used, &piece, &problem);
        if (e == ERR_OK && piece.n > 0)
            e = buf_add(&l->body, piece);
        else if (e == ERR_OK) {
            buf_consume(&l->in, used);
            return ERR_OK;
        }
        if (e == ERR_PROTO || e == ERR_LIMIT)
            return broken(l, ERR_PROTO, e == ERR_PROTO ? problem.detail : "the answer is too long");
        buf_consume(&l->in, used);
        if (e != ERR_OK)
            return e;
    }
}

static enum err
answer_is_whole(struct line *l)
{
    l->in_body  = false;
    l->heard    = l->in.n > 0; /* pipelined: of the next one */
    l->answered = true;
    if (!l->keep_alive)
        line_close(l);
    return ERR_OK;
}

enum err
line_answer(struct line *l, enum http_method method, struct mono deadline)
{
    for (;;) {
        enum err e = ERR_OK;
        if (!l->in_body)
            e = read_head(l, method);
        if (e == ERR_OK)
            e = read_body(l);
        if (e == ERR_OK)
            return answer_is_whole(l);
        if (e != ERR_MORE)
            return e;

        e = dial_move(&l->dial, &l->out, &l->in, false, deadline);
        if (e == ERR_OK) {
            l->heard    = true;
            l->heard_at = mono_now();
        } else if (e == ERR_STALE && l->in_body && http_body_closed(&l->framing)) {
            l->keep_alive = false;
            return answer_is_whole(l);
        } else if (e != ERR_TIMEOUT)
            return broken(l, e, NULL);
        else
            return e;
    }
}
