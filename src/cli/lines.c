#include "cli/lines.h"

#include "base/check.h"
#include "base/limits.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

void
lines_init(struct lines *l, int fd)
{
    *l = (struct lines){.fd = fd};
    buf_init(&l->in, 0);
}

void
lines_fini(struct lines *l)
{
    buf_fini(&l->in);
}

/* OK, MORE: nothing there now, NOTFOUND: the end, IO. */
static enum err
fill(struct lines *l, enum lines_wait wait)
{
    uint8_t      *room;
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    if (l->ended)
        return ERR_NOTFOUND;
    if (wait == LINES_ONLY_WHAT_IS_THERE && poll(&p, 1, 0) == 0)
        return ERR_MORE;
    CHECK(buf_room(&l->in, READ_BYTES, &room) == ERR_OK);
    ssize_t n = read(l->fd, room, READ_BYTES);
    if (n > 0)
        buf_grew(&l->in, (size_t)n);
    else if (n == 0)
        l->ended = true;
    else
        return errno == EINTR ? ERR_MORE : ERR_IO;
    return ERR_OK;
}

/* The rest of a line that is too long.  OK: its newline, or the end, was passed. */
static enum err
skip_line(struct lines *l)
{
    for (;;) {
        struct str s   = buf_str(&l->in);
        size_t     end = str_index(s, '\n');
        buf_consume(&l->in, end < s.n ? end + 1 : s.n);
        if (end < s.n || l->ended)
            return ERR_LIMIT;
        enum err e = fill(l, LINES_WAIT);
        if (e == ERR_IO)
            return e;
    }
}

enum err
lines_next(struct lines *l, enum lines_wait wait, struct str *line)
{
    for (;;) {
        struct str s   = buf_str(&l->in);
        size_t     end = l->seen + str_index(str_cut(s, l->seen, s.n), '\n');
        if (end > BODY_BYTES_MAX) {
            l->seen = 0;
            return skip_line(l);
        }
        if (end < s.n || (l->ended && s.n > 0)) {
            *line   = str_cut(s, 0, end);
            l->seen = 0;
            buf_consume(&l->in, end < s.n ? end + 1 : end);
            return ERR_OK;
        }
        l->seen    = s.n;
        enum err e = fill(l, wait);
        if (e != ERR_OK)
            return e;
    }
}
