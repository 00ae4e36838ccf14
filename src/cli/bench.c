#include "cli/cli.h"
#include "load/run.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "bench"

static const struct option_row rows[] = {
    {"host", OPTION_TEXT, "localhost", "NAME", "the broker's host"},
    {"port", OPTION_NUMBER, "3000", "N", "the broker's port"},
    {"topic", OPTION_TEXT, "bench", "TOPIC", "where to publish; the messages stay there"},
    {"topics", OPTION_NUMBER, "1", "N", "so many, one below the other: TOPIC/000000 and on"},
    {"publish", OPTION_TEXT, "json", "FACE", "http (a POST each), ndjson, json"},
    {"subscribe", OPTION_TEXT, "json", "FACE", "ndjson, sse, poll, json, or none"},
    {"publishers", OPTION_NUMBER, "4", "N", "connections that publish"},
    {"subscribers", OPTION_NUMBER, "1", "N", "connections that read all of it"},
    {"window", OPTION_NUMBER, "100", "N", "publishes of a connection without an answer yet"},
    {"rate", OPTION_NUMBER, "0", "N",
     "messages a second in all, due at their times whatever came back; 0: as the windows allow"},
    {"size", OPTION_NUMBER, "100", "BYTES", "of each message, 29 to 65536"},
    {"count", OPTION_NUMBER, "0", "N", "messages in all; 0: as many as there is time for"},
    {"warm", OPTION_TIME, "500ms", "TIME", "not measured yet"},
    {"time", OPTION_TIME, "3s", "TIME", "measured, at most 1h"},
    {"ids", OPTION_TEXT, NULL, "FILE", "write the acknowledged ids, two 64-bit numbers each"},
    {"json", OPTION_FLAG, NULL, "", "one JSON object instead of a table"},
};
static const struct command_line usage = {
    .name     = NAME,
    .operands = "",
    .about =
        "Publishes and subscribes over real connections, and says how many messages went through\n"
        "and how long they took. With --rate, times count from when a message was due, not from\n"
        "when it could be sent: a broker that stands still is not spared. What is acknowledged\n"
        "is on disk, where the topic is stored.",
    CLI_ROWS(rows),
    .examples = "  hearsay bench --publish http --publishers 64 --window 1 --subscribe none\n"
                "  hearsay bench --rate 5000 --json\n",
};

/* ---- what was asked for ---- */

struct bound {
    const char *name;
    long        least, most;
};
static const struct bound bound[] = {
    {"topics", 1, 1000000},  {"publishers", 1, 4096}, {"subscribers", 0, 30000},
    {"window", 1, 100000},   {"rate", 0, 10000000},   {"size", MARK_BYTES, 65536},
    {"count", 0, INT32_MAX}, {"port", 1, 65535},
};

static bool
is_bounded(const struct options *o)
{
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) {
        long n = options_number(o, bound[i].name);
        if (n < bound[i].least || n > bound[i].most) {
            fprintf(stderr, "hearsay " NAME ": --%s %ld is not within %ld and %ld\n", bound[i].name,
                    n, bound[i].least, bound[i].most);
            return false;
        }
    }
    int ms = options_ms(o, "time");
    if (ms < 1 || ms > 3600 * 1000) {
        fprintf(stderr, "hearsay " NAME ": --time has to be 1ms to 1h\n");
        return false;
    }
    return true;
}

/* It goes into URLs and JSON as it is. */
static bool
take_topic(struct load *l, const char *topic)
{
    size_t n    = strlen(topic);
    bool   good = n > 0 && n < sizeof l->topic && topic[0] != '/' && topic[n - 1] != '/';
    for (const char *p = topic; *p; p++)
        good &= isalnum((unsigned char)*p) || strchr("-_./", *p);
    if (!good) {
        fprintf(stderr,
                "hearsay " NAME ": --topic has to be letters, digits, - _ . and single /, "
                "at most %zu bytes\n",
                sizeof l->topic - 1);
        return false;
    }
    memcpy(l->topic, topic, n + 1);
    return true;
}

