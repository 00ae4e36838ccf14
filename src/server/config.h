/* config.h - the options of a broker: defaults, file, environment, flags; last wins. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/trace.h"
#include "server/config_topics.h"

#include <stdbool.h>
#include <stdint.h>

typedef char               *config_TEXT;
typedef char               *config_LIST; /* items joined by ',' */
typedef uint16_t            config_PORT;
typedef uint64_t            config_SIZE;
typedef struct trace_levels config_LEVELS;
typedef enum trace_format   config_FORMAT;
typedef uint64_t            config_TIME; /* milliseconds */
typedef bool                config_FLAG;

struct config {
#define OPTION(field, kind, name, fallback, least, most, when, shape, help) config_##kind field;
#include "server/config.def"
#undef OPTION
    struct {
#define OPTION(field, kind, name, fallback, least, most, when, shape, help) bool field;
#include "server/config.def"
#undef OPTION
    } given;                     /* not by default */
    struct config_topics topics; /* of the file alone */
    const char          *version;
    int                  argc; /* where it is from, to be read again; borrowed */
    char *const         *argv;
    char *(*env)(const char *);
};

enum config_do {
    CONFIG_RUN,
    CONFIG_CHECK,   /* --check-config: it is fine, do not run */
    CONFIG_HELP,    /* --help */
    CONFIG_VERSION, /* --version */
    CONFIG_USAGE,   /* a flag or the environment is wrong: `problem` says what */
    CONFIG_BAD,     /* the file is */
};

/* argv[0] is the command's name.  `env` is getenv, or a test's.  Free it whatever comes
 * back. */
enum config_do config_load(struct config *c, int argc, char *const *argv,
                           char *(*env)(const char *), struct buf *problem);
void           config_free(struct config *c);

/* Appends which variables of an environment look like options and are none.  Others with that
 * prefix belong to somebody else. */
void config_strangers(char *const *variable, struct buf *out);
/* The same sources once more, while `c` is in use.  OK: what can change without a new start is of
 * now, and `later` names what else is different, as "--port, --data", or stays empty.  Else nothing
 * has changed, and `problem` says what is wrong.  *was gets what has no use for `c` any more: free
 * it whatever comes back, once nobody has borrowed from it. */
MUST_USE enum err config_reload(struct config *c, struct config *was, struct buf *later,
                                struct buf *problem);

/* ---- config_text.c: the table as text ---- */

void config_help(struct buf *out);
/* hearsay.conf.example, and the table of docs/CONFIG.md. */
void config_example(struct buf *out);
void config_table(struct buf *out);

#endif
