/* The election as stories, in virtual time: real rosters and elections, wired by a small
 * world of links that can be cut, processes that die, pause and come back, and disks. */
#include "core/bully.h"

#include "base/blob.h"
#include "base/mem.h"
#include "core/batch.h"
#include "tests/unit.h"

#include <string.h>

enum { NODES = 5, STEP_MS = 50, QUEUE = 4096, CLAIMS = 64, LINK_DEAD_MS = 10000 };
enum { FRAME_CLOSED = FRAME_KIND_END + 1 };

struct node {
    bool                alive, paused, disk_works, disk_hangs;
    uint64_t            nonce;
    struct roster       roster;
    struct bully        bully;
    uint32_t            seeds; /* nodes in its peers file */
    struct mono         ping_due, last[NODES], dial_ends[NODES];
    bool                link[NODES];
    struct token        hangs; /* a claim that the disk has not answered */
    struct token        highest;
    struct token        disk_token;
    uint64_t            disk_epoch;
    struct member_list *disk_members;
};
struct parcel {
    int                  kind, from, to;
    struct token         token;
    struct frame_members members;
    struct roster_frame  space;
};
struct world {
    struct mono    now;
    struct node    node[NODES];
    bool           cut[NODES][NODES];
    struct parcel *queue;
    uint32_t       queued;
    struct token   claim[CLAIMS]; /* every token ever claimed */
    uint32_t       claims, changes;
    uint32_t       election_frames, all_frames;
    uint64_t       nonce;
};

static struct world *w;

static struct addr
addr_of(int i)
{
    return (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(3000 + i)};
}

static int
node_of(const struct addr *a)
{
    return a->port - 3000;
}

/* ---- the wires ---- */

static struct parcel *
post(int kind, int from, int to)
{
    struct parcel *p = &w->queue[w->queued];
    w->all_frames++;
    w->election_frames += kind == FRAME_ELECTION || kind == FRAME_OK || kind == FRAME_COORDINATOR;
    p->kind  = kind;
    p->from  = from;
    p->to    = to;
    p->token = bully_token(&w->node[from].bully);
    if (!w->cut[from][to]) {
        w->queued++;
        assert_true(w->queued < QUEUE);
    }
    return p;
}

static void
post_members(int from, int to, uint32_t rows, bool all)
{
    struct parcel *p = post(FRAME_MEMBERS, from, to);
    p->members       = roster_frame(&w->node[from].roster, w->now, rows, all, &p->space);
}

static void
post_to(int kind, int from, uint32_t slots)
{
    for (uint8_t s = 0; s < MEMBERS_MAX; s++)
        if (slots & (1u << s)) {
            const struct roster_member *m = roster_member(&w->node[from].roster, s);
            assert_non_null(m);
            assert_true(w->node[from].link[node_of(&m->addr)]);
            post(kind, from, node_of(&m->addr));
        }
}

static void perform(int i, struct bully_do out);

/* A claim that is on the disk is claimed: never the same twice (S16). */
static void
persisted(int i, struct token t, enum err err)
{
    struct node       *n = &w->node[i];
    struct roster_view view;
    bool               led = bully_is_leading(&n->bully);
    roster_view(&n->roster, w->now, &view);
    struct bully_do out = bully_persisted(&n->bully, w->now, &view, &t, err);
    if (!led && bully_is_leading(&n->bully)) {
        for (uint32_t c = 0; c < w->claims; c++)
            assert_true(token_cmp(&w->claim[c], &t) != 0);
        assert_true(w->claims < CLAIMS);
        if (w->claims == 0 || addr_cmp(&w->claim[w->claims - 1].addr, &t.addr) != 0)
            w->changes++;
        w->claim[w->claims++] = t;
    }
    perform(i, out);
}

static void
write_disk(struct node *n, struct token t, uint64_t epoch)
{
    assert_true(epoch >= n->disk_epoch); /* S3 */
    assert_true(token_cmp(&t, &n->disk_token) >= 0);
    n->disk_token = t;
    n->disk_epoch = epoch;
}

