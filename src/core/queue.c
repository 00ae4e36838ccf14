#include "core/queue.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

void
queue_init(struct queue *q)
{
    *q = (struct queue){.serial_next = 1};
    buf_init(&q->bytes, QUEUE_BYTES_MAX);
}

void
queue_fini(struct queue *q)
{
    buf_fini(&q->bytes);
    mem_free(q->item);
    mem_free(q->front);
}

static struct queue_item *
item(const struct queue *q, uint32_t i)
{
    return &q->item[(q->first + i) % QUEUE_MESSAGES_MAX];
}

enum err
queue_add(struct queue *q, const struct msg *m, uint64_t *serial)
{
    uint8_t *room;
    size_t   n = m->topic.n + m->headers.n + m->body.n;
    CHECK(m->topic.n <= TOPIC_BYTES_MAX && m->headers.n <= HEADERS_BYTES_MAX);
    CHECK(m->body.n <= BODY_BYTES_MAX);
    if (q->count == QUEUE_MESSAGES_MAX || buf_room(&q->bytes, n, &room) != ERR_OK)
        return ERR_BUSY;
    if (!q->item) {
        q->item  = mem_new(QUEUE_MESSAGES_MAX * sizeof *q->item);
        q->front = mem_new(BATCH_MESSAGES_MAX * sizeof *q->front);
    }
    const struct str part[] = {m->topic, m->headers, m->body};
    for (size_t i = 0; i < sizeof part / sizeof *part; room += part[i++].n)
        if (part[i].n > 0)
            memcpy(room, part[i].p, part[i].n);
    buf_grew(&q->bytes, n);
    *item(q, q->count) =
        (struct queue_item){(uint32_t)m->topic.n, (uint32_t)m->headers.n, (uint32_t)m->body.n};
    q->count++;
    q->body_bytes += m->body.n;
    *serial = q->serial_next++;
    return ERR_OK;
}

bool
queue_takes(const struct queue *q)
{
    return q->count < QUEUE_MESSAGES_MAX &&
           q->bytes.n + TOPIC_BYTES_MAX + HEADERS_BYTES_MAX + BODY_BYTES_MAX <= QUEUE_BYTES_MAX;
}

bool
queue_has_full_batch(const struct queue *q)
{
    return q->count >= BATCH_MESSAGES_MAX || q->body_bytes >= BATCH_BODY_BYTES_MAX;
}

static struct str
slice(const uint8_t **at, uint32_t n)
{
    struct str s = {*at, n};
    *at += n;
    return s;
}

const struct msg *
queue_front(const struct queue *q, size_t rest, uint32_t *count)
{
    const uint8_t *at     = buf_str(&q->bytes).p;
    size_t         bodies = 0;
    uint32_t       n      = 0;
    CHECK(q->count > 0);
    for (; n < q->count && n < BATCH_MESSAGES_MAX; n++) {
        const struct queue_item *i = item(q, n);
        bodies += i->body_n;
        rest += i->topic_n + i->headers_n;
        if (n > 0 && (bodies > BATCH_BODY_BYTES_MAX || rest > BATCH_REST_BYTES_MAX))
            break;
        q->front[n] = (struct msg){.topic   = slice(&at, i->topic_n),
                                   .headers = slice(&at, i->headers_n),
                                   .body    = slice(&at, i->body_n)};
    }
    *count = n;
    return q->front;
}

uint64_t
queue_take(struct queue *q, uint32_t count)
{
    uint64_t serial = q->serial_next - q->count;
    size_t   bytes  = 0;
    CHECK(count <= q->count);
    for (uint32_t i = 0; i < count; i++) {
        const struct queue_item *it = item(q, i);
        q->body_bytes -= it->body_n;
        bytes += it->topic_n + it->headers_n + it->body_n;
    }
    q->first = (q->first + count) % QUEUE_MESSAGES_MAX;
    q->count -= count;
    buf_consume(&q->bytes, bytes);
    return serial;
}

uint32_t
queue_drop(struct queue *q, uint64_t *serial)
{
    uint32_t count = q->count;
    *serial        = queue_take(q, count);
    return count;
}

void
queue_trim(struct queue *q)
{
    if (q->count == 0)
        buf_clear_free(&q->bytes);
}
