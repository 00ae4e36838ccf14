/* store_heads.c - at a start: do the rows of streams say what the batches say?
 *
 * A head that was flipped would make a broker take what comes next for known, or for a
 * contradiction.  What a row of streams says follows from the first and the last batch that are
 * left of it; where they differ and the batch is what its origin sealed, the row is put right.
 * Unless it is the row of a batch that is lost: then the messages, or the chain at the floor, say
 * that the row of streams is right. */
#include "store/store_start.h"

#include "base/mem.h"
#include "base/trace.h"
#include "store/store_marks.h"

#define COLUMNS                                                                                    \
    "SELECT first, last, lsn, lamport_first, wall_ms, flags, prev, chain, deps FROM batches "

static const char all_streams[] = "SELECT stream, head, head_chain, head_stamp, head_lsn, floor,"
                                  " floor_chain, flags FROM streams ORDER BY stream";
static const char last_batch[]  = COLUMNS "WHERE stream = ?1 ORDER BY first DESC LIMIT 1";
static const char front_batch[] = COLUMNS "WHERE stream = ?1 AND first > ?2 ORDER BY first LIMIT 1";
static const char digests[]     = "SELECT digest FROM messages WHERE lsn >= ?1 AND lsn <= ?2"
                                  " ORDER BY lsn";
static const char origin[]      = "SELECT origin FROM streams WHERE stream = ?1";
static const char put_head[]    = "UPDATE streams SET head = ?2, head_chain = ?3, head_stamp = ?4,"
                                  " head_lsn = ?5 WHERE stream = ?1";
static const char put_floor[]   = "UPDATE streams SET floor = ?2, floor_chain = ?3,"
                                  " floor_stamp = ?4, floor_deps = NULL WHERE stream = ?1";
static const char next_stream[] = "SELECT stream FROM batches WHERE stream > ?1"
                                  " ORDER BY stream LIMIT 1";
static const char head_row[]    = "SELECT 1 FROM messages WHERE lsn = ?1 AND stream = ?2"
                                  " AND seq = ?3";
static const char has_stream[]  = "SELECT 1 FROM streams WHERE stream = ?1";
static const char back_down[] =
    "UPDATE OR IGNORE messages SET lsn = (SELECT b.lsn + messages.seq - b.first FROM batches b"
    " WHERE b.stream = messages.stream AND b.first <= messages.seq ORDER BY b.first DESC LIMIT 1)"
    " WHERE lsn > (SELECT max(head_lsn) FROM streams) AND (SELECT count(*) FROM messages m"
    " WHERE m.lsn > (SELECT max(head_lsn) FROM streams)) <= 16";
static const char put_stream[] = "UPDATE streams SET stream = ?2 WHERE stream = ?1";

enum query { ALL, LAST, FRONT, DIGESTS, ORIGIN, NEXT, HAS, HEAD_ROW, QUERY_COUNT };

static const char *const text_of[QUERY_COUNT] = {
    [ALL] = all_streams, [LAST] = last_batch,  [FRONT] = front_batch, [DIGESTS] = digests,
    [ORIGIN] = origin,   [NEXT] = next_stream, [HAS] = has_stream,    [HEAD_ROW] = head_row,
};

/* A row of streams, and of batches. */
struct head {
    uint64_t       stream, head, stamp, lsn, floor;
    struct hash128 chain, floor_chain;
    bool           chain_is_whole, retired;
};
struct row {
    bool           is_there, is_whole, is_gap;
    uint64_t       first, last, lsn, lamport_first;
    struct wall    wall;
    struct hash128 prev, chain;
    struct mark   *deps; /* owned */
    uint32_t       deps_count;
};

struct heads {
    struct store *s;
    sqlite3_stmt *q[QUERY_COUNT];
    uint32_t      mended, moved;
    struct head   stray; /* a stream without batches that should have some; 0: none */
};

/* ---- rows ---- */

static bool
take_row(sqlite3_stmt *q, struct row *row)
{
    struct str deps = sql_bytes(q, 8);
    *row            = (struct row){.is_there      = true,
                                   .first         = sql_u64(q, 0),
                                   .last          = sql_u64(q, 1),
                                   .lsn           = sql_u64(q, 2),
                                   .lamport_first = sql_u64(q, 3),
                                   .wall          = {sqlite3_column_int64(q, 4)},
                                   .is_gap        = sql_u64(q, 5) & ROW_GAP};
    if (!sql_hash(q, 6, &row->prev) || !sql_hash(q, 7, &row->chain) || row->last < row->first ||
        (!row->is_gap && row->last - row->first >= BATCH_MESSAGES_MAX) ||
        marks_decode(deps, NULL, &row->deps_count) != ERR_OK)
        return false;
    row->deps = mem_new((row->deps_count + 1) * sizeof *row->deps);
    return marks_decode(deps, row->deps, &row->deps_count) == ERR_OK;
}

