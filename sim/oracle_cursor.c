/* oracle_cursor.c - S13: the algebra of cursors, on those that clients really carry. */
#include "base/check.h"
#include "codec/cursor.h"
#include "core/broker_part.h"
#include "core/vector.h"
#include "sim/oracle.h"
#include "sim/oracle_part.h"

#include <string.h>

enum { MARK_BYTES_MAX = 8 + 9, REST_BYTES_MAX = 32 };

static bool
are_equal(const struct vector *a, const struct vector *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->at, b->at, a->count * sizeof *a->at) == 0);
}

static void
join(struct vector *to, const struct vector *a, const struct vector *b)
{
    enum err e = vector_copy(to, a);
    CHECK(e == ERR_OK);
    e = vector_merge(to, b);
    CHECK(e == ERR_OK);
}

/* No more than both hold, and all of it. */
static bool
is_least(const struct vector *join, const struct vector *a, const struct vector *b)
{
    for (uint32_t i = 0; i < join->count; i++) {
        uint64_t x = vector_seq(a, join->at[i].stream), y = vector_seq(b, join->at[i].stream);
        if (join->at[i].seq != (x > y ? x : y) ||
            (i > 0 && join->at[i - 1].stream >= join->at[i].stream))
            return false;
    }
    return vector_covers(join, a) && vector_covers(join, b);
}

static void
check_merge(struct sim *s, uint32_t i, const struct vector *a, const struct vector *b,
            const struct vector *c)
{
    struct vector ab = {0}, ba = {0}, bc = {0}, left = {0}, right = {0};
    join(&ab, a, b);
    join(&ba, b, a);
    join(&bc, b, c);
    join(&left, &ab, c);
    join(&right, a, &bc);
    sim_must(s, are_equal(&ab, &ba), "S13: merge depends on the order", i);
    sim_must(s, are_equal(&left, &right), "S13: merge depends on what is merged first", i);
    sim_must(s, is_least(&ab, a, b), "S13: merge is not the least above both", i);
    join(&ba, &ab, b);
    sim_must(s, are_equal(&ab, &ba), "S13: merged again is something else", i);
    vector_fini(&ab);
    vector_fini(&ba);
    vector_fini(&bc);
    vector_fini(&left);
    vector_fini(&right);
}

/* The client goes on with what comes out of its text. */
static void
check_text(struct sim *s, uint32_t i, struct sim_sub *sub)
{
    struct buf    text;
    struct vector back  = {0};
    uint64_t      stamp = 0;
    const char   *problem;
    uint32_t      tag = cursor_cluster_tag(STR("sim"));
    buf_init(&text, 0);
    enum err e = cursor_encode(&text, tag, sub->stamp, &sub->cursor);
    sim_must(s, e == ERR_OK, "S13: a cursor has no text", i);
    size_t bytes = REST_BYTES_MAX + (size_t)sub->cursor.count * MARK_BYTES_MAX;
    sim_must(s, text.n <= (bytes * 4 + 2) / 3, "S13: the text is larger than its marks", i);
    e = cursor_decode(buf_str(&text), tag, &back, &stamp, &problem);
    sim_must(s, e == ERR_OK && stamp == sub->stamp && are_equal(&back, &sub->cursor),
             "S13: decoded it is another cursor", i);
    vector_fini(&sub->cursor);
    sub->cursor = back;
    buf_fini(&text);
}

void
oracle_cursor(struct sim *s, struct sim_sub *sub)
{
    const struct sim_sub *other = &s->sub[sub->cursor.count % s->sub_count];
    check_text(s, sub->node, sub);
    for (uint32_t k = 0; k < s->sub_count; k++)
        check_merge(s, sub->node, &sub->cursor, &s->sub[k].cursor, &other->cursor);
}

/* Who has seen all that there is carries what is in the vector, and streams that its broker
 * does not know; not what was retired. */
void
oracle_cursor_at_head(struct sim *s, uint32_t number)
{
    const struct sim_sub *sub = &s->sub[number];
    const struct broker  *b   = s->node[sub->node].broker;
    sim_hear_cursor(s, number);
    for (uint32_t k = 0; k < sub->cursor.count; k++)
        sim_must(s, !journal_retired(&b->journal, sub->cursor.at[k].stream),
                 "S13: a cursor carries what is retired", sub->node);
}
