/* wire.h - frames on a peer link <-> struct frame.  The bytes: docs/PEER.md.
 *
 *   u32 length (of all that follows)   u32 CRC-32 (of all that follows)
 *   u8 kind (wire.def)                 payload
 *
 * Big-endian.  A whole frame has at most FRAME_BYTES_MAX bytes.  What is decoded
 * keeps the protocol's limits: counts, lengths, order, ranges.  Not checked here,
 * since it takes more than the frame to tell: is a topic valid (core/filter.h), does a
 * batch chain.  Bytes behind a payload are fields of a later release: skipped. */
#ifndef CODEC_WIRE_H
#define CODEC_WIRE_H

#include "base/buf.h"
#include "base/err.h"
#include "core/types_frame.h"

enum {
    WIRE_HEAD_BYTES        = 9, /* length, CRC, kind */
    WIRE_REFUSE_BYTES_MAX  = 1024,
    WIRE_ORIGIN_BYTES_MAX  = 255, /* "host:port" of a batch or a gap */
    WIRE_MEMBERS_COUNT_MAX = MEMBERS_MAX + TOMBSTONES_MAX,
};

/* Where decoded arrays lie; reused by every decode.  One for all links will do. */
struct wire_scratch {
    struct mark       *mark;
    struct head       *head;
    uint32_t           mark_cap, head_cap; /* never above STREAMS_MAX */
    const char        *problem;            /* after PROTO: what is wrong, for a trace or a REFUSE */
    struct member_info member[WIRE_MEMBERS_COUNT_MAX];
    struct member_row  row[WIRE_MEMBERS_COUNT_MAX];
};

void wire_scratch_init(struct wire_scratch *s);
void wire_scratch_fini(struct wire_scratch *s);

/* Decode the frame at the front of `in`.
 *
 * OK        *frame and *used are set.  It borrows from `in` and from `s`, until the
 *           next decode; vectors in it must not be changed.  Only the batch of a PUSH
 *           or a LIVE is the caller's: a new blob that stands alone; the digest of each message
 *           in it is zero unless MSG_DIGEST_ONLY, for core to compute.
 * MORE      `in` ends inside the frame; nothing was consumed.
 * NOTFOUND  a sound frame of a kind that is unknown here: skip *used bytes.
 * PROTO     malformed, bad CRC or oversized; s->problem says what.  Close the link. */
MUST_USE enum err wire_decode(struct str in, struct wire_scratch *s, struct frame *frame,
                              size_t *used);

/* Append the frame to `out`.
 *
 * OK       appended.
 * LIMIT    `out` may not grow so far, or the frame would exceed FRAME_BYTES_MAX.
 * INVALID  a string or an array in it is beyond the protocol's limit.
 * But for OK, `out` stays as it was. */
MUST_USE enum err wire_encode(struct buf *out, const struct frame *frame);

/* "PUSH", for traces and metrics; "?" for an unknown kind. */
const char *wire_name(unsigned kind);

#endif
