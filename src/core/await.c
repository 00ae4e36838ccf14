#include "core/await.h"

#include "core/vector.h"

struct await {
    enum await_kind kind;
    struct vector   vector;
    bool            in_vain; /* AFTER: it was more, and nobody waits again for that */
    struct mark     mark;
    int             copies;
    struct mono     deadline;
    uint64_t        ref;
};

void
awaits_init(struct awaits *a, uint64_t seed)
{
    pool_init(&a->pool, sizeof(struct await), AWAITS_MAX);
    a->deadline = MONO_NEVER;
    a->end      = MONO_NEVER;
    misses_init(&a->misses, seed);
}

void
awaits_fini(struct awaits *a)
{
    struct await *w;
    for (uint32_t at = 0; (w = pool_next(&a->pool, &at));)
        vector_fini(&w->vector);
    pool_fini(&a->pool);
    misses_fini(&a->misses);
}

/* Nothing of a retired stream comes here any more: who waits for it would wait in vain. */
static bool
is_here(const struct journal *j, struct mark m)
{
    return vector_has(&j->durable, m) || journal_retired(j, m.stream);
}

static bool
is_covered(const struct journal *j, const struct vector *v)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (!is_here(j, v->at[i]))
            return false;
    return true;
}

/* Leaves in the vector what there is hope for. */
static void
sift(const struct misses *misses, const struct journal *j, struct await *w)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < w->vector.count; i++) {
        struct mark m = w->vector.at[i];
        if (is_here(j, m))
            continue;
        if (misses_has(misses, j, m))
            w->in_vain = true;
        else
            w->vector.at[left++] = m;
    }
    w->vector.count = left;
}

static void
end(struct awaits *a, struct await *w, struct out *out, bool reached, uint32_t copies)
{
    out_add(out, &(struct effect){.kind = EFFECT_AWAITED, .awaited = {w->ref, reached, copies}});
    vector_fini(&w->vector);
    pool_give(&a->pool, w);
}

enum err
awaits_add(struct awaits *a, const struct journal *j, struct out *out, const struct fact *fact,
           uint64_t *handle)
{
    struct await *w = pool_take(&a->pool);
    if (!w)
        return ERR_LIMIT;
    *w         = (struct await){.kind     = fact->await.kind,
                                .mark     = fact->await.mark,
                                .copies   = fact->await.copies,
                                .deadline = fact->await.deadline,
                                .ref      = fact->await.ref};
    enum err e = vector_copy(&w->vector, &fact->await.vector);
    if (e != ERR_OK) {
        pool_give(&a->pool, w);
        return e;
    }
    *handle = pool_handle(w);
    if (w->kind == AWAIT_COPIES)
        w->deadline = mono_min(w->deadline, a->end);
    if (w->kind == AWAIT_AFTER)
        sift(&a->misses, j, w);
    if (w->kind == AWAIT_AFTER && w->vector.count == 0)
        end(a, w, out, !w->in_vain, 0);
    else
        a->deadline = mono_min(a->deadline, w->deadline);
    return ERR_OK;
}

void
awaits_drop(struct awaits *a, uint64_t handle)
{
    struct await *w = pool_find(&a->pool, handle);
    if (!w)
        return; /* answered meanwhile */
    vector_fini(&w->vector);
    pool_give(&a->pool, w);
}

void
awaits_hurry(struct awaits *a, struct mono end)
{
    struct await *w;
    a->end      = end;
    a->deadline = mono_min(a->deadline, end);
    for (uint32_t at = 0; (w = pool_next(&a->pool, &at));)
        if (w->kind == AWAIT_COPIES)
            w->deadline = mono_min(w->deadline, end);
}

static uint32_t
copies_wanted(const struct roster *r, int wanted)
{
    if (wanted == COPIES_MAJORITY)
        return roster_majority(r);
    if (wanted == COPIES_ALL)
        return roster_count(r);
    return (uint32_t)wanted;
}

bool
await_has_copies(const struct await_view *view, struct mark m, int wanted, uint32_t *copies)
{
    *copies = gossip_copies(view->gossip, view->journal, m);
    return *copies >= copies_wanted(view->roster, wanted);
}

static void
note_missed(struct awaits *a, const struct journal *j, const struct vector *v)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (!is_here(j, v->at[i]))
            misses_note(&a->misses, j, v->at[i]);
}

void
awaits_check(struct awaits *a, const struct await_view *view, struct out *out, struct mono now)
{
    struct await *w;
    if (a->pool.used == 0)
        return;
    a->deadline = MONO_NEVER;
    for (uint32_t at = 0; (w = pool_next(&a->pool, &at));) {
        uint32_t copies = 0;
        bool     reached;
        if (w->kind == AWAIT_COPIES)
            reached = await_has_copies(view, w->mark, w->copies, &copies);
        else
            reached = is_covered(view->journal, &w->vector);
        if (!reached && !mono_reached(now, w->deadline)) {
            a->deadline = mono_min(a->deadline, w->deadline);
            continue;
        }
        if (w->kind == AWAIT_AFTER && !reached)
            note_missed(a, view->journal, &w->vector);
        end(a, w, out, reached && !w->in_vain, copies);
    }
}
