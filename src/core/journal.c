#include "core/journal.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "core/batch.h"
#include "core/types_marks.h"
#include "core/vector.h"

#include <string.h>

/* ---- streams ---- */

static bool
has_id(const void *stream, const void *id)
{
    return ((const struct stream *)stream)->id == *(const uint64_t *)id;
}

struct stream *
journal_find(const struct journal *j, uint64_t stream)
{
    return map_find(&j->by_id, stream, has_id, &stream); /* ids are random: their own hash */
}

static bool
is_retired(const void *retired, const void *id)
{
    return ((const struct retired *)retired)->id == *(const uint64_t *)id;
}

const struct retired *
journal_retired(const struct journal *j, uint64_t stream)
{
    return map_find(&j->retired_by_id, stream, is_retired, &stream);
}

void
journal_drop_retired(const struct journal *j, struct vector *seen, uint64_t stamp)
{
    uint32_t n = 0;
    if (j->retired.used == 0)
        return;
    for (uint32_t i = 0; i < seen->count; i++) {
        struct mark           m = seen->at[i];
        const struct retired *r = journal_retired(j, m.stream);
        if (!r || m.seq < r->head || r->stamp > stamp)
            seen->at[n++] = m;
    }
    seen->count = n;
}

struct stream *
journal_stream(struct journal *j, uint64_t stream)
{
    struct stream *s = journal_find(j, stream);
    if (s)
        return s;
    if (journal_retired(j, stream))
        return NULL;
    s = pool_take(&j->streams);
    if (!s)
        return NULL;
    s->id = stream;
    list_init(&s->by_change);
    list_init(&s->deps_dirty);
    list_init(&s->waiting);
    list_init(&s->lacking);
    list_init(&s->released);
    list_init(&s->offers);
    map_add(&j->by_id, stream, s);
    return s;
}

static void
set_origin(struct stream *s, struct str origin)
{
    uint8_t *p = mem_resize((void *)(uintptr_t)s->origin.p, origin.n + 1);
    if (origin.n > 0)
        memcpy(p, origin.p, origin.n);
    p[origin.n] = 0;
    s->origin   = (struct str){p, origin.n};
}

struct stream *
journal_mint(struct journal *j, uint64_t stream, struct str origin)
{
    CHECK(!journal_find(j, stream));
    struct stream *s = journal_stream(j, stream);
    if (!s)
        return NULL;
    s->live = true;
    set_origin(s, origin);
    return s;
}

static void
free_parts(struct stream *s)
{
    mem_free((void *)(uintptr_t)s->origin.p);
    blob_drop(s->owed);
    blob_drop(s->durable_owed);
    blob_drop(s->floor_owed);
}

/* False: something waits for it all the same. */
static bool
remove_stream(struct journal *j, struct stream *s)
{
    if (!list_is_empty(&s->waiting) || !list_is_empty(&s->lacking) || !list_is_empty(&s->offers))
        return false;
    list_remove(&s->by_change);
    list_remove(&s->deps_dirty);
    list_remove(&s->released);
    map_remove(&j->by_id, s->id, s);
    free_parts(s);
    pool_give(&j->streams, s);
    return true;
}

void
journal_drop(struct journal *j, struct stream *s)
{
    CHECK(s->durable == 0);
    remove_stream(j, s);
}

static void
add_retired(struct journal *j, uint64_t id, uint64_t head, uint64_t stamp)
{
    struct retired *r = pool_take(&j->retired);
    if (!r)
        return;
    *r = (struct retired){id, head, stamp};
    map_add(&j->retired_by_id, id, r);
}

static struct mark_list *
kept(const struct mark_list *list)
{
    if (!list)
        return NULL;
    struct mark_list *l = (struct mark_list *)(uintptr_t)list;
    blob_keep(l);
    return l;
}

