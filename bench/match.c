/* match - how long one topic takes against many filters.
 *
 * usage: match FILTERS SECONDS
 * A third of the filters are literal, a third have a '+', a third end in '#'.  Each topic is
 * any of so many that what it meets is in no cache, and matches one of each kind.  Prints
 * {"match_ns":{...}}, each figure the mean of 64 in a row. */
#include "core/subs.h"
#include "load/histogram.h"
#include "load/load.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/prng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPIC = sizeof "site/000000/room0/temp", RUN = 64 };

static void
fill(struct subs *s, uint32_t filters, char *who)
{
    static const char *const form[] = {"site/%06u/+/temp", "site/%06u/#", "site/%06u/room%u/temp"};
    for (uint32_t i = 0; i < filters; i++) {
        char     filter[64];
        uint32_t site = i / 3;
        snprintf(filter, sizeof filter, form[i % 3], (unsigned)site, (unsigned)site % 7);
        CHECK(subs_add(s, str_of(filter), who + i) == ERR_OK);
    }
}

int
main(int argc, char **argv)
{
    static struct histogram h;
    struct subs             subs;
    struct subs_hits        hits;
    struct prng             prng = {1};
    char                    topic[RUN][TOPIC + 8];
    if (argc != 3) {
        fprintf(stderr, "usage: match FILTERS SECONDS\n");
        return 2;
    }
    uint32_t filters = (uint32_t)load_number(argv[1], 3);
    uint64_t end = load_ns() + (uint64_t)load_number(argv[2], 1) * 1000000000, count = 0;
    subs_init(&subs, filters);
    subs_hits_init(&hits);
    fill(&subs, filters, mem_new(filters));
    while (load_ns() < end) {
        for (uint32_t i = 0; i < RUN; i++) {
            unsigned site = (unsigned)(prng_next(&prng) % (filters / 3));
            snprintf(topic[i], sizeof topic[i], "site/%06u/room%u/temp", site, site % 7);
        }
        uint64_t begin = load_ns();
        for (uint32_t i = 0; i < RUN; i++) {
            subs_match(&subs, (struct str){(const uint8_t *)topic[i], TOPIC - 1}, &hits);
            count += hits.count;
        }
        histogram_add(&h, (load_ns() - begin) / RUN);
    }
    CHECK(count == h.count * RUN * 3);
    printf("{\"filters\":%u,\"match_ns\":{\"p50\":%llu,\"p99\":%llu}}\n", (unsigned)filters,
           (unsigned long long)histogram_percentile(&h, .5),
           (unsigned long long)histogram_percentile(&h, .99));
    return 0;
}