/* !is_there: there is none; !is_whole: it makes no sense. */
static enum err
find_row(struct heads *h, enum query which, struct mark at, struct row *row)
{
    sqlite3_stmt *q = h->q[which];
    enum err      e = ERR_OK;
    *row            = (struct row){0};
    sql_bind_u64(q, 1, at.stream);
    if (which == FRONT)
        sql_bind_u64(q, 2, at.seq);
    while (sql_next(h->s->db, q, &e))
        row->is_whole = take_row(q, row);
    return e;
}

static uint64_t
lsns(const struct row *row)
{
    return row->is_gap ? 1 : row->last - row->first + 1;
}

/* Is it what its origin sealed?  By the digests of its messages. */
static enum err
check_seal(struct heads *h, uint64_t stream, const struct row *row, bool *sealed)
{
    struct store *s   = h->s;
    sqlite3_stmt *q   = h->q[DIGESTS];
    struct msg   *msg = mem_new(lsns(row) * sizeof *msg);
    struct batch  b   = {.stream        = stream,
                         .first         = row->first,
                         .prev          = row->prev,
                         .lamport_first = row->lamport_first,
                         .wall          = row->wall,
                         .deps          = row->deps,
                         .deps_count    = row->deps_count,
                         .msg           = msg};
    enum err      e   = ERR_OK;
    bool          all = true;
    sql_bind_u64(q, 1, row->lsn);
    sql_bind_u64(q, 2, row->lsn + lsns(row) - 1);
    while (sql_next(s->db, q, &e))
        all &= b.count < lsns(row) && sql_hash(q, 0, &msg[b.count++].digest);
    buf_reset(&s->texts);
    sql_bind_u64(h->q[ORIGIN], 1, stream);
    while (e == ERR_OK && row->first == 1 && sql_next(s->db, h->q[ORIGIN], &e))
        e = buf_add(&s->texts, sql_bytes(h->q[ORIGIN], 0));
    b.origin = buf_str(&s->texts);
    *sealed  = e == ERR_OK && all && b.count == lsns(row) &&
              hash128_eq(marks_chain(&b, &s->scratch), row->chain);
    mem_free(msg);
    return e;
}

/* ---- putting right ---- */

static enum err
put(struct heads *h, const char *text, uint64_t stream, const uint64_t value[3],
    const struct hash128 *chain)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(h->s->db, text, &q);
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, stream);
    sql_bind_u64(q, 2, value[0]);
    if (chain) {
        sql_bind_blob(q, 3, chain->b, sizeof chain->b);
        sql_bind_u64(q, 4, value[1]);
    }
    if (sqlite3_bind_parameter_count(q) > 4)
        sql_bind_u64(q, 5, value[2]);
    e = sql_run(h->s->db, q);
    sqlite3_finalize(q);
    h->mended++;
    return e;
}

/* Is there a message that says what the row says? */
static enum err
find_head(struct heads *h, const struct head *d, bool *found)
{
    sqlite3_stmt *q = h->q[HEAD_ROW];
    enum err      e = ERR_OK;
    *found          = false;
    sql_bind_u64(q, 1, d->lsn);
    sql_bind_u64(q, 2, d->stream);
    sql_bind_u64(q, 3, d->head);
    while (sql_next(h->s->db, q, &e))
        *found = true;
    return e;
}

static enum err
check_head(struct heads *h, const struct head *d, const struct row *last)
{
    const uint64_t value[] = {last->last, last->lamport_first + lsns(last) - 1,
                              last->lsn + lsns(last) - 1};
    bool           sealed = false, found = false;
    if (d->head == value[0] && d->stamp == value[1] && d->lsn == value[2] && d->chain_is_whole &&
        hash128_eq(d->chain, last->chain))
        return ERR_OK;
    enum err e = last->last < d->head ? find_head(h, d, &found) : ERR_OK;
    if (e == ERR_OK && !last->is_gap && !found)
        e = check_seal(h, d->stream, last, &sealed);
    return e == ERR_OK && sealed ? put(h, put_head, d->stream, value, &last->chain) : e;
}

static enum err
check_floor(struct heads *h, const struct head *d, const struct row *front)
{
    const uint64_t value[] = {front->first - 1, front->lamport_first - 1, 0};
    bool           sealed  = false;
    bool           same    = d->floor == value[0];
    bool           chained = hash128_eq(d->floor_chain, front->prev);
    if (front->is_gap || (same && (d->floor == 0 || chained)) || (!same && !chained))
        return ERR_OK;
    enum err e = check_seal(h, d->stream, front, &sealed);
    return e == ERR_OK && sealed ? put(h, put_floor, d->stream, value, &front->prev) : e;
}

