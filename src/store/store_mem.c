#include "store/store_mem.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "store/store_page.h"

#include <string.h>

enum { WORK_MAX = 1024 }; /* messages looked at in one read: empty pages are to be met */

struct kept_batch {
    struct batch *batch; /* one reference */
    uint64_t      lsn;
    struct wall   received;
    bool          late;
};

struct store_mem {
    struct kept_batch   *at; /* by lsn */
    uint32_t             count, cap;
    struct stream_state *stream; /* by id; origin lies in the stream's first batch */
    uint32_t             stream_count, stream_cap;
    struct member_list  *members; /* one reference; NULL: never stored */
    struct token         token;
    uint64_t             epoch, lsn;

    /* Of the process, not of the disk. */
    struct recovered recovered;
    bool             is_refusing;
    uint32_t         fail_in, fail_count; /* transactions until the first failure; failures */
    enum err         fail_err;
};

struct store_mem *
store_mem_new(void)
{
    return mem_new(sizeof(struct store_mem));
}

void
store_mem_wipe(struct store_mem *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        blob_drop(m->at[i].batch);
    blob_drop(m->members);
    mem_free(m->at);
    mem_free(m->stream);
    mem_free((void *)(uintptr_t)m->recovered.stream);
    *m = (struct store_mem){0};
}

void
store_mem_free(struct store_mem *m)
{
    if (m)
        store_mem_wipe(m);
    mem_free(m);
}

static void *
duplicate(const void *p, size_t bytes)
{
    void *to = mem_new(bytes > 0 ? bytes : 1);
    if (bytes > 0)
        memcpy(to, p, bytes);
    return to;
}

struct store_mem *
store_mem_copy(const struct store_mem *m)
{
    struct store_mem *c = store_mem_new();
    c->at               = duplicate(m->at, m->count * sizeof *m->at);
    c->count = c->cap = m->count;
    c->stream         = duplicate(m->stream, m->stream_count * sizeof *m->stream);
    c->stream_count = c->stream_cap = m->stream_count;
    c->members                      = m->members;
    c->token                        = m->token;
    c->epoch                        = m->epoch;
    c->lsn                          = m->lsn;
    for (uint32_t i = 0; i < c->count; i++)
        blob_keep(c->at[i].batch);
    if (c->members)
        blob_keep(c->members);
    return c;
}

/* ---- streams ---- */

static uint32_t
place_of(const struct store_mem *m, uint64_t stream)
{
    uint32_t low = 0, high = m->stream_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (m->stream[mid].stream < stream)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Made on demand. */
static struct stream_state *
stream_of(struct store_mem *m, uint64_t stream)
{
    uint32_t i = place_of(m, stream);
    if (i < m->stream_count && m->stream[i].stream == stream)
        return &m->stream[i];
    if (m->stream_count == m->stream_cap) {
        m->stream_cap = m->stream_cap > 0 ? m->stream_cap * 2 : 16;
        m->stream     = mem_resize(m->stream, m->stream_cap * sizeof *m->stream);
    }
    memmove(&m->stream[i + 1], &m->stream[i], (m->stream_count - i) * sizeof *m->stream);
    m->stream[i] = (struct stream_state){.stream = stream};
    m->stream_count++;
    return &m->stream[i];
}

const struct recovered *
store_mem_recover(struct store_mem *m)
{
    struct recovered *r = &m->recovered;
    mem_free((void *)(uintptr_t)r->stream);
    *r = (struct recovered){
        .stream       = duplicate(m->stream, m->stream_count * sizeof *m->stream),
        .stream_count = m->stream_count,
        .member       = m->members ? m->members->at : NULL,
        .member_count = m->members ? m->members->count : 0,
        .token        = m->token,
        .epoch        = m->epoch,
        .lsn          = m->lsn,
    };
    for (uint32_t i = 0; i < m->stream_count; i++)
        if (m->stream[i].stamp > r->stamp)
            r->stamp = m->stream[i].stamp;
    m->is_refusing = false;
    return r;
}

/* ---- commits ---- */

static void
append(struct store_mem *m, const struct commit *c, struct wall received)
{
    struct batch        *b  = c->batch;
    struct stream_state *st = stream_of(m, b->stream);
    CHECK(b->first == st->head + 1); /* the store rule: core's promise */
    if (m->count == m->cap) {
        m->cap = m->cap > 0 ? m->cap * 2 : 64;
        m->at  = mem_resize(m->at, m->cap * sizeof *m->at);
    }
    blob_keep(b);
    m->at[m->count++] = (struct kept_batch){b, m->lsn + 1, received, c->late};
    m->lsn += b->count;
    if (st->head == 0)
        st->origin = b->origin;
    st->head  = batch_last(b);
    st->chain = b->chain;
    st->stamp = b->lamport_first + b->count - 1;
}

static void
apply(struct store_mem *m, const struct commit *c, struct wall received)
{
    switch (c->kind) {
    case COMMIT_BATCH:
        append(m, c, received);
        return;
    case COMMIT_ELECTION:
        m->token = c->token;
        m->epoch = c->epoch;
        return;
    case COMMIT_MEMBERS:
        blob_keep(c->members);
        /* What was recovered points into it. */
        m->recovered.member       = NULL;
        m->recovered.member_count = 0;
        blob_drop(m->members);
        m->members = c->members;
        return;
    case COMMIT_FROZEN:
        stream_of(m, c->stream)->frozen = true;
        return;
    case COMMIT_PROBE:
    case COMMIT_WAIVED:
    case COMMIT_LATEST:
    case COMMIT_REPAIR:
    case COMMIT_KNOWN:
        return;
    }
}

static enum err
next_outcome(struct store_mem *m)
{
    if (m->fail_count == 0)
        return ERR_OK;
    if (m->fail_in > 1) {
        m->fail_in--;
        return ERR_OK;
    }
    if (m->fail_count != UINT32_MAX)
        m->fail_count--;
    return m->fail_err;
}

static void
transact(struct store_mem *m, const struct commit *commit, uint32_t count, struct wall received,
         struct commit_result *result)
{
    enum err e     = next_outcome(m);
    m->is_refusing = e != ERR_OK;
    for (uint32_t i = 0; i < count; i++) {
        result[i] = (struct commit_result){e, m->lsn + 1};
        if (e == ERR_OK)
            apply(m, &commit[i], received);
    }
}

void
store_mem_commit(struct store_mem *m, const struct commit *commit, uint32_t count,
                 struct wall received, struct commit_result *result)
{
    uint32_t i = 0;
    for (; i < count && m->is_refusing; i++) {
        result[i] = (struct commit_result){.err = ERR_FULL};
        if (commit[i].kind == COMMIT_PROBE)
            transact(m, &commit[i], 1, received, &result[i]);
    }
    if (i < count)
        transact(m, commit + i, count - i, received, result + i);
}

void
store_mem_fail(struct store_mem *m, uint32_t k, uint32_t count, enum err e)
{
    m->fail_in    = k;
    m->fail_count = count;
    m->fail_err   = e;
}

/* ---- reading ---- */

/* The index of the batch at or behind `lsn`. */
static uint32_t
batch_at(const struct store_mem *m, uint64_t lsn)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (m->at[mid].lsn + m->at[mid].batch->count <= lsn)
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
            return read->start == READ_SINCE || have < k->batch->first
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
        page_raise(out, (struct mark){b->stream, b->first + upto - 1});
        if (b->lamport_first + upto - 1 > stamp)
            stamp = b->lamport_first + upto - 1;
    }
    return stamp;
}

