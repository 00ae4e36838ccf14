#include "store/store_marks.h"

#include "base/blob.h"
#include "core/batch.h"
#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

/* Without it a blob of broker.db is not read back as it was written. */
static void
marks_come_back(void **state)
{
    struct mark from[] = {{1, 0}, {2, 127}, {3, 128}, {INT64_MAX, INT64_MAX}}, to[4];
    uint32_t    count;
    struct buf  b;
    (void)state;
    buf_init(&b, 0);
    marks_encode(&b, from, 4);
    assert_int_equal(b.n, 1 + 4 * 8 + 1 + 1 + 2 + 9);
    assert_int_equal(marks_decode(buf_str(&b), NULL, &count), ERR_OK);
    assert_int_equal(count, 4);
    assert_int_equal(marks_decode(buf_str(&b), to, &count), ERR_OK);
    for (int i = 0; i < 4; i++)
        assert_true(to[i].stream == from[i].stream && to[i].seq == from[i].seq);
    buf_fini(&b);
}

/* Without it a damaged blob is read beyond its end, or taken for marks. */
static void
damaged_marks_are_refused(void **state)
{
    struct mark from[] = {{1, 5}, {2, 300}}, to[16];
    uint32_t    count;
    struct buf  b;
    (void)state;
    buf_init(&b, 0);
    marks_encode(&b, from, 2);
    for (size_t n = 0; n < b.n; n++) { /* in memory of exactly its size, for ASan */
        uint8_t *cut = malloc(n > 0 ? n : 1);
        memcpy(cut, b.p, n);
        assert_int_equal(marks_decode((struct str){cut, n}, to, &count), ERR_CORRUPT);
        free(cut);
    }
    assert_int_equal(buf_add(&b, STR("x")), ERR_OK);
    assert_int_equal(marks_decode(buf_str(&b), to, &count), ERR_CORRUPT);
    buf_reset(&b);
    struct mark twice[] = {{2, 1}, {2, 1}};
    marks_encode(&b, twice, 2);
    assert_int_equal(marks_decode(buf_str(&b), to, &count), ERR_CORRUPT);
    struct str endless = STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    struct str many    = STR("\xff\xff\xff\xff\x07");
    assert_int_equal(marks_decode(endless, to, &count), ERR_CORRUPT);
    assert_int_equal(marks_decode(many, to, &count), ERR_CORRUPT);
    buf_fini(&b);
}

/* Without it every batch from disk looks forged. */
static void
digests_and_chains_are_those_of_core(void **state)
{
    struct mark        deps[] = {{1, 5}, {2, 300}};
    struct msg         msg[]  = {{.topic = STR("a/b"), .headers = STR("x: y\n"), .body = STR("z")},
                                 {.topic = STR("c")}};
    struct batch_parts parts  = {.stream        = 9,
                                 .first         = 1,
                                 .lamport_first = 77,
                                 .wall          = {-5},
                                 .origin        = STR("h:1"),
                                 .deps          = deps,
                                 .deps_count    = 2,
                                 .msg           = msg,
                                 .count         = 2};
    struct batch      *b      = batch_make(&parts);
    struct buf         scratch;
    (void)state;
    buf_init(&scratch, 0);
    assert_true(hash128_eq(b->chain, marks_chain(b, &scratch)));
    assert_true(
        hash128_eq(b->msg[0].digest, marks_digest(msg[0].topic, msg[0].headers, msg[0].body)));
    buf_fini(&scratch);
    blob_drop(b);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(marks_come_back),
        cmocka_unit_test(damaged_marks_are_refused),
        cmocka_unit_test(digests_and_chains_are_those_of_core),
    };
    return cmocka_run_group_tests_name("store marks", test, NULL, NULL);
}
