#include "cli/cli.h"
#include "cli/cursor_file.h"
#include "cli/progress.h"

#include "base/check.h"

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
    {"quiet", OPTION_FLAG, NULL, "", "say nothing on standard error but what goes wrong"},
};
static const struct command_line usage = {
    .name     = NAME,
    .operands = "",
    .about    = "Prints messages as they come: the body on a line, with the topic in front where\n"
                "the filter may match several. When its broker fails it goes on, without\n"
                "loss or repeat, at whichever broker answers. What retention removed before it\n"
                "was read is named on standard error, and with --json as {\"gap\":...} too.\n\n"
                "A cursor file belongs to the topics it was made with, and to one run at a time.\n"
                "It is written behind each page of at most 1000 messages that was printed: so\n"
                "many may come again after a kill -9, none after Ctrl-C, and none are lost.",
    .examples = "  hearsay subscribe --topic stocks\n"
                "  hearsay subscribe --topic 'news/#' --from 1h --cursor-file news.cursor\n",
    CLI_ROWS(rows),
};

struct listen {
    struct hearsay       *h;
    const struct options *o;
    bool                  has_file, from_file; /* the place to begin at is the file's */
    struct cursor_file    file;
    struct buf            from;
    struct buf            written; /* the cursor that is in the file */
    struct buf            out;     /* printed, not yet written: whole messages */
    bool                  with_topic, json, quiet;
    bool                  in_trouble; /* and said so */
    char                  at[300];    /* the broker that was named last */
    long                  left;       /* messages; LONG_MAX: no end */
    uint64_t              printed;
    uint64_t              last_ms;    /* when the last message came */
    int                   timeout_ms; /* 0: none */
    struct progress       progress;
};

/* ---- printing ---- */

/* A write holds whole messages, so that a killed run ends within one as seldom as can be. */
enum { OUT_BYTES = 64 << 10 };

static bool
flush(struct listen *l)
{
    bool ok = cli_write(NAME, buf_str(&l->out));
    buf_reset(&l->out);
    return ok;
}

static void
put(struct listen *l, const void *bytes, size_t n)
{
    CHECK(buf_add(&l->out, (struct str){bytes, n}) == ERR_OK);
}

static bool
print_message(struct listen *l, const struct hearsay_message *m)
{
    bool ended = m->body_bytes > 0 && ((const char *)m->body)[m->body_bytes - 1] == '\n';
    if (l->out.n + m->json_bytes > OUT_BYTES && !flush(l))
        return false;
    if (l->json)
        put(l, m->json, m->json_bytes);
    else {
        if (l->with_topic)
            CHECK(buf_addf(&l->out, "%s ", m->topic) == ERR_OK);
        put(l, m->body, m->body_bytes);
    }
    if (l->json || !ended)
        put(l, "\n", 1);
    return true;
}

/* Of topics that are not stored. */
static bool
print_lost(struct listen *l, const struct hearsay_message *m)
{
    if (m->lost == 0)
        return true;
    if (!flush(l)) /* the two outputs in their order */
        return false;
    progress_clear(&l->progress);
    fprintf(stderr, "hearsay " NAME ": %llu message%s not stored and came faster than read: lost\n",
            (unsigned long long)m->lost, m->lost == 1 ? " was" : "s were");
    return true;
}

static bool
print_gap(struct listen *l, const struct hearsay_message *m)
{
    char     origin[300];
    uint64_t count = m->gap_to - m->gap_from + 1;
    if (l->json)
        CHECK(buf_addf(&l->out, "{\"gap\":%.*s}\n", (int)m->json_bytes, m->json) == ERR_OK);
    if (!flush(l)) /* the two outputs in their order */
        return false;
    progress_clear(&l->progress);
    fprintf(stderr,
            "hearsay " NAME
            ": gap: %llu message%s of %s %s removed by retention before %s could be "
            "read\n",
            (unsigned long long)count, count == 1 ? "" : "s",
            cli_plain(m->origin, origin, sizeof origin), count == 1 ? "was" : "were",
            count == 1 ? "it" : "they");
    return true;
}

/* ---- the place ---- */

/* Ctrl-C and SIGTERM wait until what was printed is in the file too. */
static void
hold_signals(const struct listen *l, int how)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    if (l->has_file)
        sigprocmask(how, &ends, NULL);
}

/* Only what has left for standard output may count as read. */
static int
keep_cursor(struct listen *l)
{
    const char *cursor = hearsay_cursor(l->h);
    if (!flush(l))
        return EXIT_ERROR;
    if (!l->has_file || cursor[0] == '\0')
        return EXIT_OK;
    struct str is = {(const uint8_t *)cursor, strlen(cursor)};
    if (str_eq(is, buf_str(&l->written)))
        return EXIT_OK;
    if (cursor_file_write(&l->file, cursor) != ERR_OK) {
        progress_clear(&l->progress);
        fprintf(stderr, "hearsay " NAME ": %s\n", l->file.why);
        return EXIT_ERROR;
    }
    buf_reset(&l->written);
    CHECK(buf_add(&l->written, is) == ERR_OK);
    return EXIT_OK;
}

