/* Of core/roster.h: what is heard, who is reachable, whom to dial. */
#include "core/roster.h"

#include "base/check.h"

#define BIT(slot) (1u << (slot))

/* ---- queries ---- */

const struct roster_member *
roster_member(const struct roster *r, uint8_t slot)
{
    return slot < MEMBERS_MAX && r->slot[slot].used ? &r->slot[slot] : NULL;
}

struct str
roster_host(const struct roster_member *m)
{
    return (struct str){(const uint8_t *)m->host, m->host_bytes};
}

uint32_t
roster_members(const struct roster *r)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++)
        if (r->slot[i].used)
            set |= BIT(i);
    return set;
}

uint32_t
roster_linked(const struct roster *r)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++)
        if (r->slot[i].linked)
            set |= BIT(i);
    return set;
}

uint32_t
roster_count(const struct roster *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++)
        count += r->slot[i].used;
    return count;
}

uint32_t
roster_majority(const struct roster *r)
{
    return roster_count(r) / 2 + 1;
}

bool
roster_is_able(const struct roster *r, struct mono now)
{
    return r->disk_works && mono_reached(now, mono_after(r->start, ROSTER_ABLE_MS));
}

/* ---- reachability ---- */

static bool
lives(const struct roster *r, struct mono now, uint32_t slot)
{
    return !mono_reached(now, r->slot[slot].row.until);
}

/* Whom I heard within 3 s. */
static uint32_t
own_heard(const struct roster *r, struct mono now)
{
    uint32_t set = 0;
    for (uint32_t i = 1; i < MEMBERS_MAX; i++)
        if (r->slot[i].used && !mono_reached(now, r->slot[i].heard_until))
            set |= BIT(i);
    return set;
}

/* edges[i]: who has a mutual edge with member i. */
static void
find_edges(const struct roster *r, struct mono now, uint32_t edges[MEMBERS_MAX])
{
    uint32_t heard[MEMBERS_MAX];
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        const struct roster_member *m = &r->slot[i];
        heard[i]                      = m->used && !m->away && lives(r, now, i) ? m->row.heard : 0;
    }
    heard[ROSTER_SELF] = own_heard(r, now);
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        edges[i] = 0;
        for (uint32_t rest = heard[i] & ~BIT(i); rest != 0; rest &= rest - 1) {
            int j = __builtin_ctz(rest);
            if (j < MEMBERS_MAX && heard[j] & BIT(i))
                edges[i] |= BIT(j);
        }
    }
}

static uint32_t
reach(const struct roster *r, struct mono now, const uint32_t edges[MEMBERS_MAX])
{
    uint32_t seen = BIT(ROSTER_SELF), before = 0;
    while (seen != before) {
        before = seen;
        for (uint32_t i = 0; i < MEMBERS_MAX; i++)
            if (seen & BIT(i))
                seen |= edges[i];
    }
    return mono_reached(now, r->kept_until) ? seen : seen | r->kept;
}

uint32_t
roster_reachable(const struct roster *r, struct mono now)
{
    uint32_t edges[MEMBERS_MAX];
    find_edges(r, now, edges);
    return reach(r, now, edges);
}

bool
roster_should_relay(const struct roster *r, struct mono now, uint8_t row, uint8_t to)
{
    uint32_t edges[MEMBERS_MAX];
    if (row == to || to == ROSTER_SELF || !r->slot[row].used || r->slot[row].row.stale)
        return false;
    if (row != ROSTER_SELF && !lives(r, now, row))
        return false;
    find_edges(r, now, edges);
    return !(edges[row] & BIT(to));
}

static bool
was_tried(const struct roster_dial *d, struct mono now)
{
    return d->tried || (d->pending && mono_reached(now, mono_after(d->began, ROSTER_DIAL_LONG_MS)));
}

void
roster_view(const struct roster *r, struct mono now, struct roster_view *view)
{
    uint32_t edges[MEMBERS_MAX];
    find_edges(r, now, edges);
    *view = (struct roster_view){.reachable = reach(r, now, edges), .all_tried = true};
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        const struct roster_member *m = &r->slot[i];
        if (!m->used)
            continue;
        view->at[i].addr  = m->addr;
        view->at[i].nonce = m->nonce;
        view->at[i].edges = edges[i];
        if (i == ROSTER_SELF ? roster_is_able(r, now) : m->row.able && lives(r, now, i))
            view->able |= BIT(i);
        if (m->linked)
            view->linked |= BIT(i);
        if (i != ROSTER_SELF && !m->linked && !was_tried(&m->dial, now))
            view->all_tried = false;
    }
}

/* ---- time ---- */

