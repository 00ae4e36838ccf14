/* The index of the log: that a reader looks at what it wants and at little else, and that
 * nothing is hidden when the index is not what it should be. */
#include "store/store_reader.h"

#include "core/filter.h"
#include "core/vector.h"
#include "tests/store_kit.h"

enum { GROUP = 8, PAGE = 8 << 10, TAIL = 1 << 20 };

/* ---- a file ---- */

/* The first column of all rows, a line each. */
static char *
ask(const struct disk *d, const char *sql)
{
    sqlite3      *db;
    sqlite3_stmt *q;
    char          path[128];
    struct buf    out;
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    buf_init(&out, 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW)
        assert_int_equal(buf_addf(&out, "%s\n", (const char *)sqlite3_column_text(q, 0)), ERR_OK);
    sqlite3_finalize(q);
    sqlite3_close(db);
    char *text = mem_new(out.n + 1);
    if (out.n > 0)
        memcpy(text, out.p, out.n);
    buf_fini(&out);
    return text;
}

static void
expect(const struct disk *d, const char *sql, const char *wanted)
{
    char *text = ask(d, sql);
    assert_string_equal(text, wanted);
    mem_free(text);
}

/* The topic of the i-th message, counted from 1. */
typedef void topic_of(uint64_t i, char name[32]);

/* Messages of one stream in batches of `size`. */
static void
fill(struct disk *d, uint64_t stream, uint64_t count, uint32_t size, topic_of *topic)
{
    static struct msg  msg[BATCH_MESSAGES_MAX];
    static char        name[BATCH_MESSAGES_MAX][32];
    struct batch_parts parts = {.stream = stream, .first = 1, .lamport_first = 1, .msg = msg};
    while (parts.first <= count) {
        struct commit        c[GROUP] = {0};
        struct commit_result r[GROUP];
        uint32_t             n = 0;
        for (; n < GROUP && parts.first <= count; n++) {
            uint64_t left = count + 1 - parts.first;
            parts.count   = left < size ? (uint32_t)left : size;
            parts.origin  = parts.first == 1 ? STR("host:3000") : (struct str){0};
            for (uint32_t i = 0; i < parts.count; i++) {
                topic(parts.first + i, name[i]);
                msg[i] = (struct msg){.topic = str_of(name[i]), .body = str_of(name[i])};
            }
            c[n]       = (struct commit){.kind = COMMIT_BATCH, .batch = batch_make(&parts)};
            parts.prev = c[n].batch->chain;
            parts.first += parts.count;
            parts.lamport_first += parts.count;
        }
        disk_commit(d, c, n, 1, r);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(r[i].err, ERR_OK);
            blob_drop(c[i].batch);
        }
    }
}

/* ---- a reader ---- */

static uint32_t asked;

static bool
wants(const void *filter, struct str topic)
{
    asked++;
    return filter_match(str_of(filter), topic);
}

struct found {
    uint64_t      count, pages, work, work_max, stamp, lsn_sum;
    struct vector seen;
};

/* Page after page, as a session reads. */
static struct found
read_all(struct disk *d, uint64_t lsn_first, uint64_t lsn_last, void *filter)
{
    struct found f     = {.pages = 0};
    struct str   topic = str_of(filter);
    struct read  read  = {.start     = READ_AT_LSN,
                          .lsn       = lsn_first,
                          .lsn_last  = lsn_last,
                          .want      = wants,
                          .want_ctx  = filter,
                          .bytes_max = PAGE};
    if (filter_is_literal(topic)) {
        read.literal       = &topic;
        read.literal_count = 1;
    }
    vector_init(&f.seen);
    for (; read.lsn <= lsn_last; f.pages++) {
        read.have      = f.seen;
        struct page *p = disk_read(d, &read);
        assert_true(p->lsn_next > read.lsn);
        f.work += d->r->work;
        f.work_max = d->r->work > f.work_max ? d->r->work : f.work_max;
        f.stamp    = p->stamp > f.stamp ? p->stamp : f.stamp;
        f.count += p->count;
        for (uint32_t i = 0; i < p->count; i++) {
            assert_true(p->entry[i].gap_to != 0 || filter_match(topic, p->entry[i].topic));
            f.lsn_sum += p->entry[i].lsn;
        }
        for (uint32_t i = 0; i < p->scanned_count; i++)
            assert_int_equal(vector_raise(&f.seen, p->scanned[i]), ERR_OK);
        read.lsn = p->lsn_next;
        page_drop(p);
    }
    return f;
}

