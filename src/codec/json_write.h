/* json_write.h - JSON into a buffer.
 *
 * A writer remembers its first error, so that calls can stand in a row:
 *
 *     struct json_writer w;
 *     json_write_begin(&w, out);
 *     json_write_open(&w, '{');
 *     json_write_key(&w, STR("id"));
 *     json_write_text(&w, id);
 *     json_write_close(&w, '}');
 *     return json_write_end(&w);
 *
 * It sets commas and colons; the order of calls is the caller's duty and is not
 * checked.  At an error the buffer ends as it began. */
#ifndef CODEC_JSON_WRITE_H
#define CODEC_JSON_WRITE_H

#include "base/buf.h"

struct json_writer {
    struct buf *out;
    size_t      begin; /* out->n at the start */
    enum err    err;
    bool        comma; /* a value stands before: the next one needs a comma */
};

void json_write_begin(struct json_writer *w, struct buf *out);
void json_write_open(struct json_writer *w, char bracket);  /* '{' or '[' */
void json_write_close(struct json_writer *w, char bracket); /* '}' or ']' */
void json_write_key(struct json_writer *w, struct str key);
/* A string, escaped.  Not UTF-8: INVALID. */
void json_write_text(struct json_writer *w, struct str text);
/* A string that holds the bytes in base64. */
void json_write_base64(struct json_writer *w, struct str bytes);
/* OK; LIMIT: the buffer is full; INVALID: a text was not UTF-8. */
MUST_USE enum err json_write_end(struct json_writer *w);

/* A single string with its quotes, escaped; nothing is appended unless OK. */
MUST_USE enum err json_add_text(struct buf *out, struct str text);

#endif