static void
perform(int i, struct bully_do out)
{
    struct node *n = &w->node[i];
    struct token t = bully_token(&n->bully);
    assert_true(token_cmp(&t, &n->highest) >= 0); /* S17 */
    n->highest = t;
    post_to(FRAME_ELECTION, i, out.election);
    post_to(FRAME_OK, i, out.ok);
    post_to(FRAME_COORDINATOR, i, out.coordinator);
    if (!out.persist)
        return;
    if (n->disk_hangs) {
        n->hangs = out.token;
        return;
    }
    if (n->disk_works)
        write_disk(n, out.token, out.epoch);
    persisted(i, out.token, n->disk_works ? ERR_OK : ERR_FULL);
}

static void
close_link(int i, int j)
{
    struct node *n    = &w->node[i];
    struct addr  a    = addr_of(j);
    int          slot = roster_find(&n->roster, &a);
    if (n->link[j] && slot > 0)
        roster_link_down(&n->roster, w->now, (uint8_t)slot);
    n->link[j] = false;
}

static bool
greet(int i, int j)
{
    struct node           *n    = &w->node[i];
    struct roster_instance who  = {addr_of(j), STR("broker"), w->node[j].nonce};
    uint8_t                slot = 0;
    close_link(i, j);
    if (roster_hello(&n->roster, w->now, &who, &slot) != ERR_OK)
        return false;
    roster_link_up(&n->roster, w->now, slot);
    n->link[j] = true;
    n->last[j] = w->now;
    return true;
}

static void
dial(int i, int j)
{
    struct node *n = &w->node[i], *peer = &w->node[j];
    struct addr  a = addr_of(j);
    if (w->cut[i][j] || peer->paused) {
        n->dial_ends[j] = mono_after(w->now, 5000); /* nothing answers */
        return;
    }
    if (!peer->alive || !greet(j, i) || !greet(i, j)) {
        roster_dial_failed(&n->roster, w->now, &a);
        return;
    }
    post_members(i, j, ROSTER_ALL, true);
    post_members(j, i, ROSTER_ALL, true);
}

/* ---- a broker ---- */

static void
on_members(int i, const struct parcel *p)
{
    struct node       *n    = &w->node[i];
    struct roster_news news = roster_merge_frame(&n->roster, w->now, &p->members);
    for (int j = 0; j < NODES; j++) {
        struct addr a    = addr_of(j);
        int         slot = roster_find(&n->roster, &a);
        if (n->link[j] && slot < 0)
            n->link[j] = false; /* forgotten */
        if (!n->link[j] || j == p->from)
            continue;
        uint32_t rows = 0;
        for (uint8_t s = 1; s < MEMBERS_MAX; s++)
            if ((news.rows & (1u << s)) &&
                roster_should_relay(&n->roster, w->now, s, (uint8_t)slot))
                rows |= 1u << s;
        if (rows || news.members)
            post_members(i, j, rows, news.members);
    }
}

static void
receive(const struct parcel *p)
{
    struct node *n    = &w->node[p->to];
    struct addr  a    = addr_of(p->from);
    int          slot = roster_find(&n->roster, &a);
    if (!n->alive || !n->link[p->from] || slot < 0)
        return;
    if (p->kind == FRAME_CLOSED) {
        close_link(p->to, p->from);
        return;
    }
    n->last[p->from] = w->now;
    roster_heard(&n->roster, w->now, (uint8_t)slot);
    if (p->kind == FRAME_AWAY)
        roster_away(&n->roster, (uint8_t)slot);
    if (p->kind == FRAME_MEMBERS)
        on_members(p->to, p);
    struct roster_view   view;
    struct bully_message m = {(enum frame_kind)p->kind, (uint8_t)slot, p->token};
    roster_view(&n->roster, w->now, &view);
    perform(p->to, bully_receive(&n->bully, w->now, &view, &m));
}

