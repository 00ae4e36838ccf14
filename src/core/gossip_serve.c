/* Of core/gossip.h: what a peer pulled is sent to it, from memory or by pages from disk. */
#include "core/gossip.h"

#include "base/blob.h"
#include "base/check.h"
#include "core/batch.h"
#include "core/gossip_part.h"
#include "core/page.h"
#include "core/vector.h"

enum { READER_SHIFT = 56 };

void
serve_stop(struct gossip_link *l)
{
    page_drop(l->page);
    l->page    = NULL;
    l->serving = false;
}

void
gossip_on_pull(struct gossip *g, struct journal *j, uint32_t link, const struct frame_pull *pull)
{
    struct gossip_link *l = &g->link[link];
    CHECK(l->up);
    serve_stop(l);
    l->reader_old = l->reader != 0;
    if (vector_copy(&l->have, &pull->have) != ERR_OK)
        return; /* it knows more streams than anyone may: nothing for it here */
    l->serving = true;
    l->lsn     = journal_first_missing(j, &l->have);
    l->credit  = 0;
    gossip_on_credit(g, link, pull->credit);
}

void
gossip_on_credit(struct gossip *g, uint32_t link, uint64_t bytes)
{
    struct gossip_link *l    = &g->link[link];
    int64_t             more = bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
    l->credit                = l->credit > INT64_MAX - more ? INT64_MAX : l->credit + more;
}

static void
send_pulled(struct gossip_link *l, struct out *out, uint32_t link, struct batch *b)
{
    size_t cost = batch_cost(b);
    if (batch_last(b) <= vector_seq(&l->have, b->stream))
        return;
    out_send(out, link,
             &(struct frame){.kind = FRAME_PUSH, .push = {.flags = PUSH_PULLED, .batch = b}});
    l->credit -= (int64_t)cost; /* overdrawn at most once: else the window would grow */
    l->queued += cost;
    l->pushes_out++;
    enum err e = vector_raise(&l->have, (struct mark){b->stream, batch_last(b)});
    (void)e; /* LIMIT: it may get one twice, and drops it */
}

/* The page that came from disk; false: credit or room ran out first. */
static bool
serve_page(struct gossip_link *l, struct out *out, uint32_t link)
{
    while (l->page_at < l->page->count) {
        if (l->credit <= 0 || l->queued > LINK_QUEUE_BYTES_MAX / 2)
            return false;
        /* The page may go before the effect is carried out; the arena keeps nothing
         * alive, so the page is dropped only at the next call. */
        send_pulled(l, out, link, l->page->batch[l->page_at++]);
    }
    return true;
}

bool
serve_can_go_on(const struct gossip *g, const struct gossip_link *l)
{
    return g->reads < LINKS_MAX && l->serving && l->reader == 0 && l->credit > 0 &&
           l->queued <= LINK_QUEUE_BYTES_MAX / 2;
}

void
serve(struct gossip *g, struct journal *j, struct out *out, uint32_t link)
{
    struct gossip_link *l = &g->link[link];
    if (l->page && l->page_at == l->page->count) {
        l->lsn = l->page->lsn_next;
        page_drop(l->page);
        l->page = NULL;
    }
    if (l->page && !serve_page(l, out, link))
        return;
    if (l->page)
        return; /* its batches are in `out` now: go on at the next turn */
    while (serve_can_go_on(g, l)) {
        const struct tail_item *t;
        if (l->lsn > j->lsn) {
            l->serving = false;
            return;
        }
        t = l->lsn > 0 ? journal_tail_at(j, l->lsn) : NULL;
        if (t) {
            send_pulled(l, out, link, t->batch);
            l->lsn = t->lsn + batch_lsns(t->batch);
            continue;
        }
        const struct read read = {
            .start     = l->lsn > 0 ? READ_AT_LSN : READ_AT_VECTOR,
            .lsn       = l->lsn,
            .lsn_last  = j->lsn,
            .have      = l->have,
            .batches   = true,
            .bytes_max = CREDIT_BYTES / 4,
            .count_max = 4096,
        };
        g->reads++;
        l->reader = GOSSIP_READER | (uint64_t)link << READER_SHIFT | ++g->ids;
        out_add(out, &(struct effect){.kind = EFFECT_READ, .read = {l->reader, read}});
    }
}

void
gossip_on_page(struct gossip *g, uint64_t reader, struct page *page)
{
    uint32_t            link = (uint32_t)(reader >> READER_SHIFT) & (LINKS_MAX - 1);
    struct gossip_link *l    = &g->link[link];
    CHECK(g->reads > 0);
    g->reads--;
    if (!l->up || l->reader != reader) {
        page_drop(page); /* the link that it was for is gone */
        return;
    }
    l->reader = 0;
    if (l->reader_old) { /* for a pull before this one, which may want more: read anew */
        l->reader_old = false;
        page_drop(page);
        return;
    }
    l->serving = page != NULL; /* unreadable here: the peer asks the next holder */
    l->page    = page;
    l->page_at = 0;
}
