/* store_latest.c - the newest message of each topic, wherever it lies.
 *
 * In messages as long as retention leaves it there, then in `kept`; in `kept` alone when a
 * peer told it.  Which it is, memory and topics know: (lamport, stream, seq). */
#include "store/store_private.h"

#include "base/check.h"
#include "store/store_marks.h"

#include <string.h>

/* A message of the log that goes: the row moves. */
enum err
latest_keep(struct store *s, uint64_t lsn)
{
    sql_bind_u64(s->sql[SQL_KEEP], 1, lsn);
    return sql_run(s->db, s->sql[SQL_KEEP]);
}

static enum err
put(struct store *s, const struct topic *t, const struct batch *b)
{
    sqlite3_stmt     *q = s->sql[SQL_KEPT_PUT];
    const struct msg *m = &b->msg[0];
    sql_bind_u64(q, 1, t->id);
    sql_bind_u64(q, 2, b->stream);
    sql_bind_u64(q, 3, b->first);
    sql_bind_u64(q, 4, b->lamport_first);
    sql_bind_u64(q, 5, (uint64_t)b->wall.ms);
    sql_bind_text(q, 6, b->origin);
    sql_bind_blob(q, 7, m->digest.b, sizeof m->digest.b);
    if (m->headers.n > 0)
        sql_bind_text(q, 8, m->headers);
    else
        sqlite3_bind_null(q, 8);
    sql_bind_blob(q, 9, m->body.p, m->body.n);
    return sql_run(s->db, q);
}

enum err
latest_take(struct store *s, const struct batch *b)
{
    struct mark   mark  = {b->stream, b->first};
    struct entry  e     = {.mark = mark, .lamport = b->lamport_first};
    struct topic *topic = NULL;
    CHECK(b->count == 1);
    enum err err = topics_of(s, b->msg[0].topic, &topic);
    if (err != ERR_OK || !topics_is_newer(topic, &e))
        return err;
    err = put(s, topic, b);
    /* No message of the log brings it back after a crash, so its row says it at once. */
    topics_newest(topic, &e);
    return err == ERR_OK ? topics_write_newest(s, topic) : err;
}

/* ---- asked for ---- */

/* As its origin sealed it?  Its digest is column 9. */
static bool
is_whole(sqlite3_stmt *q, struct str topic)
{
    struct hash128 digest;
    return sql_hash(q, 9, &digest) &&
           hash128_eq(digest, marks_digest(topic, sql_bytes(q, 7), sql_bytes(q, 8)));
}

static enum err
make_page(struct store *s, enum statement which, uint64_t key, struct str topic, struct mark mark,
          struct page **out)
{
    sqlite3_stmt     *q = s->sql[which];
    struct page_maker page;
    enum err          e     = ERR_OK;
    bool              found = false, damaged = false;
    page_maker_init(&page);
    sql_bind_u64(q, 1, key);
    while (sql_next(s->db, q, &e)) {
        struct entry entry = {.lsn     = sql_u64(q, 0),
                              .mark    = {sql_u64(q, 1), sql_u64(q, 2)},
                              .lamport = sql_u64(q, 3),
                              .wall    = {sqlite3_column_int64(q, 4)},
                              .late    = sql_u64(q, 5) & ROW_LATE};
        if (entry.mark.stream != mark.stream || entry.mark.seq != mark.seq)
            continue;
        entry.topic   = page_text(&page, topic);
        entry.origin  = page_text(&page, sql_bytes(q, 6));
        entry.headers = page_text(&page, sql_bytes(q, 7));
        entry.body    = page_text(&page, sql_bytes(q, 8));
        damaged       = !is_whole(q, topic);
        page_entry(&page, &entry);
        found = true;
    }
    if (e == ERR_OK && found && !damaged)
        *out = page_make(&page);
    page_maker_fini(&page);
    if (e == ERR_OK && damaged)
        return ERR_CORRUPT;
    return e == ERR_OK && !found ? ERR_NOTFOUND : e;
}

enum err
store_latest(struct store *s, struct str topic, struct page **page)
{
    *page      = NULL;
    enum err e = s->is_loaded ? ERR_OK : load_state(s);
    if (e != ERR_OK)
        return e;
    const struct topic *t = topics_find(&s->topics, topic);
    if (!t || t->mark.seq == 0)
        return ERR_NOTFOUND;
    e = make_page(s, SQL_LATEST_LOG, t->lsn, topic, t->mark, page);
    if (e == ERR_NOTFOUND)
        e = make_page(s, SQL_LATEST_KEPT, t->id, topic, t->mark, page);
    return e;
}
