/* driver_http.c - POST and its answers, streams of lines (SSE, x-ndjson) both ways, long poll. */
#include "load/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CURSOR_BYTES = 4096, HEAD_BYTES = 1024 };

/* ---- answers ---- */

struct answer {
    size_t      head, body; /* bytes */
    bool        chunked;
    const char *cursor; /* Hearsay-Cursor */
};

/* Bytes of the head, 0 while it is not whole. */
static size_t
parse_head(const char *p, size_t n, struct answer *a)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    *a              = (struct answer){0};
    if (!end)
        return 0;
    for (const char *f = memchr(p, '\n', n); f && f < end; f = memchr(f, '\n', n)) {
        f++;
        if (strncasecmp(f, "content-length:", 15) == 0)
            a->body = strtoul(f + 15, NULL, 10);
        else if (strncasecmp(f, "transfer-encoding: chunked", 26) == 0)
            a->chunked = true;
        else if (strncasecmp(f, "hearsay-cursor: ", 16) == 0)
            a->cursor = f + 16;
        n = (size_t)(end + 4 - f);
    }
    return a->head = (size_t)(end + 4 - p);
}

/* ---- single POSTs ---- */

size_t
post_hello(const struct conn *c, char *out)
{
    (void)c;
    (void)out;
    return 0;
}

void
driver_post(const struct conn *c, struct message *m, const char *path)
{
    char head[HEAD_BYTES];
    snprintf(head, sizeof head, "POST %s%s HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n",
             path, driver_topic(c->load), c->load->body_bytes);
    driver_message(c->load, m, head, "");
}

void
post_message(const struct conn *c, struct message *m)
{
    driver_post(c, m, "/topics/");
}

size_t
post_take(struct conn *c, char *p, size_t n)
{
    static const char id[] = "{\"id\":\"";
    size_t            used = 0;
    struct answer     a;
    while (parse_head(p + used, n - used, &a) && n - used >= a.head + a.body) {
        const char *at = p + used, *body = at + a.head;
        if (memcmp(at, "HTTP/1.1 20", 11) != 0)
            driver_error(c, at, a.head + a.body);
        bool receipt = a.body > sizeof id && memcmp(body, id, sizeof id - 1) == 0;
        driver_acked(c, receipt ? body + sizeof id - 1 : NULL, body + a.body);
        used += a.head + a.body;
    }
    return used;
}

/* ---- streams ---- */

size_t
driver_get(const char *path, const char *query, const char *accept, char *out)
{
    return (size_t)snprintf(out, HELLO_BYTES,
                            "GET %s%s HTTP/1.1\r\nHost: bench\r\nAccept: %s\r\n\r\n", path, query,
                            accept);
}

/* '#' begins a fragment, so it goes as its escape. */
static const char *
filter_path(const struct load *l)
{
    static char path[LOAD_TOPIC_BYTES + sizeof "/topics//%23"];
    snprintf(path, sizeof path, "/topics/%s%s", l->topic, l->topics > 1 ? "/%23" : "");
    return path;
}

size_t
lines_down_hello(const struct conn *c, char *out)
{
    return driver_get(filter_path(c->load), "", "application/x-ndjson", out);
}

size_t
sse_hello(const struct conn *c, char *out)
{
    return driver_get(filter_path(c->load), "", "text/event-stream", out);
}

/* The broker says something of its own once the subscription stands: a cursor, a comment. */
long
sse_ready(struct conn *c, const char *p, size_t n)
{
    struct answer a;
    if (!parse_head(p, n, &a))
        return 0;
    if (memcmp(p, "HTTP/1.1 200", 12) != 0)
        return TAKE_REFUSED;
    c->chunked   = a.chunked;
    c->head_done = true;
    return (long)a.head;
}

/* Of a chunk the whole lines are taken as they come; no broker cuts a line by chunks, and one
 * that did would be seen. */
static size_t
take_lines(struct conn *c, const char *p, size_t n,
           void (*line)(struct conn *, const char *, size_t))
{
    size_t used = 0;
    for (const char *end; (end = memchr(p + used, '\n', n - used)); used = (size_t)(end - p) + 1)
        line(c, p + used, (size_t)(end - p) - used);
    return used;
}

static size_t
take_chunks(struct conn *c, const char *p, size_t n,
            void (*line)(struct conn *, const char *, size_t))
{
    size_t used = 0;
    while (used < n) {
        if (c->chunk_left == 0) { /* "1f\r\n", with the "\r\n" of the one before */
            const char *at  = p + used + (n - used >= 2 && p[used] == '\r' ? 2 : 0);
            const char *end = memchr(at, '\n', (size_t)(p + n - at));
            if (!end)
                return used;
            c->chunk_left = strtoul(at, NULL, 16);
            used          = (size_t)(end - p) + 1;
            if (c->chunk_left == 0)
                driver_error(c, "the stream ended", 16);
        }
        size_t there = n - used < c->chunk_left ? n - used : c->chunk_left;
        size_t taken = take_lines(c, p + used, there, line);
        if (taken == 0 && there == c->chunk_left && there > 0) {
            driver_error(c, p + used, there);
            taken = there;
        }
        used += taken;
        c->chunk_left -= taken;
        if (c->chunk_left > 0)
            return used;
    }
    return used;
}

