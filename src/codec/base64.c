#include "codec/base64.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
static const char letter[] = LETTERS "+/", url_letter[] = LETTERS "-_";

/* 0..63, or 64 for what is no letter of the alphabet that ends with these two. */
static uint32_t
value_of(uint8_t c, uint8_t last_but_one, uint8_t last)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    return c == last_but_one ? 62 : c == last ? 63 : 64;
}

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
        uint32_t six = i < text.n - pad ? value_of(text.p[i], '+', '/') : 0;
        bad |= six & 64;
        v = v << 6 | (six & 63);
        if (i % 4 != 3)
            continue;
        room[n++] = (uint8_t)(v >> 16);
        room[n++] = (uint8_t)(v >> 8);
        room[n++] = (uint8_t)v;
    }
    for (size_t i = 0; i < pad; i++)
        bad |= room[--n];
    *bytes = (struct str){room, n};
    return bad ? ERR_INVALID : ERR_OK;
}

void
base64url_encode(uint8_t *out, const uint8_t *in, size_t bytes)
{
    for (; bytes >= 3; bytes -= 3, in += 3, out += 4) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        out[0]     = (uint8_t)url_letter[v >> 18];
        out[1]     = (uint8_t)url_letter[v >> 12 & 63];
        out[2]     = (uint8_t)url_letter[v >> 6 & 63];
        out[3]     = (uint8_t)url_letter[v & 63];
    }
    if (bytes == 0)
        return;
    uint32_t v = (uint32_t)in[0] << 16 | (bytes == 2 ? (uint32_t)in[1] << 8 : 0);
    out[0]     = (uint8_t)url_letter[v >> 18];
    out[1]     = (uint8_t)url_letter[v >> 12 & 63];
    if (bytes == 2)
        out[2] = (uint8_t)url_letter[v >> 6 & 63];
}

bool
base64url_decode(struct str text, uint8_t *out)
{
    uint32_t bits = 0, have = 0;
    if (text.n % 4 == 1)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        uint32_t v = value_of(text.p[i], '-', '_');
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
