#include "sim/oracle.h"

#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/vector.h"
#include "sim/sim_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the run; the story tells how it came to this. */
void
sim_must(struct sim *s, bool holds, const char *what, uint32_t i)
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
    for (uint32_t k = store_mem_batches(s->node[i].disk); k-- > 0;) {
        b = store_mem_batch(s->node[i].disk, k, &lsn);
        if (b->stream == m.stream && b->first <= m.seq && m.seq <= batch_last(b))
            return !batch_is_gap(b);
    }
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
            sim_must(s, s->claim[k].node == i, "S16: a token is claimed once, ever", i);
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
    sim_must(s, token_cmp(&token, &n->accepted) >= 0, "S17: the accepted token fell", i);
    n->accepted = token;
    note_claim(s, i);
    tell_coordinator(s, i);
}

void
oracle_answer(struct sim *s, uint32_t i, struct mark m)
{
    sim_must(s, on_disk(s, i, m), "S4: answered, and not on disk", i);
}

void
oracle_copies(struct sim *s, uint32_t i, struct mark m, uint32_t copies)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->config.brokers; k++)
        n += on_disk(s, k, m);
    sim_must(s, n >= copies, "S6: fewer disks have it than was said", i);
}

/* ---- at the end ---- */

enum { STREAMS_CHECKED_MAX = 1024 };

static void
raise_to(struct vector *v, struct mark m)
{
    enum err e = vector_raise(v, m);
    CHECK(e == ERR_OK);
}

/* What was retired so long ago that it is forgotten counts too. */
static bool
is_held(struct sim *s, uint32_t i, const struct vector *held, const struct vector *waived,
        struct mark m)
{
    bool forgets = s->node[i].retention.retire_ms > 0;
    return vector_has(held, m) || vector_has(waived, m) ||
           (forgets && vector_seq(held, m.stream) == 0);
}

/* All that a stream's origin had on disk up to some batch of it. */
struct past {
    uint32_t      next; /* of all batches that ever were in it: not looked at yet */
    struct vector deps;
};

/* Up to and with `last`. */
static void
know_past(struct past *p, const struct sim_stream *all, uint64_t last)
{
    for (; p->next < all->count && all->batch[p->next]->first <= last; p->next++)
        for (uint32_t d = 0; d < all->batch[p->next]->deps_count; d++)
            raise_to(&p->deps, all->batch[p->next]->deps[d]);
}

/* What a disk begins with: for each stream all below its first batch here, and all of those
 * that have none. */
static void
begin_held(const struct store_mem *disk, const struct recovered *r, struct vector *held)
{
    const struct batch *b;
    struct vector       first;
    uint64_t            lsn;
    vector_init(&first);
    for (uint32_t k = 0; k < r->stream_count; k++)
        raise_to(held, (struct mark){r->stream[k].stream, r->stream[k].head});
    for (uint32_t k = 0; (b = store_mem_batch(disk, k, &lsn)); k++) {
        if (vector_seq(&first, b->stream) > 0)
            continue;
        raise_to(&first, (struct mark){b->stream, b->first});
        enum err e = vector_set(held, (struct mark){b->stream, b->first - 1});
        CHECK(e == ERR_OK);
    }
    vector_fini(&first);
}

/* What somebody waived: who takes a gap from there need not know of it. */
static void
find_waived(struct sim *s, struct vector *waived)
{
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        const struct recovered *r = store_mem_recover(s->node[i].disk);
        for (uint32_t k = 0; k < r->stream_count; k++) {
            uint64_t seq = r->stream[k].frozen ? INT64_MAX : r->stream[k].waived;
            raise_to(waived, (struct mark){r->stream[k].stream, seq});
        }
    }
}

/* S9: each batch lies behind its whole past, also behind what came to it by batches that are
 * gone here. */
static void
check_deps(struct sim *s, uint32_t i)
{
    const struct store_mem *disk = s->node[i].disk;
    const struct batch     *b;
    struct vector           held, waived;
    uint64_t                lsn;
    struct past            *past = mem_new((s->stream_count + 1) * sizeof *past);
    vector_init(&held);
    vector_init(&waived);
    find_waived(s, &waived);
    begin_held(disk, store_mem_recover(s->node[i].disk), &held);
    for (uint32_t k = 0; (b = store_mem_batch(disk, k, &lsn)); k++) {
        const struct sim_stream *all = past_stream(s, b->stream);
        struct past             *p   = &past[all - s->stream];
        know_past(p, all, batch_last(b));
        for (uint32_t d = 0; !batch_is_gap(b) && d < p->deps.count; d++)
            sim_must(s, is_held(s, i, &held, &waived, p->deps.at[d]), "S9: its past is not held",
                     i);
        raise_to(&held, (struct mark){b->stream, batch_last(b)});
    }
    for (uint32_t k = 0; k < s->stream_count; k++)
        vector_fini(&past[k].deps);
    mem_free(past);
    vector_fini(&held);
    vector_fini(&waived);
}