static void *
filter_of(const char *text)
{
    char *f = blob_new(strlen(text) + 1);
    memcpy(f, text, strlen(text) + 1);
    return f;
}

/* ---- what is written ---- */

static void
topic_of_text(uint64_t i, char name[32])
{
    /* In a thousand: 400 of "most", 2 of "pair", one of its own each for the rest. */
    uint64_t k = i % 1000;
    if (k < 400)
        snprintf(name, 32, "most");
    else if (k < 402)
        snprintf(name, 32, "pair");
    else
        snprintf(name, 32, "one/%lu", (unsigned long)i);
}

/* Without it another program that reads broker.db by docs/STORE.md is led astray. */
static void
the_index_is_as_documented(void **state)
{
    struct disk d;
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, 4500, 500, topic_of_text);
    expect(&d,
           "SELECT lsn_first || ' ' || lsn_last || ' ' || stamp || ' ' || hex(marks)"
           " FROM segments",
           "1 4500 4500 0100000000000000059423\n");
    expect(&d, "SELECT buckets FROM segments", "65535\n");
    expect(&d, "SELECT group_concat(id) FROM postings",
           "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n");
    /* "most" came first and has the id 1: no rows, since it has more than a quarter.  "pair"
     * is 2, in rows 399, 400, 1399, 1400...  "one/402" is 3, in row 401. */
    expect(&d, "SELECT hex(substr(topics, 1, 6)) FROM postings WHERE id = 17", "000001029F03\n");
    expect(&d, "SELECT name FROM topics WHERE id = 17", "one/416\n");
    expect(&d, "SELECT hex(substr(topics, 1, 17)) FROM postings WHERE id = 18",
           "000F8F0301E70701E70701E70701E70701\n");
    expect(&d, "SELECT hex(substr(topics, 1, 4)) FROM postings WHERE id = 19", "00029103\n");
    fill(&d, 6, 4096, 1024, topic_of_text);
    expect(&d,
           "SELECT lsn_last || ' ' || stamp || ' ' || hex(marks) FROM segments"
           " WHERE lsn_first = 4501",
           "8596 4096 0100000000000000068020\n");
    disk_close(&d);
}

/* ---- what is looked at ---- */

enum { EVERY = 401 }; /* at any place of a run, some ten times in each segment */

static void
topic_rare(uint64_t i, char name[32])
{
    if (i % EVERY == 200)
        snprintf(name, 32, "rare");
    else
        snprintf(name, 32, "t/%lu", (unsigned long)(i * 7919 % 10007));
}

static uint64_t
rare_below(uint64_t lsn)
{
    return lsn > 200 ? (lsn - 201) / EVERY + 1 : 0;
}

/* Without it looking for a topic reads the whole log. */
static void
only_rows_of_the_topic_are_looked_at(void **state)
{
    enum { ALL = 200000 };
    struct disk d;
    uint64_t    all = rare_below(ALL + 1), sum = 0;
    void       *rare = filter_of("rare"), *none = filter_of("none");
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, ALL, 1000, topic_rare);
    uint64_t     end = 40 * 5000; /* of the last whole segment */
    struct found f   = read_all(&d, 1, end, rare);
    for (uint64_t i = 0; i < all; i++)
        sum += 200 + i * EVERY;
    assert_int_equal(f.count, all);
    assert_int_equal(f.lsn_sum, sum);
    assert_int_equal(f.stamp, end);
    assert_int_equal(vector_seq(&f.seen, 5), end);
    assert_int_equal(asked, 0);
    assert_in_range(f.pages, 4, 20);
    /* A row and its batch each, a bucket and a row of segments for each of forty. */
    assert_true(f.work < all * (2 * WORK_LOOKUP + 3) + 45 * (WORK_SEGMENT + WORK_LOOKUP + 40));
    vector_fini(&f.seen);

    f = read_all(&d, 1, end, none);
    assert_int_equal(f.count, 0);
    assert_int_equal(f.pages, 1);
    assert_true(f.work < 45 * WORK_SEGMENT);
    assert_int_equal(vector_seq(&f.seen, 5), end);
    vector_fini(&f.seen);

    disk_execute(&d, "DELETE FROM messages WHERE lsn % 401 <> 200"); /* nobody looks there */
    f = read_all(&d, 1, end, rare);
    assert_int_equal(f.count, all);
    assert_int_equal(f.stamp, end);
    vector_fini(&f.seen);
    blob_drop(rare);
    blob_drop(none);
    disk_close(&d);
}

