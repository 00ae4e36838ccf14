#include "store/store_private.h"

#include "base/check.h"
#include "base/trace.h"
#include "store/store_marks.h"
#include "store/store_room.h"
#include "store/store_step.h"

#include <string.h>
#include <sys/stat.h>

enum { LSNS_TO_COUNT = 300000 }; /* by then whatever waits has to wait for the topics' rows */

/* ---- batches ---- */

/* One row for all of it: seq is that of the last, there is no topic and no text. */
static enum err
append_gap(struct store *s, const struct batch *b)
{
    static const struct hash128 none;
    struct mark                 last = {b->stream, b->gap_last};
    struct entry                e    = {.lsn = s->lsn + 1, .mark = last, .lamport = batch_stamp(b)};
    sqlite3_stmt               *q    = s->sql[SQL_MESSAGE];
    sql_bind_u64(q, 1, e.lsn);
    sql_bind_u64(q, 3, last.seq);
    sql_bind_u64(q, 4, e.lamport);
    sqlite3_bind_null(q, 5);
    sql_bind_u64(q, 7, ROW_GAP);
    sql_bind_blob(q, 8, none.b, sizeof none.b);
    sqlite3_bind_null(q, 9);
    sqlite3_bind_null(q, 10);
    enum err err = sql_run(s->db, q);
    if (err != ERR_OK)
        return err;
    s->lsn = e.lsn;
    segment_add(&s->segment, NULL, &e);
    return ERR_OK;
}

void
commit_bind_text(sqlite3_stmt *q, const struct msg *m, const struct topic *topic)
{
    sql_bind_blob(q, 8, m->digest.b, sizeof m->digest.b);
    if (!topic) {
        sqlite3_bind_null(q, 5);
        sqlite3_bind_null(q, 9);
        sqlite3_bind_null(q, 10);
        return;
    }
    sql_bind_u64(q, 5, topic->id);
    if (m->headers.n > 0)
        sql_bind_text(q, 9, m->headers);
    else
        sqlite3_bind_null(q, 9);
    sql_bind_blob(q, 10, m->body.p, m->body.n);
}

/* Everything but what all messages of a batch share. */
static enum err
append_message(struct store *s, const struct batch *b, uint32_t i, bool late)
{
    const struct msg *m     = &b->msg[i];
    bool              gone  = m->flags & MSG_DIGEST_ONLY;
    struct mark       mark  = {b->stream, b->first + i};
    struct entry      e     = {.lsn = s->lsn + 1, .mark = mark, .lamport = b->lamport_first + i};
    struct topic     *topic = NULL;
    enum err          err   = gone ? ERR_OK : topics_of(s, m->topic, &topic);
    if (err != ERR_OK)
        return err;
    sqlite3_stmt *q = s->sql[SQL_MESSAGE];
    sql_bind_u64(q, 1, e.lsn);
    sql_bind_u64(q, 3, e.mark.seq);
    sql_bind_u64(q, 4, e.lamport);
    sql_bind_u64(q, 7, (gone ? ROW_DIGEST_ONLY : 0) | (late ? ROW_LATE : 0));
    commit_bind_text(q, m, topic);
    err = sql_run(s->db, q);
    if (err != ERR_OK)
        return err;
    s->lsn = e.lsn;
    segment_add(&s->segment, topic, &e);
    if (topic)
        topics_count(topic, &e);
    return ERR_OK;
}

void
commit_bind_batch(struct store *s, sqlite3_stmt *q, const struct batch *b)
{
    buf_reset(&s->scratch);
    marks_encode(&s->scratch, b->deps, b->deps_count);
    sql_bind_u64(q, 1, b->stream);
    sql_bind_u64(q, 2, b->first);
    sql_bind_u64(q, 3, batch_last(b));
    sql_bind_u64(q, 5, b->lamport_first);
    sql_bind_u64(q, 6, (uint64_t)b->wall.ms);
    sql_bind_blob(q, 9, b->prev.b, sizeof b->prev.b);
    sql_bind_blob(q, 10, b->chain.b, sizeof b->chain.b);
    sql_bind_blob(q, 11, buf_str(&s->scratch).p, buf_str(&s->scratch).n);
}

static enum err
append_row(struct store *s, const struct commit *c, struct wall received)
{
    sqlite3_stmt *q = s->sql[SQL_BATCH];
    commit_bind_batch(s, q, c->batch);
    sql_bind_u64(q, 4, s->lsn + 1);
    sql_bind_u64(q, 7, (uint64_t)received.ms);
    sql_bind_u64(q, 8, (c->late ? ROW_LATE : 0) | (batch_is_gap(c->batch) ? ROW_GAP : 0));
    return sql_run(s->db, q);
}

