#include "store/store_private.h"

#include "base/check.h"
#include "base/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const text_of[SQL_COUNT] = {
    [SQL_BEGIN]     = "BEGIN IMMEDIATE",
    [SQL_COMMIT]    = "COMMIT",
    [SQL_ROLLBACK]  = "ROLLBACK",
    [SQL_SAVE]      = "SAVEPOINT step",
    [SQL_SAVE_UNDO] = "ROLLBACK TO step",
    [SQL_SAVE_END]  = "RELEASE step",
    [SQL_MESSAGE] = "INSERT INTO messages(lsn, stream, seq, lamport, topic, wall_ms, flags, digest,"
                    " headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [SQL_BATCH]   = "INSERT INTO batches(stream, first, last, lsn, lamport_first, wall_ms,"
                    " received_ms, flags, prev, chain, deps)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [SQL_STREAM]  = "INSERT INTO streams(stream, origin, head, head_chain, head_stamp, head_lsn,"
                    " head_ms, floor, flags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0)"
                    " ON CONFLICT(stream) DO UPDATE SET head = ?3, head_chain = ?4,"
                    " head_stamp = ?5, head_lsn = ?6, head_ms = ?7,"
                    " origin = CASE WHEN ?2 = '' THEN origin ELSE ?2 END",
    [SQL_FLOOR]   = "UPDATE streams SET floor = ?2, floor_chain = ?3, floor_stamp = ?4,"
                    " floor_deps = ?5 WHERE stream = ?1",
    [SQL_STREAM_FLAGS] = "UPDATE streams SET flags = (flags | ?2) & ~?3 WHERE stream = ?1",
    [SQL_STREAM_DROP]  = "DELETE FROM streams WHERE stream = ?1",
    [SQL_WAIVED] = "INSERT INTO streams(stream, origin, head, head_chain, head_stamp, head_lsn,"
                   " head_ms, floor, flags, waived)"
                   " VALUES (?1, '', 0, zeroblob(16), 0, 0, ?3, 0, 0, ?2)"
                   " ON CONFLICT(stream) DO UPDATE SET waived = max(waived, ?2),"
                   " head_ms = CASE WHEN head = 0 THEN ?3 ELSE head_ms END",
    [SQL_FROZEN] = "INSERT INTO streams(stream, origin, head, head_chain, head_stamp, head_lsn,"
                   " head_ms, floor, flags) VALUES (?1, '', 0, zeroblob(16), 0, 0, 0, 0, 1)"
                   " ON CONFLICT(stream) DO UPDATE SET flags = flags | 1",
    [SQL_TOPIC]  = "INSERT INTO topics(id, name, count, lsn, lamport, stream, seq)"
                   " VALUES (?1, ?2, 0, 0, 0, 0, 0)",
    [SQL_TOPIC_COUNTS]   = "UPDATE topics SET count = ?2, lsn = ?3, lamport = ?4, stream = ?5,"
                           " seq = ?6, removed = ?7 WHERE id = ?1",
    [SQL_TOPIC_NEWEST]   = "UPDATE topics SET lsn = ?2, lamport = ?3, stream = ?4, seq = ?5"
                           " WHERE id = ?1",
    [SQL_REMOVAL]        = "INSERT INTO removals(lsn, topics) VALUES (?1, ?2)",
    [SQL_REMOVALS_CLEAR] = "DELETE FROM removals",
    [SQL_KEEP] = "INSERT OR REPLACE INTO kept(topic, stream, seq, lamport, wall_ms, flags, origin,"
                 " digest, headers, body) SELECT m.topic, m.stream, m.seq, m.lamport, m.wall_ms,"
                 " m.flags, s.origin, m.digest, m.headers, m.body FROM messages m"
                 " JOIN streams s ON s.stream = m.stream WHERE m.lsn = ?1",
    [SQL_KEPT_PUT]    = "INSERT OR REPLACE INTO kept(topic, stream, seq, lamport, wall_ms, flags,"
                        " origin, digest, headers, body)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9)",
    [SQL_LATEST_LOG]  = "SELECT m.lsn, m.stream, m.seq, m.lamport, m.wall_ms, m.flags, s.origin,"
                        " m.headers, m.body, m.digest FROM messages m"
                        " JOIN streams s ON s.stream = m.stream JOIN batches b ON"
                        " b.stream = m.stream AND b.first = (SELECT max(first) FROM batches WHERE"
                        " stream = m.stream AND first <= m.seq) AND b.lsn + m.seq - b.first = m.lsn"
                        " AND b.lamport_first + m.seq - b.first = m.lamport WHERE m.lsn = ?1",
    [SQL_LATEST_KEPT] = "SELECT 0, stream, seq, lamport, wall_ms, flags, origin, headers, body,"
                        " digest FROM kept WHERE topic = ?1",
    [SQL_FRONT]       = "SELECT lsn, stream, seq, lamport, wall_ms FROM messages WHERE lsn >= ?1"
                        " ORDER BY lsn LIMIT 1",
    [SQL_FRONT_BATCH] = "SELECT first, last, lsn, lamport_first, wall_ms, received_ms, flags, chain"
                        " FROM batches WHERE stream = ?1 AND first <= ?2"
                        " ORDER BY first DESC LIMIT 1",
    [SQL_FRONT_DEPS]  = "SELECT deps FROM batches WHERE stream = ?1 AND first = ?2",
    [SQL_FRONT_ROWS] = "SELECT lsn, stream, seq, topic, length(headers), length(body) FROM messages"
                       " WHERE lsn >= ?1 AND lsn <= ?2",
    [SQL_FRONT_DROP] = "DELETE FROM batches WHERE stream = ?1 AND first <= ?2",
    [SQL_MESSAGES_DROP] = "DELETE FROM messages WHERE lsn < ?1",
    [SQL_SEGMENT]       = "INSERT INTO segments(lsn_first, lsn_last, stamp, buckets, hash, marks)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_POSTINGS]      = "INSERT INTO postings(id, hash, topics) VALUES (?1, ?2, ?3)",
    [SQL_SEGMENTS_DROP] = "DELETE FROM segments WHERE lsn_first < ?1 AND lsn_last < ?1",
    [SQL_POSTINGS_DROP] = "DELETE FROM postings"
                          " WHERE id < 16 * ifnull((SELECT min(lsn_first) FROM segments), ?1)",
    [SQL_META]          = "INSERT INTO meta(name, value) VALUES (?1, ?2)"
                          " ON CONFLICT(name) DO UPDATE SET value = ?2",
    [SQL_PEER]          = "INSERT INTO peers(addr, family, ip, port, host, version, nonce, flags)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [SQL_PEERS_CLEAR]   = "DELETE FROM peers",
    [SQL_PAGES]         = "PRAGMA page_count",
    [SQL_PAGES_FREE]    = "PRAGMA freelist_count",
    [SQL_KNOWN]         = "SELECT stream, seq FROM vectors WHERE addr = ?1 ORDER BY stream",
    [SQL_KNOWN_PUT]     = "INSERT INTO vectors(addr, stream, seq) VALUES (?1, ?2, ?3)"
                          " ON CONFLICT(addr, stream) DO UPDATE SET seq = ?3",
    [SQL_KNOWN_DROP]    = "DELETE FROM vectors WHERE addr = ?1 AND stream = ?2",
};

enum err
sql_err(sqlite3 *db, int rc)
{
    if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
        /* The kernel may have dropped the dirty pages and report success next time. */
        tracef(TRACE_ERROR,
               "the disk failed to sync broker.db (%s); what it holds is unknown, so the broker "
               "stops here. Check the disk, then start again: nothing acknowledged is lost",
               strerror(db ? sqlite3_system_errno(db) : errno));
        _exit(EXIT_FAILURE); /* nothing more is written, not even by atexit() */
    }
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return ERR_OK;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* what we ask is right: it is the schema or a row that is not */
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    default:
        break;
    }
    int system = db ? sqlite3_system_errno(db) : 0;
    return system == ENOSPC || system == EDQUOT || system == EFBIG ? ERR_FULL : ERR_IO;
}

