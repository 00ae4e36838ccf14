/* store_segments.c - the index of the log: for each run of some thousand lsn the rows of each
 * topic, so that a reader of a rare topic passes over all others.
 *
 * The run that grows is kept in memory and written once it is long enough: about twenty rows
 * that go to the ends of two tables, whatever the number of topics.  What a file says of a run
 * is checked by hashes and can be left out, since the messages say it too. */
#include "store/store_private.h"

#include "base/check.h"
#include "base/mem.h"
#include "store/store_marks.h"

#include <string.h>

static struct segment_topic *
topic_in(struct segment *g, struct topic *topic)
{
    uint32_t *slot = topic ? &topic->slot : &g->bare_slot;
    if (*slot < g->count && g->topic[*slot].id == (topic ? topic->id : 0))
        return &g->topic[*slot];
    if (g->count == g->cap) {
        g->cap   = g->cap > 0 ? g->cap * 2 : 64;
        g->topic = mem_resize(g->topic, g->cap * sizeof *g->topic);
    }
    *slot                   = g->count++;
    struct segment_topic *t = &g->topic[*slot];
    *t                      = (struct segment_topic){.id = topic ? topic->id : 0};
    return t;
}

void
segment_add(struct segment *g, struct topic *topic, const struct entry *e)
{
    uint64_t row = e->lsn - g->lsn_first;
    if (e->lamport > g->stamp)
        g->stamp = e->lamport;
    if (row >= SEGMENT_ROWS_MAX)
        return; /* somebody took the index away: see write_segment() */
    page_raise(&g->marks, e->mark);
    struct segment_topic *t = topic_in(g, topic);
    if (t->count == 0)
        t->first = (uint16_t)row;
    else
        g->next[t->last] = (uint16_t)row;
    t->last = (uint16_t)row;
    t->count++;
}

void
segment_restart(struct segment *g, uint64_t lsn_first)
{
    g->lsn_first   = lsn_first;
    g->stamp       = 0;
    g->count       = 0;
    g->marks.count = 0;
}

void
segment_fini(struct segment *g)
{
    mem_free(g->topic);
    mem_free(g->marks.at);
    *g = (struct segment){0};
}

/* ---- written ---- */

static void
put(struct buf *b, uint64_t value)
{
    uint8_t *room;
    enum err e = buf_room(b, VARINT_BYTES_MAX, &room);
    CHECK(e == ERR_OK);
    buf_grew(b, varint_put(room, value));
}

/* Rows as differences.  None: so many that it is faster to look at each. */
static void
put_topic(struct buf *out, const struct segment *g, const struct segment_topic *t, uint64_t rows)
{
    uint8_t text[SEGMENT_ROWS_MAX / SEGMENT_DENSE * 2];
    size_t  n     = 0;
    bool    dense = (uint64_t)t->count * SEGMENT_DENSE >= rows;
    put(out, t->id / SEGMENT_BUCKETS);
    for (uint32_t i = 0, row = t->first, above = 0; !dense && i < t->count; i++) {
        n += varint_put(text + n, row - above);
        above = row;
        row   = g->next[row];
    }
    put(out, n);
    enum err e = buf_add(out, (struct str){text, n});
    CHECK(e == ERR_OK);
}

static enum err
write_bucket(struct store *s, uint32_t bucket, uint32_t first)
{
    const struct segment *g = &s->segment;
    sqlite3_stmt         *q = s->sql[SQL_POSTINGS];
    buf_reset(&s->scratch);
    for (uint32_t i = first; i != SLOT_NONE; i = g->topic[i].sibling)
        put_topic(&s->scratch, g, &g->topic[i], s->lsn + 1 - g->lsn_first);
    struct str b = buf_str(&s->scratch);
    sql_bind_u64(q, 1, g->lsn_first * SEGMENT_BUCKETS + bucket);
    sql_bind_u64(q, 2, hash64(b));
    sql_bind_blob(q, 3, b.p, b.n);
    return sql_run(s->db, q);
}

/* *buckets: a bit for each that has a row, and one more when there are rows of no topic. */
static enum err
write_postings(struct store *s, uint32_t *buckets)
{
    struct segment *g = &s->segment;
    uint32_t        first[SEGMENT_BUCKETS];
    enum err        e = ERR_OK;
    *buckets          = 0;
    memset(first, 0xff, sizeof first);
    for (uint32_t i = g->count; i-- > 0;) {
        uint32_t bucket     = g->topic[i].id % SEGMENT_BUCKETS;
        g->topic[i].sibling = first[bucket];
        first[bucket]       = i;
        *buckets |= UINT32_C(1) << bucket;
        if (g->topic[i].id == 0)
            *buckets |= SEGMENT_BARE;
    }
    for (uint32_t k = 0; k < SEGMENT_BUCKETS && e == ERR_OK; k++)
        if (first[k] != SLOT_NONE)
            e = write_bucket(s, k, first[k]);
    return e;
}

uint64_t
segment_hash(const struct segment_row *row, struct str marks)
{
    const uint64_t part[] = {row->first, row->last, row->stamp, row->buckets, hash64(marks)};
    uint8_t        text[5 * VARINT_BYTES_MAX];
    size_t         n = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        n += varint_put(text + n, part[i]);
    return hash64((struct str){text, n});
}

/* Without its hash and marks nothing is said of the rows but where they lie. */
static enum err
write_segment(struct store *s)
{
    struct segment    *g   = &s->segment;
    struct segment_row row = {.first = g->lsn_first, .last = s->lsn, .stamp = g->stamp};
    sqlite3_stmt      *q   = s->sql[SQL_SEGMENT];
    enum err           e   = ERR_OK;
    bool               fit = row.last - row.first < SEGMENT_ROWS_MAX;
    if (fit)
        e = write_postings(s, &row.buckets);
    if (e != ERR_OK)
        return e;
    buf_reset(&s->scratch);
    marks_encode(&s->scratch, g->marks.at, g->marks.count);
    struct str marks = buf_str(&s->scratch);
    sql_bind_u64(q, 1, row.first);
    sql_bind_u64(q, 2, row.last);
    sql_bind_u64(q, 3, row.stamp);
    sql_bind_u64(q, 4, row.buckets);
    sql_bind_u64(q, 5, segment_hash(&row, marks));
    sql_bind_blob(q, 6, marks.p, marks.n);
    if (!fit) {
        sqlite3_bind_null(q, 5);
        sqlite3_bind_null(q, 6);
    }
    return sql_run(s->db, q);
}

enum err
segment_close(struct store *s)
{
    if (s->lsn + 1 - s->segment.lsn_first < SEGMENT_LSNS)
        return ERR_OK;
    enum err e = write_segment(s);
    if (e == ERR_OK)
        segment_restart(&s->segment, s->lsn + 1);
    return e;
}

enum err
segments_retain(struct store *s, uint64_t lsn_first)
{
    sql_bind_u64(s->sql[SQL_SEGMENTS_DROP], 1, lsn_first);
    sql_bind_u64(s->sql[SQL_POSTINGS_DROP], 1, lsn_first);
    enum err e = sql_run(s->db, s->sql[SQL_SEGMENTS_DROP]);
    return e == ERR_OK ? sql_run(s->db, s->sql[SQL_POSTINGS_DROP]) : e;
}
