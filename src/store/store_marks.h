/* store_marks.h - marks and ids as they lie in blobs of broker.db, and a batch's chain.
 *
 * Marks: varint count, then per mark u64 big-endian stream and varint seq, as on the wire. */
#ifndef STORE_STORE_MARKS_H
#define STORE_STORE_MARKS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/varint.h"
#include "core/types.h"

/* Appended to `out`, which has no limit. */
void marks_encode(struct buf *out, const struct mark *mark, uint32_t count);
/* CORRUPT unless `s` is exactly one list of marks, sorted by stream.  count is set
 * first; the marks themselves only where `mark` is not NULL. */
MUST_USE enum err marks_decode(struct str s, struct mark *mark, uint32_t *count);

/* The formulas of core/batch.h; `scratch` is reused. */
struct hash128 marks_digest(struct str topic, struct str headers, struct str body);
struct hash128 marks_chain(const struct batch *b, struct buf *scratch);

#endif
