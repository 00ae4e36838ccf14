/* tally.h - many runs of the swarm, summed up. */
#ifndef SIM_TALLY_H
#define SIM_TALLY_H

#include "sim/swarm.h"

#include <stdio.h>

struct tally {
    struct swarm_report sum; /* seed, brokers, hash: of no meaning */
    uint64_t            seeds, too_small;
    uint64_t            small_seed;                       /* the first of those */
    uint64_t            with[RARE_END], fired[FAULT_END]; /* seeds in which it happened */
    /* By the number of brokers. */
    uint64_t virtual_ms[SWARM_BROKERS_MAX + 1], cpu_us[SWARM_BROKERS_MAX + 1];
};

void tally_add(struct tally *t, const struct swarm_report *r, uint64_t cpu_us);
void tally_print(const struct tally *t, FILE *to);
/* So many seeds, and something was not tried, hardly ever happened, or an invariant was never
 * held against anything?  Prints what; how many. */
uint32_t tally_blind(const struct tally *t, FILE *to);

#endif
