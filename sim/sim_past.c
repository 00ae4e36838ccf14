/* sim_past.c - what ever was on a disk, what each disk holds of it, and what each subscriber
 * was given.
 *
 * Retention takes batches from all disks, so the invariants that speak of a message's past
 * (S1, S9, S10, S12) are checked against all that ever was, at the moment it is stored or
 * given: at the end nothing of it may be left anywhere. */
#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/filter.h"
#include "core/journal.h"
#include "core/vector.h"
#include "sim/oracle_part.h"

#include <string.h>

static void
raise(struct vector *v, struct mark m)
{
    enum err e = vector_raise(v, m);
    CHECK(e == ERR_OK);
}

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
        if (batch_last(st->batch[mid].batch) < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct sim_batch *
past_find(const struct sim *s, struct mark m)
{
    const struct sim_stream *st = find(s, m.stream);
    uint32_t                 at = st ? batch_behind(st, m.seq) : 0;
    return st && at < st->count ? &st->batch[at] : NULL;
}

struct sim_held *
past_held(struct sim *s, uint64_t stream, uint32_t i)
{
    struct sim_stream *st = find(s, stream);
    return st ? &st->at[i] : NULL;
}

const struct batch *
past_last(const struct sim *s, uint64_t stream, uint64_t seq)
{
    const struct sim_batch *it = past_find(s, (struct mark){stream, seq});
    return it && batch_last(it->batch) == seq ? it->batch : NULL;
}

void
past_number(struct sim *s, struct mark m, uint64_t number)
{
    struct sim_stream *st                     = find(s, m.stream);
    st->batch[batch_behind(st, m.seq)].number = number;
}

bool
past_is_excused(const struct sim *s, struct mark m)
{
    const struct sim_stream *st = find(s, m.stream);
    return st && (st->retired || st->waived >= m.seq);
}

/* S8: bodies tell publishes apart; of those alike any one will do. */
static void
check_published(struct sim *s, uint32_t i, struct str body)
{
    for (uint32_t k = s->publish_count; k-- > 0;) {
        struct sim_publish *p    = &s->publish[k];
        size_t              n    = body.n < sizeof p->body - 1 ? body.n : sizeof p->body - 1;
        struct str          head = {body.p, n};
        if (p->stored || !str_eq(str_of(p->body), head))
            continue;
        p->stored = true;
        sim_must(s, !p->live, "S8: stored, and its topic is not", i);
        bool refused =
            p->outcome != SIM_PENDING && p->outcome != ERR_OK && p->outcome != ERR_UNKNOWN;
        sim_must(s, !refused, "S8: stored, and it was refused", i);
        return;
    }
    sim_must(s, false, "S8: stored, and nobody published it, or only once", i);
}

/* Events of brokers and messages alone: no run has so many. */
enum { TICKS_MAX = 1 << 24 };

/* S14: stamps rise along deps; and no client moves them on at will. */
static void
check_stamps(struct sim *s, uint32_t i, const struct batch *b)
{
    uint64_t highest = TICKS_MAX + s->stamped * STAMP_AHEAD_MAX;
    sim_must(s, batch_stamp(b) <= highest, "S14: a client moved the clock too far", i);
    for (uint32_t d = 0; d < b->deps_count; d++) {
        const struct sim_batch *dep = past_find(s, b->deps[d]);
        sim_must(s, dep && batch_last(dep->batch) == b->deps[d].seq,
                 "S9: it depends on what never was on a disk", i);
        sim_must(s, batch_stamp(dep->batch) < b->lamport_first,
                 "S14: its stamp is not above what it depends on", i);
    }
}

static void
add_batch(struct sim *s, uint32_t i, struct sim_stream *st, struct batch *b)
{
    sim_must(s, !batch_is_gap(b), "S1: a gap for what never was on a disk", i);
    uint64_t last = st->count > 0 ? batch_last(st->batch[st->count - 1].batch) : 0;
    sim_must(s, b->first == last + 1, "S2: what lies before it never was on a disk", i);
    if (st->count == st->cap) {
        st->cap   = st->cap > 0 ? st->cap * 2 : 16;
        st->batch = mem_resize(st->batch, st->cap * sizeof *st->batch);
    }
    struct sim_batch *fresh = &st->batch[st->count++];
    *fresh                  = (struct sim_batch){.batch = b};
    blob_keep(b);
    vector_init(&fresh->past);
    enum err e = st->count > 1 ? vector_copy(&fresh->past, &fresh[-1].past) : ERR_OK;
    CHECK(e == ERR_OK);
    for (uint32_t d = 0; d < b->deps_count; d++)
        raise(&fresh->past, b->deps[d]);
    for (uint32_t k = 0; k < b->count; k++)
        if (!(b->msg[k].flags & MSG_DIGEST_ONLY))
            check_published(s, i, b->msg[k].body);
    check_stamps(s, i, b);
}

/* S1: nobody ever sees other bytes for its seqs. */
static struct sim_batch *
know(struct sim *s, uint32_t i, struct sim_stream *st, struct batch *b)
{
    uint32_t at = batch_behind(st, batch_last(b));
    if (at == st->count)
        add_batch(s, i, st, b);
    const struct batch *same = st->batch[at].batch;
    sim_must(s, batch_last(same) == batch_last(b) && hash128_eq(same->chain, b->chain),
             "S1: other bytes for the same seq", i);
    sim_must(s, batch_is_gap(b) || same->first == b->first, "S1: cut otherwise", i);
    return &st->batch[at];
}

/* S7: who appends to a stream is one process. */
static void
check_owner(struct sim *s, uint32_t i, struct sim_stream *st)
{
    const struct stream *js = journal_find(broker_journal(s->node[i].broker), st->id);
    uint64_t             me = s->node[i].life << 8 | (i + 1);
    if (!js || !js->live)
        return;
    sim_must(s, st->owner == 0 || st->owner == me, "S7: two lifetimes append to a stream", i);
    st->owner = me;
}

/* S9.  What its own deps name must be here, or it is `late`.  What its past names besides, by
 * batches that are gone here, may have been waived where it was stored. */
static void
check_past(struct sim *s, uint32_t i, const struct sim_batch *it, const struct commit *c)
{
    for (uint32_t d = 0; d < it->past.count; d++) {
        struct mark              m    = it->past.at[d];
        const struct sim_stream *of   = find(s, m.stream);
        bool                     held = of && of->at[i].head >= m.seq;
        sim_must_where(s, held, held || past_is_excused(s, m), "S9: its past is not held", i);
    }
    bool lacks = past_stream(s, c->batch->stream)->at[i].gap; /* then that may owe something */
    for (uint32_t d = 0; d < c->batch->deps_count; d++) {
        struct mark                m     = c->batch->deps[d];
        const struct sim_stream   *of    = find(s, m.stream);
        const struct stream_state *state = store_mem_state(s->node[i].disk, m.stream);
        lacks |= of->at[i].head < m.seq || of->retired;
        if (of->at[i].head >= m.seq || of->retired)
            continue;
        sim_must(s, c->late, "S9: late, and not flagged so", i);
        sim_must(s, state && (state->frozen || state->waived >= m.seq), "S9: late without a waiver",
                 i);
    }
    sim_must_where(s, c->late, lacks || !c->late,
                   "S9: flagged late, and all that it depends on is here", i);
}

/* S2, S14: it goes on where the disk's stream ends. */
static void
append(struct sim *s, uint32_t i, struct sim_stream *st, const struct batch *b)
{
    struct sim_held *held = &st->at[i];
    sim_must(s, !held->retired, "S7: of a stream that is retired", i);
    sim_must(s, b->first > held->head, "S2: stored twice", i);
    sim_must(s, b->first == held->head + 1, "S2: a hole in a stream", i);
    sim_must(s, batch_is_gap(b) || hash128_eq(b->prev, held->chain), "S2: the chain is broken", i);
    sim_must(s, b->lamport_first > held->stamp, "S14: stamps do not rise", i);
    if (batch_is_gap(b) && held->floor == held->head)
        held->floor = batch_last(b);
    for (uint32_t k = batch_behind(st, b->first); k < st->count; k++)
        if (batch_last(st->batch[k].batch) <= batch_last(b))
            st->batch[k].held_ms[i] = s->now_ms;
    held->head  = batch_last(b);
    held->chain = b->chain;
    held->stamp = batch_stamp(b);
    held->gap |= batch_is_gap(b);
}

static void
stored(struct sim *s, uint32_t i, struct batch *b, const struct commit *c)
{
    struct sim_stream *st = make(s, b->stream);
    struct sim_batch  *it = know(s, i, st, b);
    if (!batch_is_gap(b)) {
        check_owner(s, i, st);
        check_past(s, i, it, c);
        it->had |= UINT32_C(1) << i;
    }
    append(s, i, st, b);
    s->node[i].lsn += batch_lsns(b);
}

/* S1: a message that was damaged is as it was, or not mended yet. */
static void
check_mended(struct sim *s, uint32_t i, const struct batch *b)
{
    const struct batch *have;
    uint64_t            lsn;
    for (uint32_t k = 0; (have = store_mem_batch(s->node[i].disk, k, &lsn)); k++) {
        if (have->stream != b->stream || batch_is_gap(have))
            continue;
        const struct sim_batch *it = past_find(s, (struct mark){b->stream, have->first});
        bool same = it->batch->first == have->first && it->batch->count == have->count;
        for (uint32_t n = 0; same && n < have->count; n++)
            same = have->msg[n].flags & MSG_DIGEST_ONLY ||
                   it->batch->msg[n].flags & MSG_DIGEST_ONLY ||
                   str_eq(have->msg[n].body, it->batch->msg[n].body);
        sim_must(s, same, "S1: mended with other bytes", i);
    }
}

static void
note_waived(struct sim *s, struct mark m)
{
    struct sim_stream *st = make(s, m.stream);
    st->waived            = m.seq > st->waived ? m.seq : st->waived;
}

void
past_commit(struct sim *s, uint32_t i, const struct commit *c)
{
    struct sim_node *n = &s->node[i];
    switch (c->kind) {
    case COMMIT_BATCH:
        stored(s, i, c->batch, c);
        return;
    case COMMIT_GAPS:
        for (uint32_t k = 0; k < c->gaps->count; k++)
            reach_gone(s, i, c->gaps->at[k]);
        for (uint32_t k = 0; k < c->gaps->count; k++)
            stored(s, i, c->gaps->at[k], c);
        return;
    case COMMIT_ELECTION:
        sim_must(s, c->epoch >= n->epoch, "S3: the epoch on disk fell", i);
        n->epoch = c->epoch;
        return;
    case COMMIT_WAIVED:
        reach_waived(s, i, c->mark);
        note_waived(s, c->mark);
        return;
    case COMMIT_FROZEN:
        note_waived(s, (struct mark){c->stream, INT64_MAX});
        return;
    case COMMIT_REPAIR:
        check_mended(s, i, c->batch);
        return;
    case COMMIT_MEMBERS:
    case COMMIT_LATEST:
    case COMMIT_PROBE:
    case COMMIT_KNOWN:
        return;
    }
}

/* ---- what a disk holds ---- */

/* S3.  A stream that was retired and is forgotten may come anew. */
static void
check_fall(struct sim *s, uint32_t i, struct sim_stream *st, const struct stream_state *state)
{
    struct sim_held *held = &st->at[i];
    if (!state && st->retired) {
        *held = (struct sim_held){0};
        return;
    }
    uint64_t head = state ? state->head : 0, floor = state ? state->floor : 0;
    sim_must(s, head == held->head && (head == 0 || hash128_eq(state->chain, held->chain)),
             "S3: the vector on disk is not what was stored", i);
    sim_must_where(s, held->floor > 0, floor >= held->floor && floor <= head,
                   "S3: the floor on disk fell", i);
    held->floor = floor;
}

void
past_retain(struct sim *s, uint32_t i, const struct retained *r)
{
    for (uint32_t k = 0; k < r->retired_count; k++)
        make(s, r->retired[k])->retired = true;
    for (uint32_t k = 0; k < s->stream_count; k++)
        check_fall(s, i, &s->stream[k], store_mem_state(s->node[i].disk, s->stream[k].id));
}

static void
forget_known(struct sim_held *at)
{
    at->known = at->known_floor = 0;
}

/* The store may take one for retired that is about to go on: then the broker does not. */
void
past_retired(struct sim *s, uint32_t i, const struct retained *r)
{
    const struct journal *j = broker_journal(s->node[i].broker);
    for (uint32_t k = 0; k < r->retired_count; k++)
        make(s, r->retired[k])->at[i].retired = journal_retired(j, r->retired[k]) != NULL;
    for (uint32_t k = 0; k < s->stream_count; k++)
        if (!journal_find(j, s->stream[k].id))
            forget_known(&s->stream[k].at[i]);
}

/* What an older disk does not hold was lost with the younger one. */
static void
take_disk(uint32_t i, struct sim_stream *st, const struct stream_state *state)
{
    for (uint32_t k = batch_behind(st, (state ? state->head : 0) + 1); k < st->count; k++)
        st->batch[k].had &= ~(UINT32_C(1) << i);
    st->at[i] = (struct sim_held){0};
    if (state)
        st->at[i] = (struct sim_held){.head  = state->head,
                                      .floor = state->floor,
                                      .stamp = state->stamp,
                                      .chain = state->chain,
                                      .gap   = true};
}

void
past_start(struct sim *s, uint32_t i, const struct recovered *r)
{
    struct sim_node *n     = &s->node[i];
    bool             other = n->other_disk || r->lsn < n->lsn || r->lsn == 0;
    if (other) {
        n->lost_ms     = s->now_ms;
        n->is_old_copy = r->lsn > 0;
    }
    for (uint32_t k = 0; k < r->stream_count; k++) {
        uint64_t waived = r->stream[k].frozen ? INT64_MAX : r->stream[k].waived;
        if (waived > 0)
            note_waived(s, (struct mark){r->stream[k].stream, waived});
    }
    for (uint32_t k = 0; k < s->stream_count; k++) {
        const struct stream_state *state = store_mem_state(n->disk, s->stream[k].id);
        if (other)
            take_disk(i, &s->stream[k], state);
        else
            check_fall(s, i, &s->stream[k], state);
        s->stream[k].at[i].retired = state && state->retired;
        forget_known(&s->stream[k].at[i]);
    }
    sim_must(s, other || r->epoch == n->epoch, "S3: the epoch on disk fell", i);
    sim_must(s, other || r->lsn == n->lsn, "S3: the log on disk is not what was stored", i);
    n->epoch      = r->epoch;
    n->lsn        = r->lsn;
    n->other_disk = false;
}

void
past_fini(struct sim *s)
{
    for (uint32_t i = 0; i < s->stream_count; i++) {
        for (uint32_t k = 0; k < s->stream[i].count; k++) {
            blob_drop(s->stream[i].batch[k].batch);
            vector_fini(&s->stream[i].batch[k].past);
        }
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

static bool
wants(const struct sim_sub *sub, const struct batch *b, uint64_t seq)
{
    const struct msg *m    = &b->msg[seq - b->first];
    struct str        rest = str_of(sub->filter);
    bool              is   = m->flags & MSG_DIGEST_ONLY;
    while (!is && rest.n > 0) { /* several filters have a blank between them */
        struct str one = str_cut(rest, 0, str_index(rest, ' '));
        is             = filter_match(one, m->topic);
        rest           = str_cut(rest, one.n + 1, rest.n);
    }
    return is;
}

bool
past_is_silent(const struct sim *s, const struct sim_sub *sub, uint64_t stream, uint64_t from,
               uint64_t to)
{
    const struct sim_stream *st = find(s, stream);
    for (uint64_t seq = from; seq <= to && !(st && st->retired); seq++) {
        const struct sim_batch *it = past_find(s, (struct mark){stream, seq});
        if (!it || wants(sub, it->batch, seq))
            return false;
    }
    return true;
}

static void
check_silent(struct sim *s, const struct sim_sub *sub, uint64_t stream, uint64_t from, uint64_t to)
{
    if (from <= to)
        sim_must(s, past_is_silent(s, sub, stream, from, to),
                 "S12: something was passed over in silence", sub->node);
}

/* What its causes are must have been given before; who is not told of everything cannot
 * be asked for more than that nothing comes after its effect. */
static void
check_causes(struct sim *s, struct sim_sub *sub, const struct vector *past)
{
    for (uint32_t d = 0; d < past->count; d++) {
        struct mark m = past->at[d];
        if (past_is_excused(s, m))
            continue;
        if (wants_all(sub))
            sim_must(s, vector_has(&sub->told, m), "S10: a cause was not given before", sub->node);
        raise(&sub->past, m);
    }
}

/* S4: and it is what was published. */
static void
check_message(struct sim *s, const struct sim_sub *sub, const struct entry *e)
{
    const struct sim_stream *st = find(s, e->mark.stream);
    const struct sim_batch  *it = past_find(s, e->mark);
    sim_must(s, it && st->at[sub->node].head >= e->mark.seq, "S4: delivered, and not on disk",
             sub->node);
    uint64_t i = e->mark.seq - it->batch->first;
    sim_must(s, e->lamport == it->batch->lamport_first + i, "S14: delivered with another stamp",
             sub->node);
    if (!(it->batch->msg[i].flags & MSG_DIGEST_ONLY))
        sim_must(s, str_eq(it->batch->msg[i].body, e->body), "S1: delivered with other bytes",
                 sub->node);
}

static bool
is_damaged(const struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->msg[i].flags & MSG_DIGEST_ONLY)
            return true;
    return false;
}

/* S12: who is told that something is gone here is told the truth. */
static void
check_gap(struct sim *s, const struct sim_sub *sub, const struct entry *e)
{
    const struct batch *b;
    uint64_t            lsn;
    sim_must(s, e->gap_to >= e->mark.seq, "S12: a gap that ends before it begins", sub->node);
    for (uint32_t k = 0; !s->damaged && (b = store_mem_batch(s->node[sub->node].disk, k, &lsn));
         k++)
        sim_must(s,
                 b->stream != e->mark.stream || batch_is_gap(b) || b->first > e->gap_to ||
                     batch_last(b) < e->mark.seq || is_damaged(b),
                 "S12: told to be gone, and it is there", sub->node);
}

/* A cursor does not say that a stream was read which is retired somewhere; who has not retired
 * it yet may tell of a gap that is none. */
static bool
is_harmless(const struct sim *s, const struct entry *e)
{
    const struct sim_stream *st = find(s, e->mark.stream);
    return e->gap_to > 0 && st && st->retired;
}

/* Is it a cause of what was given before?  A gap may name what the filter passed over, and the
 * cursor did not cover yet: that is no matter. */
static bool
is_past(const struct sim *s, const struct sim_sub *sub, const struct entry *e)
{
    uint64_t past = vector_seq(&sub->past, e->mark.stream);
    if (e->gap_to == 0)
        return past >= e->mark.seq;
    for (uint64_t seq = e->mark.seq; seq <= e->gap_to && seq <= past; seq++) {
        const struct sim_batch *it = past_find(s, (struct mark){e->mark.stream, seq});
        if (!it || wants(sub, it->batch, seq))
            return true;
    }
    return false;
}

void
past_deliver(struct sim *s, struct sim_sub *sub, const struct entry *e)
{
    struct mark m    = e->mark;
    uint64_t    last = e->gap_to > 0 ? e->gap_to : m.seq;
    uint64_t    told = vector_seq(&sub->told, m.stream);
    sim_must(s, m.seq > told || is_harmless(s, e), "S11: given again", sub->node);
    check_silent(s, sub, m.stream, told + 1, m.seq - 1);
    if (!e->late && !is_harmless(s, e))
        sim_must(s, !is_past(s, sub, e), "S10: it came after its effect", sub->node);
    if (e->gap_to > 0)
        check_gap(s, sub, e);
    else
        check_message(s, sub, e);
    if (e->gap_to == 0 && !e->late)
        check_causes(s, sub, &past_find(s, m)->past);
    raise(&sub->told, (struct mark){m.stream, last});
    raise(&sub->past, (struct mark){m.stream, last});
}

/* Who wants some alone is told of the rest by the cursor. */
void
past_cursor(struct sim *s, struct sim_sub *sub)
{
    for (uint32_t i = 0; i < sub->cursor.count; i++) {
        struct mark m    = sub->cursor.at[i];
        uint64_t    told = vector_seq(&sub->told, m.stream);
        if (m.seq <= told)
            continue;
        check_silent(s, sub, m.stream, told + 1, m.seq);
        raise(&sub->told, m);
    }
}
