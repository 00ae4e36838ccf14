#include "sim/oracle.h"

#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/gossip.h"
#include "core/vector.h"
#include "sim/oracle_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "S12: ..." is one more look at S12. */
static void
count(struct sim_checks *c, const char *what)
{
    uint32_t n = 0;
    for (const char *p = what + 1; *p >= '0' && *p <= '9'; p++)
        n = 10 * n + (uint32_t)(*p - '0');
    CHECK(what[0] == 'S' ? n < 20 : n < 10);
    if (what[0] == 'S')
        c->s[n]++;
    else
        c->l[n]++;
}

/* Ends the run; the story tells how it came to this. */
void
sim_must_where(struct sim *s, bool is_there, bool holds, const char *what, uint32_t i)
{
    if (is_there)
        count(&s->checks, what);
    if (holds)
        return;
    fprintf(stderr, "%s\nviolated at %s: %s\n", sim_story(s), s->node[i].host, what);
    abort();
}

void
sim_must(struct sim *s, bool holds, const char *what, uint32_t i)
{
    sim_must_where(s, true, holds, what, i);
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
    sim_must(s, token.epoch <= s->node[i].epoch, "S16: claimed, and its epoch is not on disk", i);
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
    sim_must_where(s, n->accepted.epoch > 0, token_cmp(&token, &n->accepted) >= 0,
                   "S17: the accepted token fell", i);
    n->seen.changes_of_coordinator += n->accepted.epoch > 0 && token.nonce != n->accepted.nonce;
    n->accepted = token;
    note_claim(s, i);
    tell_coordinator(s, i);
    oracle_state(s, i);
    oracle_pending(s, i);
}

/* S10: who publishes at a broker has seen what that had, and what it says it has seen. */
static void
check_context(struct sim *s, uint32_t i, const struct sim_publish *p)
{
    const struct sim_batch *it = past_find(s, p->mark);
    for (uint32_t k = 0; k < p->past.count; k++) {
        struct mark m = p->past.at[k];
        sim_must(s,
                 m.stream == p->mark.stream ? m.seq < p->mark.seq
                                            : vector_has(&it->past, m) || past_is_excused(s, m),
                 "S10: it does not depend on what was seen before it", i);
    }
}

void
oracle_answer(struct sim *s, uint32_t i, struct sim_publish *p)
{
    bool refused = p->outcome != ERR_OK && p->outcome != ERR_UNKNOWN;
    sim_must_where(s, refused, !p->stored || !refused, "S8: refused, and it was stored", i);
    if (p->outcome != ERR_OK)
        return;
    oracle_in_time(s, i, p);
    sim_must(s, on_disk(s, i, p->mark), "S4: answered, and not on disk", i);
    const struct sim_batch *it = past_find(s, p->mark);
    sim_must(s, str_eq(it->batch->msg[p->mark.seq - it->batch->first].body, str_of(p->body)),
             "S4: answered with the place of another", i);
    check_context(s, i, p);
}

/* A link to who has lost its disk may look alive for so long. */
enum { HALF_OPEN_MS = 15000 };

void
oracle_copies(struct sim *s, uint32_t i, struct mark m, uint32_t copies)
{
    uint32_t                n  = 0;
    const struct sim_batch *it = past_find(s, m);
    for (uint32_t k = 0; k < s->config.brokers; k++) {
        const struct sim_held *held = &past_stream(s, m.stream)->at[k];
        uint64_t               lost = s->node[k].lost_ms;
        bool                   has  = it->had >> k & 1 && held->head >= m.seq;
        n += has || (lost > 0 && s->now_ms - lost < HALF_OPEN_MS);
    }
    sim_must_where(s, copies > 1, n >= copies, "S6: fewer disks have it than was said", i);
}

/* Is nothing of this left here but what stands for it? */
static bool
is_gone(const struct sim *s, uint32_t i, const struct frame_gap *f)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++)
        if (b->stream == f->stream && !batch_is_gap(b) && b->first <= f->to &&
            batch_last(b) >= f->from)
            return false;
    return true;
}

