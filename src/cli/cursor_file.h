/* cursor_file.h - the place of a subscription, kept in a file between runs.
 *
 * The file always holds a whole cursor, the newest one written or the one before: a new one
 * goes into FILE.hearsay-new, is synced, takes the place of FILE, and the folder is synced.  So
 * neither a kill nor a power cut loses the place.  An empty file is one without a cursor yet.
 *
 * Two runs with one file would make each other skip messages: the file is locked, as an
 * inode, and each new one before it takes the place of the old. */
#ifndef CLI_CURSOR_FILE_H
#define CLI_CURSOR_FILE_H

#include "base/buf.h"
#include "base/err.h"

struct cursor_file {
    const char *path;       /* as it was given */
    struct buf  name, temp; /* zero-terminated, in the folder; symbolic links are followed */
    int         folder, fd; /* fd: the file, locked; -1: none */
    bool        is_new;     /* it was made by this run and is still empty */
    char        why[512];   /* of what failed, and what to do */
};

/* OK: *cursor is what is in it, zero-terminated.  NOTFOUND: nothing is in it yet.
 * BUSY, INVALID, IO: f->why.  In any case cursor_file_close() follows. */
MUST_USE enum err cursor_file_open(struct cursor_file *f, const char *path, struct buf *cursor);
/* IO: f->why; the file holds what it held, or the new cursor. */
MUST_USE enum err cursor_file_write(struct cursor_file *f, const char *cursor);
void              cursor_file_close(struct cursor_file *f);

#endif
