#include "core/subs.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

/* ---- sets and hits ---- */

static void
set_add(struct subs_set *set, void *subscriber)
{
    if (set->count == set->cap) {
        set->cap = set->cap > 0 ? set->cap * 2 : 2;
        set->at  = mem_resize(set->at, set->cap * sizeof *set->at);
    }
    set->at[set->count++] = subscriber;
}

/* From the back: who came last mostly leaves first.  False: not in it. */
static bool
set_remove(struct subs_set *set, const void *subscriber)
{
    for (uint32_t i = set->count; i > 0; i--) {
        if (set->at[i - 1] != subscriber)
            continue;
        set->at[i - 1] = set->at[--set->count];
        if (set->count == 0) {
            mem_free(set->at);
            *set = (struct subs_set){0};
        }
        return true;
    }
    return false;
}

static void
hits_add(struct subs_hits *h, const struct subs_set *set)
{
    if (set->count == 0)
        return;
    if (h->cap - h->count < set->count) {
        while (h->cap - h->count < set->count)
            h->cap = h->cap > 0 ? h->cap * 2 : 16;
        h->at = mem_resize(h->at, h->cap * sizeof *h->at);
    }
    memcpy(h->at + h->count, set->at, set->count * sizeof *set->at);
    h->count += set->count;
}

void
subs_hits_init(struct subs_hits *h)
{
    *h = (struct subs_hits){0};
}

void
subs_hits_fini(struct subs_hits *h)
{
    mem_free(h->at);
    subs_hits_init(h);
}

/* ---- nodes ---- */

struct key {
    const struct subs_node *parent;
    struct str              level;
};

static bool
node_has(const void *value, const void *key)
{
    const struct subs_node *node = value;
    const struct key       *k    = key;
    return node->parent == k->parent && str_eq(node->level, k->level);
}

/* The place of a parent goes into the hash, so that "a/x", "b/x"... do not meet. */
static uint64_t
key_hash(const struct key *k)
{
    return hash64(k->level) ^ ((uint64_t)(uintptr_t)k->parent >> 4) * UINT64_C(0x9e3779b97f4a7c15);
}

static bool
is(struct str level, char c)
{
    return level.n == 1 && level.p[0] == (uint8_t)c;
}

static struct subs_node *
child_find(const struct subs *s, const struct subs_node *parent, struct str level)
{
    struct key k = {parent, level};
    return map_find(&s->literal, key_hash(&k), node_has, &k);
}

static struct subs_node *
child_make(struct subs *s, struct subs_node *parent, struct str level)
{
    struct subs_node *node = mem_new(sizeof *node + level.n);
    uint8_t          *name = (uint8_t *)(node + 1);
    struct key        k    = {parent, level};
    if (level.n > 0)
        memcpy(name, level.p, level.n);
    node->level  = (struct str){name, level.n};
    node->parent = parent;
    node->hash   = key_hash(&k);
    parent->children++;
    s->nodes++;
    list_push_back(&s->all, &node->all);
    if (is(level, '+'))
        parent->plus = node;
    else
        map_add(&s->literal, node->hash, node);
    return node;
}

static bool
node_is_unused(const struct subs_node *n)
{
    return n->children == 0 && n->exact.count == 0 && n->rest.count == 0;
}

/* Free `node` and those above it that nothing needs any more. */
static void
prune(struct subs *s, struct subs_node *node)
{
    while (node->parent && node_is_unused(node)) {
        struct subs_node *parent = node->parent;
        if (parent->plus == node)
            parent->plus = NULL;
        else
            map_remove(&s->literal, node->hash, node);
        parent->children--;
        s->nodes--;
        list_remove(&node->all);
        mem_free(node);
        node = parent;
    }
}

/* ---- filters ---- */

/* The set that a filter's subscribers are in; with `make`, nodes are made on the
 * way.  NULL: not there.  *last is the node reached, whatever happens. */
static struct subs_set *
place_of(struct subs *s, struct str filter, bool make, struct subs_node **last)
{
    *last = &s->root;
    for (;;) {
        size_t     n     = str_index(filter, '/');
        struct str level = str_cut(filter, 0, n);
        if (is(level, '#'))
            return &(*last)->rest;
        struct subs_node *child = is(level, '+') ? (*last)->plus : child_find(s, *last, level);
        if (!child && make && s->nodes < s->nodes_limit)
            child = child_make(s, *last, level);
        if (!child)
            return NULL;
        *last = child;
        if (n == filter.n)
            return &child->exact;
        filter = str_cut(filter, n + 1, filter.n);
    }
}

void
subs_init(struct subs *s, uint32_t limit)
{
    *s = (struct subs){.limit = limit, .nodes_limit = limit * SUBS_LEVELS_PER_SUBSCRIPTION};
    CHECK(limit > 0 && s->nodes_limit / SUBS_LEVELS_PER_SUBSCRIPTION == limit);
    map_init(&s->literal);
    list_init(&s->all);
}

static void
node_fini(struct subs_node *node)
{
    mem_free(node->exact.at);
    mem_free(node->rest.at);
}

void
subs_fini(struct subs *s)
{
    LIST_EACH(at, &s->all)
    {
        struct subs_node *node = LIST_OF(at, struct subs_node, all);
        node_fini(node);
        mem_free(node);
    }
    node_fini(&s->root);
    map_fini(&s->literal);
    *s = (struct subs){0};
}

enum err
subs_add(struct subs *s, struct str filter, void *subscriber)
{
    struct subs_node *last;
    if (s->count == s->limit)
        return ERR_LIMIT;
    struct subs_set *set = place_of(s, filter, true, &last);
    if (!set) {
        prune(s, last);
        return ERR_LIMIT;
    }
    set_add(set, subscriber);
    s->count++;
    return ERR_OK;
}

enum err
subs_remove(struct subs *s, struct str filter, const void *subscriber)
{
    struct subs_node *last;
    struct subs_set  *set = place_of(s, filter, false, &last);
    if (!set || !set_remove(set, subscriber))
        return ERR_NOTFOUND;
    s->count--;
    prune(s, last);
    return ERR_OK;
}

uint32_t
subs_count(const struct subs *s)
{
    return s->count;
}

/* ---- matching ---- */

/* `topic` is what is left of it below `node`; `ended`: not even an empty level.
 * As deep as the topic has levels, TOPIC_LEVELS_MAX at most. */
static void
match_below(const struct subs *s, const struct subs_node *node, struct str topic,
            struct subs_hits *hits)
{
    for (;;) {
        size_t     n     = str_index(topic, '/');
        struct str level = str_cut(topic, 0, n), rest = str_cut(topic, n + 1, topic.n);
        bool       ends = n == topic.n;
        bool       wild = node->parent || topic.n == 0 || topic.p[0] != '$';

        const struct subs_node *next[2] = {
            s->literal.count > 0 ? child_find(s, node, level) : NULL,
            wild ? node->plus : NULL,
        };
        if (wild)
            hits_add(hits, &node->rest);
        for (int i = 0; i < 2 && ends; i++) {
            if (!next[i])
                continue;
            hits_add(hits, &next[i]->exact);
            hits_add(hits, &next[i]->rest); /* "a/#" matches "a" */
        }
        if (ends || (!next[0] && !next[1]))
            return;
        if (next[0] && next[1])
            match_below(s, next[1], rest, hits);
        node  = next[0] ? next[0] : next[1];
        topic = rest;
    }
}

void
subs_match(const struct subs *s, struct str topic, struct subs_hits *hits)
{
    hits->count = 0;
    if (s->count > 0)
        match_below(s, &s->root, topic, hits);
}
