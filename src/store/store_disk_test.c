/* What only a store with a disk can get wrong: crashes, failing writes, foreign files. */
#include "store/store.h"

#include "tests/store_kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifdef __SANITIZE_ADDRESS__
enum { MANY = 200 * 1024 };
#else
enum { MANY = 1000 * 1024 };
#endif
enum { TAIL = 1000000, MIB = 1 << 20 };

/* The first column of the first row, as the sqlite3 shell of a user sees it. */
static void
shell(const struct disk *d, const char *sql, char out[512])
{
    char command[768], path[128];
    disk_path(d, "", path);
    snprintf(command, sizeof command, "sqlite3 -readonly %s \"%s\" 2>&1", path, sql);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, 511, f);
    out[n]   = '\0';
    pclose(f);
}

static void
execute(const struct disk *d, const char *sql)
{
    sqlite3 *db;
    char     path[128];
    disk_path(d, "", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Without it an old binary ruins a new file, or a wrong --data another program's. */
static void
files_that_are_not_ours_are_refused(void **state)
{
    struct disk d;
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    disk_refuses(&d, STR("other"), ERR_INVALID, "belongs to the cluster \"hearsay\"");
    execute(&d, "PRAGMA user_version = 4");
    disk_refuses(&d, STR("hearsay"), ERR_STALE, "newer hearsay: install that version");
    execute(&d, "PRAGMA application_id = 1");
    disk_refuses(&d, STR("hearsay"), ERR_INVALID, "another program");
    kit_folder_gone(d.dir);
    disk_refuses(&d, STR("hearsay"), ERR_IO, "make the folder");
}

/* Without it a user who lacks a permission reads the words of SQLite. */
static void
what_cannot_be_written_says_what_to_do(void **state)
{
    struct disk d;
    char        path[128];
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    disk_path(&d, "", path);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(chmod(path, round ? 0666 : 0444), 0);
        assert_int_equal(chmod(d.dir, 0555), 0);
        pid_t child = fork();
        if (child == 0) { /* the superuser may write everything */
            if (geteuid() == 0 && seteuid(65534) != 0)
                _exit(2);
            disk_refuses(&d, STR("hearsay"), ERR_IO, "give the broker's user write access");
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(chmod(d.dir, 0755), 0);
    kit_folder_gone(d.dir);
    kit_folder(d.dir);
    disk_path(&d, "", path);
    assert_int_equal(mkdir(path, 0755), 0);
    disk_refuses(&d, STR("hearsay"), ERR_IO, "choose another");
    kit_folder_gone(d.dir);
    kit_folder(d.dir);
    kit_writes_left = 3;
    disk_refuses(&d, STR("hearsay"), ERR_FULL, "free some space");
    kit_writes_left = -1;
    kit_folder_gone(d.dir);
}

/* Without it everybody on the machine reads what was published. */
static void
files_are_not_for_everybody(void **state)
{
    struct disk   d;
    struct writer a        = kit_writer(1);
    const char   *suffix[] = {"", "-wal", "-shm"};
    mode_t        before   = umask(022);
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    for (int i = 0; i < 3; i++) {
        struct stat st;
        char        path[128];
        disk_path(&d, suffix[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0640);
    }
    umask(before);
    disk_close(&d);
}

static void
scribble(const struct disk *d, off_t at)
{
    char path[128], junk[4096];
    memset(junk, 0x5a, sizeof junk);
    disk_path(d, "", path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, junk, sizeof junk, at) == sizeof junk);
    close(fd);
}

/* Without it a broker with a broken file never starts, or deletes what may be saved. */
static void
a_corrupt_file_is_put_aside(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(1);
    (void)state;
    disk_open(&d, false);
    assert_false(store_was_corrupt(d.s));
    for (int round = 1; round <= 3; round++) {
        disk_put(&d, kit_batch(&a, 500, "t"), 1);
        disk_stop(&d);
        long bytes = disk_bytes(&d, "");
        for (off_t at = round % 2 ? 4096 : 0; at < 16 * 4096; at += 4096)
            scribble(&d, at); /* tables or the header too */
        disk_start(&d);
        char suffix[32];
        snprintf(suffix, sizeof suffix, ".corrupt-%d", round);
        assert_int_equal(disk_bytes(&d, suffix), bytes);
        assert_true(store_was_corrupt(d.s));
        assert_int_equal(d.found->lsn, 0);
        assert_int_equal(d.found->stream_count, 0);
        a = kit_writer((uint64_t)round + 1);
    }
    assert_int_equal(disk_put(&d, kit_batch(&a, 1, "t"), 1), 1);
    disk_stop(&d);
    disk_start(&d);
    assert_false(store_was_corrupt(d.s));
    assert_int_equal(d.found->lsn, 1);
    disk_close(&d);
}

/* Without it a WAL left alone fills the next file with pages of another. */
static void
a_wal_without_its_file_is_put_aside(void **state)
{
    struct disk d;
    char        path[128];
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    disk_path(&d, "", path);
    assert_int_equal(unlink(path), 0);
    disk_path(&d, "-wal", path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "wal", 3), 3);
    close(fd);
    disk_start(&d);
    assert_int_equal(disk_bytes(&d, ".corrupt-1-wal"), 3);
    disk_close(&d);
}

/* ---- crashes ---- */

/* A child commits `count` messages in batches, tells how far it came, and dies. */
static void
die_after(const struct disk *d, struct writer *w, uint32_t count, uint32_t batch, const char *topic)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct disk mine = *d;
        disk_start(&mine);
        for (uint32_t done = 0; done < count; done += batch)
            disk_put(&mine, kit_batch(w, batch, topic), 1);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (uint32_t done = 0; done < count; done += batch)
        blob_drop(kit_batch(w, batch, topic));
}

struct counts {
    uint64_t topics, messages, newest;
};

static void
count_topic(void *ctx, struct str name, uint64_t count, uint64_t newest)
{
    struct counts *c = ctx;
    assert_true(str_starts(name, STR("t")));
    c->topics++;
    c->messages += count;
    c->newest = newest > c->newest ? newest : c->newest;
}

/* Without it kill -9 loses what was acknowledged, or topics are counted wrong. */
static void
a_crash_loses_nothing_that_was_committed(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(77);
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    for (int round = 1; round <= 3; round++) {
        struct counts c = {0};
        die_after(&d, &a, 5000, 10, "t/");
        disk_start(&d);
        assert_int_equal(d.found->lsn, 5000 * round);
        assert_true(hash128_eq(d.found->stream[0].chain, a.chain));
        store_topics(d.s, count_topic, &c);
        assert_int_equal(c.topics, 5000 * round);
        assert_int_equal(c.messages, 5000 * round);
        assert_int_equal(c.newest, 5000 * round);
        if (round == 2)
            for (int i = 0; i < 6; i++)
                store_tend(d.s, true);
        disk_stop(&d);
    }
    disk_start(&d);
    disk_close(&d);
}

/* Without it a large journal keeps a broker from coming back at once. */
static void
a_million_messages_open_at_once_after_a_crash(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(77);
    struct counts c = {0};
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    die_after(&d, &a, MANY, 1024, "t");
    assert_true(disk_bytes(&d, "-wal") > 100000);
    double before = kit_seconds();
    disk_start(&d);
    struct read  read   = {.lsn_last = MANY, .bytes_max = 1};
    struct page *oldest = disk_read(&d, &read);
    read.lsn            = MANY;
    struct page *newest = disk_read(&d, &read);
    double       took   = kit_seconds() - before;
    assert_int_equal(d.found->lsn, MANY);
    assert_int_equal(oldest->entry[0].mark.seq, 1);
    assert_int_equal(newest->entry[0].mark.seq, MANY);
    store_topics(d.s, count_topic, &c);
    assert_int_equal(c.messages, MANY);
    if (took > 0.5)
        fail_msg("%.3f s", took);
    page_drop(oldest);
    page_drop(newest);
    disk_close(&d);
}

/* ---- failing disks ---- */

static int
failing_at(int k)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(6);
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 3, "told/"), 1);
    struct batch        *lost = kit_batch_with(&b, 50, "tlost/", 300, NULL, 0);
    struct commit        c[]  = {{.kind = COMMIT_BATCH, .batch = lost}, {.kind = COMMIT_PROBE}};
    struct commit_result r[2];
    kit_writes_left = k;
    disk_commit(&d, c, 1, 2, r);
    kit_writes_left = -1;
    enum err failed = r[0].err;
    if (failed != ERR_OK) {
        disk_commit(&d, c, 2, 2, r);
        assert_int_equal(r[0].err, ERR_FULL);
        assert_int_equal(r[1].err, ERR_OK);
        /* The topic's id is free again, the stream has no head. */
        struct writer anew = kit_writer(6);
        assert_int_equal(disk_put(&d, kit_batch(&anew, 2, "tnew/"), 3), 4);
    }
    blob_drop(lost);
    for (int round = 0; round < 2; round++) {
        struct counts n = {0};
        store_topics(d.s, count_topic, &n);
        assert_int_equal(n.topics, failed == ERR_OK ? 53 : 5);
        assert_int_equal(n.messages, n.topics);
        struct read  read = {.lsn_last = n.topics, .bytes_max = TAIL, .batches = true};
        struct page *p    = disk_read(&d, &read);
        assert_int_equal(p->count, 2);
        page_drop(p);
        disk_stop(&d);
        disk_start(&d);
    }
    disk_close(&d);
    return failed == ERR_OK;
}

