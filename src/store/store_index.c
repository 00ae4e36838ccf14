/* store_index.c - reading the index: which rows of a segment a reader is to look at.
 *
 * What does not fit its hash is not believed, and all rows of that segment are looked at: a
 * damaged index costs time and hides nothing. */
#include "store/store_reader.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/trace.h"
#include "store/store_marks.h"

#include <string.h>

/* Said once: each page would meet it again. */
static void
doubt(struct store_reader *r)
{
    if (!r->has_doubted)
        tracef(TRACE_WARN,
               "store: the index of lsn %llu to %llu is damaged; messages are found without it, "
               "which takes longer",
               (unsigned long long)r->run.row.first, (unsigned long long)r->run.row.last);
    r->has_doubted = true;
}

/* ---- which segment ---- */

void
index_begin(struct store_reader *r)
{
    r->run.row = (struct segment_row){0};
}

void
index_end(struct store_reader *r)
{
    sqlite3_reset(r->sql[READ_SEGMENTS]);
    if (r->run.marks.cap > MARKS_KEPT) {
        mem_free(r->run.marks.at);
        r->run.marks = (struct vector){0};
    }
}

static enum err
take_marks(struct vector *v, struct str text)
{
    enum err e = marks_decode(text, NULL, &v->count);
    if (e == ERR_OK && v->count > v->cap) {
        v->cap = v->count;
        v->at  = mem_resize(v->at, v->cap * sizeof *v->at);
    }
    return e == ERR_OK ? marks_decode(text, v->at, &v->count) : e;
}

static void
take_run(struct store_reader *r, sqlite3_stmt *q)
{
    struct index_run *run  = &r->run;
    struct str        text = sql_bytes(q, 5);
    run->row               = (struct segment_row){.first   = sql_u64(q, 0),
                                                  .last    = sql_u64(q, 1),
                                                  .stamp   = sql_u64(q, 2),
                                                  .buckets = (uint32_t)sql_u64(q, 3)};
    run->is_indexed        = false;
    if (sqlite3_column_type(q, 4) == SQLITE_NULL)
        return; /* of an older version */
    run->is_indexed = sql_u64(q, 4) == segment_hash(&run->row, text) &&
                      run->row.last - run->row.first < SEGMENT_ROWS_MAX &&
                      take_marks(&run->marks, text) == ERR_OK;
    if (!run->is_indexed)
        doubt(r);
}

enum err
index_seek(struct store_reader *r, uint64_t lsn)
{
    sqlite3_stmt *q = r->sql[READ_SEGMENTS];
    enum err      e = ERR_OK;
    if (r->run.row.first == 0)
        sql_bind_u64(q, 1, lsn);
    while (r->run.row.last < lsn) {
        r->work += WORK_SEGMENT;
        if (sql_next(r->db, q, &e))
            take_run(r, q);
        else /* the newest messages have no index yet */
            r->run.row = (struct segment_row){.first = UINT64_MAX, .last = UINT64_MAX};
    }
    return e;
}

/* ---- which rows of it ---- */

struct posting {
    uint64_t   id;
    struct str rows;
};

/* Takes a number off the front.  Most have one byte or two, and a reader passes over many. */
static inline bool
take(struct str *text, uint64_t *value)
{
    const uint8_t *p = text->p;
    size_t         n = 1;
    if (text->n > 0 && p[0] < 0x80)
        *value = p[0];
    else if (text->n > 1 && p[1] < 0x80)
        *value = (uint64_t)(p[n++] << 7 | (p[0] & 0x7f));
    else
        n = varint_get(*text, value);
    text->p += n;
    text->n -= n;
    return n > 0;
}

/* The next one of a bucket's text, which moves on. */
static inline bool
next_posting(struct str *text, uint32_t bucket, struct posting *p)
{
    uint64_t id, bytes;
    if (!take(text, &id) || !take(text, &bytes) || bytes > text->n)
        return false;
    p->id   = id * SEGMENT_BUCKETS + bucket;
    p->rows = (struct str){text->p, bytes};
    text->p += bytes;
    text->n -= bytes;
    return true;
}

