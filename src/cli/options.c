#include "cli/options.h"

#include "base/nearest.h"
#include "base/check.h"
#include "base/str.h"
#include "cli/cli.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

/* A number alone is seconds. */
bool
options_time(const char *text, int *ms)
{
    uint64_t number;
    bool     is_bare = str_to_u64(str_of(text), &number);
    if (!is_bare && !str_to_ms(str_of(text), &number))
        return false;
    if (number > INT_MAX / (is_bare ? 1000 : 1))
        return false;
    *ms = (int)number * (is_bare ? 1000 : 1);
    return true;
}

static bool
number_of(const char *text, long *number)
{
    uint64_t n;
    if (!str_to_u64(str_of(text), &n) || n > INT_MAX)
        return false;
    *number = (long)n;
    return true;
}

static bool
flag_of(const char *text, bool *flag)
{
    static const char *const yes[] = {"1", "yes", "true", "on"};
    static const char *const no[]  = {"0", "no", "false", "off", ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcmp(text, yes[i]) == 0)
            return *flag = true, true;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (strcmp(text, no[i]) == 0)
            return *flag = false, true;
    return false;
}

/* NULL: fine; else what was expected. */
static const char *
wrong_value(enum option_kind kind, const char *text)
{
    long number;
    int  ms;
    bool flag;
    switch (kind) {
    case OPTION_TEXT:
    case OPTION_LIST:
        return text[0] != '\0' ? NULL : "a value that is not empty";
    case OPTION_NUMBER:
        return number_of(text, &number) ? NULL : "a whole number";
    case OPTION_TIME:
        return options_time(text, &ms) ? NULL : "a time such as 500ms, 5s or 10m";
    case OPTION_FLAG:
        return flag_of(text, &flag) ? NULL : "yes or no";
    }
    return NULL;
}

/* ---- the command line ---- */

static int
say_wrong(const struct command_line *c, const char *format, ...)
{
    va_list ap;
    fprintf(stderr, "hearsay %s: ", c->name);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, " (hearsay %s --help)\n", c->name);
    return EXIT_USAGE;
}

static int
find_row(const struct command_line *c, const char *name, size_t n)
{
    for (unsigned i = 0; i < c->row_count; i++)
        if (strlen(c->row[i].name) == n && strncmp(c->row[i].name, name, n) == 0)
            return (int)i;
    return -1;
}

static int
unknown_option(const struct command_line *c, const char *arg, size_t n)
{
    const char *name[OPTION_ROWS_MAX];
    char        word[NEAREST_WORD_MAX + 1];
    for (unsigned i = 0; i < c->row_count; i++)
        name[i] = c->row[i].name;
    snprintf(word, sizeof word, "%.*s", (int)(n < NEAREST_WORD_MAX ? n : NEAREST_WORD_MAX), arg);
    const char *near = nearest_name(word, name, c->row_count);
    if (near)
        return say_wrong(c, "unknown option --%s; did you mean --%s?", word, near);
    return say_wrong(c, "unknown option --%s", word);
}

static void
print_row(const struct option_row *r)
{
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", r->name, r->kind == OPTION_FLAG ? "" : " ",
             r->kind == OPTION_FLAG ? "" : r->shape);
    printf("  %-24s %s", left, r->help);
    if (r->fallback)
        printf(" [%s]", r->fallback);
    putchar('\n');
}

static int
print_help(const struct command_line *c)
{
    printf("usage: hearsay %s [OPTION...]%s%s\n\n%s\n\n", c->name, c->operands[0] ? " " : "",
           c->operands, c->about);
    for (unsigned i = 0; i < c->row_count; i++)
        print_row(&c->row[i]);
    printf("  %-24s %s\n", "--help", "this text");
    printf("\nEvery option is also an environment variable: HEARSAY_PORT=3001 for --port 3001.\n");
    if (c->examples)
        printf("\n%s", c->examples);
    return cli_finish(c->name);
}

