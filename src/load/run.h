/* loop.h - runs a load: one thread, epoll.
 *
 * With a rate the loop is open: message k is due at k / rate after the beginning, whatever came
 * back by then, and all its latencies count from that time.  Without one each publisher keeps
 * `window` messages unacknowledged; a protocol without acknowledgements sends what its socket
 * takes. */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include "bench/driver.h"

struct roles {
    const struct driver *publish, *subscribe; /* NULL where there are none of them */
};

/* Connects all, runs warm-up and load, waits for what is due still; counts in `l`. */
void loop_run(struct load *l, struct roles roles);

#endif
