#include "server/front_http.h"

#include "base/check.h"
#include "base/mem.h"
#include "codec/cursor.h"
#include "core/vector.h"
#include "server/render.h"

#include <string.h>

enum {
    IN_BYTES_MAX = 4 << 20,  /* one read beyond a request that has to wait, and more */
    AHEAD_BYTES  = 64 << 10, /* read while a solo call is carried out */
};

struct route {
    enum http_method method;
    const char      *path;
    http_handler    *handler;
    bool             solo;
};
static const struct route route[] = {
#define ROUTE(method, path, handler, solo, help) {METHOD_##method, path, http_##handler, solo},
#include "server/routes.def"
#undef ROUTE
};
enum { ROUTES = sizeof route / sizeof *route };

static const char *
method_text(enum http_method m)
{
    return m == METHOD_GET ? "GET" : m == METHOD_POST ? "POST" : "DELETE";
}

/* ---- stopping and going on ---- */

void
http_go_on(struct conn *c, struct http_conn *h)
{
    if (h->paused || h->lost || conn_has_ended(c))
        conn_again(c);
}

void
http_set_timer(struct conn *c, struct http_conn *h, enum http_timer timer, struct mono at)
{
    h->timer = timer;
    conn_deadline(c, timer == HTTP_TIMER_NONE ? MONO_NEVER : at);
}

static void
park(struct conn *c, struct http_conn *h)
{
    if (!h->paused)
        conn_pause(c);
    h->paused = true;
}

/* ---- one request ---- */

/* Does `path` have this shape?  *param is what stands for {x}. */
static bool
path_fits(const char *pattern, struct str path, struct str *param)
{
    struct str p     = str_of(pattern);
    size_t     fixed = str_index(p, '{');
    *param           = str_cut(path, fixed, path.n);
    return fixed == p.n ? str_eq(path, p) : str_starts(path, str_cut(p, 0, fixed));
}

static void
wrong_method(struct conn *c, struct http_conn *h, struct str path)
{
    char       allow[32] = "";
    struct str param;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_fits(route[i].path, path, &param))
            continue;
        if (allow[0])
            memcpy(allow + strlen(allow), ", ", 3);
        const char *m = method_text(route[i].method);
        memcpy(allow + strlen(allow), m, strlen(m) + 1);
    }
    http_reply_problem_with(
        c, h,
        &(struct http_problem){405, "wrong_method",
                               "this path knows only the methods that Allow names"},
        &(struct http_header){STR("Allow"), str_of(allow)});
}

/* What a browser asks before it sends a request of a page that `cors` allows. */
static void
preflight(struct conn *c, struct http_conn *h)
{
    const struct http_header extra[] = {
        {STR("Access-Control-Allow-Methods"), STR("GET, POST, DELETE")},
        {STR("Access-Control-Allow-Headers"), /* the star is for Hearsay-Meta-* */
         STR("Content-Type, Hearsay-After, Hearsay-Lamport, If-None-Match, Last-Event-ID, *")},
        {STR("Access-Control-Max-Age"), STR("600")},
    };
    http_reply(c, h, &(struct http_said){.status = 204, .extra = extra, .extra_count = 3});
}

/* NULL with *known: the path has no such method. */
static const struct route *
find_route(const struct http_request *r, struct str *param, bool *known)
{
    *known = false;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_fits(route[i].path, r->path, param))
            continue;
        *known = true;
        if (route[i].method == r->method)
            return &route[i];
    }
    return NULL;
}

/* The origin of a request, judged.  NULL: fine. */
static const char *
judge_origin(struct conn *c, const struct http_request *r, struct http_reply_as *as)
{
    struct str origin;
    if (!http_header_find(&r->headers, STR("Origin"), &origin))
        return NULL;
    return http_origin_problem(server_facts(conn_server(c)), origin, &as->origin);
}

