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
    char       text[HANDLE_TEXT_BYTES];
    int        http_status;
    struct buf room; /* texts of the last receipt or problem */

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
    struct buf          context;     /* zero-terminated cursor: Hearsay-After */
    unsigned            context_via; /* the broker of this connection has all of it; 0: none */

    /* ---- subscribe ---- */
    struct line sub;
    struct buf  filters; /* zero-terminated, behind one another; empty: not subscribed */
    struct buf  from;    /* zero-terminated: what to ask next */
    struct buf  cursor;  /* zero-terminated: what hearsay_cursor() says */
    int         page_limit;
    bool        poll_sent;
    struct mono poll_deadline;
    struct page page;
    bool        in_page, page_is_new;
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
/* Replace what is in b by a zero-terminated copy. */
void        handle_set(struct buf *b, const char *text);
const char *handle_get(const struct buf *b);

#endif
