#include "codec/http.h"

bool
http_header_find(const struct http_headers *h, struct str name, struct str *value)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (str_eq_nocase(h->at[i].name, name)) {
            *value = h->at[i].value;
            return true;
        }
    }
    return false;
}

/* Take what stands before the next `separator` off the front of *list. */
static struct str
next_of(struct str *list, uint8_t separator)
{
    size_t     end  = str_index(*list, separator);
    struct str item = str_cut(*list, 0, end);
    *list           = str_cut(*list, end + 1, list->n);
    return str_trim(item);
}

bool
http_type_is(struct str header_value, struct str type)
{
    return str_eq_nocase(next_of(&header_value, ';'), type);
}

/* ---- Accept (RFC 9110 12.5.1) ---- */

/* "0.25" is 250; what is no q value counts as 1, as if it were not there. */
static uint32_t
q_of(struct str s)
{
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return 1000;
    uint32_t q           = s.p[0] == '1' ? 1000 : 0;
    uint32_t digit_worth = 100;
    for (size_t i = 2; i < s.n; i++, digit_worth /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 1000;
        q += (uint32_t)(s.p[i] - '0') * digit_worth;
    }
    return q > 1000 ? 1000 : q;
}

/* How closely a media range names the type: 0 not at all, 1 by both wildcards, 2 by one,
 * 3 exactly. */
static int
closeness(struct str range, struct str type)
{
    if (str_eq(range, STR("*/*")))
        return 1;
    size_t slash = str_index(type, '/');
    if (range.n == slash + 2 && range.p[slash + 1] == '*' &&
        str_eq_nocase(str_cut(range, 0, slash + 1), str_cut(type, 0, slash + 1)))
        return 2;
    return str_eq_nocase(range, type) ? 3 : 0;
}

/* The q of `type` by one Accept header; the closest range decides. */
static void
weigh(struct str accept, struct str type, int *closest, uint32_t *q)
{
    while (accept.n > 0) {
        struct str item  = next_of(&accept, ',');
        int        close = closeness(next_of(&item, ';'), type);
        if (close <= *closest)
            continue;
        *closest = close;
        *q       = 1000;
        while (item.n > 0) {
            struct str parameter = next_of(&item, ';');
            if (parameter.n >= 2 && (parameter.p[0] | 0x20) == 'q' && parameter.p[1] == '=')
                *q = q_of(str_cut(parameter, 2, parameter.n));
        }
    }
}

size_t
http_accept_pick(const struct http_headers *h, const struct str *offer, size_t count)
{
    struct str any;
    if (!http_header_find(h, STR("Accept"), &any))
        return 0;
    size_t   best   = count;
    uint32_t best_q = 0;
    for (size_t o = 0; o < count; o++) {
        int      closest = 0;
        uint32_t q       = 0;
        for (uint32_t i = 0; i < h->count; i++)
            if (str_eq_nocase(h->at[i].name, STR("Accept")))
                weigh(h->at[i].value, offer[o], &closest, &q);
        if (q > best_q) {
            best   = o;
            best_q = q;
        }
    }
    return best;
}
