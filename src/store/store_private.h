/* store_private.h - the parts of store_sqlite; nobody outside src/store/ sees it.
 *
 *   store_open.c    opening, putting aside what is corrupt, closing
 *   store_sql.c     statements, errors, transactions
 *   store_schema.c  making and migrating the file
 *   store_load.c    what a start finds: heads, members, token, topics
 *   store_topics.c  topics in memory, their snapshot    store_latest.c  their newest messages
 *   store_segments.c  the index of the log
 *   store_streams.c  heads and floors  store_peers.c  the roster
 *   store_retain.c  what goes off the front
 *   store_commit.c  commits            store_tend.c  checkpoints     store_room.c  free disk
 *   store_read.c    where a read starts     store_scan.c  what it finds
 *   store_index.c   where in a run to look  store_wanted.c  which topics are wanted
 *   store_rebuild.c batches         store_verify.c  what is believed
 *   store_repair.c  what was damaged, written anew   store_kept.c  what the log has no more
 *
 * What memory says of streams and topics is what the transaction in progress makes
 * of it: after a rollback all of it is loaded anew. */
#ifndef STORE_STORE_PRIVATE_H
#define STORE_STORE_PRIVATE_H

#include "base/map.h"
#include "store/store.h"
#include "store/store_page.h"

#include <sqlite3.h>

enum { ROW_DIGEST_ONLY = 1, ROW_LATE = 2, ROW_GAP = 4 };
enum { STREAM_FROZEN = 1, STREAM_RETIRED = 2 };
enum {
    SEGMENT_LSNS     = 4096, /* or more, up to the end of a batch */
    SEGMENT_ROWS_MAX = SEGMENT_LSNS + BATCH_MESSAGES_MAX,
    SEGMENT_BUCKETS  = 16, /* rows of postings, by topic id: each fits a page of the file */
    SEGMENT_DENSE    = 4,  /* of a topic that has one row of so many all rows are looked at */
    SEGMENT_BARE     = 1 << SEGMENT_BUCKETS, /* bit of buckets: some rows have no topic */
};

enum statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_MESSAGE,
    SQL_BATCH,
    SQL_STREAM,
    SQL_FLOOR,
    SQL_STREAM_FLAGS,
    SQL_WAIVED,
    SQL_FROZEN,
    SQL_STREAM_DROP,
    SQL_TOPIC,
    SQL_TOPIC_COUNTS,
    SQL_TOPIC_NEWEST,
    SQL_REMOVAL,
    SQL_REMOVALS_CLEAR,
    SQL_KEEP,
    SQL_KEPT_PUT,
    SQL_LATEST_LOG,
    SQL_LATEST_KEPT,
    SQL_FRONT,
    SQL_FRONT_BATCH,
    SQL_FRONT_DEPS,
    SQL_FRONT_ROWS,
    SQL_FRONT_DROP,
    SQL_MESSAGES_DROP,
    SQL_SEGMENT,
    SQL_POSTINGS,
    SQL_SEGMENTS_DROP,
    SQL_POSTINGS_DROP,
    SQL_META,
    SQL_PEER,
    SQL_PEERS_CLEAR,
    SQL_PAGES,
    SQL_PAGES_FREE,
    SQL_KNOWN,
    SQL_KNOWN_PUT,
    SQL_KNOWN_DROP,
    SQL_COUNT
};

struct topic {
    uint32_t    id;
    uint32_t    slot;     /* in the open segment, if its id stands there */
    bool        is_dirty; /* differs from its row */
    uint16_t    name_bytes;
    uint32_t    lost;    /* to the step of retention in progress */
    uint64_t    removed; /* of its messages, by retention; its row says: */
    uint64_t    removed_row;
    uint64_t    count, lsn, lamport; /* messages ever, and of the newest: */
    struct mark mark;
    uint8_t     name[];
};

struct topics {
    struct map     by_name;
    struct topic **at; /* id i lies at i - 1 */
    uint32_t       count, cap;
    uint64_t       lsn;      /* rows of topics hold all up to here */
    uint32_t       removals; /* rows that say what was taken since */
};

#define SLOT_NONE UINT32_MAX

struct segment_topic {
    uint32_t id;      /* 0: rows of no topic, which concern every reader */
    uint32_t sibling; /* the next slot of its bucket, or NONE; while it is written */
    uint16_t first, last, count;
};

