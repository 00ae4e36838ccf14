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

/* ---- retention ---- */

/* Steps until there is nothing more; the lsn that is oldest then, 0: nothing was done. */
static uint64_t
expire(struct disk *d, struct retention policy, int64_t now)
{
    uint64_t first = 0;
    bool     more  = true;
    while (more) {
        struct retained *r = disk_retain(d, &policy, now);
        more               = r && r->more;
        first              = r ? r->lsn_first : first;
        retained_drop(r);
    }
    return first;
}

/* Batches of kit_batch() were sealed when the writer's lamport was that. */
#define SEALED 1700000000000

/* lsn 1..5 went: stream 5 up to 3, stream 9 up to 2. */
static void
pages_tell_what_went(struct disk *d)
{
    struct mark  have[] = {{5, 1}};
    struct read  read   = {.lsn_last = 10, .bytes_max = TAIL};
    struct page *p      = disk_read(d, &read);
    assert_int_equal(p->count, 2 + 5);
    is_gap(&p->entry[0], 1, 5, 1, 3);
    is_gap(&p->entry[1], 1, 9, 1, 2);
    assert_int_equal(p->entry[0].lamport, 3);
    assert_int_equal(p->entry[2].lsn, 6);
    page_drop(p);
    read.start = READ_AT_VECTOR;
    read.have  = (struct vector){have, 1, 1};
    p          = disk_read(d, &read);
    assert_int_equal(p->lsn_first, 6);
    is_gap(&p->entry[0], 6, 5, 2, 3);
    page_drop(p);
    read.batches = true;
    p            = disk_read(d, &read);
    assert_int_equal(p->count, 2);
    assert_int_equal(p->batch[0]->first, 4);
    page_drop(p);
    read = (struct read){.start = READ_SINCE, .lsn_last = 10, .bytes_max = TAIL};
    p    = disk_read(d, &read); /* from as far back as there is, and no gap */
    assert_int_equal(p->lsn_first, 6);
    assert_int_equal(p->count, 5);
    assert_int_equal(p->before_count, 2);
    assert_int_equal(p->before[0].seq, 3);
    assert_int_equal(p->before[1].seq, 2);
    page_drop(p);
}

/* Without it old messages stay for ever, or go in silence, or young ones go. */
static void
what_is_old_goes_from_the_front(void **state)
{
    struct disk            d;
    struct writer          a = kit_writer(5), b = kit_writer(9);
    const struct retention week = {.age_ms = 1000};
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 3, "t"), SEALED + 5000); /* lsn 1..3: sealed at 1 */
    b.lamport = 2000;
    disk_put(&d, kit_batch(&b, 2, "t/"), SEALED + 1500); /* 4, 5: by a clock that is fast */
    struct hash128 chain = b.chain;
    a.lamport            = 3000;
    disk_put(&d, kit_batch(&a, 4, "u"), SEALED + 9000); /* 6..9: sealed at 3000 */
    b.lamport = 2100;
    disk_put(&d, kit_batch(&b, 1, "u"), SEALED + 2000); /* 10: old, but behind a younger one */
    assert_int_equal(expire(&d, week, SEALED + 1001), d.in_memory ? 1 : 0);
    assert_int_equal(expire(&d, week, SEALED + 1002), 4);
    assert_int_equal(expire(&d, week, SEALED + 2500), d.in_memory ? 4 : 0);
    struct retained *r = disk_retain(&d, &week, SEALED + 2501);
    assert_true(r && !r->more);
    assert_int_equal(r->lsn_first, 6);
    assert_int_equal(r->count, 1);
    assert_int_equal(r->floor[0].stream, 9);
    assert_int_equal(r->floor[0].floor, 2);
    assert_int_equal(r->floor[0].stamp, 2001);
    assert_true(hash128_eq(r->floor[0].chain, chain));
    assert_null(r->floor[0].owed);
    assert_int_equal(r->retired_count + r->forgotten_count, 0);
    retained_drop(r);
    for (int round = 0; round < 2; round++) {
        pages_tell_what_went(&d);
        restart(&d);
        assert_int_equal(d.found->lsn_first, 6);
        assert_int_equal(d.found->lsn, 10);
        assert_int_equal(found_stream(&d, 9)->floor, 2);
        assert_int_equal(found_stream(&d, 9)->floor_stamp, 2001);
        assert_true(hash128_eq(found_stream(&d, 9)->floor_chain, chain));
        assert_int_equal(found_stream(&d, 9)->head, 3);
    }
    assert_int_equal(expire(&d, week, INT64_MAX), 11);
    restart(&d);
    assert_int_equal(d.found->lsn_first, 11);
    assert_int_equal(d.found->stamp, 3003);
    assert_int_equal(disk_put(&d, kit_batch(&a, 1, "t"), SEALED), 11);
    disk_close(&d);
}

