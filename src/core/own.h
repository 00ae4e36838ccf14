/* own.h - what clients publish here: a queue that is cut into sealed batches.
 *
 * Publishes wait unsealed while the store is busy, so that one commit takes many.
 * A stream is minted with its first batch.  When a commit fails, or nothing was published
 * for long, the stream is burned: nothing is ever appended to it again, and the next batch
 * mints another.
 *
 * Serials number the publishes of this process 1, 2, 3... in order; a range of them
 * is answered at once. */
#ifndef CORE_OWN_H
#define CORE_OWN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/prng.h"
#include "core/journal.h"
#include "core/stamp.h"
#include "core/types.h"

enum {
    OWN_QUEUE_MESSAGES_MAX = 8 * BATCH_MESSAGES_MAX, /* then publishes get BUSY */
    OWN_QUEUE_BYTES_MAX    = 8 << 20,
};

struct own_sealed {
    struct batch *batch; /* one reference, the caller's */
    uint64_t      serial;
};

struct own;

void own_init(struct own *o, struct str origin, uint64_t seed);
void own_fini(struct own *o);

/* OK sets *serial.  BUSY: the queue is full; again after an answer. */
MUST_USE enum err own_add(struct own *o, const struct msg *m, uint64_t *serial);
uint32_t          own_queued(const struct own *o);
/* As many messages wait as a batch takes. */
bool own_has_full_batch(const struct own *o);

/* Cut a batch off the front (there must be something): stamps it, moves the clock and
 * the journal's held head.  LIMIT: no room for another stream, or no
 * stamps left. */
MUST_USE enum err own_seal(struct own *o, struct journal *j, struct stamp *clock, struct wall wall,
                           struct own_sealed *sealed);
/* A commit failed, or it was quiet for so long that others may retire it soon: never append
 * to this stream again. */
void own_burn(struct own *o, struct journal *j);
/* Forget all that is queued; *serial and the return value tell which publishes. */
uint32_t own_drop_queue(struct own *o, uint64_t *serial);
/* Gives back what an empty queue has no use for. */
void own_trim(struct own *o);

/* ---- private ---- */
struct own_item {
    uint32_t topic_n, headers_n, body_n; /* they lie behind one another in `bytes` */
};
struct own {
    uint64_t         stream; /* 0: to be minted */
    struct str       origin;
    struct prng      prng;
    struct buf       bytes;
    struct own_item *item; /* ring */
    uint32_t         item_first, item_count;
    size_t           body_bytes; /* of all in the queue */
    uint64_t         serial_next;
    struct msg      *scratch;
    struct mark     *deps;
};

#endif
