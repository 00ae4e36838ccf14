#include "cli/progress.h"

#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { EVERY_MS = 250, LINE_BYTES = 79 }; /* within the narrowest terminal there is */

void
progress_init(struct progress *p, bool wanted)
{
    uint64_t now = cli_now_ms();
    *p           = (struct progress){.since_ms = now, .next_ms = now + EVERY_MS};
    p->on        = wanted && isatty(STDERR_FILENO);
}

void
progress_show(struct progress *p, uint64_t done, const char *what, const char *format, ...)
{
    char     line[LINE_BYTES + 1];
    uint64_t now = p->on ? cli_now_ms() : 0;
    if (!p->on || now < p->next_ms)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);

    double rate = (double)(done - p->done) * 1000 / (double)(now - p->since_ms);
    char   text[LINE_BYTES + 1];
    int    n = snprintf(text, sizeof text, "%.50s, %.0f %s", line, rate, what);
    n        = n < LINE_BYTES ? n : LINE_BYTES;
    /* Blanks over what is left of a longer one: no terminal needs to be known for that. */
    fprintf(stderr, "\r%s%*s", text, p->width > n ? p->width - n : 0, "");
    fflush(stderr);
    p->width    = n;
    p->done     = done;
    p->since_ms = now;
    p->next_ms  = now + EVERY_MS;
}

void
progress_clear(struct progress *p)
{
    if (p->width > 0)
        fprintf(stderr, "\r%*s\r", p->width, "");
    p->width = 0;
}
