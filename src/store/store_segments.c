#include "store/store_private.h"

#include "base/check.h"
#include "base/mem.h"
#include "store/store_marks.h"

#include <stdlib.h>

void
segment_add(struct segment *g, struct topic *topic, const struct entry *e)
{
    if (e->lamport > g->stamp)
        g->stamp = e->lamport;
    if (!topic || topic->segment == g->number)
        return;
    topic->segment = g->number;
    if (g->count == g->cap) {
        g->cap = g->cap > 0 ? g->cap * 2 : 64;
        g->id  = mem_resize(g->id, g->cap * sizeof *g->id);
    }
    g->id[g->count++] = topic->id;
}

static int
by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static enum err
write_segment(struct store *s)
{
    struct segment *g = &s->segment;
    uint8_t        *room;
    uint32_t        above = 0;
    if (g->count > 1)
        qsort(g->id, g->count, sizeof *g->id, by_id);
    buf_reset(&s->scratch);
    for (uint32_t i = 0; i < g->count; above = g->id[i++]) {
        enum err e = buf_room(&s->scratch, VARINT_BYTES_MAX, &room);
        CHECK(e == ERR_OK);
        buf_grew(&s->scratch, varint_put(room, g->id[i] - above));
    }
    sqlite3_stmt *q = s->sql[SQL_SEGMENT];
    struct str    b = buf_str(&s->scratch);
    sql_bind_u64(q, 1, g->lsn_first);
    sql_bind_u64(q, 2, s->lsn);
    sql_bind_u64(q, 3, g->stamp);
    sql_bind_blob(q, 4, b.p, b.n);
    return sql_run(s->db, q);
}

enum err
segment_close(struct store *s)
{
    struct segment *g = &s->segment;
    if (s->lsn + 1 - g->lsn_first < SEGMENT_LSNS)
        return ERR_OK;
    enum err e = write_segment(s);
    if (e != ERR_OK)
        return e;
    g->lsn_first = s->lsn + 1;
    g->stamp     = 0;
    g->count     = 0;
    g->number++;
    return ERR_OK;
}
