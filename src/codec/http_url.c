#include "codec/http_url.h"

#include "base/digits.h"

/* One byte off the front of *s.  INVALID: a broken escape. */
static enum err
take_byte(struct str *s, uint8_t *byte)
{
    size_t used = 1;
    *byte       = s->p[0];
    if (*byte == '%') {
        int high = s->n >= 3 ? digits_hex_value(s->p[1]) : -1;
        int low  = s->n >= 3 ? digits_hex_value(s->p[2]) : -1;
        if (high < 0 || low < 0)
            return ERR_INVALID;
        *byte = (uint8_t)(high << 4 | low);
        used  = 3;
    }
    *s = str_cut(*s, used, s->n);
    return ERR_OK;
}

enum err
http_url_decode(struct str raw, uint8_t *room, struct str *decoded)
{
    if (str_index(raw, '%') == raw.n) {
        *decoded = raw;
        return ERR_OK;
    }
    size_t n = 0;
    while (raw.n > 0) {
        enum err e = take_byte(&raw, &room[n++]);
        if (e != ERR_OK)
            return e;
    }
    *decoded = (struct str){room, n};
    return ERR_OK;
}

/* ---- parameters ---- */

bool
http_query_next(struct str *query, struct str *key, struct str *value)
{
    while (query->n > 0) {
        size_t     end  = str_index(*query, '&');
        struct str item = str_cut(*query, 0, end);
        *query          = str_cut(*query, end + 1, query->n);
        if (item.n == 0)
            continue;
        size_t equals = str_index(item, '=');
        *key          = str_cut(item, 0, equals);
        *value        = str_cut(item, equals + 1, item.n);
        return true;
    }
    return false;
}

bool
http_query_key_is(struct str raw_key, struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t byte;
        if (raw_key.n == 0 || take_byte(&raw_key, &byte) != ERR_OK || byte != name.p[i])
            return false;
    }
    return raw_key.n == 0;
}

bool
http_query_find(struct str query, struct str name, struct str *value)
{
    struct str key;
    while (http_query_next(&query, &key, value))
        if (http_query_key_is(key, name))
            return true;
    return false;
}

/* ---- encoding ---- */

static bool
is_unreserved(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static enum err
encode(struct buf *out, struct str s, bool path)
{
    static const char digit[] = "0123456789ABCDEF";
    size_t            n       = 0;
    for (size_t i = 0; i < s.n; i++)
        n += is_unreserved(s.p[i]) || (path && (s.p[i] == '/' || s.p[i] == '+')) ? 1 : 3;
    uint8_t *to;
    enum err e = buf_room(out, n, &to);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (is_unreserved(c) || (path && (c == '/' || c == '+'))) {
            *to++ = c;
            continue;
        }
        *to++ = '%';
        *to++ = (uint8_t)digit[c >> 4];
        *to++ = (uint8_t)digit[c & 15];
    }
    buf_grew(out, n);
    return ERR_OK;
}

enum err
http_path_encode(struct buf *out, struct str s)
{
    return encode(out, s, true);
}

enum err
http_query_encode(struct buf *out, struct str s)
{
    return encode(out, s, false);
}
