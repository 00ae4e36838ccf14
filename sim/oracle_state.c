/* oracle_state.c - what must be true of a running broker's memory after each turn (S3, S4, S18).
 *
 * Most of it is looked at each time, but only where something moved; now and then all of it is
 * gone over, so that what moves without saying so is seen too. */
#include "base/check.h"
#include "core/batch.h"
#include "core/broker_part.h"
#include "core/vector.h"
#include "sim/oracle_part.h"

enum {
    SWEEP_TURNS = 64, /* all is gone over once in so many turns */
    OTHERS_MAX  = 64, /* commits that are no batches: elections, members, waivers... */

    CONTROLS_MAX = 16, /* frames in one step to one peer that carry no messages */
};

/* ---- S3, S4: what core takes for durable ---- */

static void
check_stream(struct sim *s, uint32_t i, const struct stream *js)
{
    struct sim_held *at = past_held(s, js->id, i);
    sim_must_where(s, js->durable > 0, at || js->durable == 0,
                   "S4: durable in memory, and never on any disk", i);
    if (!at)
        return;
    sim_must_where(s, js->durable > 0, js->durable <= at->head,
                   "S4: durable in memory, and not on disk", i);
    sim_must_where(s, js->floor > 0, js->floor <= at->floor,
                   "S4: gone in memory, and still on disk", i);
    sim_must_where(s, at->known > 0, js->durable >= at->known, "S3: the vector in memory fell", i);
    sim_must_where(s, at->known_floor > 0, js->floor >= at->known_floor,
                   "S3: a floor in memory fell", i);
    sim_must(s, js->floor <= js->durable && js->durable <= js->held,
             "S2: floor, durable and held are not in this order", i);
    at->known       = js->durable;
    at->known_floor = js->floor;
}

/* Those that moved since the last turn are at the end of the list. */
static void
check_moved(struct sim *s, uint32_t i, const struct journal *j)
{
    uint64_t *seen = &s->node[i].seen.changes;
    for (struct list *at = j->by_change.prev; at != &j->by_change; at = at->prev) {
        const struct stream *js = LIST_OF(at, struct stream, by_change);
        if (js->changed <= *seen)
            break;
        check_stream(s, i, js);
    }
    *seen = j->changes;
}

static void
check_all(struct sim *s, uint32_t i, const struct journal *j)
{
    struct pool         *streams = &((struct journal *)(uintptr_t)j)->streams;
    const struct stream *js;
    uint64_t             stamp = 0;
    for (uint32_t at = 0; (js = pool_next(streams, &at));) {
        check_stream(s, i, js);
        sim_must(s, vector_seq(&j->durable, js->id) == js->durable,
                 "S4: the vector is not what its streams are", i);
        stamp = js->durable_stamp > stamp ? js->durable_stamp : stamp;
    }
    sim_must(s, stamp <= j->stamp, "S3: a stamp in memory was forgotten", i);
}

static void
check_clocks(struct sim *s, uint32_t i, const struct broker *b)
{
    struct sim_seen *seen = &s->node[i].seen;
    sim_must(s, b->clock.now >= seen->clock, "S3: the Lamport clock fell", i);
    sim_must(s, b->journal.stamp >= seen->stamp, "S3: the highest stamp fell", i);
    sim_must(s, b->clock.now >= b->journal.stamp, "S3: the clock is below what is stored", i);
    sim_must_where(s, seen->epoch > 0, b->bully.epoch >= seen->epoch,
                   "S3: the epoch in memory fell", i);
    seen->clock = b->clock.now;
    seen->stamp = b->journal.stamp;
    seen->epoch = b->bully.epoch;
}

/* ---- S18: budgets, and that nothing is counted that is not there ---- */

static uint32_t
open_subs(const struct sim *s, uint32_t i)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->sub_count; k++)
        n += s->sub[k].node == i && s->sub[k].open;
    return n;
}

static void
check_budgets(struct sim *s, uint32_t i, const struct broker *b)
{
    const struct journal *j = &b->journal;
    const struct commits *c = &b->commits;
    sim_must_where(s, j->tail.bytes > 0, j->tail.bytes <= j->tail.bytes_max || j->tail.count <= 1,
                   "S18: the tail takes more memory than it may", i);
    sim_must_where(s, s->node[i].waiting_count > 0, c->count == s->node[i].waiting_count,
                   "S18: a commit is lost, or counted twice", i);
    sim_must_where(s, c->count > 0,
                   c->count <= COMMITS_MAX + OTHERS_MAX && c->own <= OWN_BATCHES_MAX,
                   "S18: too many commits", i);
    sim_must_where(s, c->bytes > 0,
                   (c->count > 0 || c->bytes == 0) &&
                       c->bytes <= COMMITS_BYTES_MAX + FRAME_BYTES_MAX,
                   "S18: what waits for the store takes too much", i);
    sim_must_where(s, b->sessions.pool.used > 0, b->sessions.pool.used == open_subs(s, i),
                   "S18: a session without a client, or none with one", i);
    sim_must_where(s, b->own.queue.count > 0,
                   b->own.queue.count <= QUEUE_MESSAGES_MAX &&
                       (b->own.queue.count > 0 || b->own.queue.body_bytes == 0),
                   "S18: the queue of publishes takes too much", i);
    sim_must_where(s, b->sessions.shelf.bytes > 0,
                   b->sessions.shelf.bytes <= LIVE_WAITING_BYTES_MAX &&
                       b->sessions.live_runs <= LIVE_RUNS_ALL_MAX,
                   "S18: what is live takes too much", i);
}

