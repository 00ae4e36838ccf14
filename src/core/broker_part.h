/* broker_part.h - what the files of the broker share; nobody else includes it, but for the
 * simulator, which looks into running brokers.
 *
 *   broker.c          facts and their order, publishing, the disk
 *   broker_deliver.c  delivery: what there is for whom
 *   broker_link.c     links: shaking hands, duplicates, liveness; frames by kind
 *   broker_cluster.c  rows, dials, election: what time and news set in motion
 *
 * A link:  HELLO -> UP -> CLOSING,  HELLO -> RIVAL -> UP or CLOSING,  any -> FREE */
#ifndef CORE_BROKER_PART_H
#define CORE_BROKER_PART_H

#include "core/await.h"
#include "core/broker.h"
#include "core/bully.h"
#include "core/commits.h"
#include "core/gossip.h"
#include "core/journal.h"
#include "core/live.h"
#include "core/out.h"
#include "core/own.h"
#include "core/roster.h"
#include "core/rules.h"
#include "core/session.h"
#include "core/stamp.h"

enum {
    LINK_HELLO_MS  = 5000,  /* without a HELLO for so long: closed */
    LINK_SILENT_MS = 10000, /* without any byte for so long: closed */
    LINK_PING_MS   = 1000,
    LINK_RIVAL_MS  = 1000,  /* an older link has so long to answer */
    PROBE_MS       = 1000,  /* does the disk work again?  At first */
    PROBE_MAX_MS   = 30000, /* ... and when it fails again and again */
    FLAPPING_MS    = 60000, /* it fails again so soon: twice as long until the next probe */
    RETRY_READ_MS  = 1000,
    KNOWN_MS       = 5000, /* what a peer has is written down at most so often */

    TAIL_IDLE_BYTES = 1 << 20,

    COMPLAINTS_MAX = 2 * MEMBERS_MAX,
    COMPLAINT_MS   = 600000,
};

enum link_state { LINK_FREE, LINK_HELLO, LINK_RIVAL, LINK_UP, LINK_CLOSING, LINK_STATE_COUNT };

struct link {
    enum link_state state;
    bool            dialled;
    struct addr     dial_addr; /* dialled: where to */
    struct addr     addr;      /* announced */
    uint64_t        nonce;
    uint8_t         host_bytes;
    char            host[HOST_BYTES_MAX];
    uint8_t         member; /* UP: slot in the roster */
    struct mono     opened, heard, deadline;
    uint32_t        rival_of; /* RIVAL: the older link */
    uint64_t        rival_ping;
};

/* What was said of a link: said again only after COMPLAINT_MS, since who is refused
 * dials again every few seconds. */
struct complaint {
    struct addr addr;
    uint8_t     reason;
    bool        ours; /* we refused */
    struct mono until;
};

struct broker {
    struct str      cluster; /* owned, as are host and origin */
    struct str      host, origin;
    struct addr     self;
    uint64_t        nonce;
    struct mono     now;
    struct wall     wall;
    struct stamp    clock;
    struct journal  journal;
    struct own      own;
    struct rules    rules;
    struct queue    live; /* what is published to topics that are not stored */
    struct commits  commits;
    struct gossip   gossip;
    struct sessions sessions;
    struct awaits   awaits;
    struct roster   roster;
    struct bully    bully;
    struct link     link[LINKS_MAX];
    struct out      out;
    struct effects  answer; /* the direct part of what the step returns */
    struct mono     ping_at, probe_at, retry_at, members_at;
    struct mono     mended_at;   /* sessions wait for repairs no longer than that */
    struct mono     known_at;    /* what peers have is written down, if there is news */
    struct mono     disk_worked; /* since when, after it had failed */
    struct mono     sealed;      /* when an own batch last was */
    uint64_t        retire_ms;   /* 0: never */
    uint64_t        probe_ms;
    uint64_t        pings;
    bool            disk_works, probing, saving_members, stopping, said_goodbye;
    bool            has_room;       /* FACT_ROOM; publishes and batches in want both */
    uint64_t        live_published; /* messages */

    struct complaint complaint[COMPLAINTS_MAX]; /* ring */
    uint32_t         complaint_next;
};

/* ---- broker.c ---- */

struct intake broker_intake(struct broker *b);

/* ---- broker_link.c ---- */

void        link_opened(struct broker *b, uint32_t i, bool dialled, const struct addr *addr);
void        link_closed(struct broker *b, uint32_t i);
void        link_refuse(struct broker *b, uint32_t i, enum refuse_reason reason);
void        link_frame(struct broker *b, uint32_t i, const struct frame *f);
void        links_tick(struct broker *b);
struct mono links_deadline(const struct broker *b);
/* The link that is UP with this member, or LINKS_MAX. */
uint32_t link_of(const struct broker *b, uint8_t member);

/* ---- broker_cluster.c ---- */

void        cluster_tick(struct broker *b);
struct mono cluster_deadline(const struct broker *b);
void        cluster_election(struct broker *b, uint32_t from, const struct frame *f);
void        cluster_members(struct broker *b, uint32_t from, const struct frame_members *m);
void        cluster_forget(struct broker *b, uint32_t from, const struct member_info *info);
enum err    cluster_operator_forgets(struct broker *b, const struct addr *addr);
/* What was dialled announces another address, or is ourselves. */
void cluster_alias(struct broker *b, const struct addr *dialled, const struct addr *announced);
/* Everything about everybody, to one link. */
void cluster_introduce(struct broker *b, uint32_t link);
void cluster_persisted(struct broker *b, const struct commit *c, enum err err);
/* Is every member in reach linked with us? */
bool cluster_is_gathered(const struct broker *b);
/* What goes along with the next commit. */
void cluster_save(struct broker *b);
/* To all links that are up; AWAY. */
void cluster_goodbye(struct broker *b);

#endif
