/* store_verify.c - what a reader checks before it believes a row.
 *
 * A row of messages says twice where it belongs: by itself, and by the row of the batch that
 * has its lsn.  Where both say the same and the text fits its digest nothing was flipped, but
 * for what no digest covers (when it came here, and whether it was late).  Where they do not,
 * the batch is looked for by its lsn alone: lsns rise along a stream, so each stream has at
 * most one that may be it. */
#include "store/store_reader.h"

#include "base/blob.h"

static bool
has_lsn(const struct batch_row *row, uint64_t lsn)
{
    return row->stream != 0 && row->lsn <= lsn && lsn - row->lsn < row_lsns(row);
}

struct mark
row_mark(const struct batch_row *row, uint64_t lsn)
{
    return (struct mark){row->stream, row->is_gap ? row->last : row->first + (lsn - row->lsn)};
}

uint64_t
row_lamport(const struct batch_row *row, uint64_t lsn)
{
    return row->lamport_first + (lsn - row->lsn);
}

static bool
is_of(const struct batch_row *row, const struct entry *e, bool is_gap)
{
    if (!has_lsn(row, e->lsn) || row->is_gap != is_gap)
        return false;
    struct mark mark = row_mark(row, e->lsn);
    return mark.stream == e->mark.stream && mark.seq == e->mark.seq &&
           row_lamport(row, e->lsn) == e->lamport && row->wall.ms == e->wall.ms;
}

enum err
verify_place(struct store_reader *r, const struct entry *e, bool is_gap)
{
    if (is_of(&r->now, e, is_gap))
        return ERR_OK;
    /* Another batch may claim to have this lsn: the one that the row names goes first. */
    struct batch_row row;
    enum err         err = read_batch_row(r, e->mark, &row);
    r->work += WORK_LOOKUP;
    if (err == ERR_OK && has_lsn(&row, e->lsn))
        r->now = row;
    if (err == ERR_OK && is_of(&row, e, is_gap))
        return ERR_OK;
    return err == ERR_OK || err == ERR_NOTFOUND ? ERR_CORRUPT : err;
}

enum err
verify_find(struct store_reader *r, uint64_t lsn)
{
    struct batch_row *row = &r->now;
    sqlite3_stmt     *q   = r->sql[READ_STREAMS];
    enum err          e   = ERR_OK;
    bool              hit = has_lsn(row, lsn);
    while (!hit && sql_next(r->db, q, &e)) {
        struct mark head = {sql_u64(q, 0), sql_u64(q, 1)};
        r->work += WORK_LOOKUP;
        if (sql_u64(q, 2) < lsn || read_seq_below(r, head, lsn + 1, &head.seq) != ERR_OK ||
            head.seq == 0 || read_batch_row(r, head, row) != ERR_OK)
            continue;
        hit = has_lsn(row, lsn);
    }
    sqlite3_reset(q);
    if (!hit)
        row->stream = 0;
    return e != ERR_OK ? e : hit ? ERR_OK : ERR_NOTFOUND;
}

/* How many more rows of messages agree with it than say otherwise. */
static enum err
count_votes(struct store_reader *r, const struct batch_row *row, int *votes)
{
    sqlite3_stmt *q = r->sql[READ_ROWS];
    enum err      e = ERR_OK;
    *votes          = 0;
    sql_bind_u64(q, 1, row->lsn);
    sql_bind_u64(q, 2, row->lsn + row_lsns(row) - 1);
    while (sql_next(r->db, q, &e)) {
        struct mark mark  = row_mark(row, sql_u64(q, 6));
        bool        agree = sql_u64(q, 7) == mark.stream && sql_u64(q, 0) == mark.seq;
        *votes += agree ? 1 : -1;
    }
    return e;
}

enum err
verify_claim(struct store_reader *r, uint64_t lsn, struct mark said)
{
    struct batch_row row;
    struct mark      mark    = row_mark(&r->now, lsn);
    struct batch    *b       = NULL;
    bool             damaged = false;
    int              votes;
    if (r->now.is_gap)
        return ERR_NOTFOUND;
    if (mark.stream == said.stream && mark.seq == said.seq)
        return ERR_OK;
    enum err e = count_votes(r, &r->now, &votes);
    if (e != ERR_OK || votes > 0)
        return e;
    e = read_batch_row(r, mark, &row); /* for its deps */
    if (e == ERR_OK && (row.lsn != r->now.lsn || row.first != r->now.first))
        return ERR_NOTFOUND; /* its own key does not lead to it */
    if (e == ERR_OK)
        e = rebuild_batch(r, &row, &b, &damaged);
    blob_drop(b);
    r->work += WORK_BATCH;
    return e == ERR_CORRUPT ? ERR_NOTFOUND : e;
}

