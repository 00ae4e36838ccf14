#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "sim/oracle_part.h"

#include <string.h>

/* SLOW_MS: whoever is that far away is not counted as one who hears all at once. */
enum { DIAL_TIMEOUT_MS = 2000, SLOW_MS = 100 };

/* Numbered by 1, 2, 3...; none is ever forgotten. */
static struct sim_conn *
find(struct sim *s, uint64_t id)
{
    return id > 0 && id <= s->conn_count ? &s->conn[id - 1] : NULL;
}

static bool
is_cut(const struct sim *s, uint32_t i, uint32_t j)
{
    return s->wire[i][j].cut || s->wire[j][i].cut;
}

static uint32_t
delay(const struct sim *s, uint32_t i, uint32_t j)
{
    uint32_t ms = s->wire[i][j].delay_ms;
    return ms > 0 ? ms : s->config.delay_ms;
}

/* Which end of the connection is this node's link? */
static int
end_of(const struct sim_conn *c, uint32_t i, uint32_t link)
{
    if (c->open[0] && c->node[0] == i && c->link[0] == link)
        return 0;
    CHECK(c->open[1] && c->node[1] == i && c->link[1] == link);
    return 1;
}

static uint32_t
free_link(const struct sim_node *n)
{
    uint32_t link = 0;
    while (link < LINKS_MAX && n->used[link])
        link++;
    return link;
}

static int
node_at(const struct sim *s, const struct addr *addr)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        if (addr_cmp(&s->node[i].addr, addr) == 0)
            return (int)i;
    return -1;
}

void
net_dial(struct sim *s, uint32_t i, const struct addr *to)
{
    int           target  = node_at(s, to);
    uint32_t      j       = target >= 0 ? (uint32_t)target : i;
    bool          is_lost = target >= 0 && is_cut(s, i, j);
    bool          is_up   = target >= 0 && s->node[j].broker && !is_lost;
    struct event *e       = event_new(s, is_up ? EVENT_OPEN : EVENT_FAIL, i,
                                is_lost ? DIAL_TIMEOUT_MS : delay(s, i, j));
    e->addr               = *to;
}

static void
open_end(struct sim *s, struct sim_conn *c, int end, uint32_t i, uint32_t link)
{
    c->node[end]               = i;
    c->link[end]               = link;
    c->open[end]               = true;
    c->life[end]               = s->node[i].life;
    s->node[i].used[link]      = true;
    s->node[i].link_conn[link] = c->id;
}

static void
fail(struct sim *s, const struct event *e)
{
    node_step(s, e->node, &(struct fact){.kind = FACT_DIAL_FAILED, .link = {.addr = e->addr}});
}

static void
open(struct sim *s, const struct event *e)
{
    int      target = node_at(s, &e->addr);
    uint32_t i      = e->node;
    if (target < 0 || !s->node[target].broker || is_cut(s, i, (uint32_t)target)) {
        fail(s, e);
        return;
    }
    uint32_t j  = (uint32_t)target;
    uint32_t li = free_link(&s->node[i]), lj = free_link(&s->node[j]);
    lj += i == j; /* one may dial itself */
    if (li >= LINKS_MAX || lj >= LINKS_MAX || s->node[j].used[lj]) {
        fail(s, e);
        return;
    }
    if (s->conn_count == s->conn_cap) {
        s->conn_cap = s->conn_cap > 0 ? s->conn_cap * 2 : 32;
        s->conn     = mem_resize(s->conn, s->conn_cap * sizeof *s->conn);
    }
    struct sim_conn *c    = &s->conn[s->conn_count++];
    bool             slow = delay(s, i, j) > SLOW_MS || delay(s, j, i) > SLOW_MS;
    *c                    = (struct sim_conn){.id = s->conn_count, .slow = slow};
    open_end(s, c, 0, i, li);
    open_end(s, c, 1, j, lj);
    reach_begin(s, c);
    node_step(s, i,
              &(struct fact){.kind = FACT_LINK_OPENED,
                             .link = {.link = li, .dialled = true, .addr = e->addr}});
    node_step(s, j, &(struct fact){.kind = FACT_LINK_OPENED, .link = {.link = lj}});
    node_turn(s, j);
}

