#include "codec/http_body.h"

#include "base/digits.h"
#include "base/limits.h"
#include "codec/http_head.h"
#include "codec/http_response.h"

/* The chunked coding (RFC 9112 7.1), a byte at a time but for the data. */
enum {
    CHUNK_SIZE_FIRST, /* at the first hex digit of a size line */
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF, /* behind the CR of a size line */
    CHUNK_DATA,
    CHUNK_DATA_CR, /* behind the data */
    CHUNK_DATA_LF,
    CHUNK_TRAILER_FIRST, /* at the first byte of a trailer line, or of the last line */
    CHUNK_TRAILER,
    CHUNK_TRAILER_LF,
    CHUNK_LAST_LF, /* behind the CR of the last line */
    CHUNK_DONE,
};

static enum err
refuse_chunk(struct http_problem *problem, const char *detail)
{
    *problem = (struct http_problem){400, "bad_request", detail};
    return ERR_PROTO;
}

static enum err
refuse_size(struct http_problem *problem)
{
    *problem = (struct http_problem){413, "body_too_large",
                                     "the body is larger than is taken here; send less at a time"};
    return ERR_PROTO;
}

/* ---- starting ---- */

static void
start(struct http_body *b, enum http_framing framing, uint64_t length, uint64_t limit)
{
    *b      = (struct http_body){.framing = framing, .left = length, .limit = limit};
    b->done = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && length == 0);
}

enum err
http_body_start(struct http_body *b, const struct http_request *r, uint64_t limit,
                struct http_problem *problem)
{
    enum http_framing framing = r->chunked      ? FRAMING_CHUNKED
                                : r->has_length ? FRAMING_LENGTH
                                                : FRAMING_NONE;
    start(b, framing, r->chunked ? 0 : r->content_length, limit);
    return b->left > limit ? refuse_size(problem) : ERR_OK;
}

void
http_body_start_response(struct http_body *b, const struct http_response *r,
                         enum http_method method, uint64_t limit)
{
    enum http_framing framing = r->chunked      ? FRAMING_CHUNKED
                                : r->has_length ? FRAMING_LENGTH
                                                : FRAMING_UNTIL_CLOSE;
    if (method == METHOD_HEAD || r->status < 200 || r->status == 204 || r->status == 304)
        framing = FRAMING_NONE;
    start(b, framing, framing == FRAMING_LENGTH ? r->content_length : 0, limit);
}

/* ---- chunks ---- */

static enum err
size_byte(struct http_body *b, uint8_t c, struct http_problem *problem)
{
    int digit = digits_hex_value(c);
    if (digit >= 0) {
        if (b->left >> 56)
            return refuse_size(problem);
        b->left  = b->left << 4 | (uint64_t)digit;
        b->state = CHUNK_SIZE;
        return ERR_OK;
    }
    if (b->state == CHUNK_SIZE_FIRST || (c != '\r' && c != ';'))
        return refuse_chunk(problem, "a chunk must begin with its size in hex digits and CR LF");
    b->state = c == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
    return ERR_OK;
}

/* An LF that belongs behind a CR. */
static enum err
lf_byte(struct http_body *b, uint8_t c, struct http_problem *problem)
{
    static const uint8_t next[CHUNK_DONE] = {
        [CHUNK_DATA_LF]    = CHUNK_SIZE_FIRST,
        [CHUNK_TRAILER_LF] = CHUNK_TRAILER_FIRST,
        [CHUNK_LAST_LF]    = CHUNK_DONE,
    };
    if (c != '\n')
        return refuse_chunk(problem, "a carriage return in the framing of a chunk stands alone; "
                                     "lines end with CR LF");
    if (b->state != CHUNK_SIZE_LF) {
        b->state = next[b->state];
        if (b->state == CHUNK_SIZE_FIRST)
            b->line_bytes = 0;
        return ERR_OK;
    }
    if (b->left > b->limit - b->total)
        return refuse_size(problem);
    b->state      = b->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_FIRST;
    b->line_bytes = 0;
    return ERR_OK;
}

