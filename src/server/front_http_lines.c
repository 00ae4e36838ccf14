/* POST of application/x-ndjson: many messages in one request, a receipt for each line
 * while the request is still being sent.
 *
 * Answers come in the order of the lines without a queue: what is no publish (an
 * error) waits until all before it are answered.  Where copies are asked for, lines that
 * are on disk here stand in a ring until they have them, and only the first is waited for:
 * whoever has it mostly has those behind it too. */
#include "server/front_http.h"

#include "base/check.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "core/filter.h"
#include "core/vector.h"
#include "server/render.h"

#include <string.h>

enum {
    LINES_DUE_MAX    = 1024, /* not answered; then reading stops */
    LINES_COPIES_MAX = 256,  /* the same, where copies are asked for */
};

/* A line that waits for copies, or for those before it. */
struct line_due {
    struct outcome outcome;
    struct mono    deadline;
};

struct http_lines {
    bool                objects;     /* POST /topics: each line names its topic */
    struct buf          topic;       /* of all lines, else */
    struct buf          headers;     /* stored with all lines, else; scratch with objects */
    struct buf          in;          /* of the body, not taken yet */
    size_t              seen;        /* bytes of it without a newline */
    struct buf          room;        /* scratch */
    uint64_t            first, next; /* publishes not answered */
    uint64_t            stored;      /* [first, stored) have an outcome, in `due` */
    struct line_due    *due;         /* LINES_COPIES_MAX of them; NULL: one copy is enough */
    bool                awaiting;    /* copies of `first` */
    struct http_wish    wish;        /* its `after` is settled and gone */
    bool                causal;
    uint8_t             not_causal[LINES_DUE_MAX / 8]; /* a bit for each line not answered */
    struct vector       after; /* where one is not causal: what receipts cover besides */
    uint64_t            after_stamp;
    bool                skipping; /* the rest of a line that was too long */
    bool                done;     /* the body has ended */
    struct http_problem broken;   /* ... in a way that it should not; status 0: well */
};

bool
http_is_lines(const struct http_request *r)
{
    struct str type;
    return r->method == METHOD_POST &&
           (str_eq(r->path, STR("/topics")) || str_starts(r->path, STR("/topics/"))) &&
           http_header_find(&r->headers, STR("Content-Type"), &type) &&
           http_type_is(type, STR("application/x-ndjson"));
}

/* What the request says besides its lines. */
static struct http_problem
read_head(struct server *s, struct http_lines *l, const struct http_request *r)
{
    uint8_t             room[HTTP_HEAD_BYTES_MAX];
    struct str          topic;
    struct http_problem p = http_read_wish(r, &l->wish);
    l->objects            = str_eq(r->path, STR("/topics"));
    if (p.status || l->objects)
        return p;
    p = http_read_topic(str_cut(r->path, 8, r->path.n), room, &topic);
    if (p.status)
        return p;
    p = http_copies_problem(s, topic, l->wish.copies);
    if (p.status)
        return p;
    render(&l->topic, topic);
    const char *wrong = http_stored_headers(&r->headers, false, &l->headers);
    return (struct http_problem){wrong ? 400 : 0, "bad_header", wrong};
}

/* OK, BUSY, or INVALID with *problem. */
static enum err
settle(struct conn *c, struct http_conn *h, const struct http_request *r,
       struct http_problem *problem)
{
    struct http_lines *l   = h->lines;
    const char        *why = NULL;
    *problem               = read_head(conn_server(c), l, r);
    if (problem->status)
        return ERR_INVALID;
    enum err e = l->wish.has_after ? http_after_settle(c, h, l->wish.after, &why) : ERR_OK;
    if (e == ERR_INVALID)
        *problem = (struct http_problem){400, "bad_cursor", why};
    return e;
}

enum err
http_lines_begin(struct conn *c, struct http_conn *h, const struct http_request *r,
                 struct http_problem *problem)
{
    struct http_lines *l = mem_new(sizeof *l);
    buf_init(&l->topic, 0);
    buf_init(&l->headers, 0);
    buf_init(&l->in, 0);
    buf_init(&l->room, 0);
    vector_init(&l->after);
    h->lines   = l;
    enum err e = settle(c, h, r, problem);
    if (e != ERR_OK) {
        http_lines_close(h);
        return e;
    }
    l->causal = http_after_take(h, &l->after, &l->after_stamp);
    if (l->wish.copies != 1)
        l->due = mem_new(LINES_COPIES_MAX * sizeof *l->due);
    if (r->expect_continue)
        conn_write(c, HTTP_CONTINUE);
    http_write_stream_head(c, &h->as, STR("application/x-ndjson"));
    return ERR_OK;
}

/* ---- answers ---- */

