#include "core/gossip.h"

#include "base/blob.h"
#include "base/check.h"
#include "core/batch.h"
#include "core/gossip_part.h"
#include "core/vector.h"

/* ---- links ---- */

void
gossip_init(struct gossip *g)
{
    *g = (struct gossip){
        .disk_works = true, .heads_soon = MONO_NEVER, .causal_wait_ms = CAUSAL_WAIT_MS};
    g->pull_idle = LINKS_MAX;
    g->offers_at = g->offers_since = MONO_NEVER;
    pool_init(&g->held_back, sizeof(struct held_back), HELD_BACK_MAX);
    pool_init(&g->offers, sizeof(struct offer), OFFERS_MAX);
    list_init(&g->lacking);
    list_init(&g->released);
    list_init(&g->clocks);
    repairs_init(&g->repairs);
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        list_init(&g->link[i].held_back);
        list_init(&g->link[i].offers);
    }
}

void
gossip_set_causal_wait(struct gossip *g, uint64_t ms)
{
    g->causal_wait_ms = ms > 0 ? ms : CAUSAL_WAIT_MS;
}

void
gossip_fini(struct gossip *g)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        held_back_drop_all(g, NULL, &g->link[i], MONO_NEVER);
        offers_drop(g, &g->link[i]);
        serve_stop(&g->link[i]);
        vector_fini(&g->link[i].have);
        vector_fini(&g->link[i].kept_have);
    }
    pool_fini(&g->held_back);
    pool_fini(&g->offers);
}

static void
forget_beliefs(struct gossip *g, struct journal *j, uint32_t member, struct mono now)
{
    struct stream *s;
    for (uint32_t at = 0; (s = pool_next(&j->streams, &at));) {
        s->known_floor[member] = s->known_gap[member] = 0;
        wait_lost(g, s, member, now);
    }
}

void
gossip_link_up(struct gossip *g, struct journal *j, uint32_t link, uint32_t member, struct mono now)
{
    struct gossip_link *l = &g->link[link];
    CHECK(!l->up && member < MEMBERS_MAX);
    *l = (struct gossip_link){
        .up            = true,
        .id            = ++g->ids,
        .member        = member,
        .heads_full    = true,
        .heads_full_at = mono_after(now, HEADS_IDLE_MS),
    };
    list_init(&l->held_back);
    list_init(&l->offers);
    forget_beliefs(g, j, member, now);
    repair_link_up(g, member, now);
}

void
gossip_link_down(struct gossip *g, struct journal *j, uint32_t link, struct mono now)
{
    g->repairs.news       = true; /* what it was asked for may not come */
    struct gossip_link *l = &g->link[link];
    if (!l->up)
        return;
    held_back_drop_all(g, j, l, now);
    offers_drop(g, l);
    serve_stop(l);
    vector_fini(&l->have);
    vector_fini(&l->kept_have);
    l->up = false;
    forget_beliefs(g, j, l->member, now);
    if (g->pulling && g->pull_link == link)
        g->pulling = false;
    if (g->pull_idle == link)
        g->pull_idle = LINKS_MAX;
    LIST_EACH(node, &g->lacking)
    {
        gossip_judge_lack(g, LIST_OF(node, struct stream, lacking), now);
    }
}

/* ---- what others have ---- */

void
gossip_judge_lack(struct gossip *g, struct stream *s, struct mono now)
{
    if (s->live || s->frozen || stream_shown(s) <= s->held) {
        list_remove(&s->lacking);
    } else if (list_is_empty(&s->lacking)) {
        s->progress = now;
        list_push_back(&g->lacking, &s->lacking);
    }
}

void
gossip_on_heads(struct gossip *g, struct journal *j, uint32_t link, const struct frame_heads *heads,
                struct mono now)
{
    struct gossip_link *l = &g->link[link];
    CHECK(l->up);
    l->their_flags = heads->flags;
    l->told_all |= (heads->flags & HEADS_FULL) != 0;
    for (uint32_t i = 0; i < heads->count; i++) {
        struct stream *s = journal_stream(j, heads->head[i].stream);
        if (!s) /* retired here; or no room for it: counted where its batches are refused */
            continue;
        if (heads->head[i].head > s->known[l->member]) {
            s->known[l->member] = heads->head[i].head;
            l->news             = true;
        }
        if (heads->head[i].floor > s->known_floor[l->member])
            s->known_floor[l->member] = heads->head[i].floor;
        if (heads->head[i].gap > s->known_gap[l->member])
            s->known_gap[l->member] = heads->head[i].gap;
        gossip_judge_lack(g, s, now);
    }
}

