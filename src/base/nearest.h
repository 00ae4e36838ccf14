/* nearest.h - what somebody may have meant who mistyped a name. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

enum { NEAREST_WORD_MAX = 32 }; /* bytes; longer ones are near to nothing */

/* The name that is closest to `word`, or NULL when none is near. */
const char *nearest_name(const char *word, const char *const *name, unsigned count);

#endif
