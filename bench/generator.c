/* generator - loads a broker over its own protocol and says how it went, as JSON.
 *
 * usage: generator HOST PORT PUBLISH|- SUBSCRIBE|- [NAME=VALUE...]
 *   publishers=4 subscribers=0 window=1 rate=0 bytes=100 seconds=3 warm=0.5 topics=1 count=0
 *   ids=FILE hold=0
 * PUBLISH: http ndjson json nchan nats jetstream redis redis-stream mqtt0 mqtt1
 * SUBSCRIBE: ndjson sse poll json nchan nats redis redis-stream mqtt0 mqtt1
 * A rate (messages a second, over all publishers) makes an open loop: run.h says what that
 * is.  ids gets the acknowledged ids of Hearsay, two 64-bit numbers each.  hold=1 subscribes,
 * says "ready" and waits for the end of its input. */
#include "bench/drivers.h"
#include "load/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct driver *
driver_named(const struct driver *table, const char *name)
{
    for (const struct driver *d = table; d->name; d++)
        if (strcmp(d->name, name) == 0)
            return d;
    fprintf(stderr, "generator: no such protocol: %s\n", name);
    exit(2);
}

static double
decimal(const char *name, const char *text)
{
    char  *end;
    double d = strtod(text, &end);
    if (end == text || *end != '\0' || d < 0) {
        fprintf(stderr, "generator: %s is no number: %s\n", name, text);
        exit(2);
    }
    return d;
}

static void
option(struct load *l, char *word)
{
    char *value = strchr(word, '=');
    if (!value) {
        fprintf(stderr, "generator: not NAME=VALUE: %s\n", word);
        exit(2);
    }
    *value++ = '\0';
    if (strcmp(word, "ids") == 0) {
        l->ids_path = value;
        return;
    }
    double d = decimal(word, value);
    if (strcmp(word, "publishers") == 0)
        l->publishers = (unsigned)d;
    else if (strcmp(word, "subscribers") == 0)
        l->subscribers = (unsigned)d;
    else if (strcmp(word, "topics") == 0)
        l->topics = (unsigned)d;
    else if (strcmp(word, "window") == 0)
        l->window = (long)d;
    else if (strcmp(word, "rate") == 0)
        l->rate = d;
    else if (strcmp(word, "bytes") == 0)
        l->body_bytes = (size_t)d;
    else if (strcmp(word, "seconds") == 0)
        l->seconds = d;
    else if (strcmp(word, "warm") == 0)
        l->warm_seconds = d;
    else if (strcmp(word, "count") == 0)
        l->count = (uint64_t)d;
    else if (strcmp(word, "hold") == 0)
        l->hold = d > 0;
    else {
        fprintf(stderr, "generator: no such option: %s\n", word);
        exit(2);
    }
}

int
main(int argc, char **argv)
{
    static struct load l     = {.publishers   = 4,
                                .topic        = "bench",
                                .topics       = 1,
                                .window       = 1,
                                .body_bytes   = 100,
                                .seconds      = 3,
                                .warm_seconds = 0.5};
    struct roles       roles = {0};
    if (argc < 5) {
        fprintf(stderr, "usage: generator HOST PORT PUBLISH|- SUBSCRIBE|- [NAME=VALUE...]\n");
        return 2;
    }
    for (int i = 5; i < argc; i++)
        option(&l, argv[i]);
    l.host = argv[1];
    l.port = argv[2];
    if (strcmp(argv[3], "-") != 0)
        roles.publish = driver_named(publish_drivers, argv[3]);
    else
        l.publishers = 0;
    if (strcmp(argv[4], "-") != 0)
        roles.subscribe = driver_named(subscribe_drivers, argv[4]);
    else
        l.subscribers = 0;
    if (l.publishers > 65535 || l.body_bytes < MARK_BYTES || l.window < 1 || l.topics < 1 ||
        l.topics > 1000000 || l.seconds <= 0 || (l.publishers == 0 && !l.hold)) {
        fprintf(stderr,
                "generator: too many publishers or topics, a body below %d bytes, "
                "a window, number of topics or time of 0, or nobody who publishes\n",
                MARK_BYTES);
        return 2;
    }
    load_run(&l, roles);
    if (l.hold)
        return 0;
    load_print(&l);
    if (l.ids_path)
        load_ids_write(&l.ids, l.ids_path);
    return l.errors > 0;
}
