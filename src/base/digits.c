#include "base/digits.h"

#include <string.h>

/* Two at a time: a division by a hundred costs what one by ten does. */
static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

static char *
put_before(char *end, uint64_t value)
{
    for (; value >= 100; value /= 100)
        memcpy(end -= 2, pairs + 2 * (value % 100), 2);
    if (value >= 10)
        memcpy(end -= 2, pairs + 2 * value, 2);
    else
        *--end = (char)('0' + value);
    return end;
}

size_t
digits_u64(char *to, uint64_t value)
{
    char   text[DIGITS_U64_MAX];
    char  *end  = text + sizeof text;
    char  *from = put_before(end, value);
    size_t n    = (size_t)(end - from);
    memcpy(to, from, n);
    return n;
}

void
digits_fixed(char *to, unsigned width, uint64_t value)
{
    for (; width >= 2; width -= 2, value /= 100)
        memcpy(to + width - 2, pairs + 2 * (value % 100), 2);
    if (width > 0)
        *to = (char)('0' + value % 10);
}

/* Eight digits at once: each takes a byte of its own, and those above nine are as far behind
 * '9' as 'a' is. */
static void
put_hex32(char *to, uint32_t value)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t       x    = (uint64_t)(value & 0xffff) << 32 | value >> 16; /* the highest first */
    x                   = (x & 0x000000ff000000ff) << 16 | (x >> 8 & 0x000000ff000000ff);
    x                   = (x & 0x000f000f000f000f) << 8 | (x >> 4 & 0x000f000f000f000f);
    uint64_t above      = (x + 6 * ones) >> 4 & ones;
    x += '0' * ones + above * ('a' - '9' - 1);
    for (int i = 0; i < 8; i++, x >>= 8)
        to[i] = (char)(x & 0xff);
}

void
digits_hex64(char *to, uint64_t value)
{
    put_hex32(to, (uint32_t)(value >> 32));
    put_hex32(to + 8, (uint32_t)value);
}

int
digits_hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
