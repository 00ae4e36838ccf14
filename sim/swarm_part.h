/* swarm_part.h - what the files of the swarm share; nobody else includes it.
 *
 *   swarm.c  a run, its windows, what clients do      swarm_faults.c  what goes wrong
 *   swarm_judge.c  all is mended, and what must hold then */
#ifndef SIM_SWARM_PART_H
#define SIM_SWARM_PART_H

#include "base/prng.h"
#include "sim/swarm.h"

/* Of the subscribers the first ones want all. */
enum { ALL_SUBS = 3, SUBS = 5, TOPICS = 3, NOBODY = SIM_BROKERS_MAX };

struct swarm {
    const struct options *o;
    struct sim           *s;
    struct prng           prng;
    struct swarm_report  *report;
    uint32_t              published;
    uint32_t              sub[SUBS], sub_at[SUBS];
    bool                  is_full[SIM_BROKERS_MAX]; /* no room on its disk */
    struct store_mem     *old[SIM_BROKERS_MAX];     /* a copy of its disk */
    uint32_t              joiner;                   /* whom nobody lists; or NOBODY */
    uint32_t              newcomer;                 /* the same, while it was not started yet */
    bool                  lost_a_disk, has_forgotten;
};

uint32_t any(struct swarm *w, uint32_t below);
bool     one_in(struct swarm *w, uint32_t n);
/* One that runs and is not paused, or NOBODY. */
uint32_t one_that_runs(struct swarm *w);

/* ---- swarm.c ---- */
extern const char *const swarm_topic[TOPICS];
void                     swarm_publish(struct swarm *w, uint32_t count);
/* One, of a topic that most brokers do not store. */
uint32_t swarm_publish_live(struct swarm *w, uint32_t i);

/* ---- swarm_faults.c ---- */

/* One of the classes of this run, by their weights; it may find nothing to break. */
void swarm_fault(struct swarm *w);
/* Who is down comes back, on the disk that it has. */
void swarm_start(struct swarm *w, uint32_t i);

/* ---- swarm_judge.c ---- */

/* All have the same, and one coordinator. */
bool swarm_has_settled(struct sim *s);
/* No fault is left. */
void swarm_mend(struct swarm *w);
/* Faults have stopped: what must hold then does. */
void swarm_judge(struct swarm *w);
/* L6: one comes back with nothing. */
void swarm_rebuild(struct swarm *w);
/* S9: what depends on what died with others comes late. */
void swarm_orphan(struct swarm *w);

#endif
