#include "core/roster.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/trace.h"
#include "core/batch.h"

#include <string.h>

#define BIT(slot) (1u << (slot))
/* A hostile version must leave room for the answer to it. */
#define VERSION_MAX ((UINT64_C(1) << 53) - 1)

enum { COMPLAIN_MS = 10000 };

/* ---- entries ---- */

static bool
is_valid(const struct addr *addr)
{
    return (addr->family == 4 || addr->family == 6) && addr->port > 0;
}

int
roster_find(const struct roster *r, const struct addr *addr)
{
    for (int i = 0; i < MEMBERS_MAX; i++)
        if (r->slot[i].used && addr_cmp(&r->slot[i].addr, addr) == 0)
            return i;
    return -1;
}

static int
find_tombstone(const struct roster *r, const struct addr *addr)
{
    for (uint32_t i = 0; i < r->tombstone_count; i++)
        if (addr_cmp(&r->tombstone[i].addr, addr) == 0)
            return (int)i;
    return -1;
}

const struct member_info *
roster_tombstone(const struct roster *r, const struct addr *addr)
{
    int at = find_tombstone(r, addr);
    return at < 0 ? NULL : &r->tombstone[at];
}

static void
drop_tombstone(struct roster *r, uint32_t at)
{
    r->tombstone_count--;
    memmove(&r->tombstone[at], &r->tombstone[at + 1],
            (r->tombstone_count - at) * sizeof r->tombstone[0]);
}

static void
add_tombstone(struct roster *r, const struct addr *addr, uint64_t version, uint64_t nonce)
{
    if (r->tombstone_count == TOMBSTONES_MAX)
        drop_tombstone(r, 0);
    r->tombstone[r->tombstone_count++] = (struct member_info){
        .addr = *addr, .version = version, .nonce = nonce, .flags = MEMBER_FORGOTTEN};
    r->dirty = true;
}

static void
set_host(struct roster_member *m, struct str host)
{
    m->host_bytes = (uint8_t)(host.n < HOST_BYTES_MAX ? host.n : HOST_BYTES_MAX);
    if (m->host_bytes > 0)
        memcpy(m->host, host.p, m->host_bytes);
}

/* Whatever was known of this slot speaks of another member. */
static void
clear_slot(struct roster *r, uint32_t slot)
{
    r->slot[slot] = (struct roster_member){0};
    for (int i = 0; i < MEMBERS_MAX; i++)
        r->slot[i].row.heard &= ~BIT(slot);
    r->kept &= ~BIT(slot);
}

/* The gossip repeats every second; the complaint does not. */
static void
complain_full(struct roster *r, struct mono now, const struct addr *addr)
{
    char text[ADDR_TEXT_BYTES];
    if (!mono_reached(now, r->complained))
        return;
    r->complained = mono_after(now, COMPLAIN_MS);
    addr_text(addr, text);
    tracef(TRACE_WARN,
           "member %s refused: the cluster has %d members already, the most there may be; "
           "remove one with 'hearsay forget HOST:PORT'",
           text, MEMBERS_MAX);
}

static int
add_member(struct roster *r, struct mono now, const struct member_info *info)
{
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        struct roster_member *m = &r->slot[i];
        if (m->used)
            continue;
        clear_slot(r, i);
        m->used      = true;
        m->addr      = info->addr;
        m->version   = info->version;
        m->nonce     = info->nonce;
        m->dial.next = now;
        set_host(m, info->host);
        r->dirty = true;
        roster_call_end(r, &info->addr);
        return (int)i;
    }
    complain_full(r, now, &info->addr);
    return -1;
}

static uint64_t
next_version(uint64_t version)
{
    return version < VERSION_MAX ? version + 1 : VERSION_MAX;
}

static void
bury(struct roster *r, uint32_t slot, uint64_t version, uint64_t nonce)
{
    struct addr addr = r->slot[slot].addr;
    CHECK(slot != ROSTER_SELF);
    clear_slot(r, slot);
    add_tombstone(r, &addr, version, nonce);
}

enum err
roster_seed(struct roster *r, struct mono now, const struct addr *addr, struct str host)
{
    struct member_info info = {.addr = *addr, .host = host};
    if (!is_valid(addr))
        return ERR_INVALID;
    if (roster_find(r, addr) >= 0)
        return ERR_OK;
    if (find_tombstone(r, addr) >= 0)
        return ERR_STALE;
    return add_member(r, now, &info) < 0 ? ERR_LIMIT : ERR_OK;
}

