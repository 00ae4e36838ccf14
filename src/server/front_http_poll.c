/* GET /topics/{filter}: a subscription that lasts for one answer; GET /topics. */
#include "server/front_http.h"

#include "base/check.h"
#include "base/mem.h"
#include "codec/cursor.h"
#include "codec/http_url.h"
#include "core/batch.h"
#include "core/filter.h"
#include "core/journal.h"
#include "core/vector.h"
#include "server/render.h"

#include <stdio.h>

enum {
    WAIT_S      = 30,
    WAIT_S_MAX  = 60,
    LIMIT       = 1000,
    LIMIT_MAX   = 10000,
    SCAN_MS_MAX = 30000,                      /* wait=0: for the disk to be read */
    MORE_MS     = 100,                        /* for more, once something was found */
    PAGE_BYTES  = PAGE_BYTES_MAX - (3 << 19), /* no further message after this */
};

/* Where parameters stand: in the query, or in a body as of a form, which may be longer. */
struct params {
    struct str in[2];
};

struct wish {
    struct str            filter[FILTERS_MAX];
    uint32_t              filters;
    struct subscribe_args from;
    uint64_t              wait_ms;
    uint32_t              limit;
    bool                  covered;
    enum http_poll_kind   kind;
    const char           *code, *problem; /* NULL: fine */
};

/* ---- reading the request ---- */

static bool
refuse(struct wish *w, const char *code, const char *problem)
{
    w->code    = code;
    w->problem = problem;
    return false;
}

static struct params
params_of(const struct http_ask *ask)
{
    struct params p = {{ask->request->query, {NULL, 0}}};
    struct str    type;
    if (http_header_find(&ask->request->headers, STR("Content-Type"), &type) &&
        http_type_is(type, STR("application/x-www-form-urlencoded")))
        p.in[1] = ask->body;
    return p;
}

static bool
find(const struct params *p, struct str name, struct str *value)
{
    return http_query_find(p->in[0], name, value) || http_query_find(p->in[1], name, value);
}

/* Which of two was meant is not for us to guess. */
static bool
none_is_doubled(const struct params *p, struct wish *w)
{
    const struct str name[] = {STR("cursor"), STR("since"),   STR("wait"),
                               STR("limit"),  STR("covered"), STR("filter")};
    struct str       value;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (http_query_find(p->in[0], name[i], &value) &&
            http_query_find(p->in[1], name[i], &value))
            return refuse(w, "bad_parameter",
                          "a parameter may stand in the query or in the body, not in both");
    return true;
}

static bool
add_filter(struct wish *w, struct str filter)
{
    const char *wrong = filter_problem(filter);
    if (wrong)
        return refuse(w, "bad_filter", wrong);
    if (w->filters == FILTERS_MAX)
        return refuse(w, "bad_parameter", "at most 16 filters in one request");
    w->filter[w->filters++] = filter;
    return true;
}

/* `room` takes all that is unescaped: never more than its length. */
static bool
read_filters(struct str query, uint8_t **room, struct wish *w)
{
    struct str key, value, filter;
    while (http_query_next(&query, &key, &value)) {
        if (!http_query_key_is(key, STR("filter")))
            continue;
        if (http_url_decode(value, *room, &filter) != ERR_OK)
            return refuse(w, "bad_request", "a % in a parameter must have two hex digits");
        *room += value.n;
        if (!add_filter(w, filter))
            return false;
    }
    return true;
}

static bool
read_place(struct conn *c, struct http_conn *h, const struct http_ask *ask, struct wish *w)
{
    struct params p = params_of(ask);
    struct str    cursor, since;
    bool          back =
        http_header_find(&ask->request->headers, STR("Last-Event-ID"), &cursor) && cursor.n > 0;
    bool        by_cursor = back || find(&p, STR("cursor"), &cursor);
    const char *why       = NULL;
    uint64_t    ms;

    w->from.from = FROM_LATEST;
    if (!back && find(&p, STR("since"), &since)) {
        if (by_cursor)
            return refuse(w, "bad_parameter", "give cursor or since, not both");
        if (!http_duration_ms(since, &ms))
            return refuse(w, "bad_parameter", "since must be like 90s, 10m, 2h or 7d");
        w->from.from     = FROM_SINCE;
        w->from.since.ms = server_wall(conn_server(c)).ms - (int64_t)ms;
        return true;
    }
    if (!by_cursor || str_eq(cursor, STR("latest")))
        return true;
    w->from.from = FROM_EARLIEST;
    if (str_eq(cursor, STR("earliest")))
        return true;
    w->from.from = FROM_CURSOR;
    if (cursor_decode(cursor, h->tag, &h->after_vector, &w->from.cursor_stamp, &why) != ERR_OK)
        return refuse(w, "bad_cursor", why);
    w->from.cursor = h->after_vector;
    return true;
}

