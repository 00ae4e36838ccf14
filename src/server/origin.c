#include "server/origin.h"

bool
origins_next(struct str *list, struct str *origin)
{
    while (list->n > 0) {
        size_t end = str_index(*list, ',');
        *origin    = str_trim(str_cut(*list, 0, end));
        *list      = str_cut(*list, end + 1, list->n);
        if (origin->n > 0)
            return true;
    }
    return false;
}

static bool
is_digit(uint8_t b)
{
    return b >= '0' && b <= '9';
}

static bool
is_letter(uint8_t b)
{
    return b >= 'a' && b <= 'z';
}

static bool
is_lower(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return false;
    return true;
}

static bool
is_scheme(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_letter(s.p[i]) &&
            !(i > 0 && (is_digit(s.p[i]) || s.p[i] == '+' || s.p[i] == '-' || s.p[i] == '.')))
            return false;
    return s.n > 0;
}

/* A name as browsers send it, or an address. */
static bool
is_host(struct str s)
{
    bool ip6 = s.n > 0 && s.p[0] == '[';
    if (ip6 && (s.n < 4 || s.p[s.n - 1] != ']'))
        return false;
    s = ip6 ? str_cut(s, 1, s.n - 1) : s;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t b = s.p[i];
        if (ip6 ? !is_digit(b) && !(b >= 'a' && b <= 'f') && b != ':' && b != '.'
                : !is_digit(b) && !is_letter(b) && b != '.' && b != '-' && b != '_')
            return false;
    }
    return s.n > 0;
}

static const char *
port_problem(struct str scheme, struct str port)
{
    uint64_t n;
    if (!str_to_u64(port, &n) || n < 1 || n > UINT16_MAX)
        return "the port of an origin is a number from 1 to 65535";
    if ((n == 80 && str_eq(scheme, STR("http"))) || (n == 443 && str_eq(scheme, STR("https"))))
        return "leave out :80 of http and :443 of https, as browsers do";
    return NULL;
}

static const char *
one_problem(struct str s)
{
    if (str_eq(s, STR("*")))
        return "name each page's origin: with * any page could use the broker behind the back of "
               "whoever reads it";
    if (!is_lower(s))
        return "write an origin in lower case, as browsers do";
    size_t colon = str_index(s, ':');
    if (!is_scheme(str_cut(s, 0, colon)) || !str_starts(str_cut(s, colon, s.n), STR("://")))
        return "an origin is like https://x.org or http://x.org:8080";
    struct str scheme = str_cut(s, 0, colon), host = str_cut(s, colon + 3, s.n);
    size_t end = host.n > 0 && host.p[0] == '[' ? str_index(host, ']') + 1 : str_index(host, ':');
    if (str_index(host, '/') < host.n)
        return "an origin has no path and no / at its end: https://x.org";
    if (!is_host(str_cut(host, 0, end)))
        return "the host of an origin is a name (xn--... where it is not ASCII) or an address";
    if (end >= host.n)
        return NULL;
    if (host.p[end] != ':')
        return "an origin is like https://x.org or http://x.org:8080";
    return port_problem(scheme, str_cut(host, end + 1, host.n));
}

const char *
origins_problem(struct str list)
{
    struct str  one;
    const char *wrong = NULL;
    while (!wrong && origins_next(&list, &one))
        wrong = one_problem(one);
    return wrong;
}
