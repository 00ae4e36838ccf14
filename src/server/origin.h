/* origin.h - which web pages may use a broker (RFC 6454; the Origin of a request). */
#ifndef SERVER_ORIGIN_H
#define SERVER_ORIGIN_H

#include "base/str.h"

/* What is wrong with a comma list for the option `cors`, and what to write instead; NULL:
 * nothing.  Each item is what a browser sends as Origin: scheme://host, and :port where it
 * is not the scheme's own. */
const char *origins_problem(struct str list);

/* The next of the list, without the blanks around it; false: none left. */
bool origins_next(struct str *list, struct str *origin);

#endif
