/* store_start.h - what a start of store_sqlite is made of; nobody outside src/store/ sees it.
 *
 *   store_open.c    opening, closing        store_aside.c   files that are put aside
 *   store_schema.c  making and migrating    store_heads.c   do streams say what batches say?
 *   store_load.c    what is found: heads, members, token, topics */
#ifndef STORE_STORE_START_H
#define STORE_STORE_START_H

#include "store/store_private.h"

/* The file was found broken while it was in use, or its WAL lies there alone. */
bool     aside_is_due(const struct store *s);
enum err aside_put(struct store *s, struct buf *problem);
/* Behind the first read of a file that was just opened, and before anything is written. */
void     aside_check_wal(struct store *s);
enum err aside_sync_folder(const struct store *s);

enum err schema_ready(struct store *s, struct str cluster, struct buf *problem);

/* Before anything is loaded.  CORRUPT: rows of streams contradict the batches. */
enum err heads_check(struct store *s);

/* Fills s->recovered, once. */
enum err load_recovered(struct store *s);
void     load_recovered_fini(struct store *s);

#endif
