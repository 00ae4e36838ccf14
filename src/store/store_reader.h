/* store_reader.h - the half of store_sqlite that reads; nobody outside src/store/ sees it.
 *
 *   store_read.c    where a read starts     store_scan.c    what it finds
 *   store_index.c   where in a run to look  store_wanted.c  which topics are wanted
 *   store_verify.c  what is believed        store_rebuild.c batches
 *   store_prove.c   batches that are damaged
 *   store_kept.c    what the log has no more */
#ifndef STORE_STORE_READER_H
#define STORE_STORE_READER_H

#include "store/store_private.h"

enum reading {
    READ_BEGIN,
    READ_END,
    READ_STREAMS, /* stream, head, head_lsn of all that are not retired: those have no rows */
    READ_FLOORS,  /* of those of them that have one: stream, floor, its stamp, origin */
    READ_FLOOR,   /* of a stream */
    READ_KEPT_ROWS,
    READ_BATCH,    /* the batch that has a seq, or the last before it */
    READ_BATCH_UP, /* the first batch at or above a seq */
    READ_AT,       /* stream and seq at an lsn, or the next in use */
    READ_MESSAGES,
    READ_MESSAGE, /* one, by its lsn */
    READ_BEFORE,  /* what lies before an lsn, backwards */
    READ_ROWS,    /* of one batch, names joined */
    READ_TOPIC,
    READ_ORIGIN,
    READ_ORIGINS, /* of all brokers that the file knows */
    READ_TOPIC_ID,
    READ_SEGMENTS, /* from the one on that begins at or before an lsn */
    READ_POSTINGS,
    READ_NEXT_BATCH, /* the batches above a seq: where each begins, on which chain */
    READ_HEAD,       /* of a stream: its head, its floor */
    READ_FRONT, /* the batch above the floor of its stream that lies below an lsn, or up to it */
    READING_COUNT
};

enum {
    ORIGINS_CACHED = 64,
    NAMES_CACHED   = 64,
    VERDICTS_MAX   = 16,
    MARKS_KEPT     = 256,
    STRAYS_MAX     = 64,   /* rows passed over where a log begins */
    FRONT_SEARCHED = 1024, /* lsns there, for messages of a batch that may lie before them */
    FRONTS_JUDGED  = 16,   /* of such batches */
};

/* What a call costs, in rows of a third of a microsecond. */
enum {
    WORK_MAX     = 65536, /* in one call */
    WORK_SEGMENT = 4,
    WORK_LOOKUP  = 8,
    WORK_BYTES   = 64, /* of postings, so many for one */
    WORK_BATCH   = 16,
};

/* Texts of a page, known for one call. */
struct origin_known {
    uint64_t   stream;
    struct str origin;
};
struct name_known {
    uint64_t   id;
    struct str name;
};

/* What filters said of topics; see store_wanted.c. */
struct verdicts {
    void    *filters; /* a blob, one reference; NULL: none */
    uint64_t used;    /* when: store_reader.calls */
    uint8_t *bits;    /* two for each id below `topics` */
    uint32_t topics;
};

/* The segment that a call has come to. */
struct index_run {
    struct segment_row row; /* first UINT64_MAX: there is none any more */
    bool               is_indexed;
    struct vector      marks; /* the highest of each stream in it */
    uint64_t           wanted[SEGMENT_ROWS_MAX / 64];
};

/* A row of batches; its deps lie in the reader until the next one. */
struct batch_row {
    uint64_t       stream, first, last, lsn, lamport_first;
    struct wall    wall, received;
    struct hash128 prev, chain;
    bool           is_gap, late;
    struct str     origin; /* of batch 1; empty: as its stream says */
};

struct store_reader {
    sqlite3          *db;
    pthread_rwlock_t *turns; /* the store's */

    sqlite3_stmt *sql[READING_COUNT];
    struct buf    deps, bytes; /* of the last batch_row; of a batch in the making */

    uint32_t            work;        /* of one call, as is all that follows but for verdicts */
    uint64_t            log_first;   /* oldest lsn that is left; read.lsn_last + 1: none */
    bool                floors_said; /* at the front of the page */
    struct origin_known origin[ORIGINS_CACHED];
    struct name_known   name[NAMES_CACHED];
    struct index_run    run;
    struct batch_row    now;             /* the batch that was verified last; stream 0: none */
    uint64_t            id[FILTERS_MAX]; /* of topics that literal filters want */
    uint32_t            id_count;
    struct verdicts    *in_use;

    struct verdicts verdicts[VERDICTS_MAX];
    size_t          verdicts_bytes;
    uint64_t        calls;
    bool            has_doubted; /* the index is damaged somewhere */
};

