/* buf.h - a growing run of bytes with a limit, consumed from the front.
 *
 * Appending beyond the limit fails with LIMIT and changes nothing; memory that
 * the system refuses is a CHECK, since every limit is far below it. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/check.h"
#include "base/err.h"
#include "base/str.h"

#include <stdarg.h>
#include <string.h>

struct buf {
    uint8_t *p;     /* the whole allocation */
    size_t   start; /* first byte not yet consumed */
    size_t   n;     /* bytes from start */
    size_t   cap;
    size_t   limit; /* n never exceeds it; 0: SIZE_MAX / 2 */
};

void buf_init(struct buf *b, size_t limit);
void buf_fini(struct buf *b);
/* Give the memory back; contents are gone, the limit stays. */
void buf_clear_free(struct buf *b);

/* Those that are here in full are called a dozen times for each message. */

static inline struct str
buf_str(const struct buf *b)
{
    return (struct str){b->p + b->start, b->n};
}

/* What buf_room() comes to where the memory is not there yet. */
MUST_USE enum err buf_make_room(struct buf *b, size_t bytes, uint8_t **room);

/* Room for at least `bytes` behind the end: OK sets *room.  Write there, then buf_grew(). */
MUST_USE static inline enum err
buf_room(struct buf *b, size_t bytes, uint8_t **room)
{
    size_t end = b->start + b->n;
    if (bytes > b->cap - end || bytes > b->limit - b->n)
        return buf_make_room(b, bytes, room);
    *room = b->p + end;
    return ERR_OK;
}

static inline void
buf_grew(struct buf *b, size_t bytes)
{
    CHECK(bytes <= b->cap - b->start - b->n);
    b->n += bytes;
}

MUST_USE static inline enum err
buf_add(struct buf *b, struct str s)
{
    uint8_t *room;
    if (s.n == 0)
        return ERR_OK;
    enum err e = buf_room(b, s.n, &room);
    if (e != ERR_OK)
        return e;
    memcpy(room, s.p, s.n);
    b->n += s.n;
    return ERR_OK;
}

/* For people: what does not fit is left out. */
void buf_sayf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
MUST_USE enum err buf_addf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drop bytes from the front; the memory is reused once it is empty. */
void buf_consume(struct buf *b, size_t bytes);
/* Empty, memory kept. */
void buf_reset(struct buf *b);
/* Give back the memory that its bytes do not take. */
void buf_fit(struct buf *b);

#endif
