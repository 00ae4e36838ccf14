#include "server/server.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "io/clock.h"
#include "io/entropy.h"
#include "io/lockdir.h"
#include "server/server_private.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    ROUNDS_MAX   = 8,  /* of a turn; then sockets get their chance first */
    HASTENED_MAX = 16, /* deliveries that leave before receipts: each takes the time of a send */
    LARGE_BLOCK_BYTES = 128 << 10,
};

#define CONN_OF(node, list_name) LIST_OF(node, struct conn, list_name)

/* ---- steps ---- */

static uint64_t
id_of(const struct fact *fact, const struct effects *fx)
{
    if (fact->kind == FACT_PUBLISH)
        return fx->serial;
    if (fact->kind == FACT_SUBSCRIBE)
        return fx->session;
    return fact->kind == FACT_AWAIT ? fx->await : 0;
}

struct fact_answer
server_step(struct server *s, const struct fact *fact)
{
    CHECK(!s->in_effects);
    if (s->closed) /* the threads are gone: nothing could be carried out */
        return (struct fact_answer){.err = ERR_REFUSED};
    struct effects     fx = broker_step(s->broker, server_now(s), wall_now(), fact);
    struct fact_answer a  = {fx.err, id_of(fact, &fx), fx.live};
    if (fact->kind == FACT_PUBLISH && a.err == ERR_OK)
        askers_add(a.live ? &s->live_askers : &s->askers, a.id, s->asking);
    if (fact->kind != FACT_TURN)
        s->dirty = true;
    loop_touch(s->loop);
    if (fx.count > 0)
        server_carry_out(s, &fx);
    return a;
}

static void
on_broker_deadline(void *ctx)
{
    struct fact fact = {.kind = FACT_TIME};
    server_step(ctx, &fact);
}

/* ---- turns ---- */

/* Move all of `from` behind an own head, so that who comes back waits for the next round. */
static void
take_list(struct list *taken, struct list *from)
{
    list_init(taken);
    while (!list_is_empty(from)) {
        struct list *node = from->next;
        list_remove(node);
        list_push_back(taken, node);
    }
}

static void
resume_again(struct server *s)
{
    struct list taken;
    take_list(&taken, &s->again);
    while (!list_is_empty(&taken)) {
        struct conn *c = CONN_OF(taken.next, again);
        list_remove(&c->again);
        conn_resume_front(c);
    }
}

/* Reading goes on only where the front did not say BUSY once more: what it keeps
 * comes before what the socket holds. */
static void
resume_busy(struct server *s)
{
    if (list_is_empty(&s->busy) || !(s->answered || broker_can_publish(s->broker)))
        return;
    struct list taken;
    s->answered = false;
    take_list(&taken, &s->busy);
    while (!list_is_empty(&taken)) {
        struct conn *c = CONN_OF(taken.next, busy);
        list_remove(&c->busy);
        conn_resume_front(c);
        if (list_is_empty(&c->busy))
            conn_brake(c, BRAKE_BUSY, false);
    }
}

static void
feed_stalled(struct conn *c)
{
    struct list taken;
    take_list(&taken, &c->stalled);
    while (!list_is_empty(&taken)) {
        struct sub *sub = LIST_OF(taken.next, struct sub, stalled);
        list_remove(&sub->stalled);
        c->front->ready(c, sub);
    }
    conn_count_unsent(c);
}

/* Who has no room still is told so by `drained` later: nothing of this turn has left yet, and
 * the socket may take all of it at once. */
static void
recheck_room(struct server *s)
{
    struct list taken;
    take_list(&taken, &s->recheck);
    while (!list_is_empty(&taken)) {
        struct conn *c = CONN_OF(taken.next, recheck);
        list_remove(&c->recheck);
        if (conn_is_closing(c))
            continue;
        if (!conn_has_room(c)) {
            sock_tell_drained(c->sock);
            continue;
        }
        conn_brake(c, BRAKE_OUTPUT, false);
        feed_stalled(c);
    }
}

static void
deliver_to(struct sub *sub)
{
    struct conn *c = sub->conn; /* a poll that is answered ends its sub */
    c->front->ready(c, sub);
    if (conn_is_closing(c))
        return;
    conn_count_unsent(c);
    if (c->server->hastened++ < HASTENED_MAX)
        sock_hasten(c->sock);
}