static enum err
merge_self(struct roster *r, const struct member_info *info)
{
    struct roster_member *self = &r->slot[ROSTER_SELF];
    if (info->flags & MEMBER_FORGOTTEN) {
        if (info->version < self->version)
            return ERR_STALE;
        if (info->nonce == self->nonce || info->version == VERSION_MAX)
            return ERR_REFUSED;
        self->version = info->version + 1; /* meant for a former life: this one is back */
    } else {
        if (info->version <= self->version)
            return ERR_STALE;
        self->version = info->version;
    }
    r->dirty = true;
    return ERR_OK;
}

static enum err
merge_tombstone(struct roster *r, const struct member_info *info)
{
    int slot = roster_find(r, &info->addr), at = find_tombstone(r, &info->addr);
    if (slot >= 0) {
        const struct roster_member *m = &r->slot[slot];
        if (info->version < m->version)
            return ERR_STALE;
        bury(r, (uint32_t)slot, info->version, info->nonce ? info->nonce : m->nonce);
        return ERR_OK;
    }
    if (at < 0) {
        add_tombstone(r, &info->addr, info->version, info->nonce);
        return ERR_OK;
    }
    struct member_info *t = &r->tombstone[at];
    if (info->version < t->version || (info->version == t->version && (t->nonce || !info->nonce)))
        return ERR_STALE;
    if (info->version > t->version)
        roster_call_end(r, &info->addr);
    t->version = info->version;
    t->nonce   = info->nonce ? info->nonce : t->nonce;
    r->dirty   = true;
    return ERR_OK;
}

static enum err
merge_member(struct roster *r, struct mono now, const struct member_info *info)
{
    int slot = roster_find(r, &info->addr), at = find_tombstone(r, &info->addr);
    if (slot >= 0) {
        struct roster_member *m = &r->slot[slot];
        if (m->nonce == 0)
            m->nonce = info->nonce; /* until we meet it: what a forget would speak of */
        if (info->version <= m->version)
            return ERR_STALE;
        m->version = info->version;
        set_host(m, info->host);
        r->dirty = true;
        return ERR_OK;
    }
    if (at >= 0 && info->version <= r->tombstone[at].version)
        return ERR_STALE;
    if (add_member(r, now, info) < 0)
        return ERR_LIMIT;
    if (at >= 0)
        drop_tombstone(r, (uint32_t)at);
    return ERR_OK;
}

enum err
roster_merge(struct roster *r, struct mono now, const struct member_info *info)
{
    if (!is_valid(&info->addr) || info->host.n > HOST_BYTES_MAX || info->version > VERSION_MAX)
        return ERR_INVALID;
    if (roster_find(r, &info->addr) == ROSTER_SELF)
        return merge_self(r, info);
    return info->flags & MEMBER_FORGOTTEN ? merge_tombstone(r, info) : merge_member(r, now, info);
}

enum err
roster_forget(struct roster *r, const struct addr *addr)
{
    int slot = roster_find(r, addr);
    if (slot == ROSTER_SELF)
        return ERR_INVALID;
    if (slot < 0) { /* forgotten before: tell it once more */
        roster_call_end(r, addr);
        return find_tombstone(r, addr) < 0 ? ERR_NOTFOUND : ERR_OK;
    }
    const struct roster_member *m = &r->slot[slot];
    bury(r, (uint32_t)slot, next_version(m->version), m->nonce);
    return ERR_OK;
}

/* ---- instances ---- */

static bool
is_old(const struct roster_member *m, struct mono now, uint64_t nonce)
{
    for (int i = 0; i < ROSTER_OLD_NONCES; i++)
        if (m->old[i].nonce == nonce && !mono_reached(now, m->old[i].until))
            return true;
    return false;
}

static void
meet(struct roster *r, struct mono now, struct roster_member *m, uint64_t nonce)
{
    if (m->nonce == nonce)
        return;
    for (int i = 0; i < ROSTER_OLD_NONCES; i++)
        if (m->old[i].nonce == nonce)
            m->old[i] = (struct roster_old){0};
    if (m->nonce != 0)
        m->old[m->old_at++ % ROSTER_OLD_NONCES] =
            (struct roster_old){m->nonce, mono_after(now, ROSTER_OLD_MS)};
    m->nonce       = nonce;
    m->row         = (struct roster_row){0};
    m->heard_until = (struct mono){0};
    m->away        = false;
    r->dirty       = true;
}

