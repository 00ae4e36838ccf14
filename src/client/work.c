#include "client/handle.h"

#include "base/check.h"
#include "io/clock.h"

#include <errno.h>
#include <string.h>

/* How often to look at a socket that the kernel does not watch for us: its table is full. */
enum { LOOK_MS = 50 };

/* The sockets come and go with their connections; only what changed is told to the kernel. */
static struct mono
watch_line(struct line *l, struct mono due)
{
    bool out = dial_is_connecting(&l->dial) || l->out.n > 0;
    if (dial_watch(&l->dial, out) == ERR_OK)
        return due;
    return mono_min(due, mono_after(mono_now(), LOOK_MS));
}

void
handle_arm(struct hearsay *h)
{
    if (h->watch.fd < 0)
        return;
    struct mono pub = watch_line(&h->pub, publish_due(h));
    struct mono sub = watch_line(&h->sub, subscribe_due(h));
    watch_at(&h->watch, mono_min(pub, sub));
}

int
hearsay_fd(struct hearsay *h)
{
    if (h->watch.fd < 0 && watch_open(&h->watch) != ERR_OK) {
        handle_say(h, HEARSAY_INVALID, "no descriptors are left (%s): raise ulimit -n",
                   strerror(errno));
        return -1;
    }
    h->pub.dial.watch = h->sub.dial.watch = &h->watch;
    handle_arm(h);
    return h->watch.fd;
}

int
hearsay_work(struct hearsay *h)
{
    publish_work(h);
    subscribe_work(h);
    handle_arm(h);
    return (publish_is_ready(h) ? HEARSAY_HAS_RECEIPT : 0) |
           (subscribe_is_ready(h) ? HEARSAY_HAS_MESSAGE : 0);
}
