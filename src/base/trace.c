#include "base/trace.h"

#include <stdarg.h>
#include <stdatomic.h>
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
static atomic_int       highest  = TRACE_INFO; /* may change while other threads trace */

void
trace_set_sink(trace_sink *s, void *ctx)
{
    sink     = s ? s : to_stderr;
    sink_ctx = ctx;
}

void
trace_set_level(enum trace_level level)
{
    atomic_store_explicit(&highest, (int)level, memory_order_relaxed);
}

void
tracef(enum trace_level level, const char *format, ...)
{
    char    line[1024];
    va_list ap;
    if ((int)level > atomic_load_explicit(&highest, memory_order_relaxed))
        return;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    sink(sink_ctx, level, line);
}
