#include "cli/cli.h"
#include "cli/cursor_file.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME "subscribe"

static const struct option_row rows[] = {
    CLI_BROKER_ROWS,
    {"topic", OPTION_LIST, NULL, "FILTER", "what to hear: + is a level, # the rest; repeatable"},
    {"from", OPTION_TEXT, "latest", "PLACE", "earliest, latest, a cursor, a time back: 10m"},
    {"cursor-file", OPTION_TEXT, NULL, "FILE", "go on where the last run with this file ended"},
    {"json", OPTION_FLAG, NULL, "", "print whole messages, one JSON object a line"},
    {"count", OPTION_NUMBER, NULL, "N", "end after so many messages [0: never]"},
    {"timeout", OPTION_TIME, NULL, "TIME", "end (code 124) after so long without any [0: never]"},
};
static const struct command_line usage = {
    .name     = NAME,
    .operands = "",
    .about    = "Prints messages as they come: the body on a line, with the topic in front where\n"
                "the filter may match several. When its broker fails it goes on, without\n"
                "gap or repeat, at whichever broker answers.",
    .examples = "  hearsay subscribe --topic stocks\n"
                "  hearsay subscribe --topic 'news/#' --from 1h --cursor-file news.cursor\n",
    CLI_ROWS(rows),
};

struct listen {
    struct hearsay       *h;
    const struct options *o;
    const char           *file; /* NULL: none */
    struct buf            from;
    struct buf            written; /* the cursor that is in the file */
    bool                  with_topic, json;
    bool                  in_trouble; /* and said so */
    char                  at[300];    /* the broker that was named last */
    long                  left;       /* messages; LONG_MAX: no end */
    uint64_t              last_ms;    /* when the last message came */
    int                   timeout_ms; /* 0: none */
};

static void
print_message(const struct listen *l, const struct hearsay_message *m)
{
    if (l->json) {
        fwrite(m->json, 1, m->json_bytes, stdout);
        putchar('\n');
        return;
    }
    if (l->with_topic)
        printf("%s ", m->topic);
    fwrite(m->body, 1, m->body_bytes, stdout);
    if (m->body_bytes == 0 || ((const char *)m->body)[m->body_bytes - 1] != '\n')
        putchar('\n');
}

static void
print_gap(const struct listen *l, const struct hearsay_message *m)
{
    if (l->json)
        printf("{\"gap\":%.*s}\n", (int)m->json_bytes, m->json);
    fprintf(stderr, "hearsay " NAME ": %s: %.*s\n", hearsay_text(l->h), (int)m->json_bytes,
            m->json);
}

/* Only what has left for standard output may count as read. */
static int
keep_cursor(struct listen *l)
{
    const char *cursor = hearsay_cursor(l->h);
    int         code   = cli_finish(NAME);
    if (code != EXIT_OK || !l->file || cursor[0] == '\0')
        return code;
    struct str is = {(const uint8_t *)cursor, strlen(cursor)};
    if (str_eq(is, buf_str(&l->written)))
        return EXIT_OK;
    if (cursor_file_write(l->file, cursor) != ERR_OK) {
        fprintf(stderr, "hearsay " NAME ": cannot write the cursor to %s: %s\n", l->file,
                strerror(errno));
        return EXIT_ERROR;
    }
    buf_reset(&l->written);
    return buf_add(&l->written, is) == ERR_OK ? EXIT_OK : EXIT_ERROR;
}

/* A broker that is down, or not ready: wait for it, and say so once. */
static bool
is_passing(const struct listen *l, enum hearsay_status status)
{
    return status == HEARSAY_UNREACHABLE || status == HEARSAY_TIMEOUT ||
           (status == HEARSAY_REFUSED && hearsay_http_status(l->h) == 503);
}

static void
say_trouble(struct listen *l)
{
    if (!l->in_trouble)
        fprintf(stderr, "hearsay " NAME ": %s; trying on\n", hearsay_text(l->h));
    l->in_trouble = true;
}

static void
say_recovered(struct listen *l)
{
    if (l->in_trouble || strcmp(l->at, hearsay_broker(l->h)) != 0)
        fprintf(stderr, "hearsay " NAME ": going on at %s\n", hearsay_broker(l->h));
    snprintf(l->at, sizeof l->at, "%s", hearsay_broker(l->h));
    l->in_trouble = false;
}

static bool
ran_out(const struct listen *l)
{
    return l->timeout_ms > 0 && cli_now_ms() - l->last_ms >= (uint64_t)l->timeout_ms;
}

/* How long to wait before looking around: whether time ran out, or nobody reads us. */
static int
patience(const struct listen *l)
{
    enum { LOOK_MS = 1000 };
    uint64_t gone = cli_now_ms() - l->last_ms;
    uint64_t left = (uint64_t)l->timeout_ms > gone ? (uint64_t)l->timeout_ms - gone : 0;
    return l->timeout_ms == 0 || left > LOOK_MS ? LOOK_MS : (int)left;
}

/* `| head` is satisfied: end as if the next write had found out. */
static void
end_with_the_reader(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO};
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)))
        raise(SIGPIPE);
}

