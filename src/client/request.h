/* request.h - what libhearsay asks a broker, as HTTP (docs/HTTP.md). */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include "base/buf.h"
#include "hearsay.h"

enum { ACKS_TIMEOUT_MS = 5000, PAGE_MESSAGES = 1000 };

/* Each appends one request.  INVALID: *why is a static sentence; nothing was appended. */

/* A publish without its Hearsay-After, which is known only when it is sent: its first *head
 * bytes lack the empty line behind a head.  request_send() puts all of it together. */
MUST_USE enum err request_publish(struct buf *out, size_t *head, const char *host,
                                  const struct hearsay_publish *p, const char **why);
/* `after` may be "", else it is a cursor. */
void request_send(struct buf *out, struct str publish, size_t head, const char *after);

struct request_poll {
    const struct buf *filters; /* zero-terminated texts behind one another */
    const char       *from;    /* a cursor, "latest", "earliest", or a time */
    int               wait_s, limit;
};
MUST_USE enum err request_poll(struct buf *out, const char *host, const struct request_poll *p);
MUST_USE enum err request_call(struct buf *out, const char *host, const char *method,
                               const char *path);

/* "10m", "500ms": digits and one of ms s m h d. */
bool request_is_time(const char *from);
/* Only what a cursor may be made of, and not too much of it: it is put into heads as it is. */
bool request_is_cursor(const char *text);

#endif