static void
deliver(struct server *s)
{
    uint64_t session, ref;
    while (broker_ready(s->broker, &session, &ref)) {
        struct sub *sub = pool_find(&s->subs, ref);
        if (sub && sub->session == session && !conn_is_closing(sub->conn) &&
            list_is_empty(&sub->parked))
            deliver_to(sub);
    }
}

static void stop_if_drained(struct server *s);

/* Publishes that are not stored are answered within a turn: who waited for that can go on. */
static bool
is_unfinished(const struct server *s)
{
    return s->dirty || !list_is_empty(&s->again) || (s->answered && !list_is_empty(&s->busy));
}

/* The end of a turn: see core/broker.h. */
static void
on_turn(void *ctx)
{
    struct server *s = ctx;
    recheck_room(s);
    s->hastened = 0;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        peer_dials_failed(s);
        resume_again(s);
        resume_busy(s);
        if (s->dirty) {
            struct fact fact = {.kind = FACT_TURN};
            s->dirty         = false;
            server_step(s, &fact);
        }
        deliver(s);
        server_answer_live(s);
        if (!is_unfinished(s))
            break;
    }
    if (is_unfinished(s))
        loop_again(s->loop);
    push_cache_clear(&s->cache);
    if (s->stopping)
        stop_if_drained(s);
    loop_timer_set(s->loop, &s->deadline, broker_deadline(s->broker));
}

/* ---- the end ---- */

static void
on_stop_late(void *ctx)
{
    struct server *s = ctx;
    tracef(TRACE_WARN, "stopping with answers or bytes unsent");
    loop_stop(s->loop);
}

/* All answers are written when core is drained and no publish waits for copies; then every
 * conn is flushed and closed. */
static void
stop_if_drained(struct server *s)
{
    bool patient = mono_since(server_now(s), s->stop_began) < STOP_PATIENCE_MS;
    if (!broker_is_drained(s->broker) || (s->copies_waiting > 0 && patient) ||
        (server_waits_for_others(s) && patient))
        return;
    server_condemn(s);
    if (s->counters.conns_open == 0)
        loop_stop(s->loop);
    uint32_t at = 0;
    for (struct conn *c; (c = pool_next(&s->conns, &at));)
        conn_finish(c);
}

void
server_stop(struct server *s)
{
    if (s->stopping) { /* asked twice: at once */
        loop_stop(s->loop);
        return;
    }
    struct fact fact = {.kind = FACT_STOP, .stop = {STOP_COPIES_MS}};
    s->stopping      = true;
    s->stop_began    = server_now(s);
    if (s->listener) {
        s->listened = listener_counts(s->listener);
        listener_close(s->listener);
    }
    s->listener = NULL;
    loop_timer_set(s->loop, &s->stop, mono_after(server_now(s), STOP_MS));
    server_step(s, &fact);
}

static void
trace_as(const struct config *c)
{
    trace_set_levels(&c->trace);
    trace_set_format(c->trace_format, wall_now);
}

static struct broker_options
core_options(const struct config *c)
{
    return (struct broker_options){
        .tail_bytes     = c->tail_bytes,
        .causal_wait_ms = c->causal_wait,
        .rule           = c->topics.rule,
        .rule_count     = c->topics.count,
    };
}

static void
take_options(struct server *s)
{
    struct broker_options core = core_options(s->config);
    uint32_t              at   = 0;
    trace_as(s->config);
    server_store_options(s);
    s->facts.cors = str_of(s->config->cors);
    for (struct conn *c; (c = pool_next(&s->conns, &at));)
        if (c->front && c->front->options)
            c->front->options(c);
    server_step(s, &(struct fact){.kind = FACT_OPTIONS, .options = &core});
}

/* What can change while we run does; with any fault in it nothing does. */
static void
read_options(struct server *s)
{
    struct config was;
    struct buf    later, problem;
    buf_init(&later, 0);
    buf_init(&problem, 0);
    if (config_reload(s->config, &was, &later, &problem) != ERR_OK) {
        tracef(TRACE_ERROR, "%.*s; the options stay as they are", STR_ARG(buf_str(&problem)));
    } else {
        take_options(s);
        tracef(TRACE_INFO, "the options were read again");
        if (later.n > 0)
            tracef(TRACE_WARN, "it takes a new start to change %.*s", STR_ARG(buf_str(&later)));
    }
    config_free(&was);
    buf_fini(&later);
    buf_fini(&problem);
}

