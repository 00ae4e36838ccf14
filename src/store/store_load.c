#include "store/store_start.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "store/store_marks.h"

#include <string.h>

/* Calls `take` for each row; it answers CORRUPT to stop. */
typedef enum err row_taker(struct store *s, sqlite3_stmt *q);

static enum err
each_row(struct store *s, const char *text, uint64_t from, row_taker *take)
{
    sqlite3_stmt *q    = NULL;
    enum err      e    = sql_prepare(s->db, text, &q);
    enum err      took = ERR_OK;
    if (e == ERR_OK) {
        if (sqlite3_bind_parameter_count(q) > 0)
            sql_bind_u64(q, 1, from);
        while (took == ERR_OK && sql_next(s->db, q, &e))
            took = take(s, q);
    }
    sqlite3_finalize(q);
    return e == ERR_OK ? took : e;
}

static enum err
one_number(struct store *s, const char *text, uint64_t *value)
{
    sqlite3_stmt *q = NULL;
    enum err      e = sql_prepare(s->db, text, &q);
    *value          = 0;
    if (e == ERR_OK)
        while (sql_next(s->db, q, &e))
            *value = sql_u64(q, 0);
    sqlite3_finalize(q);
    return e;
}

/* ---- heads, topics, the open segment ---- */

static enum err
take_head(struct store *s, sqlite3_stmt *q)
{
    struct stream *st = streams_add(&s->streams, sql_u64(q, 0));
    st->head          = sql_u64(q, 1);
    st->stamp         = sql_u64(q, 3);
    st->lsn           = sql_u64(q, 4);
    st->received.ms   = sqlite3_column_int64(q, 5);
    st->floor         = sql_u64(q, 6);
    st->floor_stamp   = sql_u64(q, 8);
    st->is_retired    = sql_u64(q, 10) & STREAM_RETIRED;
    st->is_frozen     = sql_u64(q, 10) & STREAM_FROZEN;
    s->streams.retired += st->is_retired;
    if (st->lsn > s->lsn)
        s->lsn = st->lsn;
    if (!sql_hash(q, 2, &st->chain) || st->floor > st->head ||
        (st->floor > 0 && !sql_hash(q, 7, &st->floor_chain)))
        return ERR_CORRUPT;
    return marks_read(sql_bytes(q, 9), &st->floor_owed);
}

static enum err
take_topic(struct store *s, sqlite3_stmt *q)
{
    struct str name = sql_bytes(q, 1);
    if (sql_u64(q, 0) != s->topics.count + 1 || name.n > TOPIC_BYTES_MAX)
        return ERR_CORRUPT;
    struct topic *t = topics_add(&s->topics, name);
    t->count        = sql_u64(q, 2);
    t->lsn          = sql_u64(q, 3);
    t->lamport      = sql_u64(q, 4);
    t->mark         = (struct mark){sql_u64(q, 5), sql_u64(q, 6)};
    t->removed = t->removed_row = sql_u64(q, 7);
    return ERR_OK;
}

/* What a step of retention took, since the rows of topics were written. */
static enum err
take_removal(struct store *s, sqlite3_stmt *q)
{
    struct str blob = sql_bytes(q, 0);
    uint64_t   id   = 0, step, lost;
    s->topics.removals++;
    for (size_t at = 0, n; at < blob.n; at += n) {
        n = varint_get(str_cut(blob, at, blob.n), &step);
        if (n == 0 || step > s->topics.count)
            return ERR_CORRUPT;
        at += n;
        id += step;
        n = varint_get(str_cut(blob, at, blob.n), &lost);
        if (n == 0 || id == 0 || id > s->topics.count)
            return ERR_CORRUPT;
        s->topics.at[id - 1]->removed += lost;
        s->topics.at[id - 1]->is_dirty = true;
    }
    return ERR_OK;
}

/* A message above the snapshot of topics, or above the last segment, or both. */
static enum err
take_message(struct store *s, sqlite3_stmt *q)
{
    uint64_t      topic = sql_u64(q, 4);
    struct topic *t     = NULL;
    struct mark   mark  = {sql_u64(q, 1), sql_u64(q, 2)};
    struct entry  e     = {.lsn = sql_u64(q, 0), .mark = mark, .lamport = sql_u64(q, 3)};
    if (topic > 0 && topic <= s->topics.count) /* else it is damaged: every reader finds out */
        t = s->topics.at[topic - 1];
    if (t && e.lsn > s->topics.lsn)
        topics_count(t, &e);
    if (e.lsn >= s->segment.lsn_first)
        segment_add(&s->segment, t, &e);
    return ERR_OK;
}

void
load_forget(struct store *s)
{
    streams_fini(&s->streams);
    topics_fini(&s->topics);
    segment_fini(&s->segment);
    s->lsn       = 0;
    s->is_loaded = false;
}

