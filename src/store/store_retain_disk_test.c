/* Retention on a disk: what is written when, what fails, what a crash leaves. */
#include "store/store.h"

#include "base/prng.h"
#include "tests/store_kit.h"

#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { TAIL = 1000000 };
#define SEALED 1700000000000

static const struct retention all = {.age_ms = 1};

/* The first column of all rows, a line each. */
static void
expect(const struct disk *d, const char *sql, const char *wanted)
{
    sqlite3      *db;
    sqlite3_stmt *q;
    char          path[128];
    struct buf    out;
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    buf_init(&out, 0);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW)
        assert_int_equal(buf_addf(&out, "%s\n", (const char *)sqlite3_column_text(q, 0)), ERR_OK);
    sqlite3_finalize(q);
    sqlite3_close(db);
    if (!str_eq(buf_str(&out), str_of(wanted)))
        fail_msg("%s: \"%.*s\", not \"%s\"", sql, STR_ARG(buf_str(&out)), wanted);
    buf_fini(&out);
}

static void
restart(struct disk *d)
{
    disk_stop(d);
    disk_start(d);
}

/* All steps; how many of them did something. */
static int
expire(struct disk *d, const struct retention *policy, int64_t now)
{
    int  steps = 0;
    bool more  = true;
    while (more) {
        struct retained *r = disk_retain(d, policy, now);
        assert_true(r || steps == 0); /* else the one before said that there was more */
        more = r && r->more;
        steps += r != NULL;
        retained_drop(r);
    }
    return steps;
}

static struct mark
latest_of(struct disk *d, const char *topic)
{
    struct page *p    = NULL;
    struct mark  mark = {0};
    enum err     e    = store_latest(d->s, str_of(topic), &p);
    if (e == ERR_NOTFOUND) {
        assert_null(p);
        return mark;
    }
    assert_int_equal(e, ERR_OK);
    assert_int_equal(p->count, 1);
    assert_true(str_eq(p->entry[0].topic, str_of(topic)));
    assert_true(str_eq(p->entry[0].origin, STR("host:3000")));
    mark = p->entry[0].mark;
    page_drop(p);
    return mark;
}

/* ---- the newest ---- */

/* Without it the newest message of a topic is another after it moved, or after a start. */
static void
the_newest_is_found_wherever_it_lies(void **state)
{
    struct disk          d;
    struct writer        a = kit_writer(5), b = kit_writer(9);
    struct commit_result r;
    struct page         *p;
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch_with(&a, 2, "t", 7, NULL, 0), 1);
    assert_int_equal(store_latest(d.s, STR("t"), &p), ERR_OK);
    assert_int_equal(p->entry[0].lsn, 2);
    assert_int_equal(p->entry[0].lamport, 2);
    assert_int_equal(p->entry[0].wall.ms, SEALED + 1);
    assert_true(str_eq(p->entry[0].body, STR("2:xxxxx")));
    assert_true(str_starts(p->entry[0].headers, STR("content-type: ")));
    assert_false(p->entry[0].late);
    page_drop(p);
    assert_int_equal(latest_of(&d, "nothing").seq, 0);

    struct commit late = {.kind = COMMIT_BATCH, .late = true, .batch = kit_batch(&a, 1, "u")};
    disk_commit(&d, &late, 1, 1, &r);
    blob_drop(late.batch);
    assert_int_equal(store_latest(d.s, STR("u"), &p), ERR_OK);
    assert_true(p->entry[0].late);
    page_drop(p);
    expire(&d, &all, 100);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_latest(d.s, STR("t"), &p), ERR_OK);
        assert_int_equal(p->entry[0].lsn, 0);
        assert_int_equal(p->entry[0].mark.seq, 2);
        assert_true(str_eq(p->entry[0].body, STR("2:xxxxx")));
        page_drop(p);
        assert_int_equal(latest_of(&d, "u").seq, 3);
        expect(&d, "SELECT topic || ' ' || id || ' ' || origin || ' ' || body FROM latest",
               "t 0000000000000005-2 host:3000 2:xxxxx\n"
               "u 0000000000000005-3 host:3000 3:xxxxxxxxxxxxxxxxxx\n");
        restart(&d);
    }
    b.lamport          = 2;
    struct commit told = {.kind = COMMIT_LATEST, .batch = kit_batch(&b, 1, "t")};
    disk_commit(&d, &told, 1, 1, &r);
    blob_drop(told.batch);
    assert_int_equal(latest_of(&d, "t").stream, 9);
    b.next = 1;
    disk_put(&d, kit_batch(&b, 1, "t"), 1); /* the one that was told, and another */
    disk_put(&d, kit_batch(&a, 1, "v"), 1);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(latest_of(&d, "t").stream, 9);
        expect(&d, "SELECT topic || ' ' || id FROM latest",
               "t 0000000000000009-1\nu 0000000000000005-3\nv 0000000000000005-4\n");
        if (round == 1)
            expire(&d, &all, 100);
        restart(&d);
    }
    disk_close(&d);
}

