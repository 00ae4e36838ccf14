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
    struct mono    heard_at; /* when the last bytes came */
    unsigned       opened;   /* counts the connections */
    size_t         unsent;   /* of the last connection: what was in `out` when it closed */
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

enum { LINE_CONNECT_MS = 3000, LINE_ANSWER_MS = 10000, LINE_BODY_BYTES_MAX = 64 << 20 };

void line_init(struct line *l);
void line_fini(struct line *l);
/* Forget the connection and what was not yet sent or read on it. */
void line_close(struct line *l);
bool line_is_open(const struct line *l);
/* Before a request, while no answer is waited for: a connection that idled out is closed. */
void        line_check(struct line *l);
const char *line_problem(const struct line *l);

/* Connect to the broker whose turn it is, after the pause of a failed round.  MORE: not yet,
 * and `until` has come: call again. */
MUST_USE enum err line_open(struct line *l, struct mono until);
/* When line_open() has something to do, whatever the socket says. */
struct mono line_open_at(const struct line *l);
/* Send without waiting for an answer.  A failure leaves the answers that have come to be read:
 * line_answer() fails behind them. */
MUST_USE enum err line_flush(struct line *l, struct mono deadline);
/* OK: status, body, cursor are set.  TIMEOUT: not whole yet; call again to go on.  Else the
 * connection is closed. */
MUST_USE enum err line_answer(struct line *l, enum http_method method, struct mono deadline);

#endif
