#include "store/store_reader.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "store/store_marks.h"

#include <string.h>

#define MESSAGE_COLUMNS                                                                            \
    "SELECT lsn, stream, seq, lamport, topic, wall_ms, flags, headers, body, digest FROM messages"

static const char *const text_of[READING_COUNT] = {
    [READ_BEGIN]     = "BEGIN",
    [READ_END]       = "COMMIT",
    [READ_STREAMS]   = "SELECT stream, head, head_lsn FROM streams"
                       " WHERE head > 0 AND flags & 2 = 0 ORDER BY stream",
    [READ_FLOORS]    = "SELECT stream, floor, floor_stamp, origin FROM streams"
                       " WHERE floor > 0 AND flags & 2 = 0 ORDER BY stream",
    [READ_KEPT_ROWS] = "SELECT k.topic, k.stream, k.seq, k.lamport, k.wall_ms,"
                       " coalesce(nullif(s.origin, ''), k.origin), t.name, k.headers, k.body,"
                       " k.digest FROM kept k JOIN topics t ON t.id = k.topic"
                       " LEFT JOIN streams s ON s.stream = k.stream"
                       " WHERE k.topic >= ?1 ORDER BY k.topic",
    [READ_FLOOR]     = "SELECT floor FROM streams WHERE stream = ?1",
    [READ_BATCH] =
        "SELECT first, last, lsn, lamport_first, wall_ms, received_ms, flags, prev,"
        " chain, deps FROM batches WHERE stream = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
    [READ_BATCH_UP] = "SELECT lsn, CASE WHEN flags & 4 THEN last ELSE first END"
                      " FROM batches WHERE stream = ?1 AND first >= ?2"
                      " ORDER BY first LIMIT 1",
    [READ_AT]       = "SELECT lsn, stream, seq FROM messages WHERE lsn >= ?1 ORDER BY lsn LIMIT 1",
    [READ_MESSAGES] = MESSAGE_COLUMNS " WHERE lsn >= ?1 AND lsn <= ?2 ORDER BY lsn",
    [READ_MESSAGE]  = MESSAGE_COLUMNS " WHERE lsn = ?1",
    [READ_BEFORE] = "SELECT stream, seq, lamport, lsn, wall_ms, flags FROM messages WHERE lsn < ?1 "
                    "AND lsn >= ?2"
                    " ORDER BY lsn DESC",
    [READ_ROWS]   = "SELECT m.seq, m.flags, m.digest, t.name, m.headers, m.body, m.lsn,"
                    " m.stream, m.lamport, m.wall_ms FROM messages m"
                    " LEFT JOIN topics t ON t.id = m.topic"
                    " WHERE m.lsn >= ?1 AND m.lsn <= ?2 ORDER BY m.lsn",
    [READ_TOPIC]  = "SELECT name FROM topics WHERE id = ?1",
    [READ_ORIGIN] = "SELECT origin FROM streams WHERE stream = ?1",
    [READ_ORIGINS]  = "SELECT origin FROM streams WHERE origin <> '' UNION SELECT origin FROM kept"
                      " UNION SELECT host || ':' || port FROM peers",
    [READ_TOPIC_ID] = "SELECT id FROM topics WHERE name = ?1",
    [READ_SEGMENTS] = "SELECT lsn_first, lsn_last, stamp, buckets, hash, marks FROM segments"
                      " WHERE lsn_first >= (SELECT ifnull(max(lsn_first), 0) FROM segments"
                      " WHERE lsn_first <= ?1) ORDER BY lsn_first",
    [READ_POSTINGS] = "SELECT id, hash, topics FROM postings WHERE id >= ?1 AND id <= ?2",
    [READ_NEXT_BATCH] = "SELECT first, prev, lsn, lamport_first FROM batches WHERE stream = ?1"
                        " AND first > ?2 ORDER BY first",
    [READ_HEAD]       = "SELECT head, head_chain, head_stamp, floor, floor_chain, floor_stamp"
                        " FROM streams WHERE stream = ?1",
    [READ_FRONT] =
        "SELECT min(b.lsn), b.stream, b.first, b.last, b.flags FROM streams s JOIN batches b"
        " ON b.stream = s.stream AND b.first = s.floor + 1"
        " WHERE s.flags & 2 = 0 AND b.lsn < ?1 AND b.lsn > 0"
        " AND b.lsn + CASE WHEN b.flags & 4 THEN 1 ELSE b.last - b.first + 1 END"
        " >= ?1",
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
    mem_free(r->run.marks.at);
    wanted_forget(r);
    mem_free(r);
}

