/* http_write.h - answers, requests and chunks into a buffer.
 *
 * Every answer says `Cache-Control: no-store`; one without a length says
 * `X-Accel-Buffering: no`, so that no proxy holds a stream back.  Appending is all or
 * nothing: on LIMIT (the buffer is full) or INVALID the buffer is as before. */
#ifndef CODEC_HTTP_WRITE_H
#define CODEC_HTTP_WRITE_H

#include "base/buf.h"
#include "codec/http.h"
#include "codec/http_body.h"

struct http_answer {
    uint16_t                  status;
    uint8_t                   version_minor; /* of the request: 1.0 must be told of keep-alive */
    bool                      keep_alive;    /* else `Connection: close` */
    enum http_framing         framing;       /* NONE: 1xx, 204, 304 */
    uint64_t                  content_length;
    struct str                content_type; /* empty: none */
    const struct http_header *header;
    size_t                    header_count;
    struct str                lines; /* more headers, each "Name: value\r\n", written as it is */
};

#define HTTP_CONTINUE STR("HTTP/1.1 100 Continue\r\n\r\n")

/* The head of an answer.  INVALID: a header's name is no token or its value holds a
 * control character: nobody can smuggle a header in through stored metadata.  For a 101
 * put Upgrade into the headers; `Connection: Upgrade` is written for you. */
MUST_USE enum err http_head_write(struct buf *out, const struct http_answer *a);

/* Head and body of an answer that is whole: sets the framing and the length.  204 and 304 have
 * neither length nor body (RFC 9110 8.6). */
MUST_USE enum err http_answer_write(struct buf *out, const struct http_answer *a, struct str body);

/* One chunk; nothing for an empty one, which would end the body. */
MUST_USE enum err http_chunk_write(struct buf *out, struct str data);
MUST_USE enum err http_chunk_end(struct buf *out);

/* "Not Found"; "Unknown" for what has no name. */
const char *http_status_text(uint16_t status);

/* A request to send.  The body follows it: content_length bytes, or chunks. */
struct http_call {
    struct str                method;
    struct str                target;  /* encoded already */
    struct str                host;    /* for the Host header: "name:port" */
    enum http_framing         framing; /* NONE, LENGTH or CHUNKED */
    uint64_t                  content_length;
    const struct http_header *header;
    size_t                    header_count;
};

/* OK; LIMIT: the buffer is full; INVALID: a control character in a slice, or an empty
 * or spaced method, target or header name.  Nothing is appended unless OK. */
MUST_USE enum err http_call_write(struct buf *out, const struct http_call *call);

#endif
