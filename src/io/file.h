/* file.h - a small file, whole. */
#ifndef IO_FILE_H
#define IO_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* Append the file to `out`, within its limit.  NOTFOUND; LIMIT: it is larger; IO: the rest,
 * a folder among them; *why is the system's reason unless OK. */
MUST_USE enum err file_read(const char *path, struct buf *out, const char **why);

#endif
