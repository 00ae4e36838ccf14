/* server_private.h - the server from within, for server*.c, conn.c and front_peer.c. */
#ifndef SERVER_SERVER_PRIVATE_H
#define SERVER_SERVER_PRIVATE_H

#include "base/list.h"
#include "base/pool.h"
#include "codec/wire.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/sock.h"
#include "io/worker.h"
#include "server/conn.h"
#include "server/front.h"
#include "server/peers_file.h"
#include "server/server.h"
#include "store/store.h"

enum {
    CONNS_MAX        = 20000,
    FILES_RESERVED   = 96, /* for the store, links and the listener */
    FILES_MIN        = 64, /* with less a broker runs, and can hardly serve anybody */
    STOP_MS          = 5000,
    STOP_COPIES_MS   = 2000, /* of these: for publishes that wait for copies */
    STOP_PATIENCE_MS = 3000, /* and until they are answered */
    RESOLVE_RETRY_MS = 5000,
    TEND_MS          = 1000,
    PARK_MS          = 10000,
    SEEDS_MAX        = 2 * MEMBERS_MAX,
};

/* Who is told about a publish: serial -> conn.  A ring; serials come without gaps.  Publishes
 * that are not stored have serials, and a ring, of their own. */
struct asker {
    uint64_t conn; /* handle */
    uint64_t ref;
    uint64_t behind; /* serial of the conn's last publish before it that is stored; 0: none */
};
struct askers {
    struct asker *at;
    uint32_t      cap;         /* a power of two */
    uint64_t      first, next; /* serials held: [first, next) */
};

struct sub {
    struct conn *conn;
    struct list  in_conn;
    struct list  stalled; /* in conn->stalled: has more, the conn has no room */
    uint64_t     session, ref;
    bool         is_reading; /* as of the last pull: more has to come from disk */
    struct list  parked;     /* in server.parked */
    struct mono  until;      /* parked: so long */
};

struct wait {
    struct conn *conn;
    struct list  in_conn;
    uint64_t     await, ref;
    bool         copies; /* a publish waits for it */
};

/* The bytes of the PUSH or LIVE that was sent last: it usually goes to several links. */
struct push_cache {
    struct batch *batch; /* one reference: its address must not be used again */
    uint8_t       flags;
    struct buf    bytes;
};

struct seed {
    struct server *server;
    char           host[HOST_BYTES_MAX + 1];
    uint16_t       port;
    bool           named; /* by the peers file or --join, as they are now */
    bool           join;  /* by --join: roster_join() */
    bool           asking, found;
    bool           told; /* that it has no address */
};

struct server {
    struct config         *config; /* the loop's alone */
    struct server_facts    facts;
    struct server_counters counters;
    char                   data_dir[4096];
    int                    lock_fd;

    struct loop           *loop;
    struct listener       *listener;
    struct listener_counts listened; /* of it, when it was closed */
    struct broker         *broker;
    struct store          *store;
    struct store_reader   *reader;
    struct worker         *store_worker, *read_worker;

    struct pool   conns, subs, waits;
    uint64_t      conns_made;
    struct askers askers, live_askers;
    struct list   again;    /* conns: resume() in this turn */
    struct list   busy;     /* conns: resume() when publishing goes on */
    struct list   recheck;  /* conns: is there room now? */
    struct list   parked;   /* subs, the longest first */
    bool          answered; /* publishes were answered since `busy` was looked at */
    bool          dirty;    /* facts since the last FACT_TURN */
    bool          in_effects;
    struct asker  asking;       /* whose publish is being stepped */
    uint32_t      hastened;     /* deliveries of this turn */
    struct buf    live_answers; /* effects: carried out behind the deliveries */

    struct conn        *link[LINKS_MAX];
    struct wire_scratch scratch;
    struct push_cache   cache;
    struct runs         runs;
    struct addr         dial_failed[LINKS_MAX]; /* at once: told to core in the next turn */
    uint32_t            dial_failed_count;

