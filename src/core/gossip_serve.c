/* Of core/gossip.h: what a peer pulled is sent to it, from memory or by pages from disk.
 *
 * First the gaps of all streams that it lacks something of from below our floor, then the
 * newest messages of topics that we keep of what is in them, and once a link of streams that
 * are retired, then our log from there on.  A
 * gap in the log waits until such messages went too: whoever takes it never asks again. */
#include "core/gossip.h"

#include "base/check.h"
#include "core/batch.h"
#include "core/gossip_part.h"
#include "core/page.h"
#include "core/vector.h"

#include <string.h>

enum { READER_SHIFT = 56 };

struct serving {
    struct gossip      *g;
    struct journal     *j;
    struct out         *out;
    struct gossip_link *l;
    uint32_t            link;
    bool                has_open; /* `open` is filled in */
    const struct mark  *open;     /* floors that are not told: others know less than we lost */
    uint32_t            open_count;
};

/* ---- beginning and ending ---- */

void
serve_stop(struct gossip_link *l)
{
    page_drop(l->page);
    l->page      = NULL;
    l->page_left = 0;
    l->serving   = false;
}

void
gossip_on_pull(struct gossip *g, uint32_t link, const struct frame_pull *pull)
{
    struct gossip_link *l = &g->link[link];
    CHECK(l->up);
    serve_stop(l);
    l->reader_old = l->reader != 0;
    if (vector_copy(&l->have, &pull->have) != ERR_OK)
        return; /* it knows more streams than anyone may: nothing for it here */
    l->serving     = true;
    l->floors_seen = 0;
    l->kept        = false;
    l->kept_upto   = 0;
    l->located     = false;
    l->credit      = 0;
    gossip_on_credit(g, link, pull->credit);
}

void
gossip_on_credit(struct gossip *g, uint32_t link, uint64_t bytes)
{
    struct gossip_link *l    = &g->link[link];
    int64_t             more = bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
    l->credit                = l->credit > INT64_MAX - more ? INT64_MAX : l->credit + more;
}

/* Credit may be overdrawn by one frame: were it forgiven, the window would grow. */
static bool
has_window(const struct gossip_link *l)
{
    return l->credit > 0 && l->queued <= LINK_QUEUE_BYTES_MAX / 2;
}

bool
serve_can_go_on(const struct gossip *g, const struct gossip_link *l)
{
    return g->reads < LINKS_MAX && l->serving && l->reader == 0 && has_window(l);
}

static void
send(const struct serving *v, const struct frame *f, size_t cost)
{
    out_send(v->out, v->link, f);
    v->l->credit -= (int64_t)cost;
    v->l->queued += cost;
}

static void
raise(struct gossip_link *l, uint64_t stream, uint64_t seq)
{
    enum err e = vector_raise(&l->have, (struct mark){stream, seq});
    (void)e; /* LIMIT: it may get one twice, and drops it */
}

/* ---- gaps ---- */

static bool
is_closed(const struct journal *j, const struct stream *s)
{
    const struct mark_list *owed = s->floor_owed;
    for (uint32_t i = 0; owed && i < owed->count; i++) {
        const struct stream *of = journal_find(j, owed->at[i].stream);
        if (of ? of->floor < owed->at[i].seq : !journal_retired(j, owed->at[i].stream))
            return false;
    }
    return true;
}

static bool
are_closed(const struct journal *j)
{
    struct pool         *streams = &((struct journal *)(uintptr_t)j)->streams;
    const struct stream *s;
    for (uint32_t at = 0; (s = pool_next(streams, &at));)
        if (!is_closed(j, s))
            return false;
    return true;
}

void
floors_settle(struct gossip *g, struct journal *j)
{
    struct stream *s;
    if (g->floors_at == j->floor_moves)
        return;
    bool was_open  = g->floors_open;
    g->floors_at   = j->floor_moves;
    g->floors_open = !are_closed(j);
    if (g->floors_open)
        return;
    g->floors_closed = j->floor_moves;
    for (uint32_t at = 0; (s = pool_next(&j->streams, &at));)
        s->floor_told = s->floor;
    for (uint32_t i = 0; i < LINKS_MAX && was_open; i++)
        g->link[i].heads_full = true; /* what moved meanwhile changes for nobody but them */
}

