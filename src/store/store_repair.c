/* store_repair.c - COMMIT_REPAIR: the rows of a stored batch, written anew as a peer has them.
 *
 * What comes must be what was stored: its chain is the one that our own row of batches says,
 * or the next batch, or the stream's head; or it seals what our messages are.  Where it belongs the
 * rows of messages say, between its neighbours, or else our row.  What cannot be told is left
 * alone: core finds out when the damage is read once more. */
#include "store/store_private.h"

#include "base/trace.h"
#include "store/store_marks.h"

enum { SEARCH_MAX = 65536 }; /* rows of messages that are looked through */

#define COLUMNS "SELECT first, last, lsn, flags, received_ms, prev, chain FROM batches "

static const char at_seq[] = COLUMNS "WHERE stream = ?1 AND first = ?2";
static const char below_seq[] =
    COLUMNS "WHERE stream = ?1 AND first < ?2 ORDER BY first DESC LIMIT 1";
static const char above_seq[] = COLUMNS "WHERE stream = ?1 AND first > ?2 ORDER BY first LIMIT 1";
static const char mine[]      = "SELECT lsn, seq FROM messages WHERE lsn >= ?1 AND lsn < ?2"
                                " AND stream = ?3 ORDER BY lsn";
static const char there[]     = "SELECT lsn, digest, stream, seq, lamport, wall_ms FROM messages"
                                " WHERE lsn >= ?1 AND lsn <= ?2";
static const char old_text[]  = "SELECT topic, digest FROM messages WHERE lsn = ?1";
static const char put_batch[] =
    "INSERT OR REPLACE INTO batches(stream, first, last, lsn, lamport_first, wall_ms,"
    " received_ms, flags, prev, chain, deps) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
static const char put_message[] =
    "INSERT OR REPLACE INTO messages(lsn, stream, seq, lamport, topic, wall_ms, flags, digest,"
    " headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
static const char no_stray[] = "DELETE FROM batches WHERE stream = ?1 AND first = ?2 AND lsn = ?3";
static const char put_origin[] = "UPDATE streams SET origin = ?2 WHERE stream = ?1";
static const char no_index[]   = "UPDATE segments SET hash = NULL"
                                 " WHERE lsn_first <= ?2 AND lsn_last >= ?1";

/* A row of batches as far as it can be read. */
struct row {
    bool           is_there;
    uint64_t       first, last, lsn, flags;
    struct wall    received;
    struct hash128 prev, chain;
};

struct repair {
    struct store       *s;
    const struct batch *b;
    struct row          own, below, above;
    uint64_t            lsn;
    bool                moved; /* a message has another topic now than the index says */
};

static enum err
find_row(const struct repair *r, const char *text, struct row *row)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(r->s->db, text, &q);
    *row            = (struct row){0};
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, r->b->stream);
    sql_bind_u64(q, 2, text == above_seq ? batch_last(r->b) : r->b->first);
    while (sql_next(r->s->db, q, &e)) {
        *row = (struct row){.is_there = true,
                            .first    = sql_u64(q, 0),
                            .last     = sql_u64(q, 1),
                            .lsn      = sql_u64(q, 2),
                            .flags    = sql_u64(q, 3) & ROW_LATE,
                            .received = {sqlite3_column_int64(q, 4)}};
        if (!sql_hash(q, 5, &row->prev))
            row->prev = (struct hash128){0};
        if (!sql_hash(q, 6, &row->chain))
            row->chain = (struct hash128){0};
    }
    sqlite3_finalize(q);
    return e;
}

/* ---- is it what was stored? ---- */

static bool
is_known(const struct repair *r)
{
    const struct stream *st = streams_find(&r->s->streams, r->b->stream);
    if (!st || batch_last(r->b) > st->head)
        return false;
    if (r->own.is_there && hash128_eq(r->own.chain, r->b->chain))
        return true;
    if (r->above.is_there)
        return hash128_eq(r->above.prev, r->b->chain);
    return batch_last(r->b) == st->head && hash128_eq(st->chain, r->b->chain);
}

/* ---- where does it belong? ---- */

/* The lsn of its first message, by the rows of its messages in [low, high); 0: not there. */
static enum err
search(struct repair *r, uint64_t low, uint64_t high)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(r->s->db, mine, &q);
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, low);
    sql_bind_u64(q, 2, high - low < SEARCH_MAX ? high : low + SEARCH_MAX);
    sql_bind_u64(q, 3, r->b->stream);
    while (r->lsn == 0 && sql_next(r->s->db, q, &e)) {
        uint64_t lsn = sql_u64(q, 0), seq = sql_u64(q, 1), step = seq - r->b->first;
        if (seq >= r->b->first && seq <= batch_last(r->b) && lsn >= low + step &&
            lsn - step + r->b->count <= high)
            r->lsn = lsn - step;
    }
    sqlite3_finalize(q);
    return e;
}

