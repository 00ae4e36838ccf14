/* filter.h - topic names and the patterns that match them, as in MQTT 5.0 section 4.7.
 *
 * A topic is UTF-8, 1..512 bytes, at most 32 levels, without control characters
 * and without '+' and '#'.  In a filter '+' stands for one level and '#', at the end,
 * for the rest, its parent included.  Topics that begin with '$' are not matched
 * by a wildcard in front.  Empty levels are levels. */
#ifndef CORE_FILTER_H
#define CORE_FILTER_H

#include "base/str.h"

/* NULL when valid, else what is wrong, for the user. */
const char *topic_problem(struct str topic);
const char *filter_problem(struct str filter);
/* Both valid. */
bool filter_match(struct str filter, struct str topic);
bool filter_is_literal(struct str filter);

#endif
