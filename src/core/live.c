#include "core/live.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"

#include <string.h>

/* ---- what is published here ---- */

void
live_init(struct live *q, struct str origin)
{
    *q = (struct live){.origin = origin, .serial_next = 1};
    buf_init(&q->bytes, LIVE_QUEUE_BYTES_MAX);
}

void
live_fini(struct live *q)
{
    buf_fini(&q->bytes);
    mem_free(q->item);
    mem_free(q->scratch);
}

enum err
live_add(struct live *q, const struct msg *m, uint64_t *serial)
{
    uint8_t *room;
    size_t   n = m->topic.n + m->headers.n + m->body.n;
    CHECK(m->topic.n <= TOPIC_BYTES_MAX && m->headers.n <= HEADERS_BYTES_MAX);
    CHECK(m->body.n <= BODY_BYTES_MAX);
    if (q->first + q->count == LIVE_QUEUE_MESSAGES_MAX || buf_room(&q->bytes, n, &room) != ERR_OK)
        return ERR_BUSY;
    if (!q->item) {
        q->item    = mem_new(LIVE_QUEUE_MESSAGES_MAX * sizeof *q->item);
        q->scratch = mem_new(BATCH_MESSAGES_MAX * sizeof *q->scratch);
    }
    const struct str part[] = {m->topic, m->headers, m->body};
    for (size_t i = 0; i < sizeof part / sizeof *part; room += part[i++].n)
        if (part[i].n > 0)
            memcpy(room, part[i].p, part[i].n);
    buf_grew(&q->bytes, n);
    q->item[q->first + q->count++] =
        (struct live_item){(uint32_t)m->topic.n, (uint32_t)m->headers.n, (uint32_t)m->body.n};
    *serial = q->serial_next++;
    return ERR_OK;
}

static struct str
slice(const uint8_t **at, uint32_t n)
{
    struct str s = {*at, n};
    *at += n;
    return s;
}

/* Point scratch[] at the longest front of the queue that fits one batch: at least one. */
static uint32_t
gather(const struct live *q, size_t *bytes)
{
    const uint8_t *at = buf_str(&q->bytes).p, *start = at;
    size_t         bodies = 0, rest = q->origin.n;
    uint32_t       n = 0;
    for (; n < q->count && n < BATCH_MESSAGES_MAX; n++) {
        const struct live_item *i = &q->item[q->first + n];
        bodies += i->body_n;
        rest += i->topic_n + i->headers_n;
        if (n > 0 && (bodies > BATCH_BODY_BYTES_MAX || rest > BATCH_REST_BYTES_MAX))
            break;
        q->scratch[n] = (struct msg){.topic   = slice(&at, i->topic_n),
                                     .headers = slice(&at, i->headers_n),
                                     .body    = slice(&at, i->body_n)};
    }
    *bytes = (size_t)(at - start);
    return n;
}

static void
consume(struct live *q, uint32_t count, size_t bytes)
{
    buf_consume(&q->bytes, bytes);
    q->count -= count;
    q->first = q->count > 0 ? q->first + count : 0;
}

enum err
live_seal(struct live *q, struct stamp *clock, struct wall wall, struct batch **batch,
          uint64_t *serial)
{
    size_t   bytes;
    uint64_t lamport;
    CHECK(q->count > 0);
    uint32_t count = gather(q, &bytes);
    enum err e     = stamp_seal(clock, count, &lamport);
    if (e != ERR_OK)
        return e;
    const struct batch_parts parts = {.lamport_first = lamport,
                                      .wall          = wall,
                                      .origin        = q->origin,
                                      .msg           = q->scratch,
                                      .count         = count};
    *batch                         = batch_make_live(&parts);
    *serial                        = q->serial_next - q->count;
    consume(q, count, bytes);
    return ERR_OK;
}

uint32_t
live_drop(struct live *q, uint64_t *serial)
{
    uint32_t count = q->count;
    *serial        = q->serial_next - count;
    consume(q, count, buf_str(&q->bytes).n);
    return count;
}

void
live_trim(struct live *q)
{
    if (q->count == 0)
        buf_clear_free(&q->bytes);
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
