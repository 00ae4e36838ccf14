/* front_peer.c - a link between brokers: an HTTP upgrade, then frames (docs/PEER.md).
 *
 *   dialled:   CONNECTING -> ASKED (the request is sent) -> LINKED
 *   accepted:  LINKED at once, by server_become_peer()
 *   BROKEN     bytes that are no frames came: core says why and closes */
#include "server/front.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "codec/http_response.h"
#include "codec/http_write.h"
#include "core/batch.h"
#include "server/server_private.h"

#include <string.h>

enum { DIAL_MS = 5000, PEER_TIMEOUT_MS = 10000 };

#define PEER_PROTOCOL "hearsay-peer/1"

enum peer_state { PEER_CONNECTING, PEER_ASKED, PEER_LINKED, PEER_BROKEN, PEER_STATE_COUNT };

#define TO(s) (1u << PEER_##s)
static const uint8_t allowed[PEER_STATE_COUNT] = {
    [PEER_CONNECTING] = TO(ASKED),
    [PEER_ASKED]      = TO(LINKED),
    [PEER_LINKED]     = TO(BROKEN),
    [PEER_BROKEN]     = 0,
};

struct peer {
    enum peer_state state;
    bool            dialled;
    struct addr     addr; /* dialled: whom */
    uint32_t        link;
    size_t          head_seen;
    struct buf      in; /* bytes of a head or a frame that is not whole */
};

static void
enter(struct peer *p, enum peer_state next)
{
    CHECK(allowed[p->state] & (1u << next));
    p->state = next;
}

static struct peer *
make(void)
{
    struct peer *p = mem_new(sizeof *p);
    buf_init(&p->in, 2 * FRAME_BYTES_MAX);
    return p;
}

/* A slot that is free; LINKS_MAX: none. */
static uint32_t
free_link(const struct server *s)
{
    uint32_t link = 0;
    while (link < LINKS_MAX && s->link[link])
        link++;
    return link;
}

static void
open_link(struct conn *c, uint32_t link)
{
    struct peer   *p    = c->state;
    struct server *s    = c->server;
    struct fact    fact = {.kind = FACT_LINK_OPENED, .link = {link, p->dialled, p->addr}};
    p->link             = link;
    s->link[link]       = c;
    s->counters.links_open++;
    sock_set_peer(c->sock, PEER_TIMEOUT_MS);
    conn_deadline(c, MONO_NEVER);
    server_step(s, &fact);
}

/* ---- what comes ---- */

static void
break_link(struct conn *c, const char *problem)
{
    struct peer    *p    = c->state;
    struct fact     fact = {.kind = FACT_LINK_BROKE, .link = {.link = p->link}};
    struct endpoint from;
    char            text[ENDPOINT_TEXT_BYTES];
    sock_remote(c->sock, &from);
    endpoint_text(&from, text);
    /* Core complains of it, of each address now and then: a stranger must not fill a disk with
     * lines.  What was wrong is for who looks. */
    tracef(TRACE_DEBUG, "link with %s: %s", text, problem ? problem : "malformed frame");
    enter(p, PEER_BROKEN);
    server_step(c->server, &fact);
}

/* Whole frames off the front of `in`; how many bytes they were. */
static size_t
take_frames(struct conn *c, struct str in)
{
    struct server *s    = c->server;
    struct peer   *p    = c->state;
    size_t         done = 0;
    while (done < in.n && p->state == PEER_LINKED && !conn_is_closing(c)) {
        struct frame frame;
        size_t       used = 0;
        enum err     e    = wire_decode(str_cut(in, done, in.n), &s->scratch, &frame, &used);
        if (e == ERR_MORE)
            break;
        if (e != ERR_OK && e != ERR_NOTFOUND) {
            break_link(c, s->scratch.problem);
            break;
        }
        done += used;
        if (e == ERR_NOTFOUND)
            continue;
        struct fact fact = {.kind = FACT_FRAME, .frame = {p->link, &frame}};
        server_step(s, &fact);
    }
    return done;
}

