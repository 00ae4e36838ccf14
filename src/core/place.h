/* place.h - where a session stands, told so that another may be found to stand there too.
 *
 * What a session is delivered from now on, and each of its cursors on the way, follows from its
 * filters, the next lsn to scan, what it has seen and its stamp.  So what was delivered to one
 * between two places is what any other gets that stands at the first; it stands at the second
 * then.  The server encodes it once for all of them.
 *
 * Only who reads what is in memory has a place that can be told: not who has a page from the
 * disk, or a gap to hear of that is in no log.  What is live has no cursors: of two that read
 * nothing of the log, and want the same, the next number says all. */
#ifndef CORE_PLACE_H
#define CORE_PLACE_H

#include "core/session.h"

enum { PLACE_STREAMS_MAX = 512 }; /* more would cost more to compare than it spares */

struct place {
    struct filters *filters; /* one reference; NULL: none is told */
    uint64_t        lsn, stamp;
    struct vector   seen;
    uint64_t        live; /* session_next_live(), of who waits for nothing of the log; or 0 */
};

void place_init(struct place *p);
void place_fini(struct place *p);
/* Of who is BEHIND or, when all was delivered, in HEAD.  False: it cannot be told. */
MUST_USE bool place_take(struct place *p, const struct sessions *all, const struct session *s,
                         const struct journal *j);
/* Is it BEHIND, at that very place, or where that live message is its next? */
bool place_is(const struct place *p, const struct sessions *all, const struct session *s);
/* From a place where it stands to one that another reached from there, who was delivered so many
 * messages on the way. */
void place_move(struct sessions *all, struct session *s, const struct place *to,
                uint32_t deliveries);

#endif
