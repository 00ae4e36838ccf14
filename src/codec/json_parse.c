#include "codec/json.h"

#include "base/digits.h"
#include "base/utf8.h"
#include "codec/json_plain.h"

#include <string.h>

/* A string as it stands between its quotes. */
struct key {
    struct str raw;
    bool       escaped;
};

/* Keys of all objects that are open lie on one stack: an object's own on top. */
struct parse {
    struct str           in;
    size_t               at;
    const char          *why;
    struct json_members *members; /* of the outermost object */
    uint32_t             depth;
    uint32_t             key_count;
    struct key           key[JSON_MEMBERS_MAX * JSON_DEPTH_MAX];
};

static bool
refuse(struct parse *p, const char *why)
{
    p->why = why;
    return false;
}

static void
skip_blanks(struct parse *p)
{
    while (p->at < p->in.n && (p->in.p[p->at] == ' ' || p->in.p[p->at] == '\n' ||
                               p->in.p[p->at] == '\r' || p->in.p[p->at] == '\t'))
        p->at++;
}

/* The next byte, or 0 at the end: no grammar wants a NUL. */
static uint8_t
peek(const struct parse *p)
{
    return p->at < p->in.n ? p->in.p[p->at] : 0;
}

/* ---- strings ---- */

/* The four digits of \uXXXX at s[at]; -1: they are not hex or not all there. */
static int32_t
hex4(struct str s, size_t at)
{
    int32_t v = 0;
    if (s.n < 4 || at > s.n - 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        int digit = digits_hex_value(s.p[i]);
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* Decode the escape whose backslash is at s[at]; its length, or 0 when it is malformed. */
static size_t
take_escape(struct str s, size_t at, uint32_t *code_point)
{
    static const uint8_t meaning[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                         ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    uint8_t              c            = at + 1 < s.n ? s.p[at + 1] : 0;
    if (c != 'u') {
        *code_point = c < 128 ? meaning[c] : 0;
        return *code_point > 0 ? 2 : 0;
    }
    int32_t high = hex4(s, at + 2);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000))
        return 0;
    *code_point = (uint32_t)high;
    if (high < 0xd800 || high >= 0xe000)
        return 6;
    if (s.n - at < 12 || s.p[at + 6] != '\\' || s.p[at + 7] != 'u')
        return 0;
    int32_t low = hex4(s, at + 8);
    if (low < 0xdc00 || low >= 0xe000)
        return 0;
    *code_point = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return 12;
}

/* At the opening quote; behind the closing one afterwards. */
static bool
take_string(struct parse *p, struct str *raw, bool *escaped)
{
    size_t   begin = ++p->at;
    uint32_t code_point;
    *escaped = false;
    for (;;) {
        p->at     = json_plain_ascii(p->in, p->at);
        uint8_t c = peek(p);
        size_t  used;
        if (c == '"') {
            *raw = str_cut(p->in, begin, p->at++);
            return true;
        }
        if (c == '\\') {
            *escaped = true;
            used     = take_escape(p->in, p->at, &code_point);
            if (used == 0)
                return refuse(p, "a string holds a malformed escape or half a surrogate pair");
        } else if (c >= 0x80) {
            used = utf8_decode(str_cut(p->in, p->at, p->in.n), &code_point);
            if (used == 0)
                return refuse(p, "a string is not UTF-8");
        } else {
            return refuse(p, "a string is not closed, or holds a control character");
        }
        p->at += used;
    }
}

/* ---- numbers and words ---- */

static size_t
take_digits(struct parse *p)
{
    size_t begin = p->at;
    while (p->at < p->in.n && p->in.p[p->at] >= '0' && p->in.p[p->at] <= '9')
        p->at++;
    return p->at - begin;
}

static bool
take_number(struct parse *p)
{
    p->at += peek(p) == '-';
    bool   zero   = peek(p) == '0';
    size_t digits = take_digits(p);
    bool   ok     = digits > 0 && !(zero && digits > 1);
    if (ok && peek(p) == '.') {
        p->at++;
        ok = take_digits(p) > 0;
    }
    if (ok && (peek(p) | 0x20) == 'e') {
        p->at++;
        p->at += peek(p) == '+' || peek(p) == '-';
        ok = take_digits(p) > 0;
    }
    return ok ? true : refuse(p, "a number is malformed");
}

static bool
take_word(struct parse *p, struct str word)
{
    if (!str_starts(str_cut(p->in, p->at, p->in.n), word))
        return refuse(p, "expected a value: a string, number, object, array, true, false or null");
    p->at += word.n;
    return true;
}

/* ---- values ---- */

static bool take_object(struct parse *p);
static bool take_array(struct parse *p);

static enum json_kind
kind_of(uint8_t first)
{
    switch (first) {
    case '"':
        return JSON_KIND_STRING;
    case '{':
        return JSON_KIND_OBJECT;
    case '[':
        return JSON_KIND_ARRAY;
    case 't':
        return JSON_KIND_TRUE;
    case 'f':
        return JSON_KIND_FALSE;
    case '-':
        return JSON_KIND_NUMBER;
    default:
        return first >= '0' && first <= '9' ? JSON_KIND_NUMBER : JSON_KIND_NULL;
    }
}

static bool
take_value(struct parse *p, struct json_value *v)
{
    size_t begin = p->at;
    bool   ok    = false;
    v->kind      = kind_of(peek(p));
    v->escaped   = false;
    switch (v->kind) {
    case JSON_KIND_STRING:
        return take_string(p, &v->raw, &v->escaped);
    case JSON_KIND_OBJECT:
        ok = take_object(p);
        break;
    case JSON_KIND_ARRAY:
        ok = take_array(p);
        break;
    case JSON_KIND_NUMBER:
        ok = take_number(p);
        break;
    case JSON_KIND_TRUE:
        ok = take_word(p, STR("true"));
        break;
    case JSON_KIND_FALSE:
        ok = take_word(p, STR("false"));
        break;
    case JSON_KIND_NULL:
        ok = take_word(p, STR("null"));
        break;
    }
    v->raw = str_cut(p->in, begin, p->at);
    return ok;
}

/* ---- objects and arrays ---- */

/* A string's meaning, a byte at a time: an escape gives up to four. */
struct reader {
    struct str raw;
    size_t     at;
    uint8_t    byte[4];
    size_t     byte_at, byte_count;
};

static int
next_byte(struct reader *r)
{
    if (r->byte_at < r->byte_count)
        return r->byte[r->byte_at++];
    if (r->at == r->raw.n)
        return -1;
    if (r->raw.p[r->at] != '\\')
        return r->raw.p[r->at++];
    uint32_t code_point;
    size_t   used = take_escape(r->raw, r->at, &code_point);
    if (used == 0)
        return -1;
    r->at += used;
    r->byte_count = utf8_encode(code_point, r->byte);
    r->byte_at    = 1;
    return r->byte[0];
}

/* What is not escaped may hold a backslash where it is the caller's text. */
static int
next_of(struct reader *r, bool escaped)
{
    if (escaped)
        return next_byte(r);
    return r->at < r->raw.n ? r->raw.p[r->at++] : -1;
}

static bool
decodes_same(struct key a, struct key b)
{
    struct reader x = {.raw = a.raw}, y = {.raw = b.raw};
    for (;;) {
        int c = next_of(&x, a.escaped);
        if (c != next_of(&y, b.escaped))
            return false;
        if (c < 0)
            return true;
    }
}

static inline bool
means_same(const struct key *a, const struct key *b)
{
    if (a->escaped || b->escaped)
        return decodes_same(*a, *b);
    return a->raw.n == b->raw.n && str_eq(a->raw, b->raw);
}

/* Keys that differ in length or last byte cannot be equal unless escaped: their bit in
 * `met` says whether a look at the earlier keys is needed at all. */
static uint64_t
key_bit(const struct key *k)
{
    return UINT64_C(1) << ((k->raw.n * 7 + (k->raw.n > 0 ? k->raw.p[k->raw.n - 1] : 0)) & 63);
}

static bool
key_is_new(struct parse *p, uint32_t first, const struct key *k, uint64_t *met)
{
    uint64_t bit  = k->escaped ? UINT64_MAX : key_bit(k);
    bool     look = *met & bit;
    *met |= bit;
    for (uint32_t i = first; look && i < p->key_count; i++)
        if (means_same(&p->key[i], k))
            return refuse(p, "a key stands twice in one object");
    if (p->key_count - first == JSON_MEMBERS_MAX)
        return refuse(p, "an object has more than 64 members");
    p->key[p->key_count++] = *k;
    return true;
}

static bool
take_member(struct parse *p, uint32_t first, uint64_t *met)
{
    struct key        k;
    struct json_value v;
    if (peek(p) != '"')
        return refuse(p, "expected a key in quotes");
    if (!take_string(p, &k.raw, &k.escaped) || !key_is_new(p, first, &k, met))
        return false;
    skip_blanks(p);
    if (peek(p) != ':')
        return refuse(p, "expected ':' behind a key");
    p->at++;
    skip_blanks(p);
    if (!take_value(p, &v))
        return false;
    if (p->depth == 1)
        p->members->at[p->members->count++] = (struct json_member){k.raw, k.escaped, v};
    return true;
}

/* Behind an item: true when another follows. */
static bool
take_comma(struct parse *p, uint8_t close, bool *ok)
{
    skip_blanks(p);
    uint8_t c = peek(p);
    *ok       = c == ',' || c == close ||
          refuse(p, close == '}' ? "expected ',' or '}' behind a member"
                                 : "expected ',' or ']' behind an item");
    if (*ok)
        p->at++;
    if (!*ok || c == close)
        return false;
    skip_blanks(p);
    return true;
}

static bool
enter(struct parse *p)
{
    if (p->depth == JSON_DEPTH_MAX)
        return refuse(p, "nested too deep: at most 16 levels");
    p->depth++;
    p->at++;
    skip_blanks(p);
    return true;
}

static bool
take_object(struct parse *p)
{
    uint32_t first = p->key_count;
    uint64_t met   = 0;
    bool     ok    = true;
    if (!enter(p))
        return false;
    if (peek(p) == '}') {
        p->at++;
    } else {
        do
            ok = take_member(p, first, &met);
        while (ok && take_comma(p, '}', &ok));
    }
    p->key_count = first;
    p->depth--;
    return ok;
}

static bool
take_array(struct parse *p)
{
    struct json_value v;
    bool              ok = true;
    if (!enter(p))
        return false;
    if (peek(p) == ']') {
        p->at++;
    } else {
        do
            ok = take_value(p, &v);
        while (ok && take_comma(p, ']', &ok));
    }
    p->depth--;
    return ok;
}

enum err
json_parse(struct str object, struct json_members *m, const char **why)
{
    struct parse p; /* the key stack is not cleared: 24 KiB */
    p.in        = object;
    p.at        = 0;
    p.why       = NULL;
    p.members   = m;
    p.depth     = 0;
    p.key_count = 0;
    m->count    = 0;
    skip_blanks(&p);
    bool ok = peek(&p) == '{' ? take_object(&p) : refuse(&p, "expected an object");
    skip_blanks(&p);
    if (ok && p.at < object.n)
        ok = refuse(&p, "something follows the object");
    if (!ok)
        *why = p.why;
    return ok ? ERR_OK : ERR_INVALID;
}

/* ---- reading members ---- */

const struct json_value *
json_member(const struct json_members *m, struct str key)
{
    const struct key want = {key, false};
    for (uint32_t i = 0; i < m->count; i++) {
        const struct key got = {m->at[i].key, m->at[i].key_escaped};
        if (means_same(&got, &want))
            return &m->at[i].value;
    }
    return NULL;
}

static struct str
decode(struct str raw, uint8_t *room)
{
    size_t n  = 0;
    size_t at = 0;
    while (at < raw.n) {
        size_t stop = at + str_index(str_cut(raw, at, raw.n), '\\');
        memcpy(room + n, raw.p + at, stop - at);
        n += stop - at;
        at = stop;
        uint32_t code_point;
        size_t   used = at < raw.n ? take_escape(raw, at, &code_point) : 0;
        if (used == 0)
            break; /* the end: json_parse() let no malformed escape through */
        uint8_t byte[4];
        size_t  bytes = utf8_encode(code_point, byte);
        memcpy(room + n, byte, bytes);
        n += bytes;
        at += used;
    }
    return (struct str){room, n};
}

bool
json_text(const struct json_value *value, uint8_t *room, struct str *text)
{
    if (value->kind != JSON_KIND_STRING)
        return false;
    *text = value->escaped ? decode(value->raw, room) : value->raw;
    return true;
}

struct str
json_key_text(const struct json_member *member, uint8_t *room)
{
    return member->key_escaped ? decode(member->key, room) : member->key;
}

bool
json_text_is(const struct json_value *value, struct str text)
{
    const struct key got = {value->raw, value->escaped}, want = {text, false};
    return value->kind == JSON_KIND_STRING && means_same(&got, &want);
}

bool
json_u64(const struct json_value *value, uint64_t *number)
{
    return value->kind == JSON_KIND_NUMBER && str_to_u64(value->raw, number) &&
           *number <= STAMP_MAX;
}

bool
json_bool(const struct json_value *value, bool *flag)
{
    *flag = value->kind == JSON_KIND_TRUE;
    return *flag || value->kind == JSON_KIND_FALSE;
}

/* ---- arrays ---- */

struct str
json_items(const struct json_value *array)
{
    if (array->kind != JSON_KIND_ARRAY)
        return STR("");
    return str_cut(array->raw, 1, array->raw.n - 1);
}

/* Index behind the string whose opening quote is at s[at]. */
static size_t
string_end(struct str s, size_t at, bool *escaped)
{
    for (at++; at < s.n; at++) {
        at = json_plain(s, at);
        if (at < s.n && s.p[at] == '"')
            return at + 1;
        if (at < s.n && s.p[at] == '\\') {
            *escaped = true;
            at++;
        }
    }
    return s.n;
}

/* Index behind the value at s[at]; the value is known to be well-formed. */
static size_t
value_end(struct str s, size_t at, bool *escaped)
{
    size_t depth = 0;
    for (; at < s.n; at++) {
        uint8_t c = s.p[at];
        if (c == '"') {
            bool inner;
            at = string_end(s, at, depth == 0 ? escaped : &inner) - 1;
            if (depth == 0)
                return at + 1;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (--depth == 0)
                return at + 1;
        } else if (depth == 0 && (c == ',' || c <= ' ')) {
            return at;
        }
    }
    return s.n;
}

bool
json_items_next(struct str *rest, struct json_value *value)
{
    size_t at = 0;
    while (at < rest->n && (rest->p[at] <= ' ' || rest->p[at] == ','))
        at++;
    if (at == rest->n)
        return false;
    value->kind    = kind_of(rest->p[at]);
    value->escaped = false;
    size_t end     = value_end(*rest, at, &value->escaped);
    value->raw =
        value->kind == JSON_KIND_STRING ? str_cut(*rest, at + 1, end - 1) : str_cut(*rest, at, end);
    *rest = str_cut(*rest, end, rest->n);
    return true;
}