/* The answer to our request.  MORE: not whole yet. */
static enum err
take_answer(struct conn *c)
{
    struct peer         *p = c->state;
    struct http_response r;
    size_t               used;
    const char          *why = "";
    enum err             e = http_response_decode(buf_str(&p->in), &p->head_seen, &r, &used, &why);
    if (e == ERR_MORE)
        return p->in.n > HTTP_HEAD_BYTES_MAX ? ERR_PROTO : ERR_MORE;
    if (e != ERR_OK) {
        tracef(TRACE_DEBUG, "no link: the other side answers no HTTP: %s", why);
        return ERR_PROTO;
    }
    if (r.status != 101 || !str_eq_nocase(r.upgrade, STR(PEER_PROTOCOL))) {
        tracef(TRACE_DEBUG, "no link: the other side answers %d", r.status);
        return ERR_PROTO;
    }
    uint32_t link = free_link(c->server);
    if (link == LINKS_MAX)
        return ERR_LIMIT;
    buf_consume(&p->in, used);
    enter(p, PEER_LINKED);
    open_link(c, link);
    return ERR_OK;
}

/* With nothing kept, frames are taken where they lie; else behind what is kept. */
static enum err
peer_bytes(struct conn *c, struct str bytes)
{
    struct peer *p = c->state;
    c->server->counters.link_bytes_in += bytes.n;
    if (p->state == PEER_BROKEN)
        return ERR_OK;
    if (p->state == PEER_LINKED && p->in.n == 0) {
        size_t used = take_frames(c, bytes);
        bytes       = str_cut(bytes, used, bytes.n);
        if (p->state == PEER_BROKEN)
            return ERR_OK;
        return buf_add(&p->in, bytes);
    }
    enum err e = buf_add(&p->in, bytes);
    if (e == ERR_OK && p->state == PEER_ASKED)
        e = take_answer(c);
    if (e == ERR_MORE)
        return ERR_OK;
    if (e == ERR_OK && p->state == PEER_LINKED)
        buf_consume(&p->in, take_frames(c, buf_str(&p->in)));
    if (p->in.n == 0 && p->in.cap > CONN_ROOM_BYTES)
        buf_clear_free(&p->in);
    return e;
}

static void
peer_end(struct conn *c)
{
    conn_finish(c);
}

static enum err
peer_resume(struct conn *c)
{
    (void)c;
    return ERR_OK;
}

/* A request that upgrades waits for all before it: nothing of the front before is owed. */
static void
peer_answer(struct conn *c, uint64_t ref, const struct outcome *o)
{
    (void)c;
    (void)ref;
    (void)o;
}

static void
peer_awaited(struct conn *c, uint64_t ref, bool reached, uint32_t copies)
{
    (void)c;
    (void)ref;
    (void)reached;
    (void)copies;
}

static void
peer_ready(struct conn *c, struct sub *sub)
{
    server_unsubscribe(c, sub);
}

static void
peer_deadline(struct conn *c)
{
    conn_close(c); /* no 101 in time */
}

static void
peer_closed(struct conn *c)
{
    struct peer   *p    = c->state;
    struct server *s    = c->server;
    struct fact    fact = {.kind = FACT_DIAL_FAILED, .link = {.addr = p->addr}};
    if (p->state == PEER_LINKED || p->state == PEER_BROKEN) {
        fact.kind        = FACT_LINK_CLOSED;
        fact.link.link   = p->link;
        s->link[p->link] = NULL;
        s->counters.links_open--;
    } else {
        s->counters.dials_failed++;
    }
    c->state = NULL;
    buf_fini(&p->in);
    mem_free(p);
    server_step(s, &fact);
}

/* ---- dialling ---- */

static void
peer_open(struct conn *c)
{
    struct peer *p = c->state;
    char         text[ADDR_TEXT_BYTES];
    addr_text(&p->addr, text);
    struct http_header header[] = {
        {STR("Connection"), STR("Upgrade")},
        {STR("Upgrade"), STR(PEER_PROTOCOL)},
    };
    struct http_call call = {
        .method       = STR("GET"),
        .target       = STR("/peer"),
        .host         = str_of(text),
        .header       = header,
        .header_count = sizeof header / sizeof *header,
    };
    CHECK(http_call_write(conn_out(c), &call) == ERR_OK);
    enter(p, PEER_ASKED);
    conn_deadline(c, mono_after(server_now(c->server), DIAL_MS));
}

void
peer_dial(struct server *s, const struct addr *addr)
{
    struct endpoint to = endpoint_of(addr);
    struct conn    *c  = s->stopping ? NULL : conn_dial(s, &to, &front_peer, DIAL_MS);
    s->counters.dials++;
    if (!c) {
        if (s->dial_failed_count < LINKS_MAX)
            s->dial_failed[s->dial_failed_count++] = *addr;
        loop_touch(s->loop);
        return;
    }
    struct peer *p = make();
    p->dialled     = true;
    p->addr        = *addr;
    c->state       = p;
}

