#include "store/store_private.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "store/store_marks.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- streams ---- */

static bool
is_stream(const void *value, const void *key)
{
    return ((const struct stream *)value)->stream == *(const uint64_t *)key;
}

/* A stream is a random number: its own hash. */
struct stream *
streams_find(const struct streams *all, uint64_t stream)
{
    return map_find(&all->by_id, stream, is_stream, &stream);
}

struct stream *
streams_add(struct streams *all, uint64_t stream)
{
    struct stream *st = mem_new(sizeof *st);
    st->stream        = stream;
    map_add(&all->by_id, stream, st);
    return st;
}

void
streams_fini(struct streams *all)
{
    size_t at = 0;
    for (struct stream *st; (st = map_next(&all->by_id, &at));)
        mem_free(st);
    map_fini(&all->by_id);
    mem_free(all->dirty);
    *all = (struct streams){0};
}

static void
touch(struct streams *all, struct stream *st)
{
    if (st->is_dirty)
        return;
    st->is_dirty = true;
    if (all->dirty_count == all->dirty_cap) {
        all->dirty_cap = all->dirty_cap > 0 ? all->dirty_cap * 2 : 16;
        all->dirty     = mem_resize(all->dirty, all->dirty_cap * sizeof(struct stream *));
    }
    all->dirty[all->dirty_count++] = st;
}

static enum err
write_streams(struct store *s)
{
    sqlite3_stmt *q = s->sql[SQL_STREAM];
    enum err      e = ERR_OK;
    for (uint32_t i = 0; i < s->streams.dirty_count && e == ERR_OK; i++) {
        struct stream *st = s->streams.dirty[i];
        sql_bind_u64(q, 1, st->stream);
        sql_bind_text(q, 2, st->origin);
        sql_bind_u64(q, 3, st->head);
        sql_bind_blob(q, 4, st->chain.b, sizeof st->chain.b);
        sql_bind_u64(q, 5, st->stamp);
        sql_bind_u64(q, 6, st->lsn);
        sql_bind_u64(q, 7, (uint64_t)st->received.ms);
        e            = sql_run(s->db, q);
        st->origin   = (struct str){0};
        st->is_dirty = false;
    }
    s->streams.dirty_count = 0;
    return e;
}

/* ---- batches ---- */

static enum err
topic_of(struct store *s, struct str name, struct topic **out)
{
    *out = topics_find(&s->topics, name);
    if (*out)
        return ERR_OK;
    *out            = topics_add(&s->topics, name);
    sqlite3_stmt *q = s->sql[SQL_TOPIC];
    sql_bind_u64(q, 1, (*out)->id);
    sql_bind_text(q, 2, name);
    return sql_run(s->db, q);
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
    enum err          err   = gone ? ERR_OK : topic_of(s, m->topic, &topic);
    if (err != ERR_OK)
        return err;
    sqlite3_stmt *q = s->sql[SQL_MESSAGE];
    sql_bind_u64(q, 1, e.lsn);
    sql_bind_u64(q, 3, e.mark.seq);
    sql_bind_u64(q, 4, e.lamport);
    sql_bind_u64(q, 7, (gone ? ROW_DIGEST_ONLY : 0) | (late ? ROW_LATE : 0));
    sql_bind_blob(q, 8, m->digest.b, sizeof m->digest.b);
    if (gone) {
        sqlite3_bind_null(q, 5);
        sqlite3_bind_null(q, 9);
        sqlite3_bind_null(q, 10);
    } else {
        sql_bind_u64(q, 5, topic->id);
        if (m->headers.n > 0)
            sql_bind_text(q, 9, m->headers);
        else
            sqlite3_bind_null(q, 9);
        sql_bind_blob(q, 10, m->body.p, m->body.n);
    }
    err = sql_run(s->db, q);
    if (err != ERR_OK)
        return err;
    s->lsn = e.lsn;
    segment_add(&s->segment, topic, &e);
    if (topic)
        topics_count(topic, &e);
    return ERR_OK;
}

static enum err
append_row(struct store *s, const struct commit *c, struct wall received)
{
    const struct batch *b = c->batch;
    sqlite3_stmt       *q = s->sql[SQL_BATCH];
    buf_reset(&s->scratch);
    marks_encode(&s->scratch, b->deps, b->deps_count);
    sql_bind_u64(q, 1, b->stream);
    sql_bind_u64(q, 2, b->first);
    sql_bind_u64(q, 3, batch_last(b));
    sql_bind_u64(q, 4, s->lsn + 1);
    sql_bind_u64(q, 5, b->lamport_first);
    sql_bind_u64(q, 6, (uint64_t)b->wall.ms);
    sql_bind_u64(q, 7, (uint64_t)received.ms);
    sql_bind_u64(q, 8, c->late ? ROW_LATE : 0);
    sql_bind_blob(q, 9, b->prev.b, sizeof b->prev.b);
    sql_bind_blob(q, 10, b->chain.b, sizeof b->chain.b);
    sql_bind_blob(q, 11, buf_str(&s->scratch).p, buf_str(&s->scratch).n);
    return sql_run(s->db, q);
}