static inline uint64_t
row_lsns(const struct batch_row *row)
{
    return row->is_gap ? 1 : row->last - row->first + 1;
}
static inline uint64_t
row_stamp(const struct batch_row *row)
{
    return row->lamport_first + row_lsns(row) - 1;
}
/* The batch that holds `at`, or the last one before it.  NOTFOUND: none. */
enum err read_batch_row(struct store_reader *r, struct mark at, struct batch_row *row);
enum err read_origin(struct store_reader *r, uint64_t stream, struct buf *out);
/* 0: none. */
enum err read_floor(struct store_reader *r, uint64_t stream, uint64_t *floor);
/* Steps to the first row; the caller resets when it is OK.  NOTFOUND: there is none. */
enum err read_first(struct store_reader *r, sqlite3_stmt *q);
/* What lies at *lsn, or next above it. */
enum err read_mark_at(struct store_reader *r, uint64_t *lsn, struct mark *mark);
/* The highest seq of the stream below an lsn, 0: none. */
enum err read_seq_below(struct store_reader *r, struct mark head, uint64_t below, uint64_t *seq);
/* The batch of `row` as its rows are; one reference.  CORRUPT: they make none. */
enum err rebuild_unsealed(struct store_reader *r, const struct batch_row *row, struct batch **out,
                          bool *damaged);
/* The batch of `row`, checked; one reference.  What does not fit its digest is left out of
 * it, and *damaged.  CORRUPT: it is not what its origin sealed. */
enum err rebuild_batch(struct store_reader *r, const struct batch_row *row, struct batch **out,
                       bool *damaged);

/* ---- store_verify.c ---- */

struct mark row_mark(const struct batch_row *row, uint64_t lsn);
uint64_t    row_lamport(const struct batch_row *row, uint64_t lsn);
/* Does the row at e->lsn say what its batch says?  r->now is that.  CORRUPT: it does not. */
enum err verify_place(struct store_reader *r, const struct entry *e, bool is_gap);
/* The batch that has the lsn by its own row alone: r->now.  NOTFOUND: none has it. */
enum err verify_find(struct store_reader *r, uint64_t lsn);
/* r->now has the lsn, but the row of messages there says something else.  NOTFOUND: then that
 * is right. */
enum err verify_claim(struct store_reader *r, uint64_t lsn, struct mark said);
/* No row of batches has the seq at its lsn: what that row should be. */
enum err verify_hole(struct store_reader *r, struct mark at, struct damage *hole);
/* Does the row of messages at the lsn say that its place is another, further on, where there
 * is none?  Then it is not its batch but its own key that is damaged. */
bool verify_stray(struct store_reader *r, uint64_t lsn, struct mark said, uint64_t lsn_last);
/* Where a gap begins, and where one ends whose rows do not agree. */
enum err verify_gap_begin(struct store_reader *r, const struct batch_row *gap, uint64_t *first);
enum err verify_gap_end(struct store_reader *r, const struct batch_row *gap, uint64_t *last);
/* The batch that has the lsn, with its deps.  CORRUPT: that is not known. */
enum err verify_batch_at(struct store_reader *r, uint64_t lsn, struct batch_row *row);

/* ---- store_prove.c ---- */

/* The batch that has the message `at`, which lies at `lsn`; it is damaged.  *out: as it was
 * sealed, by all that the file says; or a gap in its place.  *row: where that is.  NOTFOUND: not
 * even its place can be told. */
enum err prove_batch(struct store_reader *r, uint64_t lsn, struct mark at, struct batch_row *row,
                     struct batch **out);

/* ---- store_wanted.c ---- */

enum err wanted_begin(struct store_reader *r, const struct read *read);
enum err wanted_topic(struct store_reader *r, const struct read *read, uint64_t id, bool *wanted);
/* Its text in the page. */
enum err wanted_name(struct store_reader *r, struct page_maker *page, uint64_t id,
                     struct str *name);
/* Gives back what was kept for further calls. */
void wanted_forget(struct store_reader *r);

/* ---- store_index.c ---- */

#define TOPIC_ANY UINT64_MAX

void index_begin(struct store_reader *r);
void index_end(struct store_reader *r);
/* Moves r->run to the segment that has `lsn`, or to the next above; never back. */
enum err index_seek(struct store_reader *r, uint64_t lsn);
/* Which rows of r->run to look at, for index_next_row(); *all: each of them. */
enum err index_rows(struct store_reader *r, const struct read *read, bool *all);
/* The lsn of the next of them at or above `lsn`; behind the segment when there is none. */
uint64_t index_next_row(const struct store_reader *r, uint64_t lsn);

/* ---- store_kept.c ---- */

/* READ_KEPT, whole. */
enum err kept_read(struct store_reader *r, const struct read *read, struct page_maker *page);

/* ---- store_scan.c ---- */

/* From page->lsn_next on, for as far as one call goes; moves it. */
enum err scan_messages(struct store_reader *r, const struct read *read, struct page_maker *page);
enum err scan_batches(struct store_reader *r, const struct read *read, struct page_maker *page);

#endif
