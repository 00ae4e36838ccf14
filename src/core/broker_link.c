#include "core/broker_part.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/trace.h"
#include "core/batch.h"

#include <string.h>

#define TO(s) (1u << LINK_##s)

static const uint8_t allowed[LINK_STATE_COUNT] = {
    [LINK_FREE]    = TO(HELLO),
    [LINK_HELLO]   = TO(RIVAL) | TO(UP) | TO(CLOSING) | TO(FREE),
    [LINK_RIVAL]   = TO(UP) | TO(CLOSING) | TO(FREE),
    [LINK_UP]      = TO(CLOSING) | TO(FREE),
    [LINK_CLOSING] = TO(FREE),
};

/* The only place where `state` is written. */
static void
enter(struct link *l, enum link_state next, struct mono deadline)
{
    CHECK(allowed[l->state] & (1u << next));
    l->state    = next;
    l->deadline = deadline;
}

uint32_t
link_of(const struct broker *b, uint8_t member)
{
    uint32_t i = 0;
    while (i < LINKS_MAX && !(b->link[i].state == LINK_UP && b->link[i].member == member))
        i++;
    return i;
}

/* ---- opening and closing ---- */

void
link_opened(struct broker *b, uint32_t i, bool dialled, const struct addr *addr)
{
    CHECK(i < LINKS_MAX);
    struct link *l = &b->link[i];
    CHECK(l->state == LINK_FREE);
    *l = (struct link){.dialled = dialled, .dial_addr = *addr, .opened = b->now, .heard = b->now};
    enter(l, LINK_HELLO, mono_after(b->now, LINK_HELLO_MS));
    out_send(&b->out, i,
             &(struct frame){.kind  = FRAME_HELLO,
                             .hello = {.version_min = PROTOCOL_VERSION,
                                       .version_max = PROTOCOL_VERSION,
                                       .cluster     = b->cluster,
                                       .addr        = b->self,
                                       .host        = b->host,
                                       .nonce       = b->nonce}});
}

/* What hangs on a link that was up, or was to come up, ends; its slot does not. */
static void
detach(struct broker *b, uint32_t i)
{
    struct link *l = &b->link[i];
    if (l->state == LINK_UP) {
        roster_link_down(&b->roster, b->now, l->member);
        gossip_link_down(&b->gossip, &b->journal, i, b->now);
    } else if (l->dialled && (l->state == LINK_HELLO || l->state == LINK_RIVAL)) {
        roster_dial_failed(&b->roster, b->now, &l->dial_addr);
    }
}

static void
hang_up(struct broker *b, uint32_t i)
{
    if (b->link[i].state == LINK_CLOSING)
        return;
    detach(b, i);
    enter(&b->link[i], LINK_CLOSING, MONO_NEVER);
    out_close(&b->out, i);
}

void
link_closed(struct broker *b, uint32_t i)
{
    CHECK(i < LINKS_MAX && b->link[i].state != LINK_FREE);
    detach(b, i);
    enter(&b->link[i], LINK_FREE, MONO_NEVER);
}

static const char *
reason_text(enum refuse_reason reason)
{
    switch (reason) {
    case REFUSE_VERSION:
        return "no common protocol version: upgrade the older broker";
    case REFUSE_CLUSTER:
        return "another cluster name: check --cluster at both brokers";
    case REFUSE_SELF:
        return "you dialled yourself";
    case REFUSE_DUPLICATE:
        return "there is a link between us already";
    case REFUSE_COPY:
        return "another live process announces your address: check --host and --port";
    case REFUSE_FORGOTTEN:
        return "an operator removed this member: restart it to rejoin";
    case REFUSE_FULL:
        return "the cluster is full: forget a member first";
    case REFUSE_PROTOCOL:
        return "a frame was malformed";
    case REFUSE_END:
        break;
    }
    return "refused";
}

/* Is it new, or long ago?  Remembers that it is said now. */
static bool
is_worth_saying(struct broker *b, const struct addr *addr, uint8_t reason, bool ours)
{
    for (uint32_t i = 0; i < COMPLAINTS_MAX; i++) {
        const struct complaint *c = &b->complaint[i];
        if (c->reason == reason && c->ours == ours && addr_cmp(&c->addr, addr) == 0 &&
            !mono_reached(b->now, c->until))
            return false;
    }
    b->complaint[b->complaint_next++ % COMPLAINTS_MAX] =
        (struct complaint){*addr, reason, ours, mono_after(b->now, COMPLAINT_MS)};
    return true;
}

