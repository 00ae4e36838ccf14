/* oracle_frames.c - S19: a frame that is refused changes nothing but counters, and the link that
 * it came over.
 *
 * Now and then a link brings what no sound peer would say: damaged bytes, a batch that does not
 * chain, what is known, what is stale.  All that a broker keeps, in memory and on disk, is the
 * same behind it. */
#include "base/blob.h"
#include "base/check.h"
#include "base/hash.h"
#include "core/batch.h"
#include "core/broker_part.h"
#include "sim/oracle.h"
#include "sim/oracle_part.h"

/* ---- what a broker keeps ---- */

static void
add(struct buf *b, const void *what, size_t bytes)
{
    enum err e = buf_add(b, (struct str){what, bytes});
    CHECK(e == ERR_OK);
}

static void
add_streams(struct buf *to, const struct journal *j)
{
    struct pool         *streams = &((struct journal *)(uintptr_t)j)->streams;
    const struct stream *js;
    for (uint32_t at = 0; (js = pool_next(streams, &at));) {
        if (js->held == 0 && js->waived == 0 && !js->live && !js->frozen)
            continue; /* heard of, and nothing more */
        const uint64_t seq[] = {js->id,     js->held,        js->durable,  js->held_stamp,
                                js->floor,  js->floor_stamp, js->waived,   js->owed_at,
                                js->frozen, js->live,        js->owed != 0};
        add(to, seq, sizeof seq);
        add(to, &js->held_chain, sizeof js->held_chain);
        add(to, &js->floor_chain, sizeof js->floor_chain);
    }
    add(to, j->durable.at, j->durable.count * sizeof *j->durable.at);
}

static void
add_members(struct buf *to, const struct roster *r)
{
    for (uint32_t k = 0; k < MEMBERS_MAX; k++) {
        const struct roster_member *m = &r->slot[k];
        if (m->used)
            add(to, &(uint64_t[]){m->addr.port, m->version, m->nonce, m->away},
                sizeof(uint64_t[4]));
    }
    add(to, &r->tombstone_count, sizeof r->tombstone_count);
}

static uint64_t
digest(const struct sim *s, uint32_t i)
{
    const struct broker *b   = s->node[i].broker;
    const uint64_t       n[] = {b->journal.lsn,          b->journal.stamp,
                                b->journal.retired.used, b->journal.frozen_count,
                                b->bully.epoch,          b->bully.accepted.epoch,
                                b->bully.accepted.nonce, b->bully.state,
                                b->own.queue.count,      b->own.stream,
                                b->commits.count,        b->commits.id_next,
                                b->sessions.pool.used,   b->awaits.pool.used,
                                b->disk_works,           b->has_room};
    struct buf           all;
    buf_init(&all, 0);
    add(&all, n, sizeof n);
    add_streams(&all, &b->journal);
    add_members(&all, &b->roster);
    store_mem_dump(s->node[i].disk, &all);
    uint64_t sum = hash64(buf_str(&all));
    buf_fini(&all);
    return sum;
}

/* ---- what no sound peer says ---- */

/* Of what there is here already: some stream, its head, and what would come next. */
struct bait {
    struct sim          *s;
    uint32_t             node, link;
    const struct broker *b;
    const struct stream *js; /* held, and not ours */
    uint64_t             dice;
};

static struct batch *
next_batch(const struct bait *t, uint64_t lamport, const char *topic)
{
    const struct msg m = {.topic = str_of(topic), .body = STR("bait")};
    return batch_make(&(struct batch_parts){.stream        = t->js->id,
                                            .first         = t->js->held + 1,
                                            .prev          = t->js->held_chain,
                                            .lamport_first = lamport,
                                            .msg           = &m,
                                            .count         = 1});
}

static void
send(const struct bait *t, const struct frame *f)
{
    node_step(t->s, t->node, &(struct fact){.kind = FACT_FRAME, .frame = {t->link, f}});
}

static void
push(const struct bait *t, struct batch *b)
{
    send(t, &(struct frame){.kind = FRAME_PUSH, .push = {.batch = b}});
}

/* One bit of a sound frame is another; what decodes it says so, and then the link broke. */
static void
damaged_bytes(const struct bait *t)
{
    struct buf         bytes;
    struct frame       f;
    size_t             used;
    const struct frame ping = {.kind = FRAME_PING, .ping = {.id = t->dice}};
    buf_init(&bytes, 0);
    enum err e = wire_encode(&bytes, &ping);
    CHECK(e == ERR_OK);
    uint32_t bit = WIRE_HEAD_BYTES * 8 + (uint32_t)(t->dice % ((bytes.n - WIRE_HEAD_BYTES) * 8));
    uint8_t *at  = (uint8_t *)(uintptr_t)buf_str(&bytes).p;
    at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    e = wire_decode(buf_str(&bytes), &t->s->scratch, &f, &used);
    sim_must(t->s, e == ERR_PROTO, "S19: damaged bytes are taken for a frame", t->node);
    buf_fini(&bytes);
    node_step(t->s, t->node, &(struct fact){.kind = FACT_LINK_BROKE, .link = {.link = t->link}});
}

