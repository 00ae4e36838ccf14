/* Steps of retention in the transactions of others: what they cost, and what fails with what. */
#include "store/store.h"

#include "tests/store_kit.h"

#include <sqlite3.h>

enum { GROUP_MAX = 64 };
#define SEALED 1700000000000

/* All but what comes now. */
static const struct retention past = {.age_ms = 1};
static int64_t                clock_ms;

/* The first column of the first row, of what is on disk. */
static int64_t
number(const struct disk *d, const char *sql)
{
    sqlite3      *db;
    sqlite3_stmt *q;
    char          path[128];
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return n;
}

/* What is written next: `group` batches of `count` messages. */
struct load {
    struct writer w;
    uint32_t      count, group;
    size_t        body;
};

/* One commit, and a step with it when there is a policy; what the commit became. */
static enum err
put(struct disk *d, struct load *l, const struct retention *policy, bool *went,
    struct retained **out)
{
    struct commit        c[GROUP_MAX];
    struct commit_result r[GROUP_MAX];
    struct wall          now = {clock_ms += 10};
    struct writer        was = l->w;
    for (uint32_t i = 0; i < l->group; i++)
        c[i] = (struct commit){.kind  = COMMIT_BATCH,
                               .batch = kit_batch_with(&l->w, l->count, "t", l->body, NULL, 0)};
    if (policy)
        *went = store_commit_retain(d->s, c, l->group, now, r, policy, out);
    else
        store_commit(d->s, c, l->group, now, r);
    for (uint32_t i = 0; i < l->group; i++) {
        assert_int_equal(r[i].err, r[0].err);
        blob_drop(c[i].batch);
    }
    if (r[0].err != ERR_OK)
        l->w = was;
    return r[0].err;
}

static void
fill(struct disk *d, struct load *l, uint32_t commits)
{
    for (uint32_t i = 0; i < commits; i++)
        assert_int_equal(put(d, l, NULL, NULL, NULL), ERR_OK);
}

/* Without it retention costs a sync of its own, or holds up who publishes for longer than it
 * takes to delete some 2000 small messages, whatever their number and size. */
static void
a_step_is_small_and_has_no_sync_of_its_own(void **state)
{
    static const struct {
        struct load load;
        uint32_t    commits;
        uint64_t    lsns_max; /* in a step */
    } row[] = {{{.count = 1000, .group = 1, .body = 100}, 40, 2048},
               {{.count = 10, .group = 50, .body = 100}, 40, 1300},
               {{.count = 1, .group = 50, .body = 100}, 40, 300},
               {{.count = 50, .group = 4, .body = 1100}, 40, 700},
               {{.count = 1, .group = 1, .body = 1 << 20}, 5, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct disk d;
        struct load l  = row[i].load;
        uint64_t    at = 1;
        l.w            = kit_writer(5);
        disk_open(&d, false);
        fill(&d, &l, row[i].commits);
        l.group = 1;
        for (bool more = true; more;) {
            struct retained *r = NULL;
            bool             went;
            int              before = kit_fsyncs;
            assert_int_equal(put(&d, &l, &past, &went, &r), ERR_OK);
            assert_true(went && r && kit_fsyncs == before + 1);
            assert_true(r->lsn_first > at && r->lsn_first - at <= row[i].lsns_max);
            at   = r->lsn_first;
            more = r->more;
            assert_int_equal(number(&d, "SELECT min(lsn) FROM messages"), at);
            assert_int_equal(number(&d, "SELECT floor FROM streams"), at - 1);
            retained_drop(r);
        }
        disk_close(&d);
    }
}

/* Without it the log grows for as long as much is published, whatever its limit. */
static void
steps_keep_pace_with_what_comes(void **state)
{
    static const struct {
        uint32_t count, group;
    } row[] = {{1000, 3}, {1024, 2}, {1000, 1}, {50, 40}, {5, 64}};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct disk d;
        struct load l    = {.w = kit_writer(5), .count = 1000, .group = 20, .body = 1};
        uint64_t    left = 20000, first = 1;
        bool        more = true;
        disk_open(&d, false);
        fill(&d, &l, 1);
        l.count = row[i].count;
        l.group = row[i].group;
        for (int round = 0; round < 40 && more; round++) {
            struct retained *r = NULL;
            bool             went;
            assert_int_equal(put(&d, &l, &past, &went, &r), ERR_OK);
            assert_true(went && r && r->lsn_first - first <= 4096);
            first = r->lsn_first;
            left  = l.w.next - first;
            assert_int_equal(r->more, left > (uint64_t)l.count * l.group);
            more = r->more;
            retained_drop(r);
        }
        assert_true(left <= 3 * (uint64_t)l.count * l.group);
        disk_close(&d);
    }
}

