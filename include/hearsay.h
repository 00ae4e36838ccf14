/* hearsay.h - libhearsay: publish to and subscribe at Hearsay brokers, blocking or in an event
 * loop of the program's own (hearsay_fd).
 *
 *     struct hearsay *h = hearsay_open("localhost:3000,localhost:3001");
 *     struct hearsay_publish  p = {.topic = "stocks", .body = "up", .body_bytes = 2};
 *     struct hearsay_receipt  r;
 *     if (hearsay_publish(h, &p, &r) != HEARSAY_OK)
 *         fprintf(stderr, "%s\n", hearsay_text(h));
 *
 *     const char *filter[] = {"stocks/#"};
 *     struct hearsay_subscribe s = {.filter = filter, .filter_count = 1};
 *     struct hearsay_message   m;
 *     if (hearsay_subscribe(h, &s) == HEARSAY_OK)
 *         while (hearsay_next(h, 60000, &m) == HEARSAY_OK)
 *             fwrite(m.body, 1, m.body_bytes, stdout);
 *     hearsay_close(h);
 *
 * A handle publishes at one broker at a time, and reads at one; each moves on to the next
 * of the list when its own fails, in the order of the list, then round and round.  A broker
 * that dies is left at once.  One that stands still, or whose machine is gone, is left when
 * it was silent for as long as hearsay_set_timeouts() says, and under a subscription for half
 * as long again: 10 s and 15 s.
 *
 * A subscription goes on by its cursor, at whichever broker, without loss and without
 * repeats; what retention removed before it was read is told as HEARSAY_GAP.
 *
 * A publish whose connection failed before any byte of its answer came is sent again, to
 * the next broker.  The first one may have stored it all the same, so it may be there TWICE;
 * the receipt says so (`again`).  With `once` it is not sent again, but UNCERTAIN.
 *
 * Each publish carries what the handle has read or published before (Hearsay-After), so no
 * reader anywhere sees the answer before the question.  A broker that lacks some of that waits
 * for it up to 1 s; then the receipt says that it did not come (`causal`).
 *
 * A broker may be told to store nothing of some topics (`store = no`).  What is published to
 * those is delivered to whoever reads at that moment, and is nowhere later: its receipt and the
 * message say so (`stored` is 0), and have no id.
 *
 * A handle belongs to one thread at a time; handles share nothing.  Strings that come
 * out are valid until the next call on their handle.  The library raises no signals
 * (no SIGPIPE), writes nothing to standard output or standard error, and keeps no files.
 * When the system has no more memory the process is stopped, by abort(). */
#ifndef HEARSAY_H
#define HEARSAY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; hearsay_version() is of the library that runs.  Before 1.0.0 another second
 * number may mean another ABI, and then the library has another soname. */
#define HEARSAY_VERSION "0.1.0"
const char *hearsay_version(void);

struct hearsay; /* opaque */

enum hearsay_status {
    HEARSAY_OK = 0,
    HEARSAY_INVALID,     /* the call itself is wrong; nothing was sent */
    HEARSAY_UNREACHABLE, /* each broker was tried, none could be used; nothing is stored */
    HEARSAY_REFUSED,     /* the broker, or each of them, said no: hearsay_http_status() */
    HEARSAY_UNCERTAIN,   /* a publish may or may not be stored */
    HEARSAY_FEWER,       /* stored and spreading, but with fewer copies in time than asked */
    HEARSAY_GAP,         /* retention removed what was to come next; call again to go on */
    HEARSAY_TIMEOUT,     /* nothing came in time; call again */
    HEARSAY_BROKEN       /* an answer that is not Hearsay's */
};

/* What a status means, in a few words; never NULL. */
const char *hearsay_status_text(enum hearsay_status status);

/* ---- a handle ---- */

/* brokers: "host:port,host:port..."; the port may be missing (3000), an IPv6 address
 * stands in brackets.  Connects only when it has something to say.  NULL: `brokers` is
 * not such a list. */
struct hearsay *hearsay_open(const char *brokers);
void            hearsay_close(struct hearsay *h);

/* How long a broker may take to connect (default 3000; looking up its name comes on top) and
 * to answer (default 10000, besides what a call itself asks it to wait). */
