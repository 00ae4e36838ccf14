#include "store/store_private.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "store/store_marks.h"

#include <string.h>

enum {
    WORK_MAX     = 65536, /* rows looked at in one call, or work that costs as much */
    WORK_SEGMENT = 8,
    WORK_BATCH   = 16,
    TOPICS_KEPT  = 4096, /* verdicts whose memory stays with the reader */
};

static const char *const text_of[READING_COUNT] = {
    [READ_BEGIN]   = "BEGIN",
    [READ_END]     = "COMMIT",
    [READ_STREAMS] = "SELECT stream, head, head_lsn FROM streams WHERE head > 0 ORDER BY stream",
    [READ_BATCH] = "SELECT first, last, lsn, lamport_first, wall_ms, received_ms, prev, chain, deps"
                   " FROM batches WHERE stream = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
    [READ_BATCH_UP] = "SELECT lsn FROM batches WHERE stream = ?1 AND first >= ?2"
                      " ORDER BY first LIMIT 1",
    [READ_AT]       = "SELECT lsn, stream, seq FROM messages WHERE lsn >= ?1 ORDER BY lsn LIMIT 1",
    [READ_MESSAGES] = "SELECT lsn, stream, seq, lamport, topic, wall_ms, flags, headers, body"
                      " FROM messages WHERE lsn >= ?1 AND lsn <= ?2 ORDER BY lsn",
    [READ_ROWS]     = "SELECT m.seq, m.flags, m.digest, t.name, m.headers, m.body FROM messages m"
                      " LEFT JOIN topics t ON t.id = m.topic"
                      " WHERE m.lsn >= ?1 AND m.lsn <= ?2 ORDER BY m.lsn",
    [READ_TOPIC]    = "SELECT name FROM topics WHERE id = ?1",
    [READ_ORIGIN]   = "SELECT origin FROM streams WHERE stream = ?1",
    [READ_SEGMENT]  = "SELECT lsn_first, lsn_last, stamp, topics FROM segments"
                      " WHERE lsn_first <= ?1 ORDER BY lsn_first DESC LIMIT 1",
};

/* ---- opening ---- */

void
store_reader_close(struct store_reader *r)
{
    if (!r)
        return;
    for (int i = 0; i < READING_COUNT; i++)
        sqlite3_finalize(r->sql[i]);
    sqlite3_close(r->db);
    buf_fini(&r->deps);
    buf_fini(&r->bytes);
    mem_free(r->topic);
    mem_free(r);
}

