/* gossip_repair.h - what is stored and cannot be read any more is mended.
 *
 * A page names the batches that are damaged in our store; and a peer may send a batch of which
 * it has but the digest of some message.  What is stored is read by itself at first: often the
 * rest of the file says what it was.  Else it is asked of one linked member after the other
 * that has it, by a PULL whose `have` ends just before it and whose credit is good for one
 * batch.  What comes goes to the store as COMMIT_REPAIR.  Who has nothing better is asked
 * again ever more seldom; meanwhile others get a gap in its place (gossip_serve.c).
 *
 *   UNREAD -> READING -> WANTED -> ASKED(member) -> STORING -> MENDED    found again: UNREAD
 *             READING -> STORING: it was told by our own store
 *             ASKED, STORING -> WANTED: that member did not answer, or had no more of it
 *
 * A batch that was mended and is found damaged again says that the file itself is broken:
 * `futile`. */
#ifndef CORE_GOSSIP_REPAIR_H
#define CORE_GOSSIP_REPAIR_H

#include "core/journal.h"

enum {
    REPAIRS_MAX        = 64,   /* then those that were mended are forgotten, then none is noted */
    REPAIR_WAIT_MS     = 1000, /* for an answer; and until a holder is looked for again, at first */
    REPAIR_WAIT_MAX_MS = 3600000,
};

enum repair_state {
    REPAIR_NOTED, /* just now */
    REPAIR_UNREAD,
    REPAIR_READING,
    REPAIR_WANTED,
    REPAIR_ASKED,
    REPAIR_STORING,
    REPAIR_MENDED,
    REPAIR_STATE_COUNT
};

struct repair {
    enum repair_state state;
    struct damage     what;
    bool              whole;    /* STORING: with all of its messages */
    bool              hopeless; /* no linked member had it when all were asked */
    uint32_t          in_vain;  /* bit i: the member in slot i has it no better */
    uint64_t          wait_ms;
    struct mono       since; /* it was found */
    struct mono       at;    /* WANTED: not before; ASKED: not longer; MENDED: since */
};

struct repairs {
    struct repair at[REPAIRS_MAX];
    uint32_t      count;
    uint32_t      asked;   /* index of the one that is, or REPAIRS_MAX */
    uint32_t      link;    /* ... and where */
    bool          reading; /* a page of ours is on its way */
    bool          futile;
    bool          news;          /* one ended, or may have: for who waits for it */
    uint64_t      found, mended; /* batches */
};

#endif
