/* store_mem_flip.c - damage to the disk of store_mem, for the simulator. */
#include "base/blob.h"
#include "store/store_mem_part.h"

#include <string.h>

static struct str
copy(uint8_t **at, struct str s)
{
    struct str to = {*at, s.n};
    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return to;
}

/* As it would be read: without the text of message i.  Others hold the batch too. */
static struct batch *
without(const struct batch *b, uint32_t i)
{
    size_t msgs = b->count * sizeof *b->msg, deps = b->deps_count * sizeof *b->deps;
    size_t text = b->origin.n;
    for (uint32_t k = 0; k < b->count; k++)
        text += b->msg[k].topic.n + b->msg[k].headers.n + b->msg[k].body.n;
    struct batch *c    = blob_new(sizeof *c + msgs + deps + text);
    struct msg   *msg  = (struct msg *)(void *)(c + 1);
    struct mark  *mark = (struct mark *)(void *)(msg + b->count);
    uint8_t      *at   = (uint8_t *)(mark + b->deps_count);
    if (deps > 0)
        memcpy(mark, b->deps, deps);
    *c        = *b;
    c->origin = copy(&at, b->origin);
    c->deps   = mark;
    c->msg    = msg;
    for (uint32_t k = 0; k < b->count; k++) {
        const struct msg *from = &b->msg[k];
        msg[k]                 = (struct msg){.digest = from->digest, .flags = MSG_DIGEST_ONLY};
        if (k == i || from->flags & MSG_DIGEST_ONLY)
            continue;
        msg[k].flags   = from->flags;
        msg[k].topic   = copy(&at, from->topic);
        msg[k].headers = copy(&at, from->headers);
        msg[k].body    = copy(&at, from->body);
    }
    return c;
}

bool
store_mem_flip(struct store_mem *m, struct mark mark)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct batch *b = m->at[i].batch;
        if (b->stream != mark.stream || batch_is_gap(b) || mark.seq < b->first ||
            mark.seq > batch_last(b))
            continue;
        m->at[i].batch = without(b, (uint32_t)(mark.seq - b->first));
        blob_drop(b);
        return true;
    }
    return false;
}
