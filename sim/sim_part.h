/* sim_part.h - what the files of the simulator share. */
#ifndef SIM_SIM_PART_H
#define SIM_SIM_PART_H

#include "base/list.h"
#include "base/prng.h"
#include "codec/wire.h"
#include "core/bully.h"
#include "core/journal.h"
#include "core/roster.h"
#include "sim/sim.h"

enum event_kind {
    EVENT_WAKE,   /* a broker's deadline */
    EVENT_OPEN,   /* a dial reaches its target */
    EVENT_FAIL,   /* a dial fails */
    EVENT_BYTES,  /* a frame arrives */
    EVENT_CLOSE,  /* the other end closed */
    EVENT_COMMIT, /* the store is done */
    EVENT_TOLD,   /* and core is told */
    EVENT_PAGE,   /* the reader is done */
    EVENT_RETAIN, /* the store's step of retention */
    EVENT_GOOD,   /* a connection does not stall any more */
};

struct event {
    struct list     in_inbox; /* of a paused broker */
    uint64_t        at_ms, order;
    enum event_kind kind;
    uint32_t        node;
    uint64_t        life; /* of that node: a crash voids what was meant for it */
    uint32_t        link;
    uint64_t        conn;
    struct addr     addr;
    struct buf      bytes;
    bool            push;
    uint64_t        reader;
    struct read     read;
};

/* A connection between two link slots. */
struct sim_conn {
    uint64_t id;
    bool     dead;        /* cut, in one direction at least */
    bool     lost[2];     /* ... what this end sends never arrives any more */
    bool     slow;        /* it takes longer than the oracle waits for */
    uint64_t stall_ms[2]; /* what this end sends arrives later than this */
    uint32_t node[2];     /* 0 dialled */
    uint32_t link[2];
    bool     open[2];
    uint64_t life[2];
    uint64_t last_ms[2]; /* arrival of the last frame sent by this end: order */
    size_t   queued[2];
    uint64_t good_ms; /* since then all that one end says arrives, and is heard; 0: it is not */
};

/* What the oracle saw last of a process. */
struct sim_seen {
    uint64_t changes, clock, stamp, epoch; /* S3 */
    uint64_t turns;
    uint64_t trouble_ms; /* L3: when it was no live broker with a working disk last */
    uint32_t pending;    /* L3: all publishes before this one are answered */
    uint32_t changes_of_coordinator;
};

struct sim_node {
    struct broker        *broker; /* NULL: down */
    struct store_mem     *disk;
    struct addr           addr;
    char                  host[16];
    uint64_t              life, nonce;
    bool                  paused;
    struct list           inbox;
    uint32_t              commit_ms, told_ms;
    int64_t               clock_ms; /* its wall clock was set by so much */
    uint32_t              crash_in; /* effects; 0: it does not */
    bool                  doomed;   /* it is dead already, in the middle of a step */
    struct retention      retention;
    struct commit        *waiting; /* handed over, not yet committed */
    uint32_t              waiting_count, waiting_cap, in_commit;
    struct commit_result *result;  /* of those in_commit, on disk; core does not know yet */
    uint64_t              wake_ms; /* the earliest EVENT_WAKE under way */
    bool                  used[LINKS_MAX];
    uint64_t              link_conn[LINKS_MAX];
    bool                  joins[SIM_BROKERS_MAX];
    bool                  asked[SIM_BROKERS_MAX]; /* by --join, not the peers file */
    int                   coordinator;            /* last told in the story */
    struct token          accepted;               /* for S17 */
    struct sim_seen       seen;
    uint64_t              epoch;       /* on its disk: S3 */
    uint64_t              lsn;         /* last on its disk */
    bool                  other_disk;  /* not the one that the last process left */
    bool                  is_replaced; /* some time it was not */
    bool                  is_old_copy; /* ... the one it is now is, and not empty */
    uint64_t              lost_ms;     /* when it last began with such a one; 0: never */
};

