/* cli.h - what the commands share.  Data goes to standard output, words to standard error. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/str.h"
#include "cli/options.h"
#include "hearsay.h"

enum {
    EXIT_OK          = 0,
    EXIT_ERROR       = 1,
    EXIT_USAGE       = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_REFUSED     = 5,
    EXIT_TIMEOUT     = 124, /* as timeout(1) has it */
};

/* The rows that say which broker to talk to. */
#define CLI_BROKER_ROWS                                                                            \
    {"host", OPTION_TEXT, "localhost", "NAME", "the broker's host"},                               \
        {"port", OPTION_NUMBER, "3000", "N", "the broker's port"},                                 \
    {                                                                                              \
        "broker", OPTION_TEXT, NULL, "H:P,H:P...",                                                 \
            "several brokers instead: the next one when one fails"                                 \
    }
#define CLI_ROWS(rows) .row = (rows), .row_count = sizeof(rows) / sizeof *(rows)

/* NULL: the options do not name a broker; the reason was said, the exit code is EXIT_USAGE. */
struct hearsay *cli_open(const struct options *o, const char *command);
/* Say what went wrong; the exit code. */
int cli_fail(const char *command, const struct hearsay *h, enum hearsay_status status);
int cli_exit_code(enum hearsay_status status);
/* Write to standard output, past stdio.  false: the reason was said. */
bool cli_write(const char *command, struct str bytes);
/* `text`, from a stranger, without what could move a terminal's cursor; cut to fit `to`. */
const char *cli_plain(const char *text, char *to, size_t bytes);
/* Descriptors 0, 1 and 2 are open afterwards; of those that were not, writes and reads fail.
 * Else the next socket becomes one of them, and what is printed goes to whoever is there. */
void cli_standard_streams(void);
/* Flush standard output: a full disk must not look like success.  EXIT_OK or EXIT_ERROR. */
int cli_finish(const char *command);
/* A clock that only moves forward. */
uint64_t cli_now_ms(void);

#define COMMAND(name, help) int cli_##name(int argc, char **argv);
#include "cli/commands.def"
#undef COMMAND

#endif
