#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_BYTES = 4096 };

enum err
file_read(const char *path, struct buf *out, const char **why)
{
    enum err e  = ERR_OK;
    int      fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *why = strerror(errno);
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    }
    for (;;) {
        uint8_t piece[PIECE_BYTES];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *why = strerror(errno);
            e    = ERR_IO;
            break;
        }
        e = buf_add(out, (struct str){piece, (size_t)n});
        if (e != ERR_OK) {
            *why = "it is too large";
            break;
        }
    }
    close(fd);
    return e;
}
