/* http_body.h - the body of an HTTP message: by length, chunked, or until close.
 *
 * Incremental: pieces are slices of the input, framing is eaten as it comes, so a
 * body may be cut at any byte and is never scanned twice.  Trailers are checked for
 * size and dropped. */
#ifndef CODEC_HTTP_BODY_H
#define CODEC_HTTP_BODY_H

#include "codec/http.h"

struct http_response;

enum http_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_UNTIL_CLOSE };

struct http_body {
    enum http_framing framing;
    uint8_t           state;      /* of the chunked machine, private */
    uint16_t          line_bytes; /* of the current size line or of all trailers, private */
    bool              done;       /* the body has ended */
    uint64_t          left;       /* of the body (FRAMING_LENGTH) or of the current chunk */
    uint64_t          total;      /* body bytes handed out so far */
    uint64_t          limit;      /* a larger body is refused */
};

/* Start on the body of a request; more than `limit` bytes are refused.
 * OK, or PROTO: *problem is 413 body_too_large, known from Content-Length alone. */
MUST_USE enum err http_body_start(struct http_body *b, const struct http_request *r, uint64_t limit,
                                  struct http_problem *problem);
/* Start on the body of an answer to a request of this method. */
void http_body_start_response(struct http_body *b, const struct http_response *r,
                              enum http_method method, uint64_t limit);

/* The next piece of the body at the front of `in`.  In every case the caller drops
 * *used bytes from the front (after OK: when it is done with the piece).
 *
 * OK     *piece is not empty: body bytes, the last of in[0, *used).  Call again.
 *        *piece is empty: the body ended; what follows *used is the next message.
 * MORE   `in` has no more of it; *used bytes of framing were eaten.
 * PROTO  *problem: 400 bad_request (chunks), 413 body_too_large.  Answer and close.
 *
 * With a Content-Length and the body whole in `in`, one call gives it as one piece. */
MUST_USE enum err http_body_next(struct http_body *b, struct str in, size_t *used,
                                 struct str *piece, struct http_problem *problem);

/* The other side closed: was the body whole?  Sets done for FRAMING_UNTIL_CLOSE. */
bool http_body_closed(struct http_body *b);

#endif
