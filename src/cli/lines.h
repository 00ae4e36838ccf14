/* lines.h - lines of a file descriptor, and whether the next one would have to be waited for. */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include "base/buf.h"

struct lines {
    int        fd;
    struct buf in;
    size_t     seen; /* bytes of `in` without a newline */
    bool       ended;
};

enum lines_wait { LINES_WAIT, LINES_ONLY_WHAT_IS_THERE };

void lines_init(struct lines *l, int fd);
void lines_fini(struct lines *l);
/* OK: *line, without its newline, until the next call.  The last one may lack it.
 * NOTFOUND: the end.  MORE: not there yet (ONLY_WHAT_IS_THERE), or a signal came.  IO.
 * LIMIT: one beyond 1 MiB was skipped. */
MUST_USE enum err lines_next(struct lines *l, enum lines_wait wait, struct str *line);

#endif
