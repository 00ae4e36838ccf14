/* store_retain.c - what goes off the front of the log.
 *
 * A step takes whole batches while they are too old or the file is too large, in one
 * transaction, and memory follows only once that is on disk: when it fails nothing happened.
 * Mostly that is the transaction of a group of commits, whose sync is the step's too.
 * What was taken is below topics.lsn, so that a start counts no message that is gone. */
#include "store/store_front.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "store/store_marks.h"
#include "store/store_room.h"
#include "store/store_step.h"

#include <stdlib.h>
#include <string.h>

enum {
    STEP_WORK    = 2048, /* in a step, unless one batch costs more: 2 ms, as measured */
    STEP_WORK_UP = 4096, /* the same while more than that comes between two steps */
    STEP_TEXT    = 512,  /* bytes of texts that cost as much as a message does */
    STEP_BATCH   = 6,
    STEP_PAGE    = 4, /* of a body that fills pages of its own */
    STEP_KEPT    = 4,
    STEP_STREAMS = 256, /* that go in a step */
    ROW_BYTES    = 60,  /* of a message beside its texts */
    BATCH_BYTES  = 120,
    REMOVALS_MAX = 64, /* rows of removals: then they become one */
};

struct floor_change {
    struct stream      *of;
    struct stream_floor to; /* its marks are ours until they are given to `retained` */
};

struct step {
    struct store           *s;
    const struct retention *policy;
    struct wall             now;
    int64_t                 too_old;     /* what counts from before that goes */
    uint64_t                over, freed; /* bytes to go, and those that went: roughly */
    uint64_t                next;        /* all below is taken */
    uint32_t                work, work_max;
    bool                    more, has_begun;
    bool                    is_carried; /* in the transaction of a group of commits, */
    bool                    is_lost;    /* ... which has to fail with the step */
    enum err                err;        /* of a carried one */
    bool                    is_careful; /* nothing is believed that rows do not agree on */

    struct floor_change *floor;
    uint32_t             floors, floors_cap;
    struct topic       **topic; /* that lost messages */
    uint32_t             topics, topics_cap;
    uint32_t             removals; /* rows, with that of this step */
    uint64_t             retired[STEP_STREAMS], forgotten[STEP_STREAMS];
    uint32_t             retired_count, forgotten_count;
    uint64_t             stamp;      /* highest of a stream that is forgotten */
    bool                 has_looked; /* at all streams; the next has to go then: */
    int64_t              due;
};

/* ---- what is due ---- */

static int64_t
before(struct wall now, uint64_t ms)
{
    return now.ms > INT64_MIN / 2 && ms < INT64_MAX / 2 ? now.ms - (int64_t)ms : INT64_MIN;
}

static int64_t
after(struct wall at, uint64_t ms)
{
    return at.ms < INT64_MAX / 2 && ms < INT64_MAX / 2 ? at.ms + (int64_t)ms : INT64_MAX;
}

static uint64_t
twice(uint64_t ms)
{
    return ms < UINT64_MAX / 2 ? 2 * ms : ms;
}

static enum err
bytes_over(struct store *s, uint64_t bytes, uint64_t *over)
{
    static const enum statement pragma[] = {SQL_PAGES, SQL_PAGES_FREE};
    uint64_t                    pages[2] = {0};
    enum err                    e        = ERR_OK;
    *over                                = 0;
    for (int i = 0; i < 2 && bytes > 0 && e == ERR_OK; i++)
        while (sql_next(s->db, s->sql[pragma[i]], &e))
            pages[i] = sql_u64(s->sql[pragma[i]], 0);
    uint64_t used = (pages[0] - pages[1]) * STORE_PAGE_BYTES;
    if (bytes > 0 && e == ERR_OK && used > bytes)
        *over = used - bytes;
    return e;
}

static bool
is_due(const struct step *t, const struct front *f)
{
    return t->freed < t->over || f->since < t->too_old;
}

/* ---- taking ---- */

static struct stream_floor *
floor_of(struct step *t, struct stream *st)
{
    if (st->change > 0)
        return &t->floor[st->change - 1].to;
    if (t->floors == t->floors_cap) {
        t->floors_cap = t->floors_cap > 0 ? t->floors_cap * 2 : 16;
        t->floor      = mem_resize(t->floor, t->floors_cap * sizeof *t->floor);
    }
    t->floor[t->floors] = (struct floor_change){.of = st, .to = {.stream = st->stream}};
    st->change          = ++t->floors;
    return &t->floor[t->floors - 1].to;
}

