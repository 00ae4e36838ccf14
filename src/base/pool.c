#include "base/pool.h"

#include "base/check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer whoever uses what was given back is stopped. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { TABLE_STEP = 64 };

/* Odd while it is in use.  31 bits, and after the last comes 0 again. */
#define GENERATION_MASK UINT32_C(0x7fffffff)

struct pool_item {
    uint32_t index;
    uint32_t generation; /* odd: in use */
    uint32_t next_free;  /* index + 1 */
    _Alignas(16) uint8_t object[];
};

static struct pool_item *
item_of(const void *object)
{
    return (struct pool_item *)(uintptr_t)((const uint8_t *)object -
                                           offsetof(struct pool_item, object));
}

void
pool_init(struct pool *p, size_t object_bytes, uint32_t limit)
{
    CHECK(limit > 0 && object_bytes > 0);
    *p = (struct pool){.object_bytes = object_bytes, .limit = limit};
}

void
pool_fini(struct pool *p)
{
    for (uint32_t i = 0; i < p->made; i++)
        free(p->item[i]);
    free(p->item);
    *p = (struct pool){.object_bytes = p->object_bytes, .limit = p->limit};
}

static struct pool_item *
make(struct pool *p)
{
    if (p->made % TABLE_STEP == 0) {
        p->item = realloc(p->item, ((size_t)p->made + TABLE_STEP) * sizeof(struct pool_item *));
        CHECK(p->item);
    }
    struct pool_item *item = malloc(sizeof *item + p->object_bytes);
    CHECK(item);
    *item              = (struct pool_item){.index = p->made};
    p->item[p->made++] = item;
    return item;
}

void *
pool_take(struct pool *p)
{
    struct pool_item *item;
    if (p->free_first > 0) {
        item          = p->item[p->free_first - 1];
        p->free_first = item->next_free;
    } else if (p->made < p->limit) {
        item = make(p);
    } else {
        return NULL;
    }
    item->generation = (item->generation + 1) & GENERATION_MASK;
    p->used++;
    ASAN_UNPOISON_MEMORY_REGION(item->object, p->object_bytes);
    memset(item->object, 0, p->object_bytes);
    return item->object;
}

void
pool_give(struct pool *p, void *object)
{
    struct pool_item *item = item_of(object);
    CHECK(item->generation & 1);
    CHECK(p->item[item->index] == item);
    item->generation = (item->generation + 1) & GENERATION_MASK;
    item->next_free  = p->free_first;
    p->free_first    = item->index + 1;
    p->used--;
    ASAN_POISON_MEMORY_REGION(object, p->object_bytes);
}

uint64_t
pool_handle(const void *object)
{
    const struct pool_item *item = item_of(object);
    return (uint64_t)item->generation << 32 | item->index;
}

void *
pool_find(const struct pool *p, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    if (index >= p->made || p->item[index]->generation != handle >> 32)
        return NULL;
    return p->item[index]->generation & 1 ? p->item[index]->object : NULL;
}

void *
pool_next(const struct pool *p, uint32_t *at)
{
    while (*at < p->made) {
        struct pool_item *item = p->item[(*at)++];
        if (item->generation & 1)
            return item->object;
    }
    return NULL;
}
