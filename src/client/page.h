/* page.h - the answers of a broker, JSON to structs.
 *
 * What comes out points into the answer or into the `room` of the page and lives until
 * the next call with that page. */
#ifndef CLIENT_PAGE_H
#define CLIENT_PAGE_H

#include "base/buf.h"
#include "base/limits.h"
#include "codec/json.h"
#include "hearsay.h"

struct page {
    struct str          messages, gaps; /* what is left of the arrays */
    uint64_t            taken;          /* messages that were */
    uint64_t            gap_at;         /* the first gap in `gaps` comes behind so many */
    struct buf          cursor;         /* zero-terminated */
    struct buf          room;
    struct hearsay_pair meta[JSON_MEMBERS_MAX];
};

void page_init(struct page *p);
void page_fini(struct page *p);
/* The body of a 200; it must stay as it is until the page is used up.
 * PROTO: not such an answer; *why is static. */
MUST_USE enum err page_start(struct page *p, struct str body, const char **why);
bool              page_is_empty(const struct page *p);
/* The page in its order: page_gap() before each page_message().
 * OK; NOTFOUND: no more, or a message comes first; PROTO. */
MUST_USE enum err page_gap(struct page *p, struct hearsay_message *m);
MUST_USE enum err page_message(struct page *p, struct hearsay_message *m, const char **why);

/* A receipt, or a problem with an id; texts go into `room`, which is reset. */
MUST_USE enum err page_receipt(struct str body, struct buf *room, struct hearsay_receipt *r);
/* The status that an answer to a line stands for: its own `status`, or 201.  0: no such answer. */
int page_line_status(struct str body);
/* What a broker says when it refuses; "" where it says nothing.  Texts go into `room`. */
struct page_problem {
    const char *code, *detail, *id;
};
void page_problem(struct str body, struct buf *room, struct page_problem *problem);

#endif
