/* JSON objects over TCP: docs/JSON.md.
 *
 * Requests are taken where they lie in the input.  One that cannot be carried out now
 * (the server is busy, `after` is awaited, too much is unanswered or unread) stays
 * there, parsing stops, and resume() begins with it again.
 *
 * Answers leave in the order of the requests.  `due` is a ring with an item for each
 * publish that is not answered yet and for whatever else must stand behind one; their
 * texts (the `ref` of a publish, the whole line of the rest) follow one another in `texts`. */
#include "server/front.h"

#include "base/check.h"
#include "base/mem.h"
#include "codec/cursor.h"
#include "codec/json.h"
#include "core/vector.h"
#include "server/front_json_request.h"
#include "server/render.h"

#include <string.h>

enum {
    DUE_MAX         = 16384, /* unanswered requests: then reading pauses */
    DUE_FIRST       = 64,
    KEEP_BYTES      = 64 << 10, /* of input memory, once it is empty */
    AFTER_WAIT_MS   = 1000,
    AFTER_TEXT_KEPT = 512,
};

enum due_kind { DUE_PUBLISH, DUE_TEXT };

struct due {
    uint32_t text_n, request;
    uint8_t  kind, causal; /* enum due_kind, enum causal */
    bool     ack;
};

enum after { AFTER_NONE, AFTER_WAITING, AFTER_COVERED, AFTER_GIVEN_UP };

struct json_sub {
    struct sub *sub;
    uint64_t    not_before; /* of the ring: its `subscribed` must leave first; 0: free to go */
};

struct json_conn {
    struct json_scan scan;
    struct buf       in;                  /* not taken yet */
    size_t           object_at, object_n; /* found at the front of the input and still to do */
    struct buf       room;                /* what was unescaped */
    struct due      *due;
    uint64_t         due_first, due_next; /* both only rise; index = number % due_cap */
    uint32_t         due_cap;
    struct buf       texts;
    bool             paused;
    enum after       after;
    struct buf       after_covered; /* text of the last `after` that was found covered */
    struct mono      after_end;     /* so long waits what is in the first after_bytes of the ... */
    size_t           after_bytes;   /* ... input: it was here when that wait began */
    size_t           left;          /* of the input, from the object on that is carried out */
    struct json_sub *sub;           /* SUBSCRIPTIONS_PER_CONN of them, or NULL */
    uint32_t         sub_count;
    uint32_t         held; /* of them, with a not_before */
    struct sub      *delivered;
    uint32_t         tag;
    uint32_t         requests; /* carried out so far */
    struct vector    vector;   /* scratch */
    struct buf       cursor;   /* scratch */
};

/* ---- order of answers ---- */

static uint64_t
due_count(const struct json_conn *j)
{
    return j->due_next - j->due_first;
}

static void
due_add(struct json_conn *j, struct due item, struct str text)
{
    if (due_count(j) == j->due_cap) {
        uint32_t    cap  = j->due_cap ? 2 * j->due_cap : DUE_FIRST;
        struct due *ring = mem_new(cap * sizeof *ring);
        for (uint64_t i = j->due_first; i < j->due_next; i++)
            ring[i % cap] = j->due[i % j->due_cap];
        mem_free(j->due);
        j->due     = ring;
        j->due_cap = cap;
    }
    item.text_n                        = (uint32_t)text.n;
    j->due[j->due_next++ % j->due_cap] = item;
    render(&j->texts, text);
}

/* The text of the first item, borrowed until due_drop(). */
static struct str
due_text(const struct json_conn *j)
{
    return str_cut(buf_str(&j->texts), 0, j->due[j->due_first % j->due_cap].text_n);
}

static void
due_drop(struct json_conn *j)
{
    buf_consume(&j->texts, j->due[j->due_first++ % j->due_cap].text_n);
}

/* Lines that stood behind a publish and are free to leave. */
static void
flush(struct conn *c, struct json_conn *j)
{
    while (due_count(j) > 0 && j->due[j->due_first % j->due_cap].kind == DUE_TEXT) {
        conn_write(c, due_text(j));
        due_drop(j);
    }
}

/* ---- stopping and going on ---- */

static void
park(struct conn *c, struct json_conn *j)
{
    if (!j->paused)
        conn_pause(c);
    j->paused = true;
}

static void
go_on(struct conn *c, const struct json_conn *j)
{
    if (j->paused)
        conn_again(c);
}

/* A client that sent its last byte is done once all is answered, unless it listens. */
static void
finish_if_done(struct conn *c, struct json_conn *j)
{
    if (conn_has_ended(c) && due_count(j) == 0 && j->object_n == 0 && j->in.n == 0 &&
        j->sub_count == 0)
        conn_finish(c);
}

