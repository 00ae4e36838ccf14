#include "sim/oracle.h"

#include "base/check.h"
#include "core/batch.h"
#include "core/vector.h"
#include "sim/sim_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the run; the story tells how it came to this. */
static void
must(struct sim *s, bool holds, const char *what, uint32_t i)
{
    if (holds)
        return;
    fprintf(stderr, "%s\nviolated at %s: %s\n", sim_story(s), s->node[i].host, what);
    abort();
}

/* ---- after every event ---- */

static bool
on_disk(const struct sim *s, uint32_t i, struct mark m)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++)
        if (b->stream == m.stream && b->first <= m.seq && m.seq <= batch_last(b))
            return true;
    return false;
}

static void
note_claim(struct sim *s, uint32_t i)
{
    const struct bully *bully = broker_bully(s->node[i].broker);
    struct token        token = bully_token(bully);
    if (!bully_is_leading(bully))
        return;
    for (uint32_t k = 0; k < s->claim_count; k++)
        if (token_cmp(&s->claim[k].token, &token) == 0) {
            must(s, s->claim[k].node == i, "S16: a token is claimed once, ever", i);
            return;
        }
    if (s->claim_count == s->claim_cap) {
        s->claim_cap = s->claim_cap > 0 ? s->claim_cap * 2 : 16;
        s->claim     = realloc(s->claim, s->claim_cap * sizeof *s->claim);
        CHECK(s->claim);
    }
    s->claim[s->claim_count++] = (struct claim){token, i};
}

static void
tell_coordinator(struct sim *s, uint32_t i)
{
    int who = sim_coordinator(s, i);
    if (who == s->node[i].coordinator)
        return;
    s->node[i].coordinator = who;
    if (who < 0)
        sim_tell(s, "%s has no coordinator", s->node[i].host);
    else
        sim_tell(s, "%s accepts %s", s->node[i].host, s->node[who].host);
}

void
oracle_event(struct sim *s, uint32_t i)
{
    struct sim_node *n     = &s->node[i];
    struct token     token = bully_token(broker_bully(n->broker));
    must(s, token_cmp(&token, &n->accepted) >= 0, "S17: the accepted token fell", i);
    n->accepted = token;
    note_claim(s, i);
    tell_coordinator(s, i);
    for (uint32_t k = 0; k < s->publish_count; k++) {
        const struct sim_publish *p = &s->publish[k];
        if (p->node == i && p->life == n->life && p->outcome == ERR_OK)
            must(s, on_disk(s, i, p->mark), "S4: answered, and not on disk", i);
    }
    for (uint32_t k = 0; k < s->sub_count; k++) {
        const struct sim_sub *sub = &s->sub[k];
        if (sub->node != i || sub->count < 2)
            continue;
        struct mark last = sub->mark[sub->count - 1];
        for (uint32_t m = 0; m + 1 < sub->count; m++)
            if (sub->mark[m].stream == last.stream)
                must(s, sub->mark[m].seq < last.seq, "S11: seq did not rise", i);
    }
}

/* ---- at the end ---- */

static const struct batch *
find_batch(const struct store_mem *disk, uint64_t stream, uint64_t first)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t k = 0; (b = store_mem_batch(disk, k, &lsn)); k++)
        if (b->stream == stream && b->first == first)
            return b;
    return NULL;
}

/* S1, S2, S9, S14 of one disk: its lsn order is a causal order, and its chains hold. */
static void
check_disk(struct sim *s, uint32_t i)
{
    const struct batch *b;
    struct vector       held;
    uint64_t            lsn, next = 1;
    vector_init(&held);
    for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++) {
        must(s, lsn == next, "S2: lsns are contiguous", i);
        next = lsn + b->count;
        must(s, b->first == vector_seq(&held, b->stream) + 1, "S2: a hole in a stream", i);
        struct hash128      zero = {0};
        const struct batch *prev = NULL;
        for (uint32_t m = 0; m < k; m++) {
            uint64_t            ignored;
            const struct batch *c = store_mem_batch(s->node[i].disk, m, &ignored);
            if (c->stream == b->stream)
                prev = c;
        }
        must(s, hash128_eq(b->prev, prev ? prev->chain : zero), "S2: the chain is broken", i);
        must(s, !prev || b->lamport_first > prev->lamport_first + prev->count - 1,
             "S14: stamps do not rise", i);
        for (uint32_t d = 0; d < b->deps_count; d++)
            must(s, vector_has(&held, b->deps[d]), "S9: a dep is not held", i);
        enum err e = vector_set(&held, (struct mark){b->stream, batch_last(b)});
        CHECK(e == ERR_OK);
        for (uint32_t other = 0; other < s->config.brokers; other++) {
            const struct batch *same = find_batch(s->node[other].disk, b->stream, b->first);
            must(s, !same || (same->count == b->count && hash128_eq(same->chain, b->chain)),
                 "S1: other bytes for the same seq", i);
        }
    }
    vector_fini(&held);
}