void hearsay_set_timeouts(struct hearsay *h, int connect_ms, int answer_ms);
/* How long a publish goes on trying when each broker has failed or refused it for now (not
 * ready, disk full), as when the only one restarts.  Default 0: each is tried once. */
void hearsay_set_patience(struct hearsay *h, int ms);

/* Of the last call on this handle that failed: what went wrong and what to do, and the HTTP status
 * (0: none).  Never NULL; without control characters, whatever a broker said. */
const char *hearsay_text(const struct hearsay *h);
int         hearsay_http_status(const struct hearsay *h);
/* "host:port" of the broker in use or to be tried next: the subscription's, where there is
 * one, else that of all other calls. */
const char *hearsay_broker(const struct hearsay *h);

/* ---- publish ---- */

struct hearsay_pair {
    const char *name;
    const char *value;
};

struct hearsay_publish {
    const char                *topic;
    const void                *body;
    size_t                     body_bytes;
    const char                *type; /* Content-Type; NULL: none */
    const struct hearsay_pair *meta; /* given back with the message */
    size_t                     meta_count;
    const char                *acks;            /* "1", "2"..., "majority", "all"; NULL: "1" */
    int                        acks_timeout_ms; /* how long to wait for the copies; 0: 5000 */
    uint64_t                   lamport;         /* own Lamport time, 0: none */
    const char                *after; /* a cursor instead of what the handle has seen; "": none */
    int                        once;  /* never send it a second time: UNCERTAIN instead */
    void                      *data;  /* the program's own: the receipt has it, whatever comes */
};

struct hearsay_receipt {
    const char *id; /* "" where not stored; where UNCERTAIN: under which to look, or "" */
    const char *origin;
    const char *cursor;
    uint64_t    lamport;
    int         copies; /* members that have it on disk, as far as known */
    int         causal; /* 0: published before all that it follows was here */
    int         again;  /* a broker that failed may have stored it too: it may be there twice */
    const char *json;   /* as the broker sent it, one line */
    size_t      json_bytes;
    int         stored; /* 0: that broker stores nothing of this topic, it was delivered only */
    void       *data;   /* of struct hearsay_publish: which one it was */
};

/* OK: on disk at `acks` brokers, or `stored` is 0.  UNCERTAIN: a broker that failed, or its commit,
 * may have stored it or not; r->id is what to look for, where the broker said so.  UNREACHABLE,
 * REFUSED, INVALID: nothing is stored. */
enum hearsay_status hearsay_publish(struct hearsay *h, const struct hearsay_publish *p,
                                    struct hearsay_receipt *r);

/* Many at once: begin without waiting, then take the answers in the same order.  Each
 * successful begin needs one end.  At most HEARSAY_OUTSTANDING_MAX may be on their way
 * (INVALID beyond); what *p points to is copied, but for `data`.  All must be taken before
 * hearsay_publish() and hearsay_call().  They are stored in their order, unless a broker fails or
 * refuses some of them for now. */
enum { HEARSAY_OUTSTANDING_MAX = 256 };
enum hearsay_status hearsay_publish_begin(struct hearsay *h, const struct hearsay_publish *p);
enum hearsay_status hearsay_publish_end(struct hearsay *h, struct hearsay_receipt *r);
int                 hearsay_outstanding(const struct hearsay *h);

/* ---- subscribe ---- */

struct hearsay_subscribe {
    const char *const *filter;       /* '+' stands for one level, '#' for the rest */
    size_t             filter_count; /* 1..16 */
    /* NULL or "latest": what is published from now on.  "earliest": all that is kept.
     * A cursor: after all it has seen.  A time ("10m"): what came to that broker in the last
     * ten minutes. */
    const char *from;
    /* Messages fetched at a time, 0: 1000.  With 1 each message brings its own cursor. */
    int page;
};

struct hearsay_message {
    const char                *id, *topic, *origin, *time; /* time: RFC 3339, UTC */
    const char                *type;                       /* NULL: none was given */
    const struct hearsay_pair *meta;
    size_t                     meta_count;
    const void                *body; /* a zero byte stands behind it */
    size_t                     body_bytes;
    uint64_t                   lamport;
    int                        late; /* stored there before something it may depend on */
    /* HEARSAY_GAP: these positions of the stream `id` of `origin` are gone, whatever topics
     * they had; else 0. */
    uint64_t gap_from, gap_to;
    /* Where to go on after this message.  NULL inside a page: whoever goes on from the
     * cursor before it gets the messages of the page again. */
    const char *cursor;
    const char *json; /* the message, or gap, as the broker sent it, one line */
    size_t      json_bytes;
    int         stored; /* 0: it is nowhere to be read again, and has the id "" */
    uint64_t    lost;   /* not stored: so many before it were lost, since they were not read */
};

