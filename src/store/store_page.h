/* store_page.h - a page while it is filled: growing arrays, then one blob.
 *
 * Texts are kept as offsets into `bytes` until page_make() knows where they lie. */
#ifndef STORE_STORE_PAGE_H
#define STORE_STORE_PAGE_H

#include "base/buf.h"
#include "core/types_store.h"

struct page_maker {
    uint64_t       lsn_first, lsn_next, stamp;
    struct entry  *entry;
    struct batch **batch;
    uint64_t      *batch_lsn;
    uint32_t       count, cap; /* of entries or batches */
    struct vector  before, scanned;
    struct buf     bytes;
    size_t         taken; /* held against read.bytes_max */
    struct damage *damage;
    uint32_t       damage_count;
    bool           may_grow; /* the last entry came by page_lost() */
};
enum { PAGE_DAMAGES_MAX = 64 }; /* more will be found when these are mended */

void page_maker_init(struct page_maker *m);
/* Drops the batches that were not handed out. */
void page_maker_fini(struct page_maker *m);

/* Copies `s` into the page; the result stands for it in entries until page_make(). */
struct str page_text(struct page_maker *m, struct str s);
/* What it stands for, until the next page_text(). */
struct str page_settled(const struct page_maker *m, struct str s);
/* All texts of `e` come from page_text(). */
void page_entry(struct page_maker *m, const struct entry *e);
/* A gap of what is damaged: one together with the last entry, when it follows that. */
void page_lost(struct page_maker *m, const struct entry *e);
/* Takes over one reference. */
void page_batch(struct page_maker *m, struct batch *b, uint64_t lsn);
/* v[stream] = max(v[stream], seq); cheap when streams come in order. */
void     page_raise(struct vector *v, struct mark mark);
uint64_t page_seq(const struct vector *v, uint64_t stream);
/* Each once. */
void page_damage(struct page_maker *m, const struct damage *d);
bool page_is_full(const struct page_maker *m, const struct read *read);

/* One blob with one reference; batches pass to it with theirs. */
struct page *page_make(struct page_maker *m);

#endif
