#include "store/store_page.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/types_marks.h"

#include <string.h>

enum { CAP_MIN = 16 };

void
page_maker_init(struct page_maker *m)
{
    *m = (struct page_maker){0};
    buf_init(&m->bytes, 0);
}

void
page_maker_fini(struct page_maker *m)
{
    if (m->batch)
        for (uint32_t i = 0; i < m->count; i++)
            blob_drop(m->batch[i]);
    mem_free(m->entry);
    mem_free(m->batch);
    mem_free(m->batch_lsn);
    mem_free(m->before.at);
    mem_free(m->scanned.at);
    mem_free(m->damage);
    buf_fini(&m->bytes);
    *m = (struct page_maker){0};
}

struct str
page_text(struct page_maker *m, struct str s)
{
    struct str at = {(const uint8_t *)(uintptr_t)m->bytes.n, s.n};
    enum err   e  = buf_add(&m->bytes, s);
    CHECK(e == ERR_OK);
    return at;
}

struct str
page_settled(const struct page_maker *m, struct str s)
{
    return (struct str){buf_str(&m->bytes).p + (uintptr_t)s.p, s.n};
}

static uint32_t
grown(uint32_t cap)
{
    return cap > 0 ? cap * 2 : CAP_MIN;
}

void
page_entry(struct page_maker *m, const struct entry *e)
{
    if (m->count == m->cap) {
        m->cap   = grown(m->cap);
        m->entry = mem_resize(m->entry, m->cap * sizeof *m->entry);
    }
    m->entry[m->count++] = *e;
    m->may_grow          = false;
    m->taken += sizeof *e + e->topic.n + e->headers.n + e->body.n;
}

void
page_lost(struct page_maker *m, const struct entry *e)
{
    struct entry *last = m->count > 0 && m->may_grow ? &m->entry[m->count - 1] : NULL;
    if (last && last->mark.stream == e->mark.stream && last->gap_to + 1 == e->mark.seq) {
        last->gap_to  = e->gap_to;
        last->lamport = e->lamport;
        return;
    }
    page_entry(m, e);
    m->may_grow = true;
}

void
page_batch(struct page_maker *m, struct batch *b, uint64_t lsn)
{
    if (m->count == m->cap) {
        m->cap       = grown(m->cap);
        m->batch     = mem_resize(m->batch, m->cap * sizeof(struct batch *));
        m->batch_lsn = mem_resize(m->batch_lsn, m->cap * sizeof *m->batch_lsn);
    }
    m->batch_lsn[m->count] = lsn;
    m->batch[m->count++]   = b;
    m->taken += blob_bytes(b);
}

uint64_t
page_seq(const struct vector *v, uint64_t stream)
{
    uint32_t i = marks_place(v->at, v->count, stream);
    return i < v->count && v->at[i].stream == stream ? v->at[i].seq : 0;
}

void
page_raise(struct vector *v, struct mark mark)
{
    uint32_t i = marks_place(v->at, v->count, mark.stream);
    if (i < v->count && v->at[i].stream == mark.stream) {
        if (mark.seq > v->at[i].seq)
            v->at[i].seq = mark.seq;
        return;
    }
    if (v->count == v->cap) {
        v->cap = grown(v->cap);
        v->at  = mem_resize(v->at, v->cap * sizeof *v->at);
    }
    memmove(&v->at[i + 1], &v->at[i], (v->count - i) * sizeof *v->at);
    v->at[i] = mark;
    v->count++;
}

void
page_damage(struct page_maker *m, const struct damage *d)
{
    for (uint32_t i = 0; i < m->damage_count; i++)
        if (m->damage[i].stream == d->stream && m->damage[i].first == d->first)
            return;
    if (m->damage_count == PAGE_DAMAGES_MAX)
        return;
    if (!m->damage)
        m->damage = mem_new(PAGE_DAMAGES_MAX * sizeof *m->damage);
    m->damage[m->damage_count++] = *d;
}

bool
page_is_full(const struct page_maker *m, const struct read *read)
{
    return m->count > 0 &&
           (m->taken >= read->bytes_max || (read->count_max > 0 && m->count >= read->count_max));
}

/* ---- one blob ---- */

/* Copies to *at, which moves behind it; NULL stays NULL. */
static void *
lay(uint8_t **at, const void *from, size_t bytes)
{
    void *to = *at;
    if (bytes == 0)
        return NULL;
    memcpy(to, from, bytes);
    *at += bytes;
    return to;
}

static struct str
settle(struct str s, const uint8_t *bytes)
{
    return s.n > 0 ? (struct str){bytes + (uintptr_t)s.p, s.n} : (struct str){0};
}

struct page *
page_make(struct page_maker *m)
{
    size_t entries = m->entry ? m->count * sizeof *m->entry : 0;
    size_t batches = m->batch ? m->count * sizeof(struct batch *) : 0;
    size_t lsns    = m->batch ? m->count * sizeof *m->batch_lsn : 0;
    size_t before  = m->before.count * sizeof(struct mark);
    size_t scanned = m->scanned.count * sizeof(struct mark);
    size_t damage  = m->damage_count * sizeof *m->damage;

    struct page *p =
        blob_new(sizeof *p + entries + batches + lsns + before + scanned + damage + m->bytes.n);
    uint8_t      *at     = (uint8_t *)(p + 1);
    struct entry *entry  = lay(&at, m->entry, entries);
    *p                   = (struct page){.lsn_first     = m->lsn_first,
                                         .lsn_next      = m->lsn_next,
                                         .stamp         = m->stamp,
                                         .entry         = entry,
                                         .batch         = lay(&at, m->batch, batches),
                                         .batch_lsn     = lay(&at, m->batch_lsn, lsns),
                                         .count         = m->count,
                                         .before        = lay(&at, m->before.at, before),
                                         .before_count  = m->before.count,
                                         .scanned       = lay(&at, m->scanned.at, scanned),
                                         .scanned_count = m->scanned.count,
                                         .damage        = lay(&at, m->damage, damage),
                                         .damage_count  = m->damage_count};
    const uint8_t *bytes = lay(&at, buf_str(&m->bytes).p, m->bytes.n);
    for (uint32_t i = 0; entry && i < m->count; i++) {
        entry[i].origin  = settle(entry[i].origin, bytes);
        entry[i].topic   = settle(entry[i].topic, bytes);
        entry[i].headers = settle(entry[i].headers, bytes);
        entry[i].body    = settle(entry[i].body, bytes);
    }
    m->count = 0; /* the batches are the page's now */
    return p;
}
