#include "cli/cli.h"
#include "cli/table.h"

#include <stdio.h>

#define NAME "topics"

static const struct option_row rows[] = {
    CLI_BROKER_ROWS,
    {"timeout", OPTION_TIME, "10s", "TIME", "how long to wait for the answer"},
    {"json", OPTION_FLAG, NULL, "", "the broker's answer as it is"},
};
static const struct command_line usage = {
    .name     = NAME,
    .operands = "",
    .about    = "Lists the topics that the broker holds, with the number of messages of each.",
    CLI_ROWS(rows),
};

static const struct table_column column[] = {
    {.key = "messages", .title = "MESSAGES", .right = true},
    {.key = "topic", .title = "TOPIC"},
};

int
cli_topics(int argc, char **argv)
{
    struct options o;
    struct view    all;
    int            code = options_parse(&o, &usage, argc, argv);
    if (code >= 0)
        return code;
    struct hearsay *h = cli_open(&o, NAME);
    if (!h)
        return EXIT_USAGE;
    hearsay_set_timeouts(h, options_ms(&o, "timeout"), options_ms(&o, "timeout"));
    bool json = options_flag(&o, "json");
    code      = view_ask(&all, h, NAME, "/topics", json);
    if (code < 0 && !json)
        table_print(view_items(view_get(&all, "topics")), column, 2);
    hearsay_close(h);
    return code >= 0 ? code : cli_finish(NAME);
}