void
link_refuse(struct broker *b, uint32_t i, enum refuse_reason reason)
{
    if (b->link[i].state == LINK_CLOSING)
        return;
    if (reason != REFUSE_DUPLICATE && reason != REFUSE_SELF &&
        is_worth_saying(b, &b->link[i].addr, (uint8_t)reason, true)) {
        char text[ADDR_TEXT_BYTES];
        addr_text(&b->link[i].addr, text);
        tracef(TRACE_WARN, "link with %s refused: %s", b->link[i].addr.family ? text : "a peer",
               reason_text(reason));
    }
    out_send(&b->out, i,
             &(struct frame){
                 .kind   = FRAME_REFUSE,
                 .refuse = {.reason = (uint8_t)reason, .text = str_of(reason_text(reason))}});
    hang_up(b, i);
}

/* ---- HELLO ---- */

static void
accept(struct broker *b, uint32_t i)
{
    struct link                 *l   = &b->link[i];
    const struct roster_instance who = {
        .addr = l->addr, .host = {(const uint8_t *)l->host, l->host_bytes}, .nonce = l->nonce};
    uint8_t  slot = 0;
    enum err e    = roster_hello(&b->roster, b->now, &who, &slot);
    if (e != ERR_OK) {
        link_refuse(b, i,
                    e == ERR_REFUSED ? REFUSE_FORGOTTEN
                    : e == ERR_LIMIT ? REFUSE_FULL
                                     : REFUSE_COPY);
        return;
    }
    l->member = slot;
    enter(l, LINK_UP, mono_after(b->now, LINK_SILENT_MS));
    roster_link_up(&b->roster, b->now, slot);
    roster_heard(&b->roster, b->now, slot);
    gossip_link_up(&b->gossip, &b->journal, i, slot, b->now);
    misses_forget(&b->awaits.misses);
    cluster_introduce(b, i);
}

/* Two links with one instance: the one that the lower address dialled stays; of two that
 * the same side dialled, the younger, since that side has given the older one up. */
static void
settle_duplicate(struct broker *b, uint32_t older, uint32_t younger)
{
    bool older_by_us = b->link[older].dialled, younger_by_us = b->link[younger].dialled;
    bool we_are_lower = addr_cmp(&b->self, &b->link[younger].addr) < 0;
    if (older_by_us == younger_by_us || younger_by_us == we_are_lower) {
        link_refuse(b, older, REFUSE_DUPLICATE);
        accept(b, younger);
    } else {
        link_refuse(b, younger, REFUSE_DUPLICATE);
    }
}

/* Another nonce at an address that has a live link: a restart, or a copy.  Who answers
 * a ping in time is alive. */
static void
challenge(struct broker *b, uint32_t older, uint32_t younger)
{
    struct link *l = &b->link[younger];
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        if (b->link[i].state == LINK_RIVAL && b->link[i].rival_of == older) {
            link_refuse(b, younger, REFUSE_COPY);
            return;
        }
    }
    enter(l, LINK_RIVAL, mono_after(b->now, LINK_RIVAL_MS));
    l->rival_of   = older;
    l->rival_ping = ++b->pings;
    out_send(&b->out, older,
             &(struct frame){.kind = FRAME_PING,
                             .ping = {.id = l->rival_ping, .token = bully_token(&b->bully)}});
}

static void
on_hello(struct broker *b, uint32_t i, const struct frame *f)
{
    struct link              *l = &b->link[i];
    const struct frame_hello *h = &f->hello;
    if (l->state != LINK_HELLO) {
        link_refuse(b, i, REFUSE_PROTOCOL);
        return;
    }
    l->addr       = h->addr;
    l->nonce      = h->nonce;
    l->host_bytes = (uint8_t)(h->host.n < HOST_BYTES_MAX ? h->host.n : HOST_BYTES_MAX);
    if (l->host_bytes > 0)
        memcpy(l->host, h->host.p, l->host_bytes);

    if (h->version_min > PROTOCOL_VERSION || h->version_max < PROTOCOL_VERSION) {
        link_refuse(b, i, REFUSE_VERSION);
        return;
    }
    if (!str_eq(h->cluster, b->cluster)) {
        link_refuse(b, i, REFUSE_CLUSTER);
        return;
    }
    if (h->nonce == b->nonce) {
        if (l->dialled)
            cluster_alias(b, &l->dial_addr, &b->self);
        link_refuse(b, i, REFUSE_SELF);
        return;
    }
    int      slot  = roster_find(&b->roster, &h->addr);
    uint32_t older = slot > ROSTER_SELF ? link_of(b, (uint8_t)slot) : LINKS_MAX;
    if (older == LINKS_MAX)
        accept(b, i);
    else if (b->link[older].nonce == h->nonce)
        settle_duplicate(b, older, i);
    else
        challenge(b, older, i);
    /* Whatever became of this link: the address that was dialled is not a member's. */
    if (l->dialled && addr_cmp(&l->dial_addr, &l->addr) != 0 &&
        roster_find(&b->roster, &l->addr) >= 0)
        cluster_alias(b, &l->dial_addr, &l->addr);
}