/* What a gap owes is owed from now on by the floor. */
static enum err
owed_of(struct store *s, const struct front *f, struct mark_list **owed)
{
    sqlite3_stmt *q = s->sql[SQL_FRONT_DEPS];
    enum err      e = ERR_OK, took = ERR_OK;
    blob_drop(*owed);
    *owed = NULL;
    if (!f->is_gap)
        return ERR_OK;
    sql_bind_u64(q, 1, f->stream);
    sql_bind_u64(q, 2, f->first);
    while (sql_next(s->db, q, &e))
        took = marks_read(sql_bytes(q, 0), owed);
    return e == ERR_OK ? took : e;
}

static enum err
raise_floor(struct step *t, const struct front *f)
{
    struct stream *st = streams_find(&t->s->streams, f->stream);
    if (f->stream == 0)
        return ERR_OK;
    if (!st || f->last > st->head)
        return t->is_careful ? ERR_OK : ERR_CORRUPT;
    if (f->last <= st->floor) /* a gap whose floor has jumped */
        return ERR_OK;
    struct stream_floor *to = floor_of(t, st);
    to->floor               = f->last;
    to->chain               = f->chain;
    to->stamp               = f->stamp;
    return owed_of(t->s, f, &to->owed);
}

static void
lose(struct step *t, struct topic *topic)
{
    if (topic->lost++ > 0)
        return;
    if (t->topics == t->topics_cap) {
        t->topics_cap = t->topics_cap > 0 ? t->topics_cap * 2 : 64;
        t->topic      = mem_resize(t->topic, t->topics_cap * sizeof(struct topic *));
    }
    t->topic[t->topics++] = topic;
}

/* In a file, where what does not fit into a page has pages of its own. */
static uint64_t
bytes_of(struct step *t, uint64_t texts)
{
    if (texts < STORE_PAGE_BYTES) {
        t->work += (uint32_t)(texts / STEP_TEXT);
        return ROW_BYTES + texts;
    }
    t->work += (uint32_t)(texts / STORE_PAGE_BYTES) * STEP_PAGE;
    return (texts / STORE_PAGE_BYTES + 1) * STORE_PAGE_BYTES;
}

static enum err
take_message(struct step *t, uint64_t lsn, uint64_t id, uint64_t seq, uint64_t texts)
{
    t->freed += bytes_of(t, texts);
    if (id == 0 || (t->is_careful && id > t->s->topics.count))
        return ERR_OK;
    if (id > t->s->topics.count)
        return ERR_CORRUPT;
    struct topic *topic = t->s->topics.at[id - 1];
    lose(t, topic);
    if (topic->lsn != lsn || topic->mark.seq != seq)
        return ERR_OK;
    t->work += STEP_KEPT + 2 * STEP_PAGE * (uint32_t)(texts / STORE_PAGE_BYTES); /* it is copied */
    return latest_keep(t->s, lsn);
}

static enum err
take_messages(struct step *t, const struct front *f)
{
    sqlite3_stmt *q = t->s->sql[SQL_FRONT_ROWS];
    enum err      e = ERR_OK, took = ERR_OK;
    uint64_t      n = 0;
    sql_bind_u64(q, 1, f->lsn);
    sql_bind_u64(q, 2, f->lsn + f->lsns - 1);
    for (; took == ERR_OK && sql_next(t->s->db, q, &e); n++) {
        struct mark mark = {sql_u64(q, 1), sql_u64(q, 2)};
        if (!t->is_careful && (mark.stream != f->stream || mark.seq != front_seq(f, n)))
            took = ERR_CORRUPT;
        if (took == ERR_OK)
            took = take_message(t, sql_u64(q, 0), sql_u64(q, 3), mark.seq,
                                sql_u64(q, 4) + sql_u64(q, 5));
    }
    sqlite3_reset(q);
    if (e == ERR_OK)
        e = took;
    return e == ERR_OK && !t->is_careful && n != f->lsns ? ERR_CORRUPT : e;
}

