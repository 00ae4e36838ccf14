#include "io/sock.h"

#include "base/mem.h"
#include "base/trace.h"
#include "io/loop_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG      = 1024,
    ACCEPTS_TURN = 64,    /* at most in a turn, so that others get theirs */
    TOLD_MS      = 60000, /* of quiet, before it is told anew that there are too many */
    PAUSE_MS     = 100,   /* when files are used up: the kernel's queue holds them meanwhile */
};

struct listener {
    struct listener_config config;
    struct listener_counts counts;
    uv_poll_t              poll;
    struct loop_timer      pause;
    struct mono            told_again; /* not before: once while it lasts */
    int                    fd;
};

static void
take(struct listener *ln, int fd)
{
    struct loop *l = ln->config.loop;
    ln->counts.accepted++;
    if (l->socks.used >= ln->config.socks_max) {
        ln->counts.over_limit++;
        close(fd);
        if (mono_reached(loop_now(l), ln->told_again))
            tracef(TRACE_WARN,
                   "%u connections are open, the limit: others are closed at once. Raise the "
                   "limit of open files (ulimit -n, LimitNOFILE=), or see who holds them",
                   (unsigned)l->socks.used);
        ln->told_again = mono_after(loop_now(l), TOLD_MS);
        return;
    }
    struct sock *s = sock_accepted(l, fd);
    if (s)
        ln->config.accepted(ln->config.ctx, s);
    else
        close(fd);
}

static void
on_readable(uv_poll_t *handle, int status, int events)
{
    struct listener *ln = handle->data;
    (void)events;
    (void)status;
    for (int i = 0; i < ACCEPTS_TURN; i++) {
        int fd = accept4(ln->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(ln, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EAGAIN)
            return;
        /* Used up: the connection stays in the queue and the socket stays readable,
         * so going on would spin. */
        ln->counts.out_of_files++;
        if (mono_reached(loop_now(ln->config.loop), ln->told_again))
            tracef(TRACE_WARN,
                   "no connection is accepted for now: %s. Raise the limit of open files (ulimit "
                   "-n, LimitNOFILE=), or see who holds them",
                   strerror(errno));
        ln->told_again = mono_after(loop_now(ln->config.loop), TOLD_MS);
        uv_poll_stop(&ln->poll);
        struct loop *l = ln->config.loop;
        loop_timer_set(l, &ln->pause, mono_after(loop_now(l), PAUSE_MS));
        return;
    }
}

static void
on_pause_over(void *ctx)
{
    struct listener *ln = ctx;
    uv_poll_start(&ln->poll, UV_READABLE, on_readable);
}

static int
open_socket(const struct endpoint *at, bool all)
{
    struct sockaddr_storage sa;
    struct endpoint         any = {.family = all ? 6 : at->family, .port = at->port};
    int                     one = 1, zero = 0;
    if (!all)
        any = *at;
    int fd =
        socket(any.family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && all) { /* a machine without IPv6 */
        any.family = 4;
        fd         = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (any.family == 6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, all ? &zero : &one, sizeof one);
    socklen_t bytes = endpoint_to_sockaddr(&any, &sa);
    if (bind(fd, (struct sockaddr *)&sa, bytes) < 0 || listen(fd, BACKLOG) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static enum err
explain(const struct listener_config *config, int error, struct buf *problem)
{
    char text[ENDPOINT_TEXT_BYTES];
    endpoint_text(&config->at, text);
    const char *what = strerror(error);
    if (error == EADDRINUSE)
        what = "the port is in use by another program; stop it or choose another with --port";
    else if (error == EADDRNOTAVAIL)
        what = "this machine has no such address; name one of its own with --bind";
    else if (error == EACCES)
        what = "no permission for this port; choose one above 1023 with --port";
    buf_sayf(problem, "cannot listen on %s: %s", text, what);
    return error == EADDRINUSE ? ERR_BUSY : ERR_IO;
}

enum err
listener_open(struct listener **out, const struct listener_config *config, struct buf *problem)
{
    int fd = open_socket(&config->at, config->all);
    if (fd < 0)
        return explain(config, errno, problem);
    struct listener *ln = mem_new(sizeof *ln);
    ln->config          = *config;
    ln->fd              = fd;
    ln->pause           = (struct loop_timer){.fire = on_pause_over, .ctx = ln};
    ln->poll.data       = ln;
    if (uv_poll_init(&config->loop->uv, &ln->poll, fd) != 0) {
        close(fd);
        mem_free(ln);
        return explain(config, EMFILE, problem);
    }
    uv_poll_start(&ln->poll, UV_READABLE, on_readable);
    *out = ln;
    return ERR_OK;
}

static void
on_poll_closed(uv_handle_t *handle)
{
    struct listener *ln = handle->data;
    mem_free(ln);
}

void
listener_close(struct listener *ln)
{
    loop_timer_stop(ln->config.loop, &ln->pause);
    uv_poll_stop(&ln->poll);
    close(ln->fd);
    uv_close((uv_handle_t *)&ln->poll, on_poll_closed);
}

void
listener_at(const struct listener *ln, struct endpoint *e)
{
    struct sockaddr_storage sa    = {0};
    socklen_t               bytes = sizeof sa;
    *e                            = (struct endpoint){0};
    if (getsockname(ln->fd, (struct sockaddr *)&sa, &bytes) == 0)
        endpoint_from_sockaddr(&sa, e);
}

struct listener_counts
listener_counts(const struct listener *ln)
{
    return ln->counts;
}
