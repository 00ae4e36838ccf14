#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "bench"

static const struct option_row rows[] = {
    CLI_BROKER_ROWS,
    {"topic", OPTION_TEXT, "bench", "TOPIC", "where to publish; the messages stay there"},
    {"count", OPTION_NUMBER, "10000", "N", "messages in all, at most 1000000"},
    {"size", OPTION_NUMBER, "100", "BYTES", "of each message, at most 65536"},
    {"outstanding", OPTION_NUMBER, "64", "N", "publishes on their way at a time, at most 256"},
    {"timeout", OPTION_TIME, "60s", "TIME", "end after so long, whatever was done"},
};
static const struct command_line usage = {
    .name     = NAME,
    .operands = "",
    .about    = "Publishes over one connection and says how fast acknowledgements come back:\n"
                "first one at a time, then many at once. Each is on disk when it is acknowledged.",
    CLI_ROWS(rows),
};

enum { COUNT_MAX = 1000000, SIZE_MAX_BYTES = 65536, SINGLES_MAX = 200 };

struct bench {
    struct hearsay        *h;
    struct hearsay_publish p;
    long                   count, outstanding;
    uint64_t               deadline_ms;
};

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int
one_at_a_time(struct bench *b)
{
    double                 ms[SINGLES_MAX];
    unsigned               n = 0;
    struct hearsay_receipt r;
    while (n < SINGLES_MAX && n < (unsigned long)b->count && cli_now_ms() < b->deadline_ms) {
        double              begin  = cli_now_us();
        enum hearsay_status status = hearsay_publish(b->h, &b->p, &r);
        if (status != HEARSAY_OK)
            return cli_fail(NAME, b->h, status);
        ms[n++] = (cli_now_us() - begin) / 1000;
    }
    if (n == 0)
        return EXIT_OK;
    qsort(ms, n, sizeof *ms, by_size);
    printf("one at a time   %u messages, median %.2f ms, 99 %% within %.2f ms\n", n, ms[n / 2],
           ms[(n - 1) * 99 / 100]);
    return EXIT_OK;
}

static int
many_at_once(struct bench *b)
{
    long                   begun = 0, done = 0;
    struct hearsay_receipt r;
    double                 begin = cli_now_us();
    while (done < b->count) {
        bool                more   = begun < b->count && cli_now_ms() < b->deadline_ms;
        enum hearsay_status status = HEARSAY_OK;
        if (more && hearsay_outstanding(b->h) < b->outstanding) {
            status = hearsay_publish_begin(b->h, &b->p);
            begun++;
        } else if (hearsay_outstanding(b->h) > 0) {
            status = hearsay_publish_end(b->h, &r);
            done++;
        } else
            break;
        if (status != HEARSAY_OK)
            return cli_fail(NAME, b->h, status);
    }
    double s = (cli_now_us() - begin) / 1e6;
    printf("%3ld at a time   %ld messages in %.2f s: %.0f a second\n", b->outstanding, done, s,
           s > 0 ? (double)done / s : 0);
    return EXIT_OK;
}

int
cli_bench(int argc, char **argv)
{
    static char    body[SIZE_MAX_BYTES];
    struct options o;
    int            code = options_parse(&o, &usage, argc, argv);
    if (code >= 0)
        return code;
    struct bench b = {.count       = options_number(&o, "count"),
                      .outstanding = options_number(&o, "outstanding"),
                      .p           = {.topic = options_text(&o, "topic"), .body = body}};
    b.p.body_bytes = (size_t)options_number(&o, "size");
    if (b.count < 1 || b.count > COUNT_MAX || b.p.body_bytes > sizeof body || b.outstanding < 1 ||
        b.outstanding > HEARSAY_OUTSTANDING_MAX) {
        fprintf(stderr, "hearsay " NAME ": --count 1 to 1000000, --size up to 65536, --outstanding "
                        "1 to 256\n");
        return EXIT_USAGE;
    }
    b.h = cli_open(&o, NAME);
    if (!b.h)
        return EXIT_USAGE;
    memset(body, 'x', sizeof body);
    b.deadline_ms = cli_now_ms() + (uint64_t)options_ms(&o, "timeout");
    code          = one_at_a_time(&b);
    if (code == EXIT_OK)
        code = many_at_once(&b);
    hearsay_close(b.h);
    return code == EXIT_OK ? cli_finish(NAME) : code;
}
