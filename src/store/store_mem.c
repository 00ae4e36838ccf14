#include "store/store_mem.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/types_marks.h"
#include "store/store_mem_part.h"

#include <string.h>

/* ---- life ---- */

struct store_mem *
store_mem_new(void)
{
    return mem_new(sizeof(struct store_mem));
}

static void
drop_stream(struct mem_stream *st)
{
    blob_drop(st->origin_of);
    blob_drop(st->head_owed);
    blob_drop(st->floor_owed);
}

void
store_mem_wipe(struct store_mem *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        blob_drop(m->at[i].batch);
    for (uint32_t i = 0; i < m->stream_count; i++)
        drop_stream(&m->stream[i]);
    mem_topics_fini(m);
    blob_drop(m->members);
    mem_free(m->at);
    mem_free(m->stream);
    mem_free((void *)(uintptr_t)m->recovered.stream);
    *m = (struct store_mem){0};
}

void
store_mem_free(struct store_mem *m)
{
    if (m)
        store_mem_wipe(m);
    mem_free(m);
}

static void *
duplicate(const void *p, size_t bytes)
{
    void *to = mem_new(bytes > 0 ? bytes : 1);
    if (bytes > 0)
        memcpy(to, p, bytes);
    return to;
}

static void
keep(void *blob)
{
    if (blob)
        blob_keep(blob);
}

struct store_mem *
store_mem_copy(const struct store_mem *m)
{
    struct store_mem *c = store_mem_new();
    c->at               = duplicate(m->at, m->count * sizeof *m->at);
    c->count = c->cap = m->count;
    c->stream         = duplicate(m->stream, m->stream_count * sizeof *m->stream);
    c->stream_count = c->stream_cap = m->stream_count;
    c->members                      = m->members;
    c->token                        = m->token;
    c->epoch                        = m->epoch;
    c->lsn                          = m->lsn;
    for (uint32_t i = 0; i < c->count; i++)
        blob_keep(c->at[i].batch);
    for (uint32_t i = 0; i < c->stream_count; i++) {
        keep(c->stream[i].origin_of);
        keep(c->stream[i].head_owed);
        keep(c->stream[i].floor_owed);
    }
    keep(c->members);
    mem_topics_copy(c, m);
    return c;
}

/* ---- streams ---- */

/* Where it is, or would be. */
static uint32_t
place_of(const struct store_mem *m, uint64_t stream)
{
    uint32_t low = 0, high = m->stream_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (m->stream[mid].state.stream < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct mem_stream *
mem_stream_find(const struct store_mem *m, uint64_t stream)
{
    uint32_t i = place_of(m, stream);
    return i < m->stream_count && m->stream[i].state.stream == stream ? &m->stream[i] : NULL;
}

const struct stream_state *
store_mem_state(const struct store_mem *m, uint64_t stream)
{
    const struct mem_stream *st = mem_stream_find(m, stream);
    return st ? &st->state : NULL;
}

/* Made on demand. */
static struct mem_stream *
stream_of(struct store_mem *m, uint64_t stream)
{
    struct mem_stream *st = mem_stream_find(m, stream);
    if (st)
        return st;
    if (m->stream_count == m->stream_cap) {
        m->stream_cap = m->stream_cap > 0 ? m->stream_cap * 2 : 16;
        m->stream     = mem_resize(m->stream, m->stream_cap * sizeof *m->stream);
    }
    uint32_t i = place_of(m, stream);
    memmove(&m->stream[i + 1], &m->stream[i], (m->stream_count - i) * sizeof *m->stream);
    m->stream[i] = (struct mem_stream){.state = {.stream = stream}};
    m->stream_count++;
    return &m->stream[i];
}

static uint64_t
highest_gap(const struct store_mem *m, uint64_t stream)
{
    for (uint32_t i = m->count; i-- > 0;)
        if (m->at[i].batch->stream == stream && batch_is_gap(m->at[i].batch))
            return batch_last(m->at[i].batch);
    return 0;
}

const struct recovered *
store_mem_recover(struct store_mem *m)
{
    struct recovered *r = &m->recovered;
    mem_free((void *)(uintptr_t)r->stream);
    struct stream_state *state = mem_new((m->stream_count + 1) * sizeof *state);
    *r                         = (struct recovered){
                                .stream       = state,
                                .stream_count = m->stream_count,
                                .member       = m->members ? m->members->at : NULL,
                                .member_count = m->members ? m->members->count : 0,
                                .token        = m->token,
                                .epoch        = m->epoch,
                                .lsn          = m->lsn,
                                .lsn_first    = m->count > 0 ? m->at[0].lsn : m->lsn + 1,
    };
    for (uint32_t i = 0; i < m->stream_count; i++) {
        const struct mem_stream *st = &m->stream[i];
        state[i]                    = st->state;
        state[i].gap                = highest_gap(m, st->state.stream);
        state[i].came               = st->received;
        state[i].floor_owed         = st->floor_owed;
        state[i].owed = st->state.floor == st->state.head ? st->floor_owed : st->head_owed;
        if (state[i].stamp > r->stamp)
            r->stamp = state[i].stamp;
    }
    m->is_refusing = false;
    return r;
}

/* ---- commits ---- */

static void
count_topics(struct store_mem *m, struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (!(b->msg[i].flags & MSG_DIGEST_ONLY))
            mem_topic_count(mem_topic_of(m, b->msg[i].topic, b), b->lamport_first + i,
                            (struct mark){b->stream, b->first + i});
}

static void
append(struct store_mem *m, struct batch *b, bool late, struct wall received)
{
    struct mem_stream *st = stream_of(m, b->stream);
    if (m->count == m->cap) {
        m->cap = m->cap > 0 ? m->cap * 2 : 64;
        m->at  = mem_resize(m->at, m->cap * sizeof *m->at);
    }
    blob_keep(b);
    m->at[m->count++] = (struct kept_batch){b, m->lsn + 1, received, late};
    m->lsn += batch_lsns(b);
    if (b->origin.n > 0) {
        blob_keep(b);
        blob_drop(st->origin_of);
        st->origin_of    = b;
        st->state.origin = b->origin;
    }
    if (batch_is_gap(b) && st->state.floor == st->state.head)
        mem_floor_jump(st, b);
    blob_drop(st->head_owed);
    st->head_owed     = batch_is_gap(b) ? marks_list(b->deps, b->deps_count) : NULL;
    st->state.head    = batch_last(b);
    st->state.chain   = b->chain;
    st->state.stamp   = batch_stamp(b);
    st->state.retired = false;
    st->received      = batch_is_gap(b) && b->wall.ms < received.ms ? b->wall : received;
    count_topics(m, b);
}

uint32_t
mem_digests(const struct batch *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->count; i++)
        n += b->msg[i].flags & MSG_DIGEST_ONLY;
    return n;
}

/* The same digests, so the same chain: only what was lost of messages comes back. */
static void
repair(struct store_mem *m, struct batch *b)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct batch *old = m->at[i].batch;
        if (old->stream != b->stream || old->first != b->first ||
            !hash128_eq(old->chain, b->chain) || mem_digests(old) <= mem_digests(b))
            continue;
        blob_keep(b);
        m->at[i].batch = b;
        count_topics(m, b); /* of what came back */
        blob_drop(old);
    }
}

