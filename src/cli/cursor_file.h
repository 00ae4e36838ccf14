/* cursor_file.h - the place of a subscription, kept in a file between runs. */
#ifndef CLI_CURSOR_FILE_H
#define CLI_CURSOR_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* OK: *cursor is zero-terminated.  NOTFOUND: no such file yet.  IO: errno.
 * INVALID: what is in it was never a cursor. */
MUST_USE enum err cursor_file_read(const char *path, struct buf *cursor);
/* The file holds the old cursor or this one, whatever happens meanwhile.  IO: errno. */
MUST_USE enum err cursor_file_write(const char *path, const char *cursor);

#endif
