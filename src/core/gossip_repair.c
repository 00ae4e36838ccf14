#include "core/gossip_repair.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/trace.h"
#include "core/batch.h"
#include "core/gossip_part.h"

#define TO(s) (1u << REPAIR_##s)

static const uint8_t allowed[REPAIR_STATE_COUNT] = {
    [REPAIR_NOTED]   = TO(UNREAD) | TO(WANTED),
    [REPAIR_UNREAD]  = TO(READING) | TO(WANTED) | TO(STORING),
    [REPAIR_READING] = TO(WANTED) | TO(STORING),
    [REPAIR_WANTED]  = TO(WANTED) | TO(ASKED) | TO(STORING),
    [REPAIR_ASKED]   = TO(WANTED) | TO(STORING),
    [REPAIR_STORING] = TO(WANTED) | TO(MENDED),
    [REPAIR_MENDED]  = TO(UNREAD) | TO(WANTED),
};

/* The only place where `state` is written. */
static void
enter(struct repair *r, enum repair_state next, struct mono at)
{
    CHECK(allowed[r->state] & (1u << next));
    r->state = next;
    r->at    = at;
}

void
repairs_init(struct repairs *all)
{
    *all = (struct repairs){.asked = REPAIRS_MAX};
}

/* ---- what is damaged ---- */

static bool
is_in(const struct damage *d, const struct batch *b)
{
    return d->stream == b->stream && b->first <= d->first && d->first <= batch_last(b);
}

static struct repair *
find(struct repairs *all, const struct damage *d)
{
    for (uint32_t i = 0; i < all->count; i++) {
        const struct damage *have = &all->at[i].what;
        if (have->stream == d->stream && have->first <= d->last && d->first <= have->last)
            return &all->at[i];
    }
    return NULL;
}

/* A free place, or that of one that is mended; NULL: none. */
static struct repair *
place(struct repairs *all)
{
    if (all->count < REPAIRS_MAX)
        return &all->at[all->count++];
    for (uint32_t i = 0; i < REPAIRS_MAX; i++)
        if (all->at[i].state == REPAIR_MENDED)
            return &all->at[i];
    return NULL;
}

static void
want(struct repair *r, struct mono now)
{
    enter(r, REPAIR_WANTED, now);
}

/* What else the store says of it may be enough. */
static void
look(struct repair *r, struct mono now)
{
    enter(r, r->what.lsn > 0 ? REPAIR_UNREAD : REPAIR_WANTED, now);
}

static void
say(const struct damage *d)
{
    char text[MARK_TEXT_BYTES];
    mark_text((struct mark){d->stream, d->first}, text);
    tracef(TRACE_WARN,
           "messages from %s to %llu cannot be read as they were published; they are mended, if "
           "the rest of the file or another broker says what they were. Check the disk if there "
           "is more of this",
           text, (unsigned long long)d->last);
}

/* A page that is read while it is mended may still show it as it was. */
static void
found_again(struct repairs *all, struct repair *r, struct mono now)
{
    if (r->state != REPAIR_MENDED || !mono_reached(now, mono_after(r->at, REPAIR_WAIT_MS)))
        return;
    all->futile = true;
    look(r, now);
}

/* It is damaged; the members `but` (bits) have it no better. */
static void
note(struct gossip *g, const struct damage *d, uint32_t but, struct mono now)
{
    struct repairs *all = &g->repairs;
    struct repair  *r   = find(all, d);
    if (r) {
        found_again(all, r, now);
        return;
    }
    r = place(all);
    if (!r)
        return; /* it will be found once more */
    *r = (struct repair){.what = *d, .in_vain = but, .wait_ms = REPAIR_WAIT_MS, .since = now};
    look(r, now);
    all->found++;
    say(d);
}

/* Each linked member may be asked anew, soon. */
void
repair_link_up(struct gossip *g, uint32_t member, struct mono now)
{
    for (uint32_t i = 0; i < g->repairs.count; i++) {
        struct repair *r = &g->repairs.at[i];
        r->in_vain &= ~(UINT32_C(1) << member);
        r->wait_ms  = REPAIR_WAIT_MS;
        r->hopeless = false;
        if (r->state == REPAIR_WANTED)
            r->at = mono_min(r->at, mono_after(now, REPAIR_WAIT_MS));
    }
}

/* ---- asking ---- */

static void
forget(struct repairs *all, uint32_t i)
{
    CHECK(all->asked == REPAIRS_MAX);
    all->news  = true;
    all->at[i] = all->at[--all->count];
}

/* A linked member that has it, and was not asked in vain. */
static bool
holder_of(const struct gossip *g, const struct journal *j, const struct repair *r, uint32_t *link)
{
    const struct stream *s = journal_find(j, r->what.stream);
    for (uint32_t i = 0; s && i < LINKS_MAX; i++) {
        const struct gossip_link *l = &g->link[i];
        if (!l->up || r->in_vain >> l->member & 1 || s->known[l->member] < r->what.first ||
            s->known_floor[l->member] >= r->what.first)
            continue;
        *link = i;
        return true;
    }
    return false;
}

