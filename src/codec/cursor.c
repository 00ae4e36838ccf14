#include "codec/cursor.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

enum {
    CURSOR_VERSION = 1,
    CRC_BYTES      = 4,
    HEAD_BYTES     = 1 + 4, /* version, tag */
    BYTES_MIN      = HEAD_BYTES + 1 + 1 + CRC_BYTES,
    ENTRY_MIN      = 8 + 1,
    VARINT_MAX     = 9,    /* bytes, for up to 2^63-1 */
    SMALL_BYTES    = 1024, /* decoded on the stack; more needs memory for a moment */
};

uint32_t
cursor_cluster_tag(struct str cluster)
{
    return (uint32_t)hash64(cluster);
}

/* ---- bytes ---- */

static size_t
varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static uint8_t *
put_varint(uint8_t *at, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *at++ = (uint8_t)(v | 0x80);
    *at = (uint8_t)v;
    return at + 1;
}

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

/* False: too long, cut off, or not the shortest form. */
static bool
get_varint(struct str *in, uint64_t *value)
{
    uint64_t v = 0;
    for (size_t i = 0; i < VARINT_MAX && i < in->n; i++) {
        v |= (uint64_t)(in->p[i] & 0x7f) << (7 * i);
        if (in->p[i] & 0x80)
            continue;
        if (i > 0 && in->p[i] == 0)
            return false;
        *value = v;
        *in    = str_cut(*in, i + 1, in->n);
        return true;
    }
    return false;
}

/* ---- base64url ---- */

static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t
text_bytes(size_t bytes)
{
    return (bytes * 4 + 2) / 3;
}

/* `in` may lie at the end of the room that `out` fills: four letters are written
 * only after the three bytes they stand for, and all before them, were read. */
static void
to_text(uint8_t *out, const uint8_t *in, size_t bytes)
{
    for (; bytes >= 3; bytes -= 3, in += 3, out += 4) {
        uint32_t v = (uint32_t)load(in, 3);
        out[0]     = (uint8_t)letter[v >> 18];
        out[1]     = (uint8_t)letter[v >> 12 & 63];
        out[2]     = (uint8_t)letter[v >> 6 & 63];
        out[3]     = (uint8_t)letter[v & 63];
    }
    if (bytes == 0)
        return;
    uint32_t v = (uint32_t)in[0] << 16 | (bytes == 2 ? (uint32_t)in[1] << 8 : 0);
    out[0]     = (uint8_t)letter[v >> 18];
    out[1]     = (uint8_t)letter[v >> 12 & 63];
    if (bytes == 2)
        out[2] = (uint8_t)letter[v >> 6 & 63];
}

/* 0..63, or 64 and above for what is not in the alphabet. */
static uint32_t
value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    return c == '-' ? 62 : c == '_' ? 63 : 64;
}

/* False: not base64url, or bits set behind the last byte. */
static bool
from_text(struct str text, uint8_t *out)
{
    uint32_t bits = 0, have = 0;
    if (text.n % 4 == 1)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        uint32_t v = value_of(text.p[i]);
        if (v > 63)
            return false;
        bits = (bits << 6 | v) & 0xffff;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        *out++ = (uint8_t)(bits >> have);
    }
    return (bits & ((1u << have) - 1)) == 0;
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
    size_t   bytes = bytes_of(stamp, v), text_n = text_bytes(bytes);
    uint8_t *room;
    if (text_n > CURSOR_BYTES_MAX)
        return ERR_LIMIT;
    enum err e = buf_room(out, text_n, &room);
    if (e != ERR_OK)
        return e;

    uint8_t *start = room + text_n - bytes;
    uint8_t *at    = put(start, CURSOR_VERSION, 1);
    at             = put(at, tag, 4);
    at             = put_varint(at, stamp);
    at             = put_varint(at, v->count);
    for (uint32_t i = 0; i < v->count; i++)
        at = put_varint(put(at, v->at[i].stream, 8), v->at[i].seq);
    at = put(at, hash_crc32(0, (struct str){start, bytes - CRC_BYTES}), CRC_BYTES);
    CHECK(at == room + text_n);
    to_text(room, start, bytes);
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
    if (!from_text(text, bytes))
        *problem = "the cursor is not base64url: pass it on as you got it";
    else
        *problem = read_bytes((struct str){bytes, n}, tag, v, stamp);
    if (bytes != small)
        mem_free(bytes);
    return *problem ? ERR_INVALID : ERR_OK;
}
