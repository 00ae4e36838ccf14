/* What is gone, and what is said of it: each test runs on both stores. */
#include "store/store.h"

#include "tests/store_kit.h"

enum { TAIL = 1000000 };

static const struct stream_state *
found_stream(const struct disk *d, uint64_t stream)
{
    for (uint32_t i = 0; i < d->found->stream_count; i++)
        if (d->found->stream[i].stream == stream)
            return &d->found->stream[i];
    fail_msg("stream %lu is not there", (unsigned long)stream);
    return NULL;
}

static void
restart(struct disk *d)
{
    disk_stop(d);
    disk_start(d);
}

static void
is_gap(const struct entry *e, uint64_t lsn, uint64_t stream, uint64_t from, uint64_t to)
{
    assert_int_equal(e->lsn, lsn);
    assert_int_equal(e->mark.stream, stream);
    assert_int_equal(e->mark.seq, from);
    assert_int_equal(e->gap_to, to);
    assert_int_equal(e->topic.n + e->headers.n + e->body.n, 0);
    assert_true(str_eq(e->origin, STR("host:3000")));
    assert_false(e->late);
}

static bool
wants_nothing(const void *ctx, struct str topic)
{
    (void)ctx;
    (void)topic;
    return false;
}

/* ---- gaps ---- */

/* Without it a gap takes the place of messages, or scans run past it or stumble over it. */
static void
a_gap_takes_one_lsn_and_is_met_in_order(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(9);
    struct mark   dep = {9, 2};
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 3, "t"), 1000); /* lsn 1..3 */
    disk_put(&d, kit_batch(&b, 2, "t"), 1000); /* 4, 5 */
    struct batch *gap = kit_gap(&a, 5000000, &dep, 1);
    blob_keep(gap);
    assert_int_equal(disk_put(&d, gap, 2000), 6);
    assert_int_equal(disk_put(&d, kit_batch(&a, 2, "t"), 3000), 7);
    for (int round = 0; round < 2; round++) {
        static const struct {
            uint64_t have, first, count, from;
        } row[] = {{0, 1, 6, 4},       {3, 6, 3, 4},      {4, 6, 3, 5}, {4999999, 6, 3, 5000000},
                   {5000000, 7, 2, 0}, {5000001, 8, 1, 0}};
        for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
            struct mark have[] = {{5, row[i].have}, {9, 2}};
            struct read read   = {
                  .start = READ_AT_VECTOR, .lsn_last = 8, .have = {have, 2, 2}, .bytes_max = TAIL};
            struct page *p = disk_read(&d, &read);
            assert_int_equal(p->lsn_first, row[i].first);
            assert_int_equal(p->count, row[i].count);
            if (row[i].from > 0)
                is_gap(&p->entry[row[i].count - 3], 6, 5, row[i].from, 5000000);
            assert_int_equal(p->lsn_next, 9);
            assert_int_equal(p->scanned[0].seq, 5000002);
            page_drop(p);

            read.want = wants_nothing; /* everybody hears of a gap */
            p         = disk_read(&d, &read);
            assert_int_equal(p->count, row[i].from > 0);
            page_drop(p);

            read.want    = NULL;
            read.batches = true;
            p            = disk_read(&d, &read);
            assert_int_equal(p->count, (row[i].have < 3) + (row[i].from > 0) + 1);
            if (row[i].from > 0)
                assert_true(kit_same(p->batch[p->count - 2], gap));
            page_drop(p);
        }
        restart(&d);
    }
    blob_drop(gap);
    disk_close(&d);
}

/* Without it a page that ends or begins at a gap counts it wrong, and so does a search. */
static void
pages_and_times_pass_a_gap(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(9);
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 3, "t"), 1000); /* lsn 1..3 */
    disk_put(&d, kit_batch(&b, 2, "t"), 1000); /* 4, 5 */
    disk_put(&d, kit_gap(&a, 5000000, NULL, 0), 2000);
    disk_put(&d, kit_batch(&a, 2, "t"), 3000);
    /* A page that ends at the gap, or begins behind it; a start by time there. */
    struct read  read = {.lsn = 4, .lsn_last = 6, .bytes_max = TAIL};
    struct page *p    = disk_read(&d, &read);
    assert_int_equal(p->count, 3);
    assert_int_equal(p->scanned_count, 2);
    assert_int_equal(p->scanned[0].seq, 5000000);
    page_drop(p);
    read = (struct read){.start = READ_SINCE, .since = {1500}, .lsn_last = 8, .bytes_max = TAIL};
    p    = disk_read(&d, &read);
    assert_int_equal(p->lsn_first, 6);
    assert_int_equal(p->before_count, 2);
    assert_int_equal(p->before[0].seq, 3);
    assert_int_equal(p->count, 3);
    page_drop(p);
    read.since.ms = 2500;
    p             = disk_read(&d, &read);
    assert_int_equal(p->lsn_first, 7);
    assert_int_equal(p->before[0].seq, 5000000);
    page_drop(p);
    for (int i = 0; i < 8; i++)
        disk_put(&d, kit_batch(&a, 1, "t"), 4000 + i);
    for (int i = 0; i < 8; i++) { /* searching by time passes the gap */
        read.since.ms = 4000 + i;
        read.lsn_last = 9 + (uint64_t)i;
        p             = disk_read(&d, &read);
        assert_int_equal(p->lsn_first, 9 + i);
        page_drop(p);
    }
    disk_close(&d);
}