/* Nobody has it now, or no better: later, and each time later. */
static void
put_off(struct repairs *all, struct repair *r, struct mono now)
{
    all->news   = true;
    r->at       = mono_after(now, r->wait_ms);
    r->in_vain  = 0;
    r->hopeless = true;
    r->wait_ms  = r->wait_ms < REPAIR_WAIT_MAX_MS / 2 ? 2 * r->wait_ms : REPAIR_WAIT_MAX_MS;
}

bool
repair_is_hopeful(const struct gossip *g, const struct journal *j, const struct damage *d)
{
    const struct repair  fresh = {.what = *d};
    const struct repair *r     = find((struct repairs *)(uintptr_t)&g->repairs, d);
    uint32_t             link;
    return !(r && r->hopeless) && holder_of(g, j, r ? r : &fresh, &link);
}

struct mono
repair_hope(const struct gossip *g, const struct journal *j, const struct damage *d)
{
    const struct mono    none = {0};
    const struct repair *r    = find((struct repairs *)(uintptr_t)&g->repairs, d);
    uint32_t             link;
    if (!r || r->hopeless)
        return none;
    struct mono end = mono_after(r->since, g->causal_wait_ms);
    if (r->state == REPAIR_MENDED) /* the page was read meanwhile */
        return mono_min(end, mono_after(r->at, REPAIR_WAIT_MS));
    bool is_coming = r->state == REPAIR_ASKED || r->state == REPAIR_STORING;
    return is_coming || holder_of(g, j, r, &link) ? end : none;
}

/* All that we hold, but for what is wanted and what follows it in its stream. */
static void
send_pull(struct gossip *g, struct journal *j, struct out *out, uint32_t link,
          const struct damage *d)
{
    struct mark *mark = arena_take(&out->arena, STREAMS_MAX * sizeof *mark);
    uint32_t     n = pull_marks(j, mark), kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (mark[i].stream == d->stream)
            mark[i].seq = d->first - 1;
        if (mark[i].seq > 0)
            mark[kept++] = mark[i];
    }
    out_send(out, link,
             &(struct frame){.kind = FRAME_PULL,
                             .pull = {.have   = {.at = mark, .count = kept, .cap = kept},
                                      .credit = 1}}); /* may be overdrawn by one batch */
    g->link[link].credit_due = 0;
    g->pulls++;
}

static void
answered(struct gossip *g)
{
    /* What else came by this pull must not become credit for more of it. */
    g->link[g->repairs.link].credit_due = 0;
    g->repairs.asked                    = REPAIRS_MAX;
}

static void
ask_for(struct gossip *g, struct journal *j, struct out *out, uint32_t i, struct mono now)
{
    struct repair *r = &g->repairs.at[i];
    uint32_t       link;
    if (!holder_of(g, j, r, &link)) {
        put_off(&g->repairs, r, now);
        return;
    }
    send_pull(g, j, out, link, &r->what);
    enter(r, REPAIR_ASKED, mono_after(now, REPAIR_WAIT_MS));
    g->repairs.asked = i;
    g->repairs.link  = link;
}

/* Retention took it, or its stream; or its commit failed. */
static bool
is_gone(const struct journal *j, const struct damage *d)
{
    const struct stream *s = journal_find(j, d->stream);
    return !s || s->floor >= d->last || s->held < d->first;
}

/* Does its answer still come?  A pull for other things takes the place of ours at a peer. */
static bool
is_awaited(const struct gossip *g, const struct repair *r, struct mono now)
{
    uint32_t link = g->repairs.link;
    return g->link[link].up && !(g->pulling && g->pull_link == link) && !mono_reached(now, r->at);
}

static void
ask_anew(struct gossip *g, struct mono now)
{
    struct repair            *r = &g->repairs.at[g->repairs.asked];
    const struct gossip_link *l = &g->link[g->repairs.link];
    if (l->up && mono_reached(now, r->at))
        r->in_vain |= UINT32_C(1) << l->member;
    want(r, now);
    answered(g);
}

/* The batch itself, with what else the store says of it; one after the other. */
static void
read_one(struct gossip *g, struct journal *j, struct out *out, struct repair *r)
{
    struct read read = {.start     = READ_AT_LSN,
                        .lsn       = r->what.lsn,
                        .lsn_last  = j->lsn,
                        .batches   = true,
                        .bytes_max = 1,
                        .count_max = 1};
    uint64_t    id   = GOSSIP_READER | GOSSIP_REPAIR | ++g->ids;
    enter(r, REPAIR_READING, r->at);
    g->reads++;
    g->repairs.reading = true;
    out_add(out, &(struct effect){.kind = EFFECT_READ, .read = {id, read}});
}

static void
read_next(struct gossip *g, struct journal *j, struct out *out)
{
    for (uint32_t i = 0; i < g->repairs.count && !g->repairs.reading; i++)
        if (g->repairs.at[i].state == REPAIR_UNREAD && g->reads < LINKS_MAX)
            read_one(g, j, out, &g->repairs.at[i]);
}

