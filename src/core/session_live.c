/* session_live.c - what is live: never stored, delivered to whoever is subscribed when it comes.
 *
 * It goes to a session in whatever state it is, beside what it reads of the log, and moves no
 * cursor.  A session keeps runs of messages that lie behind one another in a batch; the
 * batches lie on the shelf that all sessions share. */
#include "core/session.h"

#include "base/check.h"
#include "base/mem.h"
#include "core/live.h"

enum { RUNS_FIRST = 4, RUNS_KEPT = 64, PLACE_SHIFT = 10 };
_Static_assert(BATCH_MESSAGES_MAX <= 1 << PLACE_SHIFT, "a place and a message make one number");

/* Messages first..first + count - 1 of the batch at a place. */
struct run {
    uint64_t place;
    uint32_t first, count;
};
struct live_runs {
    uint32_t   cap, first, count; /* a ring */
    uint64_t   lost;              /* since the last that was delivered */
    struct run at[];
};

static struct run *
run_at(struct live_runs *r, uint32_t i)
{
    return &r->at[(r->first + i) & (r->cap - 1)];
}

static struct live_runs *
grow(struct live_runs *old)
{
    uint32_t          cap = old ? 2 * old->cap : RUNS_FIRST;
    struct live_runs *r   = mem_new(sizeof *r + cap * sizeof *r->at);
    r->cap                = cap;
    r->count              = old ? old->count : 0;
    r->lost               = old ? old->lost : 0;
    for (uint32_t i = 0; i < r->count; i++)
        r->at[i] = *run_at(old, i);
    mem_free(old);
    return r;
}

/* The oldest is over; what was not taken of it is wanted no more. */
static void
end_run(struct sessions *all, struct live_runs *r)
{
    struct run *run = run_at(r, 0);
    shelf_want(&all->shelf, run->place, -(int32_t)run->count);
    shelf_done(&all->shelf, run->place);
    r->first = (r->first + 1) & (r->cap - 1);
    r->count--;
    all->live_runs--;
}

/* ... and lost. */
static void
lose_run(struct sessions *all, struct live_runs *r)
{
    const struct run *run = run_at(r, 0);
    r->lost += run->count;
    if (shelf_at(&all->shelf, run->place)) /* else it was counted when it had to go */
        all->shelf.lost += run->count;
    end_run(all, r);
}

/* Beyond the limits the oldest of this session goes. */
static void
make_room(struct sessions *all, struct session *s)
{
    struct live_runs *r = s->live;
    if (r && r->count > 0 && (r->count == LIVE_RUNS_MAX || all->live_runs >= LIVE_RUNS_ALL_MAX))
        lose_run(all, r);
    if (!r || r->count == r->cap)
        s->live = grow(r);
}

/* Message i of the batch at `place`, the newest, is for this session. */
static void
want(struct sessions *all, struct session *s, uint64_t place, uint32_t i)
{
    struct run *last = s->live && s->live->count > 0 ? run_at(s->live, s->live->count - 1) : NULL;
    if (last && last->place == place) {
        uint32_t end = last->first + last->count;
        if (end > i)
            return; /* by another of its filters */
        if (end == i) {
            last->count++;
            shelf_want(&all->shelf, place, 1);
            return;
        }
    }
    make_room(all, s);
    *run_at(s->live, s->live->count) = (struct run){place, i, 1};
    shelf_use(&all->shelf, place);
    shelf_want(&all->shelf, place, 1);
    all->live_runs++;
    if (s->live->count++ == 0) /* else it is awake, or its client takes nothing for now */
        session_make_ready(all, s);
}

void
sessions_live(struct sessions *all, struct batch *b)
{
    if (subs_count(&all->subs) == 0)
        return;
    uint64_t place = shelf_put(&all->shelf, b);
    for (uint32_t i = 0; i < b->count; i++) {
        if (i == 0 || !str_eq(b->msg[i].topic, b->msg[i - 1].topic))
            subs_match(&all->subs, b->msg[i].topic, &all->hits);
        for (uint32_t k = 0; k < all->hits.count; k++)
            want(all, all->hits.at[k], place, i);
    }
    shelf_done(&all->shelf, place); /* our own use, while it was looked through */
}

bool
session_has_live(const struct session *s)
{
    return s->live && s->live->count > 0;
}

static uint64_t
number_of(const struct run *run)
{
    return (run->place << PLACE_SHIFT | run->first) + 1;
}

uint64_t
session_next_live(const struct sessions *all, const struct session *s)
{
    if (!session_has_live(s) || s->live->lost > 0)
        return 0;
    const struct run *run = run_at(s->live, 0);
    return shelf_at(&all->shelf, run->place) ? number_of(run) : 0;
}

void
session_skip_live(struct sessions *all, struct session *s, uint32_t count)
{
    all->live_deliveries += count;
    while (count > 0) {
        CHECK(session_has_live(s));
        struct run *run = run_at(s->live, 0);
        uint32_t    n   = run->count < count ? run->count : count;
        shelf_want(&all->shelf, run->place, -(int32_t)n);
        run->first += n;
        run->count -= n;
        count -= n;
        if (run->count == 0)
            end_run(all, s->live);
    }
}

bool
session_pull_live(struct sessions *all, struct session *s, struct entry *entry)
{
    struct live_runs *r = s->live;
    while (r && r->count > 0) {
        struct run         *run = run_at(r, 0);
        const struct batch *b   = shelf_at(&all->shelf, run->place);
        if (!b) {
            lose_run(all, r);
            continue;
        }
        uint64_t          number = number_of(run);
        uint32_t          i      = run->first++;
        const struct msg *m      = &b->msg[i];
        *entry                   = (struct entry){.lamport = b->lamport_first + i,
                                                  .wall    = b->wall,
                                                  .origin  = b->origin,
                                                  .topic   = m->topic,
                                                  .headers = m->headers,
                                                  .body    = m->body,
                                                  .live    = number,
                                                  .lost    = r->lost};
        r->lost                  = 0;
        shelf_want(&all->shelf, run->place, -1);
        if (--run->count == 0)
            end_run(all, r);
        all->live_deliveries++;
        return true;
    }
    if (r && r->cap > RUNS_KEPT && r->lost == 0) {
        mem_free(r);
        s->live = NULL;
    }
    return false;
}

void
session_drop_live(struct sessions *all, struct session *s)
{
    while (s->live && s->live->count > 0)
        end_run(all, s->live);
    mem_free(s->live);
    s->live = NULL;
}

void
session_take_live(struct sessions *all, struct session *from, struct session *to)
{
    if (from == to || !from->live || to->live || !filters_are_same(from->filters, to->filters))
        return;
    to->live   = from->live;
    from->live = NULL;
    if (to->live->count > 0)
        session_make_ready(all, to);
}
