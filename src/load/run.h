/* run.h - runs a load: one thread, epoll.
 *
 * With a rate the loop is open: message k is due at k / rate after the beginning, whatever came
 * back by then, and all its latencies count from that time; it is awake when one is due, or
 * the lateness of its own timer would be counted as the broker's.  Without one each publisher keeps
 * `window` messages unacknowledged; a protocol without acknowledgements sends what its socket
 * takes. */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "load/driver.h"

struct roles {
    const struct driver *publish, *subscribe; /* NULL where there are none of them */
};

/* Connects all, runs warm-up and load, waits for what is due still; counts in `l`. */
void load_run(struct load *l, struct roles roles);

/* One line: a JSON object of all of it. */
void load_print(const struct load *l);

#endif