/* ---- the broker ---- */

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
    if (!l->in_trouble) {
        progress_clear(&l->progress);
        fprintf(stderr, "hearsay " NAME ": %s; trying on\n", hearsay_text(l->h));
    }
    l->in_trouble = true;
}

static void
say_recovered(struct listen *l)
{
    if (!l->quiet && (l->in_trouble || strcmp(l->at, hearsay_broker(l->h)) != 0)) {
        progress_clear(&l->progress);
        fprintf(stderr, "hearsay " NAME ": going on at %s\n", hearsay_broker(l->h));
    }
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

/* Whoever wrote `--from yesterday` did not know that it was taken for a cursor; who used the
 * file of another cluster knows no cursors at all. */
static int
refused(const struct listen *l, enum hearsay_status status)
{
    int code = cli_fail(NAME, l->h, status);
    if (!strstr(hearsay_text(l->h), "(bad_cursor)"))
        return code;
    if (l->from_file)
        fprintf(stderr,
                "hearsay " NAME ": the cursor is from %s; go on at a broker of its cluster, or "
                "remove the file to begin anew with --from\n",
                l->file.path);
    else
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
    if (!l->quiet)
        fprintf(stderr, "subscribed to");
    for (unsigned i = 0; !l->quiet && i < topics->count; i++)
        fprintf(stderr, " %s", topics->text[i]);
    if (!l->quiet)
        fprintf(stderr, " at %s%s%s\n", hearsay_broker(l->h), l->from_file ? ", on from " : "",
                l->from_file ? l->file.path : "");
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
    progress_clear(&l->progress);
    fprintf(stderr, "hearsay " NAME ": no message came in time\n");
    return l->in_trouble ? EXIT_UNREACHABLE : EXIT_TIMEOUT;
}

static int
on_message(struct listen *l, const struct hearsay_message *m)
{
    bool is_gap = m->gap_to > 0;
    hold_signals(l, SIG_BLOCK);
    say_recovered(l);
    if (!(is_gap ? print_gap(l, m) : print_lost(l, m) && print_message(l, m)))
        return EXIT_ERROR;
    if (!is_gap) {
        l->last_ms = cli_now_ms();
        l->printed++;
    }
    if (l->left != LONG_MAX && !is_gap)
        hearsay_set_page(l->h, --l->left < 1000 ? (int)l->left : 1000);
    progress_show(&l->progress, l->printed, "messages/s", "%llu messages, %ld to come",
                  (unsigned long long)l->printed, l->left);
    if (!m->cursor)
        return EXIT_OK; /* the rest of the page is here already: it is written as one */
    int code = keep_cursor(l);
    hold_signals(l, SIG_UNBLOCK);
    return code;
}

static int
listen_on(struct listen *l)
{
    struct hearsay_message m;
    int                    code = begin(l);
    l->last_ms                  = cli_now_ms();
    while (code <= EXIT_OK && l->left > 0) {
        enum hearsay_status status = hearsay_next(l->h, patience(l), &m);
        if (status == HEARSAY_OK || status == HEARSAY_GAP)
            code = on_message(l, &m);
        else if (status == HEARSAY_TIMEOUT)
            code = on_timeout(l);
        else if (is_passing(l, status))
            say_trouble(l);
        else
            code = cli_fail(NAME, l->h, status);
    }
    progress_clear(&l->progress);
    return code < 0 ? EXIT_OK : code;
}

/* The place in the file wins: that is what it is kept for. */
static int
choose_place(struct listen *l)
{
    const char *path  = options_text(l->o, "cursor-file");
    const char *given = options_text(l->o, "from");
    enum err    e     = ERR_NOTFOUND;
    l->has_file       = path != NULL;
    if (path)
        e = cursor_file_open(&l->file, path, &l->from);
    l->from_file = e == ERR_OK;
    if (e == ERR_NOTFOUND) {
        buf_reset(&l->from);
        e = buf_add(&l->from, (struct str){(const uint8_t *)given, strlen(given) + 1});
    }
    if (e == ERR_OK)
        return EXIT_OK;
    fprintf(stderr, "hearsay " NAME ": %s\n", l->file.why);
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
                       .quiet      = options_flag(&o, "quiet"),
                       .left       = options_number(&o, "count"),
                       .timeout_ms = options_ms(&o, "timeout"),
                       .last_ms    = cli_now_ms()};
    /* Messages that scroll by on the same terminal are progress enough. */
    progress_init(&l.progress, l.left > 0 && !l.quiet && !isatty(STDOUT_FILENO));
    if (l.left == 0)
        l.left = LONG_MAX;
    buf_init(&l.from, 0);
    buf_init(&l.written, 0);
    buf_init(&l.out, 0);
    code = choose_place(&l);
    l.h  = code == EXIT_OK ? cli_open(&o, NAME) : NULL;
    if (l.h)
        code = listen_on(&l);
    else if (code == EXIT_OK)
        code = EXIT_USAGE;
    hearsay_close(l.h);
    if (l.has_file)
        cursor_file_close(&l.file);
    buf_fini(&l.from);
    buf_fini(&l.written);
    buf_fini(&l.out);
    return code;
}
