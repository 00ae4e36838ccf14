/* story.h - golden scenarios: what a cluster does in virtual time, as text.
 *
 * A scenario ends with story_ends(): the invariants are checked, and the story is
 * compared with tests/scenario/golden/NAME.txt.  `make golden` writes those files
 * anew; the difference is then read in review. */
#ifndef TESTS_SCENARIO_STORY_H
#define TESTS_SCENARIO_STORY_H

#include "sim/oracle.h"
#include "sim/sim.h"

/* A cluster of so many, all started, with a coordinator. */
struct sim *story_cluster(uint32_t brokers);
void        story_settle(struct sim *s, uint64_t ms_max); /* level, with a coordinator */
/* What brokers trace is no part of a story. */
void story_quiet(void);
/* Takes over the simulation. */
void story_ends(struct sim *s, const char *name);

#endif