static enum err
append_batch(struct store *s, const struct commit *c, struct wall received)
{
    const struct batch *b  = c->batch;
    struct stream      *st = streams_find(&s->streams, b->stream);
    if (!st)
        st = streams_add(&s->streams, b->stream);
    CHECK(b->first == st->head + 1); /* the store rule: core's promise */
    enum err e = append_row(s, c, received);
    sql_bind_u64(s->sql[SQL_MESSAGE], 2, b->stream);
    sql_bind_u64(s->sql[SQL_MESSAGE], 6, (uint64_t)b->wall.ms);
    if (e == ERR_OK && batch_is_gap(b))
        e = append_gap(s, b);
    for (uint32_t i = 0; i < b->count && e == ERR_OK; i++)
        e = append_message(s, b, i, c->late);
    if (e != ERR_OK)
        return e;
    streams_append(s, st, b, received);
    return segment_close(s);
}

static enum err
append_gaps(struct store *s, const struct gap_list *gaps, struct wall received)
{
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < gaps->count && e == ERR_OK; i++)
        e = append_batch(s, &(struct commit){.kind = COMMIT_BATCH, .batch = gaps->at[i]}, received);
    return e;
}

/* ---- the rest ---- */

static enum err
write_election(struct store *s, const struct commit *c)
{
    const struct token *t = &c->token;
    const struct {
        const char *name;
        uint64_t    value;
    } row[] = {
        {"epoch", c->epoch},          {"token_epoch", t->epoch}, {"token_family", t->addr.family},
        {"token_port", t->addr.port}, {"token_nonce", t->nonce},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        enum err e = sql_meta_put(s, row[i].name, row[i].value);
        if (e != ERR_OK)
            return e;
    }
    sqlite3_stmt *q = s->sql[SQL_META];
    sql_bind_text(q, 1, STR("token_ip"));
    sql_bind_blob(q, 2, t->addr.ip, sizeof t->addr.ip);
    return sql_run(s->db, q);
}

static enum err
write_frozen(struct store *s, uint64_t stream)
{
    struct stream *st = streams_find(&s->streams, stream);
    if (st)
        st->is_frozen = true;
    sql_bind_u64(s->sql[SQL_FROZEN], 1, stream);
    return sql_run(s->db, s->sql[SQL_FROZEN]);
}

static enum err
write_one(struct store *s, const struct commit *c, struct wall received)
{
    enum err e;
    switch (c->kind) {
    case COMMIT_BATCH:
        return append_batch(s, c, received);
    case COMMIT_GAPS:
        return append_gaps(s, c->gaps, received);
    case COMMIT_ELECTION:
        return write_election(s, c);
    case COMMIT_MEMBERS:
        return peers_write(s, c->members);
    case COMMIT_FROZEN: /* its row may not be written yet */
        e = streams_write(s);
        return e == ERR_OK ? write_frozen(s, c->stream) : e;
    case COMMIT_PROBE:
        return sql_meta_put(s, "probe", ++s->probes);
    case COMMIT_WAIVED:
        return streams_waive(s, c->mark, received);
    case COMMIT_KNOWN:
        return peers_known(s, c->known);
    case COMMIT_LATEST:
        return latest_take(s, c->batch);
    case COMMIT_REPAIR:
        return repair_batch(s, c->batch, received);
    }
    return ERR_INVALID;
}

/* ---- transactions ---- */

enum err
commit_begin(struct store *s)
{
    return sql_run(s->db, s->sql[SQL_BEGIN]);
}

enum err
commit_end(struct store *s, enum err e)
{
    if (e == ERR_OK)
        e = room_hold(s);
    if (e == ERR_OK)
        e = sql_run(s->db, s->sql[SQL_COMMIT]);
    if (e == ERR_OK)
        return ERR_OK;
    if (e == ERR_CORRUPT)
        s->disk.is_corrupt = true;
    /* After some errors SQLite has rolled back by itself. */
    if (!sqlite3_get_autocommit(s->db)) {
        enum err undone = sql_run(s->db, s->sql[SQL_ROLLBACK]);
        CHECK(undone == ERR_OK || sqlite3_get_autocommit(s->db));
    }
    s->is_refusing = true;
    s->is_loaded   = false; /* memory holds what was undone */
    return e == ERR_FULL ? ERR_FULL : ERR_IO;
}

/* Somebody may remove or replace the file under us.  SQLite would go on writing to what
 * is open, and all that is acknowledged from then on would be gone with the process. */
