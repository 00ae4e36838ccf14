/* http_head.h - what requests and answers have in common; private to the HTTP codec.
 *
 * A head ends with the first empty line.  Whether it is one is decided by llhttp and
 * then by http_head_run(), which refuses what llhttp lets pass. */
#ifndef CODEC_HTTP_HEAD_H
#define CODEC_HTTP_HEAD_H

#include "codec/http.h"

#include <llhttp.h>

struct http_run {
    llhttp_errno_t error; /* HPE_OK, or why llhttp refused it */
    uint16_t       flags; /* enum llhttp_flags */
    uint16_t       status;
    uint8_t        method; /* enum llhttp_method */
    uint8_t        version_minor;
    bool           many; /* more than HTTP_HEADERS_MAX headers */
    uint64_t       content_length;
};

/* Find the end of the head at the front of `in`; *begin is behind empty lines in front.
 * OK     *end is set.
 * MORE   not there yet; *seen remembers how far it looked.
 * LIMIT  longer than HTTP_HEAD_BYTES_MAX.
 * PROTO  a line that ends with a bare LF, or a folded one: *why. */
enum err http_head_end(struct str in, size_t *seen, size_t *begin, size_t *end, const char **why);

/* Run llhttp once over a whole head and list its headers.
 * PROTO: run->error, run->many or neither (a malformed name or value) says why. */
enum err http_head_run(struct str head, llhttp_type_t type, struct http_headers *h,
                       struct http_run *run);

/* Behind Connection and the version. */
bool http_run_keep_alive(const struct http_run *run);

/* Is the one Transfer-Encoding "chunked"?  Others in *foreign. */
void http_transfer_encoding(const struct http_headers *h, bool *chunked, bool *foreign);

#endif
