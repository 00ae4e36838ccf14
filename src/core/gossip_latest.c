/* Of core/gossip.h: the newest messages of topics that come with gaps. */
#include "core/gossip.h"

#include "base/check.h"
#include "core/batch.h"
#include "core/gossip_part.h"

static struct batch *
batch_of(const struct journal *j, const struct frame_latest *f, uint32_t link)
{
    const struct stream *s      = journal_find(j, f->mark.stream);
    const struct offer  *o      = s ? offer_of(s, link) : NULL;
    struct str           origin = o ? o->gap->origin : s ? s->origin : (struct str){0};
    return batch_make(&(struct batch_parts){.stream        = f->mark.stream,
                                            .first         = f->mark.seq,
                                            .lamport_first = f->lamport,
                                            .wall          = f->wall,
                                            .origin        = origin,
                                            .msg           = &f->msg,
                                            .count         = 1});
}

enum err
gossip_on_latest(const struct intake *in, uint32_t link, const struct frame_latest *latest)
{
    struct gossip      *g = in->g;
    struct gossip_link *l = &g->link[link];
    CHECK(l->up);
    if (!latest_is_valid(latest)) {
        g->refused++;
        return ERR_PROTO;
    }
    if (g->pulling && g->pull_link == link)
        g->pull_progress = in->now;
    g->latest_until = mono_after(in->now, OFFER_QUIET_MS);
    /* Its credit bounds how many of them are on their way; who ignores it loses its gaps
     * too, and is pulled from again. */
    bool full = in->c->bytes > COMMITS_BYTES_MAX || in->c->count >= 2 * COMMITS_MAX;
    if (full)
        offers_drop(g, l);
    if (full || !g->disk_works) {
        l->credit_due += latest_cost(&latest->msg);
        return ERR_OK;
    }
    l->storing++;
    g->latest_storing++;
    commits_add(in->c, in->out,
                &(struct pending){.commit  = {.kind = COMMIT_LATEST},
                                  .batch   = batch_of(in->j, latest, link),
                                  .pulled  = true,
                                  .link    = link,
                                  .link_id = l->id});
    return ERR_OK;
}