static enum err
check_stream(struct heads *h, const struct head *d)
{
    struct row row;
    enum err   e = find_row(h, LAST, (struct mark){d->stream, 0}, &row);
    if (e == ERR_OK && row.is_whole && (row.last > d->floor || !row.is_gap))
        e = check_head(h, d, &row);
    else if (e == ERR_OK && !row.is_there && d->floor < d->head)
        h->stray = *d;
    mem_free(row.deps);
    if (e != ERR_OK || h->stray.stream == d->stream)
        return e;
    /* From the front of what is left: its row may say that there is more, or less. */
    e = find_row(h, FRONT, (struct mark){d->stream, 0}, &row);
    for (uint64_t above = 0; e == ERR_OK && row.is_whole && row.is_gap && row.last <= d->floor;) {
        if (row.last <= above) { /* the tree's order is lost */
            e = ERR_CORRUPT;
            break;
        }
        above = row.last;
        mem_free(row.deps);
        e = find_row(h, FRONT, (struct mark){d->stream, above}, &row);
    }
    if (e == ERR_OK && row.is_whole)
        e = check_floor(h, d, &row);
    mem_free(row.deps);
    return e;
}

/* ---- all of them ---- */

static enum err
check_all(struct heads *h)
{
    sqlite3_stmt *q       = h->q[ALL];
    int64_t       above   = 0;
    bool          is_next = false;
    enum err      e = ERR_OK, checked = ERR_OK;
    while (checked == ERR_OK && sql_next(h->s->db, q, &e)) {
        struct head d    = {.stream  = sql_u64(q, 0),
                            .head    = sql_u64(q, 1),
                            .stamp   = sql_u64(q, 3),
                            .lsn     = sql_u64(q, 4),
                            .floor   = sql_u64(q, 5),
                            .retired = sql_u64(q, 7) & STREAM_RETIRED};
        d.chain_is_whole = sql_hash(q, 2, &d.chain);
        if (!sql_hash(q, 6, &d.floor_chain))
            d.floor_chain = (struct hash128){0};
        int64_t key = sqlite3_column_int64(q, 0);
        if (is_next && key <= above) /* the tree's order is lost, and this would not end */
            checked = ERR_CORRUPT;
        else if (!d.retired && d.head > 0)
            checked = check_stream(h, &d);
        above   = key;
        is_next = true;
    }
    sqlite3_reset(q);
    return e == ERR_OK ? checked : e;
}

/* A stream that has no batches: it is the one that some batches have and that has no row.  Gaps
 * may outlive the row of their stream, so there may be others. */
static enum err
check_stray(struct heads *h)
{
    uint64_t stream = 0;
    enum err e      = ERR_OK;
    if (h->stray.stream == 0)
        return ERR_OK;
    for (bool more = true; more && e == ERR_OK;) {
        uint64_t above = stream;
        bool     known = false;
        more           = false;
        sql_bind_u64(h->q[NEXT], 1, stream);
        while (sql_next(h->s->db, h->q[NEXT], &e)) {
            stream = sql_u64(h->q[NEXT], 0);
            more   = stream > above; /* where the tree's order is lost SQLite goes in circles */
        }
        sql_bind_u64(h->q[HAS], 1, stream);
        while (more && e == ERR_OK && sql_next(h->s->db, h->q[HAS], &e))
            known = true;
        if (e != ERR_OK || !more || known)
            continue;
        const uint64_t value[3] = {stream};
        struct row     last;
        e = find_row(h, LAST, (struct mark){stream, 0}, &last);
        mem_free(last.deps);
        if (e == ERR_OK && last.is_whole && hash128_eq(last.chain, h->stray.chain))
            return put(h, put_stream, h->stray.stream, value, NULL);
    }
    return e == ERR_OK ? ERR_CORRUPT : e;
}

/* Messages above the highest head: bits of their lsns were flipped.  What their batches say where
 * they belong is free, or the file contradicts itself. */
static enum err
check_above(struct heads *h)
{
    int      before = sqlite3_total_changes(h->s->db);
    enum err e      = sql_exec(h->s->db, back_down);
    h->moved        = (uint32_t)(sqlite3_total_changes(h->s->db) - before);
    return e;
}

enum err
heads_check(struct store *s)
{
    struct heads h = {.s = s};
    enum err     e = ERR_OK;
    for (int i = 0; i < QUERY_COUNT && e == ERR_OK; i++)
        e = sql_prepare(s->db, text_of[i], &h.q[i]);
    if (e == ERR_OK)
        e = check_all(&h);
    if (e == ERR_OK)
        e = check_stray(&h);
    if (e == ERR_OK)
        e = check_above(&h);
    for (int i = 0; i < QUERY_COUNT; i++)
        sqlite3_finalize(h.q[i]);
    buf_reset(&s->texts);
    if (h.mended > 0)
        tracef(TRACE_WARN,
               "store: %u rows of streams in %s said what no batch says, and were put "
               "right. Check the disk",
               h.mended, s->path);
    if (h.moved > 0)
        tracef(TRACE_WARN,
               "store: %u messages in %s lay where none can be, and were put back. Check the disk",
               h.moved, s->path);
    return e;
}
