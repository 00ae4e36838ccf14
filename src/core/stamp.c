#include "core/stamp.h"

#include "base/check.h"
#include "base/limits.h"

void
stamp_init(struct stamp *s, uint64_t highest)
{
    *s = (struct stamp){0};
    stamp_merge(s, highest);
}

uint64_t
stamp_tick(struct stamp *s)
{
    if (s->now < STAMP_MAX)
        s->now++;
    return s->now;
}

void
stamp_merge(struct stamp *s, uint64_t stored)
{
    if (stored > STAMP_MAX)
        stored = STAMP_MAX;
    if (stored > s->now)
        s->now = stored;
}

/* Always STAMP_AHEAD_MAX would let two million publishes use the whole clock up, and
 * after that no broker of the cluster could ever seal again. */
static uint64_t
ahead_max(uint64_t now)
{
    uint64_t left = STAMP_MAX - now;
    return left > STAMP_MAX / 2 ? STAMP_AHEAD_MAX : left >> 32;
}

void
stamp_client(struct stamp *s, uint64_t said)
{
    uint64_t highest = s->now + ahead_max(s->now);
    if (said > highest) {
        said = highest;
        s->capped++;
    }
    stamp_merge(s, said);
}

enum err
stamp_seal(struct stamp *s, uint32_t count, uint64_t *first)
{
    CHECK(count > 0);
    if (count > STAMP_MAX - s->now)
        return ERR_LIMIT;
    *first = s->now + 1;
    s->now += count;
    return ERR_OK;
}