static void
apply(struct store_mem *m, const struct commit *c, struct wall received)
{
    struct mem_stream *st;
    switch (c->kind) {
    case COMMIT_BATCH:
        append(m, c->batch, c->late, received);
        return;
    case COMMIT_GAPS:
        for (uint32_t i = 0; i < c->gaps->count; i++)
            append(m, c->gaps->at[i], false, received);
        return;
    case COMMIT_ELECTION:
        m->token = c->token;
        m->epoch = c->epoch;
        return;
    case COMMIT_MEMBERS:
        blob_keep(c->members);
        /* What was recovered points into it. */
        m->recovered.member       = NULL;
        m->recovered.member_count = 0;
        blob_drop(m->members);
        m->members = c->members;
        return;
    case COMMIT_FROZEN:
        stream_of(m, c->stream)->state.frozen = true;
        return;
    case COMMIT_WAIVED:
        st = stream_of(m, c->mark.stream);
        if (c->mark.seq > st->state.waived)
            st->state.waived = c->mark.seq;
        if (st->state.head == 0)
            st->received = received;
        return;
    case COMMIT_LATEST:
        mem_keep(m, c->batch);
        return;
    case COMMIT_REPAIR:
        repair(m, c->batch);
        return;
    case COMMIT_PROBE:
    case COMMIT_KNOWN: /* for a view that nobody looks at here */
        return;
    }
}

static enum err
next_outcome(struct store_mem *m)
{
    if (m->fail_count == 0)
        return ERR_OK;
    if (m->fail_in > 1) {
        m->fail_in--;
        return ERR_OK;
    }
    if (m->fail_count != UINT32_MAX)
        m->fail_count--;
    return m->fail_err;
}

static void
transact(struct store_mem *m, const struct commit *commit, uint32_t count, struct wall received,
         struct commit_result *result)
{
    enum err e     = next_outcome(m);
    m->is_refusing = e != ERR_OK;
    for (uint32_t i = 0; i < count; i++) {
        result[i] = (struct commit_result){e, m->lsn + 1};
        if (e == ERR_OK)
            apply(m, &commit[i], received);
    }
}

void
store_mem_commit(struct store_mem *m, const struct commit *commit, uint32_t count,
                 struct wall received, struct commit_result *result)
{
    uint32_t i = 0;
    for (; i < count && m->is_refusing; i++) {
        result[i] = (struct commit_result){.err = ERR_FULL};
        if (commit[i].kind == COMMIT_PROBE)
            transact(m, &commit[i], 1, received, &result[i]);
    }
    if (i < count)
        transact(m, commit + i, count - i, received, result + i);
}

void
store_mem_fail(struct store_mem *m, uint32_t k, uint32_t count, enum err e)
{
    m->fail_in    = k;
    m->fail_count = count;
    m->fail_err   = e;
}
