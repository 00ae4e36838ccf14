/* clock.h - what time it is.  Deadlines are mono (CLOCK_MONOTONIC: it stands still
 * while the machine sleeps, so a laptop that wakes up finds no deadline missed). */
#ifndef IO_CLOCK_H
#define IO_CLOCK_H

#include "base/instant.h"

struct mono mono_now(void);
struct wall wall_now(void);

#endif
