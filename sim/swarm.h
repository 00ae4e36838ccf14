/* swarm.h - one seed of the simulator: clients at work, faults, and what must hold behind them.
 *
 * A run is troubled for some windows of time, then all is mended, and it is judged: what is
 * promised once faults stop (L1 - L7) must hold within its bounds, and then what can be told at
 * the end alone.  What must always hold (S1 - S19) is checked all the while by the simulator.
 * A violation ends the program with a line "violated at A: S9: ...". */
#ifndef SIM_SWARM_H
#define SIM_SWARM_H

#include "sim/options.h"
#include "sim/sim.h"

enum { SWARM_PUBLISHES_MIN = 1000 }; /* fewer: it was no trial */

enum rare {
#define RARE(name, text) RARE_##name,
#include "sim/rare.def"
    RARE_END
};

/* Plain data: it goes through a pipe. */
struct swarm_report {
    uint64_t          seed, brokers, hash, events, publishes, virtual_ms;
    uint64_t          fired[FAULT_END];
    uint64_t          rare[RARE_END];
    uint64_t          mended;
    struct sim_checks checks;
};

/* With a story it is told to standard output at the end, else no more than its end is kept. */
void swarm_run(const struct options *o, bool story, struct swarm_report *report);
/* Enough was published, and something went wrong. */
bool swarm_counts(const struct swarm_report *report);

#endif
