/* store_aside.c - files beside broker.db: what was found corrupt, and what is to be done.
 *
 *   broker.db.corrupt-1          with its -wal: kept, never deleted
 *   broker.db.broken             made while it ran: the next start puts the file aside
 *   broker.db.rebuilding         a new one began; until a peer gave back what it has
 *   broker.db-wal.damaged-1      a WAL of which not all could be read
 *
 * A crash at any point leaves a folder from which the next start goes on. */
#include "store/store_start.h"

#include "base/check.h"
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ASIDE_MAX = 999, WAL_HEAD = 32, FRAME_HEAD = 24, SHM_HEAD = 24 };

static const char broken[] = ".broken", rebuilding[] = ".rebuilding";

static char *
path_of(const struct store *s, const char *format, ...)
{
    va_list ap;
    char   *text = NULL, *path = NULL;
    va_start(ap, format);
    int n = vasprintf(&text, format, ap);
    va_end(ap);
    CHECK(n >= 0);
    n = asprintf(&path, "%s%s", s->path, text);
    CHECK(n >= 0);
    free(text);
    return path;
}

static bool
exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool
has(const struct store *s, const char *suffix)
{
    char *path = path_of(s, "%s", suffix);
    bool  is   = exists(path);
    free(path);
    return is;
}

bool
aside_is_due(const struct store *s)
{
    return has(s, broken) || (!has(s, "") && has(s, "-wal"));
}

enum err
aside_sync_folder(const struct store *s)
{
    int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        tracef(TRACE_ERROR, "store: cannot open %s to sync it: %s", s->dir, strerror(errno));
        return ERR_IO;
    }
    if (fsync(fd) != 0) {
        enum err e = sql_err(NULL, SQLITE_IOERR_DIR_FSYNC);
        CHECK(e != ERR_OK);
    }
    close(fd);
    return ERR_OK;
}

/* ---- marks ---- */

static enum err
make_mark(const struct store *s, const char *suffix, const char *text)
{
    char    *path = path_of(s, "%s", suffix);
    int      fd   = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, STORE_FILE_MODE);
    size_t   n    = strlen(text);
    enum err e    = ERR_IO;
    if (fd >= 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0)
        e = ERR_OK;
    if (e != ERR_OK)
        tracef(TRACE_ERROR, "store: cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(path);
    enum err synced = aside_sync_folder(s);
    return e == ERR_OK ? synced : e;
}

static enum err
remove_mark(const struct store *s, const char *suffix)
{
    char    *path = path_of(s, "%s", suffix);
    enum err e    = ERR_OK;
    if (unlink(path) == 0)
        e = aside_sync_folder(s);
    else if (errno != ENOENT)
        e = ERR_IO;
    if (e != ERR_OK)
        tracef(TRACE_ERROR, "store: cannot remove %s: %s", path, strerror(errno));
    free(path);
    return e;
}

bool
store_is_rebuilding(const struct store *s)
{
    return has(s, rebuilding);
}

void
store_rebuilt(struct store *s)
{
    enum err e = remove_mark(s, rebuilding);
    (void)e; /* then the next start waits for a peer once more */
}

enum err
store_condemn(struct store *s)
{
    return make_mark(s, broken, "broker.db is damaged; the next start puts it aside\n");
}

/* ---- the file ---- */

/* The first name of its kind that is free; NULL: none is. */
static char *
free_name(const struct store *s, const char *form)
{
    for (int i = 1; i <= ASIDE_MAX; i++) {
        char *path  = path_of(s, "%s%d", form, i);
        char *wal   = path_of(s, "%s%d-wal", form, i);
        bool  taken = exists(path) || exists(wal);
        free(wal);
        if (!taken)
            return path;
        free(path);
    }
    return NULL;
}

/* Under one new name, so that SQLite still finds them together. */
static enum err
move_all(const struct store *s, const char *to)
{
    static const char *const suffix[] = {"", "-wal", "-shm"};
    enum err                 e        = ERR_OK;
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix && e == ERR_OK; i++) {
        char *from = path_of(s, "%s", suffix[i]), *into = NULL;
        int   n = asprintf(&into, "%s%s", to, suffix[i]);
        CHECK(n >= 0);
        if (exists(from) && rename(from, into) != 0)
            e = ERR_IO;
        free(from);
        free(into);
    }
    return e;
}