/* Without it a pattern is held against each topic again for each page. */
static void
a_pattern_is_asked_once_for_each_topic(void **state)
{
    enum { ALL = 100000, TOPICS = 10007 };
    struct disk d;
    void       *filter[VERDICTS_MAX + 2];
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, ALL, 1000, topic_rare);
    for (size_t i = 0; i < sizeof filter / sizeof *filter; i++)
        filter[i] = filter_of(i % 2 ? "t/1+" : "rare/#");
    asked          = 0;
    struct found f = read_all(&d, 1, ALL, filter[0]);
    assert_int_equal(f.count, rare_below(ALL + 1));
    assert_true(f.pages > 2);
    assert_true(f.work_max < WORK_MAX + 20000);
    assert_in_range(asked, TOPICS - 100, TOPICS + 1);
    vector_fini(&f.seen);
    f = read_all(&d, 1, ALL, filter[0]);
    assert_in_range(asked, TOPICS - 100, TOPICS + 1);
    vector_fini(&f.seen);

    for (size_t i = 1; i < sizeof filter / sizeof *filter; i++) {
        f = read_all(&d, 1, 5000, filter[i]);
        vector_fini(&f.seen);
    }
    asked = 0; /* it was here last but one */
    f     = read_all(&d, 1, 5000, filter[VERDICTS_MAX]);
    assert_int_equal(asked, 0);
    vector_fini(&f.seen);
    asked = 0; /* it was not here for longest: nothing is kept of it */
    f     = read_all(&d, 1, 5000, filter[0]);
    assert_in_range(asked, 1, 5001);
    assert_int_equal(f.count, rare_below(5001));
    vector_fini(&f.seen);
    assert_true(d.r->verdicts_bytes > 0);
    store_reader_rest(d.r);
    assert_int_equal(d.r->verdicts_bytes, 0);
    for (size_t i = 0; i < sizeof filter / sizeof *filter; i++)
        blob_drop(filter[i]);
    assert_int_equal(blob_bytes_used(), 0);
    disk_close(&d);
}

/* Without it a broker of one topic reads an index that says nothing, and a segment from its
 * start for each page. */
static void
of_a_frequent_topic_all_rows_are_looked_at_once(void **state)
{
    struct disk d;
    void       *most = filter_of("most"), *all = filter_of("#");
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, 9000, 500, topic_of_text);
    struct found f = read_all(&d, 1, 9000, most);
    assert_int_equal(f.count, 9000 / 1000 * 400);
    assert_true(f.pages > 20);
    assert_true(f.work < 9000 + f.pages * 4 * (WORK_LOOKUP + WORK_SEGMENT + 1024 / WORK_BYTES));
    vector_fini(&f.seen);
    f = read_all(&d, 1, 9000, all);
    assert_int_equal(f.count, 9000);
    vector_fini(&f.seen);
    blob_drop(most);
    blob_drop(all);
    disk_close(&d);
}

/* Without it the cursor of a page that ends inside a segment names what was not passed over,
 * or lacks what was. */
