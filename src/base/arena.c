#include "base/arena.h"

#include "base/mem.h"

#include <string.h>

enum { CHUNK_BYTES = 16 << 10, KEEP_BYTES_MAX = 256 << 10 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t              used, cap;
    _Alignas(16) uint8_t memory[];
};

void
arena_init(struct arena *a)
{
    a->chunk = NULL;
}

static void
drop(struct arena *a, struct arena_chunk *keep)
{
    for (struct arena_chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        if (c != keep)
            mem_free(c);
    }
    a->chunk = keep;
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
}

void
arena_fini(struct arena *a)
{
    drop(a, NULL);
}

void
arena_reset(struct arena *a)
{
    struct arena_chunk *largest = NULL;
    for (struct arena_chunk *c = a->chunk; c; c = c->next)
        if (c->cap <= KEEP_BYTES_MAX && (!largest || c->cap > largest->cap))
            largest = c;
    drop(a, largest);
}

void *
arena_take(struct arena *a, size_t bytes)
{
    struct arena_chunk *c = a->chunk;
    bytes                 = (bytes + 15) & ~(size_t)15;
    if (!c || c->cap - c->used < bytes) {
        size_t cap = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        c          = mem_new(sizeof *c + cap);
        c->cap     = cap;
        c->next    = a->chunk;
        a->chunk   = c;
    }
    void *p = c->memory + c->used;
    c->used += bytes;
    memset(p, 0, bytes);
    return p;
}
