/* out.h - where the modules of core put the effects of a step.
 *
 * What an effect points to lies in the arena of the step; both are emptied when the
 * next step begins. */
#ifndef CORE_OUT_H
#define CORE_OUT_H

#include "base/arena.h"
#include "core/broker.h"

struct out {
    struct effect *at;
    uint32_t       count, cap;
    struct arena   arena;
    struct batch **spare; /* references that end with the step's effects */
    uint32_t       spare_count, spare_cap;
};

void out_init(struct out *o);
void out_fini(struct out *o);
void out_reset(struct out *o);
void out_add(struct out *o, const struct effect *e);
void out_send(struct out *o, uint32_t link, const struct frame *frame);
void out_close(struct out *o, uint32_t link);
/* The reference is dropped when the next step begins: effects may point to it. */
void out_drop(struct out *o, struct batch *b);

#endif
