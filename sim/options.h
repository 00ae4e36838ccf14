/* options.h - one run of the swarm: how large, how long, and what goes wrong in it.
 *
 * All of it is drawn from the seed.  Each run has a random part of the classes of faults.def
 * (swarm testing: Groce et al. 2012): what one class hides another run shows. */
#ifndef SIM_OPTIONS_H
#define SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum fault {
#define FAULT(name, weight, percent, text) FAULT_##name,
#include "sim/faults.def"
    FAULT_END
};

enum { SWARM_BROKERS_MAX = 7 };

struct options {
    uint64_t seed;
    uint32_t brokers; /* 1 .. SWARM_BROKERS_MAX */
    uint64_t faults;  /* a bit for each class */

    /* A run is so many windows of so many steps each; in every fourth, by lot, all is mended
     * and no fault happens.  It goes on in a window until its part of `publishes` is done. */
    uint32_t windows, steps, publishes;
    uint32_t fault_percent; /* of the steps of the other windows */
    uint32_t burst_max;     /* messages that are published in one step */
    uint32_t pace_ms;       /* up to that long between two steps; now and then, far longer */

    /* How bad it gets: at most so much. */
    uint32_t delay_ms, stall_ms, commit_ms, told_ms, sleep_ms, clock_ms, crash_effects;

    uint32_t retain_ms;      /* how often the store's step of retention is taken */
    uint32_t causal_wait_ms; /* 0: the usual */
    uint32_t tail_bytes;     /* 0: the usual */
    uint32_t live_percent;   /* so often something is published that is not stored */
    uint32_t retire_ms;      /* where streams retire */
};

const char *fault_name(enum fault f);
uint32_t    fault_weight(enum fault f);
/* FAULT_END: there is none of this name. */
enum fault fault_of(const char *name);

struct options options_draw(uint64_t seed);

static inline bool
options_has(const struct options *o, enum fault f)
{
    return o->faults >> f & 1;
}

#endif
