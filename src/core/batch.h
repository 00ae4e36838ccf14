/* batch.h - making a batch: one blob that holds its messages, deps and origin.
 *
 * digest(message) = XXH3-128( u16 topic bytes, topic, u32 headers bytes, headers, body )
 * chain(batch)    = XXH3-128( previous chain, u64 stream, u64 first, u32 count,
 *                   u64 lamport_first, u64 wall ms, u8 origin bytes, origin,
 *                   u32 deps, (u64 stream, u64 seq)..., digest... )
 * All integers big-endian.  A message that was removed leaves its digest, and the
 * chain still verifies. */
#ifndef CORE_BATCH_H
#define CORE_BATCH_H

#include "base/err.h"
#include "core/types.h"
#include "core/types_frame.h"

/* What a batch is made of; everything borrowed.  msg[i].digest is ignored unless
 * MSG_DIGEST_ONLY is set. */
struct batch_parts {
    uint64_t           stream, first;
    struct hash128     prev;
    uint64_t           lamport_first;
    struct wall        wall;
    struct str         origin;
    const struct mark *deps;
    uint32_t           deps_count;
    const struct msg  *msg;
    uint32_t           count;
};

/* A new blob with one reference: copies all parts, computes digests and chain. */
struct batch *batch_make(const struct batch_parts *parts);

/* The same of messages that are never stored: neither digests nor chain.  stream is 0, and no deps
 * are given. */
struct batch *batch_make_live(const struct batch_parts *parts);

/* A new blob with one reference: the gap from `first` on, up to where the frame's ends. */
struct batch *batch_gap(const struct frame_gap *gap, uint64_t first, struct wall wall);

/* Fills in the digests of a batch that came from a link; false: its chain does not
 * fit its contents.  Only before anyone else holds the batch. */
bool batch_digests(struct batch *b);

/* What it, or a gap, counts against a pull's credit: the same number at both ends. */
size_t batch_cost(const struct batch *b);
/* What a LATEST with this message counts. */
size_t latest_cost(const struct msg *m);

/* Memory it takes, for budgets. */
size_t batch_bytes(const struct batch *b);

/* Within the protocol's limits, topics valid, deps sorted, stamps below 2^53?
 * What is false here is false at every broker, for ever. */
bool batch_is_valid(const struct batch *b);
/* The same of one that is live. */
bool live_is_valid(const struct batch *b);
/* The same of what a GAP and a LATEST say. */
bool gap_is_valid(const struct frame_gap *gap);
bool latest_is_valid(const struct frame_latest *latest);

struct hash128 batch_digest(struct str topic, struct str headers, struct str body);

int addr_cmp(const struct addr *a, const struct addr *b);
int token_cmp(const struct token *a, const struct token *b);

enum { ADDR_TEXT_BYTES = 56 };
/* "127.0.0.1:3000" or "[::1]:3000", zero-terminated. */
void addr_text(const struct addr *a, char text[ADDR_TEXT_BYTES]);

enum { MARK_TEXT_BYTES = 38 };
/* 16 hex digits of the stream, '-', seq in decimal: a message's id, zero-terminated; its
 * length. */
size_t mark_text(struct mark m, char text[MARK_TEXT_BYTES]);

#endif