enum err
store_reader_open(struct store_reader **reader, const struct store *s)
{
    struct store_reader *r = mem_new(sizeof *r);
    r->turns               = s->turns;
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

enum err
read_first(struct store_reader *r, sqlite3_stmt *q)
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
    enum err e = read_first(r, q);
    if (e != ERR_OK)
        return e;
    *row         = (struct batch_row){.stream        = at.stream,
                                      .first         = sql_u64(q, 0),
                                      .last          = sql_u64(q, 1),
                                      .lsn           = sql_u64(q, 2),
                                      .lamport_first = sql_u64(q, 3),
                                      .wall          = {sqlite3_column_int64(q, 4)},
                                      .received      = {sqlite3_column_int64(q, 5)},
                                      .is_gap        = sql_u64(q, 6) & ROW_GAP,
                                      .late          = sql_u64(q, 6) & ROW_LATE};
    bool chained = sql_hash(q, 7, &row->prev);
    chained &= sql_hash(q, 8, &row->chain);
    bool whole =
        chained && row->first > 0 && row->last >= row->first && row_lsns(row) <= BATCH_MESSAGES_MAX;
    buf_reset(&r->deps);
    e = buf_add(&r->deps, sql_bytes(q, 9));
    CHECK(e == ERR_OK);
    sqlite3_reset(q);
    return whole ? ERR_OK : ERR_CORRUPT;
}

enum err
read_origin(struct store_reader *r, uint64_t stream, struct buf *out)
{
    sqlite3_stmt *q = r->sql[READ_ORIGIN];
    sql_bind_u64(q, 1, stream);
    enum err e = read_first(r, q);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_OK : e;
    e = buf_add(out, sql_bytes(q, 0));
    CHECK(e == ERR_OK);
    sqlite3_reset(q);
    return ERR_OK;
}

enum err
read_floor(struct store_reader *r, uint64_t stream, uint64_t *floor)
{
    sqlite3_stmt *q = r->sql[READ_FLOOR];
    *floor          = 0;
    sql_bind_u64(q, 1, stream);
    enum err e = read_first(r, q);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_OK : e;
    *floor = sql_u64(q, 0);
    sqlite3_reset(q);
    return ERR_OK;
}

enum err
read_mark_at(struct store_reader *r, uint64_t *lsn, struct mark *mark)
{
    sqlite3_stmt *q = r->sql[READ_AT];
    sql_bind_u64(q, 1, *lsn);
    enum err e = read_first(r, q);
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
enum err
read_seq_below(struct store_reader *r, struct mark head, uint64_t below, uint64_t *seq)
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
        else if (row.last < mid) /* its batch has no row: it counts as not below */
            high = mid - 1;
        else if (row.lsn + row_lsns(&row) > below)
            low = high = row.first + (below - row.lsn) - 1;
        else
            low = row.last;
    }
    *seq = low;
    return ERR_OK;
}

