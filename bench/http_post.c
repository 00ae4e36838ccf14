/* http_post - how many single POSTs a second over keep-alive connections, one outstanding
 * on each?
 *
 * usage: http_post HOST PORT CONNECTIONS BYTES SECONDS IDFILE
 * Prints: acknowledged seconds errors median_ms p99_ms. */
#include "bench/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { CONNS_MAX = 256, IN_BYTES = 64 << 10, SLOT_US = 10, SLOTS = 100000 };

static char  *request;
static size_t request_bytes;

struct conn {
    int    fd;
    size_t left; /* of the request */
    size_t in;
    double begun;
    int    waits;
    char   buf[IN_BYTES];
};
static struct conn    *conn;
static struct load_ids ids;
static unsigned long   errors, slot[SLOTS]; /* answers by time taken, 10 us each */

static void
build_request(long body_bytes)
{
    char head[256];
    int  n  = snprintf(head, sizeof head,
                       "POST /topics/bench HTTP/1.1\r\nHost: bench\r\nContent-Length: %ld\r\n\r\n",
                       body_bytes);
    request = malloc((size_t)n + (size_t)body_bytes);
    if (!request)
        load_die("malloc");
    memcpy(request, head, (size_t)n);
    memset(request + n, 'x', (size_t)body_bytes);
    request_bytes = (size_t)n + (size_t)body_bytes;
}

static void
send_rest(struct conn *c)
{
    while (c->left > 0) {
        ssize_t n = send(c->fd, request + request_bytes - c->left, c->left, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            load_die("send");
        c->left -= (size_t)n;
    }
}

static void
post(struct conn *c)
{
    c->left  = request_bytes;
    c->begun = load_seconds();
    c->waits = 1;
    send_rest(c);
}

/* Length of the whole answer at the front, or 0 while it is not whole. */
static size_t
answer_bytes(struct conn *c, const char **body)
{
    static const char field[] = "content-length:";
    char             *end     = memmem(c->buf, c->in, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *body = end + 4;
    for (char *p = c->buf; p < end; p++)
        if (p[0] == '\n' && strncasecmp(p + 1, field, sizeof field - 1) == 0) {
            size_t all = (size_t)(*body - c->buf) + strtoul(p + sizeof field, NULL, 10);
            return c->in >= all ? all : 0;
        }
    load_die("an answer without a length");
}

static void
take_answer(struct conn *c, const char *body, size_t all)
{
    static const char id[] = "{\"id\":\"";
    const char       *end  = c->buf + all;
    double            us   = (load_seconds() - c->begun) * 1e6;
    slot[us / SLOT_US < SLOTS ? (size_t)(us / SLOT_US) : SLOTS - 1]++;
    if (memcmp(c->buf, "HTTP/1.1 201", 12) != 0 || (size_t)(end - body) < sizeof id ||
        memcmp(body, id, sizeof id - 1) != 0 || !load_id_add(&ids, body + sizeof id - 1, end))
        if (errors++ == 0)
            fprintf(stderr, "not a receipt: %.*s\n", (int)all, c->buf);
    c->in -= all;
    memmove(c->buf, end, c->in);
    c->waits = 0;
}

static void
serve(struct conn *c, int open)
{
    const char *body;
    size_t      all;
    send_rest(c);
    for (;;) {
        ssize_t n = recv(c->fd, c->buf + c->in, IN_BYTES - c->in, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0)
            load_die("the broker closed");
        c->in += (size_t)n;
        if ((all = answer_bytes(c, &body)) == 0)
            continue;
        take_answer(c, body, all);
        if (open)
            post(c);
        return; /* one is outstanding: nothing more can be there without a new event */
    }
}

static double
percentile(double part)
{
    size_t want = (size_t)((double)ids.count * part), seen = 0;
    for (size_t i = 0; i < SLOTS; i++)
        if ((seen += slot[i]) > want)
            return (double)(i + 1) * SLOT_US / 1000;
    return 0;
}

static int
anyone_waits(long count)
{
    for (long i = 0; i < count; i++)
        if (conn[i].waits)
            return 1;
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: http_post HOST PORT CONNECTIONS BYTES SECONDS IDFILE\n");
        return 2;
    }
    long count = load_number(argv[3], 1), seconds = load_number(argv[5], 1);
    if (count > CONNS_MAX)
        return 2;
    build_request(load_number(argv[4], 1));
    conn   = calloc((size_t)count, sizeof *conn);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    if (!conn || ep < 0)
        load_die("epoll");
    for (long i = 0; i < count; i++) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &conn[i]};
        conn[i].fd           = load_connect(argv[1], argv[2]);
        if (epoll_ctl(ep, EPOLL_CTL_ADD, conn[i].fd, &e) < 0)
            load_die("epoll_ctl");
    }

    double begin = load_seconds(), end = begin + (double)seconds;
    int    open = 1;
    for (long i = 0; i < count; i++)
        post(&conn[i]);
    while (open || anyone_waits(count)) {
        struct epoll_event got[CONNS_MAX];
        int                n = epoll_wait(ep, got, CONNS_MAX, 10000);
        if (n == 0)
            load_die("no answer for 10 s");
        open = open && load_seconds() < end;
        for (int i = 0; i < n; i++)
            serve(got[i].data.ptr, open);
    }
    double took = load_seconds() - begin;
    load_ids_write(&ids, argv[6]);
    printf("%zu %.6f %lu %.2f %.2f\n", ids.count, took, errors, percentile(0.5), percentile(0.99));
    return errors > 0;
}