static bool
read_numbers(const struct params *p, struct wish *w)
{
    struct str value;
    uint64_t   n = WAIT_S;
    if (find(p, STR("wait"), &value) && (!str_to_u64(value, &n) || n > WAIT_S_MAX))
        return refuse(w, "bad_parameter", "wait must be a number of seconds from 0 to 60");
    w->wait_ms = n * 1000;
    n          = LIMIT;
    if (find(p, STR("limit"), &value) && (!str_to_u64(value, &n) || n < 1 || n > LIMIT_MAX))
        return refuse(w, "bad_parameter", "limit must be a number from 1 to 10000");
    w->limit = (uint32_t)n;
    if (find(p, STR("covered"), &value)) {
        w->covered = str_eq(value, STR("1"));
        if (!w->covered && !str_eq(value, STR("0")))
            return refuse(w, "bad_parameter", "covered must be 0 or 1");
    }
    return true;
}

/* ---- the answer ---- */

bool
http_poll_place(struct conn *c, struct http_conn *h, struct str *cursor)
{
    uint64_t stamp;
    if (!server_cursor(c, h->poll->sub, &h->after_vector, &stamp))
        return false;
    *cursor = http_cursor_text(h, &h->after_vector, stamp);
    return true;
}

/* What is live and comes between two polls of one connection waits for the second. */
static void
end(struct conn *c, struct http_conn *h)
{
    if (h->as.keep_alive)
        h->parked = server_park(c, h->poll->sub);
    else
        server_unsubscribe(c, h->poll->sub);
    http_poll_close(h);
    conn_hold(c, 0);
    http_set_timer(c, h, HTTP_TIMER_NONE, MONO_NEVER);
}

static void
answer(struct conn *c, struct http_conn *h)
{
    struct http_poll *p = h->poll;
    struct str        cursor;
    if (!http_poll_place(c, h, &cursor)) {
        end(c, h);
        http_reply_problem(c, h, 503, "too_slow", "the disk did not answer in time: try again");
        return;
    }
    struct http_header extra = {STR("Hearsay-Cursor"), cursor};
    struct http_said   said  = {
           .status = 204, .extra = &extra, .extra_count = cursor.n <= HTTP_CURSOR_HEADER_MAX};

    struct buf page = p->body;
    buf_init(&p->body, 0);
    if (p->count > 0 || p->gaps.n > 0 || said.extra_count == 0) {
        said.status = 200;
        said.type   = HTTP_JSON;
        render(&page,
               p->count > 0 ? STR("],\"cursor\":\"") : STR("{\"messages\":[],\"cursor\":\""));
        render(&page, cursor);
        render(&page, STR("\",\"gaps\":["));
        render(&page, buf_str(&p->gaps));
        render(&page, STR("]}\n"));
        said.body = buf_str(&page);
    }
    end(c, h);
    http_reply(c, h, &said);
    buf_fini(&page);
}

/* Has all been scanned that is here? */
static bool
is_caught_up(struct conn *c, struct http_conn *h)
{
    uint64_t stamp;
    return server_cursor(c, h->poll->sub, &h->after_vector, &stamp) &&
           vector_covers(&h->after_vector, broker_vector(server_broker(conn_server(c))));
}

static bool
is_full(const struct http_poll *p)
{
    size_t bytes = p->body.n + p->gaps.n;
    return p->count >= p->limit || (bytes > 0 && bytes >= p->room);
}

/* What was found is not held back for long while the disk is searched for the rest. */
static void
hurry(struct conn *c, struct http_conn *h)
{
    struct http_poll *p   = h->poll;
    struct mono       end = mono_after(server_now(conn_server(c)), MORE_MS);
    if (!p->hurried)
        http_set_timer(c, h, HTTP_TIMER_POLL, p->patient ? mono_min(p->deadline, end) : end);
    p->hurried = true;
}

