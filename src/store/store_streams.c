/* store_streams.c - the rows of streams, and what memory knows of them. */
#include "store/store_private.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/types_marks.h"
#include "store/store_marks.h"

#include <string.h>

static bool
is_stream(const void *value, const void *key)
{
    return ((const struct stream *)value)->stream == *(const uint64_t *)key;
}

/* A stream is a random number: its own hash. */
struct stream *
streams_find(const struct streams *all, uint64_t stream)
{
    return map_find(&all->by_id, stream, is_stream, &stream);
}

struct stream *
streams_add(struct streams *all, uint64_t stream)
{
    struct stream *st = mem_new(sizeof *st);
    st->stream        = stream;
    map_add(&all->by_id, stream, st);
    return st;
}

void
streams_forget(struct streams *all, uint64_t stream)
{
    struct stream *st = streams_find(all, stream);
    if (!st)
        return;
    all->retired -= st->is_retired;
    map_remove(&all->by_id, stream, st);
    blob_drop(st->floor_owed);
    mem_free(st);
}

void
streams_fini(struct streams *all)
{
    size_t at = 0;
    for (struct stream *st; (st = map_next(&all->by_id, &at));) {
        blob_drop(st->floor_owed);
        mem_free(st);
    }
    map_fini(&all->by_id);
    mem_free(all->dirty);
    *all = (struct streams){0};
}

enum err
marks_read(struct str blob, struct mark_list **out)
{
    uint32_t count = 0;
    *out           = NULL;
    if (blob.n == 0)
        return ERR_OK;
    if (marks_decode(blob, NULL, &count) != ERR_OK)
        return ERR_CORRUPT;
    if (count == 0)
        return ERR_OK;
    *out          = blob_new(sizeof **out + count * sizeof(struct mark));
    (*out)->count = count;
    return marks_decode(blob, (*out)->at, &count);
}

static void
touch(struct streams *all, struct stream *st)
{
    if (st->is_dirty)
        return;
    st->is_dirty = true;
    if (all->dirty_count == all->dirty_cap) {
        all->dirty_cap = all->dirty_cap > 0 ? all->dirty_cap * 2 : 16;
        all->dirty     = mem_resize(all->dirty, all->dirty_cap * sizeof(struct stream *));
    }
    all->dirty[all->dirty_count++] = st;
}

/* A gap at the end of what is gone is gone with it: nothing of its stream lies before it. */
static void
jump_floor(struct stream *st, const struct batch *gap)
{
    blob_drop(st->floor_owed);
    st->floor          = gap->gap_last;
    st->floor_chain    = gap->chain;
    st->floor_stamp    = batch_stamp(gap);
    st->floor_owed     = marks_list(gap->deps, gap->deps_count);
    st->floor_is_dirty = true;
}

void
streams_append(struct store *s, struct stream *st, const struct batch *b, struct wall received)
{
    if (batch_is_gap(b) && st->floor == st->head)
        jump_floor(st, b);
    if (b->origin.n > 0)
        st->origin = b->origin;
    st->head     = batch_last(b);
    st->stamp    = batch_stamp(b);
    st->chain    = b->chain;
    st->lsn      = s->lsn;
    st->received = batch_is_gap(b) && b->wall.ms < received.ms ? b->wall : received;
    touch(&s->streams, st);
}

static enum err
write_head(struct store *s, const struct stream *st)
{
    sqlite3_stmt *q = s->sql[SQL_STREAM];
    sql_bind_u64(q, 1, st->stream);
    sql_bind_text(q, 2, st->origin);
    sql_bind_u64(q, 3, st->head);
    sql_bind_blob(q, 4, st->chain.b, sizeof st->chain.b);
    sql_bind_u64(q, 5, st->stamp);
    sql_bind_u64(q, 6, st->lsn);
    sql_bind_u64(q, 7, (uint64_t)st->received.ms);
    return sql_run(s->db, q);
}

enum err
streams_write_floor(struct store *s, const struct stream_floor *f)
{
    sqlite3_stmt *q = s->sql[SQL_FLOOR];
    sql_bind_u64(q, 1, f->stream);
    sql_bind_u64(q, 2, f->floor);
    sql_bind_blob(q, 3, f->chain.b, sizeof f->chain.b);
    sql_bind_u64(q, 4, f->stamp);
    buf_reset(&s->scratch);
    if (f->owed)
        marks_encode(&s->scratch, f->owed->at, f->owed->count);
    if (f->owed)
        sql_bind_blob(q, 5, buf_str(&s->scratch).p, buf_str(&s->scratch).n);
    else
        sqlite3_bind_null(q, 5);
    return sql_run(s->db, q);
}

enum err
streams_write(struct store *s)
{
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < s->streams.dirty_count && e == ERR_OK; i++) {
        struct stream *st = s->streams.dirty[i];

        e = write_head(s, st);
        if (e == ERR_OK && st->floor_is_dirty)
            e = streams_write_floor(s,
                                    &(struct stream_floor){st->stream, st->floor, st->floor_chain,
                                                           st->floor_stamp, st->floor_owed});
        if (e == ERR_OK && st->is_retired)
            e = streams_write_flags(s, st->stream, 0, STREAM_RETIRED);
        st->origin         = (struct str){0};
        st->floor_is_dirty = false;
        s->streams.retired -= st->is_retired;
        st->is_retired = false;
        st->is_dirty   = false;
    }
    s->streams.dirty_count = 0;
    return e;
}

enum err
streams_write_flags(struct store *s, uint64_t stream, uint32_t set, uint32_t clear)
{
    sqlite3_stmt *q = s->sql[SQL_STREAM_FLAGS];
    sql_bind_u64(q, 1, stream);
    sql_bind_u64(q, 2, set);
    sql_bind_u64(q, 3, clear);
    return sql_run(s->db, q);
}

/* One that nothing came of has its hour too. */
static void
note_waived(struct streams *all, uint64_t stream, struct wall received)
{
    struct stream *st = streams_find(all, stream);
    if (!st)
        st = streams_add(all, stream);
    if (st->head > 0)
        return;
    st->received = received;
    all->due_ms  = 0; /* looked at anew, by whatever policy */
}

enum err
streams_waive(struct store *s, struct mark mark, struct wall received)
{
    sqlite3_stmt *q = s->sql[SQL_WAIVED];
    note_waived(&s->streams, mark.stream, received);
    sql_bind_u64(q, 1, mark.stream);
    sql_bind_u64(q, 2, mark.seq);
    sql_bind_u64(q, 3, (uint64_t)received.ms);
    return sql_run(s->db, q);
}
