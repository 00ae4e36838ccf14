/* Where a gap ends: no digest covers what its row says. */
#include "store/store.h"

#include "tests/store_kit.h"

#include <sqlite3.h>

enum { STREAM = 0x1111, BEFORE = 2, GAP_LAST = 6, AFTER = 3 };

static void
execute(const struct disk *d, const char *text)
{
    sqlite3 *db;
    char     path[128];
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    sqlite3_close(db);
}

/* Two messages, a gap of four, and (`after`) three messages; the lsn of the last. */
static uint64_t
fill(struct disk *d, bool after)
{
    struct writer w   = kit_writer(STREAM);
    uint64_t      lsn = disk_put(d, kit_batch(&w, BEFORE, "t"), 1000) + BEFORE - 1;
    assert_int_equal(disk_put(d, kit_gap(&w, GAP_LAST, NULL, 0), 1001), ++lsn);
    if (after)
        lsn = disk_put(d, kit_batch(&w, AFTER, "t"), 1002) + AFTER - 1;
    return lsn;
}

/* Broken when a row that says too much of a gap makes a cursor pass over messages that are
 * there, or are yet to come; or one that says too little leaves messages that nobody tells. */
static void
a_gap_ends_where_the_next_batch_begins(void **state)
{
    static const char *const wound[] = {
        "UPDATE batches SET last = last + 32 WHERE flags & 4",
        "UPDATE batches SET last = last - 1 WHERE flags & 4",
        "UPDATE batches SET last = first WHERE flags & 4",
        "UPDATE messages SET seq = seq + 32 WHERE flags & 4",
        "UPDATE messages SET seq = seq - 1 WHERE flags & 4",
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof wound / sizeof *wound; i++) {
        bool        after = i % 2;
        struct disk d;
        disk_open(&d, false);
        uint64_t lsn_last = fill(&d, after);
        execute(&d, wound[i / 2]);
        struct read  read = {.lsn = BEFORE + 1, .lsn_last = lsn_last, .bytes_max = 1 << 20};
        struct page *p    = disk_read(&d, &read);
        assert_int_equal(p->count, after ? 1 + AFTER : 1);
        assert_int_equal(p->entry[0].mark.seq, BEFORE + 1);
        assert_int_equal(p->entry[0].gap_to, GAP_LAST);
        assert_int_equal(p->scanned_count, 1);
        assert_int_equal(p->scanned[0].seq, after ? GAP_LAST + AFTER : GAP_LAST);
        assert_int_equal(p->damage_count, 1);
        assert_int_equal(p->damage[0].last, GAP_LAST);
        for (uint32_t k = 1; k < p->count; k++)
            assert_int_equal(p->entry[k].mark.seq, GAP_LAST + k);
        page_drop(p);
        disk_close(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_ends_where_the_next_batch_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