static int
page_size(const struct listen *l)
{
    return l->left < 1000 ? (int)l->left : 1000;
}

/* Whoever wrote `--from yesterday` did not know that it was taken for a cursor. */
static int
refused(const struct listen *l, enum hearsay_status status)
{
    int code = cli_fail(NAME, l->h, status);
    if (strstr(hearsay_text(l->h), "(bad_cursor)"))
        fprintf(stderr, "hearsay " NAME
                        ": --from takes earliest, latest, a time back such as 10m, or a cursor\n");
    return code;
}

static int
begin(struct listen *l)
{
    const struct option_value *topics = options_value(l->o, "topic");
    struct hearsay_subscribe   s      = {.filter       = topics->text,
                                         .filter_count = topics->count,
                                         .from         = (const char *)buf_str(&l->from).p,
                                         .page         = page_size(l)};
    for (;;) {
        enum hearsay_status status = hearsay_subscribe(l->h, &s);
        if (status == HEARSAY_OK)
            break;
        if (!is_passing(l, status))
            return refused(l, status);
        say_trouble(l);
        if (ran_out(l))
            return EXIT_UNREACHABLE;
    }
    l->in_trouble = false;
    snprintf(l->at, sizeof l->at, "%s", hearsay_broker(l->h));
    fprintf(stderr, "subscribed to");
    for (unsigned i = 0; i < topics->count; i++)
        fprintf(stderr, " %s", topics->text[i]);
    fprintf(stderr, " at %s\n", hearsay_broker(l->h));
    return keep_cursor(l);
}

/* -1: go on. */
static int
on_timeout(struct listen *l)
{
    int code = keep_cursor(l);
    if (code != EXIT_OK)
        return code;
    end_with_the_reader();
    if (!ran_out(l))
        return -1;
    fprintf(stderr, "hearsay " NAME ": no message came in time\n");
    return EXIT_TIMEOUT;
}

static int
on_message(struct listen *l, const struct hearsay_message *m)
{
    say_recovered(l);
    print_message(l, m);
    l->last_ms = cli_now_ms();
    if (l->left != LONG_MAX)
        hearsay_set_page(l->h, --l->left < 1000 ? (int)l->left : 1000);
    /* Within a page the rest is here already: nothing waits for this message alone. */
    return m->cursor ? keep_cursor(l) : EXIT_OK;
}

static int
listen_on(struct listen *l)
{
    struct hearsay_message m;
    int                    code = begin(l);
    l->last_ms                  = cli_now_ms();
    while (code <= EXIT_OK && l->left > 0) {
        enum hearsay_status status = hearsay_next(l->h, patience(l), &m);
        if (status == HEARSAY_OK)
            code = on_message(l, &m);
        else if (status == HEARSAY_GAP)
            print_gap(l, &m);
        else if (status == HEARSAY_TIMEOUT)
            code = on_timeout(l);
        else if (is_passing(l, status))
            say_trouble(l);
        else
            code = cli_fail(NAME, l->h, status);
    }
    return code < 0 ? EXIT_OK : code;
}

/* The place in the file wins: that is what it is kept for. */
static int
choose_place(struct listen *l)
{
    l->file           = options_text(l->o, "cursor-file");
    const char *given = options_text(l->o, "from");
    enum err    e     = l->file ? cursor_file_read(l->file, &l->from) : ERR_NOTFOUND;
    if (e == ERR_NOTFOUND) {
        buf_reset(&l->from);
        e = buf_add(&l->from, (struct str){(const uint8_t *)given, strlen(given) + 1});
    }
    if (e == ERR_OK)
        return EXIT_OK;
    fprintf(stderr, "hearsay " NAME ": %s: %s\n", l->file,
            e == ERR_INVALID ? "this is not a cursor; remove the file to begin anew with --from"
                             : strerror(errno));
    return EXIT_ERROR;
}

static bool
may_match_several(const struct option_value *topics)
{
    return topics->count != 1 || strpbrk(topics->text[0], "+#");
}

int
cli_subscribe(int argc, char **argv)
{
    struct options o;
    int            code = options_parse(&o, &usage, argc, argv);
    if (code >= 0)
        return code;
    const struct option_value *topics = options_value(&o, "topic");
    if (topics->count == 0) {
        fprintf(stderr, "hearsay " NAME ": name a topic: --topic stocks, or --topic '#' for all\n");
        return EXIT_USAGE;
    }
    struct listen l = {.o          = &o,
                       .with_topic = may_match_several(topics),
                       .json       = options_flag(&o, "json"),
                       .left       = options_number(&o, "count"),
                       .timeout_ms = options_ms(&o, "timeout"),
                       .last_ms    = cli_now_ms()};
    if (l.left == 0)
        l.left = LONG_MAX;
    buf_init(&l.from, 0);
    buf_init(&l.written, 0);
    code = choose_place(&l);
    l.h  = code == EXIT_OK ? cli_open(&o, NAME) : NULL;
    if (l.h)
        code = listen_on(&l);
    else if (code == EXIT_OK)
        code = EXIT_USAGE;
    hearsay_close(l.h);
    buf_fini(&l.from);
    buf_fini(&l.written);
    return code;
}
