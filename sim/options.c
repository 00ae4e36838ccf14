#include "sim/options.h"

#include "base/prng.h"

#include <string.h>

static const struct {
    const char *name;
    uint32_t    weight, percent;
} table[] = {
#define FAULT(name, weight, percent, text) {#name, weight, percent},
#include "sim/faults.def"
};

const char *
fault_name(enum fault f)
{
    return table[f].name;
}

uint32_t
fault_weight(enum fault f)
{
    return table[f].weight;
}

enum fault
fault_of(const char *name)
{
    int f = 0;
    while (f < FAULT_END && strcmp(table[f].name, name) != 0)
        f++;
    return (enum fault)f;
}

static uint64_t
draw_faults(struct prng *r)
{
    uint64_t faults = 0;
    for (int f = 0; f < FAULT_END; f++)
        if (prng_below(r, 100) < table[f].percent)
            faults |= UINT64_C(1) << f;
    if (faults >> FAULT_retire & 1)
        faults |= UINT64_C(1) << FAULT_retention;
    return faults;
}

static uint32_t
one_of(struct prng *r, const uint32_t *of, uint32_t count)
{
    return of[prng_below(r, count)];
}
#define ONE_OF(r, ...)                                                                             \
    one_of(r, (const uint32_t[]){__VA_ARGS__},                                                     \
           sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

struct options
options_draw(uint64_t seed)
{
    struct prng    r = {seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    struct options o = {.seed = seed, .publishes = 1100, .retire_ms = 200000};
    o.brokers        = ONE_OF(&r, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7);
    o.faults         = draw_faults(&r);
    o.windows        = 4 * (1 + (uint32_t)prng_below(&r, 4));
    o.steps          = 240 / o.windows;
    o.fault_percent  = ONE_OF(&r, 15, 30, 50, 70);
    o.burst_max      = ONE_OF(&r, 3, 6, 12, 24);
    o.pace_ms        = ONE_OF(&r, 20, 60, 60, 200);
    o.delay_ms       = ONE_OF(&r, 20, 80, 400);
    o.stall_ms       = ONE_OF(&r, 300, 3000, 12000);
    o.commit_ms      = ONE_OF(&r, 20, 100, 400);
    o.told_ms        = ONE_OF(&r, 3, 20, 100);
    o.sleep_ms       = ONE_OF(&r, 3000, 8000, 20000);
    o.clock_ms       = ONE_OF(&r, 500, 5000, 60000);
    o.crash_effects  = ONE_OF(&r, 4, 20, 60);
    o.retain_ms      = 100 + (uint32_t)prng_below(&r, 1500);
    o.causal_wait_ms = ONE_OF(&r, 0, 0, 0, 4000);
    /* A clock that goes wrong by half the time after which streams retire hides some of them:
     * days, where they retire after weeks. */
    if (options_has(&o, FAULT_retire) && o.clock_ms > o.retire_ms / 40)
        o.clock_ms = o.retire_ms / 40;
    o.tail_bytes   = prng_below(&r, 2) ? 500 + (uint32_t)prng_below(&r, 4000) : 0;
    o.live_percent = ONE_OF(&r, 0, 0, 10, 40);
    return o;
}