static void
on_signal(void *ctx, int signum)
{
    struct server *s = ctx;
    if (signum != SIGHUP) {
        server_stop(s);
        return;
    }
    read_options(s);
    struct buf problem;
    buf_init(&problem, 0);
    if (server_load_seeds(s, &problem) == ERR_OK)
        server_resolve_seeds(s);
    else
        tracef(TRACE_ERROR, "%.*s; the peers known so far stay", STR_ARG(buf_str(&problem)));
    buf_fini(&problem);
}

void
server_run(struct server *s)
{
    loop_run(s->loop);
}

/* ---- the beginning ---- */

#define NOT_ONE_HOST                                                                               \
    "that is no address of one machine; to listen at all of them use --bind 0.0.0.0"

/* Who we are in the eyes of all: the first address of --host, once and for all. */
static enum err
find_self(struct server *s, struct buf *problem)
{
    const char     *why;
    struct endpoint e;
    struct str      host  = str_of(s->config->host);
    bool            found = resolve_now(host, s->config->port, &e, &why) == ERR_OK;
    if (found && endpoint_is_one_host(&e)) {
        s->facts.self = addr_of(&e);
        return ERR_OK;
    }
    if (found)
        why = NOT_ONE_HOST;
    buf_sayf(problem,
             "--host '%s' has no address (%s); give a name or an IP address that "
             "the other brokers can reach",
             s->config->host, why);
    return ERR_INVALID;
}

static enum err
take_data_dir(struct server *s, struct buf *problem)
{
    const struct config *c = s->config;
    int n = c->data[0] != '\0' ? snprintf(s->data_dir, sizeof s->data_dir, "%s", c->data)
                               : snprintf(s->data_dir, sizeof s->data_dir, "hearsay-data/%s-%u/",
                                          c->host, c->port);
    if (n < 0 || (size_t)n >= sizeof s->data_dir) {
        buf_sayf(problem, "--data is too long; choose a shorter path");
        return ERR_INVALID;
    }
    return lockdir_take(s->data_dir, &s->lock_fd, problem);
}

static enum err
listen_here(struct server *s, uint64_t files, struct buf *problem)
{
    const struct config *c    = s->config;
    struct endpoint      self = endpoint_of(&s->facts.self);
    uint64_t             room = files > 2 * FILES_RESERVED ? files - FILES_RESERVED : files / 2;
    const char          *why;

    struct listener_config l = {
        .loop      = s->loop,
        .at        = self,
        .all       = c->bind[0] == '\0' && !endpoint_is_local(&self),
        .socks_max = room < CONNS_MAX ? (uint32_t)room : CONNS_MAX,
        .accepted  = conn_on_accepted,
        .ctx       = s,
    };
    if (c->bind[0] != '\0' && resolve_now(str_of(c->bind), c->port, &l.at, &why) != ERR_OK) {
        buf_sayf(problem, "--bind '%s' is no address (%s); give one of this machine", c->bind, why);
        return ERR_INVALID;
    }
    return listener_open(&s->listener, &l, problem);
}

static enum err
recover(struct server *s, struct buf *problem)
{
    const struct recovered *recovered;
    struct store_config     sc = {
            .dir           = s->data_dir,
            .cluster       = s->facts.cluster,
            .reserve_bytes = s->config->disk_reserve,
    };
    enum err e = store_open(&s->store, &sc, &recovered, problem);
    if (e != ERR_OK)
        return e;
    e = store_reader_open(&s->reader, s->store);
    if (e != ERR_OK) {
        buf_sayf(problem, "the log in '%s' cannot be read: %s", s->data_dir, err_text(e));
        return e;
    }
    struct broker_config bc = {
        .cluster   = s->facts.cluster,
        .self      = s->facts.self,
        .host      = s->facts.host,
        .nonce     = entropy_u64(),
        .seed      = entropy_u64(),
        .retire_ms = s->retire_ms,
        .recovered = recovered,
        .options   = core_options(s->config),
    };
    s->broker = broker_new(&bc, server_now(s));
    return ERR_OK;
}

