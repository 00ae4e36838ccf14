/* gossip.h - how batches spread: push once, HEADS, pull what is missing.
 *
 * After Demers et al., "Epidemic Algorithms for Replicated Database Maintenance"
 * (1987): the push is rumour mongering without redundancy, HEADS and PULL are
 * anti-entropy over vectors.
 *
 * Per link: what the peer is believed to have on disk (for this link only), what
 * was told to it, what it is being served under credit, and what of it is held back.
 * One pull of ours is outstanding at a time:
 *
 *   IDLE -> PULLING(link) when a stream lacked for 150 ms without progress
 *   PULLING -> IDLE when that link has nothing more for us, or is gone
 *   PULLING -> PULLING(next holder) after 500 ms without progress */
#ifndef CORE_GOSSIP_H
#define CORE_GOSSIP_H

#include "core/commits.h"
#include "core/journal.h"
#include "core/out.h"

enum {
    HEADS_SOON_MS  = 50,   /* after a commit, to whom did not push */
    HEADS_IDLE_MS  = 5000, /* everything, to everyone */
    LACK_MS        = 150,  /* without progress: then pull */
    PULL_RETRY_MS  = 500,  /* without progress: then pull from another */
    CATCH_UP_ABOVE = 8192, /* messages lacked: tell peers not to push */
    CATCH_UP_BELOW = 1024,
    CAUSAL_WAIT_MS = 10000, /* nobody shows what is missing: then it is waived */
};

/* Readers of links have this bit; handles of sessions never do. */
#define GOSSIP_READER (UINT64_C(1) << 63)

struct gossip;

void gossip_init(struct gossip *g);
void gossip_fini(struct gossip *g);

/* A link shook hands; `member` is the peer's slot in the roster. */
void gossip_link_up(struct gossip *g, struct journal *j, uint32_t link, uint32_t member,
                    struct mono now);
void gossip_link_down(struct gossip *g, struct journal *j, uint32_t link, struct mono now);

/* Send an own batch once to every live peer. */
void gossip_push(struct gossip *g, struct out *out, struct batch *b);

/* What came from a peer.  A batch's reference is taken over.
 * PROTO: the batch is damaged or invalid; the link must be closed. */
MUST_USE enum err gossip_on_push(struct gossip *g, struct journal *j, struct commits *c,
                                 struct out *out, struct mono now, uint32_t link,
                                 const struct frame_push *push);
void              gossip_on_heads(struct gossip *g, struct journal *j, uint32_t link,
                                  const struct frame_heads *heads, struct mono now);
void              gossip_on_pull(struct gossip *g, struct journal *j, uint32_t link,
                                 const struct frame_pull *pull);
void              gossip_on_credit(struct gossip *g, uint32_t link, uint64_t bytes);
void gossip_on_sent(struct gossip *g, uint32_t link, size_t bytes_queued, struct mono now);
void gossip_on_page(struct gossip *g, uint64_t reader, struct page *page);

/* A peer's batch is durable, or (`failed`) was dropped by the store. */
void gossip_persisted(struct gossip *g, const struct pending *p, bool failed, struct mono now);
/* Some durable head moved: tell the others soon. */
void gossip_changed(struct gossip *g, struct mono now);
/* The disk failed: nothing is asked for until it works. */
void gossip_disk(struct gossip *g, struct journal *j, bool works, struct mono now);

/* What nobody could supply for causal_wait_ms is waived, before the turn's end. */
void gossip_waive(struct gossip *g, struct journal *j, struct commits *c, struct out *out,
                  struct mono now);
/* The turn's end: HEADS that are due, PULL, CREDIT, batches for who pulls, reads. */
void        gossip_turn(struct gossip *g, struct journal *j, struct out *out, struct mono now,
                        const struct token *accepted);
struct mono gossip_deadline(const struct gossip *g, const struct journal *j);

/* How many members, ourselves included, have this mark on disk (told over a direct
 * link, so only what is linked now counts). */
uint32_t gossip_copies(const struct gossip *g, const struct journal *j, struct mark m);
/* The heads known of linked peers, merged into v. */
void gossip_known(const struct gossip *g, const struct journal *j, struct vector *v);
/* Messages that linked peers have and we do not. */
uint64_t gossip_lack(const struct gossip *g, const struct journal *j);

/* ---- private ---- */
struct gossip_link {
    bool        up;
    uint64_t    id; /* of this use of the slot */
    uint32_t    member;
    uint8_t     their_flags; /* HEADS_* of the last HEADS */
    uint64_t    told;        /* journal.changes up to which heads were sent */
    bool        heads_now, heads_full;
    struct mono heads_full_at;
    bool        push_off; /* its queue was full */
    size_t      queued;
    /* serving its pull */
    bool          serving;
    uint64_t      reader;     /* the read that is under way; 0: none */
    bool          reader_old; /* ... for the pull before this one */
    struct vector have;
    uint64_t      lsn;    /* 0: not known yet */
    int64_t       credit; /* below 0: the last batch overdrew it */
    struct page  *page;
    uint32_t      page_at;
    /* our pull */
    uint64_t credit_due;
    uint32_t storing; /* pulled batches at our store */
    /* held back */
    struct list held_back;
    size_t      held_back_bytes;
    /* counters */
    uint64_t pushes_in, pushes_out, duplicates;
};
struct gossip {
    struct gossip_link link[LINKS_MAX];
    struct pool        held_back;
    struct list        lacking, released;
    struct list        clocks; /* held back, and nobody shows what for: longest first */
    uint64_t           causal_wait_ms;
    struct mono        heads_soon; /* MONO_NEVER: nothing to tell */
    bool               pulling, disk_works, catching_up;
    uint32_t           pull_link, pull_last;
    struct mono        pull_progress;
    uint32_t           reads; /* under way, also for pulls that are over */
    uint64_t           ids, pulls, refused;
    uint64_t           waived, late, holes; /* marks; messages; batches dropped behind a hole */
};

#endif
