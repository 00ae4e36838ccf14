/* Of core/gossip.h: gaps that peers offer.
 *
 * Why a gap is taken when, and what is owed above it: docs/decisions/0013-gaps.md. */
#include "core/gossip.h"

#include "base/blob.h"
#include "base/check.h"
#include "core/batch.h"
#include "core/gossip_part.h"

#include <string.h>

/* ---- offers ---- */

static size_t
offer_bytes(const struct offer *o)
{
    return sizeof *o + batch_bytes(o->gap);
}

static void
pay(struct gossip *g, struct offer *o)
{
    if (!o->paid)
        g->link[o->link].credit_due += batch_cost(o->gap);
    o->paid = true;
}

static void
drop(struct gossip *g, struct offer *o)
{
    pay(g, o);
    g->link[o->link].held_back_bytes -= offer_bytes(o);
    list_remove(&o->by_stream);
    list_remove(&o->by_link);
    blob_drop(o->gap);
    pool_give(&g->offers, o);
}

void
offers_drop(struct gossip *g, struct gossip_link *l)
{
    LIST_EACH(node, &l->offers)
    {
        drop(g, LIST_OF(node, struct offer, by_link));
    }
    l->patience = (struct mono){0};
}

struct offer *
offer_of(const struct stream *s, uint32_t link)
{
    LIST_EACH(node, &s->offers)
    {
        struct offer *o = LIST_OF(node, struct offer, by_stream);
        if (o->link == link)
            return o;
    }
    return NULL;
}

bool
offer_is_blocked(const struct stream *s, uint32_t link)
{
    const struct offer *o = offer_of(s, link);
    return o && o->blocked;
}

static bool
is_next(const struct stream *s, const struct offer *o)
{
    return o->gap->first <= s->held + 1 && batch_last(o->gap) > s->held;
}

/* In the place of an older one of the same stream over the same link; but not of the next one,
 * when it lies further on: then it is pulled again later. */
static void
add(struct gossip *g, struct stream *s, struct offer fresh)
{
    struct gossip_link *l   = &g->link[fresh.link];
    struct offer       *old = offer_of(s, fresh.link), *o = NULL;
    bool                fits = !old || is_next(s, &fresh) || !is_next(s, old);
    if (fits && old) {
        fresh.since = old->since;
        drop(g, old);
    }
    if (fits && l->held_back_bytes + offer_bytes(&fresh) <= HELD_BACK_BYTES_MAX)
        o = pool_take(&g->offers);
    if (!o) {
        l->credit_due += batch_cost(fresh.gap);
        blob_drop(fresh.gap);
        return;
    }
    *o = fresh;
    list_init(&o->by_stream);
    list_init(&o->by_link);
    list_push_back(&s->offers, &o->by_stream);
    list_push_back(&l->offers, &o->by_link);
    l->held_back_bytes += offer_bytes(o);
}

/* More may follow at once: they are judged together. */
static void
judge_soon(struct gossip *g, struct mono now)
{
    g->offers_since = mono_min(g->offers_since, now);
    g->offers_at =
        mono_min(mono_after(now, OFFER_QUIET_MS), mono_after(g->offers_since, OFFER_MAX_MS));
}

enum err
gossip_on_gap(const struct intake *in, uint32_t link, const struct frame_gap *gap)
{
    struct gossip      *g   = in->g;
    struct mono         now = in->now;
    struct gossip_link *l   = &g->link[link];
    CHECK(l->up);
    if (!gap_is_valid(gap)) {
        g->refused++;
        return ERR_PROTO;
    }
    if (g->pulling && g->pull_link == link)
        g->pull_progress = now;
    struct stream *s   = journal_stream(in->j, gap->stream);
    struct offer fresh = {.gap = batch_gap(gap, gap->from, gap->came), .link = link, .since = now};
    /* What it told before we took the link was not heard; a gap builds on the floors in it. */
    if (!l->told_all || !g->disk_works || !s || s->live || s->frozen || gap->to <= s->held) {
        l->credit_due += batch_cost(fresh.gap);
        blob_drop(fresh.gap);
        return ERR_OK;
    }
    if (gap->to > s->known[l->member])
        s->known[l->member] = gap->to;
    if (gap->to > s->known_gap[l->member])
        s->known_gap[l->member] = gap->to;
    gossip_judge_lack(g, s, now);
    s->progress = now;
    add(g, s, fresh);
    judge_soon(g, now);
    return ERR_OK;
}

/* ---- which of them may be taken ---- */

