/* sim_past.c - what ever was on a disk, and what each subscriber was given of it.
 *
 * Retention takes batches from all disks, so the invariants that speak of a message's
 * past (S1, S10, S12) are checked against all that ever was. */
#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/journal.h"
#include "core/vector.h"
#include "sim/sim_part.h"

#include <string.h>

/* ---- all batches that ever were ---- */

static uint32_t
place(const struct sim *s, uint64_t id)
{
    uint32_t low = 0, high = s->stream_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->stream[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct sim_stream *
find(const struct sim *s, uint64_t id)
{
    uint32_t i = place(s, id);
    return i < s->stream_count && s->stream[i].id == id ? &s->stream[i] : NULL;
}

const struct sim_stream *
past_stream(const struct sim *s, uint64_t id)
{
    return find(s, id);
}

static struct sim_stream *
make(struct sim *s, uint64_t id)
{
    struct sim_stream *st = find(s, id);
    if (st)
        return st;
    if (s->stream_count == s->stream_cap) {
        s->stream_cap = s->stream_cap > 0 ? s->stream_cap * 2 : 16;
        s->stream     = mem_resize(s->stream, s->stream_cap * sizeof *s->stream);
    }
    uint32_t i = place(s, id);
    memmove(&s->stream[i + 1], &s->stream[i], (s->stream_count - i) * sizeof *s->stream);
    s->stream[i] = (struct sim_stream){.id = id};
    s->stream_count++;
    return &s->stream[i];
}

/* The first batch that ends at or behind `seq`, by its number. */
static uint32_t
batch_behind(const struct sim_stream *st, uint64_t seq)
{
    uint32_t low = 0, high = st->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (batch_last(st->batch[mid]) < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void
past_batch(struct sim *s, uint32_t i, struct batch *b)
{
    struct sim_stream *st = make(s, b->stream);
    uint32_t           at = batch_behind(st, batch_last(b));
    if (at < st->count) {
        const struct batch *same = st->batch[at];
        sim_must(s, batch_last(same) == batch_last(b) && hash128_eq(same->chain, b->chain),
                 "S1: other bytes for the same seq", i);
        return;
    }
    sim_must(s, !batch_is_gap(b), "S1: a gap for what never was on a disk", i);
    if (st->count == st->cap) {
        st->cap   = st->cap > 0 ? st->cap * 2 : 16;
        st->batch = mem_resize(st->batch, st->cap * sizeof(struct batch *));
    }
    blob_keep(b);
    st->batch[st->count++] = b;
}

void
past_fini(struct sim *s)
{
    for (uint32_t i = 0; i < s->stream_count; i++) {
        for (uint32_t k = 0; k < s->stream[i].count; k++)
            blob_drop(s->stream[i].batch[k]);
        mem_free(s->stream[i].batch);
    }
    mem_free(s->stream);
}

/* ---- what a subscriber is given ---- */

static bool
wants_all(const struct sim_sub *sub)
{
    return strcmp(sub->filter, "#") == 0;
}

static void
raise(struct vector *v, struct mark m)
{
    enum err e = vector_raise(v, m);
    CHECK(e == ERR_OK);
}

/* What its causes are must have been given before; who is not told of everything cannot
 * be asked for more than that nothing comes after its effect. */
static void
check_causes(struct sim *s, struct sim_sub *sub, const struct batch *b)
{
    const struct journal *j = broker_journal(s->node[sub->node].broker);
    for (uint32_t d = 0; d < b->deps_count; d++) {
        if (wants_all(sub) && !journal_retired(j, b->deps[d].stream))
            sim_must(s, vector_has(&sub->told, b->deps[d]), "S10: a cause was not given before",
                     sub->node);
        raise(&sub->past, b->deps[d]);
    }
}

void
past_deliver(struct sim *s, struct sim_sub *sub, const struct entry *e)
{
    struct mark m    = e->mark;
    uint64_t    last = e->gap_to > 0 ? e->gap_to : m.seq;
    uint64_t    told = vector_seq(&sub->told, m.stream);
    sim_must(s, m.seq > told, "S11: given again", sub->node);
    sim_must(s, last >= m.seq, "S12: a gap that ends before it begins", sub->node);
    if (wants_all(sub))
        sim_must(s, m.seq == told + 1, "S12: something was passed over in silence", sub->node);
    if (!e->late)
        sim_must(s, !vector_has(&sub->past, m), "S10: it came after its effect", sub->node);
    if (e->gap_to == 0 && !e->late) {
        const struct sim_stream *st = find(s, m.stream);
        const struct batch      *b  = st ? st->batch[batch_behind(st, m.seq)] : NULL;
        CHECK(b);
        check_causes(s, sub, b);
    }
    raise(&sub->told, (struct mark){m.stream, last});
    raise(&sub->past, (struct mark){m.stream, last});
}