static void
deliver(void)
{
    struct parcel *p = mem_new(sizeof *p);
    for (uint32_t i = 0, rounds = 0; i < w->queued; rounds++) {
        assert_true(rounds < 20000); /* else they talk for ever */
        if (w->node[w->queue[i].to].paused) {
            i++;
            continue;
        }
        *p                = w->queue[i];
        p->members.member = p->space.member;
        p->members.row    = p->space.row;
        w->queued--;
        memmove(&w->queue[i], &w->queue[i + 1], (w->queued - i) * sizeof *p);
        receive(p);
    }
    mem_free(p);
}

static void
step(int i)
{
    struct node       *n = &w->node[i];
    struct roster_view view;
    uint8_t            slot = 0;
    uint64_t           epoch;
    struct token       token;
    if (roster_stalled(&n->roster, w->now))
        bully_stalled(&n->bully, w->now);
    roster_disk(&n->roster, n->disk_works);
    bool row = roster_tick(&n->roster, w->now), ping = mono_reached(w->now, n->ping_due);
    if (ping)
        n->ping_due = mono_after(w->now, 1000);
    for (int j = 0; j < NODES; j++) {
        struct addr a = addr_of(j);
        if (n->link[j] && mono_since(w->now, n->last[j]) > LINK_DEAD_MS) {
            close_link(i, j);
            post(FRAME_CLOSED, i, j);
        }
        if (n->link[j] && row)
            post_members(i, j, 1u << ROSTER_SELF, false);
        if (n->link[j] && ping)
            post(FRAME_PING, i, j);
        if (n->dial_ends[j].ms && mono_reached(w->now, n->dial_ends[j])) {
            n->dial_ends[j].ms = 0;
            roster_dial_failed(&n->roster, w->now, &a);
        }
    }
    while (roster_dial_next(&n->roster, w->now, &slot))
        dial(i, node_of(&roster_member(&n->roster, slot)->addr));
    roster_view(&n->roster, w->now, &view);
    perform(i, bully_tick(&n->bully, w->now, &view));
    if (n->disk_works && !n->disk_hangs && bully_save(&n->bully, &token, &epoch))
        write_disk(n, token, epoch);
    if (n->disk_works && roster_is_dirty(&n->roster)) {
        blob_drop(n->disk_members);
        n->disk_members = roster_list(&n->roster);
    }
}

static void
run(uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t += STEP_MS) {
        w->now.ms += STEP_MS;
        for (int i = 0; i < NODES; i++)
            if (w->node[i].alive && !w->node[i].paused)
                step(i);
        deliver();
    }
}

static void
start(int i)
{
    struct node     *n         = &w->node[i];
    struct recovered recovered = {.token = n->disk_token, .epoch = n->disk_epoch};
    if (n->disk_members) {
        recovered.member       = n->disk_members->at;
        recovered.member_count = n->disk_members->count;
    }
    struct roster_config c = {addr_of(i), STR("broker"), ++w->nonce, w->nonce * 77, &recovered};
    n->alive               = true;
    n->nonce               = c.nonce;
    n->ping_due            = w->now;
    n->highest             = n->disk_token;
    memset(n->dial_ends, 0, sizeof n->dial_ends);
    roster_init(&n->roster, &c, w->now);
    bully_init(&n->bully, &c.self, c.nonce, &recovered, w->now);
    for (int j = 0; j < NODES; j++) {
        struct addr a = addr_of(j);
        enum err    err =
            n->seeds & (1u << j) ? roster_seed(&n->roster, w->now, &a, STR("broker")) : ERR_OK;
        assert_true(err == ERR_OK || err == ERR_STALE);
    }
}

static void
stop(int i)
{
    w->node[i].alive = false;
    for (int j = 0; j < NODES; j++) {
        if (w->node[i].link[j])
            post(FRAME_CLOSED, i, j);
        w->node[i].link[j] = false;
    }
}

static void
cut(uint32_t side, bool is_cut)
{
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++)
            if (((side >> i) & 1) != ((side >> j) & 1))
                w->cut[i][j] = is_cut;
}

static void
cut_pair(int i, int j)
{
    w->cut[i][j] = w->cut[j][i] = true;
}