/* Without it a broken or hostile clock of an origin keeps messages for ever, or ends us. */
static void
clocks_far_off_do_no_harm(void **state)
{
    static const int64_t wall[] = {INT64_MAX, INT64_MIN, 0, SEALED * 2};
    struct disk          d;
    struct writer        a = kit_writer(5);
    disk_open(&d, *state != NULL);
    for (size_t i = 0; i < sizeof wall / sizeof *wall; i++) {
        struct batch *b = kit_batch(&a, 1, "t");
        b->wall.ms      = wall[i];
        disk_put(&d, b, SEALED);
    }
    struct retention policy = {.age_ms = 1000};
    assert_int_equal(expire(&d, policy, SEALED + 1000), d.in_memory ? 1 : 0);
    assert_int_equal(expire(&d, policy, SEALED + 1001), 5);
    disk_put(&d, kit_batch(&a, 1, "t"), SEALED);
    policy.age_ms = UINT64_MAX;
    assert_int_equal(expire(&d, policy, SEALED), d.in_memory ? 5 : 0);
    policy.age_ms = 1;
    assert_int_equal(expire(&d, policy, INT64_MIN), d.in_memory ? 5 : 0);
    policy.retire_ms = UINT64_MAX;
    assert_int_equal(expire(&d, policy, INT64_MAX), 6);
    disk_close(&d);
}

/* Without it a joiner cannot have what a quiet topic said last, and `latest` shows nothing. */
static void
the_newest_of_a_topic_is_kept(void **state)
{
    struct disk            d;
    struct writer          a = kit_writer(5), b = kit_writer(9);
    const struct retention all = {.age_ms = 1};
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&b, 4, "b"), 1);
    disk_put(&d, kit_batch(&a, 3, "a/"), 1);
    a.lamport = 2;
    disk_put(&d, kit_batch(&a, 2, "b"), 1); /* older than what `b` has */
    assert_int_equal(expire(&d, all, 100), 10);
    for (int round = 0; round < 2; round++) {
        static const struct {
            const char *topic;
            uint64_t    stream, seq, lamport;
        } row[]            = {{"b", 9, 4, 4}, {"a/1", 5, 1, 1}, {"a/2", 5, 2, 2}, {"a/3", 5, 3, 3}};
        struct mark have[] = {{5, 2}};
        struct read read   = {.start = READ_KEPT, .bytes_max = 1, .lsn_last = 9};
        uint32_t    n      = 0;
        do { /* one a page */
            struct page *p = disk_read(&d, &read);
            for (uint32_t i = 0; i < p->count; i++, n++) {
                const struct entry *e = &p->entry[i];
                assert_true(str_eq(e->topic, str_of(row[n].topic)));
                assert_int_equal(e->mark.stream, row[n].stream);
                assert_int_equal(e->mark.seq, row[n].seq);
                assert_int_equal(e->lamport, row[n].lamport);
                assert_int_equal(e->body.n, 20);
                assert_int_equal(e->headers.n > 0, e->mark.seq % 2 == 0);
                assert_true(str_eq(e->origin, STR("host:3000")));
                assert_int_equal(e->gap_to, 0);
            }
            read.lsn = p->lsn_next;
            page_drop(p);
        } while (read.lsn > 0);
        assert_int_equal(n, 4);
        read = (struct read){
            .start = READ_KEPT, .have = {have, 1, 1}, .lsn_last = 9, .bytes_max = TAIL};
        struct page *p = disk_read(&d, &read);
        assert_int_equal(p->count, 2);
        page_drop(p);
        restart(&d);
    }
    /* Something newer is stored, goes, and takes the place. */
    b.lamport = 9;
    disk_put(&d, kit_batch(&b, 1, "b"), 1);
    assert_int_equal(expire(&d, all, 100), 11);
    struct read  read = {.start = READ_KEPT, .lsn_last = 10, .bytes_max = TAIL};
    struct page *p    = disk_read(&d, &read);
    assert_int_equal(p->count, 4);
    assert_int_equal(p->entry[0].mark.seq, 5);
    page_drop(p);
    disk_close(&d);
}