/* Where what is missing from batches ends, and the chain there. */
static enum err
end_of_hole(struct store_reader *r, struct mark at, struct damage *hole)
{
    sqlite3_stmt *q = r->sql[READ_NEXT_BATCH];
    sql_bind_u64(q, 1, at.stream);
    sql_bind_u64(q, 2, at.seq);
    enum err e  = read_first(r, q);
    bool     is = e == ERR_OK;
    if (e == ERR_NOTFOUND) {
        q = r->sql[READ_HEAD];
        sql_bind_u64(q, 1, at.stream);
        e = read_first(r, q);
    }
    if (e != ERR_OK)
        return e;
    hole->last = sql_u64(q, 0) - is;
    if (!sql_hash(q, 1, &hole->chain))
        hole->chain = (struct hash128){0};
    sqlite3_reset(q);
    return ERR_OK;
}

enum err
verify_hole(struct store_reader *r, struct mark at, struct damage *hole)
{
    struct batch_row row   = {0};
    uint64_t         first = 0;
    enum err         e     = read_batch_row(r, at, &row);
    if (e == ERR_OK && row.last >= at.seq) { /* there it is, but not where its messages are */
        *hole = (struct damage){row.stream, row.first, row.last, row.chain, row.lsn};
        return ERR_OK;
    }
    if (e == ERR_OK) {
        first = row.last + 1;
    } else if (e == ERR_NOTFOUND) {
        e = read_floor(r, at.stream, &first);
        first++;
    } else if (e == ERR_CORRUPT && row.first > 0) { /* there it is, but makes no sense */
        e     = ERR_OK;
        first = row.first;
    }
    if (e != ERR_OK)
        return e;
    *hole = (struct damage){.stream = at.stream, .first = first};
    e     = end_of_hole(r, at, hole);
    if (e != ERR_OK)
        return e;
    bool fits = hole->first <= at.seq && at.seq <= hole->last &&
                hole->last - hole->first < BATCH_MESSAGES_MAX;
    return fits ? ERR_OK : ERR_NOTFOUND;
}

bool
verify_stray(struct store_reader *r, uint64_t lsn, struct mark said, uint64_t lsn_last)
{
    struct batch_row row;
    struct mark      there;
    if (read_batch_row(r, said, &row) != ERR_OK || has_lsn(&row, lsn) || row.last < said.seq)
        return false;
    uint64_t place = row.is_gap ? row.lsn : row.lsn + (said.seq - row.first), at = place;
    if (place <= lsn || place > lsn_last)
        return false;
    enum err e = read_mark_at(r, &at, &there);
    return e == ERR_OK ? at != place : e == ERR_NOTFOUND;
}

/* What follows it in its stream does so without a hole. */
enum err
verify_gap_end(struct store_reader *r, const struct batch_row *gap, uint64_t *last)
{
    struct damage hole;
    enum err      e = end_of_hole(r, (struct mark){gap->stream, gap->first}, &hole);
    *last           = gap->last;
    if (e == ERR_OK && hole.last >= gap->first)
        *last = hole.last;
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* It follows what lies before it in its stream without a hole; where it does not, and that can
 * be proved, it is not as its row says. */
enum err
verify_gap_begin(struct store_reader *r, const struct batch_row *gap, uint64_t *first)
{
    struct batch_row below;
    struct batch    *b       = NULL;
    bool             damaged = false;
    uint64_t         floor   = 0;
    *first                   = gap->first;
    enum err e = read_batch_row(r, (struct mark){gap->stream, gap->first - 1}, &below);
    if (e == ERR_NOTFOUND) {
        e = read_floor(r, gap->stream, &floor);
        if (e == ERR_OK && floor < gap->last)
            *first = floor + 1;
        return e;
    }
    if (e != ERR_OK || below.last + 1 == gap->first || below.last >= gap->last)
        return e == ERR_CORRUPT ? ERR_OK : e;
    e = rebuild_batch(r, &below, &b, &damaged);
    r->work += WORK_BATCH;
    blob_drop(b);
    if (e == ERR_OK)
        *first = below.last + 1;
    return e == ERR_CORRUPT ? ERR_OK : e;
}

/* By what the row of messages there says, or else by the lsn. */
enum err
verify_batch_at(struct store_reader *r, uint64_t lsn, struct batch_row *row)
{
    struct mark mark;
    uint64_t    at = lsn;
    enum err    e  = read_mark_at(r, &at, &mark);
    if (e == ERR_OK && at == lsn && read_batch_row(r, mark, row) == ERR_OK && has_lsn(row, lsn))
        return ERR_OK;
    if (e == ERR_OK || e == ERR_NOTFOUND)
        e = verify_find(r, lsn);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
    /* Once more, for its deps: others were looked at on the way. */
    return read_batch_row(r, row_mark(&r->now, lsn), row);
}
