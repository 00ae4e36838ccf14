/* session_kit.h - sessions over a journal, and a disk that gives back what is not in memory.
 *
 * The disk's retention is a step of its own: core hears of it later, as in production. */
#ifndef TESTS_SESSION_KIT_H
#define TESTS_SESSION_KIT_H

#include "tests/core_kit.h"

#include "core/page.h"
#include "core/session.h"
#include "core/vector.h"

enum { LOG_MAX = 256 };

/* A broker's log: the journal, and what the disk would give back. */
struct desk {
    struct sessions all;
    struct journal  j;
    struct batch   *log[LOG_MAX]; /* its place + 1 is the time when it came */
    uint64_t        lsn[LOG_MAX];
    uint32_t        count;
    uint32_t        page_max;  /* messages scanned by one page; 0: no limit */
    uint64_t        lsn_first; /* oldest on disk */
    struct vector   floors;    /* what retention took there */
    uint64_t        damaged;   /* the lsn of a message that cannot be read */
};

static inline void
open_desk(struct desk *d, size_t tail_bytes)
{
    memset(d, 0, sizeof *d);
    sessions_init(&d->all);
    journal_init(&d->j, NULL, tail_bytes);
}

static inline void
close_desk(struct desk *d)
{
    sessions_fini(&d->all);
    journal_fini(&d->j);
    vector_fini(&d->floors);
    for (uint32_t i = 0; i < d->count; i++)
        blob_drop(d->log[i]);
}

/* Takes over the reference. */
static inline void
store(struct desk *d, struct batch *b)
{
    assert_true(d->count < LOG_MAX);
    d->log[d->count] = b;
    d->lsn[d->count] = journal_put(&d->j, again(b));
    sessions_wake(&d->all, &d->j, b, d->lsn[d->count++]);
}

static inline struct session *
subscribe(struct desk *d, const char *filter, uint64_t ref)
{
    struct session *s = NULL;
    assert_int_equal(
        session_open(&d->all, &(struct str){(const uint8_t *)filter, strlen(filter)}, 1, ref, &s),
        ERR_OK);
    return s;
}

static inline struct session *
subscribe_at(struct desk *d, const char *filter, const struct vector *seen)
{
    struct session *s = subscribe(d, filter, 1);
    assert_int_equal(session_start_at(&d->all, s, &d->j, seen, 0), ERR_OK);
    return s;
}

/* ---- gaps ---- */

/* What the writer wrote next is known to nobody any more: a gap up to `last`. */
static inline struct batch *
write_gap(struct writer *w, uint64_t last)
{
    struct batch *b = blob_new(sizeof *b);
    assert_true(last >= w->next);
    w->lamport += last - w->next;
    w->chain.b[0] ^= (uint8_t)last;
    *b      = (struct batch){.stream        = w->stream,
                             .first         = w->next,
                             .gap_last      = last,
                             .chain         = w->chain,
                             .lamport_first = w->lamport++,
                             .wall          = {1700000000000},
                             .origin        = STR("gone:3000")};
    w->next = last + 1;
    return b;
}

/* It came from a peer, and nobody in reach has more. */
static inline void
store_gap(struct desk *d, struct writer *w, uint64_t last)
{
    struct batch *b = write_gap(w, last);
    assert_true(d->count < LOG_MAX);
    assert_non_null(journal_stream(&d->j, w->stream));
    d->log[d->count] = b;
    d->lsn[d->count] = d->j.lsn + 1;
    journal_hand_over(&d->j, b);
    journal_persist(&d->j, b, d->lsn[d->count], false);
    if (vector_seq(&d->floors, b->stream) + 1 == b->first)
        assert_int_equal(vector_raise(&d->floors, (struct mark){b->stream, last}), ERR_OK);
    sessions_wake(&d->all, &d->j, b, d->lsn[d->count++]);
}

/* Retention takes the oldest up to `lsn`, the end of a batch, off the disk. */
static inline void
disk_retains(struct desk *d, uint64_t lsn)
{
    for (uint32_t i = 0; i < d->count && d->lsn[i] <= lsn; i++)
        assert_int_equal(
            vector_raise(&d->floors, (struct mark){d->log[i]->stream, batch_last(d->log[i])}),
            ERR_OK);
    d->lsn_first = lsn + 1;
}

/* ... and core hears of it, and that these streams are gone for good. */
static inline void
core_hears(struct desk *d, const uint64_t *retired, uint32_t retired_count)
{
    struct stream_floor floor[16];
    struct retained     r = {.lsn_first     = d->lsn_first,
                             .floor         = floor,
                             .retired       = retired,
                             .retired_count = retired_count};
    for (; r.count < d->floors.count; r.count++)
        floor[r.count] = (struct stream_floor){.stream = d->floors.at[r.count].stream,
                                               .floor  = d->floors.at[r.count].seq};
    journal_retain(&d->j, &r);
    for (uint32_t i = 0; i < retired_count; i++) {
        assert_non_null(journal_retired(&d->j, retired[i]));
        assert_int_equal(vector_set(&d->floors, (struct mark){retired[i], 0}), ERR_OK);
        sessions_retired(&d->all, &d->j, retired[i]);
    }
}

static inline void
retain(struct desk *d, uint64_t lsn)
{
    disk_retains(d, lsn);
    core_hears(d, NULL, 0);
}

/* ---- the disk ---- */

