/* gossip_kit.h - one broker's gossip, with a store that commits when told. */
#ifndef TESTS_GOSSIP_KIT_H
#define TESTS_GOSSIP_KIT_H

#include "tests/core_kit.h"

#include "core/gossip.h"
#include "core/page.h"

struct desk {
    struct gossip  g;
    struct journal j;
    struct commits c;
    struct out     out;
    struct mono    now;
    uint64_t       commit_next;
    size_t         blobs;     /* before it all */
    bool           scattered; /* a member in reach is not linked */
};

/* For the calls that take something in. */
#define IN(d) (&(const struct intake){&(d)->g, &(d)->j, &(d)->c, &(d)->out, (d)->now})

/* What the last calls had sent is carried out, and forgotten. */
static inline void
clear(struct desk *d)
{
    for (uint32_t i = 0; i < d->out.count; i++)
        if (d->out.at[i].kind == EFFECT_PERSIST)
            commit_drop(&d->out.at[i].persist);
    out_reset(&d->out);
}

static inline void
open_desk(struct desk *d)
{
    *d = (struct desk){.now = {100000}, .commit_next = 1, .blobs = blob_bytes_used()};
    gossip_init(&d->g);
    journal_init(&d->j, NULL, 64 << 20);
    commits_init(&d->c);
    out_init(&d->out);
}

static inline void
close_desk(struct desk *d)
{
    clear(d);
    gossip_fini(&d->g);
    journal_fini(&d->j);
    commits_fini(&d->c);
    out_fini(&d->out);
    assert_int_equal(blob_bytes_used(), d->blobs);
}

static inline void
turn(struct desk *d)
{
    const struct gossip_side side = {.accepted = {.epoch = 3}, .gathered = !d->scattered};
    clear(d);
    gossip_waive(IN(d));
    gossip_turn(IN(d), &side);
}

static inline void
link_up(struct desk *d, uint32_t link)
{
    gossip_link_up(&d->g, &d->j, link, link + 1, d->now);
}

/* Links 0..n-1 to members 1..n, the first full HEADS said. */
static inline void
open_with(struct desk *d, uint32_t links)
{
    open_desk(d);
    for (uint32_t i = 0; i < links; i++)
        link_up(d, i);
    turn(d);
    clear(d);
}

static inline void
wait_ms(struct desk *d, uint64_t ms)
{
    d->now = mono_after(d->now, ms);
}

static inline enum err
get(struct desk *d, uint32_t link, struct batch *b, uint8_t flags)
{
    return gossip_on_push(IN(d), link, &(struct frame_push){.flags = flags, .batch = b});
}

static inline void
get_heads(struct desk *d, uint32_t link, uint8_t flags, uint64_t stream, uint64_t seq)
{
    const struct head h = {.stream = stream, .head = seq};
    gossip_on_heads(&d->g, &d->j, link,
                    &(struct frame_heads){.flags = flags, .head = &h, .count = stream > 0}, d->now);
}

/* Everything a peer has of one stream: the first full HEADS of its link. */
static inline void
get_floor(struct desk *d, uint32_t link, uint64_t stream, uint64_t floor, uint64_t seq)
{
    const struct head h = {.stream = stream, .head = seq, .floor = floor};
    gossip_on_heads(&d->g, &d->j, link,
                    &(struct frame_heads){.flags = HEADS_FULL, .head = &h, .count = stream > 0},
                    d->now);
}

/* A gap up to `last` of a stream; a writer that goes on behind it. */
static inline struct frame_gap
gap_upto(const struct writer *w, uint64_t from, const struct vector *deps)
{
    return (struct frame_gap){.stream     = w->stream,
                              .from       = from,
                              .to         = w->next - 1,
                              .chain      = w->chain,
                              .stamp      = w->lamport - 1,
                              .origin     = STR("host:3000"),
                              .deps       = deps->at,
                              .deps_count = deps->count};
}

static inline enum err
get_gap(struct desk *d, uint32_t link, const struct frame_gap *gap)
{
    return gossip_on_gap(IN(d), link, gap);
}

/* The oldest commit is on disk. */
static inline void
commit(struct desk *d)
{
    struct pending p = commits_take(&d->c, d->commit_next++);
    if (p.commit.kind == COMMIT_BATCH)
        journal_persist(&d->j, p.batch, d->j.lsn + 1, p.commit.late);
    if (p.commit.kind == COMMIT_REPAIR)
        tail_mend(&d->j.tail, p.batch);
    for (uint32_t i = 0; p.gaps && i < p.gaps->count; i++)
        journal_persist(&d->j, p.gaps->at[i], d->j.lsn + 1, false);
    if (p.batch || p.gaps)
        gossip_persisted(&d->g, &p, false, d->now);
    if (p.commit.kind == COMMIT_WAIVED)
        journal_waiver_persist(&d->j, p.commit.mark);
    blob_drop(p.batch);
    gap_list_drop(p.gaps);
}

static inline void
commit_all(struct desk *d)
{
    while (d->c.count > 0)
        commit(d);
}

/* The i-th effect that sends such a frame there; NULL: there are fewer. */
static inline const struct frame *
sent(const struct desk *d, uint32_t link, enum frame_kind kind, uint32_t i)
{
    for (uint32_t k = 0; k < d->out.count; k++) {
        const struct effect *e = &d->out.at[k];
        if (e->kind == EFFECT_SEND && e->send.link == link && e->send.frame.kind == kind &&
            i-- == 0)
            return &e->send.frame;
    }
    return NULL;
}

static inline uint32_t
count_sent(const struct desk *d, uint32_t link, enum frame_kind kind)
{
    uint32_t n = 0;
    while (sent(d, link, kind, n))
        n++;
    return n;
}

static inline uint32_t
count_persists(const struct desk *d)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < d->out.count; k++)
        n += d->out.at[k].kind == EFFECT_PERSIST;
    return n;
}

static inline void
assert_head(const struct frame *f, uint32_t i, uint64_t stream, uint64_t seq)
{
    assert_non_null(f);
    assert_true(i < f->heads.count);
    assert_int_equal(f->heads.head[i].stream, stream);
    assert_int_equal(f->heads.head[i].head, seq);
    assert_int_equal(f->heads.head[i].floor, 0);
}

/* The read that serves a link, if one was asked for. */
static inline const struct effect *
read_asked(const struct desk *d)
{
    for (uint32_t k = 0; k < d->out.count; k++)
        if (d->out.at[k].kind == EFFECT_READ)
            return &d->out.at[k];
    return NULL;
}

/* A page of whole batches; takes over their references. */
static inline struct page *
page_with(struct batch *const *batch, uint32_t count, uint64_t lsn_next)
{
    struct page   *p   = blob_new(sizeof *p + count * (sizeof *batch + sizeof(uint64_t)));
    struct batch **at  = (struct batch **)(void *)(p + 1);
    uint64_t      *lsn = (uint64_t *)(void *)(at + count), next = lsn_next;
    for (uint32_t i = count; i-- > 0;) {
        at[i]  = batch[i];
        lsn[i] = next -= batch_lsns(batch[i]);
    }
    p->batch     = at;
    p->batch_lsn = lsn;
    p->count     = count;
    p->lsn_next  = lsn_next;
    return p;
}

#endif
