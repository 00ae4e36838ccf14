/* live.h - messages that are never stored: from a publish to the subscriptions that it concerns.
 *
 * The queue takes what is published in one turn; at the turn's end it is cut into batches,
 * which are stamped and have neither stream nor seq.  The shelf holds the batches, of clients
 * and of peers, that some subscription has yet to take; each subscription knows which messages
 * of them it wants (session_live.c).  What nobody takes is on the shelf for as long as there is
 * room: LIVE_WAITING_BYTES_MAX, then the oldest goes. */
#ifndef CORE_LIVE_H
#define CORE_LIVE_H

#include "base/buf.h"
#include "base/err.h"
#include "core/stamp.h"
#include "core/types.h"

/* ---- what is published here in one turn ---- */

enum {
    LIVE_QUEUE_MESSAGES_MAX = 8 * BATCH_MESSAGES_MAX, /* then publishes get BUSY */
    LIVE_QUEUE_BYTES_MAX    = 8 << 20,
};

struct live;

void live_init(struct live *q, struct str origin);
void live_fini(struct live *q);
/* OK sets *serial: these publishes have serials of their own.  BUSY: the queue is full, until
 * the turn's end. */
MUST_USE enum err live_add(struct live *q, const struct msg *m, uint64_t *serial);
/* Cut a batch off the front (there must be something), with one reference; *serial is that of
 * its first message.  LIMIT: no stamps are left. */
MUST_USE enum err live_seal(struct live *q, struct stamp *clock, struct wall wall,
                            struct batch **batch, uint64_t *serial);
/* Forget all that is queued; how many that were, *serial is that of the first. */
uint32_t live_drop(struct live *q, uint64_t *serial);
/* Gives back what an empty queue has no use for. */
void live_trim(struct live *q);

/* ---- what waits to be taken ---- */

struct shelf;

void shelf_init(struct shelf *s);
void shelf_fini(struct shelf *s);
/* A new place on it, with a reference of its own and a use, the caller's; the oldest go where
 * there is no room beside it.  Places are numbered 0, 1, 2... */
uint64_t shelf_put(struct shelf *s, struct batch *b);
/* NULL: it had to go. */
const struct batch *shelf_at(const struct shelf *s, uint64_t place);
/* Gives back what only a reader that has long read it needed. */
void shelf_tidy(struct shelf *s);
void shelf_use(struct shelf *s, uint64_t place);
/* So many more of its messages are wanted by somebody; less: they were taken, or never will be.
 * Those that are wanted when it has to go are counted in `lost`. */
void shelf_want(struct shelf *s, uint64_t place, int32_t more);
/* One use less.  After the last it leaves the shelf; what it holds may be read until the next
 * call of any of these. */
void shelf_done(struct shelf *s, uint64_t place);

/* ---- private ---- */
struct live_item {
    uint32_t topic_n, headers_n, body_n; /* they lie behind one another in `bytes` */
};
struct live {
    struct str        origin; /* borrowed */
    struct buf        bytes;
    struct live_item *item; /* NULL: nothing was published yet */
    uint32_t          first, count;
    struct msg       *scratch;
    uint64_t          serial_next;
};
struct shelf_place {
    struct batch *batch; /* NULL: all uses are over */
    uint32_t      uses, wanted;
};
struct shelf {
    struct shelf_place *at; /* ring */
    uint32_t            cap;
    uint64_t            first, next;
    size_t              bytes;
    uint64_t            lost;
    struct batch       *spent; /* its last use is over, its last reader may still read */
};

#endif
