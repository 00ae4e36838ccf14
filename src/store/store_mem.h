/* store_mem.h - the journal without a disk, for the simulator and for tests.
 *
 * The promises of store.h, deterministic and in one thread: what store_mem_commit()
 * answered with OK is on the "disk" and survives a crash of the simulated process,
 * since only store_mem_wipe() and store_mem_free() take anything away.  Batches are
 * kept by reference, in lsn order. */
#ifndef STORE_STORE_MEM_H
#define STORE_STORE_MEM_H

#include "base/buf.h"
#include "store/store.h"

struct store_mem;

struct store_mem *store_mem_new(void);
void              store_mem_free(struct store_mem *m);
/* The disk as it is now: an old copy, to be put back later. */
struct store_mem *store_mem_copy(const struct store_mem *m);
/* A new, empty disk in the same place. */
void store_mem_wipe(struct store_mem *m);

/* What a start finds; a process that starts refuses nothing yet.  Lives until the
 * next call, store_mem_wipe() or store_mem_free(). */
const struct recovered *store_mem_recover(struct store_mem *m);

/* As store_commit(). */
void store_mem_commit(struct store_mem *m, const struct commit *commit, uint32_t count,
                      struct wall received, struct commit_result *result);
/* Transactions fail with `e` from the k-th one on (1: the next one), `count` of them. */
void store_mem_fail(struct store_mem *m, uint32_t k, uint32_t count, enum err e);

/* A bit of a stored message flips: from now on only its digest can be read.  False: it is not
 * there. */
bool store_mem_flip(struct store_mem *m, struct mark mark);

/* As store_read(); it looks at fewer messages a call. */
MUST_USE enum err store_mem_read(const struct store_mem *m, const struct read *read,
                                 struct page **page);

/* As store_retain(); each message counts its bytes and 64 more. */
MUST_USE enum err store_mem_retain(struct store_mem *m, const struct retention *policy,
                                   struct wall now, struct retained **out);

/* NULL: nothing is known of the stream. */
const struct stream_state *store_mem_state(const struct store_mem *m, uint64_t stream);
/* A line per stream: id, floor + 1, head, chain at head; equal texts, equal contents. */
void store_mem_dump(const struct store_mem *m, struct buf *out);
/* The newest message of a topic, from the log or kept: its body; false: there is none. */
bool     store_mem_newest(const struct store_mem *m, struct str topic, struct mark *mark,
                          struct str *body);
uint32_t store_mem_batches(const struct store_mem *m);
/* The i-th batch in lsn order, NULL behind the last; *lsn is that of its first message. */
const struct batch *store_mem_batch(const struct store_mem *m, uint32_t i, uint64_t *lsn);

#endif