    struct seed seed[SEEDS_MAX];
    uint32_t    seed_count;

    struct loop_timer deadline, tend, retain, retry, stop;
    uint64_t          commits_tended;   /* counters.commits when it was tended last */
    uint64_t          reads_tended;     /* likewise */
    uint64_t          commits_retained; /* when it was asked to take from the front */
    _Atomic uint64_t  retain_ms, retain_bytes, reserve_bytes; /* for the store's thread */
    uint64_t          retire_ms;
    bool              retain_waits; /* for a group to go with */
    bool              retains;      /* groups take a step along; the store's thread alone */
    bool              reader_rests; /* nothing was read since it gave its memory back */
    bool              is_tidy;      /* no commit since the store was tended in peace */
    struct store_disk disk;         /* as the store's thread saw it last */
    bool              read_corrupt, broken_told, failed, condemned, rebuilding;
    uint32_t          topics_waiting, latest_waiting, copies_waiting;
    size_t            unsent; /* long answers that their clients do not read */
    size_t            held;   /* answers in the making */
    struct mono       stop_began;
    bool              ready, stopping, closed;
};

/* ---- server.c ---- */
/* Tell core, carry out what it wants.  The answer to the fact itself is returned. */
struct fact_answer {
    enum err err;
    uint64_t id;   /* serial, session or await */
    bool     live; /* of a serial */
};
struct fact_answer server_step(struct server *s, const struct fact *fact);

/* ---- server_calls.c ---- */
void server_wait_over(struct server *s, struct wait *w);
/* Each second: those that were parked for long enough end. */
void server_unpark(struct server *s);

/* ---- server_effects.c ---- */
void server_carry_out(struct server *s, const struct effects *fx);
/* What was published without being stored, and is delivered now. */
void server_answer_live(struct server *s);
void askers_add(struct askers *a, uint64_t serial, struct asker who);
void push_cache_clear(struct push_cache *c);

/* ---- server_store.c ---- */
void server_persist(struct server *s, const struct commit *commit);
void server_read(struct server *s, uint64_t reader, const struct read *read);
void server_start_workers(struct server *s);
void server_stop_workers(struct server *s);
void server_on_tend(void *ctx);
void server_on_retain(void *ctx);
/* Of options with which a broker starts; core and store have to agree on it. */
uint64_t server_retire_ms(const struct config *c);
/* The options say something, or something new, of what is kept and of the disk. */
void server_store_options(struct server *s);

/* ---- server_disk.c ---- */
/* The store's thread has looked at the disk. */
void server_looked(struct server *s, const struct store_disk *disk);
/* Each second. */
void server_watch(struct server *s);
void server_rebuild_begins(struct server *s);
/* It ends since its file is broken: the last of what it took is not at others yet; all is. */
bool server_waits_for_others(const struct server *s);
void server_condemn(struct server *s);

/* ---- server_seeds.c ---- */
/* Peers file and --join; also after SIGHUP.  `problem` as for server_open(). */
MUST_USE enum err server_load_seeds(struct server *s, struct buf *problem);
void              server_resolve_seeds(struct server *s);
void              server_on_retry(void *ctx);

/* ---- front_peer.c ---- */
void peer_dial(struct server *s, const struct addr *addr);
void peer_send(struct server *s, uint32_t link, const struct frame *frame);
void peer_close(struct server *s, uint32_t link);
void peer_bulk_sent(struct conn *c, size_t bytes_waiting);
/* Tell core of dials that failed at once. */
void peer_dials_failed(struct server *s);

static inline struct addr
addr_of(const struct endpoint *e)
{
    struct addr a = {.family = e->family, .port = e->port};
    for (int i = 0; i < 16; i++)
        a.ip[i] = e->ip[i];
    return a;
}

static inline struct endpoint
endpoint_of(const struct addr *a)
{
    struct endpoint e = {.family = a->family, .port = a->port};
    for (int i = 0; i < 16; i++)
        e.ip[i] = a->ip[i];
    return e;
}

#endif
