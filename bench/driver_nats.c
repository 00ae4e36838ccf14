/* driver_nats.c - NATS core, and JetStream: a publish whose reply subject gets the
 * acknowledgement.  docs.nats.io, "Client Protocol". */
#include "bench/drivers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT                                                                                    \
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\"}\r\n"

size_t
nats_hello(const struct conn *c, char *out)
{
    (void)c;
    return (size_t)snprintf(out, HELLO_BYTES, CONNECT "PING\r\n");
}

size_t
nats_sub_hello(const struct conn *c, char *out)
{
    (void)c;
    return (size_t)snprintf(out, HELLO_BYTES, CONNECT "SUB bench 1\r\nPING\r\n");
}

long
nats_ready(struct conn *c, const char *p, size_t n)
{
    const char *pong = memmem(p, n, "PONG\r\n", 6);
    (void)c;
    if (memmem(p, n, "-ERR", 4))
        return TAKE_REFUSED;
    return pong ? pong + 6 - p : 0;
}

void
nats_message(const struct conn *c, struct message *m)
{
    char head[64];
    snprintf(head, sizeof head, "PUB bench %zu\r\n", c->load->body_bytes);
    driver_message(c->load, m, head, "\r\n");
}

/* Each publisher asks for the stream; for all but the first it is there already. */
size_t
jetstream_hello(const struct conn *c, char *out)
{
    static const char stream[] =
        "{\"name\":\"BENCH\",\"subjects\":[\"bench\"],\"storage\":\"file\"}";
    return (size_t)snprintf(out, HELLO_BYTES,
                            CONNECT "SUB _INBOX.b%u 1\r\nPING\r\n"
                                    "PUB $JS.API.STREAM.CREATE.BENCH _INBOX.b%u %zu\r\n%s\r\n",
                            c->index, c->index, sizeof stream - 1, stream);
}

long
jetstream_ready(struct conn *c, const char *p, size_t n)
{
    const char *made = memmem(p, n, "stream_create_response", 22);
    const char *end  = made ? memmem(made, (size_t)(p + n - made), "}\r\n", 3) : NULL;
    (void)c;
    if (!end)
        return 0;
    return memmem(made, (size_t)(end - made), "\"error\"", 7) ? TAKE_REFUSED : end + 3 - p;
}

void
jetstream_message(const struct conn *c, struct message *m)
{
    char head[64];
    snprintf(head, sizeof head, "PUB bench _INBOX.b%u %zu\r\n", c->index, c->load->body_bytes);
    driver_message(c->load, m, head, "\r\n");
}

static void
take_body(struct conn *c, const char *p, size_t n)
{
    if (n >= MARK_BYTES && *p == '@')
        driver_delivered(c, p);
    else if (n > 0 && *p == '{' && !memmem(p, n, "\"error\"", 7))
        driver_acked(c, NULL, NULL);
    else
        driver_error(c, p, n);
}

size_t
nats_take(struct conn *c, char *p, size_t n)
{
    size_t used = 0;
    for (char *end; (end = memchr(p + used, '\n', n - used));) {
        const char *line = p + used;
        size_t      next = (size_t)(end - p) + 1;
        if (memcmp(line, "MSG ", 4) == 0) { /* MSG subject sid [reply] bytes */
            const char *size = end - 1;
            while (size[-1] != ' ')
                size--;
            size_t body = strtoul(size, NULL, 10);
            if (n - next < body + 2)
                return used;
            take_body(c, p + next, body);
            next += body + 2;
        } else if (memcmp(line, "PING", 4) == 0) {
            driver_send(c, "PONG\r\n", 6);
        } else if (memcmp(line, "-ERR", 4) == 0) {
            driver_error(c, line, next - used);
        }
        used = next;
    }
    return used;
}
