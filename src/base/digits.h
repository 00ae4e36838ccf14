/* digits.h - numbers as text, without formats: several stand in each message. */
#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H

#include <stddef.h>
#include <stdint.h>

enum { DIGITS_U64_MAX = 20, DIGITS_HEX64 = 16 };

/* Decimal, without leading zeros and without a zero byte behind it; how many digits it took. */
size_t digits_u64(char *to, uint64_t value);
/* `width` decimal digits, with leading zeros: the last ones of `value`. */
void digits_fixed(char *to, unsigned width, uint64_t value);
/* 0..15; -1: no hex digit. */
int digits_hex_value(uint8_t c);
/* 16 lower-case hex digits. */
void digits_hex64(char *to, uint64_t value);

#endif
