#include "io/dial_blocking.h"

#include "io/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

/* For poll(): at least 1 while the deadline lies ahead, so that nobody spins. */
static int
left_ms(struct mono deadline)
{
    uint64_t now  = mono_now().ms;
    uint64_t left = deadline.ms > now ? deadline.ms - now : 0;
    return left > 3600000 ? 3600000 : (int)left;
}

void
dial_wait_until(struct mono t)
{
    int ms;
    while ((ms = left_ms(t)) > 0)
        if (poll(NULL, 0, ms) < 0 && errno != EINTR)
            return;
}

void
dial_init(struct dial *d)
{
    *d = (struct dial){.fd = -1};
}

void
dial_close(struct dial *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

static enum err
failed(struct dial *d, enum err e, const char *text)
{
    snprintf(d->text, sizeof d->text, "%s", text);
    return e;
}

/* OK: one of `events` (or a failure of the socket, which the next call will name). */
static enum err
wait_for(struct dial *d, short events, struct mono deadline, short *got)
{
    for (;;) {
        struct pollfd p = {.fd = d->fd, .events = events};
        int           n = poll(&p, 1, left_ms(deadline));
        if (n > 0) {
            *got = p.revents;
            return ERR_OK;
        }
        if (n < 0 && errno != EINTR)
            return failed(d, ERR_IO, strerror(errno));
        if (mono_reached(mono_now(), deadline))
            return failed(d, ERR_TIMEOUT, "no answer in time");
    }
}

static enum err
connect_to(struct dial *d, const struct addrinfo *a, struct mono deadline)
{
    int one = 1, error = 0;
    d->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        return failed(d, ERR_IO, strerror(errno));
    setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(d->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (connect(d->fd, a->ai_addr, a->ai_addrlen) == 0)
        return ERR_OK;
    if (errno != EINPROGRESS)
        return failed(d, ERR_IO, strerror(errno));

    short    got;
    enum err e = wait_for(d, POLLOUT, deadline, &got);
    if (e != ERR_OK)
        return e;
    socklen_t n = sizeof error;
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    return error == 0 ? ERR_OK : failed(d, ERR_IO, strerror(error));
}

enum err
dial_open(struct dial *d, const char *host, uint16_t port, struct mono deadline)
{
    struct addrinfo  hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *all   = NULL;
    char             service[8];
    unsigned         left = 0;
    enum err         e    = ERR_NOTFOUND;

    dial_close(d);
    snprintf(service, sizeof service, "%u", port);
    int gai = getaddrinfo(host, service, &hints, &all);
    if (gai != 0)
        return failed(d, ERR_NOTFOUND, gai_strerror(gai));
    for (struct addrinfo *a = all; a; a = a->ai_next)
        left++;
    for (struct addrinfo *a = all; a; a = a->ai_next, left--) {
        struct mono now   = mono_now();
        uint64_t    share = deadline.ms > now.ms ? (deadline.ms - now.ms) / left : 0;
        e                 = connect_to(d, a, mono_after(now, share));
        if (e == ERR_OK)
            break;
        dial_close(d);
    }
    freeaddrinfo(all);
    return e;
}

bool
dial_has_ended(const struct dial *d)
{
    uint8_t byte;
    ssize_t n = recv(d->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

static enum err
send_some(struct dial *d, struct buf *out)
{
    struct str s = buf_str(out);
    ssize_t    n = send(d->fd, s.p, s.n, MSG_NOSIGNAL);
    if (n >= 0) {
        buf_consume(out, (size_t)n);
        return ERR_OK;
    }
    if (errno == EAGAIN || errno == EINTR)
        return ERR_OK;
    return failed(d, ERR_IO, strerror(errno));
}

/* OK also when nothing was there. */
static enum err
receive_some(struct dial *d, struct buf *in, bool *came)
{
    uint8_t *room;
    enum err e = buf_room(in, READ_BYTES, &room);
    if (e != ERR_OK)
        return failed(d, e, "the answer is too long");
    ssize_t n = recv(d->fd, room, READ_BYTES, 0);
    if (n > 0) {
        buf_grew(in, (size_t)n);
        *came = true;
        return ERR_OK;
    }
    if (n == 0)
        return failed(d, ERR_STALE, "the broker closed the connection");
    if (errno == EAGAIN || errno == EINTR)
        return ERR_OK;
    return failed(d, ERR_IO, strerror(errno));
}

enum err
dial_move(struct dial *d, struct buf *out, struct buf *in, bool send_only, struct mono deadline)
{
    bool     came = false;
    enum err e    = ERR_OK;
    if (d->fd < 0)
        return failed(d, ERR_IO, "not connected");
    while (e == ERR_OK && !came && !(send_only && out->n == 0)) {
        short got  = 0;
        short want = POLLIN;
        if (out->n > 0)
            want |= POLLOUT;
        e = wait_for(d, want, deadline, &got);
        /* What the broker still said before it closed matters more than that it closed. */
        if (e == ERR_OK && (got & (POLLIN | POLLERR | POLLHUP)))
            e = receive_some(d, in, &came);
        if (e == ERR_OK && !came && (got & POLLOUT) && out->n > 0)
            e = send_some(d, out);
    }
    return e;
}