static inline uint64_t
scan_start(const struct desk *d, const struct read *r)
{
    if (r->start == READ_AT_LSN)
        return r->lsn;
    for (uint32_t i = 0; i < d->count; i++) {
        const struct batch *b = d->log[i];
        if (d->lsn[i] < d->lsn_first)
            continue;
        for (uint32_t k = 0; k < batch_lsns(b); k++)
            if (r->start == READ_SINCE
                    ? (int64_t)i + 1 >= r->since.ms
                    : !vector_has(
                          &r->have,
                          (struct mark){b->stream, batch_is_gap(b) ? b->gap_last : b->first + k}))
                return d->lsn[i] + k;
    }
    return r->lsn_last + 1;
}

/* The k-th entry of a batch as a page has it; false: nothing that is wanted. */
static inline bool
entry_of(const struct desk *d, const struct read *r, uint32_t i, uint32_t k, struct entry *e)
{
    const struct batch *b = d->log[i];
    *e                    = (struct entry){0};
    e->lsn                = d->lsn[i] + k;
    e->mark               = (struct mark){b->stream, b->first + k};
    e->lamport            = b->lamport_first + k;
    if (batch_is_gap(b)) {
        e->gap_to = b->gap_last;
        return vector_seq(&r->have, b->stream) < b->gap_last;
    }
    if (e->lsn == d->damaged) {
        e->gap_to = e->mark.seq;
        return !vector_has(&r->have, e->mark);
    }
    e->topic = b->msg[k].topic;
    e->body  = b->msg[k].body;
    return r->want(r->want_ctx, e->topic) && !vector_has(&r->have, e->mark);
}

/* What the reader thread would answer. */
static inline struct page *
page_of(const struct desk *d, const struct read *r)
{
    enum { ENTRIES = 4096, MARKS = 16 };
    struct page *p =
        blob_new(sizeof *p + ENTRIES * sizeof(struct entry) + 2 * MARKS * sizeof(struct mark));
    struct entry *e = (struct entry *)(void *)(p + 1);
    struct mark  *m = (struct mark *)(void *)(e + ENTRIES);
    struct vector scanned, before;
    bool          full = false;
    vector_init(&scanned);
    vector_init(&before);
    p->lsn_first = p->lsn_next = scan_start(d, r);
    for (uint32_t i = 0; i < d->floors.count; i++) {
        struct mark floor = d->floors.at[i];
        uint64_t    have  = vector_seq(&r->have, floor.stream);
        assert_int_equal(vector_raise(&before, floor), ERR_OK);
        if (r->start != READ_SINCE && have < floor.seq)
            e[p->count++] =
                (struct entry){.mark = {floor.stream, have + 1}, .gap_to = floor.seq, .lamport = 1};
    }
    for (uint32_t i = 0; i < d->count; i++) {
        const struct batch *b = d->log[i];
        if (d->lsn[i] < d->lsn_first)
            continue;
        for (uint32_t k = 0; k < batch_lsns(b); k++) {
            struct mark mark = {b->stream, batch_is_gap(b) ? b->gap_last : b->first + k};
            if (d->lsn[i] + k < p->lsn_first) {
                assert_int_equal(vector_raise(&before, mark), ERR_OK);
                continue;
            }
            full = full || (d->page_max > 0 && p->lsn_next - p->lsn_first >= d->page_max);
            if (d->lsn[i] + k > r->lsn_last || full)
                continue;
            p->lsn_next = d->lsn[i] + k + 1;
            p->stamp    = b->lamport_first + k > p->stamp ? b->lamport_first + k : p->stamp;
            assert_int_equal(vector_raise(&scanned, mark), ERR_OK);
            if (entry_of(d, r, i, k, &e[p->count]))
                p->count++;
        }
    }
    if (!full)
        p->lsn_next = r->lsn_last + 1;
    p->entry         = e;
    p->scanned       = m;
    p->scanned_count = scanned.count;
    for (uint32_t i = 0; i < scanned.count; i++)
        m[i] = scanned.at[i];
    if (r->start == READ_SINCE && before.count > 0) {
        p->before       = m + MARKS;
        p->before_count = before.count;
        memcpy(m + MARKS, before.at, before.count * sizeof *m);
    }
    vector_fini(&scanned);
    vector_fini(&before);
    return p;
}

/* ---- asking ---- */

static inline void
assert_next(struct desk *d, struct session *s, uint64_t stream, uint64_t seq)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_OK);
    assert_int_equal(e.mark.stream, stream);
    assert_int_equal(e.mark.seq, seq);
    assert_int_equal(e.gap_to, 0);
}

static inline void
assert_gap(struct desk *d, struct session *s, uint64_t stream, uint64_t from, uint64_t to)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_OK);
    assert_int_equal(e.mark.stream, stream);
    assert_int_equal(e.mark.seq, from);
    assert_int_equal(e.gap_to, to);
    assert_int_equal(e.topic.n + e.headers.n + e.body.n, 0);
}

static inline void
assert_quiet(struct desk *d, struct session *s)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_MORE);
    assert_int_equal(s->state, SESSION_HEAD);
}

/* It waits for the disk, and for nothing else; the page it gets. */
static inline struct page *
assert_reads(struct desk *d, struct session *s, enum read_start start)
{
    struct entry e;
    struct read  r;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_BUSY);
    assert_ptr_equal(sessions_next_read(&d->all, &d->j, &r), s);
    assert_int_equal(s->state, SESSION_READING);
    assert_int_equal(r.start, start);
    assert_int_equal(r.lsn_last, d->j.lsn);
    assert_false(r.batches);
    return page_of(d, &r);
}

static inline void
assert_cursor(struct desk *d, const struct session *s, const struct vector *want)
{
    struct vector v;
    uint64_t      stamp;
    vector_init(&v);
    assert_true(session_cursor(s, &d->j, &v, &stamp));
    assert_vector(&v, want);
    vector_fini(&v);
}

#endif
