/* pool.h - objects of one size, made on demand, kept for reuse, up to a limit.
 *
 * An exhausted pool is an ordinary answer (NULL), never a crash.  Each object has
 * a handle with a generation, so that a late event for a slot that was given back
 * and taken anew finds nothing.  Objects never move. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool_item;
struct pool {
    struct pool_item **item; /* by index */
    size_t             object_bytes;
    uint32_t           made, limit, used;
    uint32_t           free_first; /* index + 1 of the first free item; 0: none */
};

void pool_init(struct pool *p, size_t object_bytes, uint32_t limit);
/* Frees everything, also what is still in use. */
void pool_fini(struct pool *p);
/* Zeroed.  NULL: the limit is reached. */
void *pool_take(struct pool *p);
void  pool_give(struct pool *p, void *object);
/* Never 0, and never with bit 63. */
uint64_t pool_handle(const void *object);
/* NULL: given back since, or never a handle of this pool. */
void *pool_find(const struct pool *p, uint64_t handle);
/* Walk all in use: start with *at = 0; NULL at the end.  Giving back is allowed. */
void *pool_next(const struct pool *p, uint32_t *at);

#endif
