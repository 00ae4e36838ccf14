#include "base/map.h"

#include "base/check.h"

#include <stdlib.h>

enum { CAP_MIN = 16 };

void
map_init(struct map *m)
{
    *m = (struct map){0};
}

void
map_fini(struct map *m)
{
    free(m->slot);
    map_init(m);
}

void *
map_find(const struct map *m, uint64_t hash, map_same *same, const void *key)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        const struct map_slot *s = &m->slot[i];
        if (!s->value)
            return NULL;
        if (s->hash == hash && same(s->value, key))
            return s->value;
    }
}

static void
place(struct map *m, uint64_t hash, void *value)
{
    size_t i = hash & (m->cap - 1);
    while (m->slot[i].value)
        i = (i + 1) & (m->cap - 1);
    m->slot[i] = (struct map_slot){hash, value};
}

void
map_add(struct map *m, uint64_t hash, void *value)
{
    CHECK(value);
    if ((m->count + 1) * 4 > m->cap * 3) {
        struct map old = *m;
        m->cap         = old.cap > 0 ? old.cap * 2 : CAP_MIN;
        m->slot        = calloc(m->cap, sizeof *m->slot);
        CHECK(m->slot);
        for (size_t i = 0; i < old.cap; i++)
            if (old.slot[i].value)
                place(m, old.slot[i].hash, old.slot[i].value);
        free(old.slot);
    }
    place(m, hash, value);
    m->count++;
}

void
map_remove(struct map *m, uint64_t hash, const void *value)
{
    CHECK(m->cap > 0);
    size_t mask = m->cap - 1, hole = hash & mask;
    while (m->slot[hole].value != value) {
        CHECK(m->slot[hole].value);
        hole = (hole + 1) & mask;
    }
    /* Close the hole with whatever a probe would have found by passing over it. */
    for (size_t i = (hole + 1) & mask; m->slot[i].value; i = (i + 1) & mask) {
        size_t home = m->slot[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slot[hole] = m->slot[i];
            hole          = i;
        }
    }
    m->slot[hole].value = NULL;
    m->count--;
}

void *
map_next(const struct map *m, size_t *at)
{
    while (*at < m->cap) {
        void *value = m->slot[(*at)++].value;
        if (value)
            return value;
    }
    return NULL;
}