/* A request that has to wait is tried again, and is the same one. */
static uint32_t
request_number(struct conn *c, struct http_conn *h, const struct http_request *r)
{
    if (h->counted)
        return h->requests;
    h->counted                = true;
    struct trace_about before = conn_about(c, ++h->requests);
    tracef(TRACE_DEBUG, "%.*s %.*s", STR_ARG(r->method_text), STR_ARG(r->path));
    trace_about(before);
    return h->requests;
}

static enum err
dispatch(struct conn *c, struct http_conn *h, struct http_ask *ask)
{
    const struct http_request *r = ask->request;
    bool                       known;
    const char                *foreign = judge_origin(c, r, &ask->as);
    const struct route        *to      = find_route(r, &ask->param, &known);
    uint64_t                   due     = h->due_next - h->due_first;

    if (to && !foreign && !to->solo)
        return due < HTTP_DUE_MAX ? to->handler(c, h, ask) : ERR_BUSY;
    if (due > 0)
        return ERR_BUSY;
    h->as   = ask->as;
    h->busy = true;
    if (foreign)
        http_reply_problem_with(c, h, &(struct http_problem){403, "foreign_origin", foreign},
                                &(struct http_header){STR("Vary"), STR("Origin")});
    else if (to)
        return to->handler(c, h, ask);
    else if (known && r->method == METHOD_OPTIONS && ask->as.origin.n > 0)
        preflight(c, h);
    else if (known)
        wrong_method(c, h, r->path);
    else
        http_reply_problem(
            c, h, 404, "not_found",
            "no such path: see /topics, /latest, /cluster, /healthz, /readyz, /metrics");
    return ERR_OK;
}

/* Carry out one whole request.  BUSY: it has to wait.  STALE: the conn is a link now and
 * `h` is gone. */
static enum err
carry_out(struct conn *c, struct http_conn *h, const struct http_request *r, struct str body,
          struct str rest)
{
    struct http_ask ask = {
        .request = r,
        .body    = body,
        .rest    = rest,
        .as      = {.version_minor = r->version_minor,
                    .keep_alive    = r->keep_alive,
                    .head          = r->method == METHOD_HEAD,
                    .request       = request_number(c, h, r)},
    };
    struct trace_about before = conn_about(c, ask.as.request);
    enum err           e      = dispatch(c, h, &ask);
    if (e != ERR_STALE)
        h->counted = e == ERR_BUSY;
    trace_about(before);
    return e;
}

/* ---- bytes to requests ---- */

/* The framing is lost: answer when all before is answered, then close.  `as` NULL: no head was
 * understood, so nothing is known of how. */
static void
lose(struct http_conn *h, const struct http_problem *p, const struct http_reply_as *as)
{
    struct http_reply_as how = {.version_minor = 1};
    if (as)
        how = *as;
    else
        how.request = ++h->requests;
    how.keep_alive = false;
    h->lost        = true;
    h->problem     = *p;
    h->lost_as     = how;
}

/* As its head says, should the rest of it be lost. */
static struct http_reply_as
answer_as(struct conn *c, struct http_conn *h, const struct http_request *r)
{
    struct http_reply_as as = {.version_minor = r->version_minor,
                               .keep_alive    = r->keep_alive,
                               .request       = request_number(c, h, r)};
    (void)judge_origin(c, r, &as);
    return as;
}

static void
say_lost(struct conn *c, struct http_conn *h)
{
    if (!h->lost || h->busy || h->due_next > h->due_first || conn_is_closing(c))
        return;
    h->as = h->lost_as;
    http_reply_problem_with(c, h, &h->problem, NULL);
}

/* A head is whole and its body is not: both are kept until it is. */
static void
begin_body(struct conn *c, struct http_conn *h, const struct http_request *r, struct str head)
{
    buf_reset(&h->head);
    buf_reset(&h->body);
    render(&h->head, head);
    h->lost_as = answer_as(c, h, r);
    h->stage   = HTTP_BODY;
    http_set_timer(c, h, HTTP_TIMER_BODY, mono_after(server_now(conn_server(c)), HTTP_BODY_MS));
    /* No 100 may stand among the answers of earlier requests; who asked for one sends the
     * body in the end when none comes. */
    if (r->expect_continue && h->due_next == h->due_first)
        conn_write(c, HTTP_CONTINUE);
}

