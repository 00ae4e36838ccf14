/* map.h - a hash table from a 64-bit hash to a pointer; the caller compares.
 *
 * Open addressing, linear probing, removal by shifting back (no tombstones).
 * Values are never NULL.  It grows by doubling; bound it by what you put in. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

struct map_slot {
    uint64_t hash;
    void    *value; /* NULL: empty */
};
struct map {
    struct map_slot *slot;
    size_t           cap; /* a power of two, or 0 */
    size_t           count;
};

/* Does `value` have this key? */
typedef bool map_same(const void *value, const void *key);

void map_init(struct map *m);
void map_fini(struct map *m);
/* NULL: no such value. */
void *map_find(const struct map *m, uint64_t hash, map_same *same, const void *key);
/* The caller made sure that the key is not in it. */
void map_add(struct map *m, uint64_t hash, void *value);
/* Removes exactly this pointer; it must be there. */
void map_remove(struct map *m, uint64_t hash, const void *value);
/* Walk all: start with *at = 0; NULL at the end.  Do not add or remove meanwhile. */
void *map_next(const struct map *m, size_t *at);

#endif