/* NULL: there is none of that name, the reason was said. */
static const struct driver *
face_of(const struct options *o, const char *option, const struct driver *table, const char *also)
{
    const char *name = options_text(o, option);
    for (const struct driver *d = table; d->name; d++)
        if (strcmp(d->name, name) == 0)
            return d;
    fprintf(stderr, "hearsay " NAME ": --%s %s: there is", option, name);
    for (const struct driver *d = table; d->name; d++)
        fprintf(stderr, " %s", d->name);
    fprintf(stderr, "%s\n", also);
    return NULL;
}

/* EXIT_OK, or EXIT_USAGE: the reason was said. */
static int
prepare(struct load *l, struct roles *roles, const struct options *o)
{
    bool reads = strcmp(options_text(o, "subscribe"), "none") != 0;
    if (!is_bounded(o) || !take_topic(l, options_text(o, "topic")))
        return EXIT_USAGE;
    roles->publish = face_of(o, "publish", load_publish, "");
    if (reads)
        roles->subscribe = face_of(o, "subscribe", load_subscribe, " none");
    if (!roles->publish || (reads && !roles->subscribe))
        return EXIT_USAGE;
    l->host         = options_text(o, "host");
    l->port         = options_text(o, "port");
    l->publishers   = (unsigned)options_number(o, "publishers");
    l->subscribers  = reads ? (unsigned)options_number(o, "subscribers") : 0;
    l->topics       = (unsigned)options_number(o, "topics");
    l->window       = options_number(o, "window");
    l->rate         = (double)options_number(o, "rate");
    l->body_bytes   = (size_t)options_number(o, "size");
    l->count        = (uint64_t)options_number(o, "count");
    l->seconds      = options_ms(o, "time") / 1e3;
    l->warm_seconds = options_ms(o, "warm") / 1e3;
    l->ids_path     = options_text(o, "ids");
    return EXIT_OK;
}

/* ---- what came of it ---- */

static void
print_rate(const char *what, uint64_t count, const struct load *l)
{
    printf("%-14s %12.0f a second\n", what, (double)count / l->seconds);
}

static void
print_times(const char *what, const struct histogram *h)
{
    static const double part[] = {.5, .9, .99, .999, .9999};
    if (h->count == 0)
        return;
    printf("%-14s", what);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        printf(" %9.3f", (double)histogram_percentile(h, part[i]) / 1e6);
    printf(" %9.3f\n", (double)h->max / 1e6);
}

static void
print_table(const struct load *l, const struct roles *roles)
{
    printf("%u over %s publish %zu bytes", l->publishers, roles->publish->name, l->body_bytes);
    if (l->rate > 0)
        printf(" at %.0f a second in all", l->rate);
    else
        printf(", %ld on their way each", l->window);
    if (l->subscribers > 0)
        printf("; %u read over %s", l->subscribers, roles->subscribe->name);
    printf("; %g s\n\n", l->seconds);
    print_rate("published", l->published_warm, l);
    print_rate("acknowledged", l->acked_warm, l);
    if (l->subscribers > 0)
        print_rate("delivered", l->delivered_warm, l);
    printf("\n%-14s %9s %9s %9s %9s %9s %9s\n", "milliseconds", "50 %", "90 %", "99 %", "99.9 %",
           "99.99 %", "most");
    print_times("acknowledged", &l->ack);
    print_times("delivered", &l->delivery);
    print_times("sent late", &l->late);
    if (l->lost + l->repeated + l->errors > 0)
        printf("\n%llu lost, %llu repeated, %llu errors\n", (unsigned long long)l->lost,
               (unsigned long long)l->repeated, (unsigned long long)l->errors);
}

int
cli_bench(int argc, char **argv)
{
    static struct load l; /* some hundred KiB of histograms */
    struct roles       roles = {0};
    struct options     o;
    int                code = options_parse(&o, &usage, argc, argv);
    if (code >= 0)
        return code;
    code = prepare(&l, &roles, &o);
    if (code != EXIT_OK)
        return code;
    load_run(&l, roles);
    if (options_flag(&o, "json"))
        load_print(&l);
    else
        print_table(&l, &roles);
    if (l.ids_path)
        load_ids_write(&l.ids, l.ids_path);
    code = cli_finish(NAME);
    return code == EXIT_OK && l.errors + l.lost + l.repeated > 0 ? EXIT_ERROR : code;
}
