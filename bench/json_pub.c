/* json_pub - how many acknowledged publishes a second over pipelined JSON sockets?
 *
 * usage: json_pub HOST PORT SOCKETS WINDOW BYTES SECONDS IDFILE
 * Each socket keeps WINDOW publishes unanswered.  After SECONDS nothing new is sent and the
 * rest of the answers is taken.  Prints: acknowledged seconds errors. */
#include "bench/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKETS_MAX = 64, PREBUILT = 512, IN_BYTES = 256 << 10 };

/* The same message again and again: what has left is a position in that run. */
static char  *run;
static size_t message_bytes, run_bytes;

struct lane {
    int    fd;
    size_t owed;   /* bytes that may leave: whole messages, less what has left of one */
    size_t at;     /* in the run */
    long   unsent; /* of the window: not yet turned into owed bytes */
    long   waiting;
    size_t in;
    char   buf[IN_BYTES];
};
static struct lane    *lane;
static struct load_ids ids;
static unsigned long   errors;

static void
build_run(long body_bytes)
{
    static const char head[] = "{\"type\":\"publish\",\"topic\":\"bench\",\"message\":\"";
    static const char tail[] = "\",\"lamport_timestamp\":1,\"ack\":true}\n";
    size_t            body   = (size_t)body_bytes;
    message_bytes            = sizeof head - 1 + body + sizeof tail - 1;
    run_bytes                = message_bytes * PREBUILT;
    run                      = malloc(run_bytes);
    if (!run)
        load_die("malloc");
    for (char *p = run; p < run + run_bytes; p += message_bytes) {
        memcpy(p, head, sizeof head - 1);
        memset(p + sizeof head - 1, 'x', body);
        memcpy(p + sizeof head - 1 + body, tail, sizeof tail - 1);
    }
}

static void
send_owed(struct lane *l)
{
    while (l->owed > 0) {
        size_t  n    = run_bytes - l->at < l->owed ? run_bytes - l->at : l->owed;
        ssize_t sent = send(l->fd, run + l->at, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (sent < 0)
            load_die("send");
        l->owed -= (size_t)sent;
        l->at = (l->at + (size_t)sent) % run_bytes;
    }
}

/* A quarter of the window at a time: whole segments instead of a packet for each answer. */
static void
refill(struct lane *l, long window)
{
    if (l->unsent < window / 4)
        return;
    l->owed += (size_t)l->unsent * message_bytes;
    l->waiting += l->unsent;
    l->unsent = 0;
    send_owed(l);
}

static void
take_line(const char *p, const char *end)
{
    static const char ack[] = "{\"type\":\"ack\",\"id\":\"";
    if ((size_t)(end - p) > sizeof ack && memcmp(p, ack, sizeof ack - 1) == 0 &&
        load_id_add(&ids, p + sizeof ack - 1, end))
        return;
    if (errors++ == 0)
        fprintf(stderr, "not an acknowledgement: %.*s\n", (int)(end - p), p);
}

static void
take_answers(struct lane *l, int open)
{
    for (;;) {
        ssize_t n = recv(l->fd, l->buf + l->in, IN_BYTES - l->in, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0)
            load_die("the broker closed");
        char *p = l->buf, *end = l->buf + l->in + n, *newline;
        while ((newline = memchr(p, '\n', (size_t)(end - p)))) {
            take_line(p, newline);
            p = newline + 1;
            l->waiting--;
            l->unsent += open;
        }
        l->in = (size_t)(end - p);
        if (l->in == IN_BYTES)
            load_die("an endless line");
        memmove(l->buf, p, l->in);
    }
}

static long
all_waiting(long sockets)
{
    long n = 0;
    for (long i = 0; i < sockets; i++)
        n += lane[i].waiting;
    return n;
}

int
main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: json_pub HOST PORT SOCKETS WINDOW BYTES SECONDS IDFILE\n");
        return 2;
    }
    long sockets = load_number(argv[3], 1), window = load_number(argv[4], 4);
    long seconds = load_number(argv[6], 1);
    if (sockets > SOCKETS_MAX)
        return 2;
    build_run(load_number(argv[5], 1));
    lane   = calloc((size_t)sockets, sizeof *lane);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    if (!lane || ep < 0)
        load_die("epoll");
    for (long i = 0; i < sockets; i++) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &lane[i]};
        lane[i].fd           = load_connect(argv[1], argv[2]);
        lane[i].unsent       = window;
        if (epoll_ctl(ep, EPOLL_CTL_ADD, lane[i].fd, &e) < 0)
            load_die("epoll_ctl");
    }

    double begin = load_seconds(), end = begin + (double)seconds;
    int    open = 1;
    for (long i = 0; i < sockets; i++)
        refill(&lane[i], window);
    while (open || all_waiting(sockets) > 0) {
        struct epoll_event got[SOCKETS_MAX];
        int                n = epoll_wait(ep, got, SOCKETS_MAX, 10000);
        if (n == 0)
            load_die("no answer for 10 s");
        open = open && load_seconds() < end;
        for (int i = 0; i < n; i++) {
            struct lane *l = got[i].data.ptr;
            if (got[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                take_answers(l, open);
            send_owed(l);
            if (open)
                refill(l, window);
        }
    }
    double took = load_seconds() - begin;
    load_ids_write(&ids, argv[7]);
    printf("%zu %.6f %lu\n", ids.count, took, errors);
    return errors > 0;
}
