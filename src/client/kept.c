#include "client/kept.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

void
kept_init(struct kept *k)
{
    *k = (struct kept){0};
    buf_init(&k->text, 0);
}

void
kept_fini(struct kept *k)
{
    buf_fini(&k->text);
    mem_free(k->meta);
}

static size_t
text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* The room was made before, so nothing moves. */
static const void *
put(struct buf *b, const void *bytes, size_t n)
{
    uint8_t *room;
    CHECK(buf_room(b, n, &room) == ERR_OK);
    if (n > 0)
        memcpy(room, bytes, n);
    buf_grew(b, n);
    return room;
}

static const char *
put_text(struct buf *b, const char *text)
{
    return text ? put(b, text, strlen(text) + 1) : NULL;
}

void
kept_set(struct kept *k, const struct hearsay_publish *p)
{
    uint8_t *unused;
    size_t   all = text_bytes(p->topic) + text_bytes(p->type) + text_bytes(p->acks) +
                 text_bytes(p->after) + p->body_bytes;
    for (size_t i = 0; i < p->meta_count; i++)
        all += text_bytes(p->meta[i].name) + text_bytes(p->meta[i].value);
    if (p->meta_count > k->meta_max) {
        k->meta     = mem_resize(k->meta, p->meta_count * sizeof *k->meta);
        k->meta_max = p->meta_count;
    }
    buf_reset(&k->text);
    CHECK(buf_room(&k->text, all, &unused) == ERR_OK);

    k->p       = *p;
    k->p.topic = put_text(&k->text, p->topic);
    k->p.type  = put_text(&k->text, p->type);
    k->p.acks  = put_text(&k->text, p->acks);
    k->p.after = put_text(&k->text, p->after);
    for (size_t i = 0; i < p->meta_count; i++) {
        k->meta[i].name  = put_text(&k->text, p->meta[i].name);
        k->meta[i].value = put_text(&k->text, p->meta[i].value);
    }
    k->p.meta = k->meta;
    k->p.body = put(&k->text, p->body, p->body_bytes);
}
