/* handle.h - what a struct hearsay is.  Private to src/client.
 *
 * Two connections: a long poll that waits must not keep a publish waiting, and each finds
 * its own way around a dead broker. */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include "client/kept.h"
#include "client/line.h"
#include "client/page.h"
#include "hearsay.h"

enum { HANDLE_TEXT_BYTES = 512 };

/* A publish on its way, kept until it is answered, to be sent again. */
enum pending_state {
    PENDING_WRITTEN,  /* on no connection */
    PENDING_SENT,     /* on the connection in use, or in its `out` */
    PENDING_ANSWERED, /* its answer is kept */
    PENDING_UNKNOWN,  /* its connection failed, and it is not to be sent again */
    PENDING_STATES,
};
struct pending {
    enum pending_state state;
    struct kept        kept;
    int                answer_ms;
    unsigned           via;        /* SENT, ANSWERED: `opened` of the connection */
    size_t             wire_bytes; /* SENT */
    bool               as_line;    /* SENT, ANSWERED: as request_publish() has it */
    bool               again;      /* a broker that failed may have stored it */
    int                status;     /* ANSWERED */
    struct buf         answer;
};

struct said {
    char text[HANDLE_TEXT_BYTES];
    int  http_status;
};

struct hearsay {
    char         text[HANDLE_TEXT_BYTES];
    int          http_status;
    struct watch watch; /* hearsay_fd(); not open: nobody asked for it */
    struct buf   room;  /* texts of the last receipt or problem */

    /* ---- publish ---- */
    struct line         pub;
    struct pending      pending[HEARSAY_OUTSTANDING_MAX]; /* a ring */
    unsigned            first, outstanding;
    bool                stuck;   /* the connection takes no more: answers first */
    bool                leaving; /* the broker refuses: no more to it; the answers that it owes */
    struct said         refusal; /* why */
    enum hearsay_status verdict; /* of all that no broker has taken, when the trying ended */
    struct said         said;    /* why */
    uint64_t            patience_ms; /* how long to try on after a round has failed */
    struct mono         trouble;     /* since when none worked; 0: one does */
    struct mono         answer_by;   /* the answer that is waited for; 0: for none yet */
    struct buf          context;     /* zero-terminated cursor: Hearsay-After */
    unsigned            context_via; /* the broker of this connection has all of it; 0: none */

    /* ---- subscribe ---- */
    struct line sub;
    struct buf  filters; /* zero-terminated, behind one another; empty: not subscribed */
    struct buf  from;    /* zero-terminated: what to ask next */
    struct buf  cursor;  /* zero-terminated: what hearsay_cursor() says */
    int         page_limit;
    bool        pinned; /* the first poll was answered: the place is known */
    bool        poll_sent;
    struct mono poll_deadline;
    struct page page;
    bool        in_page, page_is_new;
    bool        over; /* refused, as each broker would: `met_said` */
    /* What hearsay_work() met, for hearsay_next() to tell; OK: nothing. */
    enum hearsay_status met;
    struct said         met_said;
};

/* Sets the text and passes the status on. */
enum hearsay_status handle_say(struct hearsay *h, enum hearsay_status status, const char *format,
                               ...) __attribute__((format(printf, 3, 4)));
/* The status of a line that failed with e: call it before line_close().  TIMEOUT: the broker
 * took the request, and gave no answer in time. */
enum hearsay_status handle_line_failed(struct hearsay *h, const struct line *l, const char *broker,
                                       enum err e);
/* An answer is a refusal: text and status from its body.  REFUSED or UNCERTAIN. */
enum hearsay_status handle_refused(struct hearsay *h, const char *broker, int http_status,
                                   struct str body);
/* Of what handle_refused() came to: another broker may say yes to the same, and nothing was
 * stored. */
bool handle_refusal_is_local(const struct hearsay *h, enum hearsay_status status);
/* Keep what the text and HTTP status are now, and have them back, with `status`. */
void                handle_keep_said(const struct hearsay *h, struct said *to);
enum hearsay_status handle_say_again(struct hearsay *h, enum hearsay_status status,
                                     const struct said *said);

/* ---- for an event loop (work.c) ---- */

/* Last in each call: the descriptor tells of what there is to do now. */
void handle_arm(struct hearsay *h);
/* What can be done without waiting. */
void publish_work(struct hearsay *h);
void subscribe_work(struct hearsay *h);
/* Would hearsay_publish_end(), hearsay_next() come back at once, with more than TIMEOUT? */
bool publish_is_ready(struct hearsay *h);
bool subscribe_is_ready(const struct hearsay *h);
/* When there is something to do, whatever the sockets say; MONO_NEVER. */
struct mono publish_due(struct hearsay *h);
struct mono subscribe_due(const struct hearsay *h);

/* Replace what is in b by a zero-terminated copy. */
void        handle_set(struct buf *b, const char *text);
const char *handle_get(const struct buf *b);

#endif