static void
tell_latest(struct disk *d, struct writer *w, const char *topic)
{
    struct commit        c = {.kind = COMMIT_LATEST, .batch = kit_batch(w, 1, topic)};
    struct commit_result r;
    disk_commit(d, &c, 1, 1, &r);
    assert_int_equal(r.err, ERR_OK);
    blob_drop(c.batch);
}

static struct mark
kept_of(struct disk *d, const char *topic)
{
    struct read  read  = {.start = READ_KEPT, .bytes_max = TAIL};
    struct page *p     = disk_read(d, &read);
    struct mark  found = {0};
    assert_int_equal(p->lsn_next, 0);
    for (uint32_t i = 0; i < p->count; i++)
        if (str_eq(p->entry[i].topic, str_of(topic)))
            found = p->entry[i].mark;
    page_drop(p);
    return found;
}

/* Without it what a peer tells of a topic hides what is newer here, or is lost. */
static void
what_a_peer_tells_is_kept_when_it_is_newer(void **state)
{
    struct disk            d;
    struct writer          a = kit_writer(5), b = kit_writer(9);
    const struct retention all = {.age_ms = 1};
    disk_open(&d, *state != NULL);
    a.lamport = 10;
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    tell_latest(&d, &b, "t"); /* 1 */
    assert_int_equal(kept_of(&d, "t").seq, 0);
    tell_latest(&d, &b, "new");
    b.lamport = 11;
    tell_latest(&d, &b, "t"); /* 3 */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(kept_of(&d, "new").seq, 2);
        assert_int_equal(kept_of(&d, "t").stream, 9);
        assert_int_equal(kept_of(&d, "t").seq, 3);
        restart(&d);
    }
    b.lamport = 11;
    b.next    = 2;
    tell_latest(&d, &b, "t"); /* as new, but of a lower seq */
    assert_int_equal(kept_of(&d, "t").seq, 3);
    expire(&d, all, 100); /* what goes was not the newest */
    assert_int_equal(kept_of(&d, "t").seq, 3);
    assert_int_equal(disk_put(&d, kit_batch(&a, 2, "t"), 1), 2); /* lamport 11, 12 */
    expire(&d, all, 100);
    assert_int_equal(kept_of(&d, "t").stream, 5);
    assert_int_equal(kept_of(&d, "t").seq, 3);
    restart(&d);
    assert_int_equal(kept_of(&d, "t").seq, 3);
    disk_close(&d);
}

/* Without it a joiner waits for what is gone everywhere, or gets a batch before its past. */
static void
a_gap_that_goes_leaves_what_it_owes(void **state)
{
    struct disk            d;
    struct writer          a = kit_writer(5), b = kit_writer(9), c = kit_writer(7);
    struct mark            dep[] = {{7, 1}, {9, 1}};
    const struct retention all   = {.age_ms = 1000};
    disk_open(&d, *state != NULL);
    struct writer other = kit_writer(6);
    disk_put(&d, kit_gap(&other, 3, dep, 1), 0); /* its floor has jumped already */
    struct retained *r = disk_retain(&d, &all, 1001);
    assert_int_equal(r->lsn_first, 2);
    assert_int_equal(r->count, 0);
    retained_drop(r);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    disk_put(&d, kit_batch(&c, 1, "t"), 1);
    disk_put(&d, kit_gap(&a, 10, dep, 2), 2);
    disk_put(&d, kit_batch(&b, 1, "t"), SEALED);
    disk_put(&d, kit_batch(&a, 1, "t"), SEALED);
    r = disk_retain(&d, &all, 1500);
    assert_int_equal(r->lsn_first, 5);
    assert_int_equal(r->count, 2);
    const struct stream_floor *f = &r->floor[r->floor[1].stream == 5];
    assert_int_equal(f->floor, 10);
    assert_int_equal(f->stamp, 10);
    assert_true(f->owed && f->owed->count == 1 && f->owed->at[0].stream == 9);
    retained_drop(r);
    restart(&d);
    assert_true(found_stream(&d, 5)->floor_owed && found_stream(&d, 5)->floor_owed->count == 1);
    assert_null(found_stream(&d, 5)->owed);
    expire(&d, all, SEALED * 2);
    restart(&d);
    assert_int_equal(found_stream(&d, 5)->floor, 11);
    assert_null(found_stream(&d, 5)->floor_owed);
    assert_null(found_stream(&d, 5)->owed);
    assert_int_equal(d.found->lsn_first, 7);
    disk_close(&d);
}

