#include "base/blob.h"
#include "store/store_mem_part.h"

enum { WORK_MAX = 1024 }; /* messages looked at in one read: empty pages are to be met */

/* The index of the batch at or behind `lsn`. */
static uint32_t
batch_at(const struct store_mem *m, uint64_t lsn)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (m->at[mid].lsn + batch_lsns(m->at[mid].batch) <= lsn)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint64_t
start_of(const struct store_mem *m, const struct read *read)
{
    if (read->start == READ_AT_LSN)
        return read->lsn > 0 ? read->lsn : 1;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct kept_batch *k    = &m->at[i];
        uint64_t                 have = page_seq(&read->have, k->batch->stream);
        if (read->start == READ_SINCE ? k->received.ms >= read->since.ms
                                      : have < batch_last(k->batch))
            return read->start == READ_SINCE || have < k->batch->first || batch_is_gap(k->batch)
                       ? k->lsn
                       : k->lsn + (have + 1 - k->batch->first);
    }
    return read->lsn_last + 1;
}

/* For each stream the highest seq in [first, next); the highest stamp there. */
static uint64_t
marks_between(const struct store_mem *m, uint64_t first, uint64_t next, struct vector *out)
{
    uint64_t stamp = 0;
    for (uint32_t i = batch_at(m, first); i < m->count && m->at[i].lsn < next; i++) {
        const struct batch *b    = m->at[i].batch;
        uint64_t            upto = next - m->at[i].lsn; /* of its messages are below next */
        if (upto > b->count)
            upto = b->count;
        uint64_t last  = batch_is_gap(b) ? b->gap_last : b->first + upto - 1;
        uint64_t above = batch_is_gap(b) ? b->lamport_first : b->lamport_first + upto - 1;
        page_raise(out, (struct mark){b->stream, last});
        if (above > stamp)
            stamp = above;
    }
    return stamp;
}

/* ---- gaps ---- */

static void
put_gap(struct page_maker *page, const struct mem_stream *st, uint64_t lsn, uint64_t from,
        uint64_t to, uint64_t stamp)
{
    struct entry e = {.lsn     = lsn,
                      .mark    = {st->state.stream, from},
                      .gap_to  = to,
                      .lamport = stamp,
                      .origin  = page_text(page, st->state.origin)};
    page_entry(page, &e);
}

/* See store_read.c. */
static bool
says_floors(const struct store_mem *m, const struct read *read)
{
    uint64_t log_first = m->count > 0 ? m->at[0].lsn : read->lsn_last + 1;
    return read->start == READ_AT_VECTOR || (read->start == READ_AT_LSN && read->lsn < log_first);
}

static void
put_floors(const struct store_mem *m, const struct read *read, struct page_maker *page)
{
    for (uint32_t i = 0; i < m->stream_count; i++) {
        const struct mem_stream *st   = &m->stream[i];
        uint64_t                 have = page_seq(&read->have, st->state.stream);
        if (!st->state.retired && st->state.floor > have)
            put_gap(page, st, page->lsn_first, have + 1, st->state.floor, st->state.floor_stamp);
    }
}

static void
take_gap(const struct store_mem *m, const struct kept_batch *k, const struct read *read,
         struct page_maker *page)
{
    const struct batch      *b    = k->batch;
    const struct mem_stream *st   = mem_stream_find(m, b->stream);
    uint64_t                 have = page_seq(&read->have, b->stream);
    if (says_floors(m, read) && st->state.floor > have)
        have = st->state.floor; /* said at the front */
    if (have < batch_last(b))
        put_gap(page, st, k->lsn, have < b->first ? b->first : have + 1, batch_last(b),
                b->lamport_first);
}

/* ---- messages ---- */

static void
note_damage(const struct batch *b, struct page_maker *page)
{
    page_damage(page, &(struct damage){b->stream, b->first, batch_last(b), b->chain, 0});
}

static void
take_message(const struct store_mem *m, const struct kept_batch *k, uint32_t i,
             const struct read *read, struct page_maker *page)
{
    const struct batch *b = k->batch;
    if (batch_is_gap(b)) {
        take_gap(m, k, read, page);
        return;
    }
    const struct msg *msg  = &b->msg[i];
    struct mark       mark = {b->stream, b->first + i};
    if (msg->flags & MSG_DIGEST_ONLY)
        note_damage(b, page);
    if (page_seq(&read->have, mark.stream) >= mark.seq)
        return;
    if (msg->flags & MSG_DIGEST_ONLY) {
        const struct mem_stream *st = mem_stream_find(m, mark.stream);
        page_lost(page, &(struct entry){.lsn     = k->lsn + i,
                                        .mark    = mark,
                                        .gap_to  = mark.seq,
                                        .lamport = b->lamport_first + i,
                                        .origin  = page_text(page, st->state.origin)});
        return;
    }
    if (read->want && !read->want(read->want_ctx, msg->topic))
        return;
    struct entry e = {.lsn     = k->lsn + i,
                      .mark    = mark,
                      .lamport = b->lamport_first + i,
                      .wall    = b->wall,
                      .late    = k->late,
                      .origin  = page_text(page, mem_stream_find(m, mark.stream)->state.origin),
                      .topic   = page_text(page, msg->topic),
                      .headers = page_text(page, msg->headers),
                      .body    = page_text(page, msg->body)};
    page_entry(page, &e);
}

