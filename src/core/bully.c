#include "core/bully.h"

#include "base/check.h"
#include "core/batch.h"

#define BIT(slot) (1u << (slot))
#define TO(s) (1u << BULLY_##s)

static const uint8_t allowed[BULLY_STATE_COUNT] = {
    [BULLY_CANVASS] = TO(DEFER) | TO(CLAIM) | TO(LEAD) | TO(FOLLOW),
    [BULLY_DEFER]   = TO(CANVASS) | TO(FOLLOW),
    [BULLY_CLAIM]   = TO(LEAD) | TO(CANVASS) | TO(FOLLOW),
    [BULLY_LEAD]    = TO(CLAIM) | TO(FOLLOW),
    [BULLY_FOLLOW]  = TO(CANVASS) | TO(FOLLOW),
};

/* The only place where `state` is written. */
static void
enter(struct bully *b, enum bully_state next, struct mono deadline)
{
    CHECK(allowed[b->state] & (1u << next));
    b->state    = next;
    b->deadline = deadline;
}

void
bully_init(struct bully *b, const struct addr *self, uint64_t nonce,
           const struct recovered *recovered, struct mono now)
{
    *b = (struct bully){.self = *self, .nonce = nonce, .state = BULLY_CANVASS, .dirty = false};
    b->deadline    = mono_after(now, BULLY_CANVASS_MS);
    b->claim_after = mono_after(now, BULLY_START_MS);
    b->ready       = MONO_NEVER;
    if (!recovered)
        return;
    b->accepted = recovered->token;
    b->epoch    = recovered->epoch > b->accepted.epoch ? recovered->epoch : b->accepted.epoch;
}

/* ---- what the view says ---- */

/* The slot of the reachable instance that holds this token; -1: none. */
static int
find_holder(const struct roster_view *view, const struct token *t)
{
    for (int i = 0; t->epoch > 0 && i < MEMBERS_MAX; i++)
        if ((view->reachable & BIT(i)) && view->at[i].nonce == t->nonce &&
            addr_cmp(&view->at[i].addr, &t->addr) == 0)
            return i;
    return -1;
}

static bool
is_able(const struct roster_view *view)
{
    return view->able & BIT(ROSTER_SELF);
}

static bool
is_higher(const struct bully *b, const struct addr *than)
{
    return addr_cmp(&b->self, than) > 0;
}

static bool
is_eligible(const struct bully *b, const struct roster_view *view, uint32_t slot)
{
    return (view->reachable & view->able & BIT(slot)) &&
           (b->passed_over[slot] == 0 || b->passed_over[slot] != view->at[slot].nonce);
}

/* The highest who may be expected to claim; -1: nobody. */
static int
find_candidate(const struct bully *b, const struct roster_view *view)
{
    int best = -1;
    for (int i = 0; i < MEMBERS_MAX; i++)
        if (is_eligible(b, view, (uint32_t)i) &&
            (best < 0 || addr_cmp(&view->at[i].addr, &view->at[best].addr) > 0))
            best = i;
    return best;
}

static bool
needs_election(const struct bully *b, const struct roster_view *view)
{
    return find_holder(view, &b->accepted) < 0 ||
           (is_able(view) && is_higher(b, &b->accepted.addr));
}

/* ---- moves ---- */

static void
canvass(struct bully *b, struct mono now)
{
    b->asked = 0;
    enter(b, BULLY_CANVASS, mono_after(now, BULLY_CANVASS_MS));
}

static void
settle(struct bully *b)
{
    bool own = b->accepted.nonce == b->nonce && addr_cmp(&b->accepted.addr, &b->self) == 0;
    enter(b, own ? BULLY_LEAD : BULLY_FOLLOW, MONO_NEVER);
}

/* A new token each time, so that none is ever claimed twice, also when its commit failed. */
static void
claim(struct bully *b, struct bully_do *out)
{
    if (b->epoch >= BULLY_EPOCH_MAX)
        return;
    b->epoch++;
    b->pending = (struct token){b->epoch, b->self, b->nonce};
    b->dirty   = false;
    enter(b, BULLY_CLAIM, MONO_NEVER);
    out->persist = true;
    out->token   = b->pending;
    out->epoch   = b->epoch;
}

/* Whoever claims is waited for again; and so is whoever is lower, since that one has no reason
 * to claim any more. */
static void
forgive(struct bully *b, const struct roster_view *view, int holder)
{
    for (int i = 0; i < MEMBERS_MAX; i++)
        if (addr_cmp(&view->at[i].addr, &view->at[holder].addr) <= 0)
            b->passed_over[i] = 0;
}

