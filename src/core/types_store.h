/* types_store.h - what core hands to the store, and what it finds there at start. */
#ifndef CORE_TYPES_STORE_H
#define CORE_TYPES_STORE_H

#include "base/err.h"
#include "core/types.h"

/* ---- found at start ---- */

struct stream_state {
    uint64_t       stream;
    uint64_t       head;  /* 0: nothing of it, but something of it was waived */
    uint64_t       floor; /* highest seq that retention took, or a gap at the front stands for */
    struct hash128 chain, floor_chain; /* at head, at floor */
    uint64_t       stamp, floor_stamp; /* lamport of the message there */
    uint64_t       gap;                /* end of the highest gap in the log; 0: none */
    struct wall    came;   /* when the newest of it came here, or to who told of a gap */
    uint64_t       waived; /* counts as held, for deps alone; 0: none */
    struct str     origin;
    bool           frozen;  /* refused from here on: first branch kept */
    bool           retired; /* fully expired and long quiet: in no vector, refused */
    /* What must be held before anything above head, and above floor, is stored; mostly NULL. */
    const struct mark_list *owed, *floor_owed;
};

enum { MEMBER_FORGOTTEN = 1, MEMBER_AWAY = 2 };

struct member_info {
    struct addr addr;
    struct str  host;
    uint64_t    version; /* the greater one wins; at a tie the forgotten one */
    uint64_t    nonce;   /* of the forgotten instance; 0: unknown */
    uint8_t     flags;
};

struct recovered {
    const struct stream_state *stream;
    uint32_t                   stream_count;
    const struct member_info  *member;
    uint32_t                   member_count;
    struct token               token;     /* accepted; epoch 0: none */
    uint64_t                   epoch;     /* highest seen */
    uint64_t                   lsn;       /* last in use; 0: empty */
    uint64_t                   lsn_first; /* oldest that retention left; lsn + 1: none */
    uint64_t                   stamp;     /* highest stored */
};

/* ---- to be committed, in this order ---- */

enum commit_kind {
    COMMIT_BATCH,    /* append the batch; its messages get the next lsns */
    COMMIT_GAPS,     /* append gaps that were taken together, all or none; an lsn each */
    COMMIT_ELECTION, /* token and epoch */
    COMMIT_MEMBERS,  /* the roster, whole */
    COMMIT_FROZEN,   /* the stream is refused from now on */
    COMMIT_PROBE,    /* nothing but: does the disk take a write again? */
    COMMIT_WAIVED,   /* `mark` counts as held for deps from now on */
    COMMIT_LATEST,   /* `batch` is one message: kept when it is the newest of its topic */
    COMMIT_REPAIR,   /* `batch` is stored, and damaged: its rows are written anew */
    COMMIT_KNOWN,    /* what a peer has on disk, for the view `lag` */
};

/* The roster as it is to be stored; a blob (hosts lie in the same blob). */
struct member_list {
    uint32_t           count;
    struct member_info at[];
};

/* Gaps; a blob.  Who holds it has one reference of the list and one of each gap in it:
 * gap_list_keep() and gap_list_drop() of core/page.h. */
struct gap_list {
    uint32_t      count;
    struct batch *at[];
};

/* The durable heads of a peer; a blob. */
struct known_vector {
    struct addr addr;
    uint32_t    count;
    struct mark at[];
};

struct commit {
    uint64_t             id; /* rises by one with each commit */
    enum commit_kind     kind;
    struct batch        *batch;   /* BATCH, LATEST, REPAIR: one reference, passed along */
    bool                 late;    /* BATCH: a waiver let it in */
    struct gap_list     *gaps;    /* GAPS: passed along */
    struct mark          mark;    /* WAIVED */
    struct known_vector *known;   /* KNOWN: one reference, passed along */
    struct token         token;   /* ELECTION */
    uint64_t             epoch;   /* ELECTION */
    uint64_t             stream;  /* FROZEN */
    struct member_list  *members; /* MEMBERS: one reference, passed along */
};

