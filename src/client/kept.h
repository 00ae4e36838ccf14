/* kept.h - a publish that owns what it points at, so that it can be sent again later. */
#ifndef CLIENT_KEPT_H
#define CLIENT_KEPT_H

#include "base/buf.h"
#include "hearsay.h"

struct kept {
    struct hearsay_publish p;    /* points into what follows */
    struct buf             text; /* zero-terminated texts, and the body */
    struct hearsay_pair   *meta;
    size_t                 meta_max;
};

void kept_init(struct kept *k);
void kept_fini(struct kept *k);
/* Every text of `p` that must be there is. */
void kept_set(struct kept *k, const struct hearsay_publish *p);

#endif
