/* watch.h - one descriptor for somebody else's event loop: readable when a socket that is
 * watched has something, or when a moment has come.
 *
 * An epoll that holds the sockets and a timer; descriptors that the loop needs not know. */
#ifndef IO_WATCH_H
#define IO_WATCH_H

#include "base/err.h"
#include "base/instant.h"

struct watch {
    int         fd; /* for the loop; -1: none */
    int         timer;
    struct mono at; /* what the timer is set to */
};

void watch_init(struct watch *w);
void watch_close(struct watch *w);
/* IO: no descriptors are left; errno says why. */
MUST_USE enum err watch_open(struct watch *w);
/* Readable from that moment on, and until another one is set.  MONO_NEVER: not by time. */
void watch_at(struct watch *w, struct mono t);
/* Readable when `socket` has something to read or has failed, and, where `out`, when it takes
 * bytes.  IO: the kernel keeps no more of these. */
MUST_USE enum err watch_socket(struct watch *w, int socket, bool out);
/* Before it is closed. */
void watch_forget(struct watch *w, int socket);

#endif
