/* store_front.h - the oldest batch that is left: what retention takes next. */
#ifndef STORE_STORE_FRONT_H
#define STORE_STORE_FRONT_H

#include "store/store_private.h"

struct front {
    uint64_t       stream; /* 0: of nobody, as it seems; only when looked at closely */
    uint64_t       first, last, lsn, lsns, stamp;
    int64_t        since; /* it counts as that old */
    struct hash128 chain;
    bool           is_gap;
};

/* What its row says that lies so many lsns behind the first. */
static inline uint64_t
front_seq(const struct front *f, uint64_t i)
{
    return f->is_gap ? f->last : f->first + i;
}

/* What begins at `lsn` or is next behind it.  NOTFOUND: nothing is left.  CORRUPT: it is
 * damaged; who looks closely gets what its rows still say, and its chain from what follows. */
enum err front_look(struct store *s, uint64_t lsn, bool closely, struct front *f);

#endif
