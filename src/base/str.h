/* str.h - a borrowed run of bytes.  Never owns, never NUL-terminated. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const uint8_t *p;
    size_t         n;
};

/* A string literal as a str: STR("abc") is three bytes. */
#define STR(literal) ((struct str){(const uint8_t *)("" literal), sizeof(literal) - 1})
/* For printf: "%.*s", STR_ARG(s). */
#define STR_ARG(s) (int)(s).n, (const char *)(s).p

struct str str_of(const char *zero_terminated);
bool       str_eq(struct str a, struct str b);
/* ASCII only, as HTTP field names want it. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
/* Index of the first `c`, or s.n. */
size_t str_index(struct str s, uint8_t c);
/* s[from, to), clamped to s. */
struct str str_cut(struct str s, size_t from, size_t to);
/* Without blanks and tabs at both ends. */
struct str str_trim(struct str s);
/* Decimal digits only, no sign, no blank, no overflow; false otherwise. */
bool str_to_u64(struct str s, uint64_t *value);
/* A time with its unit, 500ms, 5s, 1m, 2h or 30d, as milliseconds.  False: it is none, or too long.
 */
bool str_to_ms(struct str s, uint64_t *ms);

#endif