/* Without it a write that fails midway leaves half a commit, on disk or in memory. */
static void
any_write_may_fail(void **state)
{
    (void)state;
    int k = 0;
    while (!failing_at(k))
        assert_true(++k < 100);
    assert_true(k > 5);
}

/* Without it a broker goes on after the kernel dropped what was not synced. */
static void
a_failed_fsync_ends_the_process(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5);
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 3, "t"), 1);
    disk_stop(&d);
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        pid_t child = fork();
        if (child == 0) {
            struct disk mine = d;
            dup2(open("/dev/null", O_WRONLY), 2);
            disk_start(&mine);
            if (checkpoint) {
                disk_put(&mine, kit_batch(&a, 1, "t"), 1);
                store_tend(mine.s, true);
            }
            kit_fsync_errno = EIO;
            if (checkpoint)
                store_tend(mine.s, true);
            else
                disk_put(&mine, kit_batch(&a, 1, "t"), 1);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
    }
    disk_start(&d);
    assert_true(d.found->lsn >= 3);
    disk_close(&d);
}

/* Without it an acknowledgement means less than on disk, or a commit costs two syncs. */
static void
a_commit_is_one_fsync(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(6);
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    for (int i = 0; i < 50; i++) {
        struct batch        *one = kit_batch(&a, 100, "t"), *two = kit_batch(&b, 1, "u");
        struct commit        c[] = {{.kind = COMMIT_BATCH, .batch = one},
                                    {.kind = COMMIT_ELECTION, .epoch = 2},
                                    {.kind = COMMIT_BATCH, .batch = two}};
        struct commit_result r[3];
        int                  before = kit_fsyncs;
        disk_commit(&d, c, 3, 1, r);
        assert_int_equal(r[2].err, ERR_OK);
        assert_int_equal(kit_fsyncs - before, 1);
        blob_drop(one);
        blob_drop(two);
    }
    disk_close(&d);
}