static struct server *
make(struct config *config)
{
    struct server *s = mem_new(sizeof *s);
    s->config        = config;
    s->disk.has_room = true;
    s->lock_fd       = -1;
    s->loop          = loop_new();
    s->facts.cluster = str_of(config->cluster);
    s->facts.host    = str_of(config->host);
    s->facts.cors    = str_of(config->cors);
    s->facts.version = str_of(config->version);
    s->retire_ms     = server_retire_ms(config);
    s->facts.started = server_now(s);
    s->deadline      = (struct loop_timer){.fire = on_broker_deadline, .ctx = s};
    s->tend          = (struct loop_timer){.fire = server_on_tend, .ctx = s};
    s->retain        = (struct loop_timer){.fire = server_on_retain, .ctx = s};
    s->retry         = (struct loop_timer){.fire = server_on_retry, .ctx = s};
    s->stop          = (struct loop_timer){.fire = on_stop_late, .ctx = s};
    server_store_options(s);
    pool_init(&s->conns, sizeof(struct conn), CONNS_MAX + LINKS_MAX);
    pool_init(&s->subs, sizeof(struct sub), SESSIONS_MAX);
    pool_init(&s->waits, sizeof(struct wait), AWAITS_MAX);
    list_init(&s->again);
    list_init(&s->busy);
    list_init(&s->recheck);
    list_init(&s->parked);
    wire_scratch_init(&s->scratch);
    buf_init(&s->cache.bytes, 0);
    runs_init(&s->runs);
    buf_init(&s->live_answers, 0);
    return s;
}

enum err
server_open(struct server **out, struct config *config, struct buf *problem)
{
    /* Three threads share one allocator: more arenas would only hold memory back.  So would
     * batches and pages that are freed, once glibc raises its threshold to their size. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    trace_as(config);
    uint64_t files = loop_raise_file_limit();
    if (files < FILES_MIN) {
        buf_sayf(problem,
                 "this process may have %u files and connections open, and needs %d at the least: "
                 "raise the limit (ulimit -n, LimitNOFILE=); each client takes one",
                 (unsigned)files, FILES_MIN);
        return ERR_LIMIT;
    }
    struct server *s = make(config);
    enum err       e = server_load_seeds(s, problem);
    if (e == ERR_OK)
        e = find_self(s, problem);
    /* The port first: a port in use shall leave no folder, nor be told as a lock. */
    if (e == ERR_OK)
        e = listen_here(s, files, problem);
    if (e == ERR_OK)
        e = take_data_dir(s, problem);
    if (e == ERR_OK)
        e = recover(s, problem);
    if (e != ERR_OK) {
        server_free(s);
        return e;
    }
    struct store_disk seen = *store_disk(s->store); /* from here on it is the store's thread's */
    server_start_workers(s);
    server_looked(s, &seen);
    server_rebuild_begins(s);
    loop_set_turn(s->loop, on_turn, s);
    loop_on_signals(s->loop, on_signal, s);
    server_resolve_seeds(s);
    s->ready = true;
    *out     = s;
    return ERR_OK;
}

enum err
server_check(struct config *config, struct buf *problem)
{
    struct server *s = make(config);
    enum err       e = server_load_seeds(s, problem);
    if (e == ERR_OK)
        e = find_self(s, problem);
    server_free(s);
    return e;
}

void
server_free(struct server *s)
{
    uint32_t at = 0;
    server_stop_workers(s);
    loop_set_turn(s->loop, NULL, NULL);
    if (s->listener)
        listener_close(s->listener);
    if (s->broker) {
        for (struct conn *c; (c = pool_next(&s->conns, &at));)
            conn_close(c);
    }
    loop_free(s->loop);
    push_cache_clear(&s->cache);
    buf_fini(&s->cache.bytes);
    runs_clear(&s->runs);
    if (s->broker)
        broker_free(s->broker);
    if (s->reader)
        store_reader_close(s->reader);
    if (s->store)
        store_close(s->store);
    if (s->lock_fd >= 0)
        lockdir_release(s->lock_fd);
    wire_scratch_fini(&s->scratch);
    pool_fini(&s->conns);
    pool_fini(&s->subs);
    pool_fini(&s->waits);
    mem_free(s->askers.at);
    mem_free(s->live_askers.at);
    buf_fini(&s->live_answers);
    mem_free(s);
}

/* ---- display ---- */

void
server_listening(const struct server *s, struct endpoint *e)
{
    listener_at(s->listener, e);
}

const char *
server_data_dir(const struct server *s)
{
    return s->data_dir;
}