/* Without it what a peer told is forgotten by a crash. */
static void
what_a_peer_told_survives_a_crash(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5), b = kit_writer(9);
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    disk_stop(&d);
    pid_t child = fork();
    if (child == 0) {
        struct commit_result r;
        disk_start(&d);
        b.lamport          = 7;
        struct commit told = {.kind = COMMIT_LATEST, .batch = kit_batch(&b, 1, "t")};
        disk_commit(&d, &told, 1, 1, &r);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    disk_start(&d);
    assert_int_equal(latest_of(&d, "t").stream, 9);
    disk_close(&d);
}

/* Without it a message that was lost leaves nothing, though one before it can be read. */
static void
a_lost_newest_message_gives_way(void **state)
{
    struct disk   d;
    struct writer a = kit_writer(5);
    sqlite3      *db;
    char          path[128];
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    expire(&d, &all, 100);
    disk_put(&d, kit_batch(&a, 1, "t"), 1);
    snprintf(path, sizeof path, "%s/broker.db", d.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM messages", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(latest_of(&d, "t").seq, 1);
    disk_close(&d);
}

struct shown {
    char     text[256];
    uint64_t newest;
};

static void
show_topic(void *ctx, struct str name, uint64_t count, uint64_t newest)
{
    struct shown *s = ctx;
    size_t        n = strlen(s->text);
    snprintf(s->text + n, sizeof s->text - n, "%.*s %d,", STR_ARG(name), (int)count);
    s->newest = newest;
}

static void
counts_are(struct disk *d, const char *wanted)
{
    struct shown s = {0};
    store_topics(d->s, show_topic, &s);
    assert_string_equal(s.text, wanted);
}

/* Without it what a topic holds is counted wrong once something went. */
static void
topics_count_what_is_left(void **state)
{
    struct disk            d;
    struct writer          a      = kit_writer(5);
    const struct retention second = {.age_ms = 1000};
    (void)state;
    disk_open(&d, false);
    disk_put(&d, kit_batch(&a, 3, "t"), 1000);
    disk_put(&d, kit_batch(&a, 2, "u"), 1000);
    disk_put(&d, kit_batch(&a, 4, "t"), 3000);
    disk_put(&d, kit_batch(&a, 4, "w"), 5000);
    assert_int_equal(expire(&d, &second, 2500), 1);
    for (int round = 0; round < 2; round++) {
        counts_are(&d, "t 4,u 0,w 4,");
        expect(&d, "SELECT count(*) FROM removals", "1\n");
        restart(&d);
    }
    assert_int_equal(expire(&d, &second, 4500), 1);
    counts_are(&d, "t 0,u 0,w 4,");
    disk_put(&d, kit_batch(&a, 1, "u"), 5000);
    for (int i = 0; i < 6; i++)
        store_tend(d.s, true);
    for (int round = 0; round < 2; round++) {
        counts_are(&d, "t 0,u 1,w 4,");
        expect(&d, "SELECT count(*) FROM removals", "0\n");
        expect(&d, "SELECT name || ' ' || count || ' ' || removed FROM topics",
               "t 7 7\nu 3 2\nw 4 0\n");
        restart(&d);
    }
    disk_close(&d);
}

/* Without it an idle broker collects rows of what was taken, a step a minute, for ever. */
static void
removals_are_added_up_now_and_then(void **state)
{
    struct disk            d;
    struct writer          a      = kit_writer(5);
    const struct retention policy = {.age_ms = 1000};
    (void)state;
    disk_open(&d, false);
    for (int i = 0; i < 200; i++)
        disk_put(&d, kit_batch(&a, 1, i % 3 ? i % 3 == 1 ? "u" : "v" : "t"), i * 100);
    for (int i = 0; i < 170; i++) {
        expire(&d, &policy, i * 100 + 1001);
        expect(&d, "SELECT count(*) < 65 FROM removals", "1\n");
        if (i % 40 == 39 && i < 90)
            restart(&d);
        if (i == 90) { /* topics are written in between */
            disk_put(&d, kit_batch(&a, 1, "w"), 20000);
            for (int k = 0; k < 6; k++)
                store_tend(d.s, true);
            expect(&d, "SELECT count(*) FROM removals", "0\n");
        }
    }
    for (int round = 0; round < 2; round++) {
        counts_are(&d, "t 10,u 10,v 10,w 1,");
        restart(&d);
    }
    disk_close(&d);
}

/* Without it a cluster of processes that come and go grows a table without end. */
static void
only_so_many_retired_streams_are_remembered(void **state)
{
    struct disk      d;
    struct writer    a      = kit_writer(5);
    struct retention policy = {.age_ms = 10, .retire_ms = 1000};
    sqlite3         *db;
    char             path[128], sql[512];
    (void)state;
    disk_open(&d, false);
    disk_stop(&d);
    snprintf(path, sizeof path, "%s/broker.db", d.dir);
    snprintf(sql, sizeof sql,
             "WITH n(i) AS (VALUES (100) UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO streams SELECT i, 'h:1', 1, zeroblob(16), 1, 0, 10000, 1, zeroblob(16),"
             " 1, NULL, 2, 0 FROM n",
             RETIRED_MAX + 101);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    disk_start(&d);
    assert_int_equal(d.found->stream_count, RETIRED_MAX);
    disk_stop(&d);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM streams WHERE stream < 103", NULL, NULL, NULL),
                     SQLITE_OK); /* one less than may be */
    sqlite3_close(db);
    for (uint64_t i = 0; i < 3; i++) {
        disk_start(&d);
        assert_int_equal(d.found->stream_count, RETIRED_MAX - 1 + i);
        a = kit_writer(i + 1);
        disk_put(&d, kit_batch(&a, 1, "t"), 9000);
        struct retained *r = disk_retain(&d, &policy, 10500);
        assert_true(r && r->retired_count == (i == 0) && r->forgotten_count == 0);
        retained_drop(r);
        disk_stop(&d);
    }
    disk_start(&d);
    struct retained *r = disk_retain(&d, &policy, 20000);
    assert_true(r && r->more && r->forgotten_count > 0 && r->forgotten_count < 1000);
    retained_drop(r);
    expire(&d, &policy, 20000);
    expire(&d, &policy, 20000);
    expect(&d, "SELECT count(*) FROM streams", "0\n");
    disk_close(&d);
}

