/* varint.h - unsigned numbers in LEB128: seven bits a byte, lowest first, the top bit set on all
 * but the last.  Cursors, frames between peers and blobs of broker.db have it.  One form each: the
 * shortest. */
#ifndef BASE_VARINT_H
#define BASE_VARINT_H

#include "base/str.h"

enum { VARINT_BYTES_MAX = 10 };

static inline size_t
varint_bytes(uint64_t value)
{
    size_t n = 1;
    for (; value >= 0x80; value >>= 7)
        n++;
    return n;
}

/* Bytes written, VARINT_BYTES_MAX at most. */
static inline size_t
varint_put(uint8_t *to, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        to[n++] = (uint8_t)(value | 0x80);
    to[n++] = (uint8_t)value;
    return n;
}

/* Bytes used; 0: `s` does not begin with a whole one in its shortest form. */
static inline size_t
varint_get(struct str s, uint64_t *value)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n && i < VARINT_BYTES_MAX; i++) {
        uint64_t seven = s.p[i] & 0x7f;
        v |= seven << (7 * i);
        if (s.p[i] & 0x80)
            continue;
        if ((i > 0 && seven == 0) || (i == VARINT_BYTES_MAX - 1 && seven > 1))
            return 0;
        *value = v;
        return i + 1;
    }
    return 0;
}

#endif
