/* rows_fuzz.c - any change of rows in broker.db: what is read is what was stored, or is said to
 * be gone, and every read ends.  The stamps and the cursor are right too, if it is one change:
 * for several there may be nothing left in the file to tell them by.
 *
 * The input is a list of changes: table and column, which row, the kind of value, its length and
 * its bytes.  They are undone after each run. */
#include "base/check.h"
#include "store/store_page.h"
#include "tests/store_kit.h"

#include <sqlite3.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
    BATCHES     = 14,
    GAP         = 7, /* which of them nobody has */
    GONE        = 2, /* so many were taken by retention */
    WRITERS     = 3,
    PAGES_MAX   = 200,
    CHANGES_MAX = 8,
    ROWS_MAX    = 128,
    SEQS_MAX    = 64,
};

static struct disk   disk;
static struct batch *batch[BATCHES];
static uint64_t      lsn[BATCHES], lsn_last;
static sqlite3      *db;
static struct vector had; /* by whoever reads */

static const char *const table[] = {"messages", "batches",  "streams", "topics",
                                    "segments", "postings", "kept"};
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
    mem_free(had.at);
}

static struct batch *
make_batch(struct writer *w, uint32_t i)
{
    struct mark dep = {0x1111, 1};
    if (i == GAP)
        return kit_gap(w, w->next + 4, &dep, 1);
    return kit_batch_with(w, 1 + i, i % 2 ? "odd/" : "even", i == 5 ? 5000 : 20, &dep,
                          i % WRITERS ? 1 : 0);
}

/* The oldest go; the newest message of a topic that nobody wrote to since is kept. */
static void
retain(void)
{
    struct retention policy = {.age_ms = 100};
    struct retained *taken  = disk_retain(&disk, &policy, 1000 + GONE - 1 + 101);
    if (!taken || taken->lsn_first != lsn[GONE])
        abort();
    retained_drop(taken);
}