static void
say(struct conn *c, struct http_conn *h)
{
    if (h->as.version_minor > 0)
        CHECK(http_chunk_write(conn_out(c), buf_str(&h->text)) == ERR_OK);
    else
        conn_write(c, buf_str(&h->text));
}

static void
say_problem(struct conn *c, struct http_conn *h, const struct http_problem *p, struct mark m)
{
    buf_reset(&h->text);
    http_problem_text(c, &h->as, &h->text, p, m);
    say(c, h);
}

/* BUSY: something before it is not answered yet. */
static enum err
refuse(struct conn *c, struct http_conn *h, struct http_problem p)
{
    if (h->lines->first < h->lines->next)
        return ERR_BUSY;
    say_problem(c, h, &p, (struct mark){0});
    return ERR_OK;
}

static uint64_t
due_max(const struct http_lines *l)
{
    return l->due ? LINES_COPIES_MAX : LINES_DUE_MAX;
}

/* What a line waited for besides the request, and whether it came.  What a client says that it
 * has seen, the receipts of all later lines cover too. */
static void
take_after(struct http_conn *h, uint64_t ref)
{
    struct http_lines *l   = h->lines;
    uint8_t           *at  = &l->not_causal[ref % LINES_DUE_MAX / 8];
    uint8_t            bit = (uint8_t)(1u << ref % 8);
    struct vector      after;
    uint64_t           stamp  = 0;
    bool               causal = http_after_take(h, &after, &stamp);
    *at                       = (uint8_t)(causal ? *at & ~bit : *at | bit);
    enum err e                = vector_merge(&l->after, &after);
    (void)e; /* LIMIT: the client then has to merge its cursors itself */
    if (stamp > l->after_stamp)
        l->after_stamp = stamp;
    vector_fini(&after);
}

static bool
is_causal(const struct http_lines *l, uint64_t ref)
{
    return l->causal && !(l->not_causal[ref % LINES_DUE_MAX / 8] >> ref % 8 & 1);
}

/* The first that is due. */
static void
say_answer(struct conn *c, struct http_conn *h, const struct outcome *o, bool enough,
           uint32_t copies)
{
    struct http_lines *l      = h->lines;
    bool               causal = is_causal(l, l->first);
    l->first++;
    if (o->err != ERR_OK) {
        struct http_problem p = http_publish_problem(o->err);
        say_problem(c, h, &p, o->mark);
    } else {
        buf_reset(&h->text);
        render_receipt(&h->text, &(struct receipt){
                                     .mark    = o->mark,
                                     .lamport = o->lamport,
                                     .origin  = buf_str(&h->origin),
                                     .cursor = http_receipt_cursor(c, h, &l->after, l->after_stamp),
                                     .copies = copies,
                                     .causal = causal,
                                     .fewer  = !enough,
                                 });
        say(c, h);
    }
    if (l->next - l->first < due_max(l) / 2 || l->first == l->next)
        http_go_on(c, h);
}

/* All that need not wait, up to the first that has to. */
static void
say_settled(struct conn *c, struct http_conn *h)
{
    struct http_lines *l   = h->lines;
    struct server     *s   = conn_server(c);
    struct mono        now = server_now(s);
    while (l->first < l->stored && !l->awaiting) {
        const struct line_due *d      = &l->due[l->first % LINES_COPIES_MAX];
        uint32_t               copies = 0;
        bool                   enough = d->outcome.err != ERR_OK || d->outcome.live ||
                      broker_has_copies(server_broker(s), d->outcome.mark, l->wish.copies, &copies);
        if (!enough && !mono_reached(now, d->deadline))
            break;
        say_answer(c, h, &d->outcome, enough, copies);
    }
}

void
http_lines_answer(struct conn *c, struct http_conn *h, uint64_t ref, const struct outcome *o)
{
    struct http_lines *l = h->lines;
    if (!l->due) {
        CHECK(ref == l->first && ref < l->next);
        say_answer(c, h, o, true, o->live ? 0 : 1);
        return;
    }
    CHECK(ref == l->stored && ref < l->next);
    l->due[ref % LINES_COPIES_MAX].outcome = *o;
    if (l->stored++ == l->first)
        conn_again(c); /* to wait is a step of its own */
}

void
http_lines_resume(struct conn *c, struct http_conn *h)
{
    struct http_lines *l = h->lines;
    if (!l->due)
        return;
    say_settled(c, h);
    if (l->awaiting || l->first == l->stored)
        return;
    const struct line_due *d    = &l->due[l->first % LINES_COPIES_MAX];
    struct await_args      args = {.kind     = AWAIT_COPIES,
                                   .mark     = d->outcome.mark,
                                   .copies   = l->wish.copies,
                                   .deadline = d->deadline};
    l->awaiting                 = true;
    if (server_await(c, &args, l->first) == ERR_OK)
        return;
    uint32_t copies = 0; /* stored, but nobody can wait: as if it were late */
    bool enough = broker_has_copies(server_broker(conn_server(c)), args.mark, args.copies, &copies);
    http_lines_awaited(c, h, enough, copies);
}