/* Take what there is of the body; true: it is whole. */
static bool
take_body(struct http_conn *h, struct str in, size_t *taken)
{
    struct http_problem problem;
    struct str          piece;
    size_t              used;
    for (;;) {
        enum err e =
            http_body_next(&h->framing, str_cut(in, *taken, in.n), &used, &piece, &problem);
        if (e == ERR_OK)
            render(&h->body, piece);
        *taken += used;
        if (e == ERR_PROTO)
            lose(h, &problem, &h->lost_as);
        if (e != ERR_OK)
            return false;
        if (piece.n == 0)
            return true;
    }
}

/* The request that was kept in pieces is whole. */
static enum err
carry_out_kept(struct conn *c, struct http_conn *h)
{
    struct http_request r;
    struct http_problem problem;
    size_t              seen = 0, used;
    CHECK(http_request_decode(buf_str(&h->head), &seen, &r, &used, &problem) == ERR_OK);
    enum err e = carry_out(c, h, &r, buf_str(&h->body), STR(""));
    if (e != ERR_OK)
        return e;
    h->stage = HTTP_HEAD;
    buf_reset(&h->head);
    if (h->body.cap > HTTP_KEEP_BYTES)
        buf_clear_free(&h->body);
    return ERR_OK;
}

/* A request of lines begins.  BUSY: others come first. */
static enum err
begin_lines(struct conn *c, struct http_conn *h, const struct http_request *r)
{
    struct http_problem  problem = {.status = 403, .code = "foreign_origin"};
    struct http_reply_as as      = {.version_minor = r->version_minor,
                                    .keep_alive    = r->keep_alive,
                                    .request       = request_number(c, h, r)};
    if (h->due_next > h->due_first)
        return ERR_BUSY;
    problem.detail = judge_origin(c, r, &as);
    h->as          = as;
    enum err e     = problem.detail ? ERR_INVALID : http_lines_begin(c, h, r, &problem);
    h->counted     = e == ERR_BUSY;
    if (e == ERR_INVALID) {
        lose(h, &problem, &as);
        return ERR_PROTO;
    }
    if (e == ERR_OK)
        h->stage = HTTP_LINES;
    return e;
}

/* The next head.  OK: something was taken. */
static enum err
take_head(struct conn *c, struct http_conn *h, struct str in, size_t *taken)
{
    struct http_request r;
    struct http_problem problem;
    size_t              used, body_used = 0;
    struct str          body = {NULL, 0};

    if (in.n == 0)
        return ERR_MORE;
    enum err e     = http_request_decode(in, &h->seen, &r, &used, &problem);
    bool     known = e == ERR_OK, lines = known && http_is_lines(&r);
    if (known)
        e = http_body_start(&h->framing, &r,
                            lines                    ? UINT64_MAX
                            : r.method == METHOD_GET ? HTTP_FORM_BYTES_MAX
                                                     : BODY_BYTES_MAX,
                            &problem);
    if (e == ERR_PROTO && known) {
        struct http_reply_as as = answer_as(c, h, &r);
        lose(h, &problem, &as);
    } else if (e == ERR_PROTO) {
        lose(h, &problem, NULL);
    }
    if (e == ERR_MORE && h->timer == HTTP_TIMER_NONE)
        http_set_timer(c, h, HTTP_TIMER_HEAD,
                       mono_after(server_now(conn_server(c)), CLIENT_HEAD_MS));
    if (e != ERR_OK)
        return e;
    h->seen = 0;
    if (h->timer != HTTP_TIMER_NONE)
        http_set_timer(c, h, HTTP_TIMER_NONE, MONO_NEVER);

    if (lines) {
        e = begin_lines(c, h, &r);
        *taken += e == ERR_OK ? used : 0;
        return e;
    }
    bool whole = h->framing.framing == FRAMING_NONE ||
                 (h->framing.framing == FRAMING_LENGTH && in.n - used >= r.content_length);
    if (!whole) {
        begin_body(c, h, &r, str_cut(in, 0, used));
        *taken += used;
        return ERR_OK;
    }
    if (h->framing.framing == FRAMING_LENGTH) {
        body      = str_cut(in, used, used + (size_t)r.content_length);
        body_used = body.n;
    }
    e = carry_out(c, h, &r, body, str_cut(in, used + body_used, in.n));
    if (e == ERR_OK)
        *taken += used + body_used;
    return e;
}