uint32_t
gossip_copies(const struct gossip *g, const struct journal *j, struct mark m)
{
    const struct stream *s = journal_find(j, m.stream);
    if (!s || m.seq <= s->floor)
        return 0; /* gone here: who shows it may well hold the gap that we offered */
    uint32_t n = s->durable >= m.seq;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        uint32_t member = g->link[i].member;
        n += g->link[i].up && s->known[member] >= m.seq && s->known_floor[member] < m.seq &&
             s->known_gap[member] < m.seq; /* below it there may be messages: who knows */
    }
    return n;
}

void
gossip_known(const struct journal *j, struct vector *v)
{
    const struct stream *s;
    for (uint32_t at = 0; (s = pool_next(&j->streams, &at));) {
        /* What is handed to the store is lacking no more, and not durable yet. */
        if (s->held == s->durable && list_is_empty(&s->lacking))
            continue;
        uint64_t shown = stream_shown(s);
        if (shown == 0)
            continue;
        enum err e = vector_raise(v, (struct mark){s->id, shown});
        (void)e; /* LIMIT: such a message is then delivered, which is harmless */
    }
}

uint64_t
gossip_lack(const struct gossip *g)
{
    uint64_t n = 0;
    LIST_EACH(node, &g->lacking)
    {
        const struct stream *s     = LIST_OF(node, struct stream, lacking);
        uint64_t             shown = stream_shown(s);
        n += shown > s->held ? shown - s->held : 0;
    }
    return n;
}

static bool
covers(const struct journal *j, uint32_t member, bool but_live)
{
    for (uint32_t i = 0; i < j->durable.count; i++) {
        const struct stream *s  = journal_find(j, j->durable.at[i].stream);
        bool                 is = s->known[member] >= s->durable || s->floor >= s->durable ||
                  (but_live && s->live && s->durable - s->known[member] < CATCH_UP_ABOVE);
        if (!is)
            return false;
    }
    return true;
}

bool
gossip_is_covered(const struct gossip *g, const struct journal *j, bool but_live)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (g->link[i].up && g->link[i].told_all && covers(j, g->link[i].member, but_live))
            return true;
    return false;
}

bool
gossip_has_caught_up(const struct gossip *g)
{
    bool told = false;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        told |= g->link[i].up && g->link[i].told_all;
    return told && gossip_lack(g) == 0;
}

/* ---- telling what we have ---- */

void
gossip_changed(struct gossip *g, struct mono now)
{
    g->heads_soon = mono_min(g->heads_soon, mono_after(now, HEADS_SOON_MS));
}

void
gossip_persisted(struct gossip *g, const struct pending *p, bool failed, struct mono now)
{
    bool latest = p->commit.kind == COMMIT_LATEST;
    if (p->commit.kind == COMMIT_REPAIR) {
        repair_persisted(g, p, failed, now);
        return;
    }
    g->latest_storing -= latest;
    g->gaps_storing -= p->commit.kind == COMMIT_GAPS;
    if (!failed && !latest) {
        gossip_changed(g, now);
        g->late += p->commit.late ? p->batch->count : 0;
    }
    if (p->own)
        return;
    struct gossip_link *l = &g->link[p->link];
    if (!l->up || l->id != p->link_id)
        return;
    if (p->pulled) {
        l->credit_due += latest ? latest_cost(p->batch->msg) : batch_cost(p->batch);
        l->storing--;
    }
    if (!failed && !latest)
        l->heads_now = true; /* the durable ack */
}

void
gossip_disk(struct gossip *g, struct journal *j, bool works, struct mono now)
{
    struct stream *s;
    g->disk_works = works;
    g->pulling    = false;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        g->link[i].heads_now = true;
        held_back_drop_all(g, j, &g->link[i], now);
        offers_drop(g, &g->link[i]);
    }
    for (uint32_t at = 0; (s = pool_next(&j->streams, &at));) {
        s->in_hand = 0; /* held may have fallen */
        gossip_judge_lack(g, s, now);
    }
}

static uint8_t
own_flags(const struct gossip *g)
{
    return (uint8_t)((g->catching_up ? HEADS_CATCHING_UP : 0) |
                     (g->disk_works ? 0 : HEADS_NO_STORE));
}

static struct head
head_of(const struct stream *s)
{
    uint64_t gap = s->gap > s->floor ? s->gap : s->floor;
    return (struct head){.stream = s->id,
                         .head   = s->durable,
                         .floor  = s->floor_told,
                         .gap    = gap > s->floor_told ? gap : 0};
}

/* Frames want them sorted by stream; what changed since the last time is few. */
static uint32_t
insert_head(struct head *head, uint32_t n, struct head h)
{
    uint32_t i = n;
    for (; i > 0 && head[i - 1].stream > h.stream; i--)
        head[i] = head[i - 1];
    head[i] = h;
    return n + 1;
}

