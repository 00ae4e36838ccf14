/* histogram.h - counts of times, from which percentiles are read.
 *
 * Log-linear as HdrHistogram (G. Tene): below 2^7 each value has its own counter, above that
 * each power of two has 128.  So a percentile is at most 0.8 % above the value that it stands
 * for, never below it; the maximum is exact. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BITS = 7, HISTOGRAM_SLOTS = (65 - HISTOGRAM_BITS) << HISTOGRAM_BITS };

struct histogram {
    uint64_t count, max;
    uint64_t slot[HISTOGRAM_SLOTS];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The value below or at which `part` (0 to 1) of all lie; 0 while there are none. */
uint64_t histogram_percentile(const struct histogram *h, double part);
/* Of times in ns: a member of a JSON object, "NAME_us":{"count":N,"p50":1.5,...,"max":9.0}. */
void histogram_print(const char *name, const struct histogram *h);

#endif
