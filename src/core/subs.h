/* subs.h - which subscriptions match a topic: a trie over the levels of filters.
 *
 * A match walks only what fits the topic: with few wildcards one look-up per
 * level, and nothing at all while there are no subscriptions.  Matching is that of
 * filter.h.  The subscriber is a pointer that is never followed. */
#ifndef CORE_SUBS_H
#define CORE_SUBS_H

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

/* Each level of a filter that no other filter shares takes memory; so there may
 * be at most this many levels per subscription on average. */
enum { SUBS_LEVELS_PER_SUBSCRIPTION = 8 };

/* The subscribers at one place in the trie. */
struct subs_set {
    void   **at;
    uint32_t count, cap;
};

struct subs_node {
    struct subs_node *parent; /* NULL: the root */
    struct subs_node *plus;   /* the child for '+' */
    struct subs_set   exact;  /* filters that end here */
    struct subs_set   rest;   /* filters that end in '#' below */
    uint64_t          hash;   /* of parent and level */
    uint32_t          children;
    struct list       all;
    struct str        level; /* lies behind the node */
};

/* Does not move: nodes point to its root. */
struct subs {
    struct subs_node root;
    struct list      all;     /* nodes but the root */
    struct map       literal; /* (parent, level) -> node */
    uint32_t         count, limit;
    uint32_t         nodes, nodes_limit;
};

/* What a match found.  Reused: a match begins it anew. */
struct subs_hits {
    void   **at;
    uint32_t count, cap;
};

void subs_init(struct subs *s, uint32_t limit);
void subs_fini(struct subs *s);
/* The same pair may be added again, and is then removed once more.
 * LIMIT: too many subscriptions or levels; nothing changed. */
MUST_USE enum err subs_add(struct subs *s, struct str filter, void *subscriber);
/* NOTFOUND: no such pair. */
MUST_USE enum err subs_remove(struct subs *s, struct str filter, const void *subscriber);
/* All subscribers with a filter that matches, in no order; once for each such
 * filter, so one may occur several times. */
void     subs_match(const struct subs *s, struct str topic, struct subs_hits *hits);
uint32_t subs_count(const struct subs *s);

void subs_hits_init(struct subs_hits *h);
void subs_hits_fini(struct subs_hits *h);

#endif