/* For each stream the highest seq in [first, next), of what is left there. */
static enum err
marks_between(struct store_reader *r, uint64_t first, uint64_t next, struct vector *out)
{
    sqlite3_stmt *q = r->sql[READ_STREAMS];
    enum err      e = ERR_OK;
    if (first < r->log_first)
        first = r->log_first;
    if (first >= next)
        return ERR_OK;
    while (sql_next(r->db, q, &e)) {
        struct mark head = {sql_u64(q, 0), sql_u64(q, 1)};
        uint64_t    lsn = sql_u64(q, 2), before = 0;
        if (lsn < first)
            continue;
        if (lsn >= next) {
            e = read_seq_below(r, head, next, &head.seq);
            /* What lies below `first` was not scanned now. */
            if (e == ERR_OK && head.seq > 0)
                e = read_seq_below(r, head, first, &before);
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

/* Is that what lies there?  A row of batches may be damaged, and then everything from the front
 * on is looked through: nothing may be passed over. */
static enum err
check_place(struct store_reader *r, struct mark want, uint64_t *lsn)
{
    struct mark mark;
    uint64_t    at = *lsn;
    enum err    e  = read_mark_at(r, &at, &mark);
    if (e == ERR_NOTFOUND ||
        (e == ERR_OK && (at != *lsn || mark.stream != want.stream || mark.seq != want.seq))) {
        *lsn = r->log_first;
        return ERR_OK;
    }
    return e;
}

/* Where the first message of a stream above `have` lies. */
static enum err
lsn_above(struct store_reader *r, struct mark have, uint64_t *lsn)
{
    struct batch_row row;
    struct mark      want = {have.stream, have.seq + 1};
    enum err         e    = read_batch_row(r, want, &row);
    if (e == ERR_OK && row.last >= want.seq) {
        *lsn = row.lsn + (row.is_gap ? 0 : want.seq - row.first);
        return check_place(r, (struct mark){want.stream, row.is_gap ? row.last : want.seq}, lsn);
    }
    if (e != ERR_OK && e != ERR_NOTFOUND)
        return e;
    sqlite3_stmt *q = r->sql[READ_BATCH_UP];
    sql_bind_u64(q, 1, want.stream);
    sql_bind_u64(q, 2, want.seq);
    e = read_first(r, q);
    if (e != ERR_OK)
        return e;
    *lsn     = sql_u64(q, 0);
    want.seq = sql_u64(q, 1);
    sqlite3_reset(q);
    return check_place(r, want, lsn);
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
    uint64_t low = r->log_first, high = read->lsn_last + 1; /* the answer: in [low, high] */
    while (low < high) {
        uint64_t         mid = low + (high - low) / 2;
        struct batch_row row;
        enum err         e = verify_batch_at(r, mid, &row);
        if (e == ERR_CORRUPT) { /* nobody knows when that came */
            high = mid;
            continue;
        }
        if (e != ERR_OK)
            return e;
        if (row.received.ms >= read->since.ms)
            high = row.lsn < mid ? (row.lsn > low ? row.lsn : low) : mid;
        else
            low = row.lsn + row_lsns(&row);
    }
    *start = high;
    return ERR_OK;
}

/* What lies below `lsn`, and all that is gone. */
static enum err
vector_before(struct store_reader *r, uint64_t lsn, struct vector *out)
{
    sqlite3_stmt *q = r->sql[READ_FLOORS];
    enum err      e = ERR_OK;
    while (sql_next(r->db, q, &e))
        page_raise(out, (struct mark){sql_u64(q, 0), sql_u64(q, 1)});
    return e == ERR_OK ? marks_between(r, 1, lsn, out) : e;
}

/* Where the log begins now; within the transaction.  A row that strayed there is not its
 * first: as one it would take a cursor over what lies before its own place. */
static enum err
find_front(struct store_reader *r, const struct read *read)
{
    struct mark mark;
    r->log_first = 1;
    enum err e   = read_mark_at(r, &r->log_first, &mark);
    for (int strays = 0; e == ERR_OK && strays < STRAYS_MAX; strays++) {
        if (!verify_stray(r, r->log_first, mark, read->lsn_last))
            break;
        r->log_first++;
        e = read_mark_at(r, &r->log_first, &mark);
    }
    if (e == ERR_NOTFOUND)
        r->log_first = read->lsn_last + 1;
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* Whether a message of the batch is among the first that are there, but not where its row says:
 * then it is not lost, and the row is wrong. */
static enum err
is_elsewhere(struct store_reader *r, const struct batch_row *row, uint64_t lsn_last, bool *is)
{
    struct mark mark;
    uint64_t    lsn = r->log_first;
    enum err    e   = ERR_OK;
    *is             = false;
    for (; lsn <= lsn_last && e == ERR_OK && !*is; lsn++) {
        e   = read_mark_at(r, &lsn, &mark);
        *is = e == ERR_OK && lsn <= lsn_last && mark.stream == row->stream &&
              row->first <= mark.seq && mark.seq <= row->last && mark.seq != row_mark(row, lsn).seq;
    }
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The first messages may be lost: what is above a floor was not taken by retention.  Only a
 * batch that reaches up to what is there is believed, since its row may be the damaged one. */
static enum err
lower_front(struct store_reader *r, const struct read *read)
{
    struct batch_row row;
    bool             is;
    uint64_t         last = r->log_first + FRONT_SEARCHED;
    sqlite3_stmt    *q    = r->sql[READ_FRONT];
    if (last > read->lsn_last)
        last = read->lsn_last;
    for (int n = 0;; n++) {
        sql_bind_u64(q, 1, r->log_first);
        enum err e    = read_first(r, q);
        bool     more = e == ERR_OK && sqlite3_column_type(q, 0) != SQLITE_NULL;
        row           = (struct batch_row){.lsn    = sql_u64(q, 0),
                                           .stream = sql_u64(q, 1),
                                           .first  = sql_u64(q, 2),
                                           .last   = sql_u64(q, 3),
                                           .is_gap = sql_u64(q, 4) & ROW_GAP};
        sqlite3_reset(q);
        if (more)
            e = is_elsewhere(r, &row, n < FRONTS_JUDGED ? last : 0, &is);
        if (!more || e != ERR_OK || is)
            return e;
        r->log_first = row.lsn;
    }
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
    bool at_front = page->lsn_first <= r->log_first;
    if (e == ERR_OK && at_front)
        e = lower_front(r, read);
    if (at_front && page->lsn_first > r->log_first && read->start != READ_AT_LSN)
        page->lsn_first = r->log_first;
    page->lsn_next = page->lsn_first;
    if (e == ERR_OK && read->start == READ_SINCE)
        e = vector_before(r, page->lsn_first, &page->before);
    return e;
}

/* ---- what is gone ---- */

/* A gap for each stream whose floor `have` is below. */
static enum err
put_floors(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    sqlite3_stmt *q = r->sql[READ_FLOORS];
    enum err      e = ERR_OK;
    while (sql_next(r->db, q, &e)) {
        uint64_t have = page_seq(&read->have, sql_u64(q, 0)), floor = sql_u64(q, 1);
        if (floor <= have)
            continue;
        struct entry gap = {.lsn     = page->lsn_first,
                            .mark    = {sql_u64(q, 0), have + 1},
                            .gap_to  = floor,
                            .lamport = sql_u64(q, 2),
                            .origin  = page_text(page, sql_bytes(q, 3))};
        page_entry(page, &gap);
    }
    return e;
}

/* Who starts at a time asked for nothing of what was before.  Who goes on at an lsn has all
 * below it: unless the front of the log has passed by there, what floors stand for was said,
 * or is a gap that the scan will meet. */
static bool
says_floors(const struct store_reader *r, const struct read *read)
{
    return !read->batches && (read->start == READ_AT_VECTOR ||
                              (read->start == READ_AT_LSN && read->lsn < r->log_first));
}

/* ---- the call ---- */

/* A long read is rare: what it took does not stay. */
static void
give_back(struct store_reader *r)
{
    buf_clear_free(&r->bytes);
    buf_clear_free(&r->deps);
}

static enum err
read_log(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    enum err e = find_front(r, read);
    if (e == ERR_OK)
        e = find_start(r, read, page);
    r->floors_said = says_floors(r, read);
    if (e == ERR_OK && r->floors_said)
        e = put_floors(r, read, page);
    if (e == ERR_OK)
        e = read->batches ? scan_batches(r, read, page) : scan_messages(r, read, page);
    return e;
}

enum err
store_read(struct store_reader *r, const struct read *read, struct page **out)
{
    struct page_maker page;
    page_maker_init(&page);
    r->work       = 0;
    r->now.stream = 0;
    pthread_rwlock_rdlock(r->turns);
    enum err e = sql_run(r->db, r->sql[READ_BEGIN]);
    if (e == ERR_OK)
        e = read->start == READ_KEPT ? kept_read(r, read, &page) : read_log(r, read, &page);
    enum err ended = sqlite3_get_autocommit(r->db) ? ERR_OK : sql_run(r->db, r->sql[READ_END]);
    pthread_rwlock_unlock(r->turns);
    if (e == ERR_OK)
        e = ended;
    if (e == ERR_OK)
        *out = page_make(&page);
    page_maker_fini(&page);
    give_back(r);
    return e;
}

void
store_reader_rest(struct store_reader *r)
{
    wanted_forget(r);
    sqlite3_db_release_memory(r->db);
}
