#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "sim/sim_part.h"

#include <string.h>

enum { DIAL_TIMEOUT_MS = 2000 };

static struct sim_conn *
find(struct sim *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->conn_count; i++)
        if (s->conn[i].id == id)
            return &s->conn[i];
    return NULL;
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
    int           target = node_at(s, to);
    bool          is_cut = target >= 0 && s->cut[i][target];
    bool          is_up  = target >= 0 && s->node[target].broker && !is_cut;
    struct event *e      = event_new(s, is_up ? EVENT_OPEN : EVENT_FAIL, i,
                                is_cut ? DIAL_TIMEOUT_MS : s->config.delay_ms);
    e->addr              = *to;
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
    if (target < 0 || !s->node[target].broker || s->cut[i][target]) {
        fail(s, e);
        return;
    }
    uint32_t j  = (uint32_t)target;
    uint32_t li = free_link(&s->node[i]);
    CHECK(li < LINKS_MAX);
    if (s->conn_count == s->conn_cap) {
        s->conn_cap = s->conn_cap > 0 ? s->conn_cap * 2 : 32;
        s->conn     = mem_resize(s->conn, s->conn_cap * sizeof *s->conn);
    }
    uint64_t id              = ++s->ids;
    s->conn[s->conn_count++] = (struct sim_conn){.id = id};
    open_end(s, &s->conn[s->conn_count - 1], 0, i, li);
    uint32_t lj = free_link(&s->node[j]); /* after ours: one may dial itself */
    CHECK(lj < LINKS_MAX);
    open_end(s, &s->conn[s->conn_count - 1], 1, j, lj);
    reach_begin(s, &s->conn[s->conn_count - 1]);
    node_step(s, i,
              &(struct fact){.kind = FACT_LINK_OPENED,
                             .link = {.link = li, .dialled = true, .addr = e->addr}});
    node_step(s, j, &(struct fact){.kind = FACT_LINK_OPENED, .link = {.link = lj}});
    node_turn(s, j);
}

static void
post(struct sim *s, struct sim_conn *c, int end, const struct frame *f)
{
    uint64_t in = s->config.delay_ms + prng_below(&s->prng, s->config.delay_ms + 1);
    if (s->now_ms + in < c->last_ms[end])
        in = c->last_ms[end] - s->now_ms;
    c->last_ms[end]  = s->now_ms + in;
    struct event *e  = event_new(s, EVENT_BYTES, c->node[!end], in);
    e->life          = c->life[!end];
    e->conn          = c->id;
    e->link          = c->link[!end];
    e->push          = f->kind == FRAME_PUSH || f->kind == FRAME_GAP || f->kind == FRAME_LATEST;
    enum err encoded = wire_encode(&e->bytes, f);
    CHECK(encoded == ERR_OK);
    s->frames[f->kind]++;
    s->bytes += e->bytes.n;
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
    if (c->dead || !c->open[!end])
        return;
    if (f->kind == FRAME_PUSH && s->node[i].lose[c->node[!end]] > 0) {
        s->node[i].lose[c->node[!end]]--;
        return;
    }
    post(s, c, end, f);
    if (f->kind == FRAME_PUSH && s->node[i].echo_to == c->node[!end] + 1)
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
    if (c->dead || !c->open[!end])
        return;
    uint64_t in = s->config.delay_ms;
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
    if (c->dead || !c->open[end])
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

void
net_cut(struct sim *s, uint32_t i, uint32_t j)
{
    for (uint32_t k = 0; k < s->conn_count; k++) {
        struct sim_conn *c = &s->conn[k];
        if ((c->node[0] == i && c->node[1] == j) || (c->node[0] == j && c->node[1] == i)) {
            reach_end(s, c);
            c->dead = true;
        }
    }
}
