/* driver_mqtt.c - MQTT 3.1.1 at QoS 0 and 1 (OASIS standard, sections 2 and 3). */
#include "bench/drivers.h"

#include <stdio.h>
#include <string.h>

enum {
    CONNACK      = 0x20,
    PUBLISH      = 0x30,
    QOS_1        = 0x02,
    QOS_MASK     = 0x06,
    PUBACK       = 0x40,
    SUBACK       = 0x90,
    CONNACK_SIZE = 4,
    SUBACK_SIZE  = 5,
};
static const char topic[] = "\0\5bench"; /* with its length, in two bytes */
enum { TOPIC_BYTES = 7 };

size_t
mqtt0_hello(const struct conn *c, char *out)
{
    char id[16];
    int  n = snprintf(id, sizeof id, "%c%u", c->expected ? 's' : 'p', c->index);
    /* Clean session, no keep-alive. */
    memcpy(out, "\x10\0\0\4MQTT\4\2\0\0\0", 13);
    out[1]  = (char)(12 + n);
    out[13] = (char)n;
    memcpy(out + 14, id, (size_t)n);
    return 14 + (size_t)n;
}

static size_t
subscribe_hello(const struct conn *c, char *out, char qos)
{
    size_t n = mqtt0_hello(c, out);
    memcpy(out + n, "\x82\x0a\0\1", 4);
    memcpy(out + n + 4, topic, TOPIC_BYTES);
    out[n + 4 + TOPIC_BYTES] = qos;
    return n + 5 + TOPIC_BYTES;
}

size_t
mqtt0_sub_hello(const struct conn *c, char *out)
{
    return subscribe_hello(c, out, 0);
}

size_t
mqtt1_sub_hello(const struct conn *c, char *out)
{
    return subscribe_hello(c, out, 1);
}

long
mqtt0_ready(struct conn *c, const char *p, size_t n)
{
    (void)c;
    if (n < CONNACK_SIZE)
        return 0;
    return p[0] == CONNACK && p[3] == 0 ? CONNACK_SIZE : TAKE_REFUSED;
}

long
mqtt0_sub_ready(struct conn *c, const char *p, size_t n)
{
    if (mqtt0_ready(c, p, n) < 0)
        return TAKE_REFUSED;
    return n < CONNACK_SIZE + SUBACK_SIZE ? 0 : CONNACK_SIZE + SUBACK_SIZE;
}

/* The head has bytes of 0, so it is put in place of one of text. */
static void
publish(const struct conn *c, struct message *m, int qos)
{
    char   head[16] = {(char)(PUBLISH | (qos ? QOS_1 : 0))}, text[16];
    size_t left = TOPIC_BYTES + (qos ? 2U : 0U) + c->load->body_bytes, n = 1;
    do {
        head[n++] = (char)((left & 127) | (left > 127 ? 128 : 0));
    } while ((left >>= 7) > 0);
    size_t bytes = n + TOPIC_BYTES + (qos ? 2U : 0U);
    snprintf(text, sizeof text, "%*s", (int)bytes, "");
    driver_message(c->load, m, text, "");
    memcpy(m->at, head, n);
    memcpy(m->at + n, topic, TOPIC_BYTES);
}

void
mqtt0_message(const struct conn *c, struct message *m)
{
    publish(c, m, 0);
}

void
mqtt1_message(const struct conn *c, struct message *m)
{
    publish(c, m, 1);
}

/* The packet's identifier, never 0, stands behind the topic. */
void
mqtt1_number(char *message, uint32_t number)
{
    size_t n = 1;
    while (message[n++] & 0x80)
        ;
    message[n + TOPIC_BYTES]     = (char)((number % 65535 + 1) >> 8);
    message[n + TOPIC_BYTES + 1] = (char)(number % 65535 + 1);
}

static void
take_packet(struct conn *c, const char *p, const char *rest, size_t left)
{
    size_t name = TOPIC_BYTES;
    switch (*p & 0xf0) {
    case PUBLISH:
        if ((*p & QOS_MASK) == QOS_1) {
            char ack[4] = {PUBACK, 2, rest[name], rest[name + 1]};
            driver_send(c, ack, sizeof ack);
            name += 2;
        }
        if (left >= name + MARK_BYTES)
            driver_delivered(c, rest + name);
        return;
    case PUBACK:
        driver_acked(c, NULL, NULL);
        return;
    default:
        driver_error(c, "an unexpected packet", 20);
    }
}

size_t
mqtt0_take(struct conn *c, char *p, size_t n)
{
    size_t used = 0;
    while (n - used >= 2) {
        size_t left = 0, at = used + 1;
        int    shift = 0;
        for (; at < n && shift < 28 && (p[at] & 0x80); at++, shift += 7)
            left |= (size_t)(p[at] & 127) << shift;
        if (at == n)
            break;
        left |= (size_t)(p[at++] & 127) << shift;
        if (n - at < left)
            break;
        take_packet(c, p + used, p + at, left);
        used = at + left;
    }
    return used;
}
