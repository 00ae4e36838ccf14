/* What streams that are long over cost those who read. */
#include "store/store_reader.h"

#include "base/limits.h"
#include "tests/store_kit.h"

enum { TAIL = 1000000, MANY = 20000 };

/* Steps of SQLite's machine that a read took: a measure that no other program disturbs. */
static int
steps_of(struct disk *d, const struct read *read, struct page **p)
{
    int steps = 0;
    for (int i = 0; i < READING_COUNT; i++)
        sqlite3_stmt_status(d->r->sql[i], SQLITE_STMTSTATUS_VM_STEP, 1);
    *p = disk_read(d, read);
    for (int i = 0; i < READING_COUNT; i++)
        steps += sqlite3_stmt_status(d->r->sql[i], SQLITE_STMTSTATUS_VM_STEP, 1);
    return steps;
}

/* Without it each client that resumes by a cursor waits for tens of thousands of streams to be
 * looked through that retired long ago. */
static void
streams_that_retired_cost_readers_nothing(void **state)
{
    struct disk       d;
    struct writer     a = kit_writer(5), b = kit_writer(1000000);
    struct mark       has[]   = {{5, 2}};
    const struct read place[] = {
        {.start = READ_AT_VECTOR, .have = {has, 1, 1}, .lsn_last = 5, .bytes_max = TAIL},
        {.start = READ_SINCE, .since = {0}, .lsn_last = 5, .bytes_max = TAIL},
    };
    int          before[2];
    struct page *p;
    char         sql[512];
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 3, "a/"), 1);
    disk_put(&d, kit_batch(&b, 2, "b/"), 2);
    for (int i = 0; i < 2; i++) {
        before[i] = steps_of(&d, &place[i], &p);
        page_drop(p);
    }
    disk_stop(&d);
    snprintf(sql, sizeof sql,
             "WITH n(i) AS (VALUES (100) UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO streams SELECT i, 'h:1', 1, zeroblob(16), 1, 0, 10000, 1, zeroblob(16),"
             " 1, NULL, 2, 0 FROM n",
             100 + MANY);
    disk_execute(&d, sql);
    disk_start(&d);
    for (int i = 0; i < 2; i++) {
        int steps = steps_of(&d, &place[i], &p);
        assert_true(steps <= before[i]);
        assert_int_equal(p->count, i == 0 ? 3 : 5);
        assert_int_equal(p->lsn_first, i == 0 ? 3 : 1);
        page_drop(p);
    }
    disk_close(&d);
}

/* Without it a stream is passed over by readers for good once it was thought to be over. */
static void
a_stream_that_retires_and_goes_on_is_read_again(void **state)
{
    struct disk   d;
    struct writer a    = kit_writer(5);
    struct mark   has  = {5, 3};
    struct read   read = {
          .start = READ_AT_VECTOR, .have = {&has, 1, 1}, .lsn_last = 3, .bytes_max = TAIL};
    uint32_t retired = 0;
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 3, "a/"), 1);
    struct retention policy = {.age_ms = 10, .retire_ms = 1000};
    for (int i = 0; i < 3; i++) {
        struct retained *r = disk_retain(&d, &policy, 1500);
        retired += r ? r->retired_count : 0;
        retained_drop(r);
    }
    assert_int_equal(retired, 1);
    struct page *p = disk_read(&d, &read);
    assert_int_equal(p->count, 0);
    page_drop(p);
    disk_put(&d, kit_batch(&a, 2, "a/"), 1501);
    read.lsn_last = 5;
    p             = disk_read(&d, &read);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->entry[0].mark.seq, 4);
    page_drop(p);
    disk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(streams_that_retired_cost_readers_nothing),
        cmocka_unit_test(a_stream_that_retires_and_goes_on_is_read_again),
    };
    return cmocka_run_group_tests_name("store streams", test, NULL, NULL);
}
