/* disk_shim.c - preloaded into a broker: a disk that fails, or takes its time, when told.
 *
 * The file $DISK_SHIM holds words, asked before each call on a file named broker.db*:
 *
 *   write-eio      pwrite fails with EIO        write-enospc   ... with ENOSPC
 *   wal-eio        pwrite to the WAL alone      fsync-eio      fsync and fdatasync fail
 *   read-only      whatever writes fails with EROFS, and statvfs says so
 *   fsync-waits    fsync and fdatasync wait as long as that stands there; the first that does
 *                  makes the file $DISK_SHIM.waits, so that a test knows that one hangs there
 *   nfs smb fuse   fstatfs says that the folder lies on such a file system */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

ssize_t pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at);
int     ftruncate(int fd, off_t n);
int     ftruncate64(int fd, off64_t n);
int     fsync(int fd);
int     fdatasync(int fd);

static int
says(const char *word)
{
    char        text[128] = "";
    const char *path      = getenv("DISK_SHIM");
    int         kept      = errno;
    int         fd        = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t     n         = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    errno = kept;
    return n > 0 && strstr(text, word) != NULL;
}

/* Is it broker.db, or what lies beside it under that name and `suffix`? */
static int
is_ours(int fd, const char *suffix)
{
    char    link[64], name[4096];
    int     kept = errno;
    ssize_t n;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n     = readlink(link, name, sizeof name - 1);
    errno = kept;
    if (n <= 0)
        return 0;
    name[n]         = '\0';
    const char *own = strstr(name, "/broker.db");
    return own && strstr(own, suffix) != NULL;
}

static int
fails(int fd)
{
    if (!is_ours(fd, ""))
        return 0;
    if (says("write-eio") || (says("wal-eio") && is_ours(fd, "-wal")))
        errno = EIO;
    else if (says("write-enospc"))
        errno = ENOSPC;
    else if (says("read-only"))
        errno = EROFS;
    else
        return 0;
    return 1;
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
    return pwrite64(fd, p, n, at);
}

int
ftruncate64(int fd, off64_t n)
{
    return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

int
ftruncate(int fd, off_t n)
{
    return ftruncate64(fd, n);
}

static void
wait_while_told(void)
{
    const char           *path = getenv("DISK_SHIM");
    const struct timespec tick = {.tv_nsec = 2 * 1000 * 1000};
    char                  waits[4096];
    if (!path || !says("fsync-waits"))
        return;
    snprintf(waits, sizeof waits, "%s.waits", path);
    close(open(waits, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    while (says("fsync-waits"))
        clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
}

static int
sync_fails(int fd)
{
    if (!is_ours(fd, ""))
        return 0;
    wait_while_told();
    if (!says("fsync-eio"))
        return 0;
    errno = EIO;
    return 1;
}

int
fsync(int fd)
{
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int
statvfs(const char *path, struct statvfs *v)
{
    struct statfs fs;
    if (syscall(SYS_statfs, path, &fs) != 0)
        return -1;
    *v = (struct statvfs){.f_bsize  = (unsigned long)fs.f_bsize,
                          .f_frsize = (unsigned long)fs.f_bsize,
                          .f_blocks = fs.f_blocks,
                          .f_bfree  = fs.f_bfree,
                          .f_bavail = fs.f_bavail,
                          .f_flag   = says("read-only") ? ST_RDONLY : 0};
    return 0;
}

int
fstatfs(int fd, struct statfs *fs)
{
    if (syscall(SYS_fstatfs, fd, fs) != 0)
        return -1;
    if (says("nfs"))
        fs->f_type = 0x6969;
    if (says("smb"))
        fs->f_type = (__fsword_t)0xfe534d42;
    if (says("fuse"))
        fs->f_type = 0x65735546;
    return 0;
}
