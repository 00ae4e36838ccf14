/* driver_redis.c - PUBLISH and SUBSCRIBE, XADD and XREAD.  redis.io, "RESP protocol spec". */
#include "bench/drivers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESP_DEPTH = 8, ID_BYTES = 64 };

size_t
redis_hello(const struct conn *c, char *out)
{
    (void)c;
    return (size_t)snprintf(out, HELLO_BYTES, "PING\r\n");
}

long
redis_ready(struct conn *c, const char *p, size_t n)
{
    (void)c;
    if (n < 7)
        return 0;
    return memcmp(p, "+PONG\r\n", 7) == 0 ? 7 : TAKE_REFUSED;
}

size_t
redis_sub_hello(const struct conn *c, char *out)
{
    (void)c;
    return (size_t)snprintf(out, HELLO_BYTES, "SUBSCRIBE bench\r\n");
}

long
redis_sub_ready(struct conn *c, const char *p, size_t n)
{
    static const char yes[] = "*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n";
    (void)c;
    if (n < sizeof yes - 1)
        return 0;
    return memcmp(p, yes, sizeof yes - 1) == 0 ? (long)sizeof yes - 1 : TAKE_REFUSED;
}

void
redis_message(const struct conn *c, struct message *m)
{
    char head[128];
    snprintf(head, sizeof head, "*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n$%zu\r\n",
             c->load->body_bytes);
    driver_message(c->load, m, head, "\r\n");
}

void
xadd_message(const struct conn *c, struct message *m)
{
    char head[128];
    snprintf(head, sizeof head, "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nb\r\n$%zu\r\n",
             c->load->body_bytes);
    driver_message(c->load, m, head, "\r\n");
}

/* Walks a whole reply and hands each string of it to `bulk`, which may be NULL.  Returns its
 * bytes, 0 while it is not whole. */
static size_t
walk(struct conn *c, const char *p, size_t n, int depth,
     void (*bulk)(struct conn *, const char *, size_t))
{
    const char *end = n > 0 ? memchr(p, '\n', n) : NULL;
    if (!end)
        return 0;
    size_t head = (size_t)(end - p) + 1;
    long   size = *p == '$' || *p == '*' ? strtol(p + 1, NULL, 10) : 0;
    if (*p == '$' && size >= 0) {
        if (n - head < (size_t)size + 2)
            return 0;
        if (bulk)
            bulk(c, end + 1, (size_t)size);
        return head + (size_t)size + 2;
    }
    for (long i = 0; *p == '*' && depth < RESP_DEPTH && i < size; i++) {
        size_t part = walk(c, p + head, n - head, depth + 1, bulk);
        if (part == 0)
            return 0;
        head += part;
    }
    return head;
}

size_t
redis_take(struct conn *c, char *p, size_t n)
{
    size_t used = 0, reply;
    while ((reply = walk(c, p + used, n - used, 0, NULL)) > 0) {
        if (p[used] == '-')
            driver_error(c, p + used, reply);
        else
            driver_acked(c, NULL, NULL);
        used += reply;
    }
    return used;
}

static void
take_bulk(struct conn *c, const char *p, size_t n)
{
    if (n >= MARK_BYTES && *p == '@')
        driver_delivered(c, p);
    else if (c->cursor && n < ID_BYTES && *p >= '0' && *p <= '9') {
        memcpy(c->cursor, p, n);
        c->cursor[n] = '\0';
    }
}

/* Looked at twice: what is not whole must not be counted. */
static size_t
take_replies(struct conn *c, char *p, size_t n, bool again)
{
    size_t used = 0, reply;
    while ((reply = walk(c, p + used, n - used, 0, NULL)) > 0) {
        if (p[used] == '-')
            driver_error(c, p + used, reply);
        walk(c, p + used, reply, 0, take_bulk);
        used += reply;
        if (again)
            xread_begin(c);
    }
    return used;
}

size_t
redis_sub_take(struct conn *c, char *p, size_t n)
{
    return take_replies(c, p, n, false);
}

void
xread_begin(struct conn *c)
{
    char ask[128];
    if (!c->cursor && !(c->cursor = calloc(1, ID_BYTES)))
        load_die("memory");
    int n = snprintf(ask, sizeof ask, "XREAD COUNT 1000 BLOCK 0 STREAMS bench %s\r\n",
                     *c->cursor ? c->cursor : "$");
    driver_send(c, ask, (size_t)n);
}

size_t
xread_take(struct conn *c, char *p, size_t n)
{
    return take_replies(c, p, n, true);
}