static void
accept(struct bully *b, const struct roster_view *view, const struct bully_message *m,
       struct bully_do *out)
{
    int holder = find_holder(view, &m->token);
    CHECK(holder >= 0);
    CHECK(token_cmp(&m->token, &b->accepted) > 0);
    b->accepted = m->token;
    b->dirty    = true;
    forgive(b, view, holder);
    if (token_cmp(&b->offered, &b->accepted) <= 0)
        b->offered.epoch = 0;
    enter(b, BULLY_FOLLOW, MONO_NEVER);
    /* The holder tells those it hears; the others wait for nobody's ping. */
    out->coordinator |= view->linked & ~view->at[holder].edges & ~BIT(holder) & ~BIT(m->from);
}

/* Kept until its holder is reachable: a token mostly comes before the rows do. */
static void
note_offer(struct bully *b, struct mono now, const struct bully_message *m)
{
    int c = token_cmp(&m->token, &b->offered);
    if (c > 0)
        b->offered_at = now;
    if (c >= 0) {
        b->offered      = m->token;
        b->offered_from = m->from;
    }
}

/* The lowest token that may be taken up lies above this. */
static const struct token *
highest(const struct bully *b)
{
    return b->state == BULLY_CLAIM && token_cmp(&b->pending, &b->accepted) > 0 ? &b->pending
                                                                               : &b->accepted;
}

/* A token was shown to us, by whomever. */
static void
weigh(struct bully *b, struct mono now, const struct roster_view *view,
      const struct bully_message *m, struct bully_do *out)
{
    const struct token *t = &m->token;
    if (t->epoch == 0 || t->epoch > BULLY_EPOCH_MAX || t->epoch > b->epoch + BULLY_EPOCH_AHEAD_MAX)
        return;
    if (t->epoch > b->epoch) {
        b->epoch = t->epoch;
        b->dirty = true;
    }
    int c = token_cmp(t, highest(b));
    if (c < 0 && b->state != BULLY_CLAIM && find_holder(view, &b->accepted) >= 0)
        out->coordinator |= BIT(m->from); /* refused: this is the one to follow */
    if (c <= 0)
        return;
    bool leads  = b->state == BULLY_LEAD || b->state == BULLY_CLAIM;
    int  holder = find_holder(view, t);
    if (holder == ROSTER_SELF) /* own instance, yet never claimed: nonsense */
        return;
    if (holder > ROSTER_SELF && !(leads && is_able(view) && is_higher(b, &t->addr))) {
        accept(b, view, m, out);
        return;
    }
    note_offer(b, now, m);
    if (holder > ROSTER_SELF && b->state == BULLY_LEAD)
        claim(b, out); /* a reachable lower one does not depose us */
}

/* ---- time ---- */

static void
update_ready(struct bully *b, struct mono now, const struct roster_view *view)
{
    bool ready = is_able(view) && view->all_tried && mono_reached(now, b->claim_after);
    if (!ready)
        b->ready = MONO_NEVER;
    else if (b->ready.ms == MONO_NEVER.ms)
        b->ready = now;
}

/* Who comes up together becomes able together: let the rows say so before we claim.
 * Alone there is nobody to wait for. */
static struct mono
claim_time(const struct bully *b, const struct roster_view *view)
{
    bool alone = !((view->reachable | view->linked) & ~BIT(ROSTER_SELF));
    return mono_after(b->ready, alone ? 0 : BULLY_CANVASS_MS);
}

static void
tick_canvass(struct bully *b, struct mono now, const struct roster_view *view, struct bully_do *out)
{
    if (!needs_election(b, view)) {
        settle(b);
        return;
    }
    b->asked &= view->linked;
    for (uint32_t i = 1; i < MEMBERS_MAX; i++)
        if ((view->linked & ~b->asked & BIT(i)) && !is_higher(b, &view->at[i].addr))
            out->election |= BIT(i);
    b->asked |= out->election;
    if (!mono_reached(now, b->deadline))
        return;
    int best    = find_candidate(b, view);
    b->deadline = mono_after(now, BULLY_CANVASS_MS / 4); /* not yet, nobody able: look again */
    if (best > ROSTER_SELF) {
        b->waited = (uint8_t)best;
        enter(b, BULLY_DEFER, mono_after(now, BULLY_DEFER_MS));
    } else if (best == ROSTER_SELF && mono_reached(now, claim_time(b, view))) {
        claim(b, out);
    }
}

static void
tick_defer(struct bully *b, struct mono now, const struct roster_view *view)
{
    if (!needs_election(b, view)) {
        settle(b);
    } else if (!is_eligible(b, view, b->waited)) {
        canvass(b, now);
    } else if (mono_reached(now, b->deadline)) {
        b->passed_over[b->waited] = view->at[b->waited].nonce;
        canvass(b, now);
    }
}