static void
send_heads(struct gossip *g, struct journal *j, struct out *out, uint32_t link,
           const struct token *accepted)
{
    struct gossip_link *l    = &g->link[link];
    struct head        *head = arena_take(&out->arena, j->durable.count * sizeof *head);
    uint32_t            n    = 0;
    if (l->heads_full) {
        for (; n < j->durable.count; n++)
            head[n] = head_of(journal_find(j, j->durable.at[n].stream));
    } else {
        for (struct list *at = j->by_change.prev; at != &j->by_change; at = at->prev) {
            const struct stream *s = LIST_OF(at, struct stream, by_change);
            if (s->changed <= l->told)
                break;
            n = insert_head(head, n, head_of(s));
        }
    }
    const struct frame frame = {
        .kind  = FRAME_HEADS,
        .heads = {.flags = (uint8_t)(own_flags(g) | (l->heads_full ? HEADS_FULL : 0)),
                  .token = *accepted,
                  .head  = head,
                  .count = n},
    };
    out_send(out, link, &frame);
    l->told        = j->changes;
    l->floors_told = g->floors_closed;
    l->heads_now = l->heads_full = false;
}

static void
tell(struct gossip *g, struct journal *j, struct out *out, struct mono now,
     const struct token *accepted)
{
    bool soon = mono_reached(now, g->heads_soon);
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct gossip_link *l = &g->link[i];
        if (!l->up)
            continue;
        if (mono_reached(now, l->heads_full_at)) {
            l->heads_full    = true;
            l->heads_full_at = mono_after(now, HEADS_IDLE_MS);
        }
        if (l->heads_full || l->heads_now || (soon && l->told < j->changes))
            send_heads(g, j, out, i, accepted);
    }
    if (soon)
        g->heads_soon = MONO_NEVER;
}

/* ---- asking for what we lack ---- */

static bool
may_supply(const struct gossip *g, const struct stream *s, uint32_t link)
{
    const struct gossip_link *l = &g->link[link];
    return l->up && s->known[l->member] > stream_reach(s) && !offer_is_blocked(s, link);
}

static bool
has_more(const struct gossip *g, const struct gossip_link *l)
{
    LIST_EACH(node, &g->lacking)
    {
        const struct stream *s = LIST_OF(node, struct stream, lacking);
        if (may_supply(g, s, (uint32_t)(l - g->link)))
            return true;
    }
    return false;
}

/* The next holder of more of `s`, after the one that was asked last: one that has what is
 * next, else the one that has lost least. */
static bool
pick_holder(const struct gossip *g, const struct stream *s, uint32_t but, uint32_t *link)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t k = 1; k <= LINKS_MAX; k++) {
        uint32_t i = (g->pull_last + k) % LINKS_MAX;
        if (i == but || !may_supply(g, s, i))
            continue;
        uint64_t lost = s->known_floor[g->link[i].member];
        if (lost <= stream_reach(s))
            lost = 0;
        if (lost < least) {
            least = lost;
            *link = i;
        }
    }
    return least < UINT64_MAX;
}

/* Held or in hand, not durable: what is on its way to our disk need not come again.  A frozen
 * stream counts as complete, so that none of it comes. */
uint32_t
pull_marks(const struct journal *j, struct mark *mark)
{
    uint32_t       n = 0;
    struct stream *s;
    for (; n < j->durable.count; n++) {
        s       = journal_find(j, j->durable.at[n].stream);
        mark[n] = (struct mark){s->id, s->frozen ? INT64_MAX : stream_reach(s)};
    }
    for (uint32_t at = 0; (s = pool_next(&j->streams, &at));) {
        if (s->durable > 0 || (stream_reach(s) == 0 && !s->frozen))
            continue;
        uint32_t i = n++;
        for (; i > 0 && mark[i - 1].stream > s->id; i--)
            mark[i] = mark[i - 1];
        mark[i] = (struct mark){s->id, s->frozen ? INT64_MAX : stream_reach(s)};
    }
    return n;
}

static void
send_pull(struct gossip *g, struct journal *j, struct out *out, uint32_t link, struct mono now)
{
    struct gossip_link *l     = &g->link[link];
    struct mark        *mark  = arena_take(&out->arena, STREAMS_MAX * sizeof *mark);
    uint32_t            n     = pull_marks(j, mark);
    const struct frame  frame = {
         .kind = FRAME_PULL,
         .pull = {.have = {.at = mark, .count = n, .cap = n}, .credit = CREDIT_BYTES},
    };
    out_send(out, link, &frame);
    l->credit_due    = 0;
    l->asked         = true;
    g->pulling       = true;
    g->pull_link     = link;
    g->pull_last     = link;
    g->pull_progress = now;
    g->pulls++;
}

/* It waits for our disk, or for our judgement, not we for it. */
static bool
is_patient(const struct gossip *g, const struct gossip_link *l, struct mono now)
{
    return l->storing > 0 || g->gaps_storing > 0 || !mono_reached(now, l->patience);
}