static void
take_message(const struct store_mem *m, const struct kept_batch *k, uint32_t i,
             const struct read *read, struct page_maker *page)
{
    const struct batch *b    = k->batch;
    const struct msg   *msg  = &b->msg[i];
    struct mark         mark = {b->stream, b->first + i};
    if (msg->flags & MSG_DIGEST_ONLY || page_seq(&read->have, mark.stream) >= mark.seq ||
        (read->want && !read->want(read->want_ctx, msg->topic)))
        return;
    struct entry e = {.lsn     = k->lsn + i,
                      .mark    = mark,
                      .lamport = b->lamport_first + i,
                      .wall    = b->wall,
                      .late    = k->late,
                      .origin  = page_text(page, m->stream[place_of(m, mark.stream)].origin),
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
        while (page->lsn_next < k->lsn + k->batch->count) {
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
        uint64_t                 end = k->lsn + k->batch->count;
        if (k->lsn > read->lsn_last)
            break;
        if (end - 1 > read->lsn_last || page_is_full(page, read))
            return;
        if (page_seq(&read->have, k->batch->stream) < batch_last(k->batch)) {
            blob_keep(k->batch);
            page_batch(page, k->batch, k->lsn);
        }
        page->lsn_next = end;
    }
    if (!page_is_full(page, read))
        page->lsn_next = read->lsn_last + 1;
}

enum err
store_mem_read(const struct store_mem *m, const struct read *read, struct page **out)
{
    struct page_maker page;
    page_maker_init(&page);
    page.lsn_first = start_of(m, read);
    if (page.lsn_first > read->lsn_last)
        page.lsn_first = read->lsn_last + 1;
    page.lsn_next = page.lsn_first;
    if (read->start == READ_SINCE)
        marks_between(m, 1, page.lsn_first, &page.before);
    if (read->batches)
        scan_batches(m, read, &page);
    else
        scan_messages(m, read, &page);
    page.stamp = marks_between(m, page.lsn_first, page.lsn_next, &page.scanned);
    *out       = page_make(&page);
    page_maker_fini(&page);
    return ERR_OK;
}

/* ---- for comparison ---- */

void
store_mem_dump(const struct store_mem *m, struct buf *out)
{
    for (uint32_t i = 0; i < m->stream_count; i++) {
        const struct stream_state *st = &m->stream[i];
        enum err e = buf_addf(out, "%016llx %llu..%llu ", (unsigned long long)st->stream,
                              (unsigned long long)st->floor + 1, (unsigned long long)st->head);
        for (size_t k = 0; k < sizeof st->chain.b && e == ERR_OK; k++)
            e = buf_addf(out, "%02x", st->chain.b[k]);
        if (e == ERR_OK)
            e = buf_add(out, STR("\n"));
        CHECK(e == ERR_OK); /* the buffer has no limit */
    }
}

const struct batch *
store_mem_batch(const struct store_mem *m, uint32_t i, uint64_t *lsn)
{
    if (i >= m->count)
        return NULL;
    *lsn = m->at[i].lsn;
    return m->at[i].batch;
}