/* One subscription a handle; a second call ends the first, also when it fails: then there is none.
 * When OK is back the place is pinned: everything that is published afterwards will come. */
enum hearsay_status hearsay_subscribe(struct hearsay *h, const struct hearsay_subscribe *s);

/* The next message.  GAP: m->gap_from and gap_to, m->json; it comes once, in its place: behind
 * the messages of its stream before it, before those behind it.  UNREACHABLE after each
 * broker failed once, REFUSED when each refuses for now (hearsay_http_status() is 503): call
 * again to go on trying; the library paces itself.  Any other REFUSED is the end of the
 * subscription: it comes again, and no broker is asked, until there is another one.
 * With a timeout of 0 it takes what is there and waits for nothing, as hearsay_work(). */
enum hearsay_status hearsay_next(struct hearsay *h, int timeout_ms, struct hearsay_message *m);

/* At most so many messages at a time from the next fetch on. */
void hearsay_set_page(struct hearsay *h, int page);

/* Where the subscription goes on: store it to resume later, at any broker of the cluster,
 * with the same filters.  It moves on quiet topics too.  It covers messages that
 * hearsay_next() has returned, no others, whole pages at a time.  "": there is none yet,
 * before the first subscribe, and after one from "earliest" or a time while its first page
 * is not used up. */
const char *hearsay_cursor(const struct hearsay *h);

/* ---- in an event loop ---- */

/* A handle has one descriptor for poll(), epoll, libuv...: it is readable when hearsay_work() has
 * something to do or there is something to take, and stays so until that is done.  Wait for
 * nothing but readable, and for as long as you like: the library's own deadlines make it
 * readable too.
 *
 *     hearsay_publish_begin(h, &p), hearsay_subscribe_begin(h, &s)...
 *     poll() says that hearsay_fd(h) is readable:
 *         int has = hearsay_work(h);
 *         if (has & HEARSAY_HAS_RECEIPT)
 *             status = hearsay_publish_end(h, &r);
 *         if (has & HEARSAY_HAS_MESSAGE)
 *             status = hearsay_next(h, 0, &m);
 *
 * Several may be there: take as many as you like, ask hearsay_work() for what is left, or poll().
 *
 * The same from the first call until hearsay_close(), which closes it.  Do not read from it.
 * -1: no descriptors are left.  After this call hearsay_publish_begin() sends nothing itself,
 * and so waits for nothing.  A thread may poll it while another calls the library. */
int hearsay_fd(struct hearsay *h);

/* Connect, send, receive, move on to another broker: what can be done without waiting.  The only
 * thing it waits for is the name of a broker that it connects to, as long as the system's
 * resolver takes; addresses need none.  A call takes the answers to at most
 * HEARSAY_OUTSTANDING_MAX publishes, and one page of messages.  What is there, as bits: */
enum {
    HEARSAY_HAS_RECEIPT = 1, /* hearsay_publish_end() comes back at once */
    HEARSAY_HAS_MESSAGE = 2  /* hearsay_next() does, with a message or what else there is to say */
};
int hearsay_work(struct hearsay *h);

/* As hearsay_subscribe(), but the place is pinned later, when hearsay_subscribed() says so; what
 * a broker has against it hearsay_next() says. */
enum hearsay_status hearsay_subscribe_begin(struct hearsay *h, const struct hearsay_subscribe *s);
int                 hearsay_subscribed(const struct hearsay *h);

/* ---- everything else ---- */

/* GET, DELETE... of a path such as "/cluster", not encoded and without a query; the
 * answer's body, zero-terminated.  Only for what may be asked twice without harm. */
enum hearsay_status hearsay_call(struct hearsay *h, const char *method, const char *path,
                                 const char **body, size_t *body_bytes);

#ifdef __cplusplus
}
#endif
#endif
