/* stamp.h - Lamport time C (Lamport 1978).
 *
 * A client's publish or subscribe and every election message sent or received
 * ticks; gossip merges what is stored and does not tick.  Each message of a sealed
 * batch takes a stamp of its own: that is the tick of a publish.
 *
 * Stamps stay below 2^53, for ever.  What a client (or an election message) says is
 * taken up to STAMP_AHEAD_MAX ahead of C; in the upper half of the range only up to
 * (STAMP_MAX - C) / 2^32, so that no client can use the clock up: half of all stamps
 * are left for events, more than a century of a million a second.  If it ends all
 * the same, C stays at STAMP_MAX and stamp_seal() answers LIMIT. */
#ifndef CORE_STAMP_H
#define CORE_STAMP_H

#include "base/err.h"

#include <stdint.h>

struct stamp;

/* `highest` is the highest stamp of all stored streams. */
void stamp_init(struct stamp *s, uint64_t highest);
/* C = C + 1; the new C. */
uint64_t stamp_tick(struct stamp *s);
/* C = max(C, stored).  Stored stamps were checked when they came. */
void stamp_merge(struct stamp *s, uint64_t stored);
/* C = max(C, what the client says, capped); no tick.  For a publish: stamp_seal()
 * follows later.  For a subscribe or a received election message: tick next. */
void stamp_client(struct stamp *s, uint64_t said);
/* OK: a batch of `count` has stamps *first, *first + 1, ...; C is the last.
 * LIMIT: so many are not left; nothing changed. */
MUST_USE enum err stamp_seal(struct stamp *s, uint32_t count, uint64_t *first);

/* ---- private: complete only so that callers can embed it ---- */
struct stamp {
    uint64_t now;    /* C */
    uint64_t capped; /* how often somebody was too far ahead */
};

#endif
