/* await.h - publishes that wait for copies, and requests that wait for a cursor.
 *
 * Each is answered exactly once, by reaching it or by its deadline, unless dropped. */
#ifndef CORE_AWAIT_H
#define CORE_AWAIT_H

#include "base/pool.h"
#include "core/gossip.h"
#include "core/journal.h"
#include "core/missed.h"
#include "core/out.h"
#include "core/roster.h"

struct awaits {
    struct pool   pool;
    struct mono   deadline; /* no later than the earliest; MONO_NEVER: none */
    struct mono   end;      /* of all waiting for copies: the broker stops; mostly MONO_NEVER */
    struct misses misses;
};

/* What decides whether one is reached. */
struct await_view {
    const struct journal *journal;
    const struct gossip  *gossip;
    const struct roster  *roster;
};

/* Do so many members have it on disk?  `wanted` > 0 or COPIES_*; *copies says how many do. */
bool await_has_copies(const struct await_view *view, struct mark m, int wanted, uint32_t *copies);

/* `seed`: from the system's entropy. */
void awaits_init(struct awaits *a, uint64_t seed);
void awaits_fini(struct awaits *a);
/* `fact` is a FACT_AWAIT; its vector is copied.  AFTER that nothing is left of to wait for is
 * answered at once.  LIMIT: AWAITS_MAX. */
MUST_USE enum err awaits_add(struct awaits *a, const struct journal *j, struct out *out,
                             const struct fact *fact, uint64_t *handle);
void              awaits_drop(struct awaits *a, uint64_t handle);
/* From now on nobody waits for copies beyond that time. */
void awaits_hurry(struct awaits *a, struct mono end);
/* Answers all that are reached or late. */
void awaits_check(struct awaits *a, const struct await_view *view, struct out *out,
                  struct mono now);

#endif
