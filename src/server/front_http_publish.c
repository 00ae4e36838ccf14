/* POST /topics/{topic}: from a request to a receipt. */
#include "server/front_http.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "codec/cursor.h"
#include "codec/http_url.h"
#include "core/filter.h"
#include "core/journal.h"
#include "core/vector.h"
#include "server/render.h"

enum { TIMEOUT_MS = 5000, TIMEOUT_MS_MAX = 600000 };

#define FINE ((struct http_problem){0})

/* ---- reading the request ---- */

static struct http_problem
read_acks(struct str text, int *copies)
{
    uint64_t n;
    if (str_eq(text, STR("majority")))
        *copies = COPIES_MAJORITY;
    else if (str_eq(text, STR("all")))
        *copies = COPIES_ALL;
    else if (str_to_u64(text, &n) && n >= 1 && n <= MEMBERS_MAX)
        *copies = (int)n;
    else
        return (struct http_problem){400, "bad_parameter",
                                     "acks must be a number from 1 to 16, majority or all"};
    return FINE;
}

struct http_problem
http_read_wish(const struct http_request *r, struct http_wish *w)
{
    struct str query = r->query, value;
    *w               = (struct http_wish){.copies = 1, .timeout_ms = TIMEOUT_MS};
    if (http_query_find(query, STR("acks"), &value)) {
        struct http_problem p = read_acks(value, &w->copies);
        if (p.status)
            return p;
    }
    if (http_query_find(query, STR("timeout"), &value) &&
        (!http_duration_ms(value, &w->timeout_ms) || w->timeout_ms > TIMEOUT_MS_MAX))
        return (struct http_problem){400, "bad_parameter",
                                     "timeout must be like 500ms, 5s or 1m, and at most 10m"};
    if (http_header_find(&r->headers, STR("Hearsay-Lamport"), &value) &&
        (!str_to_u64(value, &w->stamp) || w->stamp > STAMP_MAX))
        return (struct http_problem){400, "bad_parameter",
                                     "Hearsay-Lamport must be a whole number from 0 to 2^53-1"};
    w->has_after = http_header_find(&r->headers, STR("Hearsay-After"), &w->after);
    return FINE;
}

static struct str
lower(struct buf *out, struct str s)
{
    size_t before = out->n;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t b = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (uint8_t)(s.p[i] | 0x20) : s.p[i];
        render(out, (struct str){&b, 1});
    }
    return str_cut(buf_str(out), before, out->n);
}

/* Is there a line "name:" in the text already? */
static bool
has_line(struct str text, struct str name)
{
    while (text.n > 0) {
        size_t end = str_index(text, '\n');
        if (str_starts(text, name) && name.n < text.n && text.p[name.n] == ':')
            return true;
        text = str_cut(text, end + 1, text.n);
    }
    return false;
}

const char *
http_stored_headers(const struct http_headers *headers, bool type, struct buf *out)
{
    const struct str meta = STR("hearsay-meta-");
    for (uint32_t i = 0; i < headers->count; i++) {
        struct str name = headers->at[i].name, value = headers->at[i].value;
        bool       is_type = str_eq_nocase(name, STR("content-type"));
        bool       is_meta = name.n > meta.n && str_eq_nocase(str_cut(name, 0, meta.n), meta);
        if (!(is_type && type) && !is_meta)
            continue;
        size_t     kept   = out->n;
        struct str stored = lower(out, is_type ? name : str_cut(name, 8, name.n));
        if (has_line(str_cut(buf_str(out), 0, kept), stored) || !utf8_is_valid(value))
            return "Content-Type and each Hearsay-Meta-* may stand there once, and in UTF-8";
        render(out, STR(": "));
        render(out, value);
        render(out, STR("\n"));
    }
    return out->n > HEADERS_BYTES_MAX ? "Content-Type and Hearsay-Meta-* take more than 16 KiB"
                                      : NULL;
}

struct http_problem
http_copies_problem(struct server *s, struct str topic, int copies)
{
    if (copies == 1 || broker_stores(server_broker(s), topic))
        return FINE;
    return (struct http_problem){400, "not_stored",
                                 "this broker stores nothing of this topic (store = no), so there "
                                 "are no copies to wait for: leave acks out"};
}

struct http_problem
http_read_topic(struct str raw, uint8_t *room, struct str *topic)
{
    if (http_url_decode(raw, room, topic) != ERR_OK)
        return (struct http_problem){400, "bad_request",
                                     "a % in the path must have two hex digits"};
    const char *wrong = topic_problem(*topic);
    return wrong ? (struct http_problem){400, "bad_topic", wrong} : FINE;
}

static struct http_problem
read_request(struct server *s, const struct http_ask *ask, uint8_t *room, struct str *topic,
             struct http_wish *w)
{
    struct http_problem p = http_read_topic(ask->param, room, topic);
    if (p.status)
        return p;
    p = http_read_wish(ask->request, w);
    return p.status ? p : http_copies_problem(s, *topic, w->copies);
}

