#include "core/page.h"

#include "base/blob.h"

void
page_drop(struct page *p)
{
    if (!p)
        return;
    if (p->batch)
        for (uint32_t i = 0; i < p->count; i++)
            blob_drop(p->batch[i]);
    blob_drop(p);
}

void
retained_drop(struct retained *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        blob_drop(r->floor[i].owed);
    blob_drop(r);
}
