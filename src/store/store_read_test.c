/* Where a log begins: what is lost at its front is told, as it is anywhere else. */
#include "store/store.h"

#include "tests/store_kit.h"

enum { BATCHES = 4, MESSAGES = 3 };

/* How many messages are told of, and how many of them as gone. */
static void
count(struct disk *d, struct read read, uint64_t *told, uint64_t *gone)
{
    read.lsn_last  = BATCHES * MESSAGES;
    read.bytes_max = 1 << 20;
    *told = *gone  = 0;
    struct page *p = disk_read(d, &read);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct entry *e    = &p->entry[i];
        uint64_t            lost = e->gap_to != 0 ? e->gap_to - e->mark.seq + 1 : 0;
        *gone += lost;
        *told += lost > 0 ? lost : 1;
    }
    assert_int_equal(p->lsn_next, read.lsn_last + 1);
    page_drop(p);
}

/* Without it the log seems to begin behind what is lost, and nobody hears of that. */
static void
what_is_lost_at_the_front_is_told(void **state)
{
    static const struct {
        const char *sql;
        uint32_t    gone;
    } wound[] = {
        {"DELETE FROM messages WHERE lsn = 1", 1},
        {"DELETE FROM messages WHERE lsn <= 3", 3},
        {"DELETE FROM messages WHERE lsn <= 4", 4},
        {"UPDATE messages SET lsn = 4000000 WHERE lsn = 1", 1},
        /* not believed: it does not reach up to what is there */
        {"DELETE FROM messages WHERE lsn = 1; UPDATE batches SET lsn = -70 WHERE lsn = 4", 4},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct writer w[] = {kit_writer(0x1111), kit_writer(0x2222)};
        struct disk   d;
        uint64_t      told, gone;
        disk_open(&d, false);
        for (uint32_t k = 0; k < BATCHES; k++)
            disk_put(&d, kit_batch(&w[k % 2], MESSAGES, "t"), 1000 + k);
        assert_true(disk_execute(&d, wound[i].sql) > 0);
        count(&d, (struct read){.lsn = 1}, &told, &gone);
        assert_int_equal(told, BATCHES * MESSAGES);
        assert_int_equal(gone, wound[i].gone);
        count(&d, (struct read){.lsn = 1, .start = READ_AT_VECTOR}, &told, &gone);
        assert_int_equal(told, BATCHES * MESSAGES);
        disk_close(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_lost_at_the_front_is_told),
    };
    kit_quiet();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