/* Where our row says, when no row of messages that is there says otherwise. */
static enum err
believe_row(struct repair *r)
{
    sqlite3_stmt *q    = NULL;
    enum err      e    = sql_prepare(r->s->db, there, &q);
    bool          fits = true;
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, r->own.lsn);
    sql_bind_u64(q, 2, r->own.lsn + r->b->count - 1);
    while (sql_next(r->s->db, q, &e)) {
        struct hash128 digest;
        uint64_t       i = sql_u64(q, 0) - r->own.lsn;
        fits &= sql_hash(q, 1, &digest) && hash128_eq(digest, r->b->msg[i].digest);
    }
    sqlite3_finalize(q);
    if (e == ERR_OK && fits)
        r->lsn = r->own.lsn;
    return e;
}

static bool
lies_between(const struct repair *r)
{
    uint64_t end = r->own.lsn + r->b->count;
    return r->own.is_there && r->own.lsn >= r->s->lsn_first && end <= r->s->lsn + 1 &&
           (!r->below.is_there || r->below.lsn < r->own.lsn) &&
           (!r->above.is_there || end <= r->above.lsn);
}

static enum err
find_place(struct repair *r)
{
    enum err e   = ERR_OK;
    uint64_t low = r->s->lsn_first, high = r->s->lsn + 1;
    if (r->own.is_there && r->own.lsn >= low && r->own.lsn + r->b->count <= high)
        e = search(r, r->own.lsn, r->own.lsn + r->b->count);
    if (e != ERR_OK || r->lsn != 0)
        return e;
    if (r->below.is_there && r->below.lsn >= low && r->below.lsn < high)
        low = r->below.lsn + 1;
    if (r->above.is_there && r->above.lsn > low && r->above.lsn < high)
        high = r->above.lsn;
    e = search(r, low, high);
    return e == ERR_OK && r->lsn == 0 && lies_between(r) ? believe_row(r) : e;
}

/* ---- or is all that it seals there? ---- */

/* Each row of messages says what the batch says: then it is the one, though no chain is left. */
static enum err
compare(struct repair *r, bool *same)
{
    sqlite3_stmt *q     = NULL;
    enum err      e     = sql_prepare(r->s->db, there, &q);
    uint32_t      count = 0;
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, r->lsn);
    sql_bind_u64(q, 2, r->lsn + r->b->count - 1);
    while (sql_next(r->s->db, q, &e)) {
        struct hash128 digest;
        uint64_t       i = sql_u64(q, 0) - r->lsn;
        count += sql_hash(q, 1, &digest) && hash128_eq(digest, r->b->msg[i].digest) &&
                 sql_u64(q, 2) == r->b->stream && sql_u64(q, 3) == r->b->first + i &&
                 sql_u64(q, 4) == r->b->lamport_first + i &&
                 sqlite3_column_int64(q, 5) == r->b->wall.ms;
    }
    sqlite3_finalize(q);
    *same = count == r->b->count;
    return e;
}

/* ---- writing ---- */

static enum err
write_row(struct repair *r, struct wall received)
{
    struct store *s = r->s;
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(s->db, put_batch, &q);
    if (e != ERR_OK)
        return e;
    commit_bind_batch(s, q, r->b);
    sql_bind_u64(q, 4, r->lsn);
    sql_bind_u64(q, 7, (uint64_t)(r->own.is_there ? r->own.received.ms : received.ms));
    sql_bind_u64(q, 8, r->own.flags);
    e = sql_run(s->db, q);
    sqlite3_finalize(q);
    return e;
}

/* A row that was its own until a bit of its key was flipped. */
static enum err
drop_strays(struct repair *r)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(r->s->db, no_stray, &q);
    for (unsigned i = 0; i < 2 * STORE_KEY_BITS && e == ERR_OK; i++) {
        uint64_t flip = UINT64_C(1) << i / 2;
        sql_bind_u64(q, 1, r->b->stream ^ (i % 2 ? flip : 0));
        sql_bind_u64(q, 2, r->b->first ^ (i % 2 ? 0 : flip));
        sql_bind_u64(q, 3, r->lsn);
        e = sql_run(r->s->db, q);
    }
    sqlite3_finalize(q);
    return e;
}

static enum err
write_origin(struct repair *r)
{
    sqlite3_stmt *q = NULL;
    enum err      e = r->b->origin.n > 0 ? sql_prepare(r->s->db, put_origin, &q) : ERR_OK;
    if (!q)
        return e;
    sql_bind_u64(q, 1, r->b->stream);
    sql_bind_text(q, 2, r->b->origin);
    e = sql_run(r->s->db, q);
    sqlite3_finalize(q);
    return e;
}

/* What the row has now: its topic, and whether its digest is that of `m`. */
static enum err
look_at(struct repair *r, uint64_t lsn, const struct msg *m, uint64_t *topic, bool *same)
{
    struct hash128 digest;
    sqlite3_stmt  *q = NULL;
    enum err       e = sql_prepare(r->s->db, old_text, &q);
    *topic           = 0;
    *same            = false;
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, lsn);
    while (sql_next(r->s->db, q, &e)) {
        *topic = sql_u64(q, 0);
        *same  = sql_hash(q, 1, &digest) && hash128_eq(digest, m->digest);
    }
    sqlite3_finalize(q);
    return e;
}