/* ---- what is written ---- */

/* Without it an idle broker writes to its disk each minute. */
static void
nothing_to_do_writes_nothing(void **state)
{
    struct disk            d;
    struct writer          a      = kit_writer(5);
    const struct retention policy = {.age_ms = 1000, .bytes = 1 << 30, .retire_ms = 100000};
    (void)state;
    disk_open(&d, false);
    for (int round = 0; round < 3; round++) {
        int before      = kit_fsyncs;
        kit_writes_left = 0;
        for (int i = 0; i < 3; i++)
            assert_null(disk_retain(&d, &policy, 2000 + i));
        kit_writes_left = -1;
        assert_int_equal(kit_fsyncs, before);
        if (round == 0)
            disk_put(&d, kit_batch(&a, 5, "t"), 1000);
        if (round == 0)
            assert_int_equal(expire(&d, &policy, 2001), 1);
        if (round == 1)
            disk_put(&d, kit_batch(&a, 5, "t"), 1500);
    }
    disk_close(&d);
}

static uint64_t
bytes_in_use(struct disk *d)
{
    char          path[128];
    sqlite3      *db;
    sqlite3_stmt *q;
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT 4096 * (page_count - freelist_count) FROM"
                                        " pragma_page_count(), pragma_freelist_count()",
                                        -1, &q, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    uint64_t bytes = (uint64_t)sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return bytes;
}

