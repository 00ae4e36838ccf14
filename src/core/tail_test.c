#include "core/tail.h"

#include "tests/core_kit.h"

/* Broken when a reader in memory gets another message than the log has at this lsn. */
static void
finds_the_batch_of_an_lsn(void **state)
{
    (void)state;
    enum { BATCHES = 100, BEFORE = 6 }; /* the ring grows once */
    static const uint32_t size[] = {1, 3, 2, 5};
    struct tail           t;
    struct writer         w = writer_of(7);
    tail_init(&t, BEFORE + 1, SIZE_MAX);
    assert_null(tail_at(&t, BEFORE));
    assert_null(tail_at(&t, BEFORE + 1));
    for (uint32_t i = 0; i < BATCHES; i++) {
        struct batch *b = write_batch(&w, (struct writing){.count = size[i % 4]});
        tail_push(&t, b, i % 2);
        blob_drop(b);
    }
    assert_null(tail_at(&t, BEFORE));
    assert_null(tail_at(&t, t.lsn_end));
    for (uint64_t lsn = BEFORE + 1; lsn < t.lsn_end; lsn++) {
        const struct tail_item *it = tail_at(&t, lsn);
        assert_non_null(it);
        assert_in_range(lsn, it->lsn, it->lsn + it->batch->count - 1);
        assert_int_equal(it->batch->first, it->lsn - BEFORE); /* seq and lsn run together */
        assert_int_equal(it->late, it->batch->count != 1 && it->batch->count != 2);
    }
    assert_ptr_equal(tail_item(&t, BATCHES - 1), tail_at(&t, t.lsn_end - 1));
    tail_fini(&t);
    assert_int_equal(blob_bytes_used(), 0);
}

static void
push(struct tail *t, struct writer *w, size_t body_n)
{
    struct batch *b = write_batch(w, (struct writing){.body_n = body_n});
    tail_push(t, b, false);
    blob_drop(b);
}

/* Broken when it grows beyond its budget, or drops what it says it has. */
static void
is_bounded_by_bytes(void **state)
{
    (void)state;
    struct tail   t;
    struct writer w     = writer_of(7);
    struct batch *first = write_batch(&w, (struct writing){.body_n = 1000});
    size_t        bytes = batch_bytes(first);
    tail_init(&t, 1, 4 * bytes);
    tail_push(&t, first, false);
    blob_drop(first);
    for (int i = 0; i < 200; i++) {
        push(&t, &w, 1000);
        assert_true(t.bytes <= 4 * bytes);
        assert_int_equal(t.bytes, blob_bytes_used());
    }
    assert_int_equal(t.lsn_end, 202);
    assert_true(t.count >= 3);
    assert_int_equal(t.lsn_first, 202 - t.count);
    assert_null(tail_at(&t, t.lsn_first - 1));
    assert_int_equal(tail_at(&t, t.lsn_first)->batch->first, t.lsn_first);
    tail_set_max(&t, 2 * bytes); /* less, from now on */
    assert_true(t.bytes <= 2 * bytes && t.count > 0);
    assert_int_equal(t.bytes, blob_bytes_used());
    tail_set_max(&t, 0);
    assert_int_equal(t.count, 1);
    assert_non_null(tail_at(&t, 201));
    tail_set_max(&t, 4 * bytes);
    push(&t, &w, 5 * bytes); /* larger than all that it may: it is about to be delivered */
    assert_int_equal(t.count, 1);
    assert_int_equal(t.lsn_first, 202);
    assert_non_null(tail_at(&t, 202));
    tail_trim(&t, 0);
    assert_int_equal(blob_bytes_used(), 0);
    assert_int_equal(t.lsn_first, 203);
    assert_null(tail_at(&t, 202));
    push(&t, &w, 10); /* and it begins anew */
    assert_int_equal(tail_at(&t, 203)->batch->first, 203);
    tail_fini(&t);
}

/* Broken when readers in memory are given what retention took, or lose what it left. */
static void
what_is_gone_from_the_log_is_gone_here(void **state)
{
    (void)state;
    struct tail   t;
    struct writer w = writer_of(7);
    tail_init(&t, 1, SIZE_MAX);
    for (int i = 0; i < 10; i++)
        push(&t, &w, 10);
    tail_drop_below(&t, 4);
    assert_null(tail_at(&t, 3));
    assert_int_equal(tail_at(&t, 4)->batch->first, 4);
    assert_int_equal(t.lsn_first, 4);
    tail_drop_below(&t, 100);
    assert_int_equal(t.count, 0);
    assert_int_equal(t.lsn_first, 11);
    assert_int_equal(blob_bytes_used(), 0);
    tail_fini(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_batch_of_an_lsn),
        cmocka_unit_test(is_bounded_by_bytes),
        cmocka_unit_test(what_is_gone_from_the_log_is_gone_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
