#include "store/store_room.h"

#include "base/trace.h"

#include <stdio.h>
#include <sys/stat.h>

enum {
    PAGES_QUIET       = 1024, /* 4 MiB of WAL: copied by store_tend() */
    PAGES_BUSY        = 8192, /* 32 MiB: copied between two commits, whatever waits */
    TENDS_TO_SNAPSHOT = 5,
    LSNS_TO_SNAPSHOT  = 100000,
    FRAME_BYTES       = STORE_PAGE_BYTES + 24, /* in the WAL: a page and its header */
    LOCK_WAIT_MS      = 10000,     /* another program writes: rare, and better than failing */
    READER_WAIT_MS    = 25,        /* of another program */
    GROW_MIN          = 256 << 10, /* bytes of WAL in use: below, it grows by itself */
    GROW_MAX          = 4 << 20,
    GROW_STEP         = 64 << 10,
    GROW_COMMITS      = 4,                                 /* of the last one's size, at once */
    PINNED_WARN       = 2 * PAGES_BUSY * STORE_PAGE_BYTES, /* bytes of WAL that a reader holds */
};

static int
on_commit(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct store *s = ctx;
    (void)db;
    (void)name;
    if ((uint32_t)pages < s->wal_pages) { /* it began anew */
        s->wal_copied = s->wal_pages = 0;
        s->wal_next                  = PAGES_BUSY;
    }
    s->wal_last  = (uint32_t)pages - s->wal_pages;
    s->wal_pages = (uint32_t)pages;
    return SQLITE_OK;
}

void
tend_watch_wal(struct store *s)
{
    sqlite3_busy_timeout(s->db, LOCK_WAIT_MS);
    sqlite3_wal_hook(s->db, on_commit, s);
    /* A crash left frames behind: the hook speaks of them only at the next commit. */
    struct stat st;
    char        wal[4096];
    int         n = snprintf(wal, sizeof wal, "%s-wal", s->path);
    s->wal_pages = s->wal_copied = 0;
    s->wal_next                  = PAGES_BUSY;
    s->wal_warned                = 0;
    if (n > 0 && (size_t)n < sizeof wal && stat(wal, &st) == 0)
        s->wal_pages = (uint32_t)(st.st_size / FRAME_BYTES);
}

/* Pages behind the oldest reader's place cannot be copied, and so the WAL grows for as long
 * as it reads.  Our own reader is done within milliseconds. */
static void
watch_pinned(struct store *s, int pages, int copied)
{
    uint64_t pinned = pages > copied ? (uint64_t)(pages - copied) * FRAME_BYTES : 0;
    if (pinned < PINNED_WARN) {
        s->wal_warned = 0;
        return;
    }
    if (pinned < 2 * s->wal_warned)
        return;
    s->wal_warned = pinned;
    tracef(TRACE_WARN,
           "store: %s-wal holds %llu MiB that another program's read transaction keeps there, "
           "and grows until that ends: end it (a sqlite3 shell, a long SELECT?)",
           s->path, (unsigned long long)(pinned >> 20));
}

/* A reader in the way is not waited for, unless the WAL has grown long: it begins anew only
 * when all of it was copied and nobody reads it, and beside readers that take turns that
 * moment may never come by itself. */
static int
mode_of(const struct store *s)
{
    return s->wal_pages >= s->wal_next ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
}

/* A reader was in the way of a new beginning: mostly it is gone soon.  But each attempt waits
 * for it, and one that stays must not cost that again and again. */
static void
wait_less(struct store *s, bool was_busy)
{
    uint32_t pages = s->wal_patience > 0 ? 2 * s->wal_patience : PAGES_QUIET;
    if (pages > PAGES_BUSY || !was_busy)
        pages = PAGES_BUSY;
    s->wal_patience = was_busy ? pages : 0;
    s->wal_next     = s->wal_pages + pages;
}

static int
copy_wal(struct store *s, int mode, int *pages, int *copied)
{
    sqlite3_busy_timeout(s->db, mode == SQLITE_CHECKPOINT_PASSIVE ? 0 : READER_WAIT_MS);
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, mode, pages, copied);
    sqlite3_busy_timeout(s->db, LOCK_WAIT_MS);
    return rc;
}

/* Our own readers let us in between two pages.  They go on while most of it is copied. */
static int
begin_anew(struct store *s, int mode, int *pages, int *copied)
{
    int rc = copy_wal(s, SQLITE_CHECKPOINT_PASSIVE, pages, copied);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        return rc;
    pthread_rwlock_wrlock(s->turns);
    rc = copy_wal(s, mode, pages, copied);
    pthread_rwlock_unlock(s->turns);
    return rc;
}

