/* handle.h - what a struct hearsay is.  Private to src/client.
 *
 * Two connections: a long poll that waits must not keep a publish waiting, and each finds
 * its own way around a dead broker. */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include "client/line.h"
#include "client/page.h"
#include "hearsay.h"

enum { HANDLE_TEXT_BYTES = 512 };

/* A publish on its way; its bytes are kept until its answer begins, to be sent again. */
struct pending {
    struct buf bytes;
    int        answer_ms;
    bool       sent; /* some broker may have it */
};

struct hearsay {
    char       text[HANDLE_TEXT_BYTES];
    int        http_status;
    struct buf room; /* texts of the last receipt or problem */

    /* ---- publish ---- */
    struct line         pub;
    struct pending      pending[HEARSAY_OUTSTANDING_MAX]; /* a ring */
    unsigned            first, outstanding;
    enum hearsay_status verdict; /* of all that are outstanding, after a failed round */
    struct buf          context; /* zero-terminated cursor: Hearsay-After */

    /* ---- subscribe ---- */
    struct line sub;
    struct buf  filters; /* zero-terminated, behind one another; empty: not subscribed */
    struct buf  from;    /* zero-terminated: what to ask next */
    struct buf  cursor;  /* zero-terminated: what hearsay_cursor() says */
    int         page_limit;
    bool        poll_sent;
    struct mono poll_deadline;
    struct page page;
    bool        in_page;
};

/* Sets the text and passes the status on. */
enum hearsay_status handle_say(struct hearsay *h, enum hearsay_status status, const char *format,
                               ...) __attribute__((format(printf, 3, 4)));
/* The status of a line that failed with e; `round`: so did all others. */
enum hearsay_status handle_line_failed(struct hearsay *h, const struct line *l, const char *broker,
                                       enum err e);
/* The answer of the line is a refusal: text and status from its body. */
enum hearsay_status handle_refused(struct hearsay *h, const struct line *l);
/* Another broker may say yes to the same, and nothing was stored. */
bool handle_refusal_is_local(const struct hearsay *h, const struct line *l);
/* Replace what is in b by a zero-terminated copy. */
void        handle_set(struct buf *b, const char *text);
const char *handle_get(const struct buf *b);

#endif
