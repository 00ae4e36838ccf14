/* dial_blocking.h - one outgoing TCP connection for a program that has nothing else to
 * do: every call waits, at most until a deadline.  The broker itself uses io/loop.
 *
 * Sending and receiving go on together, so two sides that both write first cannot
 * wait for each other for ever. */
#ifndef IO_DIAL_BLOCKING_H
#define IO_DIAL_BLOCKING_H

#include "base/buf.h"
#include "base/instant.h"

enum { DIAL_TEXT_BYTES = 128 };

struct dial {
    int  fd;                    /* -1: none */
    char text[DIAL_TEXT_BYTES]; /* why the last call failed, for people */
};

void dial_init(struct dial *d);
void dial_close(struct dial *d);

/* Connect to the first address of `host` that takes it; each gets its share of the time.
 * NOTFOUND: the name does not resolve.  TIMEOUT.  IO: refused or unreachable. */
MUST_USE enum err dial_open(struct dial *d, const char *host, uint16_t port, struct mono deadline);

/* Send from `out` and receive into `in` until at least one byte came in, or until `out` is
 * empty where `send_only`.  STALE: the other side closed.  IO: the connection broke.
 * TIMEOUT.  LIMIT: `in` is full. */
MUST_USE enum err dial_move(struct dial *d, struct buf *out, struct buf *in, bool send_only,
                            struct mono deadline);

/* Between two requests: the other side has closed, or says what nobody asked for. */
bool dial_has_ended(const struct dial *d);

void dial_wait_until(struct mono t);

#endif