/* S2, S9, S14 of one disk: its lsn order is a causal order, and its chains hold.  What
 * retention took from its front counts as held. */
static void
check_disk(struct sim *s, uint32_t i)
{
    const struct store_mem *disk = s->node[i].disk;
    const struct batch     *b;
    struct vector           held;
    struct hash128          chain[STREAMS_CHECKED_MAX];
    uint64_t                stamp[STREAMS_CHECKED_MAX], id[STREAMS_CHECKED_MAX];
    uint32_t                seen = 0;
    uint64_t                lsn, next = 0;
    vector_init(&held);
    for (uint32_t k = 0; (b = store_mem_batch(disk, k, &lsn)); k++) {
        uint32_t n = 0;
        while (n < seen && id[n] != b->stream)
            n++;
        sim_must(s, k == 0 || lsn == next, "S2: lsns are contiguous", i);
        next = lsn + batch_lsns(b);
        if (n < seen) {
            sim_must(s, b->first == vector_seq(&held, b->stream) + 1, "S2: a hole in a stream", i);
            sim_must(s, batch_is_gap(b) || hash128_eq(b->prev, chain[n]), "S2: the chain is broken",
                     i);
            sim_must(s, b->lamport_first > stamp[n], "S14: stamps do not rise", i);
        } else {
            CHECK(seen < STREAMS_CHECKED_MAX);
            id[seen++] = b->stream;
        }
        chain[n] = b->chain;
        stamp[n] = batch_stamp(b);
        raise_to(&held, (struct mark){b->stream, batch_last(b)});
    }
    check_deps(s, i);
    vector_fini(&held);
}

void
oracle_check(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        check_disk(s, i);
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
        sim_must(s, !have || str_eq(buf_str(&first), buf_str(&dump)), "L1: the disks differ", i);
        have = true;
    }
    buf_fini(&first);
    buf_fini(&dump);
}

void
oracle_newest(struct sim *s, const char *topic, const char *body)
{
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        struct mark mark;
        struct str  got;
        if (!s->node[i].broker)
            continue;
        bool found = store_mem_newest(s->node[i].disk, str_of(topic), &mark, &got);
        sim_must(s, found && str_eq(got, str_of(body)), "S15: another newest message", i);
    }
}

void
oracle_heads(struct sim *s)
{
    const struct recovered *first = NULL;
    uint32_t                at    = 0;
    sim_must(s, sim_is_level(s), "L1: the vectors differ", 0);
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        if (!s->node[i].broker)
            continue;
        const struct recovered *r = store_mem_recover(s->node[i].disk);
        for (uint32_t k = 0; first && k < r->stream_count; k++) {
            while (at < first->stream_count && first->stream[at].stream < r->stream[k].stream)
                at++;
            bool both = at < first->stream_count &&
                        first->stream[at].stream == r->stream[k].stream &&
                        first->stream[at].head == r->stream[k].head;
            sim_must(s, !both || hash128_eq(first->stream[at].chain, r->stream[k].chain),
                     "S1: other chains at the same head", i);
        }
        first = r;
        at    = 0;
    }
}

void
oracle_all_acked_everywhere(struct sim *s)
{
    for (uint32_t k = 0; k < s->publish_count; k++) {
        const struct sim_publish *p = &s->publish[k];
        for (uint32_t i = 0; p->outcome == ERR_OK && i < s->config.brokers; i++)
            if (s->node[i].broker)
                sim_must(s, on_disk(s, i, p->mark), "L1: an acked message is missing", i);
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
        sim_must(s, hits == 1, "S12: a message was not delivered once", s->sub[sub].node);
        want = str_cut(want, body.n + 1, want.n);
        n++;
    }
    sim_must(s, s->sub[sub].count == n, "S12: more was delivered than was published",
             s->sub[sub].node);
}

void
oracle_told_all(struct sim *s, uint32_t number)
{
    const struct sim_sub *sub  = &s->sub[number];
    const struct vector  *have = broker_vector(s->node[sub->node].broker);
    sim_must(s, vector_covers(&sub->told, have), "L2: not all was given, or told to be gone",
             sub->node);
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
        sim_must(s, on_disk(s, sub->node, sub->mark[k]), "L2: delivered, and not stored",
                 sub->node);
    sim_must(s, sub->count == stored, "L2: not all was delivered once", sub->node);
}
