/* broker.h - the broker as a step function: facts in, effects out.
 *
 * Core knows no socket, SQL, clock or thread.  The caller (server/ in production,
 * sim/ in tests) turns what happens into facts, carries the effects out in order,
 * and calls again at broker_deadline().  Nothing is called back.  Everything an
 * effect points to is borrowed until the next step, but for references passed
 * along in a commit.
 *
 * One turn:  facts..., FACT_TURN (seals what was published, starts reads), then
 * drain broker_ready() and broker_pull() while the clients' sockets take bytes. */
#ifndef CORE_BROKER_H
#define CORE_BROKER_H

#include "base/err.h"
#include "core/types.h"
#include "core/types_frame.h"
#include "core/types_store.h"

struct broker;
struct place;

/* What may change while the broker runs, by FACT_OPTIONS. */
struct broker_options {
    size_t   tail_bytes;     /* newest messages kept in memory */
    uint64_t causal_wait_ms; /* what nobody can supply holds up so long; 0: 10 s */
    /* Which topics are stored: see rules.h.  TOPIC_RULES_MAX at most, of valid filters; copied. */
    const struct topic_rule *rule;
    uint32_t                 rule_count;
};

struct broker_config {
    struct str              cluster;
    struct addr             self;        /* announced */
    struct str              host;        /* as the operator wrote it */
    uint64_t                nonce, seed; /* from the system's entropy */
    uint64_t                retire_ms;   /* as in struct retention */
    const struct recovered *recovered;   /* borrowed for the call */
    struct broker_options   options;
};

/* ---- facts ---- */

enum fact_kind {
    FACT_TIME,      /* nothing but time passed */
    FACT_TURN,      /* all that was readable is read: seal, push, persist */
    FACT_PUBLISH,   /* out: OK, serial, live; BUSY: pause, try after an ANSWER; FULL: disk */
    FACT_SUBSCRIBE, /* out: OK and session; LIMIT */
    FACT_UNSUBSCRIBE,
    FACT_AWAIT,       /* out: OK and await, then one AWAITED; or LIMIT */
    FACT_AWAIT_DROP,  /* its client left: no AWAITED will come */
    FACT_LINK_OPENED, /* a connection upgraded to the peer protocol */
    FACT_LINK_CLOSED, /* its slot may be used again after this */
    FACT_LINK_BROKE,  /* undecodable bytes came: core answers REFUSE and closes */
    FACT_FRAME,       /* a frame came */
    FACT_SENT,        /* frames left a link's data queue: what is still in it */
    FACT_DIAL_FAILED,
    FACT_SEED,      /* an address from the peers file or --join, resolved */
    FACT_PERSISTED, /* a commit is done or failed; in the order of their ids */
    FACT_PAGE,      /* a read is done or failed */
    FACT_FORGET,    /* the operator removes a member; out: OK, NOTFOUND, INVALID (self) */
    FACT_IDLE,      /* nothing was stored for a while: memory is given back */
    FACT_RETAINED,  /* a step of retention is on disk */
    FACT_ROOM,      /* free disk fell below the reserve, or is above it again */
    FACT_OPTIONS,   /* the operator changed what can change */
    FACT_STOP,      /* say goodbye: seal, AWAY; publishes get REFUSED from now on */
};

enum subscribe_from { FROM_LATEST, FROM_EARLIEST, FROM_CURSOR, FROM_SINCE };

enum await_kind {
    AWAIT_COVERED, /* our durable vector covers `vector`, but for what is retired here */
    AWAIT_AFTER,   /* the same, but what was waited for in vain is not waited for again */
    AWAIT_COPIES,  /* `copies` members have `mark` on disk, self included */
};
enum { COPIES_MAJORITY = -1, COPIES_ALL = -2 };

struct fact {
    enum fact_kind kind;
    union {
        struct {
            struct str topic, headers, body; /* valid by filter.h and limits.h */
            uint64_t   stamp;                /* the client's Lamport time; 0: none */
        } publish;
        struct {
            const struct str   *filter; /* valid */
            uint32_t            filter_count;
            enum subscribe_from from;
            struct vector       cursor;       /* FROM_CURSOR; borrowed */
            uint64_t            cursor_stamp; /* highest stamp in the cursor */
            struct wall         since;        /* FROM_SINCE */
            uint64_t            stamp;        /* the client's Lamport time; 0: none */
            uint64_t            ref;          /* given back by broker_ready() */
            uint64_t            before; /* a session of the same client and filters: what is live
                                           and waits for it comes to this one; 0: none */
        } subscribe;
        struct {
            uint64_t session;
        } unsubscribe;
        struct {
            enum await_kind kind;
            struct vector   vector; /* borrowed */
            struct mark     mark;
            int             copies; /* > 0, or COPIES_* */
            struct mono     deadline;
            uint64_t        ref; /* given back by EFFECT_AWAITED */
        } await;
        struct {
            uint64_t await;
        } await_drop;
        struct {
            uint64_t copies_ms; /* who waits for copies is answered by then */
        } stop;
        struct {
            uint32_t    link;    /* a slot below LINKS_MAX that the caller picks */
            bool        dialled; /* we did; `addr` is what EFFECT_DIAL named */
            struct addr addr;
        } link; /* LINK_OPENED, _CLOSED, _BROKE, DIAL_FAILED (addr) */
        struct {
            uint32_t            link;
            const struct frame *frame; /* core takes over the reference of its batch */
        } frame;
        struct {
            uint32_t link;
            size_t   bytes_queued; /* of data frames, now */
        } sent;
        struct {
            struct addr addr; /* family 0: the name did not resolve (counts as tried) */
            struct str  host;
            bool        join; /* an operator names it: also when it was forgotten */
        } seed;
        struct {
            uint64_t id;
            enum err err;       /* OK; FULL or IO: failed, nothing of it is stored */
            uint64_t lsn_first; /* of a batch's messages */
        } persisted;
        struct {
            uint64_t     reader; /* from EFFECT_READ */
            struct page *page;   /* one reference, core's; NULL when it failed */
        } page;
        struct {
            struct addr addr;
        } forget;
        const struct retained       *retained; /* borrowed */
        const struct broker_options *options;  /* borrowed */
        struct {
            bool enough;
        } room;
    };
};

