/* runs.h - what was written to one subscriber, for others that stand where it stood.
 *
 * A run is what a face made of the messages and gaps between two places (core/place.h).  Who
 * stands at the first gets the same bytes and goes on at the second: so a message is encoded
 * once for each face and set of filters, not once for each subscriber.
 *
 * The newest RUNS_MAX of them are kept, RUNS_BYTES_MAX of memory at most. */
#ifndef SERVER_RUNS_H
#define SERVER_RUNS_H

#include "base/buf.h"
#include "core/broker.h"
#include "core/place.h"

enum {
    RUNS_MAX       = 32,
    RUN_BYTES      = 32 << 10, /* no further message behind it */
    RUNS_BYTES_MAX = 4 << 20,  /* that is a lot only where messages are large */
};

/* What bytes look like, besides what they say.  Who shares a face shares its runs. */
enum face { FACE_JSON, FACE_SSE, FACE_SSE_CHUNKED, FACE_NDJSON, FACE_NDJSON_CHUNKED };

struct run {
    enum face    face;
    struct place from, to;
    struct buf   bytes;
    uint64_t     note; /* the face's own, of its last entry */
    uint32_t     messages, gaps;
};

struct runs {
    struct run at[RUNS_MAX];
    uint32_t   next; /* to be overwritten */
    size_t     held; /* memory of their bytes */
};

void runs_init(struct runs *r);
/* Gives all memory back; it may be used again. */
void runs_clear(struct runs *r);
/* One that begins where the session stands and is no longer than `room`, but for a single
 * entry; or NULL. */
const struct run *runs_find(const struct runs *r, const struct broker *b, uint64_t session,
                            enum face face, size_t room);
/* Begin one where the session stands; NULL: that cannot be told.  It is found once run_end() was
 * called, which takes what was written, `note` and the counts.  In between runs_find() and
 * run_begin() are not called. */
struct run *run_begin(struct runs *r, const struct broker *b, uint64_t session, enum face face);
void        run_end(struct runs *r, struct run *run, const struct broker *b, uint64_t session,
                    struct str bytes);

#endif
