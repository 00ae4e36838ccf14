/* store_mem.h - a broker's disk for the simulator: what store.h promises, in memory.
 *
 * No threads, no clock, no I/O: the simulator decides when a commit is done and
 * whether it fails.  What was committed survives the broker; so a crash is to throw
 * the broker away and to keep this.  Batches are kept by reference, in lsn order. */
#ifndef STORE_STORE_MEM_H
#define STORE_STORE_MEM_H

#include "base/buf.h"
#include "base/err.h"
#include "core/types_store.h"
#include "store/store.h"

struct store_mem;

struct store_mem *store_mem_new(void);
void              store_mem_free(struct store_mem *s);
/* An empty disk again. */
void store_mem_wipe(struct store_mem *s);
/* *to becomes an equal disk, as of now. */
struct store_mem *store_mem_copy(const struct store_mem *s);

/* Valid until the next call on `s`. */
const struct recovered *store_mem_recover(struct store_mem *s);

/* As store_commit(), refusals after a failure included. */
void store_mem_commit(struct store_mem *s, const struct commit *commit, uint32_t count,
                      struct wall received, struct commit_result *result);
/* The next `skip` transactions succeed, then `failures` fail with `err`. */
void store_mem_fail(struct store_mem *s, uint32_t skip, uint32_t failures, enum err err);

/* As store_read(). */
MUST_USE enum err store_mem_read(struct store_mem *s, const struct read *read, struct page **page);

/* A line for each stream, sorted: "stream first..last chain", and for each message in
 * (lamport, stream, seq) order its id and body: equal dumps, equal contents. */
void store_mem_dump(const struct store_mem *s, struct buf *text);
/* The i-th batch in lsn order; NULL behind the last.  *lsn: of its first message. */
const struct batch *store_mem_batch(const struct store_mem *s, uint32_t i, uint64_t *lsn);

#endif