static void
find_open(struct serving *v)
{
    const struct vector *durable = &v->j->durable;
    struct mark         *open;
    if (v->has_open)
        return;
    open = arena_take(&v->out->arena, durable->count * sizeof *open);
    for (uint32_t i = 0; i < durable->count; i++) {
        const struct stream *s = journal_find(v->j, durable->at[i].stream);
        if (s->floor > s->floor_told)
            open[v->open_count++] = (struct mark){s->id, s->floor};
    }
    v->open     = open;
    v->has_open = true;
}

/* What lies in a gap depends on nothing but this and what our floors tell: `owed`, and the
 * floors that are not told.  False: more marks than the protocol allows. */
static bool
join_owed(struct serving *v, struct frame_gap *f, const struct mark *owed, uint32_t count)
{
    find_open(v);
    struct mark *to = arena_take(&v->out->arena, (count + v->open_count) * sizeof *to);
    uint32_t     n  = 0;
    for (uint32_t i = 0, k = 0; i < count || k < v->open_count;) {
        struct mark a = i < count ? owed[i] : (struct mark){UINT64_MAX, 0};
        struct mark b = k < v->open_count ? v->open[k] : (struct mark){UINT64_MAX, 0};
        struct mark m = a.stream < b.stream ? a : b;
        if (a.stream == b.stream && a.seq > m.seq)
            m.seq = a.seq;
        i += a.stream == m.stream;
        k += b.stream == m.stream;
        if (m.stream != f->stream && !journal_retired(v->j, m.stream))
            to[n++] = m;
    }
    f->deps       = to;
    f->deps_count = n;
    return n <= STREAMS_MAX;
}

static size_t
gap_cost(const struct frame_gap *f)
{
    return batch_cost(&(struct batch){.origin = f->origin, .deps_count = f->deps_count});
}

static void
send_gap(struct serving *v, struct frame_gap *f, const struct mark *owed, uint32_t count)
{
    raise(v->l, f->stream, f->to);
    if (join_owed(v, f, owed, count))
        send(v, &(struct frame){.kind = FRAME_GAP, .gap = *f}, gap_cost(f));
}

/* What a gap depends on is told by our floors, so its receiver must know them before it. */
static bool
floors_are_told(struct serving *v)
{
    v->l->heads_now |= v->l->floors_told != v->g->floors_closed;
    return v->l->floors_told == v->g->floors_closed;
}

static void
send_floor(struct serving *v, const struct stream *s, uint64_t have)
{
    const struct mark_list *owed = s->floor_owed;
    struct frame_gap        f    = {.stream = s->id,
                                    .from   = have + 1,
                                    .to     = s->floor,
                                    .chain  = s->floor_chain,
                                    .stamp  = s->floor_stamp,
                                    .came   = s->came,
                                    .origin = s->origin};
    send_gap(v, &f, owed ? owed->at : NULL, owed ? owed->count : 0);
}

/* The first gap: what we keep of all that lies in gaps goes next. */
static bool
keep_have(struct serving *v)
{
    struct gossip_link *l = v->l;
    l->kept_next          = 0;
    l->kept_upto          = v->j->lsn;
    if (l->kept)
        return true;
    l->kept = true;
    return vector_copy(&l->kept_have, &l->have) == ERR_OK;
}

/* For each stream whose floor is above what the peer has.  False: more when it can go on. */
static bool
serve_floors(struct serving *v)
{
    const struct vector *durable = &v->j->durable;
    for (uint32_t i = 0; i < durable->count; i++) {
        const struct stream *s    = journal_find(v->j, durable->at[i].stream);
        uint64_t             have = vector_seq(&v->l->have, s->id);
        if (s->floor <= have)
            continue;
        if (!floors_are_told(v) || !has_window(v->l) || !keep_have(v))
            return false;
        send_floor(v, s, have);
    }
    v->l->floors_seen = v->j->floor_moves;
    return true;
}

/* Of streams that are retired nobody is sent a gap; who joins, or was away for as long as that
 * takes, lacks what is kept of them all the same.  Who that is cannot be told from its vector,
 * so it goes to everybody, once. */
