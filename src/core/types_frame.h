/* types_frame.h - what brokers say to each other, decoded.  codec/wire gives the bytes.
 *
 * Everything a frame points to is borrowed, but for the batch of a PUSH or a LIVE. */
#ifndef CORE_TYPES_FRAME_H
#define CORE_TYPES_FRAME_H

#include "core/types.h"
#include "core/types_store.h"

enum frame_kind {
    FRAME_HELLO = 1,
    FRAME_REFUSE,
    FRAME_MEMBERS,
    FRAME_HEADS,
    FRAME_PUSH,
    FRAME_PULL,
    FRAME_CREDIT,
    FRAME_GAP,
    FRAME_LATEST,
    FRAME_PING,
    FRAME_ELECTION,
    FRAME_OK,
    FRAME_COORDINATOR,
    FRAME_AWAY,
    FRAME_FORGET,
    FRAME_LIVE,
    FRAME_KIND_END
};

enum refuse_reason {
    REFUSE_VERSION = 1, /* no common protocol version */
    REFUSE_CLUSTER,     /* another cluster name */
    REFUSE_SELF,        /* you dialled yourself */
    REFUSE_DUPLICATE,   /* the other link between us stays */
    REFUSE_COPY,        /* another live process announces this address */
    REFUSE_FORGOTTEN,   /* an operator removed this member; restart it to rejoin */
    REFUSE_FULL,        /* roster or link table is full */
    REFUSE_PROTOCOL,    /* malformed frame */
    REFUSE_END
};

enum { PROTOCOL_VERSION = 1 };

struct frame_hello {
    uint8_t     version_min, version_max;
    struct str  cluster;
    struct addr addr; /* announced */
    struct str  host; /* as the operator wrote it; for display and dialling */
    uint64_t    nonce;
    uint32_t    capabilities; /* bits, all reserved */
};
struct frame_refuse {
    uint8_t    reason; /* enum refuse_reason, or one this version does not know */
    struct str text;
};

struct member_row {
    uint8_t  member; /* index into the frame's members */
    bool     able;   /* its disk works and it is up for 3 s */
    uint64_t nonce;
    uint64_t count; /* rises with each row of one instance */
    uint32_t heard; /* bit i: heard the frame's member i within 3 s */
};
struct frame_members {
    const struct member_info *member;
    const struct member_row  *row;
    uint32_t                  member_count, row_count; /* MEMBERS_MAX + TOMBSTONES_MAX at most */
};

/* GAPS: the wire alone, when a head has one. */
enum { HEADS_FULL = 1, HEADS_CATCHING_UP = 2, HEADS_NO_STORE = 4, HEADS_GAPS = 8 };

struct head {
    uint64_t stream, head, floor; /* durable; floor: highest seq that retention took */
    uint64_t gap;                 /* end of its highest gap, when that is above floor; else 0 */
};
struct frame_heads {
    uint8_t            flags;
    struct token       token; /* accepted coordinator */
    const struct head *head;
    uint32_t           count;
};
enum { PUSH_PULLED = 1 }; /* answers a PULL: it uses up credit */
struct frame_push {
    uint8_t       flags;
    struct batch *batch; /* decode: a new blob with one reference, the receiver's */
};
struct frame_pull {
    struct vector have; /* "all you have above this, in your lsn order" */
    uint64_t      credit;
};
struct frame_credit {
    uint64_t bytes;
};
struct frame_gap {
    uint64_t           stream, from, to;
    struct hash128     chain; /* at `to`, as are the rest */
    uint64_t           stamp;
    struct wall        came; /* when the newest that its sender holds of the stream came there */
    struct str         origin;
    const struct mark *deps;
    uint32_t           deps_count;
};
struct frame_latest {
    struct mark mark;
    uint64_t    lamport;
    struct wall wall;
    struct msg  msg;
};
struct frame_ping {
    uint64_t     id;
    bool         reply;
    struct token token; /* accepted coordinator */
};
struct frame_election { /* ELECTION, OK, COORDINATOR */
    uint64_t     stamp;
    struct token token;
};
struct frame_forget {
    struct addr addr;
    uint64_t    version, nonce;
};

struct frame_live {
    struct batch *batch; /* stream 0; as that of a PUSH */
};

struct frame {
    enum frame_kind kind;
    union {
        struct frame_hello    hello;
        struct frame_refuse   refuse;
        struct frame_members  members;
        struct frame_heads    heads;
        struct frame_push     push;
        struct frame_pull     pull;
        struct frame_credit   credit;
        struct frame_gap      gap;
        struct frame_latest   latest;
        struct frame_ping     ping;
        struct frame_election election;
        struct frame_forget   forget;
        struct frame_live     live;
    };
};

#endif
