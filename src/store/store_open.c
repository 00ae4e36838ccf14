#include "store/store_start.h"
#include "store/store_room.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char pragmas[] = "PRAGMA page_size = 4096; PRAGMA auto_vacuum = 0;"
                              "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                              "PRAGMA wal_autocheckpoint = 0; PRAGMA locking_mode = NORMAL;"
                              "PRAGMA cache_size = -2000; PRAGMA mmap_size = 0;"
                              "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = OFF;"
                              "PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF";

static char *
text_of(const char *format, ...)
{
    va_list ap;
    char   *text = NULL;
    va_start(ap, format);
    int n = vasprintf(&text, format, ap);
    va_end(ap);
    CHECK(n >= 0);
    return text;
}

static void
say(struct buf *problem, const char *format, ...)
{
    char    line[1024];
    va_list ap;
    if (problem->n > 0)
        return; /* the first one knew best */
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    enum err e = buf_add(problem, str_of(line));
    (void)e; /* a missing message is no reason to fail otherwise */
}

static void
explain(const struct store *s, enum err e, int system, struct buf *problem)
{
    if (s->db && (sqlite3_errcode(s->db) & 0xff) == SQLITE_READONLY)
        system = EACCES; /* SQLite found out before the system had to */
    if (e == ERR_FULL || system == ENOSPC || system == EDQUOT)
        say(problem, "cannot write %s: the disk is full; free some space and start again", s->path);
    else if (e == ERR_BUSY)
        say(problem, "%s is locked by another program (a sqlite3 shell?): close it", s->path);
    else if (system == EACCES || system == EPERM || system == EROFS)
        say(problem,
            "cannot write %s: %s; give the broker's user write access to the folder, or choose "
            "another one with --data",
            s->path, strerror(system));
    else if (system == ENOENT || system == ENOTDIR)
        say(problem, "cannot open %s: %s; make the folder, or choose another one with --data",
            s->path, strerror(system));
    else
        say(problem, "cannot open %s: %s; check the disk, or choose another folder with --data",
            s->path,
            system  ? strerror(system)
            : s->db ? sqlite3_errmsg(s->db)
                    : err_text(e));
}

/* ---- files ---- */

/* SQLite would give it another mode; a WAL without its file must not fill a new one. */
static enum err
make_file(struct store *s, struct buf *problem)
{
    if (aside_is_due(s)) {
        enum err e = aside_put(s, problem);
        if (e != ERR_OK)
            return e;
        s->was_corrupt = true;
    }
    int fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, STORE_FILE_MODE);
    if (fd < 0 && errno == EEXIST)
        return ERR_OK;
    if (fd < 0) {
        explain(s, ERR_IO, errno, problem);
        return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    }
    close(fd);
    return aside_sync_folder(s);
}

/* ---- opening ---- */

static void
close_db(struct store *s)
{
    for (int i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(s->sql[i]);
        s->sql[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    if (s->index_fd > 0)
        close(s->index_fd);
    s->index_fd = 0;
}

static enum err
open_db(struct store *s, struct buf *problem)
{
    int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return sql_failed(s->db, rc, s->path);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (sqlite3_db_readonly(s->db, "main") == 1) {
        explain(s, ERR_IO, EACCES, problem);
        return ERR_IO;
    }
    struct stat st;
    if (stat(s->path, &st) != 0) {
        explain(s, ERR_IO, errno, problem);
        return ERR_IO;
    }
    s->device  = st.st_dev;
    s->inode   = st.st_ino;
    enum err e = sql_exec(s->db, pragmas);
    if (e == ERR_OK)
        aside_check_wal(s);
    tend_watch_wal(s); /* after wal_autocheckpoint, which takes the place of its hook */
    return e;
}

static enum err
attempt(struct store *s, const struct store_config *config, struct buf *problem)
{
    enum err e = make_file(s, problem);
    if (e == ERR_OK)
        e = open_db(s, problem);
    if (e == ERR_OK)
        e = schema_ready(s, config->cluster, problem);
    if (e == ERR_OK)
        e = sql_statements(s);
    if (e == ERR_OK)
        e = heads_check(s);
    if (e == ERR_OK)
        e = load_state(s);
    if (e == ERR_OK)
        e = load_recovered(s);
    if (e != ERR_OK && e != ERR_CORRUPT)
        explain(s, e, s->db ? sqlite3_system_errno(s->db) : 0, problem);
    return e;
}

/* Whoever writes goes first: readers take turns without end. */
static pthread_rwlock_t *
turns_new(void)
{
    pthread_rwlock_t    *turns = mem_new(sizeof *turns);
    pthread_rwlockattr_t how;
    pthread_rwlockattr_init(&how);
    pthread_rwlockattr_setkind_np(&how, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    CHECK(pthread_rwlock_init(turns, &how) == 0);
    pthread_rwlockattr_destroy(&how);
    return turns;
}

static void
free_store(struct store *s)
{
    close_db(s);
    pthread_rwlock_destroy(s->turns);
    mem_free(s->turns);
    load_forget(s);
    load_recovered_fini(s);
    buf_fini(&s->scratch);
    buf_fini(&s->texts);
    free(s->dir);
    free(s->path);
    mem_free(s);
}

static bool
ends_in_slash(const char *dir)
{
    size_t n = strlen(dir);
    return n > 0 && dir[n - 1] == '/';
}

enum err
store_open(struct store **store, const struct store_config *config,
           const struct recovered **recovered, struct buf *problem)
{
    /* Counting memory costs a lock per allocation.  Refused after the first use: fine. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    struct store *s = mem_new(sizeof *s);
    s->dir          = text_of("%s", config->dir);
    s->path         = text_of("%s%sbroker.db", config->dir, ends_in_slash(config->dir) ? "" : "/");
    store_set_reserve(s, config->reserve_bytes);
    s->disk.has_room = true;
    s->turns         = turns_new();
    buf_init(&s->scratch, 0);
    buf_init(&s->texts, 0);

    enum err e = attempt(s, config, problem);
    if (e == ERR_CORRUPT) {
        close_db(s);
        e = aside_put(s, problem);
        if (e == ERR_OK) {
            s->was_corrupt = true;
            e              = attempt(s, config, problem);
        }
    }
    if (e != ERR_OK) {
        explain(s, e, 0, problem);
        free_store(s);
        return e;
    }
    store_look(s);
    *store     = s;
    *recovered = &s->recovered;
    return ERR_OK;
}

bool
store_was_corrupt(const struct store *s)
{
    return s->was_corrupt;
}

void
store_close(struct store *s)
{
    if (!s)
        return;
    tend_close(s);
    free_store(s);
}