/* Batches, until they are so many bytes at least. */
static void
fill(struct disk *d, struct writer *w, uint32_t count, size_t body, uint64_t bytes)
{
    enum { GROUP = 100 };
    struct commit        c[GROUP];
    struct commit_result r[GROUP];
    for (uint64_t done = 0; done < bytes;) {
        uint32_t n = 0;
        for (; n < GROUP && done < bytes; n++, done += count * (body + 50))
            c[n] = (struct commit){.kind  = COMMIT_BATCH,
                                   .batch = kit_batch_with(w, count, "t", body, NULL, 0)};
        disk_commit(d, c, n, 1, r);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(r[i].err, ERR_OK);
            blob_drop(c[i].batch);
        }
    }
}

/* Without it a file outgrows its limit, or loses more than it must. */
static void
bytes_keep_the_file_within_its_limit(void **state)
{
    static const struct {
        uint32_t count;
        size_t   body;
        uint64_t bytes, slack; /* one batch more, and what is kept */
    } row[] = {{1000, 100, 2 << 20, 256 << 10},
               {1, 100, 400 << 10, 16 << 10},
               {3, 5000, 2 << 20, 64 << 10},
               {1, 1 << 20, 4 << 20, 2 << 20}};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct disk            d;
        struct writer          a      = kit_writer(5);
        const struct retention policy = {.bytes = row[i].bytes};
        disk_open(&d, false);
        fill(&d, &a, row[i].count, row[i].body, row[i].bytes / 3);
        assert_int_equal(expire(&d, &policy, 1), 0);
        fill(&d, &a, row[i].count, row[i].body, row[i].bytes * 2);
        for (int round = 0; round < 3; round++) {
            assert_true(bytes_in_use(&d) > policy.bytes);
            assert_true(expire(&d, &policy, 1) > 0);
            assert_true(bytes_in_use(&d) <= policy.bytes);
            assert_true(bytes_in_use(&d) + row[i].slack > policy.bytes);
            assert_int_equal(expire(&d, &policy, 1), 0);
            fill(&d, &a, row[i].count, row[i].body, row[i].bytes / 2);
        }
        disk_close(&d);
    }
}

/* Without it a limit that is smaller than what must stay makes retention run for ever. */
static void
a_limit_too_small_takes_all_and_rests(void **state)
{
    struct disk            d;
    struct writer          a      = kit_writer(5);
    const struct retention policy = {.bytes = 1};
    (void)state;
    disk_open(&d, false);
    for (int i = 0; i < 10; i++)
        disk_put(&d, kit_batch(&a, 1000, "t/"), 1);
    assert_true(expire(&d, &policy, 1) < 20);
    expect(&d, "SELECT count(*) FROM messages", "0\n");
    expect(&d, "SELECT count(*) FROM kept", "10000\n");
    expect(&d, "SELECT (SELECT count(*) FROM segments) + (SELECT count(*) FROM postings)", "0\n");
    assert_null(disk_retain(&d, &policy, 1));
    disk_close(&d);
}

/* ---- a disk that fails ---- */

static int
failing_at(int k, bool is_refusing)
{
    struct disk          d;
    struct writer        a = kit_writer(5), lost;
    struct commit_result r[2];
    struct retained     *got = NULL;
    disk_open(&d, false);
    disk_put(&d, kit_batch_with(&a, 12, "t/", 500, NULL, 0), 1);
    disk_put(&d, kit_batch(&a, 3, "t/1"), 1);
    lost              = a;
    struct commit c[] = {{.kind = COMMIT_BATCH, .batch = kit_batch(&lost, 1, "x")},
                         {.kind = COMMIT_PROBE}};
    if (is_refusing) {
        kit_writes_left = 0;
        disk_commit(&d, c, 1, 1, r);
        assert_int_equal(r[0].err, ERR_FULL);
    }
    kit_writes_left = k;
    enum err e      = store_retain(d.s, &all, (struct wall){100}, &got);
    kit_writes_left = -1;
    if (e != ERR_OK) {
        assert_int_equal(e, ERR_FULL);
        assert_null(got);
        expect(&d, "SELECT count(*) FROM messages", "15\n");
        assert_int_equal(latest_of(&d, "t/1").seq, 15);
        got = disk_retain(&d, &all, 100); /* it is tried again */
    }
    assert_true(got && got->lsn_first == 16 && got->count == 1 && got->floor[0].floor == 15);
    retained_drop(got);
    expect(&d, "SELECT count(*) FROM kept", "12\n");
    /* Whether commits are taken is another matter. */
    disk_commit(&d, c, is_refusing ? 2 : 1, 1, r);
    assert_int_equal(r[0].err, is_refusing ? ERR_FULL : ERR_OK);
    if (is_refusing)
        assert_int_equal(r[1].err, ERR_OK);
    blob_drop(c[0].batch);
    assert_int_equal(latest_of(&d, "t/1").seq, 15);
    restart(&d);
    assert_int_equal(d.found->stream[0].floor, 15);
    assert_int_equal(d.found->stream[0].head, is_refusing ? 15 : 16);
    disk_close(&d);
    return e == ERR_OK;
}

