/* peers_file.h - globalState.csv: where other brokers may be found.
 *
 * One `host,port` a line.  A header line, blank lines, # comments, CRLF, a byte order
 * mark and blanks around the fields are fine; IPv6 addresses may stand in brackets. */
#ifndef SERVER_PEERS_FILE_H
#define SERVER_PEERS_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct peer_place {
    struct str host; /* without brackets */
    uint16_t   port;
};
struct peer_places {
    struct peer_place at[MEMBERS_MAX]; /* slices of the text */
    uint32_t          count;           /* each once */
};

enum { PEERS_FILE_BYTES_MAX = 64 << 10 };

/* Pure.  INVALID: `problem` gets "FILE:LINE: reason". */
MUST_USE enum err peers_parse(struct str text, const char *file, struct peer_places *places,
                              struct buf *problem);
/* "host:port", as --join wants it.  INVALID: *why says what is wrong. */
MUST_USE enum err peer_place_parse(struct str text, struct peer_place *place, const char **why);

#endif
