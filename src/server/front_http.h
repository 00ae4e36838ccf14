/* front_http.h - what the parts of the HTTP face share.  docs/HTTP.md.
 *
 * A request stays in the input until it is carried out: a handler that says BUSY is
 * called again with it.  Publishes may overlap; they stand in `due` until answered.
 * Every other call is solo: it begins when `due` is empty and nothing is taken from the
 * input before http_reply() ended it.  So answers keep the order of the requests. */
#ifndef SERVER_FRONT_HTTP_H
#define SERVER_FRONT_HTTP_H

#include "codec/http.h"
#include "codec/http_body.h"
#include "codec/http_write.h"
#include "server/front.h"

enum {
    HTTP_DUE_MAX           = 64,   /* publishes of a conn that are not answered: then it waits */
    HTTP_AFTER_WAIT_MS     = 1000, /* for what Hearsay-After covers */
    HTTP_BODY_MS           = 300000,
    HTTP_KEEP_BYTES        = 64 << 10, /* of a buffer's memory, once it is empty */
    HTTP_CURSOR_HEADER_MAX = 8 << 10,  /* a longer one stands in the body of an answer alone */
    /* Of a GET: parameters that are too long for a head; 413 beyond it. */
    HTTP_FORM_BYTES_MAX = CURSOR_BYTES_MAX + HTTP_HEAD_BYTES_MAX,
};

/* How the next answer is to be framed; from its request. */
struct http_reply_as {
    uint8_t    version_minor;
    bool       keep_alive;
    bool       head;    /* no body, please */
    uint32_t   request; /* its number, from 1 */
    struct str origin;  /* one of those in `cors`, or empty */
};

struct http_ask {
    const struct http_request *request;
    struct str                 param; /* what stands for {x}, not decoded */
    struct str                 body;
    struct str                 rest; /* of the input, behind this request */
    struct http_reply_as       as;
};

enum http_due_state {
    HTTP_DUE_STORE,  /* on its way to the disk */
    HTTP_DUE_STORED, /* copies are still to be waited for */
    HTTP_DUE_COPIES, /* they are */
    HTTP_DUE_DONE,
    HTTP_DUE_STATE_COUNT
};

/* A publish on its way to its answer. */
struct http_due {
    enum http_due_state  state;
    struct http_reply_as as;
    int                  copies_wanted; /* as in await_args */
    struct mono          deadline;
    bool                 causal;
    struct vector        after; /* of Hearsay-After, where it was not covered */
    uint64_t             after_stamp;
    struct outcome       outcome;
    bool                 reached;
    uint32_t             copies;
};

enum http_after { HTTP_AFTER_NONE, HTTP_AFTER_WAITING, HTTP_AFTER_COVERED, HTTP_AFTER_GIVEN_UP };
enum http_stage { HTTP_HEAD, HTTP_BODY, HTTP_WHOLE, HTTP_LINES };
enum http_timer { HTTP_TIMER_NONE, HTTP_TIMER_HEAD, HTTP_TIMER_BODY, HTTP_TIMER_POLL };

/* How a read is answered. */
enum http_poll_kind { HTTP_POLL_ONCE, HTTP_POLL_SSE, HTTP_POLL_NDJSON };

/* A read that is being carried out. */
struct http_poll {
    enum http_poll_kind kind;
    struct sub         *sub;
    struct buf          body;         /* ONCE: the answer's, up to its last message */
    struct buf          gaps;         /* ONCE: JSON, comma separated */
    size_t              room;         /* ONCE: for both */
    uint32_t            count, limit; /* of messages */
    bool                patient;      /* wait > 0 */
    bool                uncovered;    /* covered=1, and the cursor is not covered (yet) */
    bool                settled;      /* the wait for that is over: resume() goes on */
    bool                hurried;      /* something was found: the rest may take MORE_MS */
    uint64_t            placed;       /* a stream: hash of the last place said; 0: none yet */
    struct mono         deadline;
};

struct http_lines;

