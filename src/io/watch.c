#include "io/watch.h"

#include "base/check.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

void
watch_init(struct watch *w)
{
    *w = (struct watch){.fd = -1, .timer = -1, .at = MONO_NEVER};
}

void
watch_close(struct watch *w)
{
    if (w->timer >= 0)
        close(w->timer);
    if (w->fd >= 0)
        close(w->fd);
    watch_init(w);
}

enum err
watch_open(struct watch *w)
{
    w->fd    = epoll_create1(EPOLL_CLOEXEC);
    w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (w->fd >= 0 && w->timer >= 0 && watch_socket(w, w->timer, false) == ERR_OK)
        return ERR_OK;
    int why = errno;
    watch_close(w);
    errno = why;
    return ERR_IO;
}

void
watch_at(struct watch *w, struct mono t)
{
    struct itimerspec when = {0};
    if (t.ms == w->at.ms)
        return;
    w->at = t;
    if (t.ms != MONO_NEVER.ms) {
        when.it_value.tv_sec  = (time_t)(t.ms / 1000);
        when.it_value.tv_nsec = (long)(t.ms % 1000) * 1000000;
        if (t.ms == 0)
            when.it_value.tv_nsec = 1; /* 0 would mean: off */
    }
    CHECK(timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

enum err
watch_socket(struct watch *w, int socket, bool out)
{
    struct epoll_event e = {.events = out ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.fd = socket};
    if (epoll_ctl(w->fd, EPOLL_CTL_MOD, socket, &e) == 0)
        return ERR_OK;
    if (errno == ENOENT && epoll_ctl(w->fd, EPOLL_CTL_ADD, socket, &e) == 0)
        return ERR_OK;
    return ERR_IO;
}

void
watch_forget(struct watch *w, int socket)
{
    if (w->fd >= 0)
        epoll_ctl(w->fd, EPOLL_CTL_DEL, socket, NULL); /* it may not have been watched */
}
