/* Gaps, which no digest covers, and rows that strayed to the front of the log. */
#include "store/store.h"

#include "tests/store_kit.h"

enum { STREAM = 0x1111, BEFORE = 2, GAP_LAST = 6, AFTER = 3 };

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
a_gap_lies_between_the_batches_beside_it(void **state)
{
    static const char *const wound[] = {
        "UPDATE batches SET last = last + 32 WHERE flags & 4",
        "UPDATE batches SET last = last - 1 WHERE flags & 4",
        "UPDATE batches SET last = first WHERE flags & 4",
        "UPDATE messages SET seq = seq + 32 WHERE flags & 4",
        "UPDATE messages SET seq = seq - 1 WHERE flags & 4",
        "UPDATE batches SET first = first - 1 WHERE flags & 4",
        "UPDATE batches SET first = first + 1 WHERE flags & 4",
        "UPDATE batches SET first = last WHERE flags & 4",
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof wound / sizeof *wound; i++) {
        bool        after = i % 2;
        struct disk d;
        disk_open(&d, false);
        uint64_t lsn_last = fill(&d, after);
        assert_true(disk_execute(&d, wound[i / 2]) > 0);
        struct read  read = {.lsn = BEFORE + 1, .lsn_last = lsn_last, .bytes_max = 1 << 20};
        struct page *p    = disk_read(&d, &read);
        assert_int_equal(p->count, after ? 1 + AFTER : 1);
        assert_int_equal(p->entry[0].mark.seq, BEFORE + 1);
        assert_int_equal(p->entry[0].gap_to, GAP_LAST);
        assert_int_equal(p->scanned_count, 1);
        assert_int_equal(p->scanned[0].seq, after ? GAP_LAST + AFTER : GAP_LAST);
        assert_true(p->damage_count == 0 || p->damage[0].last == GAP_LAST);
        for (uint32_t k = 1; k < p->count; k++)
            assert_int_equal(p->entry[k].mark.seq, GAP_LAST + k);
        page_drop(p);
        disk_close(&d);
    }
}

/* Broken when one of the three signs of a gap is believed alone. */
static void
a_gap_is_one_by_two_of_three_signs(void **state)
{
    static const char *const wound[] = {
        "UPDATE batches SET flags = 0 WHERE flags & 4",
        "UPDATE messages SET flags = 0 WHERE flags & 4",
        "UPDATE messages SET topic = 1 WHERE flags & 4",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct disk d;
        disk_open(&d, false);
        struct read read = {.lsn = 1, .lsn_last = fill(&d, true), .bytes_max = 1 << 20};
        assert_true(disk_execute(&d, wound[i]) > 0);
        struct page *p = disk_read(&d, &read);
        assert_int_equal(p->count, BEFORE + 1 + AFTER);
        assert_int_equal(p->entry[BEFORE].mark.seq, BEFORE + 1);
        assert_int_equal(p->entry[BEFORE].gap_to, GAP_LAST);
        page_drop(p);
        disk_close(&d);
    }
}

static bool
wants_all(const void *ctx, struct str topic)
{
    (void)ctx;
    return topic.n > 0;
}

/* Broken when a row whose key was flipped to where retention has been counts as the first of
 * the log: a cursor then passes over all that lies between. */
static void
a_row_that_strayed_to_the_front_is_lost_at_its_own_place(void **state)
{
    enum { GONE = 3, COUNT = 4, STRAYED = GONE + COUNT - 1 };
    (void)state;
    for (uint64_t to = 1; to <= GONE; to++) {
        struct writer w = kit_writer(STREAM);
        struct disk   d;
        char          sql[96];
        disk_open(&d, false);
        disk_put(&d, kit_batch(&w, GONE, "t"), 1000);
        disk_put(&d, kit_batch(&w, COUNT, "t"), 2000);
        struct retention policy = {.age_ms = 100};
        retained_drop(disk_retain(&d, &policy, 1500));
        snprintf(sql, sizeof sql, "UPDATE messages SET lsn = %d WHERE lsn = %d", (int)to, STRAYED);
        assert_true(disk_execute(&d, sql) > 0);
        for (int filtered = 0; filtered < 2; filtered++) {
            struct mark  gone = {STREAM, GONE};
            struct read  read = {.lsn       = 1,
                                 .have      = {&gone, 1, 1},
                                 .lsn_last  = GONE + COUNT,
                                 .want      = filtered ? wants_all : NULL,
                                 .bytes_max = 1 << 20};
            struct page *p    = disk_read(&d, &read);
            assert_int_equal(p->count, COUNT);
            for (uint32_t i = 0; i < COUNT; i++) {
                assert_int_equal(p->entry[i].mark.seq, GONE + 1 + i);
                assert_int_equal(p->entry[i].gap_to, GONE + 1 + i == STRAYED ? STRAYED : 0);
            }
            assert_int_equal(p->lsn_next, GONE + COUNT + 1);
            page_drop(p);
        }
        disk_close(&d);
    }
}