static bool
is_in_place(const struct store *s)
{
    struct stat st;
    return stat(s->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode;
}

/* The others are small, and an election or a vector has to go on while the disk is full. */
static bool
wants_room(const struct commit *commit, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (commit[i].batch || commit[i].gaps || commit[i].kind == COMMIT_PROBE)
            return true;
    return false;
}

static uint64_t
batch_row_bytes(const struct batch *b)
{
    enum { ROW_BYTES = 200 };
    uint32_t rows  = 1 + (batch_is_gap(b) ? 1 : b->count);
    uint64_t bytes = (uint64_t)rows * ROW_BYTES + b->deps_count * sizeof *b->deps;
    for (uint32_t i = 0; i < b->count; i++)
        bytes += b->msg[i].headers.n + b->msg[i].body.n;
    return bytes;
}

static uint64_t
bytes_of(const struct commit *commit, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct gap_list *gaps = commit[i].gaps;
        if (commit[i].batch)
            bytes += batch_row_bytes(commit[i].batch);
        for (uint32_t k = 0; gaps && k < gaps->count; k++)
            bytes += batch_row_bytes(gaps->at[k]);
    }
    return bytes;
}

/* What a WAL that was copied takes of the disk counts when it is needed. */
static bool
has_room_for(struct store *s, const struct commit *commit, uint32_t count)
{
    uint64_t bytes = bytes_of(commit, count);
    store_look(s);
    if (!s->disk.has_reserve || !room_takes(s, bytes)) {
        tend_cut_wal(s);
        store_look(s);
    }
    room_for_group(s, bytes);
    return s->disk.has_reserve && room_takes(s, bytes);
}

/* What goes with a group: nothing, or a step of retention. */
struct rider {
    const struct retention *policy;
    struct retained        *retained;
    bool                    went;
};

/* COMMIT, with the step behind all that the group wrote. */
static enum err
commit_with(struct store *s, struct rider *r, struct wall now)
{
    struct step *step = NULL;
    enum err     e    = retain_within(s, r->policy, now, &step);
    e                 = commit_end(s, e);
    r->retained       = retain_told(step, e);
    r->went           = e == ERR_OK;
    return e;
}

static enum err
transact(struct store *s, const struct commit *commit, uint32_t count, struct wall received,
         struct commit_result *result, struct rider *rider)
{
    bool grows = wants_room(commit, count);
    if (grows && !is_in_place(s)) {
        if (!s->is_refusing)
            tracef(
                TRACE_ERROR,
                "store: %s was removed or replaced while in use: nothing is stored any more; put "
                "it back, or start the broker again",
                s->path);
        s->is_refusing = true;
        return ERR_FULL;
    }
    if (grows && !has_room_for(s, commit, count)) {
        s->is_refusing = true; /* store_look() has said why */
        return ERR_FULL;
    }
    enum err e = commit_begin(s);
    for (uint32_t i = 0; i < count && e == ERR_OK; i++) {
        result[i].lsn_first = s->lsn + 1;
        e                   = write_one(s, &commit[i], received);
    }
    if (e == ERR_OK)
        e = streams_write(s);
    if (e == ERR_OK && topics_are_due(s, LSNS_TO_COUNT))
        e = topics_write(s);
    if (e == ERR_OK && rider && !s->wants_reload && !s->disk.is_scarce)
        return commit_with(s, rider, received);
    return commit_end(s, e);
}

static enum err
probe(struct store *s, const struct commit *commit, struct wall received,
      struct commit_result *result)
{
    enum err e = s->is_loaded ? ERR_OK : load_state(s);
    if (e == ERR_OK)
        e = transact(s, commit, 1, received, result, NULL);
    s->is_refusing = e != ERR_OK;
    return e;
}

static void
commit_all(struct store *s, const struct commit *commit, uint32_t count, struct wall received,
           struct commit_result *result, struct rider *rider)
{
    uint32_t i = 0;
    for (; i < count && s->is_refusing; i++) {
        result[i] = (struct commit_result){.err = ERR_FULL};
        if (commit[i].kind == COMMIT_PROBE)
            result[i].err = probe(s, &commit[i], received, &result[i]);
    }
    if (i == count)
        return;
    enum err e = transact(s, commit + i, count - i, received, result + i, rider);
    for (; i < count; i++)
        result[i].err = e;
    s->commits++;
    if (s->wants_reload)
        s->is_loaded = s->wants_reload = false;
    if (e == ERR_OK && s->is_loaded)
        tend_under_load(s);
    else if (!s->is_loaded && load_state(s) != ERR_OK) {
        load_forget(s); /* the probe tries again */
        s->is_refusing = true;
    }
}

void
store_commit(struct store *s, const struct commit *commit, uint32_t count, struct wall received,
             struct commit_result *result)
{
    commit_all(s, commit, count, received, result, NULL);
}

bool
store_commit_retain(struct store *s, const struct commit *commit, uint32_t count, struct wall now,
                    struct commit_result *result, const struct retention *policy,
                    struct retained **out)
{
    struct rider rider = {.policy = policy};
    commit_all(s, commit, count, now, result, &rider);
    *out = rider.retained;
    return rider.went;
}