/* A failure costs nothing but room: all of it is in the WAL, and is tried again. */
static void
checkpoint(struct store *s, int mode)
{
    int pages = 0, copied = 0;
    int rc        = mode == SQLITE_CHECKPOINT_PASSIVE ? copy_wal(s, mode, &pages, &copied)
                                                      : begin_anew(s, mode, &pages, &copied);
    s->wal_copied = s->wal_pages; /* if it failed, the next attempt comes after as much again */
    s->wal_next   = s->wal_next > s->wal_pages ? s->wal_next : s->wal_pages + PAGES_BUSY;
    if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        enum err e = sql_failed(s->db, rc, "checkpoint");
        (void)e;
        return;
    }
    if (mode == SQLITE_CHECKPOINT_RESTART)
        wait_less(s, rc == SQLITE_BUSY);
    watch_pinned(s, pages, copied);
    if (rc == SQLITE_OK && mode == SQLITE_CHECKPOINT_TRUNCATE)
        s->wal_pages = s->wal_copied = 0, s->wal_bytes = 0, s->wal_next = PAGES_BUSY;
}

/* How much ahead of use.  The next commit's sync waits for these zeros too: as much as a few
 * commits need is not felt among them, all at once would be. */
static sqlite3_int64
ahead(const struct store *s)
{
    sqlite3_int64 bytes = (sqlite3_int64)s->wal_last * FRAME_BYTES * GROW_COMMITS;
    if (bytes < GROW_STEP)
        return GROW_STEP;
    return bytes < GROW_MAX ? bytes : GROW_MAX;
}

/* A sync after writing beyond a file's end also has to write the file's new length; that
 * takes twice as long as writing within it.  So under load the WAL is given zeros
 * ahead of use; to SQLite they are what is left of an older WAL. */
static void
grow_wal(struct store *s)
{
    static const uint8_t zero[GROW_STEP];
    sqlite3_file        *wal = NULL;
    sqlite3_int64        end = 0, used = (sqlite3_int64)s->wal_pages * FRAME_BYTES;
    sqlite3_int64        next = (sqlite3_int64)s->wal_last * FRAME_BYTES;
    if (used < GROW_MIN || used + next <= s->wal_bytes || !room_takes(s, GROW_MAX))
        return;
    if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) != SQLITE_OK ||
        !wal || !wal->pMethods || wal->pMethods->xFileSize(wal, &end) != SQLITE_OK)
        return;
    if (end < used)
        end = used;
    s->wal_bytes = end > used + ahead(s) ? end : used + ahead(s);
    for (; end < s->wal_bytes; end += GROW_STEP)
        if (wal->pMethods->xWrite(wal, zero, GROW_STEP, end) != SQLITE_OK)
            return; /* no room: the commit that needs it will say so */
}

/* Where room is scarce the WAL does not stay as long as it once was. */
static void
shorten_wal(struct store *s, bool is_scarce)
{
    enum err e      = sql_exec(s->db, is_scarce ? "PRAGMA journal_size_limit = 4194304"
                                                : "PRAGMA journal_size_limit = -1");
    s->wal_is_short = is_scarce;
    s->wal_bytes    = 0;
    (void)e; /* then it stays long until nothing is published */
}

void
tend_cut_wal(struct store *s)
{
    checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
}

void
tend_under_load(struct store *s)
{
    bool is_scarce = s->disk.is_scarce;
    if (is_scarce != s->wal_is_short)
        shorten_wal(s, is_scarce);
    if (s->wal_pages >= s->wal_next || (is_scarce && s->wal_pages - s->wal_copied >= PAGES_QUIET))
        checkpoint(s, mode_of(s));
    if (!is_scarce)
        grow_wal(s);
}

void
tend_after_step(struct store *s)
{
    if (s->disk.is_scarce || s->wal_pages >= 2 * PAGES_BUSY)
        tend_under_load(s);
}

static bool
wants_snapshot(const struct store *s)
{
    return s->is_loaded && !s->is_refusing && s->topics.lsn < s->lsn &&
           (s->tends_waited >= TENDS_TO_SNAPSHOT || topics_are_due(s, LSNS_TO_SNAPSHOT));
}

bool
store_tend(struct store *s, bool idle)
{
    bool is_quiet = s->commits == 0;
    s->commits    = 0;
    s->tends_waited++;
    if (wants_snapshot(s)) {
        enum err e      = topics_snapshot(s);
        s->tends_waited = 0;
        if (e != ERR_OK)
            tracef(TRACE_WARN, "store: topic counts were not written: %s", err_text(e));
    }
    if (idle && is_quiet) {
        if (s->wal_pages > 0)
            checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
        sqlite3_db_release_memory(s->db);
        buf_clear_free(&s->scratch);
    } else if (s->wal_pages - s->wal_copied >= PAGES_QUIET) {
        checkpoint(s, mode_of(s));
    }
    return s->wal_pages == 0;
}

void
tend_close(struct store *s)
{
    if (!s->is_loaded || s->is_refusing || s->topics.lsn >= s->lsn)
        return;
    enum err e = topics_snapshot(s);
    (void)e; /* the next start counts from the last one */
}
