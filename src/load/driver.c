#include "load/driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct driver load_publish[] = {
    {"http", post_hello, NULL, NULL, post_message, NULL, true, post_take},
    {"ndjson", lines_up_hello, NULL, NULL, lines_up_message, NULL, true, lines_up_take},
    {"json", json_hello, NULL, NULL, json_message, NULL, true, json_take},
    {NULL},
};

const struct driver load_subscribe[] = {
    {"ndjson", lines_down_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"sse", sse_hello, sse_ready, NULL, NULL, NULL, false, sse_take},
    {"poll", poll_hello, poll_ready, poll_begin, NULL, NULL, false, poll_take},
    {"json", json_sub_hello, json_sub_ready, NULL, NULL, NULL, false, json_take},
    {NULL},
};

static uint64_t
hex_number(const char *p, int digits)
{
    uint64_t n = 0;
    for (int i = 0; i < digits; i++) /* '0'..'9', 'a'..'f', as put_hex() of run.c writes them */
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
    if (n == 0)
        return;
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
        fprintf(stderr, "%s: %s: %.*s\n", program_invocation_short_name, c->driver->name,
                (int)(n < 300 ? n : 300), p);
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
    const char *topic = driver_topic(l), *at = memmem(m->at, head_bytes, topic, strlen(topic));
    m->topic = l->topics > 1 && at ? (size_t)(at - m->at) + strlen(topic) - 6 : 0;
}

const char *
driver_topic(const struct load *l)
{
    static char many[LOAD_TOPIC_BYTES + sizeof "/000000"];
    if (l->topics == 1)
        return l->topic;
    snprintf(many, sizeof many, "%s/000000", l->topic);
    return many;
}

const char *
driver_filter(const struct load *l)
{
    static char all[LOAD_TOPIC_BYTES + sizeof "/#"];
    if (l->topics == 1)
        return l->topic;
    snprintf(all, sizeof all, "%s/#", l->topic);
    return all;
}
