/* roster_call.c - who was forgotten, and whom an operator wants back.
 *
 * Two that were made to forget each other dial nobody, so that neither could say HELLO again.
 * A call is a dial without a member: no slot, no vote, nothing gossiped. */
#include "core/roster.h"

#include "core/batch.h"

#include <string.h>

static struct roster_call *
find_call(struct roster *r, const struct addr *addr)
{
    for (int i = 0; i < ROSTER_CALLS; i++)
        if (r->call[i].addr.family != 0 && addr_cmp(&r->call[i].addr, addr) == 0)
            return &r->call[i];
    return NULL;
}

bool
roster_is_called(const struct roster *r, const struct addr *addr)
{
    for (int i = 0; i < ROSTER_CALLS; i++)
        if (r->call[i].addr.family != 0 && addr_cmp(&r->call[i].addr, addr) == 0)
            return true;
    return false;
}

static enum err
add_call(struct roster *r, struct mono now, const struct addr *addr, struct str host)
{
    for (int i = 0; i < ROSTER_CALLS; i++) {
        struct roster_call *c = &r->call[i];
        if (c->addr.family != 0)
            continue;
        *c            = (struct roster_call){.addr = *addr, .next = now};
        c->host_bytes = (uint8_t)(host.n < HOST_BYTES_MAX ? host.n : HOST_BYTES_MAX);
        if (c->host_bytes > 0)
            memcpy(c->host, host.p, c->host_bytes);
        return ERR_OK;
    }
    return ERR_LIMIT;
}

enum err
roster_join(struct roster *r, struct mono now, const struct addr *addr, struct str host)
{
    enum err e = roster_seed(r, now, addr, host);
    if (e != ERR_STALE || roster_is_called(r, addr))
        return e == ERR_STALE ? ERR_OK : e;
    return add_call(r, now, addr, host);
}

bool
roster_call_next(struct roster *r, struct mono now, struct addr *addr, struct str *host)
{
    for (int i = 0; i < ROSTER_CALLS; i++) {
        struct roster_call *c = &r->call[i];
        if (c->addr.family == 0 || c->pending || !mono_reached(now, c->next))
            continue;
        c->pending = true;
        *addr      = c->addr;
        *host      = (struct str){(const uint8_t *)c->host, c->host_bytes};
        return true;
    }
    return false;
}

void
roster_call_failed(struct roster *r, struct mono now, const struct addr *addr)
{
    struct roster_call *c = find_call(r, addr);
    if (!c)
        return;
    c->pending = false;
    c->next    = mono_after(now, ROSTER_CALL_MS);
}

void
roster_call_end(struct roster *r, const struct addr *addr)
{
    struct roster_call *c = find_call(r, addr);
    if (c)
        *c = (struct roster_call){0};
}

struct mono
roster_call_deadline(const struct roster *r)
{
    struct mono best = MONO_NEVER;
    for (int i = 0; i < ROSTER_CALLS; i++)
        if (r->call[i].addr.family != 0 && !r->call[i].pending)
            best = mono_min(best, r->call[i].next);
    return best;
}
