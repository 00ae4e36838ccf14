#include "core/live.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"

enum err
live_seal(struct queue *q, struct str origin, struct stamp *clock, struct wall wall,
          struct sealed *sealed)
{
    uint32_t          count;
    uint64_t          lamport;
    const struct msg *msg = queue_front(q, origin.n, &count);
    enum err          e   = stamp_seal(clock, count, &lamport);
    if (e != ERR_OK)
        return e;
    const struct batch_parts parts = {
        .lamport_first = lamport, .wall = wall, .origin = origin, .msg = msg, .count = count};
    sealed->batch  = batch_make_live(&parts);
    sealed->serial = queue_take(q, count);
    return ERR_OK;
}

/* ---- the shelf ---- */

enum { PLACES_FIRST = 64, PLACES_MAX = 65536 };

void
shelf_init(struct shelf *s)
{
    *s = (struct shelf){0};
}

static struct shelf_place *
place_of(const struct shelf *s, uint64_t place)
{
    return &s->at[place & (s->cap - 1)];
}

/* Off the shelf; the reference is the caller's. */
static struct batch *
take_off(struct shelf *s, struct shelf_place *p)
{
    struct batch *b = p->batch;
    s->bytes -= blob_bytes(b);
    *p = (struct shelf_place){0};
    return b;
}

static void
drop_spent(struct shelf *s)
{
    blob_drop(s->spent);
    s->spent = NULL;
}

static void
drop_oldest(struct shelf *s)
{
    struct shelf_place *p = place_of(s, s->first);
    s->lost += p->wanted;
    if (p->batch)
        blob_drop(take_off(s, p));
    s->first++;
}

void
shelf_fini(struct shelf *s)
{
    drop_spent(s);
    while (s->first < s->next)
        drop_oldest(s);
    mem_free(s->at);
}

static void
grow(struct shelf *s)
{
    uint32_t            cap = s->cap > 0 ? 2 * s->cap : PLACES_FIRST;
    struct shelf_place *at  = mem_new(cap * sizeof *at);
    for (uint64_t i = s->first; i < s->next; i++)
        at[i & (cap - 1)] = *place_of(s, i);
    mem_free(s->at);
    s->at  = at;
    s->cap = cap;
}

uint64_t
shelf_put(struct shelf *s, struct batch *b)
{
    drop_spent(s);
    while (s->first < s->next &&
           (!place_of(s, s->first)->batch || s->next - s->first == PLACES_MAX ||
            s->bytes + blob_bytes(b) > LIVE_WAITING_BYTES_MAX))
        drop_oldest(s);
    if (s->next - s->first == s->cap)
        grow(s);
    blob_keep(b);
    s->bytes += blob_bytes(b);
    *place_of(s, s->next) = (struct shelf_place){b, 1, 0};
    return s->next++;
}

const struct batch *
shelf_at(const struct shelf *s, uint64_t place)
{
    return place < s->first ? NULL : place_of(s, place)->batch;
}

void
shelf_tidy(struct shelf *s)
{
    drop_spent(s);
}

void
shelf_use(struct shelf *s, uint64_t place)
{
    CHECK(shelf_at(s, place));
    place_of(s, place)->uses++;
}

void
shelf_want(struct shelf *s, uint64_t place, int32_t more)
{
    if (shelf_at(s, place))
        place_of(s, place)->wanted += (uint32_t)more;
}

void
shelf_done(struct shelf *s, uint64_t place)
{
    drop_spent(s);
    if (!shelf_at(s, place))
        return; /* it had to go */
    struct shelf_place *p = place_of(s, place);
    if (--p->uses == 0)
        s->spent = take_off(s, p);
}