/* What the judgement of all offers is made of; everything in the arena of the step. */
struct taken {
    struct stream      *s;
    const struct offer *offer;
    uint64_t            last;
    const struct mark  *owed;
    uint32_t            owed_count;
};
/* A peer that has lost all that a gap stands for. */
struct witness {
    uint32_t            member;
    const struct offer *offer; /* NULL: its HEADS said so */
};
/* A stream that somebody has lost more of than we have. */
struct lost {
    const struct stream *s;
    uint64_t             own; /* floor here, once all that is taken is */
};
struct judgement {
    const struct intake      *in;
    const struct gossip_side *side;
    uint32_t                  link[LINKS_MAX]; /* those that are up */
    uint32_t                  links;
    bool                      all_told; /* ... and nobody else is in reach */
    struct taken             *at;       /* sorted by stream */
    uint32_t                  count;
    struct lost              *lost; /* likewise */
    uint32_t                  lost_count;
    struct mark              *owed; /* room for STREAMS_MAX, while they are gathered */
    uint32_t                  owed_count;
};

/* Up to here that link's peer cannot supply the stream. */
static uint64_t
lost_at(const struct judgement *w, const struct stream *s, uint32_t link)
{
    uint64_t            floor = s->known_floor[w->in->g->link[link].member];
    const struct offer *o     = offer_of(s, link);
    return o && is_next(s, o) && batch_last(o->gap) > floor ? batch_last(o->gap) : floor;
}

/* Nobody else that is linked and has more than we hold still has some of it? */
static bool
is_lost(const struct judgement *w, const struct stream *s, const struct offer *o)
{
    for (uint32_t i = 0; i < w->links; i++) {
        uint32_t link = w->link[i];
        if (link != o->link && s->known[w->in->g->link[link].member] > s->held &&
            lost_at(w, s, link) < batch_last(o->gap))
            return false;
    }
    return true;
}

/* The one that reaches furthest of those that may be taken; NULL: none. */
static const struct offer *
best_of(const struct judgement *w, const struct stream *s)
{
    const struct offer *best = NULL;
    LIST_EACH(node, &s->offers)
    {
        struct offer *o = LIST_OF(node, struct offer, by_stream);
        pay(w->in->g, o);
        o->blocked = is_next(s, o) && !is_lost(w, s, o);
        if (o->blocked || !is_next(s, o))
            continue;
        if (!w->all_told && !mono_reached(w->in->now, mono_after(o->since, OFFER_WAIT_MS)))
            continue;
        if (!best || batch_last(o->gap) > batch_last(best->gap))
            best = o;
    }
    return best;
}

static void
drop_offers(struct gossip *g, struct stream *s, uint64_t upto)
{
    LIST_EACH(node, &s->offers)
    {
        struct offer *o = LIST_OF(node, struct offer, by_stream);
        if (batch_last(o->gap) <= upto)
            drop(g, o);
    }
}

static void
insert_taken(struct judgement *w, struct taken fresh)
{
    uint32_t i = w->count++;
    for (; i > 0 && w->at[i - 1].s->id > fresh.s->id; i--)
        w->at[i] = w->at[i - 1];
    w->at[i] = fresh;
}

/* The message came another way, or the stream takes nothing. */
static void
drop_useless(const struct intake *in)
{
    struct offer *o;
    for (uint32_t at = 0; (o = pool_next(&in->g->offers, &at));) {
        const struct stream *s = journal_find(in->j, o->gap->stream);
        if (s->live || s->frozen || batch_last(o->gap) <= s->held)
            drop(in->g, o);
    }
}

static void
choose(struct judgement *w)
{
    struct offer *o;
    w->at = arena_take(&w->in->out->arena, w->in->g->offers.used * sizeof *w->at);
    for (uint32_t at = 0; (o = pool_next(&w->in->g->offers, &at));) {
        struct stream *s = journal_find(w->in->j, o->gap->stream);
        if (&o->by_stream != s->offers.next)
            continue; /* each stream once */
        const struct offer *best = best_of(w, s);
        if (best && batch_stamp(best->gap) <= s->held_stamp) { /* stamps rise along a stream */
            stream_freeze(w->in, s);
            drop_offers(w->in->g, s, UINT64_MAX);
        } else if (best) {
            insert_taken(w, (struct taken){.s = s, .offer = best, .last = batch_last(best->gap)});
        }
    }
}

/* ---- what is owed above them ---- */

static uint64_t
seq_in(const struct mark *mark, uint32_t count, uint64_t stream)
{
    uint32_t low = 0;
    while (low < count) {
        uint32_t mid = low + (count - low) / 2;
        if (mark[mid].stream == stream)
            return mark[mid].seq;
        if (mark[mid].stream < stream)
            low = mid + 1;
        else
            count = mid;
    }
    return 0;
}

