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
 *   PULLING -> PULLING(next holder) after 500 ms without progress
 *
 * What is below a peer's floor comes as a GAP: an offer at first, which is taken when nobody
 * in reach still has some of it (docs/decisions/0013-gaps.md).  The newest messages of topics
 * among it come as LATEST. */
#ifndef CORE_GOSSIP_H
#define CORE_GOSSIP_H

#include "core/commits.h"
#include "core/gossip_repair.h"
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
    OFFER_QUIET_MS = 50,    /* no GAP or LATEST came for so long: offers are judged together */
    OFFER_MAX_MS   = 500,   /* ... or GAPs keep coming for so long */
    OFFER_AGAIN_MS = 250,   /* those that were left are judged again */
    OFFER_WAIT_MS  = 5000,  /* for members that are not linked: not longer */
    OFFERS_MAX     = 65536, /* then they are dropped, and pulled again */
};

/* Readers of links have this bit; handles of sessions never do. */
#define GOSSIP_READER (UINT64_C(1) << 63)
#define GOSSIP_REPAIR (UINT64_C(1) << 62) /* ... and those of repairs this one too */

struct gossip;

/* What is given to whatever may take something in: where it goes, and when that is. */
struct intake {
    struct gossip  *g;
    struct journal *j;
    struct commits *c;
    struct out     *out;
    struct mono     now;
};

void gossip_init(struct gossip *g);
void gossip_fini(struct gossip *g);
/* 0: CAUSAL_WAIT_MS.  Holds for what waits already, too. */
void gossip_set_causal_wait(struct gossip *g, uint64_t ms);

/* A link shook hands; `member` is the peer's slot in the roster. */
void gossip_link_up(struct gossip *g, struct journal *j, uint32_t link, uint32_t member,
                    struct mono now);
void gossip_link_down(struct gossip *g, struct journal *j, uint32_t link, struct mono now);

/* Send an own batch once to every live peer. */
void gossip_push(struct gossip *g, struct out *out, struct batch *b);

/* Send a live batch once to every linked peer; who does not keep up misses it. */
void gossip_push_live(struct gossip *g, struct out *out, struct batch *b);
/* One came, which is borrowed.  OK: it is to be delivered here, and goes nowhere else.
 * NOTFOUND: it came before.  PROTO as below. */
MUST_USE enum err gossip_on_live(struct gossip *g, uint32_t link, const struct batch *b);

/* What came from a peer.  A batch's reference is taken over.
 * PROTO: it is damaged or invalid; the link must be closed. */
MUST_USE enum err gossip_on_push(const struct intake *in, uint32_t link,
                                 const struct frame_push *push);
MUST_USE enum err gossip_on_gap(const struct intake *in, uint32_t link,
                                const struct frame_gap *gap);
MUST_USE enum err gossip_on_latest(const struct intake *in, uint32_t link,
                                   const struct frame_latest *latest);
void              gossip_on_heads(struct gossip *g, struct journal *j, uint32_t link,
                                  const struct frame_heads *heads, struct mono now);
void              gossip_on_pull(struct gossip *g, uint32_t link, const struct frame_pull *pull);
void              gossip_on_credit(struct gossip *g, uint32_t link, uint64_t bytes);
void              gossip_on_sent(struct gossip *g, uint32_t link, size_t bytes_queued);
void gossip_on_page(struct gossip *g, uint64_t reader, struct page *page, struct mono now);
/* What a page, for whomever it was read, names as damaged; before its reader gets it. */
void gossip_damaged(const struct intake *in, const struct page *page);

/* Until when it is hoped that this damage is mended: some linked member may have it, or it is on
 * its way.  Long ago: it is not. */
struct mono repair_hope(const struct gossip *g, const struct journal *j, const struct damage *d);

/* A peer's batch or message, or gaps, are durable, or (`failed`) were dropped by the store. */
void gossip_persisted(struct gossip *g, const struct pending *p, bool failed, struct mono now);
/* Some durable head moved: tell the others soon. */
void gossip_changed(struct gossip *g, struct mono now);
/* The disk failed: nothing is asked for until it works. */
void gossip_disk(struct gossip *g, struct journal *j, bool works, struct mono now);

/* This process slept: nobody was heard meanwhile, so that time does not count. */
void gossip_stalled(struct gossip *g, struct mono now);
/* What nobody could supply for causal_wait_ms is waived, before the turn's end. */
void gossip_waive(const struct intake *in);
/* What a turn needs to know from outside. */
struct gossip_side {
    struct token accepted; /* coordinator, for HEADS */
    struct wall  wall;
    bool         gathered; /* every member in reach is linked */
};
/* Is there anything that `gathered` is asked for? */
bool gossip_has_offers(const struct gossip *g);
/* The turn's end: gaps that may be taken, HEADS that are due, PULL, CREDIT, batches for who
 * pulls, reads. */
