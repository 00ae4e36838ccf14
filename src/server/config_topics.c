#include "server/config_topics.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "core/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "[topic"
#define SHORT "\1t " /* nobody writes that by hand */

/* What stands in quotes, to `to`; NULL: it does not end.  Else where it ended. */
static const char *
unquote(const char *at, uint8_t *to, struct str *filter)
{
    uint8_t *p = to;
    for (at++; *at != '"'; at++) {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
        if (*at == '\0' || *at == '\n')
            return NULL;
        *p++ = (uint8_t)*at;
    }
    *filter = (struct str){to, (size_t)(p - to)};
    return at + 1;
}

/* One head, at `at`: a new rule whose filter goes to *to.  NULL, or what is wrong. */
static const char *
read_head(struct config_topics *t, const char *at, uint8_t **to)
{
    static const char form[] = "write [topic \"FILTER\"], with \\\" and \\\\ for \" and \\";
    struct str        filter;
    at += strlen(HEAD);
    at += strspn(at, " \t");
    if (*at != '"')
        return form;
    at = unquote(at, *to, &filter);
    if (!at || *at++ != ']')
        return form;
    at += strspn(at, " \t\r");
    if (*at != '\0' && *at != '\n' && *at != ';' && *at != '#')
        return form;
    if (t->count == TOPIC_RULES_MAX)
        return "at most 256 [topic] sections: use filters, with + and #";
    const char *wrong = filter_problem(filter);
    if (wrong)
        return wrong;
    *to += filter.n;
    t->rule[t->count++] = (struct topic_rule){filter, true};
    return NULL;
}

static bool
is_head(const char *line)
{
    size_t n = strlen(HEAD);
    return strncmp(line, HEAD, n) == 0 && strchr(" \t\"]", line[n]); /* or the text's end */
}

/* Puts the short head in the place of the long one. */
static char *
shorten(char *line, uint32_t number)
{
    char   head[16];
    size_t n = strcspn(line, "\n");
    size_t m = (size_t)snprintf(head, sizeof head, "[" SHORT "%u]", number);
    CHECK(m < sizeof head && m < n);
    memcpy(line, head, m);
    memmove(line + m, line + n, strlen(line + n) + 1);
    return line + m;
}

uint32_t
config_topics_heads(struct config_topics *t, struct buf *text, const char **why)
{
    char    *line = (char *)text->p + text->start;
    uint8_t *to = t->text = mem_new(text->n);
    t->rule               = mem_new(TOPIC_RULES_MAX * sizeof *t->rule);
    t->said               = mem_new(TOPIC_RULES_MAX * sizeof *t->said);
    for (uint32_t number = 1; *line; number++) {
        if (is_head(line)) {
            *why = read_head(t, line, &to);
            if (*why)
                return number;
            line = shorten(line, t->count - 1);
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return 0;
}

bool
config_topics_is(const struct config_topics *t, const char *section, uint32_t *number)
{
    size_t n = strlen(SHORT);
    if (strncmp(section, SHORT, n) != 0)
        return false;
    *number = (uint32_t)strtoul(section + n, NULL, 10);
    return *number < t->count;
}

const char *
config_topics_line(struct config_topics *t, uint32_t number, const char *name, const char *value)
{
    bool no = strcmp(value, "no") == 0;
    if (strcmp(name, "store") != 0)
        return "of a topic nothing can be said but store";
    if (!no && strcmp(value, "yes") != 0)
        return "it is yes or no";
    t->rule[number].store = !no;
    t->said[number]       = true;
    return NULL;
}

void
config_topics_settle(struct config_topics *t)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->said[i])
            t->rule[n++] = t->rule[i];
    t->count = n;
}

void
config_topics_free(struct config_topics *t)
{
    mem_free(t->rule);
    mem_free(t->said);
    mem_free(t->text);
    *t = (struct config_topics){0};
}
