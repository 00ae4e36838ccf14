/* vector.h - stream -> highest contiguous seq; a join semilattice under merge.
 *
 * Marks are sorted by stream.  Never more than STREAMS_MAX of them: adding one
 * more answers LIMIT and changes nothing (a merge keeps what it had merged). */
#ifndef CORE_VECTOR_H
#define CORE_VECTOR_H

#include "base/err.h"
#include "core/types.h"

void vector_init(struct vector *v);
void vector_fini(struct vector *v);
/* Empty, memory kept. */
void     vector_reset(struct vector *v);
uint64_t vector_seq(const struct vector *v, uint64_t stream);
/* v[stream] = max(v[stream], seq). */
MUST_USE enum err vector_raise(struct vector *v, struct mark m);
/* v[stream] = seq, down as well; 0 removes it. */
MUST_USE enum err vector_set(struct vector *v, struct mark m);
MUST_USE enum err vector_merge(struct vector *v, const struct vector *other);
MUST_USE enum err vector_copy(struct vector *v, const struct vector *from);
/* v >= other in every stream. */
bool vector_covers(const struct vector *v, const struct vector *other);
bool vector_has(const struct vector *v, struct mark m);

#endif
