/* journal.h - the replicated messages, as core knows them: every stream's head, the
 * rule by which a batch is stored, and the newest batches in memory.
 *
 * held    = durable plus what was handed to the store; the store rule uses it
 * durable = on disk; deps, heads, cursors and delivery use it alone
 *
 * Invariant: both are causally closed cuts, since a batch is handed over only when
 * it is the next of its stream and `held` covers its deps; so lsn order is a causal
 * order.  The store commits in the order of handing over, or fails all of it.
 *
 * The tail: batches [tail_lsn, lsn] are in memory; older ones are on disk alone. */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "core/types.h"
#include "core/types_store.h"

/* What is to be done with a batch that came from a peer. */
enum verdict {
    VERDICT_STORE,     /* hand it over now */
    VERDICT_DUPLICATE, /* drop it */
    VERDICT_WAIT,      /* hold it back until `missing` is held */
    VERDICT_REFUSE,    /* it contradicts what is held: freeze its stream */
    VERDICT_LIMIT,     /* no room for another stream: drop it */
};

struct stream {
    uint64_t       id;
    uint64_t       held, durable;
    struct hash128 held_chain, durable_chain;
    uint64_t       held_stamp, durable_stamp; /* lamport at that seq */
    struct str     origin;                    /* owned */
    bool           frozen;
    bool           live;               /* minted by this process: ours alone to append to */
    uint64_t       changed;            /* journal.changes when `durable` last moved */
    struct list    by_change;          /* journal.by_change: oldest change first */
    struct list    deps_dirty;         /* moved since the last own batch was sealed */
    struct list    waiting;            /* held-back batches that want more of this stream */
    struct list    lacking;            /* gossip: some peer has more than we hold */
    struct list    released;           /* gossip: held moved, look at `waiting` */
    uint64_t       known[MEMBERS_MAX]; /* gossip: durable at the peer in that slot */
    struct mono    progress;           /* gossip: when something of it last came */
};

struct tail_item {
    uint64_t      lsn; /* of the first message */
    struct batch *batch;
    bool          late;
};

struct journal;

void journal_init(struct journal *j, const struct recovered *recovered, size_t tail_bytes);
void journal_fini(struct journal *j);

struct stream *journal_find(const struct journal *j, uint64_t stream);
/* Finds or adds; NULL: STREAMS_MAX is reached. */
struct stream *journal_stream(struct journal *j, uint64_t stream);
/* A stream of this process.  NULL as above. */
struct stream *journal_mint(struct journal *j, uint64_t stream, struct str origin);

/* A stream of this process that never reached a disk: nobody knows it, so it goes.  Kept
 * when something waits for it all the same. */
void journal_drop(struct journal *j, struct stream *s);

/* The store rule.  `b` is valid and its digests are filled in; on WAIT, *missing says
 * what must be held first. */
enum verdict journal_judge(struct journal *j, const struct batch *b, struct mark *missing);
/* It goes to the store: held moves. */
void journal_hand_over(struct journal *j, const struct batch *b);
/* It is on disk at lsn: durable moves, the tail takes a reference of its own. */
void journal_persist(struct journal *j, struct batch *b, uint64_t lsn, bool late);
/* What was handed over is not on disk: held falls back to durable. */
void journal_roll_back(struct journal *j);
void journal_freeze(struct journal *j, struct stream *s);

/* Marks that moved since the last call, but for the live stream, sorted by stream;
 * all of them when `all`.  For the deps of the next own batch. */
uint32_t journal_deps(struct journal *j, bool all, struct mark *deps, uint32_t deps_max);

/* The batch in memory that holds this lsn, or NULL. */
const struct tail_item *journal_tail_at(const struct journal *j, uint64_t lsn);
/* The lowest lsn whose message `have` does not hold, when it is in memory or there is
 * none (lsn + 1); 0: it may be on disk alone. */
uint64_t journal_first_missing(const struct journal *j, const struct vector *have);
/* The vector just before `lsn`, which is in memory or lsn + 1. */
void journal_vector_before(const struct journal *j, uint64_t lsn, struct vector *v);
/* Nobody needs the tail now: keep this much of it. */
void journal_trim_tail(struct journal *j, size_t bytes);

/* ---- private ---- */
struct journal {
    struct pool       streams;
    struct map        by_id;
    struct vector     durable;
    uint64_t          lsn;     /* last durable one */
    uint64_t          stamp;   /* highest durable */
    uint64_t          changes; /* counts moves of durable */
    struct list       by_change, deps_dirty;
    struct tail_item *tail; /* ring */
    uint32_t          tail_first, tail_count, tail_cap;
    uint64_t          tail_lsn; /* lsn of its first message, lsn + 1 when empty */
    size_t            tail_used, tail_bytes;
    uint64_t          frozen_count;
};

#endif