/* Without it the last free bytes go to messages, and nothing can be cleaned up. */
static void
below_the_reserve_batches_are_refused(void **state)
{
    struct disk          d;
    struct writer        a        = kit_writer(5);
    struct commit        probe    = {.kind = COMMIT_PROBE};
    struct commit        election = {.kind = COMMIT_ELECTION, .epoch = 3};
    struct commit_result r;
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    d.reserve_bytes = SIZE_MAX / 2;
    disk_start(&d);
    disk_commit(&d, &election, 1, 1, &r);
    assert_int_equal(r.err, ERR_OK);
    struct commit c = {.kind = COMMIT_BATCH, .batch = kit_batch(&a, 1, "t")};
    disk_commit(&d, &c, 1, 1, &r);
    assert_int_equal(r.err, ERR_FULL);
    disk_commit(&d, &probe, 1, 1, &r);
    assert_int_equal(r.err, ERR_FULL);
    blob_drop(c.batch);
    disk_stop(&d);
    disk_start(&d);
    assert_int_equal(d.found->epoch, 3);
    assert_int_equal(d.found->lsn, 0);
    disk_close(&d);
}

/* Without it what is acknowledged goes to a file without a name, and is gone at the end. */
static void
a_file_that_was_moved_away_takes_nothing(void **state)
{
    struct disk          d;
    struct writer        a     = kit_writer(5);
    struct commit        probe = {.kind = COMMIT_PROBE};
    struct commit_result r;
    char                 path[128], aside[128];
    (void)state;
    disk_open(&d, false);
    disk_path(&d, "", path);
    disk_path(&d, "-aside", aside);
    assert_int_equal(rename(path, aside), 0);
    struct commit c = {.kind = COMMIT_BATCH, .batch = kit_batch(&a, 1, "t")};
    disk_commit(&d, &c, 1, 1, &r);
    assert_int_equal(r.err, ERR_FULL);
    disk_commit(&d, &probe, 1, 1, &r);
    assert_int_equal(r.err, ERR_FULL);
    assert_int_equal(rename(aside, path), 0);
    disk_commit(&d, &probe, 1, 1, &r);
    assert_int_equal(r.err, ERR_OK);
    disk_commit(&d, &c, 1, 1, &r);
    assert_int_equal(r.err, ERR_OK);
    blob_drop(c.batch);
    disk_close(&d);
}

