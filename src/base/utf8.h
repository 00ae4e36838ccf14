/* utf8.h - is a run of bytes UTF-8 (RFC 3629: no surrogates, no overlong forms)? */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/str.h"

bool utf8_is_valid(struct str s);

/* Decode one code point at the front of s (s.n > 0).  Its length in bytes, or 0
 * when the front of s is not UTF-8. */
size_t utf8_decode(struct str s, uint32_t *code_point);

/* Encode a code point (a scalar value, < 0x110000); its length in bytes, 1..4. */
size_t utf8_encode(uint32_t code_point, uint8_t out[4]);

#endif
