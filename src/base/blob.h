/* blob.h - an immutable run of memory shared by reference counts.
 *
 * The only refcounts in Hearsay.  A blob is filled by its maker before anyone
 * else sees it; then the loop, the store and the reader thread may hold it.  What
 * all blobs of a process take is counted in blob_bytes_used(), which is held
 * against a budget where bodies come in. */
#ifndef BASE_BLOB_H
#define BASE_BLOB_H

#include <stddef.h>

/* Zeroed memory with one reference.  Aligned as malloc's. */
void *blob_new(size_t bytes);
void  blob_keep(void *blob);
/* Drops one reference; the last one frees.  NULL is fine. */
void   blob_drop(void *blob);
size_t blob_bytes(const void *blob);
size_t blob_bytes_used(void);

#endif