static void
delivery_line(struct conn *c, const char *p, size_t n)
{
    const char *mark = memchr(p, '@', n);
    if (mark && (size_t)(p + n - mark) >= MARK_BYTES)
        driver_delivered(c, mark);
    else if (memmem(p, n, "\"gap\"", 5))
        driver_error(c, p, n);
}

size_t
sse_take(struct conn *c, char *p, size_t n)
{
    return (c->chunked ? take_chunks : take_lines)(c, p, n, delivery_line);
}

/* ---- many messages in one request ---- */

size_t
lines_up_hello(const struct conn *c, char *out)
{
    bool many = c->load->topics > 1;
    return (size_t)snprintf(out, HELLO_BYTES,
                            "POST /topics%s%s HTTP/1.1\r\nHost: bench\r\nTransfer-Encoding: chunked"
                            "\r\nContent-Type: application/x-ndjson\r\n\r\n",
                            many ? "" : "/", many ? "" : c->load->topic);
}

/* A chunk for each line: what a client does that sends as things happen. */
void
lines_up_message(const struct conn *c, struct message *m)
{
    const struct load *l = c->load;
    char               head[HEAD_BYTES], line[HEAD_BYTES - 16] = "";
    const char        *tail = l->topics > 1 ? "\"}\n" : "\n";
    if (l->topics > 1)
        snprintf(line, sizeof line, "{\"topic\":\"%s\",\"body\":\"", driver_topic(l));
    snprintf(head, sizeof head, "%zx\r\n%s", strlen(line) + l->body_bytes + strlen(tail), line);
    driver_message(l, m, head, l->topics > 1 ? "\"}\n\r\n" : "\n\r\n");
}

static void
receipt_line(struct conn *c, const char *p, size_t n)
{
    static const char id[] = "{\"id\":\"", live[] = "{\"stored\":false";
    if (n > sizeof id && memcmp(p, id, sizeof id - 1) == 0)
        driver_acked(c, p + sizeof id - 1, p + n);
    else if (n > sizeof live && memcmp(p, live, sizeof live - 1) == 0)
        driver_acked(c, NULL, p + n); /* the topic is not stored: no id */
    else
        driver_error(c, p, n);
}

size_t
lines_up_take(struct conn *c, char *p, size_t n)
{
    size_t used = 0;
    if (!c->head_done) {
        long head = sse_ready(c, p, n);
        if (head <= 0) {
            if (head < 0)
                driver_error(c, p, n);
            return 0;
        }
        used = (size_t)head;
    }
    return used + take_chunks(c, p + used, n - used, receipt_line);
}

/* ---- long poll ---- */

static void
ask_page(struct conn *c)
{
    char query[CURSOR_BYTES + 64], request[HELLO_BYTES + CURSOR_BYTES];
    snprintf(query, sizeof query, "?wait=60&cursor=%s", c->cursor);
    driver_send(c, request, driver_get(filter_path(c->load), query, "application/json", request));
}

static void
keep_cursor(struct conn *c, const char *p)
{
    size_t n = strcspn(p, "\r\"");
    if (n >= CURSOR_BYTES) {
        driver_error(c, "an endless cursor", 17);
        return;
    }
    memcpy(c->cursor, p, n);
    c->cursor[n] = '\0';
}

/* Where it begins: said by an answer that waits for nothing. */
size_t
poll_hello(const struct conn *c, char *out)
{
    return driver_get(filter_path(c->load), "?wait=0", "application/json", out);
}

long
poll_ready(struct conn *c, const char *p, size_t n)
{
    struct answer a;
    if (!parse_head(p, n, &a))
        return 0;
    c->cursor = malloc(CURSOR_BYTES);
    if (!a.cursor || !c->cursor)
        return TAKE_REFUSED;
    keep_cursor(c, a.cursor);
    return (long)(a.head + a.body);
}

void
poll_begin(struct conn *c)
{
    ask_page(c);
}

size_t
poll_take(struct conn *c, char *p, size_t n)
{
    size_t        used = 0;
    struct answer a;
    while (parse_head(p + used, n - used, &a) && n - used >= a.head + a.body) {
        const char *at = p + used, *end = at + a.head + a.body;
        if (memcmp(at, "HTTP/1.1 20", 11) != 0 || !a.cursor)
            driver_error(c, at, a.head + a.body);
        else
            keep_cursor(c, a.cursor);
        for (const char *m = at + a.head; (m = memchr(m, '@', (size_t)(end - m))); m += MARK_BYTES)
            driver_delivered(c, m);
        used += a.head + a.body;
        if (c->load->count == 0 || c->got < c->load->count)
            ask_page(c);
    }
    return used;
}