void        gossip_turn(const struct intake *in, const struct gossip_side *side);
struct mono gossip_deadline(const struct gossip *g);

/* How many members, ourselves included, have this mark on disk (told over a direct
 * link, so only what is linked now counts).  What retention took there is no copy. */
uint32_t gossip_copies(const struct gossip *g, const struct journal *j, struct mark m);
/* The heads known of linked peers, merged into v. */
void gossip_known(const struct journal *j, struct vector *v);
/* The highest of it that some linked member has on disk. */
uint64_t stream_shown(const struct stream *s);
/* Some linked member has on disk all that we have; `but_live`: but for the last of what was
 * published here. */
bool gossip_is_covered(const struct gossip *g, const struct journal *j, bool but_live);
/* Some linked member told all that it has, and we hold what all of them have. */
bool gossip_has_caught_up(const struct gossip *g);
/* Messages that linked peers have and we do not. */
uint64_t gossip_lack(const struct gossip *g);

/* ---- private ---- */
struct gossip_link {
    bool        up;
    uint64_t    id; /* of this use of the slot */
    uint32_t    member;
    uint8_t     their_flags; /* HEADS_* of the last HEADS */
    uint64_t    told;        /* journal.changes up to which heads were sent */
    uint64_t    floors_told; /* gossip.floors_closed of the last HEADS */
    bool        heads_now, heads_full;
    bool        told_all; /* the peer, once */
    bool        news;     /* of what it has, since the broker wrote that down */
    struct mono heads_full_at;
    bool        push_off; /* its queue was full */
    size_t      queued;
    /* serving its pull */
    bool          serving;
    uint64_t      reader;     /* the read that is under way; 0: none */
    bool          reader_old; /* ... for the pull before this one */
    struct vector have;
    uint64_t      floors_seen; /* journal.floor_moves up to which its gaps were sent */
    bool          kept;        /* kept messages go before batches */
    uint64_t      kept_next;   /* ... from this topic on */
    struct vector kept_have;   /* ... that this does not hold: `have` before the gaps */
    uint64_t      kept_upto;   /* gaps of our log up to this lsn had theirs sent */
    bool          kept_all;    /* all that it may lack went to it once on this link */
    bool          located;     /* lsn is set; 0: that is known on disk alone */
    uint64_t      lsn;
    int64_t       credit; /* below 0: the last batch overdrew it */
    struct page  *page;
    uint32_t      page_at;
    uint64_t      page_left; /* not 0: it is left, and read anew from this lsn on */
    /* our pull */
    bool     asked; /* it was pulled from once */
    uint64_t credit_due;
    uint32_t storing; /* what was pulled and is at our store */
    /* held back */
    struct list held_back;
    size_t      held_back_bytes; /* with the offers */
    struct list offers;
    struct mono patience; /* it offered a gap that may be taken until then */
    /* counters */
    uint64_t pushes_out, duplicates;
    uint64_t live_stamp; /* the last of what came live: they rise */
};
struct gossip {
    struct gossip_link link[LINKS_MAX];
    struct pool        held_back, offers;
    struct list        lacking, released;
    struct list        clocks; /* held back, and nobody shows what for: longest first */
    uint64_t           causal_wait_ms;
    struct mono        heads_soon;    /* MONO_NEVER: nothing to tell */
    uint64_t           floors_at;     /* journal.floor_moves when they were looked at */
    uint64_t           floors_closed; /* ... and when they were closed last */
    bool               floors_open;
    bool               pulling, disk_works, catching_up;
    uint32_t           pull_link, pull_last;
    uint32_t           pull_idle; /* link that was pulled from in vain last, or LINKS_MAX */
    struct mono        pull_progress, asked;
    struct mono        offers_at, offers_since; /* judged next; the first that was not yet */
    struct mono        latest_until;            /* LATESTs may still come */
    uint32_t           gaps_storing, latest_storing;
    uint32_t           reads; /* under way, also for pulls that are over */
    uint64_t           ids, pulls, refused;
    uint64_t           waived, late, holes;  /* marks; messages; batches dropped behind a hole */
    uint64_t           gaps;                 /* taken */
    uint64_t           live_in, live_missed; /* messages: came; not sent to a slow peer */
    struct repairs     repairs;
};

#endif
