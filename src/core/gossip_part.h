/* gossip_part.h - what the files of gossip share; nobody else includes it. */
#ifndef CORE_GOSSIP_PART_H
#define CORE_GOSSIP_PART_H

#include "core/gossip.h"

enum { HELD_BACK_MAX = 65536 };

/* A batch that a peer sent. */
struct arrival {
    struct batch *batch; /* one reference */
    uint32_t      link;
    bool          pulled; /* it used up credit */
    struct mono   at;
};

/* A batch that came too early, in its stream's or a dep's `waiting` list. */
struct held_back {
    struct list    waiting; /* in stream.waiting of what it waits for */
    struct list    by_link; /* in gossip_link.held_back */
    struct list    clock;   /* in gossip.clocks; in none: a peer shows what it waits for */
    struct mono    since;   /* nobody has shown that since then */
    struct arrival it;
    struct stream *wants;
    uint64_t       seq;  /* of that stream; then it is judged anew */
    uint64_t       debt; /* or when nothing of it that is stamped before is missing; 0: not then */
};

/* `j` is NULL when all ends. */
void held_back_drop_all(struct gossip *g, struct journal *j, struct gossip_link *l,
                        struct mono now);
/* Out of all lists; its batch is the caller's now. */
struct arrival held_back_take(struct gossip *g, struct held_back *h);

/* Credit is given back for it. */
void arrival_drop(const struct intake *in, const struct arrival *it);
/* The stream moved, or what waits for it waits no more: release() looks. */
void stream_released(struct gossip *g, struct stream *s);
/* What came contradicts what is stored here: no more of it is taken. */
void stream_freeze(const struct intake *in, struct stream *s);
/* Judge anew what waited for a stream that moved; that may move others. */
void release(const struct intake *in);

/* ---- gossip_wait.c: the clock of what cannot come ---- */

/* Its fields are set; it joins those that wait for the same stream, by seq. */
void wait_begin(struct gossip *g, struct held_back *h);
/* Is what it waited for here, or waited for in vain? */
bool wait_is_over(const struct held_back *h);
/* It is over for nobody who waits for this seq of the stream, or a later one. */
bool wait_goes_on(const struct stream *s, uint64_t seq);
/* A batch is held back: it may be the next one in hand. */
void hand_add(struct journal *j, const struct batch *b);
/* A batch is dropped, which may have been in hand. */
void hand_lost(struct gossip *g, struct journal *j, const struct batch *b, struct mono now);
/* The link with a member is gone: what it alone showed of the stream nobody shows now. */
void        wait_lost(struct gossip *g, struct stream *s, uint32_t member, struct mono now);
struct mono wait_deadline(const struct gossip *g);

/* Up to here it need not come again: it is held, or waits here for something else. */
uint64_t stream_reach(const struct stream *s);

/* Is `s` one of those that some peer has more of?  Keeps the list right. */
void gossip_judge_lack(struct gossip *g, struct stream *s, struct mono now);

/* ---- gossip_gap.c: gaps that are offered ---- */

/* A gap that a link offers; dropped with it. */
struct offer {
    struct list   by_stream; /* in stream.offers */
    struct list   by_link;   /* in gossip_link.offers */
    struct batch *gap;       /* as it was offered */
    uint32_t      link;
    struct mono   since;
    bool          paid;    /* its credit was given back */
    bool          blocked; /* another member still has some of it, and is pulled from first */
};

void offers_drop(struct gossip *g, struct gossip_link *l);
/* NULL: this link offers no gap of it. */
struct offer *offer_of(const struct stream *s, uint32_t link);
/* Does nothing more of `s` come over this link before its offer is taken? */
bool offer_is_blocked(const struct stream *s, uint32_t link);
/* Take those that may be taken, all at once. */
void offers_judge(const struct intake *in, const struct gossip_side *side);

/* ---- gossip.c ---- */

/* What a pull says that we have: at most STREAMS_MAX marks. */
uint32_t pull_marks(const struct journal *j, struct mark *mark);

/* ---- gossip_repair.c ---- */

void        repairs_init(struct repairs *all);
void        repair_link_up(struct gossip *g, uint32_t member, struct mono now);
void        repair_turn(struct gossip *g, struct journal *j, struct out *out, struct mono now);
struct mono repair_deadline(const struct gossip *g);
/* May some linked member that was not asked yet have it as it was? */
bool repair_is_hopeful(const struct gossip *g, const struct journal *j, const struct damage *d);
/* The page that was read for one of them came, and gossip_damaged() has seen it. */
void repair_on_page(struct gossip *g, struct mono now);
/* True: it mends something, and its reference was taken over. */
bool repair_take(const struct intake *in, const struct arrival *it);
/* It goes to the store as it is, perhaps without some message. */
void repair_arrival(const struct intake *in, const struct arrival *it);
/* A COMMIT_REPAIR is done. */
void repair_persisted(struct gossip *g, const struct pending *p, bool failed, struct mono now);

/* ---- gossip_serve.c ---- */

/* Peers take it that all that lies below our floors depends on nothing that does not lie below
 * them too.  While gaps owe more than that, floors are told as they were before. */
void floors_settle(struct gossip *g, struct journal *j);
/* Send what the link's peer pulled, while there is credit and room. */
void serve(struct gossip *g, struct journal *j, struct out *out, uint32_t link);
void serve_stop(struct gossip_link *l);
bool serve_can_go_on(const struct gossip *g, const struct gossip_link *l);

#endif
