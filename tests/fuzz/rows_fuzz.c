/* rows_fuzz.c - any change of rows in broker.db: what is read is what was stored, or is said to
 * be gone, and every read ends.  The stamps and the cursor are right too, if it is one change:
 * for several there may be nothing left in the file to tell them by.
 *
 * The input is a list of changes: table and column, which row, the kind of value, its length and
 * its bytes.  They are undone after each run. */
#include "base/check.h"
#include "tests/store_kit.h"

#include <sqlite3.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { BATCHES = 12, WRITERS = 3, PAGES_MAX = 200, CHANGES_MAX = 8 };

static struct disk   disk;
static struct batch *batch[BATCHES];
static uint64_t      lsn[BATCHES], lsn_last;
static sqlite3      *db;

static const char *const table[] = {"messages", "batches",  "streams",
                                    "topics",   "segments", "postings"};
enum { TABLES = sizeof table / sizeof *table };

/* ---- the log, made once ---- */

static void
sql(const char *text)
{
    char *why = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", text, why);
        abort();
    }
}

static void
gone(void)
{
    sqlite3_close(db);
    disk_close(&disk);
}

static void
make(void)
{
    struct writer w[WRITERS] = {kit_writer(0x1111), kit_writer(0x2222), kit_writer(0x3333)};
    char          path[128];
    disk_open(&disk, false);
    for (uint32_t i = 0; i < BATCHES; i++) {
        struct mark dep = {0x1111, 1};
        batch[i]        = kit_batch_with(&w[i % WRITERS], 1 + i, i % 2 ? "odd/" : "even",
                                  i == 5 ? 5000 : 20, &dep, i % WRITERS ? 1 : 0);
        blob_keep(batch[i]);
        lsn[i]   = disk_put(&disk, batch[i], 1000 + i);
        lsn_last = lsn[i] + batch[i]->count - 1;
    }
    store_tend(disk.s, true); /* the newest of topics, too */
    snprintf(path, sizeof path, "%s/broker.db", disk.dir);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        abort();
    sql("PRAGMA synchronous = OFF; BEGIN");
    for (uint32_t i = 0; i < TABLES; i++) {
        char text[128];
        snprintf(text, sizeof text, "CREATE TEMP TABLE was_%s AS SELECT * FROM %s", table[i],
                 table[i]);
        sql(text);
    }
    sql("COMMIT");
    atexit(gone);
}

/* ---- changes ---- */

static const struct column {
    const char *table, *key, *name;
} column[] = {
    {"messages", "lsn", "stream"},
    {"messages", "lsn", "seq"},
    {"messages", "lsn", "lamport"},
    {"messages", "lsn", "topic"},
    {"messages", "lsn", "wall_ms"},
    {"messages", "lsn", "flags"},
    {"messages", "lsn", "digest"},
    {"messages", "lsn", "headers"},
    {"messages", "lsn", "body"},
    {"batches", "lsn", "last"},
    {"batches", "lsn", "lsn"},
    {"batches", "lsn", "lamport_first"},
    {"batches", "lsn", "wall_ms"},
    {"batches", "lsn", "received_ms"},
    {"batches", "lsn", "flags"},
    {"batches", "lsn", "prev"},
    {"batches", "lsn", "chain"},
    {"batches", "lsn", "deps"},
    {"streams", "stream", "origin"},
    {"streams", "stream", "head"},
    {"streams", "stream", "head_chain"},
    {"streams", "stream", "head_stamp"},
    {"streams", "stream", "floor"},
    {"streams", "stream", "floor_chain"},
    {"streams", "stream", "floor_deps"},
    {"streams", "stream", "flags"},
    {"streams", "stream", "waived"},
    {"topics", "id", "name"},
    {"topics", "id", "lsn"},
    {"topics", "id", "count"},
    {"segments", "lsn_first", "lsn_last"},
    {"segments", "lsn_first", "stamp"},
    {"segments", "lsn_first", "buckets"},
    {"segments", "lsn_first", "hash"},
    {"segments", "lsn_first", "marks"},
    {"postings", "id", "hash"},
    {"postings", "id", "topics"},
    {"messages", "lsn", "lsn"},
    {"batches", "lsn", "first"},
    {"batches", "lsn", "stream"},
    {"streams", "stream", "stream"},
};
enum { COLUMNS = sizeof column / sizeof *column };

static void
bind(sqlite3_stmt *s, uint8_t kind, struct str value)
{
    uint64_t number = 0;
    for (size_t i = 0; i < value.n && i < 8; i++)
        number |= (uint64_t)value.p[i] << (8 * i);
    switch (kind % 4) {
    case 0:
        sqlite3_bind_int64(s, 1, (sqlite3_int64)number);
        break;
    case 1:
        sqlite3_bind_text(s, 1, (const char *)value.p, (int)value.n, SQLITE_STATIC);
        break;
    case 2:
        sqlite3_bind_blob(s, 1, value.p ? (const void *)value.p : "", (int)value.n, SQLITE_STATIC);
        break;
    default:
        sqlite3_bind_double(s, 1, (double)number / 3);
    }
}

