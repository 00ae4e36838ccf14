/* request.h - what libhearsay asks a broker, as HTTP (docs/HTTP.md). */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include "base/buf.h"
#include "hearsay.h"

enum { ACKS_TIMEOUT_MS = 5000, PAGE_MESSAGES = 1000 };

/* Can it be sent?  INVALID: *why is a static sentence.  `scratch` is written over. */
MUST_USE enum err request_check(struct buf *scratch, const struct hearsay_publish *p,
                                const char **why);
/* Append a publish that was checked; p->after is sent, unless it is NULL or "".  *as_line: it
 * was too long for a header, and so the answer is as to a line (docs/HTTP.md, long cursors). */
void request_publish(struct buf *out, const char *host, const struct hearsay_publish *p,
                     bool *as_line);

struct request_poll {
    const struct buf *filters; /* zero-terminated texts behind one another */
    const char       *from;    /* a cursor, "latest", "earliest", or a time */
    int               wait_s, limit;
};
/* These append a request, or INVALID: it cannot be one; nothing was appended. */
MUST_USE enum err request_poll(struct buf *out, const char *host, const struct request_poll *p);
MUST_USE enum err request_call(struct buf *out, const char *host, const char *method,
                               const char *path);

/* "10m", "500ms": digits and one of ms s m h d. */
bool request_is_time(const char *from);
/* Only what a cursor may be made of, and not too much of it: it is put into heads as it is. */
bool request_is_cursor(const char *text);

#endif
