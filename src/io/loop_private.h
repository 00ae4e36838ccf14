/* loop_private.h - the loop from within, for the files of io. */
#ifndef IO_LOOP_PRIVATE_H
#define IO_LOOP_PRIVATE_H

#include "base/buf.h"
#include "base/list.h"
#include "base/pool.h"
#include "io/loop.h"
#include "io/resolve.h"

#include <sys/socket.h>
#include <uv.h>

enum { READ_BYTES = 64 << 10, SOCKS_MAX = 32768, SIGNALS = 3, SPARES_MAX = 8 };

struct loop {
    uv_loop_t    uv;
    uv_prepare_t prepare; /* the end of a turn: the last thing before it waits */
    uv_idle_t    idle;    /* active: do not wait */
    uv_timer_t   timer;   /* for the earliest of the heap */
    uint64_t     timer_at;
    bool         in_tail;         /* behind the hook: what happens now needs another turn */
    bool         stepping, fired; /* loop_step() does not wait behind a timer that fired */
    uv_signal_t  signal[SIGNALS];
    loop_signal *on_signal;
    void        *signal_ctx;
    loop_hook   *turn;
    void        *turn_ctx;

    struct loop_timer **heap;
    uint32_t            heap_count, heap_cap;

    struct pool socks;
    struct list dirty;             /* socks with something to send */
    struct list doomed;            /* socks to destroy */
    size_t      unsent;            /* what sock_count() last found, of all of them */
    struct buf  spare[SPARES_MAX]; /* empty, with large memory: for who writes next */
    uint32_t    spares;
    char        read_bytes[READ_BYTES];
};

/* By sock.c, at a turn's end: send what was written, then destroy. */
void sock_flush_all(struct loop *l);
void sock_reap_all(struct loop *l);
void sock_trim_all(struct loop *l);
void sock_free_spares(struct loop *l);

struct sock;
/* NULL: the fd stays the caller's. */
struct sock *sock_accepted(struct loop *l, int fd);

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *sa);
void      endpoint_from_sockaddr(const struct sockaddr_storage *sa, struct endpoint *e);

#endif
