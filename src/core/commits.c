#include "core/commits.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/page.h"

void
commits_init(struct commits *c)
{
    *c = (struct commits){.id_next = 1};
}

static struct pending *
at(const struct commits *c, uint32_t i)
{
    return &c->ring[(c->first + i) & (c->cap - 1)];
}

void
commits_fini(struct commits *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        blob_drop(at(c, i)->batch);
        gap_list_drop(at(c, i)->gaps);
    }
    mem_free(c->ring);
}

static size_t
bytes_of(const struct pending *p)
{
    size_t bytes = p->batch ? batch_bytes(p->batch) : 0;
    for (uint32_t i = 0; p->gaps && i < p->gaps->count; i++)
        bytes += batch_bytes(p->gaps->at[i]);
    return bytes;
}

static void
grow(struct commits *c)
{
    struct commits bigger = *c;
    bigger.cap            = c->cap > 0 ? c->cap * 2 : 64;
    bigger.ring           = mem_new(bigger.cap * sizeof *bigger.ring);
    bigger.first          = 0;
    for (uint32_t i = 0; i < c->count; i++)
        bigger.ring[i] = *at(c, i);
    mem_free(c->ring);
    *c = bigger;
}

void
commits_add(struct commits *c, struct out *out, const struct pending *p)
{
    if (c->count == c->cap)
        grow(c);
    struct pending *slot = at(c, c->count++);
    *slot                = *p;
    slot->commit.id      = c->id_next++;
    slot->commit.batch   = p->batch;
    slot->commit.gaps    = p->gaps;
    c->bytes += bytes_of(p);
    if (p->batch) {
        c->own += p->own;
        blob_keep(p->batch);
    }
    gap_list_keep(p->gaps);
    out_add(out, &(struct effect){.kind = EFFECT_PERSIST, .persist = slot->commit});
}

struct pending
commits_take(struct commits *c, uint64_t id)
{
    CHECK(c->count > 0);
    struct pending p = *at(c, 0);
    CHECK(p.commit.id == id);
    c->first = (c->first + 1) & (c->cap - 1);
    c->count--;
    c->bytes -= bytes_of(&p);
    c->own -= p.batch && p.own;
    return p;
}
