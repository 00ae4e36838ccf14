/* page.h - giving back what passes between core and the store. */
#ifndef CORE_PAGE_H
#define CORE_PAGE_H

#include "core/types_store.h"

/* Drops the batches it keeps and one reference of the page.  NULL is fine. */
void page_drop(struct page *p);

/* NULL is fine. */
void retained_drop(struct retained *r);

/* Of the list and of each gap in it.  NULL is fine. */
void gap_list_keep(struct gap_list *l);
void gap_list_drop(struct gap_list *l);

/* All references that were passed along in it. */
void commit_drop(const struct commit *c);

#endif