void
http_lines_awaited(struct conn *c, struct http_conn *h, bool reached, uint32_t copies)
{
    struct http_lines *l = h->lines;
    CHECK(l->awaiting && l->first < l->stored);
    l->awaiting = false;
    say_answer(c, h, &l->due[l->first % LINES_COPIES_MAX].outcome, reached, copies);
    say_settled(c, h);
    if (l->first < l->stored)
        conn_again(c);
}

bool
http_lines_are_due(const struct http_conn *h)
{
    return h->lines && h->lines->first < h->lines->next;
}

/* ---- one line ---- */

/* Is it fit to stand in a stored "name: value" line? */
static bool
is_plain(struct str s, bool name)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] == 0x7f || (name && (s.p[i] == ':' || s.p[i] == ' ')))
            return false;
    return !name || s.n > 0;
}

static uint8_t *
text_of(const struct json_value *v, uint8_t *room, struct str *out)
{
    *out = (struct str){NULL, 0};
    if (!v || !json_text(v, room, out))
        return NULL;
    return room + (v->escaped ? out->n : 0);
}

static const char *
read_meta(struct http_lines *l, const struct json_value *meta, uint8_t *room)
{
    struct json_members m;
    struct str          value;
    const char         *why;
    if (meta->kind != JSON_KIND_OBJECT)
        return "\"meta\" must be an object of strings";
    if (json_parse(meta->raw, &m, &why) != ERR_OK)
        return why;
    for (uint32_t i = 0; i < m.count; i++) {
        struct str name = json_key_text(&m.at[i], room);
        if (!text_of(&m.at[i].value, room + name.n, &value) || !is_plain(name, true) ||
            !is_plain(value, false))
            return "\"meta\" must be an object of strings, without control characters";
        render(&l->headers, STR("meta-"));
        render(&l->headers, name);
        render(&l->headers, STR(": "));
        render(&l->headers, value);
        render(&l->headers, STR("\n"));
    }
    return NULL;
}

/* {"topic":..., "body" or "body_base64":..., "type":..., "meta":{...}, "after":...}; *after is
 * empty when it is not there. */
static const char *
read_object(struct http_lines *l, struct str line, struct publish_args *args, struct str *after)
{
    struct json_members m;
    const char         *why;
    uint8_t            *at;
    struct str          type;
    if (json_parse(line, &m, &why) != ERR_OK)
        return why;
    buf_reset(&l->room);
    buf_reset(&l->headers);
    CHECK(buf_room(&l->room, 2 * line.n, &at) == ERR_OK);

    const struct json_value *plain  = json_member(&m, STR("body"));
    const struct json_value *base64 = json_member(&m, STR("body_base64"));
    at                              = text_of(json_member(&m, STR("topic")), at, &args->topic);
    if (!at)
        return "\"topic\" must be a string";
    if (!plain == !base64 || !(at = text_of(plain ? plain : base64, at, &args->body)))
        return "\"body\" or \"body_base64\" must be a string, and one of them must be there";
    if (base64 && base64_decode(args->body, at, &args->body) != ERR_OK)
        return "\"body_base64\" is not base64 with padding (RFC 4648)";
    at += base64 ? args->body.n : 0;
    if (args->body.n > BODY_BYTES_MAX)
        return "the body is longer than 1 MiB";
    if (json_member(&m, STR("type"))) {
        at = text_of(json_member(&m, STR("type")), at, &type);
        if (!at || !is_plain(type, false))
            return "\"type\" must be a string without control characters";
        render(&l->headers, STR("content-type: "));
        render(&l->headers, type);
        render(&l->headers, STR("\n"));
    }
    if (json_member(&m, STR("after"))) {
        at = text_of(json_member(&m, STR("after")), at, after);
        if (!at || after->n == 0)
            return "\"after\" must be a cursor, in a string";
    }
    why = topic_problem(args->topic);
    if (!why && json_member(&m, STR("meta")))
        why = read_meta(l, json_member(&m, STR("meta")), at);
    if (!why && l->headers.n > HEADERS_BYTES_MAX)
        why = "\"type\" and \"meta\" take more than 16 KiB";
    args->headers = buf_str(&l->headers);
    return why;
}

