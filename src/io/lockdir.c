#include "io/lockdir.h"

#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* File systems on which neither a lock nor an fsync means what SQLite needs. */
static const struct {
    uint32_t    magic;
    const char *name;
    bool        refused;
} doubtful[] = {
    {0x00006969, "NFS", true},   {0x0000517b, "SMB", true},    {0xff534d42, "CIFS", true},
    {0xfe534d42, "SMB2", true},  {0x5346414f, "AFS", true},    {0x73757245, "Coda", true},
    {0x00c36400, "Ceph", true},  {0x0bd00bd0, "Lustre", true}, {0x47504653, "GPFS", true},
    {0x65735546, "FUSE", false}, {0x01021997, "9P", false},
};

static enum err
say(struct buf *problem, enum err e, const char *dir, const char *what)
{
    buf_sayf(problem, "data folder '%s': %s", dir, what);
    return e;
}

static const char *
advice(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "no permission to write there; choose another with --data or change its owner";
    case EROFS:
        return "the file system is read-only; choose another folder with --data";
    case ENOTDIR:
    case EEXIST:
        return "it, or a part of its path, is a file; choose another folder with --data";
    case ENOSPC:
    case EDQUOT:
        return "the disk is full; free some space or choose another folder with --data";
    case ENAMETOOLONG:
        return "its path is too long; choose another folder with --data";
    default:
        return strerror(error);
    }
}

/* mkdir -p.  Parents get the same mode: what is above the data may also name topics. */
static enum err
make_dirs(const char *dir)
{
    char   path[PATH_MAX];
    size_t n = strlen(dir);
    if (n == 0 || n >= sizeof path) {
        errno = n == 0 ? ENOENT : ENAMETOOLONG;
        return ERR_IO;
    }
    memcpy(path, dir, n + 1);
    for (char *at = path + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(path, 0750) < 0 && errno != EEXIST)
            return ERR_IO;
        *at = '/';
    }
    return mkdir(path, 0750) < 0 && errno != EEXIST ? ERR_IO : ERR_OK;
}

static enum err
check_filesystem(int dfd, const char *dir, struct buf *problem)
{
    struct statfs fs;
    if (fstatfs(dfd, &fs) < 0)
        return say(problem, ERR_IO, dir, strerror(errno));
    for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++) {
        if ((uint32_t)fs.f_type != doubtful[i].magic)
            continue;
        if (!doubtful[i].refused) {
            tracef(TRACE_WARN, "data folder '%s' lies on %s: make sure that its fsync is real", dir,
                   doubtful[i].name);
            return ERR_OK;
        }
        char what[128];
        snprintf(what, sizeof what,
                 "it lies on %s, where locks and fsync cannot be relied on; choose a local folder "
                 "with --data",
                 doubtful[i].name);
        return say(problem, ERR_INVALID, dir, what);
    }
    return ERR_OK;
}

enum err
lockdir_take(const char *dir, int *fd_out, struct buf *problem)
{
    enum err e   = ERR_IO;
    int      dfd = -1, fd = -1;

    if (make_dirs(dir) != ERR_OK)
        goto failed;
    dfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dfd < 0)
        goto failed;
    e = check_filesystem(dfd, dir, problem);
    if (e != ERR_OK)
        goto out;
    e  = ERR_IO;
    fd = openat(dfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        goto failed;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            goto failed;
        e = say(problem, ERR_BUSY, dir,
                "another broker uses it; stop that one or choose another folder with --data");
        goto out;
    }
    *fd_out = fd;
    fd      = -1; /* now the caller's */
    e       = ERR_OK;
    goto out;
failed:
    e = say(problem, ERR_IO, dir, advice(errno));
out:
    if (fd >= 0)
        close(fd);
    if (dfd >= 0)
        close(dfd);
    return e;
}

void
lockdir_release(int fd)
{
    close(fd);
}
