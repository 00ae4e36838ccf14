/* All of hearsay_test.c once more, in an event loop: each call that would wait is one that does
 * not, behind a poll() on the descriptor.  Broken: a failure would have another outcome there. */
#include "hearsay.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { LONGEST_MS = 30000, CALL_MS_MAX = 1000 };

static long
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until there is one of `bits`.  false: not within that time. */
static bool
work_until(struct hearsay *h, int bits, int timeout_ms)
{
    long end = now_ms() + timeout_ms;
    for (;;) {
        struct pollfd p     = {.fd = hearsay_fd(h), .events = POLLIN};
        long          since = now_ms();
        int           has   = hearsay_work(h);
        if (now_ms() - since > CALL_MS_MAX)
            abort(); /* it waited */
        if (has & bits)
            return true;
        if (now_ms() >= end)
            return false;
        poll(&p, 1, (int)(end - now_ms()));
    }
}

static enum hearsay_status
loop_publish_end(struct hearsay *h, struct hearsay_receipt *r)
{
    if (hearsay_outstanding(h) > 0 && !work_until(h, HEARSAY_HAS_RECEIPT, LONGEST_MS))
        abort(); /* nothing woke it */
    return hearsay_publish_end(h, r);
}

static enum hearsay_status
loop_publish(struct hearsay *h, const struct hearsay_publish *p, struct hearsay_receipt *r)
{
    if (hearsay_outstanding(h) > 0)
        return hearsay_publish(h, p, r);
    enum hearsay_status status = hearsay_publish_begin(h, p);
    return status == HEARSAY_OK ? loop_publish_end(h, r) : status;
}

static enum hearsay_status
loop_next(struct hearsay *h, int timeout_ms, struct hearsay_message *m)
{
    (void)work_until(h, HEARSAY_HAS_MESSAGE, timeout_ms);
    return hearsay_next(h, 0, m);
}

#define hearsay_publish_end(h, r) loop_publish_end(h, r)
#define hearsay_publish(h, p, r) loop_publish(h, p, r)
#define hearsay_next(h, ms, m) loop_next(h, ms, m)

#include "client/hearsay_test.c"