static uint32_t
length(const struct list *l)
{
    uint32_t n = 0;
    for (const struct list *at = l->next; at != l; at = at->next)
        n++;
    return n;
}

static void
check_links(struct sim *s, uint32_t i, const struct broker *b)
{
    const struct gossip *g    = &b->gossip;
    uint32_t             back = 0, offers = 0;
    for (uint32_t k = 0; k < LINKS_MAX; k++) {
        const struct gossip_link *l = &g->link[k];
        sim_must_where(s, s->node[i].used[k], (b->link[k].state != LINK_FREE) == s->node[i].used[k],
                       "S18: a slot of a link is lost", i);
        if (!l->up)
            continue;
        back += length(&l->held_back);
        offers += length(&l->offers);
        bool none = list_is_empty(&l->held_back) && list_is_empty(&l->offers);
        sim_must_where(s, l->held_back_bytes > 0,
                       l->held_back_bytes <= HELD_BACK_BYTES_MAX &&
                           none == (l->held_back_bytes == 0),
                       "S18: what a link holds back takes too much", i);
        sim_must_where(s, l->queued > 0, l->queued <= LINK_QUEUE_BYTES_MAX + FRAME_BYTES_MAX,
                       "S18: a link's queue takes too much", i);
        sim_must_where(s, l->credit > 0, l->credit <= CREDIT_BYTES,
                       "S18: the window of a pull grew", i);
    }
    sim_must_where(s, back + offers > 0, g->held_back.used == back && g->offers.used == offers,
                   "S18: something is held back for no link", i);
}

static uint32_t
reads_under_way(const struct sim *s, uint32_t i)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->heap_count; k++) {
        const struct event *e = s->heap[k];
        n += e->kind == EVENT_PAGE && e->node == i && e->life == s->node[i].life;
    }
    for (struct list *at = s->node[i].inbox.next; at != &s->node[i].inbox; at = at->next)
        n += LIST_OF(at, struct event, in_inbox)->kind == EVENT_PAGE;
    return n;
}

static void
check_memory(struct sim *s, uint32_t i, const struct broker *b)
{
    const struct journal *j    = &b->journal;
    size_t                used = 0;
    for (uint32_t k = 0; k < j->tail.count; k++)
        used += batch_bytes(tail_item(&j->tail, k)->batch);
    sim_must(s, used == j->tail.bytes, "S18: the tail is not as large as it says", i);
    uint32_t reads = b->gossip.reads + b->sessions.reads;
    sim_must(s, b->sessions.reads <= READS_MAX && b->gossip.reads <= LINKS_MAX + 1,
             "S18: too many reads", i);
    sim_must(s, reads == reads_under_way(s, i), "S18: a read is lost, or counted twice", i);
}

void
oracle_state(struct sim *s, uint32_t i)
{
    const struct broker *b = s->node[i].broker;
    check_moved(s, i, &b->journal);
    check_clocks(s, i, b);
    check_budgets(s, i, b);
    if (s->node[i].seen.turns++ % SWEEP_TURNS != 0)
        return;
    check_all(s, i, &b->journal);
    check_links(s, i, b);
    check_memory(s, i, b);
}

/* ---- S18: effects ---- */

/* What is not messages is bounded by the members and their links; messages by the windows of
 * pulls, the queue of publishes and the room at the store. */
void
oracle_effects(struct sim *s, uint32_t i, const struct effects *effects)
{
    uint32_t control[LINKS_MAX] = {0}, most = 0, other = 0, dials = 0;
    if (effects->count == 0)
        return;
    for (uint32_t k = 0; k < effects->count; k++) {
        const struct effect *e = &effects->at[k];
        if (e->kind == EFFECT_SEND && !sim_is_data(e->send.frame.kind) &&
            ++control[e->send.link] > most)
            most = control[e->send.link];
        dials += e->kind == EFFECT_DIAL;
        other += e->kind == EFFECT_PERSIST && e->persist.kind != COMMIT_BATCH &&
                 e->persist.kind != COMMIT_LATEST;
    }
    sim_must(s, most <= CONTROLS_MAX && dials <= MEMBERS_MAX && other <= OTHERS_MAX,
             "S18: a step asks for too much", i);
}
