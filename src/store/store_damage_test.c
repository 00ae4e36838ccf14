/* Flipped bits in broker.db: what is read is what was stored, or is said to be gone, and what
 * a peer still has mends it. */
#include "store/store.h"

#include "base/trace.h"
#include "tests/store_kit.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

enum { WRITERS = 3, BATCHES = 200, TAIL = 1 << 20 };

/* ---- a log of which all is known ---- */

struct log {
    struct disk   d;
    struct writer writer[WRITERS];
    struct batch *batch[BATCHES]; /* in lsn order */
    uint64_t      lsn[BATCHES + 1];
    uint32_t      count;
    char          wound[128];
};

static void
put_batch(struct log *l, struct batch *b)
{
    blob_keep(b);
    l->lsn[l->count]     = disk_put(&l->d, b, 1000 + l->count);
    l->batch[l->count++] = b;
    l->lsn[l->count]     = l->lsn[l->count - 1] + b->count;
}

static void
put(struct log *l, uint32_t who, uint32_t messages, const char *topic)
{
    put_batch(l, kit_batch(&l->writer[who], messages, topic));
}

/* Nine batches of three streams, one of one message, one that ends its stream. */
static void
log_open(struct log *l)
{
    *l = (struct log){.writer = {kit_writer(0x1111), kit_writer(0x2222), kit_writer(0x3333)}};
    disk_open(&l->d, false);
    for (uint32_t i = 0; i < 9; i++)
        put(l, i % WRITERS, i == 4 ? 1 : 3 + i, i % 2 ? "odd/" : "even");
}

static void
log_close(struct log *l)
{
    disk_close(&l->d);
    for (uint32_t i = 0; i < l->count; i++)
        blob_drop(l->batch[i]);
}

/* A flipped bit asks for no constraint. */
static const char loosen[] =
    "CREATE TEMP TABLE was AS SELECT name, sql FROM main.sqlite_schema WHERE type = 'table';"
    "PRAGMA writable_schema = ON;"
    "UPDATE main.sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table';"
    "PRAGMA writable_schema = RESET";
static const char tighten[] =
    "PRAGMA writable_schema = ON;"
    "UPDATE main.sqlite_schema AS s SET sql = (SELECT w.sql FROM was w WHERE w.name ="
    " s.name) WHERE type = 'table'; PRAGMA writable_schema = RESET";