/* Broken when a batch whose row says that it lies before the log is believed though its messages
 * are there: the log seems to begin where nothing is, and what retention took is not told. */
static void
a_batch_does_not_lie_before_the_log_while_its_messages_are_in_it(void **state)
{
    enum { GONE = 2, COUNT = 3 };
    (void)state;
    for (uint64_t to = 1; to < GONE + COUNT; to++) {
        struct writer w[] = {kit_writer(STREAM), kit_writer(STREAM * 2), kit_writer(STREAM * 3)};
        struct disk   d;
        char          sql[96];
        disk_open(&d, false);
        disk_put(&d, kit_batch(&w[0], GONE, "t"), 1000);
        for (uint32_t i = 1; i < 3; i++)
            disk_put(&d, kit_batch(&w[i], COUNT, "t"), 2000);
        struct retention policy = {.age_ms = 100};
        retained_drop(disk_retain(&d, &policy, 1500));
        uint64_t second = GONE + COUNT + 1;
        snprintf(sql, sizeof sql, "UPDATE batches SET lsn = %d WHERE lsn = %d", (int)to,
                 (int)second);
        assert_true(disk_execute(&d, sql) > 0);
        struct read  read = {.lsn = 1, .lsn_last = second + COUNT - 1, .bytes_max = 1 << 20};
        struct page *p    = disk_read(&d, &read);
        assert_int_equal(p->entry[0].mark.stream, STREAM);
        assert_int_equal(p->entry[0].gap_to, GONE);
        uint64_t told = 0; /* 10 of the second stream */
        for (uint32_t i = 1; i < p->count; i++) {
            const struct entry *e = &p->entry[i];
            told += (e->gap_to > 0 ? e->gap_to - e->mark.seq + 1 : 1) *
                    (e->mark.stream == STREAM * 2 ? 10 : 1);
        }
        assert_int_equal(told, 10 * COUNT + COUNT);
        page_drop(p);
        disk_close(&d);
    }
}

/* Broken when the batch before is asked whether the claim of one is right whose beginning is no
 * whole number, so that its own key does not lead to it: its messages are told as others. */
static void
a_batch_whose_key_is_no_whole_number_claims_nothing(void **state)
{
    enum { COUNT = 6 };
    (void)state;
    struct writer w = kit_writer(STREAM);
    struct disk   d;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&w, COUNT, "t"), 1000);
    disk_put(&d, kit_batch(&w, COUNT, "t"), 1000);
    assert_true(disk_execute(&d, "UPDATE batches SET first = 4.5 WHERE lsn = 7") > 0);
    struct read  read = {.lsn = 1, .lsn_last = 2 * COUNT, .bytes_max = 1 << 20};
    struct page *p    = disk_read(&d, &read);
    uint64_t     told = 0;
    for (uint32_t i = 0; i < p->count; i++)
        for (uint64_t seq = p->entry[i].mark.seq;
             seq <= p->entry[i].gap_to || seq == p->entry[i].mark.seq; seq++)
            told |= UINT64_C(1) << seq;
    assert_int_equal(told, (UINT64_C(1) << (2 * COUNT + 1)) - 2);
    page_drop(p);
    disk_close(&d);
}

/* Broken when two rows that say the same wrong thing are believed: nobody published that. */
static void
a_stream_that_never_was_is_not_delivered(void **state)
{
    static const struct {
        const char *sql;
        bool        delivered;
    } wound[] = {
        {"UPDATE batches SET stream = 99 WHERE lsn = 3; UPDATE messages SET stream = 99"
         " WHERE lsn >= 3",
         false},
        {"DELETE FROM streams", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct writer w = kit_writer(STREAM);
        struct disk   d;
        disk_open(&d, false);
        disk_put(&d, kit_batch(&w, 2, "t"), 1000);
        disk_put(&d, kit_batch(&w, 2, "t"), 1000);
        disk_execute(&d, wound[i].sql);
        struct read  read = {.lsn = 3, .lsn_last = 4, .bytes_max = 1 << 20};
        struct page *p    = disk_read(&d, &read);
        assert_true(p->count > 0);
        for (uint32_t k = 0; k < p->count; k++)
            assert_int_equal(p->entry[k].gap_to == 0, wound[i].delivered);
        page_drop(p);
        disk_close(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_lies_between_the_batches_beside_it),
        cmocka_unit_test(a_gap_is_one_by_two_of_three_signs),
        cmocka_unit_test(a_row_that_strayed_to_the_front_is_lost_at_its_own_place),
        cmocka_unit_test(a_batch_whose_key_is_no_whole_number_claims_nothing),
        cmocka_unit_test(a_stream_that_never_was_is_not_delivered),
        cmocka_unit_test(a_batch_does_not_lie_before_the_log_while_its_messages_are_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
