#include "core/gossip.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/trace.h"
#include "core/batch.h"
#include "core/gossip_part.h"

/* ---- own batches out ---- */

void
gossip_push(struct gossip *g, struct out *out, struct batch *b)
{
    const struct frame frame = {.kind = FRAME_PUSH, .push = {.flags = 0, .batch = b}};
    size_t             cost  = batch_cost(b);
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct gossip_link *l = &g->link[i];
        if (!l->up || l->push_off || l->their_flags & (HEADS_CATCHING_UP | HEADS_NO_STORE))
            continue;
        if (l->queued + cost > LINK_QUEUE_BYTES_MAX) {
            l->push_off = true; /* it pulls the rest; see gossip_on_sent() */
            continue;
        }
        l->queued += cost;
        l->pushes_out++;
        out_send(out, i, &frame);
    }
}

void
gossip_on_sent(struct gossip *g, uint32_t link, size_t bytes_queued)
{
    struct gossip_link *l = &g->link[link];
    if (!l->up)
        return;
    l->queued = bytes_queued;
    if (l->push_off && l->queued == 0) {
        l->push_off   = false;
        l->heads_full = true;
    }
}

/* ---- live ---- */

/* It uses half of a queue at most, so it alone never makes a peer catch up. */
void
gossip_push_live(struct gossip *g, struct out *out, struct batch *b)
{
    const struct frame frame = {.kind = FRAME_LIVE, .live = {.batch = b}};
    size_t             cost  = batch_cost(b);
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct gossip_link *l = &g->link[i];
        if (!l->up)
            continue;
        if (l->queued + cost > LIVE_LINK_BYTES_MAX) {
            g->live_missed += b->count;
            continue;
        }
        l->queued += cost;
        out_send(out, i, &frame);
    }
}

enum err
gossip_on_live(struct gossip *g, uint32_t link, const struct batch *b)
{
    struct gossip_link *l = &g->link[link];
    CHECK(l->up);
    if (!live_is_valid(b)) {
        g->refused++;
        return ERR_PROTO;
    }
    if (b->lamport_first <= l->live_stamp) {
        l->duplicates++;
        return ERR_NOTFOUND;
    }
    l->live_stamp = batch_stamp(b);
    g->live_in += b->count;
    return ERR_OK;
}

/* ---- batches in ---- */

void
arrival_drop(const struct intake *in, const struct arrival *it)
{
    if (it->pulled)
        in->g->link[it->link].credit_due += batch_cost(it->batch);
    hand_lost(in->g, in->j, it->batch, in->now);
    blob_drop(it->batch);
}

void
held_back_drop_all(struct gossip *g, struct journal *j, struct gossip_link *l, struct mono now)
{
    LIST_EACH(node, &l->held_back)
    {
        struct held_back *h = LIST_OF(node, struct held_back, by_link);
        list_remove(&h->waiting);
        list_remove(&h->by_link);
        list_remove(&h->clock);
        if (j)
            hand_lost(g, j, h->it.batch, now);
        l->held_back_bytes -= batch_bytes(h->it.batch); /* offers count there too */
        blob_drop(h->it.batch);
        pool_give(&g->held_back, h);
    }
}

/* The stamp of the gap that it follows, when it may wait for what that owes. */
static uint64_t
debt_of(const struct journal *j, const struct batch *b, const struct stream *wants)
{
    const struct stream *s    = journal_find(j, b->stream);
    bool                 owes = s->owed && s->owed_at == s->held && b->first == s->held + 1;
    return owes && !stream_is_past(wants, s->held_stamp) ? s->held_stamp : 0;
}

static void
hold_back(const struct intake *in, const struct arrival *it, struct mark missing)
{
    struct gossip_link *l     = &in->g->link[it->link];
    struct stream      *s     = journal_stream(in->j, missing.stream);
    size_t              bytes = batch_bytes(it->batch);
    struct held_back   *h     = NULL;
    if (s && l->held_back_bytes + bytes <= HELD_BACK_BYTES_MAX)
        h = pool_take(&in->g->held_back);
    if (!h) {
        arrival_drop(in, it);
        return;
    }
    *h = (struct held_back){.it = *it, .wants = s, .seq = missing.seq};
    list_init(&h->waiting);
    list_init(&h->by_link);
    list_init(&h->clock);
    list_push_back(&l->held_back, &h->by_link);
    l->held_back_bytes += bytes;
    hand_add(in->j, it->batch);
    h->debt = debt_of(in->j, it->batch, s);
    if (journal_note_next(in->j, it->batch))
        stream_released(in->g, journal_find(in->j, it->batch->stream));
    wait_begin(in->g, h);
}

