/* config_row.h - config.def as a table, for config.c and config_text.c. */
#ifndef SERVER_CONFIG_ROW_H
#define SERVER_CONFIG_ROW_H

#include "server/config.h"

#include <stddef.h>

enum config_kind { TEXT, LIST, PORT, SIZE, LEVELS, FORMAT, TIME, FLAG };
enum config_when { AT_START, AT_SIGHUP };

struct config_row {
    const char      *name, *fallback, *least, *most, *shape, *help;
    enum config_kind kind;
    enum config_when when;
    size_t           value, given; /* offsets in struct config */
};

static const struct config_row row[] = {
#define OPTION(field, kind, name, fallback, least, most, when, shape, help)                        \
    {name,                                                                                         \
     fallback,                                                                                     \
     least,                                                                                        \
     most,                                                                                         \
     shape,                                                                                        \
     help,                                                                                         \
     kind,                                                                                         \
     when,                                                                                         \
     offsetof(struct config, field),                                                               \
     offsetof(struct config, given.field)},
#include "server/config.def"
#undef OPTION
};
enum { CONFIG_ROWS = sizeof row / sizeof *row };

#endif
