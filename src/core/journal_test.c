#include "core/journal.h"

#include "base/prng.h"
#include "core/vector.h"
#include "tests/core_kit.h"

enum { TAIL = 1 << 20 };

static enum verdict
judge(struct journal *j, const struct batch *b)
{
    struct mark missing;
    return journal_judge(j, b, &missing, &(bool){0});
}

static enum verdict
judge_and_drop(struct journal *j, struct batch *b)
{
    enum verdict v = judge(j, b);
    blob_drop(b);
    return v;
}

/* ---- the store rule ---- */

/* Broken when a gap gets into a stream, or what is held already is stored again. */
static void
stores_the_next_of_a_stream_alone(void **state)
{
    (void)state;
    struct journal j;
    struct mark    missing = {0};
    struct writer  w       = writer_of(7);
    journal_init(&j, NULL, TAIL);
    struct batch *b1 = write_batch(&w, (struct writing){.count = 3});
    struct batch *b2 = write_batch(&w, (struct writing){.count = 2});
    struct batch *b3 = write_one(&w);

    assert_int_equal(journal_judge(&j, b3, &missing, &(bool){0}), VERDICT_WAIT);
    assert_int_equal(missing.stream, 7);
    assert_int_equal(missing.seq, 5);
    assert_int_equal(judge(&j, b1), VERDICT_STORE);
    journal_hand_over(&j, b1);
    assert_int_equal(journal_find(&j, 7)->held, 3);
    assert_int_equal(journal_find(&j, 7)->durable, 0);
    assert_int_equal(judge(&j, b1), VERDICT_DUPLICATE);
    assert_int_equal(judge(&j, b2), VERDICT_STORE); /* held counts, not durable */
    journal_hand_over(&j, b2);
    assert_int_equal(judge(&j, b1), VERDICT_DUPLICATE);
    assert_int_equal(judge(&j, b2), VERDICT_DUPLICATE);
    assert_int_equal(judge(&j, b3), VERDICT_STORE);
    journal_persist(&j, b1, 1, false);
    journal_persist(&j, b2, 4, false);
    assert_int_equal(j.lsn, 5);
    assert_vector(&j.durable, &VECTOR({7, 5}));
    assert_int_equal(j.stamp, 5);
    assert_true(str_eq(journal_find(&j, 7)->origin, STR("host:3000")));
    blob_drop(b1);
    blob_drop(b2);
    blob_drop(b3);
    journal_fini(&j);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when lsn order is no causal order any more: B is stored before A that it follows. */
static void
waits_for_what_a_batch_depends_on(void **state)
{
    (void)state;
    struct journal    j;
    struct mark       missing = {0};
    struct writer     a = writer_of(3), b = writer_of(5), c = writer_of(7);
    const struct mark deps[] = {{3, 1}, {5, 2}};
    journal_init(&j, NULL, TAIL);
    struct batch *c1 = write_batch(&c, (struct writing){.deps = deps, .deps_count = 2});
    assert_int_equal(journal_judge(&j, c1, &missing, &(bool){0}), VERDICT_WAIT);
    assert_int_equal(missing.stream, 3);
    journal_put(&j, write_one(&a));
    journal_put(&j, write_one(&b));
    assert_int_equal(journal_judge(&j, c1, &missing, &(bool){0}), VERDICT_WAIT);
    assert_int_equal(missing.stream, 5);
    assert_int_equal(missing.seq, 2);
    struct batch *b2 = write_one(&b);
    journal_hand_over(&j, b2); /* held is enough: the store keeps the order */
    assert_int_equal(judge(&j, c1), VERDICT_STORE);
    journal_roll_back(&j);
    assert_int_equal(judge(&j, c1), VERDICT_WAIT);
    blob_drop(b2);
    blob_drop(c1);
    journal_fini(&j);
}

/* Broken when two branches of one stream get mixed, or brokers disagree about which stays. */
static void
refuses_what_contradicts_the_log(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(7), early, fork, wide, old, chain;
    journal_init(&j, NULL, TAIL);
    journal_put(&j, write_batch(&w, (struct writing){.count = 2, .lamport = 50}));
    early = fork = wide = w;
    journal_put(&j, write_batch(&w, (struct writing){.count = 2}));

    /* The same seqs with other bytes, ending at the head. */
    assert_int_equal(
        judge_and_drop(&j, write_batch(&fork, (struct writing){.count = 2, .topic = "other"})),
        VERDICT_REFUSE);
    /* Overlaps the head. */
    assert_int_equal(judge_and_drop(&j, write_batch(&wide, (struct writing){.count = 3})),
                     VERDICT_REFUSE);
    /* Ends below the head: its chain is not known any more. */
    assert_int_equal(judge_and_drop(&j, write_one(&early)), VERDICT_DUPLICATE);
    /* The next one, but on another chain. */
    chain = fork;
    assert_int_equal(judge_and_drop(&j, write_one(&chain)), VERDICT_REFUSE);
    /* Its stamp is that of the head: it does not rise. */
    old         = w;
    old.lamport = w.lamport - 1;
    assert_int_equal(judge_and_drop(&j, write_one(&old)), VERDICT_REFUSE);
    assert_int_equal(judge_and_drop(&j, write_one(&w)), VERDICT_STORE);
    journal_fini(&j);
}

/* Broken when a frozen stream grows, or the alarm counts one twice. */
static void
a_frozen_stream_takes_nothing(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(7);
    journal_init(&j, NULL, TAIL);
    journal_put(&j, write_one(&w));
    journal_freeze(&j, journal_find(&j, 7));
    journal_freeze(&j, journal_find(&j, 7));
    assert_int_equal(j.frozen_count, 1);
    struct batch *b = write_one(&w);
    assert_int_equal(judge(&j, b), VERDICT_DUPLICATE);
    blob_drop(b);
    assert_vector(&j.durable, &VECTOR({7, 1})); /* the first branch stays */
    journal_fini(&j);
}

/* Broken when frames of our own stream that come back are stored as if they were news. */
static void
the_own_stream_is_never_taken_from_others(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(7);
    journal_init(&j, NULL, TAIL);
    assert_non_null(journal_mint(&j, 7, STR("me:1")));
    struct batch *b = write_one(&w);
    assert_int_equal(judge(&j, b), VERDICT_DUPLICATE);
    journal_hand_over(&j, b);
    assert_true(str_eq(journal_find(&j, 7)->origin, STR("me:1")));
    blob_drop(b);
    journal_fini(&j);
}

/* Broken when a flood of streams is more than vectors and deps can name. */
static void
streams_are_limited(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(STREAMS_MAX + 1);
    journal_init(&j, NULL, TAIL);
    for (uint64_t i = 1; i <= STREAMS_MAX; i++)
        assert_non_null(journal_stream(&j, i));
    assert_null(journal_stream(&j, STREAMS_MAX + 1));
    assert_null(journal_mint(&j, STREAMS_MAX + 1, STR("me:1")));
    assert_int_equal(judge_and_drop(&j, write_one(&w)), VERDICT_LIMIT);
    assert_ptr_equal(journal_stream(&j, 9), journal_find(&j, 9)); /* known ones are fine */
    journal_fini(&j);
}

/* Broken when what failed at the disk still counts as held: its successor is stored without it. */
static void
a_failed_commit_rolls_back_to_the_disk(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(7), x = writer_of(9);
    journal_init(&j, NULL, TAIL);
    journal_put(&j, write_batch(&w, (struct writing){.count = 2}));
    struct batch *b2 = write_one(&w), *b3 = write_one(&w), *x1 = write_one(&x);
    journal_hand_over(&j, b2);
    journal_hand_over(&j, b3);
    assert_int_equal(judge(&j, x1), VERDICT_STORE);
    journal_hand_over(&j, x1);
    journal_roll_back(&j);
    const struct stream *s = journal_find(&j, 7);
    assert_int_equal(s->held, 2);
    assert_int_equal(s->held_stamp, 2);
    assert_true(hash128_eq(s->held_chain, b2->prev));
    assert_int_equal(journal_find(&j, 9)->held, 0);
    assert_int_equal(judge(&j, b3), VERDICT_WAIT);
    assert_int_equal(judge(&j, b2), VERDICT_STORE);
    assert_int_equal(judge(&j, x1), VERDICT_STORE);
    blob_drop(b2);
    blob_drop(b3);
    blob_drop(x1);
    journal_fini(&j);
}

/* ---- what was on disk ---- */

/* Broken when a restart forgets where streams end, and so stores a fork or a gap. */
static void
recovers_heads_chains_and_stamps(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(7);
    blob_drop(write_batch(&w, (struct writing){.count = 4, .lamport = 30}));
    const struct stream_state at[] = {
        {.stream = 9, .head = 2, .stamp = 99, .origin = STR("b:2"), .frozen = true},
        {.stream = 7, .head = 4, .chain = w.chain, .stamp = 33, .origin = STR("a:1")}};
    const struct recovered r = {.stream = at, .stream_count = 2, .lsn = 6, .stamp = 99};
    struct mark            deps[4];
    journal_init(&j, &r, TAIL);
    assert_vector(&j.durable, &VECTOR({7, 4}, {9, 2}));
    assert_int_equal(j.lsn, 6);
    assert_int_equal(j.tail.lsn_first, 7);
    assert_int_equal(j.stamp, 99);
    assert_int_equal(j.frozen_count, 1);
    assert_false(journal_find(&j, 7)->live); /* an earlier life's stream is like a foreign one */
    assert_int_equal(journal_deps(&j, false, deps, 4), 2);
    struct writer old = w;
    old.lamport       = 33;
    assert_int_equal(judge_and_drop(&j, write_one(&old)), VERDICT_REFUSE);
    assert_int_equal(journal_put(&j, write_one(&w)), 7);
    assert_true(str_eq(journal_find(&j, 7)->origin, STR("a:1")));
    /* What is not in memory is not claimed to be. */
    assert_null(tail_at(&j.tail, 6));
    assert_int_equal(journal_first_missing(&j, &nothing), 0);
    assert_int_equal(journal_first_missing(&j, &VECTOR({7, 4}, {9, 2})), 7);
    journal_fini(&j);
}

/* ---- places ---- */

/* Broken when a cursor resumes too late: messages are skipped in silence. */
static void
finds_the_first_message_a_cursor_lacks(void **state)
{
    (void)state;
    struct journal j;
    struct writer  a = writer_of(3), b = writer_of(5);
    journal_init(&j, NULL, TAIL);
    assert_int_equal(journal_first_missing(&j, &nothing), 1);
    journal_put(&j, write_batch(&a, (struct writing){.count = 3})); /* lsn 1-3 */
    journal_put(&j, write_batch(&b, (struct writing){.count = 2})); /* 4-5 */
    journal_put(&j, write_batch(&a, (struct writing){.count = 2})); /* 6-7 */
    static const struct {
        uint64_t a, b, want;
    } row[] = {{0, 0, 1}, {1, 0, 2}, {2, 2, 3}, {3, 0, 4}, {3, 1, 5}, {3, 2, 6},
               {4, 2, 7}, {4, 1, 5}, {5, 1, 5}, {5, 2, 8}, {9, 9, 8}, {0, 2, 1}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct mark   m[]  = {{3, row[i].a}, {5, row[i].b}};
        struct vector have = {m, 2, 2};
        assert_int_equal(journal_first_missing(&j, &have), row[i].want);
    }
    /* With the first batch gone from memory the place may be on disk. */
    tail_trim(&j.tail, j.tail.bytes - 1);
    assert_int_equal(j.tail.lsn_first, 4);
    assert_int_equal(journal_first_missing(&j, &nothing), 0);
    assert_int_equal(journal_first_missing(&j, &VECTOR({3, 2}, {5, 2})), 0);
    assert_int_equal(journal_first_missing(&j, &VECTOR({3, 3})), 4);
    assert_int_equal(journal_first_missing(&j, &VECTOR({3, 4}, {5, 2})), 7);
    journal_fini(&j);
}

/* Broken when a session that wakes is told it has seen what it has not, or sees it twice. */
static void
the_vector_before_an_lsn_is_the_log_up_to_there(void **state)
{
    (void)state;
    struct journal j;
    struct vector  v;
    struct vector  want;
    struct prng    prng = {11};
    struct writer  w[]  = {writer_of(3), writer_of(5), writer_of(9)};
    struct mark    log[400];
    journal_init(&j, NULL, TAIL);
    vector_init(&v);
    vector_init(&want);
    while (j.lsn < 300) {
        struct writer *one   = &w[prng_below(&prng, 3)];
        uint32_t       count = 1 + (uint32_t)prng_below(&prng, 4);
        uint64_t       first = one->next;
        uint64_t       lsn   = journal_put(&j, write_batch(one, (struct writing){.count = count}));
        for (uint32_t i = 0; i < count; i++)
            log[lsn + i] = (struct mark){one->stream, first + i};
    }
    tail_trim(&j.tail, j.tail.bytes / 2);
    assert_in_range(j.tail.lsn_first, 50, 250);
    for (uint64_t lsn = 1; lsn <= j.lsn + 1; lsn++) {
        if (lsn >= j.tail.lsn_first) {
            journal_vector_before(&j, lsn, &v);
            assert_vector(&v, &want);
            assert_int_equal(journal_first_missing(&j, &v), lsn);
        }
        if (lsn <= j.lsn)
            assert_int_equal(vector_raise(&want, log[lsn]), ERR_OK);
    }
    vector_fini(&v);
    vector_fini(&want);
    journal_fini(&j);
}

/* ---- deps ---- */

/* Broken when an own batch names too little (order is lost) or ever more (it grows for ever). */
static void
deps_are_what_moved_since_the_last_own_batch(void **state)
{
    (void)state;
    struct journal j;
    struct mark    deps[8];
    struct writer  a = writer_of(30), b = writer_of(20), c = writer_of(10), own = writer_of(25);
    journal_init(&j, NULL, TAIL);
    assert_non_null(journal_mint(&j, 25, STR("me:1")));
    journal_put(&j, write_batch(&a, (struct writing){.count = 3}));
    journal_put(&j, write_one(&b));
    struct batch *mine = write_one(&own);
    journal_hand_over(&j, mine);
    journal_persist(&j, mine, j.lsn + 1, false);
    blob_drop(mine);
    journal_put(&j, write_one(&c));

    assert_int_equal(journal_deps(&j, true, deps, 8), 3); /* all, but for ours */
    assert_int_equal(deps[0].stream, 10);
    assert_int_equal(deps[1].stream, 20);
    assert_int_equal(deps[2].stream, 30);
    assert_int_equal(deps[2].seq, 3);
    assert_int_equal(journal_deps(&j, false, deps, 8), 0);

    struct batch *next = write_one(&b);
    journal_hand_over(&j, next);
    assert_int_equal(journal_deps(&j, false, deps, 8), 0); /* held is not durable */
    journal_persist(&j, next, j.lsn + 1, false);
    blob_drop(next);
    journal_put(&j, write_one(&a));
    journal_put(&j, write_one(&a));
    assert_int_equal(journal_deps(&j, false, deps, 8), 2);
    assert_int_equal(deps[0].stream, 20);
    assert_int_equal(deps[0].seq, 2);
    assert_int_equal(deps[1].stream, 30);
    assert_int_equal(deps[1].seq, 5);
    assert_int_equal(journal_deps(&j, false, deps, 8), 0);
    assert_int_equal(journal_deps(&j, true, deps, 8), 3);
    journal_fini(&j);
}

/* Broken when streams of which nothing ever came, since they are lost for good, take the places
 * of others for ever; or when one that came after all is dropped. */
static void
what_was_waived_is_forgotten(void **state)
{
    (void)state;
    struct journal  j;
    struct writer   w = writer_of(1);
    static uint64_t all[STREAMS_MAX];
    journal_init(&j, NULL, 1 << 20);
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        all[i]           = i + 1;
        struct stream *s = journal_stream(&j, all[i]);
        assert_non_null(s);
        journal_waive(s, 7);
        journal_waiver_persist(&j, (struct mark){all[i], 7});
    }
    assert_null(journal_stream(&j, STREAMS_MAX + 1));
    journal_put(&j, write_one(&w));
    struct list held_back;
    list_init(&held_back);
    list_push_back(&journal_find(&j, 2)->waiting, &held_back);
    journal_retain(
        &j, &(struct retained){.lsn_first = 1, .forgotten = all, .forgotten_count = STREAMS_MAX});
    assert_int_equal(j.streams.used, 2);
    assert_int_equal(vector_seq(&j.durable, 1), 1);
    assert_int_equal(journal_find(&j, 1)->waived, 7);
    assert_int_equal(journal_find(&j, 2)->waived, 0); /* and is waived anew */
    assert_non_null(journal_stream(&j, STREAMS_MAX + 1));
    bool late = false;
    assert_false(journal_covers(&j, (struct mark){3, 7}, &late));
    list_remove(&held_back);
    journal_fini(&j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_the_next_of_a_stream_alone),
        cmocka_unit_test(waits_for_what_a_batch_depends_on),
        cmocka_unit_test(refuses_what_contradicts_the_log),
        cmocka_unit_test(a_frozen_stream_takes_nothing),
        cmocka_unit_test(the_own_stream_is_never_taken_from_others),
        cmocka_unit_test(streams_are_limited),
        cmocka_unit_test(a_failed_commit_rolls_back_to_the_disk),
        cmocka_unit_test(recovers_heads_chains_and_stamps),
        cmocka_unit_test(finds_the_first_message_a_cursor_lacks),
        cmocka_unit_test(the_vector_before_an_lsn_is_the_log_up_to_there),
        cmocka_unit_test(deps_are_what_moved_since_the_last_own_batch),
        cmocka_unit_test(what_was_waived_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