enum err
store_reader_open(struct store_reader **reader, const struct store *s)
{
    struct store_reader *r = mem_new(sizeof *r);
    buf_init(&r->deps, 0);
    buf_init(&r->bytes, 0);
    int rc     = sqlite3_open_v2(s->path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    enum err e = rc == SQLITE_OK ? ERR_OK : sql_failed(r->db, rc, "open for reading");
    if (e == ERR_OK) {
        sqlite3_extended_result_codes(r->db, 1);
        sqlite3_busy_timeout(r->db, 1000);
        e = sql_exec(r->db, "PRAGMA query_only = ON; PRAGMA cache_size = -1000;"
                            "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
                            "PRAGMA trusted_schema = OFF");
    }
    for (int i = 0; i < READING_COUNT && e == ERR_OK; i++)
        e = sql_prepare(r->db, text_of[i], &r->sql[i]);
    if (e != ERR_OK) {
        store_reader_close(r);
        return e;
    }
    *reader = r;
    return ERR_OK;
}

/* ---- single rows: OK, or NOTFOUND, or what went wrong ---- */

static enum err
first_row(struct store_reader *r, sqlite3_stmt *q)
{
    enum err e = ERR_OK;
    if (sql_next(r->db, q, &e))
        return ERR_OK; /* the caller resets */
    return e == ERR_OK ? ERR_NOTFOUND : e;
}

enum err
read_batch_row(struct store_reader *r, struct mark at, struct batch_row *row)
{
    sqlite3_stmt *q = r->sql[READ_BATCH];
    sqlite3_reset(q);
    sql_bind_u64(q, 1, at.stream);
    sql_bind_u64(q, 2, at.seq);
    enum err e = first_row(r, q);
    if (e != ERR_OK)
        return e;
    *row       = (struct batch_row){.stream        = at.stream,
                                    .first         = sql_u64(q, 0),
                                    .last          = sql_u64(q, 1),
                                    .lsn           = sql_u64(q, 2),
                                    .lamport_first = sql_u64(q, 3),
                                    .wall          = {sqlite3_column_int64(q, 4)},
                                    .received      = {sqlite3_column_int64(q, 5)}};
    bool whole = sql_hash(q, 6, &row->prev) && sql_hash(q, 7, &row->chain) &&
                 row->last >= row->first && row->last - row->first < BATCH_MESSAGES_MAX;
    if (whole) {
        buf_reset(&r->deps);
        e = buf_add(&r->deps, sql_bytes(q, 8));
        CHECK(e == ERR_OK);
    }
    sqlite3_reset(q);
    return whole ? ERR_OK : ERR_CORRUPT;
}

enum err
read_origin(struct store_reader *r, uint64_t stream, struct buf *out)
{
    sqlite3_stmt *q = r->sql[READ_ORIGIN];
    sql_bind_u64(q, 1, stream);
    enum err e = first_row(r, q);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_OK : e;
    e = buf_add(out, sql_bytes(q, 0));
    CHECK(e == ERR_OK);
    sqlite3_reset(q);
    return ERR_OK;
}

/* The next message at or above *lsn. */
static enum err
message_at(struct store_reader *r, uint64_t *lsn, struct mark *mark)
{
    sqlite3_stmt *q = r->sql[READ_AT];
    sql_bind_u64(q, 1, *lsn);
    enum err e = first_row(r, q);
    if (e != ERR_OK)
        return e;
    *lsn  = sql_u64(q, 0);
    *mark = (struct mark){sql_u64(q, 1), sql_u64(q, 2)};
    sqlite3_reset(q);
    return ERR_OK;
}

/* ---- vectors at an lsn ---- */

/* The highest seq of a stream below lsn `below`, 0 for none: a search over its
 * batches, which is short since few streams are written at the same time. */
static enum err
seq_below(struct store_reader *r, struct mark head, uint64_t below, uint64_t *seq)
{
    uint64_t low = 0, high = head.seq; /* low is below, high + 1 is not known to be */
    while (low < high) {
        struct batch_row row;
        uint64_t         mid = low + (high - low + 1) / 2;
        enum err         e   = read_batch_row(r, (struct mark){head.stream, mid}, &row);
        if (e == ERR_NOTFOUND) { /* retention took it: it was below all that is left */
            low = mid;
            continue;
        }
        if (e != ERR_OK)
            return e;
        if (row.lsn >= below)
            high = row.first - 1;
        else if (row.lsn + (row.last - row.first) >= below)
            low = high = row.first + (below - row.lsn) - 1;
        else
            low = row.last > mid ? row.last : mid;
    }
    *seq = low;
    return ERR_OK;
}

/* For each stream the highest seq in [first, next). */
static enum err
marks_between(struct store_reader *r, uint64_t first, uint64_t next, struct vector *out)
{
    sqlite3_stmt *q = r->sql[READ_STREAMS];
    enum err      e = ERR_OK;
    if (first >= next)
        return ERR_OK;
    while (sql_next(r->db, q, &e)) {
        struct mark head = {sql_u64(q, 0), sql_u64(q, 1)};
        uint64_t    lsn = sql_u64(q, 2), before = 0;
        if (lsn < first)
            continue;
        if (lsn >= next) {
            e = seq_below(r, head, next, &head.seq);
            /* What lies below `first` was not scanned now. */
            if (e == ERR_OK && head.seq > 0)
                e = seq_below(r, head, first, &before);
        }
        if (e != ERR_OK) {
            sqlite3_reset(q);
            return e;
        }
        if (head.seq > before)
            page_raise(out, head);
    }
    return e;
}

/* ---- where a read starts ---- */

/* Where the first message of a stream above `have` lies. */
static enum err
lsn_above(struct store_reader *r, struct mark have, uint64_t *lsn)
{
    struct batch_row row;
    struct mark      want = {have.stream, have.seq + 1};
    enum err         e    = read_batch_row(r, want, &row);
    if (e == ERR_OK && row.last >= want.seq) {
        *lsn = row.lsn + (want.seq - row.first);
        return ERR_OK;
    }
    if (e != ERR_OK && e != ERR_NOTFOUND)
        return e;
    sqlite3_stmt *q = r->sql[READ_BATCH_UP];
    sql_bind_u64(q, 1, want.stream);
    sql_bind_u64(q, 2, want.seq);
    e = first_row(r, q);
    if (e != ERR_OK)
        return e;
    *lsn = sql_u64(q, 0);
    sqlite3_reset(q);
    return ERR_OK;
}

static enum err
start_at_vector(struct store_reader *r, const struct read *read, uint64_t *start)
{
    sqlite3_stmt *q = r->sql[READ_STREAMS];
    enum err      e = ERR_OK;
    *start          = read->lsn_last + 1;
    while (sql_next(r->db, q, &e)) {
        uint64_t stream = sql_u64(q, 0), have = page_seq(&read->have, stream), lsn;
        if (have >= sql_u64(q, 1))
            continue;
        enum err found = lsn_above(r, (struct mark){stream, have}, &lsn);
        if (found == ERR_NOTFOUND)
            continue;
        if (found != ERR_OK) {
            sqlite3_reset(q);
            return found;
        }
        if (lsn < *start)
            *start = lsn;
    }
    return e;
}

/* Times of arrival rise with lsn but for steps of the clock, which a search survives. */
static enum err
start_since(struct store_reader *r, const struct read *read, uint64_t *start)
{
    uint64_t low = 1, high = read->lsn_last + 1; /* the answer lies in [low, high] */
    while (low < high) {
        uint64_t         mid = low + (high - low) / 2, lsn = mid;
        struct mark      mark;
        struct batch_row row;
        enum err         e = message_at(r, &lsn, &mark);
        if (e == ERR_NOTFOUND || (e == ERR_OK && lsn >= high)) {
            high = mid; /* nothing between mid and high */
            continue;
        }
        if (e == ERR_OK)
            e = read_batch_row(r, mark, &row);
        if (e != ERR_OK)
            return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
        if (row.received.ms >= read->since.ms)
            high = row.lsn < mid ? (row.lsn > low ? row.lsn : low) : mid;
        else
            low = row.lsn + (row.last - row.first) + 1;
    }
    *start = high;
    return ERR_OK;
}

static enum err
find_start(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    enum err e      = ERR_OK;
    page->lsn_first = read->lsn;
    switch (read->start) {
    case READ_AT_LSN:
    case READ_KEPT:
        break;
    case READ_AT_VECTOR:
        e = start_at_vector(r, read, &page->lsn_first);
        break;
    case READ_SINCE:
        e = start_since(r, read, &page->lsn_first);
        break;
    }
    if (page->lsn_first == 0)
        page->lsn_first = 1;
    if (page->lsn_first > read->lsn_last)
        page->lsn_first = read->lsn_last + 1;
    page->lsn_next = page->lsn_first;
    if (e == ERR_OK && read->start == READ_SINCE)
        e = marks_between(r, 1, page->lsn_first, &page->before);
    return e;
}

/* ---- messages ---- */

struct scan {
    struct store_reader *r;
    const struct read   *read;
    struct page_maker   *page;
    uint32_t             work;
};

static bool
is_over(const struct scan *s)
{
    return s->page->lsn_next > s->read->lsn_last || s->work >= WORK_MAX ||
           page_is_full(s->page, s->read);
}

static enum err
judge_topic(struct scan *s, uint64_t id, const struct topic_verdict **out)
{
    struct store_reader *r = s->r;
    if (id == 0 || id > UINT32_MAX)
        return ERR_CORRUPT;
    if (id > r->topic_cap) {
        uint32_t cap = r->topic_cap > 0 ? r->topic_cap : 64;
        while (cap < id)
            cap = cap < UINT32_MAX / 2 ? cap * 2 : (uint32_t)id;
        r->topic = mem_resize(r->topic, cap * sizeof *r->topic);
        memset(r->topic + r->topic_cap, 0, (cap - r->topic_cap) * sizeof *r->topic);
        r->topic_cap = cap;
    }
    struct topic_verdict *v = &r->topic[id - 1];
    *out                    = v;
    if (v->verdict != VERDICT_UNKNOWN)
        return ERR_OK;
    sqlite3_stmt *q = r->sql[READ_TOPIC];
    sql_bind_u64(q, 1, id);
    enum err e = first_row(r, q);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
    struct str name = sql_bytes(q, 0);
    v->verdict      = VERDICT_UNWANTED;
    if (!s->read->want || s->read->want(s->read->want_ctx, name)) {
        v->verdict = VERDICT_WANTED;
        v->name    = page_text(s->page, name);
    }
    sqlite3_reset(q);
    s->work++;
    return ERR_OK;
}

static enum err
origin_of(struct scan *s, uint64_t stream, struct str *out)
{
    struct origin_known *o = &s->r->origin[stream % ORIGINS_CACHED];
    enum err             e = ERR_OK;
    if (o->stream != stream) {
        buf_reset(&s->r->bytes);
        e = read_origin(s->r, stream, &s->r->bytes);
        if (e == ERR_OK)
            *o = (struct origin_known){stream, page_text(s->page, buf_str(&s->r->bytes))};
    }
    *out = o->origin;
    return e;
}

static enum err
take_row(struct scan *s, sqlite3_stmt *q)
{
    uint64_t                    topic = sql_u64(q, 4), flags = sql_u64(q, 6);
    const struct topic_verdict *v;
    struct entry                e = {.lsn     = sql_u64(q, 0),
                                     .mark    = {sql_u64(q, 1), sql_u64(q, 2)},
                                     .lamport = sql_u64(q, 3),
                                     .wall    = {sqlite3_column_int64(q, 5)},
                                     .late    = flags & ROW_LATE};
    s->page->lsn_next             = e.lsn + 1;
    s->work++;
    if (e.lamport > s->page->stamp)
        s->page->stamp = e.lamport;
    if (flags & (ROW_DIGEST_ONLY | ROW_GAP) ||
        page_seq(&s->read->have, e.mark.stream) >= e.mark.seq)
        return ERR_OK;
    enum err err = judge_topic(s, topic, &v);
    if (err != ERR_OK || v->verdict != VERDICT_WANTED)
        return err;
    err       = origin_of(s, e.mark.stream, &e.origin);
    e.topic   = v->name;
    e.headers = page_text(s->page, sql_bytes(q, 7));
    e.body    = page_text(s->page, sql_bytes(q, 8));
    page_entry(s->page, &e);
    return err;
}

static enum err
scan_rows(struct scan *s, uint64_t last)
{
    sqlite3_stmt *q = s->r->sql[READ_MESSAGES];
    enum err      e = ERR_OK;
    sql_bind_u64(q, 1, s->page->lsn_next);
    sql_bind_u64(q, 2, last);
    while (sql_next(s->r->db, q, &e)) {
        e = take_row(s, q);
        if (e != ERR_OK || is_over(s)) {
            sqlite3_reset(q);
            return e;
        }
    }
    if (e == ERR_OK)
        s->page->lsn_next = last + 1;
    return e;
}

static enum err
segment_is_wanted(struct scan *s, struct str ids, bool *wanted)
{
    uint64_t id = 0, step;
    *wanted     = false;
    for (size_t at = 0, n; at < ids.n && !*wanted; at += n) {
        const struct topic_verdict *v;
        n = varint_get(str_cut(ids, at, ids.n), &step);
        if (n == 0)
            return ERR_CORRUPT;
        id += step;
        enum err e = judge_topic(s, id, &v);
        if (e != ERR_OK)
            return e;
        *wanted = v->verdict == VERDICT_WANTED;
    }
    return ERR_OK;
}

/* Passes over the segment that begins at lsn_next when it has nothing wanted; else
 * *last is how far rows are to be scanned. */
static enum err
try_segment(struct scan *s, bool *passed, uint64_t *last)
{
    sqlite3_stmt *q = s->r->sql[READ_SEGMENT];
    *passed         = false;
    *last           = s->read->lsn_last;
    sql_bind_u64(q, 1, s->page->lsn_next);
    enum err e = first_row(s->r, q);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_OK : e;
    uint64_t first = sql_u64(q, 0), end = sql_u64(q, 1), stamp = sql_u64(q, 2);
    bool     wanted = true;
    /* Inside one, its stamp may be that of a message before: then rows are read. */
    if (first == s->page->lsn_next && end <= s->read->lsn_last)
        e = segment_is_wanted(s, sql_bytes(q, 3), &wanted);
    sqlite3_reset(q);
    s->work += WORK_SEGMENT;
    if (end >= s->page->lsn_next && end < *last)
        *last = end;
    if (e != ERR_OK || wanted)
        return e;
    *passed           = true;
    s->page->lsn_next = end + 1;
    if (stamp > s->page->stamp)
        s->page->stamp = stamp;
    return ERR_OK;
}

static enum err
scan_messages(struct scan *s)
{
    struct store_reader *r = s->r;
    enum err             e = ERR_OK;
    if (r->topic_cap > 0)
        memset(r->topic, 0, r->topic_cap * sizeof *r->topic);
    memset(r->origin, 0, sizeof r->origin);
    while (e == ERR_OK && !is_over(s)) {
        bool     passed = false;
        uint64_t last   = s->read->lsn_last;
        if (s->read->want)
            e = try_segment(s, &passed, &last);
        if (e == ERR_OK && !passed)
            e = scan_rows(s, last);
    }
    return e;
}

/* ---- batches ---- */

/* A batch that cannot be rebuilt ends the page; at its front it is an error. */
static enum err
scan_batches(struct scan *s)
{
    struct page_maker *page = s->page;
    while (!is_over(s)) {
        uint64_t         lsn = page->lsn_next;
        struct mark      mark;
        struct batch_row row;
        struct batch    *b = NULL;
        enum err         e = message_at(s->r, &lsn, &mark);
        if (e == ERR_NOTFOUND || (e == ERR_OK && lsn > s->read->lsn_last)) {
            page->lsn_next = s->read->lsn_last + 1;
            return ERR_OK;
        }
        if (e == ERR_OK)
            e = read_batch_row(s->r, mark, &row);
        if (e == ERR_OK && mark.seq > row.last)
            e = ERR_CORRUPT;
        if (e == ERR_OK && row.lsn + (row.last - row.first) > s->read->lsn_last)
            return ERR_OK;
        bool covered = e == ERR_OK && page_seq(&s->read->have, row.stream) >= row.last;
        if (e == ERR_OK && !covered)
            e = rebuild_batch(s->r, &row, &b);
        if (e != ERR_OK)
            return page->count > 0 ? ERR_OK : e == ERR_NOTFOUND ? ERR_CORRUPT : e;
        if (b)
            page_batch(page, b, row.lsn);
        uint64_t stamp = row.lamport_first + (row.last - row.first);
        page->lsn_next = row.lsn + (row.last - row.first) + 1;
        page->stamp    = stamp > page->stamp ? stamp : page->stamp;
        s->work += WORK_BATCH;
    }
    return ERR_OK;
}

/* A long read is rare: what it took does not stay. */
static void
give_back(struct store_reader *r)
{
    buf_clear_free(&r->bytes);
    buf_clear_free(&r->deps);
    if (r->topic_cap > TOPICS_KEPT) {
        mem_free(r->topic);
        r->topic     = NULL;
        r->topic_cap = 0;
    }
}

enum err
store_read(struct store_reader *r, const struct read *read, struct page **out)
{
    struct page_maker page;
    struct scan       scan = {.r = r, .read = read, .page = &page};
    page_maker_init(&page);
    enum err e = sql_run(r->db, r->sql[READ_BEGIN]);
    if (e == ERR_OK)
        e = find_start(r, read, &page);
    if (e == ERR_OK)
        e = read->batches ? scan_batches(&scan) : scan_messages(&scan);
    if (e == ERR_OK)
        e = marks_between(r, page.lsn_first, page.lsn_next, &page.scanned);
    enum err ended = sqlite3_get_autocommit(r->db) ? ERR_OK : sql_run(r->db, r->sql[READ_END]);
    if (e == ERR_OK)
        e = ended;
    if (e == ERR_OK)
        *out = page_make(&page);
    page_maker_fini(&page);
    give_back(r);
    return e;
}
