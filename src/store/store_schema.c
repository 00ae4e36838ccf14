#include "store/store_start.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdio.h>

/* "Hrsy": file(1) and we know our own by it. */
#define APPLICATION_ID 0x48727379

/* A new file gets the newest tables at once; an older one comes there step by step. */
static const char all_tables[] =
#include "schema.inc"
    ;
static const char all_views[] =
#include "views.inc"
    ;

/* A file of version 1 went without retention: nothing of it ever had a floor. */
static const char to_2[] = "ALTER TABLE streams ADD COLUMN waived INTEGER NOT NULL DEFAULT 0;"
                           "ALTER TABLE topics ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;"
                           "CREATE INDEX streams_live ON streams(stream) WHERE flags & 2 = 0;"
                           "CREATE UNIQUE INDEX topics_name ON topics(name);"
                           "CREATE TABLE removals (lsn INTEGER PRIMARY KEY, topics BLOB NOT NULL);"
                           "ALTER TABLE segments RENAME TO old;"
                           "CREATE TABLE segments (lsn_first INTEGER PRIMARY KEY,"
                           " lsn_last INTEGER NOT NULL, stamp INTEGER NOT NULL,"
                           " buckets INTEGER NOT NULL, hash INTEGER, marks BLOB);"
                           "INSERT INTO segments SELECT lsn_first, lsn_last, stamp, 0, NULL, NULL"
                           " FROM old;"
                           "DROP TABLE old;"
                           "CREATE TABLE postings (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL,"
                           " topics BLOB NOT NULL);";

/* ... and of version 2 was not asked where the gaps in its log lie. */
static const char to_3[] = "CREATE INDEX batches_gaps ON batches(stream, last)"
                           " WHERE flags & 4 <> 0;";

/* step[i] brings a file from version i to i + 1, but for its views, and is never changed
 * once released. */
static const char *const step[] = {NULL, to_2, to_3};
enum { SCHEMA_VERSION = sizeof step / sizeof *step };

static enum err
pragma_number(sqlite3 *db, const char *text, int64_t *value)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(db, text, &q);
    *value          = 0;
    if (e == ERR_OK)
        while (sql_next(db, q, &e))
            *value = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return e;
}

static void
say(struct buf *problem, const char *path, const char *what)
{
    enum err e = buf_addf(problem, "%s %s", path, what);
    (void)e; /* a cut message is better than none */
}

static enum err
identify(struct store *s, int64_t *version, struct buf *problem)
{
    int64_t  application, tables;
    enum err e = pragma_number(s->db, "PRAGMA application_id", &application);
    if (e == ERR_OK)
        e = pragma_number(s->db, "PRAGMA user_version", version);
    if (e == ERR_OK)
        e = pragma_number(s->db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (e != ERR_OK)
        return e;
    bool is_new = application == 0 && *version == 0 && tables == 0;
    if (!is_new && application != APPLICATION_ID) {
        say(problem, s->path,
            "is another program's SQLite file: move it away, or choose "
            "another folder with --data");
        return ERR_INVALID;
    }
    if (*version > SCHEMA_VERSION) {
        say(problem, s->path,
            "was written by a newer hearsay: install that version, or choose "
            "another folder with --data");
        return ERR_STALE;
    }
    return *version >= 0 ? ERR_OK : ERR_CORRUPT;
}

/* ---- is it still what was made? ---- */

/* Without views and what a user may have added. */
static const char tables_text[] =
    "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE type = 'table'"
    " AND name IN ('meta', 'streams', 'topics', 'removals', 'messages', 'batches', 'segments',"
    " 'postings', 'kept', 'peers', 'vectors') ORDER BY name)";

static enum err
hash_tables(struct store *s, int64_t *hash)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(s->db, tables_text, &q);
    *hash           = 0;
    if (e == ERR_OK)
        while (sql_next(s->db, q, &e))
            *hash = (int64_t)hash64(sql_bytes(q, 0));
    sqlite3_finalize(q);
    return e;
}

