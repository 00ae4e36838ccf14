#include "codec/json_write.h"

static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum err
base64_encode(struct buf *out, struct str bytes)
{
    if (bytes.n > SIZE_MAX / 2)
        return ERR_LIMIT;
    size_t   n = (bytes.n + 2) / 3 * 4;
    uint8_t *to;
    enum err e = buf_room(out, n, &to);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t   left = bytes.n - i;
        uint32_t v    = (uint32_t)bytes.p[i] << 16;
        v |= left > 1 ? (uint32_t)bytes.p[i + 1] << 8 : 0;
        v |= left > 2 ? bytes.p[i + 2] : 0;
        to[0] = (uint8_t)letter[v >> 18];
        to[1] = (uint8_t)letter[v >> 12 & 63];
        to[2] = left > 1 ? (uint8_t)letter[v >> 6 & 63] : '=';
        to[3] = left > 2 ? (uint8_t)letter[v & 63] : '=';
        to += 4;
    }
    buf_grew(out, n);
    return ERR_OK;
}

/* 0..63, or 64 for what is no letter of the alphabet. */
static uint32_t
value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

enum err
base64_decode(struct str text, uint8_t *room, struct str *bytes)
{
    if (text.n % 4 != 0)
        return ERR_INVALID;
    size_t pad = text.n == 0 ? 0 : text.p[text.n - 2] == '=' ? 2 : text.p[text.n - 1] == '=';
    if (pad == 2 && text.p[text.n - 1] != '=')
        return ERR_INVALID;
    size_t   n   = 0;
    uint32_t v   = 0;
    uint32_t bad = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint32_t six = i < text.n - pad ? value_of(text.p[i]) : 0;
        bad |= six & 64;
        v = v << 6 | (six & 63);
        if (i % 4 != 3)
            continue;
        room[n++] = (uint8_t)(v >> 16);
        room[n++] = (uint8_t)(v >> 8);
        room[n++] = (uint8_t)v;
    }
    /* RFC 4648 3.5: the bits that padding leaves unused are zero, or two texts would
     * mean the same bytes. */
    for (size_t i = 0; i < pad; i++)
        bad |= room[--n];
    *bytes = (struct str){room, n};
    return bad ? ERR_INVALID : ERR_OK;
}
