/* oracle_calm.c - what is promised once faults have stopped, within its bounds: L1, L2, L4 - L7. */
#include "base/check.h"
#include "core/broker_part.h"
#include "core/vector.h"
#include "sim/oracle.h"
#include "sim/oracle_part.h"

enum {
    /* A dead link is found, dialled anew, and a rival waited for. */
    LINKED_MS = LINK_SILENT_MS + 2000 + LINK_RIVAL_MS + 2000,
    /* Two rounds of HEADS, and the transfer. */
    LEVEL_MS   = 2 * HEADS_IDLE_MS + 2000,
    STALL_MS   = 60000, /* longer than any stall */
    ROUNDS_MAX = 3,
    /* What died with a disk is waited for, and gaps for who may be in reach. */
    LOST_MS = CAUSAL_WAIT_MS + OFFER_WAIT_MS,
    /* Able again, canvassed, deferred to one in vain, outbid. */
    LED_MS = BULLY_START_MS + 2 * BULLY_CANVASS_MS + 2 * BULLY_DEFER_MS + BULLY_OUTBID_MS + 2000,

    QUIET_MS    = 20000,
    CHANGES_MAX = 2, /* of the coordinator, by one restart */
};

/* ---- L1, L4 ---- */

static bool
is_linked_with(const struct sim *s, uint32_t i, uint32_t k)
{
    for (uint32_t n = 0; n < s->conn_count; n++) {
        const struct sim_conn *c = &s->conn[n];
        bool is = (c->node[0] == i && c->node[1] == k) || (c->node[0] == k && c->node[1] == i);
        if (is && !c->dead && c->open[0] && c->open[1] &&
            s->node[c->node[0]].broker->link[c->link[0]].state == LINK_UP &&
            s->node[c->node[1]].broker->link[c->link[1]].state == LINK_UP)
            return true;
    }
    return false;
}

static bool
knows(const struct sim *s, uint32_t i, uint32_t k)
{
    return roster_find(&s->node[i].broker->roster, &s->node[k].addr) >= 0;
}

/* All pairs of which one is a member to the other: who was forgotten everywhere is not. */
static bool
are_linked(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        for (uint32_t k = i + 1; k < s->config.brokers; k++)
            if (s->node[i].broker && s->node[k].broker && (knows(s, i, k) || knows(s, k, i)) &&
                !is_linked_with(s, i, k))
                return false;
    return true;
}

static bool
disks_work(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        if (s->node[i].broker && !broker_disk_works(s->node[i].broker))
            return false;
    return true;
}

/* The highest of all. */
static bool
is_led_by_one(struct sim *s)
{
    uint32_t leaders = 0, highest = 0;
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        if (!s->node[i].broker)
            continue;
        highest = i;
        leaders += bully_is_leading(broker_bully(s->node[i].broker));
    }
    return leaders == 1 && sim_has_coordinator(s) &&
           bully_is_leading(broker_bully(s->node[highest].broker));
}

static uint64_t
lost_ms(const struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        if (s->node[i].is_replaced)
            return LOST_MS;
    return 0;
}

/* How far all are together. */
static uint64_t
progress(const struct sim *s)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < s->stream_count; k++)
        for (uint32_t i = 0; i < s->config.brokers; i++)
            sum += s->stream[k].at[i].head;
    return sum;
}

static bool
somebody_retains(const struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        if (disk_retains(&s->node[i].retention))
            return true;
    return false;
}

/* Where each has lost something else, the gaps of one are filled from the others in as many
 * rounds as there are gaps behind one another: each is to be over in time. */
static bool
becomes_level(struct sim *s)
{
    uint64_t before, rounds = somebody_retains(s) ? ROUNDS_MAX : 1;
    do {
        before = progress(s);
        if (sim_until(s, sim_is_level, LEVEL_MS + lost_ms(s)))
            return true;
    } while (--rounds > 0 && progress(s) > before);
    return false;
}

/* For who reads the story: who is not linked, and what each holds of the streams that differ. */
static void
tell_differences(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        for (uint32_t k = 0; k < s->config.brokers; k++)
            if (i != k && s->node[i].broker && s->node[k].broker && !is_linked_with(s, i, k))
                sim_tell(s, "%s %s %s, and is not linked", s->node[i].host,
                         knows(s, i, k) ? "knows" : "does not know", s->node[k].host);
    for (uint32_t k = 0; k < s->stream_count; k++) {
        const struct sim_stream *st   = &s->stream[k];
        uint64_t                 most = 0, least = UINT64_MAX;
        for (uint32_t i = 0; i < s->config.brokers; i++) {
            uint64_t head = s->node[i].broker ? st->at[i].head : most;
            most          = head > most ? head : most;
            least         = head < least ? head : least;
        }
        for (uint32_t i = 0; least < most && i < s->config.brokers; i++)
            sim_tell(s, "%s has %016llx up to %llu", s->node[i].host, (unsigned long long)st->id,
                     (unsigned long long)st->at[i].head);
    }
}

/* What was held up on its way has arrived. */
static bool
nothing_stalls(struct sim *s)
{
    for (uint32_t n = 0; n < s->conn_count; n++)
        if (s->conn[n].stall_ms[0] > s->now_ms || s->conn[n].stall_ms[1] > s->now_ms)
            return false;
    return true;
}

