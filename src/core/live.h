/* live.h - messages that are never stored: from a publish to the subscriptions that it concerns.
 *
 * A queue takes what is published in one turn; at the turn's end it is cut into batches,
 * which are stamped and have neither stream nor seq.  The shelf holds the batches, of clients
 * and of peers, that some subscription has yet to take; each subscription knows which messages
 * of them it wants (session_live.c).  What nobody takes is on the shelf for as long as there is
 * room: LIVE_WAITING_BYTES_MAX, then the oldest goes. */
#ifndef CORE_LIVE_H
#define CORE_LIVE_H

#include "base/err.h"
#include "core/queue.h"
#include "core/stamp.h"
#include "core/types.h"

/* Cut a batch off the queue (there must be something).  LIMIT: no stamps are left. */
MUST_USE enum err live_seal(struct queue *q, struct str origin, struct stamp *clock,
                            struct wall wall, struct sealed *sealed);

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
