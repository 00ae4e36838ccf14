#include "cli/cli.h"
#include "cli/publish_lines.h"

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
    {"once", OPTION_FLAG, NULL, "", "never send again what may be stored: say so instead"},
    {"json", OPTION_FLAG, NULL, "", "print the receipts, one JSON object a line"},
    {"quiet", OPTION_FLAG, NULL, "", "say nothing on standard error but what goes wrong"},
};
static const struct command_line usage = {
    .name         = NAME,
    .operands     = "[MESSAGE]",
    .about        = "Publishes MESSAGE, or all of standard input, and ends when it is on disk.\n\n"
                    "When the broker fails before it answers, a message is sent again, to the\n"
                    "next one or to the same when it is back: it may then be stored twice, and\n"
                    "that is said. With --once it is not sent again, but named as of unknown\n"
                    "outcome.\n\n"
                    "--lines names lines by their numbers. It ends with 0 when each is stored, 1\n"
                    "when the outcome of some is unknown, 3 when no broker could be reached for\n"
                    "--timeout, 5 when some were refused, 124 when some have too few copies.",
    .operands_max = 1,
    .examples     = "  hearsay publish --topic stocks \"Stock update\"\n"
                    "  hearsay publish --topic logs --lines < access.log\n",
    CLI_ROWS(rows),
};

void
publish_print_receipt(const struct options *o, const struct hearsay_receipt *r)
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
        publish_print_receipt(o, &r);
    int code = status == HEARSAY_OK ? EXIT_OK : cli_fail(NAME, h, status);
    if (status == HEARSAY_UNCERTAIN && r.id[0] != '\0')
        fprintf(stderr, "hearsay " NAME ": the id is %s\n", r.id);
    if (code != EXIT_OK)
        return code;
    if (r.again)
        fprintf(stderr, "hearsay " NAME ": " PUBLISH_TWICE "\n");
    if (!options_flag(o, "json") && !options_flag(o, "quiet"))
        fprintf(stderr, "%s\n", r.stored ? r.id : "delivered, not stored");
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
                                 .acks_timeout_ms = ms,
                                 .once            = options_flag(&o, "once")};
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