/* `count` brokers with one peers file. */
static void
start_all(int count)
{
    for (int i = 0; i < count; i++) {
        w->node[i].seeds      = (1u << count) - 1;
        w->node[i].disk_works = true;
        start(i);
    }
}

/* ---- what must hold ---- */

static void
assert_leader(uint32_t nodes, int leader)
{
    struct token t = bully_token(&w->node[leader].bully);
    assert_int_equal(node_of(&t.addr), leader);
    assert_true(t.nonce == w->node[leader].nonce);
    for (int i = 0; i < NODES; i++) {
        if (!(nodes & (1u << i)))
            continue;
        struct token own = bully_token(&w->node[i].bully);
        assert_true(bully_has_coordinator(&w->node[i].bully));
        assert_int_equal(token_cmp(&own, &t), 0);
        assert_int_equal(bully_is_leading(&w->node[i].bully), i == leader);
    }
}

/* Exactly one coordinator, and nothing but rows and pings from here on (L4, L5). */
static void
assert_stable(uint32_t nodes, int leader)
{
    uint32_t links = 0;
    assert_leader(nodes, leader);
    w->election_frames = w->all_frames = 0;
    uint32_t claims                    = w->claims;
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++)
            links += w->node[i].alive && w->node[i].link[j];
    run(20000);
    assert_leader(nodes, leader);
    assert_int_equal(w->election_frames, 0);
    assert_int_equal(w->claims, claims);
    /* Where all hear each other: a row and a ping a second over each link. */
    if (links == (uint32_t)__builtin_popcount(nodes) * ((uint32_t)__builtin_popcount(nodes) - 1))
        assert_true(w->all_frames <= links * 2 * 21);
}

static int
set_up(void **state)
{
    w        = mem_new(sizeof *w);
    w->queue = mem_new(QUEUE * sizeof *w->queue);
    w->now   = (struct mono){1000};
    *state   = w;
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++)
        blob_drop(w->node[i].disk_members);
    mem_free(w->queue);
    mem_free(w);
    return 0;
}

/* ---- stories ---- */

/* Without it one broker alone is of no use, or leads before it looked around. */
static void
one_broker_leads_alone_after_three_seconds(void **state)
{
    (void)state;
    start_all(1);
    run(2900);
    assert_false(bully_has_coordinator(&w->node[0].bully));
    run(300);
    assert_stable(1, 0);
    assert_int_equal(w->claims, 1);
}

/* Without it a fresh cluster quarrels: each start must end in one claim. */
static void
three_start_and_the_highest_claims_once(void **state)
{
    (void)state;
    start_all(3);
    run(6000);
    assert_stable(7, 2);
    assert_int_equal(w->claims, 1);
}

/* Without it a dead coordinator is never replaced. */
static void
the_leader_dies_and_the_next_leads(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    stop(2);
    run(7000);
    assert_stable(3, 1);
    assert_int_equal(w->claims, 2);
}

/* Without it any restart upsets the cluster. */
static void
a_lower_broker_restarts_and_changes_nothing(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    for (int i = 0; i < 2; i++) {
        stop(i);
        run(200);
        start(i);
        run(2000);
        assert_leader(7, 2);
        stop(i);
        run(20000);
        start(i);
        run(2000);
        assert_stable(7, 2);
    }
    assert_int_equal(w->claims, 1);
}

/* Without it the highest never leads again, or the change takes more than two steps. */
static void
the_highest_restarts_and_leads_again(void **state)
{
    (void)state;
    static const uint64_t down_ms[] = {100, 2000, 4000, 30000};
    start_all(3);
    run(8000);
    for (size_t i = 0; i < sizeof down_ms / sizeof down_ms[0]; i++) {
        uint32_t before = w->changes;
        stop(2);
        run(down_ms[i]);
        start(2);
        run(12000);
        assert_stable(7, 2);
        assert_in_range(w->changes - before, 0, 2);
    }
}