/* ---- beside the writer ---- */

struct watcher {
    struct disk   *d;
    _Atomic size_t lsn; /* known to be persisted */
    const char    *wrong;
};

static void *
watch(void *arg)
{
    struct watcher *w = arg;
    for (uint64_t lsn = 1; lsn <= 3000 && !w->wrong;) {
        struct read  read = {.lsn = lsn, .lsn_last = w->lsn, .bytes_max = 3000};
        struct page *p    = NULL;
        if (store_read(w->d->r, &read, &p) != ERR_OK) {
            w->wrong = "a read fails";
            break;
        }
        for (uint32_t i = 0; i < p->count; i++)
            if (p->entry[i].lsn != lsn + i || p->entry[i].lsn > read.lsn_last)
                w->wrong = "entries are not in order";
        if (p->lsn_next != lsn + p->count)
            w->wrong = "a hole";
        lsn = p->lsn_next;
        page_drop(p);
    }
    return NULL;
}

/* Without it history fails or tears while messages come in. */
static void
a_reader_beside_the_writer_sees_a_prefix(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5);
    pthread_t     thread;
    (void)state;
    disk_open(&d, false);
    struct watcher w = {.d = &d};
    assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
    for (int i = 0; i < 300; i++) {
        disk_put(&d, kit_batch(&a, 10, "t"), i);
        w.lsn = (size_t)(i + 1) * 10;
        if (i % 50 == 0)
            store_tend(d.s, true);
    }
    pthread_join(thread, NULL);
    if (w.wrong)
        fail_msg("%s", w.wrong);
    disk_close(&d);
}

static void
put_mib(struct disk *d, struct writer *w, uint32_t mib)
{
    for (uint32_t i = 0; i < 8 * mib; i++)
        disk_put(d, kit_batch_with(w, 120, "t", 1000, NULL, 0), 1);
}

/* Without it a reader in the way for a moment costs as much disk again as the WAL takes. */
static void
a_reader_in_the_way_once_costs_little(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5);
    sqlite3      *db;
    char          path[128];
    (void)state;
    disk_open(&d, false);
    put_mib(&d, &a, 1);
    disk_path(&d, "", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT lsn FROM messages", 0, 0, 0), SQLITE_OK);
    while (disk_bytes(&d, "-wal") < 36 * MIB)
        put_mib(&d, &a, 1);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    put_mib(&d, &a, 64);
    assert_in_range(disk_bytes(&d, "-wal"), 36 * MIB, 46 * MIB);
    sqlite3_close(db);
    disk_close(&d);
}

struct busy_reader {
    pthread_t            thread;
    struct store_reader *r;
    _Atomic bool        *stop;
};

static void *
read_on(void *arg)
{
    struct busy_reader *b = arg;
    for (struct read read = {.lsn_last = 1000, .bytes_max = 1 << 20}; !*b->stop;) {
        struct page *p = NULL;
        if (store_read(b->r, &read, &p) == ERR_OK)
            page_drop(p);
    }
    return NULL;
}

/* Without it readers that take turns leave no moment for the WAL to begin anew. */
static void
readers_that_never_rest_cost_no_wal(void **state)
{
    enum { READERS = 4 };
    struct disk        d;
    struct writer      a    = kit_writer(5);
    _Atomic bool       stop = false;
    struct busy_reader b[READERS];
    (void)state;
    disk_open(&d, false);
    put_mib(&d, &a, 1);
    for (int i = 0; i < READERS; i++) {
        b[i].stop = &stop;
        assert_int_equal(store_reader_open(&b[i].r, d.s), ERR_OK);
        assert_int_equal(pthread_create(&b[i].thread, NULL, read_on, &b[i]), 0);
    }
    for (int i = 0; i < 8; i++) { /* what is copied meanwhile does not put it off */
        put_mib(&d, &a, 13);
        store_tend(d.s, false);
    }
    stop = true;
    for (int i = 0; i < READERS; i++) {
        pthread_join(b[i].thread, NULL);
        store_reader_close(b[i].r);
    }
    assert_in_range(disk_bytes(&d, "-wal"), 32 * MIB, 38 * MIB);
    disk_close(&d);
}