void
repair_turn(struct gossip *g, struct journal *j, struct out *out, struct mono now)
{
    struct repairs *all = &g->repairs;
    if (g->disk_works)
        read_next(g, j, out);
    if (all->asked < REPAIRS_MAX && !is_awaited(g, &all->at[all->asked], now))
        ask_anew(g, now);
    if (g->pulling || !g->disk_works)
        return;
    for (uint32_t i = 0; i < all->count && all->asked == REPAIRS_MAX; i++) {
        struct repair *r    = &all->at[i];
        bool           busy = r->state == REPAIR_STORING || r->state == REPAIR_READING;
        if (!busy && is_gone(j, &r->what))
            forget(all, i--);
        else if (r->state == REPAIR_WANTED && mono_reached(now, r->at))
            ask_for(g, j, out, i, now);
    }
}

struct mono
repair_deadline(const struct gossip *g)
{
    struct mono at = MONO_NEVER;
    if (!g->disk_works || g->pulling)
        return at;
    for (uint32_t i = 0; i < g->repairs.count; i++)
        if (g->repairs.at[i].state == REPAIR_UNREAD && !g->repairs.reading && g->reads < LINKS_MAX)
            return g->repairs.at[i].at;
    if (g->repairs.asked < REPAIRS_MAX)
        return g->repairs.at[g->repairs.asked].at;
    for (uint32_t i = 0; i < g->repairs.count; i++)
        if (g->repairs.at[i].state == REPAIR_WANTED)
            at = mono_min(at, g->repairs.at[i].at);
    return at;
}

/* ---- what comes ---- */

static bool
is_whole(const struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->msg[i].flags & MSG_DIGEST_ONLY)
            return false;
    return true;
}

/* Late answers are answers too. */
static struct repair *
wanted(struct repairs *all, const struct batch *b)
{
    for (uint32_t i = 0; i < all->count; i++) {
        struct repair *r = &all->at[i];
        if (r->state != REPAIR_STORING && r->state != REPAIR_MENDED && is_in(&r->what, b))
            return r;
    }
    return NULL;
}

static void
store(const struct intake *in, struct repair *r, struct batch *b)
{
    enter(r, REPAIR_STORING, r->at);
    commits_add(in->c, in->out, &(struct pending){.commit = {.kind = COMMIT_REPAIR}, .batch = b});
}

/* A batch that our own store told, of one that it found damaged. */
static void
take_proved(const struct intake *in, struct batch *b)
{
    struct repair       *r = wanted(&in->g->repairs, b);
    const struct stream *s = journal_find(in->j, b->stream);
    if (!r || !s || batch_is_gap(b) || !is_whole(b) || s->held < batch_last(b))
        return;
    if (r->state == REPAIR_ASKED)
        answered(in->g);
    r->whole = true;
    blob_keep(b);
    store(in, r, b);
}

void
gossip_damaged(const struct intake *in, const struct page *page)
{
    for (uint32_t i = 0; i < page->damage_count; i++)
        note(in->g, &page->damage[i], 0, in->now);
    for (uint32_t i = 0; page->damage_count > 0 && page->batch && i < page->count; i++)
        take_proved(in, page->batch[i]);
}

void
repair_on_page(struct gossip *g, struct mono now)
{
    g->repairs.reading = false;
    for (uint32_t i = 0; i < g->repairs.count; i++)
        if (g->repairs.at[i].state == REPAIR_READING)
            want(&g->repairs.at[i], now);
}

bool
repair_take(const struct intake *in, const struct arrival *it)
{
    const struct stream *s = journal_find(in->j, it->batch->stream);
    struct repair       *r = it->pulled ? wanted(&in->g->repairs, it->batch) : NULL;
    if (!r || !s || s->held < batch_last(it->batch))
        return false;
    uint32_t other;
    if (r->state == REPAIR_ASKED)
        answered(in->g);
    r->in_vain |= UINT32_C(1) << in->g->link[it->link].member;
    r->whole = is_whole(it->batch);
    if (!r->whole && holder_of(in->g, in->j, r, &other)) { /* who may have all of it */
        want(r, in->now);
        blob_drop(it->batch);
        return true;
    }
    store(in, r, it->batch);
    return true;
}

void
repair_persisted(struct gossip *g, const struct pending *p, bool failed, struct mono now)
{
    for (uint32_t i = 0; i < g->repairs.count; i++) {
        struct repair *r = &g->repairs.at[i];
        if (r->state != REPAIR_STORING || !is_in(&r->what, p->batch))
            continue;
        if (failed || !r->whole) {
            want(r, now);
            put_off(&g->repairs, r, now);
            return;
        }
        g->repairs.mended++;
        g->repairs.news = true;
        enter(r, REPAIR_MENDED, now);
        r->what.first = p->batch->first; /* if there is more, that will be found by itself */
        r->what.last  = batch_last(p->batch);
        return;
    }
}

/* A batch that is about to be stored has only the digest of some message. */
void
repair_arrival(const struct intake *in, const struct arrival *it)
{
    const struct batch *b = it->batch;
    if (is_whole(b))
        return;
    const struct damage d = {b->stream, b->first, batch_last(b), b->chain, 0};
    note(in->g, &d, UINT32_C(1) << in->g->link[it->link].member, in->now);
}