/* ---- Hearsay-After ---- */

enum err
http_after_settle(struct conn *c, struct http_conn *h, struct str text, const char **why)
{
    if (h->after == HTTP_AFTER_WAITING)
        return ERR_BUSY;
    if (h->after != HTTP_AFTER_NONE)
        return ERR_OK;
    if (cursor_decode(text, h->tag, &h->after_vector, &h->after_stamp, why) != ERR_OK)
        return ERR_INVALID;
    if (vector_covers(broker_vector(server_broker(conn_server(c))), &h->after_vector)) {
        h->after = HTTP_AFTER_COVERED;
        return ERR_OK;
    }
    struct await_args args = {
        .kind     = AWAIT_AFTER,
        .vector   = h->after_vector,
        .deadline = mono_after(server_now(conn_server(c)), HTTP_AFTER_WAIT_MS),
    };
    h->after = HTTP_AFTER_WAITING; /* the answer may come within the call */
    if (server_await(c, &args, HTTP_REF_AFTER) != ERR_OK)
        h->after = HTTP_AFTER_GIVEN_UP;
    return h->after == HTTP_AFTER_WAITING ? ERR_BUSY : ERR_OK;
}

void
http_after_awaited(struct conn *c, struct http_conn *h, bool reached)
{
    h->after = reached ? HTTP_AFTER_COVERED : HTTP_AFTER_GIVEN_UP;
    http_go_on(c, h);
}

bool
http_after_take(struct http_conn *h, struct vector *after, uint64_t *stamp)
{
    bool causal = h->after != HTTP_AFTER_GIVEN_UP;
    vector_init(after);
    if (!causal) {
        *after = h->after_vector;
        *stamp = h->after_stamp;
        vector_init(&h->after_vector);
    }
    h->after = HTTP_AFTER_NONE;
    return causal;
}

struct str
http_receipt_cursor(struct conn *c, struct http_conn *h, struct vector *after, uint64_t after_stamp)
{
    struct broker       *b     = server_broker(conn_server(c));
    const struct vector *v     = broker_vector(b);
    uint64_t             stamp = broker_stamp(b);
    journal_drop_retired(broker_journal(b), after, after_stamp);
    if (after->count > 0 && vector_merge(after, v) == ERR_OK) {
        v     = after;
        stamp = after_stamp > stamp ? after_stamp : stamp;
    }
    return http_cursor_text(h, v, stamp);
}

/* ---- the call ---- */

/* An answer at once: it has to wait for those before it. */
static enum err
refuse(struct conn *c, struct http_conn *h, const struct http_ask *ask, struct http_problem p)
{
    if (h->due_next > h->due_first)
        return ERR_BUSY;
    h->as   = ask->as;
    h->busy = true;
    http_reply_problem(c, h, p.status, p.code, p.detail);
    return ERR_OK;
}

struct http_problem
http_publish_problem(enum err e)
{
    if (e == ERR_FULL)
        return (struct http_problem){
            507, "disk_full", "nothing was stored: free some disk, or publish at another broker"};
    if (e == ERR_UNKNOWN)
        return (struct http_problem){
            503, "outcome_unknown",
            "the commit failed: the message may be stored under this id or not at all"};
    if (e == ERR_REFUSED)
        return (struct http_problem){503, "stopping", "this broker is stopping: use another one"};
    return (struct http_problem){431, "head_too_large",
                                 "the stored headers do not fit: make them smaller"};
}

#define TO(s) (1u << HTTP_DUE_##s)

static const uint8_t allowed[HTTP_DUE_STATE_COUNT] = {
    [HTTP_DUE_STORE]  = TO(STORED) | TO(DONE),
    [HTTP_DUE_STORED] = TO(COPIES),
    [HTTP_DUE_COPIES] = TO(DONE),
};

/* The only place where `state` is written. */
static void
enter(struct http_due *d, enum http_due_state next)
{
    CHECK(allowed[d->state] & (1u << next));
    d->state = next;
}

static void
due_add(struct conn *c, struct http_conn *h, const struct http_ask *ask, const struct http_wish *w)
{
    struct http_due *d = &h->due[h->due_next++ % HTTP_DUE_MAX];
    *d                 = (struct http_due){
                        .as            = ask->as,
                        .copies_wanted = w->copies,
                        .deadline      = mono_after(server_now(conn_server(c)), w->timeout_ms),
                        .copies        = 1,
    };
    d->causal = http_after_take(h, &d->after, &d->after_stamp);
}

