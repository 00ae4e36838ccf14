#include "codec/cursor.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/varint.h"
#include "codec/base64.h"

#include <string.h>

enum {
    CURSOR_VERSION = 1,
    CRC_BYTES      = 4,
    HEAD_BYTES     = 1 + 4, /* version, tag */
    BYTES_MIN      = HEAD_BYTES + 1 + 1 + CRC_BYTES,
    ENTRY_MIN      = 8 + 1,
    SMALL_BYTES    = 1024, /* decoded on the stack; more needs memory for a moment */
};

uint32_t
cursor_cluster_tag(struct str cluster)
{
    return (uint32_t)hash64(cluster);
}

/* ---- bytes ---- */

static uint8_t *
put(uint8_t *at, uint64_t v, unsigned bytes)
{
    for (unsigned i = bytes; i > 0; i--, v >>= 8)
        at[i - 1] = (uint8_t)v;
    return at + bytes;
}

static uint64_t
load(const uint8_t *at, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | at[i];
    return v;
}

/* Off the front of *in.  False: none, or more than a seq or a stamp may be. */
static bool
get_varint(struct str *in, uint64_t *value)
{
    size_t n = varint_get(*in, value);
    *in      = str_cut(*in, n, in->n);
    return n > 0 && *value <= INT64_MAX;
}

/* ---- cursors ---- */

static size_t
bytes_of(uint64_t stamp, const struct vector *v)
{
    size_t n = HEAD_BYTES + varint_bytes(stamp) + varint_bytes(v->count) + CRC_BYTES;
    for (uint32_t i = 0; i < v->count; i++)
        n += 8 + varint_bytes(v->at[i].seq);
    return n;
}

enum err
cursor_encode(struct buf *out, uint32_t tag, uint64_t stamp, const struct vector *v)
{
    size_t   bytes = bytes_of(stamp, v), text_n = base64url_bytes(bytes);
    uint8_t *room;
    if (text_n > CURSOR_BYTES_MAX)
        return ERR_LIMIT;
    enum err e = buf_room(out, text_n, &room);
    if (e != ERR_OK)
        return e;

    uint8_t *start = room + text_n - bytes;
    uint8_t *at    = put(start, CURSOR_VERSION, 1);
    at             = put(at, tag, 4);
    at += varint_put(at, stamp);
    at += varint_put(at, v->count);
    for (uint32_t i = 0; i < v->count; i++) {
        at = put(at, v->at[i].stream, 8);
        at += varint_put(at, v->at[i].seq);
    }
    at = put(at, hash_crc32(0, (struct str){start, bytes - CRC_BYTES}), CRC_BYTES);
    CHECK(at == room + text_n);
    base64url_encode(room, start, bytes);
    buf_grew(out, text_n);
    return ERR_OK;
}

static const char *
read_marks(struct str in, uint64_t count, struct vector *v)
{
    static const char malformed[] = "the cursor is malformed";
    if (count > STREAMS_MAX || count > in.n / ENTRY_MIN)
        return malformed;
    if (count > v->cap) {
        v->at  = mem_resize(v->at, count * sizeof *v->at);
        v->cap = (uint32_t)count;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (in.n < ENTRY_MIN)
            return malformed;
        struct mark m = {.stream = load(in.p, 8)};
        in            = str_cut(in, 8, in.n);
        if (!get_varint(&in, &m.seq) || m.seq == 0 || m.stream == 0 || m.stream > INT64_MAX)
            return malformed;
        if (i > 0 && v->at[i - 1].stream >= m.stream)
            return "the cursor's streams are not sorted";
        v->at[i] = m;
    }
    if (in.n > 0)
        return malformed;
    v->count = (uint32_t)count;
    return NULL;
}

/* NULL, or what is wrong with a cursor's bytes. */
static const char *
read_bytes(struct str in, uint32_t tag, struct vector *v, uint64_t *stamp)
{
    struct str body = str_cut(in, 0, in.n - CRC_BYTES);
    uint64_t   count, highest;
    if (load(in.p + body.n, CRC_BYTES) != hash_crc32(0, body))
        return "the cursor was damaged on its way: its check does not fit";
    if (in.p[0] > CURSOR_VERSION)
        return "the cursor is from a newer version of Hearsay: upgrade this broker";
    if (in.p[0] < CURSOR_VERSION)
        return "the cursor is malformed";
    if (load(in.p + 1, 4) != tag)
        return "the cursor is from another cluster: start with earliest or latest here";
    body = str_cut(body, HEAD_BYTES, body.n);
    if (!get_varint(&body, &highest) || highest > STAMP_MAX || !get_varint(&body, &count))
        return "the cursor is malformed";
    const char *problem = read_marks(body, count, v);
    if (!problem)
        *stamp = highest;
    return problem;
}

enum err
cursor_decode(struct str text, uint32_t tag, struct vector *v, uint64_t *stamp,
              const char **problem)
{
    uint8_t small[SMALL_BYTES], *bytes = small;
    size_t  n = text.n / 4 * 3 + (text.n % 4 * 3) / 4;

    v->count = 0;
    *problem = NULL;
    if (text.n > CURSOR_BYTES_MAX)
        *problem = "the cursor is too long";
    else if (n < BYTES_MIN)
        *problem = "the cursor is too short: was it cut off?";
    if (*problem)
        return ERR_INVALID;

    if (n > sizeof small)
        bytes = mem_new(n);
    if (!base64url_decode(text, bytes))
        *problem = "the cursor is not base64url: pass it on as you got it";
    else
        *problem = read_bytes((struct str){bytes, n}, tag, v, stamp);
    if (bytes != small)
        mem_free(bytes);
    return *problem ? ERR_INVALID : ERR_OK;
}