struct sim_publish {
    uint32_t      node;
    uint64_t      life, serial;
    int           outcome;
    struct mark   mark;
    char          topic[64], body[32];
    int           wanted; /* copies; 0: nobody waits for them */
    uint64_t      wait_ms;
    int           copies; /* SIM_PENDING, or what it was answered with */
    bool          reached;
    bool          stored; /* S8: some disk has it */
    uint64_t      handed_ms, answered_ms;
    bool          is_after; /* it waits to be published */
    uint64_t      stamp;    /* what its client says the time is; 0: nothing */
    bool          live;     /* its topic is not stored; then `lamport` is in its receipt */
    uint64_t      lamport;
    struct vector past; /* what its client had seen: a cursor's, and the broker's own */
};

/* What is live, as it was delivered: S11. */
struct sim_heard {
    uint32_t number; /* of its publish */
    uint64_t stamp;
};

struct sim_sub {
    uint32_t      node;
    uint64_t      session;
    bool          open, begun;
    bool          by_time; /* where it began is told by its first message */
    bool          held_up; /* its session waits for it to take more */
    uint32_t      takes;   /* so many more; UINT32_MAX: all that comes */
    char          filter[64];
    struct vector cursor;
    uint64_t      stamp;
    struct vector told; /* all that it was given or told to be gone: S12 */
    struct vector past; /* of what was given: none of it may come any more, S10 */
    struct buf    got;
    struct mark  *mark; /* of each delivery, in order */
    uint32_t      count, cap;
    uint64_t      gone, late;

    struct sim_heard *live;
    uint32_t          live_count, live_cap;
    uint32_t          live_since; /* from here on, since it is where it is */
    uint32_t          live_due;   /* answered by its broker since then, and not heard yet */
};

/* A batch that ever reached a disk. */
struct sim_batch {
    struct batch *batch;  /* one reference */
    struct vector past;   /* deps of all of its stream up to here: its whole past */
    uint32_t      had;    /* the disks that had it, and were not lost, a bit each */
    uint64_t      number; /* of the last look at a disk that had it */
    uint64_t      held_ms[SIM_BROKERS_MAX]; /* since when it, or a gap in its place, is there */
};

/* What a disk holds of a stream, as the oracle knows it. */
struct sim_held {
    uint64_t       head, floor, stamp;
    uint64_t       known, known_floor; /* as its broker's memory has it */
    struct hash128 chain;
    bool           gap;     /* some of it came here as a gap */
    bool           retired; /* the broker takes nothing more of it */
};

/* All that ever reached a disk of a stream, in order. */
struct sim_stream {
    uint64_t          id;
    struct sim_batch *batch;
    uint32_t          count, cap;
    struct sim_held   at[SIM_BROKERS_MAX];
    uint64_t          waived;  /* somewhere; up to here it may be missing */
    bool              retired; /* somewhere, at some time */
    uint64_t          owner;   /* life of the process that appends to it; 0: not known yet */
};

/* From one node to another. */
struct sim_wire {
    bool     cut, echo;
    uint32_t delay_ms;
    uint32_t lose; /* pushes that are to be lost */
};

struct claim {
    struct token token;
    uint32_t     node;
};

/* The last while in which two could tell each other all that they had; until 0: never. */
struct sim_talk {
    uint64_t since_ms, until_ms;
};

