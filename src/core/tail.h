/* tail.h - the newest batches of the log, in memory: [lsn_first, lsn_end).  Older ones are on
 * disk alone. */
#ifndef CORE_TAIL_H
#define CORE_TAIL_H

#include "core/types.h"

struct tail_item {
    uint64_t      lsn; /* of the first message */
    struct batch *batch;
    bool          late;
};

struct tail;

/* It begins empty, behind what is on disk. */
void tail_init(struct tail *t, uint64_t lsn_end, size_t bytes_max);
void tail_fini(struct tail *t);

/* The next of the log; takes a reference of its own.  The oldest go where all are beyond
 * bytes_max; the newest stays, however large: whoever follows is served from it. */
void tail_push(struct tail *t, struct batch *b, bool late);
/* What is beyond it goes at once, but for the newest. */
void tail_set_max(struct tail *t, size_t bytes_max);
/* Nobody needs it now: keep so much of it. */
void tail_trim(struct tail *t, size_t bytes);
/* What lies below is gone from the log. */
void tail_drop_below(struct tail *t, uint64_t lsn);
/* The same batch: if it has more of its messages, what is here of it gives way. */
void tail_mend(struct tail *t, struct batch *b);

/* The batch that holds this lsn, or NULL. */
const struct tail_item *tail_at(const struct tail *t, uint64_t lsn);
/* 0: the oldest. */
const struct tail_item *tail_item(const struct tail *t, uint32_t i);

/* ---- private ---- */
struct tail {
    struct tail_item *ring;
    uint32_t          first, count, cap;
    uint64_t          lsn_first, lsn_end; /* equal when it is empty */
    size_t            bytes, bytes_max;
};

#endif
