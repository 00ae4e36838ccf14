/* http.h - the head of an HTTP/1.1 request, bytes to slices (RFC 9110, RFC 9112).
 *
 * The end of the head is found first, with a remembered offset; then llhttp runs
 * once over it, and what it lets pass is refused here: bare LF, space before a
 * colon, folded lines, missing or double Host, bytes outside ASCII in the target,
 * control characters.  Everything in a request is a slice of the input and lives
 * as long as the input does.  No allocation.
 *
 * The body is the business of http_body.h, addresses and parameters of http_url.h,
 * answers of http_write.h, the client's side of http_response.h. */
#ifndef CODEC_HTTP_H
#define CODEC_HTTP_H

#include "base/err.h"
#include "base/str.h"

enum { HTTP_HEADERS_MAX = 64 }; /* 431 beyond it */

/* Why a request is refused.  `code` is stable, for programs; `detail` is a sentence
 * for people that says what to do.  Both are static.  Where a decoder says it the connection's
 * framing is lost: answer, then close. */
struct http_problem {
    uint16_t    status;
    const char *code;
    const char *detail;
};

struct http_header {
    struct str name, value; /* the value without blanks around it */
};
struct http_headers {
    uint32_t           count;
    struct http_header at[HTTP_HEADERS_MAX];
};

enum http_method {
    METHOD_OTHER, /* one that HTTP knows and Hearsay has no use for: 405 everywhere */
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_OPTIONS,
};

struct http_request {
    enum http_method    method;
    struct str          method_text;
    struct str          target;         /* as sent; printable ASCII, no '#' */
    struct str          path;           /* begins with '/', or is "*"; not decoded */
    struct str          query;          /* behind the first '?', not decoded; may be empty */
    struct str          host;           /* empty in HTTP/1.0 without one */
    struct str          upgrade;        /* value of Upgrade when Connection asks for it, or empty */
    uint64_t            content_length; /* 0 when there is none */
    uint8_t             version_minor;  /* HTTP/1.0 or HTTP/1.1 */
    bool                has_length;     /* a Content-Length came */
    bool                chunked;        /* never together with has_length */
    bool                keep_alive;
    bool                expect_continue; /* send HTTP_CONTINUE before reading the body */
    struct http_headers headers;
};

/* Decode the head at the front of `in`.  *seen is 0 for each new request and
 * belongs to this function until OK; `in` must not lose bytes at its front meanwhile.
 * Empty lines in front are skipped and count as part of the head.
 *
 * OK     *r and *used are set; the body begins at in.p + *used.
 * MORE   the head is not whole; nothing was consumed.
 * PROTO  *problem says what to answer: 400 bad_request, 411 length_required (POST, PUT),
 *        417 expectation_failed, 431 head_too_large, 501 method_unknown or
 *        transfer_encoding_unknown, 505 version_unsupported. */
MUST_USE enum err http_request_decode(struct str in, size_t *seen, struct http_request *r,
                                      size_t *used, struct http_problem *problem);

/* The first header of this name, case-insensitively; false: none.  For headers that
 * may be repeated, walk `at` with str_eq_nocase(). */
bool http_header_find(const struct http_headers *h, struct str name, struct str *value);

/* Does the comma-separated list in all headers of this name hold `token`? */

/* Which of the media types `offer` the client likes best, by its Accept headers
 * (q values, then the order of `offer`); 0 without an Accept; `count`: none of them, 406.
 * Wildcards match; parameters other than q are ignored. */
size_t http_accept_pick(const struct http_headers *h, const struct str *offer, size_t count);

/* What may be a header's name (RFC 9110 5.6.2): at least one character, all of them of tokens. */
bool http_is_token(struct str s);
/* What may be its value: no control character but tab. */
bool http_is_field_value(struct str s);

/* Is this header's media type `type`, whatever parameters follow? */
bool http_type_is(struct str header_value, struct str type);

#endif