enum err
roster_hello(struct roster *r, struct mono now, const struct roster_instance *who, uint8_t *slot)
{
    int at = roster_find(r, &who->addr), grave = find_tombstone(r, &who->addr);
    if (!is_valid(&who->addr) || who->nonce == 0 || at == ROSTER_SELF)
        return ERR_INVALID;
    if (at < 0) {
        struct member_info info = {.addr = who->addr, .host = who->host};
        if (grave >= 0) {
            const struct member_info *t = &r->tombstone[grave];
            bool out = t->nonce == who->nonce && !roster_is_called(r, &who->addr);
            if (out || t->version == VERSION_MAX)
                return ERR_REFUSED;
            info.version = t->version + 1;
        }
        at = add_member(r, now, &info);
        if (at < 0)
            return ERR_LIMIT;
        if (grave >= 0)
            drop_tombstone(r, (uint32_t)grave);
    }
    struct roster_member *m = &r->slot[at];
    meet(r, now, m, who->nonce);
    set_host(m, who->host);
    *slot = (uint8_t)at;
    roster_heard(r, now, *slot);
    return ERR_OK;
}

bool
roster_alias(struct roster *r, const struct addr *dialled, const struct addr *announced)
{
    int slot = roster_find(r, dialled);
    if (addr_cmp(dialled, announced) != 0)
        roster_call_end(r, dialled);
    if (slot <= ROSTER_SELF || addr_cmp(dialled, announced) == 0)
        return false;
    struct roster_member *m = &r->slot[slot];
    if (m->nonce != 0) { /* somebody does announce it, though not who answered now */
        m->dial.pending = false;
        m->dial.tried   = true;
        m->dial.next    = mono_after(m->dial.began, ROSTER_DIAL_MAX_MS);
        return false;
    }
    bury(r, (uint32_t)slot, next_version(m->version), 0);
    return true;
}

/* ---- what is heard ---- */

void
roster_heard(struct roster *r, struct mono now, uint8_t slot)
{
    r->slot[slot].heard_until = mono_after(now, ROSTER_HEARD_MS);
}

void
roster_away(struct roster *r, uint8_t slot)
{
    struct roster_member *m = &r->slot[slot];
    CHECK(slot != ROSTER_SELF);
    if (!m->used)
        return;
    m->away            = true;
    m->dial.backoff_ms = ROSTER_DIAL_MAX_MS;
    r->kept &= ~BIT(slot);
}

void
roster_disk(struct roster *r, bool works)
{
    r->disk_works = works;
}

/* True: it is newer than what was known. */
static bool
merge_row(struct roster *r, struct mono now, uint32_t slot, const struct member_row *row,
          uint32_t heard)
{
    struct roster_member *m = &r->slot[slot];
    if (slot == ROSTER_SELF || row->nonce == 0 || row->count == 0)
        return false;
    if (row->nonce != m->nonce) {
        if (m->linked || is_old(m, now, row->nonce))
            return false;
        meet(r, now, m, row->nonce);
    }
    if (row->count <= m->row.count)
        return false;
    m->away = false;
    m->row  = (struct roster_row){.count = row->count,
                                  .until = mono_after(now, ROSTER_LIFE_MS),
                                  .heard = heard,
                                  .able  = row->able};
    return true;
}

struct roster_news
roster_merge_frame(struct roster *r, struct mono now, const struct frame_members *frame)
{
    struct roster_news news  = {0};
    uint32_t           count = frame->member_count;
    int                slot[MEMBERS_MAX + TOMBSTONES_MAX];
    if (count > MEMBERS_MAX + TOMBSTONES_MAX)
        count = MEMBERS_MAX + TOMBSTONES_MAX;
    for (uint32_t i = 0; i < count; i++) {
        /* Two brokers with too many tombstones would pass them back and forth for ever. */
        bool     full = r->tombstone_count == TOMBSTONES_MAX;
        enum err err  = roster_merge(r, now, &frame->member[i]);
        news.members |= err == ERR_OK && !full;
        news.forgotten |= err == ERR_REFUSED;
    }
    for (uint32_t i = 0; i < count; i++)
        slot[i] = roster_find(r, &frame->member[i].addr);
    for (uint32_t i = 0; i < frame->row_count; i++) {
        const struct member_row *row   = &frame->row[i];
        uint32_t                 heard = 0;
        if (row->member >= count || slot[row->member] < 0)
            continue;
        for (uint32_t j = 0; j < count && j < 32; j++)
            if ((row->heard & BIT(j)) && slot[j] >= 0)
                heard |= BIT(slot[j]);
        if (merge_row(r, now, (uint32_t)slot[row->member], row, heard))
            news.rows |= BIT(slot[row->member]);
    }
    return news;
}

