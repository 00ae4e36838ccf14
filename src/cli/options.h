/* options.h - one table of rows makes the flags, the environment and the help of a command.
 *
 * --name VALUE, --name=VALUE, or HEARSAY_NAME ('-' becomes '_'); a flag wins over the
 * environment.  "--" ends the options.  What is not an option is an operand. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum option_kind {
    OPTION_TEXT,
    OPTION_LIST,   /* a text that may be given several times */
    OPTION_NUMBER, /* 0..2^31-1 */
    OPTION_TIME,   /* 500ms, 5s, 10m, 1h; a bare number is seconds */
    OPTION_FLAG,
};

struct option_row {
    const char      *name;
    enum option_kind kind;
    const char      *fallback; /* NULL: none */
    const char      *shape;    /* what the help calls the value */
    const char      *help;
};

enum { OPTION_ROWS_MAX = 24, OPTION_VALUES_MAX = 16, OPERANDS_MAX = 8 };

struct option_value {
    const char *text[OPTION_VALUES_MAX];
    unsigned    count;
    bool        by_flag;
};

struct options {
    const struct option_row *row;
    unsigned                 row_count;
    struct option_value      value[OPTION_ROWS_MAX];
    const char              *operand[OPERANDS_MAX];
    unsigned                 operand_count;
};

struct command_line {
    const char              *name;     /* "publish" */
    const char              *operands; /* "[MESSAGE]" */
    const char              *about;    /* a paragraph */
    const struct option_row *row;
    unsigned                 row_count;
    unsigned                 operands_max;
    const char              *examples;
};

/* -1: go on.  Else the exit code: 0 after --help, 2 after one line that says what is
 * wrong. */
int options_parse(struct options *o, const struct command_line *c, int argc, char **argv);

/* The name must be in the table.  NULL or 0 where nothing was given and none is the default. */
const char                *options_text(const struct options *o, const char *name);
long                       options_number(const struct options *o, const char *name);
int                        options_ms(const struct options *o, const char *name);
bool                       options_flag(const struct options *o, const char *name);
const struct option_value *options_value(const struct options *o, const char *name);

/* Milliseconds; false: not a time, or beyond 24 days. */
bool options_time(const char *text, int *ms);

#endif
