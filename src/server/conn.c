#include "server/conn.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "server/server_private.h"

static void on_deadline(void *ctx);

/* ---- begin and end ---- */

static void on_opened(void *ctx);
static void on_bytes(void *ctx, struct str s);
static void on_ended(void *ctx);
static void on_drained(void *ctx);
static void on_bulk_sent(void *ctx, size_t bytes_waiting);
static void on_closed(void *ctx, enum err why);

static const struct sock_events conn_events = {
    .opened    = on_opened,
    .bytes     = on_bytes,
    .ended     = on_ended,
    .drained   = on_drained,
    .bulk_sent = on_bulk_sent,
    .closed    = on_closed,
};

static struct conn *
make(struct server *s)
{
    struct conn *c = pool_take(&s->conns);
    if (!c)
        return NULL;
    c->server   = s;
    c->number   = ++s->conns_made;
    c->deadline = (struct loop_timer){.fire = on_deadline, .ctx = c};
    list_init(&c->again);
    list_init(&c->busy);
    list_init(&c->recheck);
    list_init(&c->subs);
    list_init(&c->stalled);
    list_init(&c->waits);
    s->counters.conns_open++;
    return c;
}

static void
unmake(struct conn *c)
{
    struct server *s = c->server;
    loop_timer_stop(s->loop, &c->deadline);
    list_remove(&c->again);
    list_remove(&c->busy);
    list_remove(&c->recheck);
    s->unsent -= c->unsent;
    s->held -= c->held;
    s->counters.conns_open--;
    mem_free(c->kept.at);
    pool_give(&s->conns, c);
}

void
conn_on_accepted(void *server, struct sock *sock)
{
    struct server *s = server;
    struct conn   *c = s->stopping ? NULL : make(s);
    if (!c) {
        sock_close(sock);
        return;
    }
    c->sock = sock;
    sock_set_ctx(sock, &conn_events, c);
    conn_deadline(c, mono_after(server_now(s), CONN_IDLE_MS));
}

struct conn *
conn_dial(struct server *s, const struct endpoint *to, const struct front *front,
          uint32_t timeout_ms)
{
    struct conn *c = make(s);
    if (!c)
        return NULL;
    c->front = front;
    c->sock  = sock_dial(s->loop, to, timeout_ms, &conn_events, c);
    if (!c->sock) {
        unmake(c);
        return NULL;
    }
    return c;
}

static const char *
front_name(const struct conn *c)
{
    return c->front ? c->front->name : "no protocol";
}

static void
on_closed(void *ctx, enum err why)
{
    struct conn       *c      = ctx;
    struct server     *s      = c->server;
    struct trace_about before = conn_about(c, 0);
    tracef(TRACE_DEBUG, "%s: closed%s%s", front_name(c), why == ERR_OK ? "" : ": ",
           why == ERR_OK ? "" : err_text(why));
    LIST_EACH(at, &c->subs)
    {
        server_unsubscribe(c, LIST_OF(at, struct sub, in_conn));
    }
    LIST_EACH(at, &c->waits)
    {
        struct wait *w    = LIST_OF(at, struct wait, in_conn);
        struct fact  fact = {.kind = FACT_AWAIT_DROP, .await_drop = {w->await}};
        server_wait_over(s, w);
        server_step(s, &fact);
    }
    if (c->front)
        c->front->close(c);
    unmake(c);
    trace_about(before);
}

/* ---- what comes ---- */

void
conn_brake(struct conn *c, enum conn_brake brake, bool on)
{
    unsigned before = c->brakes;
    c->brakes       = on ? c->brakes | brake : c->brakes & ~(unsigned)brake;
    if (before == 0 && c->brakes != 0)
        sock_pause(c->sock);
    else if (before != 0 && c->brakes == 0)
        sock_resume(c->sock);
}

/* Written and not yet sent. */
static size_t
pending(const struct conn *c)
{
    return sock_pending_bytes(c->sock);
}

void
conn_count_unsent(struct conn *c)
{
    size_t now = pending(c) < CONN_ROOM_BYTES ? 0 : pending(c);
    c->server->unsent += now - c->unsent;
    c->unsent = now;
    sock_count(c->sock);
}

/* Behind each call of the front that takes input. */
static void
settle(struct conn *c, enum err e)
{
    conn_count_unsent(c);
    if (e != ERR_OK)
        conn_finish(c);
    else if (pending(c) > CONN_OUTPUT_BYTES && !(c->brakes & BRAKE_OUTPUT)) {
        conn_brake(c, BRAKE_OUTPUT, true);
        conn_recheck(c);
        loop_again(c->server->loop);
    }
}

void
conn_resume_front(struct conn *c)
{
    if (conn_is_closing(c) || !c->front)
        return;
    struct trace_about before = conn_about(c, 0);
    settle(c, c->front->resume(c));
    trace_about(before);
}

static const struct front *
front_of(uint8_t first)
{
    if (first == '{')
        return &front_json;
    if ((first | 0x20) >= 'a' && (first | 0x20) <= 'z')
        return &front_http;
    return NULL; /* 0x10 would be MQTT, 0x16 TLS: not spoken yet */
}

static bool
is_blank(uint8_t b)
{
    return b == ' ' || b == '\t' || b == '\r' || b == '\n';
}

static void
tell_opened(const struct conn *c)
{
    struct endpoint from;
    char            text[ENDPOINT_TEXT_BYTES];
    if (!trace_is_on(TRACE_DEBUG))
        return;
    sock_remote(c->sock, &from);
    endpoint_text(&from, text);
    tracef(TRACE_DEBUG, "%s: opened from %s", front_name(c), text);
}

