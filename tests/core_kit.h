/* core_kit.h - what the tests of core share: a writer of batches, and a journal's two steps.
 *
 * Bodies are "<seq>" with blanks behind, so a test can tell which message it got. */
#ifndef TESTS_CORE_KIT_H
#define TESTS_CORE_KIT_H

#include "tests/unit.h"

#include "base/blob.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/journal.h"

#include <stdio.h>
#include <string.h>

/* One stream as its origin writes it. */
struct writer {
    uint64_t       stream, next, lamport;
    struct hash128 chain;
};

struct writing {
    uint32_t           count;  /* 0: one message */
    const char        *topic;  /* NULL: "t" */
    size_t             body_n; /* 0: as long as the seq */
    uint64_t           lamport;
    const struct mark *deps;
    uint32_t           deps_count;
};

static inline struct writer
writer_of(uint64_t stream)
{
    return (struct writer){.stream = stream, .next = 1, .lamport = 1};
}

static inline struct batch *
write_batch(struct writer *w, struct writing how)
{
    enum { SEQ_BYTES = 21 };
    uint32_t    count = how.count > 0 ? how.count : 1;
    size_t      room  = how.body_n > SEQ_BYTES ? how.body_n : SEQ_BYTES;
    struct msg *msg   = mem_new(count * sizeof *msg);
    uint8_t    *text  = mem_new(count * room);
    memset(text, ' ', count * room);
    for (uint32_t i = 0; i < count; i++) {
        char seq[SEQ_BYTES];
        int  n = snprintf(seq, sizeof seq, "%llu", (unsigned long long)(w->next + i));
        memcpy(text + i * room, seq, (size_t)n);
        msg[i].topic = str_of(how.topic ? how.topic : "t");
        msg[i].body  = (struct str){text + i * room, how.body_n > 0 ? how.body_n : (size_t)n};
    }
    if (how.lamport > w->lamport)
        w->lamport = how.lamport;
    const struct batch_parts parts = {.stream        = w->stream,
                                      .first         = w->next,
                                      .prev          = w->chain,
                                      .lamport_first = w->lamport,
                                      .wall          = {1700000000000},
                                      .origin = w->next == 1 ? STR("host:3000") : (struct str){0},
                                      .deps   = how.deps,
                                      .deps_count = how.deps_count,
                                      .msg        = msg,
                                      .count      = count};
    struct batch            *b     = batch_make(&parts);
    w->next += count;
    w->lamport += count;
    w->chain = b->chain;
    mem_free(text);
    mem_free(msg);
    return b;
}

static inline struct batch *
write_one(struct writer *w)
{
    return write_batch(w, (struct writing){0});
}

/* Another reference to the same batch. */
static inline struct batch *
again(struct batch *b)
{
    blob_keep(b);
    return b;
}

/* From a peer to the disk; the reference goes. */
static inline uint64_t
journal_put(struct journal *j, struct batch *b)
{
    struct mark missing;
    uint64_t    lsn = j->lsn + 1;
    assert_int_equal(journal_judge(j, b, &missing, &(bool){0}), VERDICT_STORE);
    journal_hand_over(j, b);
    journal_persist(j, b, lsn, false);
    blob_drop(b);
    return lsn;
}

/* A borrowed vector from marks that are sorted by stream. */
#define VECTOR(...)                                                                                \
    ((struct vector){.at    = (struct mark[]){__VA_ARGS__},                                        \
                     .count = sizeof((struct mark[]){__VA_ARGS__}) / sizeof(struct mark),          \
                     .cap   = sizeof((struct mark[]){__VA_ARGS__}) / sizeof(struct mark)})
static const struct vector nothing = {0};

static inline void
assert_vector(const struct vector *v, const struct vector *want)
{
    assert_int_equal(v->count, want->count);
    for (uint32_t i = 0; i < v->count; i++) {
        assert_int_equal(v->at[i].stream, want->at[i].stream);
        assert_int_equal(v->at[i].seq, want->at[i].seq);
    }
}

#endif