static enum err
load_numbers(struct store *s)
{
    uint64_t last = 0, in_segments = 0, first = 0, forgotten = 0;
    enum err e = each_row(s,
                          "SELECT stream, head, head_chain, head_stamp, head_lsn, head_ms, floor,"
                          " floor_chain, floor_stamp, floor_deps, flags FROM streams",
                          0, take_head);
    if (e == ERR_OK)
        e = one_number(s, "SELECT value FROM meta WHERE name = 'stamp'", &s->stamp);
    if (e == ERR_OK)
        e = one_number(s, "SELECT value FROM meta WHERE name = 'lsn'", &forgotten);
    if (forgotten > s->lsn) /* of a stream whose row is gone */
        s->lsn = forgotten;
    if (e == ERR_OK)
        e = one_number(s, "SELECT max(lsn) FROM messages", &last);
    /* Retention may have taken all messages, but none lies above the highest head. */
    if (e == ERR_OK && last > s->lsn)
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        e = one_number(s, "SELECT min(lsn) FROM messages", &first);
    if (e == ERR_OK)
        e = one_number(s, "SELECT value FROM meta WHERE name = 'topics_lsn'", &s->topics.lsn);
    if (e == ERR_OK)
        e = one_number(s, "SELECT value FROM meta WHERE name = 'probe'", &s->probes);
    if (e == ERR_OK)
        e = one_number(s, "SELECT lsn_last FROM segments ORDER BY lsn_first DESC LIMIT 1",
                       &in_segments);
    if (e == ERR_OK && (in_segments > s->lsn || s->topics.lsn > s->lsn))
        e = ERR_CORRUPT;
    s->lsn_first = last > 0 ? first : s->lsn + 1;
    segment_restart(&s->segment, in_segments < s->lsn_first ? s->lsn_first : in_segments + 1);
    return e;
}

enum err
load_state(struct store *s)
{
    load_forget(s);
    enum err e    = load_numbers(s);
    uint64_t from = s->topics.lsn + 1;
    if (from > s->segment.lsn_first)
        from = s->segment.lsn_first;
    if (e == ERR_OK)
        e = each_row(s,
                     "SELECT id, name, count, lsn, lamport, stream, seq, removed FROM topics"
                     " ORDER BY id",
                     0, take_topic);
    if (e == ERR_OK)
        e = each_row(s, "SELECT topics FROM removals", 0, take_removal);
    if (e == ERR_OK)
        e = each_row(s, "SELECT lsn, stream, seq, lamport, topic FROM messages WHERE lsn >= ?1",
                     from, take_message);
    s->is_loaded = e == ERR_OK;
    if (e == ERR_CORRUPT)
        tracef(TRACE_ERROR, "store: %s contradicts itself", s->path);
    return e;
}

/* ---- what core is told ---- */

/* Texts are offsets into s->texts until all of them are there. */
static struct str
keep_text(struct store *s, struct str text)
{
    struct str at = {(const uint8_t *)(uintptr_t)s->texts.n, text.n};
    enum err   e  = buf_add(&s->texts, text);
    CHECK(e == ERR_OK);
    return at;
}

static struct str
settled(const struct store *s, struct str at)
{
    return (struct str){buf_str(&s->texts).p + (uintptr_t)at.p, at.n};
}

/* The arrays of recovered are const to everybody but their maker. */
static struct stream_state *
state_at(const struct recovered *r, uint32_t i)
{
    return (struct stream_state *)(uintptr_t)&r->stream[i];
}

static struct member_info *
member_at(const struct recovered *r, uint32_t i)
{
    return (struct member_info *)(uintptr_t)&r->member[i];
}

static enum err
take_stream(struct store *s, sqlite3_stmt *q)
{
    struct recovered    *r    = &s->recovered;
    const struct stream *head = streams_find(&s->streams, sql_u64(q, 0));
    if (!head || head->stream == 0)
        return ERR_CORRUPT;
    struct stream_state st = {.stream      = head->stream,
                              .head        = head->head,
                              .chain       = head->chain,
                              .stamp       = head->stamp,
                              .floor       = head->floor,
                              .floor_chain = head->floor_chain,
                              .floor_stamp = head->floor_stamp,
                              .came        = head->received,
                              .retired     = head->is_retired,
                              .origin      = keep_text(s, sql_bytes(q, 1)),
                              .frozen      = sql_u64(q, 2) & STREAM_FROZEN,
                              .waived      = sql_u64(q, 3)};
    if (st.retired && s->retired_count == RETIRED_MAX)
        return ERR_OK;
    s->retired_count += st.retired;
    if (r->stream_count - s->retired_count == STREAMS_MAX)
        return ERR_CORRUPT;
    if (head->floor_owed) {
        blob_keep(head->floor_owed);
        st.floor_owed = head->floor_owed;
    }
    if (head->floor_owed && st.floor == st.head) {
        blob_keep(head->floor_owed);
        st.owed = head->floor_owed;
    }
    if (r->stream_count % 256 == 0)
        r->stream = mem_resize(state_at(r, 0), (r->stream_count + 256) * sizeof st);
    *state_at(r, r->stream_count++) = st;
    if (st.stamp > r->stamp)
        r->stamp = st.stamp;
    return ERR_OK;
}

