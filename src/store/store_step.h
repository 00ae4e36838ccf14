/* store_step.h - a step of retention within the transaction of a group of commits. */
#ifndef STORE_STORE_STEP_H
#define STORE_STORE_STEP_H

#include "store/store_private.h"

struct step;
/* A step at the end of a transaction; when it fails it is undone, and OK unless the transaction
 * has to fail too.  Then comes retain_told() with what became of the transaction. */
enum err retain_within(struct store *s, const struct retention *policy, struct wall now,
                       struct step **out);
/* Before memory is loaded anew.  NULL: nothing was taken. */
struct retained *retain_told(struct step *t, enum err committed);

#endif
