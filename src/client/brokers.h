/* brokers.h - which broker to talk to next: in the order of the list, round and round.
 *
 * A round is one failure of each.  After a round the caller may say so to its user;
 * the next round starts after a pause that doubles up to PAUSE_MS_MAX, until one works. */
#ifndef CLIENT_BROKERS_H
#define CLIENT_BROKERS_H

#include "base/err.h"
#include "base/instant.h"
#include "base/limits.h"
#include "base/str.h"

enum { BROKERS_MAX = 16, BROKER_PORT_DEFAULT = 3000, PAUSE_MS_MIN = 100, PAUSE_MS_MAX = 2000 };

struct broker_at {
    char     host[HOST_BYTES_MAX + 1];  /* without brackets */
    char     text[HOST_BYTES_MAX + 10]; /* host:port as one writes it, for Host and for people */
    uint16_t port;
};

struct brokers {
    struct broker_at at[BROKERS_MAX];
    unsigned         count, now;
    unsigned         failures; /* in a row, in this round */
    uint64_t         pause_ms; /* before the next round; 0: none failed */
    struct mono      not_before;
};

/* "host:port,host,[::1]:3000".  INVALID: empty, or not such a list.  LIMIT: too many. */
MUST_USE enum err brokers_parse(struct brokers *b, struct str list);

const struct broker_at *brokers_now(const struct brokers *b);
/* The one in use failed: the next is in use.  True: that was a round. */
bool brokers_failed(struct brokers *b, struct mono now);
void brokers_worked(struct brokers *b);

#endif