static struct stream_state *
find_state(const struct recovered *r, uint64_t stream)
{
    uint32_t low = 0, high = r->stream_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (r->stream[mid].stream < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low < r->stream_count && r->stream[low].stream == stream ? state_at(r, low) : NULL;
}

/* A gap at the head, with messages of its stream before it: what it owes is in its batch. */
static enum err
take_owed(struct store *s, sqlite3_stmt *q)
{
    struct stream_state *st   = find_state(&s->recovered, sql_u64(q, 0));
    struct mark_list    *owed = NULL;
    if (!st)
        return ERR_CORRUPT;
    enum err e = st->floor == st->head ? ERR_OK : marks_read(sql_bytes(q, 1), &owed);
    st->owed   = st->floor == st->head ? st->owed : owed;
    return e;
}

static enum err
take_gap(struct store *s, sqlite3_stmt *q)
{
    struct stream_state *st = find_state(&s->recovered, sql_u64(q, 0));
    if (st)
        st->gap = sql_u64(q, 1);
    return ERR_OK;
}

static enum err
take_member(struct store *s, sqlite3_stmt *q)
{
    struct recovered  *r  = &s->recovered;
    struct str         ip = sql_bytes(q, 1);
    struct member_info m  = {.host    = keep_text(s, sql_bytes(q, 3)),
                             .version = sql_u64(q, 4),
                             .nonce   = sql_u64(q, 5),
                             .flags   = (uint8_t)sql_u64(q, 6)};
    m.addr.family         = (uint8_t)sql_u64(q, 0);
    m.addr.port           = (uint16_t)sql_u64(q, 2);
    if (ip.n != (m.addr.family == 6 ? 16 : 4) || r->member_count == MEMBERS_MAX + TOMBSTONES_MAX)
        return ERR_CORRUPT;
    memcpy(m.addr.ip, ip.p, ip.n);
    if (r->member_count % 16 == 0)
        r->member = mem_resize(member_at(r, 0), (r->member_count + 16) * sizeof m);
    *member_at(r, r->member_count++) = m;
    return ERR_OK;
}

static enum err
take_meta(struct store *s, sqlite3_stmt *q)
{
    struct recovered *r    = &s->recovered;
    struct str        name = sql_bytes(q, 0), ip;
    uint64_t          n    = sql_u64(q, 1);
    if (str_eq(name, STR("epoch")))
        r->epoch = n;
    else if (str_eq(name, STR("token_epoch")))
        r->token.epoch = n;
    else if (str_eq(name, STR("token_family")))
        r->token.addr.family = (uint8_t)n;
    else if (str_eq(name, STR("token_port")))
        r->token.addr.port = (uint16_t)n;
    else if (str_eq(name, STR("token_nonce")))
        r->token.nonce = n;
    else if (str_eq(name, STR("token_ip"))) {
        ip = sql_bytes(q, 1);
        if (ip.n != sizeof r->token.addr.ip)
            return ERR_CORRUPT;
        memcpy(r->token.addr.ip, ip.p, ip.n);
    }
    return ERR_OK;
}

void
load_recovered_fini(struct store *s)
{
    struct recovered *r = &s->recovered;
    for (uint32_t i = 0; i < r->stream_count; i++) {
        blob_drop((void *)(uintptr_t)r->stream[i].owed);
        blob_drop((void *)(uintptr_t)r->stream[i].floor_owed);
    }
    mem_free(state_at(r, 0));
    mem_free(member_at(r, 0));
    buf_reset(&s->texts);
    *r               = (struct recovered){0};
    s->retired_count = 0;
}

enum err
load_recovered(struct store *s)
{
    struct recovered *r = &s->recovered;
    load_recovered_fini(s); /* of an attempt that found the file corrupt */
    *r         = (struct recovered){.lsn = s->lsn, .lsn_first = s->lsn_first, .stamp = s->stamp};
    enum err e = each_row(s, "SELECT stream, origin, flags, waived FROM streams ORDER BY stream", 0,
                          take_stream);
    if (e == ERR_OK)
        e = each_row(s,
                     "SELECT s.stream, b.deps FROM streams s JOIN batches b ON b.stream = s.stream"
                     " AND b.first = (SELECT max(first) FROM batches WHERE stream = s.stream)"
                     " WHERE b.flags & 4",
                     0, take_owed);
    if (e == ERR_OK)
        e = each_row(s,
                     "SELECT stream, max(last) FROM batches WHERE flags & 4 <> 0 GROUP BY stream",
                     0, take_gap);
    if (e == ERR_OK)
        e = each_row(s,
                     "SELECT family, ip, port, host, version, nonce, flags FROM peers"
                     " ORDER BY family, ip, port",
                     0, take_member);
    if (e == ERR_OK)
        e = each_row(s, "SELECT name, value FROM meta", 0, take_meta);
    for (uint32_t i = 0; i < r->stream_count; i++)
        state_at(r, i)->origin = settled(s, r->stream[i].origin);
    for (uint32_t i = 0; i < r->member_count; i++)
        member_at(r, i)->host = settled(s, r->member[i].host);
    return e;
}
