/* progress.h - one line on a terminal that says how far a long command is.
 *
 * It is there while standard error is a terminal and nothing else uses that terminal;
 * clear it before anything else is said. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool     on;
    uint64_t done, since_ms; /* when it was shown last: for the rate */
    uint64_t next_ms;
    int      width; /* of what stands there; 0: nothing */
};

/* `wanted`: the command has something to show and was not asked to be quiet. */
void progress_init(struct progress *p, bool wanted);
/* Cheap: it shows something a few times a second.  "REST, 1234 WHAT/s" with the text first. */
void progress_show(struct progress *p, uint64_t done, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void progress_clear(struct progress *p);

#endif