static void
recover_stream(struct journal *j, const struct stream_state *from)
{
    if (from->retired) { /* more than there is room for are as good as forgotten */
        add_retired(j, from->stream, from->head, from->stamp);
        return;
    }
    struct stream *s = journal_stream(j, from->stream);
    CHECK(s); /* the store holds no more than STREAMS_MAX */
    s->held = s->durable = from->head;
    s->held_chain = s->durable_chain = from->chain;
    s->held_stamp = s->durable_stamp = from->stamp;
    s->floor                         = from->floor;
    s->floor_chain                   = from->floor_chain;
    s->floor_stamp                   = from->floor_stamp;
    s->gap                           = from->gap < from->head ? from->gap : from->head;
    s->came                          = from->came;
    s->waived = s->waived_durable = from->waived;
    s->owed                       = kept(from->owed);
    s->durable_owed               = kept(from->owed);
    s->owed_at                    = from->head;
    s->floor_owed                 = kept(from->floor_owed);
    s->frozen                     = from->frozen;
    j->frozen_count += from->frozen;
    set_origin(s, from->origin);
    if (s->durable == 0)
        return; /* nothing of it is here: nobody is told of it */
    s->changed = ++j->changes;
    list_push_back(&j->by_change, &s->by_change);
    list_push_back(&j->deps_dirty, &s->deps_dirty);
    enum err e = vector_set(&j->durable, (struct mark){s->id, s->durable});
    CHECK(e == ERR_OK);
}

void
journal_init(struct journal *j, const struct recovered *recovered, size_t tail_bytes)
{
    *j = (struct journal){.floor_moves = 1};
    pool_init(&j->streams, sizeof(struct stream), STREAMS_MAX);
    pool_init(&j->retired, sizeof(struct retired), RETIRED_MAX);
    map_init(&j->by_id);
    map_init(&j->retired_by_id);
    vector_init(&j->durable);
    list_init(&j->by_change);
    list_init(&j->deps_dirty);
    if (recovered) {
        for (uint32_t i = 0; i < recovered->stream_count; i++)
            recover_stream(j, &recovered->stream[i]);
        j->lsn       = recovered->lsn;
        j->stamp     = recovered->stamp;
        j->lsn_first = recovered->lsn_first;
    }
    if (j->lsn_first == 0)
        j->lsn_first = 1;
    tail_init(&j->tail, j->lsn + 1, tail_bytes);
}

void
journal_fini(struct journal *j)
{
    struct stream *s;
    for (uint32_t at = 0; (s = pool_next(&j->streams, &at));)
        free_parts(s);
    tail_fini(&j->tail);
    pool_fini(&j->streams);
    pool_fini(&j->retired);
    map_fini(&j->by_id);
    map_fini(&j->retired_by_id);
    vector_fini(&j->durable);
}

/* ---- the store rule ---- */

bool
journal_covers(const struct journal *j, struct mark m, bool *late)
{
    const struct stream *s = journal_find(j, m.stream);
    if (s && s->held >= m.seq)
        return true;
    const struct retired *r = s ? NULL : journal_retired(j, m.stream);
    if (r && r->head >= m.seq)
        return true;
    /* Nor can a stream come that there is no room for. */
    bool comes = s ? !s->frozen && s->waived < m.seq : !r && j->streams.used < j->streams.limit;
    *late |= !comes;
    return !comes;
}

static bool
covers_all(const struct journal *j, const struct mark *mark, uint32_t count, struct mark *missing,
           bool *late)
{
    for (uint32_t i = 0; i < count; i++) {
        if (journal_covers(j, mark[i], late))
            continue;
        *missing = mark[i];
        return false;
    }
    return true;
}

bool
stream_is_past(const struct stream *s, uint64_t stamp)
{
    return s->held_stamp >= stamp || (s->next_at == s->held && s->next_stamp >= stamp);
}

bool
journal_note_next(struct journal *j, const struct batch *b)
{
    struct stream *s = journal_find(j, b->stream);
    if (b->first != s->held + 1 || (s->next_at == s->held && s->next_stamp > 0))
        return false;
    s->next_at    = s->held;
    s->next_stamp = b->lamport_first;
    return true;
}

/* Marks are floors of somebody, so further on than what is owed: two streams may each owe
 * more of the other than there is before them.  A message depends on nothing that is not
 * stamped before it, so the one with the lowest stamp can always be stored. */
