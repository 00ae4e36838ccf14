/* render.h - what clients get to read: messages, receipts, answers as JSON text.
 *
 * Hand-written digits and no format strings, since an answer leaves for every
 * message.  Output goes to buffers without a limit of their own (what goes into one
 * is bounded before), so appending cannot fail.
 *
 * Texts of messages are shown as they are when they are UTF-8; a body that is not
 * goes as base64, and a type or meta value that is not as "\ufffd". */
#ifndef SERVER_RENDER_H
#define SERVER_RENDER_H

#include "base/buf.h"
#include "core/types.h"

/* Append to a buffer that has no limit. */
static inline void
render(struct buf *out, struct str s)
{
    CHECK(buf_add(out, s) == ERR_OK);
}
void render_u64(struct buf *out, uint64_t value);
/* A string with its quotes; what is not UTF-8 becomes "\ufffd". */
void render_text(struct buf *out, struct str s);
/* 16 hex digits with quotes: random 64-bit numbers. */
void render_hex(struct buf *out, uint64_t value);
void render_mark(struct buf *out, struct mark m);

/* {"id":...,"topic":...,"lamport":...,"origin":...,"time":...,"type":...,"meta":{...},
 * "body":...,"cursor":...}; `cursor` may be empty.  Of one that is live there is no id, but
 * "stored":false and, where some before it are lost, "lost":N. */
void render_message(struct buf *out, const struct entry *e, struct str cursor);

/* {"stream":...,"origin":...,"from":...,"to":...}: messages that are gone. */
void render_gap(struct buf *out, const struct entry *gap);
/* The same with "at": so many messages of the page come before it. */
void render_page_gap(struct buf *out, const struct entry *gap, uint32_t at);

/* The next "name: value\n" of stored headers; false: none left. */
bool render_next_header(struct str *rest, struct str *name, struct str *value);

/* {"type":"publish","topic":...,"message":...,"lamport_timestamp":...,"id":...,"cursor":...}\n
 * Of one that is live neither id nor cursor, but the same as above. */
void render_delivery(struct buf *out, const struct entry *e, struct str cursor);

/* {"type":"gap","stream":...,"origin":...,"from":...,"to":...,"cursor":...}\n */
void render_gap_delivery(struct buf *out, const struct entry *gap, struct str cursor);

enum causal { CAUSAL_UNASKED, CAUSAL_YES, CAUSAL_NO };

/* {"type":"ack","id":...,"lamport_timestamp":...,"causal":...,"ref":...}\n  `ref` is JSON or empty.
 * mark.stream 0: live, with "stored":false in place of the id. */
void render_ack(struct buf *out, struct mark m, uint64_t lamport, enum causal causal,
                struct str ref);
/* {"type":"subscribed","cursor":...,"ref":...}\n */
void render_subscribed(struct buf *out, struct str cursor, struct str ref);
/* {"type":"error","error":...,"id":...,"ref":...}\n  mark.stream 0: no id. */
void render_error(struct buf *out, struct str error, struct mark m, struct str ref);

struct receipt {
    struct mark mark; /* stream 0: live, with "stored":false in place of the id */
    uint64_t    lamport;
    struct str  origin, cursor;
    uint32_t    copies;
    bool        causal;
    bool        fewer; /* copies than were asked for; for answers without a status of their own */
};
/* {"id":...,"lamport":...,"origin":...,"copies":...,"cursor":...,"causal":...,"status":202}\n
 * The status only when there are fewer. */
void render_receipt(struct buf *out, const struct receipt *r);

#endif
