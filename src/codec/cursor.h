/* cursor.h - a vector that a client carries, as text.
 *
 * base64url (RFC 4648 section 5, no padding) of
 *   u8 version (1)   u32 cluster tag   varint highest stamp   varint count
 *   count x (u64 stream, varint seq), sorted by stream        u32 CRC-32 of all before
 * Big-endian; varints are LEB128 in the shortest form.  Each cursor has exactly one
 * text, and the text of one is at most CURSOR_BYTES_MAX long. */
#ifndef CODEC_CURSOR_H
#define CODEC_CURSOR_H

#include "base/buf.h"
#include "base/err.h"
#include "core/types.h"

/* Which cluster a cursor is from: the low 32 bits of hash64 of its name. */
uint32_t cursor_cluster_tag(struct str cluster);

/* Append the text.  LIMIT: longer than CURSOR_BYTES_MAX or than `out` may take;
 * `out` stays as it was.  The vector is sorted and holds no seq 0. */
MUST_USE enum err cursor_encode(struct buf *out, uint32_t tag, uint64_t stamp,
                                const struct vector *v);

/* OK       *v and *stamp are set; *v grows by base/mem.h as in core/vector.h and is
 *          the caller's (give one that is initialised; its memory is reused).
 * INVALID  *problem says why, for the user; *v is empty. */
MUST_USE enum err cursor_decode(struct str text, uint32_t tag, struct vector *v, uint64_t *stamp,
                                const char **problem);

#endif