/* Without it every cursor grows for ever, or a process that is over comes back. */
static void
quiet_streams_retire_and_are_forgotten(void **state)
{
    struct disk      d;
    struct writer    a = kit_writer(5), b = kit_writer(9), c = kit_writer(7);
    struct retention policy = {.age_ms = 10, .retire_ms = 1000};
    struct read      read   = {.lsn_last = 3, .bytes_max = TAIL};
    disk_open(&d, *state != NULL);
    a.lamport = 77;
    disk_put(&d, kit_batch(&a, 1, "t"), 100);
    disk_put(&d, kit_batch(&b, 1, "t"), 600);
    disk_put(&d, kit_batch(&c, 1, "t"), SEALED); /* holds up nobody but itself */
    expire(&d, policy, 1100);
    struct retained *r = disk_retain(&d, &policy, 1101);
    assert_true(r && r->retired_count == 1 && r->retired[0] == 5 && r->forgotten_count == 0);
    assert_int_equal(r->lsn_first, 3);
    assert_int_equal(r->count, 0);
    retained_drop(r);
    struct page *p = disk_read(&d, &read); /* nobody is told of it any more */
    assert_int_equal(p->count, 2);
    assert_int_equal(p->entry[0].mark.stream, 9);
    page_drop(p);
    restart(&d);
    assert_int_equal(d.found->stream_count, 3);
    assert_true(found_stream(&d, 5)->retired);
    assert_int_equal(found_stream(&d, 5)->head, 1);
    assert_int_equal(found_stream(&d, 5)->stamp, 77);
    assert_false(found_stream(&d, 9)->retired);
    r = disk_retain(&d, &policy, 1602);
    assert_true(r && r->retired_count == 1 && r->retired[0] == 9);
    retained_drop(r);
    disk_put(&d, kit_batch(&b, 1, "t"), 1700); /* it was on its way */
    restart(&d);
    assert_false(found_stream(&d, 9)->retired);
    r = disk_retain(&d, &policy, 2101);
    assert_true(r && r->forgotten_count == 1 && r->forgotten[0] == 5 && r->retired_count == 0);
    retained_drop(r);
    restart(&d);
    assert_int_equal(d.found->stream_count, 2);
    assert_int_equal(kept_of(&d, "t").stream, 5);
    disk_close(&d);
}

/* Without it each stream that is lost for good takes one of STREAMS_MAX places for ever. */
static void
a_waiver_is_forgotten(void **state)
{
    struct disk          d;
    struct writer        a        = kit_writer(7);
    struct retention     policy   = {.age_ms = 100000, .retire_ms = 1000};
    struct commit        waive    = {.kind = COMMIT_WAIVED, .mark = {5, 7}};
    struct commit        other    = {.kind = COMMIT_WAIVED, .mark = {7, 7}};
    struct commit        frozen[] = {{.kind = COMMIT_WAIVED, .mark = {6, 1}},
                                     {.kind = COMMIT_FROZEN, .stream = 6}};
    struct commit_result result[2];
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 1, "t"), 100);
    disk_commit(&d, &other, 1, 100, result);
    disk_commit(&d, frozen, 2, 100, result);
    disk_commit(&d, &waive, 1, 100, result);
    expire(&d, policy, 1000);
    disk_commit(&d, &waive, 1, 600, result); /* that it is missing was met again */
    expire(&d, policy, 1600);
    restart(&d);
    assert_int_equal(d.found->stream_count, 3);
    struct retained *r = disk_retain(&d, &policy, 1601);
    assert_true(r && r->forgotten_count == 1 && r->forgotten[0] == 5 && r->retired_count == 0);
    retained_drop(r);
    restart(&d);
    assert_int_equal(d.found->stream_count, 2);
    assert_int_equal(found_stream(&d, 7)->waived, 7);
    assert_true(found_stream(&d, 6)->frozen);
    /* Also without a start in between. */
    expire(&d, policy, 1900);
    disk_commit(&d, &waive, 1, 2000, result);
    r = disk_retain(&d, &policy, 3001);
    assert_true(r && r->forgotten_count == 1 && r->forgotten[0] == 5);
    retained_drop(r);
    disk_close(&d);
}

