#include "cli/cli.h"
#include "cli/lines.h"

#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME "publish"

static const struct option_row rows[] = {
    CLI_BROKER_ROWS,
    {"topic", OPTION_TEXT, NULL, "TOPIC", "where to publish, such as stocks or news/rome"},
    {"lines", OPTION_FLAG, NULL, "", "each line of standard input is a message of its own"},
    {"acks", OPTION_TEXT, NULL, "N", "copies on disk to wait for: a number, majority, all"},
    {"timeout", OPTION_TIME, "10s", "TIME", "how long to wait for the acknowledgement"},
    {"type", OPTION_TEXT, NULL, "TYPE", "the message's Content-Type, kept with it"},
    {"json", OPTION_FLAG, NULL, "", "print the receipts, one JSON object a line"},
};
static const struct command_line usage = {
    .name         = NAME,
    .operands     = "[MESSAGE]",
    .about        = "Publishes MESSAGE, or all of standard input, and ends when it is on disk.",
    .operands_max = 1,
    .examples     = "  hearsay publish --topic stocks \"Stock update\"\n"
                    "  hearsay publish --topic logs --lines < access.log\n",
    CLI_ROWS(rows),
};

static void
print_receipt(const struct options *o, const struct hearsay_receipt *r)
{
    if (options_flag(o, "json"))
        printf("%.*s\n", (int)r->json_bytes, r->json);
}

static int
publish_one(struct hearsay *h, const struct options *o, struct hearsay_publish *p)
{
    struct hearsay_receipt r;
    enum hearsay_status    status = hearsay_publish(h, p, &r);
    if (status == HEARSAY_OK || status == HEARSAY_FEWER)
        print_receipt(o, &r);
    int code = status == HEARSAY_OK ? EXIT_OK : cli_fail(NAME, h, status);
    if (status == HEARSAY_UNCERTAIN && r.id[0] != '\0')
        fprintf(stderr, "hearsay " NAME ": the id is %s\n", r.id);
    if (code != EXIT_OK)
        return code;
    if (!options_flag(o, "json"))
        fprintf(stderr, "%s\n", r.id);
    return cli_finish(NAME);
}

