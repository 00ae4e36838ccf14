/* session_kit.h - sessions over a journal, and a disk that gives back what is not in memory. */
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
    uint32_t        page_max; /* messages scanned by one page; 0: no limit */
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

/* ---- the disk ---- */

static inline uint64_t
scan_start(const struct desk *d, const struct read *r)
{
    if (r->start == READ_AT_LSN)
        return r->lsn;
    for (uint32_t i = 0; i < d->count; i++) {
        const struct batch *b = d->log[i];
        for (uint32_t k = 0; k < b->count; k++)
            if (r->start == READ_SINCE
                    ? (int64_t)i + 1 >= r->since.ms
                    : !vector_has(&r->have, (struct mark){b->stream, b->first + k}))
                return d->lsn[i] + k;
    }
    return r->lsn_last + 1;
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
    vector_init(&scanned);
    vector_init(&before);
    p->lsn_first = p->lsn_next = scan_start(d, r);
    for (uint32_t i = 0; i < d->count; i++) {
        const struct batch *b = d->log[i];
        for (uint32_t k = 0; k < b->count; k++) {
            struct mark mark = {b->stream, b->first + k};
            if (d->lsn[i] + k < p->lsn_first) {
                assert_int_equal(vector_raise(&before, mark), ERR_OK);
                continue;
            }
            if (d->lsn[i] + k > r->lsn_last ||
                (d->page_max > 0 && p->lsn_next - p->lsn_first >= d->page_max))
                continue;
            p->lsn_next = d->lsn[i] + k + 1;
            p->stamp    = b->lamport_first + k > p->stamp ? b->lamport_first + k : p->stamp;
            assert_int_equal(vector_raise(&scanned, mark), ERR_OK);
            if (r->want(r->want_ctx, b->msg[k].topic) && !vector_has(&r->have, mark))
                e[p->count++] = (struct entry){.lsn     = d->lsn[i] + k,
                                               .mark    = mark,
                                               .lamport = b->lamport_first + k,
                                               .topic   = b->msg[k].topic,
                                               .body    = b->msg[k].body};
        }
    }
    p->entry         = e;
    p->scanned       = m;
    p->scanned_count = scanned.count;
    memcpy(m, scanned.at, scanned.count * sizeof *m);
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
