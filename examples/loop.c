/* loop.c - publishes each line of standard input, and prints what is published, in one loop that
 * waits in poll() alone.
 *
 *     cc loop.c -o loop $(pkg-config --cflags --libs hearsay)
 *     ./loop localhost:3000,localhost:3001 chat/kitchen 'chat/#'
 *
 * Two handles, to show that each has a descriptor; one could do both.  It ends when standard
 * input does and each line has its receipt.  Lines beyond 4095 bytes are cut into several. */
#include <hearsay.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { INPUT, PUBLISHER, SUBSCRIBER, LINE_BYTES = 4096 };

static char   line[LINE_BYTES];
static size_t filled;

/* Begin what stands in `line`, whole lines only, as far as the handle takes more. */
static void
publish_lines(struct hearsay *h, const char *topic, int at_end)
{
    while (filled > 0 && hearsay_outstanding(h) < HEARSAY_OUTSTANDING_MAX) {
        struct hearsay_publish p;
        char                  *newline = memchr(line, '\n', filled);
        size_t                 bytes   = newline ? (size_t)(newline - line) : filled;
        if (!newline && !at_end && filled < sizeof line)
            return;
        memset(&p, 0, sizeof p);
        p.topic      = topic;
        p.body       = line; /* it is copied: `line` may change before the receipt is there */
        p.body_bytes = bytes;
        if (hearsay_publish_begin(h, &p) != HEARSAY_OK)
            fprintf(stderr, "loop: %s\n", hearsay_text(h));
        filled -= bytes + (newline != NULL);
        memmove(line, line + bytes + (newline != NULL), filled);
    }
}

/* The receipts come in the order in which the publishes were begun. */
static void
take_receipt(struct hearsay *h)
{
    struct hearsay_receipt r;
    enum hearsay_status    status = hearsay_publish_end(h, &r);
    if (status == HEARSAY_OK)
        printf("receipt %s\n", r.id);
    else
        printf("no receipt: %s\n", hearsay_text(h));
}

/* 0: there is no use in going on. */
static int
take_message(struct hearsay *h)
{
    struct hearsay_message m;
    enum hearsay_status    status = hearsay_next(h, 0, &m);
    if (status == HEARSAY_OK)
        printf("%s: %s\n", m.topic, (const char *)m.body);
    else if (status != HEARSAY_TIMEOUT)
        fprintf(stderr, "loop: %s\n", hearsay_text(h));
    /* The library goes on trying where no broker can be reached, in its own time. */
    return status == HEARSAY_OK || status == HEARSAY_TIMEOUT || status == HEARSAY_GAP ||
           status == HEARSAY_UNREACHABLE ||
           (status == HEARSAY_REFUSED && hearsay_http_status(h) == 503);
}

int
main(int argc, char **argv)
{
    struct hearsay          *publisher, *subscriber;
    struct hearsay_subscribe s;
    const char              *filter[1];
    struct pollfd            wait[3];
    int                      going = 1, at_end = 0, said = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: loop BROKERS TOPIC FILTER\n");
        return 2;
    }
    publisher  = hearsay_open(argv[1]);
    subscriber = hearsay_open(argv[1]);
    if (!publisher || !subscriber) {
        fprintf(stderr, "loop: '%s' is no list of brokers\n", argv[1]);
        return 2;
    }
    hearsay_set_patience(publisher, 30000);
    filter[0] = argv[3];
    memset(&s, 0, sizeof s);
    s.filter       = filter;
    s.filter_count = 1;
    memset(wait, 0, sizeof wait);
    wait[INPUT].fd      = STDIN_FILENO;
    wait[PUBLISHER].fd  = hearsay_fd(publisher);
    wait[SUBSCRIBER].fd = hearsay_fd(subscriber);
    for (int i = INPUT; i <= SUBSCRIBER; i++)
        wait[i].events = POLLIN;
    if (wait[PUBLISHER].fd < 0 || wait[SUBSCRIBER].fd < 0 ||
        hearsay_subscribe_begin(subscriber, &s) != HEARSAY_OK) {
        fprintf(stderr, "loop: %s%s\n", hearsay_text(publisher), hearsay_text(subscriber));
        return 1;
    }

    while (going && (!at_end || filled > 0 || hearsay_outstanding(publisher) > 0)) {
        /* No more input than there is room for; a negative descriptor is not looked at. */
        wait[INPUT].fd = at_end || filled == sizeof line ? -1 : STDIN_FILENO;
        if (poll(wait, 3, -1) < 0)
            break;
        if (wait[INPUT].fd >= 0 && wait[INPUT].revents) {
            ssize_t n = read(STDIN_FILENO, line + filled, sizeof line - filled);
            at_end    = n <= 0;
            filled += n > 0 ? (size_t)n : 0;
        }
        if (wait[PUBLISHER].revents)
            while (hearsay_work(publisher) & HEARSAY_HAS_RECEIPT)
                take_receipt(publisher);
        publish_lines(publisher, argv[2], at_end);
        if (wait[SUBSCRIBER].revents && (hearsay_work(subscriber) & HEARSAY_HAS_MESSAGE))
            going = take_message(subscriber);
        if (!said && hearsay_subscribed(subscriber)) {
            printf("listening\n"); /* what is published from now on will come */
            said = 1;
        }
        fflush(stdout);
    }
    hearsay_close(publisher);
    hearsay_close(subscriber);
    return at_end ? 0 : 1;
}