/* ---- answers that are known at once ---- */

static void
trace_refusal(const struct conn *c, uint32_t request, const char *why)
{
    struct trace_about before = conn_about(c, request);
    tracef(TRACE_DEBUG, "refused: %s", why);
    trace_about(before);
}

/* Of the request that comes next. */
static void
say_error(struct conn *c, struct json_conn *j, const char *why, struct str ref)
{
    trace_refusal(c, j->requests + 1, why);
    if (due_count(j) == 0) {
        render_error(conn_out(c), str_of(why), (struct mark){0}, ref);
        return;
    }
    buf_reset(&j->cursor);
    render_error(&j->cursor, str_of(why), (struct mark){0}, ref);
    due_add(j, (struct due){.kind = DUE_TEXT}, buf_str(&j->cursor));
}

/* ---- publish ---- */

/* OK: `after` is settled; BUSY: wait; INVALID: it is no cursor. */
static enum err
settle_after(struct conn *c, struct json_conn *j, struct str text, const char **why)
{
    uint64_t stamp;
    if (j->after == AFTER_WAITING)
        return ERR_BUSY;
    if (j->after != AFTER_NONE)
        return ERR_OK;
    if (str_eq(text, buf_str(&j->after_covered)) && text.n > 0) {
        j->after = AFTER_COVERED;
        return ERR_OK;
    }
    if (cursor_decode(text, j->tag, &j->vector, &stamp, why) != ERR_OK)
        return ERR_INVALID;
    if (vector_covers(broker_vector(server_broker(conn_server(c))), &j->vector)) {
        buf_reset(&j->after_covered);
        if (text.n <= AFTER_TEXT_KEPT)
            render(&j->after_covered, text);
        j->after = AFTER_COVERED;
        return ERR_OK;
    }
    if (j->after_bytes == 0) {
        j->after_end   = mono_after(server_now(conn_server(c)), AFTER_WAIT_MS);
        j->after_bytes = j->left;
    }
    struct await_args args = {.kind = AWAIT_AFTER, .vector = j->vector, .deadline = j->after_end};
    j->after               = AFTER_WAITING; /* awaited() may come within the call */
    if (server_await(c, &args, 0) != ERR_OK)
        j->after = AFTER_GIVEN_UP;
    return j->after == AFTER_WAITING ? ERR_BUSY : ERR_OK;
}

static const char *
publish_problem(enum err e)
{
    if (e == ERR_FULL)
        return "the disk is full: nothing was stored; try again later or at another broker";
    if (e == ERR_REFUSED)
        return "this broker is stopping: publish at another one";
    return "the message does not fit: make it smaller";
}

/* BUSY: it stays where it is. */
static enum err
publish(struct conn *c, struct json_conn *j, const struct json_request *r)
{
    const char *why    = NULL;
    uint8_t     causal = CAUSAL_UNASKED;
    if (r->has_cursor) {
        enum err e = settle_after(c, j, r->cursor, &why);
        if (e == ERR_BUSY)
            return e;
        if (e != ERR_OK) {
            say_error(c, j, why, r->ref);
            return ERR_OK;
        }
        causal = j->after == AFTER_COVERED ? CAUSAL_YES : CAUSAL_NO;
    }
    struct publish_args args = {.topic = r->topic[0], .body = r->message, .stamp = r->stamp};
    enum err            e    = server_publish(c, &args, j->due_next);
    if (e == ERR_BUSY)
        return e;
    j->after = AFTER_NONE;
    if (e == ERR_OK)
        due_add(
            j,
            (struct due){
                .kind = DUE_PUBLISH, .request = j->requests + 1, .ack = r->ack, .causal = causal},
            r->ref);
    else
        say_error(c, j, publish_problem(e), r->ref);
    return ERR_OK;
}

static const char *
failure(enum err e)
{
    return e == ERR_UNKNOWN ? "outcome unknown: the commit failed; the message may be stored "
                              "under this id or not at all"
                            : publish_problem(e);
}

static void
front_answer(struct conn *c, uint64_t ref, const struct outcome *o)
{
    struct json_conn *j = conn_state(c);
    CHECK(due_count(j) > 0 && j->due_first == ref);
    const struct due *d = &j->due[j->due_first % j->due_cap];

    if (o->err != ERR_OK) {
        trace_refusal(c, d->request, failure(o->err));
        render_error(conn_out(c), str_of(failure(o->err)), o->mark, due_text(j));
    } else if (d->ack)
        render_ack(conn_out(c), o->mark, o->lamport, (enum causal)d->causal, due_text(j));
    due_drop(j);
    flush(c, j);
    if (j->held > 0)
        conn_again(c);
    if (due_count(j) < DUE_MAX / 2 && j->after != AFTER_WAITING)
        go_on(c, j);
    finish_if_done(c, j);
}

