#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/types_marks.h"
#include "store/store_mem_part.h"

#include <string.h>

enum { STEP_MESSAGES = 1024, MESSAGE_BYTES = 64 };

/* ---- topics ---- */

struct wanted_name {
    const struct store_mem *m;
    struct str              name;
};

static struct mem_topic *
topic_at(const struct store_mem *m, const void *number)
{
    return &m->topic[(uintptr_t)number - 1];
}

static bool
has_name(const void *number, const void *wanted)
{
    const struct wanted_name *w = wanted;
    return str_eq(topic_at(w->m, number)->name, w->name);
}

struct mem_topic *
mem_topic_of(struct store_mem *m, struct str name, struct batch *from)
{
    struct wanted_name w      = {m, name};
    void              *number = map_find(&m->topic_by_name, hash64(name), has_name, &w);
    if (number)
        return topic_at(m, number);
    if (m->topic_count == m->topic_cap) {
        m->topic_cap = m->topic_cap > 0 ? m->topic_cap * 2 : 16;
        m->topic     = mem_resize(m->topic, m->topic_cap * sizeof *m->topic);
    }
    blob_keep(from);
    m->topic[m->topic_count++] = (struct mem_topic){.name = name, .last = from};
    map_add(&m->topic_by_name, hash64(name), (void *)(uintptr_t)m->topic_count);
    return &m->topic[m->topic_count - 1];
}

/* (lamport, stream, seq) is the total order of messages. */
static bool
is_newer(uint64_t lamport, struct mark mark, const struct mem_topic *t)
{
    if (lamport != t->lamport)
        return lamport > t->lamport;
    if (mark.stream != t->newest.stream)
        return mark.stream > t->newest.stream;
    return mark.seq > t->newest.seq;
}

void
mem_topic_count(struct mem_topic *t, uint64_t lamport, struct mark mark)
{
    if (!is_newer(lamport, mark, t))
        return;
    t->lamport = lamport;
    t->newest  = mark;
}

void
mem_keep(struct store_mem *m, struct batch *b)
{
    CHECK(b->count == 1);
    struct mem_topic *t    = mem_topic_of(m, b->msg[0].topic, b);
    struct mark       mark = {b->stream, b->first};
    if (!is_newer(b->lamport_first, mark, t))
        return;
    mem_topic_count(t, b->lamport_first, mark);
    blob_keep(b);
    blob_drop(t->kept);
    t->kept = b;
}

void
mem_topics_fini(struct store_mem *m)
{
    for (uint32_t i = 0; i < m->topic_count; i++) {
        blob_drop(m->topic[i].last);
        blob_drop(m->topic[i].kept);
    }
    mem_free(m->topic);
    map_fini(&m->topic_by_name);
}

void
mem_topics_copy(struct store_mem *to, const struct store_mem *from)
{
    for (uint32_t i = 0; i < from->topic_count; i++) {
        const struct mem_topic *f = &from->topic[i];
        struct mem_topic       *t = mem_topic_of(to, f->name, f->last);
        t->lamport                = f->lamport;
        t->newest                 = f->newest;
        t->kept                   = f->kept;
        if (t->kept)
            blob_keep(t->kept);
    }
}

bool
store_mem_newest(const struct store_mem *m, struct str topic, struct mark *mark, struct str *body)
{
    struct wanted_name w      = {m, topic};
    void              *number = map_find(&m->topic_by_name, hash64(topic), has_name, &w);
    if (!number)
        return false;
    const struct mem_topic *t = topic_at(m, number);
    *mark                     = t->newest;
    if (t->kept && t->kept->stream == mark->stream && t->kept->first == mark->seq) {
        *body = t->kept->msg[0].body;
        return true;
    }
    for (uint32_t i = m->count; i-- > 0;) {
        const struct batch *b = m->at[i].batch;
        if (b->stream != mark->stream || mark->seq < b->first || mark->seq > batch_last(b))
            continue;
        *body = b->msg[mark->seq - b->first].body;
        return true;
    }
    return false;
}

/* ---- what a step takes ---- */

static size_t
bytes_of(const struct batch *b)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < b->count; i++)
        bytes += b->msg[i].body.n + MESSAGE_BYTES;
    return bytes;
}

static bool
is_old(const struct kept_batch *k, const struct retention *policy, struct wall now)
{
    int64_t since = k->batch->wall.ms < k->received.ms ? k->batch->wall.ms : k->received.ms;
    return policy->age_ms > 0 && policy->age_ms < INT64_MAX / 2 && now.ms > 0 &&
           since < now.ms - (int64_t)policy->age_ms;
}

static struct str
copy(uint8_t **at, struct str s)
{
    struct str out = {*at, s.n};
    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return out;
}

/* One message of a batch, as a batch of its own, which outlives its stream. */
static struct batch *
alone(const struct batch *b, uint32_t i, struct str origin)
{
    const struct msg *m      = &b->msg[i];
    size_t            text_n = m->topic.n + m->headers.n + m->body.n + origin.n;
    struct batch     *one    = blob_new(sizeof *one + sizeof *m + text_n);
    struct msg       *msg    = (struct msg *)(void *)(one + 1);
    uint8_t          *text   = (uint8_t *)(msg + 1);

    *msg = (struct msg){.topic   = copy(&text, m->topic),
                        .headers = copy(&text, m->headers),
                        .body    = copy(&text, m->body),
                        .digest  = m->digest};
    *one = (struct batch){.stream        = b->stream,
                          .first         = b->first + i,
                          .count         = 1,
                          .lamport_first = b->lamport_first + i,
                          .wall          = b->wall,
                          .origin        = copy(&text, origin),
                          .msg           = msg};
    return one;
}

