/* gap_kit.h - streams of which the front is gone, and what was taken of the gaps for them. */
#ifndef TESTS_GAP_KIT_H
#define TESTS_GAP_KIT_H

#include "tests/gossip_kit.h"

/* A stream that was written up to `last`, and nothing of it is anywhere. */
static inline struct writer
gone_upto(uint64_t stream, uint64_t last)
{
    struct writer w = writer_of(stream);
    while (w.next <= last) {
        uint64_t rest  = last - w.next + 1;
        uint32_t count = rest < BATCH_MESSAGES_MAX ? (uint32_t)rest : BATCH_MESSAGES_MAX;
        blob_drop(write_batch(&w, (struct writing){.count = count}));
    }
    return w;
}

/* GAPs are quiet: they are judged. */
static inline void
judge(struct desk *d)
{
    wait_ms(d, OFFER_QUIET_MS);
    turn(d);
}

static inline struct batch *
taken(const struct desk *d, uint32_t i)
{
    for (uint32_t k = 0; k < d->out.count; k++) {
        const struct effect *e = &d->out.at[k];
        if (e->kind == EFFECT_PERSIST && e->persist.kind == COMMIT_GAPS)
            return i < e->persist.gaps->count ? e->persist.gaps->at[i] : NULL;
    }
    return NULL;
}

static inline void
assert_taken(const struct desk *d, uint32_t i, uint64_t stream, uint64_t first, uint64_t last)
{
    const struct batch *b = taken(d, i);
    assert_non_null(b);
    assert_int_equal(b->stream, stream);
    assert_int_equal(b->first, first);
    assert_int_equal(batch_last(b), last);
}

static inline void
assert_owed(const struct batch *b, const struct vector *want)
{
    const struct vector owed = {.at = (struct mark *)(uintptr_t)b->deps, .count = b->deps_count};
    assert_vector(&owed, want);
}

static inline uint64_t
held(struct desk *d, uint64_t stream)
{
    return journal_find(&d->j, stream)->held;
}

#endif