/* Without it a restart forgets what must be held before the batch above a gap. */
static void
what_a_gap_owes_is_found_again(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(9), c = kit_writer(7);
    struct mark   dep[] = {{5, 2}, {9, 4}};
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 2, "t"), 1);
    disk_put(&d, kit_gap(&a, 9, dep + 1, 1), 1); /* messages before it */
    disk_put(&d, kit_gap(&b, 6, dep, 1), 1);     /* none */
    disk_put(&d, kit_gap(&c, 4, dep, 2), 1);
    disk_put(&d, kit_batch(&c, 1, "t"), 1);
    restart(&d);
    assert_int_equal(d.found->lsn, 6);
    assert_int_equal(d.found->stamp, 9);
    const struct stream_state *s = found_stream(&d, 5);
    assert_int_equal(s->head, 9);
    assert_int_equal(s->floor, 0);
    assert_null(s->floor_owed);
    assert_true(hash128_eq(s->chain, a.chain));
    assert_true(s->owed && s->owed->count == 1 && s->owed->at[0].seq == 4);
    s = found_stream(&d, 9);
    assert_int_equal(s->head, 6);
    assert_int_equal(s->floor, 6);
    assert_int_equal(s->floor_stamp, 6);
    assert_true(hash128_eq(s->floor_chain, b.chain));
    assert_true(s->owed && s->owed->count == 1 && s->owed->at[0].stream == 5);
    assert_true(s->floor_owed && s->floor_owed->at[0].seq == 2);
    assert_true(str_eq(s->origin, STR("host:3000")));
    s = found_stream(&d, 7);
    assert_int_equal(s->floor, 4);
    assert_int_equal(s->head, 5);
    assert_null(s->owed);
    assert_true(s->floor_owed && s->floor_owed->count == 2);

    /* The front says it before the row does, and once. */
    struct read  read = {.lsn_last = 6, .bytes_max = TAIL};
    struct page *p    = disk_read(&d, &read);
    assert_int_equal(p->count, 2 + 3 + 1);
    is_gap(&p->entry[0], 1, 7, 1, 4);
    is_gap(&p->entry[1], 1, 9, 1, 6);
    is_gap(&p->entry[4], 3, 5, 3, 9);
    assert_int_equal(p->entry[5].mark.seq, 5);
    page_drop(p);
    struct mark have[] = {{7, 1}, {9, 6}};
    read.have          = (struct vector){have, 2, 2};
    p                  = disk_read(&d, &read);
    assert_int_equal(p->count, 1 + 3 + 1);
    is_gap(&p->entry[0], 1, 7, 2, 4);
    page_drop(p);
    read.have    = (struct vector){0};
    read.batches = true; /* a peer was told in another way, and gets the rows */
    p            = disk_read(&d, &read);
    assert_int_equal(p->count, 5);
    assert_true(batch_is_gap(p->batch[2]) && p->batch[2]->deps_count == 1);
    page_drop(p);
    disk_close(&d);
}

/* Without it a dependency that was given up holds its stream back anew after each start. */
static void
a_waiver_is_found_again(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(6);
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    struct commit        c[] = {{.kind = COMMIT_WAIVED, .mark = {5, 7}},
                                {.kind = COMMIT_WAIVED, .mark = {5, 4}},
                                {.kind = COMMIT_WAIVED, .mark = {6, 3}}};
    struct commit_result r[3];
    disk_commit(&d, c, 3, 1, r);
    assert_int_equal(r[2].err, ERR_OK);
    restart(&d);
    assert_int_equal(d.found->stream_count, 2);
    assert_int_equal(found_stream(&d, 5)->waived, 7);
    assert_int_equal(found_stream(&d, 5)->head, 1);
    assert_int_equal(found_stream(&d, 6)->waived, 3);
    assert_int_equal(found_stream(&d, 6)->head, 0);
    disk_put(&d, kit_batch(&b, 1, "t"), 1); /* it comes after all */
    restart(&d);
    assert_int_equal(found_stream(&d, 6)->head, 1);
    assert_int_equal(found_stream(&d, 6)->waived, 3);
    assert_true(str_eq(found_stream(&d, 6)->origin, STR("host:3000")));
    disk_close(&d);
}

#define ON_BOTH(f)                                                                                 \
    {#f " (sqlite)", f, NULL, NULL, NULL},                                                         \
    {                                                                                              \
#f " (memory)", f, NULL, NULL, (void *)(uintptr_t) "memory"                                \
    }

int
main(void)
{
    const struct CMUnitTest test[] = {
        ON_BOTH(a_gap_takes_one_lsn_and_is_met_in_order),
        ON_BOTH(pages_and_times_pass_a_gap),
        ON_BOTH(what_a_gap_owes_is_found_again),
        ON_BOTH(a_waiver_is_found_again),
    };
    return cmocka_run_group_tests_name("store retention", test, NULL, NULL);
}
