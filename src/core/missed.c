#include "core/missed.h"

#include "base/hash.h"
#include "core/gossip.h"
#include "core/vector.h"

struct missed {
    uint64_t stream, seq;
    uint64_t head, shown; /* when the wait ended: on disk here, and at some linked member */
};

void
misses_init(struct misses *all, uint64_t seed)
{
    all->seed = seed;
    pool_init(&all->pool, sizeof(struct missed), MISSED_MAX);
    map_init(&all->by_stream);
}

void
misses_fini(struct misses *all)
{
    map_fini(&all->by_stream);
    pool_fini(&all->pool);
}

void
misses_forget(struct misses *all)
{
    misses_fini(all);
    misses_init(all, all->seed);
}

static bool
is_of(const void *value, const void *stream)
{
    return ((const struct missed *)value)->stream == *(const uint64_t *)stream;
}

static uint64_t
hash_of(const struct misses *all, uint64_t stream)
{
    const uint64_t key[] = {all->seed, stream};
    return hash64((struct str){(const uint8_t *)key, sizeof key});
}

static struct missed *
find(const struct misses *all, uint64_t stream)
{
    return map_find(&all->by_stream, hash_of(all, stream), is_of, &stream);
}

static struct missed *
add(struct misses *all, uint64_t stream)
{
    if (all->pool.used == MISSED_MAX)
        misses_forget(all);
    struct missed *it = pool_take(&all->pool);
    it->stream        = stream;
    map_add(&all->by_stream, hash_of(all, stream), it);
    return it;
}

static uint64_t
shown(const struct journal *j, uint64_t stream)
{
    const struct stream *s = journal_find(j, stream);
    return s ? stream_shown(s) : 0;
}

void
misses_note(struct misses *all, const struct journal *j, struct mark m)
{
    struct missed *it = find(all, m.stream);
    if (!it)
        it = add(all, m.stream);
    it->seq   = m.seq;
    it->head  = vector_seq(&j->durable, m.stream);
    it->shown = shown(j, m.stream);
}

bool
misses_has(const struct misses *all, const struct journal *j, struct mark m)
{
    const struct missed *it = find(all, m.stream);
    if (!it)
        return false;
    bool was_shown = m.seq <= it->seq && m.seq <= it->shown;
    return was_shown ||
           (vector_seq(&j->durable, m.stream) == it->head && shown(j, m.stream) <= it->shown);
}
