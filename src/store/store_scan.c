/* store_scan.c - the part of a read that goes through the log. */
#include "store/store_private.h"

#include "base/check.h"
#include "base/mem.h"
#include "store/store_marks.h"

#include <string.h>

enum {
    WORK_MAX     = 65536, /* rows looked at in one call, or work that costs as much */
    WORK_SEGMENT = 8,
    WORK_BATCH   = 16,
};

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
    enum err e = read_first(r, q);
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

/* What is below the floor was said at the front of the page. */
static enum err
take_gap(struct scan *s, struct entry *e)
{
    struct batch_row row;
    uint64_t         have = page_seq(&s->read->have, e->mark.stream), floor = 0;
    enum err         err = read_batch_row(s->r, e->mark, &row);
    if (err == ERR_OK && s->read->start != READ_SINCE)
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
    if (flags & ROW_GAP)
        return take_gap(s, &e);
    if (flags & ROW_DIGEST_ONLY || page_seq(&s->read->have, e.mark.stream) >= e.mark.seq)
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
    enum err e = read_first(s->r, q);
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

enum err
scan_messages(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    struct scan scan = {.r = r, .read = read, .page = page};
    enum err    e    = ERR_OK;
    if (r->topic_cap > 0)
        memset(r->topic, 0, r->topic_cap * sizeof *r->topic);
    memset(r->origin, 0, sizeof r->origin);
    while (e == ERR_OK && !is_over(&scan)) {
        bool     passed = false;
        uint64_t last   = read->lsn_last;
        if (read->want)
            e = try_segment(&scan, &passed, &last);
        if (e == ERR_OK && !passed)
            e = scan_rows(&scan, last);
    }
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
        page->stamp    = row_stamp(&row) > page->stamp ? row_stamp(&row) : page->stamp;
        scan.work += WORK_BATCH;
    }
    return ERR_OK;
}