void
peer_dials_failed(struct server *s)
{
    while (s->dial_failed_count > 0) {
        struct fact fact = {.kind = FACT_DIAL_FAILED,
                            .link = {.addr = s->dial_failed[--s->dial_failed_count]}};
        s->counters.dials_failed++;
        server_step(s, &fact);
    }
}

enum err
server_become_peer(struct conn *c, struct str rest)
{
    struct server *s    = c->server;
    uint32_t       link = free_link(s);
    if (link == LINKS_MAX)
        return ERR_LIMIT;
    /* `rest` lies in the state of the front that is about to go. */
    struct peer *p = make();
    p->state       = PEER_LINKED;
    if (buf_add(&p->in, rest) != ERR_OK) {
        buf_fini(&p->in);
        mem_free(p);
        return ERR_LIMIT;
    }
    conn_write(c, STR("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                      "Upgrade: " PEER_PROTOCOL "\r\n\r\n"));
    conn_become(c, &front_peer);
    c->state = p;
    open_link(c, link);
    buf_consume(&p->in, take_frames(c, buf_str(&p->in)));
    return ERR_OK;
}

/* ---- what goes ---- */

/* Of a PUSH or a LIVE. */
static struct str
batch_bytes_of(struct server *s, const struct frame *frame)
{
    struct push_cache *cache = &s->cache;
    bool               push  = frame->kind == FRAME_PUSH;
    struct batch      *batch = push ? frame->push.batch : frame->live.batch;
    uint8_t            flags = push ? frame->push.flags : 0;
    if (cache->batch == batch && cache->flags == flags)
        return buf_str(&cache->bytes);
    push_cache_clear(cache);
    if (wire_encode(&cache->bytes, frame) != ERR_OK)
        return (struct str){0};
    cache->batch = batch;
    cache->flags = flags;
    blob_keep(cache->batch);
    return buf_str(&cache->bytes);
}

void
peer_send(struct server *s, uint32_t link, const struct frame *frame)
{
    CHECK(link < LINKS_MAX);
    struct conn *c = s->link[link];
    if (!c || conn_is_closing(c))
        return;
    struct buf *out    = conn_out(c);
    size_t      before = out->n;
    if (frame->kind == FRAME_PUSH || frame->kind == FRAME_LIVE) {
        struct str bytes = batch_bytes_of(s, frame);
        if (bytes.n > 0) {
            s->counters.link_bytes_out += bytes.n;
            sock_write_bulk(c->sock, bytes);
            return;
        }
    } else if (frame->kind == FRAME_GAP || frame->kind == FRAME_LATEST) {
        struct buf bytes;
        buf_init(&bytes, FRAME_BYTES_MAX);
        enum err e = wire_encode(&bytes, frame);
        if (e == ERR_OK) {
            s->counters.link_bytes_out += bytes.n;
            sock_write_bulk(c->sock, buf_str(&bytes));
        }
        buf_fini(&bytes);
        if (e == ERR_OK)
            return;
    } else if (wire_encode(out, frame) == ERR_OK) {
        s->counters.link_bytes_out += out->n - before;
        return;
    }
    tracef(TRACE_ERROR, "link: a %s frame of ours is beyond the protocol's limits",
           wire_name(frame->kind));
    conn_close(c);
}

void
peer_close(struct server *s, uint32_t link)
{
    CHECK(link < LINKS_MAX);
    if (s->link[link])
        conn_finish(s->link[link]);
}

void
peer_bulk_sent(struct conn *c, size_t bytes_waiting)
{
    struct peer *p = c->state;
    if (c->front != &front_peer || p->state < PEER_LINKED)
        return;
    struct fact fact = {.kind = FACT_SENT, .sent = {p->link, bytes_waiting}};
    server_step(c->server, &fact);
}

const struct front front_peer = {
    .name     = "peer",
    .open     = peer_open,
    .bytes    = peer_bytes,
    .end      = peer_end,
    .resume   = peer_resume,
    .answer   = peer_answer,
    .awaited  = peer_awaited,
    .ready    = peer_ready,
    .deadline = peer_deadline,
    .close    = peer_closed,
};
