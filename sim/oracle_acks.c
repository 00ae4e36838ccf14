/* oracle_acks.c - what a broker owes to those who publish there: that what it acknowledged is
 * still there after a crash (S5), and that it answers in time whatever its peers do (L3). */
#include "base/check.h"
#include "core/batch.h"
#include "core/broker_part.h"
#include "core/vector.h"
#include "sim/oracle.h"
#include "sim/oracle_part.h"

enum {
    ACK_MS       = 1000, /* L3 */
    SLOW_DISK_MS = 100,  /* a commit that takes longer is trouble of its own */
};

/* ---- S5 ---- */

/* Is it one that this broker has to have, of those it acknowledged? */
static bool
is_owed(const struct sim *s, uint32_t i, const struct sim_publish *p)
{
    const struct sim_stream *st;
    if (p->node != i || p->outcome != ERR_OK || s->node[i].lost_ms >= p->answered_ms)
        return false;
    st = past_stream(s, p->mark.stream);
    return !st->retired && st->at[i].floor < p->mark.seq;
}

/* All on the disk of `i` gets this number. */
static void
number_disk(struct sim *s, uint32_t i, uint64_t number)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++)
        if (!batch_is_gap(b))
            past_number(s, (struct mark){b->stream, b->first}, number);
}

void
oracle_kept(struct sim *s, uint32_t i)
{
    uint64_t number = ++s->scans;
    number_disk(s, i, number);
    for (uint32_t k = 0; k < s->publish_count; k++) {
        const struct sim_publish *p = &s->publish[k];
        if (is_owed(s, i, p))
            sim_must(s, past_find(s, p->mark)->number == number,
                     "S5: an acked message is gone from its broker", i);
    }
}

void
oracle_acked_here(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        if (s->node[i].broker)
            oracle_kept(s, i);
}

/* Its new process knows of all that the one before acknowledged. */
void
oracle_known(struct sim *s, uint32_t i)
{
    const struct vector *have = broker_vector(s->node[i].broker);
    for (uint32_t k = 0; k < s->publish_count; k++)
        if (is_owed(s, i, &s->publish[k]))
            sim_must(s, vector_has(have, s->publish[k].mark),
                     "S5: an acked message is unknown after a restart", i);
}

/* ---- L3 ---- */

void
oracle_trouble(struct sim *s, uint32_t i)
{
    s->node[i].seen.trouble_ms = s->now_ms;
}

/* Has it been for so long a live broker with a working disk? */
static bool
is_well(const struct sim *s, uint32_t i, uint64_t since_ms)
{
    return s->node[i].seen.trouble_ms < since_ms;
}

/* What is asked of the broker itself, by turns. */
static void
note_trouble(struct sim *s, uint32_t i)
{
    const struct sim_node *n = &s->node[i];
    if (n->commit_ms > SLOW_DISK_MS || n->told_ms > SLOW_DISK_MS || !broker_disk_works(n->broker) ||
        n->broker->stopping)
        oracle_trouble(s, i);
}

void
oracle_handed_in(struct sim *s, const struct sim_publish *p)
{
    const struct broker *b = s->node[p->node].broker;
    note_trouble(s, p->node);
    if (is_well(s, p->node, s->now_ms) && b->own.queue.count < QUEUE_MESSAGES_MAX)
        sim_must(s, p->outcome == SIM_PENDING, "L3: a live broker refuses a publish", p->node);
    live_handed_in(s, p);
}

void
oracle_in_time(struct sim *s, uint32_t i, const struct sim_publish *p)
{
    if (is_well(s, i, p->handed_ms))
        sim_must(s, s->now_ms - p->handed_ms < ACK_MS, "L3: a publish is answered late", i);
}

static bool
is_pending(const struct sim *s, uint32_t i, const struct sim_publish *p)
{
    return p->node == i && p->life == s->node[i].life && p->handed_ms > 0 &&
           p->outcome == SIM_PENDING;
}

/* The oldest that is not answered yet. */
void
oracle_pending(struct sim *s, uint32_t i)
{
    uint32_t *k = &s->node[i].seen.pending;
    note_trouble(s, i);
    while (*k < s->publish_count && !is_pending(s, i, &s->publish[*k]))
        (*k)++;
    if (*k < s->publish_count && is_well(s, i, s->publish[*k].handed_ms))
        sim_must(s, s->now_ms - s->publish[*k].handed_ms < ACK_MS, "L3: a publish is not answered",
                 i);
}