/* What another process finds: is a byte of the file locked? */
static bool
is_locked(const struct disk *d, const char *suffix, off_t at)
{
    pid_t child = fork(); /* to close a file here would drop our own locks */
    if (child == 0) {
        char         path[128];
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
        disk_path(d, suffix, path);
        int fd = open(path, O_RDWR);
        _exit(fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 ? 2 : lock.l_type != F_UNLCK);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 1;
}

/* Without it who runs sqlite3 beside the broker cuts the index of the WAL under its feet: it
 * dies, or its file is torn. */
static void
others_see_that_the_file_is_in_use(void **state)
{
    enum { DEAD_MAN_SWITCH = 128 }; /* of -shm: shared by all that have it open */
    struct disk   d;
    struct writer a = kit_writer(1);
    char          out[512];
    (void)state;
    disk_open(&d, false);
    for (int round = 0; round < 2; round++) {
        assert_true(is_locked(&d, "-shm", DEAD_MAN_SWITCH));
        disk_put(&d, kit_batch(&a, 1, "t"), 1);
        shell(&d, "select count(*) from log", out);
        store_tend(d.s, true);
        store_look(d.s);
        assert_true(is_locked(&d, "-shm", DEAD_MAN_SWITCH));
        disk_stop(&d);
        disk_start(&d);
    }
    disk_close(&d);
}

/* Without it a user cannot SELECT from the log while the broker runs. */
static void
the_views_show_the_log(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(0xabc), b = kit_writer(1);
    char          out[512];
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch_with(&a, 2, "stocks", 6, NULL, 0), 1);
    for (int round = 0; round < 2; round++) {
        shell(&d, "select * from log where lsn = 2", out);
        assert_string_equal(out, "2|stocks|host:3000|0000000000000abc-2|2|"
                                 "2023-11-14T22:13:20.001Z|message|"
                                 "content-type: text/plain\nmeta-a: b|2:xxxx\n");
        for (int i = 0; i < 6; i++) /* from messages alone, then from the snapshot too */
            store_tend(d.s, true);
    }
    assert_true(disk_bytes(&d, "-wal") == 0);
    b.lamport = 2;
    disk_put(&d, kit_batch(&b, 1, "stocks"), 1); /* as old, but of a lower stream */
    disk_put(&d, kit_batch(&b, 1, "news"), 1);
    shell(&d, "select topic, origin, id, lamport, time from latest", out);
    assert_string_equal(out, "news|host:3000|0000000000000001-2|3|2023-11-14T22:13:20.003Z\n"
                             "stocks|host:3000|0000000000000abc-2|2|2023-11-14T22:13:20.001Z\n");
    shell(&d, "select count(*) from lag; pragma integrity_check", out);
    assert_string_equal(out, "0\nok\n");
    disk_close(&d);
}

/* Without it a person takes a gap for a message, or a late one for any other. */
static void
the_log_says_what_kind_a_row_is(void **state)
{
    struct disk          d;
    struct writer        a     = kit_writer(1);
    struct msg           gone  = {.flags = MSG_DIGEST_ONLY, .digest = {{1}}};
    struct batch_parts   parts = {.stream        = 2,
                                  .first         = 1,
                                  .lamport_first = 1,
                                  .origin        = STR("h:1"),
                                  .msg           = &gone,
                                  .count         = 1};
    struct commit        late  = {.kind = COMMIT_BATCH, .late = true};
    struct commit_result r;
    char                 out[512];
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    disk_put(&d, kit_gap(&a, 99, NULL, 0), 1);
    late.batch = kit_batch(&a, 1, "t");
    disk_commit(&d, &late, 1, 1, &r);
    blob_drop(late.batch);
    disk_put(&d, batch_make(&parts), 1);
    shell(&d, "select lsn, id, topic, kind from log", out);
    assert_string_equal(out, "1|0000000000000001-1|t|message\n"
                             "2|0000000000000001-2..99||gap\n"
                             "3|0000000000000001-100|t|late\n"
                             "4|0000000000000002-1||removed\n");
    disk_close(&d);
}

