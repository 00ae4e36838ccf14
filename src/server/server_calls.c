/* server_calls.c - what fronts ask of the server (front.h). */
#include "server/server_private.h"

#include "base/check.h"
#include "io/clock.h"

#include <string.h>

/* ---- publish ---- */

enum err
server_publish(struct conn *c, const struct publish_args *args, uint64_t ref)
{
    struct server *s     = c->server;
    struct fact    fact  = {.kind = FACT_PUBLISH};
    fact.publish.topic   = args->topic;
    fact.publish.headers = args->headers;
    fact.publish.body    = args->body;
    fact.publish.stamp   = args->stamp;
    s->asking            = (struct asker){pool_handle(c), ref, c->serial};

    struct fact_answer a = server_step(s, &fact);
    enum err           e = a.err;
    if (e == ERR_OK) {
        s->counters.publishes++;
        c->serial = a.live ? c->serial : a.id;
    } else if (e == ERR_BUSY) {
        s->counters.publishes_busy++;
        conn_brake(c, BRAKE_BUSY, true);
        if (c->busy.next == &c->busy)
            list_push_back(&s->busy, &c->busy);
    } else if (e == ERR_FULL) {
        s->counters.publishes_full++;
    }
    return e;
}

/* ---- subscribe ---- */

/* The longest of those that are parked, but for one, makes room for who is there. */
static bool
drop_parked(struct server *s, const struct sub *but)
{
    LIST_EACH(node, &s->parked)
    {
        struct sub *sub = LIST_OF(node, struct sub, parked);
        if (sub == but)
            continue;
        server_unsubscribe(sub->conn, sub);
        return true;
    }
    return false;
}

static struct sub *
take_sub(struct server *s, const struct sub *but)
{
    struct sub *sub = pool_take(&s->subs);
    return sub || !drop_parked(s, but) ? sub : pool_take(&s->subs);
}

enum err
server_subscribe(struct conn *c, const struct subscribe_args *args, uint64_t ref, struct sub **out)
{
    struct server *s = c->server;
    if (c->sub_count >= SUBSCRIPTIONS_PER_CONN || s->unsent > UNSENT_BYTES_MAX)
        return ERR_LIMIT;
    struct sub *parked = pool_find(&s->subs, args->parked);
    struct sub *sub    = take_sub(s, parked);
    if (!sub)
        return ERR_LIMIT;
    struct fact fact = {
        .kind = FACT_SUBSCRIBE,
        .subscribe =
            {
                .filter       = args->filter,
                .filter_count = args->filter_count,
                .from         = args->from,
                .cursor       = args->cursor,
                .cursor_stamp = args->cursor_stamp,
                .since        = args->since,
                .stamp        = args->stamp,
                .ref          = pool_handle(sub),
                .before       = parked ? parked->session : 0,
            },
    };
    struct fact_answer a = server_step(s, &fact);
    if (a.err == ERR_LIMIT && drop_parked(s, parked)) /* its session may be what is missing */
        a = server_step(s, &fact);
    if (a.err != ERR_OK) {
        pool_give(&s->subs, sub);
        return a.err;
    }
    if (parked)
        server_unsubscribe(c, parked);
    sub->conn    = c;
    sub->session = a.id;
    sub->ref     = ref;
    list_init(&sub->stalled);
    list_init(&sub->parked);
    list_init(&sub->in_conn);
    list_push_back(&c->subs, &sub->in_conn);
    c->sub_count++;
    *out = sub;
    return ERR_OK;
}

void
server_unsubscribe(struct conn *c, struct sub *sub)
{
    struct server *s    = c->server;
    struct fact    fact = {.kind = FACT_UNSUBSCRIBE, .unsubscribe = {sub->session}};
    list_remove(&sub->in_conn);
    list_remove(&sub->stalled);
    list_remove(&sub->parked);
    c->sub_count--;
    pool_give(&s->subs, sub);
    server_step(s, &fact);
}

uint64_t
server_park(struct conn *c, struct sub *sub)
{
    struct server *s = c->server;
    list_remove(&sub->stalled);
    list_push_back(&s->parked, &sub->parked);
    sub->until = mono_after(server_now(s), PARK_MS);
    return pool_handle(sub);
}

void
server_unpark(struct server *s)
{
    LIST_EACH(node, &s->parked)
    {
        struct sub *sub = LIST_OF(node, struct sub, parked);
        if (!mono_reached(server_now(s), sub->until))
            break;
        server_unsubscribe(sub->conn, sub);
    }
}

uint64_t
sub_ref(const struct sub *sub)
{
    return sub->ref;
}

bool
sub_is_reading(const struct sub *sub)
{
    return sub->is_reading;
}

bool
server_pull(struct conn *c, struct sub *sub, struct entry *entry)
{
    struct server *s = c->server;
    if (conn_is_closing(c))
        return false;
    if (!conn_has_room(c)) {
        if (sub->stalled.next == &sub->stalled)
            list_push_back(&c->stalled, &sub->stalled);
        broker_stall(s->broker, sub->session);
        /* The coming flush may make room without anything having to wait, of
         * which no event tells. */
        conn_recheck(c);
        loop_again(s->loop);
        return false;
    }
    enum err e      = broker_pull(s->broker, sub->session, entry);
    sub->is_reading = e == ERR_BUSY;
    if (e == ERR_OK) {
        s->counters.deliveries += entry->gap_to == 0;
        s->counters.gaps += entry->gap_to != 0;
        return true;
    }
    if (e == ERR_BUSY) {
        s->dirty = true; /* the next FACT_TURN starts the read */
        loop_touch(s->loop);
    }
    return false;
}

