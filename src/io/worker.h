/* worker.h - a thread with a bounded queue of jobs, first in, first out.
 *
 * It takes all jobs that wait at once and runs one function over them (for the
 * store: one transaction, one fsync); the next ones gather meanwhile.  Finished
 * jobs come back on the loop's thread in the order in which they were given. */
#ifndef IO_WORKER_H
#define IO_WORKER_H

#include "base/err.h"
#include "io/loop.h"

#include <stdint.h>

struct worker;

struct worker_config {
    struct loop *loop;
    const char  *name;     /* of the thread, at most 15 bytes */
    uint32_t     jobs_max; /* given and not yet taken by the thread */
    /* After its jobs the thread stays awake so long for the next ones: to sleep and be
     * woken takes longer than that on a virtual machine.  0: it sleeps at once. */
    uint32_t linger_us;
    void (*run)(void *ctx, void *const *job, uint32_t count); /* on the worker's thread */
    void (*done)(void *ctx, void *job);                       /* on the loop's thread */
    void *ctx;
};

struct worker *worker_start(const struct worker_config *config);
/* BUSY: the queue is full, the job stays the caller's. */
MUST_USE enum err worker_give(struct worker *w, void *job);
/* Runs what was given, ends the thread, hands back what is finished, frees. */
void worker_stop(struct worker *w);

#endif
