/* wire_put.c - struct frame -> payload, one function for each kind of wire.def. */
#include "base/varint.h"
#include "codec/wire_part.h"

#include <string.h>

/* Room for exactly `bytes`, already counted in; NULL after an error. */
static uint8_t *
room(struct wire_out *o, size_t bytes)
{
    uint8_t *at;
    if (o->err != ERR_OK)
        return NULL;
    o->err = buf_room(o->buf, bytes, &at);
    if (o->err != ERR_OK)
        return NULL;
    buf_grew(o->buf, bytes);
    return at;
}

static uint8_t *
save(uint8_t *at, uint64_t v, unsigned bytes)
{
    for (unsigned i = bytes; i > 0; i--, v >>= 8)
        at[i - 1] = (uint8_t)v;
    return at + bytes;
}

static uint8_t *
copy(uint8_t *at, struct str s)
{
    if (s.n > 0)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

static void
put(struct wire_out *o, uint64_t v, unsigned bytes)
{
    uint8_t *at = room(o, bytes);
    if (at)
        save(at, v, bytes);
}

static void
put_bytes(struct wire_out *o, struct str s)
{
    uint8_t *at = room(o, s.n);
    if (at)
        copy(at, s);
}

/* A text with its length in front. */
static void
put_text(struct wire_out *o, struct str s, unsigned length_bytes, size_t max)
{
    if (s.n > max)
        o->err = ERR_INVALID;
    put(o, s.n, length_bytes);
    put_bytes(o, s);
}

static void
put_varint(struct wire_out *o, uint64_t v)
{
    uint8_t *at = room(o, varint_bytes(v));
    if (at)
        varint_put(at, v);
}

static void
put_addr(struct wire_out *o, const struct addr *a)
{
    put(o, a->family, 1);
    if (a->family == 0)
        return;
    put_bytes(o, (struct str){a->ip, a->family == 4 ? 4 : 16});
    put(o, a->port, 2);
}

static void
put_token(struct wire_out *o, const struct token *t)
{
    put(o, t->epoch, 8);
    put_addr(o, &t->addr);
    put(o, t->nonce, 8);
}

static void
put_hash(struct wire_out *o, const struct hash128 *h)
{
    put_bytes(o, (struct str){h->b, sizeof h->b});
}

static void
put_marks(struct wire_out *o, const struct mark *mark, uint32_t count)
{
    if (count > STREAMS_MAX)
        o->err = ERR_INVALID;
    put_varint(o, count);
    for (uint32_t i = 0; i < count && o->err == ERR_OK; i++) {
        put(o, mark[i].stream, 8);
        put_varint(o, mark[i].seq);
    }
}

static size_t
msg_bytes(const struct msg *m)
{
    if (m->flags & MSG_DIGEST_ONLY)
        return 1 + sizeof m->digest.b;
    return 1 + 4 + 2 + m->topic.n + 4 + m->headers.n + m->body.n;
}

/* From the topic's length on these are the very bytes that the digest is made of. */
static void
put_msg(struct wire_out *o, const struct msg *m)
{
    if (m->topic.n > TOPIC_BYTES_MAX || m->headers.n > HEADERS_BYTES_MAX ||
        m->body.n > BODY_BYTES_MAX)
        o->err = ERR_INVALID;
    uint8_t *at = room(o, msg_bytes(m));
    if (!at)
        return;
    *at++ = m->flags;
    if (m->flags & MSG_DIGEST_ONLY) {
        memcpy(at, m->digest.b, sizeof m->digest.b);
        return;
    }
    at = save(at, m->body.n, 4);
    at = copy(save(at, m->topic.n, 2), m->topic);
    at = copy(save(at, m->headers.n, 4), m->headers);
    copy(at, m->body);
}

void
wire_put_hello(struct wire_out *o, const struct frame *f)
{
    const struct frame_hello *h = &f->hello;
    put_bytes(o, WIRE_MAGIC);
    put(o, h->version_min, 1);
    put(o, h->version_max, 1);
    put_text(o, h->cluster, 1, CLUSTER_BYTES_MAX);
    put_addr(o, &h->addr);
    put_text(o, h->host, 1, HOST_BYTES_MAX);
    put(o, h->nonce, 8);
    put(o, h->capabilities, 4);
}

void
wire_put_refuse(struct wire_out *o, const struct frame *f)
{
    put(o, f->refuse.reason, 1);
    put_text(o, f->refuse.text, 2, WIRE_REFUSE_BYTES_MAX);
}

void
wire_put_members(struct wire_out *o, const struct frame *f)
{
    const struct frame_members *m = &f->members;
    if (m->member_count > WIRE_MEMBERS_COUNT_MAX || m->row_count > WIRE_MEMBERS_COUNT_MAX)
        o->err = ERR_INVALID;
    put(o, m->member_count, 1);
    for (uint32_t i = 0; i < m->member_count && o->err == ERR_OK; i++) {
        put_addr(o, &m->member[i].addr);
        put_text(o, m->member[i].host, 1, HOST_BYTES_MAX);
        put(o, m->member[i].version, 8);
        put(o, m->member[i].nonce, 8);
        put(o, m->member[i].flags, 1);
    }
    put(o, m->row_count, 1);
    for (uint32_t i = 0; i < m->row_count && o->err == ERR_OK; i++) {
        put(o, m->row[i].member, 1);
        put(o, m->row[i].able, 1);
        put(o, m->row[i].nonce, 8);
        put(o, m->row[i].count, 8);
        put(o, m->row[i].heard, 4);
    }
}

/* Few have one: each is told by its place in the list. */
static void
put_head_gaps(struct wire_out *o, const struct frame_heads *h, uint32_t count)
{
    if (count == 0)
        return;
    put_varint(o, count);
    for (uint32_t i = 0; i < h->count && o->err == ERR_OK; i++)
        if (h->head[i].gap > 0) {
            put_varint(o, i);
            put_varint(o, h->head[i].gap);
        }
}

void
wire_put_heads(struct wire_out *o, const struct frame *f)
{
    const struct frame_heads *h    = &f->heads;
    uint32_t                  gaps = 0;
    if (h->count > STREAMS_MAX)
        o->err = ERR_INVALID;
    for (uint32_t i = 0; i < h->count; i++)
        gaps += h->head[i].gap > 0;
    put(o, h->flags | (gaps > 0 ? HEADS_GAPS : 0), 1);
    put_token(o, &h->token);
    put_varint(o, h->count);
    for (uint32_t i = 0; i < h->count && o->err == ERR_OK; i++) {
        put(o, h->head[i].stream, 8);
        put_varint(o, h->head[i].head);
        put_varint(o, h->head[i].floor);
    }
    put_head_gaps(o, h, gaps);
}

void
wire_put_push(struct wire_out *o, const struct frame *f)
{
    const struct batch *b = f->push.batch;
    if (b->count == 0 || b->count > BATCH_MESSAGES_MAX)
        o->err = ERR_INVALID;
    put(o, f->push.flags, 1);
    put(o, b->stream, 8);
    put(o, b->first, 8);
    put(o, b->count, 4);
    put_hash(o, &b->prev);
    put_hash(o, &b->chain);
    put(o, b->lamport_first, 8);
    put(o, (uint64_t)b->wall.ms, 8);
    put_text(o, b->origin, 1, WIRE_ORIGIN_BYTES_MAX);
    put_marks(o, b->deps, b->deps_count);
    for (uint32_t i = 0; i < b->count && o->err == ERR_OK; i++)
        put_msg(o, &b->msg[i]);
}

void
wire_put_pull(struct wire_out *o, const struct frame *f)
{
    put_marks(o, f->pull.have.at, f->pull.have.count);
    put(o, f->pull.credit, 8);
}

void
wire_put_credit(struct wire_out *o, const struct frame *f)
{
    put(o, f->credit.bytes, 8);
}

void
wire_put_gap(struct wire_out *o, const struct frame *f)
{
    const struct frame_gap *g = &f->gap;
    put(o, g->stream, 8);
    put(o, g->from, 8);
    put(o, g->to, 8);
    put_hash(o, &g->chain);
    put(o, g->stamp, 8);
    put(o, (uint64_t)g->came.ms, 8);
    put_text(o, g->origin, 1, WIRE_ORIGIN_BYTES_MAX);
    put_marks(o, g->deps, g->deps_count);
}

void
wire_put_latest(struct wire_out *o, const struct frame *f)
{
    const struct frame_latest *l = &f->latest;
    put(o, l->mark.stream, 8);
    put(o, l->mark.seq, 8);
    put(o, l->lamport, 8);
    put(o, (uint64_t)l->wall.ms, 8);
    put_msg(o, &l->msg);
}

void
wire_put_ping(struct wire_out *o, const struct frame *f)
{
    put(o, f->ping.id, 8);
    put(o, f->ping.reply, 1);
    put_token(o, &f->ping.token);
}

void
wire_put_election(struct wire_out *o, const struct frame *f)
{
    put(o, f->election.stamp, 8);
    put_token(o, &f->election.token);
}

void
wire_put_away(struct wire_out *o, const struct frame *f)
{
    (void)o, (void)f;
}

void
wire_put_forget(struct wire_out *o, const struct frame *f)
{
    put_addr(o, &f->forget.addr);
    put(o, f->forget.version, 8);
    put(o, f->forget.nonce, 8);
}

void
wire_put_live(struct wire_out *o, const struct frame *f)
{
    const struct batch *b = f->live.batch;
    if (b->count == 0 || b->count > BATCH_MESSAGES_MAX)
        o->err = ERR_INVALID;
    put(o, b->count, 4);
    put(o, b->lamport_first, 8);
    put(o, (uint64_t)b->wall.ms, 8);
    put_text(o, b->origin, 1, WIRE_ORIGIN_BYTES_MAX);
    for (uint32_t i = 0; i < b->count && o->err == ERR_OK; i++)
        put_msg(o, &b->msg[i]);
}
