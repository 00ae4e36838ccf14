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

static void
close_socket(struct dial *d)
{
    if (d->fd >= 0 && d->watched)
        watch_forget(d->watch, d->fd);
    if (d->fd >= 0)
        close(d->fd);
    d->fd      = -1;
    d->watched = false;
}

void
dial_close(struct dial *d)
{
    close_socket(d);
    if (d->addresses)
        freeaddrinfo(d->addresses);
    d->addresses = d->address = NULL;
}

bool
dial_is_open(const struct dial *d)
{
    return d->fd >= 0 && !d->addresses;
}

bool
dial_is_connecting(const struct dial *d)
{
    return d->addresses != NULL;
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

/* The next address gets its share of what is left of the time. */
static enum err
begin(struct dial *d)
{
    struct mono now   = mono_now();
    uint64_t    share = d->by.ms > now.ms ? (d->by.ms - now.ms) / d->left : 0;
    int         one   = 1;

    d->try_by = mono_after(now, share);
    d->fd     = socket(d->address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        return failed(d, ERR_IO, strerror(errno));
    setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(d->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (connect(d->fd, d->address->ai_addr, d->address->ai_addrlen) == 0 || errno == EINPROGRESS)
        return ERR_OK;
    return failed(d, ERR_IO, strerror(errno));
}

/* OK: connected.  MORE: not yet. */
static enum err
end(struct dial *d, struct mono until)
{
    short    got;
    int      error = 0;
    enum err e     = wait_for(d, POLLOUT, mono_min(until, d->try_by), &got);
    if (e == ERR_TIMEOUT && !mono_reached(mono_now(), d->try_by))
        return ERR_MORE;
    if (e != ERR_OK)
        return e;
    socklen_t n = sizeof error;
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    return error == 0 ? ERR_OK : failed(d, ERR_IO, strerror(error));
}

enum err
dial_start(struct dial *d, const char *host, uint16_t port, uint64_t ms)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char            service[8];

    dial_close(d);
    snprintf(service, sizeof service, "%u", port);
    int gai = getaddrinfo(host, service, &hints, &d->addresses);
    if (gai != 0) {
        d->addresses = NULL;
        return failed(d, ERR_NOTFOUND, gai_strerror(gai));
    }
    d->by      = mono_after(mono_now(), ms);
    d->address = d->addresses;
    d->left    = 0;
    for (struct addrinfo *a = d->addresses; a; a = a->ai_next)
        d->left++;
    return ERR_OK;
}

enum err
dial_open(struct dial *d, struct mono until)
{
    enum err e = ERR_IO;
    for (; d->address; d->address = d->address->ai_next, d->left--) {
        e = d->fd < 0 ? begin(d) : ERR_OK;
        if (e == ERR_OK)
            e = end(d, until);
        if (e == ERR_MORE)
            return e;
        if (e == ERR_OK) {
            freeaddrinfo(d->addresses);
            d->addresses = d->address = NULL;
            return e;
        }
        close_socket(d);
    }
    dial_close(d);
    return e;
}

enum err
dial_watch(struct dial *d, bool out)
{
    if (!d->watch || d->fd < 0 || (d->watched && d->watched_out == out))
        return ERR_OK;
    d->watched     = true;
    d->watched_out = out;
    return watch_socket(d->watch, d->fd, out);
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