static void
keep_newest(struct store_mem *m, const struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        struct mark mark = {b->stream, b->first + i};
        if (b->msg[i].flags & MSG_DIGEST_ONLY)
            continue;
        struct mem_topic *t = mem_topic_of(m, b->msg[i].topic, NULL);
        if (t->newest.stream != mark.stream || t->newest.seq != mark.seq)
            continue;
        blob_drop(t->kept);
        t->kept = alone(b, i, mem_stream_find(m, b->stream)->state.origin);
    }
}

void
mem_floor_jump(struct mem_stream *st, const struct batch *b)
{
    st->state.floor       = batch_last(b);
    st->state.floor_chain = b->chain;
    st->state.floor_stamp = batch_stamp(b);
    blob_drop(st->floor_owed);
    st->floor_owed = batch_is_gap(b) ? marks_list(b->deps, b->deps_count) : NULL;
}

/* What is owed above a floor and lies below another one is gone for everybody. */
static void
settle_owed(const struct store_mem *m, struct mem_stream *st)
{
    struct mark_list *owed = st->floor_owed;
    uint32_t          n    = 0;
    if (!owed)
        return;
    struct mark_list *rest = marks_list(owed->at, owed->count);
    for (uint32_t i = 0; i < owed->count; i++) {
        const struct mem_stream *of = mem_stream_find(m, owed->at[i].stream);
        if (!of || of->state.floor < owed->at[i].seq)
            rest->at[n++] = owed->at[i];
    }
    st->floor_owed = n > 0 ? marks_list(rest->at, n) : NULL;
    blob_drop(rest);
    blob_drop(owed);
}

static uint32_t
take_front(struct store_mem *m, const struct retention *policy, struct wall now, bool *more)
{
    size_t   bytes = 0;
    uint32_t n = 0, messages = 0;
    for (uint32_t i = 0; i < m->count; i++)
        bytes += bytes_of(m->at[i].batch);
    for (; n < m->count; n++) {
        const struct kept_batch *k        = &m->at[n];
        bool                     too_much = policy->bytes > 0 && bytes > policy->bytes;
        if (!too_much && !is_old(k, policy, now))
            break;
        if (n > 0 && messages + batch_lsns(k->batch) > STEP_MESSAGES) {
            *more = true;
            break;
        }
        messages += batch_lsns(k->batch);
        bytes -= bytes_of(k->batch);
        keep_newest(m, k->batch);
        struct mem_stream *st = mem_stream_find(m, k->batch->stream);
        if (batch_last(k->batch) > st->state.floor)
            mem_floor_jump(st, k->batch);
    }
    if (n == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        blob_drop(m->at[i].batch);
    m->count -= n;
    memmove(m->at, m->at + n, m->count * sizeof *m->at);
    return n;
}

/* ---- streams that go ---- */

static bool
is_quiet(const struct mem_stream *st, uint64_t ms, struct wall now)
{
    return now.ms - st->received.ms > (int64_t)ms;
}

static void
retire(struct store_mem *m, const struct retention *policy, struct wall now, uint64_t *retired,
       struct retained *r, uint64_t *forgotten)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->stream_count; i++) {
        struct mem_stream *st      = &m->stream[i];
        bool               expired = st->state.head > 0 && st->state.floor == st->state.head;
        bool               unseen  = st->state.head == 0 && !st->state.frozen;
        if (policy->retire_ms > 0 && (st->state.retired || unseen) &&
            is_quiet(st, (unseen ? 1 : 2) * policy->retire_ms, now)) {
            forgotten[r->forgotten_count++] = st->state.stream;
            blob_drop(st->origin_of);
            blob_drop(st->head_owed);
            blob_drop(st->floor_owed);
            continue;
        }
        if (policy->retire_ms > 0 && expired && !st->state.retired &&
            is_quiet(st, policy->retire_ms, now)) {
            retired[r->retired_count++] = st->state.stream;
            st->state.retired           = true;
        }
        m->stream[n++] = *st;
    }
    m->stream_count = n;
}

/* ---- the step ---- */

enum err
store_mem_retain(struct store_mem *m, const struct retention *policy, struct wall now,
                 struct retained **out)
{
    uint32_t             all       = m->stream_count + 1;
    struct retained     *r         = blob_new(sizeof *r + all * (sizeof(struct stream_floor) + 16));
    struct stream_floor *floor     = (struct stream_floor *)(void *)(r + 1);
    uint64_t            *retired   = (uint64_t *)(void *)(floor + all);
    uint64_t            *forgotten = retired + all;
    uint64_t            *before    = mem_new(all * sizeof *before);
    *r = (struct retained){.floor = floor, .retired = retired, .forgotten = forgotten};
    for (uint32_t i = 0; i < m->stream_count; i++)
        before[i] = m->stream[i].state.floor;
    take_front(m, policy, now, &r->more);
    for (uint32_t i = 0; i < m->stream_count; i++) {
        struct mem_stream *st = &m->stream[i];
        settle_owed(m, st);
        if (st->state.floor == before[i])
            continue;
        floor[r->count++] = (struct stream_floor){.stream = st->state.stream,
                                                  .floor  = st->state.floor,
                                                  .chain  = st->state.floor_chain,
                                                  .stamp  = st->state.floor_stamp,
                                                  .owed   = st->floor_owed};
        if (st->floor_owed)
            blob_keep(st->floor_owed);
    }
    retire(m, policy, now, retired, r, forgotten);
    mem_free(before);
    r->lsn_first = m->count > 0 ? m->at[0].lsn : m->lsn + 1;
    *out         = r;
    return ERR_OK;
}