/* Without it a planned stop costs as long as a crash. */
static void
away_is_not_waited_for(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    post(FRAME_AWAY, 2, 0);
    post(FRAME_AWAY, 2, 1);
    stop(2);
    run(1500);
    assert_leader(3, 1);
    assert_stable(3, 1);
}

/* Without it a side of a cut stands without a coordinator, or a healed one has two. */
static void
cut_in_halves_and_heal(void **state)
{
    (void)state;
    start_all(4);
    run(8000);
    cut(3, true);
    run(15000);
    assert_leader(3, 1);
    assert_leader(12, 3);
    cut(3, false);
    run(8000);
    assert_stable(15, 3);
    assert_int_equal(w->changes, 3);
}

/* Without it a broken cable between two makes a third change its coordinator. */
static void
a_partial_cut_changes_nothing(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    cut_pair(1, 2);
    run(30000);
    assert_stable(7, 2);
    cut(2, false);
    run(10000);
    assert_stable(7, 2);
    assert_int_equal(w->claims, 1);
}

/* Without it tokens do not pass through brokers in between. */
static void
a_chain_of_four_has_one_coordinator(void **state)
{
    (void)state;
    cut_pair(0, 2);
    cut_pair(0, 3);
    cut_pair(1, 3);
    start_all(4);
    run(15000);
    assert_stable(15, 3);
    stop(3);
    run(15000);
    assert_stable(7, 2);
}

/* Without it a broker that cannot write leads. */
static void
a_broken_disk_does_not_lead(void **state)
{
    (void)state;
    start_all(3);
    w->node[2].disk_works = false;
    run(8000);
    assert_stable(7, 1);
    w->node[2].disk_works = true;
    run(3000);
    assert_stable(7, 2);
}

/* Without it all wait for ever for one that looks well and does not claim. */
static void
who_is_waited_for_in_vain_is_passed_over(void **state)
{
    (void)state;
    start_all(3);
    w->node[2].disk_hangs = true;
    run(12000);
    assert_leader(3, 1);
    w->node[2].disk_hangs = false; /* its disk answers at last */
    write_disk(&w->node[2], w->node[2].hangs, w->node[2].hangs.epoch);
    persisted(2, w->node[2].hangs, ERR_OK);
    run(6000);
    assert_stable(7, 2);
    assert_true(w->node[0].bully.passed_over[1] == 0);
}

/* Without it a paused coordinator comes back and there are two. */
static void
a_paused_coordinator_comes_back(void **state)
{
    (void)state;
    static const uint64_t pause_ms[] = {1500, 5000, 8000, 20000};
    start_all(3);
    run(8000);
    for (size_t i = 0; i < sizeof pause_ms / sizeof pause_ms[0]; i++) {
        uint32_t before   = w->changes;
        w->node[2].paused = true;
        run(pause_ms[i]);
        if (pause_ms[i] > 8000)
            assert_leader(3, 1);
        w->node[2].paused = false;
        run(8000);
        assert_stable(7, 2);
        assert_in_range(w->changes - before, 0, 2);
    }
}

/* Without it a laptop that was closed elects itself when it opens. */
static void
a_paused_follower_comes_back_and_changes_nothing(void **state)
{
    (void)state;
    static const uint64_t pause_ms[] = {1500, 5000, 20000, 60000};
    start_all(3);
    run(8000);
    for (size_t i = 0; i < sizeof pause_ms / sizeof pause_ms[0]; i++) {
        w->node[1].paused = true;
        run(pause_ms[i]);
        w->node[1].paused = false;
        for (int step = 0; step < 60; step++) {
            run(STEP_MS); /* it judges nobody: what it believed before stands */
            assert_true(bully_has_coordinator(&w->node[1].bully));
        }
        run(2000);
        assert_stable(7, 2);
    }
    assert_int_equal(w->claims, 1);
}

/* Without it two claims of one epoch leave two coordinators. */
static void
claims_of_one_epoch_collide(void **state)
{
    (void)state;
    cut(1, true);
    start_all(2);
    run(10000);
    assert_leader(1, 0);
    assert_leader(2, 1);
    assert_int_equal(w->claim[0].epoch, w->claim[1].epoch);
    cut(1, false);
    run(8000);
    assert_stable(3, 1);
    assert_int_equal(w->claims, 2); /* the higher one's token is greater as it stands */
}

