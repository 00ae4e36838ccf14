#include "core/commits.h"

#include "core/page.h"
#include "tests/core_kit.h"

/* The store carries out what was added: its references go. */
static void
carry_out(struct out *out)
{
    for (uint32_t i = 0; i < out->count; i++)
        commit_drop(&out->at[i].persist);
    out_reset(out);
}

/* Broken when an answer of the store meets another commit than the one it is for. */
static void
commits_are_answered_in_the_order_of_their_ids(void **state)
{
    (void)state;
    enum { MANY = 200 }; /* the ring grows, and goes round */
    struct commits c;
    struct out     out;
    struct writer  w     = writer_of(7);
    uint64_t       taken = 0, added = 0;
    commits_init(&c);
    out_init(&out);
    while (taken < MANY) {
        for (int i = 0; i < 3 && added < MANY; i++) {
            commits_add(&c, &out,
                        &(struct pending){.commit = {.kind = COMMIT_BATCH},
                                          .batch  = write_one(&w),
                                          .serial = ++added});
            assert_int_equal(out.at[out.count - 1].kind, EFFECT_PERSIST);
            assert_int_equal(out.at[out.count - 1].persist.id, added);
            assert_int_equal(out.at[out.count - 1].persist.batch->first, added);
        }
        struct pending p = commits_take(&c, ++taken);
        assert_int_equal(p.commit.id, taken);
        assert_int_equal(p.serial, taken);
        assert_int_equal(p.batch->first, taken);
        blob_drop(p.batch);
        carry_out(&out);
    }
    assert_int_equal(c.count, 0);
    assert_int_equal(c.bytes, 0);
    commits_fini(&c);
    out_fini(&out);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when the budgets of own and foreign batches drift: intake stops for ever, or never. */
static void
what_waits_is_counted(void **state)
{
    (void)state;
    struct commits c;
    struct out     out;
    struct writer  w = writer_of(7);
    struct batch  *b = write_one(&w);
    commits_init(&c);
    out_init(&out);
    commits_add(&c, &out, &(struct pending){.commit = {.kind = COMMIT_PROBE}, .own = true});
    assert_int_equal(c.own, 0); /* not a batch */
    assert_int_equal(c.bytes, 0);
    commits_add(&c, &out, &(struct pending){.batch = again(b), .own = true});
    commits_add(&c, &out, &(struct pending){.batch = again(b)});
    assert_int_equal(c.own, 1);
    assert_int_equal(c.bytes, 2 * batch_bytes(b));
    assert_null(commits_take(&c, 1).batch);
    blob_drop(commits_take(&c, 2).batch);
    assert_int_equal(c.own, 0);
    assert_int_equal(c.bytes, batch_bytes(b));
    struct gap_list *gaps = blob_new(sizeof *gaps + 2 * sizeof(struct batch *));
    gaps->count           = 2;
    gaps->at[0] = gaps->at[1] = b;
    gap_list_keep(gaps);
    blob_drop(gaps); /* the one that it was made with */
    commits_add(&c, &out, &(struct pending){.commit = {.kind = COMMIT_GAPS}, .gaps = gaps});
    assert_int_equal(c.bytes, 3 * batch_bytes(b));
    carry_out(&out);
    blob_drop(b);
    assert_true(blob_bytes_used() > 0); /* one is still waiting */
    commits_fini(&c);
    out_fini(&out);
    assert_int_equal(blob_bytes_used(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_are_answered_in_the_order_of_their_ids),
        cmocka_unit_test(what_waits_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
