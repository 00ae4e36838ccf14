/* Files that are put aside, and a WAL of which not all can be read. */
#include "store/store.h"

#include "base/trace.h"
#include "tests/store_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { HEAD = 32, FRAME = 24 + 4096 };

static void
scribble(const struct disk *d, const char *suffix, off_t at, size_t bytes)
{
    char path[128], junk[4096];
    memset(junk, 0x5a, sizeof junk);
    disk_path(d, suffix, path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, junk, bytes, at) == (ssize_t)bytes);
    close(fd);
}

/* The process dies; what it had committed stays. */
static void
commit_and_die(const struct disk *d, struct writer *w, uint32_t batches)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct disk mine = *d;
        disk_start(&mine);
        for (uint32_t i = 0; i < batches; i++)
            disk_put(&mine, kit_batch(w, 10, "t"), 1);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- the file ---- */

/* Without it a broker that was restarted while it waits for its peers serves as if what it has
 * were all. */
static void
a_new_file_waits_for_a_peer_until_it_is_told(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(1);
    (void)state;
    disk_open(&d, false);
    assert_false(store_is_rebuilding(d.s));
    disk_put(&d, kit_batch(&a, 500, "t"), 1);
    disk_stop(&d);
    disk_start(&d);
    assert_false(store_is_rebuilding(d.s));
    disk_stop(&d);
    scribble(&d, "", 0, 4096);
    for (int round = 0; round < 3; round++) {
        disk_start(&d);
        assert_int_equal(store_was_corrupt(d.s), round == 0);
        assert_true(store_is_rebuilding(d.s));
        if (round < 2)
            disk_stop(&d);
    }
    store_rebuilt(d.s);
    assert_false(store_is_rebuilding(d.s));
    disk_stop(&d);
    disk_start(&d);
    assert_false(store_is_rebuilding(d.s));
    disk_close(&d);
}

/* Without it a file that was found broken while it ran is opened once more. */
static void
a_condemned_file_is_put_aside(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(1);
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 500, "t"), 1);
    assert_int_equal(store_condemn(d.s), ERR_OK);
    assert_int_equal(disk_put(&d, kit_batch(&a, 5, "t"), 1), 501); /* until it ends */
    disk_stop(&d);
    long bytes = disk_bytes(&d, "");
    disk_start(&d);
    assert_true(store_was_corrupt(d.s) && store_is_rebuilding(d.s));
    assert_int_equal(d.found->lsn, 0);
    assert_int_equal(disk_bytes(&d, ".corrupt-1"), bytes);
    disk_stop(&d);
    disk_start(&d); /* once */
    assert_false(store_was_corrupt(d.s));
    disk_close(&d);
}

/* Without it a crash in the middle of all this loses the old file, or forgets what was to be
 * done. */
static void
a_crash_on_the_way_goes_on(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(1);
    char          from[128], to[128];
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    commit_and_die(&d, &a, 3); /* leaves a WAL */
    long wal = disk_bytes(&d, "-wal");
    assert_true(wal > 0);
    /* It had come as far as the first of two names. */
    disk_path(&d, "", from);
    disk_path(&d, ".corrupt-1", to);
    assert_int_equal(rename(from, to), 0);
    disk_start(&d);
    assert_true(store_was_corrupt(d.s) && store_is_rebuilding(d.s));
    assert_int_equal(disk_bytes(&d, ".corrupt-2-wal"), wal);
    assert_true(disk_bytes(&d, ".corrupt-1") > 0);
    disk_close(&d);
}

/* Without it a copy that was kept is overwritten by the next that is put aside. */
static void
no_copy_is_overwritten(void **state)
{
    enum { COPIES = 999 };
    struct disk d;
    char        path[128], suffix[32];
    (void)state;
    disk_open(&d, false);
    assert_int_equal(store_condemn(d.s), ERR_OK);
    disk_stop(&d);
    for (int i = 1; i <= COPIES; i++) {
        snprintf(suffix, sizeof suffix, ".corrupt-%d", i);
        disk_path(&d, suffix, path);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
        assert_true(fd >= 0);
        close(fd);
    }
    disk_refuses(&d, STR("hearsay"), ERR_IO, "move them away");
    assert_int_equal(disk_bytes(&d, suffix), 0);
    assert_true(disk_bytes(&d, "") > 0);
    assert_int_equal(unlink(path), 0);
    disk_start(&d);
    assert_true(store_was_corrupt(d.s));
    assert_true(disk_bytes(&d, suffix) > 0);
    disk_close(&d);
}

