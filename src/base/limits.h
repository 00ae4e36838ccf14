/* limits.h - every limit that is not an option, with what happens beyond it.
 *
 * "Protocol" limits are the same on every broker, for ever: a frame or a batch
 * beyond them is refused.  The rest may differ from broker to broker. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* ---- protocol ---- */
enum {
    BATCH_MESSAGES_MAX   = 1024,
    BATCH_BODY_BYTES_MAX = 1 << 20,   /* all bodies of a batch */
    BATCH_REST_BYTES_MAX = 128 << 10, /* all its topics, headers and deps */
    BODY_BYTES_MAX       = 1 << 20,   /* one message: HTTP 413 */
    TOPIC_BYTES_MAX      = 512,
    TOPIC_LEVELS_MAX     = 32,
    HEADERS_BYTES_MAX    = 16 << 10, /* type and meta of one message */
    HOST_BYTES_MAX       = 255,
    CLUSTER_BYTES_MAX    = 64,
    MEMBERS_MAX          = 16,      /* roster, self included: joins are refused */
    TOMBSTONES_MAX       = 64,      /* forgotten members: the oldest is dropped */
    FRAME_BYTES_MAX      = 2 << 20, /* a longer one closes the link */
    STREAMS_MAX          = 6144,    /* all fit as deps into a batch; a new one is refused */
};
#define STAMP_MAX ((UINT64_C(1) << 53) - 1) /* stamps stay exact in JSON numbers */
#define STAMP_AHEAD_MAX (UINT64_C(1) << 32) /* a client's stamp is capped there */

/* ---- clients ---- */
enum {
    HTTP_HEAD_BYTES_MAX    = 16 << 10, /* 431 */
    HTTP_CHUNK_LINE_MAX    = 256,      /* a longer chunk-size line or trailer: 400 */
    JSON_OBJECT_BYTES_MAX  = 8 << 20,  /* a 1 MiB body, every byte escaped, and more */
    JSON_DEPTH_MAX         = 16,
    FILTERS_MAX            = 16, /* filters in one subscription */
    SUBSCRIPTIONS_PER_CONN = 64,
    SESSIONS_MAX           = 16384,
    SUBSCRIBED_FILTERS_MAX = 65536,       /* of all sessions */
    READS_MAX              = 64,          /* history reads under way, each of a message at least */
    PAGE_BYTES_MAX         = 4 << 20,     /* one answer of a long poll */
    CURSOR_BYTES_MAX       = 256 << 10,   /* text form */
    AWAITS_MAX             = 4096,        /* publishes and polls waiting for copies or a cursor */
    MISSED_MAX             = STREAMS_MAX, /* streams waited for in vain: then all are forgotten */
    UNSENT_BYTES_MAX       = 128 << 20,   /* answers that clients do not read: then 503 */
    DELIVERY_BYTES_MAX     = 8 << 20,     /* deliveries that wait: then a message for each client */
    ANSWERS_BYTES_MAX      = 16 << 20, /* pages of long polls that wait: then a message in each */
    TOPIC_RULES_MAX        = 256,      /* in the configuration: it does not start with more */
    LIVE_WAITING_BYTES_MAX = 32 << 20, /* live messages that clients do not take: the oldest go */
    LIVE_RUNS_MAX          = 1024,     /* runs of them for one subscription: likewise */
    LIVE_RUNS_ALL_MAX      = 1 << 20,  /* ... and for all */
    CLIENT_HEAD_MS         = 10000,    /* from first byte to the end of a head: closed */
};

/* ---- peers ---- */
enum {
    LINKS_MAX            = 64,       /* with those still shaking hands; more are closed */
    LINK_QUEUE_BYTES_MAX = 8 << 20,  /* data waiting for one peer: then it catches up */
    LIVE_LINK_BYTES_MAX  = 4 << 20,  /* the same, with what is live: then that is dropped */
    HELD_BACK_BYTES_MAX  = 16 << 20, /* per link; then batches are dropped and pulled later */
    CREDIT_BYTES         = 4 << 20,  /* a pull's window */
    COMMITS_MAX          = 16384,    /* at the store; then batches are dropped, pulled later */
    OWN_BATCHES_MAX      = 8,        /* own batches at the store; then clients are paused */
    RETIRED_MAX          = 65536,    /* streams that are over, remembered; more stay in vectors */
};

#endif
