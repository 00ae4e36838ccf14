/* store.h - the durable journal of one broker: store_sqlite in production,
 * store_mem in the simulator.
 *
 * store_commit() runs on one thread, the only one that writes and checkpoints;
 * store_read() on another, with a connection of its own (store_reader_open).
 * A commit either is on disk (fsynced) when the call returns OK, or nothing of it
 * is stored.  After a failed commit every further one is refused with FULL until
 * a COMMIT_PROBE succeeds, since later batches build on the refused ones.  A
 * failed fsync ends the process: what the kernel then holds is unknown. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/err.h"
#include "base/buf.h"
#include "core/types_store.h"

struct store;
struct store_reader;

struct store_config {
    const char *dir;           /* exists, writable, locked by us; holds broker.db */
    struct str  cluster;       /* INVALID when the file belongs to another cluster */
    size_t      reserve_bytes; /* of free disk: see store_look() */
};

/* Opens or makes the file and recovers.  *recovered lives until store_close().
 * On failure `problem` gets one line that says what is wrong and what to do.
 * STALE: the file has a newer schema.  INVALID: another cluster.  CORRUPT, IO. */
MUST_USE enum err store_open(struct store **store, const struct store_config *config,
                             const struct recovered **recovered, struct buf *problem);
/* Readers are closed before.  NULL is fine. */
void store_close(struct store *s);
/* The file was corrupt: it was renamed, never deleted, and an empty one took its place. */
bool store_was_corrupt(const struct store *s);
/* So it was at this start or at one before, and nobody has called store_rebuilt() since. */
bool store_is_rebuilding(const struct store *s);
void store_rebuilt(struct store *s);
/* The next start takes the file for corrupt, though it can be opened. */
MUST_USE enum err store_condemn(struct store *s);

struct commit_result {
    enum err err;
    uint64_t lsn_first;
};

/* All commits in one transaction: one fsync.  result[i] belongs to commit[i]; all
 * succeed or all fail (a PROBE after refused ones stands on its own).  `received`
 * is the wall clock now.  Does not take over references. */
void store_commit(struct store *s, const struct commit *commit, uint32_t count,
                  struct wall received, struct commit_result *result);

/* The same, and behind the commits a step of retention as store_retain() does it: in the same
 * transaction, so with the same fsync.  True: one was made, and *out is what it took or NULL;
 * its results come after those of the commits.  While that says `more`, groups of some 2000
 * messages keep the step small, and it keeps pace.  False: there is to be another attempt, by
 * store_retain() if it goes on like that: commits are refused, or room is scarce.  A step that
 * fails fails no commit that would not have failed without. */
bool store_commit_retain(struct store *s, const struct commit *commit, uint32_t count,
                         struct wall now, struct commit_result *result,
                         const struct retention *policy, struct retained **out);

/* Housekeeping between commits (checkpoint, topic snapshot); call when idle and
 * at least once a second.  `idle`: also give memory back, and what the WAL takes of the
 * disk; false: another program reads it, so that has to be tried again. */
bool store_tend(struct store *s, bool idle);

/* One step of retention: takes whole batches off the front, for no more than a few
 * milliseconds, in a transaction of its own.  The newest message of a topic moves to `kept`.
 * Also while commits are refused.  *out is NULL when nothing was to be done, which costs next
 * to nothing; else it is given back by retained_drop() of core/page.h.  On failure nothing
 * happened. */
MUST_USE enum err store_retain(struct store *s, const struct retention *policy, struct wall now,
                               struct retained **out);

/* The newest message of a topic that can be read, as one entry of a page; NOTFOUND, or CORRUPT:
 * none can.  On the store's thread. */
MUST_USE enum err store_latest(struct store *s, struct str topic, struct page **page);

struct store_disk {
    bool     has_room;    /* there is more than the reserve; until then hand over nothing new */
    bool     has_reserve; /* there is a quarter of it; else commits of batches fail */
    bool     is_read_only;
    bool     is_scarce;  /* not much more than the reserve is free */
    bool     is_corrupt; /* the file was found broken in a way that only a new one mends */
    uint64_t free_bytes, file_bytes, wal_bytes;
    uint64_t lack_bytes; /* so many more have to be free */
};
/* Instead of that of store_config, from the next look on. */
void store_set_reserve(struct store *s, size_t bytes);
/* Looks, after which store_disk() knows; each commit of a batch does too. */
void                     store_look(struct store *s);
const struct store_disk *store_disk(const struct store *s);

/* One line per topic: name, messages, newest lsn.  Runs on the store's thread. */
typedef void store_topic_visitor(void *ctx, struct str name, uint64_t count, uint64_t newest_lsn);
void         store_topics(struct store *s, store_topic_visitor *visit, void *ctx);

MUST_USE enum err store_reader_open(struct store_reader **reader, const struct store *s);
void              store_reader_close(struct store_reader *r);
/* What is damaged stands in the page, in the place of what was there; CORRUPT: the file is, so
 * that nothing can be read.  *page has one reference; each batch in it has one of its own, the
 * caller's too.  A page may be empty and still move lsn_next on: a call looks at a bounded piece
 * of the log.  count_max 0: no bound. */
MUST_USE enum err store_read(struct store_reader *r, const struct read *read, struct page **page);
/* Nobody reads: gives back what only made the next reads faster.  On the reader's thread. */
void store_reader_rest(struct store_reader *r);

#endif