/* `from` is what the user wrote it by: --port or HEARSAY_PORT. */
static int
set_value(struct options *o, const struct command_line *c, unsigned i, const char *from,
          const char *text)
{
    struct option_value     *v        = &o->value[i];
    const struct option_row *r        = &c->row[i];
    const char              *expected = wrong_value(r->kind, text);
    if (expected)
        return say_wrong(c, "%s wants %s, not '%s'", from, expected, text);
    if (r->kind != OPTION_LIST || !v->by_flag)
        v->count = 0;
    if (v->count == OPTION_VALUES_MAX)
        return say_wrong(c, "%s: at most %d of them", from, OPTION_VALUES_MAX);
    v->text[v->count++] = text;
    return -1;
}

static int
take_environment(struct options *o, const struct command_line *c)
{
    for (unsigned i = 0; i < c->row_count; i++) {
        char name[64];
        int  n = snprintf(name, sizeof name, "HEARSAY_%s", c->row[i].name);
        for (int j = 0; j < n; j++)
            name[j] = name[j] == '-' ? '_' : (char)toupper((unsigned char)name[j]);
        const char *text = getenv(name);
        int         code = text && text[0] ? set_value(o, c, i, name, text) : -1;
        if (code >= 0)
            return code;
    }
    return -1;
}

/* One option at argv[*at]; *at is left at its last word. */
static int
take_option(struct options *o, const struct command_line *c, int argc, char **argv, int *at)
{
    const char *arg   = argv[*at] + 2;
    size_t      n     = strcspn(arg, "=");
    int         found = find_row(c, arg, n);
    if (found < 0)
        return unknown_option(c, arg, n);

    const char *text = arg[n] == '=' ? arg + n + 1 : NULL;
    if (c->row[found].kind == OPTION_FLAG && !text)
        text = "yes";
    if (!text && *at + 1 == argc)
        return say_wrong(c, "--%s wants a value: %s", c->row[found].name, c->row[found].shape);
    if (!text)
        text = argv[++*at];
    char flag[64];
    snprintf(flag, sizeof flag, "--%s", c->row[found].name);
    int code                = set_value(o, c, (unsigned)found, flag, text);
    o->value[found].by_flag = true;
    return code;
}

int
options_parse(struct options *o, const struct command_line *c, int argc, char **argv)
{
    bool more = true;
    CHECK(c->row_count <= OPTION_ROWS_MAX);
    *o = (struct options){.row = c->row, .row_count = c->row_count};
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            break;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return print_help(c);
    int code = take_environment(o, c);
    for (int i = 1; code < 0 && i < argc; i++) {
        if (more && strcmp(argv[i], "--") == 0)
            more = false;
        else if (more && strncmp(argv[i], "--", 2) == 0)
            code = take_option(o, c, argc, argv, &i);
        else if (more && argv[i][0] == '-' && argv[i][1] != '\0')
            code = say_wrong(c, "unknown option %s; options begin with two dashes", argv[i]);
        else if (o->operand_count == c->operands_max)
            code = say_wrong(c, "'%s' is one word too many; quote a text with blanks", argv[i]);
        else
            o->operand[o->operand_count++] = argv[i];
    }
    return code;
}

const struct option_value *
options_value(const struct options *o, const char *name)
{
    for (unsigned i = 0; i < o->row_count; i++)
        if (strcmp(o->row[i].name, name) == 0)
            return &o->value[i];
    CHECK(!"an option of the table");
    return NULL;
}

const char *
options_text(const struct options *o, const char *name)
{
    const struct option_value *v = options_value(o, name);
    return v->count > 0 ? v->text[v->count - 1] : o->row[v - o->value].fallback;
}

long
options_number(const struct options *o, const char *name)
{
    const char *text   = options_text(o, name);
    long        number = 0;
    return text && number_of(text, &number) ? number : 0;
}

int
options_ms(const struct options *o, const char *name)
{
    const char *text = options_text(o, name);
    int         ms   = 0;
    return text && options_time(text, &ms) ? ms : 0;
}

bool
options_flag(const struct options *o, const char *name)
{
    const char *text = options_text(o, name);
    bool        flag = false;
    return text && flag_of(text, &flag) && flag;
}
