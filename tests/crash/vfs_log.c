#include "tests/crash/vfs_log.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FDS_MAX = 1024, NONE = -1 };

static struct {
    struct vfs_log log;
    char           dir[PATH_MAX]; /* "": nothing is logged */
    int            node_of[VFS_NAMES_MAX];
    int            node_of_fd[FDS_MAX]; /* of what the store itself writes to */

    enum vfs_call call;
    uint64_t      k, calls, failed;
    bool          stays;
    int           error;
} the;

static sqlite3_vfs *below;

/* ---- failing ---- */

void
vfs_fail(enum vfs_call call, uint64_t k, bool stays, int error)
{
    the.calls  = 0;
    the.call   = call;
    the.k      = k;
    the.stays  = stays;
    the.error  = error;
    the.failed = 0;
}

void
vfs_heal(void)
{
    the.k = 0;
}

uint64_t
vfs_failed(void)
{
    return the.failed;
}

static bool
fails(enum vfs_call call)
{
    if (the.k == 0 || call != the.call)
        return false;
    uint64_t n = ++the.calls;
    if (the.stays ? n < the.k : n != the.k)
        return false;
    the.failed++;
    errno = the.error;
    return true;
}

/* ---- logging ---- */

static void
add(const struct vfs_op *op)
{
    struct vfs_log *l = &the.log;
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 1024;
        l->op  = realloc(l->op, l->cap * sizeof *l->op);
        CHECK(l->op);
    }
    l->op[l->count++] = *op;
}

static bool
ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The number of a file in the folder, by its name; NONE: it is not looked at. */
static int
name_of(const char *path)
{
    size_t n = strlen(the.dir);
    if (n == 0 || !path || strncmp(path, the.dir, n) != 0 || path[n] != '/' ||
        ends_in(path, "-shm"))
        return NONE;
    const char *base = path + n + 1;
    for (uint32_t i = 0; i < the.log.names; i++)
        if (strcmp(the.log.name[i], base) == 0)
            return (int)i;
    CHECK(the.log.names < VFS_NAMES_MAX && strlen(base) < sizeof the.log.name[0]);
    strcpy(the.log.name[the.log.names], base);
    the.node_of[the.log.names] = NONE;
    return (int)the.log.names++;
}

static int
created(int name)
{
    if (name == NONE)
        return NONE;
    the.node_of[name] = (int)the.log.nodes++;
    add(&(struct vfs_op){
        .kind = VFS_CREATE, .name = (uint32_t)name, .node = (uint32_t)the.node_of[name]});
    return the.node_of[name];
}

static void
wrote(int node, const void *p, size_t n, uint64_t at)
{
    if (node == NONE || the.dir[0] == '\0')
        return;
    uint8_t *copy = malloc(n > 0 ? n : 1);
    CHECK(copy);
    memcpy(copy, p, n);
    add(&(struct vfs_op){
        .kind = VFS_WRITE, .node = (uint32_t)node, .at = at, .n = n, .bytes = copy});
}

static void
did(enum vfs_kind kind, int node, uint64_t at)
{
    if (node != NONE && the.dir[0] != '\0')
        add(&(struct vfs_op){.kind = kind, .node = (uint32_t)node, .at = at});
}

static void
synced_folder(void)
{
    if (the.dir[0] != '\0')
        add(&(struct vfs_op){.kind = VFS_SYNC_FOLDER});
}

static void
removed(int name)
{
    if (name == NONE)
        return;
    add(&(struct vfs_op){.kind = VFS_DELETE, .name = (uint32_t)name});
    the.node_of[name] = NONE;
}

void
vfs_log_begin(const char *dir)
{
    CHECK(strlen(dir) < sizeof the.dir);
    vfs_log_forget();
    strcpy(the.dir, dir);
    for (int i = 0; i < FDS_MAX; i++)
        the.node_of_fd[i] = NONE;
}

void
vfs_log_end(void)
{
    the.dir[0] = '\0';
}

const struct vfs_log *
vfs_log(void)
{
    return &the.log;
}

void
vfs_log_forget(void)
{
    for (uint32_t i = 0; i < the.log.count; i++)
        free(the.log.op[i].bytes);
    free(the.log.op);
    the.log = (struct vfs_log){0};
}

/* ---- files of SQLite ---- */

struct file {
    sqlite3_file  base;
    int           node;
    sqlite3_file *real; /* lies behind this */
};

static struct file *
file_of(sqlite3_file *f)
{
    return (struct file *)(void *)f;
}

static sqlite3_file *
real_of(sqlite3_file *f)
{
    return file_of(f)->real;
}

#define REAL(f) (real_of(f)->pMethods)

static int
on_close(sqlite3_file *f)
{
    return REAL(f)->xClose(real_of(f));
}

static int
on_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    if (fails(CALL_READ))
        return SQLITE_IOERR_READ;
    return REAL(f)->xRead(real_of(f), p, n, at);
}

