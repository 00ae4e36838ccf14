#include "cli/cursor_file.h"

#include "base/check.h"
#include "base/limits.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool
is_cursor(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return s.n > 0;
}

enum err
cursor_file_read(const char *path, struct buf *cursor)
{
    uint8_t *room;
    enum err e  = ERR_IO;
    int      fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    buf_reset(cursor);
    CHECK(buf_room(cursor, CURSOR_BYTES_MAX + 2, &room) == ERR_OK);
    ssize_t n = read(fd, room, CURSOR_BYTES_MAX + 1);
    if (n >= 0) {
        while (n > 0 && isspace(room[n - 1]))
            n--;
        e       = is_cursor((struct str){room, (size_t)n}) ? ERR_OK : ERR_INVALID;
        room[n] = 0;
        buf_grew(cursor, (size_t)n + 1);
    }
    close(fd);
    return e;
}

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

enum err
cursor_file_write(const char *path, const char *cursor)
{
    struct buf name;
    enum err   e = ERR_IO;

    buf_init(&name, 0);
    CHECK(buf_addf(&name, "%s.new", path) == ERR_OK && buf_add(&name, STR("\0")) == ERR_OK);
    const char *other = (const char *)buf_str(&name).p;
    int         fd    = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        e = write_all(fd, cursor, strlen(cursor));
        if (e == ERR_OK)
            e = write_all(fd, "\n", 1);
        if (e == ERR_OK && fdatasync(fd) < 0)
            e = ERR_IO;
        if (close(fd) < 0 || (e == ERR_OK && rename(other, path) < 0))
            e = ERR_IO;
    }
    buf_fini(&name);
    return e;
}