static void
change(const struct column *c, uint8_t row, uint8_t kind, struct str value)
{
    char          text[256];
    sqlite3_stmt *s;
    snprintf(text, sizeof text,
             "UPDATE OR IGNORE %s SET %s = ?1 WHERE %s = (SELECT %s FROM %s ORDER BY %s"
             " LIMIT 1 OFFSET %u)",
             c->table, c->name, c->key, c->key, c->table, c->key, row);
    if (sqlite3_prepare_v2(db, text, -1, &s, NULL) != SQLITE_OK)
        abort();
    bind(s, kind, value);
    sqlite3_step(s); /* a constraint may forbid it */
    sqlite3_finalize(s);
}

static int changes;

static void
change_all(struct str in)
{
    for (changes = 0; changes < CHANGES_MAX && in.n >= 4; changes++) {
        size_t n = in.p[3] % 32;
        change(&column[in.p[0] % COLUMNS], in.p[1] % 80, in.p[2], str_cut(in, 4, 4 + n));
        in = str_cut(in, 4 + n, in.n);
    }
}

static void
undo_all(void)
{
    sql("BEGIN");
    for (uint32_t i = 0; i < TABLES; i++) {
        char text[128];
        snprintf(text, sizeof text, "DELETE FROM %s; INSERT INTO %s SELECT * FROM was_%s", table[i],
                 table[i], table[i]);
        sql(text);
    }
    sql("COMMIT");
}

/* ---- what is read ---- */

static const struct batch *
batch_of(struct mark m)
{
    for (uint32_t i = 0; i < BATCHES; i++)
        if (batch[i]->stream == m.stream && batch[i]->first <= m.seq &&
            m.seq <= batch_last(batch[i]))
            return batch[i];
    return NULL;
}

static void
check_entry(const struct entry *e)
{
    const struct batch *b = batch_of(e->mark);
    if (e->gap_to != 0) {
        CHECK(e->gap_to >= e->mark.seq);
        return;
    }
    CHECK(b);
    const struct msg *m = &b->msg[e->mark.seq - b->first];
    CHECK(changes > 1 || e->lamport == b->lamport_first + (e->mark.seq - b->first));
    CHECK(str_eq(e->topic, m->topic) && str_eq(e->headers, m->headers) && str_eq(e->body, m->body));
}

static void
check_batch(const struct batch *b)
{
    const struct batch *was = batch_of((struct mark){b->stream, b->first});
    if (batch_is_gap(b))
        return;
    CHECK(was && b->first == was->first && b->count == was->count);
    CHECK(hash128_eq(b->chain, was->chain) && hash128_eq(b->prev, was->prev));
    CHECK(b->lamport_first == was->lamport_first && b->deps_count == was->deps_count);
    for (uint32_t i = 0; i < b->count; i++) {
        CHECK(hash128_eq(b->msg[i].digest, was->msg[i].digest));
        CHECK((b->msg[i].flags & MSG_DIGEST_ONLY) || kit_same_msg(&b->msg[i], &was->msg[i]));
    }
}

/* The highest seq of a stream below an lsn; of one that was never written, any. */
static uint64_t
highest_below(uint64_t stream, uint64_t next)
{
    uint64_t seq = UINT64_MAX;
    for (uint32_t k = BATCHES; k-- > 0;) {
        if (batch[k]->stream != stream)
            continue;
        seq = 0;
        if (lsn[k] < next)
            return next - lsn[k] < batch[k]->count ? batch[k]->first + (next - lsn[k]) - 1
                                                   : batch_last(batch[k]);
    }
    return seq;
}

/* The cursor that comes of it would pass over what was not looked at. */
static void
check_scanned(const struct page *p)
{
    for (uint32_t i = 0; i < p->scanned_count; i++)
        CHECK(p->scanned[i].seq <= highest_below(p->scanned[i].stream, p->lsn_next));
}

static void
read_all(struct read read)
{
    read.lsn_last = lsn_last;
    for (int pages = 0; read.lsn <= lsn_last; pages++) {
        struct page *p;
        CHECK(pages < PAGES_MAX);
        if (store_read(disk.r, &read, &p) != ERR_OK)
            return;
        for (uint32_t i = 0; i < p->count; i++)
            if (read.batches)
                check_batch(p->batch[i]);
            else
                check_entry(&p->entry[i]);
        if (!read.batches && changes == 1) /* nobody asks it of batches */
            check_scanned(p);
        CHECK(p->lsn_next > read.lsn);
        read.start = READ_AT_LSN;
        read.lsn   = p->lsn_next;
        page_drop(p);
    }
}

static bool
is_even(const void *ctx, struct str topic)
{
    (void)ctx;
    return str_eq(topic, STR("even"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint32_t runs;
    if (!disk.s)
        make();
    sql("BEGIN");
    change_all((struct str){data, n});
    sql("COMMIT");
    struct mark have[] = {{0x1111, 3}, {0x2222, 1}};
    read_all((struct read){.lsn = 1, .bytes_max = 700});
    read_all((struct read){.lsn = 1, .batches = true, .bytes_max = 700});
    read_all((struct read){.lsn = 1, .want = is_even, .bytes_max = 700});
    read_all(
        (struct read){.lsn = 1, .start = READ_AT_VECTOR, .have = {have, 2, 2}, .bytes_max = 700});
    read_all((struct read){.lsn = 1, .start = READ_SINCE, .since = {1005}, .bytes_max = 700});
    undo_all();
    if (++runs % 64 == 0)
        store_tend(disk.s, true);
    return 0;
}
