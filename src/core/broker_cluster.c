#include "core/broker_part.h"

#include "base/arena.h"
#include "base/blob.h"
#include "base/trace.h"
#include "core/batch.h"

enum {
    MEMBERS_FULL_MS = 5000, /* everything about everybody, in case a frame was missed */
    GATHERED_MS     = 3000, /* after a start or a new link: rows tell who is in reach by then */
};

static const struct addr *
addr_of(const struct broker *b, uint8_t slot)
{
    const struct roster_member *m = roster_member(&b->roster, slot);
    return m ? &m->addr : NULL;
}

/* ---- members and rows ---- */

static void
send_members(struct broker *b, uint32_t link, uint32_t rows, bool all)
{
    struct roster_frame *space = arena_take(&b->out.arena, sizeof *space);
    const struct frame   frame = {.kind    = FRAME_MEMBERS,
                                  .members = roster_frame(&b->roster, b->now, rows, all, space)};
    if (frame.members.member_count + frame.members.row_count > 0)
        out_send(&b->out, link, &frame);
}

void
cluster_introduce(struct broker *b, uint32_t link)
{
    send_members(b, link, ROSTER_ALL, true);
}

static void
introduce_to_all(struct broker *b)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_UP)
            cluster_introduce(b, i);
}

void
cluster_alias(struct broker *b, const struct addr *dialled, const struct addr *announced)
{
    if (roster_alias(&b->roster, dialled, announced))
        introduce_to_all(b);
}

static void
send_own_row(struct broker *b)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_UP)
            send_members(b, i, 1u << ROSTER_SELF, false);
}

static void
relay(struct broker *b, uint32_t from, const struct roster_news *news)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        const struct link *l    = &b->link[i];
        uint32_t           rows = 0;
        if (l->state != LINK_UP || i == from)
            continue;
        for (uint8_t slot = 0; slot < MEMBERS_MAX; slot++)
            if (news->rows >> slot & 1 && roster_should_relay(&b->roster, b->now, slot, l->member))
                rows |= 1u << slot;
        if (rows > 0 || news->members)
            send_members(b, i, rows, news->members);
    }
}

/* Links with whom is no member any more. */
static void
close_forgotten(struct broker *b)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        const struct link *l = &b->link[i];
        if (l->state != LINK_UP)
            continue;
        const struct addr *at = addr_of(b, l->member);
        if (!at || addr_cmp(at, &l->addr) != 0)
            link_refuse(b, i, REFUSE_FORGOTTEN);
    }
}

static void
lament(void)
{
    tracef(TRACE_ERROR, "an operator has removed this broker from the cluster: restart it to "
                        "rejoin, or stop it");
}

void
cluster_members(struct broker *b, uint32_t from, const struct frame_members *m)
{
    struct roster_news news = roster_merge_frame(&b->roster, b->now, m);
    if (news.forgotten)
        lament();
    if (news.members)
        close_forgotten(b);
    if (news.rows > 0 || news.members)
        relay(b, from, &news);
}

/* ---- forgetting ---- */

static void
send_forget(struct broker *b, uint32_t from, const struct member_info *info)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_UP && i != from)
            out_send(&b->out, i,
                     &(struct frame){.kind   = FRAME_FORGET,
                                     .forget = {.addr    = info->addr,
                                                .version = info->version,
                                                .nonce   = info->nonce}});
}

void
cluster_forget(struct broker *b, uint32_t from, const struct member_info *info)
{
    enum err e = roster_merge(&b->roster, b->now, info);
    if (e == ERR_REFUSED)
        lament();
    if (e != ERR_OK)
        return;
    send_forget(b, from, info);
    close_forgotten(b);
}

enum err
cluster_operator_forgets(struct broker *b, const struct addr *addr)
{
    enum err e = roster_forget(&b->roster, addr);
    if (e != ERR_OK)
        return e;
    const struct member_info *tombstone = roster_tombstone(&b->roster, addr);
    if (tombstone)
        send_forget(b, LINKS_MAX, tombstone);
    close_forgotten(b);
    return ERR_OK;
}

/* ---- election ---- */

static void
send_election(struct broker *b, uint32_t slots, enum frame_kind kind)
{
    for (uint8_t slot = 0; slot < MEMBERS_MAX; slot++) {
        uint32_t link = slots >> slot & 1 ? link_of(b, slot) : LINKS_MAX;
        if (link < LINKS_MAX)
            out_send(&b->out, link,
                     &(struct frame){.kind     = kind,
                                     .election = {.stamp = stamp_tick(&b->clock),
                                                  .token = bully_token(&b->bully)}});
    }
}

static void
act(struct broker *b, const struct bully_do *what)
{
    send_election(b, what->election, FRAME_ELECTION);
    send_election(b, what->ok, FRAME_OK);
    send_election(b, what->coordinator, FRAME_COORDINATOR);
    if (what->persist)
        commits_add(
            &b->commits, &b->out,
            &(struct pending){
                .commit = {.kind = COMMIT_ELECTION, .token = what->token, .epoch = what->epoch}});
}

static bool
is_election(enum frame_kind kind)
{
    return kind == FRAME_ELECTION || kind == FRAME_OK || kind == FRAME_COORDINATOR;
}

void
cluster_election(struct broker *b, uint32_t from, const struct frame *f)
{
    struct roster_view   view;
    struct bully_message m = {
        .kind  = f->kind,
        .from  = b->link[from].member,
        .token = is_election(f->kind)    ? f->election.token
                 : f->kind == FRAME_PING ? f->ping.token
                                         : f->heads.token,
    };
    if (is_election(f->kind)) {
        stamp_client(&b->clock, f->election.stamp);
        stamp_tick(&b->clock);
    } else {
        /* Nearly all pings and HEADS carry what we have accepted: nothing to think about. */
        struct token accepted = bully_token(&b->bully);
        if (token_cmp(&accepted, &m.token) == 0)
            return;
    }
    roster_view(&b->roster, b->now, &view);
    struct bully_do what = bully_receive(&b->bully, b->now, &view, &m);
    act(b, &what);
}

