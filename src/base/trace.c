#include "base/trace.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static void
to_stderr(void *ctx, enum trace_level level, const char *line)
{
    static const char *const name[] = {"error", "warning", "info", "debug"};
    (void)ctx;
    fprintf(stderr, "hearsay: %s: %s\n", name[level], line);
}

static trace_sink      *sink     = to_stderr;
static void            *sink_ctx = NULL;
static enum trace_level highest  = TRACE_INFO;

void
trace_set_sink(trace_sink *s, void *ctx)
{
    sink     = s ? s : to_stderr;
    sink_ctx = ctx;
}

void
trace_set_level(enum trace_level level)
{
    highest = level;
}

void
tracef(enum trace_level level, const char *format, ...)
{
    char    line[1024];
    va_list ap;
    if (level > highest)
        return;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    sink(sink_ctx, level, line);
}
