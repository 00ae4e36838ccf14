#include "core/place.h"

#include "base/blob.h"
#include "base/check.h"
#include "core/vector.h"

#include <string.h>

void
place_init(struct place *p)
{
    *p = (struct place){0};
    vector_init(&p->seen);
}

void
place_fini(struct place *p)
{
    blob_drop(p->filters);
    vector_fini(&p->seen);
    place_init(p);
}

/* Does the next thing that it is delivered lie in the log, at its lsn? */
static bool
is_plain(const struct session *s)
{
    return s->state == SESSION_BEHIND && !s->page && s->lsn > 0 && s->until == 0 &&
           s->gone.count == 0 && !session_has_live(s) && s->retired_at == SESSION_NAMED_ALL &&
           list_is_empty(&s->wants_disk);
}

static void
keep_filters(struct place *p, const struct session *s)
{
    if (p->filters == s->filters)
        return;
    blob_drop(p->filters);
    blob_keep(s->filters);
    p->filters = s->filters;
}

bool
place_take(struct place *p, const struct sessions *all, const struct session *s,
           const struct journal *j)
{
    bool at_head = s->state == SESSION_HEAD;
    p->live      = at_head ? session_next_live(all, s) : 0;
    if (p->live > 0) {
        keep_filters(p, s);
        return true;
    }
    at_head = at_head && !session_has_live(s);
    if ((!at_head && !is_plain(s)) || j->durable.count + s->seen.count > PLACE_STREAMS_MAX)
        return false;
    if (!session_cursor(s, j, &p->seen, &p->stamp))
        return false;
    p->lsn = at_head ? j->lsn + 1 : s->lsn;
    keep_filters(p, s);
    return true;
}

bool
place_is(const struct place *p, const struct sessions *all, const struct session *s)
{
    if (p->live > 0)
        return s->state == SESSION_HEAD && p->live == session_next_live(all, s) &&
               filters_are_same(p->filters, s->filters);
    return p->filters && p->lsn == s->lsn && p->stamp == s->stamp && is_plain(s) &&
           p->seen.count == s->seen.count &&
           (s->seen.count == 0 ||
            memcmp(p->seen.at, s->seen.at, s->seen.count * sizeof *s->seen.at) == 0) &&
           filters_are_same(p->filters, s->filters);
}

void
place_move(struct sessions *all, struct session *s, const struct place *to, uint32_t deliveries)
{
    list_remove(&s->stalled);
    if (s->state == SESSION_HEAD) {
        session_skip_live(all, s, deliveries);
        return;
    }
    enum err e = vector_copy(&s->seen, &to->seen);
    CHECK(e == ERR_OK);
    s->lsn   = to->lsn;
    s->stamp = to->stamp;
    all->deliveries += deliveries;
}
