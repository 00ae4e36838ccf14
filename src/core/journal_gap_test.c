/* Of core/journal.h: gaps in the log, what is owed above them, and floors. */
#include "tests/core_kit.h"

static struct batch *
gap_of(uint64_t stream, uint64_t first, uint64_t last, const struct vector *deps)
{
    const struct frame_gap gap = {.stream     = stream,
                                  .from       = first,
                                  .to         = last,
                                  .chain      = {{(uint8_t)last}},
                                  .stamp      = 1000 + last,
                                  .origin     = STR("host:3000"),
                                  .deps       = deps->at,
                                  .deps_count = deps->count};
    return batch_gap(&gap, first, (struct wall){0});
}

/* It goes to the store; the reference goes. */
static void
hand_over(struct journal *j, struct batch *b)
{
    journal_hand_over(j, b);
    blob_drop(b);
}

static void
put_gap(struct journal *j, struct batch *b)
{
    journal_hand_over(j, b);
    journal_persist(j, b, j->lsn + 1, false);
    blob_drop(b);
}

/* The batch behind a gap that ends at `last`. */
static enum verdict
judge_behind(struct journal *j, uint64_t stream, uint64_t last, struct mark *missing)
{
    struct writer w       = {.stream = stream, .next = last + 1, .lamport = 5000};
    w.chain.b[0]          = (uint8_t)last;
    bool          late    = false;
    struct batch *b       = write_one(&w);
    enum verdict  verdict = journal_judge(j, b, missing, &late);
    blob_drop(b);
    return verdict;
}

/* Broken when a gap at the front of a stream leaves its floor behind, so that whoever comes is
 * told of messages that are nowhere; or one in the middle moves it, so that real ones vanish. */