enum err
sql_failed(sqlite3 *db, int rc, const char *doing)
{
    enum err e    = sql_err(db, rc);
    int      most = (int)strcspn(doing, ";\n");
    if (e != ERR_OK)
        tracef(TRACE_WARN, "store: %.*s: %s (SQLite %d)", most < 60 ? most : 60, doing,
               db ? sqlite3_errmsg(db) : "no memory", rc);
    return e;
}

enum err
sql_exec(sqlite3 *db, const char *text)
{
    int rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : sql_failed(db, rc, text);
}

enum err
sql_prepare(sqlite3 *db, const char *text, sqlite3_stmt **out)
{
    int rc = sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc == SQLITE_OK ? ERR_OK : sql_failed(db, rc, text);
}

enum err
sql_run(sqlite3 *db, sqlite3_stmt *q)
{
    int rc = sqlite3_step(q);
    CHECK(rc != SQLITE_ROW);
    enum err e = rc == SQLITE_DONE ? ERR_OK : sql_failed(db, rc, sqlite3_sql(q));
    sqlite3_reset(q);
    return e;
}

bool
sql_next(sqlite3 *db, sqlite3_stmt *q, enum err *e)
{
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        return true;
    *e = rc == SQLITE_DONE ? ERR_OK : sql_failed(db, rc, sqlite3_sql(q));
    sqlite3_reset(q);
    return false;
}

/* Binding fails only for an index out of range or without memory. */
static void
bound(int rc)
{
    CHECK(rc == SQLITE_OK);
}

void
sql_bind_u64(sqlite3_stmt *q, int at, uint64_t value)
{
    bound(sqlite3_bind_int64(q, at, (sqlite3_int64)value));
}

void
sql_bind_text(sqlite3_stmt *q, int at, struct str s)
{
    bound(sqlite3_bind_text(q, at, s.n > 0 ? (const char *)s.p : "", (int)s.n, SQLITE_STATIC));
}

void
sql_bind_blob(sqlite3_stmt *q, int at, const void *p, size_t n)
{
    bound(sqlite3_bind_blob(q, at, n > 0 ? p : "", (int)n, SQLITE_STATIC));
}

uint64_t
sql_u64(sqlite3_stmt *q, int column)
{
    return (uint64_t)sqlite3_column_int64(q, column);
}

struct str
sql_bytes(sqlite3_stmt *q, int column)
{
    const void *p = sqlite3_column_blob(q, column);
    int         n = sqlite3_column_bytes(q, column);
    return p && n > 0 ? (struct str){p, (size_t)n} : (struct str){0};
}

bool
sql_hash(sqlite3_stmt *q, int column, struct hash128 *out)
{
    struct str s = sql_bytes(q, column);
    if (s.n != sizeof out->b)
        return false;
    memcpy(out->b, s.p, sizeof out->b);
    return true;
}

enum err
sql_statements(struct store *s)
{
    enum err e = ERR_OK;
    for (int i = 0; i < SQL_COUNT && e == ERR_OK; i++)
        e = sql_prepare(s->db, text_of[i], &s->sql[i]);
    return e;
}

enum err
sql_meta_put(struct store *s, const char *name, uint64_t value)
{
    sqlite3_stmt *q = s->sql[SQL_META];
    sql_bind_text(q, 1, str_of(name));
    sql_bind_u64(q, 2, value);
    return sql_run(s->db, q);
}
