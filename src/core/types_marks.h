/* types_marks.h - lists of marks that are sorted by stream: where one is, and a copy to be shared.
 */
#ifndef CORE_TYPES_MARKS_H
#define CORE_TYPES_MARKS_H

#include "base/blob.h"
#include "core/types.h"

#include <string.h>

/* The index of `stream`, or of the first one above it. */
static inline uint32_t
marks_place(const struct mark *at, uint32_t count, uint64_t stream)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (at[mid].stream < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* One reference; NULL: there are none. */
static inline struct mark_list *
marks_list(const struct mark *mark, uint32_t count)
{
    if (count == 0)
        return NULL;
    struct mark_list *l = blob_new(sizeof *l + count * sizeof *mark);
    l->count            = count;
    memcpy(l->at, mark, count * sizeof *mark);
    return l;
}

#endif
