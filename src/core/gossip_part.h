/* gossip_part.h - what gossip.c and gossip_flow.c share; nobody else includes it. */
#ifndef CORE_GOSSIP_PART_H
#define CORE_GOSSIP_PART_H

#include "core/gossip.h"

enum { HELD_BACK_MAX = 65536 };

/* A batch that came too early, in its stream's or a dep's `waiting` list. */
struct held_back {
    struct list   waiting; /* in stream.waiting of what it waits for */
    struct list   by_link; /* in gossip_link.held_back */
    struct batch *batch;
    uint64_t      seq; /* of that stream; then it is judged anew */
    uint32_t      link;
    bool          pulled;
};

void held_back_drop_all(struct gossip *g, struct gossip_link *l);

/* Is `s` one of those that some peer has more of?  Keeps the list right. */
void gossip_judge_lack(struct gossip *g, struct stream *s, struct mono now);

/* Send what the link's peer pulled, while there is credit and room. */
void serve(struct gossip *g, struct journal *j, struct out *out, uint32_t link);
void serve_stop(struct gossip_link *l);
bool serve_can_go_on(const struct gossip *g, const struct gossip_link *l);

#endif
