/* trace.h - diagnostics: one line per failure, where the detail is known.
 *
 * Not the journal: losing a trace line loses nothing.  Lines go to a sink that
 * the program sets (standard error by default; the simulator collects them). */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

enum trace_level { TRACE_ERROR, TRACE_WARN, TRACE_INFO, TRACE_DEBUG };

typedef void trace_sink(void *ctx, enum trace_level level, const char *line);

void trace_set_sink(trace_sink *sink, void *ctx);
/* Lines above this level are dropped; TRACE_INFO at the start. */
void trace_set_level(enum trace_level level);
/* Longer lines are cut at 1023 bytes; control characters become '?', since names
 * and texts from outside end up here. */
void tracef(enum trace_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
