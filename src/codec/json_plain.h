/* json_plain.h - where a run of plain string bytes ends; private to the JSON codec.
 *
 * Eight bytes at once.  A byte's top bit in the mask says that it is of a kind; bits
 * above the lowest one set may be wrong (a borrow runs upwards), the lowest never is,
 * and only that one is used. */
#ifndef CODEC_JSON_PLAIN_H
#define CODEC_JSON_PLAIN_H

#include "base/str.h"

#include <string.h>

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_TOPS UINT64_C(0x8080808080808080)

/* Bytes that end a plain run: the quote, the backslash, controls. */
static inline uint64_t
json_special(uint64_t w)
{
    uint64_t quote = w ^ JSON_ONES * '"';
    uint64_t slash = w ^ JSON_ONES * '\\';
    return (((quote - JSON_ONES) & ~quote) | ((slash - JSON_ONES) & ~slash) |
            ((w - JSON_ONES * 0x20) & ~w)) &
           JSON_TOPS;
}

/* The first byte in memory is the lowest. */
static inline uint64_t
json_load(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

/* Index of the first of these at or behind `at`, or s.n; `also` is JSON_TOPS to stop at bytes
 * beyond ASCII, too. */
static inline size_t
json_run(struct str s, size_t at, uint64_t also)
{
    while (s.n - at >= sizeof(uint64_t)) {
        uint64_t w   = json_load(s.p + at);
        uint64_t hit = json_special(w) | (w & also);
        if (hit != 0)
            return at + ((size_t)__builtin_ctzll(hit) >> 3);
        at += sizeof w;
    }
    while (at < s.n && s.p[at] != '"' && s.p[at] != '\\' && s.p[at] >= 0x20 &&
           !(s.p[at] & also & 0x80))
        at++;
    return at;
}

static inline size_t
json_plain(struct str s, size_t at)
{
    return json_run(s, at, 0);
}

static inline size_t
json_plain_ascii(struct str s, size_t at)
{
    return json_run(s, at, JSON_TOPS);
}

#endif