struct sim {
    struct sim_config   config;
    struct prng         prng;
    uint64_t            now_ms, order, events, hash;
    struct event      **heap;
    uint32_t            heap_count, heap_cap;
    struct sim_node     node[SIM_BROKERS_MAX];
    struct sim_wire     wire[SIM_BROKERS_MAX][SIM_BROKERS_MAX];
    struct sim_talk     talk[SIM_BROKERS_MAX][SIM_BROKERS_MAX];
    struct sim_conn    *conn;
    uint32_t            conn_count, conn_cap;
    int                 after; /* sim_after(), sim_covered(): SIM_PENDING, or was it reached? */
    struct sim_publish *publish;
    uint32_t            publish_count, publish_cap, acked;
    uint32_t           *stored; /* publishes that are about to wait for copies */
    uint32_t            stored_count, stored_cap;
    struct sim_sub      sub[SIM_SUBS_MAX];
    uint32_t            sub_count;
    struct claim       *claim;
    uint32_t            claim_count, claim_cap;
    struct sim_stream  *stream; /* by id */
    uint32_t            stream_count, stream_cap;
    uint64_t            frames[FRAME_KIND_END];
    struct sim_checks   checks;
    bool                damaged;   /* some message on some disk was */
    uint64_t            forgotten; /* retired streams, by a disk each */
    uint64_t            scans;     /* of a disk, so far */
    uint64_t            stamped;   /* how often a client said what time it is */
    struct wire_scratch scratch;
    struct buf          story;
};

/* ---- sim.c ---- */
struct event *event_new(struct sim *s, enum event_kind kind, uint32_t node, uint64_t in_ms);
void          node_step(struct sim *s, uint32_t i, const struct fact *f);
void          node_turn(struct sim *s, uint32_t i);
struct wall   sim_wall(const struct sim *s, uint32_t i);

/* ---- sim_disk.c ---- */
void disk_commit(struct sim *s, uint32_t i, const struct commit *c);
/* EVENT_COMMIT, EVENT_TOLD. */
void disk_done(struct sim *s, uint32_t i);
void disk_told(struct sim *s, uint32_t i);
void disk_read(struct sim *s, uint32_t i, uint64_t reader, const struct read *read);
/* EVENT_PAGE. */
void disk_page(struct sim *s, uint32_t i, const struct event *e);
/* EVENT_RETAIN. */
void disk_retain(struct sim *s, uint32_t i);
bool disk_retains(const struct retention *r);

/* ---- sim_net.c ---- */
/* Frames that travel in the data queue. */
static inline bool
sim_is_data(enum frame_kind kind)
{
    return kind == FRAME_PUSH || kind == FRAME_GAP || kind == FRAME_LATEST || kind == FRAME_LIVE;
}

void net_dial(struct sim *s, uint32_t i, const struct addr *to);
void net_send(struct sim *s, uint32_t i, uint32_t link, const struct frame *f);
void net_close(struct sim *s, uint32_t i, uint32_t link);
void net_event(struct sim *s, const struct event *e);
/* All connections of a broker that crashed. */
void net_drop_all(struct sim *s, uint32_t i);

/* ---- sim_reach.c ---- */

/* A connection opened; it ends, or one of its nodes is paused. */
void reach_begin(const struct sim *s, struct sim_conn *c);
void reach_end(struct sim *s, struct sim_conn *c);
/* All those of a node. */
void reach_node(struct sim *s, uint32_t i, bool good);
/* S9: i no longer waits for this.  Was anybody linked meanwhile who had told that it has it? */
void reach_waived(struct sim *s, uint32_t i, struct mark m);
/* S12: i takes a gap.  Is anybody linked who has some of it, and had told so? */
void reach_gone(struct sim *s, uint32_t i, const struct batch *gap);

/* ---- sim_live.c ---- */

/* Does broker i store nothing of "live/#"? */
bool sim_rules_live(uint32_t i);
void live_handed_in(struct sim *s, const struct sim_publish *p);
void live_deliver(struct sim *s, struct sim_sub *sub, const struct entry *e);
void live_answer(struct sim *s, uint32_t i, struct sim_publish *p, const struct effect *e);
/* Its clients have read what they read in this turn. */
void live_turn(struct sim *s, uint32_t i);

/* ---- sim_client.c ---- */
void client_answer(struct sim *s, uint32_t i, const struct effect *e);
void client_awaited(struct sim *s, uint32_t i, const struct effect *e);
/* What was stored begins to wait for copies. */
void client_await(struct sim *s, uint32_t i);
/* True: something was given, or waits for the disk. */
bool client_drain(struct sim *s, uint32_t i);
/* Its sessions are gone. */
void client_crash(struct sim *s, uint32_t i);

#endif
