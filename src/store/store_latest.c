/* store_latest.c - the newest message of each topic, wherever it lies.
 *
 * In messages as long as retention leaves it there, then in `kept`; in `kept` alone when a
 * peer told it.  Which it is, memory and topics know: (lamport, stream, seq).
 *
 * One that is damaged is none: the newest that can be read is, as at a broker that got but its
 * digest. */
#include "store/store_private.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/trace.h"
#include "store/store_marks.h"

#include <string.h>

enum { LOOK_BACK = 65536, LOOK_ON = 4096 }; /* lsns, from one that is damaged */

#define COLUMNS "SELECT lsn, stream, seq, lamport, 0, 0, 0, headers, body, digest "

/* Whatever a row says of itself, its batch says it too. */
static const char near[]    = COLUMNS "FROM messages m WHERE lsn >= ?2 AND lsn <= ?3 AND topic = ?1"
                                      " AND (SELECT b.lsn + m.seq - b.first = m.lsn"
                                      " AND b.lamport_first + m.seq - b.first = m.lamport"
                                      " FROM batches b WHERE b.stream = m.stream"
                                      " AND b.first <= m.seq"
                                      " ORDER BY b.first DESC LIMIT 1)";
static const char in_kept[] = "SELECT 0, stream, seq, lamport, 0, 0, 0, headers, body, digest"
                              " FROM kept WHERE topic = ?1";
static const char drop_kept[] = "DELETE FROM kept WHERE topic = ?1";

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

/* ---- when it is damaged ---- */

/* The newest of the rows of `q` that is whole, if it is newer than *best. */
static enum err
find_whole(struct store *s, sqlite3_stmt *q, struct str topic, struct topic *best)
{
    enum err e = ERR_OK;
    while (sql_next(s->db, q, &e)) {
        struct entry row = {
            .lsn = sql_u64(q, 0), .mark = {sql_u64(q, 1), sql_u64(q, 2)}, .lamport = sql_u64(q, 3)};
        if (topics_is_newer(best, &row) && is_whole(q, topic))
            topics_newest(best, &row);
    }
    return e;
}

static enum err
look(struct store *s, const char *text, const struct topic *t, struct str topic, struct topic *best)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(s->db, text, &q);
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, t->id);
    if (text == near) {
        sql_bind_u64(q, 2, t->lsn > LOOK_BACK ? t->lsn - LOOK_BACK : 0);
        sql_bind_u64(q, 3, t->lsn + LOOK_ON);
    }
    e = find_whole(s, q, topic, best);
    sqlite3_finalize(q);
    return e;
}

static enum err
drop(struct store *s, const struct topic *t, struct str topic)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(s->db, drop_kept, &q);
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, t->id);
    e = sql_run(s->db, q);
    sqlite3_finalize(q);
    if (e != ERR_OK || sqlite3_changes(s->db) == 0)
        return e;
    tracef(TRACE_WARN,
           "store: what was kept of the topic %.*s cannot be read as it was published, and was "
           "dropped. Check the disk",
           STR_ARG(topic));
    return ERR_OK;
}

/* What memory says of the topic from now on.  CORRUPT: nothing of it near can be read; then it
 * says that the newest lies nowhere, so that the next who asks costs nothing. */
static enum err
fall_back(struct store *s, struct topic *t, struct str topic)
{
    struct topic best = {0};
    enum err     e    = t->lsn > 0 ? look(s, near, t, topic, &best) : ERR_OK;
    if (e == ERR_OK && t->lsn >= s->lsn_first) /* what is kept then is an older one */
        e = look(s, in_kept, t, topic, &best);
    if (e == ERR_OK && best.mark.seq == 0)
        e = drop(s, t, topic);
    if (e != ERR_OK)
        return e;
    t->is_dirty = true;
    t->lsn      = best.lsn;
    if (best.mark.seq == 0)
        return ERR_CORRUPT;
    t->lamport = best.lamport;
    t->mark    = best.mark;
    return ERR_OK;
}

static enum err
find_newest(struct store *s, const struct topic *t, struct str topic, struct page **page)
{
    enum err e = make_page(s, SQL_LATEST_LOG, t->lsn, topic, t->mark, page);
    if (e == ERR_NOTFOUND)
        e = make_page(s, SQL_LATEST_KEPT, t->id, topic, t->mark, page);
    return e;
}

enum err
store_latest(struct store *s, struct str topic, struct page **page)
{
    *page      = NULL;
    enum err e = s->is_loaded ? ERR_OK : load_state(s);
    if (e != ERR_OK)
        return e;
    struct topic *t = topics_find(&s->topics, topic);
    if (!t || t->mark.seq == 0)
        return ERR_NOTFOUND;
    e = find_newest(s, t, topic, page);
    if (e != ERR_CORRUPT && e != ERR_NOTFOUND)
        return e;
    e = fall_back(s, t, topic);
    return e == ERR_OK ? find_newest(s, t, topic, page) : e;
}

/* ---- from a peer ---- */

/* It was the newest before, and is damaged. */
static enum err
is_lost(struct store *s, const struct topic *t, struct str topic, bool *lost)
{
    struct page *page = NULL;
    enum err     e    = find_newest(s, t, topic, &page);
    *lost             = e == ERR_NOTFOUND || e == ERR_CORRUPT;
    blob_drop(page);
    return *lost ? ERR_OK : e;
}

enum err
latest_take(struct store *s, const struct batch *b)
{
    struct mark   mark  = {b->stream, b->first};
    struct entry  e     = {.mark = mark, .lamport = b->lamport_first};
    struct topic *topic = NULL;
    bool          lost  = false;
    CHECK(b->count == 1);
    enum err err = topics_of(s, b->msg[0].topic, &topic);
    if (err == ERR_OK && topic->mark.stream == mark.stream && topic->mark.seq == mark.seq)
        err = is_lost(s, topic, b->msg[0].topic, &lost);
    if (err != ERR_OK || (!lost && !topics_is_newer(topic, &e)))
        return err;
    err = put(s, topic, b);
    /* No message of the log brings it back after a crash, so its row says it at once. */
    topics_newest(topic, &e);
    return err == ERR_OK ? topics_write_newest(s, topic) : err;
}