static enum err
take_batch(struct step *t, const struct front *f)
{
    sqlite3_stmt *q = t->s->sql[SQL_FRONT_DROP];
    enum err      e = take_messages(t, f);
    if (e == ERR_OK)
        e = raise_floor(t, f);
    if (e == ERR_OK) {
        sql_bind_u64(q, 1, f->stream);
        sql_bind_u64(q, 2, f->last);
        e = sql_run(t->s->db, q);
    }
    t->work += (uint32_t)f->lsns + STEP_BATCH;
    t->freed += BATCH_BYTES;
    t->next = f->lsn + f->lsns;
    return e;
}

/* So that a start need not count what is taken.  Commits that were refused stay refused, and
 * others do not begin to be. */
static enum err
count_topics(struct step *t)
{
    struct store *s            = t->s;
    bool          was_refusing = s->is_refusing;
    enum err      e            = t->is_carried ? topics_write(s) : topics_snapshot(s);
    t->is_lost                 = t->is_carried && e != ERR_OK;
    if (s->is_loaded)
        s->is_refusing = was_refusing;
    return e;
}

static enum err
begin(struct step *t)
{
    if (t->has_begun)
        return ERR_OK;
    enum err e   = sql_run(t->s->db, t->s->sql[t->is_carried ? SQL_SAVE : SQL_BEGIN]);
    t->has_begun = e == ERR_OK;
    return e;
}

/* After some errors SQLite has rolled all back by itself. */
static void
undo(struct step *t)
{
    struct store *s = t->s;
    if (!t->has_begun || sqlite3_get_autocommit(s->db)) {
        t->is_lost |= t->is_carried && sqlite3_get_autocommit(s->db);
        return;
    }
    enum err undone = sql_run(s->db, s->sql[t->is_carried ? SQL_SAVE_UNDO : SQL_ROLLBACK]);
    if (undone == ERR_OK && t->is_carried)
        undone = sql_run(s->db, s->sql[SQL_SAVE_END]);
    CHECK(undone == ERR_OK || t->is_carried || sqlite3_get_autocommit(s->db));
    t->is_lost |= undone != ERR_OK;
}

static enum err
take_front(struct step *t)
{
    struct front f;
    enum err     e;
    while ((e = front_look(t->s, t->next, t->is_careful, &f)) == ERR_OK && is_due(t, &f)) {
        bool is_counted = f.lsn + f.lsns - 1 <= t->s->topics.lsn;
        if (t->has_begun && (t->work + f.lsns > t->work_max || !is_counted)) {
            t->more = true;
            return ERR_OK;
        }
        if (!is_counted)
            e = count_topics(t);
        if (e == ERR_OK)
            e = begin(t);
        if (e == ERR_OK)
            e = take_batch(t, &f);
        if (e != ERR_OK)
            return e;
    }
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* ---- what goes with it ---- */

static enum err
drop_messages(struct step *t)
{
    sqlite3_stmt *q = t->s->sql[SQL_MESSAGES_DROP];
    sql_bind_u64(q, 1, t->next);
    return sql_run(t->s->db, q);
}

static uint64_t
floor_now(const struct step *t, uint64_t stream)
{
    const struct stream *st = streams_find(&t->s->streams, stream);
    if (!st)
        return 0;
    return st->change > 0 ? t->floor[st->change - 1].to.floor : st->floor;
}

/* What is owed above a floor and lies below another one is gone for everybody. */
static void
settle(const struct step *t, struct stream_floor *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; f->owed && i < f->owed->count; i++)
        if (floor_now(t, f->owed->at[i].stream) < f->owed->at[i].seq)
            f->owed->at[n++] = f->owed->at[i];
    if (f->owed)
        f->owed->count = n;
    if (f->owed && n == 0) {
        blob_drop(f->owed);
        f->owed = NULL;
    }
}

static enum err
write_floors(struct step *t)
{
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < t->floors && e == ERR_OK; i++) {
        settle(t, &t->floor[i].to);
        e = streams_write_floor(t->s, &t->floor[i].to);
    }
    return e;
}

