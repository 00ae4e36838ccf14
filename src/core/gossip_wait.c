#include "core/batch.h"
#include "core/gossip_part.h"

#include "base/trace.h"

enum { OVER_PER_TURN_MAX = 1024 };

uint64_t
stream_shown(const struct stream *s)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++)
        if (s->known[i] > best)
            best = s->known[i];
    return best;
}

/* Where somebody has lost some of what is in hand, all that is not held is asked for: what it
 * waits for may be lost as well, and then gaps have to come in the place of both. */
uint64_t
stream_reach(const struct stream *s)
{
    if (s->in_hand <= s->held)
        return s->held;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++)
        if (s->known_floor[i] > s->held)
            return s->held;
    return s->in_hand;
}

static bool
is_hole(const struct held_back *h)
{
    return h->wants->id == h->it.batch->stream;
}

/* A hole is no hole when what fills it is in hand, and waits for something else. */
static bool
comes(const struct held_back *h)
{
    const struct stream *s = h->wants;
    return stream_shown(s) >= h->seq || (is_hole(h) && s->in_hand >= h->seq);
}

/* Mostly at the end; what waits for its second dep has waited since it came. */
static void
start(struct gossip *g, struct held_back *h, struct mono since)
{
    struct list *at = g->clocks.prev;
    while (at != &g->clocks && LIST_OF(at, struct held_back, clock)->since.ms > since.ms)
        at = at->prev;
    h->since = since;
    list_push_back(at->next, &h->clock);
}

void
wait_begin(struct gossip *g, struct held_back *h)
{
    struct stream *s  = h->wants;
    struct list   *at = s->waiting.prev;
    while (at != &s->waiting && LIST_OF(at, struct held_back, waiting)->seq > h->seq)
        at = at->prev;
    list_push_back(at->next, &h->waiting);
    s->wanted_by_stamp |= h->debt > 0;
    if (!comes(h))
        start(g, h, s->lost.ms > h->it.at.ms ? s->lost : h->it.at);
}

bool
wait_is_over(const struct held_back *h)
{
    const struct stream *s = h->wants;
    return s->frozen || s->held >= h->seq || (!is_hole(h) && s->waived >= h->seq) ||
           (h->debt > 0 && stream_is_past(s, h->debt));
}

bool
wait_goes_on(const struct stream *s, uint64_t seq)
{
    return !s->frozen && !s->wanted_by_stamp && s->held < seq && s->waived < seq;
}

void
wait_lost(struct gossip *g, struct stream *s, uint32_t member, struct mono now)
{
    uint64_t had      = s->known[member];
    s->known[member]  = 0;
    uint64_t is_shown = stream_shown(s);
    if (had <= is_shown)
        return;
    s->lost = now;
    LIST_EACH(node, &s->waiting)
    {
        struct held_back *h = LIST_OF(node, struct held_back, waiting);
        if (h->seq <= is_shown || h->seq > had)
            continue;
        list_remove(&h->clock);
        start(g, h, now);
    }
}

void
hand_add(struct journal *j, const struct batch *b)
{
    struct stream *s   = journal_find(j, b->stream);
    uint64_t       end = s->in_hand > s->held ? s->in_hand : s->held;
    if (b->first <= end + 1 && batch_last(b) > s->in_hand)
        s->in_hand = batch_last(b);
}

void
hand_lost(struct gossip *g, struct journal *j, const struct batch *b, struct mono now)
{
    struct stream *s = journal_find(j, b->stream);
    if (!s || b->first > s->in_hand || batch_last(b) <= s->held)
        return;
    uint64_t had = s->in_hand;
    s->in_hand   = 0;
    LIST_EACH(node, &s->waiting)
    {
        struct held_back *h = LIST_OF(node, struct held_back, waiting);
        if (!is_hole(h) || h->seq > had || comes(h))
            continue;
        list_remove(&h->clock);
        start(g, h, now);
    }
}

/* Pulled again, if ever, when somebody shows up who has what it waits for. */
static void
give_up(const struct intake *in, struct held_back *h)
{
    struct arrival it = held_back_take(in->g, h);
    arrival_drop(in, &it);
}

static void
waive(const struct intake *in, struct stream *s, uint64_t seq)
{
    struct str  origin = s->origin.n > 0 ? s->origin : STR("unknown");
    struct mark m      = {s->id, seq};
    char        text[MARK_TEXT_BYTES];
    mark_text(m, text);
    if (s->waived == 0) /* then once for all of it: it may be many */
        tracef(TRACE_WARN,
               "nobody in reach can supply %s (origin %.*s): what depends on it is delivered all "
               "the same, flagged late; start the broker that has it",
               text, STR_ARG(origin));
    journal_waive(s, seq);
    in->g->waived++;
    commits_add(in->c, in->out, &(struct pending){.commit = {.kind = COMMIT_WAIVED, .mark = m}});
    stream_released(in->g, s);
}

/* Would it be stored, but for what it waits for?  Not when it came another way meanwhile, or
 * its stream went. */
static bool
is_next(const struct journal *j, const struct batch *b)
{
    const struct stream *s = journal_find(j, b->stream);
    return s && !s->frozen && b->first == s->held + 1;
}

static void
on_over(const struct intake *in, struct held_back *h)
{
    if (comes(h)) {
        list_remove(&h->clock); /* reset: it starts anew when that is lost */
        return;
    }
    in->g->holes += is_hole(h);
    if (is_hole(h) || !is_next(in->j, h->it.batch))
        give_up(in, h);
    else
        waive(in, h->wants, h->seq);
}

void
gossip_waive(const struct intake *in)
{
    const struct gossip *g = in->g;
    for (uint32_t n = 0; n < OVER_PER_TURN_MAX && mono_reached(in->now, wait_deadline(g)); n++) {
        on_over(in, LIST_OF(g->clocks.next, struct held_back, clock));
        release(in);
    }
}

void
gossip_stalled(struct gossip *g, struct mono now)
{
    LIST_EACH(node, &g->clocks)
    {
        LIST_OF(node, struct held_back, clock)->since = now;
    }
}

struct mono
wait_deadline(const struct gossip *g)
{
    if (list_is_empty(&g->clocks))
        return MONO_NEVER;
    return mono_after(LIST_OF(g->clocks.next, struct held_back, clock)->since, g->causal_wait_ms);
}
