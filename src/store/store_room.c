/* store_room.c - how much the disk still takes, and how large broker.db is.
 *
 * To copy the WAL into the file makes the file grow, and only then is the WAL cut: half of
 * the reserve has to be free beside that.  What is left of the disk once it is cut, and what
 * retention freed within the file, has to be more than the reserve.
 *
 * Two marks: below the reserve core seals nothing more, and what it had handed over fits into
 * the rest; a commit that meets less than a quarter of the reserve fails.  So does one after
 * which the WAL could not be copied any more, whatever the reserve: nothing would ever be
 * given back then.  Where room is scarce that is no guess: the file is made as long as it has
 * to become before the transaction that needs it commits. */
#include "store/store_room.h"

#include "base/trace.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define RESERVE_MAX ((size_t)1 << 60) /* more is never free, and sums of it still fit */
enum {
    SLACK_BYTES = 256 << 10, /* of a commit beside what it appends; of a step of retention */
    MOST_BYTES  = BATCH_BODY_BYTES_MAX + BATCH_REST_BYTES_MAX,
    /* Written between two looks beside what the group appends: zeros ahead of the WAL's use, a
     * step of retention (3,000 messages, 2 pages of indexes each at worst), counts of topics. */
    CUSHION_BYTES = 48 << 20,
    ZERO_BYTES    = 64 << 10,
};

/* Its times are not asked for: a kernel that was asked gives the next write a time of its own,
 * and then each sync has the inode to write beside the data. */
static uint64_t
size_of(const struct store *s, const char *suffix)
{
    struct statx st;
    char         path[4096 + 16];
    int          n = snprintf(path, sizeof path, "%s%s", s->path, suffix);
    bool known = n > 0 && (size_t)n < sizeof path && statx(AT_FDCWD, path, 0, STATX_SIZE, &st) == 0;
    return known ? st.stx_size : 0;
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

/* What is left of the disk once the WAL is copied, and what is free within the file. */
struct room {
    int64_t unused, in_file;
};

static struct room
room_of(struct store *s, const struct store_disk *d)
{
    int64_t     grows = (int64_t)(pragma(s, SQL_PAGES) * STORE_PAGE_BYTES) - (int64_t)d->file_bytes;
    struct room r     = {.unused  = (int64_t)d->free_bytes,
                         .in_file = (int64_t)(pragma(s, SQL_PAGES_FREE) * STORE_PAGE_BYTES)};
    if (grows > 0)
        r.unused -= grows;
    return r;
}

static int64_t
greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t
appended(uint64_t bytes)
{
    return (int64_t)(bytes + bytes / 4 + SLACK_BYTES);
}

/* What is appended goes into the WAL and then into the file. */
static int64_t
needed(uint64_t bytes, int64_t in_file)
{
    int64_t once = appended(bytes);
    return once + greater(once - in_file, 0);
}

/* The file never becomes smaller.  So much of the disk is left beside it whatever is committed:
 * with less, judge() would find no room even when all in the file is free. */
static int64_t
beside_file(const struct store *s)
{
    return greater((int64_t)s->reserve_bytes / 2, appended(MOST_BYTES)) / 8 * 9 + SLACK_BYTES;
}

static int64_t
plenty(const struct store *s)
{
    return greater(2 * (int64_t)s->reserve_bytes, CUSHION_BYTES);
}

/* Fills in is_scarce and lack_bytes. */
static void
judge(struct store *s, struct store_disk *d)
{
    int64_t reserve = (int64_t)s->reserve_bytes, wal = (int64_t)d->wal_bytes;
    if ((int64_t)d->free_bytes - wal >= plenty(s)) /* the file grows by no more than the WAL */
        return;
    /* Once it was too little, an eighth more has to be free: else every publish that
     * fits would be followed by one that does not. */
    int64_t     eighths = s->disk.has_room ? 8 : 9;
    struct room r       = room_of(s, d);
    int64_t     wanted  = reserve / 8 * eighths;
    int64_t     beside  = greater(wanted / 2, needed(MOST_BYTES, r.in_file) / 8 * eighths);
    int64_t     lack    = greater(beside - r.unused, wanted - r.unused - wal - r.in_file);
    d->is_scarce        = r.unused < plenty(s);
    d->lack_bytes       = lack > 0 ? (uint64_t)lack : 0;
}

bool
room_takes(struct store *s, uint64_t bytes)
{
    const struct store_disk *d     = &s->disk;
    int64_t                  plain = (int64_t)d->free_bytes, wal = (int64_t)d->wal_bytes;
    int64_t                  once = appended(bytes), beside = beside_file(s);
    if (plain >= wal + 2 * once && plain >= beside + once)
        return true;
    struct room r     = room_of(s, d);
    int64_t     grows = greater(once - r.in_file, 0);
    return r.unused >= once + grows && (grows == 0 || r.unused + wal >= beside + grows);
}

void
room_for_group(struct store *s, uint64_t bytes)
{
    struct store_disk *d = &s->disk;
    if ((int64_t)(d->free_bytes - d->wal_bytes) - 2 * appended(bytes) < plenty(s))
        d->is_scarce = true; /* or would be when it is committed */
}

enum err
room_hold(struct store *s)
{
    static const uint8_t zero[ZERO_BYTES];
    sqlite3_file        *file = NULL;
    sqlite3_int64        end = 0, pages = (sqlite3_int64)pragma(s, SQL_PAGES) * STORE_PAGE_BYTES;
    if (!s->disk.is_scarce)
        return ERR_OK;
    int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (rc == SQLITE_OK)
        rc = file->pMethods->xFileSize(file, &end);
    while (rc == SQLITE_OK && end < pages) {
        int n = pages - end < ZERO_BYTES ? (int)(pages - end) : ZERO_BYTES;
        rc    = file->pMethods->xWrite(file, zero, n, end);
        end += n;
    }
    if (rc != SQLITE_OK)
        tracef(TRACE_WARN, "store: broker.db cannot be made longer: %s", sqlite3_errstr(rc));
    return sql_err(s->db, rc);
}

static double
mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
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
        tracef(
            TRACE_WARN,
            "store: the disk of %s has %.1f MiB free, %.1f MiB more are needed: publishes are "
            "refused until then. The broker keeps --disk-reserve (%.1f MiB) free, or what it takes "
            "to copy broker.db-wal (%.1f MiB) and one more batch into broker.db. Free some, or "
            "let --retention or --retention-bytes keep less",
            s->dir, mib(d->free_bytes), mib(d->lack_bytes), mib(s->reserve_bytes),
            mib(d->wal_bytes));
}

const struct store_disk *
store_disk(const struct store *s)
{
    return &s->disk;
}

void
store_set_reserve(struct store *s, size_t bytes)
{
    s->reserve_bytes = bytes < RESERVE_MAX ? bytes : RESERVE_MAX;
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
        judge(s, &d);
        d.has_room = d.has_reserve && d.lack_bytes == 0;
    }
    if (d.has_room != s->disk.has_room)
        say(s, &d);
    s->disk = d;
}

void
room_for_step(struct store *s)
{
    store_look(s);
    if (room_of(s, &s->disk).unused < appended(MOST_BYTES))
        tend_cut_wal(s);
}
