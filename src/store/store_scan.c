/* store_scan.c - the part of a read that goes through the log. */
#include "store/store_reader.h"

#include "base/blob.h"
#include "base/mem.h"
#include "store/store_marks.h"

#include <string.h>

struct scan {
    struct store_reader *r;
    const struct read   *read;
    struct page_maker   *page;
};

static bool
is_over(const struct scan *s)
{
    return s->page->lsn_next > s->read->lsn_last || s->r->work >= WORK_MAX ||
           s->page->damage_count == PAGE_DAMAGES_MAX || page_is_full(s->page, s->read);
}

static void
note_stamp(struct page_maker *page, uint64_t lamport)
{
    if (lamport > page->stamp)
        page->stamp = lamport;
}

/* ---- rows of messages ---- */

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

/* From e->mark on up to e->gap_to, but for what the reader has.  What is below the floor may
 * have been said at the front of the page. */
static enum err
put_gap(struct scan *s, struct entry *e, bool damaged)
{
    uint64_t have = page_seq(&s->read->have, e->mark.stream), floor = 0;
    enum err err = ERR_OK;
    if (s->r->floors_said)
        err = read_floor(s->r, e->mark.stream, &floor);
    if (err == ERR_OK)
        err = origin_of(s, e->mark.stream, &e->origin);
    if (err != ERR_OK)
        return err;
    if (floor > have)
        have = floor;
    if (have >= e->gap_to)
        return ERR_OK;
    if (e->mark.seq > e->gap_to) /* what lies beside it contradicts itself */
        e->mark.seq = e->gap_to;
    if (have >= e->mark.seq)
        e->mark.seq = have + 1;
    e->wall = (struct wall){0};
    e->late = false;
    if (damaged)
        page_lost(s->page, e);
    else
        page_entry(s->page, e);
    return ERR_OK;
}

static void
note_row(struct scan *s, const struct entry *e)
{
    s->page->lsn_next = e->lsn + 1;
    s->r->work++;
    note_stamp(s->page, e->lamport);
    page_raise(&s->page->scanned, e->mark);
}

/* What a row of messages says of itself; all 0 where there is none. */
struct claim {
    struct mark mark; /* of a message; stream 0: it says that it is a gap */
    bool        is, has_flag, has_topic;
};

static struct claim
claim_of(sqlite3_stmt *q)
{
    struct claim c = {.is        = true,
                      .has_flag  = sql_u64(q, 6) & ROW_GAP,
                      .has_topic = sqlite3_column_type(q, 4) != SQLITE_NULL};
    if (!c.has_flag)
        c.mark = (struct mark){sql_u64(q, 1), sql_u64(q, 2)};
    return c;
}

/* As store_prove.c has it: its batch says that it is a gap, its flag does, and that it has no
 * topic: two of the three are right. */
static bool
is_gap(const struct batch_row *row, const struct claim *said)
{
    return said->is ? row->is_gap + said->has_flag + !said->has_topic > 1 : row->is_gap;
}

/* What lies there is not what was stored, or is not there: a gap of one. */
static enum err
take_damaged(struct scan *s, uint64_t lsn, struct claim claim)
{
    struct mark             said = claim.mark;
    struct store_reader    *r    = s->r;
    const struct batch_row *row  = &r->now;
    struct entry            e    = {.lsn = lsn, .mark = said, .gap_to = said.seq};
    struct damage           damage;
    enum err                err = verify_find(r, lsn);
    r->work += WORK_LOOKUP;
    if (err == ERR_OK)
        r->now.is_gap = is_gap(row, &claim);
    if (err == ERR_OK && said.stream != 0 && !row->is_gap)
        err = verify_claim(r, lsn, said);
    if (err == ERR_OK) {
        damage    = (struct damage){row->stream, row->first, row->last, row->chain, row->lsn};
        e.mark    = row_mark(row, lsn);
        e.gap_to  = e.mark.seq;
        e.lamport = row_lamport(row, lsn);
        if (row->is_gap)
            err = verify_gap_end(r, row, &damage.last);
        if (row->is_gap && err == ERR_OK)
            err = verify_gap_begin(r, row, &e.mark.seq);
        if (row->is_gap)
            e.gap_to = damage.last;
    } else if (err == ERR_NOTFOUND) {
        err = said.stream != 0 ? verify_hole(r, said, &damage) : ERR_CORRUPT;
        if (err == ERR_OK)
            damage.lsn = lsn - (said.seq - damage.first);
    }
    if (err != ERR_OK)
        return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
    note_row(s, &(struct entry){lsn, {e.mark.stream, e.gap_to}, .lamport = e.lamport});
    page_damage(s->page, &damage);
    return put_gap(s, &e, true);
}

