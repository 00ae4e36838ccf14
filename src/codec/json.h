/* json.h - JSON objects out of a stream of bytes, in slices (RFC 8259).
 *
 * Two steps.  json_find() cuts whole objects out of the stream, each byte looked at
 * once however the stream is cut.  json_parse() checks one whole object strictly
 * (grammar, UTF-8, surrogates, duplicate keys) and gives its members as slices of it;
 * nested values are checked and given raw.  No allocation; limits are in
 * base/limits.h.
 *
 * Finding the next object after bad input.  Whitespace between objects is skipped;
 * anything else there is an error.  After an error bytes are dropped up to a newline
 * that is followed by blanks and '{': there the next object begins.  One error is
 * reported for a run of bad bytes, however long.  What an object's frame can show is
 * checked while it is searched for, so that a broken object takes no good one along:
 *   - a control character inside a string, such as the newline behind a string that
 *     was never closed: the search goes on at that newline;
 *   - a '{' where no value may begin, and first on its line, as behind an object
 *     that was never closed: the next object begins right there;
 *   - a bracket that closes what is not open; too deep; too long.
 * An object that is framed well and wrong inside ({"a":}) is given by json_find() and
 * refused by json_parse(); the stream stays in step. */
#ifndef CODEC_JSON_H
#define CODEC_JSON_H

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

enum { JSON_MEMBERS_MAX = 64 }; /* of one object: INVALID beyond it */

/* ---- finding objects ---- */

/* All zero at the start of a stream. */
struct json_scan {
    size_t   seen;   /* bytes of the input looked at */
    uint32_t arrays; /* bit d: level d is an array */
    uint8_t  depth;  /* 0: between objects */
    uint8_t  state;  /* private */
    uint8_t  last;   /* last byte of the object that is neither blank nor in a string */
    bool     line;   /* a newline came since `last` */
};

/* Find the next object at the front of `in`.  In every case the caller drops *used
 * bytes from the front of its input (after OK: when it is done with the object), and
 * the next call's `in` begins there.
 *
 * OK     *object is the last part of in[0, *used), from '{' to its '}'.
 * MORE   no whole object yet; *used bytes were blanks or the rest of bad input.
 * PROTO  bad input; *why is a static sentence for the client.  Go on calling: the
 *        search goes on behind it. */
MUST_USE enum err json_find(struct json_scan *s, struct str in, struct str *object, size_t *used,
                            const char **why);

/* Nothing of an object has come since the last one: a good place to close. */
bool json_scan_is_idle(const struct json_scan *s);

/* ---- one object ---- */

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_FALSE,
    JSON_KIND_TRUE,
    JSON_KIND_NUMBER,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT,
};

struct json_value {
    enum json_kind kind;
    bool           escaped; /* STRING: it holds a backslash */
    struct str     raw;     /* STRING: between the quotes; else the value as it stands */
};
struct json_member {
    struct str        key; /* between the quotes */
    bool              key_escaped;
    struct json_value value;
};
struct json_members {
    uint32_t           count;
    struct json_member at[JSON_MEMBERS_MAX]; /* in the order they came */
};

/* Check the object and list its members; whitespace around it is fine.
 * INVALID: *why is a static sentence. */
MUST_USE enum err json_parse(struct str object, struct json_members *m, const char **why);

/* NULL: no such member. */
const struct json_value *json_member(const struct json_members *m, struct str key);

/* The text of a string.  *text is a slice of the input when it has no escape, else
 * it lies in `room`, which has value->raw.n bytes.  false: not a string. */
bool json_text(const struct json_value *value, uint8_t *room, struct str *text);
/* The same for the key of a member; `room` has key.n bytes. */
struct str json_key_text(const struct json_member *member, uint8_t *room);
/* Is it a string, and this one?  Needs no room. */
bool json_text_is(const struct json_value *value, struct str text);
/* A whole number in plain digits, 0..2^53-1; false: anything else. */
bool json_u64(const struct json_value *value, uint64_t *number);
/* true or false; false: anything else. */
bool json_bool(const struct json_value *value, bool *flag);

/* Walk an array that json_parse() has checked: begin with rest = json_items(array).
 * false: no more.  An object in it is parsed by json_parse(value->raw). */
struct str json_items(const struct json_value *array);
bool       json_items_next(struct str *rest, struct json_value *value);

#endif
