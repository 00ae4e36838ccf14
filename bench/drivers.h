/* drivers.h - what other brokers speak, beside Hearsay's own faces (load/driver.h). */
#ifndef BENCH_DRIVERS_H
#define BENCH_DRIVERS_H

#include "load/driver.h"

/* All, ours too; the last row has no name. */
extern const struct driver publish_drivers[], subscribe_drivers[];

DRIVER_FUNCTIONS(nchan);
DRIVER_FUNCTIONS(nchan_sse);
DRIVER_FUNCTIONS(nats);
DRIVER_FUNCTIONS(nats_sub);
DRIVER_FUNCTIONS(jetstream);
DRIVER_FUNCTIONS(redis);
DRIVER_FUNCTIONS(redis_sub);
DRIVER_FUNCTIONS(xadd);
DRIVER_FUNCTIONS(xread);
void xread_begin(struct conn *c);
DRIVER_FUNCTIONS(mqtt0);
DRIVER_FUNCTIONS(mqtt1);
DRIVER_FUNCTIONS(mqtt0_sub);
DRIVER_FUNCTIONS(mqtt1_sub);
void mqtt1_number(char *message, uint32_t number);

#endif
