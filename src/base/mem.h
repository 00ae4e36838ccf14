/* mem.h - memory that never comes back as NULL: the process stops instead.
 *
 * Every limit of base/limits.h lies far below what a machine has, so running out
 * is a broken invariant and not an answer.  Core allocates through this and the
 * other words of base; it calls no malloc itself. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t bytes); /* zeroed */
void *mem_resize(void *p, size_t bytes);
void  mem_free(void *p);

#endif
