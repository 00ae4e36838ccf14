/* store_prove.c - a batch that cannot be read as it was sealed: what else the file says of it.
 *
 * Most of a row of batches stands somewhere else too: its place in its stream and its chains in
 * the rows before and behind it, or in that of its stream; its lsn, stamps and time in its
 * messages.  One field after the other is taken from there, and what then fits a chain that is
 * stored is what was sealed: a flipped bit does not hit upon 128 bits.  Of what is not proved
 * like that only the place is told, by a gap. */
#include "store/store_reader.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "store/store_marks.h"

#include <string.h>

enum {
    NEXT_ROWS_MAX = 4,
    DEP_BYTES_MIN = 9,
    /* Hashed for it: some 200 ms. */
    TRIES_BYTES_MAX = 128 << 20,
};

static const uint8_t    no_marks[] = {0};
static const struct str no_deps    = {no_marks, sizeof no_marks};

/* What may be taken from elsewhere. */
enum field { FIELD_RANGE, FIELD_LSN, FIELD_STAMP, FIELD_WALL, FIELD_PREV, FIELD_CHAIN, FIELD_KIND };
enum { FIELD_DEPS = FIELD_KIND + 1, FIELDS };

/* A stream's row. */
struct stream_row {
    uint64_t       head, stamp, floor, floor_stamp;
    struct hash128 chain, floor_chain;
};

struct proof {
    struct store_reader *r;
    struct mark          at; /* some message of the batch, and its place */
    uint64_t             lsn;
    struct stream_row    stream;
    struct batch_row     own, below, above; /* stream 0: there is none */
    struct batch_row     said;              /* by all the others */
    struct buf           deps;              /* of `own` */
};

/* ---- rows ---- */

static enum err
read_stream(struct proof *p)
{
    sqlite3_stmt      *q = p->r->sql[READ_HEAD];
    struct stream_row *s = &p->stream;
    sql_bind_u64(q, 1, p->at.stream);
    enum err e = read_first(p->r, q);
    if (e != ERR_OK)
        return e;
    *s = (struct stream_row){.head        = sql_u64(q, 0),
                             .stamp       = sql_u64(q, 2),
                             .floor       = sql_u64(q, 3),
                             .floor_stamp = sql_u64(q, 5)};
    if (!sql_hash(q, 1, &s->chain))
        s->chain = (struct hash128){0};
    if (!sql_hash(q, 4, &s->floor_chain))
        s->floor_chain = (struct hash128){0};
    sqlite3_reset(q);
    return ERR_OK;
}

/* As read_batch_row(); a row that makes no sense is one too. */
static enum err
read_row(struct proof *p, struct mark at, struct batch_row *row)
{
    *row       = (struct batch_row){0};
    enum err e = at.seq > 0 ? read_batch_row(p->r, at, row) : ERR_NOTFOUND;
    return e == ERR_CORRUPT && row->stream != 0 ? ERR_OK : e;
}

static void
keep_deps(struct proof *p)
{
    buf_reset(&p->deps);
    enum err e = buf_add(&p->deps, buf_str(&p->r->deps));
    CHECK(e == ERR_OK);
}