static bool
serve_retired(struct serving *v)
{
    const struct gossip_link *l = v->l;
    return l->kept || l->kept_all || v->j->retire_ms == 0 || keep_have(v);
}

/* ---- messages ---- */

static void
send_latest(struct serving *v, const struct entry *e)
{
    const struct msg m = {.topic = e->topic, .headers = e->headers, .body = e->body};
    send(v,
         &(struct frame){
             .kind   = FRAME_LATEST,
             .latest = {.mark = e->mark, .lamport = e->lamport, .wall = e->wall, .msg = m}},
         latest_cost(&m));
}

static void
send_batch(struct serving *v, struct batch *b)
{
    /* Behind a hole lies what retention took a moment ago: the GAP for that comes yet. */
    if (b->first <= vector_seq(&v->l->have, b->stream) + 1)
        raise(v->l, b->stream, batch_last(b));
    send(v, &(struct frame){.kind = FRAME_PUSH, .push = {.flags = PUSH_PULLED, .batch = b}},
         batch_cost(b));
    v->l->pushes_out++;
}

/* Nothing of a stream is of use behind what cannot be read of it here. */
static bool
is_left_out(const struct gossip_link *l, const struct damage *d)
{
    return vector_seq(&l->have, d->stream) < d->last;
}

static bool
is_behind_damage(const struct gossip_link *l, const struct batch *b)
{
    const struct page *p = l->page;
    for (uint32_t i = 0; p && i < p->damage_count; i++)
        if (p->damage[i].stream == b->stream && p->damage[i].first < b->first &&
            is_left_out(l, &p->damage[i]))
            return true;
    return false;
}

/* A gap in the place of a batch that is damaged here, and that some linked member may have: not
 * before that was asked. */
static bool
may_be_mended(const struct serving *v, const struct batch *b)
{
    const struct page *p = v->l->page;
    for (uint32_t i = 0; p && batch_is_gap(b) && i < p->damage_count; i++)
        if (p->damage[i].stream == b->stream && p->damage[i].first == b->first)
            return repair_is_hopeful(v->g, v->j, &p->damage[i]);
    return false;
}

/* Is it a gap of the log, whose newest messages are kept and were not sent? */
static bool
has_kept(const struct serving *v, const struct batch *b, uint64_t lsn)
{
    const struct page *p = v->l->page;
    for (uint32_t i = 0; p && i < p->damage_count; i++)
        if (p->damage[i].stream == b->stream && p->damage[i].first <= b->first &&
            b->first <= p->damage[i].last)
            return false; /* it stands for what is damaged: nothing of that is kept */
    return lsn > v->l->kept_upto;
}

/* Of our log, in its place.  False: not now. */
static bool
send_logged(struct serving *v, struct batch *b, uint64_t lsn)
{
    if (batch_last(b) <= vector_seq(&v->l->have, b->stream) || is_behind_damage(v->l, b) ||
        may_be_mended(v, b))
        return true;
    if (!batch_is_gap(b)) {
        send_batch(v, b);
        return true;
    }
    if (!floors_are_told(v) || (has_kept(v, b, lsn) && keep_have(v)))
        return false;
    const struct stream *s = journal_find(v->j, b->stream); /* or retired since it was read */
    struct frame_gap     f = {.stream = b->stream,
                              .from   = b->first,
                              .to     = batch_last(b),
                              .chain  = b->chain,
                              .stamp  = batch_stamp(b),
                              .came   = s ? s->came : b->wall,
                              .origin = b->origin};
    send_gap(v, &f, b->deps, b->deps_count);
    return true;
}

/* The page that came from disk, as far as credit and room reach.  It may go before the effect
 * is carried out; the arena keeps nothing alive, so it is dropped only at the next call. */
static void
serve_page(struct serving *v)
{
    struct gossip_link *l = v->l;
    while (l->page_at < l->page->count && has_window(l)) {
        bool     is_kept = l->kept; /* of what the page is */
        uint64_t lsn     = is_kept ? 0 : l->page->batch_lsn[l->page_at];
        if (is_kept) {
            send_latest(v, &l->page->entry[l->page_at]);
        } else if (!send_logged(v, l->page->batch[l->page_at], lsn)) {
            if (!l->kept)
                return;
            l->page_left = lsn;
            l->page_at   = l->page->count;
            return;
        }
        l->page_at++;
    }
}