/* Somebody on our side is bound to a greater token whose holder is gone. */
static void
tick_lead(struct bully *b, struct mono now, const struct roster_view *view, struct bully_do *out)
{
    if (b->offered.epoch == 0 || !mono_reached(now, mono_after(b->offered_at, BULLY_OUTBID_MS)))
        return;
    b->offered_at = now;
    if (is_able(view) && (view->reachable & BIT(b->offered_from)))
        claim(b, out);
}

static void
tick_state(struct bully *b, struct mono now, const struct roster_view *view, struct bully_do *out)
{
    switch (b->state) {
    case BULLY_CANVASS:
        tick_canvass(b, now, view, out);
        return;
    case BULLY_DEFER:
        tick_defer(b, now, view);
        return;
    case BULLY_LEAD:
        tick_lead(b, now, view, out);
        return;
    case BULLY_FOLLOW:
        if (needs_election(b, view))
            canvass(b, now);
        return;
    case BULLY_CLAIM: /* the disk has the word */
        return;
    case BULLY_STATE_COUNT:
        break;
    }
    CHECK(!"bully: impossible state");
}

struct bully_do
bully_tick(struct bully *b, struct mono now, const struct roster_view *view)
{
    struct bully_do      out   = {0};
    struct bully_message offer = {FRAME_PING, b->offered_from, b->offered};
    update_ready(b, now, view);
    if (offer.token.epoch > 0 && find_holder(view, &offer.token) >= 0)
        weigh(b, now, view, &offer, &out);
    /* Entering a state may leave something to do in it at once. */
    enum bully_state before = b->state;
    tick_state(b, now, view, &out);
    if (b->state != before && b->state == BULLY_CANVASS)
        tick_state(b, now, view, &out);
    b->has_coordinator = find_holder(view, &b->accepted) >= 0;
    return out;
}

/* ---- messages ---- */

struct bully_do
bully_receive(struct bully *b, struct mono now, const struct roster_view *view,
              const struct bully_message *message)
{
    struct bully_do out = {0};
    switch ((unsigned)message->kind) {
    case FRAME_ELECTION:
        out.ok = BIT(message->from);
        weigh(b, now, view, message, &out);
        out.coordinator &= ~out.ok; /* OK says it already */
        break;
    case FRAME_OK:
    case FRAME_COORDINATOR:
    case FRAME_PING:
    case FRAME_HEADS:
        weigh(b, now, view, message, &out);
        break;
    }
    b->has_coordinator = find_holder(view, &b->accepted) >= 0;
    return out;
}

struct bully_do
bully_persisted(struct bully *b, struct mono now, const struct roster_view *view,
                const struct token *token, enum err err)
{
    struct bully_do out  = {0};
    bool            ours = b->state == BULLY_CLAIM && token_cmp(token, &b->pending) == 0;
    if (err != ERR_OK)
        b->dirty = true;
    if (ours && err != ERR_OK) {
        canvass(b, now);
    } else if (ours) {
        b->accepted = b->pending;
        if (token_cmp(&b->offered, &b->accepted) <= 0)
            b->offered.epoch = 0;
        enter(b, BULLY_LEAD, MONO_NEVER);
        out.coordinator = view->linked;
    }
    b->has_coordinator = find_holder(view, &b->accepted) >= 0;
    return out;
}

void
bully_stalled(struct bully *b, struct mono now)
{
    b->claim_after = mono_after(now, BULLY_START_MS);
    b->ready       = MONO_NEVER;
    b->offered_at  = now;
    if (b->state == BULLY_CANVASS)
        b->deadline = mono_after(now, BULLY_CANVASS_MS);
    if (b->state == BULLY_DEFER)
        b->deadline = mono_after(now, BULLY_DEFER_MS);
}

struct mono
bully_deadline(const struct bully *b)
{
    if (b->state == BULLY_LEAD && b->offered.epoch > 0)
        return mono_after(b->offered_at, BULLY_OUTBID_MS);
    return b->deadline;
}

/* ---- for others ---- */

bool
bully_save(struct bully *b, struct token *token, uint64_t *epoch)
{
    /* While a claim is on its way to the disk nothing lower may follow it there. */
    if (!b->dirty || b->state == BULLY_CLAIM)
        return false;
    *token   = b->accepted;
    *epoch   = b->epoch;
    b->dirty = false;
    return true;
}

struct token
bully_token(const struct bully *b)
{
    return b->accepted;
}

bool
bully_has_coordinator(const struct bully *b)
{
    return b->has_coordinator;
}

bool
bully_is_leading(const struct bully *b)
{
    return b->state == BULLY_LEAD;
}

const char *
bully_state_text(const struct bully *b)
{
    static const char *const text[BULLY_STATE_COUNT] = {
        [BULLY_CANVASS] = "canvass", [BULLY_DEFER] = "defer",   [BULLY_CLAIM] = "claim",
        [BULLY_LEAD] = "lead",       [BULLY_FOLLOW] = "follow",
    };
    return text[b->state];
}