/* Take what can be taken from the front of `in`; STALE: `h` is gone. */
static enum err
take(struct conn *c, struct http_conn *h, struct str in, size_t *taken)
{
    *taken = 0;
    while (!h->busy && !h->lost && !conn_is_closing(c)) {
        enum err e = ERR_OK;
        if (h->stage == HTTP_BODY) {
            if (!take_body(h, in, taken))
                break;
            h->stage = HTTP_WHOLE;
            http_set_timer(c, h, HTTP_TIMER_NONE, MONO_NEVER);
        }
        if (h->stage == HTTP_WHOLE) {
            e = carry_out_kept(c, h);
        } else if (h->stage == HTTP_LINES) {
            e        = http_lines_take(c, h, in, taken);
            h->stage = e == ERR_OK ? HTTP_HEAD : HTTP_LINES;
        } else
            e = take_head(c, h, str_cut(in, *taken, in.n), taken);
        if (e == ERR_STALE)
            return e;
        if (e == ERR_BUSY)
            park(c, h);
        if (e != ERR_OK)
            break;
    }
    if (h->lost)
        *taken = in.n;
    return ERR_OK;
}

/* A client that sent its last byte is done once all is answered; what is left of its
 * input is a request that will never be whole. */
static void
finish_if_done(struct conn *c, const struct http_conn *h)
{
    if (conn_has_ended(c) && !h->busy && !h->lost && !h->paused && h->due_next == h->due_first &&
        !http_lines_are_due(h))
        conn_finish(c);
}

/* STALE: `h` is gone. */
static enum err
take_kept(struct conn *c, struct http_conn *h)
{
    size_t   taken;
    enum err e = take(c, h, buf_str(&h->in), &taken);
    if (e == ERR_STALE)
        return e;
    buf_consume(&h->in, taken);
    if (h->in.n == 0 && h->in.cap > HTTP_KEEP_BYTES)
        buf_clear_free(&h->in);
    say_lost(c, h);
    return ERR_OK;
}

static enum err
front_bytes(struct conn *c, struct str s)
{
    struct http_conn *h      = conn_state(c);
    bool              parked = h->paused || h->busy;
    size_t            taken  = 0;
    if (h->lost)
        return ERR_OK;
    if (h->in.n == 0 && !parked) {
        if (take(c, h, s, &taken) == ERR_STALE)
            return ERR_OK;
        parked = true;
    }
    if (buf_add(&h->in, str_cut(s, taken, s.n)) != ERR_OK)
        return ERR_LIMIT;
    if (h->in.n > AHEAD_BYTES && h->busy)
        park(c, h);
    if (parked)
        say_lost(c, h);
    else
        (void)!take_kept(c, h); /* whether `h` is gone matters no more */
    return ERR_OK;
}

static enum err
front_resume(struct conn *c)
{
    struct http_conn *h = conn_state(c);
    http_publish_resume(c, h);
    if (h->lines)
        http_lines_resume(c, h);
    if (h->poll)
        http_poll_resume(c, h);
    if (h->after == HTTP_AFTER_WAITING || h->busy)
        return ERR_OK;
    if (h->paused) {
        h->paused = false;
        conn_unpause(c);
    }
    if (take_kept(c, h) == ERR_OK)
        finish_if_done(c, h);
    return ERR_OK;
}

static void
front_end(struct conn *c)
{
    finish_if_done(c, conn_state(c));
}

/* ---- events ---- */

static void
front_answer(struct conn *c, uint64_t ref, const struct outcome *o)
{
    struct http_conn *h = conn_state(c);
    if (h->lines)
        http_lines_answer(c, h, ref, o);
    else
        http_publish_answer(c, h, ref, o);
}

