/* conn.h - one socket and the protocol spoken on it.
 *
 * The first byte that is not blank picks the front.  Reading stops while any brake
 * is on: the front's own, publishing is BUSY, or too much output waits. */
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include "base/list.h"
#include "io/sock.h"
#include "server/front.h"

enum {
    CONN_ROOM_BYTES   = 256 << 10, /* more output waiting: no more deliveries; or more than */
    CONN_ROOM_SHARE   = 32,        /* such a part of what is left of DELIVERY_BYTES_MAX */
    CONN_ANSWER_SHARE = 4,         /* such a part of what is left of ANSWERS_BYTES_MAX */
    CONN_OUTPUT_BYTES = 1 << 20,   /* more output waiting: nothing more is read */
    CONN_IDLE_MS      = 75000,     /* without a first byte */
    CONN_FLUSH_MS     = 5000,
};

enum conn_brake { BRAKE_FRONT = 1, BRAKE_BUSY = 2, BRAKE_OUTPUT = 4 };

/* Of publishes that are not stored, behind one that is and has no answer yet: a ring. */
struct kept_answer {
    uint64_t       ref, serial; /* it leaves behind the answer to `serial` */
    struct outcome outcome;
};
struct kept_answers {
    struct kept_answer *at;
    uint32_t            cap, first, count;
};

struct conn {
    struct server      *server;
    uint64_t            number; /* since the start, from 1 */
    struct sock        *sock;
    const struct front *front;                /* NULL: no byte yet */
    void               *state;                /* the front's */
    struct list         again, busy, recheck; /* in the server's lists of these names */
    struct list         subs, stalled, waits;
    uint32_t            sub_count;
    unsigned            brakes;
    bool                ended, touched;
    size_t              unsent; /* counted in server.unsent */
    size_t              held;   /* counted in server.held */
    struct loop_timer   deadline;
    uint64_t            serial; /* of its last publish that is stored; 0: none */
    struct kept_answers kept;
};

/* For listener_config. */
void conn_on_accepted(void *server, struct sock *sock);
/* A conn that dials; `front` gets its bytes.  NULL: no more sockets. */
struct conn *conn_dial(struct server *s, const struct endpoint *to, const struct front *front,
                       uint32_t timeout_ms);
/* From now on another protocol. */
void conn_become(struct conn *c, const struct front *front);
void conn_brake(struct conn *c, enum conn_brake brake, bool on);
/* Call the front with kept bytes. */
void conn_resume_front(struct conn *c);
/* Long answers that wait to be read are held against UNSENT_BYTES_MAX. */
void conn_count_unsent(struct conn *c);
/* Output left or may have left: is there room for what stalled? */
void conn_recheck(struct conn *c);

#endif
