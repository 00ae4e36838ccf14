/* wire_part.h - what wire.c, wire_get.c and wire_put.c share; nobody else includes it. */
#ifndef CODEC_WIRE_PART_H
#define CODEC_WIRE_PART_H

#include "codec/wire.h"

/* A payload being read.  After the first problem everything reads as zero. */
struct wire_in {
    const uint8_t       *p, *end;
    const char          *problem; /* NULL: none so far */
    struct wire_scratch *s;
};

/* A frame being written.  After the first error nothing is written any more. */
struct wire_out {
    struct buf *buf;
    enum err    err;
};

typedef void wire_get(struct wire_in *in, struct frame *f);
typedef void wire_put(struct wire_out *out, const struct frame *f);

#define X(kind, number, name, put, get)                                                            \
    wire_get get;                                                                                  \
    wire_put put;
#include "codec/wire.def"
#undef X

#define WIRE_MAGIC STR("HEARSAY1")

/* Bits that this version knows; others are an error. */
enum {
    WIRE_MEMBER_FLAGS = MEMBER_FORGOTTEN | MEMBER_AWAY,
    WIRE_HEADS_FLAGS  = HEADS_FULL | HEADS_CATCHING_UP | HEADS_NO_STORE | HEADS_GAPS,
    WIRE_PUSH_FLAGS   = PUSH_PULLED,
    WIRE_MSG_FLAGS    = MSG_DIGEST_ONLY,
};

enum {
    WIRE_MSG_BYTES_MIN = 1 + 4 + 2 + 1 + 4, /* a message with a topic of one byte */
    WIRE_VARINT_MAX    = 9,                 /* bytes, for up to 2^63-1 */
};

#endif