static enum err
sign_tables(struct store *s)
{
    sqlite3_stmt *q = NULL;
    int64_t       hash;
    enum err      e = hash_tables(s, &hash);
    if (e == ERR_OK)
        e = sql_prepare(s->db, "INSERT OR REPLACE INTO meta(name, value) VALUES ('tables', ?1)",
                        &q);
    if (e != ERR_OK)
        return e;
    sql_bind_u64(q, 1, (uint64_t)hash);
    e = sql_run(s->db, q);
    sqlite3_finalize(q);
    return e;
}

/* A letter that was flipped may still make a table, with other columns. */
static enum err
check_tables(struct store *s)
{
    int64_t  hash, signature;
    enum err e = hash_tables(s, &hash);
    if (e == ERR_OK)
        e = pragma_number(s->db, "SELECT value FROM meta WHERE name = 'tables'", &signature);
    return e == ERR_OK && hash != signature ? ERR_CORRUPT : e;
}

/* ---- making, migrating ---- */

static const char first_meta[] = "INSERT INTO meta(name, value) VALUES ('cluster', ?1),"
                                 " ('epoch', 0), ('topics_lsn', 0), ('probe', 0)";

static enum err
migrate(struct store *s, int64_t from, struct str cluster)
{
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             APPLICATION_ID, SCHEMA_VERSION);
    enum err e = sql_exec(s->db, "BEGIN IMMEDIATE");
    if (e != ERR_OK)
        return e;
    if (from == 0)
        e = sql_exec(s->db, all_tables);
    for (int64_t i = from; i > 0 && i < SCHEMA_VERSION && e == ERR_OK; i++)
        e = sql_exec(s->db, step[i]);
    if (e == ERR_OK)
        e = sql_exec(s->db, all_views);
    if (e == ERR_OK)
        e = sql_exec(s->db, pragmas);
    if (e == ERR_OK && from == 0) {
        sqlite3_stmt *q = NULL;
        e               = sql_prepare(s->db, first_meta, &q);
        if (e == ERR_OK) {
            sql_bind_text(q, 1, cluster);
            e = sql_run(s->db, q);
        }
        sqlite3_finalize(q);
    }
    if (e == ERR_OK)
        e = sign_tables(s);
    if (e == ERR_OK)
        e = sql_exec(s->db, "COMMIT");
    if (e != ERR_OK && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return e;
}

static enum err
check_cluster(struct store *s, struct str cluster, struct buf *problem)
{
    sqlite3_stmt *q     = NULL;
    bool          found = false, same = false;
    enum err      e = sql_prepare(s->db, "SELECT value FROM meta WHERE name = 'cluster'", &q);
    if (e == ERR_OK)
        while (sql_next(s->db, q, &e)) {
            struct str theirs = sql_bytes(q, 0);
            found             = true;
            same              = str_eq(theirs, cluster);
            if (!same) {
                enum err cut =
                    buf_addf(problem,
                             "%s belongs to the cluster \"%.*s\", not \"%.*s\": start "
                             "with --cluster %.*s, or choose another folder with --data",
                             s->path, STR_ARG(theirs), STR_ARG(cluster), STR_ARG(theirs));
                (void)cut;
            }
        }
    sqlite3_finalize(q);
    if (e != ERR_OK)
        return e;
    if (!found)
        return ERR_CORRUPT;
    return same ? ERR_OK : ERR_INVALID;
}

enum err
schema_ready(struct store *s, struct str cluster, struct buf *problem)
{
    int64_t  version = 0;
    enum err e       = identify(s, &version, problem);
    if (e == ERR_OK && version < SCHEMA_VERSION)
        e = migrate(s, version, cluster);
    if (e == ERR_OK)
        e = check_tables(s);
    if (e == ERR_OK)
        e = check_cluster(s, cluster, problem);
    return e;
}
