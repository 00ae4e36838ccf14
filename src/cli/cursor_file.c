#include "cli/cursor_file.h"

#include "base/check.h"
#include "base/limits.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RACES_MAX = 100 };

static enum err failed(struct cursor_file *f, enum err e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum err
failed(struct cursor_file *f, enum err e, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(f->why, sizeof f->why, format, ap);
    va_end(ap);
    return e;
}

static const char *
text_of(const struct buf *b)
{
    return (const char *)buf_str(b).p;
}

/* ---- reading ---- */

static bool
is_cursor(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return s.n <= CURSOR_BYTES_MAX;
}

static enum err
read_cursor(struct cursor_file *f, struct buf *cursor)
{
    uint8_t *room;
    size_t   n = 0;
    ssize_t  got;
    buf_reset(cursor);
    CHECK(buf_room(cursor, CURSOR_BYTES_MAX + 2, &room) == ERR_OK);
    do {
        got = read(f->fd, room + n, CURSOR_BYTES_MAX + 1 - n);
        n += got > 0 ? (size_t)got : 0;
    } while (got > 0 || (got < 0 && errno == EINTR));
    if (got < 0)
        return failed(f, ERR_IO, "cannot read %s: %s", f->path, strerror(errno));
    while (n > 0 && isspace(room[n - 1]))
        n--;
    if (!is_cursor((struct str){room, n}))
        return failed(f, ERR_INVALID,
                      "what is in %s is not a cursor; name another --cursor-file, or remove this "
                      "one to begin anew with --from",
                      f->path);
    room[n] = 0;
    buf_grew(cursor, n + 1);
    return n > 0 ? ERR_OK : ERR_NOTFOUND;
}

/* ---- the file and its lock ---- */

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The file at the path, locked: who held the lock before may have put another one there
 * meanwhile.  BUSY: try again. */
static enum err
try_lock(struct cursor_file *f)
{
    const char *path = f->path;
    struct stat is, now;
    f->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f->fd < 0 && errno == ENOENT) {
        f->fd     = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        f->is_new = f->fd >= 0;
        if (f->fd < 0 && errno == EEXIST)
            return failed(f, ERR_BUSY, "%s is a link to nowhere; remove it", path);
    }
    if (f->fd < 0)
        return failed(f, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(f->fd, &is) < 0 || !S_ISREG(is.st_mode))
        return failed(f, ERR_INVALID, "%s is not a regular file; name another --cursor-file", path);
    if (flock(f->fd, LOCK_EX | LOCK_NB) < 0)
        return failed(f, ERR_INVALID,
                      errno == EWOULDBLOCK
                          ? "%s is in use by another hearsay subscribe; give each its own file"
                          : "%s cannot be locked; keep it on a local disk",
                      path);
    if (stat(path, &now) == 0 && is_same(&is, &now))
        return ERR_OK;
    close(f->fd);
    f->fd     = -1;
    f->is_new = false;
    return failed(f, ERR_BUSY, "%s is replaced all the time; name another --cursor-file", path);
}

/* Where the file lies, so that a symbolic link to it stays one. */
static enum err
find_folder(struct cursor_file *f)
{
    char    *real  = realpath(f->path, NULL);
    char    *slash = real ? strrchr(real, '/') : NULL;
    enum err e     = ERR_OK;
    if (slash) {
        CHECK(buf_addf(&f->name, "%s", slash + 1) == ERR_OK);
        CHECK(buf_addf(&f->temp, "%s.hearsay-new", slash + 1) == ERR_OK);
        CHECK(buf_add(&f->name, STR("\0")) == ERR_OK && buf_add(&f->temp, STR("\0")) == ERR_OK);
        slash[slash == real ? 1 : 0] = '\0';
        f->folder                    = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (f->folder < 0)
        e = failed(f, ERR_IO, "cannot open the folder of %s: %s", f->path, strerror(errno));
    free(real);
    return e;
}

static int
make_temp(struct cursor_file *f)
{
    const char *temp = text_of(&f->temp);
    unlinkat(f->folder, temp, 0); /* of a run that was killed */
    return openat(f->folder, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Better before the first message than behind it. */
static enum err
try_folder(struct cursor_file *f)
{
    int fd = make_temp(f);
    if (fd < 0)
        return failed(f, ERR_IO,
                      "cannot write the cursor to %s: %s; name a --cursor-file in a folder where "
                      "files can be made",
                      f->path, strerror(errno));
    close(fd);
    unlinkat(f->folder, text_of(&f->temp), 0);
    return ERR_OK;
}

enum err
cursor_file_open(struct cursor_file *f, const char *path, struct buf *cursor)
{
    enum err e = ERR_BUSY;
    *f         = (struct cursor_file){.path = path, .folder = -1, .fd = -1};
    buf_init(&f->name, 0);
    buf_init(&f->temp, 0);
    for (int i = 0; i < RACES_MAX && e == ERR_BUSY; i++)
        e = try_lock(f);
    if (e == ERR_OK)
        e = find_folder(f);
    if (e == ERR_OK)
        e = try_folder(f);
    return e == ERR_OK ? read_cursor(f, cursor) : e;
}

void
cursor_file_close(struct cursor_file *f)
{
    if (f->is_new && f->folder >= 0)
        unlinkat(f->folder, text_of(&f->name), 0);
    if (f->fd >= 0)
        close(f->fd);
    if (f->folder >= 0)
        close(f->folder);
    f->fd = f->folder = -1;
    buf_fini(&f->name);
    buf_fini(&f->temp);
}

/* ---- writing ---- */

static enum err
write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, text, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return ERR_IO;
        text += put;
        n -= (size_t)put;
    }
    return ERR_OK;
}

/* Whole, on disk, locked and with the rights of the old one. */
static enum err
fill(const struct cursor_file *f, int fd, const char *cursor)
{
    struct stat old;
    if (fstat(f->fd, &old) < 0 || fchmod(fd, old.st_mode & 0777) < 0 ||
        flock(fd, LOCK_EX | LOCK_NB) < 0 || write_all(fd, cursor, strlen(cursor)) != ERR_OK ||
        write_all(fd, "\n", 1) != ERR_OK || fdatasync(fd) < 0)
        return ERR_IO;
    return ERR_OK;
}

enum err
cursor_file_write(struct cursor_file *f, const char *cursor)
{
    const char *name = text_of(&f->name), *temp = text_of(&f->temp);
    int         fd = make_temp(f);
    if (fd < 0 || fill(f, fd, cursor) != ERR_OK || renameat(f->folder, temp, f->folder, name) < 0) {
        failed(f, ERR_IO,
               "cannot write the cursor to %s: %s; it holds the one before, so the next run prints "
               "the last messages again",
               f->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        unlinkat(f->folder, temp, 0);
        return ERR_IO;
    }
    close(f->fd);
    f->fd     = fd;
    f->is_new = false;
    /* Not every file system can sync a folder; what cannot has no later moment either. */
    if (fsync(f->folder) < 0 && errno != EINVAL && errno != ENOTSUP)
        return failed(f, ERR_IO, "cannot sync the folder of %s: %s", f->path, strerror(errno));
    return ERR_OK;
}