static uint32_t
add_entry(const struct roster *r, uint32_t slot, struct member_info *to)
{
    const struct roster_member *m = &r->slot[slot];
    *to                           = (struct member_info){.addr = m->addr, .host = roster_host(m)};
    to->version                   = m->version;
    to->nonce                     = m->nonce;
    return 1;
}

static bool
may_give(const struct roster *r, struct mono now, uint32_t slot)
{
    const struct roster_row *row = &r->slot[slot].row;
    return slot == ROSTER_SELF ? row->count > 0 : !row->stale && !mono_reached(now, row->until);
}

struct frame_members
roster_frame(const struct roster *r, struct mono now, uint32_t rows, bool all,
             struct roster_frame *space)
{
    struct frame_members f      = {.member = space->member, .row = space->row};
    uint32_t             wanted = all ? roster_members(r) : 0;
    uint8_t              at[MEMBERS_MAX];
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        if (!r->slot[i].used || !may_give(r, now, i))
            rows &= ~BIT(i);
        if (rows & BIT(i))
            wanted |= BIT(i) | r->slot[i].row.heard;
    }
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        at[i] = (uint8_t)f.member_count;
        if (wanted & BIT(i))
            f.member_count += add_entry(r, i, &space->member[f.member_count]);
    }
    for (uint32_t i = 0; all && i < r->tombstone_count; i++)
        space->member[f.member_count++] = r->tombstone[i];
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        const struct roster_member *m     = &r->slot[i];
        uint32_t                    heard = 0;
        if (!(rows & BIT(i)))
            continue;
        for (uint32_t j = 0; j < MEMBERS_MAX; j++)
            if (m->row.heard & BIT(j))
                heard |= BIT(at[j]);
        space->row[f.row_count++] = (struct member_row){.member = at[i],
                                                        .able   = m->row.able,
                                                        .nonce  = m->nonce,
                                                        .count  = m->row.count,
                                                        .heard  = heard};
    }
    return f;
}

/* ---- persistence ---- */

bool
roster_is_dirty(const struct roster *r)
{
    return r->dirty;
}

void
roster_unsaved(struct roster *r)
{
    r->dirty = true;
}

struct member_list *
roster_list(struct roster *r)
{
    uint32_t count = r->tombstone_count;
    size_t   bytes = sizeof(struct member_list), hosts = 0;
    for (int i = 0; i < MEMBERS_MAX; i++) {
        count += r->slot[i].used;
        hosts += r->slot[i].host_bytes;
    }
    bytes += count * sizeof(struct member_info);
    struct member_list *list = blob_new(bytes + hosts);
    uint8_t            *host = (uint8_t *)list + bytes;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        struct member_info *info = &list->at[list->count];
        if (!r->slot[i].used)
            continue;
        list->count += add_entry(r, i, info);
        if (info->host.n > 0)
            memcpy(host, info->host.p, info->host.n);
        info->host.p = host;
        host += info->host.n;
    }
    for (uint32_t i = 0; i < r->tombstone_count; i++)
        list->at[list->count++] = r->tombstone[i];
    r->dirty = false;
    return list;
}

void
roster_init(struct roster *r, const struct roster_config *config, struct mono now)
{
    const struct recovered *was  = config->recovered;
    struct roster_member   *self = &r->slot[ROSTER_SELF];
    CHECK(is_valid(&config->self));
    CHECK(config->nonce != 0);
    *r         = (struct roster){.start = now, .row_due = now, .disk_works = true};
    r->prng    = (struct prng){config->seed};
    self->used = true;
    self->addr = config->self;
    set_host(self, config->host);
    self->nonce = config->nonce;
    /* What an earlier process wrote is taken like gossip, nonsense included. */
    for (uint32_t i = 0; was && i < was->member_count; i++) {
        enum err err = roster_merge(r, now, &was->member[i]);
        if (err == ERR_INVALID)
            tracef(TRACE_WARN, "a stored member is not valid and was left out");
    }
    r->dirty = false;
}