static void
pull(struct conn *c, struct http_conn *h)
{
    struct http_poll *p = h->poll;
    struct entry      e;
    p->room = conn_answer_room(c);
    if (p->room > PAGE_BYTES)
        p->room = PAGE_BYTES;
    while (!is_full(p) && server_pull(c, p->sub, &e)) {
        if (e.gap_to != 0) {
            render(&p->gaps, p->gaps.n > 0 ? STR(",") : STR(""));
            render_page_gap(&p->gaps, &e, p->count);
            continue;
        }
        render(&p->body, p->count > 0 ? STR(",") : STR("{\"messages\":["));
        render_message(&p->body, &e, STR(""));
        p->count++;
    }
    conn_hold(c, p->body.n + p->gaps.n);
    bool found = p->count > 0 || p->gaps.n > 0;
    if (found && !is_full(p) && sub_is_reading(p->sub))
        hurry(c, h);
    else if (found || (!p->patient && is_caught_up(c, h)))
        answer(c, h);
}

/* What was asked for may be read from now on. */
static void
go(struct conn *c, struct http_conn *h)
{
    if (h->poll->kind != HTTP_POLL_ONCE) {
        http_stream_begin(c, h);
        return;
    }
    struct mono scanned = mono_after(server_now(conn_server(c)), SCAN_MS_MAX);
    http_set_timer(c, h, HTTP_TIMER_POLL, h->poll->patient ? h->poll->deadline : scanned);
    pull(c, h);
}

/* ---- the calls ---- */

static void
start(struct conn *c, struct http_conn *h, struct wish *w)
{
    struct sub *sub;
    w->from.filter       = w->filter;
    w->from.filter_count = w->filters;
    w->from.parked       = h->parked;
    h->parked            = 0;
    if (server_subscribe(c, &w->from, HTTP_REF_POLL, &sub) != ERR_OK) {
        http_reply_problem(c, h, 503, "too_many",
                           "too many subscriptions: try again, or use another broker");
        return;
    }
    struct http_poll *p = mem_new(sizeof *p);
    buf_init(&p->body, 0);
    buf_init(&p->gaps, 0);
    p->kind     = w->kind;
    p->sub      = sub;
    p->limit    = w->limit;
    p->patient  = w->wait_ms > 0;
    p->deadline = mono_after(server_now(conn_server(c)), w->wait_ms);
    h->poll     = p;

    /* A place other than a cursor is always covered. */
    if (w->covered && w->from.from == FROM_CURSOR) {
        struct await_args args = {
            .kind = AWAIT_COVERED, .vector = h->after_vector, .deadline = p->deadline};
        p->uncovered = true; /* the answer may come within the call */
        if (server_await(c, &args, HTTP_REF_POLL) != ERR_OK) {
            end(c, h);
            http_reply_problem(c, h, 503, "too_many", "too many wait: try again");
            return;
        }
    }
    if (p->uncovered || p->settled)
        return; /* resume() goes on, at the wait's own deadline at the latest */
    go(c, h);
}

/* What the client likes best; JSON where it names nothing that we have. */
static enum http_poll_kind
kind_of(const struct http_headers *headers)
{
    const struct str offer[] = {HTTP_JSON, STR("text/event-stream"), STR("application/x-ndjson")};
    const enum http_poll_kind kind[] = {HTTP_POLL_ONCE, HTTP_POLL_SSE, HTTP_POLL_NDJSON,
                                        HTTP_POLL_ONCE};
    return kind[http_accept_pick(headers, offer, 3)];
}

static void
read_and_start(struct conn *c, struct http_conn *h, const struct http_ask *ask, bool by_path)
{
    struct params p = params_of(ask);
    struct wish   w = {.kind = kind_of(&ask->request->headers)};
    struct str    filter;
    uint8_t      *room; /* what is unescaped lies in `text` until it is copied */
    bool          fine = none_is_doubled(&p, &w);

    buf_reset(&h->text);
    CHECK(buf_room(&h->text, ask->param.n + p.in[0].n + p.in[1].n + 1, &room) == ERR_OK);
    if (fine && by_path && http_url_decode(ask->param, room, &filter) != ERR_OK)
        fine = refuse(&w, "bad_request", "a % in the path must have two hex digits");
    else if (fine && by_path)
        fine = add_filter(&w, filter);
    else
        fine = fine && read_filters(p.in[0], &room, &w) && read_filters(p.in[1], &room, &w);
    if (fine && read_place(c, h, ask, &w) && read_numbers(&p, &w))
        start(c, h, &w);
    else
        http_reply_problem(c, h, 400, w.code, w.problem);
}