static void
execute(struct log *l, const char *sql)
{
    sqlite3 *db;
    char     path[128], *why = NULL;
    bool     null = strstr(sql, "NULL");
    disk_path(&l->d, "", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 1000);
    if ((null && sqlite3_exec(db, loosen, NULL, NULL, &why) != SQLITE_OK) ||
        sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    assert_true(sqlite3_changes(db) > 0);
    if (null && sqlite3_exec(db, tighten, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    sqlite3_close(db);
    snprintf(l->wound, sizeof l->wound, "%s", sql);
}

static void
mend(struct log *l, uint32_t i)
{
    struct commit        c = {.kind = COMMIT_REPAIR, .batch = l->batch[i]};
    struct commit_result r;
    disk_commit(&l->d, &c, 1, 7777, &r);
    assert_int_equal(r.err, ERR_OK);
}

/* ---- reading all of it ---- */

struct found {
    bool     told[BATCHES][32]; /* delivered, or said to be gone */
    uint32_t delivered, gone, batches, whole, holes, damages;
    bool     damaged[BATCHES]; /* named by some page */
    bool     failed;           /* the file cannot be read any further */
};

static uint32_t
batch_of(const struct log *l, struct mark m)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->batch[i]->stream == m.stream && l->batch[i]->first <= m.seq &&
            m.seq <= batch_last(l->batch[i]))
            return i;
    fail_msg("%llx-%llu was never written", (unsigned long long)m.stream,
             (unsigned long long)m.seq);
    return 0;
}

static void
take_entry(const struct log *l, const struct entry *e, struct found *f)
{
    uint64_t to = e->gap_to != 0 ? e->gap_to : e->mark.seq;
    for (uint64_t seq = e->mark.seq; seq <= to; seq++) {
        uint32_t            i = batch_of(l, (struct mark){e->mark.stream, seq});
        const struct batch *b = l->batch[i];
        uint32_t            k = (uint32_t)(seq - b->first);
        if (f->told[i][k])
            fail_msg("%llx-%llu is told twice, at lsn %llu, after %s",
                     (unsigned long long)e->mark.stream, (unsigned long long)seq,
                     (unsigned long long)e->lsn, l->wound);
        f->told[i][k] = true;
        f->gone += e->gap_to != 0;
        if (e->gap_to != 0)
            continue;
        f->delivered++;
        assert_int_equal(e->lamport, b->lamport_first + k);
        assert_true(str_eq(e->topic, b->msg[k].topic));
        assert_true(str_eq(e->headers, b->msg[k].headers));
        assert_true(str_eq(e->body, b->msg[k].body));
    }
}

static void
take_batch(const struct log *l, const struct batch *b, struct found *f)
{
    const struct batch *was  = l->batch[batch_of(l, (struct mark){b->stream, b->first})];
    struct batch       *copy = (struct batch *)(uintptr_t)b;
    bool                all  = true;
    if (batch_is_gap(b)) { /* what follows it still fits */
        assert_true(b->first == was->first && b->gap_last == batch_last(was));
        assert_true(hash128_eq(b->chain, was->chain) && batch_stamp(b) == batch_stamp(was));
        assert_true(str_eq(b->origin, STR("host:3000")));
        f->holes++;
        return;
    }
    assert_true(b->first == was->first && b->count == was->count);
    assert_true(hash128_eq(b->chain, was->chain) && batch_digests(copy));
    for (uint32_t i = 0; i < b->count; i++) {
        all &= !(b->msg[i].flags & MSG_DIGEST_ONLY);
        if (!(b->msg[i].flags & MSG_DIGEST_ONLY))
            assert_true(kit_same_msg(&b->msg[i], &was->msg[i]));
    }
    f->batches++;
    f->whole += all;
}

static void
take_page(const struct log *l, const struct page *p, struct found *f)
{
    for (uint32_t i = 0; i < p->damage_count; i++) {
        const struct damage *d = &p->damage[i];
        uint32_t             k = batch_of(l, (struct mark){d->stream, d->first});
        f->damaged[k]          = true;
        f->damages++;
    }
    for (uint32_t i = 0; i < p->count; i++)
        if (p->batch)
            take_batch(l, p->batch[i], f);
        else
            take_entry(l, &p->entry[i], f);
}

/* Whatever was flipped: what is read was written, and what is not read is told. */
static struct found
read_log(const struct log *l, bool batches, read_want *want, struct str *literal)
{
    struct found f    = {0};
    struct read  read = {.lsn           = 1,
                         .lsn_last      = l->lsn[l->count] - 1,
                         .batches       = batches,
                         .want          = want,
                         .literal       = literal,
                         .literal_count = literal ? 1 : 0,
                         .bytes_max     = 700};
    while (read.lsn <= read.lsn_last) {
        struct page *p;
        enum err     e = store_read(l->d.r, &read, &p);
        if (e != ERR_OK) {
            assert_int_equal(e, ERR_CORRUPT);
            f.failed = true;
            return f;
        }
        take_page(l, p, &f);
        assert_true(p->lsn_next > read.lsn);
        for (uint32_t i = 0; i < p->scanned_count; i++)
            batch_of(l, p->scanned[i]);
        assert_true(p->stamp < 65536);
        read.lsn = p->lsn_next;
        page_drop(p);
    }
    for (uint32_t i = 0; !batches && !want && i < l->count; i++)
        for (uint32_t k = 0; k < l->batch[i]->count; k++)
            if (!f.told[i][k])
                fail_msg("message %u of batch %u is not told after %s", k, i, l->wound);
    return f;
}

static void
assert_all_is_well(const struct log *l)
{
    struct found f = read_log(l, false, NULL, NULL);
    assert_false(f.failed);
    if (f.damages > 0)
        fail_msg("%u damages are left after %s", f.damages, l->wound);
    assert_int_equal(f.gone, 0);
    assert_int_equal(f.delivered, l->lsn[l->count] - 1);
    f = read_log(l, true, NULL, NULL);
    assert_int_equal(f.damages, 0);
    assert_int_equal(f.batches, l->count);
    assert_int_equal(f.whole, l->count);
}

/* ---- one row ---- */

/* Message 2 of batch 3, and its batch; in all tests that follow. */
enum { HURT = 3, SECOND = 1 };

struct wound {
    const char *sql;
    bool        hides_text; /* from a peer */
};

/* Without it a flipped bit is delivered as a message, or hides one for ever. */
static void
a_damaged_message_is_told_and_mended(void **state)
{
    static const struct wound wound[] = {
        {"UPDATE messages SET body = 'forged' WHERE lsn = 14", true},
        {"UPDATE messages SET headers = 'content-type: a/b\n' WHERE lsn = 14", true},
        {"UPDATE messages SET topic = 1 WHERE lsn = 14", true},
        {"UPDATE messages SET topic = 9999 WHERE lsn = 14", true},
        {"UPDATE messages SET topic = NULL WHERE lsn = 14", true},
        {"UPDATE messages SET flags = 1 WHERE lsn = 14", false},
        {"UPDATE messages SET flags = 4 WHERE lsn = 14", false},
        {"UPDATE messages SET digest = randomblob(16) WHERE lsn = 14", false},
        {"UPDATE messages SET digest = zeroblob(3) WHERE lsn = 14", false},
        {"UPDATE messages SET digest = NULL WHERE lsn = 14", false},
        {"UPDATE messages SET body = NULL WHERE lsn = 14", true},
        {"UPDATE messages SET body = 12.5 WHERE lsn = 14", true},
        {"UPDATE messages SET stream = NULL WHERE lsn = 14", false},
        {"UPDATE messages SET seq = 'x' WHERE lsn = 14", false},
        {"UPDATE messages SET lamport = NULL WHERE lsn = 14", false},
        {"UPDATE messages SET wall_ms = NULL WHERE lsn = 14", false},
        {"UPDATE messages SET flags = NULL, wall_ms = 0 WHERE lsn = 14", false},
        {"UPDATE messages SET seq = seq + 1024 WHERE lsn = 14", false},
        {"UPDATE messages SET seq = seq + 1 WHERE lsn = 14", false},
        {"UPDATE messages SET stream = stream + 256 WHERE lsn = 14", false},
        {"UPDATE messages SET stream = 8738 WHERE lsn = 14", false},
        {"UPDATE messages SET lamport = lamport + 65536 WHERE lsn = 14", false},
        {"UPDATE messages SET wall_ms = wall_ms - 1 WHERE lsn = 14", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct log l;
        log_open(&l);
        assert_int_equal(l.lsn[HURT], 13);
        execute(&l, wound[i].sql);
        struct found f = read_log(&l, false, NULL, NULL);
        assert_false(f.failed);
        assert_int_equal(f.gone, 1);
        assert_true(f.damaged[HURT] && f.damages >= 1);
        f = read_log(&l, true, NULL, NULL);
        assert_int_equal(f.batches, l.count);
        assert_int_equal(f.whole, l.count - wound[i].hides_text);
        if (!f.damaged[HURT])
            fail_msg("not noticed for a peer: %s", wound[i].sql);
        disk_stop(&l.d);
        disk_start(&l.d);
        if (store_was_corrupt(l.d.s))
            fail_msg("the file is put aside after %s", wound[i].sql);
        mend(&l, HURT);
        assert_all_is_well(&l);
        disk_stop(&l.d);
        disk_start(&l.d);
        assert_all_is_well(&l);
        log_close(&l);
    }
}

/* Without it what is not there any more is passed over in silence. */
static void
lost_rows_are_told_and_mended(void **state)
{
    static const char *const wound[] = {
        "DELETE FROM messages WHERE lsn = 14",
        "DELETE FROM messages WHERE lsn BETWEEN 13 AND 18",
        "UPDATE messages SET lsn = 4000000 WHERE lsn = 14",
        "UPDATE messages SET digest = zeroblob(3), body = 'x' WHERE lsn = 14",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct log l;
        log_open(&l);
        execute(&l, wound[i]);
        struct found f = read_log(&l, false, NULL, NULL);
        assert_false(f.failed);
        assert_int_equal(f.gone, i == 1 ? 6 : 1);
        f = read_log(&l, true, NULL, NULL);
        assert_int_equal(f.batches, l.count - 1); /* it is not what was sealed: */
        assert_int_equal(f.holes, 1);             /* others get on without it */
        assert_true(f.damaged[HURT]);
        if (i == 2)
            execute(&l, "DELETE FROM messages WHERE lsn = 4000000");
        mend(&l, HURT);
        assert_all_is_well(&l);
        log_close(&l);
    }
}

/* A log that is read in whole: what is said of it in which way. */
static struct found
read_batches(const struct log *l)
{
    struct found f = read_log(l, false, NULL, NULL);
    if (f.failed)
        fail_msg("clients cannot read on after %s", l->wound);
    f = read_log(l, true, NULL, NULL);
    if (f.failed)
        fail_msg("peers cannot read on after %s", l->wound);
    if (f.batches + f.holes != l->count || !f.damaged[HURT])
        fail_msg("%u batches and %u gaps are read after %s", f.batches, f.holes, l->wound);
    return f;
}

/* Without it a peer stores a batch that its origin never sealed, or misses all that follows. */
static void
a_damaged_row_of_batches_is_told_and_mended(void **state)
{
    static const char *const wound[] = {
        "UPDATE batches SET last = last + 1 WHERE lsn = 13",
        "UPDATE batches SET last = last + 4096 WHERE lsn = 13",
        "UPDATE batches SET last = last - 1 WHERE lsn = 13",
        "UPDATE batches SET last = 0 WHERE lsn = 13",
        "UPDATE batches SET last = NULL WHERE lsn = 13",
        "UPDATE batches SET first = first + 1048576 WHERE lsn = 13",
        "UPDATE batches SET first = first + 1 WHERE lsn = 13",
        "UPDATE batches SET first = 0 WHERE lsn = 13",
        "UPDATE batches SET lsn = lsn + 1024 WHERE lsn = 13",
        "UPDATE batches SET lsn = lsn - 8 WHERE lsn = 13",
        "UPDATE batches SET lsn = 'x' WHERE lsn = 13",
        "UPDATE batches SET lamport_first = lamport_first + 4 WHERE lsn = 13",
        "UPDATE batches SET lamport_first = 0 WHERE lsn = 13",
        "UPDATE batches SET wall_ms = wall_ms + 32 WHERE lsn = 13",
        "UPDATE batches SET wall_ms = NULL WHERE lsn = 13",
        "UPDATE batches SET flags = 4 WHERE lsn = 13",
        "UPDATE batches SET prev = randomblob(16) WHERE lsn = 13",
        "UPDATE batches SET prev = NULL WHERE lsn = 13",
        "UPDATE batches SET chain = randomblob(16) WHERE lsn = 13",
        "UPDATE batches SET chain = zeroblob(8) WHERE lsn = 13",
        "UPDATE batches SET chain = 7.5 WHERE lsn = 13",
        "UPDATE batches SET deps = x'01' WHERE lsn = 13", /* there were none */
        "UPDATE batches SET deps = NULL WHERE lsn = 13",
        "UPDATE batches SET deps = x'0100000000000055550a' WHERE lsn = 13",
        "UPDATE batches SET stream = 77 WHERE lsn = 13",
        "UPDATE batches SET stream = stream + 256 WHERE lsn = 13",
        "DELETE FROM batches WHERE lsn = 13",
        "UPDATE batches SET chain = randomblob(16), wall_ms = 7 WHERE lsn = 13",
        "UPDATE batches SET chain = randomblob(16), deps = NULL WHERE lsn = 13",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct log l;
        log_open(&l);
        execute(&l, wound[i]);
        struct found f = read_batches(&l);
        if (f.whole != l.count) /* the rest of the file says what was sealed */
            fail_msg("%u batches are whole after %s", f.whole, l.wound);
        disk_stop(&l.d);
        disk_start(&l.d);
        if (store_was_corrupt(l.d.s))
            fail_msg("the file is put aside after %s", wound[i]);
        f = read_batches(&l);
        if (f.whole != l.count)
            fail_msg("%u batches are whole after a start and %s", f.whole, l.wound);
        mend(&l, HURT);
        assert_all_is_well(&l);
        disk_stop(&l.d);
        disk_start(&l.d);
        if (store_was_corrupt(l.d.s))
            fail_msg("the file is put aside after %s", wound[i]);
        assert_all_is_well(&l);
        log_close(&l);
    }
}

/* Without it a peer waits for ever behind what nobody can tell any more, or takes what follows it
 * without what it depends on. */
static void
what_is_not_proved_is_a_gap(void **state)
{
    static const struct {
        const char *sql;
        bool        proved;
    } wound[] = {
        {"UPDATE batches SET deps = x'020000000000001111090000000000002222' || x'09'"
         " WHERE stream = 21845 AND first = 1",
         true}, /* one bit */
        {"UPDATE batches SET deps = x'00' WHERE stream = 21845 AND first = 1", false},
        {"UPDATE batches SET deps = NULL WHERE stream = 21845 AND first = 1", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct log    l;
        struct writer w = kit_writer(0x5555);
        log_open(&l);
        const struct mark deps[] = {{0x1111, 8}, {0x2222, 9}};
        put_batch(&l, kit_batch_with(&w, 2, "even", 20, deps, 2));
        put_batch(&l, kit_batch(&w, 1, "even"));
        uint64_t lsn = l.lsn[l.count - 2];
        execute(&l, wound[i].sql);
        struct read read = {.lsn = lsn, .lsn_last = lsn + 2, .batches = true, .bytes_max = 1 << 20};
        struct page *p;
        assert_int_equal(store_read(l.d.r, &read, &p), ERR_OK);
        assert_int_equal(p->count, 2);
        assert_int_equal(p->damage_count, 1);
        const struct batch *got = p->batch[0];
        if (batch_is_gap(got) == wound[i].proved)
            fail_msg("%s", wound[i].sql);
        if (!wound[i].proved) { /* all that was there before */
            assert_int_equal(got->deps_count, 3);
            for (uint32_t k = 0; k < WRITERS; k++)
                assert_int_equal(got->deps[k].seq, l.writer[k].next - 1);
            assert_true(hash128_eq(got->chain, p->batch[1]->prev));
            assert_int_equal(batch_stamp(got) + 1, p->batch[1]->lamport_first);
        }
        page_drop(p);
        mend(&l, l.count - 2);
        assert_all_is_well(&l);
        log_close(&l);
    }
}

/* Without it the last batch of a stream, which no other is chained to, or the first one, to
 * which its origin belongs, cannot be mended. */
static void
the_ends_of_a_stream_are_mended(void **state)
{
    static const struct {
        const char *sql;
        uint32_t    batch;
    } wound[] = {
        {"UPDATE batches SET chain = randomblob(16) WHERE lsn = 1", 0},
        {"DELETE FROM batches WHERE lsn = 1", 0},
        {"UPDATE messages SET body = 'x' WHERE lsn = 1", 0},
        {"UPDATE streams SET origin = 'hast:3000' WHERE stream = 4369", 0},
        {"DELETE FROM batches WHERE stream = 13107 AND first = 14", 8},
        {"UPDATE batches SET chain = randomblob(16) WHERE stream = 13107 AND first = 14", 8},
        {"UPDATE messages SET body = 'x' WHERE stream = 13107 AND seq = 17", 8},
        {"UPDATE batches SET first = first + 1024 WHERE stream = 13107 AND first = 14", 8},
        {"UPDATE batches SET last = 1 WHERE stream = 13107 AND first = 14", 8},
        {"UPDATE batches SET last = last + 64 WHERE stream = 13107 AND first = 14", 8},
        {"UPDATE batches SET lsn = lsn + 4 WHERE stream = 13107 AND first = 14", 8},
        {"UPDATE batches SET stream = 77 WHERE stream = 13107 AND first = 14", 8},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct log l;
        log_open(&l);
        assert_int_equal(l.batch[8]->first, 14);
        execute(&l, wound[i].sql);
        struct found f = read_log(&l, true, NULL, NULL);
        assert_false(f.failed);
        assert_true(f.damaged[wound[i].batch]);
        disk_stop(&l.d); /* which does not take what is left for all there was */
        disk_start(&l.d);
        assert_int_equal(l.d.found->lsn, l.lsn[l.count] - 1);
        f = read_log(&l, true, NULL, NULL);
        assert_true(f.damaged[wound[i].batch]);
        mend(&l, wound[i].batch);
        assert_all_is_well(&l);
        log_close(&l);
    }
}

/* Without it a head that was flipped makes the next batch of its stream look known, or like a
 * contradiction, for ever. */
static void
what_streams_say_is_put_right_at_a_start(void **state)
{
    static const char *const wound[] = {
        "UPDATE streams SET head = head + 1048576 WHERE stream = 4369",
        "UPDATE streams SET head = head - 2 WHERE stream = 4369",
        "UPDATE streams SET head_chain = randomblob(16) WHERE stream = 4369",
        "UPDATE streams SET head_chain = x'00' WHERE stream = 4369",
        "UPDATE streams SET head_stamp = head_stamp + 4096 WHERE stream = 4369",
        "UPDATE streams SET head_lsn = head_lsn + 65536 WHERE stream = 4369",
        "UPDATE streams SET head_lsn = head_lsn - 16 WHERE stream = 13107",
        "UPDATE streams SET floor = floor + 8 WHERE stream = 4369",
        "UPDATE streams SET stream = 4369 + 256 WHERE stream = 4369",
        "UPDATE streams SET stream = 1 WHERE stream = 13107",
        "UPDATE messages SET lsn = 4000000 WHERE lsn = 14",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct log l;
        log_open(&l);
        disk_stop(&l.d);
        execute(&l, wound[i]);
        disk_start(&l.d);
        assert_false(store_was_corrupt(l.d.s));
        assert_int_equal(l.d.found->lsn, l.lsn[l.count] - 1);
        assert_int_equal(l.d.found->stream_count, WRITERS);
        for (uint32_t k = 0; k < WRITERS; k++) {
            const struct stream_state *st = &l.d.found->stream[k];
            const struct writer       *w  = &l.writer[k];
            if (st->stream != w->stream || st->head != w->next - 1 || st->floor != 0 ||
                st->stamp != w->lamport - 1 || !hash128_eq(st->chain, w->chain))
                fail_msg("it is not put right: %s", wound[i]);
        }
        assert_all_is_well(&l);
        log_close(&l);
    }
}

/* Without it a batch of another branch takes the place of what is stored. */
static void
only_what_was_stored_mends(void **state)
{
    struct log    l;
    struct writer w = kit_writer(0x1111);
    (void)state;
    log_open(&l);
    execute(&l, "UPDATE batches SET chain = randomblob(16) WHERE lsn = 13");
    execute(&l, "UPDATE messages SET body = 'forged' WHERE lsn = 14");
    struct batch *own = l.batch[HURT];
    assert_int_equal(own->stream, w.stream);
    w.next    = own->first;
    w.lamport = own->lamport_first;
    w.chain   = own->prev;
    for (int i = 0; i < 2; i++) { /* other words; as many and fewer messages */
        struct writer other = w;
        l.batch[HURT]       = kit_batch(&other, own->count - (uint32_t)i, "other");
        mend(&l, HURT);
        blob_drop(l.batch[HURT]);
    }
    l.batch[HURT]  = own;
    struct found f = read_log(&l, true, NULL, NULL);
    assert_int_equal(f.whole, l.count - 1);
    assert_true(f.damaged[HURT]);
    f = read_log(&l, false, NULL, NULL);
    assert_int_equal(f.gone, 1);
    mend(&l, HURT);
    assert_all_is_well(&l);
    log_close(&l);
}

/* Without it a peer's digest takes the place of a message that is whole here. */
static void
a_digest_mends_nothing(void **state)
{
    struct log          l;
    struct msg          msg[8];
    const struct batch *own;
    (void)state;
    log_open(&l);
    own = l.batch[HURT];
    for (uint32_t i = 0; i < own->count; i++) {
        msg[i] = own->msg[i];
        if (i != SECOND)
            msg[i].flags = MSG_DIGEST_ONLY;
    }
    struct batch_parts parts = {.stream        = own->stream,
                                .first         = own->first,
                                .prev          = own->prev,
                                .lamport_first = own->lamport_first,
                                .wall          = own->wall,
                                .origin        = own->origin,
                                .msg           = msg,
                                .count         = own->count};
    struct batch      *b     = batch_make(&parts);
    assert_true(hash128_eq(b->chain, own->chain));
    execute(&l, "UPDATE messages SET body = 'forged' WHERE lsn = 14");
    l.batch[HURT] = b;
    mend(&l, HURT);
    l.batch[HURT] = (struct batch *)(uintptr_t)own;
    assert_all_is_well(&l);
    blob_drop(b);
    log_close(&l);
}

static bool
is_odd_23(const void *ctx, struct str topic)
{
    (void)ctx;
    return str_eq(topic, STR("odd/3"));
}

/* Without it who asks for one topic never hears of a message of it whose topic was flipped,
 * not even when it is mended. */
static void
the_index_and_the_rows_are_not_of_one_mind(void **state)
{
    struct log l;
    struct str topic = STR("odd/3");
    (void)state;
    for (int indexed = 0; indexed < 2; indexed++) {
        log_open(&l);
        for (uint32_t i = 0; indexed && i < 130; i++) /* 4096 rows and more: it is written */
            put(&l, 0, 32, "even");
        assert_true(str_eq(l.batch[1]->msg[2].topic, topic));
        execute(&l, "UPDATE messages SET topic = 1 WHERE lsn = 6"); /* of odd/3 */
        if (indexed) {
            struct found f = read_log(&l, false, is_odd_23, &topic);
            assert_int_equal(f.gone, 1);
            assert_true(f.damaged[1]);
        }
        disk_stop(&l.d); /* what is not indexed yet is learned from the rows, as they are */
        disk_start(&l.d);
        mend(&l, 1);
        for (int round = 0; round < 3; round++) {
            struct found f = read_log(&l, false, is_odd_23, &topic);
            assert_int_equal(f.gone + f.damages, 0);
            assert_int_equal(f.delivered, 1);
            if (round == 0) {
                struct writer rest = kit_writer(0x6000);
                for (int k = 0; k < 5; k++)
                    disk_put(&l.d, kit_batch(&rest, 1000, "even"), 1);
            } else {
                disk_stop(&l.d);
                disk_start(&l.d);
            }
        }
        log_close(&l);
    }
}

/* Without it a batch that is damaged is told to each subscriber as hundreds of gaps. */
static void
neighbours_are_one_gap(void **state)
{
    static const struct {
        const char *sql;
        uint32_t    gaps[4]; /* from, to, of batch 3 and 6: 4-9 and 10-18 of the first stream */
    } wound[] = {
        {"UPDATE messages SET body = 'x' WHERE lsn IN (14, 15, 16)", {5, 7}},
        {"UPDATE messages SET body = 'x' WHERE lsn IN (13, 14, 16, 17)", {4, 5, 7, 8}},
        {"DELETE FROM messages WHERE lsn BETWEEN 14 AND 18", {5, 9}},
        {"UPDATE messages SET body = 'x' WHERE stream = 4369 AND seq IN (9, 10)", {9, 9, 10, 10}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct log   l;
        struct page *p;
        uint32_t     n = 0;
        log_open(&l);
        execute(&l, wound[i].sql);
        struct read read = {.lsn = 1, .lsn_last = l.lsn[l.count] - 1, .bytes_max = 1 << 20};
        assert_int_equal(store_read(l.d.r, &read, &p), ERR_OK);
        for (uint32_t k = 0; k < p->count; k++) {
            if (p->entry[k].gap_to == 0)
                continue;
            assert_true(n < 4);
            assert_int_equal(p->entry[k].mark.seq, wound[i].gaps[n++]);
            assert_int_equal(p->entry[k].gap_to, wound[i].gaps[n++]);
        }
        assert_int_equal(n, wound[i].gaps[2] > 0 ? 4 : 2);
        page_drop(p);
        log_close(&l);
    }
}

/* ---- any bit of the file ---- */

static void
flip(struct log *l, uint64_t seed)
{
    char        path[128];
    uint8_t     byte;
    struct stat st;
    disk_path(&l->d, "", path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    seed ^= seed >> 29;
    off_t at = (off_t)(seed % (uint64_t)st.st_size);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1 << (seed >> 60 & 7));
    snprintf(l->wound, sizeof l->wound, "a flip at %ld", (long)at);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* False: the header says that it is another program's, or a newer version's. */
static bool
starts(struct log *l)
{
    struct store_config config = {.dir = l->d.dir, .cluster = STR("hearsay")};
    struct buf          problem;
    buf_init(&problem, 0);
    enum err e = store_open(&l->d.s, &config, &l->d.found, &problem);
    if (e == ERR_OK)
        e = store_reader_open(&l->d.r, l->d.s);
    else if (e != ERR_INVALID && e != ERR_STALE)
        fail_msg("%d: %.*s", e, STR_ARG(buf_str(&problem)));
    buf_fini(&problem);
    return e == ERR_OK;
}

/* Without it some bit of the file is read as a message that nobody wrote, hides one, or ends
 * the process. */
static void
no_flipped_bit_is_believed(void **state)
{
    enum { ROUNDS = 400 };
    uint32_t mended = 0, aside = 0, failed = 0, hurt = 0, refused = 0;
    (void)state;
    struct log l;
    char       path[128], copy[160], command[512];
    log_open(&l);
    disk_stop(&l.d);
    disk_path(&l.d, "", path);
    snprintf(copy, sizeof copy, "%s/whole", l.d.dir);
    snprintf(command, sizeof command, "cp %s %s", path, copy);
    assert_int_equal(system(command), 0);
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        snprintf(command, sizeof command, "rm -f %s*; cp %s %s", path, copy, path);
        assert_int_equal(system(command), 0);
        flip(&l, seed);
        if (!starts(&l)) {
            refused++;
            continue;
        }
        if (store_was_corrupt(l.d.s)) {
            aside++;
            disk_stop(&l.d);
            continue;
        }
        struct found f = read_log(&l, false, NULL, NULL);
        struct found b = read_log(&l, true, NULL, NULL);
        failed += f.failed || b.failed;
        hurt += f.damages + b.damages > 0;
        if (!f.failed && !b.failed && f.damages + b.damages > 0) {
            for (uint32_t i = 0; i < l.count; i++)
                if (f.damaged[i] || b.damaged[i])
                    mend(&l, i);
            f = read_log(&l, false, NULL, NULL);
            b = read_log(&l, true, NULL, NULL);
            mended += f.damages + b.damages == 0 && f.delivered == l.lsn[l.count] - 1;
        }
        disk_stop(&l.d);
    }
    print_message("%u flips: %u refused, %u put the file aside, %u made it unreadable, %u hurt "
                  "rows, of which %u were mended\n",
                  ROUNDS, refused, aside, failed, hurt, mended);
    assert_true(refused <= 1 && aside > 0 && hurt > 10 && mended * 10 >= hurt * 6);
    log_close(&l);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(a_damaged_message_is_told_and_mended),
        cmocka_unit_test(lost_rows_are_told_and_mended),
        cmocka_unit_test(a_damaged_row_of_batches_is_told_and_mended),
        cmocka_unit_test(what_is_not_proved_is_a_gap),
        cmocka_unit_test(the_ends_of_a_stream_are_mended),
        cmocka_unit_test(what_streams_say_is_put_right_at_a_start),
        cmocka_unit_test(only_what_was_stored_mends),
        cmocka_unit_test(a_digest_mends_nothing),
        cmocka_unit_test(the_index_and_the_rows_are_not_of_one_mind),
        cmocka_unit_test(neighbours_are_one_gap),
        cmocka_unit_test(no_flipped_bit_is_believed),
    };
    kit_quiet();
    return cmocka_run_group_tests_name("damage", test, NULL, NULL);
}