static int
publish_input(struct hearsay *h, const struct options *o, struct hearsay_publish *p)
{
    static char body[BODY_BYTES_MAX + 1]; /* one more shows that it is too long */
    size_t      n = 0;
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "hearsay " NAME ": type the message; Ctrl-D ends it\n");
    while (n < sizeof body) {
        ssize_t got = read(STDIN_FILENO, body + n, sizeof body - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            fprintf(stderr, "hearsay " NAME ": cannot read standard input: %s\n", strerror(errno));
            return EXIT_ERROR;
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    p->body       = body;
    p->body_bytes = n;
    return publish_one(h, o, p);
}

/* ---- --lines ---- */

enum { WINDOW = 64, NAMED_MAX = 20 };

struct stream {
    struct hearsay       *h;
    const struct options *o;
    uint64_t              begun;        /* lines that are on their way or answered */
    uint64_t              line[WINDOW]; /* their numbers, a ring */
    unsigned              first;
    uint64_t              stored, failed;
    int                   code;
    bool                  gave_up; /* no broker is left: do not try a million lines one by one */
};

static void
line_failed(struct stream *s, uint64_t line, enum hearsay_status status)
{
    if (s->failed++ < NAMED_MAX)
        fprintf(stderr, "hearsay " NAME ": line %llu: %s\n", (unsigned long long)line,
                hearsay_text(s->h));
    if (s->code == EXIT_OK || status == HEARSAY_UNREACHABLE)
        s->code = status == HEARSAY_UNREACHABLE ? EXIT_UNREACHABLE : EXIT_ERROR;
    if (status == HEARSAY_UNREACHABLE || status == HEARSAY_TIMEOUT)
        s->gave_up = true;
}

static void
take_answers(struct stream *s, int down_to)
{
    struct hearsay_receipt r;
    while (hearsay_outstanding(s->h) > down_to) {
        enum hearsay_status status = hearsay_publish_end(s->h, &r);
        if (status == HEARSAY_OK || status == HEARSAY_FEWER) {
            s->stored++;
            print_receipt(s->o, &r);
        }
        if (status != HEARSAY_OK)
            line_failed(s, s->line[s->first], status);
        s->first = (s->first + 1) % WINDOW;
    }
}

static void
send_line(struct stream *s, struct hearsay_publish *p, uint64_t number, struct str line)
{
    take_answers(s, WINDOW - 1);
    p->body                                                            = line.p;
    p->body_bytes                                                      = line.n;
    s->line[(s->first + (unsigned)hearsay_outstanding(s->h)) % WINDOW] = number;
    enum hearsay_status status = hearsay_publish_begin(s->h, p);
    if (status != HEARSAY_OK)
        line_failed(s, number, status);
}

static void
report(const struct stream *s, uint64_t lines)
{
    if (s->failed > NAMED_MAX)
        fprintf(stderr, "hearsay " NAME ": and %llu lines more\n",
                (unsigned long long)(s->failed - NAMED_MAX));
    if (s->gave_up)
        fprintf(stderr, "hearsay " NAME ": gave up; nothing after line %llu was sent\n",
                (unsigned long long)lines);
    fprintf(stderr, "%llu published, %llu failed\n", (unsigned long long)s->stored,
            (unsigned long long)s->failed);
}

/* Lines leave in a window over one connection.  When the next line is not there yet the
 * window is emptied first, so that `tail -f | hearsay publish --lines` delays nothing. */
static int
publish_lines(struct hearsay *h, const struct options *o, struct hearsay_publish *p)
{
    struct stream s = {.h = h, .o = o, .code = EXIT_OK};
    struct lines  in;
    struct str    line;
    uint64_t      number = 0;
    enum err      e      = ERR_OK;

    lines_init(&in, STDIN_FILENO);
    while (!s.gave_up) {
        e = lines_next(&in, LINES_ONLY_WHAT_IS_THERE, &line);
        if (e == ERR_MORE) {
            take_answers(&s, 0);
            fflush(stdout);
            e = s.gave_up ? ERR_NOTFOUND : lines_next(&in, LINES_WAIT, &line);
        }
        if (e == ERR_NOTFOUND || e == ERR_IO)
            break;
        number++;
        if (e == ERR_OK)
            send_line(&s, p, number, line);
        else {
            fprintf(stderr, "hearsay " NAME ": line %llu has more than 1 MiB\n",
                    (unsigned long long)number);
            s.failed++;
            s.code = EXIT_ERROR;
        }
    }
    if (e == ERR_IO) {
        fprintf(stderr, "hearsay " NAME ": cannot read standard input: %s\n", strerror(errno));
        s.code = EXIT_ERROR;
    }
    take_answers(&s, 0);
    report(&s, number);
    lines_fini(&in);
    int code = cli_finish(NAME);
    return s.code != EXIT_OK ? s.code : code;
}

int
cli_publish(int argc, char **argv)
{
    struct options o;
    int            code = options_parse(&o, &usage, argc, argv);
    if (code >= 0)
        return code;
    if (!options_text(&o, "topic")) {
        fprintf(stderr, "hearsay " NAME ": name a topic: --topic stocks\n");
        return EXIT_USAGE;
    }
    if (options_flag(&o, "lines") && o.operand_count > 0) {
        fprintf(stderr, "hearsay " NAME ": --lines reads standard input; leave out '%s'\n",
                o.operand[0]);
        return EXIT_USAGE;
    }
    struct hearsay *h = cli_open(&o, NAME);
    if (!h)
        return EXIT_USAGE;

    int                    ms = options_ms(&o, "timeout");
    struct hearsay_publish p  = {.topic           = options_text(&o, "topic"),
                                 .type            = options_text(&o, "type"),
                                 .acks            = options_text(&o, "acks"),
                                 .acks_timeout_ms = ms};
    hearsay_set_timeouts(h, ms < 3000 ? ms : 3000, ms);
    if (options_flag(&o, "lines"))
        code = publish_lines(h, &o, &p);
    else if (o.operand_count == 0)
        code = publish_input(h, &o, &p);
    else {
        p.body       = o.operand[0];
        p.body_bytes = strlen(o.operand[0]);
        code         = publish_one(h, &o, &p);
    }
    hearsay_close(h);
    return code;
}
