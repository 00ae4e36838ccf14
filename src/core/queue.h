/* queue.h - publishes that wait to be sealed, in order; batches are cut off its front.
 *
 * Serials number the publishes of a queue 1, 2, 3...; a range of them is answered at once. */
#ifndef CORE_QUEUE_H
#define CORE_QUEUE_H

#include "base/buf.h"
#include "base/err.h"
#include "core/types.h"

enum {
    QUEUE_MESSAGES_MAX = 8 * BATCH_MESSAGES_MAX, /* then publishes get BUSY */
    QUEUE_BYTES_MAX    = 8 << 20,
};

/* A batch that was cut off. */
struct sealed {
    struct batch *batch;  /* one reference, the caller's */
    uint64_t      serial; /* of its first message */
};

struct queue;

void queue_init(struct queue *q);
void queue_fini(struct queue *q);

/* OK sets *serial.  BUSY: it is full, until a batch is cut off. */
MUST_USE enum err queue_add(struct queue *q, const struct msg *m, uint64_t *serial);
/* Any message fits. */
bool queue_takes(const struct queue *q);
/* As many messages wait as a batch takes. */
bool queue_has_full_batch(const struct queue *q);
/* The longest front that the protocol allows in one batch, beside so many bytes of deps and
 * origin: at least one message (there must be something).  Good until the queue is changed. */
const struct msg *queue_front(const struct queue *q, size_t rest, uint32_t *count);
/* The front is cut off; the serial of its first message. */
uint64_t queue_take(struct queue *q, uint32_t count);
/* Forget all of it; *serial and the return value tell which publishes. */
uint32_t queue_drop(struct queue *q, uint64_t *serial);
/* Gives back what an empty queue has no use for. */
void queue_trim(struct queue *q);

/* ---- private ---- */
struct queue_item {
    uint32_t topic_n, headers_n, body_n; /* they lie behind one another in `bytes` */
};
struct queue {
    struct buf         bytes;
    struct queue_item *item;  /* ring; NULL: nothing was published yet */
    struct msg        *front; /* of the next batch */
    uint32_t           first, count;
    size_t             body_bytes;
    uint64_t           serial_next;
};

#endif
