/* view.h - looking into the JSON of a broker.
 *
 * What a broker says may hold bytes that a stranger published: what is shown to people
 * goes through view_show(). */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "base/buf.h"
#include "codec/json.h"
#include "hearsay.h"

struct view {
    struct json_members all;
};

/* Asks the broker with GET; -1: `v` looks into its answer, until the next call on h.  `as_it_is`:
 * the answer is printed instead.  Else the exit code; why was said. */
int view_ask(struct view *v, struct hearsay *h, const char *command, const char *path,
             bool as_it_is);
/* false: not a JSON object. */
bool view_open(struct view *v, struct str json);
/* NULL: no such member. */
const struct json_value *view_get(const struct view *v, const char *key);

/* Walk an array: begin with rest = view_items().  An empty one when it is none. */
struct str view_items(const struct json_value *array);
bool       view_next(struct str *rest, struct json_value *item);

/* Append the value as people read it:
 * a text without control characters, yes or no, "-" for null and what is not there; arrays
 * and objects as they stand. */
void view_show(const struct json_value *value, struct buf *out);

#endif
