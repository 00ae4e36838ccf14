/* missed.h - what clients had seen elsewhere, and waited for here in vain.
 *
 * A client that came from a broker that is gone says with each of its publishes what it saw
 * there.  One wait for that is enough: while nothing more of its stream comes or is shown by a
 * linked member, the next would end as the first did.  Where it was shown and did not come in
 * time all the same, as with a broker that catches up, it is not waited for again either.
 *
 * Bounded: MISSED_MAX streams; when there are more, or a link opens, all is forgotten, which
 * costs a wait. */
#ifndef CORE_MISSED_H
#define CORE_MISSED_H

#include "base/map.h"
#include "base/pool.h"
#include "core/journal.h"

struct misses {
    uint64_t    seed; /* clients name streams: without it they could choose what collides */
    struct pool pool;
    struct map  by_stream;
};

void misses_init(struct misses *all, uint64_t seed);
void misses_fini(struct misses *all);
/* A wait for it ended before it was on disk here. */
void misses_note(struct misses *all, const struct journal *j, struct mark m);
/* Would another wait for it be in vain, as far as is known?  It is not on disk here. */
bool misses_has(const struct misses *all, const struct journal *j, struct mark m);
void misses_forget(struct misses *all);

#endif
