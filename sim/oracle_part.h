/* oracle_part.h - where the simulator asks its oracle, and what the oracle's files share.
 *
 *   oracle.c         as things are answered, sent and told; and at the end
 *   oracle_state.c   what a running broker has in memory    oracle_acks.c   what it owes to clients
 *   oracle_cursor.c  cursors      oracle_frames.c  frames that are refused
 *   oracle_calm.c    once faults have stopped               sim_past.c      all that ever was */
#ifndef SIM_ORACLE_PART_H
#define SIM_ORACLE_PART_H

#include "sim/sim_part.h"

/* ---- oracle.c ---- */
void oracle_event(struct sim *s, uint32_t i);
/* A publish is answered. */
void oracle_answer(struct sim *s, uint32_t i, struct sim_publish *p);
/* S6: so many disks have it. */
void oracle_copies(struct sim *s, uint32_t i, struct mark m, uint32_t copies);
/* S4, S12: what is said to a peer is so. */
void oracle_send(struct sim *s, uint32_t i, const struct frame *f);

/* ---- oracle_state.c: S3, S4, S18 ---- */
void oracle_state(struct sim *s, uint32_t i);
void oracle_effects(struct sim *s, uint32_t i, const struct effects *effects);

/* ---- oracle_acks.c: S5, L3 ---- */

/* What it acknowledged is on its disk; and its new process knows of it. */
void oracle_kept(struct sim *s, uint32_t i);
void oracle_known(struct sim *s, uint32_t i);
/* From now on it may be late: it was not a live broker with a working disk. */
void oracle_trouble(struct sim *s, uint32_t i);
void oracle_handed_in(struct sim *s, const struct sim_publish *p);
void oracle_in_time(struct sim *s, uint32_t i, const struct sim_publish *p);
void oracle_pending(struct sim *s, uint32_t i);

/* ---- oracle_cursor.c: S13 ---- */

/* A client is about to go on with its cursor. */
void oracle_cursor(struct sim *s, struct sim_sub *sub);

/* ---- sim_past.c ---- */

/* A commit is on the disk of i. */
void past_commit(struct sim *s, uint32_t i, const struct commit *c);
/* A step of retention is. */
void past_retain(struct sim *s, uint32_t i, const struct retained *r);
/* And its broker was told. */
void past_retired(struct sim *s, uint32_t i, const struct retained *r);
/* A process starts: it may find another disk than the last one left. */
void past_start(struct sim *s, uint32_t i, const struct recovered *r);
/* All batches of a stream that ever reached a disk; NULL: none. */
const struct sim_stream *past_stream(const struct sim *s, uint64_t id);
/* The one that holds this message; NULL: it never was on a disk. */
const struct sim_batch *past_find(const struct sim *s, struct mark m);
/* What is known of this stream at i; NULL: it never was on a disk. */
struct sim_held *past_held(struct sim *s, uint64_t stream, uint32_t i);
/* The batch that ends there, or NULL. */
const struct batch *past_last(const struct sim *s, uint64_t stream, uint64_t seq);
/* The batch of this message was seen. */
void past_number(struct sim *s, struct mark m, uint64_t number);
/* Nobody can be asked for it: it was waived, or its stream was retired. */
bool past_is_excused(const struct sim *s, struct mark m);
/* S10, S11, S12: may this subscriber be given this now?  Notes that it was. */
void past_deliver(struct sim *s, struct sim_sub *sub, const struct entry *e);
/* S12: its cursor is this now. */
void past_cursor(struct sim *s, struct sim_sub *sub);
/* Nothing that it wants lies in between. */
bool past_is_silent(const struct sim *s, const struct sim_sub *sub, uint64_t stream, uint64_t from,
                    uint64_t to);
void past_fini(struct sim *s);
/* Ends the run with "violated at ..." when it does not hold.  what: "S12: in words". */
void sim_must(struct sim *s, bool holds, const char *what, uint32_t i);
/* It counts as looked at only where there is something that could break it. */
void sim_must_where(struct sim *s, bool is_there, bool holds, const char *what, uint32_t i);

#endif
