/* lockdir.h - a data folder that one process owns.
 *
 * The lock dies with the process, so a crash leaves nothing to clean up. */
#ifndef IO_LOCKDIR_H
#define IO_LOCKDIR_H

#include "base/buf.h"
#include "base/err.h"

/* Make `dir` (0750, parents too) where it is missing and take its lock.  On OK the
 * caller owns *fd; closing it releases the lock.  Else `problem` gets one line for
 * the user.  BUSY: another broker holds it.  INVALID: a network file system, where
 * locks and fsync cannot be relied on.  IO: the rest. */
MUST_USE enum err lockdir_take(const char *dir, int *fd, struct buf *problem);
void              lockdir_release(int fd);

#endif
