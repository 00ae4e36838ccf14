#include "core/own.h"

#include "base/mem.h"
#include "core/batch.h"

void
own_init(struct own *o, struct str origin, uint64_t seed)
{
    *o = (struct own){.origin = origin, .prng = {seed}};
    queue_init(&o->queue);
    o->deps = mem_new(STREAMS_MAX * sizeof *o->deps);
}

void
own_fini(struct own *o)
{
    queue_fini(&o->queue);
    mem_free(o->deps);
}

static enum err
mint(struct own *o, struct journal *j)
{
    uint64_t id;
    do
        id = prng_next(&o->prng) >> 1;
    while (id == 0 || journal_find(j, id));
    if (!journal_mint(j, id, o->origin))
        return ERR_LIMIT;
    o->stream = id;
    return ERR_OK;
}

enum err
own_seal(struct own *o, struct journal *j, struct stamp *clock, struct wall wall,
         struct sealed *sealed)
{
    if (o->stream == 0) {
        enum err minted = mint(o, j);
        if (minted != ERR_OK)
            return minted;
    }
    const struct stream *s          = journal_find(j, o->stream);
    bool                 first      = s->held == 0;
    struct str           origin     = first ? o->origin : (struct str){0};
    uint32_t             deps_count = journal_deps(j, first, o->deps, STREAMS_MAX), count;
    const struct msg *msg = queue_front(&o->queue, deps_count * sizeof *o->deps + origin.n, &count);
    uint64_t          lamport;
    enum err          e = stamp_seal(clock, count, &lamport);
    if (e != ERR_OK)
        return e;
    const struct batch_parts parts = {
        .stream        = o->stream,
        .first         = s->held + 1,
        .prev          = s->held_chain,
        .lamport_first = lamport,
        .wall          = wall,
        .origin        = origin,
        .deps          = o->deps,
        .deps_count    = deps_count,
        .msg           = msg,
        .count         = count,
    };
    sealed->batch = batch_make(&parts);
    journal_hand_over(j, sealed->batch);
    sealed->serial = queue_take(&o->queue, count);
    return ERR_OK;
}

void
own_burn(struct own *o, struct journal *j)
{
    struct stream *s = o->stream != 0 ? journal_find(j, o->stream) : NULL;
    if (s)
        s->live = false; /* what peers have of it now comes back as from anyone */
    if (s && s->durable == 0)
        journal_drop(j, s); /* its first batch was not pushed */
    o->stream = 0;
}