struct http_conn {
    struct buf           in; /* not taken yet */
    size_t               seen;
    enum http_stage      stage;
    struct http_body     framing;    /* BODY */
    struct buf           head, body; /* of a request that came in pieces */
    bool                 busy;       /* a solo call is being carried out */
    bool                 paused;     /* the request in front has to wait */
    bool                 lost;       /* the framing is lost: `problem`, then the end */
    struct http_problem  problem;
    struct http_reply_as as, lost_as; /* of the solo call; of what is lost, or would be */
    enum http_timer      timer;
    enum http_after      after;
    struct vector        after_vector;
    uint64_t             after_stamp;
    struct http_due     *due; /* HTTP_DUE_MAX of them, or NULL */
    uint64_t             due_first, due_next;
    struct http_poll    *poll;   /* NULL: none */
    uint64_t             parked; /* the subscription of the poll before; 0: none */
    struct http_lines   *lines;  /* LINES */
    uint32_t             tag;
    uint32_t             requests;  /* begun so far */
    bool                 counted;   /* the one in front is among them */
    struct buf           origin;    /* "host:port" of this broker, as messages carry it */
    struct vector        cursor_of; /* what `cursor` is the text of */
    uint64_t             cursor_stamp;
    struct buf           cursor;
    struct buf           text; /* scratch: a body being made */
};

/* OK: answered, or an answer will come by http_reply().  BUSY: again later. */
typedef enum err http_handler(struct conn *c, struct http_conn *h, const struct http_ask *ask);

#define ROUTE(method, path, handler, solo, help) http_handler http_##handler;
#include "server/routes.def"
#undef ROUTE

/* ---- answers ---- */

#define HTTP_JSON STR("application/json")
#define HTTP_PROBLEM STR("application/problem+json")
enum { HTTP_EXTRA_MAX = 4 };

struct http_said {
    uint16_t                  status;
    struct str                type, body;
    const struct http_header *extra; /* HTTP_EXTRA_MAX at most */
    size_t                    extra_count;
    struct str                lines; /* as in struct http_answer */
};

/* End a solo call with its answer. */
void http_reply(struct conn *c, struct http_conn *h, const struct http_said *said);
void http_reply_problem(struct conn *c, struct http_conn *h, uint16_t status, const char *code,
                        const char *detail);
/* `extra` may be NULL. */
void http_reply_problem_with(struct conn *c, struct http_conn *h, const struct http_problem *p,
                             const struct http_header *extra);
/* The head of an answer without a length: chunks follow, or in HTTP/1.0 just bytes. */
void http_write_stream_head(struct conn *c, const struct http_reply_as *as, struct str type);
/* Write one answer.  Does not end a solo call. */
void http_write(struct conn *c, const struct http_reply_as *as, const struct http_said *said);
/* Append the text of a problem, of which a line is traced; mark.stream 0: no id. */
void http_problem_text(struct conn *c, const struct http_reply_as *as, struct buf *out,
                       const struct http_problem *p, struct mark m);
/* The text of a cursor, borrowed until the next call; made anew only when it differs. */
struct str http_cursor_text(struct http_conn *h, const struct vector *v, uint64_t stamp);
/* Gives back the memory of a large one. */
void http_cursor_forget(struct http_conn *h);
/* Try again with the request in front, in this turn. */
void http_go_on(struct conn *c, struct http_conn *h);
void http_set_timer(struct conn *c, struct http_conn *h, enum http_timer timer, struct mono at);

/* ---- publish ---- */

void http_publish_answer(struct conn *c, struct http_conn *h, uint64_t ref,
                         const struct outcome *o);
void http_publish_awaited(struct conn *c, struct http_conn *h, uint64_t ref, bool reached,
                          uint32_t copies);
/* Start to wait for copies of what was stored since. */
void http_publish_resume(struct conn *c, struct http_conn *h);
void http_publish_close(struct http_conn *h);
/* What a publish says besides its topic, its body and what is stored with it. */
struct http_wish {
    int        copies; /* as in await_args */
    uint64_t   timeout_ms, stamp;
    bool       has_after;
    struct str after; /* a cursor */
};
/* problem.status 0: fine. */
/* The topic that a path names, decoded into `room`, which has as many bytes; status 0: it is one.
 */
