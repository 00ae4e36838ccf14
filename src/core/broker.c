#include "core/broker.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "core/batch.h"
#include "core/broker_part.h"
#include "core/page.h"
#include "core/vector.h"

#include <string.h>

/* ---- life ---- */

static struct str
own_copy(struct str s)
{
    uint8_t *p = mem_new(s.n + 1);
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

/* "host:port", as people know this broker; a host too long for an origin is cut. */
static struct str
origin_of(struct str host, const struct addr *self)
{
    char text[ADDR_TEXT_BYTES];
    addr_text(self, text);
    size_t n = 0, colon = 0;
    for (; text[n]; n++)
        if (text[n] == ':')
            colon = n;
    size_t   port_n = n - colon;
    size_t   host_n = host.n <= UINT8_MAX - port_n ? host.n : UINT8_MAX - port_n;
    uint8_t *p      = mem_new(host_n + port_n + 1);
    memcpy(p, host.p, host_n);
    memcpy(p + host_n, text + colon, port_n);
    return (struct str){p, host_n + port_n};
}

struct broker *
broker_new(const struct broker_config *config, struct mono now)
{
    struct broker *b = mem_new(sizeof *b);
    CHECK(config->nonce > 0 && config->self.family != 0);
    b->cluster    = own_copy(config->cluster);
    b->host       = own_copy(config->host);
    b->origin     = origin_of(b->host, &config->self);
    b->self       = config->self;
    b->nonce      = config->nonce;
    b->now        = now;
    b->retire_ms  = config->retire_ms;
    b->disk_works = true;
    b->has_room   = true;
    b->known_at   = mono_after(now, KNOWN_MS);
    b->ping_at = b->probe_at = b->retry_at = b->members_at = b->mended_at = MONO_NEVER;
    out_init(&b->out);
    commits_init(&b->commits);
    journal_init(&b->journal, config->recovered, config->options.tail_bytes);
    b->journal.retire_ms = config->retire_ms;
    stamp_init(&b->clock, b->journal.stamp);
    own_init(&b->own, b->origin, config->seed);
    rules_init(&b->rules, config->options.rule, config->options.rule_count);
    queue_init(&b->live);
    gossip_init(&b->gossip);
    gossip_set_causal_wait(&b->gossip, config->options.causal_wait_ms);
    sessions_init(&b->sessions);
    awaits_init(&b->awaits, config->seed);
    roster_init(&b->roster,
                &(struct roster_config){.self      = config->self,
                                        .host      = b->host,
                                        .nonce     = config->nonce,
                                        .seed      = config->seed ^ config->nonce,
                                        .recovered = config->recovered},
                now);
    bully_init(&b->bully, &b->self, b->nonce, config->recovered, now);
    return b;
}

void
broker_free(struct broker *b)
{
    if (!b)
        return;
    awaits_fini(&b->awaits);
    sessions_fini(&b->sessions);
    gossip_fini(&b->gossip);
    queue_fini(&b->live);
    rules_fini(&b->rules);
    own_fini(&b->own);
    journal_fini(&b->journal);
    commits_fini(&b->commits);
    out_fini(&b->out);
    mem_free((void *)(uintptr_t)b->cluster.p);
    mem_free((void *)(uintptr_t)b->host.p);
    mem_free((void *)(uintptr_t)b->origin.p);
    mem_free(b);
}

struct intake
broker_intake(struct broker *b)
{
    return (struct intake){&b->gossip, &b->journal, &b->commits, &b->out, b->now};
}

/* ---- publishing ---- */

static void
answer(struct broker *b, uint64_t serial, uint32_t count, enum err err, const struct batch *batch)
{
    if (count == 0)
        return;
    struct effect e = {.kind   = EFFECT_ANSWER,
                       .answer = {.serial = serial, .count = count, .err = err}};
    if (batch) {
        e.answer.mark    = (struct mark){batch->stream, batch->first};
        e.answer.lamport = batch->lamport_first;
    }
    out_add(&b->out, &e);
}

static enum err
on_publish(struct broker *b, const struct fact *f)
{
    const struct msg m = {
        .topic = f->publish.topic, .headers = f->publish.headers, .body = f->publish.body};
    if (b->stopping)
        return ERR_REFUSED;
    bool stored = rules_store(&b->rules, m.topic);
    if (stored && !broker_disk_works(b))
        return ERR_FULL;
    enum err e = queue_add(stored ? &b->own.queue : &b->live, &m, &b->answer.serial);
    if (e != ERR_OK)
        return e;
    b->answer.live = !stored;
    stamp_client(&b->clock, f->publish.stamp);
    b->live_published += !stored;
    return ERR_OK;
}

/* Nothing of what waits was sealed, so nothing of it is stored anywhere. */
static void
refuse_queue(struct broker *b)
{
    uint64_t serial;
    uint32_t count = queue_drop(&b->own.queue, &serial);
    answer(b, serial, count, ERR_FULL, NULL);
}

/* No retired stream ever goes on, since it is given up long before others may retire it. */
static void
burn_when_quiet(struct broker *b)
{
    bool is_quiet = b->retire_ms > 0 && mono_since(b->now, b->sealed) >= b->retire_ms / 2;
    if (is_quiet && b->own.stream != 0 && b->commits.own == 0)
        own_burn(&b->own, &b->journal);
}

static void
seal(struct broker *b)
{
    while (b->own.queue.count > 0 && broker_disk_works(b) && b->commits.own < OWN_BATCHES_MAX &&
           (b->commits.own == 0 || queue_has_full_batch(&b->own.queue))) {
        struct sealed sealed;
        if (own_seal(&b->own, &b->journal, &b->clock, b->wall, &sealed) != ERR_OK) {
            if (b->commits.own > 0)
                return; /* first those that were sealed are answered */
            tracef(TRACE_ERROR, "publishes refused: no room for another stream or stamp");
            refuse_queue(b);
            return;
        }
        b->sealed = b->now;
        /* The first batch of a stream goes out only once it is durable: if its commit
         * failed, nobody would ever have heard of the stream. */
        const struct stream *s      = journal_find(&b->journal, sealed.batch->stream);
        bool                 pushed = s->durable > 0;
        if (pushed)
            gossip_push(&b->gossip, &b->out, sealed.batch);
        cluster_save(b);
        commits_add(&b->commits, &b->out,
                    &(struct pending){.commit = {.kind = COMMIT_BATCH},
                                      .batch  = sealed.batch,
                                      .own    = true,
                                      .pushed = pushed,
                                      .serial = sealed.serial});
    }
}

/* Of topics that are not stored: to whoever listens now, here and at each peer. */
static void
spread_live(struct broker *b)
{
    while (b->live.count > 0) {
        struct sealed sealed;
        struct effect e = {.kind = EFFECT_ANSWER, .answer = {.live = true}};
        if (live_seal(&b->live, b->origin, &b->clock, b->wall, &sealed) != ERR_OK) {
            e.answer.count = queue_drop(&b->live, &e.answer.serial);
            e.answer.err   = ERR_FULL; /* no stamps are left, for ever */
            out_add(&b->out, &e);
            return;
        }
        e.answer.serial  = sealed.serial;
        e.answer.count   = sealed.batch->count;
        e.answer.lamport = sealed.batch->lamport_first;
        gossip_push_live(&b->gossip, &b->out, sealed.batch);
        sessions_live(&b->sessions, sealed.batch);
        out_add(&b->out, &e);
        out_drop(&b->out, sealed.batch);
    }
}

/* ---- the disk ---- */

static void
tell_disk(struct broker *b)
{
    gossip_disk(&b->gossip, &b->journal, broker_disk_works(b), b->now);
    roster_disk(&b->roster, broker_disk_works(b));
}

static void
disk_failed(struct broker *b)
{
    if (!b->disk_works)
        return; /* one of those that were handed over before we knew */
    tracef(TRACE_INFO, "publishes are refused until the store takes them again; the line before "
                       "says what it met");
    /* Each time a stream is burned, and streams are kept for ever: a disk that has room
     * for a moment now and then must not use them up. */
    bool flaps    = b->probe_ms > 0 && mono_since(b->now, b->disk_worked) < FLAPPING_MS;
    b->probe_ms   = !flaps                           ? PROBE_MS
                    : b->probe_ms < PROBE_MAX_MS / 2 ? b->probe_ms * 2
                                                     : PROBE_MAX_MS;
    b->disk_works = false;
    b->probe_at   = mono_after(b->now, b->probe_ms);
    own_burn(&b->own, &b->journal);
    journal_roll_back(&b->journal);
    tell_disk(b);
}

static void
probed(struct broker *b, enum err err)
{
    b->probing = false;
    if (err != ERR_OK) {
        b->probe_at = mono_after(b->now, b->probe_ms);
        return;
    }
    b->disk_worked = b->now;
    tracef(TRACE_INFO, "the disk works again");
    b->disk_works = true;
    tell_disk(b);
}

static void
batch_persisted(struct broker *b, const struct pending *p, uint64_t lsn)
{
    journal_persist(&b->journal, p->batch, lsn, p->commit.late);
    sessions_wake(&b->sessions, &b->journal, p->batch, lsn);
    if (p->own) {
        if (!p->pushed)
            gossip_push(&b->gossip, &b->out, p->batch);
        answer(b, p->serial, p->batch->count, ERR_OK, p->batch);
    } else {
        stamp_merge(&b->clock, batch_stamp(p->batch));
    }
}

static void
gaps_persisted(struct broker *b, const struct gap_list *gaps, uint64_t lsn)
{
    for (uint32_t i = 0; i < gaps->count; i++) {
        journal_persist(&b->journal, gaps->at[i], lsn + i, false);
        if (i == 0) /* it wakes everybody, and the rest lies behind it */
            sessions_wake(&b->sessions, &b->journal, gaps->at[i], lsn);
        stamp_merge(&b->clock, batch_stamp(gaps->at[i]));
    }
}

static enum err
on_persisted(struct broker *b, const struct fact *f)
{
    enum err       err = f->persisted.err;
    struct pending p   = commits_take(&b->commits, f->persisted.id);
    switch (p.commit.kind) {
    case COMMIT_BATCH:
        if (err == ERR_OK)
            batch_persisted(b, &p, f->persisted.lsn_first);
        else if (p.own)
            answer(b, p.serial, p.batch->count, ERR_UNKNOWN, p.batch);
        gossip_persisted(&b->gossip, &p, err != ERR_OK, b->now);
        break;
    case COMMIT_REPAIR:
        if (err == ERR_OK)
            tail_mend(&b->journal.tail, p.batch);
        gossip_persisted(&b->gossip, &p, err != ERR_OK, b->now);
        break;
    case COMMIT_LATEST:
        gossip_persisted(&b->gossip, &p, err != ERR_OK, b->now);
        break;
    case COMMIT_GAPS:
        if (err == ERR_OK)
            gaps_persisted(b, p.gaps, f->persisted.lsn_first);
        gossip_persisted(&b->gossip, &p, err != ERR_OK, b->now);
        break;
    case COMMIT_ELECTION:
    case COMMIT_MEMBERS:
        cluster_persisted(b, &p.commit, err);
        break;
    case COMMIT_WAIVED:
        if (err == ERR_OK)
            journal_waiver_persist(&b->journal, p.commit.mark);
        break;
    case COMMIT_FROZEN:
    case COMMIT_KNOWN:
        break;
    case COMMIT_PROBE:
        probed(b, err);
        break;
    }
    if (err != ERR_OK && p.commit.kind != COMMIT_PROBE)
        disk_failed(b);
    /* Answers leave in the order of the publishes: what was sealed comes before what
     * still waited when the disk failed. */
    if (!broker_disk_works(b) && b->commits.own == 0)
        refuse_queue(b);
    blob_drop(p.batch);
    gap_list_drop(p.gaps);
    return ERR_OK;
}

/* ---- subscribing ---- */

static enum err
start(struct broker *b, struct session *s, const struct fact *f)
{
    struct vector from;
    enum err      e = ERR_OK;
    vector_init(&from);
    switch (f->subscribe.from) {
    case FROM_SINCE:
        session_start_since(&b->sessions, s, &b->journal, f->subscribe.since);
        break;
    case FROM_CURSOR:
        e = session_start_at(&b->sessions, s, &b->journal, &f->subscribe.cursor,
                             f->subscribe.cursor_stamp);
        break;
    case FROM_LATEST:
        e = vector_copy(&from, &b->journal.durable);
        gossip_known(&b->journal, &from);
        if (e == ERR_OK)
            e = session_start_at(&b->sessions, s, &b->journal, &from, b->journal.stamp);
        break;
    case FROM_EARLIEST:
        e = journal_floors(&b->journal, &from);
        if (e == ERR_OK)
            e = session_start_earliest(&b->sessions, s, &b->journal, &from);
        break;
    }
    vector_fini(&from);
    return e;
}

static enum err
on_subscribe(struct broker *b, const struct fact *f)
{
    struct session *s;
    enum err        e = session_open(&b->sessions, f->subscribe.filter, f->subscribe.filter_count,
                                     f->subscribe.ref, &s);
    if (e != ERR_OK)
        return e;
    stamp_client(&b->clock, f->subscribe.stamp);
    stamp_tick(&b->clock);
    e = start(b, s, f);
    if (e != ERR_OK) {
        session_close(&b->sessions, s);
        return e;
    }
    struct session *before = sessions_find(&b->sessions, f->subscribe.before);
    if (before)
        session_take_live(&b->sessions, before, s);
    b->answer.session = pool_handle(s);
    return ERR_OK;
}

static enum err
on_unsubscribe(struct broker *b, const struct fact *f)
{
    struct session *s = sessions_find(&b->sessions, f->unsubscribe.session);
    if (!s)
        return ERR_NOTFOUND;
    session_close(&b->sessions, s);
    return ERR_OK;
}

static enum err
on_await(struct broker *b, const struct fact *f)
{
    return awaits_add(&b->awaits, &b->journal, &b->out, f, &b->answer.await);
}

static enum err
on_await_drop(struct broker *b, const struct fact *f)
{
    awaits_drop(&b->awaits, f->await_drop.await);
    return ERR_OK;
}

/* Where the first entry is that is told as a gap and may be mended yet; 0: none is. */
static uint64_t
first_hoped_for(struct broker *b, const struct page *p)
{
    for (uint32_t i = 0; p && p->damage_count > 0 && i < p->count; i++) {
        const struct entry *e = &p->entry[i];
        for (uint32_t k = 0; e->gap_to > 0 && e->lsn > 0 && k < p->damage_count; k++) {
            const struct damage *d = &p->damage[k];
            if (d->stream != e->mark.stream || d->last < e->mark.seq || e->gap_to < d->first)
                continue;
            struct mono end = repair_hope(&b->gossip, &b->journal, d);
            if (mono_reached(b->now, end))
                continue;
            b->mended_at = mono_min(b->mended_at, end);
            return e->lsn;
        }
    }
    return 0;
}

static enum err
on_page(struct broker *b, const struct fact *f)
{
    const struct intake in = broker_intake(b);
    if (f->page.page)
        gossip_damaged(&in, f->page.page);
    if (f->page.reader & GOSSIP_READER) {
        gossip_on_page(&b->gossip, f->page.reader, f->page.page, b->now);
        return ERR_OK;
    }
    uint64_t until = first_hoped_for(b, f->page.page);
    if (until > 0) {
        sessions_cut(&b->sessions, f->page.reader, f->page.page, until);
        return ERR_OK;
    }
    sessions_page(&b->sessions, f->page.reader, f->page.page);
    if (!f->page.page)
        b->retry_at = mono_min(b->retry_at, mono_after(b->now, RETRY_READ_MS));
    return ERR_OK;
}

/* ---- links ---- */

static enum err
on_link_opened(struct broker *b, const struct fact *f)
{
    link_opened(b, f->link.link, f->link.dialled, &f->link.addr);
    return ERR_OK;
}

static enum err
on_link_closed(struct broker *b, const struct fact *f)
{
    link_closed(b, f->link.link);
    return ERR_OK;
}

static enum err
on_link_broke(struct broker *b, const struct fact *f)
{
    link_refuse(b, f->link.link, REFUSE_PROTOCOL);
    return ERR_OK;
}

static enum err
on_frame(struct broker *b, const struct fact *f)
{
    link_frame(b, f->frame.link, f->frame.frame);
    return ERR_OK;
}

static enum err
on_sent(struct broker *b, const struct fact *f)
{
    gossip_on_sent(&b->gossip, f->sent.link, f->sent.bytes_queued);
    return ERR_OK;
}

static enum err
on_dial_failed(struct broker *b, const struct fact *f)
{
    roster_dial_failed(&b->roster, b->now, &f->link.addr);
    return ERR_OK;
}

static enum err
on_seed(struct broker *b, const struct fact *f)
{
    enum err (*take)(struct roster *, struct mono, const struct addr *, struct str) =
        f->seed.join ? roster_join : roster_seed;
    return take(&b->roster, b->now, &f->seed.addr, f->seed.host);
}

static enum err
on_forget(struct broker *b, const struct fact *f)
{
    return cluster_operator_forgets(b, &f->forget.addr);
}

/* ---- time and turns ---- */

static enum err
on_time(struct broker *b, const struct fact *f)
{
    (void)f;
    if (mono_reached(b->now, b->probe_at) && !b->probing) {
        b->probing  = true;
        b->probe_at = MONO_NEVER;
        commits_add(&b->commits, &b->out, &(struct pending){.commit = {.kind = COMMIT_PROBE}});
    }
    if (mono_reached(b->now, b->retry_at)) {
        b->retry_at = MONO_NEVER;
        sessions_retry(&b->sessions);
    }
    return ERR_OK;
}

static void
read_history(struct broker *b)
{
    struct effect   e = {.kind = EFFECT_READ};
    struct session *s;
    while ((s = sessions_next_read(&b->sessions, &b->journal, &e.read.read))) {
        e.read.reader = pool_handle(s);
        out_add(&b->out, &e);
    }
}

static enum err
on_turn(struct broker *b, const struct fact *f)
{
    const struct await_view view = {&b->journal, &b->gossip, &b->roster};
    struct gossip_side      side = {.accepted = bully_token(&b->bully), .wall = b->wall};
    enum err                e    = on_time(b, f);
    const struct intake     in   = broker_intake(b); /* at the new time */
    burn_when_quiet(b);
    seal(b);
    spread_live(b);
    links_tick(b);
    cluster_tick(b);
    gossip_waive(&in);
    side.gathered = gossip_has_offers(&b->gossip) && cluster_is_gathered(b);
    gossip_turn(&in, &side);
    if (b->gossip.repairs.news || mono_reached(b->now, b->mended_at)) {
        b->gossip.repairs.news = false;
        b->mended_at           = MONO_NEVER;
        sessions_mended(&b->sessions);
    }
    awaits_check(&b->awaits, &view, &b->out, b->now);
    read_history(b);
    if (b->stopping && !b->said_goodbye && broker_is_drained(b))
        cluster_goodbye(b);
    return e;
}

/* Who lags now is served from disk; who comes next finds the newest still here. */
static enum err
on_idle(struct broker *b, const struct fact *f)
{
    (void)f;
    tail_trim(&b->journal.tail, TAIL_IDLE_BYTES);
    queue_trim(&b->own.queue);
    queue_trim(&b->live);
    shelf_tidy(&b->sessions.shelf);
    return ERR_OK;
}

/* Our own stream may be among the retired, when the machine slept for long and our clock with
 * it; unless a batch of it is on its way, with which it goes on. */
static enum err
on_retained(struct broker *b, const struct fact *f)
{
    const struct retained *r = f->retained;
    for (uint32_t i = 0; i < r->retired_count; i++)
        if (r->retired[i] == b->own.stream && b->commits.own == 0)
            own_burn(&b->own, &b->journal);
    journal_retain(&b->journal, r);
    for (uint32_t i = 0; i < r->retired_count; i++)
        sessions_retired(&b->sessions, &b->journal, r->retired[i]);
    gossip_changed(&b->gossip, b->now);
    return ERR_OK;
}

/* Too little: what was sealed still fits into the reserve; what was not is stored nowhere,
 * and so on until there is room again. */
static enum err
on_room(struct broker *b, const struct fact *f)
{
    if (b->has_room == f->room.enough)
        return ERR_OK;
    b->has_room = f->room.enough;
    tell_disk(b);
    if (!b->has_room && b->commits.own == 0)
        refuse_queue(b);
    return ERR_OK;
}

/* What was published stays what it was then: stored, or not. */
static enum err
on_options(struct broker *b, const struct fact *f)
{
    tail_set_max(&b->journal.tail, f->options->tail_bytes);
    gossip_set_causal_wait(&b->gossip, f->options->causal_wait_ms);
    rules_fini(&b->rules);
    rules_init(&b->rules, f->options->rule, f->options->rule_count);
    return ERR_OK;
}

static enum err
on_stop(struct broker *b, const struct fact *f)
{
    b->stopping = true;
    awaits_hurry(&b->awaits, mono_after(b->now, f->stop.copies_ms));
    return ERR_OK;
}

typedef enum err on_fact(struct broker *b, const struct fact *f);

static on_fact *const on[] = {
    [FACT_TIME]        = on_time,
    [FACT_TURN]        = on_turn,
    [FACT_PUBLISH]     = on_publish,
    [FACT_SUBSCRIBE]   = on_subscribe,
    [FACT_UNSUBSCRIBE] = on_unsubscribe,
    [FACT_AWAIT]       = on_await,
    [FACT_AWAIT_DROP]  = on_await_drop,
    [FACT_LINK_OPENED] = on_link_opened,
    [FACT_LINK_CLOSED] = on_link_closed,
    [FACT_LINK_BROKE]  = on_link_broke,
    [FACT_FRAME]       = on_frame,
    [FACT_SENT]        = on_sent,
    [FACT_DIAL_FAILED] = on_dial_failed,
    [FACT_SEED]        = on_seed,
    [FACT_PERSISTED]   = on_persisted,
    [FACT_PAGE]        = on_page,
    [FACT_FORGET]      = on_forget,
    [FACT_IDLE]        = on_idle,
    [FACT_RETAINED]    = on_retained,
    [FACT_ROOM]        = on_room,
    [FACT_OPTIONS]     = on_options,
    [FACT_STOP]        = on_stop,
};

struct effects
broker_step(struct broker *b, struct mono now, struct wall wall, const struct fact *fact)
{
    CHECK(fact->kind < sizeof on / sizeof *on);
    out_reset(&b->out);
    b->answer = (struct effects){0};
    b->now    = now;
    b->wall = b->journal.wall = wall;
    /* Before anything is heard: what was queued while we slept proves nothing about
     * who was alive meanwhile. */
    if (roster_stalled(&b->roster, now)) {
        tracef(TRACE_WARN, "this process did not run for over a second");
        bully_stalled(&b->bully, now);
        gossip_stalled(&b->gossip, now);
    }
    b->answer.err   = on[fact->kind](b, fact);
    b->answer.at    = b->out.at;
    b->answer.count = b->out.count;
    return b->answer;
}

struct mono
broker_deadline(const struct broker *b)
{
    struct mono at = mono_min(links_deadline(b), cluster_deadline(b));
    at             = mono_min(at, gossip_deadline(&b->gossip));
    at             = mono_min(at, b->awaits.deadline);
    return mono_min(at, mono_min(b->probe_at, mono_min(b->retry_at, b->mended_at)));
}

/* ---- for display and for receipts ---- */

const struct vector *
broker_vector(const struct broker *b)
{
    return &b->journal.durable;
}

uint64_t
broker_stamp(const struct broker *b)
{
    return b->journal.stamp;
}

uint64_t
broker_clock(const struct broker *b)
{
    return b->clock.now;
}

const struct roster *
broker_roster(const struct broker *b)
{
    return &b->roster;
}

const struct bully *
broker_bully(const struct broker *b)
{
    return &b->bully;
}

const struct journal *
broker_journal(const struct broker *b)
{
    return &b->journal;
}

const struct gossip *
broker_gossip(const struct broker *b)
{
    return &b->gossip;
}

bool
broker_has_copies(const struct broker *b, struct mark m, int wanted, uint32_t *copies)
{
    const struct await_view view = {&b->journal, &b->gossip, &b->roster};
    return await_has_copies(&view, m, wanted, copies);
}

bool
broker_stores(struct broker *b, struct str topic)
{
    return rules_store(&b->rules, topic);
}

struct live_counts
broker_live(const struct broker *b)
{
    return (struct live_counts){
        .published     = b->live_published,
        .came          = b->gossip.live_in,
        .delivered     = b->sessions.live_deliveries,
        .lost          = b->sessions.shelf.lost,
        .missed        = b->gossip.live_missed,
        .waiting_bytes = b->sessions.shelf.bytes,
    };
}

bool
broker_can_publish(const struct broker *b)
{
    return broker_disk_works(b) && !b->stopping && queue_takes(&b->own.queue);
}

bool
broker_disk_works(const struct broker *b)
{
    return b->disk_works && b->has_room;
}

bool
broker_is_drained(const struct broker *b)
{
    return b->own.queue.count == 0 && b->commits.own == 0;
}