static bool
debt_is_paid(const struct journal *j, const struct stream *s, struct mark *missing, bool *late)
{
    if (!s->owed || s->owed_at != s->held)
        return true;
    for (uint32_t i = 0; i < s->owed->count; i++) {
        struct mark          m  = s->owed->at[i];
        const struct stream *of = journal_find(j, m.stream);
        if ((of && stream_is_past(of, s->held_stamp)) || journal_covers(j, m, late))
            continue;
        *missing = m;
        return false;
    }
    return true;
}

/* Its own deps, and those of the gap that it follows. */
static bool
deps_are_held(const struct journal *j, const struct stream *s, const struct batch *b,
              struct mark *missing, bool *late)
{
    return debt_is_paid(j, s, missing, late) &&
           covers_all(j, b->deps, b->deps_count, missing, late);
}

enum verdict
journal_judge(struct journal *j, const struct batch *b, struct mark *missing, bool *late)
{
    CHECK(!batch_is_gap(b));
    *late = false;
    if (journal_retired(j, b->stream))
        return VERDICT_DUPLICATE;
    struct stream *s = journal_stream(j, b->stream);
    if (!s)
        return VERDICT_LIMIT;
    if (s->live || s->frozen)
        return VERDICT_DUPLICATE;
    if (batch_last(b) <= s->held) {
        bool same_end = batch_last(b) == s->held;
        return same_end && !hash128_eq(b->chain, s->held_chain) ? VERDICT_REFUSE
                                                                : VERDICT_DUPLICATE;
    }
    if (b->first > s->held + 1) {
        *missing = (struct mark){s->id, b->first - 1};
        return VERDICT_WAIT;
    }
    /* The origin cut its batches once and for all: one that overlaps, or that builds
     * on another chain or an older stamp, belongs to another branch. */
    if (b->first <= s->held || !hash128_eq(b->prev, s->held_chain) ||
        b->lamport_first <= s->held_stamp)
        return VERDICT_REFUSE;
    return deps_are_held(j, s, b, missing, late) ? VERDICT_STORE : VERDICT_WAIT;
}

void
journal_hand_over(struct journal *j, const struct batch *b)
{
    struct stream *s = journal_find(j, b->stream);
    CHECK(s && b->first == s->held + 1);
    CHECK(batch_is_gap(b) || hash128_eq(b->prev, s->held_chain));
    s->held       = batch_last(b);
    s->held_chain = b->chain;
    s->held_stamp = batch_stamp(b);
    if (b->origin.n > 0 && !s->live)
        set_origin(s, b->origin);
    if (batch_is_gap(b)) {
        blob_drop(s->owed);
        s->owed    = marks_list(b->deps, b->deps_count);
        s->owed_at = s->held;
    }
}

void
journal_roll_back(struct journal *j)
{
    struct stream *s;
    for (uint32_t at = 0; (s = pool_next(&j->streams, &at));) {
        s->held       = s->durable;
        s->held_chain = s->durable_chain;
        s->held_stamp = s->durable_stamp;
        s->waived     = s->waived_durable;
        blob_drop(s->owed);
        s->owed    = kept(s->durable_owed);
        s->owed_at = s->durable;
    }
}

void
journal_waive(struct stream *s, uint64_t seq)
{
    if (seq > s->waived)
        s->waived = seq;
}

void
journal_waiver_persist(struct journal *j, struct mark m)
{
    struct stream *s = journal_find(j, m.stream);
    if (s && m.seq > s->waived_durable)
        s->waived_durable = m.seq;
}

void
journal_freeze(struct journal *j, struct stream *s)
{
    if (s->frozen)
        return;
    char text[MARK_TEXT_BYTES];
    mark_text((struct mark){s->id, s->held + 1}, text);
    tracef(TRACE_ERROR,
           "stream frozen at %s (origin %.*s): its next batch contradicts what is stored here; "
           "the first branch is kept. Compare the logs of the brokers",
           text, STR_ARG(s->origin));
    s->frozen = true;
    j->frozen_count++;
}