static void
post(struct sim *s, struct sim_conn *c, int end, const struct frame *f)
{
    uint32_t ms = delay(s, c->node[end], c->node[!end]);
    uint64_t in = ms + prng_below(&s->prng, ms + 1);
    if (s->now_ms + in < c->stall_ms[end])
        in = c->stall_ms[end] - s->now_ms;
    if (s->now_ms + in < c->last_ms[end])
        in = c->last_ms[end] - s->now_ms;
    c->last_ms[end]  = s->now_ms + in;
    struct event *e  = event_new(s, EVENT_BYTES, c->node[!end], in);
    e->life          = c->life[!end];
    e->conn          = c->id;
    e->link          = c->link[!end];
    e->push          = sim_is_data(f->kind);
    enum err encoded = wire_encode(&e->bytes, f);
    CHECK(encoded == ERR_OK);
    s->frames[f->kind]++;
    if (e->push)
        c->queued[end] += e->bytes.n;
}

void
net_send(struct sim *s, uint32_t i, uint32_t link, const struct frame *f)
{
    struct sim_conn *c = find(s, s->node[i].link_conn[link]);
    CHECK(c);
    int end = end_of(c, i, link);
    oracle_send(s, i, f);
    struct sim_wire *w = &s->wire[i][c->node[!end]];
    if (c->lost[end] || !c->open[!end])
        return;
    if (f->kind == FRAME_PUSH && w->lose > 0) {
        w->lose--;
        return;
    }
    post(s, c, end, f);
    if ((f->kind == FRAME_PUSH || f->kind == FRAME_LIVE) && w->echo)
        post(s, c, end, f);
}

/* The slot is free for core only after LINK_CLOSED. */
static void
close_end(struct sim *s, struct sim_conn *c, int end)
{
    struct sim_node *n    = &s->node[c->node[end]];
    uint32_t         link = c->link[end], i = c->node[end];
    if (!c->open[end])
        return;
    reach_end(s, c);
    c->open[end]  = false;
    n->used[link] = false;
    if (n->broker)
        node_step(s, i, &(struct fact){.kind = FACT_LINK_CLOSED, .link = {.link = link}});
}

static void
tell_other_end(struct sim *s, struct sim_conn *c, int end)
{
    if (c->lost[end] || !c->open[!end])
        return;
    uint64_t in = delay(s, c->node[end], c->node[!end]);
    if (s->now_ms + in < c->last_ms[end])
        in = c->last_ms[end] - s->now_ms; /* behind what was sent */
    struct event *e = event_new(s, EVENT_CLOSE, c->node[!end], in);
    e->life         = c->life[!end];
    e->conn         = c->id;
}

void
net_close(struct sim *s, uint32_t i, uint32_t link)
{
    /* LINK_CLOSED must not come inside the step that asked: an event of its own. */
    struct sim_conn *c = find(s, s->node[i].link_conn[link]);
    CHECK(c);
    int           end = end_of(c, i, link);
    struct event *e   = event_new(s, EVENT_CLOSE, i, 0);
    e->conn           = c->id;
    tell_other_end(s, c, end);
}

static void
arrive(struct sim *s, const struct event *e)
{
    struct sim_conn *c = find(s, e->conn);
    struct frame     f;
    size_t           used;
    if (!c)
        return;
    int end = c->node[0] == e->node && c->link[0] == e->link ? 0 : 1;
    if (e->push) {
        c->queued[!end] -= e->bytes.n;
        if (c->open[!end] && s->node[c->node[!end]].broker)
            node_step(s, c->node[!end],
                      &(struct fact){.kind = FACT_SENT, .sent = {c->link[!end], c->queued[!end]}});
    }
    if (c->lost[!end] || !c->open[end])
        return;
    enum err decoded = wire_decode(buf_str(&e->bytes), &s->scratch, &f, &used);
    CHECK(decoded == ERR_OK && used == e->bytes.n);
    node_step(s, e->node, &(struct fact){.kind = FACT_FRAME, .frame = {c->link[end], &f}});
}

void
net_event(struct sim *s, const struct event *e)
{
    struct sim_conn *c;
    switch (e->kind) {
    case EVENT_OPEN:
        open(s, e);
        return;
    case EVENT_FAIL:
        fail(s, e);
        return;
    case EVENT_BYTES:
        arrive(s, e);
        return;
    case EVENT_CLOSE:
        c = find(s, e->conn);
        if (c)
            close_end(s, c, c->node[0] == e->node && c->open[0] ? 0 : 1);
        return;
    case EVENT_GOOD:
        c = find(s, e->conn);
        if (s->now_ms >= c->stall_ms[0] && s->now_ms >= c->stall_ms[1] && c->good_ms == 0)
            reach_begin(s, c);
        return;
    case EVENT_WAKE:
    case EVENT_COMMIT:
    case EVENT_TOLD:
    case EVENT_PAGE:
    case EVENT_RETAIN:
        break;
    }
    CHECK(!"not of the network");
}