void
oracle_send(struct sim *s, uint32_t i, const struct frame *f)
{
    for (uint32_t k = 0; f->kind == FRAME_HEADS && k < f->heads.count; k++) {
        const struct sim_stream *st = past_stream(s, f->heads.head[k].stream);
        sim_must(s, st && st->at[i].head >= f->heads.head[k].head,
                 "S4: a peer is told of what is not on disk", i);
        sim_must_where(s, f->heads.head[k].floor > 0, st->at[i].floor >= f->heads.head[k].floor,
                       "S12: a peer is told that something is gone, and it is there", i);
    }
    if (f->kind == FRAME_GAP)
        sim_must(s, is_gone(s, i, &f->gap), "S12: a gap is offered for what is there", i);
}

/* ---- at the end ---- */

enum { STREAMS_CHECKED_MAX = 1024 };

static void
raise_to(struct vector *v, struct mark m)
{
    enum err e = vector_raise(v, m);
    CHECK(e == ERR_OK);
}

/* S2, S14 of one disk: its chains hold from the floors to the heads. */
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
            const struct stream_state *st = store_mem_state(disk, b->stream);
            sim_must(s, b->first <= st->floor + 1, "S2: a hole above the floor", i);
            CHECK(seen < STREAMS_CHECKED_MAX);
            id[seen++] = b->stream;
        }
        chain[n] = b->chain;
        stamp[n] = batch_stamp(b);
        raise_to(&held, (struct mark){b->stream, batch_last(b)});
    }
    for (uint32_t k = 0; k < s->stream_count; k++) {
        const struct sim_held *at  = &s->stream[k].at[i];
        uint64_t               got = vector_seq(&held, s->stream[k].id);
        sim_must(s, at->head == (got > at->floor ? got : at->floor), "S2: the log ends elsewhere",
                 i);
    }
    vector_fini(&held);
}

void
oracle_check(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        if (s->node[i].broker)
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

/* A message in the total order of all. */
struct rank {
    uint64_t    lamport;
    struct mark mark;
};

static bool
is_above(const struct rank *a, const struct rank *b)
{
    if (a->lamport != b->lamport)
        return a->lamport > b->lamport;
    if (a->mark.stream != b->mark.stream)
        return a->mark.stream > b->mark.stream;
    return a->mark.seq > b->mark.seq;
}

/* Of all messages of a topic that lie below its vector, but for those whose disks were lost: a
 * gap for them may be all that is left.  seq 0: none. */
static struct rank
newest(const struct sim *s, uint32_t i, struct str topic)
{
    struct rank best = {0};
    for (uint32_t k = 0; k < s->stream_count; k++) {
        const struct sim_stream *st = &s->stream[k];
        for (uint32_t n = 0; n < st->count && st->batch[n].batch->first <= st->at[i].head; n++) {
            const struct batch *b = st->batch[n].batch;
            for (uint32_t m = 0; st->batch[n].had != 0 && m < b->count; m++) {
                struct rank it = {b->lamport_first + m, {st->id, b->first + m}};
                if (str_eq(b->msg[m].topic, topic) && is_above(&it, &best))
                    best = it;
            }
        }
    }
    return best;
}

/* Was its disk replaced by an old one, or were others' too?  Then it may lack what was retired
 * since: it need not pull from who knows, when another has told it all the rest. */
static bool
may_miss_retired(const struct sim *s, uint32_t i)
{
    bool may = s->node[i].is_old_copy;
    for (uint32_t k = 0; k < s->config.brokers; k++)
        may |= k != i && s->node[k].is_replaced;
    return may && s->node[i].is_replaced;
}

/* Somebody may know a newer one, of what nobody got who is left. */
void
oracle_all_newest(struct sim *s, const char *topic)
{
    struct mark all = {0};
    bool        any = false;
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        struct mark got = {0};
        struct str  body;
        if (!s->node[i].broker)
            continue;
        struct rank want  = newest(s, i, str_of(topic));
        bool        found = store_mem_newest(s->node[i].disk, str_of(topic), &got, &body);
        sim_must(s, found || want.mark.seq == 0, "S15: the newest message is not known", i);
        if (!found)
            continue;
        const struct batch *b    = past_find(s, got)->batch;
        struct rank         have = {b->lamport_first + (got.seq - b->first), got};
        sim_must(s, !is_above(&want, &have), "S15: an older newest message than its vector holds",
                 i);
        const struct sim_stream *st = past_stream(s, got.stream);
        if (may_miss_retired(s, i) || (st->at[i].head < got.seq && !st->retired))
            continue;
        sim_must(s, !any || (got.stream == all.stream && got.seq == all.seq),
                 "S15: another newest message than elsewhere", i);
        all = got;
        any = true;
    }
}