static void
tell_known(struct disk *d, uint16_t port, const struct mark *mark, uint32_t count)
{
    struct known_vector *known = blob_new(sizeof *known + count * sizeof *mark);
    struct commit        c     = {.kind = COMMIT_KNOWN, .known = known};
    struct commit_result r;
    known->addr  = (struct addr){4, {127, 0, 0, 1}, port};
    known->count = count;
    if (count > 0)
        memcpy(known->at, mark, count * sizeof *mark);
    disk_commit(d, &c, 1, 1, &r);
    assert_int_equal(r.err, ERR_OK);
    blob_drop(known);
}

/* Without it nobody sees which peer is behind, or sees what it had long ago. */
static void
the_lag_of_peers_is_shown(void **state)
{
    struct disk          d;
    struct writer        a = kit_writer(1), b = kit_writer(2), c = kit_writer(3);
    struct commit_result r;
    char                 out[512];
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 10, "t"), 1);
    disk_put(&d, kit_batch(&b, 10, "t"), 1);
    disk_put(&d, kit_batch(&c, 10, "t"), 1);
    struct member_list *list = blob_new(sizeof *list + 2 * sizeof list->at[0]);
    list->count              = 2;
    list->at[0]              = (struct member_info){.addr = {4, {127, 0, 0, 1}, 3000}};
    list->at[1]              = (struct member_info){.addr = {4, {127, 0, 0, 1}, 3001}};
    struct commit roster     = {.kind = COMMIT_MEMBERS, .members = list};
    disk_commit(&d, &roster, 1, 1, &r);
    blob_drop(list);
    static const struct {
        const char *has; /* of streams 1, 2, 3 */
        struct mark mark[3];
        uint32_t    count;
    } row[] = {{"4,0,10", {{3, 10}, {1, 4}}, 2},       {"4,0,10", {{1, 4}, {3, 10}}, 2},
               {"5,6,7", {{1, 5}, {2, 6}, {3, 7}}, 3}, {"0,8,0", {{2, 8}}, 1},
               {"1,9,2", {{3, 2}, {2, 9}, {1, 1}}, 3}, {NULL, {{0}}, 0}};
    tell_known(&d, 3001, row[0].mark, 2);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        tell_known(&d, 3000, row[i].mark, row[i].count);
        shell(&d, "select group_concat(has) from lag where peer = '127.0.0.1:3000'", out);
        assert_int_equal(strncmp(out, row[i].has ? row[i].has : "", row[i].has ? 5 : 0), 0);
        shell(&d, "select count(*) from vectors where addr = '127.0.0.1:3000'", out);
        assert_int_equal(atoi(out), row[i].count);
    }
    shell(&d, "select peer, origin, stream, head, has, behind from lag", out);
    assert_string_equal(out, "127.0.0.1:3001|host:3000|0000000000000001|10|4|6\n"
                             "127.0.0.1:3001|host:3000|0000000000000002|10|0|10\n"
                             "127.0.0.1:3001|host:3000|0000000000000003|10|10|0\n");
    disk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(files_that_are_not_ours_are_refused),
        cmocka_unit_test(what_cannot_be_written_says_what_to_do),
        cmocka_unit_test(files_are_not_for_everybody),
        cmocka_unit_test(a_corrupt_file_is_put_aside),
        cmocka_unit_test(a_wal_without_its_file_is_put_aside),
        cmocka_unit_test(a_crash_loses_nothing_that_was_committed),
        cmocka_unit_test(a_million_messages_open_at_once_after_a_crash),
        cmocka_unit_test(any_write_may_fail),
        cmocka_unit_test(a_failed_fsync_ends_the_process),
        cmocka_unit_test(a_commit_is_one_fsync),
        cmocka_unit_test(below_the_reserve_batches_are_refused),
        cmocka_unit_test(a_file_that_was_moved_away_takes_nothing),
        cmocka_unit_test(a_reader_beside_the_writer_sees_a_prefix),
        cmocka_unit_test(a_reader_in_the_way_once_costs_little),
        cmocka_unit_test(readers_that_never_rest_cost_no_wal),
        cmocka_unit_test(others_see_that_the_file_is_in_use),
        cmocka_unit_test(the_views_show_the_log),
        cmocka_unit_test(the_log_says_what_kind_a_row_is),
        cmocka_unit_test(the_lag_of_peers_is_shown),
    };
    return cmocka_run_group_tests_name("store on a disk", test, NULL, NULL);
}
