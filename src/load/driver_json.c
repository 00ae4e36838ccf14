/* driver_json.c - Hearsay's JSON sockets. */
#include "load/driver.h"

#include <stdio.h>
#include <string.h>

size_t
json_hello(const struct conn *c, char *out)
{
    (void)c;
    (void)out;
    return 0;
}

void
json_message(const struct conn *c, struct message *m)
{
    char head[LOAD_TOPIC_BYTES + 64];
    snprintf(head, sizeof head, "{\"type\":\"publish\",\"topic\":\"%s\",\"message\":\"",
             driver_topic(c->load));
    driver_message(c->load, m, head, "\",\"lamport_timestamp\":1,\"ack\":true}\n");
}

size_t
json_sub_hello(const struct conn *c, char *out)
{
    return (size_t)snprintf(out, HELLO_BYTES,
                            "{\"type\":\"subscribe\",\"topic\":\"%s\",\"lamport_timestamp\":1,"
                            "\"ack\":true}\n",
                            driver_filter(c->load));
}

long
json_sub_ready(struct conn *c, const char *p, size_t n)
{
    static const char yes[] = "{\"type\":\"subscribed\"";
    const char       *end   = memchr(p, '\n', n);
    (void)c;
    if (!end)
        return 0;
    return memcmp(p, yes, sizeof yes - 1) == 0 ? end + 1 - p : TAKE_REFUSED;
}

size_t
json_take(struct conn *c, char *p, size_t n)
{
    static const char ack[] = "{\"type\":\"ack\",\"id\":\"", message[] = "{\"type\":\"publish\"";
    static const char live[] = "{\"type\":\"ack\",\"stored\":false";
    size_t            used   = 0;
    for (char *end; (end = memchr(p + used, '\n', n - used)); used = (size_t)(end - p) + 1) {
        const char *line  = p + used;
        size_t      bytes = (size_t)(end - line);
        const char *mark;
        if (bytes > sizeof ack && memcmp(line, ack, sizeof ack - 1) == 0)
            driver_acked(c, line + sizeof ack - 1, end);
        else if (bytes > sizeof live && memcmp(line, live, sizeof live - 1) == 0)
            driver_acked(c, NULL, end); /* the topic is not stored: no id */
        else if (bytes > sizeof message && memcmp(line, message, sizeof message - 1) == 0 &&
                 (mark = memchr(line, '@', bytes)) && end - mark >= MARK_BYTES)
            driver_delivered(c, mark);
        else
            driver_error(c, line, bytes);
    }
    return used;
}
