/* The index of the log: that a reader looks at what it wants and at little else, and that
 * nothing is hidden when the index is not what it should be. */
#include "store/store_private.h"

#include "core/filter.h"
#include "core/vector.h"
#include "tests/store_kit.h"

enum { GROUP = 8, PAGE = 8 << 10 };

/* ---- a file ---- */

static void
execute(const struct disk *d, const char *sql)
{
    sqlite3 *db;
    char     path[128], *why = NULL;
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    sqlite3_close(db);
}

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
            assert_true(filter_match(topic, p->entry[i].topic));
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
    disk_close(&d);
}

/* ---- what is looked at ---- */

static void
topic_rare(uint64_t i, char name[32])
{
    if (i % 400 == 200) /* ten in each segment */
        snprintf(name, 32, "rare");
    else
        snprintf(name, 32, "t/%lu", (unsigned long)(i * 7919 % 10007));
}

/* Without it looking for a topic reads the whole log. */
static void
only_rows_of_the_topic_are_looked_at(void **state)
{
    enum { ALL = 200000, RARE = ALL / 400 };
    struct disk d;
    void       *rare = filter_of("rare"), *none = filter_of("none");
    (void)state;
    disk_open(&d, false);
    fill(&d, 5, ALL, 1000, topic_rare);
    uint64_t     end = 40 * 5000; /* of the last whole segment */
    struct found f   = read_all(&d, 1, end, rare);
    assert_int_equal(f.count, RARE);
    assert_int_equal(f.lsn_sum, (uint64_t)RARE * (200 + ALL - 200) / 2);
    assert_int_equal(f.stamp, end);
    assert_int_equal(vector_seq(&f.seen, 5), end);
    assert_int_equal(asked, 0);
    assert_in_range(f.pages, 4, 20);
    /* A row each, a bucket and a row of segments for each of forty. */
    assert_true(f.work < RARE * (WORK_LOOKUP + 3) + 45 * (WORK_SEGMENT + WORK_LOOKUP + 40));
    vector_fini(&f.seen);

    f = read_all(&d, 1, end, none);
    assert_int_equal(f.count, 0);
    assert_int_equal(f.pages, 1);
    assert_true(f.work < 45 * WORK_SEGMENT);
    assert_int_equal(vector_seq(&f.seen, 5), end);
    vector_fini(&f.seen);

    execute(&d, "DELETE FROM messages WHERE lsn % 400 <> 200"); /* nobody looks there */
    f = read_all(&d, 1, end, rare);
    assert_int_equal(f.count, RARE);
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
    assert_int_equal(f.count, ALL / 400);
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
    asked = 0; /* it was not here for longest: nothing is kept of it */
    f     = read_all(&d, 1, 5000, filter[0]);
    assert_in_range(asked, 1, 5001);
    assert_int_equal(f.count, 13);
    vector_fini(&f.seen);
    for (size_t i = 0; i < sizeof filter / sizeof *filter; i++)
        blob_drop(filter[i]);
    disk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(the_index_is_as_documented),
        cmocka_unit_test(only_rows_of_the_topic_are_looked_at),
        cmocka_unit_test(a_pattern_is_asked_once_for_each_topic),
    };
    return cmocka_run_group_tests_name("index", test, NULL, NULL);
}
