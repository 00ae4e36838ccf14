/* trace.h - diagnostics: one line per failure, where the detail is known.
 *
 * Not the journal: losing a trace line loses nothing.  Lines go to a sink that
 * the program sets (standard error by default; the simulator collects them). */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include "base/instant.h"

#include <stdbool.h>
#include <stdint.h>

enum trace_level { TRACE_ERROR, TRACE_WARN, TRACE_INFO, TRACE_DEBUG };
enum trace_format { TRACE_TEXT, TRACE_JSON };

/* Who says it: the folder that the file stands in, and the faces by their own names. */
enum trace_module {
    TRACE_OF_CORE,
    TRACE_OF_STORE,
    TRACE_OF_IO,
    TRACE_OF_SERVER,
    TRACE_OF_HTTP,
    TRACE_OF_JSON,
    TRACE_OF_PEER,
    TRACE_OF_OTHERS,
    TRACE_MODULES
};
extern const char *const trace_module_name[TRACE_MODULES];

struct trace_levels {
    uint8_t of[TRACE_MODULES]; /* enum trace_level */
};

typedef void trace_sink(void *ctx, enum trace_level level, const char *line);

void trace_set_sink(trace_sink *sink, void *ctx);
/* A sink for whoever wants no lines. */
trace_sink trace_drop;
/* Lines above its level are dropped; TRACE_INFO for all at the start.  At any time. */
void trace_set_levels(const struct trace_levels *levels);
/* Of standard error: text, or a JSON object with time (by `now`), level, module and text in
 * each line, and conn and request where it is about these. */
void trace_set_format(enum trace_format format, struct wall (*now)(void));

/* Whose doing the lines of this thread are from now on: they end with it, or have members of
 * these names.  0: nobody's.  What it was before comes back, to be set again. */
struct trace_about {
    uint64_t conn;    /* a connection, by its number since the start */
    uint64_t request; /* of that connection, from 1 */
};
struct trace_about trace_about(struct trace_about now);

/* tracef(level, format, ...): one line, cut at 1023 bytes.  Names and texts from outside end
 * up here: control characters and what is not UTF-8 stand as \xNN, so nobody forges a line. */
#define tracef(level, ...) trace_line((level), trace_module_of(__FILE__), __VA_ARGS__)

/* Is it shown?  For lines that cost something before they are made. */
#define trace_is_on(level) trace_shows((level), trace_module_of(__FILE__))
bool trace_shows(enum trace_level level, enum trace_module module);

void trace_line(enum trace_level level, enum trace_module module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Known when it is compiled. */
static inline enum trace_module
trace_module_of(const char *file)
{
#define STANDS_IN(start) (__builtin_strncmp(file, start, sizeof start - 1) == 0)
    return STANDS_IN("src/core/")               ? TRACE_OF_CORE
           : STANDS_IN("src/store/")            ? TRACE_OF_STORE
           : STANDS_IN("src/io/")               ? TRACE_OF_IO
           : STANDS_IN("src/server/front_http") ? TRACE_OF_HTTP
           : STANDS_IN("src/server/front_json") ? TRACE_OF_JSON
           : STANDS_IN("src/server/front_peer") ? TRACE_OF_PEER
           : STANDS_IN("src/server/")           ? TRACE_OF_SERVER
                                                : TRACE_OF_OTHERS;
#undef STANDS_IN
}

#endif
