/* front.h - between the server and the protocols spoken on its port.
 *
 * A front turns the bytes of a conn into calls of server_*() and what comes back
 * into bytes.  It runs on the loop's thread.  Its own state hangs on the conn.
 *
 * Two rules keep the order:
 *  1. Inside answer(), awaited(), topics() and latest() a front only writes (conn_*).
 *     To go on with bytes it has kept, it calls conn_again(); resume() follows in the
 *     same turn.
 *  2. When server_publish() says BUSY the front keeps the request where it is and
 *     stops parsing.  The server stops reading this conn and calls resume() as
 *     soon as it is worth trying again.
 *
 * Nothing here frees a conn under the caller's feet: conn_close() and conn_finish()
 * only mark it; close() is called at the end of the turn. */
#ifndef SERVER_FRONT_H
#define SERVER_FRONT_H

#include "base/trace.h"
#include "base/buf.h"
#include "base/err.h"
#include "core/broker.h"
#include "core/types.h"
#include "server/runs.h"

struct server;
struct conn;
struct sub;

/* What became of a publish. */
struct outcome {
    enum err    err; /* OK; UNKNOWN: it may or may not be stored (503) */
    struct mark mark;
    uint64_t    lamport;
    bool        live; /* its topic is not stored: it was delivered, and has no mark */
};

struct topic_row {
    struct str name;
    uint64_t   count, newest_lsn;
};
struct topic_list {
    uint32_t                count;
    const struct topic_row *at;
};

struct front {
    const char *name;
    /* The first byte of the protocol is about to come.  The conn's deadline is set
     * to CLIENT_HEAD_MS from now.  May be NULL. */
    void (*open)(struct conn *c);
    /* All of `s` was taken (or kept).  Anything but OK: the conn is finished, after
     * what was written left. */
    enum err (*bytes)(struct conn *c, struct str s);
    /* The client sends no more.  What it sent is still to be answered: the front
     * calls conn_finish() when nothing is left to do. */
    void (*end)(struct conn *c);
    /* After BUSY or conn_again(): go on with kept bytes.  Errors as for bytes(). */
    enum err (*resume)(struct conn *c);
    /* For each publish that was OK, in their order. */
    void (*answer)(struct conn *c, uint64_t ref, const struct outcome *o);
    void (*awaited)(struct conn *c, uint64_t ref, bool reached, uint32_t copies);
    /* server_pull() until it says false.  Called again when there is more and the conn
     * has room.  Here everything may be called. */
    void (*ready)(struct conn *c, struct sub *sub);
    /* All that was written left, after some of it had to wait.  May be NULL. */
    void (*drained)(struct conn *c);
    /* The conn's deadline passed (it is unset now).  NULL where none is set. */
    void (*deadline)(struct conn *c);
    /* NULL where nobody asks. */
    void (*topics)(struct conn *c, uint64_t ref, const struct topic_list *topics);
    /* OK: *newest, borrowed for the call.  NOTFOUND: no message.  BUSY: there is no memory for
     * it now.  Others: it cannot be read.  NULL where nobody asks. */
    void (*latest)(struct conn *c, uint64_t ref, enum err err, const struct entry *newest);
    /* Those of the operator changed: what was borrowed of facts that may ends now.  May be NULL. */
    void (*options)(struct conn *c);
    /* The conn is gone: free the state.  Subscriptions and awaits end by themselves. */
    void (*close)(struct conn *c);
};

extern const struct front front_http, front_json, front_peer;

/* ---- the conn ---- */

/* The lines of this thread are about a request of this conn now; 0: the conn as a whole.  What
 * comes back is for trace_about() when that is over. */
struct trace_about conn_about(const struct conn *c, uint64_t request);
void              *conn_state(const struct conn *c);
void               conn_set_state(struct conn *c, void *state);
struct server     *conn_server(const struct conn *c);
/* Append to it; it leaves in one send at the end of the turn. */
struct buf *conn_out(struct conn *c);
void        conn_write(struct conn *c, struct str s);
/* Is there room for more of what a client did not ask for just now?  (256 KiB) */
bool conn_has_room(const struct conn *c);
/* For how many bytes; who has nothing to send may take one message that is longer. */
size_t conn_room(const struct conn *c);
/* An answer in the making has so many bytes; 0: it was written, or never will be. */
void conn_hold(struct conn *c, size_t bytes);
/* How long it may become; 0: no more than it must. */
size_t conn_answer_room(const struct conn *c);
/* The front's own brake on reading, besides those of the server. */
void conn_pause(struct conn *c);
void conn_unpause(struct conn *c);
/* resume() is called, once, before this turn ends. */
void conn_again(struct conn *c);
/* One deadline for each conn; MONO_NEVER: none. */
void conn_deadline(struct conn *c, struct mono at);
/* What was written still leaves; nothing more is read or called but close(). */
void conn_finish(struct conn *c);
/* At once. */
void conn_close(struct conn *c);
bool conn_is_closing(const struct conn *c);
/* Has end() been called? */
bool conn_has_ended(const struct conn *c);