/* Without it what is damaged or otherwise refuses to go fails what is published. */
static void
a_step_that_fails_fails_no_commit(void **state)
{
    struct disk      d;
    struct load      l    = {.w = kit_writer(5), .count = 10, .group = 2, .body = 50};
    struct retained *r    = NULL;
    bool             went = false;
    (void)state;
    disk_open(&d, false);
    fill(&d, &l, 3);
    disk_execute(&d, "CREATE TRIGGER no BEFORE DELETE ON messages WHEN old.lsn = 70"
                     " BEGIN SELECT raise(ABORT, 'no'); END");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(put(&d, &l, &past, &went, &r), ERR_OK);
        assert_true(went);
        assert_int_equal(r != NULL, i == 0); /* lsn 70 comes with the second */
        if (i == 0)
            fill(&d, &l, 1);
        retained_drop(r);
    }
    assert_int_equal(number(&d, "SELECT count(*) FROM messages"), 60);
    assert_int_equal(number(&d, "SELECT count(*) FROM batches"), 6);
    assert_int_equal(number(&d, "SELECT floor FROM streams"), 60);
    disk_execute(&d, "DROP TRIGGER no");
    assert_int_equal(put(&d, &l, &past, &went, &r), ERR_OK);
    assert_true(went && r && r->floor[0].floor == 80);
    retained_drop(r);
    disk_stop(&d);
    disk_start(&d);
    assert_int_equal(d.found->stream[0].head, 140);
    assert_int_equal(d.found->stream[0].floor, 80);
    disk_close(&d);
}

static bool
failing_at(int k)
{
    struct disk      d;
    struct load      l    = {.w = kit_writer(5), .count = 12, .group = 2, .body = 500};
    struct retained *r    = NULL;
    bool             went = false;
    disk_open(&d, false);
    fill(&d, &l, 2);
    l.group         = 1;
    kit_writes_left = k;
    enum err e      = put(&d, &l, &past, &went, &r);
    kit_writes_left = -1;
    assert_int_equal(went, e == ERR_OK);
    assert_int_equal(r != NULL, e == ERR_OK);
    retained_drop(r);
    if (e != ERR_OK) { /* commits are refused; retention goes on by itself */
        assert_int_equal(e, ERR_FULL);
        assert_int_equal(number(&d, "SELECT count(*) FROM messages"), 48);
        assert_int_equal(number(&d, "SELECT count(*) FROM kept"), 0);
        assert_int_equal(put(&d, &l, &past, &went, &r), ERR_FULL);
        assert_true(!went && !r);
        r = disk_retain(&d, &past, clock_ms + 10);
        assert_true(r && r->lsn_first == 49);
        retained_drop(r);
    }
    for (int round = 0; round < 2; round++) {
        bool     both = e == ERR_OK;
        uint64_t last = both ? 60 : 48;
        assert_int_equal(number(&d, "SELECT count(*) FROM messages"), both ? 12 : 0);
        assert_int_equal(number(&d, "SELECT count(*) FROM kept"), both ? 0 : 1);
        assert_int_equal(number(&d, "SELECT floor FROM streams"), 48);
        disk_stop(&d);
        disk_start(&d);
        assert_int_equal(d.found->stream[0].head, last);
        assert_int_equal(d.found->stream[0].floor, 48);
    }
    disk_close(&d);
    return e == ERR_OK;
}

/* Without it a full disk tears a group from its step, or what is told from what is stored. */
static void
any_write_may_fail(void **state)
{
    int k = 0;
    (void)state;
    while (!failing_at(k))
        assert_true(++k < 100);
    assert_true(k > 5);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(a_step_is_small_and_has_no_sync_of_its_own),
        cmocka_unit_test(steps_keep_pace_with_what_comes),
        cmocka_unit_test(a_step_that_fails_fails_no_commit),
        cmocka_unit_test(any_write_may_fail),
    };
    return cmocka_run_group_tests_name("store steps", test, NULL, NULL);
}