/* Whom to pull from; not from `but`.  Each stream has its turn: one that nobody can go on with
 * now must not keep us from whoever has more of another. */
static bool
pick(struct gossip *g, struct mono now, uint32_t but, uint32_t *link)
{
    LIST_EACH(node, &g->lacking)
    {
        struct stream *s = LIST_OF(node, struct stream, lacking);
        if (!mono_reached(now, mono_after(s->progress, LACK_MS)) || !pick_holder(g, s, but, link))
            continue;
        list_remove(&s->lacking);
        list_push_back(&g->lacking, &s->lacking);
        return true;
    }
    return false;
}

/* Has it nothing yet of what others published?  All that it has comes from one broker at most,
 * which may be itself. */
static bool
is_joiner(const struct journal *j)
{
    const struct vector *v     = &j->durable;
    const struct stream *first = v->count > 0 ? journal_find(j, v->at[0].stream) : NULL;
    for (uint32_t i = 1; i < v->count; i++)
        if (!str_eq(journal_find(j, v->at[i].stream)->origin, first->origin))
            return false;
    return true;
}

/* A joiner lacks nothing of streams that are retired everywhere else; but the newest messages
 * of their topics come with a pull alone.  So it pulls from everybody once. */
static bool
pick_as_joiner(const struct gossip *g, const struct journal *j, uint32_t *link)
{
    for (uint32_t i = 0; j->retire_ms > 0 && i < LINKS_MAX; i++) {
        const struct gossip_link *l = &g->link[i];
        if (!l->up || !l->told_all || l->asked)
            continue;
        *link = i;
        return is_joiner(j);
    }
    return false;
}

static void
ask(struct gossip *g, struct journal *j, struct out *out, struct mono now)
{
    uint32_t link;
    g->asked = now;
    if (!g->disk_works)
        return;
    if (g->pulling) {
        const struct gossip_link *l    = &g->link[g->pull_link];
        bool                      more = has_more(g, l);
        if (is_patient(g, l, now))
            g->pull_progress = now;
        if (more && !mono_reached(now, mono_after(g->pull_progress, PULL_RETRY_MS)))
            return;
        g->pull_idle = more ? g->pull_link : LINKS_MAX;
        g->pulling   = false;
    }
    /* Who did not answer is asked again only when there is nobody else for anything. */
    if (pick(g, now, g->pull_idle, &link) ||
        (g->pull_idle < LINKS_MAX && pick(g, now, LINKS_MAX, &link)) || pick_as_joiner(g, j, &link))
        send_pull(g, j, out, link, now);
}

static void
grant(struct gossip *g, struct out *out)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct gossip_link *l = &g->link[i];
        if (!l->up || !g->disk_works || l->credit_due < CREDIT_BYTES / 4)
            continue;
        out_send(out, i, &(struct frame){.kind = FRAME_CREDIT, .credit = {.bytes = l->credit_due}});
        l->credit_due = 0;
    }
}

static void
judge_catching_up(struct gossip *g)
{
    uint64_t lack = list_is_empty(&g->lacking) ? 0 : gossip_lack(g);
    bool     now  = lack > (g->catching_up ? CATCH_UP_BELOW : CATCH_UP_ABOVE);
    if (now == g->catching_up)
        return;
    g->catching_up = now;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        g->link[i].heads_now = true;
}

bool
gossip_has_offers(const struct gossip *g)
{
    return g->offers.used > 0;
}

void
gossip_turn(const struct intake *in, const struct gossip_side *side)
{
    struct gossip *g = in->g;
    if (mono_reached(in->now, g->offers_at))
        offers_judge(in, side);
    judge_catching_up(g);
    floors_settle(g, in->j);
    tell(g, in->j, in->out, in->now, &side->accepted);
    ask(g, in->j, in->out, in->now);
    grant(g, in->out);
    repair_turn(g, in->j, in->out, in->now);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (g->link[i].serving)
            serve(g, in->j, in->out, i);
}

struct mono
gossip_deadline(const struct gossip *g)
{
    struct mono at = g->heads_soon;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        if (!g->link[i].up)
            continue;
        at = mono_min(at, g->link[i].heads_full_at);
        if (serve_can_go_on(g, &g->link[i]))
            return (struct mono){0};
    }
    if (!g->disk_works)
        return at;
    at = mono_min(at, mono_min(wait_deadline(g), g->offers_at));
    at = mono_min(at, repair_deadline(g));
    if (g->pulling)
        return mono_min(at, mono_after(g->pull_progress, PULL_RETRY_MS));
    LIST_EACH(node, &g->lacking)
    {
        const struct stream *s   = LIST_OF(node, struct stream, lacking);
        struct mono          due = mono_after(s->progress, LACK_MS);
        if (!mono_reached(g->asked, due)) /* else nobody can supply more of it now */
            at = mono_min(at, due);
    }
    return at;
}
