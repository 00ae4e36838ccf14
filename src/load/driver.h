/* driver.h - what the generator's loop and the protocols have to do with each other.
 *
 * A protocol is rows of a table: one for those who publish, one for those who subscribe.  The
 * loop owns sockets, windows and clocks; a driver turns them into bytes and bytes back into
 * driver_acked() and driver_delivered().
 *
 * Each body begins with a mark: '@', 16 hex digits of the time in ns at which the message was
 * to be sent, 4 of its publisher, 8 of its number there.  No protocol here has an '@' of its
 * own, so in a line of text the mark is found by memchr. */
#ifndef LOAD_DRIVER_H
#define LOAD_DRIVER_H

#include "load/histogram.h"
#include "load/load.h"

#include <stdbool.h>

enum { MARK_BYTES = 29, HELLO_BYTES = 4096, LOAD_TOPIC_BYTES = 256 };

struct driver;
struct load;

/* A message as it leaves, but for its mark and what driver.number writes. */
struct message {
    char  *at;
    size_t bytes, mark, topic; /* topic: where its six digits are, 0: it has none */
};

struct conn {
    const struct driver *driver;
    struct load         *load;
    int                  fd;
    unsigned             index;
    bool                 ready, wants_out;
    /* What has to leave. */
    char  *out;
    size_t out_at, out_end, out_cap;
    /* What came and is no whole unit yet. */
    char  *carry;
    size_t carry_bytes, carry_cap;
    /* Publisher: when what waits for an acknowledgement was to be sent, a ring of 2^n. */
    uint64_t      *sent;
    uint32_t       sent_first, sent_next, sent_cap;
    struct message message;
    uint32_t       number; /* of the next message */
    long           unsent; /* of the window */
    /* Subscriber: the number expected next, of each publisher. */
    uint32_t *expected;
    uint64_t  got;
    /* The driver's own. */
    bool   head_done, chunked;
    size_t chunk_left;
    char  *cursor;
};

enum { TAKE_REFUSED = -1 };

struct driver {
    const char *name;
    /* What the connection says first; returns its bytes. */
    size_t (*hello)(const struct conn *c, char *out);
    /* Bytes of the whole answer to it, 0 while it is not whole, TAKE_REFUSED.  NULL: none is
     * waited for. */
    long (*ready)(struct conn *c, const char *p, size_t n);
    /* Said once ready; may be NULL. */
    void (*begin)(struct conn *c);
    /* Those who publish.  Writes the head of the message and, behind the body, its tail. */
    void (*message)(const struct conn *c, struct message *m);
    void (*number)(char *message, uint32_t number);
    bool acks; /* each message is answered */
    /* Takes all whole units; returns their bytes. */
    size_t (*take)(struct conn *c, char *p, size_t n);
};

/* What a run is asked to do, and what it counted. */
struct load {
    const char *host, *port, *ids_path;
    char   topic[LOAD_TOPIC_BYTES]; /* of all messages, or what they begin with; no JSON escapes */
    size_t body_bytes;
    unsigned publishers, subscribers, topics;
    long     window;
    double   rate, seconds, warm_seconds;
    uint64_t count; /* of messages in all; 0: until the time is over */
    bool     hold;

    uint64_t now, begin, warm, end; /* ns */
    uint64_t published, acked, delivered, errors, lost, repeated;
    uint64_t acked_warm, delivered_warm, published_warm; /* within the measured time */
    uint64_t last_came, cpu_ns; /* cpu_ns: of this process, from begin until all was there */

    struct histogram ack, delivery, late;
    struct load_ids  ids;
};

/* Those of Hearsay; the last row has no name. */
extern const struct driver load_publish[], load_subscribe[];

/* ---- what drivers call ---- */
/* The oldest message that waits is acknowledged; `id` may be NULL, else a quote follows it. */
void driver_acked(struct conn *c, const char *id, const char *end);
/* `p` points to a mark that is wholly there. */
void driver_delivered(struct conn *c, const char *p);
void driver_send(struct conn *c, const char *p, size_t n);
void driver_error(struct conn *c, const char *p, size_t n);
/* Writes head, an empty body and tail into a message of its own. */
void driver_message(const struct load *l, struct message *m, const char *head, const char *tail);
/* l->topic, or a topic below it whose six digits driver.number's caller writes. */
const char *driver_topic(const struct load *l);
/* What a subscriber asks for: that topic, or all below it. */
const char *driver_filter(const struct load *l);

/* ---- HTTP, for whoever speaks it as Hearsay does ---- */
void driver_post(const struct conn *c, struct message *m, const char *path);
/* Returns the bytes written to `out`. */
size_t driver_get(const char *path, const char *query, const char *accept, char *out);

/* Each file of a protocol has its functions in a table. */
#define DRIVER_FUNCTIONS(name)                                                                     \
    size_t name##_hello(const struct conn *c, char *out);                                          \
    long   name##_ready(struct conn *c, const char *p, size_t n);                                  \
    size_t name##_take(struct conn *c, char *p, size_t n);                                         \
    void   name##_message(const struct conn *c, struct message *m)

DRIVER_FUNCTIONS(post);
DRIVER_FUNCTIONS(lines_up);
DRIVER_FUNCTIONS(lines_down);
DRIVER_FUNCTIONS(sse);
DRIVER_FUNCTIONS(poll);
void poll_begin(struct conn *c);
DRIVER_FUNCTIONS(json);
DRIVER_FUNCTIONS(json_sub);

#endif