/* ---- on disk ---- */

static void
set_floor(struct stream *s, const struct stream_floor *f)
{
    struct mark_list *owed = kept(f->owed);
    blob_drop(s->floor_owed);
    s->floor       = f->floor;
    s->floor_chain = f->chain;
    s->floor_stamp = f->stamp;
    s->floor_owed  = owed;
}

/* What a gap asks for is on disk with it; what a batch's past asked for was held. */
static void
owe_above(struct stream *s, const struct batch *b)
{
    blob_drop(s->durable_owed);
    s->durable_owed = NULL;
    if (batch_is_gap(b))
        s->durable_owed =
            s->owed_at == batch_last(b) ? kept(s->owed) : marks_list(b->deps, b->deps_count);
}

void
journal_persist(struct journal *j, struct batch *b, uint64_t lsn, bool late)
{
    struct stream *s = journal_find(j, b->stream);
    CHECK(s && b->first == s->durable + 1 && batch_last(b) <= s->held);
    CHECK(lsn == j->lsn + 1);
    bool jumps = batch_is_gap(b) && s->floor == s->durable;
    owe_above(s, b);
    if (jumps) {
        set_floor(s, &(struct stream_floor){b->stream, batch_last(b), b->chain, batch_stamp(b),
                                            s->durable_owed});
        j->floor_moves++;
    }
    if (batch_is_gap(b))
        s->gap = batch_last(b);
    s->durable       = batch_last(b);
    s->durable_chain = b->chain;
    s->durable_stamp = batch_stamp(b);
    s->came          = batch_is_gap(b) && b->wall.ms < j->wall.ms ? b->wall : j->wall;
    if (s->owed && s->durable > s->owed_at) { /* what it asked for was held */
        blob_drop(s->owed);
        s->owed = NULL;
    }
    if (s->durable_stamp > j->stamp)
        j->stamp = s->durable_stamp;

    enum err e = vector_set(&j->durable, (struct mark){s->id, s->durable});
    CHECK(e == ERR_OK); /* no more marks than streams */
    s->changed = ++j->changes;
    list_remove(&s->by_change);
    list_push_back(&j->by_change, &s->by_change);
    if (list_is_empty(&s->deps_dirty))
        list_push_back(&j->deps_dirty, &s->deps_dirty);

    j->lsn = lsn + batch_lsns(b) - 1;
    tail_push(&j->tail, b, late);
}

/* How many durable messages `have` does not hold. */
static uint64_t
missing_count(const struct journal *j, const struct vector *have)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < j->durable.count; i++) {
        uint64_t seq = vector_seq(have, j->durable.at[i].stream);
        if (seq < j->durable.at[i].seq)
            n += j->durable.at[i].seq - seq;
    }
    return n;
}

uint64_t
journal_first_missing(const struct journal *j, const struct vector *have)
{
    uint64_t missing = missing_count(j, have), lowest = j->lsn + 1;
    for (uint32_t i = j->tail.count; i > 0 && missing > 0; i--) {
        const struct tail_item *t   = tail_item(&j->tail, i - 1);
        uint64_t                seq = vector_seq(have, t->batch->stream);
        if (seq >= batch_last(t->batch))
            continue;
        uint64_t skip = seq >= t->batch->first ? seq - t->batch->first + 1 : 0;
        lowest        = t->lsn + (batch_is_gap(t->batch) ? 0 : skip);
        missing -= batch_last(t->batch) - t->batch->first + 1 - skip;
    }
    return missing == 0 ? lowest : 0;
}

void
journal_vector_before(const struct journal *j, uint64_t lsn, struct vector *v)
{
    CHECK(lsn >= j->tail.lsn_first);
    enum err e = vector_copy(v, &j->durable);
    CHECK(e == ERR_OK);
    for (uint32_t i = j->tail.count; i > 0; i--) {
        const struct tail_item *t    = tail_item(&j->tail, i - 1);
        uint64_t                last = t->lsn + batch_lsns(t->batch) - 1;
        if (last < lsn)
            break;
        uint64_t keep = t->lsn < lsn ? lsn - t->lsn : 0;
        e             = vector_set(v, (struct mark){t->batch->stream, t->batch->first + keep - 1});
        CHECK(e == ERR_OK);
    }
}

