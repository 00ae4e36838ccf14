#include "core/own.h"

#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"

#include <string.h>

void
own_init(struct own *o, struct str origin, uint64_t seed)
{
    *o = (struct own){.origin = origin, .prng = {seed}, .serial_next = 1};
    buf_init(&o->bytes, OWN_QUEUE_BYTES_MAX);
    o->item    = mem_new(OWN_QUEUE_MESSAGES_MAX * sizeof *o->item);
    o->scratch = mem_new(BATCH_MESSAGES_MAX * sizeof *o->scratch);
    o->deps    = mem_new(STREAMS_MAX * sizeof *o->deps);
}

void
own_fini(struct own *o)
{
    buf_fini(&o->bytes);
    mem_free(o->item);
    mem_free(o->scratch);
    mem_free(o->deps);
}

static struct own_item *
item(const struct own *o, uint32_t i)
{
    return &o->item[(o->item_first + i) % OWN_QUEUE_MESSAGES_MAX];
}

enum err
own_add(struct own *o, const struct msg *m, uint64_t *serial)
{
    uint8_t *room;
    size_t   n = m->topic.n + m->headers.n + m->body.n;
    CHECK(m->topic.n <= TOPIC_BYTES_MAX && m->headers.n <= HEADERS_BYTES_MAX);
    CHECK(m->body.n <= BODY_BYTES_MAX);
    if (o->item_count == OWN_QUEUE_MESSAGES_MAX || buf_room(&o->bytes, n, &room) != ERR_OK)
        return ERR_BUSY;
    const struct str part[] = {m->topic, m->headers, m->body};
    for (size_t i = 0; i < sizeof part / sizeof *part; room += part[i++].n)
        if (part[i].n > 0)
            memcpy(room, part[i].p, part[i].n);
    buf_grew(&o->bytes, n);
    *item(o, o->item_count) =
        (struct own_item){(uint32_t)m->topic.n, (uint32_t)m->headers.n, (uint32_t)m->body.n};
    o->item_count++;
    o->body_bytes += m->body.n;
    *serial = o->serial_next++;
    return ERR_OK;
}

uint32_t
own_queued(const struct own *o)
{
    return o->item_count;
}

bool
own_has_full_batch(const struct own *o)
{
    return o->item_count >= BATCH_MESSAGES_MAX || o->body_bytes >= BATCH_BODY_BYTES_MAX;
}

static struct str
slice(const uint8_t **at, uint32_t n)
{
    struct str s = {*at, n};
    *at += n;
    return s;
}

/* Point scratch[] at the longest front of the queue that the protocol allows in one
 * batch; how many messages that is, at least one. */
static uint32_t
gather(const struct own *o, uint32_t deps_count, bool first, size_t *bytes)
{
    const uint8_t *at = buf_str(&o->bytes).p, *start = at;
    size_t         bodies = 0;
    size_t         rest   = deps_count * sizeof(struct mark) + (first ? o->origin.n : 0);
    uint32_t       n      = 0;

    for (; n < o->item_count && n < BATCH_MESSAGES_MAX; n++) {
        const struct own_item *i = item(o, n);
        bodies += i->body_n;
        rest += i->topic_n + i->headers_n;
        if (n > 0 && (bodies > BATCH_BODY_BYTES_MAX || rest > BATCH_REST_BYTES_MAX))
            break;
        o->scratch[n] = (struct msg){.topic   = slice(&at, i->topic_n),
                                     .headers = slice(&at, i->headers_n),
                                     .body    = slice(&at, i->body_n)};
    }
    *bytes = (size_t)(at - start);
    return n;
}

static void
consume(struct own *o, uint32_t count, size_t bytes)
{
    for (uint32_t i = 0; i < count; i++)
        o->body_bytes -= item(o, i)->body_n;
    o->item_first = (o->item_first + count) % OWN_QUEUE_MESSAGES_MAX;
    o->item_count -= count;
    buf_consume(&o->bytes, bytes);
}

static enum err
mint(struct own *o, struct journal *j)
{
    uint64_t id;
    do
        id = prng_next(&o->prng) >> 1;
    while (id == 0 || journal_find(j, id));
    if (!journal_mint(j, id, o->origin))
        return ERR_LIMIT;
    o->stream = id;
    return ERR_OK;
}

enum err
own_seal(struct own *o, struct journal *j, struct stamp *clock, struct wall wall,
         struct own_sealed *sealed)
{
    CHECK(o->item_count > 0);
    if (o->stream == 0) {
        enum err minted = mint(o, j);
        if (minted != ERR_OK)
            return minted;
    }
    const struct stream *s     = journal_find(j, o->stream);
    bool                 first = s->held == 0;
    size_t               bytes;
    uint64_t             lamport;
    uint32_t             deps_count = journal_deps(j, first, o->deps, STREAMS_MAX);
    uint32_t             count      = gather(o, deps_count, first, &bytes);
    enum err             e          = stamp_seal(clock, count, &lamport);
    if (e != ERR_OK)
        return e;
    const struct batch_parts parts = {
        .stream        = o->stream,
        .first         = s->held + 1,
        .prev          = s->held_chain,
        .lamport_first = lamport,
        .wall          = wall,
        .origin        = first ? o->origin : (struct str){0},
        .deps          = o->deps,
        .deps_count    = deps_count,
        .msg           = o->scratch,
        .count         = count,
    };
    sealed->batch  = batch_make(&parts);
    sealed->serial = o->serial_next - o->item_count;
    journal_hand_over(j, sealed->batch);
    consume(o, count, bytes);
    return ERR_OK;
}

void
own_burn(struct own *o, struct journal *j)
{
    struct stream *s = o->stream != 0 ? journal_find(j, o->stream) : NULL;
    if (s)
        s->live = false; /* what peers have of it now comes back as from anyone */
    if (s && s->durable == 0)
        journal_drop(j, s); /* its first batch was not pushed */
    o->stream = 0;
}

uint32_t
own_drop_queue(struct own *o, uint64_t *serial)
{
    uint32_t count = o->item_count;
    *serial        = o->serial_next - count;
    consume(o, count, buf_str(&o->bytes).n);
    return count;
}

void
own_trim(struct own *o)
{
    if (o->item_count == 0)
        buf_clear_free(&o->bytes);
}