static enum err
append_batch(struct store *s, const struct commit *c, struct wall received)
{
    const struct batch *b  = c->batch;
    struct stream      *st = streams_find(&s->streams, b->stream);
    if (!st) {
        st         = streams_add(&s->streams, b->stream);
        st->origin = b->origin;
    }
    CHECK(b->first == st->head + 1); /* the store rule: core's promise */
    enum err e = append_row(s, c, received);
    sql_bind_u64(s->sql[SQL_MESSAGE], 2, b->stream);
    sql_bind_u64(s->sql[SQL_MESSAGE], 6, (uint64_t)b->wall.ms);
    for (uint32_t i = 0; i < b->count && e == ERR_OK; i++)
        e = append_message(s, b, i, c->late);
    if (e != ERR_OK)
        return e;
    st->head     = batch_last(b);
    st->stamp    = b->lamport_first + b->count - 1;
    st->chain    = b->chain;
    st->lsn      = s->lsn;
    st->received = received;
    touch(&s->streams, st);
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

enum { PEER_TEXT_BYTES = INET6_ADDRSTRLEN + 9 };

static void
peer_text(const struct addr *a, char out[PEER_TEXT_BYTES])
{
    char        ip[INET6_ADDRSTRLEN] = "";
    const char *form                 = a->family == 6 ? "[%s]:%u" : "%s:%u";
    inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->ip, ip, sizeof ip);
    snprintf(out, PEER_TEXT_BYTES, form, ip, a->port);
}

static enum err
write_members(struct store *s, const struct member_list *list)
{
    sqlite3_stmt *q = s->sql[SQL_PEER];
    enum err      e = sql_run(s->db, s->sql[SQL_PEERS_CLEAR]);
    for (uint32_t i = 0; i < list->count && e == ERR_OK; i++) {
        const struct member_info *m = &list->at[i];
        char                      text[PEER_TEXT_BYTES];
        peer_text(&m->addr, text);
        sql_bind_text(q, 1, str_of(text));
        sql_bind_u64(q, 2, m->addr.family);
        sql_bind_blob(q, 3, m->addr.ip, m->addr.family == 6 ? 16 : 4);
        sql_bind_u64(q, 4, m->addr.port);
        sql_bind_text(q, 5, m->host);
        sql_bind_u64(q, 6, m->version);
        sql_bind_u64(q, 7, m->nonce);
        sql_bind_u64(q, 8, m->flags);
        e = sql_run(s->db, q);
    }
    return e;
}

static enum err
write_frozen(struct store *s, uint64_t stream)
{
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
        return write_members(s, c->members);
    case COMMIT_FROZEN: /* its row may not be written yet */
        e = write_streams(s);
        return e == ERR_OK ? write_frozen(s, c->stream) : e;
    case COMMIT_PROBE:
        return sql_meta_put(s, "probe", ++s->probes);
    case COMMIT_WAIVED:
    case COMMIT_LATEST:
    case COMMIT_REPAIR:
    case COMMIT_KNOWN:
        return ERR_OK;
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
        e = sql_run(s->db, s->sql[SQL_COMMIT]);
    if (e == ERR_OK)
        return ERR_OK;
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

static bool
wants_room(const struct commit *commit, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (commit[i].kind == COMMIT_BATCH || commit[i].kind == COMMIT_GAPS ||
            commit[i].kind == COMMIT_PROBE)
            return true;
    return false;
}

static enum err
transact(struct store *s, const struct commit *commit, uint32_t count, struct wall received,
         struct commit_result *result)
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
    if (grows)
        store_look(s);
    if (grows && !s->disk.has_reserve) {
        s->is_refusing = true; /* store_look() has said why */
        return ERR_FULL;
    }
    enum err e = commit_begin(s);
    for (uint32_t i = 0; i < count && e == ERR_OK; i++) {
        result[i].lsn_first = s->lsn + 1;
        e                   = write_one(s, &commit[i], received);
    }
    if (e == ERR_OK)
        e = write_streams(s);
    if (e == ERR_OK && s->lsn - s->topics.lsn >= 300000)
        e = topics_write(s);
    return commit_end(s, e);
}

static enum err
probe(struct store *s, const struct commit *commit, struct wall received,
      struct commit_result *result)
{
    enum err e = s->is_loaded ? ERR_OK : load_state(s);
    if (e == ERR_OK)
        e = transact(s, commit, 1, received, result);
    s->is_refusing = e != ERR_OK;
    return e;
}

void
store_commit(struct store *s, const struct commit *commit, uint32_t count, struct wall received,
             struct commit_result *result)
{
    uint32_t i = 0;
    for (; i < count && s->is_refusing; i++) {
        result[i] = (struct commit_result){.err = ERR_FULL};
        if (commit[i].kind == COMMIT_PROBE)
            result[i].err = probe(s, &commit[i], received, &result[i]);
    }
    if (i == count)
        return;
    enum err e = transact(s, commit + i, count - i, received, result + i);
    for (; i < count; i++)
        result[i].err = e;
    s->commits++;
    if (e == ERR_OK)
        tend_under_load(s);
    else if (!s->is_loaded && load_state(s) != ERR_OK)
        load_forget(s); /* the probe tries again */
}