static void
another_chain(const struct bait *t)
{
    struct batch *b = next_batch(t, t->js->held_stamp + 1, "a/b");
    b->chain.b[0] ^= 1;
    push(t, b);
}

static void
a_stamp_beyond_all(const struct bait *t)
{
    push(t, next_batch(t, STAMP_MAX + 1, "a/b"));
}

static void
a_topic_that_is_none(const struct bait *t)
{
    push(t, next_batch(t, t->js->held_stamp + 1, "a/#"));
}

static void
another_hello(const struct bait *t)
{
    send(t, &(struct frame){.kind  = FRAME_HELLO,
                            .hello = {.version_min = PROTOCOL_VERSION,
                                      .version_max = PROTOCOL_VERSION,
                                      .cluster     = t->b->cluster,
                                      .addr        = t->s->node[(t->node + 1) % 2].addr,
                                      .nonce       = t->dice | 1}});
}

static struct frame
gap(const struct bait *t, uint64_t from, uint64_t to)
{
    return (struct frame){.kind = FRAME_GAP,
                          .gap  = {.stream = t->js->id,
                                   .from   = from,
                                   .to     = to,
                                   .chain  = t->js->held_chain,
                                   .stamp  = t->js->held_stamp,
                                   .origin = STR("X:1")}};
}

static void
a_gap_that_ends_before_it_begins(const struct bait *t)
{
    struct frame f = gap(t, t->js->held + 2, t->js->held + 1);
    send(t, &f);
}

static void
a_gap_in_what_is_held(const struct bait *t)
{
    struct frame f = gap(t, 1, t->js->held);
    send(t, &f);
}

static void
what_is_known(const struct bait *t)
{
    struct batch *b = (struct batch *)(uintptr_t)past_last(t->s, t->js->id, t->js->held);
    if (!b)
        return;
    blob_keep(b);
    push(t, b);
}

static void
a_token_that_is_stale(const struct bait *t)
{
    struct token token = bully_token(&t->b->bully);
    if (token.epoch < 2)
        return;
    token.epoch--;
    send(t, &(struct frame){.kind = FRAME_PING, .ping = {.reply = true, .token = token}});
}

static void
a_token_from_far_ahead(const struct bait *t)
{
    struct token token = {t->b->bully.epoch + BULLY_EPOCH_AHEAD_MAX + 1, t->s->node[0].addr, 1};
    send(t, &(struct frame){.kind = FRAME_PING, .ping = {.reply = true, .token = token}});
}

static void
a_member_forgotten_long_ago(const struct bait *t)
{
    int to = roster_find(&t->b->roster, &t->b->link[t->link].addr);
    if (to < 0 || t->b->roster.slot[to].version == 0)
        return;
    send(t, &(struct frame){.kind   = FRAME_FORGET,
                            .forget = {.addr    = t->b->link[t->link].addr,
                                       .version = t->b->roster.slot[to].version - 1,
                                       .nonce   = t->dice | 1}});
}

static void (*const bad_frame[])(const struct bait *t) = {
    damaged_bytes,
    another_chain,
    a_stamp_beyond_all,
    a_topic_that_is_none,
    another_hello,
    a_gap_that_ends_before_it_begins,
    a_gap_in_what_is_held,
    what_is_known,
    a_token_that_is_stale,
    a_token_from_far_ahead,
    a_member_forgotten_long_ago,
};
enum { BAD_FRAMES = sizeof bad_frame / sizeof *bad_frame };

/* ---- once ---- */

static bool
find_bait(struct bait *t)
{
    struct pool         *streams = &((struct journal *)(uintptr_t)&t->b->journal)->streams;
    const struct stream *js;
    for (uint32_t at = 0; (js = pool_next(streams, &at));)
        if (js->held > 0 && !js->live && !js->frozen)
            t->js = js;
    for (uint32_t k = 0; k < LINKS_MAX; k++)
        if (t->b->link[k].state == LINK_UP) {
            t->link = k;
            return t->js;
        }
    return false;
}

bool
sim_bad_frame(struct sim *s, uint32_t i, uint64_t dice)
{
    struct bait t = {.s = s, .node = i, .b = s->node[i].broker, .dice = dice / BAD_FRAMES};
    if (!t.b || s->node[i].paused || !find_bait(&t))
        return false;
    uint64_t before = digest(s, i);
    sim_tell(s, "%s hears a bad frame, number %u", s->node[i].host, (unsigned)(dice % BAD_FRAMES));
    bad_frame[dice % BAD_FRAMES](&t);
    sim_must(s, digest(s, i) == before, "S19: a refused frame changed something", i);
    node_turn(s, i);
    return true;
}
