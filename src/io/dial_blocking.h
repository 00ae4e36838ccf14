/* dial_blocking.h - one outgoing TCP connection for a program that has nothing else to
 * do: every call waits, at most until a deadline; with one that has passed it only does what
 * can be done at once.  Looking up a name alone takes its own time.  The broker itself uses
 * io/loop.
 *
 * Sending and receiving go on together, so two sides that both write first cannot
 * wait for each other for ever. */
#ifndef IO_DIAL_BLOCKING_H
#define IO_DIAL_BLOCKING_H

#include "base/buf.h"
#include "base/instant.h"
#include "io/watch.h"

enum { DIAL_TEXT_BYTES = 128 };

struct dial {
    int  fd;                    /* -1: none */
    char text[DIAL_TEXT_BYTES]; /* why the last call failed, for people */
    /* While it connects: the addresses, the one whose turn it is, and until when. */
    struct addrinfo *addresses, *address;
    unsigned         left; /* addresses, with this one */
    struct mono      by, try_by;
    struct watch    *watch; /* NULL: nobody waits elsewhere */
    bool             watched, watched_out;
};

void dial_init(struct dial *d);
void dial_close(struct dial *d);

/* Look the name up; from then on there are so many milliseconds to connect.  NOTFOUND: it does
 * not resolve. */
MUST_USE enum err dial_start(struct dial *d, const char *host, uint16_t port, uint64_t ms);
/* Connect to the first address that takes it; each gets its share of the time.  MORE: not yet,
 * and `until` has come: call again.  TIMEOUT.  IO: refused or unreachable. */
MUST_USE enum err dial_open(struct dial *d, struct mono until);
bool              dial_is_open(const struct dial *d);
/* Started, and dial_open() has not come to an end. */
bool dial_is_connecting(const struct dial *d);

/* Send from `out` and receive into `in` until at least one byte came in, or until `out` is
 * empty where `send_only`.  STALE: the other side closed.  IO: the connection broke.
 * TIMEOUT.  LIMIT: `in` is full. */
MUST_USE enum err dial_move(struct dial *d, struct buf *out, struct buf *in, bool send_only,
                            struct mono deadline);

/* Between two requests: the other side has closed, or says what nobody asked for. */
bool dial_has_ended(const struct dial *d);

/* Have the watch, where there is one, tell of it; `out`: also when it takes bytes.  IO: it
 * cannot be watched. */
MUST_USE enum err dial_watch(struct dial *d, bool out);

void dial_wait_until(struct mono t);

#endif
