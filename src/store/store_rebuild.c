#include "store/store_reader.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "store/store_marks.h"

#include <string.h>

/* The rows of a batch: fixed parts here, bytes one behind the other in `bytes`. */
struct parts {
    struct msg *msg; /* of texts only the lengths */
    uint32_t    count;
    struct buf *bytes;
    bool        damaged; /* a row says of itself what its batch does not say of it */
};

static size_t
put(struct parts *p, struct str s)
{
    enum err e = buf_add(p->bytes, s);
    CHECK(e == ERR_OK);
    return s.n;
}

/* The lsn says which message it is: what else the row says is in the batch too. */
static bool
is_misplaced(const struct batch_row *row, uint64_t lsn, sqlite3_stmt *q)
{
    struct mark mark = row_mark(row, lsn);
    return sql_u64(q, 1) & ROW_GAP || sql_u64(q, 7) != mark.stream || sql_u64(q, 0) != mark.seq ||
           sql_u64(q, 8) != row_lamport(row, lsn) || sqlite3_column_int64(q, 9) != row->wall.ms;
}

static enum err
read_rows(struct store_reader *r, const struct batch_row *row, struct parts *p)
{
    sqlite3_stmt *q     = r->sql[READ_ROWS];
    enum err      e     = ERR_OK;
    uint64_t      count = row_lsns(row);
    sql_bind_u64(q, 1, row->lsn);
    sql_bind_u64(q, 2, row->lsn + count - 1);
    while (sql_next(r->db, q, &e)) {
        struct msg *m   = &p->msg[p->count];
        uint64_t    lsn = sql_u64(q, 6);
        if (p->count == count || lsn != row->lsn + p->count) {
            sqlite3_reset(q);
            return ERR_CORRUPT;
        }
        m->digest = (struct hash128){0};
        p->damaged |= !sql_hash(q, 2, &m->digest) || is_misplaced(row, lsn, q);
        m->flags     = sql_u64(q, 1) & ROW_DIGEST_ONLY ? MSG_DIGEST_ONLY : 0;
        m->topic.n   = put(p, sql_bytes(q, 3));
        m->headers.n = put(p, sql_bytes(q, 4));
        m->body.n    = put(p, sql_bytes(q, 5));
        p->count++;
    }
    return e == ERR_OK && p->count != count ? ERR_CORRUPT : e;
}

/* No digest covers a gap: both of its rows have to say the same. */
static enum err
check_gap(struct store_reader *r, const struct batch_row *row)
{
    sqlite3_stmt *q = r->sql[READ_ROWS];
    sql_bind_u64(q, 1, row->lsn);
    sql_bind_u64(q, 2, row->lsn);
    enum err e = read_first(r, q);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
    bool same = sql_u64(q, 1) & ROW_GAP && sql_u64(q, 7) == row->stream &&
                sql_u64(q, 0) == row->last && sql_u64(q, 8) == row->lamport_first;
    sqlite3_reset(q);
    return same ? ERR_OK : ERR_CORRUPT;
}

static struct str
next_text(const uint8_t **at, size_t n)
{
    struct str s = {n > 0 ? *at : NULL, n};
    *at += n;
    return s;
}