/* False: it makes no sense. */
static bool
mark_rows(struct index_run *run, struct str rows, bool *all)
{
    uint64_t row = 0, step, max = run->row.last - run->row.first;
    *all = *all || rows.n == 0;
    while (rows.n > 0) {
        if (!take(&rows, &step) || step > max - row)
            return false;
        row += step;
        run->wanted[row / 64] |= UINT64_C(1) << row % 64;
    }
    return true;
}

/* `id` TOPIC_ANY: all topics that the filters want. */
static enum err
mark_bucket(struct store_reader *r, const struct read *read, sqlite3_stmt *q, uint64_t id,
            bool *all)
{
    struct str     text   = sql_bytes(q, 2);
    uint32_t       bucket = (uint32_t)(sql_u64(q, 0) % SEGMENT_BUCKETS);
    struct posting p;
    enum err       e = sql_u64(q, 1) == hash64(text) ? ERR_OK : ERR_CORRUPT;
    r->work += WORK_LOOKUP + (uint32_t)text.n / WORK_BYTES;
    while (e == ERR_OK && text.n > 0 && !*all) {
        bool wanted = false;
        if (!next_posting(&text, bucket, &p))
            e = ERR_CORRUPT;
        else if (id != TOPIC_ANY || p.id == 0)
            wanted = p.id == id || p.id == 0;
        else
            e = wanted_topic(r, read, p.id, &wanted);
        if (e == ERR_OK && wanted && !mark_rows(&r->run, p.rows, all))
            e = ERR_CORRUPT;
    }
    return e;
}

/* The buckets first..last of the segment; *found: how many rows there are. */
static enum err
mark_buckets(struct store_reader *r, const struct read *read, uint32_t first, uint32_t last,
             uint64_t id, bool *all)
{
    sqlite3_stmt *q     = r->sql[READ_POSTINGS];
    uint64_t      base  = r->run.row.first * SEGMENT_BUCKETS;
    uint32_t      found = 0, there = 0;
    enum err      e = ERR_OK;
    for (uint32_t i = first; i <= last; i++)
        there += r->run.row.buckets >> i & 1;
    if (there == 0)
        return ERR_OK;
    sql_bind_u64(q, 1, base + first);
    sql_bind_u64(q, 2, base + last);
    while (e == ERR_OK && sql_next(r->db, q, &e)) {
        e = mark_bucket(r, read, q, id, all);
        found++;
    }
    sqlite3_reset(q);
    return e == ERR_OK && found != there ? ERR_CORRUPT : e;
}

/* Else a call might do nothing but ask for the topics of one segment, and so the next. */
_Static_assert(SEGMENT_ROWS_MAX *WORK_LOOKUP < WORK_MAX / 4 * 3, "a call gets on");

enum err
index_rows(struct store_reader *r, const struct read *read, bool *all)
{
    enum err e = ERR_OK;
    memset(r->run.wanted, 0, sizeof r->run.wanted);
    *all = false;
    if (!read->literal)
        e = mark_buckets(r, read, 0, SEGMENT_BUCKETS - 1, TOPIC_ANY, all);
    for (uint32_t i = 0; i < r->id_count && e == ERR_OK && !*all; i++) {
        uint32_t bucket = (uint32_t)(r->id[i] % SEGMENT_BUCKETS);
        e               = mark_buckets(r, read, bucket, bucket, r->id[i], all);
    }
    if (read->literal && e == ERR_OK && r->run.row.buckets & SEGMENT_BARE && !*all)
        e = mark_buckets(r, read, 0, 0, 0, all);
    if (e != ERR_CORRUPT)
        return e;
    doubt(r);
    *all = true;
    return ERR_OK;
}

uint64_t
index_next_row(const struct store_reader *r, uint64_t lsn)
{
    const struct index_run *run = &r->run;
    for (uint64_t row = lsn - run->row.first; row < SEGMENT_ROWS_MAX; row = (row | 63) + 1) {
        uint64_t bits = run->wanted[row / 64] >> row % 64;
        if (bits != 0)
            return run->row.first + row + (uint64_t)__builtin_ctzll(bits);
    }
    return run->row.last + 1;
}
