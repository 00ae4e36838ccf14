#include "cli/cli.h"

#include <stdio.h>

#define NAME "forget"

static const struct option_row   rows[] = {CLI_BROKER_ROWS};
static const struct command_line usage  = {
     .name         = NAME,
     .operands     = "HOST:PORT",
     .about        = "Removes a member from the cluster for good, as when its machine is gone.\n"
                      "Its messages stay. HOST:PORT is its address as `hearsay status` shows it.",
     .operands_max = 1,
     .examples     = "  hearsay forget 192.0.2.7:3000\n",
     CLI_ROWS(rows),
};

int
cli_forget(int argc, char **argv)
{
    struct options o;
    char           path[400];
    const char    *body;
    size_t         n;

    int code = options_parse(&o, &usage, argc, argv);
    if (code >= 0)
        return code;
    if (o.operand_count == 0) {
        fprintf(stderr,
                "hearsay " NAME ": which member? Give its HOST:PORT as in hearsay status\n");
        return EXIT_USAGE;
    }
    snprintf(path, sizeof path, "/cluster/%s", o.operand[0]);
    struct hearsay *h = cli_open(&o, NAME);
    if (!h)
        return EXIT_USAGE;
    enum hearsay_status status = hearsay_call(h, "DELETE", path, &body, &n);
    if (status == HEARSAY_OK)
        fprintf(stderr, "%s is forgotten\n", o.operand[0]);
    else
        code = cli_fail(NAME, h, status);
    hearsay_close(h);
    return status == HEARSAY_OK ? EXIT_OK : code;
}
