#include "core/out.h"

#include "base/blob.h"
#include "base/mem.h"

void
out_init(struct out *o)
{
    *o = (struct out){0};
    arena_init(&o->arena);
}

static void
drop_spare(struct out *o)
{
    while (o->spare_count > 0)
        blob_drop(o->spare[--o->spare_count]);
}

void
out_fini(struct out *o)
{
    drop_spare(o);
    mem_free(o->spare);
    mem_free(o->at);
    arena_fini(&o->arena);
}

void
out_reset(struct out *o)
{
    o->count = 0;
    drop_spare(o);
    arena_reset(&o->arena);
}

void
out_add(struct out *o, const struct effect *e)
{
    if (o->count == o->cap) {
        o->cap = o->cap > 0 ? o->cap * 2 : 32;
        o->at  = mem_resize(o->at, o->cap * sizeof *o->at);
    }
    o->at[o->count++] = *e;
}

void
out_send(struct out *o, uint32_t link, const struct frame *frame)
{
    out_add(o, &(struct effect){.kind = EFFECT_SEND, .send = {link, *frame}});
}

void
out_close(struct out *o, uint32_t link)
{
    out_add(o, &(struct effect){.kind = EFFECT_CLOSE, .close = {link}});
}

void
out_drop(struct out *o, struct batch *b)
{
    if (o->spare_count == o->spare_cap) {
        o->spare_cap = o->spare_cap > 0 ? o->spare_cap * 2 : 8;
        o->spare     = mem_resize(o->spare, o->spare_cap * sizeof(struct batch *));
    }
    o->spare[o->spare_count++] = b;
}
