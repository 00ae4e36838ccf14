#include "store/store_front.h"

#include "base/trace.h"

struct row {
    uint64_t    lsn, lamport;
    struct mark mark;
    int64_t     wall;
};

static enum err
row_at(struct store *s, uint64_t lsn, struct row *row)
{
    sqlite3_stmt *q     = s->sql[SQL_FRONT];
    enum err      e     = ERR_OK;
    bool          found = false;
    sql_bind_u64(q, 1, lsn);
    for (; sql_next(s->db, q, &e); found = true)
        *row = (struct row){.lsn     = sql_u64(q, 0),
                            .mark    = {sql_u64(q, 1), sql_u64(q, 2)},
                            .lamport = sql_u64(q, 3),
                            .wall    = sqlite3_column_int64(q, 4)};
    return e == ERR_OK && !found ? ERR_NOTFOUND : e;
}

static enum err
batch_of(struct store *s, struct mark mark, struct front *f)
{
    sqlite3_stmt *q     = s->sql[SQL_FRONT_BATCH];
    enum err      e     = ERR_OK;
    bool          whole = false;
    sql_bind_u64(q, 1, mark.stream);
    sql_bind_u64(q, 2, mark.seq);
    while (sql_next(s->db, q, &e)) {
        int64_t wall = sqlite3_column_int64(q, 4), received = sqlite3_column_int64(q, 5);
        *f       = (struct front){.stream = mark.stream,
                                  .first  = sql_u64(q, 0),
                                  .last   = sql_u64(q, 1),
                                  .lsn    = sql_u64(q, 2),
                                  .since  = wall < received ? wall : received,
                                  .is_gap = sql_u64(q, 6) & ROW_GAP};
        f->lsns  = f->is_gap ? 1 : f->last - f->first + 1;
        f->stamp = sql_u64(q, 3) + f->lsns - 1;
        whole = sql_hash(q, 7, &f->chain) && f->last >= mark.seq && f->lsns <= BATCH_MESSAGES_MAX;
    }
    return e == ERR_OK && !whole ? ERR_CORRUPT : e;
}

/* ---- closely ---- */

/* Does each row of messages say what the row of the batch says? */
static enum err
rows_agree(struct store *s, const struct front *f)
{
    sqlite3_stmt *q     = s->sql[SQL_FRONT_ROWS];
    enum err      e     = ERR_OK;
    uint64_t      n     = 0;
    bool          agree = true;
    sql_bind_u64(q, 1, f->lsn);
    sql_bind_u64(q, 2, f->lsn + f->lsns - 1);
    for (; sql_next(s->db, q, &e); n++)
        agree &= sql_u64(q, 1) == f->stream && sql_u64(q, 2) == front_seq(f, n);
    return e == ERR_OK && (!agree || n != f->lsns) ? ERR_CORRUPT : e;
}

/* The rows from `row` on that belong together. */
static enum err
run_of(struct store *s, const struct row *row, struct front *f)
{
    struct row next = *row;
    enum err   e    = ERR_OK;
    *f              = (struct front){.stream = row->mark.stream, .first = row->mark.seq};

    f->lsn   = row->lsn;
    f->since = row->wall;
    for (uint64_t i = 0; e == ERR_OK && i < BATCH_MESSAGES_MAX; i++) {
        if (next.lsn != f->lsn + i || next.mark.stream != f->stream ||
            next.mark.seq != f->first + i)
            return ERR_OK;
        f->lsns  = i + 1;
        f->last  = next.mark.seq;
        f->stamp = next.lamport;
        e        = row_at(s, next.lsn + 1, &next);
    }
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The batch above says where this one ends, and on which chain. */
static enum err
end_of(struct store *s, const struct stream *st, struct front *f)
{
    static const char above[] = "SELECT first, prev FROM batches WHERE stream = ?1 AND first > ?2"
                                " ORDER BY first LIMIT 1";
    sqlite3_stmt     *q       = NULL;
    uint64_t          last    = st->head;
    enum err          e       = sql_prepare(s->db, above, &q);
    f->chain                  = st->chain;
    if (e == ERR_OK) {
        sql_bind_u64(q, 1, f->stream);
        sql_bind_u64(q, 2, f->first);
        while (sql_next(s->db, q, &e))
            if (sql_u64(q, 0) <= st->head && sql_hash(q, 1, &f->chain))
                last = sql_u64(q, 0) - 1;
    }
    sqlite3_finalize(q);
    if (last < f->last)
        f->lsns -= f->last - last;
    f->last = last; /* rows that lie in between are missing */
    return e;
}

static enum err
look_closely(struct store *s, const struct row *row, struct front *f)
{
    const struct stream *st       = streams_find(&s->streams, row->mark.stream);
    enum err             e        = batch_of(s, row->mark, f);
    bool                 is_alien = !st || row->mark.seq == 0 || row->mark.seq > st->head;
    if (e == ERR_OK && (row->lsn < f->lsn || row->lsn >= f->lsn + f->lsns))
        is_alien = true; /* its batch lies elsewhere */
    if (e == ERR_OK)
        e = f->lsn == row->lsn ? rows_agree(s, f) : ERR_CORRUPT;
    if (e != ERR_CORRUPT)
        return e;
    tracef(TRACE_ERROR,
           "store: the batch at lsn %llu is damaged; retention goes by what there is of it",
           (unsigned long long)row->lsn);
    if (!is_alien) {
        e = run_of(s, row, f);
        return e == ERR_OK ? end_of(s, st, f) : e;
    }
    *f = (struct front){.lsn = row->lsn, .lsns = 1, .since = row->wall};
    return ERR_OK;
}

enum err
front_look(struct store *s, uint64_t lsn, bool closely, struct front *f)
{
    struct row row = {0};
    enum err   e   = row_at(s, lsn, &row);
    if (e != ERR_OK)
        return e;
    if (closely)
        return look_closely(s, &row, f);
    e = batch_of(s, row.mark, f);
    return e == ERR_OK && f->lsn != row.lsn ? ERR_CORRUPT : e;
}
