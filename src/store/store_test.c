/* What store_sqlite and store_mem promise alike: each test runs on both. */
#include "store/store.h"

#include "tests/store_kit.h"

#define TAIL 1000000

/* Without it a broker's history is not what was committed. */
static void
what_is_committed_is_read_back(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(7), b = kit_writer(9);
    disk_open(&d, *state != NULL);
    struct mark   dep        = {7, 3};
    struct batch *one        = kit_batch(&a, 3, "stocks/"), *two;
    two                      = kit_batch_with(&b, 2, "news", 5, &dep, 1);
    struct commit        c[] = {{.kind = COMMIT_BATCH, .batch = one},
                                {.kind = COMMIT_BATCH, .batch = two, .late = true}};
    struct commit_result r[2];
    disk_commit(&d, c, 2, 5000, r);
    assert_int_equal(r[0].err, ERR_OK);
    assert_int_equal(r[0].lsn_first, 1);
    assert_int_equal(r[1].lsn_first, 4);

    for (int round = 0; round < 2; round++) {
        struct read  read = {.lsn_last = 5, .bytes_max = TAIL};
        struct page *p    = disk_read(&d, &read);
        assert_int_equal(p->count, 5);
        assert_int_equal(p->lsn_first, 1);
        assert_int_equal(p->lsn_next, 6);
        assert_int_equal(p->stamp, 3);
        for (uint32_t i = 0; i < 5; i++) {
            const struct batch *from = i < 3 ? one : two;
            const struct msg   *m    = &from->msg[i < 3 ? i : i - 3];
            const struct entry *e    = &p->entry[i];
            assert_int_equal(e->lsn, i + 1);
            assert_int_equal(e->mark.stream, from->stream);
            assert_int_equal(e->mark.seq, i < 3 ? i + 1 : i - 2);
            assert_int_equal(e->lamport, e->mark.seq);
            assert_int_equal(e->wall.ms, from->wall.ms);
            assert_int_equal(e->late, i >= 3);
            assert_true(str_eq(e->topic, m->topic) && str_eq(e->headers, m->headers) &&
                        str_eq(e->body, m->body) && str_eq(e->origin, STR("host:3000")));
        }
        assert_int_equal(p->scanned_count, 2);
        assert_int_equal(p->scanned[0].stream, 7);
        assert_int_equal(p->scanned[0].seq, 3);
        assert_int_equal(p->scanned[1].seq, 2);
        page_drop(p);

        read.batches = true;
        p            = disk_read(&d, &read);
        assert_int_equal(p->count, 2);
        assert_true(kit_same(p->batch[0], one) && kit_same(p->batch[1], two));
        assert_int_equal(p->batch_lsn[1], 4);
        page_drop(p);
        disk_stop(&d); /* and once more after a start */
        disk_start(&d);
    }
    blob_drop(one);
    blob_drop(two);
    disk_close(&d);
}

/* Without it a restart forgets heads, members, terms or stamps. */
static void
a_start_finds_what_was_left(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(INT64_MAX);
    disk_open(&d, *state != NULL);
    assert_int_equal(d.found->lsn, 0);
    assert_int_equal(d.found->stream_count, 0);
    assert_int_equal(d.found->token.epoch, 0);
    disk_put(&d, kit_batch(&b, 4, "t"), 1);
    disk_put(&d, kit_batch(&a, 2, "t"), 2);
    disk_put(&d, kit_batch(&a, 2, "u"), 3);

    struct member_list *list = blob_new(sizeof *list + 2 * sizeof list->at[0]);
    list->count              = 2;
    list->at[0]              = (struct member_info){
                     {4, {127, 0, 0, 1}, 3000}, STR("localhost"), 3, UINT64_MAX, MEMBER_AWAY};
    list->at[1]              = (struct member_info){{6, {[15] = 1}, 65535}, STR("::1"), 1, 0, 0};
    struct commit        c[] = {{.kind = COMMIT_MEMBERS, .members = list},
                                {.kind  = COMMIT_ELECTION,
                                 .token = {8, {4, {10, 0, 0, 1}, 3001}, UINT64_MAX - 1},
                                 .epoch = 9},
                                {.kind = COMMIT_FROZEN, .stream = INT64_MAX},
                                {.kind = COMMIT_FROZEN, .stream = 6}};
    struct commit_result r[4];
    disk_commit(&d, c, 4, 4, r);
    assert_int_equal(r[3].err, ERR_OK);
    blob_drop(list);
    disk_stop(&d);
    disk_start(&d);

    const struct recovered *f = d.found;
    assert_int_equal(f->lsn, 8);
    assert_int_equal(f->stamp, 4);
    assert_int_equal(f->epoch, 9);
    assert_int_equal(f->token.epoch, 8);
    assert_int_equal(f->token.addr.family, 4);
    assert_int_equal(f->token.addr.ip[0], 10);
    assert_int_equal(f->token.addr.port, 3001);
    assert_true(f->token.nonce == UINT64_MAX - 1);
    assert_int_equal(f->stream_count, 3);
    assert_int_equal(f->stream[0].stream, 5);
    assert_int_equal(f->stream[0].head, 4);
    assert_true(hash128_eq(f->stream[0].chain, a.chain));
    assert_false(f->stream[0].frozen);
    assert_int_equal(f->stream[1].head, 0);
    assert_true(f->stream[1].frozen && f->stream[2].frozen);
    assert_true(f->stream[2].stream == INT64_MAX && f->stream[2].head == 4);
    assert_true(str_eq(f->stream[2].origin, STR("host:3000")));
    assert_int_equal(f->member_count, 2);
    assert_true(addr_cmp(&f->member[0].addr, &(struct addr){4, {127, 0, 0, 1}, 3000}) == 0);
    assert_true(f->member[0].nonce == UINT64_MAX && f->member[0].flags == MEMBER_AWAY);
    assert_true(str_eq(f->member[1].host, STR("::1")) && f->member[1].addr.port == 65535);
    assert_int_equal(disk_put(&d, kit_batch(&a, 1, "t"), 5), 9);
    disk_close(&d);
}

