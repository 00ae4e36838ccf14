/* resolve.h - names to addresses.
 *
 * Where a name has several addresses the choice is the same on every broker: IPv4
 * before IPv6, others before loopback, then the lowest. */
#ifndef IO_RESOLVE_H
#define IO_RESOLVE_H

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

struct endpoint {
    uint8_t  family; /* 4, 6, or 0 for none */
    uint8_t  ip[16]; /* IPv4: the first four bytes, the rest zero */
    uint16_t port;   /* host order */
};

enum { ENDPOINT_TEXT_BYTES = 56 };
/* "127.0.0.1:3000" or "[::1]:3000", zero-terminated. */
void endpoint_text(const struct endpoint *e, char text[ENDPOINT_TEXT_BYTES]);
/* A numeric address, IPv6 with or without brackets; INVALID otherwise. */
MUST_USE enum err endpoint_parse(struct str ip, uint16_t port, struct endpoint *e);
/* Can it be that of one host?  Not 0.0.0.0, ::, multicast, broadcast (RFC 6890). */
bool endpoint_is_one_host(const struct endpoint *e);
/* Is it an address of this machine, that is: can we bind to it? */
bool endpoint_is_local(const struct endpoint *e);

/* May block for seconds.  NOTFOUND: no such name; *why is the resolver's reason. */
MUST_USE enum err resolve_now(struct str host, uint16_t port, struct endpoint *e, const char **why);

/* `found` on the loop's thread; at once when `host` is numeric; family 0 when the name
 * did not resolve. */
typedef void resolve_found(void *ctx, const struct endpoint *e);
void resolve_start(struct loop *l, struct str host, uint16_t port, resolve_found *found, void *ctx);

#endif