static void
a_gap_moves_the_floor_where_nothing_lies_before_it(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(5);
    journal_init(&j, NULL, 1 << 20);
    journal_stream(&j, 7);
    put_gap(&j, gap_of(7, 1, 40, &VECTOR({3, 9})));
    put_gap(&j, gap_of(7, 41, 60, &nothing)); /* and on */
    const struct stream *s = journal_find(&j, 7);
    assert_int_equal(s->floor, 60);
    assert_int_equal(s->floor_stamp, 1060);
    assert_null(s->floor_owed);
    assert_int_equal(j.floor_moves, 3);
    journal_put(&j, write_one(&w));
    put_gap(&j, gap_of(5, 2, 40, &VECTOR({3, 9})));
    assert_int_equal(journal_find(&j, 5)->floor, 0);
    assert_int_equal(j.floor_moves, 3);
    assert_int_equal(j.lsn, 4);
    journal_fini(&j);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when a failed commit lets in what the gap before it owes: an effect before its cause. */
static void
what_is_owed_survives_a_failed_commit(void **state)
{
    (void)state;
    struct journal j;
    struct writer  w = writer_of(3);
    struct mark    missing;
    journal_init(&j, NULL, 1 << 20);
    journal_stream(&j, 7);
    put_gap(&j, gap_of(7, 1, 40, &VECTOR({3, 1})));
    hand_over(&j, gap_of(7, 41, 60, &VECTOR({4, 2})));
    assert_int_equal(judge_behind(&j, 7, 60, &missing), VERDICT_WAIT);
    assert_int_equal(missing.stream, 4);
    journal_roll_back(&j);
    assert_int_equal(judge_behind(&j, 7, 40, &missing), VERDICT_WAIT);
    assert_int_equal(missing.stream, 3);
    journal_put(&j, write_one(&w));
    assert_int_equal(judge_behind(&j, 7, 40, &missing), VERDICT_STORE);
    hand_over(&j, gap_of(7, 41, 60, &VECTOR({4, 2})));
    journal_roll_back(&j); /* nothing is owed above 60 that never came */
    assert_int_equal(judge_behind(&j, 7, 40, &missing), VERDICT_STORE);
    journal_fini(&j);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when a failed commit behind a restart lets in what a gap from before it owes. */
static void
what_is_owed_survives_a_restart_and_a_failed_commit(void **state)
{
    (void)state;
    struct journal            j;
    struct mark               missing;
    struct mark_list         *owed = blob_new(sizeof *owed + sizeof(struct mark));
    const struct stream_state at   = {.stream = 7,
                                      .head   = 40,
                                      .floor  = 40,
                                      .chain  = {{40}},
                                      .stamp  = 40,
                                      .origin = STR("h:1"),
                                      .owed   = owed};
    owed->count                    = 1;
    owed->at[0]                    = (struct mark){3, 1};
    journal_init(&j, &(struct recovered){.stream = &at, .stream_count = 1, .lsn = 1}, 1 << 20);
    assert_int_equal(judge_behind(&j, 7, 40, &missing), VERDICT_WAIT);
    journal_roll_back(&j);
    assert_int_equal(judge_behind(&j, 7, 40, &missing), VERDICT_WAIT);
    assert_int_equal(missing.stream, 3);
    journal_fini(&j);
    blob_drop(owed);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when a restart forgets where gaps are; or when a damaged row says of one that it ends
 * beyond the head: every peer would refuse our HEADS. */
static void
the_end_of_the_highest_gap_survives_a_restart(void **state)
{
    (void)state;
    struct journal      j;
    struct stream_state at    = {.stream = 7, .head = 40, .gap = 30, .origin = STR("h:1")};
    const uint64_t      gap[] = {0, 30, 40, 41, UINT64_MAX}, want[] = {0, 30, 40, 40, 40};
    for (size_t i = 0; i < sizeof gap / sizeof *gap; i++) {
        at.gap = gap[i];
        journal_init(&j, &(struct recovered){.stream = &at, .stream_count = 1, .lsn = 1}, 1 << 20);
        assert_int_equal(journal_find(&j, 7)->gap, want[i]);
        journal_fini(&j);
    }
}

/* Broken when two gaps that are at the store together leave each other's debts at the floor. */
static void
each_gap_leaves_its_own_debt(void **state)
{
    (void)state;
    struct journal j;
    journal_init(&j, NULL, 1 << 20);
    journal_stream(&j, 7);
    struct batch *one = gap_of(7, 1, 40, &VECTOR({3, 1})), *two = gap_of(7, 41, 60, &nothing);
    journal_hand_over(&j, one);
    journal_hand_over(&j, two);
    journal_persist(&j, one, 1, false);
    assert_int_equal(journal_find(&j, 7)->floor_owed->at[0].stream, 3);
    journal_roll_back(&j);
    assert_int_equal(journal_find(&j, 7)->owed->at[0].stream, 3);
    blob_drop(one);
    blob_drop(two);
    journal_fini(&j);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when two gaps that each owe a little more of the other's stream than there is before
 * them hold back both streams for ever. */
static void
a_debt_ends_at_the_gaps_own_stamp(void **state)
{
    (void)state;
    struct journal j;
    struct mark    missing;
    journal_init(&j, NULL, 1 << 20);
    journal_stream(&j, 7);
    journal_stream(&j, 9);
    put_gap(&j, gap_of(7, 1, 40, &VECTOR({9, 60})));
    put_gap(&j, gap_of(9, 1, 50, &VECTOR({7, 41})));
    struct writer b   = {.stream = 7, .next = 41, .lamport = 1042, .chain = {{40}}};
    struct writer c   = {.stream = 9, .next = 51, .lamport = 1055, .chain = {{50}}};
    struct batch *b41 = write_one(&b), *c51 = write_one(&c), *c52 = write_one(&c);
    bool          late = false;
    assert_int_equal(journal_judge(&j, c51, &missing, &late), VERDICT_WAIT);
    assert_int_equal(missing.stream, 7);
    /* All of 9 that is missing was stamped after 1050, and the gap of 7 ended with 1040. */
    assert_int_equal(journal_judge(&j, b41, &missing, &late), VERDICT_STORE);
    assert_false(late);
    assert_false(journal_note_next(&j, c52));
    assert_true(journal_note_next(&j, b41));
    assert_false(journal_note_next(&j, b41));
    /* The next of 7 is stamped 1042, before the gap of 9 ended: it may be owed. */
    assert_int_equal(journal_judge(&j, c51, &missing, &late), VERDICT_WAIT);
    journal_put(&j, again(b41));
    assert_int_equal(journal_judge(&j, c51, &missing, &late), VERDICT_STORE);
    blob_drop(b41);
    blob_drop(c51);
    blob_drop(c52);
    journal_fini(&j);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when a debt holds back what cannot owe, though the next message shows that. */
static void
a_debt_is_paid_when_what_is_next_comes_later(void **state)
{
    (void)state;
    struct journal j;
    struct mark    missing;
    journal_init(&j, NULL, 1 << 20);
    journal_stream(&j, 7);
    journal_stream(&j, 9);
    put_gap(&j, gap_of(7, 1, 40, &VECTOR({9, 60})));
    put_gap(&j, gap_of(9, 1, 30, &nothing));
    struct writer b   = {.stream = 7, .next = 41, .lamport = 1042, .chain = {{40}}};
    struct writer c   = {.stream = 9, .next = 31, .lamport = 1041, .chain = {{30}}};
    struct batch *b41 = write_one(&b);
    struct batch *c31 =
        write_batch(&c, (struct writing){.deps = &(struct mark){11, 1}, .deps_count = 1});
    bool late = false;
    assert_int_equal(journal_judge(&j, b41, &missing, &late), VERDICT_WAIT);
    assert_int_equal(missing.stream, 9);
    assert_int_equal(journal_judge(&j, c31, &missing, &late), VERDICT_WAIT);
    assert_true(journal_note_next(&j, c31));
    assert_int_equal(journal_judge(&j, b41, &missing, &late), VERDICT_STORE);
    blob_drop(b41);
    blob_drop(c31);
    journal_fini(&j);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when what was the next message before a failed commit counts for what is next now. */
static void
a_failed_commit_changes_what_is_next(void **state)
{
    (void)state;
    struct journal j;
    struct writer  c   = {.stream = 9, .next = 31, .lamport = 2000, .chain = {{30}}};
    struct batch  *c31 = write_one(&c);
    journal_init(&j, NULL, 1 << 20);
    const struct stream *s = journal_stream(&j, 9);
    hand_over(&j, gap_of(9, 1, 30, &nothing));
    assert_true(journal_note_next(&j, c31));
    assert_true(stream_is_past(s, 2000));
    assert_false(stream_is_past(s, 2001));
    journal_roll_back(&j);
    assert_false(stream_is_past(s, 2000));
    assert_false(stream_is_past(s, 1));
    blob_drop(c31);
    journal_fini(&j);
    assert_int_equal(blob_bytes_used(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_moves_the_floor_where_nothing_lies_before_it),
        cmocka_unit_test(what_is_owed_survives_a_failed_commit),
        cmocka_unit_test(what_is_owed_survives_a_restart_and_a_failed_commit),
        cmocka_unit_test(the_end_of_the_highest_gap_survives_a_restart),
        cmocka_unit_test(each_gap_leaves_its_own_debt),
        cmocka_unit_test(a_debt_ends_at_the_gaps_own_stamp),
        cmocka_unit_test(a_failed_commit_changes_what_is_next),
        cmocka_unit_test(a_debt_is_paid_when_what_is_next_comes_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
