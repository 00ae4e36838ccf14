#include "core/tail.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"

enum { CAP_MIN = 64 };

void
tail_init(struct tail *t, uint64_t lsn_end, size_t bytes_max)
{
    *t = (struct tail){.lsn_first = lsn_end, .lsn_end = lsn_end, .bytes_max = bytes_max};
}

static struct tail_item *
item(const struct tail *t, uint32_t i)
{
    return &t->ring[(t->first + i) & (t->cap - 1)];
}

const struct tail_item *
tail_item(const struct tail *t, uint32_t i)
{
    CHECK(i < t->count);
    return item(t, i);
}

static void
drop_oldest(struct tail *t)
{
    struct tail_item *oldest = item(t, 0);
    t->bytes -= batch_bytes(oldest->batch);
    blob_drop(oldest->batch);
    t->first = (t->first + 1) & (t->cap - 1);
    t->count--;
    t->lsn_first = t->count > 0 ? item(t, 0)->lsn : t->lsn_end;
}

void
tail_trim(struct tail *t, size_t bytes)
{
    while (t->count > 0 && t->bytes > bytes)
        drop_oldest(t);
    if (t->count == 0) {
        mem_free(t->ring);
        t->ring = NULL;
        t->cap = t->first = 0;
    }
}

void
tail_fini(struct tail *t)
{
    tail_trim(t, 0);
}

static void
fit(struct tail *t)
{
    while (t->bytes > t->bytes_max && t->count > 1)
        drop_oldest(t);
}

void
tail_set_max(struct tail *t, size_t bytes_max)
{
    t->bytes_max = bytes_max;
    fit(t);
}

void
tail_drop_below(struct tail *t, uint64_t lsn)
{
    while (t->count > 0 && t->lsn_first < lsn)
        drop_oldest(t);
}

static void
grow(struct tail *t)
{
    uint32_t          cap  = t->cap > 0 ? t->cap * 2 : CAP_MIN;
    struct tail_item *ring = mem_new(cap * sizeof *ring);
    for (uint32_t i = 0; i < t->count; i++)
        ring[i] = *item(t, i);
    mem_free(t->ring);
    t->ring  = ring;
    t->first = 0;
    t->cap   = cap;
}

void
tail_push(struct tail *t, struct batch *b, bool late)
{
    if (t->count == t->cap)
        grow(t);
    blob_keep(b);
    *item(t, t->count++) = (struct tail_item){t->lsn_end, b, late};
    t->bytes += batch_bytes(b);
    t->lsn_end += batch_lsns(b);
    fit(t);
}

static uint32_t
digests_alone(const struct batch *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->count; i++)
        n += b->msg[i].flags & MSG_DIGEST_ONLY;
    return n;
}

void
tail_mend(struct tail *t, struct batch *b)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct tail_item *it = item(t, i);
        if (it->batch->stream != b->stream || !hash128_eq(it->batch->chain, b->chain) ||
            digests_alone(it->batch) <= digests_alone(b))
            continue;
        blob_keep(b);
        t->bytes += batch_bytes(b) - batch_bytes(it->batch);
        blob_drop(it->batch);
        it->batch = b;
    }
}

const struct tail_item *
tail_at(const struct tail *t, uint64_t lsn)
{
    if (lsn < t->lsn_first || lsn >= t->lsn_end)
        return NULL;
    /* Most who ask are close behind the newest: in steps that double from there, then by halves. */
    uint32_t low = t->count - 1, high = t->count;
    while (item(t, low)->lsn > lsn) {
        uint32_t step = 2 * (t->count - low);
        high          = low;
        low           = step < t->count ? t->count - step : 0;
    }
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (item(t, mid)->lsn <= lsn)
            low = mid;
        else
            high = mid;
    }
    return item(t, low);
}
