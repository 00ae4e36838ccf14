/* What stands in one place of broker.db alone, flipped. */
#include "tests/store_kit.h"

enum { DEPS = 200, BODY = 1000000 };

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
        assert_int_equal(disk_execute(&d, wound[i]), 1);
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
