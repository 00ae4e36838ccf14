/* store_private.h - the parts of store_sqlite; nobody outside src/store/ sees it.
 *
 *   store_sql.c     statements, errors, transactions
 *   store_load.c    what a start finds: heads, members, token, topics
 *   store_topics.c  topics in memory, their snapshot    store_latest.c  their newest messages
 *   store_segments.c  the index of the log              store_repair.c  damage, written anew
 *   store_streams.c  heads and floors  store_peers.c  the roster     store_retain.c  the front goes
 *   store_commit.c  commits
 *   store_start.h: a start   store_reader.h: reading   store_room.h: the disk and the WAL
 *
 * What memory says of streams and topics is what the transaction in progress makes
 * of it: after a rollback all of it is loaded anew. */
#ifndef STORE_STORE_PRIVATE_H
#define STORE_STORE_PRIVATE_H

#include "base/map.h"
#include "store/store.h"
#include "store/store_page.h"

#include <pthread.h>
#include <sqlite3.h>

enum { ROW_DIGEST_ONLY = 1, ROW_LATE = 2, ROW_GAP = 4 };
enum { STREAM_FROZEN = 1, STREAM_RETIRED = 2, STORE_FILE_MODE = 0640 };
enum { STORE_PAGE_BYTES = 4096, STORE_KEY_BITS = 63 }; /* of a page; of a stream */
#ifndef STORE_SEGMENT_LSNS /* few, where a log of a dozen batches is to have an index */
#define STORE_SEGMENT_LSNS 4096
#endif
enum {
    SEGMENT_LSNS     = STORE_SEGMENT_LSNS, /* or more, up to the end of a batch */
    SEGMENT_ROWS_MAX = SEGMENT_LSNS + BATCH_MESSAGES_MAX,
    SEGMENT_BUCKETS  = 16, /* rows of postings, by topic id: each fits a page of the file */
    SEGMENT_DENSE    = 4,  /* of a topic that has one row of so many all rows are looked at */
    SEGMENT_BARE     = 1 << SEGMENT_BUCKETS, /* bit of buckets: some rows have no topic */
};
_Static_assert(SEGMENT_ROWS_MAX % 64 == 0, "a reader has words of 64 rows");
_Static_assert(SEGMENT_BUCKETS == 16, "the ids of postings in files are made with it");

enum statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVE,
    SQL_SAVE_UNDO,
    SQL_SAVE_END,
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
    bool              is_dirty, floor_is_dirty, is_retired, is_frozen;
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
    int           index_fd;      /* of the WAL's index, to be closed last of all; 0: none */
    uint64_t      device, inode; /* of the file that is open */

    struct store_disk disk; /* as it was when it was looked at last */
    bool              was_corrupt, is_refusing, is_loaded;
    bool              wants_reload; /* memory is to be loaded anew after this commit */

    uint64_t       lsn;        /* last in use */
    uint64_t       lsn_first;  /* oldest that is left; lsn + 1: none */
    uint64_t       stamp;      /* highest of streams that were forgotten */
    uint64_t       retain_lsn; /* `lsn` when retention left more to take; 0: it did not */
    struct topics  topics;
    struct segment segment;
    struct streams streams;
    uint64_t       probes;
    struct buf     scratch;

    uint32_t          wal_pages, wal_copied;  /* frames in the WAL, and of them in the file */
    uint32_t          wal_last;               /* frames of the last commit */
    int64_t           wal_bytes;              /* to which the WAL was grown ahead of use */
    uint64_t          wal_warned;             /* it was said that a reader holds so much of it */
    uint32_t          wal_next, wal_patience; /* frames when it is to begin anew; after a failure */
    bool              wal_is_short;           /* it is cut after it was copied */
    pthread_rwlock_t *turns; /* a reader's while it reads; ours while the WAL begins anew */
    uint32_t          commits, tends_waited; /* since the last store_tend(), since the snapshot */

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

/* ---- store_load.c ---- */

/* Heads, topics and the open segment, as on disk. */
enum err load_state(struct store *s);
void     load_forget(struct store *s);

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
/* Is it time for that: `least` messages came, or more where there are many topics? */
bool topics_are_due(const struct store *s, uint64_t least);
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
enum err streams_waive(struct store *s, struct mark mark, struct wall received);
/* marks_list() of a blob in the file.  CORRUPT. */
enum err marks_read(struct str blob, struct mark_list **out);

/* ---- store_peers.c ---- */

enum err peers_write(struct store *s, const struct member_list *list);
enum err peers_known(struct store *s, const struct known_vector *known);

/* ---- store_commit.c ---- */

/* A row of batches, but for 4 (lsn), 7 (received_ms) and 8 (flags). */
void commit_bind_batch(struct store *s, sqlite3_stmt *q, const struct batch *b);
/* Columns 5 and 8 to 10 of a row of messages; no topic: its digest alone. */
void     commit_bind_text(sqlite3_stmt *q, const struct msg *m, const struct topic *topic);
enum err commit_begin(struct store *s);
/* COMMIT, or ROLLBACK when e is not OK or the COMMIT fails; the outcome. */
enum err commit_end(struct store *s, enum err e);

/* ---- store_repair.c ---- */

enum err repair_batch(struct store *s, const struct batch *b, struct wall received);

#endif