void
oracle_settles(struct sim *s)
{
    bool flows = sim_until(s, nothing_stalls, STALL_MS);
    CHECK(flows);
    sim_must(s, sim_until(s, disks_work, PROBE_MAX_MS + 1000), "L3: a disk works, unnoticed", 0);
    sim_must(s, sim_until(s, are_linked, LINKED_MS), "L1: who can talk does not", 0);
    bool is_level = becomes_level(s);
    if (!is_level)
        tell_differences(s);
    sim_must(s, is_level, "L1: the vectors differ", 0);
    sim_must(s, sim_until(s, is_led_by_one, LED_MS), "L4: there is not one coordinator", 0);
}

/* ---- L7 ---- */

static void
nothing_waits_at(struct sim *s, uint32_t i)
{
    const struct broker *b = s->node[i].broker;
    sim_must(s, b->gossip.held_back.used == 0 && b->gossip.offers.used == 0,
             "L7: something is held back", i);
    sim_must(s, s->damaged || list_is_empty(&b->gossip.lacking), "L7: something is lacked", i);
    sim_must(s, b->commits.count == 0 && b->own.queue.count == 0, "L7: something is not stored", i);
    sim_must(s, b->awaits.pool.used == 0, "L7: somebody waits for copies, or a cursor", i);
    sim_must(s,
             list_is_empty(&b->sessions.ready) && list_is_empty(&b->sessions.wants_disk) &&
                 list_is_empty(&b->sessions.failed) && b->sessions.reads == 0,
             "L7: a subscriber waits", i);
}

void
oracle_nothing_waits(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        if (s->node[i].broker)
            nothing_waits_at(s, i);
    for (uint32_t k = 0; k < s->publish_count; k++) {
        const struct sim_publish *p = &s->publish[k];
        sim_must(s, p->outcome != SIM_PENDING || p->life != s->node[p->node].life,
                 "L7: a publish is never answered", p->node);
    }
}

/* ---- L5 ---- */

/* What an idle link may carry in QUIET_MS, to and fro, and besides a HEADS each way for each
 * step of retention. */
static const uint32_t idle_frames[FRAME_KIND_END] = {
    [FRAME_PING]    = 4 * (QUIET_MS / LINK_PING_MS + 1),
    [FRAME_MEMBERS] = 2 * (QUIET_MS / 1000 + QUIET_MS / 5000 + 2),
    [FRAME_HEADS]   = 2 * (QUIET_MS / HEADS_IDLE_MS + 2),
};

/* What is damaged is asked of others, again and again. */
static bool
is_of_repair(enum frame_kind kind)
{
    return kind == FRAME_PULL || kind == FRAME_PUSH || kind == FRAME_GAP || kind == FRAME_CREDIT ||
           kind == FRAME_LATEST;
}

static uint64_t
moves(const struct sim *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->config.brokers; i++)
        n += s->node[i].broker ? s->node[i].broker->journal.changes : 0;
    return n;
}

void
oracle_quiet(struct sim *s)
{
    uint64_t before[FRAME_KIND_END], links = 0, moved = moves(s);
    uint32_t up = 0;
    for (uint32_t i = 0; i < s->config.brokers; i++)
        up += s->node[i].broker != NULL;
    links = up * (up - 1) / 2;
    for (int kind = 0; kind < FRAME_KIND_END; kind++)
        before[kind] = s->frames[kind];
    uint64_t elected = s->frames[FRAME_COORDINATOR] + s->frames[FRAME_ELECTION];
    sim_tell(s, "calm");
    sim_run(s, QUIET_MS);
    sim_must(
        s, is_led_by_one(s) && s->frames[FRAME_COORDINATOR] + s->frames[FRAME_ELECTION] == elected,
        "L4: the coordinator is not stable", 0);
    sim_must(s, sim_is_level(s), "L1: level no more", 0);
    moved = moves(s) - moved;
    for (int kind = 0; kind < FRAME_KIND_END; kind++) {
        uint64_t most = links * (idle_frames[kind] + (kind == FRAME_HEADS ? 2 * moved : 0));
        uint64_t sent = s->frames[kind] - before[kind];
        if (s->damaged && is_of_repair((enum frame_kind)kind))
            continue;
        if (sent > most)
            sim_tell(s, "%llu %s, and %llu is most", (unsigned long long)sent,
                     wire_name((unsigned)kind), (unsigned long long)most);
        sim_must_where(s, sent > 0, sent <= most, "L5: an idle cluster talks on", 0);
    }
}

/* ---- L4: one restart ---- */

void
oracle_restart(struct sim *s, uint32_t i)
{
    sim_crash(s, i);
    for (uint32_t k = 0; k < s->config.brokers; k++)
        s->node[k].seen.changes_of_coordinator = 0;
    sim_run(s, 2000);
    sim_start(s, i);
    oracle_settles(s);
    sim_run(s, LED_MS);
    for (uint32_t k = 0; k < s->config.brokers; k++)
        sim_must(s, s->node[k].seen.changes_of_coordinator <= CHANGES_MAX,
                 "L4: one restart changed the coordinator more than twice", k);
    sim_must(s, is_led_by_one(s), "L4: a restart left it without one coordinator", i);
}

/* ---- L6 ---- */

static bool
has_what_others_have(struct sim *s)
{
    return sim_is_level(s) && are_linked(s);
}

void
oracle_rebuild(struct sim *s, uint32_t i)
{
    if (s->config.brokers == 1)
        return;
    sim_crash(s, i);
    sim_replace_disk(s, i, store_mem_new());
    sim_start(s, i);
    sim_must(s, sim_until(s, has_what_others_have, LINKED_MS + LEVEL_MS + LOST_MS),
             "L6: an emptied broker is not rebuilt", i);
    sim_must(s, sim_until(s, is_led_by_one, LED_MS), "L4: there is not one coordinator", i);
}
