/* types_store.h - what core hands to the store, and what it finds there at start. */
#ifndef CORE_TYPES_STORE_H
#define CORE_TYPES_STORE_H

#include "base/err.h"
#include "core/types.h"

/* ---- found at start ---- */

struct stream_state {
    uint64_t       stream, head, floor;
    struct hash128 chain; /* at head */
    uint64_t       stamp; /* lamport of the message at head */
    struct str     origin;
    bool           frozen; /* refused from here on: first branch kept */
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
    struct token               token; /* accepted; epoch 0: none */
    uint64_t                   epoch; /* highest seen */
    uint64_t                   lsn;   /* last in use; 0: empty */
    uint64_t                   stamp; /* highest stored */
};

/* ---- to be committed, in this order ---- */

enum commit_kind {
    COMMIT_BATCH,    /* append the batch; its messages get the next lsns */
    COMMIT_ELECTION, /* token and epoch */
    COMMIT_MEMBERS,  /* the roster, whole */
    COMMIT_FROZEN,   /* the stream is refused from now on */
    COMMIT_PROBE,    /* nothing but: does the disk take a write again? */
};

/* The roster as it is to be stored; a blob (hosts lie in the same blob). */
struct member_list {
    uint32_t           count;
    struct member_info at[];
};

struct commit {
    uint64_t            id; /* rises by one with each commit */
    enum commit_kind    kind;
    struct batch       *batch;   /* BATCH: one reference, passed along */
    bool                late;    /* BATCH: a waiver let it in */
    struct token        token;   /* ELECTION */
    uint64_t            epoch;   /* ELECTION */
    uint64_t            stream;  /* FROZEN */
    struct member_list *members; /* MEMBERS: one reference, passed along */
};

/* ---- reading history ---- */

enum read_start {
    READ_AT_LSN,    /* from lsn on */
    READ_AT_VECTOR, /* from the lowest lsn whose message `have` does not hold */
    READ_SINCE,     /* from the first lsn that came here at or after `since` */
};

/* May a topic be wanted?  Runs on the reader's thread. */
typedef bool read_want(const void *ctx, struct str topic);

struct read {
    enum read_start start;
    uint64_t        lsn, lsn_last; /* never beyond lsn_last: core knows it persisted */
    struct vector   have;          /* messages it holds are skipped; borrowed */
    struct wall     since;
    bool            batches;   /* whole batches, for a peer; else messages, for a session */
    read_want      *want;      /* messages: NULL for all */
    const void     *want_ctx;  /* a blob, or NULL */
    size_t          bytes_max; /* stop after the entry that reaches it */
    uint32_t        count_max;
};

/* The answer; a blob that owns all it points to, but for the batches, which it keeps:
 * only its last holder may give it back, by page_drop(). */
struct page {
    uint64_t             lsn_first; /* where the scan began */
    uint64_t             lsn_next;  /* everything below is scanned; lsn_last + 1 at the end */
    const struct entry  *entry;
    struct batch *const *batch;
    const uint64_t      *batch_lsn; /* of each batch's first message */
    uint32_t             count;     /* entries or batches */
    const struct mark   *before;    /* READ_SINCE: the vector just before lsn_first */
    uint32_t             before_count;
    const struct mark   *scanned; /* highest seq per stream in [lsn_first, lsn_next) */
    uint32_t             scanned_count;
    uint64_t             stamp; /* highest lamport scanned */
};

#endif
