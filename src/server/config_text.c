#include "server/config_row.h"

#include "base/check.h"

#include <stdio.h>
#include <string.h>

/* Buffers without a limit take all of it. */
#define SURE(call) CHECK((call) == ERR_OK)

static void
help_line(struct buf *out, const char *name, const char *shape, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, "--%s %s", name, shape);
    SURE(buf_addf(out, "  %-24s %s", left, help));
}

void
config_help(struct buf *out)
{
    SURE(buf_add(out, STR("usage: hearsay broker [OPTION...]\n\n"
                          "Runs a broker: clients and other brokers share its port.\n\n")));
    for (unsigned i = 0; i < CONFIG_ROWS; i++) {
        help_line(out, row[i].name, row[i].shape, row[i].help);
        SURE(row[i].fallback[0] != '\0' ? buf_addf(out, " (%s)\n", row[i].fallback)
                                        : buf_add(out, STR("\n")));
    }
    help_line(out, "check-config", "", "check the options and the peers file, then exit\n");
    help_line(out, "help, --version", "", "this text; the version\n");
    SURE(buf_add(out, STR("\nEach option is also HEARSAY_<NAME> in the environment (HEARSAY_PORT) "
                          "and a line\nof the file (port = 3000); a flag wins over the "
                          "environment, that over the file.\n"
                          "SIGTERM and SIGINT say goodbye and stop; SIGHUP reads the file and the "
                          "peers file\nagain: what can change while it runs does "
                          "(docs/CONFIG.md).\n"
                          "exit codes: 0 ok, 1 error, 2 wrong use\n")));
}

static const char *
when_of(const struct config_row *r)
{
    return r->when == AT_SIGHUP ? "at SIGHUP" : "at a start";
}

void
config_example(struct buf *out)
{
    SURE(buf_add(out, STR("# hearsay.conf - the options of a broker: hearsay broker --config FILE\n"
                          "#\n"
                          "# Each line shows a default.  The environment (HEARSAY_PORT) wins over "
                          "this file,\n"
                          "# and a flag (--port) over both.  `hearsay broker --check-config` looks "
                          "at all of it.\n"
                          "# Made of src/server/config.def.\n")));
    for (unsigned i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *r = &row[i];
        if (strcmp(r->name, "config") == 0)
            continue; /* a file names no other */
        SURE(buf_addf(out, "\n# %s\n# %s", r->help, r->shape));
        if (r->most[0] != '\0')
            SURE(buf_addf(out, ", %s to %s", r->least, r->most));
        SURE(buf_addf(out, "; a change takes effect %s\n#%s =%s%s\n", when_of(r), r->name,
                      r->fallback[0] != '\0' ? " " : "", r->fallback));
    }
    SURE(buf_add(out, STR("\n# Topics that are live only: delivered at once, never on disk; a "
                          "change takes effect at SIGHUP\n"
                          "#[topic \"ticks/#\"]\n#store = no\n")));
}

void
config_table(struct buf *out)
{
    SURE(buf_add(out, STR("| option | default | bounds | a change takes effect | |\n"
                          "|---|---|---|---|---|\n")));
    for (unsigned i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *r   = &row[i];
        const char              *bar = strchr(r->shape, '|');
        SURE(buf_addf(out, "| `--%s %.*s%s%s` | %s | ", r->name,
                      bar ? (int)(bar - r->shape) : (int)strlen(r->shape), r->shape,
                      bar ? "\\|" : "", bar ? bar + 1 : "", r->fallback));
        if (r->most[0] != '\0')
            SURE(buf_addf(out, "%s to %s", r->least, r->most));
        SURE(buf_addf(out, " | %s | %s |\n", when_of(r), r->help));
    }
}