/* Without it a stream that was quiet before its messages went stays until the next start. */
static void
what_expires_late_retires_at_once(void **state)
{
    struct disk      d;
    struct writer    a      = kit_writer(5);
    struct retention policy = {.age_ms = 100000, .retire_ms = 1000};
    disk_open(&d, *state != NULL);
    disk_put(&d, kit_batch(&a, 1, "t"), 100);
    expire(&d, policy, 5000);
    policy.age_ms      = 10;
    struct retained *r = disk_retain(&d, &policy, 5001);
    assert_true(r && r->lsn_first == 2 && r->retired_count == 1);
    retained_drop(r);
    disk_close(&d);
}

/* Without it messages that go are counted for ever, or lsn and stamp begin anew. */
static void
an_empty_log_goes_on_where_it_was(void **state)
{
    struct disk      d;
    struct writer    a      = kit_writer(5);
    struct retention policy = {.age_ms = 10, .retire_ms = 1000};
    disk_open(&d, *state != NULL);
    a.lamport = 77;
    disk_put(&d, kit_batch(&a, 5, "t"), 100);
    for (int64_t now = 1101; now < 5000; now += 1000) {
        expire(&d, policy, now);
        restart(&d);
        assert_int_equal(d.found->lsn, 5);
        assert_int_equal(d.found->lsn_first, 6);
        if (!d.in_memory)
            assert_int_equal(d.found->stamp, 81);
    }
    assert_int_equal(d.found->stream_count, 0);
    struct writer b = kit_writer(6);
    assert_int_equal(disk_put(&d, kit_batch(&b, 1, "t"), 9000), 6);
    disk_close(&d);
}

/* Without it retention holds up the writer, or never ends. */
static void
a_step_takes_no_more_than_it_may(void **state)
{
    struct disk            d;
    struct writer          a      = kit_writer(5);
    const struct retention policy = {.age_ms = 10};
    uint64_t               first = 1, last = 0;
    int                    steps = 0;
    disk_open(&d, *state != NULL);
    for (int i = 0; i < 20; i++)
        last = disk_put(&d, kit_batch(&a, 1000, "t"), 100) + 999;
    for (bool more = true; more; steps++) {
        struct retained *r = disk_retain(&d, &policy, 1000);
        assert_true(r && r->lsn_first > first && r->lsn_first - first <= 4096);
        assert_int_equal(r->more, r->lsn_first <= last);
        first = r->lsn_first;
        more  = r->more;
        retained_drop(r);
    }
    assert_int_equal(first, last + 1);
    assert_true(steps >= 5);
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
        ON_BOTH(what_is_old_goes_from_the_front),
        ON_BOTH(clocks_far_off_do_no_harm),
        ON_BOTH(the_newest_of_a_topic_is_kept),
        ON_BOTH(what_a_peer_tells_is_kept_when_it_is_newer),
        ON_BOTH(a_gap_that_goes_leaves_what_it_owes),
        ON_BOTH(quiet_streams_retire_and_are_forgotten),
        ON_BOTH(what_expires_late_retires_at_once),
        ON_BOTH(a_waiver_is_forgotten),
        ON_BOTH(an_empty_log_goes_on_where_it_was),
        ON_BOTH(a_step_takes_no_more_than_it_may),
    };
    return cmocka_run_group_tests_name("store retention", test, NULL, NULL);
}