static const struct taken *
taken_of(const struct judgement *w, uint64_t stream)
{
    uint32_t low = 0, high = w->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (w->at[mid].s->id < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low < w->count && w->at[low].s->id == stream ? &w->at[low] : NULL;
}

/* The floor here once all is taken: a gap at the front of its stream is all floor. */
static uint64_t
own_floor(const struct judgement *w, const struct stream *s)
{
    const struct taken *t = taken_of(w, s->id);
    return t && s->floor == s->held ? t->last : s->floor;
}

static void
insert_lost(struct judgement *w, struct lost fresh)
{
    uint32_t i = w->lost_count++;
    for (; i > 0 && w->lost[i - 1].s->id > fresh.s->id; i--)
        w->lost[i] = w->lost[i - 1];
    w->lost[i] = fresh;
}

static void
find_lost(struct judgement *w)
{
    struct pool   *streams = &w->in->j->streams;
    struct stream *s;
    w->lost_count = 0;
    w->lost       = arena_take(&w->in->out->arena, streams->used * sizeof *w->lost);
    for (uint32_t at = 0; (s = pool_next(streams, &at));) {
        uint64_t own = own_floor(w, s), most = 0;
        for (uint32_t i = 0; i < w->links; i++) {
            uint64_t floor = s->known_floor[w->in->g->link[w->link[i]].member];
            most           = floor > most ? floor : most;
        }
        if (most > own)
            insert_lost(w, (struct lost){s, own});
    }
}

/* Who has told all its floors alone: of some of them it would seem that it lost nothing else.
 * What it told before we took the link was not heard. */
static uint32_t
find_witnesses(const struct judgement *w, const struct taken *t, struct witness at[LINKS_MAX])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->links; i++) {
        uint32_t            member = w->in->g->link[w->link[i]].member;
        const struct offer *o      = offer_of(t->s, w->link[i]);
        bool                offers = o && batch_last(o->gap) >= t->last;
        if (!w->in->g->link[w->link[i]].told_all)
            continue;
        if (offers || t->s->known_floor[member] >= t->last)
            at[n++] = (struct witness){member, offers ? o : NULL};
    }
    return n;
}

/* All that lies in the past of what a witness lost it has lost too, or says with its offer
 * what else that is.  So in stream `id` it ends at the least of what they tell.  `s` is NULL
 * when nothing is known of that stream. */
static uint64_t
past_in(uint64_t id, const struct stream *s, const struct witness *at, uint32_t count)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t            seq = s ? s->known_floor[at[i].member] : 0;
        const struct batch *gap = at[i].offer ? at[i].offer->gap : NULL;
        uint64_t            dep = gap ? seq_in(gap->deps, gap->deps_count, id) : 0;
        if (dep > seq)
            seq = dep;
        if (seq < least)
            least = seq;
    }
    return least;
}

/* False: more marks than the protocol allows. */
static bool
owe(struct judgement *w, struct mark m, uint64_t own)
{
    const struct retired *r = journal_retired(w->in->j, m.stream);
    if (m.seq <= own || (r && m.seq <= r->head))
        return true;
    if (w->owed_count == STREAMS_MAX)
        return false;
    w->owed[w->owed_count++] = m;
    return true;
}

/* Along both sorted lists: what somebody has lost, and what its offer names. */
static bool
find_owed(struct judgement *w, struct taken *t)
{
    const struct batch *gap = t->offer->gap;
    struct witness      witness[LINKS_MAX];
    uint32_t            n    = find_witnesses(w, t, witness);
    bool                fits = true;
    w->owed_count            = 0;
    for (uint32_t i = 0, k = 0; fits && (i < w->lost_count || k < gap->deps_count);) {
        uint64_t id = i < w->lost_count ? w->lost[i].s->id : UINT64_MAX;
        if (k < gap->deps_count && gap->deps[k].stream <= id)
            id = gap->deps[k++].stream;
        bool                 is_lost_here = i < w->lost_count && w->lost[i].s->id == id;
        const struct stream *s   = is_lost_here ? w->lost[i].s : journal_find(w->in->j, id);
        uint64_t             own = is_lost_here ? w->lost[i].own : s ? own_floor(w, s) : 0;
        i += is_lost_here;
        if (id != t->s->id)
            fits = owe(w, (struct mark){id, past_in(id, s, witness, n)}, own);
    }
    t->owed_count = w->owed_count;
    t->owed       = memcpy(arena_take(&w->in->out->arena, w->owed_count * sizeof *t->owed), w->owed,
                           w->owed_count * sizeof *t->owed);
    return fits;
}

