/* rules.h - which topics are stored: what the operator says of them (docs/decisions/0023-live.md).
 *
 * A rule is a filter and what holds for the topics that it matches.  Of several that match the
 * last counts; a topic that none matches is stored. */
#ifndef CORE_RULES_H
#define CORE_RULES_H

#include "core/subs.h"
#include "core/types.h"

/* Does not move, as its subs do not. */
struct rules {
    struct topic_rule *at; /* the filters lie behind them */
    uint32_t           count;
    struct subs        subs; /* whose subscribers are the rules */
    struct subs_hits   hits;
};

/* At most TOPIC_RULES_MAX, of valid filters; copied. */
void rules_init(struct rules *r, const struct topic_rule *rule, uint32_t count);
void rules_fini(struct rules *r);
/* Is what is published to this topic stored? */
bool rules_store(struct rules *r, struct str topic);

#endif