/* Without it a batch is stored on top of one that never was. */
static void
after_a_failure_all_is_refused_until_a_probe(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(3);
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 2, "old"), 1);
    struct writer        again = a;
    struct batch        *b     = kit_batch(&a, 2, "new/");
    struct commit        c[]   = {{.kind = COMMIT_BATCH, .batch = b}, {.kind = COMMIT_PROBE}};
    struct commit_result r[3];

    disk_fails(&d, true);
    disk_commit(&d, c, 1, 2, r);
    assert_int_equal(r[0].err, ERR_FULL);
    disk_commit(&d, &c[1], 1, 2, r);
    assert_int_equal(r[0].err, ERR_FULL);
    disk_fails(&d, false);
    disk_commit(&d, c, 1, 2, r); /* the disk works, but nobody probed it */
    assert_int_equal(r[0].err, ERR_FULL);
    blob_drop(b);

    struct batch *other   = kit_batch(&again, 1, "other");
    struct commit mixed[] = {c[1], {.kind = COMMIT_BATCH, .batch = other}};
    disk_commit(&d, mixed, 2, 3, r);
    assert_int_equal(r[0].err, ERR_OK);
    assert_int_equal(r[1].err, ERR_OK);
    assert_int_equal(r[1].lsn_first, 3);

    struct read  read = {.lsn_last = 3, .bytes_max = TAIL};
    struct page *p    = disk_read(&d, &read);
    assert_int_equal(p->count, 3);
    assert_true(str_eq(p->entry[2].topic, STR("other")));
    page_drop(p);
    read.batches = true;
    p            = disk_read(&d, &read);
    assert_true(p->count == 2 && kit_same(p->batch[1], other));
    page_drop(p);
    blob_drop(other);
    disk_close(&d);
}

/* Without it a resumed cursor skips or repeats. */
static void
a_vector_starts_at_the_first_uncovered(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(10), b = kit_writer(20);
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 4, "a"), 1); /* lsn 1..4 */
    disk_put(&d, kit_batch(&b, 4, "b"), 1); /* 5..8 */
    disk_put(&d, kit_batch(&a, 4, "a"), 1); /* 9..12 */
    static const struct {
        uint64_t a, b, first, count;
    } row[] = {{0, 0, 1, 12}, {4, 0, 5, 8},  {6, 4, 11, 2}, {2, 3, 3, 7},
               {8, 2, 7, 2},  {8, 4, 13, 0}, {9, 9, 13, 0}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct mark have[] = {{10, row[i].a}, {15, 3}, {20, row[i].b}};
        struct read read   = {
              .start = READ_AT_VECTOR, .lsn_last = 12, .have = {have, 3, 3}, .bytes_max = TAIL};
        struct page *p = disk_read(&d, &read);
        assert_int_equal(p->lsn_first, row[i].first);
        assert_int_equal(p->count, row[i].count);
        assert_int_equal(p->lsn_next, 13);
        for (uint32_t k = 0; k < p->count; k++)
            assert_true(p->entry[k].mark.seq >
                        (p->entry[k].mark.stream == 10 ? row[i].a : row[i].b));
        page_drop(p);
    }
    disk_close(&d);
}

