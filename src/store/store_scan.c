/* store_scan.c - the part of a read that goes through the log. */
#include "store/store_private.h"

#include "base/mem.h"

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
           page_is_full(s->page, s->read);
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

/* What is below the floor may have been said at the front of the page. */
static enum err
take_gap(struct scan *s, struct entry *e)
{
    struct batch_row row;
    uint64_t         have = page_seq(&s->read->have, e->mark.stream), floor = 0;
    enum err         err = read_batch_row(s->r, e->mark, &row);
    if (err == ERR_OK && s->r->floors_said)
        err = read_floor(s->r, e->mark.stream, &floor);
    if (err == ERR_OK)
        err = origin_of(s, e->mark.stream, &e->origin);
    if (err != ERR_OK)
        return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
    if (floor > have)
        have = floor;
    if (have >= row.last)
        return ERR_OK;
    e->gap_to   = row.last;
    e->mark.seq = have < row.first ? row.first : have + 1;
    e->wall     = (struct wall){0};
    e->late     = false;
    page_entry(s->page, e);
    return ERR_OK;
}

static enum err
take_row(struct scan *s, sqlite3_stmt *q)
{
    uint64_t     topic = sql_u64(q, 4), flags = sql_u64(q, 6);
    bool         wanted;
    struct entry e    = {.lsn     = sql_u64(q, 0),
                         .mark    = {sql_u64(q, 1), sql_u64(q, 2)},
                         .lamport = sql_u64(q, 3),
                         .wall    = {sqlite3_column_int64(q, 5)},
                         .late    = flags & ROW_LATE};
    s->page->lsn_next = e.lsn + 1;
    s->r->work++;
    note_stamp(s->page, e.lamport);
    page_raise(&s->page->scanned, e.mark);
    if (flags & ROW_GAP)
        return take_gap(s, &e);
    if (flags & ROW_DIGEST_ONLY || page_seq(&s->read->have, e.mark.stream) >= e.mark.seq)
        return ERR_OK;
    enum err err = wanted_topic(s->r, s->read, topic, &wanted);
    if (err != ERR_OK || !wanted)
        return err;
    err = wanted_name(s->r, s->page, topic, &e.topic);
    if (err == ERR_OK)
        err = origin_of(s, e.mark.stream, &e.origin);
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

/* ---- rows that the index names ---- */

/* Retention may have taken it. */
static enum err
look_up(struct scan *s, uint64_t lsn)
{
    sqlite3_stmt *q = s->r->sql[READ_MESSAGE];
    sql_bind_u64(q, 1, lsn);
    enum err e = read_first(s->r, q);
    s->r->work += WORK_LOOKUP;
    if (e == ERR_OK)
        e = take_row(s, q);
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
        struct mark mark = {sql_u64(q, 0), sql_u64(q, 1)};
        s->r->work++;
        if (page_seq(&found, mark.stream) > 0)
            continue;
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

/* A batch that cannot be rebuilt ends the page; at its front it is an error. */
enum err
scan_batches(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    struct scan scan = {.r = r, .read = read, .page = page};
    while (!is_over(&scan)) {
        uint64_t         lsn = page->lsn_next;
        struct mark      mark;
        struct batch_row row;
        struct batch    *b = NULL;
        enum err         e = read_mark_at(r, &lsn, &mark);
        if (e == ERR_NOTFOUND || (e == ERR_OK && lsn > read->lsn_last)) {
            page->lsn_next = read->lsn_last + 1;
            return ERR_OK;
        }
        if (e == ERR_OK)
            e = read_batch_row(r, mark, &row);
        if (e == ERR_OK && mark.seq > row.last)
            e = ERR_CORRUPT;
        if (e == ERR_OK && row.lsn + row_lsns(&row) - 1 > read->lsn_last)
            return ERR_OK;
        bool covered = e == ERR_OK && page_seq(&read->have, row.stream) >= row.last;
        if (e == ERR_OK && !covered)
            e = rebuild_batch(r, &row, &b);
        if (e != ERR_OK)
            return page->count > 0 ? ERR_OK : e == ERR_NOTFOUND ? ERR_CORRUPT : e;
        if (b)
            page_batch(page, b, row.lsn);
        page->lsn_next = row.lsn + row_lsns(&row);
        page_raise(&page->scanned, (struct mark){row.stream, row.last});
        note_stamp(page, row_stamp(&row));
        r->work += WORK_BATCH;
    }
    return ERR_OK;
}
