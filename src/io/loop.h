/* loop.h - one thread that waits for sockets, timers, signals and other threads.
 *
 * It goes in turns: whatever is readable is read, timers that are due fire, then
 * the end-of-turn hook runs once, then what was written leaves in one send for
 * each socket and closed sockets are destroyed: there and nowhere else. */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include "base/err.h"
#include "base/instant.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

struct loop *loop_new(void);
/* All sockets, listeners and workers are gone before. */
void loop_free(struct loop *l);
/* Until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One turn at most, waiting up to the next event or timer.  For clients and tests. */
void loop_step(struct loop *l);

/* Refreshed once a turn. */
struct mono loop_now(const struct loop *l);

typedef void loop_hook(void *ctx);
/* At the end of each turn, before anything is sent. */
void loop_set_turn(struct loop *l, loop_hook *hook, void *ctx);
/* Do not wait: another turn follows at once. */
void loop_again(struct loop *l);
/* Something happened that the hook has to see: when it has run already, another turn
 * follows at once. */
void loop_touch(struct loop *l);
/* Give memory back: what empty queues of sockets hold, and what the allocator keeps. */
void loop_trim(struct loop *l);

/* ---- timers: embedded in their owner, of any number ---- */

struct loop_timer {
    struct mono at;
    uint32_t    slot; /* index + 1 in the loop's heap; 0: not set */
    loop_hook  *fire;
    void       *ctx;
};

/* Zeroed is a timer that is not set.  MONO_NEVER stops it.  It fires once. */
void loop_timer_set(struct loop *l, struct loop_timer *t, struct mono at);
void loop_timer_stop(struct loop *l, struct loop_timer *t);

/* ---- signals ---- */

typedef void loop_signal(void *ctx, int signum);
/* SIGTERM, SIGINT and SIGHUP come here; SIGPIPE is ignored. */
void loop_on_signals(struct loop *l, loop_signal *on_signal, void *ctx);

/* ---- wake-ups from other threads ---- */

struct loop_waker;
/* `wake` runs on the loop's thread some time after one or more loop_wake(). */
struct loop_waker *loop_waker_new(struct loop *l, loop_hook *wake, void *ctx);
/* Thread-safe. */
void loop_wake(struct loop_waker *w);
void loop_waker_free(struct loop_waker *w);

/* The soft limit of open files raised to the hard one; what it is now. */
uint64_t loop_raise_file_limit(void);

#endif
