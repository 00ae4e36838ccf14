#include "store/store_marks.h"

#include "base/check.h"

#include <string.h>

static uint8_t *
put_be(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *out++ = (uint8_t)(value >> (8 * i));
    return out;
}

static uint64_t
get_be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

/* Writes behind the end of an unlimited buffer. */
static uint8_t *
room(struct buf *b, size_t bytes)
{
    uint8_t *p = NULL;
    enum err e = buf_room(b, bytes, &p);
    CHECK(e == ERR_OK);
    return p;
}

void
marks_encode(struct buf *out, const struct mark *mark, uint32_t count)
{
    uint8_t *start = room(out, VARINT_BYTES_MAX + (size_t)count * (8 + VARINT_BYTES_MAX));
    uint8_t *p     = start + varint_put(start, count);
    for (uint32_t i = 0; i < count; i++) {
        p = put_be(p, mark[i].stream, 8);
        p += varint_put(p, mark[i].seq);
    }
    buf_grew(out, (size_t)(p - start));
}

enum err
marks_decode(struct str s, struct mark *mark, uint32_t *count)
{
    uint64_t n, above = 0;
    size_t   at = varint_get(s, &n);
    if (at == 0 || n > STREAMS_MAX)
        return ERR_CORRUPT;
    *count = (uint32_t)n;
    for (uint64_t i = 0; i < n; i++) {
        if (s.n - at < 8)
            return ERR_CORRUPT;
        struct mark m = {.stream = get_be64(s.p + at)};
        at += 8;
        size_t used = varint_get(str_cut(s, at, s.n), &m.seq);
        if (used == 0 || m.stream <= above)
            return ERR_CORRUPT;
        at += used;
        above = m.stream;
        if (mark)
            mark[i] = m;
    }
    return at == s.n ? ERR_OK : ERR_CORRUPT;
}

struct hash128
marks_digest(struct str topic, struct str headers, struct str body)
{
    uint8_t topic_bytes[2], headers_bytes[4];
    put_be(topic_bytes, topic.n, 2);
    put_be(headers_bytes, headers.n, 4);
    const struct str part[] = {{topic_bytes, 2}, topic, {headers_bytes, 4}, headers, body};
    return hash128(part, sizeof part / sizeof part[0]);
}

struct hash128
marks_chain(const struct batch *b, struct buf *scratch)
{
    size_t fixed = 16 + 8 + 8 + 4 + 8 + 8 + 1 + 4;
    buf_reset(scratch);
    uint8_t *start = room(scratch, fixed + b->origin.n + (size_t)b->deps_count * 16 +
                                       (size_t)b->count * sizeof(struct hash128));
    uint8_t *p     = start;
    memcpy(p, b->prev.b, sizeof b->prev.b);
    p = put_be(p + sizeof b->prev.b, b->stream, 8);
    p = put_be(p, b->first, 8);
    p = put_be(p, b->count, 4);
    p = put_be(p, b->lamport_first, 8);
    p = put_be(p, (uint64_t)b->wall.ms, 8);
    p = put_be(p, b->origin.n, 1);
    if (b->origin.n > 0)
        memcpy(p, b->origin.p, b->origin.n);
    p = put_be(p + b->origin.n, b->deps_count, 4);
    for (uint32_t i = 0; i < b->deps_count; i++)
        p = put_be(put_be(p, b->deps[i].stream, 8), b->deps[i].seq, 8);
    for (uint32_t i = 0; i < b->count; i++, p += sizeof(struct hash128))
        memcpy(p, b->msg[i].digest.b, sizeof(struct hash128));
    struct str all = {start, (size_t)(p - start)};
    return hash128(&all, 1);
}