static void
a_page_inside_a_segment_knows_how_far_each_stream_came(void **state)
{
    enum { STREAMS = 3, STEP = 7, BATCHES = 1500 };
    struct disk   d;
    struct writer w[STREAMS];
    struct str    topic = STR("rare");
    void         *ctx   = filter_of("rare");
    struct vector seen;
    (void)state;
    disk_open(&d, false);
    for (uint32_t i = 0; i < STREAMS; i++)
        w[i] = kit_writer(10 + i);
    for (uint32_t i = 0; i < BATCHES; i++) {
        w[i % STREAMS].lamport = i * STEP + 1;
        disk_put(&d, kit_batch(&w[i % STREAMS], STEP, i % 100 == 9 ? "rare" : "other"), 1);
    }
    vector_init(&seen);
    uint64_t last = BATCHES * STEP, stamp = 0, pages = 0;
    for (uint64_t lsn = 1; lsn <= last; pages++) {
        struct read  read = {.start         = READ_AT_LSN,
                             .lsn           = lsn,
                             .lsn_last      = last,
                             .have          = seen,
                             .want          = wants,
                             .want_ctx      = ctx,
                             .literal       = &topic,
                             .literal_count = 1,
                             .bytes_max     = 1};
        struct page *p    = disk_read(&d, &read);
        lsn               = p->lsn_next;
        stamp             = p->stamp > stamp ? p->stamp : stamp;
        for (uint32_t i = 0; i < p->scanned_count; i++)
            assert_int_equal(vector_raise(&seen, p->scanned[i]), ERR_OK);
        assert_int_equal(stamp, lsn - 1); /* here a stamp is an lsn */
        for (uint64_t i = 0; i < STREAMS; i++) {
            uint64_t whole = (lsn - 1) / STEP, rest = (lsn - 1) % STEP;
            uint64_t seq = (whole + STREAMS - 1 - i) / STREAMS * STEP;
            assert_int_equal(vector_seq(&seen, 10 + i), seq + (whole % STREAMS == i ? rest : 0));
        }
        page_drop(p);
    }
    assert_true(pages > BATCHES / 100 * STEP);
    vector_fini(&seen);
    blob_drop(ctx);
    disk_close(&d);
}

/* ---- what is found in any case ---- */

/* Without it a damaged or older index hides messages. */
static void
a_damaged_index_hides_nothing(void **state)
{
    static const char *const damage[] = {
        "SELECT 1",
        "UPDATE postings SET topics = zeroblob(length(topics))",
        "UPDATE postings SET topics = substr(topics, 1, length(topics) - 1)",
        "UPDATE postings SET hash = hash + 1",
        "DELETE FROM postings WHERE id % 3 = 0",
        "DELETE FROM postings",
        "UPDATE segments SET buckets = 0",
        "UPDATE segments SET stamp = 1",
        "UPDATE segments SET marks = x'00'",
        "UPDATE segments SET lsn_last = lsn_last - 1000",
        "UPDATE segments SET lsn_last = 1 << 60",
        "UPDATE segments SET hash = NULL, marks = NULL, buckets = 0", /* of version 1 */
        "DELETE FROM segments WHERE lsn_first = 5001",
        "DELETE FROM segments",
    };
    struct disk d;
    void       *filter[] = {filter_of("rare"), filter_of("ra+"), filter_of("rare/#")};
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, 21000, 1000, topic_rare);
    disk_execute(&d, "CREATE TABLE s AS SELECT * FROM segments;"
                     "CREATE TABLE p AS SELECT * FROM postings");
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        disk_execute(&d, damage[i]);
        for (size_t k = 0; k < sizeof filter / sizeof *filter; k++) {
            struct found f = read_all(&d, 1, 21000, filter[k]);
            assert_int_equal(f.count, k == 1 ? 0 : rare_below(21001));
            assert_int_equal(f.stamp, 21000);
            assert_int_equal(vector_seq(&f.seen, 5), 21000);
            vector_fini(&f.seen);
        }
        disk_execute(&d, "DELETE FROM segments; INSERT INTO segments SELECT * FROM s;"
                         "DELETE FROM postings; INSERT INTO postings SELECT * FROM p");
    }
    for (size_t k = 0; k < sizeof filter / sizeof *filter; k++)
        blob_drop(filter[k]);
    disk_close(&d);
}

/* Without it one flipped bit in a row costs half a gigabyte. */
static void
a_damaged_topic_takes_no_memory(void **state)
{
    struct disk d;
    void       *filter = filter_of("rare/#");
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, 300, 100, topic_rare);
    disk_execute(&d, "UPDATE messages SET topic = topic + (1 << 30) WHERE lsn = 100");
    struct found f = read_all(&d, 1, 300, filter);
    assert_int_equal(f.pages, 1);
    assert_true(d.r->verdicts_bytes < 1 << 16);
    vector_fini(&f.seen);
    blob_drop(filter);
    disk_close(&d);
}