/* Extensions and trailers are not used by anyone: checked for size and controls only. */
static enum err
text_byte(struct http_body *b, uint8_t c, struct http_problem *problem)
{
    static const uint8_t behind_cr[CHUNK_DONE] = {
        [CHUNK_EXTENSION]     = CHUNK_SIZE_LF,
        [CHUNK_TRAILER_FIRST] = CHUNK_LAST_LF,
        [CHUNK_TRAILER]       = CHUNK_TRAILER_LF,
    };
    if (c == '\r') {
        b->state = behind_cr[b->state];
        return ERR_OK;
    }
    bool blank_first = b->state == CHUNK_TRAILER_FIRST && (c == ' ' || c == '\t');
    if (blank_first || (c < 0x20 && c != '\t') || c == 0x7f)
        return refuse_chunk(problem, "a control character or a folded line in a chunk's "
                                     "extension or trailer");
    if (b->state == CHUNK_TRAILER_FIRST)
        b->state = CHUNK_TRAILER;
    return ERR_OK;
}

static enum err
framing_byte(struct http_body *b, uint8_t c, struct http_problem *problem)
{
    if (++b->line_bytes > HTTP_CHUNK_LINE_MAX)
        return refuse_chunk(problem, "a chunk's size line or the trailers exceed 256 bytes");
    switch (b->state) {
    case CHUNK_SIZE_FIRST:
    case CHUNK_SIZE:
        return size_byte(b, c, problem);
    case CHUNK_EXTENSION:
    case CHUNK_TRAILER_FIRST:
    case CHUNK_TRAILER:
        return text_byte(b, c, problem);
    case CHUNK_DATA_CR:
        if (c != '\r')
            return refuse_chunk(problem, "a chunk is longer than its size says");
        b->state = CHUNK_DATA_LF;
        return ERR_OK;
    default:
        return lf_byte(b, c, problem);
    }
}

static enum err
next_chunk(struct http_body *b, struct str in, size_t *used, struct str *piece,
           struct http_problem *problem)
{
    for (size_t at = 0; at < in.n; at++) {
        if (b->state == CHUNK_DATA) {
            size_t n = in.n - at < b->left ? in.n - at : (size_t)b->left;
            *piece   = str_cut(in, at, at + n);
            *used    = at + n;
            b->left -= n;
            b->total += n;
            if (b->left == 0)
                b->state = CHUNK_DATA_CR;
            return ERR_OK;
        }
        enum err e = framing_byte(b, in.p[at], problem);
        if (e != ERR_OK)
            return e;
        if (b->state == CHUNK_DONE) {
            b->done = true;
            *used   = at + 1;
            return ERR_OK;
        }
    }
    *used = in.n;
    return ERR_MORE;
}

/* ---- all framings ---- */

enum err
http_body_next(struct http_body *b, struct str in, size_t *used, struct str *piece,
               struct http_problem *problem)
{
    *used  = 0;
    *piece = STR("");
    if (b->done)
        return ERR_OK;
    if (in.n == 0)
        return ERR_MORE;
    if (b->framing == FRAMING_CHUNKED)
        return next_chunk(b, in, used, piece, problem);
    if (b->framing == FRAMING_UNTIL_CLOSE) {
        if (in.n > b->limit - b->total)
            return refuse_size(problem);
        *used = in.n;
    } else {
        if (b->left > b->limit - b->total)
            return refuse_size(problem);
        *used = in.n < b->left ? in.n : (size_t)b->left;
        b->left -= *used;
        b->done = b->left == 0;
    }
    b->total += *used;
    *piece = str_cut(in, 0, *used);
    return ERR_OK;
}

bool
http_body_closed(struct http_body *b)
{
    b->done = b->done || b->framing == FRAMING_UNTIL_CLOSE;
    return b->done;
}