struct http_problem http_read_topic(struct str raw, uint8_t *room, struct str *topic);
struct http_problem http_read_wish(const struct http_request *r, struct http_wish *w);
/* Copies cannot be waited for where nothing is stored. */
struct http_problem http_copies_problem(struct server *s, struct str topic, int copies);
/* Wait for what the cursor has seen.  OK: settled.  BUSY: wait.  INVALID: no cursor, *why. */
enum err http_after_settle(struct conn *c, struct http_conn *h, struct str text, const char **why);
void     http_after_awaited(struct conn *c, struct http_conn *h, bool reached);
/* How that ended, once for each.  False: it was given up; *after then is what receipts cover
 * besides what is here.  By vector_init() in any case. */
bool http_after_take(struct http_conn *h, struct vector *after, uint64_t *stamp);
/* Of a receipt that is written now; borrowed as http_cursor_text(). */
struct str http_receipt_cursor(struct conn *c, struct http_conn *h, struct vector *after,
                               uint64_t after_stamp);
/* Append stored headers: "content-type: x\n" (when `type`) and "meta-name: value\n".  NULL, or
 * what is wrong. */
const char *http_stored_headers(const struct http_headers *headers, bool type, struct buf *out);
/* What a publish that failed is answered. */
struct http_problem http_publish_problem(enum err e);
/* server_await() takes one number for what it is about. */
#define HTTP_REF_AFTER UINT64_MAX
#define HTTP_REF_POLL (UINT64_MAX - 1)

/* ---- lines ---- */

bool http_is_lines(const struct http_request *r);
/* BUSY: it has to wait.  INVALID: *problem. */
enum err http_lines_begin(struct conn *c, struct http_conn *h, const struct http_request *r,
                          struct http_problem *problem);
/* OK: the request is over.  MORE.  BUSY: it has to wait. */
enum err http_lines_take(struct conn *c, struct http_conn *h, struct str in, size_t *taken);
void http_lines_answer(struct conn *c, struct http_conn *h, uint64_t ref, const struct outcome *o);
void http_lines_awaited(struct conn *c, struct http_conn *h, bool reached, uint32_t copies);
/* Wait for copies of what was stored since. */
void http_lines_resume(struct conn *c, struct http_conn *h);
bool http_lines_are_due(const struct http_conn *h);
void http_lines_close(struct http_conn *h);

/* ---- poll ---- */

void http_poll_ready(struct conn *c, struct http_conn *h);
void http_poll_awaited(struct conn *c, struct http_conn *h, bool reached);
void http_poll_deadline(struct conn *c, struct http_conn *h);
void http_poll_resume(struct conn *c, struct http_conn *h);
void http_poll_close(struct http_conn *h);
/* Where a client goes on that has all that was pulled; borrowed as http_cursor_text(). */
bool http_poll_place(struct conn *c, struct http_conn *h, struct str *cursor);
void http_topics_answer(struct conn *c, struct http_conn *h, const struct topic_list *topics);

/* ---- the newest message ---- */

void http_latest_answer(struct conn *c, struct http_conn *h, enum err err,
                        const struct entry *newest);

/* ---- streams: reads without an end ---- */

/* The head, and where it begins. */
void http_stream_begin(struct conn *c, struct http_conn *h);
void http_stream_pull(struct conn *c, struct http_conn *h);
/* Something every 15 s, so that nobody on the way takes the connection for dead. */
void http_stream_ping(struct conn *c, struct http_conn *h);

/* ---- parameters ---- */

/* "500ms", "5s", "10m", "2h", "7d". */
bool http_duration_ms(struct str text, uint64_t *ms);
/* Why a request with this Origin is refused, or NULL; sets *allowed to the entry of `cors`. */
const char *http_origin_problem(const struct server_facts *facts, struct str origin,
                                struct str *allowed);

#endif
