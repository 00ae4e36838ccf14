#include "base/trace.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 1024, ABOUT_BYTES = 80 };

const char *const trace_module_name[TRACE_MODULES] = {
    [TRACE_OF_CORE] = "core", [TRACE_OF_STORE] = "store",   [TRACE_OF_IO] = "io",
    [TRACE_OF_HTTP] = "http", [TRACE_OF_SERVER] = "server", [TRACE_OF_JSON] = "json",
    [TRACE_OF_PEER] = "peer", [TRACE_OF_OTHERS] = "others",
};
static const char *const level_name[] = {"error", "warning", "info", "debug"};

/* Any thread traces; these may change meanwhile. */
static atomic_int highest[TRACE_MODULES] = {TRACE_INFO, TRACE_INFO, TRACE_INFO, TRACE_INFO,
                                            TRACE_INFO, TRACE_INFO, TRACE_INFO, TRACE_INFO};
static atomic_int format_is              = TRACE_TEXT;
static struct wall (*wall_clock)(void);

static _Thread_local struct trace_about about;

struct trace_about
trace_about(struct trace_about now)
{
    struct trace_about before = about;
    about                     = now;
    return before;
}

/* Whom it is about, with these words before the numbers; empty: nobody. */
static const char *
about_text(const char *conn, const char *request, const char *end, char to[ABOUT_BYTES])
{
    int n = 0;
    to[0] = '\0';
    if (about.conn > 0)
        n = snprintf(to, ABOUT_BYTES, "%s%llu", conn, (unsigned long long)about.conn);
    if (about.conn > 0 && about.request > 0)
        n += snprintf(to + n, ABOUT_BYTES - (size_t)n, "%s%llu", request,
                      (unsigned long long)about.request);
    if (n > 0)
        snprintf(to + n, ABOUT_BYTES - (size_t)n, "%s", end);
    return to;
}

static void
to_stderr_text(enum trace_level level, const char *line)
{
    char whole[LINE_BYTES + ABOUT_BYTES + 32], of[ABOUT_BYTES];
    int  n = snprintf(whole, sizeof whole, "hearsay: %s: %s%s\n", level_name[level], line,
                      about_text(" (conn ", ", request ", ")", of));
    fwrite(whole, 1, (size_t)n, stderr); /* at once: lines of two threads do not mix */
}

static void
to_stderr_json(enum trace_level level, enum trace_module module, const char *line)
{
    char whole[2 * LINE_BYTES + ABOUT_BYTES + 128], time[WALL_TEXT_BYTES], of[ABOUT_BYTES];
    wall_text(wall_clock(), time);
    int n = snprintf(whole, sizeof whole,
                     "{\"time\":\"%s\",\"level\":\"%s\",\"module\":\"%s\"%s,\"text\":\"", time,
                     level_name[level], trace_module_name[module],
                     about_text(",\"conn\":", ",\"request\":", "", of));
    for (; *line; line++) { /* all that JSON escapes besides is gone from it */
        if (*line == '"' || *line == '\\')
            whole[n++] = '\\';
        whole[n++] = *line;
    }
    memcpy(whole + n, "\"}\n", 3);
    fwrite(whole, 1, (size_t)n + 3, stderr);
}

static trace_sink *sink     = NULL; /* standard error */
static void       *sink_ctx = NULL;

void
trace_set_sink(trace_sink *s, void *ctx)
{
    sink     = s;
    sink_ctx = ctx;
}

void
trace_drop(void *ctx, enum trace_level level, const char *line)
{
    (void)ctx, (void)level, (void)line;
}

void
trace_set_levels(const struct trace_levels *levels)
{
    for (unsigned i = 0; i < TRACE_MODULES; i++)
        atomic_store_explicit(&highest[i], levels->of[i], memory_order_relaxed);
}

void
trace_set_format(enum trace_format format, struct wall (*now)(void))
{
    if (!wall_clock) /* once, before other threads run */
        wall_clock = now;
    atomic_store_explicit(&format_is, (int)format, memory_order_relaxed);
}

/* Of two bytes "\xc2\x80" to "\xc2\x9f" a terminal may make control characters too. */
static bool
is_shown(uint32_t code_point)
{
    return code_point >= 0x20 && (code_point < 0x7f || code_point > 0x9f);
}

static void
make_harmless(const char *from, char to[LINE_BYTES])
{
    static const char digit[] = "0123456789abcdef";
    struct str        rest    = str_of(from);
    size_t            n       = 0;
    while (rest.n > 0) {
        uint32_t code_point;
        size_t   bytes = utf8_decode(rest, &code_point);
        bool     shown = bytes > 0 && is_shown(code_point);
        size_t   takes = shown ? bytes : 4;
        if (n + takes >= LINE_BYTES)
            break;
        if (shown)
            memcpy(to + n, rest.p, bytes);
        else
            memcpy(to + n, (const char[]){'\\', 'x', digit[*rest.p >> 4], digit[*rest.p & 15]}, 4);
        n += takes;
        rest = str_cut(rest, shown ? bytes : 1, rest.n);
    }
    to[n] = '\0';
}

bool
trace_shows(enum trace_level level, enum trace_module module)
{
    return (int)level <= atomic_load_explicit(&highest[module], memory_order_relaxed);
}

void
trace_line(enum trace_level level, enum trace_module module, const char *format, ...)
{
    char    said[LINE_BYTES], line[LINE_BYTES];
    va_list ap;
    if (!trace_shows(level, module))
        return;
    va_start(ap, format);
    vsnprintf(said, sizeof said, format, ap);
    va_end(ap);
    make_harmless(said, line);
    if (sink)
        sink(sink_ctx, level, line);
    else if (atomic_load_explicit(&format_is, memory_order_relaxed) == TRACE_JSON)
        to_stderr_json(level, module, line);
    else
        to_stderr_text(level, line);
}
