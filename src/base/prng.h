/* prng.h - a seeded stream of numbers: SplitMix64 (Steele, Lea, Flood 2014).
 *
 * Not for secrets.  The caller seeds it from the system's entropy (io/entropy)
 * or, in tests, from a fixed number so that a run can be repeated. */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t
prng_next(struct prng *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z          = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z          = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform enough in [0, below) for jitter and tests; below > 0. */
static inline uint64_t
prng_below(struct prng *r, uint64_t below)
{
    return prng_next(r) % below;
}

#endif