/* ---- retention ---- */

struct retention {
    uint64_t age_ms;    /* older goes, by min(origin's clock, time of arrival); 0: nothing does */
    uint64_t bytes;     /* of the file in use: the oldest go until it fits; 0: no limit */
    uint64_t retire_ms; /* a stream that is fully expired and so long quiet goes; 0: never */
};

struct stream_floor {
    uint64_t          stream, floor;
    struct hash128    chain; /* at floor, as are the rest */
    uint64_t          stamp;
    struct mark_list *owed; /* mostly NULL; one reference, of the struct retained */
};

/* What a step of retention took, on disk by then; given back by retained_drop(). */
struct retained {
    uint64_t                   lsn_first; /* oldest that is left; last + 1: none */
    bool                       more;      /* there is more to take at once */
    uint32_t                   count, retired_count, forgotten_count;
    const struct stream_floor *floor;     /* those that moved */
    const uint64_t            *retired;   /* streams: in no vector from now on, refused */
    const uint64_t            *forgotten; /* retired for as long again: unknown from now on */
};

/* ---- reading history ---- */

enum read_start {
    READ_AT_LSN,    /* from lsn on */
    READ_AT_VECTOR, /* from the lowest lsn whose message `have` does not hold */
    READ_SINCE,     /* from the first lsn that came here at or after `since` */
    READ_KEPT,      /* kept messages that `have` does not hold, from topic number lsn on */
};

/* May a topic be wanted?  Runs on the reader's thread. */
typedef bool read_want(const void *ctx, struct str topic);

struct read {
    enum read_start   start;
    uint64_t          lsn, lsn_last; /* never beyond lsn_last: core knows it persisted */
    struct vector     have;          /* messages it holds are skipped; borrowed */
    struct wall       since;
    bool              batches;  /* whole batches, for a peer; else messages, for a session */
    read_want        *want;     /* messages: NULL for all */
    const void       *want_ctx; /* a blob, or NULL */
    const struct str *literal;  /* in want_ctx: exactly these topics are wanted; NULL: ask */
    uint32_t          literal_count;
    size_t            bytes_max; /* stop after the entry that reaches it */
    uint32_t          count_max;
};

/* A stored batch that cannot be read as it was sealed. */
struct damage {
    uint64_t       stream, first, last;
    struct hash128 chain; /* zero: not known either */
    uint64_t       lsn;   /* of its first message; 0: not known, or not stored yet */
};

/* The answer; a blob that owns all it points to, but for the batches, which it keeps:
 * only its last holder may give it back, by page_drop().
 *
 * Entries: first of all a gap for each stream whose floor `have` is below (AT_LSN: when the
 * log begins above lsn, else it has been said); then messages and gaps in lsn order.  A message
 * that is damaged is a gap, together with its neighbours that are.  KEPT: lsn_next is where to go
 * on, 0 at the end.
 *
 * Batches: each that is among `damage` is as it was sealed, by what else the store says of it,
 * without the text of some messages; or a gap in its place; or it is left out. */
struct page {
    uint64_t             lsn_first; /* where the scan began */
    uint64_t             lsn_next;  /* everything below is scanned; lsn_last + 1 at the end */
    const struct entry  *entry;
    struct batch *const *batch;
    const uint64_t      *batch_lsn; /* of each batch's first message */
    uint32_t             count;     /* entries or batches */
    const struct mark   *before;    /* READ_SINCE: the vector just before lsn_first */
    uint32_t             before_count;
    const struct mark   *scanned; /* of [lsn_first, lsn_next) and maybe of what lies below */
    uint32_t             scanned_count;
    uint64_t             stamp;  /* highest lamport scanned, or below lsn_first */
    const struct damage *damage; /* found on the way */
    uint32_t             damage_count;
};

#endif