/* A disk that is full takes the first half. */
static int
on_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (fails(CALL_WRITE)) {
        int rc = REAL(f)->xWrite(real_of(f), p, n / 2, at);
        CHECK(rc == SQLITE_OK);
        return the.error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    wrote(file_of(f)->node, p, (size_t)n, (uint64_t)at);
    return REAL(f)->xWrite(real_of(f), p, n, at);
}

static int
on_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    if (fails(CALL_TRUNCATE))
        return SQLITE_IOERR_TRUNCATE;
    did(VFS_TRUNCATE, file_of(f)->node, (uint64_t)n);
    return REAL(f)->xTruncate(real_of(f), n);
}

static int
on_sync(sqlite3_file *f, int flags)
{
    if (fails(CALL_SYNC))
        return SQLITE_IOERR_FSYNC;
    did(VFS_SYNC, file_of(f)->node, 0);
    return REAL(f)->xSync(real_of(f), flags); /* also the folder's, of a new file */
}

static int
on_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return REAL(f)->xFileSize(real_of(f), n);
}

static int
on_lock(sqlite3_file *f, int how)
{
    return REAL(f)->xLock(real_of(f), how);
}

static int
on_unlock(sqlite3_file *f, int how)
{
    return REAL(f)->xUnlock(real_of(f), how);
}

static int
on_check_lock(sqlite3_file *f, int *out)
{
    return REAL(f)->xCheckReservedLock(real_of(f), out);
}

static int
on_control(sqlite3_file *f, int what, void *arg)
{
    return REAL(f)->xFileControl(real_of(f), what, arg);
}

static int
on_sector(sqlite3_file *f)
{
    return REAL(f)->xSectorSize(real_of(f));
}

static int
on_device(sqlite3_file *f)
{
    return REAL(f)->xDeviceCharacteristics(real_of(f));
}

static int
on_index(sqlite3_file *f, int page, int bytes, int extend, void volatile **out)
{
    if (fails(CALL_INDEX))
        return SQLITE_IOERR_SHMSIZE;
    return REAL(f)->xShmMap(real_of(f), page, bytes, extend, out);
}

static int
on_index_lock(sqlite3_file *f, int at, int n, int flags)
{
    return REAL(f)->xShmLock(real_of(f), at, n, flags);
}

static void
on_barrier(sqlite3_file *f)
{
    REAL(f)->xShmBarrier(real_of(f));
}

static int
on_unmap(sqlite3_file *f, int with_file)
{
    return REAL(f)->xShmUnmap(real_of(f), with_file);
}

static const sqlite3_io_methods methods = {
    .iVersion               = 2,
    .xClose                 = on_close,
    .xRead                  = on_read,
    .xWrite                 = on_write,
    .xTruncate              = on_truncate,
    .xSync                  = on_sync,
    .xFileSize              = on_size,
    .xLock                  = on_lock,
    .xUnlock                = on_unlock,
    .xCheckReservedLock     = on_check_lock,
    .xFileControl           = on_control,
    .xSectorSize            = on_sector,
    .xDeviceCharacteristics = on_device,
    .xShmMap                = on_index,
    .xShmLock               = on_index_lock,
    .xShmBarrier            = on_barrier,
    .xShmUnmap              = on_unmap,
};

/* ---- names ---- */

static bool
exists(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0;
}

static int
on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *flags_out)
{
    struct file *file = file_of(f);
    bool         was  = exists(path);
    (void)vfs;
    *file = (struct file){.node = NONE, .real = (sqlite3_file *)(void *)(file + 1)};
    if (fails(CALL_OPEN))
        return SQLITE_CANTOPEN;
    int rc = below->xOpen(below, path, file->real, flags, flags_out);
    if (rc != SQLITE_OK && !file->real->pMethods)
        return rc;
    file->base.pMethods = &methods;
    int name            = name_of(path);
    if (name != NONE)
        file->node = !was && exists(path) ? created(name) : the.node_of[name];
    return rc;
}

static int
on_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    (void)vfs;
    if (!ends_in(path, "-shm") && fails(CALL_DELETE))
        return SQLITE_IOERR_DELETE;
    if (exists(path))
        removed(name_of(path));
    return below->xDelete(below, path, sync_folder);
}

static int
on_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    (void)vfs;
    return below->xAccess(below, path, flags, out);
}

static int
on_full_path(sqlite3_vfs *vfs, const char *path, int n, char *out)
{
    (void)vfs;
    return below->xFullPathname(below, path, n, out);
}

static int
on_randomness(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    return below->xRandomness(below, n, out);
}

static int
on_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return below->xSleep(below, us);
}

static int
on_time(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    (void)vfs;
    return below->xCurrentTimeInt64(below, out);
}

static int
on_last_error(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    return below->xGetLastError(below, n, out);
}

/* SQLite opens a folder for nothing but to sync it. */
typedef int         open_folder(const char *path, int *fd);
static open_folder *open_folder_below;