static void
make(void)
{
    struct writer w[WRITERS] = {kit_writer(0x1111), kit_writer(0x2222), kit_writer(0x3333)};
    char          path[128];
    kit_quiet();
    disk_open(&disk, false);
    for (uint32_t i = 0; i < BATCHES; i++) {
        batch[i] = make_batch(&w[i % WRITERS], i);
        blob_keep(batch[i]);
        lsn[i]   = disk_put(&disk, batch[i], 1000 + i);
        lsn_last = lsn[i] + batch_lsns(batch[i]) - 1;
    }
    retain();
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
    {"streams", "stream", "head_lsn"},
    {"streams", "stream", "floor_stamp"},
    {"kept", "topic", "topic"},
    {"kept", "topic", "stream"},
    {"kept", "topic", "seq"},
    {"kept", "topic", "lamport"},
    {"kept", "topic", "wall_ms"},
    {"kept", "topic", "flags"},
    {"kept", "topic", "origin"},
    {"kept", "topic", "digest"},
    {"kept", "topic", "headers"},
    {"kept", "topic", "body"},
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

static int      changes;
static uint32_t changed;       /* a bit for each table */
static bool     floor_is_lost; /* a stream's row alone tells what retention took of it */

static void
change_all(struct str in)
{
    changed       = 0;
    floor_is_lost = false;
    for (changes = 0; changes < CHANGES_MAX && in.n >= 4; changes++) {
        size_t n = in.p[3] % 32;
        floor_is_lost |= strcmp(column[in.p[0] % COLUMNS].table, "streams") == 0;
        for (uint32_t i = 0; i < TABLES; i++)
            if (strcmp(table[i], column[in.p[0] % COLUMNS].table) == 0)
                changed |= 1u << i;
        change(&column[in.p[0] % COLUMNS], in.p[1] % ROWS_MAX, in.p[2], str_cut(in, 4, 4 + n));
        in = str_cut(in, 4 + n, in.n);
    }
}

static void
undo_all(void)
{
    sql("BEGIN");
    for (uint32_t i = 0; i < TABLES; i++) {
        char text[128];
        if (!(changed >> i & 1))
            continue;
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

/* Of a kept message no check covers its place and its stamp. */
static void
check_kept(const struct entry *e)
{
    bool known = false;
    for (uint32_t i = 0; i < BATCHES; i++)
        for (uint32_t k = 0; k < batch[i]->count; k++) {
            const struct msg *m = &batch[i]->msg[k];
            known |= str_eq(e->topic, m->topic) && str_eq(e->headers, m->headers) &&
                     str_eq(e->body, m->body);
        }
    CHECK(known && e->gap_to == 0);
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
            return next - lsn[k] < batch_lsns(batch[k]) ? batch[k]->first + (next - lsn[k]) - 1
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

/* What has come of each stream, or is said to be gone: bit seq - 1. */
static uint64_t told[WRITERS];

static void
note(uint64_t stream, uint64_t from, uint64_t to)
{
    uint32_t i = (uint32_t)(stream / 0x1111) - 1;
    if (stream == 0 || stream % 0x1111 != 0 || i >= WRITERS)
        return;
    for (uint64_t seq = from; seq <= to && seq <= SEQS_MAX; seq++)
        told[i] |= UINT64_C(1) << (seq - 1);
}

static void
check_told(void)
{
    for (uint32_t i = 0; i < BATCHES; i++)
        for (uint64_t seq = batch[i]->first; seq <= batch_last(batch[i]); seq++)
            CHECK(told[batch[i]->stream / 0x1111 - 1] >> (seq - 1) & 1);
}

static void
check_entries(const struct page *p, struct vector *have)
{
    for (uint32_t i = 0; i < p->count; i++) {
        const struct entry *e  = &p->entry[i];
        uint64_t            to = e->gap_to != 0 ? e->gap_to : e->mark.seq;
        check_entry(e);
        note(e->mark.stream, e->mark.seq, to);
        page_raise(have, (struct mark){e->mark.stream, to});
    }
}

/* As a session does it: what came it has.  False: the store said that it cannot be read. */
static bool
read_pages(struct read read)
{
    memset(told, 0, sizeof told);
    for (int pages = 0; read.lsn <= lsn_last; pages++) {
        struct page *p;
        CHECK(pages < PAGES_MAX);
        if (store_read(disk.r, &read, &p) != ERR_OK)
            return false;
        for (uint32_t i = 0; read.batches && i < p->count; i++)
            check_batch(p->batch[i]);
        if (!read.batches)
            check_entries(p, &had);
        if (!read.batches && changes == 1) /* nobody asks it of batches */
            check_scanned(p);
        CHECK(p->lsn_next > read.lsn || (p->count > 0 && !read.batches));
        read.start = READ_AT_LSN;
        read.lsn   = p->lsn_next;
        read.have  = had;
        page_drop(p);
    }
    return true;
}

static bool
read_all(struct read read)
{
    had.count = 0;
    for (uint32_t i = 0; i < read.have.count; i++)
        page_raise(&had, read.have.at[i]);
    read.have     = had;
    read.lsn_last = lsn_last;
    return read_pages(read);
}

static void
read_kept(void)
{
    struct read read = {.start = READ_KEPT, .bytes_max = 100, .lsn_last = lsn_last};
    for (int pages = 0;; pages++) {
        struct page *p;
        CHECK(pages < PAGES_MAX);
        if (store_read(disk.r, &read, &p) != ERR_OK)
            return;
        for (uint32_t i = 0; i < p->count; i++)
            check_kept(&p->entry[i]);
        CHECK(p->lsn_next > read.lsn || p->lsn_next == 0);
        read.lsn = p->lsn_next;
        page_drop(p);
        if (read.lsn == 0)
            return;
    }
}

static bool
is_even(const void *ctx, struct str topic)
{
    (void)ctx;
    return str_eq(topic, STR("even"));
}

static bool
is_three(const void *ctx, struct str topic)
{
    (void)ctx;
    return topic.n > 0 && topic.p[topic.n - 1] == '3';
}

static void
read_wanted(void)
{
    static const struct str literal[] = {STR("odd/2"), STR("nowhere"), STR("odd/4")};
    static void            *filters; /* the reader keeps what it learned of them */
    if (!filters)
        filters = blob_new(1);
    read_all((struct read){.lsn = 1, .want = is_even, .bytes_max = 700});
    for (int again = 0; again < 2; again++)
        read_all((struct read){
            .lsn = 1, .want = is_three, .want_ctx = filters, .bytes_max = 200, .count_max = 4});
    read_all((struct read){
        .lsn = 1, .want = is_three, .literal = literal, .literal_count = 3, .bytes_max = 700});
    store_reader_rest(disk.r);
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
    if (read_all((struct read){.lsn = 1, .bytes_max = 700}) && changes == 1 && !floor_is_lost)
        check_told();
    read_all((struct read){.lsn = 1, .batches = true, .bytes_max = 700});
    read_all(
        (struct read){.lsn = 1, .start = READ_AT_VECTOR, .have = {have, 2, 2}, .bytes_max = 700});
    read_all((struct read){.lsn = 1, .start = READ_SINCE, .since = {1005}, .bytes_max = 700});
    read_wanted();
    read_kept();
    undo_all();
    if (++runs % 64 == 0)
        store_tend(disk.s, true);
    return 0;
}
