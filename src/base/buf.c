#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

enum { CAP_MIN = 256 };

void
buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){.limit = limit > 0 ? limit : SIZE_MAX / 2};
}

void
buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.limit = b->limit};
}

void
buf_clear_free(struct buf *b)
{
    buf_fini(b);
}

enum err
buf_make_room(struct buf *b, size_t bytes, uint8_t **room)
{
    if (bytes > b->limit || b->n > b->limit - bytes)
        return ERR_LIMIT;
    if (b->start + b->n + bytes > b->cap && b->start > 0) {
        memmove(b->p, b->p + b->start, b->n);
        b->start = 0;
    }
    if (b->n + bytes > b->cap) {
        size_t cap = b->cap > 0 ? b->cap : CAP_MIN;
        while (cap < b->n + bytes)
            cap *= 2;
        b->p = realloc(b->p, cap);
        CHECK(b->p);
        b->cap = cap;
    }
    *room = b->p + b->start + b->n;
    return ERR_OK;
}

static enum err
add_formatted(struct buf *b, const char *format, va_list ap)
{
    char    small[512];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, format, ap);
    CHECK(n >= 0);
    uint8_t *room; /* one more for the terminating zero, which is not counted */
    enum err e = (size_t)n < sizeof small
                     ? buf_add(b, (struct str){(const uint8_t *)small, (size_t)n})
                     : buf_room(b, (size_t)n + 1, &room);
    if (e == ERR_OK && (size_t)n >= sizeof small) {
        vsnprintf((char *)room, (size_t)n + 1, format, again);
        buf_grew(b, (size_t)n);
    }
    va_end(again);
    return e;
}

enum err
buf_addf(struct buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    enum err e = add_formatted(b, format, ap);
    va_end(ap);
    return e;
}

void
buf_sayf(struct buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    enum err full = add_formatted(b, format, ap);
    (void)full;
    va_end(ap);
}

void
buf_consume(struct buf *b, size_t bytes)
{
    CHECK(bytes <= b->n);
    b->start += bytes;
    b->n -= bytes;
    if (b->n == 0)
        b->start = 0;
}

void
buf_reset(struct buf *b)
{
    b->start = b->n = 0;
}

void
buf_fit(struct buf *b)
{
    if (b->n == 0) {
        buf_clear_free(b);
        return;
    }
    if (b->start > 0)
        memmove(b->p, b->p + b->start, b->n);
    b->start = 0;
    b->p     = realloc(b->p, b->n);
    CHECK(b->p);
    b->cap = b->n;
}