/* What was written to another.  False: nobody stood there, or there is no room. */
static bool
deliver_again(struct conn *c, struct sub *sub, enum face face, uint64_t *note)
{
    struct server *s = c->server;
    if (!conn_has_room(c) || conn_is_closing(c))
        return false;
    const struct run *run = runs_find(&s->runs, s->broker, sub->session, face, conn_room(c));
    if (!run)
        return false;
    conn_write(c, buf_str(&run->bytes));
    broker_move(s->broker, sub->session, &run->to, run->messages);
    s->counters.deliveries += run->messages;
    s->counters.gaps += run->gaps;
    *note = run->note;
    return true;
}

/* A run for those that come after.  False: there is no more, or no room. */
static bool
deliver_run(struct conn *c, struct sub *sub, struct run *run,
            uint64_t (*render)(struct conn *c, const struct entry *e))
{
    struct server *s      = c->server;
    size_t         before = conn_out(c)->n;
    bool           more   = true;
    while (more && conn_out(c)->n - before < RUN_BYTES) {
        struct entry e;
        more = server_pull(c, sub, &e);
        if (!more)
            break;
        run->note = render(c, &e);
        run->gaps += e.gap_to != 0;
        run->messages += e.gap_to == 0;
    }
    struct buf *out = conn_out(c);
    run_end(&s->runs, run, s->broker, sub->session, str_cut(buf_str(out), before, out->n));
    return more;
}

uint64_t
server_deliver(struct conn *c, struct sub *sub, enum face face,
               uint64_t (*render)(struct conn *c, const struct entry *e))
{
    struct server *s     = c->server;
    uint64_t       note  = 0;
    bool           alone = broker_sessions(s->broker) == 1;
    struct entry   e;
    for (;;) {
        struct run *run = NULL;
        if (!alone && deliver_again(c, sub, face, &note))
            continue;
        if (!alone)
            run = run_begin(&s->runs, s->broker, sub->session, face);
        if (run) {
            bool more = deliver_run(c, sub, run, render);
            if (run->note != 0)
                note = run->note;
            if (!more)
                return note;
        } else if (server_pull(c, sub, &e)) {
            note = render(c, &e);
        } else {
            return note;
        }
    }
}

bool
server_cursor(struct conn *c, struct sub *sub, struct vector *cursor, uint64_t *stamp)
{
    return broker_cursor(c->server->broker, sub->session, cursor, stamp);
}

/* ---- wait ---- */

void
server_wait_over(struct server *s, struct wait *w)
{
    s->copies_waiting -= w->copies;
    list_remove(&w->in_conn);
    pool_give(&s->waits, w);
}

enum err
server_await(struct conn *c, const struct await_args *args, uint64_t ref)
{
    struct server *s = c->server;
    struct wait   *w = pool_take(&s->waits);
    if (!w)
        return ERR_LIMIT;
    w->conn   = c;
    w->ref    = ref;
    w->copies = args->kind == AWAIT_COPIES;
    s->copies_waiting += w->copies;
    list_init(&w->in_conn);
    list_push_back(&c->waits, &w->in_conn);
    uint64_t    handle = pool_handle(w);
    struct fact fact   = {
          .kind = FACT_AWAIT,
          .await =
              {
                  .kind     = args->kind,
                  .vector   = args->vector,
                  .mark     = args->mark,
                  .copies   = args->copies,
                  .deadline = args->deadline,
                  .ref      = handle,
            },
    };
    struct fact_answer a = server_step(s, &fact);
    w                    = pool_find(&s->waits, handle); /* gone: it was reached at once */
    if (w && a.err != ERR_OK) {
        server_wait_over(s, w);
    } else if (w) {
        w->await = a.id;
    }
    return a.err;
}

/* ---- the rest ---- */

enum err
server_forget(struct server *s, const struct addr *addr)
{
    struct fact fact = {.kind = FACT_FORGET, .forget = {*addr}};
    return server_step(s, &fact).err;
}

struct mono
server_now(const struct server *s)
{
    return loop_now(s->loop);
}

struct wall
server_wall(const struct server *s)
{
    (void)s;
    return wall_now();
}

struct broker *
server_broker(struct server *s)
{
    return s->broker;
}

struct server_counters
server_counters(const struct server *s)
{
    struct server_counters c  = s->counters;
    struct listener_counts ln = s->listener ? listener_counts(s->listener) : s->listened;
    c.conns_accepted          = ln.accepted;
    c.conns_over_limit        = ln.over_limit;
    c.out_of_files            = ln.out_of_files;
    return c;
}

const struct server_facts *
server_facts(const struct server *s)
{
    return &s->facts;
}

bool
server_is_rebuilding(const struct server *s)
{
    return s->rebuilding;
}

bool
server_is_ready(const struct server *s)
{
    return s->ready && !s->stopping && !s->rebuilding;
}