enum err
http_poll(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    read_and_start(c, h, ask, true);
    return ERR_OK;
}

enum err
http_topics(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    struct params p = params_of(ask);
    struct str    any;
    if (find(&p, STR("filter"), &any))
        read_and_start(c, h, ask, false);
    else if (server_topics(c, 0) != ERR_OK)
        http_reply_problem(c, h, 503, "too_many", "too many ask for the topics: try again");
    return ERR_OK;
}

void
http_topics_answer(struct conn *c, struct http_conn *h, const struct topic_list *topics)
{
    buf_reset(&h->text);
    render(&h->text, STR("{\"topics\":["));
    for (uint32_t i = 0; i < topics->count; i++) {
        render(&h->text, i > 0 ? STR(",{\"topic\":") : STR("{\"topic\":"));
        render_text(&h->text, topics->at[i].name);
        render(&h->text, STR(",\"messages\":"));
        render_u64(&h->text, topics->at[i].count);
        render(&h->text, STR(",\"newest_lsn\":"));
        render_u64(&h->text, topics->at[i].newest_lsn);
        render(&h->text, STR("}"));
    }
    render(&h->text, STR("]}\n"));
    http_reply(c, h,
               &(struct http_said){.status = 200, .type = HTTP_JSON, .body = buf_str(&h->text)});
}

/* ---- events ---- */

void
http_poll_ready(struct conn *c, struct http_conn *h)
{
    struct http_poll *p = h->poll;
    if (!p || p->uncovered || p->settled)
        return;
    if (p->kind == HTTP_POLL_ONCE)
        pull(c, h);
    else
        http_stream_pull(c, h);
}

void
http_poll_awaited(struct conn *c, struct http_conn *h, bool reached)
{
    if (!h->poll)
        return;
    h->poll->uncovered = !reached;
    h->poll->settled   = true;
    conn_again(c);
}

/* Says what is lacking, so that somebody can look where that is. */
static void
answer_not_covered(struct conn *c, struct http_conn *h)
{
    const struct broker *b       = server_broker(conn_server(c));
    const struct vector *seen    = &h->after_vector; /* the cursor, still */
    struct mark          lacks   = {0};
    uint32_t             streams = 0;
    char                 name[MARK_TEXT_BYTES], text[400];
    for (uint32_t i = 0; i < seen->count; i++) {
        struct mark m = seen->at[i];
        if (vector_has(broker_vector(b), m) || journal_retired(broker_journal(b), m.stream))
            continue;
        if (streams++ == 0)
            lacks = m;
    }
    mark_text(lacks, name);
    snprintf(
        text, sizeof text,
        "the cursor has seen more of %u stream%s than this broker has, such as %s: wait "
        "longer, or use the broker that it came from. Of what expired many weeks ago no broker "
        "knows any more: with such a cursor read without covered=1, nothing is skipped",
        streams, streams == 1 ? "" : "s", name);
    end(c, h);
    http_reply_problem(c, h, 409, "not_covered", text);
}

void
http_poll_resume(struct conn *c, struct http_conn *h)
{
    struct http_poll *p = h->poll;
    if (!p->settled)
        return;
    p->settled = false;
    if (p->uncovered)
        answer_not_covered(c, h);
    else
        go(c, h);
}

void
http_poll_deadline(struct conn *c, struct http_conn *h)
{
    if (h->poll && h->poll->kind == HTTP_POLL_ONCE)
        answer(c, h);
    else if (h->poll)
        http_stream_ping(c, h);
}

void
http_poll_close(struct http_conn *h)
{
    if (!h->poll)
        return;
    buf_fini(&h->poll->body);
    buf_fini(&h->poll->gaps);
    mem_free(h->poll);
    h->poll = NULL;
}