/* Without it a full disk, which retention is to free, stops it for good or tears the log. */
static void
any_write_may_fail(void **state)
{
    (void)state;
    for (int refusing = 0; refusing < 2; refusing++) {
        int k = 0;
        while (!failing_at(k, refusing))
            assert_true(++k < 300);
        assert_true(k > 5);
    }
}

/* ---- what is damaged ---- */

static void
execute(const struct disk *d, const char *sql)
{
    char     path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Without it one flipped bit at the front of the log keeps all of it for ever. */
static void
what_is_damaged_goes_too(void **state)
{
    static const char *const damage[] = {
        "SELECT 1",
        "DELETE FROM batches WHERE lsn = 1",
        "UPDATE batches SET last = 11 WHERE lsn = 1",
        "UPDATE batches SET last = 2 WHERE lsn = 1",
        "UPDATE batches SET last = 1000000000 WHERE lsn = 1",
        "UPDATE batches SET lsn = 3 WHERE lsn = 1",
        "UPDATE batches SET chain = x'00' WHERE lsn = 1",
        "UPDATE batches SET flags = 4 WHERE lsn = 1",
        "UPDATE messages SET stream = 7 WHERE lsn = 3",
        "UPDATE messages SET stream = 9 WHERE lsn = 3",
        "UPDATE messages SET seq = 77 WHERE lsn = 4",
        "UPDATE messages SET seq = -1 WHERE lsn = 1",
        "UPDATE messages SET topic = 99 WHERE lsn = 2",
        "DELETE FROM messages WHERE lsn = 3",
        "DELETE FROM messages WHERE lsn = 1",
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof damage / sizeof *damage; i++) {
        bool                   is_alone = i % 2; /* the batch behind it is of another stream */
        struct disk            d;
        struct writer          a = kit_writer(5), b = kit_writer(9);
        const struct retention policy = {.age_ms = 1000};
        disk_open(&d, false);
        disk_put(&d, kit_batch(&a, 5, "t"), 1000);
        struct hash128 chain = a.chain;
        disk_put(&d, kit_batch(is_alone ? &b : &a, 4, "u"), 3000);
        disk_put(&d, kit_batch(is_alone ? &a : &b, 5, "t"), 4000);
        execute(&d, damage[i / 2]);
        execute(&d, "UPDATE messages SET wall_ms = 1000 WHERE lsn < 6");
        expire(&d, &policy, 2500);
        expect(&d, "SELECT min(lsn) FROM messages", "6\n");
        expect(&d, "SELECT count(*) FROM batches WHERE stream = 5 AND first < 6", "0\n");
        restart(&d);
        assert_int_equal(d.found->lsn_first, 6);
        assert_int_equal(d.found->stream[0].floor, 5);
        assert_true(hash128_eq(d.found->stream[0].floor_chain, chain));
        assert_int_equal(d.found->stream[1].floor, 0);
        expire(&d, &policy, 9000);
        expect(&d, "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM batches)",
               "0\n");
        restart(&d);
        for (int k = 0; k < 2; k++) {
            const struct stream_state *s = &d.found->stream[k];
            assert_int_equal(s->floor, s->head);
            assert_true(hash128_eq(s->floor_chain, s->chain));
        }
        disk_close(&d);
    }
}

/* ---- crashes ---- */

enum { STREAMS = 4, TOPICS = 3 };

/* What the process that dies was told; it outlives it. */
struct told {
    uint64_t head[STREAMS], floor[STREAMS], lsn, newest[TOPICS];
};

static const char *const topic_name[TOPICS] = {"a", "b", "c"};

static void
tell_retained(struct told *told, const struct retained *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        told->floor[r->floor[i].stream - 1] = r->floor[i].floor;
}

static void
put_and_retain(struct disk *d, struct batch *b, int64_t now, const struct retention *policy,
               struct retained **out)
{
    struct commit        c = {.kind = COMMIT_BATCH, .batch = b};
    struct commit_result r;
    assert_true(store_commit_retain(d->s, &c, 1, (struct wall){now}, &r, policy, out));
    assert_int_equal(r.err, ERR_OK);
    blob_drop(b);
}

/* Commits, gaps, what peers tell, retention, snapshots: until a write kills it. */
static void
live(struct disk *d, struct told *told, uint64_t seed)
{
    struct prng   random = {seed};
    struct writer w[STREAMS];
    int64_t       now = 1000 + (int64_t)d->found->lsn;
    for (uint32_t i = 0; i < STREAMS; i++)
        w[i] = kit_writer(i + 1);
    for (uint32_t i = 0; i < d->found->stream_count; i++) {
        const struct stream_state *s = &d->found->stream[i];
        w[s->stream - 1] = (struct writer){s->stream, s->head + 1, s->stamp + 1, s->chain};
    }
    kit_dies_in = 1 + (int)prng_below(&random, 120);
    for (;;) {
        uint64_t         i = prng_below(&random, STREAMS), t = prng_below(&random, TOPICS);
        uint32_t         n      = (uint32_t)prng_below(&random, 40);
        struct mark      dep    = {(i + 1) % STREAMS + 1, 1};
        struct writer   *of     = &w[i];
        struct retained *r      = NULL;
        struct retention policy = {.age_ms = 100 + prng_below(&random, 300)};
        of->lamport += prng_below(&random, 50);
        if (n == 0) {
            disk_put(d, kit_gap(of, of->next + 5, &dep, 1), now);
        } else if (n == 1) {
            struct writer other = {77, 1 + (uint64_t)now, of->lamport, {{0}}};
            struct commit c = {.kind = COMMIT_LATEST, .batch = kit_batch(&other, 1, topic_name[t])};
            struct commit_result result;
            disk_commit(d, &c, 1, now, &result);
            blob_drop(c.batch);
        } else {
            put_and_retain(d, kit_batch_with(of, n, topic_name[t], 200, NULL, 0), now, &policy, &r);
            told->newest[t] = of->lamport - 1 > told->newest[t] ? of->lamport - 1 : told->newest[t];
        }
        told->head[i] = of->next - 1;
        now += 20;
        if (!r && prng_below(&random, 2) == 0)
            r = disk_retain(d, &policy, now);
        if (r)
            tell_retained(told, r);
        retained_drop(r);
        if (prng_below(&random, 20) == 0)
            store_tend(d->s, true);
    }
}

/* The batches that are left, from each floor to its head: digests and chains fit. */
static void
log_is_whole(struct disk *d, const struct told *told)
{
    uint64_t       at[STREAMS] = {0};
    struct hash128 chain[STREAMS];
    struct read    read = {.lsn = 1, .lsn_last = d->found->lsn, .bytes_max = TAIL, .batches = true};
    uint64_t       next = d->found->lsn_first;
    for (uint32_t i = 0; i < d->found->stream_count; i++) {
        const struct stream_state *s = &d->found->stream[i];
        at[s->stream - 1]            = s->floor;
        chain[s->stream - 1]         = s->floor_chain;
        assert_true(s->floor >= told->floor[s->stream - 1]);
        assert_true(s->head >= told->head[s->stream - 1]);
    }
    while (read.lsn <= read.lsn_last) {
        struct page *p = disk_read(d, &read);
        for (uint32_t i = 0; i < p->count; i++) {
            const struct batch *b = p->batch[i];
            uint64_t           *n = &at[b->stream - 1];
            assert_int_equal(p->batch_lsn[i], next);
            next += batch_lsns(b);
            if (batch_is_gap(b) && batch_last(b) == *n)
                continue; /* whose floor has jumped */
            assert_int_equal(b->first, *n + 1);
            assert_true(batch_is_gap(b) || *n == 0 || hash128_eq(b->prev, chain[b->stream - 1]));
            *n                   = batch_last(b);
            chain[b->stream - 1] = b->chain;
        }
        read.lsn = p->lsn_next;
        page_drop(p);
    }
    assert_int_equal(next, d->found->lsn + 1);
    for (uint32_t i = 0; i < d->found->stream_count; i++) {
        const struct stream_state *s = &d->found->stream[i];
        assert_int_equal(at[s->stream - 1], s->head);
        assert_true(hash128_eq(chain[s->stream - 1], s->chain));
        assert_true(s->floor < s->head || (!s->owed) == (!s->floor_owed));
    }
}

static void
count_topic(void *ctx, struct str name, uint64_t count, uint64_t newest)
{
    struct disk *d = ctx;
    char         sql[256], wanted[64];
    (void)newest;
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM messages m JOIN topics t ON t.id = m.topic"
             " WHERE t.name = '%.*s'",
             STR_ARG(name));
    snprintf(wanted, sizeof wanted, "%lu\n", (unsigned long)count);
    expect(d, sql, wanted);
}

