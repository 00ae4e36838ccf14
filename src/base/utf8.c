#include "base/utf8.h"

#include <string.h>

size_t
utf8_decode(struct str s, uint32_t *code_point)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t               head     = s.p[0];
    size_t                n        = head < 0x80   ? 1
                                     : head < 0xc2 ? 0
                                     : head < 0xe0 ? 2
                                     : head < 0xf0 ? 3
                                     : head < 0xf5 ? 4
                                                   : 0;
    if (n == 0 || n > s.n)
        return 0;
    uint32_t v = n == 1 ? head : head & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s.p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (s.p[i] & 0x3fu);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    *code_point = v;
    return n;
}

bool
utf8_is_valid(struct str s)
{
    size_t i = 0;
    while (i < s.n) {
        uint64_t word; /* eight ASCII bytes at once: most bodies are ASCII */
        if (s.n - i >= sizeof word) {
            memcpy(&word, s.p + i, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof word;
                continue;
            }
        }
        uint32_t code_point;
        size_t   n = utf8_decode(str_cut(s, i, s.n), &code_point);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

size_t
utf8_encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)((0xf00u >> n) | c);
    return n;
}
