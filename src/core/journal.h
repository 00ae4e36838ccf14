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
 * Retention takes batches off the front of the log; `floor` is the highest seq of a
 * stream that is gone that way.  A gap (types.h) stands in the log for what nobody in
 * reach has any more; it moves `floor` too when nothing of its stream lies before it.
 * A gap needs no deps to be stored, since nobody reads it: what its messages depended on
 * is `owed`, and must be held before the next batch of the stream is.  That is never less
 * than it was, but mostly more; so what is stamped later than the gap's end is left out. */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "core/tail.h"
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
    uint64_t          id;
    uint64_t          held, durable;
    struct hash128    held_chain, durable_chain;
    uint64_t          held_stamp, durable_stamp; /* lamport at that seq */
    struct str        origin;                    /* owned */
    uint64_t          floor;
    struct hash128    floor_chain;
    uint64_t          floor_stamp;
    uint64_t          waived; /* counts as held when others depend on it; 0: none */
    uint64_t          waived_durable;
    uint64_t          owed_at;             /* `owed` is for what comes above this seq */
    uint64_t          next_at, next_stamp; /* what comes above next_at has at least this stamp */
    struct mark_list *owed;                /* one reference, or NULL; as are the next two */
    struct mark_list *durable_owed;        /* for what comes above `durable` */
    struct mark_list *floor_owed;          /* for what comes above the floor */
    struct wall       came;                /* when its newest came here, or to who told of a gap */
    bool              frozen;
    uint64_t          gap;             /* end of the highest that is durable; 0: none */
    bool              live;            /* minted by this process: ours alone to append to */
    uint64_t          changed;         /* journal.changes when `durable` last moved */
    struct list       by_change;       /* journal.by_change: oldest change first */
    struct list       deps_dirty;      /* moved since the last own batch was sealed */
    struct list       waiting;         /* held-back batches that want more of it, by seq */
    bool              wanted_by_stamp; /* some of them would do with knowing its next stamp */
    struct list       lacking;         /* gossip: some peer has more than we hold */
    struct list       released;        /* gossip: held moved, look at `waiting` */
    struct list       offers;          /* gossip: gaps of it that links offer */
    uint64_t          in_hand; /* gossip: all above held up to here is held back, if above held */
    uint64_t          known[MEMBERS_MAX];       /* gossip: durable at the peer in that slot */
    uint64_t          known_floor[MEMBERS_MAX]; /* ... and what is gone there */
    uint64_t          known_gap[MEMBERS_MAX];   /* ... up to where some of it may be */
    uint64_t          floor_told;               /* gossip: to peers; see floors_settle() */
    struct mono       progress;                 /* gossip: when something of it last came */
    struct mono       lost;                     /* gossip: when who knew most of it went */
};

/* A stream that is fully expired and was quiet for long: it is in no vector, and nothing
 * of it is taken. */
struct retired {
    uint64_t id, head, stamp;
};

struct journal;

void journal_init(struct journal *j, const struct recovered *recovered, size_t tail_bytes);
void journal_fini(struct journal *j);

struct stream *journal_find(const struct journal *j, uint64_t stream);
/* Finds or adds; NULL: STREAMS_MAX is reached, or it is retired. */
struct stream *journal_stream(struct journal *j, uint64_t stream);
/* A stream of this process.  NULL as above. */
struct stream *journal_mint(struct journal *j, uint64_t stream, struct str origin);

/* A stream of this process that never reached a disk: nobody knows it, so it goes.  Kept
 * when something waits for it all the same. */
void journal_drop(struct journal *j, struct stream *s);

/* NULL: it is not retired. */
const struct retired *journal_retired(const struct journal *j, uint64_t stream);

/* Of a stream that is retired a cursor needs no mark once its stamp says that it was seen; so
 * cursors shrink. */
void journal_drop_retired(const struct journal *j, struct vector *seen, uint64_t stamp);

/* The store rule, for a batch of messages.  It is valid and its digests are filled in.  On
 * WAIT, *missing says what must be held first; on STORE, *late that only a waiver or a
 * frozen stream lets it in. */
enum verdict journal_judge(struct journal *j, const struct batch *b, struct mark *missing,
                           bool *late);
/* A batch that waits for something else: when it is the next of its stream, nothing before its
 * stamp is missing there.  True: that was not known. */
bool journal_note_next(struct journal *j, const struct batch *b);
/* Is nothing of the stream missing that may have been stamped before? */
bool stream_is_past(const struct stream *s, uint64_t stamp);
/* Is it held, or does it count as held? */
bool journal_covers(const struct journal *j, struct mark m, bool *late);
/* It goes to the store: held moves.  A gap begins right above what is held. */
void journal_hand_over(struct journal *j, const struct batch *b);
/* It is on disk at lsn: durable moves, the tail takes a reference of its own. */
void journal_persist(struct journal *j, struct batch *b, uint64_t lsn, bool late);
/* What was handed over is not on disk: held falls back to durable. */
void journal_roll_back(struct journal *j);
void journal_freeze(struct journal *j, struct stream *s);
/* Nobody can supply the stream up to here: it counts as held, for deps alone. */
void journal_waive(struct stream *s, uint64_t seq);
void journal_waiver_persist(struct journal *j, struct mark m);

/* Marks that moved since the last call, but for the live stream, sorted by stream;
 * all of them when `all`.  For the deps of the next own batch. */
uint32_t journal_deps(struct journal *j, bool all, struct mark *deps, uint32_t deps_max);

/* The lowest lsn whose message `have` does not hold, when it is in memory or there is
 * none (lsn + 1); 0: it may be on disk alone. */
uint64_t journal_first_missing(const struct journal *j, const struct vector *have);
/* The vector just before `lsn`, which is in memory or lsn + 1. */
void journal_vector_before(const struct journal *j, uint64_t lsn, struct vector *v);

/* ---- retention ---- */

/* Fully expired, and quiet for half of what it takes to be retired: other brokers, whose clocks
 * differ, may have retired it already. */
bool journal_may_be_retired(const struct journal *j, const struct stream *s);
/* The floors of all streams: where `earliest` begins. */
MUST_USE enum err journal_floors(const struct journal *j, struct vector *v);
/* A step of retention is on disk. */
void journal_retain(struct journal *j, const struct retained *r);

/* ---- private ---- */
struct journal {
    struct pool   streams;
    struct map    by_id;
    struct vector durable;
    uint64_t      lsn;         /* last durable one */
    uint64_t      stamp;       /* highest durable */
    uint64_t      changes;     /* counts moves of durable */
    uint64_t      floor_moves; /* counts moves of floors, from 1 on */
    struct wall   wall;        /* now, and how long a stream is quiet before it is retired: */
    uint64_t      retire_ms;   /* both are set by the broker */
    struct list   by_change, deps_dirty;
    struct pool   retired;
    struct map    retired_by_id;
    uint64_t      lsn_first; /* oldest that retention left; lsn + 1: none */
    struct tail   tail;      /* up to lsn */
    uint64_t      frozen_count;
};

#endif