static void
topics_are_right(struct disk *d, const struct told *told)
{
    store_topics(d->s, count_topic, d);
    for (uint32_t t = 0; t < TOPICS; t++) {
        char         sql[512], wanted[64];
        struct page *p = NULL;
        if (store_latest(d->s, str_of(topic_name[t]), &p) != ERR_OK) {
            assert_int_equal(told->newest[t], 0);
            continue;
        }
        const struct entry *e = &p->entry[0];
        assert_true(e->lamport >= told->newest[t]);
        snprintf(wanted, sizeof wanted, "%016lx-%lu\n", (unsigned long)e->mark.stream,
                 (unsigned long)e->mark.seq);
        snprintf(sql, sizeof sql, "SELECT id FROM latest WHERE topic = '%s'", topic_name[t]);
        expect(d, sql, wanted);
        snprintf(sql, sizeof sql,
                 "SELECT printf('%%016x-%%d', stream, seq) FROM (SELECT m.lamport, m.stream, m.seq"
                 " FROM messages m JOIN topics t ON t.id = m.topic WHERE t.name = '%s' UNION"
                 " SELECT k.lamport, k.stream, k.seq FROM kept k JOIN topics t ON t.id = k.topic"
                 " WHERE t.name = '%s') ORDER BY lamport DESC, stream DESC, seq DESC LIMIT 1",
                 topic_name[t], topic_name[t]);
        expect(d, sql, wanted);
        page_drop(p);
    }
}

