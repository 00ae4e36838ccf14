/* sim_reach.c - who could tell whom what it has, and since when. */
#include "sim/oracle_part.h"

/* After so long on a good connection all that was to be told is: one to who restarted waits up to
 * a second until that before it was found dead, and what came meanwhile is told anew by the next
 * full HEADS, 5 s later.  A commit may take some time behind the decision. */
enum { TOLD_MS = 6500, COMMIT_MS = 1000, CAUSAL_WAIT_MS = 10000 };

void
reach_begin(const struct sim *s, struct sim_conn *c)
{
    bool heard = !s->node[c->node[0]].paused && !s->node[c->node[1]].paused;
    if (!c->dead && !c->slow && c->open[0] && c->open[1])
        c->good_ms = heard ? s->now_ms : 0;
}

void
reach_end(struct sim *s, struct sim_conn *c)
{
    if (c->good_ms > 0 && s->now_ms >= c->good_ms + TOLD_MS) {
        const struct sim_talk talk      = {c->good_ms, s->now_ms};
        s->talk[c->node[0]][c->node[1]] = s->talk[c->node[1]][c->node[0]] = talk;
    }
    c->good_ms = 0;
}

void
reach_node(struct sim *s, uint32_t i, bool good)
{
    oracle_trouble(s, i);
    for (uint32_t k = 0; k < s->conn_count; k++) {
        struct sim_conn *c = &s->conn[k];
        if (c->node[0] != i && c->node[1] != i)
            continue;
        if (good)
            reach_begin(s, c);
        else
            reach_end(s, c);
    }
}

static struct sim_talk
last_talk(const struct sim *s, uint32_t i, uint32_t k)
{
    for (uint32_t n = 0; n < s->conn_count; n++) {
        const struct sim_conn *c = &s->conn[n];
        bool is = (c->node[0] == i && c->node[1] == k) || (c->node[0] == k && c->node[1] == i);
        if (is && c->good_ms > 0 && c->good_ms + TOLD_MS <= s->now_ms)
            return (struct sim_talk){c->good_ms, s->now_ms};
    }
    return s->talk[i][k];
}

void
reach_waived(struct sim *s, uint32_t i, struct mark m)
{
    uint64_t wait = s->config.causal_wait_ms > 0 ? s->config.causal_wait_ms : CAUSAL_WAIT_MS;
    const struct sim_stream *st = past_stream(s, m.stream);
    const struct sim_batch  *it = past_find(s, m);
    for (uint32_t k = 0; it && !st->retired && k < s->config.brokers; k++) {
        struct sim_talk t    = last_talk(s, i, k);
        uint64_t        told = t.since_ms > it->held_ms[k] ? t.since_ms : it->held_ms[k];
        bool            had  = k != i && st->at[k].head >= m.seq && t.until_ms > 0;
        sim_must(s, !had || told + TOLD_MS > t.until_ms || t.until_ms + wait <= s->now_ms,
                 "S9: waived, and a linked member had it", i);
    }
}

static bool
is_whole(const struct batch *b)
{
    for (uint32_t n = 0; n < b->count; n++)
        if (b->msg[n].flags & MSG_DIGEST_ONLY)
            return false;
    return !batch_is_gap(b);
}

/* For so long that whoever heard of it has done so before it took the gap to its disk. */
static bool
has_some(const struct sim *s, uint32_t k, const struct batch *gap)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t n = 0; (b = store_mem_batch(s->node[k].disk, n, &lsn)); n++) {
        const struct sim_batch *it = past_find(s, (struct mark){b->stream, batch_last(b)});
        if (b->stream == gap->stream && b->first <= batch_last(gap) &&
            batch_last(b) >= gap->first && is_whole(b) &&
            it->held_ms[k] + TOLD_MS + COMMIT_MS <= s->now_ms)
            return true;
    }
    return false;
}

void
reach_gone(struct sim *s, uint32_t i, const struct batch *gap)
{
    for (uint32_t k = 0; k < s->config.brokers; k++) {
        struct sim_talk t = last_talk(s, i, k);
        if (k == i || t.until_ms < s->now_ms || t.since_ms + TOLD_MS + COMMIT_MS > s->now_ms)
            continue;
        sim_must(s, !has_some(s, k, gap), "S12: a gap is taken, and a linked member has it", i);
    }
}