/* ---- deps of the next own batch ---- */

static uint32_t
sorted_insert(struct mark *deps, uint32_t n, struct mark m)
{
    uint32_t i = n;
    for (; i > 0 && deps[i - 1].stream > m.stream; i--)
        deps[i] = deps[i - 1];
    deps[i] = m;
    return n + 1;
}

uint32_t
journal_deps(struct journal *j, bool all, struct mark *deps, uint32_t deps_max)
{
    uint32_t n = 0;
    if (all) {
        for (uint32_t i = 0; i < j->durable.count; i++) {
            const struct stream *s = journal_find(j, j->durable.at[i].stream);
            if (!s->live && n < deps_max)
                deps[n++] = j->durable.at[i];
        }
    }
    LIST_EACH(node, &j->deps_dirty)
    {
        struct stream *s = LIST_OF(node, struct stream, deps_dirty);
        if (!all && !s->live) {
            CHECK(n < deps_max);
            n = sorted_insert(deps, n, (struct mark){s->id, s->durable});
        }
        list_remove(&s->deps_dirty);
    }
    return n;
}

/* ---- retention ---- */

bool
journal_may_be_retired(const struct journal *j, const struct stream *s)
{
    return j->retire_ms > 0 && !s->live && s->durable > 0 && s->floor == s->durable &&
           j->wall.ms - s->came.ms >= (int64_t)(j->retire_ms / 2);
}

enum err
journal_floors(const struct journal *j, struct vector *v)
{
    const struct stream *s;
    vector_reset(v);
    for (uint32_t at = 0; (s = pool_next(&((struct journal *)(uintptr_t)j)->streams, &at));) {
        if (s->floor == 0)
            continue;
        enum err e = vector_raise(v, (struct mark){s->id, s->floor});
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* A stream that goes on after all (its batch is on its way to the store, which takes it
 * back then) stays. */
static void
retire(struct journal *j, uint64_t id)
{
    struct stream *s = journal_find(j, id);
    if (!s || s->live || s->held != s->durable || s->floor != s->durable ||
        j->retired.used == RETIRED_MAX)
        return;
    uint64_t head = s->durable, stamp = s->durable_stamp;
    if (!remove_stream(j, s))
        return;
    add_retired(j, id, head, stamp);
    enum err e = vector_set(&j->durable, (struct mark){id, 0});
    CHECK(e == ERR_OK);
}

/* Nothing of it ever came, and what waits for it, if anything, waits anew.  What depends on it
 * is waived once more. */
static void
forget_waived(struct journal *j, uint64_t id)
{
    struct stream *s = journal_find(j, id);
    if (!s || s->live || s->held > 0 || s->frozen)
        return;
    s->waived = s->waived_durable = 0;
    remove_stream(j, s);
}

static void
forget(struct journal *j, uint64_t id)
{
    struct retired *r = map_find(&j->retired_by_id, id, is_retired, &id);
    if (!r) {
        forget_waived(j, id);
        return;
    }
    map_remove(&j->retired_by_id, id, r);
    pool_give(&j->retired, r);
}

void
journal_retain(struct journal *j, const struct retained *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        struct stream *s = journal_find(j, r->floor[i].stream);
        if (!s || r->floor[i].floor <= s->floor)
            continue;
        set_floor(s, &r->floor[i]);
        j->floor_moves++;
        s->changed = ++j->changes;
        list_remove(&s->by_change);
        list_push_back(&j->by_change, &s->by_change);
    }
    if (r->lsn_first > j->lsn_first)
        j->lsn_first = r->lsn_first;
    tail_drop_below(&j->tail, j->lsn_first);
    for (uint32_t i = 0; i < r->retired_count; i++)
        retire(j, r->retired[i]);
    for (uint32_t i = 0; i < r->forgotten_count; i++)
        forget(j, r->forgotten[i]);
}
