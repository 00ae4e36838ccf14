/* page.h - giving back a page of history. */
#ifndef CORE_PAGE_H
#define CORE_PAGE_H

#include "core/types_store.h"

/* Drops the batches it keeps and one reference of the page.  NULL is fine. */
void page_drop(struct page *p);

/* NULL is fine. */
void retained_drop(struct retained *r);

#endif