/* BUSY: it stays where it is. */
static enum err
one_line(struct conn *c, struct http_conn *h, struct str line)
{
    struct http_lines  *l     = h->lines;
    struct publish_args args  = {buf_str(&l->topic), buf_str(&l->headers), line, l->wish.stamp};
    struct str          after = {NULL, 0};
    enum err            e     = ERR_OK;
    if (line.n == 0)
        return ERR_OK;
    if (l->next - l->first >= due_max(l))
        return ERR_BUSY;
    const char *why = l->objects ? read_object(l, line, &args, &after) : NULL;
    if (!why && l->objects) {
        struct http_problem p = http_copies_problem(conn_server(c), args.topic, l->wish.copies);
        if (p.status)
            return refuse(c, h, p);
    }
    if (!why && after.n > 0)
        e = http_after_settle(c, h, after, &why);
    if (e == ERR_BUSY)
        return e;
    if (why)
        return refuse(c, h, (struct http_problem){400, "bad_line", why});
    e = server_publish(c, &args, l->next);
    if (e != ERR_BUSY)
        take_after(h, l->next);
    if (e == ERR_OK && l->due)
        l->due[l->next % LINES_COPIES_MAX].deadline =
            mono_after(server_now(conn_server(c)), l->wish.timeout_ms);
    if (e == ERR_OK)
        l->next++;
    else if (e != ERR_BUSY)
        e = refuse(c, h, http_publish_problem(e));
    return e;
}

/* ---- the body ---- */

/* All whole lines that are here. */
static enum err
take_whole(struct conn *c, struct http_conn *h)
{
    struct http_lines               *l    = h->lines;
    size_t                           most = l->objects ? JSON_OBJECT_BYTES_MAX : BODY_BYTES_MAX;
    static const struct http_problem long_line = {413, "body_too_large",
                                                  "a line is longer than 1 MiB"};
    for (;;) {
        struct str in  = buf_str(&l->in);
        size_t     end = l->seen + str_index(str_cut(in, l->seen, in.n), '\n');
        if (end == in.n && in.n > most && !l->skipping) {
            if (refuse(c, h, long_line) == ERR_BUSY)
                return ERR_BUSY;
            l->skipping = true;
        }
        if (l->skipping && end == in.n)
            buf_clear_free(&l->in);
        l->seen      = l->in.n;
        bool is_last = l->done && l->broken.status == 0 && l->in.n > 0; /* it has no newline */
        if (end == in.n && !is_last)
            return ERR_OK;
        l->seen    = end; /* where it is found again after BUSY */
        enum err e = ERR_OK;
        if (!l->skipping)
            e = end > most ? refuse(c, h, long_line) : one_line(c, h, str_cut(in, 0, end));
        if (e != ERR_OK)
            return e;
        l->skipping = false;
        buf_consume(&l->in, end < in.n ? end + 1 : end);
        l->seen = 0;
    }
}

static enum err
finish(struct conn *c, struct http_conn *h)
{
    struct http_lines *l      = h->lines;
    bool               broken = l->broken.status != 0;
    if (l->first < l->next)
        return ERR_BUSY;
    if (broken)
        say_problem(c, h, &l->broken, (struct mark){0});
    if (h->as.version_minor > 0)
        CHECK(http_chunk_end(conn_out(c)) == ERR_OK);
    if (broken || !h->as.keep_alive || h->as.version_minor == 0)
        conn_finish(c);
    http_lines_close(h);
    return ERR_OK;
}

enum err
http_lines_take(struct conn *c, struct http_conn *h, struct str in, size_t *taken)
{
    struct http_lines *l = h->lines;
    for (;;) {
        struct str piece;
        size_t     used;
        enum err   e = take_whole(c, h);
        if (e == ERR_OK && l->done)
            e = finish(c, h);
        if (e != ERR_OK || !h->lines)
            return e;
        e = http_body_next(&h->framing, str_cut(in, *taken, in.n), &used, &piece, &l->broken);
        if (e == ERR_OK)
            render(&l->in, piece);
        *taken += used;
        l->done = e == ERR_PROTO || (e == ERR_OK && piece.n == 0);
        if (e == ERR_MORE)
            return e;
    }
}

void
http_lines_close(struct http_conn *h)
{
    struct http_lines *l = h->lines;
    if (!l)
        return;
    buf_fini(&l->topic);
    buf_fini(&l->headers);
    buf_fini(&l->in);
    buf_fini(&l->room);
    vector_fini(&l->after);
    mem_free(l->due);
    mem_free(l);
    h->lines = NULL;
}

/* POST /topics with another type than lines. */
enum err
http_lines(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    (void)ask;
    http_reply_problem(c, h, 415, "unsupported_type",
                       "post lines as application/x-ndjson here, or one message to "
                       "/topics/{topic}");
    return ERR_OK;
}
