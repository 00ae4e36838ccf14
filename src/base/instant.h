/* instant.h - the two clocks, which cannot be mixed up.
 *
 * mono: milliseconds of a clock that only moves forward; deadlines are mono.
 * wall: milliseconds since 1970-01-01 UTC; for people and for retention only. */
#ifndef BASE_INSTANT_H
#define BASE_INSTANT_H

#include <stdbool.h>
#include <stdint.h>

struct mono {
    uint64_t ms;
};
struct wall {
    int64_t ms;
};

#define MONO_NEVER ((struct mono){UINT64_MAX})

static inline struct mono
mono_after(struct mono t, uint64_t ms)
{
    return (struct mono){t.ms > UINT64_MAX - ms ? UINT64_MAX : t.ms + ms};
}

/* How long since `t`; 0 when `t` lies ahead. */
static inline uint64_t
mono_since(struct mono now, struct mono t)
{
    return now.ms > t.ms ? now.ms - t.ms : 0;
}

static inline bool
mono_reached(struct mono now, struct mono deadline)
{
    return now.ms >= deadline.ms;
}

static inline struct mono
mono_min(struct mono a, struct mono b)
{
    return a.ms < b.ms ? a : b;
}

enum { WALL_TEXT_BYTES = 25 };

/* RFC 3339 with milliseconds, UTC: "2026-01-02T03:04:05.678Z", zero-terminated.
 * Years outside 0..9999 are clamped. */
void wall_text(struct wall t, char text[WALL_TEXT_BYTES]);

#endif