/* Pick the front.  False: no byte that tells has come, or nobody speaks that. */
static bool
recognize(struct conn *c, struct str *s)
{
    struct server *server = c->server;
    if (!c->touched)
        conn_deadline(c, mono_after(server_now(server), CLIENT_HEAD_MS));
    c->touched = true;
    while (s->n > 0 && is_blank(s->p[0]))
        *s = str_cut(*s, 1, s->n);
    if (s->n == 0)
        return false;
    c->front = front_of(s->p[0]);
    tell_opened(c);
    if (!c->front) {
        server->counters.conns_unknown_protocol++;
        conn_close(c);
        return false;
    }
    if (c->front->open)
        c->front->open(c);
    return !conn_is_closing(c);
}

static void
on_bytes(void *ctx, struct str s)
{
    struct conn       *c      = ctx;
    struct trace_about before = conn_about(c, 0);
    if (c->front || recognize(c, &s)) {
        c->server->counters.client_bytes_in += s.n;
        settle(c, c->front->bytes(c, s));
    }
    trace_about(before);
}

static void
on_ended(void *ctx)
{
    struct conn       *c      = ctx;
    struct trace_about before = conn_about(c, 0);
    c->ended                  = true;
    if (c->front)
        c->front->end(c);
    else
        conn_close(c);
    trace_about(before);
}

static void
on_opened(void *ctx)
{
    struct conn       *c      = ctx;
    struct trace_about before = conn_about(c, 0);
    if (c->front->open)
        c->front->open(c);
    trace_about(before);
}

static void
on_deadline(void *ctx)
{
    struct conn *c = ctx;
    if (conn_is_closing(c))
        return;
    struct trace_about before = conn_about(c, 0);
    if (c->front && c->front->deadline) {
        c->front->deadline(c);
    } else {
        c->server->counters.heads_too_slow += c->touched;
        conn_close(c);
    }
    trace_about(before);
}

void
conn_become(struct conn *c, const struct front *front)
{
    if (c->front)
        c->front->close(c);
    c->front = front;
    conn_deadline(c, MONO_NEVER);
    conn_unpause(c);
}

/* ---- what goes ---- */

void
conn_recheck(struct conn *c)
{
    if (c->recheck.next == &c->recheck)
        list_push_back(&c->server->recheck, &c->recheck);
}

static void
on_drained(void *ctx)
{
    struct conn *c = ctx;
    conn_count_unsent(c);
    if (c->brakes & BRAKE_OUTPUT || !list_is_empty(&c->stalled)) {
        conn_recheck(c);
        loop_touch(c->server->loop);
    }
    if (c->front && c->front->drained)
        c->front->drained(c);
}

static void
on_bulk_sent(void *ctx, size_t bytes_waiting)
{
    struct conn *c = ctx;
    peer_bulk_sent(c, bytes_waiting);
}

void
conn_finish(struct conn *c)
{
    sock_finish(c->sock, CONN_FLUSH_MS);
}

void
conn_close(struct conn *c)
{
    sock_close(c->sock);
}

bool
conn_is_closing(const struct conn *c)
{
    return sock_is_closing(c->sock);
}

bool
conn_has_ended(const struct conn *c)
{
    return c->ended;
}

/* ---- for the fronts ---- */

struct trace_about
conn_about(const struct conn *c, uint64_t request)
{
    return trace_about((struct trace_about){c->number, request});
}

void *
conn_state(const struct conn *c)
{
    return c->state;
}

void
conn_set_state(struct conn *c, void *state)
{
    c->state = state;
}

struct server *
conn_server(const struct conn *c)
{
    return c->server;
}

struct buf *
conn_out(struct conn *c)
{
    return sock_out(c->sock);
}

void
conn_write(struct conn *c, struct str s)
{
    CHECK(buf_add(sock_out(c->sock), s) == ERR_OK);
}

/* Each may take a share of what all of them have left; so they never take much more than
 * all, and who reads gets on beside thousands that do not. */
size_t
conn_room(const struct conn *c)
{
    size_t taken = sock_unsent_bytes(c->server->loop), room = 0;
    if (taken < DELIVERY_BYTES_MAX)
        room = (DELIVERY_BYTES_MAX - taken) / CONN_ROOM_SHARE;
    if (room > CONN_ROOM_BYTES)
        room = CONN_ROOM_BYTES;
    return room - (room < pending(c) ? room : pending(c));
}

bool
conn_has_room(const struct conn *c)
{
    return pending(c) == 0 || conn_room(c) > 0;
}

void
conn_hold(struct conn *c, size_t bytes)
{
    c->server->held += bytes - c->held;
    c->held = bytes;
}

/* Thousands may wait for the same messages, and then never read what they are answered. */
size_t
conn_answer_room(const struct conn *c)
{
    size_t taken = sock_unsent_bytes(c->server->loop) + c->server->held;
    return taken < ANSWERS_BYTES_MAX ? (ANSWERS_BYTES_MAX - taken) / CONN_ANSWER_SHARE : 0;
}

void
conn_pause(struct conn *c)
{
    conn_brake(c, BRAKE_FRONT, true);
}

void
conn_unpause(struct conn *c)
{
    conn_brake(c, BRAKE_FRONT, false);
}

void
conn_again(struct conn *c)
{
    if (c->again.next == &c->again)
        list_push_back(&c->server->again, &c->again);
    loop_touch(c->server->loop);
}

void
conn_deadline(struct conn *c, struct mono at)
{
    loop_timer_set(c->server->loop, &c->deadline, at);
}
