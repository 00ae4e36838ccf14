/* commits.h - what was handed to the store and is not answered yet, in order. */
#ifndef CORE_COMMITS_H
#define CORE_COMMITS_H

#include "core/out.h"

enum { COMMITS_BYTES_MAX = 32 << 20 }; /* then batches of peers are dropped, pulled later */

struct pending {
    struct commit    commit;  /* the references in it are the store's; ours are the next two */
    struct batch    *batch;   /* one reference */
    struct gap_list *gaps;    /* likewise */
    bool             own;     /* published here */
    bool             pushed;  /* own: was sent to peers beside the commit */
    bool             pulled;  /* a peer's: it used up credit */
    uint32_t         link;    /* a peer's: where it came from */
    uint64_t         link_id; /* ... and which link was in that slot */
    uint64_t         serial;  /* own: of the first publish */
};

struct commits {
    struct pending *ring;
    uint32_t        first, count, cap;
    uint64_t        id_next;
    size_t          bytes;
    uint32_t        own; /* own batches among them */
};

void commits_init(struct commits *c);
void commits_fini(struct commits *c);
/* Numbers it and adds EFFECT_PERSIST.  Takes over one reference of p->batch and p->gaps;
 * the effect carries another. */
void commits_add(struct commits *c, struct out *out, const struct pending *p);
/* The oldest is answered; its references of the batch and the gaps go to the caller. */
struct pending commits_take(struct commits *c, uint64_t id);

#endif
