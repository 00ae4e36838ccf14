/* sim_disk.c - the store's side of the simulator: what core hands over reaches a memory disk
 * after a while, all of it or none, and what core reads comes from there. */
#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/page.h"
#include "core/vector.h"
#include "sim/oracle_part.h"

#include <string.h>

/* ---- commits, reads, retention ---- */

static void
begin(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->node[i];
    if (n->in_commit > 0 || n->waiting_count == 0)
        return;
    n->in_commit = n->waiting_count;
    event_new(s, EVENT_COMMIT, i, n->commit_ms);
}

void
disk_told(struct sim *s, uint32_t i)
{
    struct sim_node      *n      = &s->node[i];
    uint32_t              count  = n->in_commit;
    struct commit_result *result = n->result;
    struct commit         commit[4096];
    CHECK(count <= 4096);
    memcpy(commit, n->waiting, count * sizeof *commit);
    n->waiting_count -= count;
    memmove(n->waiting, n->waiting + count, n->waiting_count * sizeof *commit);
    n->in_commit = 0;
    n->result    = NULL;
    for (uint32_t k = 0; k < count; k++) {
        node_step(s, i,
                  &(struct fact){.kind      = FACT_PERSISTED,
                                 .persisted = {commit[k].id, result[k].err, result[k].lsn_first}});
        commit_drop(&commit[k]);
    }
    mem_free(result);
    begin(s, i);
}

void
disk_done(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->node[i];
    n->result          = mem_new(n->in_commit * sizeof *n->result);
    store_mem_commit(n->disk, n->waiting, n->in_commit,
                     (struct wall){(int64_t)s->now_ms + n->clock_ms}, n->result);
    for (uint32_t k = 0; k < n->in_commit; k++)
        if (n->result[k].err == ERR_OK)
            past_commit(s, i, &n->waiting[k]);
    if (n->told_ms > 0)
        event_new(s, EVENT_TOLD, i, n->told_ms);
    else
        disk_told(s, i);
}

void
disk_commit(struct sim *s, uint32_t i, const struct commit *c)
{
    struct sim_node *n = &s->node[i];
    if (n->waiting_count == n->waiting_cap) {
        n->waiting_cap = n->waiting_cap > 0 ? n->waiting_cap * 2 : 16;
        n->waiting     = mem_resize(n->waiting, n->waiting_cap * sizeof *n->waiting);
    }
    n->waiting[n->waiting_count++] = *c;
    begin(s, i);
}

void
disk_read(struct sim *s, uint32_t i, uint64_t reader, const struct read *read)
{
    struct event *e = event_new(s, EVENT_PAGE, i, 1);
    e->reader       = reader;
    e->read         = *read;
    vector_init(&e->read.have);
    enum err err = vector_copy(&e->read.have, &read->have);
    CHECK(err == ERR_OK);
    if (read->want_ctx)
        blob_keep((void *)(uintptr_t)read->want_ctx);
}

void
disk_page(struct sim *s, uint32_t i, const struct event *e)
{
    struct page *page = NULL;
    enum err     err  = store_mem_read(s->node[i].disk, &e->read, &page);
    node_step(s, i,
              &(struct fact){.kind = FACT_PAGE, .page = {e->reader, err == ERR_OK ? page : NULL}});
}

void
disk_retain(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->node[i];
    struct retained *r = NULL;
    if (n->result) { /* core hears of what the store does in its order */
        event_new(s, EVENT_RETAIN, i, 1);
        return;
    }
    uint64_t next = s->config.retain_ms > 0 ? s->config.retain_ms : 1000;
    enum err e    = store_mem_retain(n->disk, &n->retention, sim_wall(s, i), &r);
    CHECK(e == ERR_OK);
    past_retain(s, i, r);
    s->forgotten += r->forgotten_count;
    node_step(s, i, &(struct fact){.kind = FACT_RETAINED, .retained = r});
    past_retired(s, i, r);
    event_new(s, EVENT_RETAIN, i, r->more ? 1 : next);
    retained_drop(r);
}

uint64_t
sim_retired(const struct sim *s)
{
    uint64_t n = 0;
    for (uint32_t k = 0; k < s->stream_count; k++)
        n += s->stream[k].retired;
    return n;
}

uint64_t
sim_forgotten(const struct sim *s)
{
    return s->forgotten;
}

bool
disk_retains(const struct retention *r)
{
    return r->age_ms > 0 || r->bytes > 0 || r->retire_ms > 0;
}

/* ---- what happens to disks ---- */

void
sim_slow_disk(struct sim *s, uint32_t i, uint32_t commit_ms)
{
    s->node[i].commit_ms = commit_ms;
    sim_tell(s, "a commit at %s takes %u ms", s->node[i].host, commit_ms);
}

void
sim_slow_word(struct sim *s, uint32_t i, uint32_t told_ms)
{
    s->node[i].told_ms = told_ms;
    sim_tell(s, "%s hears of a commit after %u ms", s->node[i].host, told_ms);
}

void
sim_step_clock(struct sim *s, uint32_t i, int64_t ms)
{
    s->node[i].clock_ms += ms;
    sim_tell(s, "the clock of %s is set by %lld ms", s->node[i].host, (long long)ms);
}

void
sim_retention(struct sim *s, uint32_t i, struct retention policy)
{
    struct sim_node *n    = &s->node[i];
    bool             idle = !disk_retains(&n->retention);
    n->retention          = policy;
    if (n->broker && idle && disk_retains(&policy))
        event_new(s, EVENT_RETAIN, i, 1);
    sim_tell(s, "%s keeps messages for %llu ms", n->host, (unsigned long long)policy.age_ms);
}

void
sim_room(struct sim *s, uint32_t i, bool enough)
{
    sim_tell(s, "%s has %s disk", s->node[i].host, enough ? "enough" : "too little");
    node_step(s, i, &(struct fact){.kind = FACT_ROOM, .room = {enough}});
    node_turn(s, i);
}

struct store_mem *
sim_disk(struct sim *s, uint32_t i)
{
    return s->node[i].disk;
}

void
sim_replace_disk(struct sim *s, uint32_t i, struct store_mem *disk)
{
    CHECK(!s->node[i].broker);
    store_mem_free(s->node[i].disk);
    s->node[i].disk       = disk;
    s->node[i].other_disk = s->node[i].is_replaced = true;
}

bool
sim_flip(struct sim *s, uint32_t i, uint32_t at)
{
    const struct batch *b;
    uint64_t            lsn;
    for (uint32_t k = 0; (b = store_mem_batch(s->node[i].disk, k, &lsn)); k++) {
        if (at < b->count) {
            sim_tell(s, "a bit flips on the disk of %s", s->node[i].host);
            s->damaged = true;
            return store_mem_flip(s->node[i].disk, (struct mark){b->stream, b->first + at});
        }
        at -= b->count;
    }
    return false;
}