/* Without it `since` begins at the wrong message, or its cursor repeats what was before. */
static void
since_starts_at_a_time_of_arrival(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(10), b = kit_writer(20);
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 3, "a"), 1000); /* lsn 1..3 */
    disk_put(&d, kit_batch(&b, 3, "b"), 2000); /* 4..6 */
    disk_put(&d, kit_batch(&a, 3, "a"), 3000); /* 7..9 */
    static const struct {
        int64_t  since;
        uint64_t first, before_a, before_b;
    } row[] = {{0, 1, 0, 0}, {1000, 1, 0, 0}, {1001, 4, 3, 0}, {2500, 7, 3, 3}, {3001, 10, 6, 3}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct read read = {
            .start = READ_SINCE, .since = {row[i].since}, .lsn_last = 9, .bytes_max = TAIL};
        struct page *p = disk_read(&d, &read);
        assert_int_equal(p->lsn_first, row[i].first);
        assert_int_equal(p->count, 10 - row[i].first);
        struct vector before = {(struct mark *)(uintptr_t)p->before, p->before_count, 0};
        uint64_t      seq[2] = {0};
        for (uint32_t k = 0; k < before.count; k++)
            seq[before.at[k].stream == 20] = before.at[k].seq;
        assert_int_equal(seq[0], row[i].before_a);
        assert_int_equal(seq[1], row[i].before_b);
        page_drop(p);
    }
    disk_close(&d);
}

/* Without it one answer takes all memory, or none ever moves on. */
static void
pages_are_bounded_and_join_up(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(10), b = kit_writer(20);
    disk_open(&d, *state != NULL);
    for (int i = 0; i < 10; i++) {
        disk_put(&d, kit_batch_with(&a, 7, "a", 100, NULL, 0), i);
        disk_put(&d, kit_batch_with(&b, 3, "b", 100, NULL, 0), i);
    }
    for (int batches = 0; batches < 2; batches++) {
        uint64_t    lsn = 1, entries = 0, seq[2] = {0}, pages = 0;
        struct read read = {.lsn_last = 100, .bytes_max = 1, .batches = batches};
        while (lsn <= 100) {
            read.lsn       = lsn;
            read.bytes_max = pages % 2 ? 1 : 1000;
            read.count_max = pages % 3 ? 2 : 0;
            struct page *p = disk_read(&d, &read);
            assert_int_equal(p->lsn_first, lsn);
            assert_true(p->lsn_next > lsn && p->count > 0);
            assert_true(!read.count_max || p->count <= 2);
            assert_true(read.bytes_max > 1 || p->count == 1);
            for (uint32_t i = 0; i < p->scanned_count; i++) {
                uint64_t *last = &seq[p->scanned[i].stream == 20];
                assert_true(p->scanned[i].seq > *last);
                *last = p->scanned[i].seq;
            }
            for (uint32_t i = 0; i < p->count; i++)
                entries += batches ? p->batch[i]->count : 1;
            lsn = p->lsn_next;
            pages++;
            page_drop(p);
        }
        assert_int_equal(entries, 100);
        assert_int_equal(seq[0], 70);
        assert_int_equal(seq[1], 30);
    }
    disk_close(&d);
}

static bool
is_rare(const void *ctx, struct str topic)
{
    (void)ctx;
    return str_eq(topic, STR("rare"));
}

/* Without it a search in history misses messages, or its cursor skips a stream. */
static void
a_rare_topic_is_found_and_all_is_scanned(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(10), b = kit_writer(20), c = kit_writer(30);
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&c, 1, "rare"), 1);
    for (int i = 0; i < 30; i++) {
        disk_put(&d, kit_batch(&a, 1000, "often/"), 1);
        if (i == 14 || i == 29)
            disk_put(&d, kit_batch(&b, 2, "rare"), 1);
    }
    uint64_t    last = 30005, lsn = 1, found = 0, seq[3] = {0}, stamp = 0;
    struct read read = {.lsn_last = last, .want = is_rare, .bytes_max = TAIL};
    while (lsn <= last) {
        read.lsn       = lsn;
        struct page *p = disk_read(&d, &read);
        for (uint32_t i = 0; i < p->count; i++)
            assert_true(str_eq(p->entry[i].topic, STR("rare")));
        for (uint32_t i = 0; i < p->scanned_count; i++)
            seq[p->scanned[i].stream / 10 - 1] = p->scanned[i].seq;
        found += p->count;
        lsn   = p->lsn_next;
        stamp = p->stamp > stamp ? p->stamp : stamp;
        page_drop(p);
    }
    assert_int_equal(found, 5);
    assert_int_equal(seq[0], 30000);
    assert_int_equal(seq[1], 4);
    assert_int_equal(seq[2], 1);
    assert_int_equal(stamp, 30000);

    /* From the middle of a segment, up to the middle of another. */
    read.lsn       = 14000;
    read.lsn_last  = 20000;
    struct page *p = disk_read(&d, &read);
    while (p->lsn_next <= 20000) {
        assert_true(p->lsn_next > read.lsn);
        read.lsn = p->lsn_next;
        page_drop(p);
        p = disk_read(&d, &read);
    }
    assert_true(p->scanned_count > 0);
    assert_int_equal(p->scanned[0].seq, 20000 - 3);
    assert_int_equal(p->stamp, 20000 - 3);
    page_drop(p);
    disk_close(&d);
}

