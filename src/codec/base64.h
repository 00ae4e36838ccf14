/* base64.h - RFC 4648: section 4 with padding, for bodies in JSON, and section 5 without, for
 * cursors.  Bits that a text leaves unused are zero, or two texts would mean the same bytes. */
#ifndef CODEC_BASE64_H
#define CODEC_BASE64_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

/* Appended.  LIMIT, as buf_room(). */
MUST_USE enum err base64_encode(struct buf *out, struct str bytes);
/* Into `room`, which has text.n / 4 * 3 bytes.  Strict: padded, no blanks, unused bits zero;
 * else INVALID. */
MUST_USE enum err base64_decode(struct str text, uint8_t *room, struct str *bytes);

/* ---- section 5: no padding, - and _ ---- */

static inline size_t
base64url_bytes(size_t bytes)
{
    return (bytes * 4 + 2) / 3;
}

/* Writes base64url_bytes(bytes) letters.  `in` may lie at the end of the room that `out` fills:
 * four letters are written only after the three bytes they stand for, and all before them, were
 * read. */
void base64url_encode(uint8_t *out, const uint8_t *in, size_t bytes);
/* To text.n * 3 / 4 bytes.  False: not base64url, or bits set behind the last byte. */
bool base64url_decode(struct str text, uint8_t *out);

#endif
