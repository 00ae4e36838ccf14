/* store_room.c - how much the disk still takes, and how large broker.db is.
 *
 * To copy the WAL into the file makes the file grow, and only then is the WAL cut: half of
 * the reserve has to be free beside that.  What is left of the disk once it is cut, and what
 * retention freed within the file, has to be more than the reserve.
 *
 * Two marks: below the reserve core seals nothing more, and what it had handed over fits into
 * the rest; a commit that meets less than a quarter of the reserve fails. */
#include "store/store_private.h"

#include "base/trace.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { PAGE_BYTES = 4096 };

static uint64_t
size_of(const struct store *s, const char *suffix)
{
    struct stat st;
    char        path[4096 + 16];
    int         n = snprintf(path, sizeof path, "%s%s", s->path, suffix);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t
pragma(struct store *s, enum statement which)
{
    uint64_t value = 0;
    enum err e     = ERR_OK;
    while (sql_next(s->db, s->sql[which], &e))
        value = sql_u64(s->sql[which], 0);
    return e == ERR_OK ? value : 0;
}

/* Fills in has_room and is_scarce. */
static void
judge(struct store *s, struct store_disk *d)
{
    int64_t reserve = (int64_t)s->reserve_bytes, unused = (int64_t)d->free_bytes;
    int64_t wal = (int64_t)d->wal_bytes;
    if (unused - wal >= 2 * reserve) { /* the file will not grow by more than the WAL */
        d->has_room = true;
        return;
    }
    /* Once it was too little, an eighth more has to be free: else every publish that
     * fits would be followed by one that does not. */
    int64_t wanted = s->disk.has_room ? reserve : reserve + reserve / 8;
    int64_t grows  = (int64_t)(pragma(s, SQL_PAGES) * PAGE_BYTES) - (int64_t)d->file_bytes;
    if (grows > 0)
        unused -= grows;
    int64_t in_file = (int64_t)(pragma(s, SQL_PAGES_FREE) * PAGE_BYTES);
    d->is_scarce    = unused < 2 * reserve;
    d->has_room     = unused >= wanted / 2 && unused + wal + in_file >= wanted;
}

static void
say(const struct store *s, const struct store_disk *d)
{
    if (d->has_room)
        tracef(TRACE_INFO, "store: there is room again in %s", s->dir);
    else if (d->is_read_only)
        tracef(TRACE_WARN,
               "store: %s has become read-only: publishes are refused until it is writable again; "
               "the system's log may say why",
               s->dir);
    else
        tracef(TRACE_WARN,
               "store: %llu MiB of the disk of %s are free, less than --disk-reserve (%zu MiB): "
               "publishes are refused until there is more; --retention-bytes keeps broker.db small",
               (unsigned long long)(d->free_bytes >> 20), s->dir, s->reserve_bytes >> 20);
}

const struct store_disk *
store_disk(const struct store *s)
{
    return &s->disk;
}

void
store_look(struct store *s)
{
    struct statvfs    v;
    struct store_disk d = {.file_bytes = size_of(s, ""),
                           .wal_bytes  = size_of(s, "-wal"),
                           .is_corrupt = s->disk.is_corrupt};
    if (statvfs(s->dir, &v) != 0) {
        /* The folder was moved away: a commit finds that out and says so. */
        d.has_room = d.has_reserve = true;
        d.free_bytes               = s->disk.free_bytes;
    } else {
        d.free_bytes   = (uint64_t)v.f_bavail * v.f_frsize;
        d.is_read_only = v.f_flag & ST_RDONLY;
        d.has_reserve  = !d.is_read_only && d.free_bytes >= s->reserve_bytes / 4;
        if (d.has_reserve)
            judge(s, &d);
    }
    if (d.has_room != s->disk.has_room)
        say(s, &d);
    s->disk = d;
}