struct arrival
held_back_take(struct gossip *g, struct held_back *h)
{
    struct arrival it = h->it;
    list_remove(&h->waiting);
    list_remove(&h->by_link);
    list_remove(&h->clock);
    g->link[it.link].held_back_bytes -= batch_bytes(it.batch);
    pool_give(&g->held_back, h);
    return it;
}

static void
store(const struct intake *in, const struct arrival *it, bool late)
{
    struct gossip_link *l = &in->g->link[it->link];
    struct stream      *s = journal_find(in->j, it->batch->stream);
    if (in->c->bytes > COMMITS_BYTES_MAX || in->c->count >= COMMITS_MAX) {
        arrival_drop(in, it); /* our disk is slower than the link: pull it later */
        return;
    }
    repair_arrival(in, it);
    journal_hand_over(in->j, it->batch);
    s->progress = in->now;
    l->storing += it->pulled;
    commits_add(in->c, in->out,
                &(struct pending){.commit  = {.kind = COMMIT_BATCH, .late = late},
                                  .batch   = it->batch,
                                  .pulled  = it->pulled,
                                  .link    = it->link,
                                  .link_id = l->id});
    gossip_judge_lack(in->g, s, in->now);
    stream_released(in->g, s);
}

void
stream_freeze(const struct intake *in, struct stream *s)
{
    in->g->refused++;
    journal_freeze(in->j, s);
    commits_add(in->c, in->out,
                &(struct pending){.commit = {.kind = COMMIT_FROZEN, .stream = s->id}});
    gossip_judge_lack(in->g, s, in->now);
    stream_released(in->g, s); /* what waits for more of it waits in vain */
}

/* What is held back is progress of its stream only when another stream is in its way:
 * behind a hole in its own, more may come for ever without filling it. */
static void
note_progress(const struct intake *in, const struct arrival *it, struct mark missing)
{
    if (missing.stream != it->batch->stream)
        journal_find(in->j, it->batch->stream)->progress = in->now;
}

static void
take_in(const struct intake *in, const struct arrival *it)
{
    struct mark  missing = {0};
    bool         late    = false;
    enum verdict verdict = journal_judge(in->j, it->batch, &missing, &late);
    switch (verdict) {
    case VERDICT_STORE:
        store(in, it, late);
        return;
    case VERDICT_DUPLICATE:
        in->g->link[it->link].duplicates++;
        arrival_drop(in, it);
        return;
    case VERDICT_WAIT:
        note_progress(in, it, missing);
        hold_back(in, it, missing);
        return;
    case VERDICT_REFUSE:
        stream_freeze(in, journal_find(in->j, it->batch->stream));
        arrival_drop(in, it);
        return;
    case VERDICT_LIMIT:
        tracef(TRACE_ERROR,
               "batch dropped: %d streams are known, the limit; restart brokers "
               "less often, or forget the cluster's oldest history",
               STREAMS_MAX);
        arrival_drop(in, it);
        return;
    }
}

void
stream_released(struct gossip *g, struct stream *s)
{
    if (list_is_empty(&s->released) && !list_is_empty(&s->waiting))
        list_push_back(&g->released, &s->released);
}

void
release(const struct intake *in)
{
    struct gossip *g = in->g;
    while (!list_is_empty(&g->released)) {
        struct stream *s = LIST_OF(g->released.next, struct stream, released);
        list_remove(&s->released);
        LIST_EACH(node, &s->waiting)
        {
            struct held_back *h = LIST_OF(node, struct held_back, waiting);
            if (wait_goes_on(s, h->seq))
                break;
            if (!wait_is_over(h))
                continue;
            struct arrival it = held_back_take(g, h);
            take_in(in, &it);
        }
    }
}

enum err
gossip_on_push(const struct intake *in, uint32_t link, const struct frame_push *push)
{
    struct gossip       *g      = in->g;
    bool                 pulled = push->flags & PUSH_PULLED;
    const struct arrival it     = {push->batch, link, pulled, in->now};
    CHECK(g->link[link].up);
    if (!batch_is_valid(push->batch) || !batch_digests(push->batch)) {
        g->refused++;
        blob_drop(push->batch);
        return ERR_PROTO;
    }
    if (!g->disk_works) {
        arrival_drop(in, &it);
        return ERR_OK;
    }
    if (pulled && g->pulling && g->pull_link == link)
        g->pull_progress = in->now;
    if (repair_take(in, &it))
        return ERR_OK;
    take_in(in, &it);
    release(in);
    return ERR_OK;
}
