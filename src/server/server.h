/* server.h - a running broker: core, store, sockets and protocols, put together.
 *
 * The loop's thread owns core and all conns.  The store's thread commits and tends,
 * the reader's thread reads history; they exchange jobs through io/worker.h. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "core/types.h"
#include "io/resolve.h"
#include "server/config.h"

struct server;

/* Everything is open and recovered, and it listens, when this returns OK.  `config`
 * is borrowed for the server's lifetime, which changes it at SIGHUP.  On failure
 * `problem` gets one line that says what to do. */
MUST_USE enum err server_open(struct server **out, struct config *config, struct buf *problem);
/* Would server_open() take these options and this peers file?  Makes and opens nothing. */
MUST_USE enum err server_check(struct config *config, struct buf *problem);
/* Until SIGTERM, SIGINT or server_stop(); then it says goodbye and drains. */
void server_run(struct server *s);
/* It ended since something is broken, and has said what. */
bool server_failed(const struct server *s);
void server_stop(struct server *s);
void server_free(struct server *s);

/* Where it listens (with the real port), and where its data lies. */
void        server_listening(const struct server *s, struct endpoint *e);
const char *server_data_dir(const struct server *s);

#endif
