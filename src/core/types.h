/* types.h - the nouns that core shares with the codecs and the store.
 *
 * Plain data only.  Words are those of docs/ARCHITECTURE.md: a batch is a sealed
 * run of one stream; a mark is (stream, seq); a vector maps streams to the highest
 * contiguous seq; lsn is a position in one broker's own log. */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H

#include "base/hash.h"
#include "base/instant.h"
#include "base/limits.h"
#include "base/str.h"

/* ---- who ---- */

/* An announced address.  IPv4 sorts below IPv6, then address bytes, then port. */
struct addr {
    uint8_t  family; /* 4, 6, or 0 for none */
    uint8_t  ip[16]; /* IPv4: the first four bytes, the rest zero */
    uint16_t port;   /* host order */
};

/* A coordinator's term.  Tokens sort as (epoch, addr, nonce); epoch 0: none. */
struct token {
    uint64_t    epoch;
    struct addr addr;
    uint64_t    nonce;
};

/* ---- where in the log ---- */

struct mark {
    uint64_t stream; /* 1 .. 2^63-1, random; 0: none */
    uint64_t seq;    /* 1, 2, 3...; 0: nothing of it */
};

/* Marks sorted by stream, each stream once.  A missing stream counts as seq 0. */
struct vector {
    struct mark *at;
    uint32_t     count, cap;
};

/* ---- messages ---- */

enum { MSG_DIGEST_ONLY = 1 }; /* the message was removed here: only its digest is left */

struct msg {
    struct str     topic;
    struct str     headers; /* "name: value\n"...: "content-type", "meta-*"; may be empty */
    struct str     body;
    struct hash128 digest; /* over topic, headers and body: see batch.h */
    uint8_t        flags;
};

/* A sealed batch; immutable; a blob (base/blob.h), shared by reference counts.
 * Everything it points to lies in the same blob.
 *
 * With stream 0 it is live: never stored.  It has stamps, a time, an origin and messages, and
 * neither seqs nor deps, digests and chain. */
struct batch {
    uint64_t           stream, first;
    uint32_t           count;         /* messages; a gap has none */
    uint64_t           gap_last;      /* not 0: a gap, see below */
    struct hash128     prev, chain;   /* chain of the batch before (zero for seq 1) and of this */
    uint64_t           lamport_first; /* message i has lamport_first + i */
    struct wall        wall;          /* the origin's clock at sealing */
    struct str         origin;        /* "host:port"; only in a stream's first batch */
    const struct mark *deps;          /* batch ends, sorted by stream; what changed since */
    uint32_t           deps_count;
    const struct msg  *msg;
};

/* A gap stands for messages first..gap_last, which nobody in reach has any more.  It takes one
 * lsn, like a batch of one message.  `chain` and `lamport_first` are those at gap_last, `prev`
 * is zero, `origin` is always there; `deps` must be held before anything above it is stored,
 * `wall` is when it was taken. */
static inline bool
batch_is_gap(const struct batch *b)
{
    return b->gap_last != 0;
}

static inline uint64_t
batch_last(const struct batch *b)
{
    return b->gap_last != 0 ? b->gap_last : b->first + b->count - 1;
}

/* How many lsns it takes. */
static inline uint32_t
batch_lsns(const struct batch *b)
{
    return b->gap_last != 0 ? 1 : b->count;
}

/* The Lamport time at its last seq. */
static inline uint64_t
batch_stamp(const struct batch *b)
{
    return b->gap_last != 0 ? b->lamport_first : b->lamport_first + b->count - 1;
}

/* One message as it is delivered, from memory or from disk; or a gap in its place, which
 * has no topic, headers and body.  One that is live has neither lsn nor mark.  Borrowed. */
struct entry {
    uint64_t    lsn;
    struct mark mark;
    uint64_t    lamport;
    struct wall wall;
    struct str  origin; /* "host:port" of the stream's broker */
    struct str  topic, headers, body;
    bool        late;   /* stored before something it may depend on */
    uint64_t    gap_to; /* not 0: mark.seq .. gap_to of mark.stream are gone */
    uint64_t    live;   /* not 0: it is stored nowhere; a number of its own in this process */
    uint64_t    lost;   /* live: so many before it did not wait for this subscription */
};

/* What the operator says of some topics; of several rules that match a topic the last counts. */
struct topic_rule {
    struct str filter;
    bool       store;
};

/* Marks that several hold; a blob (base/blob.h). */
struct mark_list {
    uint32_t    count;
    struct mark at[]; /* sorted by stream */
};

#endif
