/* cuts.h - where the reads of a connection end: one byte of the input says it, so that the
 * fuzzer can choose the place.  What was not read yet may not be looked at. */
#ifndef TESTS_FUZZ_CUTS_H
#define TESTS_FUZZ_CUTS_H

#include "base/str.h"

#include <sanitizer/asan_interface.h>

struct cuts {
    uint32_t how;
};

enum { CUTS_WHOLE = 255, CUTS_STEPS = 8, CUTS_FREE = 256 };

/* The first `to` bytes came. */
static inline void
cuts_show(struct str in, size_t to)
{
    ASAN_UNPOISON_MEMORY_REGION(in.p, in.n);
    ASAN_POISON_MEMORY_REGION(in.p + to, in.n - to);
}

/* The end of the next read; `to` bytes came so far. */
static inline size_t
cuts_next(struct cuts *c, size_t to, struct str in)
{
    size_t step = in.n;
    if (c->how < CUTS_STEPS) { /* the same few bytes again and again */
        step = 1 + c->how;
    } else if (c->how != CUTS_WHOLE) { /* of any size, mostly small */
        c->how = (c->how * 1664525 + 1013904223) | CUTS_FREE;
        step   = 1 + (c->how >> 16) % (2u << (c->how >> 10) % 10);
    }
    to = in.n - to < step ? in.n : to + step;
    cuts_show(in, to);
    return to;
}

#endif
