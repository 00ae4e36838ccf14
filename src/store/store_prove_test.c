/* What stands in one place of broker.db alone, flipped. */
#include "tests/store_kit.h"

#include <sqlite3.h>

enum { DEPS = 200, BODY = 1000000 };

static void
execute(const struct disk *d, const char *sql)
{
    sqlite3 *db;
    char     path[128];
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 1000);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
}

/* Without it a flipped bit of many deps, or one of an origin, is given up beside a big message. */
static void
one_bit_is_flipped_back(void **state)
{
    static const char *const wound[] = {
        "UPDATE batches SET deps = CAST(substr(deps, 1, length(deps) - 1) || x'0b' AS BLOB)"
        " WHERE first = 1",
        "UPDATE streams SET origin = 'hosu:3000'",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct disk   d;
        struct writer w = kit_writer(0x5555);
        struct mark   deps[DEPS];
        struct page  *p;
        for (uint32_t k = 0; k < DEPS; k++)
            deps[k] = (struct mark){0x6000 + k, 9};
        disk_open(&d, false);
        uint64_t lsn = disk_put(&d, kit_batch_with(&w, 1, "t", BODY, deps, DEPS), 1000);
        disk_put(&d, kit_batch(&w, 1, "t"), 1001);
        execute(&d, wound[i]);
        struct read read = {.lsn = lsn, .lsn_last = lsn, .batches = true, .bytes_max = 1 << 20};
        assert_int_equal(store_read(d.r, &read, &p), ERR_OK);
        assert_int_equal(p->count, 1);
        assert_int_equal(p->damage_count, 1);
        assert_int_equal(p->batch[0]->count, 1);
        assert_int_equal(p->batch[0]->deps_count, DEPS);
        assert_memory_equal(p->batch[0]->deps, deps, sizeof deps);
        assert_true(str_eq(p->batch[0]->origin, STR("host:3000")));
        page_drop(p);
        disk_close(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bit_is_flipped_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
