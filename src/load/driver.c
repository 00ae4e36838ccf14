#include "bench/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct driver publish_drivers[] = {
    {"http", post_hello, NULL, NULL, post_message, NULL, true, post_take},
    {"ndjson", lines_up_hello, NULL, NULL, lines_up_message, NULL, true, lines_up_take},
    {"json", json_hello, NULL, NULL, json_message, NULL, true, json_take},
    {"nchan", post_hello, NULL, NULL, nchan_message, NULL, true, post_take},
    {"nats", nats_hello, nats_ready, NULL, nats_message, NULL, false, nats_take},
    {"jetstream", jetstream_hello, jetstream_ready, NULL, jetstream_message, NULL, true, nats_take},
    {"redis", redis_hello, redis_ready, NULL, redis_message, NULL, true, redis_take},
    {"redis-stream", redis_hello, redis_ready, NULL, xadd_message, NULL, true, redis_take},
    {"mqtt0", mqtt0_hello, mqtt0_ready, NULL, mqtt0_message, NULL, false, mqtt0_take},
    {"mqtt1", mqtt0_hello, mqtt0_ready, NULL, mqtt1_message, mqtt1_number, true, mqtt0_take},
    {NULL},
};

const struct driver subscribe_drivers[] = {
    {"ndjson", lines_down_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"sse", sse_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"poll", poll_hello, poll_ready, poll_begin, NULL, NULL, false, poll_take},
    {"json", json_sub_hello, json_sub_ready, NULL, NULL, NULL, false, json_take},
    {"nchan", nchan_sse_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"nats", nats_sub_hello, nats_ready, NULL, NULL, NULL, false, nats_take},
    {"redis", redis_sub_hello, redis_sub_ready, NULL, NULL, NULL, false, redis_sub_take},
    {"redis-stream", redis_hello, redis_ready, xread_begin, NULL, NULL, false, xread_take},
    {"mqtt0", mqtt0_sub_hello, mqtt0_sub_ready, NULL, NULL, NULL, false, mqtt0_take},
    {"mqtt1", mqtt1_sub_hello, mqtt0_sub_ready, NULL, NULL, NULL, false, mqtt0_take},
    {NULL},
};

static uint64_t
hex_number(const char *p, int digits)
{
    uint64_t n = 0;
    for (int i = 0; i < digits; i++) /* '0'..'9', 'a'..'f', as driver_mark writes them */
        n = n << 4 | (uint64_t)((p[i] & 15) + (p[i] >> 6) * 9);
    return n;
}

static bool
measured(const struct load *l, uint64_t ns)
{
    return ns >= l->warm && ns < l->end;
}

void
driver_acked(struct conn *c, const char *id, const char *end)
{
    struct load *l = c->load;
    if (c->sent_first == c->sent_next) {
        driver_error(c, "acknowledged, but not sent", 26);
        return;
    }
    if (id && !load_id_add(&l->ids, id, end)) {
        driver_error(c, id, (size_t)(end - id));
        id = NULL;
    }
    uint64_t sent = c->sent[c->sent_first++ & (c->sent_cap - 1)];
    l->acked++;
    c->unsent++;
    l->acked_warm += measured(l, l->now);
    if (measured(l, sent))
        histogram_add(&l->ack, l->now > sent ? l->now - sent : 0);
}

void
driver_delivered(struct conn *c, const char *p)
{
    struct load *l         = c->load;
    uint64_t     sent      = hex_number(p + 1, 16);
    unsigned     publisher = (unsigned)hex_number(p + 17, 4);
    uint32_t     number    = (uint32_t)hex_number(p + 21, 8);
    if (!c->expected || publisher >= l->publishers) {
        driver_error(c, p, MARK_BYTES);
        return;
    }
    if (number < c->expected[publisher]) {
        l->repeated++;
    } else {
        l->lost += number - c->expected[publisher];
        c->expected[publisher] = number + 1;
    }
    c->got++;
    l->delivered++;
    l->delivered_warm += measured(l, l->now);
    if (measured(l, sent))
        histogram_add(&l->delivery, l->now > sent ? l->now - sent : 0);
}

void
driver_send(struct conn *c, const char *p, size_t n)
{
    if (c->out_at == c->out_end)
        c->out_at = c->out_end = 0;
    if (c->out_end + n > c->out_cap) {
        c->out_cap = (c->out_end + n) * 2;
        c->out     = realloc(c->out, c->out_cap);
        if (!c->out)
            load_die("memory");
    }
    memcpy(c->out + c->out_end, p, n);
    c->out_end += n;
}

void
driver_error(struct conn *c, const char *p, size_t n)
{
    if (c->load->errors++ == 0)
        fprintf(stderr, "generator: %s: %.*s\n", c->driver->name, (int)(n < 300 ? n : 300), p);
}

void
driver_message(const struct load *l, struct message *m, const char *head, const char *tail)
{
    size_t head_bytes = strlen(head), tail_bytes = strlen(tail);
    m->bytes = head_bytes + l->body_bytes + tail_bytes;
    m->mark  = head_bytes;
    m->at    = malloc(m->bytes + 1);
    if (!m->at)
        load_die("memory");
    memcpy(m->at, head, head_bytes);
    memset(m->at + head_bytes, 'x', l->body_bytes);
    memcpy(m->at + head_bytes + l->body_bytes, tail, tail_bytes);
    const char *digits = memmem(m->at, head_bytes, "bench/000000", 12);
    m->topic           = l->topics > 1 && digits ? (size_t)(digits - m->at) + 6 : 0;
}

const char *
driver_topic(const struct load *l)
{
    return l->topics > 1 ? "bench/000000" : "bench";
}
