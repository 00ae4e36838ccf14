/* load.h - what the load generators share: connections, a clock, and the ids that were
 * acknowledged, which are written to a file so that the driver can look for each. */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <stddef.h>
#include <stdint.h>

/* Ends the program with one line. */
_Noreturn void load_die(const char *what);

/* Connected, non-blocking, without Nagle's delay. */
int    load_connect(const char *host, const char *port);
double load_seconds(void);
/* Of the same clock. */
uint64_t load_ns(void);
/* Processor time of this process. */
uint64_t load_cpu_ns(void);
/* A whole number of the command line, at least `least`. */
long load_number(const char *text, long least);

/* An id is "16 hex digits-decimal": kept as two numbers. */
struct load_id {
    uint64_t stream, seq;
};
struct load_ids {
    struct load_id *at;
    size_t          count, cap;
};
/* Parses the id at `p`, which ends before `end` with a quote; 0: that is none. */
int  load_id_add(struct load_ids *ids, const char *p, const char *end);
void load_ids_write(const struct load_ids *ids, const char *path);

#endif