static void
front_awaited(struct conn *c, uint64_t ref, bool reached, uint32_t copies)
{
    struct http_conn *h = conn_state(c);
    if (ref == HTTP_REF_POLL) {
        http_poll_awaited(c, h, reached);
    } else if (ref == HTTP_REF_AFTER) {
        http_after_awaited(c, h, reached);
    } else if (h->lines) {
        http_lines_awaited(c, h, reached, copies);
    } else {
        http_publish_awaited(c, h, ref, reached, copies);
    }
}

static void
front_ready(struct conn *c, struct sub *sub)
{
    (void)sub;
    http_poll_ready(c, conn_state(c));
}

static void
front_deadline(struct conn *c)
{
    struct http_conn *h     = conn_state(c);
    enum http_timer   timer = h->timer;
    h->timer                = HTTP_TIMER_NONE;
    if (timer == HTTP_TIMER_POLL) {
        http_poll_deadline(c, h);
    } else if (timer != HTTP_TIMER_NONE) {
        lose(h, &(struct http_problem){408, "head_timeout", "the request came too slowly"},
             h->stage == HTTP_BODY ? &h->lost_as : NULL);
        say_lost(c, h);
    }
}

static void
front_topics(struct conn *c, uint64_t ref, const struct topic_list *topics)
{
    (void)ref;
    http_topics_answer(c, conn_state(c), topics);
}

static void
front_latest(struct conn *c, uint64_t ref, enum err err, const struct entry *newest)
{
    (void)ref;
    http_latest_answer(c, conn_state(c), err, newest);
}

/* ---- life ---- */

static void
front_open(struct conn *c)
{
    const struct server_facts *facts = server_facts(conn_server(c));
    struct http_conn          *h     = mem_new(sizeof *h);
    buf_init(&h->in, IN_BYTES_MAX);
    buf_init(&h->head, 0);
    buf_init(&h->body, 0);
    buf_init(&h->cursor, 0);
    buf_init(&h->text, 0);
    buf_init(&h->origin, 0);
    vector_init(&h->after_vector);
    vector_init(&h->cursor_of);
    h->timer = HTTP_TIMER_HEAD; /* the server has set it */
    h->tag   = cursor_cluster_tag(facts->cluster);
    render(&h->origin, facts->host);
    render(&h->origin, STR(":"));
    render_u64(&h->origin, facts->self.port);
    conn_set_state(c, h);
}

/* A page that is not allowed any more gets no permission with the answers on their way. */
static void
judge_again(const struct server_facts *facts, struct http_reply_as *as)
{
    struct str was = as->origin;
    if (was.n > 0 && http_origin_problem(facts, was, &as->origin))
        as->origin = (struct str){NULL, 0};
}

static void
front_options(struct conn *c)
{
    struct http_conn          *h     = conn_state(c);
    const struct server_facts *facts = server_facts(conn_server(c));
    judge_again(facts, &h->as);
    judge_again(facts, &h->lost_as);
    for (uint64_t i = h->due_first; i < h->due_next; i++)
        judge_again(facts, &h->due[i % HTTP_DUE_MAX].as);
}

static void
front_close(struct conn *c)
{
    struct http_conn *h = conn_state(c);
    http_publish_close(h);
    http_poll_close(h);
    http_lines_close(h);
    buf_fini(&h->in);
    buf_fini(&h->head);
    buf_fini(&h->body);
    buf_fini(&h->cursor);
    buf_fini(&h->text);
    buf_fini(&h->origin);
    vector_fini(&h->after_vector);
    vector_fini(&h->cursor_of);
    mem_free(h);
    conn_set_state(c, NULL);
}

const struct front front_http = {
    .name     = "http",
    .open     = front_open,
    .bytes    = front_bytes,
    .end      = front_end,
    .resume   = front_resume,
    .answer   = front_answer,
    .awaited  = front_awaited,
    .ready    = front_ready,
    .deadline = front_deadline,
    .topics   = front_topics,
    .latest   = front_latest,
    .options  = front_options,
    .close    = front_close,
};