/* All that `m` may depend on: the deps of its stream's batches up to its own. */
static void
causal_past(struct sim *s, struct mark m, struct vector *past)
{
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        const struct batch *b;
        uint64_t            lsn;
        for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++) {
            if (b->stream != m.stream || b->first > m.seq)
                continue;
            for (uint32_t d = 0; d < b->deps_count; d++) {
                enum err e = vector_raise(past, b->deps[d]);
                CHECK(e == ERR_OK);
            }
        }
    }
}

/* S10: what comes later is not in the past of what came before. */
static void
check_sub(struct sim *s, uint32_t number)
{
    const struct sim_sub *sub = &s->sub[number];
    struct vector         past;
    vector_init(&past);
    for (uint32_t k = 0; k < sub->count; k++) {
        must(s, !vector_has(&past, sub->mark[k]), "S10: a message came after its effect",
             sub->node);
        causal_past(s, sub->mark[k], &past);
        enum err e = vector_raise(&past, sub->mark[k]); /* S11 across moves */
        CHECK(e == ERR_OK);
    }
    vector_fini(&past);
}

void
oracle_check(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        check_disk(s, i);
    for (uint32_t k = 0; k < s->sub_count; k++)
        check_sub(s, k);
}

void
oracle_level(struct sim *s)
{
    struct buf first, dump;
    bool       have = false;
    buf_init(&first, 0);
    buf_init(&dump, 0);
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        if (!s->node[i].broker)
            continue;
        buf_reset(&dump);
        store_mem_dump(s->node[i].disk, have ? &dump : &first);
        must(s, !have || str_eq(buf_str(&first), buf_str(&dump)), "L1: the disks differ", i);
        have = true;
    }
    buf_fini(&first);
    buf_fini(&dump);
}

void
oracle_all_acked_everywhere(struct sim *s)
{
    for (uint32_t k = 0; k < s->publish_count; k++) {
        const struct sim_publish *p = &s->publish[k];
        for (uint32_t i = 0; p->outcome == ERR_OK && i < s->config.brokers; i++)
            if (s->node[i].broker)
                must(s, on_disk(s, i, p->mark), "L1: an acked message is missing", i);
    }
}

void
oracle_got_all(struct sim *s, uint32_t sub, const char *bodies)
{
    struct str want = str_of(bodies);
    uint32_t   n    = 0;
    while (want.n > 0) {
        struct str body = str_cut(want, 0, str_index(want, ' '));
        struct str got  = str_of(sim_got(s, sub));
        uint32_t   hits = 0;
        while (got.n > 0) {
            struct str one = str_cut(got, 0, str_index(got, ' '));
            hits += str_eq(one, body);
            got = str_cut(got, one.n + 1, got.n);
        }
        must(s, hits == 1, "S12: a message was not delivered once", s->sub[sub].node);
        want = str_cut(want, body.n + 1, want.n);
        n++;
    }
    must(s, s->sub[sub].count == n, "S12: more was delivered than was published", s->sub[sub].node);
}

void
oracle_got_everything(struct sim *s, uint32_t number)
{
    const struct sim_sub *sub = &s->sub[number];
    const struct batch   *b;
    uint64_t              lsn, stored = 0;
    for (uint32_t k = 0; (b = store_mem_batch(s->node[sub->node].disk, k, &lsn)); k++)
        stored += b->count;
    for (uint32_t k = 0; k < sub->count; k++)
        must(s, on_disk(s, sub->node, sub->mark[k]), "L2: delivered, and not stored", sub->node);
    must(s, sub->count == stored, "L2: not all was delivered once", sub->node);
}
