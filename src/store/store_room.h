/* store_room.h - what the disk still takes, and the WAL that has to be copied into the file:
 * nobody outside src/store/ sees it. */
#ifndef STORE_STORE_ROOM_H
#define STORE_STORE_ROOM_H

#include "store/store_private.h"

/* ---- store_room.c: free disk ---- */

/* Can so much be appended, by the last look, and the WAL be copied afterwards? */
bool room_takes(struct store *s, uint64_t bytes);
/* After the look for a group of so many bytes. */
void room_for_group(struct store *s, uint64_t bytes);
/* A step of retention writes before it frees. */
void room_for_step(struct store *s);
/* Before a COMMIT: where room is scarce the file becomes as long as the copied WAL will make
 * it, so that nothing that is committed can leave a WAL that cannot be copied; FULL. */
MUST_USE enum err room_hold(struct store *s);

/* ---- store_tend.c: checkpoints ---- */

void tend_watch_wal(struct store *s);
void tend_under_load(struct store *s);
/* Of retention, by itself: the WAL is copied by the next commit or store_tend(), if it can wait. */
void tend_after_step(struct store *s);
/* What the WAL takes of the disk is given back, unless somebody reads in it. */
void tend_cut_wal(struct store *s);
void tend_close(struct store *s);

#endif
