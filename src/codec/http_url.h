/* http_url.h - percent-encoding, paths and query parameters (RFC 3986, WHATWG forms).
 *
 * '+' is itself everywhere, as RFC 3986 has it: /topics/a/+ and ?filter=a/+ mean what
 * they say.  A form would write a blank so; a filter with such a '+' in it is refused
 * in nearly every case, where one with a blank would silently match nothing. */
#ifndef CODEC_HTTP_URL_H
#define CODEC_HTTP_URL_H

#include "base/buf.h"

/* Decode %XX.  *decoded is `raw` itself when nothing is escaped, else it lies in
 * `room`, which has raw.n bytes.  The result may hold any byte, NUL included.
 * INVALID: a '%' without two hex digits behind it. */
MUST_USE enum err http_url_decode(struct str raw, uint8_t *room, struct str *decoded);

/* Take the next parameter from the front of *query; both slices are raw.  A parameter
 * without '=' has an empty value; empty ones ("&&") are skipped.  false: none left. */
bool http_query_next(struct str *query, struct str *key, struct str *value);
/* Is the raw key this name, once decoded? */
bool http_query_key_is(struct str raw_key, struct str name);
/* The first parameter of this name, raw; false: none. */
bool http_query_find(struct str query, struct str name, struct str *value);

/* Append s percent-encoded for use in a path: unreserved characters, '/' and '+' stay. */
MUST_USE enum err http_path_encode(struct buf *out, struct str s);
/* For use as a key or value in a query: unreserved characters stay. */
MUST_USE enum err http_query_encode(struct buf *out, struct str s);

#endif
