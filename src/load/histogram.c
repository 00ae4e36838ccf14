#include "load/histogram.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

static unsigned
slot_of(uint64_t v)
{
    if (v < 1u << HISTOGRAM_BITS)
        return (unsigned)v;
    unsigned shift = 63 - HISTOGRAM_BITS - (unsigned)__builtin_clzll(v);
    return (shift << HISTOGRAM_BITS) + (unsigned)(v >> shift);
}

/* The highest value that this slot counts. */
static uint64_t
slot_top(unsigned i)
{
    if (i < 2u << HISTOGRAM_BITS)
        return i;
    unsigned shift = (i >> HISTOGRAM_BITS) - 1;
    uint64_t first = i - ((uint64_t)shift << HISTOGRAM_BITS);
    return (first << shift) + ((UINT64_C(1) << shift) - 1);
}

void
histogram_add(struct histogram *h, uint64_t value)
{
    h->slot[slot_of(value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

uint64_t
histogram_percentile(const struct histogram *h, double part)
{
    uint64_t want = (uint64_t)ceil(part * (double)h->count), seen = 0;
    if (h->count == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++)
        if ((seen += h->slot[i]) >= want && seen > 0)
            return slot_top(i) < h->max ? slot_top(i) : h->max;
    return h->max;
}

void
histogram_print(const char *name, const struct histogram *h)
{
    static const struct {
        const char *name;
        double      part;
    } row[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}, {"p9999", .9999}};
    printf("\"%s_us\":{\"count\":%llu", name, (unsigned long long)h->count);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        printf(",\"%s\":%.1f", row[i].name, (double)histogram_percentile(h, row[i].part) / 1e3);
    printf(",\"max\":%.1f}", (double)h->max / 1e3);
}