/* Without it a message that was removed somewhere breaks the chain everywhere. */
static void
a_digest_stands_for_a_removed_message(void **state)
{
    struct disk d;
    disk_open(&d, *state != NULL);
    struct msg         msg[] = {{.topic = STR("t"), .body = STR("stays")},
                                {.flags = MSG_DIGEST_ONLY, .digest = {{1, 2, 3}}}};
    struct batch_parts parts = {
        .stream = 4, .first = 1, .lamport_first = 1, .origin = STR("h:1"), .msg = msg, .count = 2};
    struct batch *b = batch_make(&parts);
    blob_keep(b);
    disk_put(&d, b, 1);
    struct read  read = {.lsn_last = 2, .bytes_max = TAIL};
    struct page *p    = disk_read(&d, &read);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->entry[1].mark.seq, 2); /* a gap of one, in case a peer still has it */
    assert_int_equal(p->entry[1].gap_to, 2);
    assert_int_equal(p->damage_count, 1);
    assert_int_equal(p->scanned[0].seq, 2);
    page_drop(p);
    read.batches = true;
    p            = disk_read(&d, &read);
    assert_true(p->count == 1 && kit_same(p->batch[0], b));
    page_drop(p);
    blob_drop(b);
    disk_close(&d);
}

/* Without it a peer gets what it has, half of what it lacks, or what core does not know. */
static void
batches_are_sent_whole_and_only_where_missing(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(10), b = kit_writer(20);
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 4, "a"), 1); /* lsn 1..4 */
    disk_put(&d, kit_batch(&b, 4, "b"), 1); /* 5..8 */
    disk_put(&d, kit_batch(&a, 4, "a"), 1); /* 9..12 */
    struct mark  have[] = {{10, 4}, {20, 2}};
    struct read  read   = {.start     = READ_AT_VECTOR,
                           .lsn_last  = 8,
                           .have      = {have, 2, 2},
                           .batches   = true,
                           .bytes_max = TAIL};
    struct page *p      = disk_read(&d, &read);
    assert_int_equal(p->count, 1);
    assert_int_equal(p->batch[0]->stream, 20);
    assert_int_equal(p->batch[0]->count, 4);
    assert_int_equal(p->lsn_next, 9);
    page_drop(p);
    have[0].seq   = 0;
    have[1].seq   = 4;
    read.lsn_last = 12;
    p             = disk_read(&d, &read);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->batch_lsn[1], 9);
    assert_int_equal(p->scanned_count, 2);
    page_drop(p);
    disk_close(&d);
}

/* Without it the simulator restores old copies that change with the new. */
static void
a_copy_in_memory_stays_as_it_was(void **state)
{
    struct writer a = kit_writer(10);
    struct disk   d;
    struct buf    now, then;
    (void)state;
    disk_open(&d, true);
    disk_put(&d, kit_batch(&a, 4, "a"), 1);
    struct store_mem *copy = store_mem_copy(d.m);
    disk_put(&d, kit_batch(&a, 4, "a"), 1);
    buf_init(&now, 0);
    buf_init(&then, 0);
    store_mem_dump(d.m, &now);
    store_mem_dump(copy, &then);
    assert_true(str_starts(buf_str(&then), STR("000000000000000a 1..4 ")));
    assert_true(str_starts(buf_str(&now), STR("000000000000000a 1..8 ")));
    assert_int_equal(store_mem_recover(copy)->lsn, 4);
    store_mem_wipe(d.m);
    assert_int_equal(store_mem_recover(d.m)->lsn, 0);
    store_mem_free(copy);
    buf_fini(&now);
    buf_fini(&then);
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
        ON_BOTH(what_is_committed_is_read_back),
        ON_BOTH(a_start_finds_what_was_left),
        ON_BOTH(after_a_failure_all_is_refused_until_a_probe),
        ON_BOTH(a_vector_starts_at_the_first_uncovered),
        ON_BOTH(since_starts_at_a_time_of_arrival),
        ON_BOTH(pages_are_bounded_and_join_up),
        ON_BOTH(a_rare_topic_is_found_and_all_is_scanned),
        ON_BOTH(a_digest_stands_for_a_removed_message),
        ON_BOTH(batches_are_sent_whole_and_only_where_missing),
        cmocka_unit_test(a_copy_in_memory_stays_as_it_was),
    };
    return cmocka_run_group_tests_name("store", test, NULL, NULL);
}