static void
front_awaited(struct conn *c, uint64_t ref, bool reached, uint32_t copies)
{
    struct json_conn *j = conn_state(c);
    (void)ref;
    (void)copies;
    j->after = reached ? AFTER_COVERED : AFTER_GIVEN_UP;
    go_on(c, j);
}

/* ---- subscribe ---- */

static void
encode_cursor(struct conn *c, struct json_conn *j, struct sub *sub)
{
    uint64_t stamp;
    CHECK(server_cursor(c, sub, &j->vector, &stamp)); /* no FROM_SINCE here */
    buf_reset(&j->cursor);
    CHECK(cursor_encode(&j->cursor, j->tag, stamp, &j->vector) == ERR_OK);
}

static const char *
where_from(struct json_conn *j, const struct json_request *r, struct subscribe_args *args)
{
    const char *why = NULL;
    if (!r->has_cursor || str_eq(r->cursor, STR("latest"))) {
        args->from = FROM_LATEST;
    } else if (str_eq(r->cursor, STR("earliest"))) {
        args->from = FROM_EARLIEST;
    } else if (cursor_decode(r->cursor, j->tag, &j->vector, &args->cursor_stamp, &why) == ERR_OK) {
        args->from   = FROM_CURSOR;
        args->cursor = j->vector;
    }
    return why;
}

static void
subscribe(struct conn *c, struct json_conn *j, const struct json_request *r)
{
    struct subscribe_args args = {
        .filter = r->topic, .filter_count = r->topic_count, .stamp = r->stamp};
    struct sub *sub;
    const char *why = where_from(j, r, &args);

    if (!why && server_subscribe(c, &args, j->sub_count, &sub) != ERR_OK)
        why = "too many subscriptions: close some, or use a pattern in place of many topics";
    if (why) {
        say_error(c, j, why, r->ref);
        return;
    }
    if (!j->sub)
        j->sub = mem_new(SUBSCRIPTIONS_PER_CONN * sizeof *j->sub);
    CHECK(j->sub_count < SUBSCRIPTIONS_PER_CONN);
    struct json_sub *s = &j->sub[j->sub_count++];
    *s                 = (struct json_sub){.sub = sub};
    if (!r->ack)
        return;

    encode_cursor(c, j, sub);
    if (due_count(j) == 0) {
        render_subscribed(conn_out(c), buf_str(&j->cursor), r->ref);
        return;
    }
    buf_reset(&j->room); /* the topic in it is copied by now, but `ref` is never in it */
    render_subscribed(&j->room, buf_str(&j->cursor), r->ref);
    due_add(j, (struct due){.kind = DUE_TEXT}, buf_str(&j->room));
    s->not_before = j->due_next;
    j->held++;
}

static uint64_t
render_entry(struct conn *c, const struct entry *e)
{
    struct json_conn *j = conn_state(c);
    if (e->live == 0)
        encode_cursor(c, j, j->delivered);
    if (e->gap_to != 0)
        render_gap_delivery(conn_out(c), e, buf_str(&j->cursor));
    else
        render_delivery(conn_out(c), e, buf_str(&j->cursor));
    return 0;
}

static void
deliver(struct conn *c, struct json_conn *j, struct json_sub *s)
{
    if (s->not_before > j->due_first)
        return;
    j->held -= s->not_before > 0;
    s->not_before = 0;
    j->delivered  = s->sub;
    server_deliver(c, s->sub, FACE_JSON, render_entry);
    if (j->cursor.cap > KEEP_BYTES) {
        buf_clear_free(&j->cursor);
        vector_fini(&j->vector);
    }
}

static void
front_ready(struct conn *c, struct sub *sub)
{
    struct json_conn *j = conn_state(c);
    CHECK(sub_ref(sub) < j->sub_count);
    deliver(c, j, &j->sub[sub_ref(sub)]);
}

/* ---- bytes ---- */

/* Carry out one object.  BUSY: it has to wait. */
static enum err
carry_out(struct conn *c, struct json_conn *j, struct str object)
{
    struct json_request r;
    const char         *why = NULL;
    enum err            e   = ERR_OK;

    if (due_count(j) >= DUE_MAX)
        return ERR_BUSY;
    if (json_request_decode(object, &j->room, &r, &why) != ERR_OK)
        say_error(c, j, why, r.ref);
    else if (r.verb == JSON_VERB_PUBLISH)
        e = publish(c, j, &r);
    else
        subscribe(c, j, &r);
    if (j->room.cap > KEEP_BYTES)
        buf_clear_free(&j->room);
    j->requests += e != ERR_BUSY;
    return e;
}

