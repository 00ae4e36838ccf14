/* front_json_request.h - what a client asks for in one JSON object.  docs/JSON.md. */
#ifndef SERVER_FRONT_JSON_REQUEST_H
#define SERVER_FRONT_JSON_REQUEST_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

enum { JSON_REF_BYTES_MAX = 256 };

enum json_verb { JSON_VERB_PUBLISH, JSON_VERB_SUBSCRIBE };

/* Slices of the object, or of `room` where something was escaped. */
struct json_request {
    enum json_verb verb;
    struct str     topic[FILTERS_MAX]; /* valid: one to publish to, or filters */
    uint32_t       topic_count;
    struct str     message; /* publish */
    struct str     cursor;  /* publish: `after`; subscribe: `cursor`.  Not decoded. */
    bool           has_cursor;
    uint64_t       stamp; /* 0: none */
    bool           ack;
    struct str     ref; /* as written, with its quotes; empty: none */
};

/* INVALID: *why is a static sentence for the client; r->ref is set as far as known. */
MUST_USE enum err json_request_decode(struct str object, struct buf *room, struct json_request *r,
                                      const char **why);

#endif
