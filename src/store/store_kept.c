/* store_kept.c - reading the newest messages of topics that the log has no more. */
#include "store/store_reader.h"

#include "store/store_marks.h"

enum { ROWS_MAX = 4096 }; /* looked at in one call */

static void
put(struct page_maker *page, sqlite3_stmt *q, struct mark mark)
{
    struct entry e = {.mark    = mark,
                      .lamport = sql_u64(q, 3),
                      .wall    = {sqlite3_column_int64(q, 4)},
                      .origin  = page_text(page, sql_bytes(q, 5)),
                      .topic   = page_text(page, sql_bytes(q, 6)),
                      .headers = page_text(page, sql_bytes(q, 7)),
                      .body    = page_text(page, sql_bytes(q, 8))};
    page_entry(page, &e);
}

/* What is damaged here goes to nobody. */
static bool
is_whole(sqlite3_stmt *q)
{
    struct hash128 digest;
    return sql_hash(q, 9, &digest) &&
           hash128_eq(digest, marks_digest(sql_bytes(q, 6), sql_bytes(q, 7), sql_bytes(q, 8)));
}

/* Where it is to go on is a topic's number, in the place of an lsn. */
enum err
kept_read(struct store_reader *r, const struct read *read, struct page_maker *page)
{
    sqlite3_stmt *q    = r->sql[READ_KEPT_ROWS];
    enum err      e    = ERR_OK;
    uint32_t      work = 0;
    page->lsn_first    = read->lsn;
    page->lsn_next     = 0;
    sql_bind_u64(q, 1, read->lsn);
    while (sql_next(r->db, q, &e)) {
        struct mark mark = {sql_u64(q, 1), sql_u64(q, 2)};
        if (work++ == ROWS_MAX || page_is_full(page, read)) {
            page->lsn_next = sql_u64(q, 0);
            sqlite3_reset(q);
            return ERR_OK;
        }
        if (page_seq(&read->have, mark.stream) < mark.seq && is_whole(q))
            put(page, q, mark);
    }
    return e;
}