/* Its own row, and the one before. */
static enum err
read_below(struct proof *p)
{
    struct batch *b = NULL;
    bool          damaged;
    enum err      e = read_row(p, p->at, &p->own);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? ERR_OK : e;
    keep_deps(p);
    if (p->own.first <= p->own.last && p->own.last < p->at.seq &&
        row_lsns(&p->own) <= BATCH_MESSAGES_MAX &&
        rebuild_batch(p->r, &p->own, &b, &damaged) == ERR_OK) {
        blob_drop(b); /* it is what was sealed, so it ends where it says */
        p->below = p->own;
        p->own   = (struct batch_row){0};
        return ERR_OK;
    }
    e = read_row(p, (struct mark){p->at.stream, p->own.first - 1}, &p->below);
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The row behind.  Lsns rise along a stream: one that does not lie behind is our own, whose
 * `first` was flipped. */
static enum err
read_above(struct proof *p)
{
    sqlite3_stmt *q = p->r->sql[READ_NEXT_BATCH];
    enum err      e = ERR_OK;
    int           n = 0;
    sql_bind_u64(q, 1, p->at.stream);
    sql_bind_u64(q, 2, p->at.seq);
    while (p->above.stream == 0 && n++ < NEXT_ROWS_MAX && sql_next(p->r->db, q, &e)) {
        struct batch_row row = {.stream        = p->at.stream,
                                .first         = sql_u64(q, 0),
                                .lsn           = sql_u64(q, 2),
                                .lamport_first = sql_u64(q, 3)};
        if (!sql_hash(q, 1, &row.prev))
            row.prev = (struct hash128){0};
        if (row.lsn > p->lsn)
            p->above = row;
        else if (p->own.stream == 0 &&
                 read_row(p, (struct mark){row.stream, row.first}, &p->own) == ERR_OK)
            keep_deps(p);
    }
    sqlite3_reset(q);
    return e;
}

/* A row with this key that says that it lies here is the one whose key was flipped. */
static bool
is_stray(struct proof *p, struct mark key)
{
    struct batch_row row;
    if (key.stream == 0 || read_row(p, key, &row) != ERR_OK || row.first != key.seq ||
        row.lsn != p->said.lsn)
        return false;
    keep_deps(p);
    p->own = row;
    return true;
}

static void
find_stray(struct proof *p)
{
    struct mark key = {p->at.stream, p->said.first};
    p->r->work += 2 * STORE_KEY_BITS * WORK_LOOKUP;
    for (unsigned bit = 0; bit < STORE_KEY_BITS; bit++) {
        uint64_t flip = UINT64_C(1) << bit;
        if (is_stray(p, (struct mark){key.stream ^ flip, key.seq}) ||
            is_stray(p, (struct mark){key.stream, key.seq ^ flip}))
            return;
    }
}

/* ---- what the others say ---- */

/* Its row says so, its message does, and that has no topic: two of the three are right. */
static enum err
find_kind(struct proof *p)
{
    sqlite3_stmt *q     = p->r->sql[READ_MESSAGE];
    int           votes = p->own.is_gap;
    sql_bind_u64(q, 1, p->lsn);
    enum err e = read_first(p->r, q);
    if (e == ERR_NOTFOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    votes += sql_u64(q, 6) & ROW_GAP ? 1 : 0;
    votes += sqlite3_column_type(q, 4) == SQLITE_NULL;
    sqlite3_reset(q);
    p->said.is_gap = votes > 1;
    return ERR_OK;
}

static bool
is_range(const struct proof *p, uint64_t first, uint64_t last)
{
    return 0 < first && first <= p->at.seq && p->at.seq <= last && last - first <= INT32_MAX;
}

static bool
find_range(struct proof *p)
{
    struct batch_row *said = &p->said;
    said->first            = (p->below.stream != 0 ? p->below.last : p->stream.floor) + 1;
    said->last             = p->above.stream != 0 ? p->above.first - 1 : p->stream.head;
    if (!is_range(p, said->first, said->last)) {
        said->first = p->own.first;
        said->last  = p->own.last;
    }
    if (!is_range(p, said->first, said->last))
        return false;
    uint64_t below = said->is_gap ? 0 : p->at.seq - said->first; /* messages */
    said->lsn      = p->lsn - below;
    return p->lsn > below && row_lsns(said) <= BATCH_MESSAGES_MAX;
}

/* What most of its messages say (Boyer and Moore, "A fast majority vote algorithm", 1981). */
static enum err
count_messages(struct proof *p)
{
    struct batch_row *said  = &p->said;
    sqlite3_stmt     *q     = p->r->sql[READ_ROWS];
    enum err          e     = ERR_OK;
    uint64_t          stamp = 0, wall = 0; /* votes */
    said->lamport_first = p->own.lamport_first;
    said->wall          = p->own.wall;
    sql_bind_u64(q, 1, said->lsn);
    sql_bind_u64(q, 2, said->lsn + row_lsns(said) - 1);
    while (sql_next(p->r->db, q, &e)) {
        uint64_t    first = sql_u64(q, 8) - (sql_u64(q, 6) - said->lsn);
        struct wall at    = {sqlite3_column_int64(q, 9)};
        if (stamp == 0)
            said->lamport_first = first;
        stamp += said->lamport_first == first ? 1 : UINT64_MAX;
        if (wall == 0)
            said->wall = at;
        wall += said->wall.ms == at.ms ? 1 : UINT64_MAX;
    }
    return e;
}

static void
find_chains(struct proof *p)
{
    const struct stream_row *s = &p->stream;
    p->said.prev               = p->below.stream != 0 ? p->below.chain : s->floor_chain;
    p->said.chain              = p->above.stream != 0 ? p->above.prev : s->chain;
    if (p->below.stream == 0 && s->floor == 0)
        p->said.prev = (struct hash128){0};
}

static enum err
gather(struct proof *p)
{
    enum err e = read_stream(p);
    if (e == ERR_OK)
        e = read_below(p);
    if (e == ERR_OK)
        e = read_above(p);
    if (e != ERR_OK)
        return e;
    p->said.stream = p->at.stream;
    e              = find_kind(p);
    if (e != ERR_OK)
        return e;
    if (!find_range(p))
        return ERR_NOTFOUND;
    if (p->own.stream == 0)
        find_stray(p);
    p->own.stream    = p->own.stream != 0 ? p->at.stream : 0;
    p->said.received = p->own.received;
    p->said.late     = p->own.late;
    find_chains(p);
    return count_messages(p);
}

/* ---- one field after the other ---- */

static void
take_field(struct batch_row *row, enum field field, const struct batch_row *said)
{
    switch (field) {
    case FIELD_RANGE:
        row->first = said->first;
        row->last  = said->last;
        break;
    case FIELD_LSN:
        row->lsn = said->lsn;
        break;
    case FIELD_STAMP:
        row->lamport_first = said->lamport_first;
        break;
    case FIELD_WALL:
        row->wall = said->wall;
        break;
    case FIELD_PREV:
        row->prev = said->prev;
        break;
    case FIELD_CHAIN:
        row->chain = said->chain;
        break;
    case FIELD_KIND:
        row->is_gap = said->is_gap;
        break;
    }
}

/* With these fields from elsewhere; without deps when FIELD_DEPS is among them. */
static enum err
try(struct proof *p, uint32_t fields, struct batch **out)
{
    struct batch_row row  = p->own;
    struct str       deps = buf_str(&p->deps);
    bool             damaged;
    for (unsigned i = 0; i < FIELD_DEPS; i++)
        if (fields >> i & 1)
            take_field(&row, (enum field)i, &p->said);
    if (fields >> FIELD_DEPS & 1)
        deps = no_deps;
    if (row.is_gap || row.last < row.first || row_lsns(&row) > BATCH_MESSAGES_MAX)
        return ERR_CORRUPT;
    buf_reset(&p->r->deps);
    enum err e = buf_add(&p->r->deps, deps);
    CHECK(e == ERR_OK);
    p->r->work += WORK_BATCH + (uint32_t)row_lsns(&row);
    e = rebuild_batch(p->r, &row, out, &damaged);
    if (e == ERR_OK)
        p->own = row;
    return e;
}

/* ---- what stands nowhere else ---- */

/* The batch as its rows are.  Its texts are read once: what is tried is what its chain covers
 * beside their digests. */
static enum err
begin_trial(struct proof *p, struct str deps, struct batch **out)
{
    bool damaged;
    *out = NULL;
    if (p->own.is_gap || p->own.last < p->own.first || row_lsns(&p->own) > BATCH_MESSAGES_MAX)
        return ERR_CORRUPT;
    buf_reset(&p->r->deps);
    enum err e = buf_add(&p->r->deps, deps);
    CHECK(e == ERR_OK);
    p->r->work += WORK_BATCH + (uint32_t)row_lsns(&p->own);
    return rebuild_unsealed(p->r, &p->own, out, &damaged);
}

static bool
is_sealed(struct proof *p, const struct batch *b)
{
    return hash128_eq(b->chain, marks_chain(b, &p->r->bytes));
}

static enum err
try_origin(struct proof *p, struct batch *b, struct str origin, struct batch **out)
{
    b->origin = origin;
    if (!is_sealed(p, b))
        return ERR_CORRUPT;
    p->own.origin = origin;
    enum err e    = try(p, 0, out);
    p->own.origin = (struct str){0};
    return e;
}

/* Of one of the brokers that the file knows. */
static enum err
try_origins(struct proof *p, struct batch *b, struct batch **out)
{
    sqlite3_stmt *q = p->r->sql[READ_ORIGINS];
    enum err      e = ERR_OK, tried = ERR_CORRUPT;
    while (tried == ERR_CORRUPT && sql_next(p->r->db, q, &e))
        if (sqlite3_column_bytes(q, 0) <= UINT8_MAX)
            tried = try_origin(p, b, sql_bytes(q, 0), out);
    sqlite3_reset(q);
    return e == ERR_OK ? tried : e;
}

static void
flip(uint8_t *byte, size_t bit)
{
    byte[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/* Its stream's origin, with a bit flipped back. */
static enum err
try_bits(struct proof *p, struct batch *b, struct batch **out)
{
    uint8_t  text[UINT8_MAX];
    enum err e = ERR_OK;
    buf_reset(&p->r->bytes);
    e               = read_origin(p->r, p->at.stream, &p->r->bytes);
    struct str said = buf_str(&p->r->bytes);
    if (e != ERR_OK || said.n == 0 || said.n > sizeof text)
        return e != ERR_OK ? e : ERR_CORRUPT;
    memcpy(text, said.p, said.n);
    e = ERR_CORRUPT;
    for (size_t i = 0, n = said.n; i < 8 * n && e == ERR_CORRUPT; i++) {
        flip(text, i);
        e = try_origin(p, b, (struct str){text, n}, out);
        flip(text, i);
    }
    return e;
}

/* Of the first batch of a stream. */
static enum err
try_first(struct proof *p, struct batch **out)
{
    struct batch *b;
    enum err      e = begin_trial(p, buf_str(&p->deps), &b);
    if (e == ERR_OK)
        e = try_origins(p, b, out);
    if (e == ERR_CORRUPT && b)
        e = try_bits(p, b, out);
    blob_drop(b);
    return e;
}

/* `mark` has room for DEP_BYTES_MIN of its bytes each. */
static bool
are_sealed(struct proof *p, struct batch *b, struct mark *mark)
{
    uint32_t count;
    if (marks_decode(buf_str(&p->deps), NULL, &count) != ERR_OK ||
        count > p->deps.n / DEP_BYTES_MIN)
        return false;
    enum err e = marks_decode(buf_str(&p->deps), mark, &count);
    CHECK(e == ERR_OK);
    b->deps       = mark;
    b->deps_count = count;
    return is_sealed(p, b);
}

/* Its deps, with a bit flipped back. */
static enum err
try_deps(struct proof *p, struct batch **out)
{
    uint8_t      *byte = (uint8_t *)(uintptr_t)buf_str(&p->deps).p;
    size_t        bits = 8 * p->deps.n;
    struct batch *b    = NULL;
    enum err      e    = begin_trial(p, no_deps, &b);
    if (e != ERR_OK || bits * (p->deps.n + b->count * sizeof(struct hash128)) > TRIES_BYTES_MAX) {
        blob_drop(b);
        return e != ERR_OK ? e : ERR_CORRUPT;
    }
    struct mark *mark = mem_new((p->deps.n / DEP_BYTES_MIN + 1) * sizeof *mark);
    e                 = ERR_CORRUPT;
    for (size_t i = 0; i < bits && e == ERR_CORRUPT; i++) {
        flip(byte, i);
        if (are_sealed(p, b, mark))
            e = try(p, 0, out);
        flip(byte, i);
    }
    mem_free(mark);
    blob_drop(b);
    return e;
}

/* CORRUPT: it is not proved. */
static enum err
prove(struct proof *p, struct batch **out)
{
    const uint32_t all = (1u << FIELD_DEPS) - 1;
    enum err       e   = ERR_CORRUPT;
    if (p->said.is_gap)
        return e;
    for (unsigned i = 0; i < FIELDS && e == ERR_CORRUPT && p->own.stream != 0; i++)
        e = try(p, 1u << i, out);
    if (p->own.stream == 0)
        p->own.stream = p->at.stream;
    if (e == ERR_CORRUPT)
        e = try(p, all, out);
    if (e == ERR_CORRUPT)
        e = try(p, all | 1u << FIELD_DEPS, out);
    if (e == ERR_CORRUPT)
        e = try_deps(p, out);
    if (e == ERR_CORRUPT && p->own.first == 1)
        e = try_first(p, out);
    return e;
}

/* ---- or else its place ---- */

/* All that may have been stored before it, but of its own stream: no less than it depends on. */
static enum err
find_past(struct proof *p, struct vector *past)
{
    sqlite3_stmt *q = p->r->sql[READ_STREAMS];
    enum err      e = ERR_OK;
    while (sql_next(p->r->db, q, &e)) {
        struct mark m = {sql_u64(q, 0), sql_u64(q, 1)};
        uint64_t    before;
        p->r->work += WORK_LOOKUP;
        if (m.stream == p->at.stream)
            continue;
        enum err found = sql_u64(q, 2) < p->said.lsn
                             ? ERR_CORRUPT
                             : read_seq_below(p->r, m, p->said.lsn, &before);
        if (found == ERR_OK)
            m.seq = before;
        else if (found != ERR_CORRUPT) {
            sqlite3_reset(q);
            return found;
        }
        if (m.seq > 0)
            page_raise(past, m);
    }
    return e;
}

/* It was a gap before: what that owes is more than what we hold. */
static enum err
old_deps(struct proof *p, struct vector *past)
{
    uint32_t count;
    if (marks_decode(buf_str(&p->deps), NULL, &count) != ERR_OK)
        return find_past(p, past);
    past->at    = mem_new((count + 1) * sizeof *past->at);
    past->count = past->cap = count + 1;
    enum err e              = marks_decode(buf_str(&p->deps), past->at, &past->count);
    CHECK(e == ERR_OK);
    return ERR_OK;
}

/* Of its last message.  It rises along the stream, whatever the rows say. */
static uint64_t
stamp_of(const struct proof *p)
{
    uint64_t stamp = row_stamp(&p->said);
    uint64_t end   = p->above.stream != 0 ? p->above.lamport_first - 1 : p->stream.stamp;
    bool     last  = p->above.stream == 0;
    uint64_t begin = p->below.stream != 0 ? row_stamp(&p->below) : p->stream.floor_stamp;
    return last || stamp <= begin || stamp > end ? end : stamp;
}

static struct batch *
gap_with(const struct proof *p, const struct vector *past, struct str origin)
{
    size_t        deps_n = past->count * sizeof(struct mark);
    struct batch *b      = blob_new(sizeof *b + deps_n + origin.n);
    struct mark  *deps   = (struct mark *)(void *)(b + 1);
    uint8_t      *text   = (uint8_t *)(deps + past->count);
    if (deps_n > 0)
        memcpy(deps, past->at, deps_n);
    if (origin.n > 0)
        memcpy(text, origin.p, origin.n);
    *b = (struct batch){.stream        = p->said.stream,
                        .first         = p->said.first,
                        .gap_last      = p->said.last,
                        .chain         = p->said.chain,
                        .lamport_first = stamp_of(p),
                        .wall          = p->said.received,
                        .origin        = {text, origin.n},
                        .deps          = deps,
                        .deps_count    = past->count};
    return b;
}

static enum err
make_gap(struct proof *p, struct batch **out)
{
    struct vector past = {0};
    buf_reset(&p->r->bytes);
    enum err   e      = read_origin(p->r, p->at.stream, &p->r->bytes);
    struct str origin = buf_str(&p->r->bytes);
    if (e == ERR_OK && (origin.n == 0 || origin.n > UINT8_MAX))
        origin = STR("unknown:0"); /* a gap has one */
    if (e == ERR_OK)
        e = p->said.is_gap ? old_deps(p, &past) : find_past(p, &past);
    if (e == ERR_OK)
        *out = gap_with(p, &past, origin);
    mem_free(past.at);
    return e;
}

enum err
prove_batch(struct store_reader *r, uint64_t lsn, struct mark at, struct batch_row *row,
            struct batch **out)
{
    struct proof p = {.r = r, .at = at, .lsn = lsn};
    buf_init(&p.deps, 0);
    *out       = NULL;
    enum err e = gather(&p);
    if (e == ERR_OK)
        e = prove(&p, out);
    if (e == ERR_OK) {
        *row = p.own;
    } else if (e == ERR_CORRUPT) {
        e    = make_gap(&p, out);
        *row = p.said;
    }
    buf_fini(&p.deps);
    return e;
}