/* Without it a crash leaves floors without what they stand for, messages that are counted
 * and gone, or a topic without its newest message. */
static void
a_crash_at_any_write_leaves_all_or_nothing(void **state)
{
    struct disk  d;
    struct told *told =
        mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t taken = 0;
    (void)state;
    assert_true(told != MAP_FAILED);
    disk_open(&d, false);
    for (uint64_t round = 1; round <= 40; round++) {
        disk_stop(&d);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            disk_start(&d);
            live(&d, told, round);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        disk_start(&d);
        log_is_whole(&d, told);
        topics_are_right(&d, told);
        taken += d.found->lsn_first > 1;
    }
    assert_true(taken > 30);
    expect(&d, "PRAGMA integrity_check", "ok\n");
    munmap(told, sizeof *told);
    disk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(the_newest_is_found_wherever_it_lies),
        cmocka_unit_test(what_a_peer_told_survives_a_crash),
        cmocka_unit_test(a_lost_newest_message_gives_way),
        cmocka_unit_test(topics_count_what_is_left),
        cmocka_unit_test(removals_are_added_up_now_and_then),
        cmocka_unit_test(only_so_many_retired_streams_are_remembered),
        cmocka_unit_test(nothing_to_do_writes_nothing),
        cmocka_unit_test(bytes_keep_the_file_within_its_limit),
        cmocka_unit_test(a_limit_too_small_takes_all_and_rests),
        cmocka_unit_test(any_write_may_fail),
        cmocka_unit_test(what_is_damaged_goes_too),
        cmocka_unit_test(a_crash_at_any_write_leaves_all_or_nothing),
    };
    return cmocka_run_group_tests_name("store retention on a disk", test, NULL, NULL);
}
