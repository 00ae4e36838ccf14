/* oracle.h - what must hold, whatever happened (numbers as in the design's list).
 *
 * After every event, checked by the simulator itself: S4 (answered or delivered is
 * durable there), S6 (copies that were told), S11, S16, S17.  By oracle_check(): S1, S2,
 * S9, S10, S12 of what was delivered, S14.  A violation ends the program with the story
 * so far. */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "sim/sim.h"

void oracle_check(struct sim *s);
/* L1, S15: all disks of brokers that are up hold the same. */
void oracle_level(struct sim *s);
/* S15: all brokers that are up know the same newest message of a topic, this one. */
void oracle_newest(struct sim *s, const char *topic, const char *body);
/* L1 where retention differs: all that are up have the same heads with the same chains. */
void oracle_heads(struct sim *s);
/* Each publish that was answered OK is on every disk of a broker that is up, once. */
void oracle_all_acked_everywhere(struct sim *s);
/* L2, S12: a subscriber to everything was given, or told to be gone, all its broker has. */
void oracle_told_all(struct sim *s, uint32_t sub);
/* L2: a subscriber to everything from the earliest on got all that is stored, once. */
void oracle_got_everything(struct sim *s, uint32_t sub);
/* The subscriber got each of these bodies once: "a b c", in any order. */
void oracle_got_all(struct sim *s, uint32_t sub, const char *bodies);

#endif