void
net_drop_all(struct sim *s, uint32_t i)
{
    for (uint32_t k = 0; k < s->conn_count; k++) {
        struct sim_conn *c = &s->conn[k];
        for (int end = 0; end < 2; end++) {
            if (!c->open[end] || c->node[end] != i)
                continue;
            tell_other_end(s, c, end);
            reach_end(s, c);
            c->open[end]                  = false;
            s->node[i].used[c->link[end]] = false;
        }
    }
}

/* ---- what happens to links ---- */

static bool
is_between(const struct sim_conn *c, uint32_t i, uint32_t j)
{
    return (c->node[0] == i && c->node[1] == j) || (c->node[0] == j && c->node[1] == i);
}

static void
cut(struct sim *s, uint32_t from, uint32_t to)
{
    s->wire[from][to].cut = true;
    for (uint32_t k = 0; k < s->conn_count; k++) {
        struct sim_conn *c = &s->conn[k];
        if (!is_between(c, from, to))
            continue;
        reach_end(s, c);
        c->dead                             = true;
        c->lost[c->node[0] == from ? 0 : 1] = true;
    }
}

void
sim_cut(struct sim *s, uint32_t i, uint32_t j)
{
    cut(s, i, j);
    cut(s, j, i);
    sim_tell(s, "%s and %s are cut apart", s->node[i].host, s->node[j].host);
}

void
sim_cut_one_way(struct sim *s, uint32_t from, uint32_t to)
{
    cut(s, from, to);
    sim_tell(s, "%s does not hear %s any more", s->node[to].host, s->node[from].host);
}

void
sim_heal(struct sim *s, uint32_t i, uint32_t j)
{
    s->wire[i][j].cut = s->wire[j][i].cut = false;
    sim_tell(s, "%s and %s can talk again", s->node[i].host, s->node[j].host);
}

void
sim_heal_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        for (uint32_t j = 0; j < s->config.brokers; j++)
            s->wire[i][j].cut = false;
    sim_tell(s, "all can talk again");
}

void
sim_delay(struct sim *s, uint32_t from, uint32_t to, uint32_t ms)
{
    s->wire[from][to].delay_ms = ms;
    for (uint32_t k = 0; k < s->conn_count; k++) {
        struct sim_conn *c = &s->conn[k];
        if (!is_between(c, from, to))
            continue;
        reach_end(s, c);
        c->slow = delay(s, from, to) > SLOW_MS || delay(s, to, from) > SLOW_MS;
        reach_begin(s, c);
    }
    sim_tell(s, "from %s to %s it takes %u ms", s->node[from].host, s->node[to].host, ms);
}

/* What is under way already still arrives. */
void
sim_stall(struct sim *s, uint32_t from, uint32_t to, uint32_t ms)
{
    sim_tell(s, "nothing comes from %s to %s for %u ms", s->node[from].host, s->node[to].host, ms);
    for (uint32_t k = 0; k < s->conn_count; k++) {
        struct sim_conn *c   = &s->conn[k];
        int              end = c->node[0] == from ? 0 : 1;
        if (!is_between(c, from, to) || c->dead || !c->open[0] || !c->open[1])
            continue;
        reach_end(s, c);
        c->stall_ms[end] = s->now_ms + ms;
        struct event *e  = event_new(s, EVENT_GOOD, from, ms);
        e->conn          = c->id;
    }
}

void
sim_reset(struct sim *s, uint32_t i, uint32_t j)
{
    sim_tell(s, "what connects %s and %s breaks", s->node[i].host, s->node[j].host);
    for (uint32_t k = 0; k < s->conn_count; k++) {
        struct sim_conn *c = &s->conn[k];
        if (!is_between(c, i, j) || c->dead)
            continue;
        reach_end(s, c);
        c->dead = c->lost[0] = c->lost[1] = true;
        for (int end = 0; end < 2; end++)
            if (c->open[end])
                event_new(s, EVENT_CLOSE, c->node[end], 0)->conn = c->id;
    }
}

void
sim_echo_pushes(struct sim *s, uint32_t from, uint32_t to)
{
    s->wire[from][to].echo = true;
}

void
sim_lose_pushes(struct sim *s, uint32_t from, uint32_t to, uint32_t count)
{
    s->wire[from][to].lose = count;
    sim_tell(s, "%u pushes of %s to %s are lost", count, s->node[from].host, s->node[to].host);
}

void
sim_mend_links(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        for (uint32_t j = 0; j < s->config.brokers; j++) {
            if (s->wire[i][j].delay_ms > 0)
                sim_delay(s, i, j, 0);
            s->wire[i][j] = (struct sim_wire){0};
        }
    sim_tell(s, "all can talk again");
}
