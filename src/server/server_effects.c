/* server_effects.c - carries out what core wants, in order.
 *
 * What an effect points to is borrowed until the next step, so nothing in here may
 * step: fronts only write, and what fails at once is told to core in the next turn. */
#include "server/server_private.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"

/* ---- who asked for a publish ---- */

void
askers_add(struct askers *a, uint64_t serial, struct asker who)
{
    if (a->first == a->next)
        a->first = a->next = serial;
    CHECK(serial == a->next);
    if (a->next - a->first == a->cap) {
        uint32_t      cap = a->cap > 0 ? 2 * a->cap : 1024;
        struct asker *at  = mem_new(cap * sizeof *at);
        for (uint64_t i = a->first; i < a->next; i++)
            at[i & (cap - 1)] = a->at[i & (a->cap - 1)];
        mem_free(a->at);
        a->at  = at;
        a->cap = cap;
    }
    a->at[a->next++ & (a->cap - 1)] = who;
}

static void
answer(struct server *s, const struct effect *e)
{
    struct askers *a = &s->askers;
    struct outcome o = {.err = e->answer.err, .mark = e->answer.mark};
    uint64_t       n = e->answer.count;
    CHECK(e->answer.serial == a->first && n <= a->next - a->first);
    o.lamport = e->answer.lamport;
    for (uint64_t i = 0; i < n; i++) {
        struct asker who = a->at[a->first++ & (a->cap - 1)];
        struct conn *c   = pool_find(&s->conns, who.conn);
        if (c && !conn_is_closing(c))
            c->front->answer(c, who.ref, &o);
        o.mark.seq++;
        o.lamport++;
    }
    s->answered = true;
}

static void
awaited(struct server *s, const struct effect *e)
{
    struct wait *w = pool_find(&s->waits, e->awaited.ref);
    if (!w)
        return;
    struct conn *c   = w->conn;
    uint64_t     ref = w->ref;
    server_wait_over(s, w);
    if (!conn_is_closing(c))
        c->front->awaited(c, ref, e->awaited.reached, e->awaited.copies);
}

void
push_cache_clear(struct push_cache *c)
{
    blob_drop(c->batch);
    c->batch = NULL;
    buf_reset(&c->bytes);
    if (c->bytes.cap > FRAME_BYTES_MAX)
        buf_clear_free(&c->bytes);
}

static void
carry_out(struct server *s, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_DIAL:
        peer_dial(s, &e->dial.addr);
        return;
    case EFFECT_SEND:
        peer_send(s, e->send.link, &e->send.frame);
        return;
    case EFFECT_CLOSE:
        peer_close(s, e->close.link);
        return;
    case EFFECT_PERSIST:
        server_persist(s, &e->persist);
        return;
    case EFFECT_READ:
        server_read(s, e->read.reader, &e->read.read);
        return;
    case EFFECT_ANSWER:
        answer(s, e);
        return;
    case EFFECT_AWAITED:
        awaited(s, e);
        return;
    }
    CHECK(!"server: an effect of no kind");
}

void
server_carry_out(struct server *s, const struct effects *fx)
{
    s->in_effects = true;
    for (uint32_t i = 0; i < fx->count; i++)
        carry_out(s, &fx->at[i]);
    s->in_effects = false;
}
