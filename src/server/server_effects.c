/* server_effects.c - carries out what core wants, in order.
 *
 * What an effect points to is borrowed until the next step, so nothing in here may
 * step: fronts only write, and what fails at once is told to core in the next turn. */
#include "server/server_private.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"

#include <string.h>

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

/* A front has at most so many publishes without an answer as it allows itself. */
static void
keep(struct kept_answers *k, struct kept_answer it)
{
    if (k->count == k->cap) {
        uint32_t            cap = k->cap > 0 ? 2 * k->cap : 16;
        struct kept_answer *at  = mem_new(cap * sizeof *at);
        for (uint32_t i = 0; i < k->count; i++)
            at[i] = k->at[(k->first + i) & (k->cap - 1)];
        mem_free(k->at);
        *k = (struct kept_answers){at, cap, 0, k->count};
    }
    k->at[(k->first + k->count++) & (k->cap - 1)] = it;
}

/* Those that stood behind a publish that is answered now. */
static void
answer_kept(struct conn *c, uint64_t serial)
{
    struct kept_answers *k = &c->kept;
    while (k->count > 0 && k->at[k->first].serial <= serial && !conn_is_closing(c)) {
        struct kept_answer it = k->at[k->first];
        k->first              = (k->first + 1) & (k->cap - 1);
        k->count--;
        c->front->answer(c, it.ref, &it.outcome);
    }
}

/* Answers leave a conn in the order of its publishes, and those that are stored wait for the
 * disk. */
static void
answer_one(struct server *s, struct asker who, uint64_t serial, const struct outcome *o)
{
    struct conn *c = pool_find(&s->conns, who.conn);
    if (!c || conn_is_closing(c))
        return;
    if (o->live && who.behind >= s->askers.first && s->askers.first < s->askers.next) {
        keep(&c->kept, (struct kept_answer){who.ref, who.behind, *o});
        return;
    }
    c->front->answer(c, who.ref, o);
    if (!o->live)
        answer_kept(c, serial);
}

static void
answer(struct server *s, const struct effect *e)
{
    struct askers *a = e->answer.live ? &s->live_askers : &s->askers;
    struct outcome o = {.err = e->answer.err, .mark = e->answer.mark, .live = e->answer.live};
    uint64_t       n = e->answer.count;
    CHECK(e->answer.serial == a->first && n <= a->next - a->first);
    o.lamport = e->answer.lamport;
    for (uint64_t i = 0; i < n; i++) {
        struct asker who = a->at[a->first++ & (a->cap - 1)];
        answer_one(s, who, e->answer.serial + i, &o);
        o.mark.seq++;
        o.lamport++;
    }
    s->answered = true;
}

/* What is delivered leaves first: bytes leave in the order in which conns were written to. */
static void
answer_later(struct server *s, const struct effect *e)
{
    struct str bytes = {(const uint8_t *)e, sizeof *e};
    CHECK(buf_add(&s->live_answers, bytes) == ERR_OK);
}

void
server_answer_live(struct server *s)
{
    struct effect e;
    for (; s->live_answers.n > 0; buf_consume(&s->live_answers, sizeof e)) {
        memcpy(&e, buf_str(&s->live_answers).p, sizeof e);
        answer(s, &e);
    }
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
        if (e->answer.live)
            answer_later(s, e);
        else
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