/* While it was damaged an older one was the newest of its topic. */
static enum err
raise_newest(struct repair *r, struct topic *topic, uint32_t i)
{
    const struct entry e = {.lsn     = r->lsn + i,
                            .mark    = {r->b->stream, r->b->first + i},
                            .lamport = r->b->lamport_first + i};
    bool is_same         = topic->mark.stream == e.mark.stream && topic->mark.seq == e.mark.seq;
    if (!is_same && !topics_is_newer(topic, &e))
        return ERR_OK;
    topics_newest(topic, &e);
    return topics_write_newest(r->s, topic);
}

static enum err
write_message(struct repair *r, sqlite3_stmt *q, uint32_t i)
{
    const struct msg *m     = &r->b->msg[i];
    bool              gone  = m->flags & MSG_DIGEST_ONLY, same;
    struct topic     *topic = NULL;
    uint64_t          old;
    enum err          e = look_at(r, r->lsn + i, m, &old, &same);
    if (e != ERR_OK || (gone && same))
        return e; /* the peer has no more of it than we */
    if (!gone)
        e = topics_of(r->s, m->topic, &topic);
    if (e != ERR_OK)
        return e;
    r->moved |= old != (topic ? topic->id : 0);
    sql_bind_u64(q, 1, r->lsn + i);
    sql_bind_u64(q, 2, r->b->stream);
    sql_bind_u64(q, 3, r->b->first + i);
    sql_bind_u64(q, 4, r->b->lamport_first + i);
    sql_bind_u64(q, 6, (uint64_t)r->b->wall.ms);
    sql_bind_u64(q, 7, r->own.flags | (gone ? ROW_DIGEST_ONLY : 0));
    commit_bind_text(q, m, topic);
    e = sql_run(r->s->db, q);
    return e == ERR_OK && topic ? raise_newest(r, topic, i) : e;
}

static enum err
write_messages(struct repair *r)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(r->s->db, put_message, &q);
    for (uint32_t i = 0; i < r->b->count && e == ERR_OK; i++)
        e = write_message(r, q, i);
    sqlite3_finalize(q);
    return e;
}

/* Rows are looked at one by one there from now on. */
static enum err
drop_index(struct repair *r)
{
    sqlite3_stmt *q = NULL;
    enum err      e = r->moved ? sql_prepare(r->s->db, no_index, &q) : ERR_OK;
    if (!q)
        return e;
    sql_bind_u64(q, 1, r->lsn);
    sql_bind_u64(q, 2, r->lsn + r->b->count - 1);
    e = sql_run(r->s->db, q);
    sqlite3_finalize(q);
    r->s->wants_reload = true; /* the index that is not written yet, and counts of topics */
    return e;
}

static enum err
mend(struct repair *r, struct wall received)
{
    enum err e = find_row(r, at_seq, &r->own);
    if (e == ERR_OK)
        e = find_row(r, below_seq, &r->below);
    if (e == ERR_OK)
        e = find_row(r, above_seq, &r->above);
    if (e != ERR_OK || !streams_find(&r->s->streams, r->b->stream))
        return e;
    if (r->above.first != batch_last(r->b) + 1) /* not the next one, or not even that */
        r->above.is_there = false;
    bool known = is_known(r);
    e          = find_place(r);
    if (e == ERR_OK && r->lsn != 0 && !known)
        e = compare(r, &known);
    if (!known)
        r->lsn = 0;
    if (e != ERR_OK || r->lsn == 0)
        return e;
    e = write_row(r, received);
    if (e == ERR_OK && !r->own.is_there)
        e = drop_strays(r);
    if (e == ERR_OK)
        e = write_origin(r);
    if (e == ERR_OK)
        e = write_messages(r);
    return e == ERR_OK ? drop_index(r) : e;
}

/* A file that cannot even be mended must not take the commits along that come with this. */
enum err
repair_batch(struct store *s, const struct batch *b, struct wall received)
{
    struct repair r = {.s = s, .b = b};
    enum err      e = sql_exec(s->db, "SAVEPOINT repair");
    if (e != ERR_OK)
        return e;
    e = mend(&r, received);
    if (e == ERR_CORRUPT) {
        s->disk.is_corrupt = s->wants_reload = true;
        e                                    = sql_exec(s->db, "ROLLBACK TO repair");
    }
    if (e == ERR_OK)
        e = sql_exec(s->db, "RELEASE repair");
    if (e == ERR_OK && r.lsn == 0)
        tracef(TRACE_WARN, "store: %016llx-%llu cannot be mended by what a peer has of it",
               (unsigned long long)b->stream, (unsigned long long)b->first);
    return e;
}
