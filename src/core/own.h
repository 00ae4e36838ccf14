/* own.h - what clients publish here, cut into sealed batches of a stream of ours.
 *
 * Publishes wait unsealed while the store is busy, so that one commit takes many.
 * A stream is minted with its first batch.  When a commit fails, or nothing was published
 * for long, the stream is burned: nothing is ever appended to it again, and the next batch
 * mints another. */
#ifndef CORE_OWN_H
#define CORE_OWN_H

#include "base/err.h"
#include "base/prng.h"
#include "core/journal.h"
#include "core/queue.h"
#include "core/stamp.h"
#include "core/types.h"

struct own;

void own_init(struct own *o, struct str origin, uint64_t seed);
void own_fini(struct own *o);

/* Cut a batch off the queue (there must be something): stamps it, moves the clock and
 * the journal's held head.  LIMIT: no room for another stream, or no
 * stamps left. */
MUST_USE enum err own_seal(struct own *o, struct journal *j, struct stamp *clock, struct wall wall,
                           struct sealed *sealed);
/* A commit failed, or it was quiet for so long that others may retire it soon: never append
 * to this stream again. */
void own_burn(struct own *o, struct journal *j);

/* ---- private ---- */
struct own {
    uint64_t     stream; /* 0: to be minted */
    struct str   origin; /* borrowed */
    struct prng  prng;
    struct queue queue;
    struct mark *deps;
};

#endif
