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

void
gap_list_keep(struct gap_list *l)
{
    if (!l)
        return;
    for (uint32_t i = 0; i < l->count; i++)
        blob_keep(l->at[i]);
    blob_keep(l);
}

void
gap_list_drop(struct gap_list *l)
{
    if (!l)
        return;
    for (uint32_t i = 0; i < l->count; i++)
        blob_drop(l->at[i]);
    blob_drop(l);
}

void
commit_drop(const struct commit *c)
{
    blob_drop(c->batch);
    gap_list_drop(c->gaps);
    blob_drop(c->known);
    blob_drop(c->members);
}