/* The segment that grows: written once it is whole, rebuilt from messages at start. */
struct segment {
    uint64_t              lsn_first;
    uint64_t              stamp;
    struct vector         marks; /* the highest of each stream */
    struct segment_topic *topic;
    uint32_t              count, cap, bare_slot;
    uint16_t              next[SEGMENT_ROWS_MAX]; /* the next row of the same topic */
};

/* A row of segments. */
struct segment_row {
    uint64_t first, last, stamp;
    uint32_t buckets;
};

struct stream {
    uint64_t          stream, head, stamp, lsn, floor, floor_stamp;
    struct hash128    chain, floor_chain;
    struct mark_list *floor_owed; /* one reference, or NULL */
    struct wall       received;
    struct str        origin; /* of a new one, borrowed until it is written */
    bool              is_dirty, floor_is_dirty;
    bool              is_retired;
    uint32_t          change; /* its place, from 1, in the step of retention in progress */
};

struct streams {
    struct map      by_id;
    struct stream **dirty;
    uint32_t        dirty_count, dirty_cap;
    uint32_t        retired; /* how many */
    uint64_t        due_ms;  /* retention looks at all of them after `due`, or when this */
    int64_t         due;     /* is not its policy.retire_ms */
};

struct store {
    sqlite3      *db;
    sqlite3_stmt *sql[SQL_COUNT];
    char         *dir, *path;
    size_t        reserve_bytes;
    uint64_t      device, inode; /* of the file that is open */

    struct store_disk disk; /* as it was when it was looked at last */
    bool              was_corrupt, is_refusing, is_loaded;
    bool              wants_reload; /* memory is to be loaded anew after this commit */

    uint64_t       lsn;       /* last in use */
    uint64_t       lsn_first; /* oldest that is left; lsn + 1: none */
    uint64_t       stamp;     /* highest of streams that were forgotten */
    struct topics  topics;
    struct segment segment;
    struct streams streams;
    uint64_t       probes;
    struct buf     scratch;

    uint32_t wal_pages, wal_copied; /* frames in the WAL, and of them in the file */
    int64_t  wal_bytes;             /* to which the WAL was grown ahead of use */
    uint64_t wal_warned;            /* it was said that a reader holds so much of it */
    bool     wal_is_short;          /* it is cut after it was copied */
    uint32_t commits, tends_waited; /* since the last store_tend(), since the snapshot */

    uint32_t         retired_count;
    struct recovered recovered;
    struct buf       texts; /* of recovered */
};

/* ---- store_sql.c ---- */

/* The error for a result code.  A failed fsync does not return. */
enum err sql_err(sqlite3 *db, int rc);
/* Traces what went wrong while `doing` it. */
enum err sql_failed(sqlite3 *db, int rc, const char *doing);
enum err sql_exec(sqlite3 *db, const char *text);
enum err sql_prepare(sqlite3 *db, const char *text, sqlite3_stmt **out);
/* Steps a statement that gives no rows, and makes it ready for the next use. */
enum err sql_run(sqlite3 *db, sqlite3_stmt *q);
/* ROW: true.  At the end or on failure false, the statement is reset and *e set. */
bool       sql_next(sqlite3 *db, sqlite3_stmt *q, enum err *e);
void       sql_bind_u64(sqlite3_stmt *q, int at, uint64_t value);
void       sql_bind_text(sqlite3_stmt *q, int at, struct str s);
void       sql_bind_blob(sqlite3_stmt *q, int at, const void *p, size_t n);
uint64_t   sql_u64(sqlite3_stmt *q, int column);
struct str sql_bytes(sqlite3_stmt *q, int column);
/* False: not sixteen bytes. */
bool     sql_hash(sqlite3_stmt *q, int column, struct hash128 *out);
enum err sql_statements(struct store *s);
enum err sql_meta_put(struct store *s, const char *name, uint64_t value);

/* ---- store_schema.c ---- */

enum err schema_ready(struct store *s, struct str cluster, struct buf *problem);

/* ---- store_load.c ---- */

/* Heads, topics and the open segment, as on disk. */
enum err load_state(struct store *s);
void     load_forget(struct store *s);
/* Fills s->recovered, once. */
enum err load_recovered(struct store *s);
void     load_recovered_fini(struct store *s);

/* ---- store_topics.c ---- */