static int
on_open_folder(const char *path, int *fd)
{
    synced_folder();
    return open_folder_below(path, fd);
}

void
vfs_log_register(void)
{
    static sqlite3_vfs logging;
    below            = sqlite3_vfs_find(NULL);
    logging          = *below;
    logging.iVersion = 2;
    logging.zName    = "logging";
    logging.pNext    = NULL;
    logging.szOsFile = (int)sizeof(struct file) + below->szOsFile;

    logging.xOpen             = on_open;
    logging.xDelete           = on_delete;
    logging.xAccess           = on_access;
    logging.xFullPathname     = on_full_path;
    logging.xRandomness       = on_randomness;
    logging.xSleep            = on_sleep;
    logging.xCurrentTimeInt64 = on_time;
    logging.xGetLastError     = on_last_error;

    open_folder_below = (open_folder *)below->xGetSystemCall(below, "openDirectory");
    int rc = below->xSetSystemCall(below, "openDirectory", (sqlite3_syscall_ptr)on_open_folder);
    CHECK(rc == SQLITE_OK && open_folder_below);
    rc = sqlite3_vfs_register(&logging, 1);
    CHECK(rc == SQLITE_OK);
}

/* ---- what the store does by itself; the linker leads its calls here ---- */

int     __real_open(const char *path, int flags, ...);
int     __wrap_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int     __real_fsync(int fd);
int     __wrap_fsync(int fd);
int     __real_rename(const char *from, const char *to);
int     __wrap_rename(const char *from, const char *to);
int     __real_unlink(const char *path);
int     __wrap_unlink(const char *path);
void   *__real_calloc(size_t n, size_t bytes);
void   *__wrap_calloc(size_t n, size_t bytes);
void   *__real_realloc(void *p, size_t bytes);
void   *__wrap_realloc(void *p, size_t bytes);

int
__wrap_open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? (mode_t)va_arg(ap, int) : 0;
    va_end(ap);
    bool was  = exists(path);
    int  name = name_of(path);
    if (fails(CALL_BESIDE))
        return -1;
    int fd = __real_open(path, flags, mode);
    if (fd < 0 || fd >= FDS_MAX || the.dir[0] == '\0')
        return fd;
    the.node_of_fd[fd] = NONE;
    if (name != NONE && flags & O_CREAT)
        the.node_of_fd[fd] = was ? the.node_of[name] : created(name);
    if (name != NONE && was && flags & O_TRUNC)
        did(VFS_TRUNCATE, the.node_of_fd[fd], 0);
    return fd;
}

ssize_t
__wrap_write(int fd, const void *p, size_t n)
{
    if (fails(CALL_BESIDE))
        return -1;
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at >= 0 && fd < FDS_MAX && the.dir[0] != '\0')
        wrote(the.node_of_fd[fd], p, n, (uint64_t)at);
    return __real_write(fd, p, n);
}

int
__wrap_fsync(int fd)
{
    struct stat st;
    if (fails(CALL_SYNC))
        return -1;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        synced_folder();
    else if (fd < FDS_MAX && the.dir[0] != '\0')
        did(VFS_SYNC, the.node_of_fd[fd], 0);
    return __real_fsync(fd);
}

int
__wrap_rename(const char *from, const char *to)
{
    int a = name_of(from), b = name_of(to);
    if (fails(CALL_BESIDE))
        return -1;
    int rc = __real_rename(from, to);
    if (rc == 0 && a != NONE && b != NONE) {
        the.node_of[b] = the.node_of[a];
        the.node_of[a] = NONE;
        add(&(struct vfs_op){.kind = VFS_RENAME, .name = (uint32_t)a, .to = (uint32_t)b});
    }
    return rc;
}

int
__wrap_unlink(const char *path)
{
    if (fails(CALL_BESIDE))
        return -1;
    int rc = __real_unlink(path);
    if (rc == 0)
        removed(name_of(path));
    return rc;
}

/* ---- memory ---- */

void *
__wrap_calloc(size_t n, size_t bytes)
{
    return fails(CALL_MEM) ? NULL : __real_calloc(n, bytes);
}

void *
__wrap_realloc(void *p, size_t bytes)
{
    return fails(CALL_MEM) ? NULL : __real_realloc(p, bytes);
}

static sqlite3_mem_methods malloc_below;

static void *
take(int bytes)
{
    return fails(CALL_MALLOC) ? NULL : malloc_below.xMalloc(bytes);
}

static void *
resize(void *p, int bytes)
{
    return fails(CALL_MALLOC) ? NULL : malloc_below.xRealloc(p, bytes);
}

void
vfs_take_malloc(void)
{
    int rc = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &malloc_below);
    CHECK(rc == SQLITE_OK);
    sqlite3_mem_methods ours = malloc_below;
    ours.xMalloc             = take;
    ours.xRealloc            = resize;
    rc                       = sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    CHECK(rc == SQLITE_OK);
}
