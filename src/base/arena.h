/* arena.h - memory of one turn: taken bit by bit, given back all at once. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *chunk; /* newest first */
};

void arena_init(struct arena *a);
void arena_fini(struct arena *a);
/* Everything taken is gone; the largest chunk is kept for the next turn. */
void arena_reset(struct arena *a);
/* Zeroed, aligned for any type; stays where it is until the reset. */
void *arena_take(struct arena *a, size_t bytes);

#endif