struct topic *topics_find(const struct topics *t, struct str name);
struct topic *topics_add(struct topics *t, struct str name);
void          topics_fini(struct topics *t);
/* Finds it, or makes it and its row. */
enum err topics_of(struct store *s, struct str name, struct topic **out);
/* One more message of it was stored; in the order of lsn. */
void topics_count(struct topic *topic, const struct entry *e);
/* (lamport, stream, seq) is the total order of messages. */
bool topics_is_newer(const struct topic *t, const struct entry *e);
void topics_newest(struct topic *t, const struct entry *e);
/* Which is its newest, at once. */
enum err topics_write_newest(struct store *s, const struct topic *t);
/* Writes the rows of all that changed; within a transaction.  A rollback loads them anew. */
enum err topics_write(struct store *s);
/* The same in a transaction of its own. */
enum err topics_snapshot(struct store *s);

/* ---- store_segments.c ---- */

/* The next row of the log; of no topic when it is for every reader: a gap, a digest. */
void segment_add(struct segment *g, struct topic *topic, const struct entry *e);
/* It is empty, and begins there. */
void segment_restart(struct segment *g, uint64_t lsn_first);
void segment_fini(struct segment *g);
/* Writes it when it is long enough and starts the next.  Call at the end of a batch. */
enum err segment_close(struct store *s);
/* Retention took all below lsn_first: so goes what speaks of nothing else. */
enum err segments_retain(struct store *s, uint64_t lsn_first);
uint64_t segment_hash(const struct segment_row *row, struct str marks);

/* ---- store_latest.c ---- */

/* The message at `lsn` goes, and is the newest of its topic. */
enum err latest_keep(struct store *s, uint64_t lsn);
/* A batch of one message, from a peer: kept when it is the newest. */
enum err latest_take(struct store *s, const struct batch *b);

/* ---- store_streams.c ---- */

struct stream *streams_find(const struct streams *all, uint64_t stream);
struct stream *streams_add(struct streams *all, uint64_t stream);
void           streams_fini(struct streams *all);
void           streams_forget(struct streams *all, uint64_t stream);
/* `b` was appended and ends at s->lsn.  Written by streams_write(), in this transaction. */
void     streams_append(struct store *s, struct stream *st, const struct batch *b,
                        struct wall received);
enum err streams_write(struct store *s);
enum err streams_write_floor(struct store *s, const struct stream_floor *f);
enum err streams_write_flags(struct store *s, uint64_t stream, uint32_t set, uint32_t clear);
enum err streams_waive(struct store *s, struct mark mark);
/* One reference; NULL: no marks. */
struct mark_list *marks_list(const struct mark *mark, uint32_t count);
/* The same from a blob in the file.  CORRUPT. */
enum err marks_read(struct str blob, struct mark_list **out);

/* ---- store_peers.c ---- */

enum err peers_write(struct store *s, const struct member_list *list);
enum err peers_known(struct store *s, const struct known_vector *known);

/* ---- store_commit.c ---- */

/* Columns 5 and 8 to 10 of a row of messages; no topic: its digest alone. */
void     commit_bind_text(sqlite3_stmt *q, const struct msg *m, const struct topic *topic);
enum err commit_begin(struct store *s);
/* COMMIT, or ROLLBACK when e is not OK or the COMMIT fails; the outcome. */
enum err commit_end(struct store *s, enum err e);

/* ---- store_repair.c ---- */

enum err repair_batch(struct store *s, const struct batch *b, struct wall received);

/* ---- store_tend.c ---- */

void tend_watch_wal(struct store *s);
void tend_under_load(struct store *s);
void tend_close(struct store *s);

/* ---- reading ---- */

enum reading {
    READ_BEGIN,
    READ_END,
    READ_STREAMS, /* stream, head, head_lsn of all */
    READ_FLOORS,  /* of those that have one: stream, floor, its stamp, origin */
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
    READ_TOPIC_ID,
    READ_SEGMENTS, /* from the one on that begins at or before an lsn */
    READ_POSTINGS,
    READ_NEXT_BATCH, /* the first batch above a seq: where it begins, on which chain */
    READ_HEAD,
    READING_COUNT
};

enum { ORIGINS_CACHED = 64, NAMES_CACHED = 64, VERDICTS_MAX = 16, MARKS_KEPT = 256 };

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
};

struct store_reader {
    sqlite3      *db;
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
/* The batch that has the lsn, with its deps.  CORRUPT: that is not known. */
enum err verify_batch_at(struct store_reader *r, uint64_t lsn, struct batch_row *row);

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
