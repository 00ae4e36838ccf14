#include "codec/http_head.h"

#include "base/limits.h"

#include <string.h>

/* RFC 9112 2.2 asks to forgive an empty line in front of a request; two are enough. */
enum { EMPTY_BYTES_MAX = 4 };

enum err
http_head_end(struct str in, size_t *seen, size_t *begin, size_t *end, const char **why)
{
    size_t from = 0;
    while (from < EMPTY_BYTES_MAX && in.n - from >= 2 && memcmp(in.p + from, "\r\n", 2) == 0)
        from += 2;
    *begin = from;

    size_t most = in.n - from > HTTP_HEAD_BYTES_MAX ? from + HTTP_HEAD_BYTES_MAX : in.n;
    size_t at   = *seen > from ? *seen : from;
    while (at < most) {
        if (at > from && in.p[at - 1] == '\n' && (in.p[at] == ' ' || in.p[at] == '\t')) {
            *why = "a header line begins with a blank; write each header on one line";
            return ERR_PROTO;
        }
        const uint8_t *hit = memchr(in.p + at, '\n', most - at);
        if (!hit) {
            at = most;
            break;
        }
        size_t lf = (size_t)(hit - in.p);
        if (lf == from || in.p[lf - 1] != '\r') {
            *why = "a line ends with a bare line feed; HTTP lines end with CR LF";
            return ERR_PROTO;
        }
        at = lf + 1;
        if (lf - 1 == from || in.p[lf - 2] == '\n') {
            *end = at;
            return ERR_OK;
        }
    }
    *seen = at;
    return in.n > most || in.n - from == HTTP_HEAD_BYTES_MAX ? ERR_LIMIT : ERR_MORE;
}

/* ---- llhttp ---- */

struct listing {
    struct http_headers *headers;
    struct http_run     *run;
};

static int
on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct listing      *l = parser->data;
    struct http_headers *h = l->headers;
    if (h->count == HTTP_HEADERS_MAX) {
        l->run->many = true;
        return -1;
    }
    h->at[h->count++] = (struct http_header){{(const uint8_t *)at, n}, STR("")};
    return 0;
}

static int
on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct listing      *l = parser->data;
    struct http_headers *h = l->headers;
    if (h->count == 0)
        return -1;
    h->at[h->count - 1].value = (struct str){(const uint8_t *)at, n};
    return 0;
}

/* The head is whole; the body is the business of http_body. */
static int
on_head(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field     = on_field,
    .on_header_value     = on_value,
    .on_headers_complete = on_head,
};

/* llhttp takes blanks in a name for part of it, and is lenient about controls. */
static bool
headers_are_sound(struct http_headers *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        struct http_header *at = &h->at[i];
        at->value              = str_trim(at->value);
        if (!http_is_token(at->name) || at->name.p[at->name.n] != ':' ||
            !http_is_field_value(at->value))
            return false;
    }
    return true;
}

enum err
http_head_run(struct str head, llhttp_type_t type, struct http_headers *h, struct http_run *run)
{
    *run              = (struct http_run){.error = HPE_OK};
    h->count          = 0;
    struct listing to = {h, run};

    llhttp_t parser;
    llhttp_init(&parser, type, &settings);
    parser.data          = &to;
    llhttp_errno_t error = llhttp_execute(&parser, (const char *)head.p, head.n);
    run->flags           = parser.flags;
    run->status          = parser.status_code;
    run->method          = parser.method;
    run->version_minor   = parser.http_minor;
    run->content_length  = parser.content_length;
    if (run->many)
        return ERR_PROTO;
    if (error != HPE_PAUSED) {
        run->error = error == HPE_OK ? HPE_INTERNAL : error;
        return ERR_PROTO;
    }
    return headers_are_sound(h) ? ERR_OK : ERR_PROTO;
}

/* ---- characters ---- */

static bool
is_token_char(uint8_t c)
{
    /* Bit c % 32 of word c / 32, for: ! # $ % & ' * + - . ^ _ ` | ~ digits letters. */
    static const uint32_t set[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
    return set[c >> 5] >> (c & 31) & 1;
}

bool
http_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n > 0;
}

bool
http_is_field_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

/* ---- what the headers say about the message ---- */

bool
http_run_keep_alive(const struct http_run *run)
{
    if (run->flags & F_CONNECTION_CLOSE)
        return false;
    return run->version_minor >= 1 || run->flags & F_CONNECTION_KEEP_ALIVE;
}

void
http_transfer_encoding(const struct http_headers *h, bool *chunked, bool *foreign)
{
    *chunked = *foreign = false;
    for (uint32_t i = 0; i < h->count; i++) {
        if (!str_eq_nocase(h->at[i].name, STR("Transfer-Encoding")))
            continue;
        bool is_chunked = str_eq_nocase(h->at[i].value, STR("chunked"));
        *foreign        = *foreign || !is_chunked || *chunked;
        *chunked        = *chunked || is_chunked;
    }
}