static void
scan_messages(const struct store_mem *m, const struct read *read, struct page_maker *page)
{
    uint32_t work = 0;
    for (uint32_t i = batch_at(m, page->lsn_next); i < m->count; i++) {
        const struct kept_batch *k = &m->at[i];
        if (page->lsn_next < k->lsn)
            page->lsn_next = k->lsn;
        while (page->lsn_next < k->lsn + batch_lsns(k->batch)) {
            if (page->lsn_next > read->lsn_last || work++ == WORK_MAX || page_is_full(page, read))
                return;
            take_message(m, k, (uint32_t)(page->lsn_next - k->lsn), read, page);
            page->lsn_next++;
        }
    }
    page->lsn_next = read->lsn_last + 1;
}

static void
scan_batches(const struct store_mem *m, const struct read *read, struct page_maker *page)
{
    for (uint32_t i = batch_at(m, page->lsn_next); i < m->count; i++) {
        const struct kept_batch *k   = &m->at[i];
        uint64_t                 end = k->lsn + batch_lsns(k->batch);
        if (k->lsn > read->lsn_last)
            break;
        if (end - 1 > read->lsn_last || page_is_full(page, read))
            return;
        if (page_seq(&read->have, k->batch->stream) < batch_last(k->batch)) {
            blob_keep(k->batch);
            page_batch(page, k->batch, k->lsn);
            if (mem_digests(k->batch) > 0)
                note_damage(k->batch, page);
        }
        page->lsn_next = end;
    }
    if (!page_is_full(page, read))
        page->lsn_next = read->lsn_last + 1;
}

/* ---- kept messages ---- */

static void
read_kept(const struct store_mem *m, const struct read *read, struct page_maker *page)
{
    uint64_t number = read->lsn > 0 ? read->lsn : 1;
    for (; number <= m->topic_count; number++) {
        const struct batch *b = m->topic[number - 1].kept;
        if (page_is_full(page, read))
            break;
        if (!b || page_seq(&read->have, b->stream) >= b->first)
            continue;
        const struct mem_stream *st       = mem_stream_find(m, b->stream);
        bool                     is_known = st && st->state.origin.n > 0;
        struct str               origin   = is_known ? st->state.origin : b->origin;
        struct entry             e        = {.mark    = {b->stream, b->first},
                                             .lamport = b->lamport_first,
                                             .wall    = b->wall,
                                             .origin  = page_text(page, origin),
                                             .topic   = page_text(page, b->msg[0].topic),
                                             .headers = page_text(page, b->msg[0].headers),
                                             .body    = page_text(page, b->msg[0].body)};
        page_entry(page, &e);
    }
    page->lsn_first = read->lsn;
    page->lsn_next  = number <= m->topic_count ? number : 0;
}

/* ---- the call ---- */

static void
read_log(const struct store_mem *m, const struct read *read, struct page_maker *page)
{
    page->lsn_first = start_of(m, read);
    if (page->lsn_first > read->lsn_last)
        page->lsn_first = read->lsn_last + 1;
    page->lsn_next = page->lsn_first;
    if (read->start == READ_SINCE) {
        for (uint32_t i = 0; i < m->stream_count; i++)
            if (!m->stream[i].state.retired && m->stream[i].state.floor > 0)
                page_raise(&page->before,
                           (struct mark){m->stream[i].state.stream, m->stream[i].state.floor});
        marks_between(m, 1, page->lsn_first, &page->before);
    }
    if (read->batches) {
        scan_batches(m, read, page);
    } else {
        if (says_floors(m, read))
            put_floors(m, read, page);
        scan_messages(m, read, page);
    }
    page->stamp = marks_between(m, page->lsn_first, page->lsn_next, &page->scanned);
}

enum err
store_mem_read(const struct store_mem *m, const struct read *read, struct page **out)
{
    struct page_maker page;
    page_maker_init(&page);
    if (read->start == READ_KEPT)
        read_kept(m, read, &page);
    else
        read_log(m, read, &page);
    *out = page_make(&page);
    page_maker_fini(&page);
    return ERR_OK;
}

/* ---- for comparison ---- */

void
store_mem_dump(const struct store_mem *m, struct buf *out)
{
    for (uint32_t i = 0; i < m->stream_count; i++) {
        const struct stream_state *st = &m->stream[i].state;
        enum err e = buf_addf(out, "%016llx %llu..%llu ", (unsigned long long)st->stream,
                              (unsigned long long)st->floor + 1, (unsigned long long)st->head);
        for (size_t k = 0; k < sizeof st->chain.b && e == ERR_OK; k++)
            e = buf_addf(out, "%02x", st->chain.b[k]);
        if (e == ERR_OK)
            e = buf_add(out, STR("\n"));
        (void)e; /* the buffer has no limit */
    }
}

uint32_t
store_mem_batches(const struct store_mem *m)
{
    return m->count;
}

const struct batch *
store_mem_batch(const struct store_mem *m, uint32_t i, uint64_t *lsn)
{
    if (i >= m->count)
        return NULL;
    *lsn = m->at[i].lsn;
    return m->at[i].batch;
}
