/* http_response.h - the client's side: the head of an answer (requests: http_write.h).
 *
 * Used by the client library and by a broker that dials a peer (101). */
#ifndef CODEC_HTTP_RESPONSE_H
#define CODEC_HTTP_RESPONSE_H

#include "base/buf.h"
#include "codec/http.h"
#include "codec/http_body.h"

struct http_response {
    uint16_t            status; /* 100..999 */
    uint8_t             version_minor;
    bool                has_length, chunked, keep_alive;
    uint64_t            content_length;
    struct str          upgrade; /* value of Upgrade in a 101, or empty */
    struct http_headers headers;
};

/* Decode the head at the front of `in`; *seen as for http_request_decode().
 * OK     *r and *used are set.  1xx other than 101 precede the real answer: decode on,
 *        with *seen = 0.
 * MORE   not whole; nothing was consumed.
 * PROTO  not HTTP; *why is a static sentence. */
MUST_USE enum err http_response_decode(struct str in, size_t *seen, struct http_response *r,
                                       size_t *used, const char **why);

#endif