/* ---- effects ---- */

enum effect_kind {
    EFFECT_DIAL,    /* connect, upgrade, then LINK_OPENED; or DIAL_FAILED */
    EFFECT_SEND,    /* encode and queue: PUSH, GAP, LATEST, LIVE as data, the rest overtakes */
    EFFECT_CLOSE,   /* after what is queued was sent; LINK_CLOSED must follow */
    EFFECT_PERSIST, /* hand to the store thread; PERSISTED must follow */
    EFFECT_READ,    /* hand to the reader thread; PAGE must follow */
    EFFECT_ANSWER,  /* publishes [serial, serial + count) are stored, or failed */
    EFFECT_AWAITED,
};

struct effect {
    enum effect_kind kind;
    union {
        struct {
            struct addr addr;
            struct str  host;
        } dial;
        struct {
            uint32_t     link;
            struct frame frame;
        } send;
        struct {
            uint32_t link;
        } close;
        struct commit persist;
        struct {
            uint64_t    reader;
            struct read read; /* the caller copies `have` and keeps the blob want_ctx */
        } read;
        struct {
            uint64_t    serial;
            uint32_t    count;
            enum err    err;     /* OK; UNKNOWN: 503 */
            struct mark mark;    /* of the first; the next ones follow by seq */
            uint64_t    lamport; /* of the first; likewise */
            bool        live;    /* they were delivered, and are stored nowhere: no mark */
        } answer;
        struct {
            uint64_t ref;
            bool     reached;
            uint32_t copies;
        } awaited;
    };
};

struct effects {
    const struct effect *at;
    uint32_t             count;
    /* Direct answer to the fact: */
    enum err err;
    uint64_t serial;  /* PUBLISH */
    bool     live;    /* PUBLISH: its topic is not stored, and the serial one of those */
    uint64_t session; /* SUBSCRIBE */
    uint64_t await;   /* AWAIT */
};

struct broker *broker_new(const struct broker_config *config, struct mono now);
void           broker_free(struct broker *b);

/* The wall clock goes into batches and into nothing else. */
struct effects broker_step(struct broker *b, struct mono now, struct wall wall,
                           const struct fact *fact);
struct mono    broker_deadline(const struct broker *b);

/* ---- delivery ---- */

/* The next session that a message woke; false: none. */
bool broker_ready(struct broker *b, uint64_t *session, uint64_t *ref);

/* The session's next message, or gap.
 * OK    *entry is set, borrowed until the next call.
 * MORE  nothing now; the session will be on the ready list again.
 * BUSY  it waits for the disk; FACT_TURN starts the read, PAGE makes it ready. */
MUST_USE enum err broker_pull(struct broker *b, uint64_t session, struct entry *entry);
/* In place of it when the client takes nothing for now; pull when it does again. */
void broker_stall(struct broker *b, uint64_t session);

/* Where a client goes on that saw all that was pulled: fills `cursor`.  False: FROM_SINCE,
 * and where that is was not read from disk yet; pull first. */
MUST_USE bool broker_cursor(struct broker *b, uint64_t session, struct vector *cursor,
                            uint64_t *stamp);

/* Where a session stands, to be found again for others (core/place.h): so that what was pulled
 * for one of them is encoded once for all.  In place of broker_pull() for who is there. */
MUST_USE bool broker_place(const struct broker *b, uint64_t session, struct place *p);
bool          broker_is_at(const struct broker *b, uint64_t session, const struct place *p);
void broker_move(struct broker *b, uint64_t session, const struct place *to, uint32_t deliveries);
uint32_t broker_sessions(const struct broker *b);

/* ---- for display and for receipts ---- */

/* Is what is published to this topic here stored? */
bool broker_stores(struct broker *b, struct str topic);

struct live_counts { /* of messages that are not stored */
    uint64_t published, came, delivered;
    uint64_t lost;   /* for a subscription whose client took nothing for too long */
    uint64_t missed; /* by a linked peer that takes too little */
    size_t   waiting_bytes;
};
struct live_counts broker_live(const struct broker *b);

/* What AWAIT_COPIES would find now: `wanted` as there. */
bool broker_has_copies(const struct broker *b, struct mark m, int wanted, uint32_t *copies);

const struct vector  *broker_vector(const struct broker *b); /* durable */
uint64_t              broker_stamp(const struct broker *b);  /* highest durable */
uint64_t              broker_clock(const struct broker *b);  /* C */
const struct roster  *broker_roster(const struct broker *b);
const struct bully   *broker_bully(const struct broker *b);
const struct journal *broker_journal(const struct broker *b);
const struct gossip  *broker_gossip(const struct broker *b);
bool                  broker_can_publish(const struct broker *b); /* else BUSY, FULL or REFUSED */
/* It takes writes and there is room: else publishes are refused and nothing is pulled. */
bool broker_disk_works(const struct broker *b);
/* Nothing of ours waits for the store. */
bool broker_is_drained(const struct broker *b);

#endif