static void
on_refuse(struct broker *b, uint32_t i, const struct frame *f)
{
    struct link *l = &b->link[i];
    if (f->refuse.reason == REFUSE_SELF && l->dialled)
        cluster_alias(b, &l->dial_addr, &b->self);
    const struct addr *who = l->addr.family ? &l->addr : &l->dial_addr;
    if (f->refuse.reason != REFUSE_DUPLICATE && f->refuse.reason != REFUSE_SELF &&
        is_worth_saying(b, who, f->refuse.reason, false)) {
        char text[ADDR_TEXT_BYTES];
        addr_text(who, text);
        tracef(TRACE_WARN, "%s refuses a link with us: %.*s", text, STR_ARG(f->refuse.text));
    }
    hang_up(b, i);
}

/* ---- frames of a link that is up ---- */

static void
on_members(struct broker *b, uint32_t i, const struct frame *f)
{
    cluster_members(b, i, &f->members);
}

static void
on_heads(struct broker *b, uint32_t i, const struct frame *f)
{
    gossip_on_heads(&b->gossip, &b->journal, i, &f->heads, b->now);
    cluster_election(b, i, f);
}

static void
on_push(struct broker *b, uint32_t i, const struct frame *f)
{
    const struct intake in = broker_intake(b);
    if (gossip_on_push(&in, i, &f->push) != ERR_OK)
        link_refuse(b, i, REFUSE_PROTOCOL);
}

static void
on_pull(struct broker *b, uint32_t i, const struct frame *f)
{
    gossip_on_pull(&b->gossip, i, &f->pull);
}

static void
on_credit(struct broker *b, uint32_t i, const struct frame *f)
{
    gossip_on_credit(&b->gossip, i, f->credit.bytes);
}

static void
on_ping(struct broker *b, uint32_t i, const struct frame *f)
{
    cluster_election(b, i, f);
    if (!f->ping.reply) {
        out_send(&b->out, i,
                 &(struct frame){
                     .kind = FRAME_PING,
                     .ping = {.id = f->ping.id, .reply = true, .token = bully_token(&b->bully)}});
        return;
    }
    for (uint32_t k = 0; k < LINKS_MAX; k++) {
        const struct link *l = &b->link[k];
        if (l->state == LINK_RIVAL && l->rival_of == i && l->rival_ping == f->ping.id)
            link_refuse(b, k, REFUSE_COPY);
    }
}

static void
on_away(struct broker *b, uint32_t i, const struct frame *f)
{
    (void)f;
    roster_away(&b->roster, b->link[i].member);
}

static void
on_forget(struct broker *b, uint32_t i, const struct frame *f)
{
    const struct member_info info = {.addr    = f->forget.addr,
                                     .version = f->forget.version,
                                     .nonce   = f->forget.nonce,
                                     .flags   = MEMBER_FORGOTTEN};
    cluster_forget(b, i, &info);
}

static void
on_gap(struct broker *b, uint32_t i, const struct frame *f)
{
    const struct intake in = broker_intake(b);
    if (gossip_on_gap(&in, i, &f->gap) != ERR_OK)
        link_refuse(b, i, REFUSE_PROTOCOL);
}

static void
on_latest(struct broker *b, uint32_t i, const struct frame *f)
{
    const struct intake in = broker_intake(b);
    if (gossip_on_latest(&in, i, &f->latest) != ERR_OK)
        link_refuse(b, i, REFUSE_PROTOCOL);
}

/* Whatever our own rules say of its topics: the origin's decide.  It is the clock's as a
 * client's stamp is: nothing that is stored vouches for it. */
static void
on_live(struct broker *b, uint32_t i, const struct frame *f)
{
    struct batch *batch = f->live.batch;
    enum err      e     = gossip_on_live(&b->gossip, i, batch);
    if (e == ERR_OK) {
        stamp_client(&b->clock, batch_stamp(batch));
        sessions_live(&b->sessions, batch);
    }
    blob_drop(batch);
    if (e == ERR_PROTO)
        link_refuse(b, i, REFUSE_PROTOCOL);
}

typedef void on_frame(struct broker *b, uint32_t i, const struct frame *f);

