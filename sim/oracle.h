/* oracle.h - what must hold, whatever happened (numbers as in the design's list).
 *
 * Checked by the simulator itself, as things are stored, answered, told to peers, delivered and
 * kept in memory: S1 - S14, S16 - S18, L3.  Below: what can be told at the end alone, and what is
 * promised once faults have stopped.  A violation ends the program with the story so far and a
 * line "violated at A: S9: ...". */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "sim/sim.h"

void oracle_check(struct sim *s);
/* L1, S15: all disks of brokers that are up hold the same. */
void oracle_level(struct sim *s);
/* S15: all brokers that are up know the newest message of a topic of all that their vectors
 * hold, also where that is gone. */
void oracle_all_newest(struct sim *s, const char *topic);
/* S15: above their floors all that are up, and level, hold the same, or name a gap. */
void oracle_content(struct sim *s);
/* S5: what was answered OK is on that broker's disk, or retention took it. */
void oracle_acked_here(struct sim *s);
/* S15: all brokers that are up know the same newest message of a topic, this one. */
void oracle_newest(struct sim *s, const char *topic, const char *body);
/* L1 where retention differs: all that are up have the same heads with the same chains. */
void oracle_heads(struct sim *s);
/* S4: once all links are good, what is believed of peers is on their disks. */
void oracle_beliefs(struct sim *s);
/* Each publish that was answered OK is on every disk of a broker that is up, once. */
void oracle_all_acked_everywhere(struct sim *s);
/* L2, S12: a subscriber to everything was given, or told to be gone, all its broker has. */
void oracle_told_all(struct sim *s, uint32_t sub);
/* L2: a subscriber to everything from the earliest on got all that is stored, once. */
void oracle_got_everything(struct sim *s, uint32_t sub);
/* L2: all who are there and want it got it, if its broker does not store it. */
void oracle_live_everywhere(struct sim *s, uint32_t publish);
/* The subscriber got each of these bodies once: "a b c", in any order. */
void oracle_got_all(struct sim *s, uint32_t sub, const char *bodies);

/* ---- faults have stopped ---- */

/* L1, L4: runs until all are linked, level, and follow one coordinator; each within its bound. */
void oracle_settles(struct sim *s);
/* L7: once all is level, nothing waits for anything. */
void oracle_nothing_waits(struct sim *s);
/* L4, L5: runs for 20 s, in which nothing moves and traffic is that of an idle cluster. */
void oracle_quiet(struct sim *s);
/* L4: one broker is restarted. */
void oracle_restart(struct sim *s, uint32_t i);
/* L6: one broker comes back with nothing. */
void oracle_rebuild(struct sim *s, uint32_t i);
/* S13: a cursor of who has seen all is no larger than it must be. */
void oracle_cursor_at_head(struct sim *s, uint32_t sub);

/* S19: a link of broker i brings what no sound peer says; `dice` says what. */
bool sim_bad_frame(struct sim *s, uint32_t i, uint64_t dice);

#endif