static size_t
take_bytes(struct json_conn *j, size_t bytes)
{
    j->after_bytes -= bytes < j->after_bytes ? bytes : j->after_bytes;
    return bytes;
}

/* Take what can be taken from the front of `in`; returns how many bytes. */
static size_t
take(struct conn *c, struct json_conn *j, struct str in)
{
    size_t taken = 0;
    for (;;) {
        struct str  rest = str_cut(in, taken, in.n), object;
        const char *why;
        size_t      used;

        if (j->object_n == 0) {
            enum err e = json_find(&j->scan, rest, &object, &used, &why);
            if (e != ERR_OK)
                taken += take_bytes(j, used);
            if (e == ERR_MORE)
                return taken;
            if (e == ERR_PROTO) {
                say_error(c, j, why, STR(""));
                j->requests++;
                continue;
            }
            j->object_at = used - object.n;
            j->object_n  = object.n;
        }
        object  = str_cut(rest, j->object_at, j->object_at + j->object_n);
        j->left = rest.n;
        if (carry_out(c, j, object) == ERR_BUSY) {
            park(c, j);
            return taken;
        }
        taken += take_bytes(j, j->object_at + j->object_n);
        j->object_n = 0;
    }
}

static void
take_kept(struct conn *c, struct json_conn *j)
{
    buf_consume(&j->in, take(c, j, buf_str(&j->in)));
    if (j->in.n == 0 && j->in.cap > KEEP_BYTES)
        buf_clear_free(&j->in);
}

static enum err
front_bytes(struct conn *c, struct str s)
{
    struct json_conn *j = conn_state(c);
    if (j->in.n == 0 && !j->paused)
        s = str_cut(s, take(c, j, s), s.n);
    if (s.n == 0)
        return ERR_OK;
    bool fresh = j->in.n > 0 && !j->paused;
    if (buf_add(&j->in, s) != ERR_OK)
        return ERR_LIMIT; /* only by reading on while paused */
    if (fresh)
        take_kept(c, j);
    return ERR_OK;
}

static enum err
front_resume(struct conn *c)
{
    struct json_conn *j = conn_state(c);
    for (uint32_t i = 0; j->held > 0 && i < j->sub_count; i++)
        if (j->sub[i].not_before > 0)
            deliver(c, j, &j->sub[i]);
    if (j->after == AFTER_WAITING || due_count(j) >= DUE_MAX)
        return ERR_OK;
    if (j->paused) {
        j->paused = false;
        conn_unpause(c);
    }
    take_kept(c, j);
    if (conn_has_ended(c))
        front_json.end(c);
    return ERR_OK;
}

static void
front_end(struct conn *c)
{
    struct json_conn *j = conn_state(c);
    if (j->object_n == 0 && j->in.n > 0) {
        if (!json_scan_is_idle(&j->scan))
            say_error(c, j, "the connection ended inside an object", STR(""));
        buf_clear_free(&j->in);
    }
    finish_if_done(c, j);
}

/* ---- life ---- */

static void
front_open(struct conn *c)
{
    struct json_conn *j = mem_new(sizeof *j);
    buf_init(&j->in, (size_t)JSON_OBJECT_BYTES_MAX + (1 << 20));
    buf_init(&j->room, 0);
    buf_init(&j->texts, 0);
    buf_init(&j->after_covered, 0);
    buf_init(&j->cursor, 0);
    vector_init(&j->vector);
    j->tag = cursor_cluster_tag(server_facts(conn_server(c))->cluster);
    conn_set_state(c, j);
    conn_deadline(c, MONO_NEVER); /* a device may keep quiet for as long as it likes */
}

static void
front_close(struct conn *c)
{
    struct json_conn *j = conn_state(c);
    buf_fini(&j->in);
    buf_fini(&j->room);
    buf_fini(&j->texts);
    buf_fini(&j->after_covered);
    buf_fini(&j->cursor);
    vector_fini(&j->vector);
    mem_free(j->due);
    mem_free(j->sub);
    mem_free(j);
    conn_set_state(c, NULL);
}

const struct front front_json = {
    .name    = "json",
    .open    = front_open,
    .bytes   = front_bytes,
    .end     = front_end,
    .resume  = front_resume,
    .answer  = front_answer,
    .awaited = front_awaited,
    .ready   = front_ready,
    .close   = front_close,
};