/* The folder keeps every such copy: they may be all that there is of what was acknowledged. */
enum err
aside_put(struct store *s, struct buf *problem)
{
    char *to = free_name(s, ".corrupt-");
    if (!to) {
        buf_sayf(problem,
                 "%s is corrupt and cannot be put aside: %d files %s.corrupt-* lie there "
                 "already; move them away, and find out what damages the disk",
                 s->path, ASIDE_MAX, s->path);
        return ERR_IO;
    }
    enum err e = make_mark(s, rebuilding, "waiting for a peer\n");
    if (e == ERR_OK)
        e = move_all(s, to);
    if (e == ERR_OK)
        e = aside_sync_folder(s);
    if (e == ERR_OK) /* while it is there each start puts the file aside, however good that is */
        e = remove_mark(s, broken);
    if (e == ERR_OK) {
        tracef(TRACE_WARN,
               "store: %s was corrupt; it is kept as %s, and a new one begins, which is filled "
               "from the other brokers",
               s->path, to);
    } else {
        buf_sayf(problem,
                 "%s is corrupt and cannot be put aside: %s; move it and %s.broken away by "
                 "hand",
                 s->path, strerror(errno), s->path);
    }
    free(to);
    return e;
}

/* ---- the WAL ---- */

static uint32_t
get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* "WAL-mode File Format": the checksum of the header, big or little endian words. */
static bool
head_is_whole(const uint8_t head[WAL_HEAD])
{
    uint32_t a = 0, b = 0;
    bool     big = get32(head) & 1;
    for (int i = 0; i < FRAME_HEAD; i += 8) {
        uint32_t x[2];
        for (int k = 0; k < 2; k++) {
            const uint8_t *p = head + i + 4 * k;
            uint32_t       v = get32(p);
            x[k]             = big ? v : __builtin_bswap32(v);
        }
        a += x[0] + b;
        b += x[1] + a;
    }
    return get32(head + 24) == a && get32(head + 28) == b;
}

/* How many frames SQLite found when it opened the WAL; its index says so.  What is opened here is
 * closed after SQLite's own: any close of a file drops all locks that the process has on it
 * (fcntl(2)), and then another program that opens the log would cut the index under us. */
static bool
frames_found(struct store *s, uint32_t *frames)
{
    uint8_t head[SHM_HEAD];
    char   *path = path_of(s, "-shm");
    int     fd   = open(path, O_RDONLY | O_CLOEXEC);
    bool    is   = fd >= 0 && pread(fd, head, sizeof head, 0) == sizeof head && head[12] != 0;
    if (is)
        memcpy(frames, head + 16, sizeof *frames);
    if (fd > 0)
        s->index_fd = fd;
    free(path);
    return is;
}

/* Transactions behind the last frame that is whole.  A crash of the process leaves none; a
 * power failure may, of what was never acknowledged. */
static uint32_t
commits_behind(int fd, uint32_t frames)
{
    uint8_t  head[WAL_HEAD], frame[FRAME_HEAD], salt[8];
    uint32_t lost = 0;
    if (pread(fd, head, sizeof head, 0) != sizeof head)
        return 0;
    memcpy(salt, head + 16, sizeof salt);
    if (!head_is_whole(head)) { /* then those of the first frame */
        if (pread(fd, frame, sizeof frame, WAL_HEAD) != sizeof frame)
            return 0;
        memcpy(salt, frame + 8, sizeof salt);
    }
    for (uint32_t i = frames;; i++) {
        off_t at = WAL_HEAD + (off_t)i * (FRAME_HEAD + STORE_PAGE_BYTES);
        if (pread(fd, frame, sizeof frame, at) != sizeof frame || get32(frame) == 0)
            return lost;
        if (memcmp(salt, frame + 8, sizeof salt) == 0)
            lost += get32(frame + 4) != 0;
    }
}

static void
keep_copy(const struct store *s, int from)
{
    char *path = free_name(s, "-wal.damaged-");
    if (!path) {
        tracef(TRACE_ERROR,
               "store: no copy of it could be kept: %d files %s-wal.damaged-* lie "
               "there already; move them away",
               ASIDE_MAX, s->path);
        return;
    }
    int     to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, STORE_FILE_MODE);
    uint8_t piece[1 << 16];
    ssize_t n  = 0;
    off_t   at = 0;
    while (to >= 0 && (n = pread(from, piece, sizeof piece, at)) > 0 &&
           write(to, piece, (size_t)n) == n)
        at += n;
    if (to < 0 || n != 0)
        tracef(TRACE_ERROR, "store: no copy of it could be kept as %s: %s", path, strerror(errno));
    else
        tracef(TRACE_WARN, "store: a copy of it is kept as %s", path);
    if (to >= 0)
        close(to);
    free(path);
}

void
aside_check_wal(struct store *s)
{
    uint32_t frames = 0, lost = 0;
    char    *path = path_of(s, "-wal");
    int      fd   = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && frames_found(s, &frames))
        lost = commits_behind(fd, frames);
    if (lost > 0) {
        tracef(TRACE_ERROR,
               "store: %u transactions at the end of %s cannot be read: a bit flipped, or power "
               "failed. What was acknowledged in them is fetched from the other brokers that "
               "have it; a broker alone has lost it",
               lost, path);
        keep_copy(s, fd);
    }
    if (fd >= 0)
        close(fd);
    free(path);
}