enum err
http_publish(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    uint8_t          room[HTTP_HEAD_BYTES_MAX];
    struct http_wish w = {0};
    struct str       topic;
    const char      *why = NULL;

    CHECK(ask->param.n <= sizeof room);
    buf_reset(&h->text);
    struct http_problem p = read_request(conn_server(c), ask, room, &topic, &w);
    if (!p.status && (why = http_stored_headers(&ask->request->headers, true, &h->text)))
        p = (struct http_problem){400, "bad_header", why};
    if (!p.status && w.has_after) {
        enum err e = http_after_settle(c, h, w.after, &why);
        if (e == ERR_BUSY)
            return e;
        if (e != ERR_OK)
            p = (struct http_problem){400, "bad_cursor", why};
    }
    if (p.status)
        return refuse(c, h, ask, p);

    struct publish_args args = {topic, buf_str(&h->text), ask->body, w.stamp};
    enum err            e    = server_publish(c, &args, h->due_next);
    if (e == ERR_BUSY)
        return e;
    if (e != ERR_OK) {
        /* A refusal may have to wait, and then the same is asked again. */
        e = refuse(c, h, ask, http_publish_problem(e));
        if (e == ERR_OK)
            h->after = HTTP_AFTER_NONE;
        return e;
    }
    if (!h->due)
        h->due = mem_new(HTTP_DUE_MAX * sizeof *h->due);
    due_add(c, h, ask, &w);
    return ERR_OK;
}

/* ---- the answers ---- */

static void
write_failure(struct conn *c, struct http_conn *h, const struct http_due *d)
{
    struct http_problem p = http_publish_problem(d->outcome.err);
    buf_reset(&h->text);
    http_problem_text(c, &d->as, &h->text, &p, d->outcome.mark);
    http_write(
        c, &d->as,
        &(struct http_said){.status = p.status, .type = HTTP_PROBLEM, .body = buf_str(&h->text)});
}

static void
write_receipt(struct conn *c, struct http_conn *h, struct http_due *d)
{
    bool                 enough = d->copies_wanted == 1 || d->reached;
    bool                 live   = d->outcome.live;
    const struct receipt r      = {
             .mark    = d->outcome.mark,
             .lamport = d->outcome.lamport,
             .origin  = buf_str(&h->origin),
             .cursor  = http_receipt_cursor(c, h, &d->after, d->after_stamp),
             .copies  = live ? 0 : d->copies,
             .causal  = d->causal,
    };
    buf_reset(&h->text);
    render_receipt(&h->text, &r);
    http_write(c, &d->as,
               &(struct http_said){.status = live     ? 200
                                             : enough ? 201
                                                      : 202,
                                   .type   = HTTP_JSON,
                                   .body   = buf_str(&h->text)});
}

/* All that is done and has nothing undone before it; true: something was. */
static bool
flush(struct conn *c, struct http_conn *h)
{
    uint64_t before = h->due_first;
    while (h->due_first < h->due_next) {
        struct http_due *d = &h->due[h->due_first % HTTP_DUE_MAX];
        if (d->state != HTTP_DUE_DONE || conn_is_closing(c))
            break;
        if (d->outcome.err == ERR_OK)
            write_receipt(c, h, d);
        else
            write_failure(c, h, d);
        vector_fini(&d->after);
        h->due_first++;
    }
    return h->due_first > before;
}

void
http_publish_answer(struct conn *c, struct http_conn *h, uint64_t ref, const struct outcome *o)
{
    CHECK(ref >= h->due_first && ref < h->due_next);
    struct http_due *d = &h->due[ref % HTTP_DUE_MAX];
    d->outcome         = *o;
    if (o->err == ERR_OK && d->copies_wanted != 1) {
        enter(d, HTTP_DUE_STORED);
        conn_again(c); /* to wait is a step of its own */
        return;
    }
    enter(d, HTTP_DUE_DONE);
    if (flush(c, h))
        http_go_on(c, h);
}

void
http_publish_awaited(struct conn *c, struct http_conn *h, uint64_t ref, bool reached,
                     uint32_t copies)
{
    CHECK(ref >= h->due_first && ref < h->due_next);
    struct http_due *d = &h->due[ref % HTTP_DUE_MAX];
    d->reached         = reached;
    d->copies          = copies;
    enter(d, HTTP_DUE_DONE);
    if (flush(c, h))
        http_go_on(c, h);
}

void
http_publish_resume(struct conn *c, struct http_conn *h)
{
    bool done = false;
    for (uint64_t i = h->due_first; i < h->due_next; i++) {
        struct http_due  *d    = &h->due[i % HTTP_DUE_MAX];
        struct await_args args = {
            .kind     = AWAIT_COPIES,
            .mark     = d->outcome.mark,
            .copies   = d->copies_wanted,
            .deadline = d->deadline,
        };
        if (d->state != HTTP_DUE_STORED)
            continue;
        enter(d, HTTP_DUE_COPIES);
        if (server_await(c, &args, i) == ERR_OK)
            continue;
        enter(d, HTTP_DUE_DONE); /* stored, but nobody can wait: 202 */
        done = true;
    }
    if (done)
        flush(c, h);
}

void
http_publish_close(struct http_conn *h)
{
    for (uint64_t i = h->due_first; i < h->due_next; i++)
        vector_fini(&h->due[i % HTTP_DUE_MAX].after);
    mem_free(h->due);
}