/* Without it a typing error in the peers file stops every election. */
static void
a_seed_that_is_never_up(void **state)
{
    (void)state;
    cut(8, true); /* packets to it vanish: a dial takes long */
    start_all(4);
    stop(3);
    run(8000);
    assert_stable(7, 2);
    assert_int_equal(roster_count(&w->node[0].roster), 4);
    assert_int_equal(w->claims, 1);
}

/* Without it a forgotten member counts on, or comes back by gossip. */
static void
forget_and_rejoin(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    struct addr gone = addr_of(2);
    stop(2);
    run(8000);
    assert_int_equal(roster_forget(&w->node[0].roster, &gone), ERR_OK);
    post_members(0, 1, 0, true);
    run(1000);
    for (int i = 0; i < 2; i++)
        assert_int_equal(roster_count(&w->node[i].roster), 2);
    stop(1);
    start(1); /* its peers file still names the forgotten one */
    run(8000);
    assert_int_equal(roster_count(&w->node[1].roster), 2);
    assert_stable(3, 1);
    start(2);
    run(10000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(roster_count(&w->node[i].roster), 3);
    assert_stable(7, 2);
}

/* Without it forgetting a broker that still runs has no effect. */
static void
a_forgotten_instance_stays_out(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    struct addr gone = addr_of(2);
    assert_int_equal(roster_forget(&w->node[0].roster, &gone), ERR_OK);
    w->node[0].link[2] = false;
    post_members(0, 1, 0, true);
    run(15000);
    for (int i = 0; i < 2; i++)
        assert_int_equal(roster_count(&w->node[i].roster), 2);
    assert_leader(3, 1);
    stop(2);
    start(2);
    run(10000);
    assert_stable(7, 2);
}

/* Without it each broker must know all others beforehand. */
static void
a_broker_joins_through_one_member(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    w->node[4].disk_works = true;
    w->node[4].seeds      = 1;
    start(4);
    run(8000);
    assert_stable(23, 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(roster_count(&w->node[i].roster), 4);
    assert_int_equal(w->claims, 2);
}

/* Without it a broker that took up a greater token whose holder then died can follow
 * nobody: it may not go back (S17). */
static void
a_coordinator_outbids_the_token_of_a_lost_one(void **state)
{
    (void)state;
    start_all(3);
    run(8000);
    cut(4, true);
    run(15000);
    assert_leader(3, 1);
    w->node[0].disk_works = false; /* not able: it cannot help itself */
    stop(1);
    run(15000);
    assert_false(bully_has_coordinator(&w->node[0].bully));
    cut(4, false);
    run(15000);
    assert_stable(5, 2);
}

int
main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest test[] = {
        STORY(one_broker_leads_alone_after_three_seconds),
        STORY(three_start_and_the_highest_claims_once),
        STORY(the_leader_dies_and_the_next_leads),
        STORY(a_lower_broker_restarts_and_changes_nothing),
        STORY(the_highest_restarts_and_leads_again),
        STORY(away_is_not_waited_for),
        STORY(cut_in_halves_and_heal),
        STORY(a_partial_cut_changes_nothing),
        STORY(a_chain_of_four_has_one_coordinator),
        STORY(a_broken_disk_does_not_lead),
        STORY(who_is_waited_for_in_vain_is_passed_over),
        STORY(a_paused_coordinator_comes_back),
        STORY(a_paused_follower_comes_back_and_changes_nothing),
        STORY(claims_of_one_epoch_collide),
        STORY(a_seed_that_is_never_up),
        STORY(forget_and_rejoin),
        STORY(a_forgotten_instance_stays_out),
        STORY(a_broker_joins_through_one_member),
        STORY(a_coordinator_outbids_the_token_of_a_lost_one),
    };
    return cmocka_run_group_tests_name("bully_story", test, NULL, NULL);
}