/* A stream without a row of its own: either that is lost, or the stream was never there, and
 * two rows say the same wrong thing.  The chain covers it. */
static enum err
check_stream(struct scan *s, struct mark mark, bool *fits)
{
    struct batch_row row;
    struct batch    *b       = NULL;
    bool             damaged = false;
    enum err         err     = read_batch_row(s->r, mark, &row);
    if (err == ERR_OK)
        err = rebuild_batch(s->r, &row, &b, &damaged);
    s->r->work += WORK_BATCH;
    blob_drop(b);
    *fits = err == ERR_OK;
    return err == ERR_CORRUPT || err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Its text, when it fits its digest: *e is whole then. */
static enum err
take_text(struct scan *s, sqlite3_stmt *q, struct entry *e, bool *fits)
{
    struct str     headers = sql_bytes(q, 7), body = sql_bytes(q, 8), name;
    struct hash128 digest;
    enum err       err = wanted_name(s->r, s->page, sql_u64(q, 4), &name);
    if (err != ERR_OK) {
        *fits = false;
        return err == ERR_CORRUPT ? ERR_OK : err; /* there is no such topic */
    }
    *fits = sql_hash(q, 9, &digest) &&
            hash128_eq(digest, marks_digest(page_settled(s->page, name), headers, body));
    if (!*fits)
        return ERR_OK;
    e->topic   = name;
    e->headers = page_text(s->page, headers);
    e->body    = page_text(s->page, body);
    err        = origin_of(s, e->mark.stream, &e->origin);
    if (err == ERR_OK && e->origin.n == 0)
        err = check_stream(s, e->mark, fits);
    return err;
}

/* `named`: the index says that its topic is wanted. */
static enum err
take_row(struct scan *s, sqlite3_stmt *q, bool named)
{
    uint64_t     flags  = sql_u64(q, 6);
    bool         wanted = true, fits = true;
    struct entry e   = {.lsn     = sql_u64(q, 0),
                        .mark    = {sql_u64(q, 1), sql_u64(q, 2)},
                        .lamport = sql_u64(q, 3),
                        .wall    = {sqlite3_column_int64(q, 5)},
                        .late    = flags & ROW_LATE};
    enum err     err = verify_place(s->r, &e, flags & ROW_GAP);
    if (err == ERR_CORRUPT || (err == ERR_OK && flags & ROW_DIGEST_ONLY))
        return take_damaged(s, e.lsn, claim_of(q));
    if (err != ERR_OK)
        return err;
    note_row(s, &e);
    if (flags & ROW_GAP) {
        e.gap_to = s->r->now.last;
        err      = verify_gap_begin(s->r, &s->r->now, &e.mark.seq);
        return err == ERR_OK ? put_gap(s, &e, false) : err;
    }
    if (page_seq(&s->read->have, e.mark.stream) >= e.mark.seq)
        return ERR_OK;
    err = wanted_topic(s->r, s->read, sql_u64(q, 4), &wanted);
    if (err == ERR_OK && (wanted || named))
        err = take_text(s, q, &e, &fits);
    if (err == ERR_CORRUPT || !fits)
        return take_damaged(s, e.lsn, claim_of(q));
    if (err == ERR_OK && wanted)
        page_entry(s->page, &e);
    return err;
}

/* Rows that are not there though they were, up to the next one. */
static enum err
take_lost(struct scan *s, uint64_t next)
{
    enum err e = ERR_OK;
    if (s->page->lsn_next < s->r->log_first)
        s->page->lsn_next = s->r->log_first;
    while (e == ERR_OK && s->page->lsn_next < next && !is_over(s))
        e = take_damaged(s, s->page->lsn_next, (struct claim){0});
    return e;
}

static enum err
scan_rows(struct scan *s, uint64_t last)
{
    sqlite3_stmt *q = s->r->sql[READ_MESSAGES];
    enum err      e = ERR_OK;
    sql_bind_u64(q, 1, s->page->lsn_next);
    sql_bind_u64(q, 2, last);
    while (sql_next(s->r->db, q, &e)) {
        uint64_t lsn = sql_u64(q, 0);
        if (lsn < s->page->lsn_next || lsn < s->r->log_first || lsn > last)
            continue; /* its key was flipped: where it should be it is found to be lost */
        e = take_lost(s, lsn);
        if (e == ERR_OK && !is_over(s))
            e = take_row(s, q, false);
        if (e != ERR_OK || is_over(s)) {
            sqlite3_reset(q);
            return e;
        }
    }
    return e == ERR_OK ? take_lost(s, last + 1) : e;
}

/* ---- rows that the index names ---- */

/* Retention may have taken it. */
static enum err
look_up(struct scan *s, uint64_t lsn)
{
    if (lsn < s->r->log_first)
        return ERR_OK;
    sqlite3_stmt *q = s->r->sql[READ_MESSAGE];
    sql_bind_u64(q, 1, lsn);
    enum err e = read_first(s->r, q);
    s->r->work += WORK_LOOKUP;
    if (e == ERR_OK)
        e = take_row(s, q, true);
    else if (e == ERR_NOTFOUND)
        e = take_damaged(s, lsn, (struct claim){0});
    sqlite3_reset(q);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The page ends inside a segment: how far each stream had come by then is in its rows. */
static enum err
note_part(struct scan *s)
{
    const struct index_run *run   = &s->r->run;
    sqlite3_stmt           *q     = s->r->sql[READ_BEFORE];
    struct vector           found = {0};
    enum err                e     = ERR_OK;
    sql_bind_u64(q, 1, s->page->lsn_next);
    sql_bind_u64(q, 2, s->page->lsn_first > run->row.first ? s->page->lsn_first : run->row.first);
    while (found.count < run->marks.count && sql_next(s->r->db, q, &e)) {
        struct mark  mark = {sql_u64(q, 0), sql_u64(q, 1)};
        struct entry row  = {.lsn     = sql_u64(q, 3),
                             .mark    = mark,
                             .lamport = sql_u64(q, 2),
                             .wall    = {sqlite3_column_int64(q, 4)}};
        s->r->work++;
        if (page_seq(&found, mark.stream) > 0 ||
            verify_place(s->r, &row, sql_u64(q, 5) & ROW_GAP) != ERR_OK)
            continue; /* the one below it is right, if it is not the highest */
        page_raise(&found, mark);
        page_raise(&s->page->scanned, mark);
        note_stamp(s->page, sql_u64(q, 2));
    }
    sqlite3_reset(q);
    mem_free(found.at);
    return e;
}

/* Its stamp and marks may be those of messages below lsn_first.  Who reads on from there has
 * those too. */
static void
note_whole(struct scan *s)
{
    const struct index_run *run = &s->r->run;
    for (uint32_t i = 0; i < run->marks.count; i++)
        page_raise(&s->page->scanned, run->marks.at[i]);
    note_stamp(s->page, run->row.stamp);
    s->page->lsn_next = run->row.last + 1;
}

static enum err
scan_named(struct scan *s)
{
    uint64_t end = s->r->run.row.last + 1;
    uint64_t lsn = index_next_row(s->r, s->page->lsn_next);
    enum err e   = ERR_OK;
    while (lsn < end && e == ERR_OK && !is_over(s)) {
        e   = look_up(s, lsn);
        lsn = index_next_row(s->r, lsn + 1);
    }
    if (e == ERR_OK && lsn < end)
        return note_part(s);
    if (e == ERR_OK)
        note_whole(s);
    return e;
}

/* The segment that r->run is, or what lies before it. */
static enum err
scan_run(struct scan *s)
{
    const struct index_run *run  = &s->r->run;
    uint64_t                last = run->row.last;
    bool                    all  = !run->is_indexed;
    enum err                e    = ERR_OK;
    if (run->row.first > s->page->lsn_next) {
        last = run->row.first - 1;
        all  = true;
    }
    if (last > s->read->lsn_last) {
        last = s->read->lsn_last;
        all  = true;
    }
    if (!all)
        e = index_rows(s->r, s->read, &all);
    if (e != ERR_OK)
        return e;
    return all ? scan_rows(s, last) : scan_named(s);
}

enum err
scan_messages(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    struct scan scan = {.r = r, .read = read, .page = page};
    enum err    e    = wanted_begin(r, read);
    memset(r->origin, 0, sizeof r->origin);
    index_begin(r);
    while (e == ERR_OK && !is_over(&scan)) {
        if (!read->want) {
            e = scan_rows(&scan, read->lsn_last);
            continue;
        }
        e = index_seek(r, page->lsn_next);
        if (e == ERR_OK)
            e = scan_run(&scan);
    }
    index_end(r);
    return e;
}

/* ---- batches ---- */

static struct damage
damage_of(const struct batch_row *row)
{
    return (struct damage){row->stream, row->first, row->last, row->chain, row->lsn};
}

/* Commits are whole: a row that leads beyond what was committed claims too much. */
static bool
is_beyond(const struct scan *s, const struct batch_row *row)
{
    return row->lsn + row_lsns(row) - 1 > s->read->lsn_last;
}

/* Where to go on from `lsn` behind a batch whose row may claim too much, and that is not
 * proved. */
static uint64_t
end_of_damaged(struct scan *s, uint64_t lsn, const struct batch_row *row)
{
    uint64_t end = is_beyond(s, row) ? s->read->lsn_last + 1 : row->lsn + row_lsns(row);
    for (lsn++; lsn < end; lsn++) {
        struct batch_row other;
        if (verify_batch_at(s->r, lsn, &other) == ERR_OK &&
            (other.stream != row->stream || other.first != row->first))
            break;
    }
    return lsn;
}

static void
put_batch(struct scan *s, const struct batch_row *row, struct batch *b)
{
    struct page_maker *page = s->page;
    if (b && page_seq(&s->read->have, row->stream) < row->last)
        page_batch(page, b, row->lsn);
    else
        blob_drop(b);
    page->lsn_next = row->lsn + row_lsns(row);
    page_raise(&page->scanned, (struct mark){row->stream, row->last});
    note_stamp(page, row_stamp(row));
}

/* It is not what its origin sealed, but by what else the file says of it; or a gap goes to
 * others in its place.  NOTFOUND: nothing can go in its place. */
static enum err
take_proved(struct scan *s, uint64_t lsn, struct mark at)
{
    struct batch    *b;
    struct batch_row row;
    enum err         e = prove_batch(s->r, lsn, at, &row, &b);
    s->r->work += WORK_BATCH;
    if (e != ERR_OK)
        return e;
    if (row.lsn + row_lsns(&row) <= lsn || is_beyond(s, &row)) {
        blob_drop(b);
        return ERR_NOTFOUND;
    }
    struct damage damage = damage_of(&row);
    page_damage(s->page, &damage);
    put_batch(s, &row, b);
    return ERR_OK;
}

/* Its row of batches is lost: what that should be can be told from its messages. */
static enum err
pass_hole(struct scan *s, uint64_t lsn)
{
    struct mark   mark;
    struct damage hole;
    uint64_t      at = lsn;
    enum err      e  = read_mark_at(s->r, &at, &mark);
    if (e == ERR_OK)
        e = at == lsn ? take_proved(s, lsn, mark) : ERR_CORRUPT;
    if (e != ERR_NOTFOUND)
        return e;
    e = verify_hole(s->r, mark, &hole);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
    page_damage(s->page, &hole);
    s->page->lsn_next = lsn + (hole.last - mark.seq) + 1;
    s->r->work += WORK_BATCH;
    return ERR_OK;
}

static enum err
take_batch(struct scan *s, uint64_t lsn, const struct batch_row *row)
{
    struct batch *b       = NULL;
    bool          damaged = false;
    enum err      e       = ERR_OK;
    struct damage damage  = damage_of(row);
    if (is_beyond(s, row))
        e = ERR_CORRUPT;
    else if (page_seq(&s->read->have, row->stream) < row->last)
        e = rebuild_batch(s->r, row, &b, &damaged);
    s->r->work += WORK_BATCH;
    if (e == ERR_CORRUPT) {
        e = take_proved(s, lsn, row_mark(row, lsn));
        if (e != ERR_NOTFOUND)
            return e;
        page_damage(s->page, &damage);
        s->page->lsn_next = end_of_damaged(s, lsn, row);
        return ERR_OK;
    }
    if (e != ERR_OK)
        return e;
    if (damaged)
        page_damage(s->page, &damage);
    put_batch(s, row, b);
    return ERR_OK;
}

/* Where the file itself cannot be read the page ends; at its front that is an error. */
enum err
scan_batches(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    struct scan scan = {.r = r, .read = read, .page = page};
    while (!is_over(&scan)) {
        uint64_t         lsn = page->lsn_next > r->log_first ? page->lsn_next : r->log_first;
        struct batch_row row;
        if (lsn > read->lsn_last) {
            page->lsn_next = lsn;
            return ERR_OK;
        }
        enum err e = verify_batch_at(r, lsn, &row);
        if (e == ERR_CORRUPT)
            e = pass_hole(&scan, lsn);
        else if (e == ERR_OK)
            e = take_batch(&scan, lsn, &row);
        if (e != ERR_OK)
            return page->count > 0 ? ERR_OK : e;
    }
    return ERR_OK;
}