static int
by_id(const void *a, const void *b)
{
    const struct topic *x = *(struct topic *const *)a, *y = *(struct topic *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void
put_removal(struct buf *out, uint64_t step, uint64_t lost)
{
    uint8_t *room;
    enum err e = buf_room(out, 2 * (size_t)VARINT_BYTES_MAX, &room);
    CHECK(e == ERR_OK);
    size_t n = varint_put(room, step);
    buf_grew(out, n + varint_put(room + n, lost));
}

/* What this step took. */
static void
put_removals(struct step *t, struct buf *out)
{
    uint32_t above = 0;
    qsort(t->topic, t->topics, sizeof(struct topic *), by_id);
    for (uint32_t i = 0; i < t->topics; above = t->topic[i++]->id)
        put_removal(out, t->topic[i]->id - above, t->topic[i]->lost);
}

/* And what all those before it did that rows of topics do not say. */
static void
put_all_removals(const struct topics *topics, struct buf *out)
{
    uint32_t above = 0;
    for (uint32_t i = 0; i < topics->count; i++) {
        const struct topic *topic = topics->at[i];
        uint64_t            lost  = topic->removed - topic->removed_row + topic->lost;
        if (lost == 0)
            continue;
        put_removal(out, topic->id - above, lost);
        above = topic->id;
    }
}

/* The rows of topics that lost something are far apart: to write them here would cost a page
 * each.  So what a step took is a row of its own, and now and then these become one. */
static enum err
write_removals(struct step *t)
{
    struct store *s      = t->s;
    bool          merges = s->topics.removals >= REMOVALS_MAX;
    sqlite3_stmt *q      = s->sql[SQL_REMOVAL];
    if (t->topics == 0)
        return ERR_OK;
    buf_reset(&s->scratch);
    if (merges)
        put_all_removals(&s->topics, &s->scratch);
    else
        put_removals(t, &s->scratch);
    enum err e = merges ? sql_run(s->db, s->sql[SQL_REMOVALS_CLEAR]) : ERR_OK;
    if (e != ERR_OK)
        return e;
    t->removals = merges ? 1 : s->topics.removals + 1;
    sql_bind_u64(q, 1, s->lsn_first);
    sql_bind_blob(q, 2, buf_str(&s->scratch).p, buf_str(&s->scratch).n);
    return sql_run(s->db, q);
}

/* ---- streams that go ---- */

static bool
is_expired(const struct step *t, const struct stream *st)
{
    uint64_t floor = st->change > 0 ? t->floor[st->change - 1].to.floor : st->floor;
    return st->head > 0 && floor == st->head;
}

/* Nothing of it ever came: all that is known is that it was waived.  It is not refused when it
 * comes after all, so it is forgotten without being retired before. */
static bool
is_unseen(const struct stream *st)
{
    return st->head == 0 && !st->is_frozen;
}

static enum err
forget(struct step *t, const struct stream *st)
{
    t->forgotten[t->forgotten_count++] = st->stream;
    t->stamp                           = st->stamp > t->stamp ? st->stamp : t->stamp;
    sql_bind_u64(t->s->sql[SQL_STREAM_DROP], 1, st->stream);
    return sql_run(t->s->db, t->s->sql[SQL_STREAM_DROP]);
}

static enum err
retire(struct step *t, struct stream *st)
{
    t->retired[t->retired_count++] = st->stream;
    return streams_write_flags(t->s, st->stream, STREAM_RETIRED, 0);
}

/* At its hour it retires, or is forgotten. */
static enum err
end_stream(struct step *t, struct stream *st, int64_t *due)
{
    if (t->retired_count == STEP_STREAMS || t->forgotten_count == STEP_STREAMS) {
        t->more = true;
        return ERR_OK;
    }
    enum err e = begin(t);
    if (e != ERR_OK)
        return e;
    if (st->is_retired || is_unseen(st))
        return forget(t, st);
    if (t->s->streams.retired + t->retired_count >= RETIRED_MAX)
        return ERR_OK;
    *due = after(st->received, twice(t->policy->retire_ms));
    return retire(t, st);
}

static enum err
judge_stream(struct step *t, struct stream *st)
{
    uint64_t ms = t->policy->retire_ms;
    if (!st->is_retired && !is_unseen(st) && !is_expired(t, st))
        return ERR_OK;
    int64_t  due = after(st->received, st->is_retired ? twice(ms) : ms);
    enum err e   = ERR_OK;
    if (t->now.ms > due) {
        due = INT64_MAX;
        e   = end_stream(t, st, &due);
    }
    t->due = due < t->due ? due : t->due;
    return e;
}

/* All streams are looked at when the first of them may have something to do. */
static enum err
take_streams(struct step *t)
{
    struct streams *all    = &t->s->streams;
    uint64_t        ms     = t->policy->retire_ms;
    bool            is_due = all->due_ms != ms || t->now.ms > all->due;
    enum err        e      = ERR_OK;
    size_t          at     = 0;
    for (uint32_t i = 0; i < t->floors && !is_due; i++)
        is_due = is_expired(t, t->floor[i].of);
    if (ms == 0 || !is_due)
        return ERR_OK;
    t->due        = INT64_MAX;
    t->has_looked = true;
    for (struct stream *st; e == ERR_OK && (st = map_next(&all->by_id, &at));)
        e = judge_stream(t, st);
    return e;
}

/* ---- the step ---- */

/* Neither the last lsn nor the highest stamp falls when the stream goes that had them. */
static enum err
write_marks(struct step *t)
{
    enum err e = sql_meta_put(t->s, "lsn", t->s->lsn);
    if (e == ERR_OK && t->stamp > t->s->stamp)
        e = sql_meta_put(t->s, "stamp", t->stamp);
    return e;
}

static enum err
write_step(struct step *t)
{
    enum err e = ERR_OK;
    if (t->next > t->s->lsn_first) {
        e = drop_messages(t);
        if (e == ERR_OK)
            e = segments_retain(t->s, t->next);
        if (e == ERR_OK)
            e = write_floors(t);
        if (e == ERR_OK)
            e = write_removals(t);
    }
    if (e == ERR_OK && t->forgotten_count > 0)
        e = write_marks(t);
    uint64_t over = 0;
    if (e == ERR_OK)
        e = bytes_over(t->s, t->policy->bytes, &over); /* `freed` was a guess */
    t->more |= over > 0 && t->next <= t->s->lsn;
    if (e == ERR_OK && !t->is_carried)
        e = room_hold(t->s);
    return e == ERR_OK ? sql_run(t->s->db, t->s->sql[t->is_carried ? SQL_SAVE_END : SQL_COMMIT])
                       : e;
}

/* It is on disk: memory follows. */
static void
follow(struct step *t)
{
    struct store *s = t->s;
    for (uint32_t i = 0; i < t->floors; i++) {
        struct stream       *st = t->floor[i].of;
        struct stream_floor *to = &t->floor[i].to;
        blob_drop(st->floor_owed);
        st->floor       = to->floor;
        st->floor_chain = to->chain;
        st->floor_stamp = to->stamp;
        st->floor_owed  = to->owed;
        if (to->owed)
            blob_keep(to->owed);
    }
    for (uint32_t i = 0; i < t->topics; i++) {
        t->topic[i]->removed += t->topic[i]->lost;
        t->topic[i]->is_dirty = true;
    }
    if (t->topics > 0)
        s->topics.removals = t->removals;
    for (uint32_t i = 0; i < t->retired_count; i++)
        streams_find(&s->streams, t->retired[i])->is_retired = true;
    s->streams.retired += t->retired_count;
    for (uint32_t i = 0; i < t->forgotten_count; i++)
        streams_forget(&s->streams, t->forgotten[i]);
    if (t->stamp > s->stamp)
        s->stamp = t->stamp;
    if (t->next > s->lsn_first)
        s->lsn_first = t->next;
    if (t->has_looked) {
        s->streams.due_ms = t->policy->retire_ms;
        s->streams.due    = t->more ? INT64_MIN : t->due;
    }
}

static struct retained *
tell(struct step *t)
{
    size_t               floors = t->floors * sizeof(struct stream_floor);
    size_t               ids    = t->retired_count + t->forgotten_count;
    struct retained     *r      = blob_new(sizeof *r + floors + ids * sizeof(uint64_t));
    struct stream_floor *floor  = (struct stream_floor *)(void *)(r + 1);
    uint64_t            *id     = (uint64_t *)(void *)(floor + t->floors);
    *r                          = (struct retained){.lsn_first       = t->s->lsn_first,
                                                    .more            = t->more,
                                                    .count           = t->floors,
                                                    .retired_count   = t->retired_count,
                                                    .forgotten_count = t->forgotten_count,
                                                    .floor           = floor,
                                                    .retired         = id,
                                                    .forgotten       = id + t->retired_count};
    for (uint32_t i = 0; i < t->floors; i++) {
        floor[i]            = t->floor[i].to;
        t->floor[i].to.owed = NULL;
    }
    memcpy(id, t->retired, t->retired_count * sizeof *id);
    memcpy(id + t->retired_count, t->forgotten, t->forgotten_count * sizeof *id);
    return r;
}

static void
step_fini(struct step *t)
{
    for (uint32_t i = 0; i < t->floors; i++) {
        t->floor[i].of->change = 0;
        blob_drop(t->floor[i].to.owed);
    }
    for (uint32_t i = 0; i < t->topics; i++)
        t->topic[i]->lost = 0;
    mem_free(t->floor);
    mem_free(t->topic);
}

/* The front of the log, then the streams of which nothing is left. */
static enum err
take(struct step *t)
{
    enum err e = bytes_over(t->s, t->policy->bytes, &t->over);
    if (e == ERR_OK)
        e = take_front(t);
    if (e == ERR_OK && !t->more)
        e = take_streams(t);
    if (e == ERR_OK && t->has_begun)
        e = write_step(t);
    if (e != ERR_OK)
        undo(t);
    return e;
}

/* While retention is behind, a step takes up to twice what came since the last one: else the
 * log would grow for as long as much is published.  Groups are small meanwhile, see
 * store_commit_retain(). */
static uint32_t
work_max(const struct store *s)
{
    uint64_t came = s->retain_lsn > 0 ? s->lsn - s->retain_lsn : 0;
    uint64_t work = came < STEP_WORK_UP ? 2 * came : STEP_WORK_UP;
    if (work > STEP_WORK_UP)
        work = STEP_WORK_UP;
    return work > STEP_WORK ? (uint32_t)work : STEP_WORK;
}

static enum err
run(struct step *t, const struct retention *policy, struct wall now)
{
    struct store *s = t->s;
    t->policy       = policy;
    t->now          = now;
    t->too_old      = policy->age_ms > 0 ? before(now, policy->age_ms) : INT64_MIN;
    t->next         = s->lsn_first;
    t->work_max     = work_max(s);
    enum err e      = take(t);
    if (e != ERR_CORRUPT || t->is_careful || t->is_lost)
        return e;
    struct step closely = {.s = s, .is_careful = true, .is_carried = t->is_carried};
    step_fini(t);
    *t = closely; /* what is damaged does not stay for ever */
    return run(t, policy, now);
}

/* The outcome, once it is on disk or undone. */
static struct retained *
finish(struct step *t, enum err e)
{
    struct retained *r = NULL;
    if (e == ERR_OK)
        follow(t);
    if (e == ERR_OK && t->has_begun)
        r = tell(t);
    t->s->retain_lsn = r && t->more ? t->s->lsn : 0;
    step_fini(t);
    return r;
}

static void
tell_failure(enum err e)
{
    if (e != ERR_OK)
        tracef(TRACE_WARN, "retention: nothing could be taken now: %s; it is tried again",
               err_text(e));
}

enum err
store_retain(struct store *s, const struct retention *policy, struct wall now,
             struct retained **out)
{
    enum err    e = s->is_loaded ? ERR_OK : load_state(s);
    struct step t = {.s = s};
    *out          = NULL;
    if (e != ERR_OK)
        return e;
    room_for_step(s);
    e = run(&t, policy, now);
    tell_failure(e);
    *out = finish(&t, e);
    if (*out)
        tend_after_step(s);
    return e;
}

/* ---- in the transaction of a group ---- */

enum err
retain_within(struct store *s, const struct retention *policy, struct wall now, struct step **out)
{
    struct step *t = mem_new(sizeof *t);
    *t             = (struct step){.s = s, .is_carried = true};
    enum err e     = run(t, policy, now);
    *out           = t;
    t->err         = e;
    return t->is_lost ? e : ERR_OK;
}

struct retained *
retain_told(struct step *t, enum err committed)
{
    enum err e = committed == ERR_OK ? t->err : committed;
    if (committed == ERR_OK)
        tell_failure(e);
    struct retained *r = finish(t, e);
    mem_free(t);
    return r;
}