static const struct batch *
stored_at(const struct sim *s, uint32_t i, struct mark m)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++)
        if (b->stream == m.stream && b->first <= m.seq && m.seq <= batch_last(b))
            return b;
    return NULL;
}

/* What one has above the floor of the other, that has too, or names a gap. */
static void
same_content(struct sim *s, uint32_t i, uint32_t j)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++) {
        const struct sim_held *at = &past_stream(s, b->stream)->at[j];
        if (batch_is_gap(b) || batch_last(b) <= at->floor)
            continue;
        const struct batch *other = stored_at(s, j, (struct mark){b->stream, batch_last(b)});
        sim_must(s, other != NULL, "S15: above the floors the contents differ", j);
        sim_must(s, batch_is_gap(other) || hash128_eq(other->chain, b->chain),
                 "S15: other content at the same place", j);
    }
}

void
oracle_content(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        for (uint32_t j = 0; j < s->config.brokers; j++)
            if (i != j && s->node[i].broker && s->node[j].broker)
                same_content(s, i, j);
}

enum { COMMIT_MS = 100 };

void
oracle_heads(struct sim *s)
{
    const struct recovered *other = NULL; /* the broker before */
    uint32_t                at    = 0;
    bool level = sim_until(s, sim_is_level, COMMIT_MS); /* marks of peers may be on their way */
    sim_must(s, level, "L1: the vectors differ", 0);
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        if (!s->node[i].broker)
            continue;
        const struct recovered *r = store_mem_recover(s->node[i].disk);
        for (uint32_t k = 0; k < r->stream_count; k++)
            sim_must(s, !r->stream[k].frozen, "S1: a stream is refused, and nobody forked it", i);
        for (uint32_t k = 0; other && k < r->stream_count; k++) {
            while (at < other->stream_count && other->stream[at].stream < r->stream[k].stream)
                at++;
            bool both = at < other->stream_count &&
                        other->stream[at].stream == r->stream[k].stream &&
                        other->stream[at].head == r->stream[k].head;
            sim_must(s, !both || hash128_eq(other->stream[at].chain, r->stream[k].chain),
                     "S1: other chains at the same head", i);
        }
        other = r;
        at    = 0;
    }
}

static bool
is_linked(const struct gossip *g, uint32_t member)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (g->link[i].up && g->link[i].member == member)
            return true;
    return false;
}

/* What i believes of k. */
static void
check_belief(struct sim *s, uint32_t i, uint32_t k)
{
    const struct broker *b      = s->node[i].broker;
    struct pool         *all    = &((struct journal *)(uintptr_t)broker_journal(b))->streams;
    int                  member = roster_find(broker_roster(b), &s->node[k].addr);
    const struct stream *of;
    for (uint32_t at = 0; member >= 0 && (of = pool_next(all, &at));) {
        const struct sim_stream *st    = past_stream(s, of->id);
        uint64_t                 known = of->known[member];
        bool                     is    = st && (st->at[k].head >= known || st->retired);
        sim_must_where(s, known > 0,
                       known == 0 || (is && is_linked(broker_gossip(b), (uint32_t)member)),
                       "S4: a peer is believed to have what it does not say it has", i);
    }
}

void
oracle_beliefs(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        for (uint32_t k = 0; s->node[i].broker && k < s->config.brokers; k++)
            if (k != i)
                check_belief(s, i, k);
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
    for (uint32_t k = 0; k < have->count; k++) {
        uint64_t told = vector_seq(&sub->told, have->at[k].stream);
        sim_must(s, past_is_silent(s, sub, have->at[k].stream, told + 1, have->at[k].seq),
                 "L2: it was not given all, or told that it is gone", sub->node);
    }
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
