/* Files of other versions. */
#include "store/store.h"

#include "tests/store_kit.h"

#include <sqlite3.h>

enum { TAIL = 1000000 };

static void
run(sqlite3 *db, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
}

static sqlite3 *
open_file(const struct disk *d, const char *name)
{
    sqlite3 *db;
    char     path[128];
    snprintf(path, sizeof path, "%s/%s", d->dir, name);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

/* What a file is made of, but for the text of its tables: a column that was added later
 * has another text. */
static void
shape_of(sqlite3 *db, struct buf *out)
{
    static const char sql[] =
        "SELECT m.type || ' ' || m.name || ' ' || ifnull(iif(m.type = 'view', m.sql, ''), '') ||"
        " ifnull((SELECT group_concat(c.name || c.type || c.\"notnull\" || c.pk)"
        "         FROM pragma_table_info(m.name) c), '') FROM sqlite_schema m ORDER BY m.name";
    sqlite3_stmt *q;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        assert_int_equal(buf_add(out, str_of((const char *)sqlite3_column_text(q, 0))), ERR_OK);
        assert_int_equal(buf_add(out, STR("\n")), ERR_OK);
    }
    sqlite3_finalize(q);
}

/* Puts a file of version 1 with the same rows in the place of broker.db. */
static void
make_version_1(const struct disk *d)
{
    static const char *const table[] = {"meta",    "streams", "topics", "messages",
                                        "batches", "kept",    "peers",  "vectors"};
    static char              sql[16384];
    char                     old[128], new[128], command[512];
    FILE                    *f = fopen("tests/vectors/schema_1.sql", "r");
    assert_non_null(f);
    sql[fread(sql, 1, sizeof sql - 1, f)] = '\0';
    fclose(f);
    sqlite3 *db = open_file(d, "v1.db");
    run(db, "PRAGMA application_id = 1215460217; PRAGMA user_version = 1");
    run(db, sql);
    snprintf(command, sizeof command, "ATTACH '%s/broker.db' AS now", d->dir);
    run(db, command);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        sqlite3_stmt *q;
        snprintf(command, sizeof command,
                 "SELECT 'INSERT INTO %s SELECT ' || group_concat(name) || ' FROM now.%s'"
                 " FROM pragma_table_info('%s')",
                 table[i], table[i], table[i]);
        assert_int_equal(sqlite3_prepare_v2(db, command, -1, &q, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(q), SQLITE_ROW);
        run(db, (const char *)sqlite3_column_text(q, 0));
        sqlite3_finalize(q);
    }
    run(db, "INSERT INTO segments SELECT lsn_first, lsn_last, stamp, x'01' FROM now.segments");
    sqlite3_close(db);
    snprintf(old, sizeof old, "%s/v1.db", d->dir);
    snprintf(new, sizeof new, "%s/broker.db", d->dir);
    assert_int_equal(rename(old, new), 0);
}

/* Without it a new version loses or refuses what an older one wrote, or makes of it
 * something that the next version does not expect. */
static void
a_file_of_version_1_is_taken_over(void **state)
{
    struct disk   d, fresh;
    struct writer a = kit_writer(5), b = kit_writer(6);
    struct buf    shape[2];
    (void)state;
    disk_open(&d, false);
    struct batch *kept = kit_batch(&a, 5, "a/");
    blob_keep(kept);
    disk_put(&d, kept, 1);
    disk_put(&d, kit_batch(&b, 1000, "b"), 2);
    disk_stop(&d);
    make_version_1(&d);
    for (int round = 0; round < 2; round++) { /* migrated, then as it is */
        disk_start(&d);
        assert_int_equal(d.found->lsn, 1005);
        assert_int_equal(d.found->lsn_first, 1);
        assert_int_equal(d.found->stream_count, 2);
        assert_int_equal(d.found->stream[0].head, 5);
        assert_int_equal(d.found->stream[0].floor, 0);
        assert_int_equal(d.found->stream[0].waived, 0);
        struct read  read = {.lsn_last = 5, .bytes_max = TAIL, .batches = true};
        struct page *p    = disk_read(&d, &read);
        assert_true(p->count == 1 && kit_same(p->batch[0], kept));
        page_drop(p);
        disk_stop(&d);
    }
    disk_start(&d);
    assert_int_equal(disk_put(&d, kit_batch(&a, 1, "new"), 3), 1006);
    disk_stop(&d);

    disk_open(&fresh, false);
    disk_stop(&fresh);
    for (int i = 0; i < 2; i++) {
        sqlite3 *db = open_file(i ? &fresh : &d, "broker.db");
        buf_init(&shape[i], 0);
        shape_of(db, &shape[i]);
        run(db, "SELECT * FROM log; SELECT * FROM latest; SELECT * FROM lag");
        sqlite3_close(db);
    }
    assert_true(str_eq(buf_str(&shape[0]), buf_str(&shape[1])));
    assert_true(shape[0].n > 2000);
    buf_fini(&shape[0]);
    buf_fini(&shape[1]);
    blob_drop(kept);
    kit_folder_gone(d.dir);
    kit_folder_gone(fresh.dir);
}

/* Without it a crash on the way leaves a file that no version takes. */
static void
a_migration_that_fails_changes_nothing(void **state)
{
    struct disk             d;
    struct writer           a = kit_writer(5);
    struct store_config     config;
    struct store           *s = NULL;
    const struct recovered *found;
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 5, "a/"), 1);
    disk_stop(&d);
    make_version_1(&d);
    config         = (struct store_config){.dir = d.dir, .cluster = STR("hearsay")};
    uint32_t fails = 0;
    for (int k = 0; !s; k++) {
        struct buf problem;
        buf_init(&problem, 0);
        kit_writes_left = k;
        enum err e      = store_open(&s, &config, &found, &problem);
        kit_writes_left = -1;
        buf_fini(&problem);
        assert_true(e == ERR_OK || e == ERR_FULL || e == ERR_IO);
        fails += e != ERR_OK;
    }
    assert_true(fails > 3);
    assert_int_equal(found->lsn, 5);
    store_close(s);
    kit_folder_gone(d.dir);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(a_file_of_version_1_is_taken_over),
        cmocka_unit_test(a_migration_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests_name("store schema", test, NULL, NULL);
}
