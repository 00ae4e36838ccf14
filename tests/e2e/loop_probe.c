/* loop_probe.c - two handles in one poll(): how long does a call take, how often is one called?
 *
 * usage: loop_probe BROKERS MESSAGES IDLE_MS CONNECT_MS ANSWER_MS
 * Subscribes with one handle, publishes MESSAGES with the other, and waits for all receipts and
 * messages; then waits for IDLE_MS.  Prints how many receipts are there, "idle", and at last
 *     receipts N messages N longest_ms N calls N idle_calls N broker HOST:PORT */
#include <hearsay.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PUBLISHER, SUBSCRIBER };

static struct hearsay *handle[2];
static struct pollfd   ready[2];
static long            longest_us, calls;
static int             want, begun, seen, receipts;
static char           *was; /* 1: that message has come */

static long
now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
took(long since)
{
    long us = now_us() - since;
    calls++;
    if (us > longest_us)
        longest_us = us;
}

static int
work(int which)
{
    long since = now_us();
    int  has   = ready[which].revents ? hearsay_work(handle[which]) : 0;
    if (ready[which].revents)
        took(since);
    return has;
}

static void
begin_more(void)
{
    struct hearsay_publish p;
    memset(&p, 0, sizeof p);
    p.topic = "probe";
    while (hearsay_subscribed(handle[SUBSCRIBER]) && begun < want &&
           hearsay_outstanding(handle[PUBLISHER]) < HEARSAY_OUTSTANDING_MAX) {
        char body[16];
        long since = now_us();
        sprintf(body, "%d", begun++);
        p.body       = body;
        p.body_bytes = strlen(body);
        if (hearsay_publish_begin(handle[PUBLISHER], &p) != HEARSAY_OK)
            exit(3);
        took(since);
    }
}

static void
take_receipt(void)
{
    struct hearsay_receipt r;
    long                   since = now_us();
    if (hearsay_publish_end(handle[PUBLISHER], &r) == HEARSAY_OK)
        receipts++;
    else
        fprintf(stderr, "%s\n", hearsay_text(handle[PUBLISHER]));
    took(since);
    printf("%d\n", receipts);
    fflush(stdout);
}

static void
take_message(void)
{
    struct hearsay_message m;
    long                   since = now_us();
    if (hearsay_next(handle[SUBSCRIBER], 0, &m) == HEARSAY_OK) {
        int which = atoi(m.body);
        seen += !was[which]; /* one that was sent again may come twice */
        was[which] = 1;
    }
    took(since);
}

/* false: nothing woke it in that time. */
static int
turn(int timeout_ms)
{
    if (poll(ready, 2, timeout_ms) == 0)
        return 0;
    if (work(PUBLISHER) & HEARSAY_HAS_RECEIPT)
        take_receipt();
    if (work(SUBSCRIBER) & HEARSAY_HAS_MESSAGE)
        take_message();
    return 1;
}

int
main(int argc, char **argv)
{
    const char              *filter[] = {"probe"};
    struct hearsay_subscribe s;
    long                     before_idle, end;

    if (argc != 6)
        return 2;
    want = atoi(argv[2]);
    was  = calloc((size_t)want, 1);
    for (int i = 0; i < 2; i++) {
        handle[i] = hearsay_open(argv[1]);
        if (!handle[i] || !was)
            return 2;
        hearsay_set_timeouts(handle[i], atoi(argv[4]), atoi(argv[5]));
        ready[i].fd     = hearsay_fd(handle[i]);
        ready[i].events = POLLIN;
    }
    hearsay_set_patience(handle[PUBLISHER], 60000);
    memset(&s, 0, sizeof s);
    s.filter       = filter;
    s.filter_count = 1;
    hearsay_subscribe_begin(handle[SUBSCRIBER], &s);

    while (receipts < want || seen < want) {
        begin_more();
        if (!turn(30000))
            return 4; /* the descriptors have forgotten something */
    }
    before_idle = calls;
    puts("idle");
    fflush(stdout);
    for (end = now_us() + atol(argv[3]) * 1000; now_us() < end;)
        turn((int)((end - now_us()) / 1000) + 1);
    printf("receipts %d messages %d longest_ms %ld calls %ld idle_calls %ld broker %s\n", receipts,
           seen, longest_us / 1000, before_idle, calls - before_idle,
           hearsay_broker(handle[SUBSCRIBER]));
    hearsay_close(handle[PUBLISHER]);
    hearsay_close(handle[SUBSCRIBER]);
    free(was);
    return 0;
}
