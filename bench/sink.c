/* sink - does as little as a broker can: what the generator reaches against it is the
 * generator's own ceiling.
 *
 * usage: sink PORT
 * Lines that begin with '{' are acknowledged as by a JSON socket.  Who says CONNECT is spoken
 * to as by NATS: publishes are dropped, and whoever subscribes gets prepared messages without
 * end.  Ends when its input does. */
#include "load/load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 64, PREPARED = 512, IN_BYTES = 256 << 10 };

struct unit { /* the same again and again; what has left is a position in the run */
    char   run[PREPARED * 160];
    size_t bytes;
};
static struct unit ack, delivery;

static struct client {
    const struct unit *out;
    size_t             owed, at;
    bool               nats, endless;
} client[CLIENTS];
static struct pollfd ready[CLIENTS + 2]; /* behind them input and listener */
static char          in[IN_BYTES];

static void
prepare(struct unit *u, const char *text)
{
    u->bytes = strlen(text);
    for (int i = 0; i < PREPARED; i++)
        memcpy(u->run + (size_t)i * u->bytes, text, u->bytes);
}

static void
say(int i, const char *text)
{
    if (send(ready[i].fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        load_die("send");
}

static void
send_owed(int i)
{
    struct client *c   = &client[i];
    size_t         run = c->out ? c->out->bytes * PREPARED : 0;
    while (c->endless || c->owed > 0) {
        size_t  n    = c->endless || run - c->at < c->owed ? run - c->at : c->owed;
        ssize_t sent = send(ready[i].fd, c->out->run + c->at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            break;
        c->owed -= c->endless ? 0 : (size_t)sent;
        c->at = (c->at + (size_t)sent) % run;
        if (c->endless)
            break; /* the others have a turn */
    }
    ready[i].events = (short)(POLLIN | (c->endless || c->owed > 0 ? POLLOUT : 0));
}

static void
take_nats(int i, size_t n)
{
    struct client *c = &client[i];
    if (memmem(in, n < 4096 ? n : 4096, "SUB bench", 9)) {
        c->out     = &delivery;
        c->endless = true;
    }
    if (n < 4096 && memmem(in, n, "PING\r\n", 6))
        say(i, "PONG\r\n");
}

static void
take(int i)
{
    struct client *c = &client[i];
    ssize_t        n = recv(ready[i].fd, in, IN_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close(ready[i].fd);
        ready[i].fd = -1;
        *c          = (struct client){0};
        return;
    }
    c->nats |= memcmp(in, "CONNECT", 7) == 0;
    if (c->nats) {
        take_nats(i, (size_t)n);
        return;
    }
    c->out = &ack;
    for (char *p = in; (p = memchr(p, '\n', (size_t)(in + n - p))); p++)
        c->owed += ack.bytes;
}

static void
welcome(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    for (int i = 0; fd >= 0 && i < CLIENTS; i++)
        if (ready[i].fd < 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            ready[i] = (struct pollfd){.fd = fd, .events = POLLIN};
            return;
        }
    close(fd);
}

static int
listen_on(long port)
{
    struct sockaddr_in a   = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int                one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, CLIENTS) < 0)
        load_die("listen");
    return fd;
}

int
main(int argc, char **argv)
{
    char text[256], body[101];
    if (argc != 2) {
        fprintf(stderr, "usage: sink PORT\n");
        return 2;
    }
    snprintf(body, sizeof body, "@%016d%04d%08d%071d", 0, 0, 0, 0);
    snprintf(text, sizeof text, "MSG bench 1 100\r\n%s\r\n", body);
    prepare(&delivery, text);
    prepare(&ack, "{\"type\":\"ack\",\"id\":\"0000000000000001-1\",\"lamport_timestamp\":1}\n");
    for (int i = 0; i < CLIENTS; i++)
        ready[i].fd = -1;
    ready[CLIENTS] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    ready[CLIENTS + 1] =
        (struct pollfd){.fd = listen_on(load_number(argv[1], 1)), .events = POLLIN};
    while (poll(ready, CLIENTS + 2, -1) >= 0 && !ready[CLIENTS].revents) {
        for (int i = 0; i < CLIENTS; i++) {
            if (ready[i].fd >= 0 && ready[i].revents & (POLLIN | POLLHUP | POLLERR))
                take(i);
            if (ready[i].fd >= 0)
                send_owed(i);
        }
        if (ready[CLIENTS + 1].revents)
            welcome(ready[CLIENTS + 1].fd);
    }
    return 0;
}