void
cluster_persisted(struct broker *b, const struct commit *c, enum err err)
{
    if (c->kind == COMMIT_MEMBERS) {
        b->saving_members = false;
        if (err != ERR_OK)
            roster_unsaved(&b->roster);
        return;
    }
    struct roster_view view;
    roster_view(&b->roster, b->now, &view);
    struct bully_do what = bully_persisted(&b->bully, b->now, &view, &c->token, err);
    act(b, &what);
}

void
cluster_save(struct broker *b)
{
    struct commit c = {.kind = COMMIT_ELECTION};
    if (bully_save(&b->bully, &c.token, &c.epoch))
        commits_add(&b->commits, &b->out, &(struct pending){.commit = c});
}

static void
save_members(struct broker *b)
{
    if (!b->disk_works || b->saving_members || !roster_is_dirty(&b->roster))
        return;
    b->saving_members = true;
    cluster_save(b);
    commits_add(
        &b->commits, &b->out,
        &(struct pending){.commit = {.kind = COMMIT_MEMBERS, .members = roster_list(&b->roster)}});
}

/* ---- what peers have, for whoever looks at our file ---- */

static struct known_vector *
known_of(const struct broker *b, uint32_t link)
{
    const struct vector *durable = &b->journal.durable;
    struct known_vector *known   = blob_new(sizeof *known + durable->count * sizeof(struct mark));
    known->addr                  = b->link[link].addr;
    for (uint32_t i = 0; i < durable->count; i++) {
        const struct stream *s = journal_find(&b->journal, durable->at[i].stream);
        if (s->known[b->link[link].member] > 0)
            known->at[known->count++] = (struct mark){s->id, s->known[b->link[link].member]};
    }
    return known;
}

static bool
has_news(const struct broker *b, uint32_t link)
{
    return b->link[link].state == LINK_UP && b->gossip.link[link].news;
}

/* Seldom, since nothing depends on it: an idle cluster writes nothing. */
static void
save_known(struct broker *b)
{
    if (!broker_disk_works(b) || !mono_reached(b->now, b->known_at))
        return;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        if (!has_news(b, i))
            continue;
        const struct commit c = {.kind = COMMIT_KNOWN, .known = known_of(b, i)};
        commits_add(&b->commits, &b->out, &(struct pending){.commit = c});
        b->gossip.link[i].news = false;
        b->known_at            = mono_after(b->now, KNOWN_MS);
    }
}

static struct mono
known_deadline(const struct broker *b)
{
    for (uint32_t i = 0; broker_disk_works(b) && i < LINKS_MAX; i++)
        if (has_news(b, i))
            return b->known_at;
    return MONO_NEVER;
}

/* ---- time ---- */

static void
call(struct broker *b)
{
    struct effect e = {.kind = EFFECT_DIAL};
    while (roster_call_next(&b->roster, b->now, &e.dial.addr, &e.dial.host)) {
        if (b->stopping)
            roster_dial_failed(&b->roster, b->now, &e.dial.addr);
        else
            out_add(&b->out, &e);
    }
}

static void
dial(struct broker *b)
{
    uint8_t slot;
    while (roster_dial_next(&b->roster, b->now, &slot)) {
        const struct roster_member *m = roster_member(&b->roster, slot);
        if (b->stopping) {
            roster_dial_failed(&b->roster, b->now, &m->addr);
            continue;
        }
        out_add(&b->out, &(struct effect){.kind = EFFECT_DIAL,
                                          .dial = {.addr = m->addr, .host = roster_host(m)}});
    }
}

void
cluster_tick(struct broker *b)
{
    struct roster_view view;
    if (roster_tick(&b->roster, b->now) && !b->said_goodbye)
        send_own_row(b); /* a row after AWAY would take it back */
    if (mono_reached(b->now, b->members_at) || b->members_at.ms == UINT64_MAX) {
        if (b->members_at.ms != UINT64_MAX && !b->said_goodbye)
            introduce_to_all(b);
        b->members_at = mono_after(b->now, MEMBERS_FULL_MS);
    }
    dial(b);
    call(b);
    roster_view(&b->roster, b->now, &view);
    struct bully_do what = bully_tick(&b->bully, b->now, &view);
    act(b, &what);
    save_members(b);
    save_known(b);
}

struct mono
cluster_deadline(const struct broker *b)
{
    struct mono at = mono_min(bully_deadline(&b->bully), roster_deadline(&b->roster, b->now));
    return mono_min(mono_min(at, b->members_at), known_deadline(b));
}

bool
cluster_is_gathered(const struct broker *b)
{
    uint32_t    there = roster_linked(&b->roster) | 1u << ROSTER_SELF;
    struct mono since = b->roster.start;
    /* Who is back and not let in yet: its older link tells of the process before. */
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_RIVAL)
            return false;
    if ((roster_members(&b->roster) & ~there) == 0)
        return true;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_UP && b->link[i].opened.ms > since.ms)
            since = b->link[i].opened;
    return mono_reached(b->now, mono_after(since, GATHERED_MS)) &&
           (roster_reachable(&b->roster, b->now) & ~there) == 0;
}

void
cluster_goodbye(struct broker *b)
{
    b->said_goodbye = true;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (b->link[i].state == LINK_UP)
            out_send(&b->out, i, &(struct frame){.kind = FRAME_AWAY});
}