/* One blob: the batch, deps, messages, bytes.  The same layout as core's. */
static struct batch *
lay_out(const struct batch_row *row, const struct parts *p, struct str deps, size_t origin_n)
{
    uint32_t deps_count = 0;
    if (marks_decode(deps, NULL, &deps_count) != ERR_OK)
        return NULL;
    struct str    bytes = buf_str(p->bytes);
    struct batch *b     = blob_new(sizeof *b + p->count * sizeof(struct msg) +
                                   deps_count * sizeof(struct mark) + bytes.n);
    struct msg   *msg   = (struct msg *)(void *)(b + 1);
    struct mark  *mark  = (struct mark *)(void *)(msg + p->count);
    uint8_t      *text  = (uint8_t *)(mark + deps_count);
    enum err      e     = marks_decode(deps, mark, &deps_count);
    CHECK(e == ERR_OK);
    memcpy(msg, p->msg, p->count * sizeof *msg);
    if (bytes.n > 0)
        memcpy(text, bytes.p, bytes.n);

    const uint8_t *at = text;
    *b                = (struct batch){.stream        = row->stream,
                                       .first         = row->first,
                                       .count         = p->count,
                                       .gap_last      = row->is_gap ? row->last : 0,
                                       .prev          = row->prev,
                                       .chain         = row->chain,
                                       .lamport_first = row->lamport_first,
                                       .wall          = row->wall,
                                       .origin        = next_text(&at, origin_n),
                                       .deps          = mark,
                                       .deps_count    = deps_count,
                                       .msg           = msg};
    for (uint32_t i = 0; i < p->count; i++) {
        msg[i].topic   = next_text(&at, msg[i].topic.n);
        msg[i].headers = next_text(&at, msg[i].headers.n);
        msg[i].body    = next_text(&at, msg[i].body.n);
    }
    return b;
}

/* Makes each message that does not fit its digest a digest alone, or gives it (`mend`) the
 * digest that fits it; whether there were any. */
static bool
settle(struct batch *b, bool mend)
{
    struct msg *msg = (struct msg *)(uintptr_t)b->msg; /* nobody else has seen it yet */
    bool        any = false;
    for (uint32_t i = 0; i < b->count; i++) {
        struct msg    *m      = &msg[i];
        struct hash128 digest = marks_digest(m->topic, m->headers, m->body);
        bool           gone   = m->flags & MSG_DIGEST_ONLY;
        bool           fits   = hash128_eq(digest, m->digest);
        any |= gone || !fits;
        if (fits)
            m->flags = 0; /* its text is there, whatever its row says */
        else if (mend && !gone)
            m->digest = digest;
        else
            m->flags |= MSG_DIGEST_ONLY;
    }
    return any;
}

/* Nothing leaves the process towards a peer that is not what its origin sealed.  The chain
 * tells whether it is the text or the digest of a message that was flipped. */
static bool
is_sealed(struct batch *b, struct buf *scratch, bool *damaged)
{
    bool as_stored = hash128_eq(b->chain, marks_chain(b, scratch));
    bool unlike    = settle(b, !as_stored);
    *damaged |= unlike;
    return as_stored || (unlike && hash128_eq(b->chain, marks_chain(b, scratch)));
}

enum err
rebuild_unsealed(struct store_reader *r, const struct batch_row *row, struct batch **out,
                 bool *damaged)
{
    struct parts  p = {.bytes = &r->bytes, .msg = mem_new(row_lsns(row) * sizeof(struct msg))};
    struct batch *b = NULL;
    buf_reset(&r->bytes);
    /* r->deps holds the deps of the row. */
    enum err e = ERR_OK;
    if (row->origin.n > 0)
        put(&p, row->origin);
    else if (row->first == 1 || row->is_gap)
        e = read_origin(r, row->stream, p.bytes);
    size_t origin_n = p.bytes->n;
    if (e == ERR_OK && origin_n > UINT8_MAX)
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        e = row->is_gap ? check_gap(r, row) : read_rows(r, row, &p);
    if (e == ERR_OK) {
        b = lay_out(row, &p, buf_str(&r->deps), origin_n);
        if (!b)
            e = ERR_CORRUPT;
    }
    mem_free(p.msg);
    *damaged = p.damaged;
    *out     = b;
    return e;
}

enum err
rebuild_batch(struct store_reader *r, const struct batch_row *row, struct batch **out,
              bool *damaged)
{
    struct batch *b;
    enum err      e = rebuild_unsealed(r, row, &b, damaged);
    if (e == ERR_OK && !row->is_gap && !is_sealed(b, &r->bytes, damaged)) {
        blob_drop(b);
        return ERR_CORRUPT;
    }
    if (e == ERR_OK)
        *out = b;
    return e;
}