bool
roster_stalled(struct roster *r, struct mono now)
{
    uint64_t slept_ms = mono_since(now, r->row_due);
    if (slept_ms <= ROSTER_STALL_MS)
        return false;
    r->kept       = roster_reachable(r, r->row_due) & ~BIT(ROSTER_SELF);
    r->kept_until = mono_after(now, ROSTER_HEARD_MS);
    for (uint32_t i = 1; i < MEMBERS_MAX; i++) {
        struct roster_member *m = &r->slot[i];
        if (!m->used)
            continue;
        m->heard_until = mono_after(m->heard_until, slept_ms);
        m->row.until   = mono_after(m->row.until, slept_ms);
        m->row.stale   = true;
    }
    r->row_due = now;
    return true;
}

bool
roster_tick(struct roster *r, struct mono now)
{
    struct roster_row *row  = &r->slot[ROSTER_SELF].row;
    bool               able = roster_is_able(r, now);
    if (!mono_reached(now, r->row_due) && able == row->able)
        return false;
    row->count++;
    row->able  = able;
    row->heard = own_heard(r, now);
    r->row_due = mono_after(now, ROSTER_ROW_MS);
    return true;
}

/* Of two deadlines the sooner, where the second lies ahead. */
static struct mono
sooner(struct mono best, struct mono now, struct mono t)
{
    return mono_reached(now, t) ? best : mono_min(best, t);
}

struct mono
roster_deadline(const struct roster *r, struct mono now)
{
    struct mono best = sooner(r->row_due, now, mono_after(r->start, ROSTER_ABLE_MS));
    best             = mono_min(best, roster_call_deadline(r));
    if (r->kept)
        best = sooner(best, now, r->kept_until);
    for (uint32_t i = 1; i < MEMBERS_MAX; i++) {
        const struct roster_member *m = &r->slot[i];
        if (!m->used)
            continue;
        best = sooner(best, now, m->heard_until);
        best = sooner(best, now, m->row.until);
        if (m->dial.pending)
            best = sooner(best, now, mono_after(m->dial.began, ROSTER_DIAL_LONG_MS));
        else if (!m->linked)
            best = mono_min(best, m->dial.next);
    }
    return best;
}

/* ---- links and dials ---- */

void
roster_link_up(struct roster *r, struct mono now, uint8_t slot)
{
    struct roster_member *m = &r->slot[slot];
    CHECK(slot != ROSTER_SELF);
    if (!m->used)
        return;
    m->linked       = true;
    m->linked_at    = now;
    m->dial.pending = false;
    m->dial.tried   = true;
    roster_heard(r, now, slot);
}

static void
back_off(struct roster *r, struct mono now, struct roster_member *m)
{
    struct roster_dial *d = &m->dial;
    if (m->away)
        d->backoff_ms = ROSTER_DIAL_MAX_MS;
    else if (d->backoff_ms == 0)
        d->backoff_ms = ROSTER_DIAL_MIN_MS;
    else if (d->backoff_ms < ROSTER_DIAL_MAX_MS / 2)
        d->backoff_ms *= 2;
    else
        d->backoff_ms = ROSTER_DIAL_MAX_MS;
    /* Two that dial each other must not stay in step. */
    d->next = mono_after(now, d->backoff_ms - prng_below(&r->prng, d->backoff_ms / 4));
}

void
roster_link_down(struct roster *r, struct mono now, uint8_t slot)
{
    struct roster_member *m = &r->slot[slot];
    CHECK(slot != ROSTER_SELF);
    if (!m->used)
        return;
    m->linked = false;
    if (m->away || mono_since(now, m->linked_at) < ROSTER_DIAL_MAX_MS) {
        back_off(r, now, m); /* a link that lasts no time is as good as none */
        return;
    }
    m->dial.backoff_ms = 0;
    m->dial.next       = now;
}

bool
roster_dial_next(struct roster *r, struct mono now, uint8_t *slot)
{
    for (uint32_t i = 1; i < MEMBERS_MAX; i++) {
        struct roster_member *m = &r->slot[i];
        if (!m->used || m->linked || m->dial.pending || !mono_reached(now, m->dial.next))
            continue;
        m->dial.pending = true;
        m->dial.began   = now;
        *slot           = (uint8_t)i;
        return true;
    }
    return false;
}

void
roster_dial_failed(struct roster *r, struct mono now, const struct addr *addr)
{
    int slot = roster_find(r, addr);
    roster_call_failed(r, now, addr);
    if (slot <= ROSTER_SELF)
        return;
    struct roster_member *m = &r->slot[slot];
    m->dial.pending         = false;
    m->dial.tried           = true;
    back_off(r, now, m);
}
