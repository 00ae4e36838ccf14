#include "cli/cli.h"
#include "cli/table.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define NAME "status"

enum { TOPICS_SHOWN = 10 };

static const struct option_row rows[] = {
    CLI_BROKER_ROWS,
    {"timeout", OPTION_TIME, "5s", "TIME", "how long to wait for the answer"},
    {"json", OPTION_FLAG, NULL, "", "the broker's answer as it is"},
};
static const struct command_line usage = {
    .name     = NAME,
    .operands = "",
    .about    = "Shows how a broker sees the cluster: members, coordinator, Lamport time, topics.\n"
                "LAG: messages that this broker has and the member is not known to have.",
    CLI_ROWS(rows),
};

static const struct table_column column[] = {
    {.key = "address", .title = "MEMBER"},
    {.key = "host", .title = "HOST"},
    {.key = "linked", .title = "LINKED", .others = true},
    {.key = "reachable", .title = "REACHABLE"},
    {.key = "able", .title = "ABLE"},
    {.key = "away", .title = "AWAY"},
    {.key = "coordinator", .title = "COORDINATOR"},
    {.key = "lag", .title = "LAG", .right = true},
};

/* printf() of one member, shown as people read it. */
static void
put(const char *format, const struct json_value *value)
{
    struct buf text;
    buf_init(&text, 0);
    view_show(value, &text);
    printf(format, (int)text.n, (const char *)buf_str(&text).p);
    buf_fini(&text);
}

/* "address (host)", or `none` where there is no such member. */
static void
put_member(const struct view *all, const char *key, const char *none)
{
    const struct json_value *value  = view_get(all, key);
    struct view             *member = mem_new(sizeof *member);
    if (value && value->kind == JSON_KIND_OBJECT && view_open(member, value->raw)) {
        put("%.*s", view_get(member, "address"));
        if (view_get(member, "host"))
            put(" (%.*s)", view_get(member, "host"));
    } else if (value && value->kind == JSON_KIND_STRING)
        put("%.*s", value);
    else
        printf("%s", none);
    mem_free(member);
}

static void
put_head(const struct view *all)
{
    bool ready = false;
    printf("broker       ");
    put_member(all, "self", "?");
    put(" in cluster '%.*s', ", view_get(all, "cluster"));
    if (view_get(all, "ready") && json_bool(view_get(all, "ready"), &ready))
        printf(ready ? "ready" : "NOT READY");
    put(", disk %.*s\n", view_get(all, "disk"));
    printf("coordinator  ");
    put_member(all, "coordinator", "none yet");
    put(", epoch %.*s\n", view_get(all, "epoch"));
    put("lamport      %.*s", view_get(all, "lamport"));
    put(" (on disk here: %.*s)\n", view_get(all, "stamp"));
}

static void
put_topics(const struct view *all)
{
    struct view       topic;
    struct json_value item;
    unsigned          count = 0;
    struct str        rest  = view_items(view_get(all, "topics"));
    printf("topics      ");
    while (view_next(&rest, &item))
        if (count++ < TOPICS_SHOWN && view_open(&topic, item.raw)) {
            put(count == 1 ? " %.*s" : ", %.*s", view_get(&topic, "topic"));
            put(" (%.*s)", view_get(&topic, "messages"));
        }
    if (count > TOPICS_SHOWN)
        printf(", and %u more (hearsay topics)", count - TOPICS_SHOWN);
    printf(count > 0 ? "\n" : " none\n");
}

/* -1: shown. */
static int
show(struct hearsay *h, bool json)
{
    struct view all;
    int         code = view_ask(&all, h, NAME, "/cluster", json);
    if (code >= 0 || json)
        return code;
    put_head(&all);
    putchar('\n');
    table_print(view_items(view_get(&all, "members")), column, sizeof column / sizeof *column);
    putchar('\n');
    code = view_ask(&all, h, NAME, "/topics", false);
    if (code < 0)
        put_topics(&all);
    return code;
}

int
cli_status(int argc, char **argv)
{
    struct options o;
    int            code = options_parse(&o, &usage, argc, argv);
    if (code >= 0)
        return code;
    struct hearsay *h = cli_open(&o, NAME);
    if (!h)
        return EXIT_USAGE;
    hearsay_set_timeouts(h, options_ms(&o, "timeout"), options_ms(&o, "timeout"));
    code = show(h, options_flag(&o, "json"));
    hearsay_close(h);
    return code >= 0 ? code : cli_finish(NAME);
}