/* Without it what a broker stored before a restart is missing in the index. */
static void
a_restart_inside_a_segment_changes_nothing(void **state)
{
    static const char sql[] = "SELECT group_concat(lsn_first || hex(marks) || stamp || hash)"
                              " FROM segments UNION ALL SELECT hex(topics) FROM postings";
    struct disk       d[2];
    struct writer     w[2] = {kit_writer(5), kit_writer(5)};
    char             *said[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        disk_open(&d[i], false);
        for (int k = 0; k < 90; k++) {
            disk_put(&d[i], kit_batch(&w[i], 100, k % 7 ? "a" : "b/"), 1);
            if (i == 1 && k % 13 == 0) {
                disk_stop(&d[i]);
                disk_start(&d[i]);
            }
        }
        said[i] = ask(&d[i], sql);
        disk_close(&d[i]);
    }
    assert_true(strlen(said[0]) > 1000);
    assert_string_equal(said[0], said[1]);
    mem_free(said[0]);
    mem_free(said[1]);
}

/* Without it who reads a rare topic is not told what is gone for everybody. */
static void
a_gap_is_met_by_readers_of_any_topic(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(6);
    struct str    topic[] = {STR("rare"), STR("none")};
    void         *ctx     = filter_of("rare");
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&b, 1, "other"), 1);
    for (int i = 0; i < 5; i++)
        disk_put(&d, kit_batch(&a, 1000, i == 0 ? "other/" : "other"), 1);
    disk_put(&d, kit_gap(&b, 99, NULL, 0), 1);
    for (int i = 0; i < 5; i++)
        disk_put(&d, kit_batch(&a, 1000, i == 0 ? "more/" : "more"), 1);
    expect(&d, "SELECT count(*) FROM segments WHERE buckets & 65536", "1\n");
    for (uint32_t k = 0; k < 3; k++) { /* one that is there, none, a pattern */
        struct read read   = {.lsn_last  = 10002,
                              .want      = wants,
                              .want_ctx  = ctx,
                              .literal   = k < 2 ? &topic[k] : NULL,
                              .bytes_max = TAIL};
        read.literal_count = read.literal != NULL;
        struct page *p     = disk_read(&d, &read);
        assert_int_equal(p->count, 1);
        assert_int_equal(p->entry[0].lsn, 5002);
        assert_int_equal(p->entry[0].mark.seq, 2);
        assert_int_equal(p->entry[0].gap_to, 99);
        assert_int_equal(p->lsn_next, 10003);
        assert_false(d.r->has_doubted);
        page_drop(p);
    }
    blob_drop(ctx);
    disk_close(&d);
}

/* Without it retention leaves an index of what is gone, or takes that of what is left. */
static void
retention_leaves_the_index_of_what_is_left(void **state)
{
    struct disk d;
    void       *rare = filter_of("rare");
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, 20500, 1000, topic_rare);
    disk_execute(&d, "DELETE FROM messages WHERE lsn <= 7000");
    assert_int_equal(segments_retain(d.s, 7001), ERR_OK);
    expect(&d, "SELECT lsn_first FROM segments", "5001\n10001\n15001\n");
    expect(&d, "SELECT min(id) >= 5001 * 16 FROM postings", "1\n");
    expect(&d, "SELECT count(*) FROM postings", "48\n");
    struct found f = read_all(&d, 7001, 20500, rare);
    assert_int_equal(f.count, rare_below(20501) - rare_below(7001));
    vector_fini(&f.seen);
    disk_execute(&d, "DELETE FROM messages WHERE lsn <= 20499");
    assert_int_equal(segments_retain(d.s, 20500), ERR_OK);
    expect(&d, "SELECT (SELECT count(*) FROM postings) + (SELECT count(*) FROM segments)", "0\n");
    disk_stop(&d);
    disk_start(&d); /* the open segment begins where the log does */
    expect(&d, "SELECT count(*) FROM segments", "0\n");
    assert_int_equal(d.s->segment.lsn_first, 20500);
    blob_drop(rare);
    disk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(the_index_is_as_documented),
        cmocka_unit_test(only_rows_of_the_topic_are_looked_at),
        cmocka_unit_test(a_pattern_is_asked_once_for_each_topic),
        cmocka_unit_test(of_a_frequent_topic_all_rows_are_looked_at_once),
        cmocka_unit_test(a_page_inside_a_segment_knows_how_far_each_stream_came),
        cmocka_unit_test(a_damaged_index_hides_nothing),
        cmocka_unit_test(a_damaged_topic_takes_no_memory),
        cmocka_unit_test(a_restart_inside_a_segment_changes_nothing),
        cmocka_unit_test(a_gap_is_met_by_readers_of_any_topic),
        cmocka_unit_test(retention_leaves_the_index_of_what_is_left),
    };
    return cmocka_run_group_tests_name("index", test, NULL, NULL);
}