static on_frame *const on[FRAME_KIND_END] = {
    [FRAME_HELLO]       = on_hello,
    [FRAME_REFUSE]      = on_refuse,
    [FRAME_MEMBERS]     = on_members,
    [FRAME_HEADS]       = on_heads,
    [FRAME_PUSH]        = on_push,
    [FRAME_PULL]        = on_pull,
    [FRAME_CREDIT]      = on_credit,
    [FRAME_GAP]         = on_gap,
    [FRAME_LATEST]      = on_latest,
    [FRAME_PING]        = on_ping,
    [FRAME_ELECTION]    = cluster_election,
    [FRAME_OK]          = cluster_election,
    [FRAME_COORDINATOR] = cluster_election,
    [FRAME_AWAY]        = on_away,
    [FRAME_FORGET]      = on_forget,
    [FRAME_LIVE]        = on_live,
};

void
link_frame(struct broker *b, uint32_t i, const struct frame *f)
{
    CHECK(i < LINKS_MAX && f->kind < FRAME_KIND_END && on[f->kind]);
    struct link *l        = &b->link[i];
    bool         shakes   = f->kind == FRAME_HELLO || f->kind == FRAME_REFUSE;
    bool         is_ready = l->state == LINK_UP || (shakes && l->state == LINK_HELLO) ||
                    (f->kind == FRAME_REFUSE && l->state == LINK_RIVAL);
    l->heard = b->now;
    if (l->state == LINK_UP) {
        l->deadline = mono_after(b->now, LINK_SILENT_MS);
        roster_heard(&b->roster, b->now, l->member);
    }
    if (is_ready) {
        on[f->kind](b, i, f);
        return;
    }
    if (f->kind == FRAME_PUSH)
        blob_drop(f->push.batch);
    if (f->kind == FRAME_LIVE)
        blob_drop(f->live.batch);
    /* A rival's frames are not for us yet: what they tell is told again.  Anything before
     * HELLO, or a second HELLO, is not the protocol. */
    if (l->state == LINK_HELLO || f->kind == FRAME_HELLO)
        link_refuse(b, i, REFUSE_PROTOCOL);
}

/* ---- time ---- */

/* The older link is silent, or gone: a restart.  But another may have come up meanwhile. */
static void
rival_is_right(struct broker *b, uint32_t i)
{
    const struct link *l     = &b->link[i];
    const struct link *older = &b->link[l->rival_of];
    if (older->state == LINK_UP && addr_cmp(&older->addr, &l->addr) == 0 &&
        older->nonce != l->nonce)
        hang_up(b, l->rival_of);
    int      slot  = roster_find(&b->roster, &l->addr);
    uint32_t other = slot > ROSTER_SELF ? link_of(b, (uint8_t)slot) : LINKS_MAX;
    if (other == LINKS_MAX)
        accept(b, i);
    else if (b->link[other].nonce != l->nonce)
        link_refuse(b, i, REFUSE_COPY);
    else if (b->link[other].dialled != l->dialled)
        settle_duplicate(b, other, i);
    else
        link_refuse(b, i, REFUSE_DUPLICATE);
}

static void
on_deadline(struct broker *b, uint32_t i)
{
    switch (b->link[i].state) {
    case LINK_HELLO:
        tracef(TRACE_WARN, "a peer said no HELLO in time: its link is closed");
        hang_up(b, i);
        return;
    case LINK_RIVAL:
        rival_is_right(b, i);
        return;
    case LINK_UP:
        hang_up(b, i);
        return;
    case LINK_FREE:
    case LINK_CLOSING:
    case LINK_STATE_COUNT:
        break;
    }
    CHECK(!"a link without a deadline");
}

/* A rival need not wait for an older link that is gone. */
static void
free_rivals(struct broker *b)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_RIVAL && b->link[b->link[i].rival_of].state != LINK_UP)
            b->link[i].deadline = b->now;
}

void
links_tick(struct broker *b)
{
    free_rivals(b);
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        const struct link *l = &b->link[i];
        if (l->state != LINK_FREE && l->state != LINK_CLOSING && mono_reached(b->now, l->deadline))
            on_deadline(b, i);
    }
    if (!mono_reached(b->now, b->ping_at) && b->ping_at.ms != UINT64_MAX)
        return;
    b->ping_at = mono_after(b->now, LINK_PING_MS);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_UP)
            out_send(&b->out, i,
                     &(struct frame){.kind = FRAME_PING,
                                     .ping = {.id = ++b->pings, .token = bully_token(&b->bully)}});
}

struct mono
links_deadline(const struct broker *b)
{
    struct mono at = b->ping_at;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state != LINK_FREE)
            at = mono_min(at, b->link[i].deadline);
    return at;
}