/* ---- taking them ---- */

static void
give_up(struct judgement *w, uint32_t i)
{
    drop_offers(w->in->g, w->at[i].s, UINT64_MAX);
    w->count--;
    for (; i < w->count; i++)
        w->at[i] = w->at[i + 1];
}

/* Finds what is owed.  False: some do not fit into a commit, and with those that are left
 * out it has to be found anew, since they are owed then. */
static bool
all_fit(struct judgement *w)
{
    size_t bytes = 0;
    find_lost(w);
    for (uint32_t i = 0; i < w->count; i++) {
        if (!find_owed(w, &w->at[i])) {
            give_up(w, i);
            return false;
        }
        bytes += sizeof(struct batch) + w->at[i].owed_count * sizeof(struct mark);
        if (bytes > COMMITS_BYTES_MAX) {
            w->count = i;
            return false;
        }
    }
    return true;
}

/* When the newest of the stream came to who told of the gap, so that all retire it at about the
 * same time; within half of what that takes, so that a wrong clock retires nothing that may
 * still go on. */
static struct wall
came(const struct judgement *w, const struct batch *gap)
{
    struct wall now = w->side->wall, at = gap->wall;
    int64_t     half = (int64_t)(w->in->j->retire_ms / 2);
    if (at.ms > now.ms)
        return now;
    return at.ms < now.ms - half ? (struct wall){now.ms - half} : at;
}

static struct batch *
gap_from(const struct judgement *w, const struct taken *t)
{
    const struct batch    *gap = t->offer->gap;
    const struct frame_gap f   = {.stream     = gap->stream,
                                  .to         = t->last,
                                  .chain      = gap->chain,
                                  .stamp      = batch_stamp(gap),
                                  .origin     = gap->origin,
                                  .deps       = t->owed,
                                  .deps_count = t->owed_count};
    return batch_gap(&f, t->s->held + 1, came(w, gap));
}

static void
take(const struct judgement *w)
{
    const struct intake *in   = w->in;
    struct gap_list     *gaps = blob_new(sizeof *gaps + w->count * sizeof(struct batch *));
    gaps->count               = w->count;
    for (uint32_t i = 0; i < w->count; i++) {
        struct stream *s = w->at[i].s;
        gaps->at[i]      = gap_from(w, &w->at[i]);
        journal_hand_over(in->j, gaps->at[i]);
        s->progress = in->now;
        drop_offers(in->g, s, s->held);
        gossip_judge_lack(in->g, s, in->now);
        stream_released(in->g, s);
    }
    commits_add(in->c, in->out, &(struct pending){.commit = {.kind = COMMIT_GAPS}, .gaps = gaps});
    in->g->gaps_storing++;
    in->g->gaps += gaps->count;
}

/* A link whose offers may still be taken is not given up for slow. */
static void
find_patience(struct gossip *g)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct gossip_link *l = &g->link[i];
        l->patience           = (struct mono){0};
        LIST_EACH(node, &l->offers)
        {
            const struct offer *o     = LIST_OF(node, struct offer, by_link);
            struct mono         until = mono_after(o->since, OFFER_WAIT_MS);
            if (!o->blocked && until.ms > l->patience.ms)
                l->patience = until;
        }
    }
}

static struct judgement
begin(const struct intake *in, const struct gossip_side *side)
{
    struct judgement w = {.in = in, .side = side, .all_told = side->gathered};
    w.owed             = arena_take(&in->out->arena, STREAMS_MAX * sizeof *w.owed);
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        if (!in->g->link[i].up)
            continue;
        w.link[w.links++] = i;
        w.all_told &= in->g->link[i].told_all;
    }
    return w;
}

void
offers_judge(const struct intake *in, const struct gossip_side *side)
{
    struct gossip *g = in->g;
    /* A gap is not asked for again once it is taken, and no more are the messages that
     * come with it. */
    if (g->latest_storing > 0 || !mono_reached(in->now, g->latest_until) ||
        in->c->bytes > COMMITS_BYTES_MAX || in->c->count >= COMMITS_MAX) {
        g->offers_at = mono_after(in->now, OFFER_QUIET_MS);
        return;
    }
    struct judgement w = begin(in, side);
    drop_useless(in);
    choose(&w);
    while (w.count > 0 && !all_fit(&w))
        continue;
    if (w.count > 0)
        take(&w);
    release(in);
    find_patience(g);
    g->offers_since = MONO_NEVER;
    g->offers_at    = g->offers.used > 0 ? mono_after(in->now, OFFER_AGAIN_MS) : MONO_NEVER;
}
