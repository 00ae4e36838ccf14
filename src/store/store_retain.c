#include "store/store_private.h"

enum err
store_retain(struct store *s, const struct retention *policy, struct wall now,
             struct retained **out)
{
    (void)s;
    (void)policy;
    (void)now;
    *out = NULL;
    return ERR_OK;
}
