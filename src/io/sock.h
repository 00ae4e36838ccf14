/* sock.h - TCP: listeners and connections on a loop.
 *
 * What is written is gathered and leaves at the end of the turn in one send.  A
 * sock has two queues: what is urgent overtakes what is bulk between two writes,
 * never within one.  After sock_close() nothing more is delivered but `closed`,
 * at the end of a turn; then the sock is gone.
 *
 *   DIALLING -> OPEN -> FLUSHING -> LINGERING -> DOOMED   (each may go straight to DOOMED)
 *
 * LINGERING: our half is closed, theirs is read and thrown away for a moment, since
 * a close with bytes unread would reset the connection and lose the last answer.
 *
 * The other side may end its half (`ended`); ours stays open until it is closed. */
#ifndef IO_SOCK_H
#define IO_SOCK_H

#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"
#include "io/resolve.h"

struct sock;
struct listener;

struct sock_events {
    /* A dial came through; not for accepted ones. */
    void (*opened)(void *ctx);
    /* Borrowed for the call. */
    void (*bytes)(void *ctx, struct str s);
    /* The other side sends no more. */
    void (*ended)(void *ctx);
    /* All that was written left, after some of it had to wait or sock_tell_drained().  May be
     * NULL. */
    void (*drained)(void *ctx);
    /* Bulk writes left; so many bytes of them still wait.  May be NULL. */
    void (*bulk_sent)(void *ctx, size_t bytes_waiting);
    /* The end of it: OK when we closed it; TIMEOUT, REFUSED: a dial failed; IO.  The
     * sock is destroyed when this returns. */
    void (*closed)(void *ctx, enum err why);
};

/* ---- connections ---- */

/* closed(TIMEOUT) comes when it takes longer.  NULL: SOCKS_MAX are there. */
struct sock *sock_dial(struct loop *l, const struct endpoint *to, uint32_t timeout_ms,
                       const struct sock_events *events, void *ctx);
void         sock_set_ctx(struct sock *s, const struct sock_events *events, void *ctx);

/* Write by appending to this; it is sent at the turn's end.  Do not consume from it. */
struct buf *sock_out(struct sock *s);
/* What was written in this turn leaves before what others wrote. */
void sock_hasten(struct sock *s);
/* One frame that others may be put before, never into. */
void   sock_write_bulk(struct sock *s, struct str frame);
size_t sock_pending_bytes(const struct sock *s);
/* What all socks of the loop have pending, but for bulk.  A turn's end counts it anew; in
 * between what was written counts once sock_count() was called for its sock. */
void   sock_count(struct sock *s);
size_t sock_unsent_bytes(const struct loop *l);
/* drained() comes for what is pending now, also when the socket takes all of it at once. */
void sock_tell_drained(struct sock *s);

/* Reads nothing until sock_resume(): the other side feels it. */
void sock_pause(struct sock *s);
void sock_resume(struct sock *s);

/* What is written still leaves, within `flush_ms`; nothing more is read. */
void sock_finish(struct sock *s, uint32_t flush_ms);
/* At once. */
void sock_close(struct sock *s);
bool sock_is_closing(const struct sock *s);

/* For links between brokers: the other side is given up when it acknowledges nothing for so
 * long, and what is lost is sent again each second at least.  TCP would wait longer each time
 * (RFC 6298, section 5.5), after a cut up to as long as the cut was. */
void sock_set_peer(struct sock *s, uint32_t timeout_ms);
void sock_remote(const struct sock *s, struct endpoint *e);

/* ---- listeners ---- */

struct listener_config {
    struct loop    *loop;
    struct endpoint at;        /* port 0: any free one */
    bool            all;       /* every address of the machine; only at.port counts */
    uint32_t        socks_max; /* beyond it a connection is closed at once */
    /* Takes the connection by sock_set_ctx(), or closes it. */
    void (*accepted)(void *ctx, struct sock *s);
    void *ctx;
};

struct listener_counts {
    uint64_t accepted, over_limit, out_of_files;
};

/* On failure `problem` gets one line for the user.  BUSY: the port is in use. */
MUST_USE enum err      listener_open(struct listener **out, const struct listener_config *config,
                                     struct buf *problem);
void                   listener_close(struct listener *ln);
void                   listener_at(const struct listener *ln, struct endpoint *e);
struct listener_counts listener_counts(const struct listener *ln);

#endif
