/* buf.h - a growing run of bytes with a limit, consumed from the front.
 *
 * Appending beyond the limit fails with LIMIT and changes nothing; memory that
 * the system refuses is a CHECK, since every limit is far below it. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

#include <stdarg.h>

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
void       buf_clear_free(struct buf *b);
struct str buf_str(const struct buf *b);

MUST_USE enum err buf_add(struct buf *b, struct str s);
MUST_USE enum err buf_addf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Room for at least `bytes` behind the end: OK sets *room.  Write there, then buf_grew(). */
MUST_USE enum err buf_room(struct buf *b, size_t bytes, uint8_t **room);
void              buf_grew(struct buf *b, size_t bytes);
/* Drop bytes from the front; the memory is reused once it is empty. */
void buf_consume(struct buf *b, size_t bytes);
/* Empty, memory kept. */
void buf_reset(struct buf *b);
/* Give back the memory that its bytes do not take. */
void buf_fit(struct buf *b);

#endif
