#include "core/vector.h"

#include "base/mem.h"
#include "core/types_marks.h"

#include <string.h>

void
vector_init(struct vector *v)
{
    *v = (struct vector){0};
}

void
vector_fini(struct vector *v)
{
    mem_free(v->at);
    vector_init(v);
}

void
vector_reset(struct vector *v)
{
    v->count = 0;
}

static uint32_t
find(const struct vector *v, uint64_t stream)
{
    return marks_place(v->at, v->count, stream);
}

static bool
is_at(const struct vector *v, uint32_t i, uint64_t stream)
{
    return i < v->count && v->at[i].stream == stream;
}

uint64_t
vector_seq(const struct vector *v, uint64_t stream)
{
    uint32_t i = find(v, stream);
    return is_at(v, i, stream) ? v->at[i].seq : 0;
}

bool
vector_has(const struct vector *v, struct mark m)
{
    return m.seq <= vector_seq(v, m.stream);
}

static void
reserve(struct vector *v, uint32_t count)
{
    if (count <= v->cap)
        return;
    uint32_t cap = v->cap > 0 ? v->cap : 8;
    while (cap < count)
        cap *= 2;
    v->at  = mem_resize(v->at, cap * sizeof *v->at);
    v->cap = cap;
}

static enum err
insert(struct vector *v, uint32_t i, struct mark m)
{
    if (v->count == STREAMS_MAX)
        return ERR_LIMIT;
    reserve(v, v->count + 1);
    memmove(&v->at[i + 1], &v->at[i], (v->count - i) * sizeof *v->at);
    v->at[i] = m;
    v->count++;
    return ERR_OK;
}

enum err
vector_raise(struct vector *v, struct mark m)
{
    uint32_t i = find(v, m.stream);
    if (!is_at(v, i, m.stream))
        return m.seq > 0 ? insert(v, i, m) : ERR_OK;
    if (m.seq > v->at[i].seq)
        v->at[i].seq = m.seq;
    return ERR_OK;
}

enum err
vector_set(struct vector *v, struct mark m)
{
    uint32_t i = find(v, m.stream);
    if (!is_at(v, i, m.stream))
        return m.seq > 0 ? insert(v, i, m) : ERR_OK;
    v->at[i].seq = m.seq;
    if (m.seq == 0) {
        v->count--;
        memmove(&v->at[i], &v->at[i + 1], (v->count - i) * sizeof *v->at);
    }
    return ERR_OK;
}

/* How many streams are in v or in other. */
static uint32_t
union_count(const struct vector *v, const struct vector *other)
{
    uint32_t n = v->count, i = 0;
    for (uint32_t k = 0; k < other->count; k++) {
        while (i < v->count && v->at[i].stream < other->at[k].stream)
            i++;
        n += !is_at(v, i, other->at[k].stream);
    }
    return n;
}

/* One by one it would be quadratic, and clients bring vectors of thousands of streams.  From
 * the back: the highest goes to the end, where there is room. */
static void
merge(struct vector *v, const struct vector *other, uint32_t count)
{
    uint32_t i = v->count, k = other->count;
    reserve(v, count);
    for (uint32_t to = count; k > 0; to--) {
        struct mark m = other->at[k - 1];
        if (i > 0 && v->at[i - 1].stream > m.stream) {
            v->at[to - 1] = v->at[--i];
            continue;
        }
        if (i > 0 && v->at[i - 1].stream == m.stream && v->at[--i].seq > m.seq)
            m.seq = v->at[i].seq;
        v->at[to - 1] = m;
        k--;
    }
    v->count = count;
}

enum err
vector_merge(struct vector *v, const struct vector *other)
{
    uint32_t count = union_count(v, other);
    if (count <= STREAMS_MAX) {
        merge(v, other, count);
        return ERR_OK;
    }
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < other->count && e == ERR_OK; i++)
        e = vector_raise(v, other->at[i]);
    return e;
}

enum err
vector_copy(struct vector *v, const struct vector *from)
{
    if (from->count > STREAMS_MAX)
        return ERR_LIMIT;
    reserve(v, from->count);
    if (from->count > 0)
        memcpy(v->at, from->at, from->count * sizeof *v->at);
    v->count = from->count;
    return ERR_OK;
}

bool
vector_covers(const struct vector *v, const struct vector *other)
{
    uint32_t i = 0;
    for (uint32_t k = 0; k < other->count; k++) {
        while (i < v->count && v->at[i].stream < other->at[k].stream)
            i++;
        uint64_t seq = is_at(v, i, other->at[k].stream) ? v->at[i].seq : 0;
        if (seq < other->at[k].seq)
            return false;
    }
    return true;
}