static void
end_page(struct gossip_link *l)
{
    if (l->page_left > 0) {
        l->lsn       = l->page_left;
        l->page_left = 0;
    } else if (l->kept) {
        l->kept_next = l->page->lsn_next;
        l->kept      = l->kept_next != 0;
        l->kept_all |= !l->kept;
    } else {
        l->lsn = l->page->lsn_next;
        for (uint32_t i = 0; i < l->page->damage_count; i++)
            if (is_left_out(l, &l->page->damage[i]))
                raise(l, l->page->damage[i].stream, INT64_MAX);
    }
    page_drop(l->page);
    l->page = NULL;
}

static void
ask_page(struct serving *v)
{
    struct gossip_link *l    = v->l;
    struct read         read = {
                .start     = l->lsn > 0 ? READ_AT_LSN : READ_AT_VECTOR,
                .lsn       = l->lsn,
                .lsn_last  = v->j->lsn,
                .have      = l->have,
                .batches   = true,
                .bytes_max = CREDIT_BYTES / 4,
                .count_max = 4096,
    };
    if (l->kept) {
        read.start   = READ_KEPT;
        read.lsn     = l->kept_next;
        read.have    = l->kept_have;
        read.batches = false;
    }
    v->g->reads++;
    l->reader = GOSSIP_READER | (uint64_t)v->link << READER_SHIFT | ++v->g->ids;
    out_add(v->out, &(struct effect){.kind = EFFECT_READ, .read = {l->reader, read}});
}

/* From memory.  False: not there, or not now. */
static bool
serve_tail(struct serving *v)
{
    const struct tail_item *t = v->l->lsn > 0 ? tail_at(&v->j->tail, v->l->lsn) : NULL;
    if (!t || !send_logged(v, t->batch, t->lsn))
        return false;
    v->l->lsn = t->lsn + batch_lsns(t->batch);
    return true;
}

static void
serve_log(struct serving *v)
{
    struct gossip_link *l = v->l;
    if (!l->located)
        l->lsn = journal_first_missing(v->j, &l->have);
    l->located = true;
    while (has_window(l) && l->lsn <= v->j->lsn && serve_tail(v))
        continue;
    if (l->lsn > v->j->lsn)
        l->serving = false;
    else if (has_window(l) && (l->lsn == 0 || !tail_at(&v->j->tail, l->lsn)))
        ask_page(v);
}

void
serve(struct gossip *g, struct journal *j, struct out *out, uint32_t link)
{
    struct gossip_link *l = &g->link[link];
    struct serving      v = {.g = g, .j = j, .out = out, .l = l, .link = link};
    if (l->page && l->page_at == l->page->count)
        end_page(l);
    if (l->page) {
        serve_page(&v); /* what is sent of it is in `out` now: go on at the next turn */
        return;
    }
    if (!serve_can_go_on(g, l) || (l->floors_seen != j->floor_moves && !serve_floors(&v)) ||
        !serve_retired(&v))
        return;
    if (!l->kept)
        serve_log(&v);
    else if (has_window(l))
        ask_page(&v);
}

void
gossip_on_page(struct gossip *g, uint64_t reader, struct page *page, struct mono now)
{
    uint32_t            link = (uint32_t)(reader >> READER_SHIFT) & (LINKS_MAX - 1);
    struct gossip_link *l    = &g->link[link];
    CHECK(g->reads > 0);
    g->reads--;
    if (reader & GOSSIP_REPAIR) {
        repair_on_page(g, now);
        page_drop(page);
        return;
    }
    if (!l->up || l->reader != reader) {
        page_drop(page); /* the link that it was for is gone */
        return;
    }
    l->reader = 0;
    if (l->reader_old) { /* for a pull before this one, which may want more: read anew */
        l->reader_old = false;
        page_drop(page);
        return;
    }
    l->serving = page != NULL; /* unreadable here: the peer asks the next holder */
    l->page    = page;
    l->page_at = 0;
}