static long
root_of(const struct disk *d, const char *table)
{
    sqlite3      *db;
    sqlite3_stmt *q;
    char          path[128];
    disk_path(d, "", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    const char *sql = "SELECT rootpage FROM sqlite_master WHERE name = ?";
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    sqlite3_bind_text(q, 1, table, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    long page = (long)sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return page;
}

/* The second branch of a table's tree becomes the first once more. */
static void
lead_back(const struct disk *d, const char *table)
{
    enum { PAGE = 4096, INNER = 5, CELLS = 12 };
    uint8_t page[PAGE];
    char    path[128];
    off_t   at = (off_t)(root_of(d, table) - 1) * PAGE;
    disk_path(d, "", path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, page, PAGE, at) == PAGE);
    assert_int_equal(page[0], INNER);
    assert_true(page[4] >= 2);
    const uint8_t *cell   = page + CELLS;
    unsigned       first  = (unsigned)(cell[0] << 8 | cell[1]);
    unsigned       second = (unsigned)(cell[2] << 8 | cell[3]);
    assert_int_equal(pwrite(fd, page + first, 4, at + (off_t)second), 4);
    close(fd);
}

/* Without it a start goes round and round in what a lying disk left, or a stream with the lowest
 * of all keys passes for that. */
static void
a_table_of_streams_that_leads_back_is_put_aside(void **state)
{
    struct disk d;
    (void)state;
    disk_open(&d, false);
    for (uint64_t i = 0; i < 300; i++) {
        struct writer w = kit_writer(UINT64_C(1) << 63 | i * 1000);
        disk_put(&d, kit_batch(&w, 1, "t"), 1);
    }
    disk_stop(&d);
    disk_start(&d);
    assert_false(store_was_corrupt(d.s));
    assert_int_equal(d.found->stream_count, 300);
    disk_stop(&d);
    lead_back(&d, "streams");
    disk_start(&d);
    assert_true(store_was_corrupt(d.s));
    disk_close(&d);
}

/* ---- the WAL ---- */

static uint32_t complaints;

static void
count_complaints(void *ctx, enum trace_level level, const char *line)
{
    (void)ctx;
    complaints += level == TRACE_ERROR && strstr(line, "cannot be read") != NULL;
}

static void
die_and_flip(struct disk *d, struct writer *a, off_t at)
{
    disk_open(d, false);
    disk_stop(d);
    *a = kit_writer(1);
    commit_and_die(d, a, 8);
    assert_true(disk_bytes(d, "-wal") > at);
    if (at >= 0)
        scribble(d, "-wal", at, 8);
    complaints = 0;
    disk_start(d);
}

/* Without it what was acknowledged is lost in silence; or each crash is taken for a loss. */
static void
a_damaged_wal_is_told_and_kept(void **state)
{
    struct disk   d;
    struct writer a;
    (void)state;
    die_and_flip(&d, &a, -1);
    assert_int_equal(d.found->lsn, 80);
    assert_int_equal(complaints, 0);
    long whole = disk_bytes(&d, "-wal");
    disk_close(&d);
    /* In a page, in a frame's head (its salt too), in the header, in the very last page. */
    const off_t at[] = {
        HEAD + 12 * FRAME + 500, HEAD + 12 * FRAME + 2, HEAD + 12 * FRAME + 9, 8, 17, whole - 900};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        die_and_flip(&d, &a, at[i]);
        if (d.found->lsn >= 80)
            fail_msg("flip %zu at %ld of %ld is not noticed", i, (long)at[i], whole);
        assert_int_equal(complaints, 1);
        assert_int_equal(disk_bytes(&d, "-wal.damaged-1"), whole);
        disk_put(&d, kit_batch(&(struct writer){.stream = 9, .next = 1, .lamport = 1}, 3, "t"), 1);
        disk_stop(&d);
        complaints = 0;
        disk_start(&d);
        assert_int_equal(complaints, 0);
        disk_close(&d);
    }
}

/* Without it what is left of an older WAL, behind a newer one, is taken for a loss. */
static void
what_is_left_of_an_older_wal_is_no_loss(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(1);
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    pid_t child = fork();
    if (child == 0) {
        struct disk mine = d;
        disk_start(&mine);
        for (int i = 0; i < 30; i++) { /* it begins anew in between */
            disk_put(&mine, kit_batch_with(&a, 1000, "t", 900, NULL, 0), 1);
            if (i % 10 == 9)
                store_tend(mine.s, false);
        }
        disk_put(&mine, kit_batch(&a, 10, "t"), 1);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    complaints = 0;
    disk_start(&d);
    assert_int_equal(d.found->lsn, 30010);
    assert_int_equal(complaints, 0);
    disk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(a_new_file_waits_for_a_peer_until_it_is_told),
        cmocka_unit_test(a_condemned_file_is_put_aside),
        cmocka_unit_test(a_crash_on_the_way_goes_on),
        cmocka_unit_test(no_copy_is_overwritten),
        cmocka_unit_test(a_table_of_streams_that_leads_back_is_put_aside),
        cmocka_unit_test(a_damaged_wal_is_told_and_kept),
        cmocka_unit_test(what_is_left_of_an_older_wal_is_no_loss),
    };
    trace_set_sink(count_complaints, NULL);
    return cmocka_run_group_tests_name("aside", test, NULL, NULL);
}
