#include "base/str.h"

#include <string.h>

struct str
str_of(const char *zero_terminated)
{
    return (struct str){(const uint8_t *)zero_terminated, strlen(zero_terminated)};
}

bool
str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool
str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool
str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq((struct str){s.p, prefix.n}, prefix);
}

size_t
str_index(struct str s, uint8_t c)
{
    const uint8_t *hit = s.n > 0 ? memchr(s.p, c, s.n) : NULL;
    return hit ? (size_t)(hit - s.p) : s.n;
}

struct str
str_cut(struct str s, size_t from, size_t to)
{
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    return (struct str){s.p + from, to - from};
}

struct str
str_trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_cut(s, 1, s.n);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool
str_to_u64(struct str s, uint64_t *value)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (s.p[i] < '0' || s.p[i] > '9' || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *value = v;
    return true;
}

bool
str_to_ms(struct str s, uint64_t *ms)
{
    static const struct {
        const char *name;
        uint64_t    ms;
    } unit[]   = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t   n = 0;
    uint64_t number;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    if (!str_to_u64(str_cut(s, 0, n), &number))
        return false;
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        if (!str_eq(str_cut(s, n, s.n), str_of(unit[i].name)))
            continue;
        if (number > UINT64_MAX / unit[i].ms)
            return false;
        *ms = number * unit[i].ms;
        return true;
    }
    return false;
}
