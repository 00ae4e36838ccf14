#include "codec/http_write.h"

#include "base/digits.h"
#include "codec/http_head.h"
#include "codec/json_write.h"

const char *
http_status_text(uint16_t status)
{
    static const struct {
        uint16_t    status;
        const char *text;
    } row[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {100, "Continue"},
        {101, "Switching Protocols"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].status == status)
            return row[i].text;
    return "Unknown";
}

/* ---- all or nothing ---- */

/* Appends until the first error; put_end() then takes everything back. */
struct put {
    struct buf *out;
    size_t      begin;
    enum err    err;
};

static struct put
put_begin(struct buf *out)
{
    return (struct put){out, out->n, ERR_OK};
}

static void
put(struct put *p, struct str s)
{
    if (p->err == ERR_OK)
        p->err = buf_add(p->out, s);
}

static void
put_u64(struct put *p, uint64_t value)
{
    char text[DIGITS_U64_MAX];
    put(p, (struct str){(const uint8_t *)text, digits_u64(text, value)});
}

static void
put_header(struct put *p, struct str name, struct str value)
{
    if (p->err == ERR_OK && (!http_is_token(name) || !http_is_field_value(value)))
        p->err = ERR_INVALID;
    put(p, name);
    put(p, STR(": "));
    put(p, value);
    put(p, STR("\r\n"));
}

static enum err
put_end(struct put *p)
{
    if (p->err != ERR_OK)
        p->out->n = p->begin;
    return p->err;
}

static void
put_length(struct put *p, enum http_framing framing, uint64_t length)
{
    if (framing == FRAMING_LENGTH) {
        put(p, STR("Content-Length: "));
        put_u64(p, length);
        put(p, STR("\r\n"));
    } else if (framing == FRAMING_CHUNKED) {
        put(p, STR("Transfer-Encoding: chunked\r\n"));
    }
}

/* ---- answers ---- */

static void
put_connection(struct put *p, const struct http_answer *a)
{
    if (a->status == 101)
        put(p, STR("Connection: Upgrade\r\n"));
    else if (!a->keep_alive || a->framing == FRAMING_UNTIL_CLOSE)
        put(p, STR("Connection: close\r\n"));
    else if (a->version_minor == 0)
        put(p, STR("Connection: keep-alive\r\n"));
}

static void
put_head(struct put *p, const struct http_answer *a)
{
    put(p, STR("HTTP/1.1 "));
    put_u64(p, a->status);
    put(p, STR(" "));
    put(p, str_of(http_status_text(a->status)));
    put(p, STR("\r\n"));
    if (a->content_type.n > 0)
        put_header(p, STR("Content-Type"), a->content_type);
    put_length(p, a->framing, a->content_length);
    put_connection(p, a);
    if (a->status >= 200)
        put(p, STR("Cache-Control: no-store\r\n"));
    if (a->framing == FRAMING_CHUNKED || a->framing == FRAMING_UNTIL_CLOSE)
        put(p, STR("X-Accel-Buffering: no\r\n"));
    for (size_t i = 0; i < a->header_count; i++)
        put_header(p, a->header[i].name, a->header[i].value);
    put(p, a->lines);
    put(p, STR("\r\n"));
}

enum err
http_head_write(struct buf *out, const struct http_answer *a)
{
    struct put p = put_begin(out);
    put_head(&p, a);
    return put_end(&p);
}

enum err
http_answer_write(struct buf *out, const struct http_answer *a, struct str body)
{
    bool               bare  = a->status == 204 || a->status == 304;
    struct http_answer whole = *a;
    whole.framing            = bare ? FRAMING_NONE : FRAMING_LENGTH;
    whole.content_length     = body.n;
    struct put p             = put_begin(out);
    put_head(&p, &whole);
    if (!bare)
        put(&p, body);
    return put_end(&p);
}

/* ---- chunks ---- */

enum err
http_chunk_write(struct buf *out, struct str data)
{
    if (data.n == 0)
        return ERR_OK;
    static const char digit[] = "0123456789abcdef";
    uint8_t           line[18];
    size_t            at = sizeof line;
    line[--at]           = '\n';
    line[--at]           = '\r';
    for (size_t n = data.n; n > 0; n >>= 4)
        line[--at] = (uint8_t)digit[n & 15];
    struct put p = put_begin(out);
    put(&p, (struct str){line + at, sizeof line - at});
    put(&p, data);
    put(&p, STR("\r\n"));
    return put_end(&p);
}

enum err
http_chunk_end(struct buf *out)
{
    return buf_add(out, STR("0\r\n\r\n"));
}

/* ---- requests ---- */

static bool
is_target(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return s.n > 0;
}

enum err
http_call_write(struct buf *out, const struct http_call *call)
{
    if (!http_is_token(call->method) || !is_target(call->target))
        return ERR_INVALID;
    struct put p = put_begin(out);
    put(&p, call->method);
    put(&p, STR(" "));
    put(&p, call->target);
    put(&p, STR(" HTTP/1.1\r\n"));
    put_header(&p, STR("Host"), call->host);
    put_length(&p, call->framing, call->content_length);
    for (size_t i = 0; i < call->header_count; i++)
        put_header(&p, call->header[i].name, call->header[i].value);
    put(&p, STR("\r\n"));
    return put_end(&p);
}
