/* line.h - one keep-alive HTTP connection to one broker of a list.
 *
 * It sends what is put into `out`, and gives whole answers, in order.  It does not
 * decide what to do after a failure: `heard` and `answered` say what its user needs for
 * that, brokers.h says who is next. */
#ifndef CLIENT_LINE_H
#define CLIENT_LINE_H

#include "client/brokers.h"
#include "codec/http_response.h"
#include "io/dial_blocking.h"

struct line {
    struct brokers brokers;
    struct dial    dial;
    struct buf     out;
    int            connect_ms, answer_ms;
    bool           answered; /* this connection has given an answer: it may have idled out since */
    bool           heard;    /* bytes of the answer that is waited for have come */
    /* The last whole answer, until the next line_answer(). */
    int        status;
    struct buf body;
    struct buf cursor; /* header Hearsay-Cursor, zero-terminated; empty: none */
    /* private */
    struct buf       in;
    size_t           seen;
    bool             in_body, keep_alive;
    struct http_body framing;
};

enum { LINE_CONNECT_MS = 3000, LINE_ANSWER_MS = 10000 };

void line_init(struct line *l);
void line_fini(struct line *l);
/* Forget the connection and what was not yet sent or read on it. */
void        line_close(struct line *l);
bool        line_is_open(const struct line *l);
const char *line_problem(const struct line *l);

/* Connect to the broker whose turn it is, after the pause of a failed round. */
MUST_USE enum err line_open(struct line *l);
/* Send without waiting for an answer. */
MUST_USE enum err line_flush(struct line *l, struct mono deadline);
/* OK: status, body, cursor are set.  TIMEOUT: not whole yet; call again to go on.  Else the
 * connection is closed. */
MUST_USE enum err line_answer(struct line *l, enum http_method method, struct mono deadline);

#endif