/* ---- publish ---- */

struct publish_args {
    struct str topic, headers, body; /* valid by filter.h and limits.h; copied */
    uint64_t   stamp;                /* 0: none */
};
/* OK: answer(ref) follows.  BUSY: see above.  FULL: 507.  REFUSED: we are stopping.
 * LIMIT: it would not fit a batch (headers). */
MUST_USE enum err server_publish(struct conn *c, const struct publish_args *args, uint64_t ref);

/* ---- subscribe ---- */

struct subscribe_args {
    const struct str   *filter; /* valid; copied */
    uint32_t            filter_count;
    enum subscribe_from from;
    struct vector       cursor; /* FROM_CURSOR */
    uint64_t            cursor_stamp;
    struct wall         since;  /* FROM_SINCE */
    uint64_t            stamp;  /* the client's Lamport time; 0: none */
    uint64_t            parked; /* by server_park(): it ends; 0: none */
};
/* LIMIT: SUBSCRIPTIONS_PER_CONN or SESSIONS_MAX. */
MUST_USE enum err server_subscribe(struct conn *c, const struct subscribe_args *args, uint64_t ref,
                                   struct sub **sub);
void              server_unsubscribe(struct conn *c, struct sub *sub);
/* In its place: for PARK_MS what is live goes on to wait for it, and comes to the subscription of
 * this conn that says `parked`, if its filters are the same.  ready() is called no more. */
uint64_t server_park(struct conn *c, struct sub *sub);
uint64_t sub_ref(const struct sub *sub);
/* The next message or gap, borrowed until the next call.  False: nothing now, or the conn
 * has no room; ready() will be called again. */
bool server_pull(struct conn *c, struct sub *sub, struct entry *entry);
/* Pull all that there is, in the bytes of a face.  `render` writes one entry to conn_out() and
 * answers with a note; but what it wrote for another who stood in the same place is written
 * again without it.  The note of the last entry; 0: there was none. */
uint64_t server_deliver(struct conn *c, struct sub *sub, enum face face,
                        uint64_t (*render)(struct conn *c, const struct entry *e));
/* The last pull ended because more has to be read from disk. */
bool sub_is_reading(const struct sub *sub);
/* Where a client goes on that saw all that was pulled; *cursor by vector_init().  False:
 * FROM_SINCE, and where that is was not read from disk yet. */
MUST_USE bool server_cursor(struct conn *c, struct sub *sub, struct vector *cursor,
                            uint64_t *stamp);

/* ---- wait ---- */

struct await_args {
    enum await_kind kind;
    struct vector   vector; /* AWAIT_COVERED */
    struct mark     mark;   /* AWAIT_COPIES */
    int             copies;
    struct mono     deadline;
};
/* OK: one awaited(ref) follows, perhaps at once.  LIMIT: AWAITS_MAX. */
MUST_USE enum err server_await(struct conn *c, const struct await_args *args, uint64_t ref);

/* ---- the rest ---- */

/* topics(ref) follows.  BUSY: too many questions wait. */
MUST_USE enum err server_topics(struct conn *c, uint64_t ref);
/* latest(ref) follows, of a valid topic.  BUSY: too many questions wait. */
MUST_USE enum err server_latest(struct conn *c, struct str topic, uint64_t ref);
/* The conn's request was GET /peer with Upgrade: hearsay-peer/1 and it is a link from now
 * on: the 101 is written, this front's close() was called.  `rest`: what came
 * behind the head.  LIMIT: no slot, the front answers 503. */
MUST_USE enum err server_become_peer(struct conn *c, struct str rest);
/* OK, NOTFOUND, INVALID (self). */
MUST_USE enum err server_forget(struct server *s, const struct addr *addr);

struct server_counters {
    uint64_t conns_open, conns_accepted, conns_over_limit, out_of_files, conns_unknown_protocol;
    uint64_t heads_too_slow;
    uint64_t links_open, link_bytes_in, link_bytes_out, dials, dials_failed;
    uint64_t publishes, publishes_busy, publishes_full, deliveries, gaps;
    uint64_t commits, commit_groups, commits_failed, reads;
    uint64_t client_bytes_in;
    uint64_t disk_free_bytes, file_bytes, wal_bytes;
};

struct server_facts { /* what does not change while the server runs, but `cors` */
    struct str  cluster, host, version;
    struct str  cors; /* comma list of origins; see options() of a front */
    struct addr self;
    struct mono started;
};

struct mono                server_now(const struct server *s);
struct wall                server_wall(const struct server *s);
struct broker             *server_broker(struct server *s);
struct server_counters     server_counters(const struct server *s);
const struct server_facts *server_facts(const struct server *s);
/* Started, recovered and not stopping. */
bool server_is_ready(const struct server *s);
/* Its file was corrupt, and no peer has given back what it has. */
bool server_is_rebuilding(const struct server *s);

#endif
