#include "core/session.h"

#include "base/blob.h"
#include "base/check.h"
#include "core/filter.h"
#include "core/page.h"
#include "core/vector.h"

#include <string.h>

enum {
    READ_BYTES       = 64 << 10,
    READ_BYTES_SHORT = 4 << 10, /* while clients that do not read hold PAGES_BYTES */
    PAGES_BYTES      = 8 << 20,
    READ_COUNT_MAX   = 4096,
};

#define TO(s) (1u << SESSION_##s)

static const uint8_t allowed[SESSION_STATE_COUNT] = {
    [SESSION_HEAD]    = TO(HEAD) | TO(BEHIND),
    [SESSION_BEHIND]  = TO(HEAD) | TO(BEHIND) | TO(READING),
    [SESSION_READING] = TO(BEHIND),
};

/* The only place where `state` is written. */
static void
enter(struct session *s, enum session_state next)
{
    CHECK(allowed[s->state] & (1u << next));
    s->state = next;
}

void
sessions_init(struct sessions *all)
{
    *all = (struct sessions){0};
    pool_init(&all->pool, sizeof(struct session), SESSIONS_MAX);
    subs_init(&all->subs, SUBSCRIBED_FILTERS_MAX);
    subs_hits_init(&all->hits);
    list_init(&all->ready);
    list_init(&all->wants_disk);
    list_init(&all->failed);
    list_init(&all->stalled);
    shelf_init(&all->shelf);
}

void
sessions_fini(struct sessions *all)
{
    struct session *s;
    for (uint32_t at = 0; (s = pool_next(&all->pool, &at));)
        session_close(all, s);
    shelf_fini(&all->shelf);
    subs_hits_fini(&all->hits);
    subs_fini(&all->subs);
    pool_fini(&all->pool);
}

static struct filters *
copy_filters(const struct str *filter, uint32_t count)
{
    size_t bytes = sizeof(struct filters) + count * sizeof(struct str);
    for (uint32_t i = 0; i < count; i++)
        bytes += filter[i].n;
    struct filters *f  = blob_new(bytes);
    uint8_t        *at = (uint8_t *)&f->at[count];
    f->count           = count;
    f->literal         = true;
    for (uint32_t i = 0; i < count; at += filter[i++].n) {
        memcpy(at, filter[i].p, filter[i].n);
        f->at[i]   = (struct str){at, filter[i].n};
        f->literal = f->literal && filter_is_literal(filter[i]);
    }
    return f;
}

bool
filters_are_same(const struct filters *a, const struct filters *b)
{
    if (a == b)
        return true;
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!str_eq(a->at[i], b->at[i]))
            return false;
    return true;
}

/* Runs on the reader's thread too: touches nothing but the blob. */
static bool
wants(const void *filters, struct str topic)
{
    const struct filters *f = filters;
    for (uint32_t i = 0; i < f->count; i++)
        if (filter_match(f->at[i], topic))
            return true;
    return false;
}

static void
drop_page(struct sessions *all, struct session *s)
{
    if (s->page)
        all->page_bytes -= blob_bytes(s->page);
    page_drop(s->page);
    s->page = NULL;
    list_remove(&s->stalled);
}

/* Of those who take nothing now who did so for longest can best do without a page; `seen` and
 * `lsn` say where to read it again. */
static void
trim_pages(struct sessions *all)
{
    while (all->page_bytes > PAGES_BYTES && !list_is_empty(&all->stalled))
        drop_page(all, LIST_OF(all->stalled.next, struct session, stalled));
}

enum err
session_open(struct sessions *all, const struct str *filter, uint32_t filter_count, uint64_t ref,
             struct session **out)
{
    CHECK(filter_count > 0 && filter_count <= FILTERS_MAX);
    struct session *s = pool_take(&all->pool);
    if (!s)
        return ERR_LIMIT;
    list_init(&s->ready);
    list_init(&s->wants_disk);
    list_init(&s->stalled);
    vector_init(&s->seen);
    vector_init(&s->gone);
    s->ref        = ref;
    s->filters    = copy_filters(filter, filter_count);
    s->retired_at = SESSION_NAMED_ALL;
    for (uint32_t i = 0; i < filter_count; i++) {
        if (subs_add(&all->subs, filter[i], s) == ERR_OK)
            continue;
        s->filters->count = i; /* close removes what was added */
        session_close(all, s);
        return ERR_LIMIT;
    }
    *out = s;
    return ERR_OK;
}

/* ---- retired streams ---- */

static uint64_t
highest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A broker that the client came from may have retired what we have not yet. */
static void
skip_half_retired(struct session *s, const struct journal *j)
{
    for (uint32_t i = 0; j->retire_ms > 0 && i < j->durable.count; i++) {
        const struct stream *st = journal_find(j, j->durable.at[i].stream);
        if (st->durable_stamp > s->stamp || vector_seq(&s->seen, st->id) > 0 ||
            !journal_may_be_retired(j, st))
            continue;
        enum err e = vector_raise(&s->seen, (struct mark){st->id, st->durable});
        (void)e; /* LIMIT: it is told of a gap that is none to it */
    }
}

/* Streams that are not in `seen` were read to their end, and then dropped, or never: that is
 * for the stamp to say.  *at is behind the one that is returned. */
static const struct retired *
next_retired(const struct session *s, const struct journal *j, uint32_t *at)
{
    const struct retired *r;
    while ((r = pool_next(&j->retired, at))) {
        uint64_t seq = vector_seq(&s->seen, r->id);
        if (seq < r->head && (seq > 0 || r->stamp > s->stamp))
            return r;
    }
    return NULL;
}

/* Where nothing is asked for of what is gone. */
static uint64_t
retired_stamp(const struct journal *j)
{
    uint64_t              stamp = 0;
    const struct retired *r;
    for (uint32_t at = 0; (r = pool_next(&j->retired, &at));)
        stamp = highest(stamp, r->stamp);
    return stamp;
}

/* ---- starting ---- */

/* In HEAD only what goes beyond the log is kept. */
static void
forget_durable(struct session *s, const struct journal *j)
{
    const struct vector *d = &j->durable;
    uint32_t             n = 0, k = 0;
    for (uint32_t i = 0; i < s->seen.count; i++) {
        struct mark m = s->seen.at[i];
        while (k < d->count && d->at[k].stream < m.stream)
            k++;
        if (k == d->count || d->at[k].stream > m.stream || d->at[k].seq < m.seq)
            s->seen.at[n++] = m;
    }
    s->seen.count = n;
    if (n == 0)
        vector_fini(&s->seen);
}

static void
enter_head(struct session *s, const struct journal *j)
{
    s->stamp = highest(s->stamp, j->stamp);
    journal_drop_retired(j, &s->seen, s->stamp);
    forget_durable(s, j);
    vector_fini(&s->gone);
    enter(s, SESSION_HEAD);
}

enum err
session_start_at(struct sessions *all, struct session *s, const struct journal *j,
                 const struct vector *seen, uint64_t stamp)
{
    enum err e = vector_copy(&s->seen, seen);
    if (e != ERR_OK)
        return e;
    s->stamp = stamp;
    journal_drop_retired(j, &s->seen, s->stamp);
    skip_half_retired(s, j);
    bool lacks_retired = next_retired(s, j, &(uint32_t){0});
    if (vector_covers(&s->seen, &j->durable) && !lacks_retired) {
        enter_head(s, j);
        return ERR_OK;
    }
    enter(s, SESSION_BEHIND);
    s->lsn        = journal_first_missing(j, &s->seen);
    s->retired_at = lacks_retired ? 0 : SESSION_NAMED_ALL;
    session_make_ready(all, s);
    return ERR_OK;
}

enum err
session_start_earliest(struct sessions *all, struct session *s, const struct journal *j,
                       const struct vector *floors)
{
    return session_start_at(all, s, j, floors, retired_stamp(j));
}

void
session_start_since(struct sessions *all, struct session *s, const struct journal *j,
                    struct wall since)
{
    enter(s, SESSION_BEHIND);
    s->stamp   = retired_stamp(j);
    s->by_time = true;
    s->since   = since;
    s->lsn     = 0;
    session_make_ready(all, s);
}

void
session_close(struct sessions *all, struct session *s)
{
    for (uint32_t i = 0; i < s->filters->count; i++) {
        enum err e = subs_remove(&all->subs, s->filters->at[i], s);
        CHECK(e == ERR_OK);
    }
    list_remove(&s->ready);
    list_remove(&s->wants_disk);
    drop_page(all, s);
    session_drop_live(all, s);
    blob_drop(s->filters);
    vector_fini(&s->seen);
    vector_fini(&s->gone);
    pool_give(&all->pool, s);
}

/* ---- waking ---- */

static void
wake(struct sessions *all, struct session *s, const struct journal *j, uint64_t lsn)
{
    if (s->state != SESSION_HEAD)
        return; /* it will come by */
    struct vector beyond = s->seen;
    vector_init(&s->seen);
    journal_vector_before(j, lsn, &s->seen);
    /* LIMIT: the client carries more unknown streams than fit beside ours.  Dropping
     * one of them repeats messages to it; that beats losing any. */
    enum err e = vector_merge(&s->seen, &beyond);
    (void)e;
    vector_fini(&beyond);
    s->lsn = lsn;
    enter(s, SESSION_BEHIND);
    session_make_ready(all, s);
}

/* A gap concerns everybody: nobody can say what was in it. */
static void
wake_all(struct sessions *all, const struct journal *j, uint64_t lsn)
{
    struct session *s;
    for (uint32_t at = 0; (s = pool_next(&all->pool, &at));)
        wake(all, s, j, lsn);
}

void
sessions_wake(struct sessions *all, const struct journal *j, const struct batch *b, uint64_t lsn)
{
    if (subs_count(&all->subs) == 0)
        return;
    if (batch_is_gap(b))
        wake_all(all, j, lsn);
    for (uint32_t i = 0; i < b->count; i++) {
        if (b->msg[i].flags & MSG_DIGEST_ONLY) {
            wake_all(all, j, lsn + i);
            continue;
        }
        subs_match(&all->subs, b->msg[i].topic, &all->hits);
        for (uint32_t k = 0; k < all->hits.count; k++)
            wake(all, all->hits.at[k], j, lsn + i);
    }
}

void
sessions_retired(struct sessions *all, const struct journal *j, uint64_t stream)
{
    struct session       *s;
    const struct retired *r = journal_retired(j, stream);
    if (!r)
        return; /* it goes on after all */
    for (uint32_t at = 0; (s = pool_next(&all->pool, &at));) {
        struct mark head = {r->id, r->head};
        if (s->state == SESSION_HEAD) /* it may have seen more of it elsewhere */
            journal_drop_retired(j, &s->seen, highest(s->stamp, j->stamp));
        if (s->state == SESSION_HEAD || s->by_time || vector_has(&s->seen, head))
            continue;
        /* LIMIT: thousands of streams were retired while this client read nothing. */
        enum err e = vector_raise(&s->gone, head);
        (void)e;
    }
}

/* ---- pulling ---- */

static void
note(struct session *s, struct mark m, uint64_t lamport)
{
    enum err e = vector_raise(&s->seen, m);
    (void)e; /* as in wake() */
    s->stamp = highest(s->stamp, lamport);
}

/* Cut a gap down to what was not seen; false: all of it was. */
static bool
take_gap(struct session *s, struct entry *gap, uint64_t lamport)
{
    uint64_t seen = vector_seq(&s->seen, gap->mark.stream);
    note(s, (struct mark){gap->mark.stream, gap->gap_to}, lamport);
    if (gap->mark.seq <= seen)
        gap->mark.seq = seen + 1;
    return gap->gap_to > seen;
}

/* The next gap that no page will show.  First those that the cursor lacked when it came; its
 * stamp stays as it is meanwhile, since it says of the rest that they were not seen. */
static bool
pull_retired(struct session *s, const struct journal *j, struct entry *entry)
{
    while (s->retired_at != SESSION_NAMED_ALL) {
        const struct retired *r = next_retired(s, j, &s->retired_at);
        if (!r) {
            s->retired_at = SESSION_NAMED_ALL;
            break;
        }
        *entry = (struct entry){.mark = {r->id, 1}, .gap_to = r->head, .lamport = r->stamp};
        if (take_gap(s, entry, 0))
            return true;
    }
    while (s->gone.count > 0) {
        struct mark           m     = s->gone.at[--s->gone.count];
        const struct retired *r     = journal_retired(j, m.stream);
        uint64_t              stamp = r ? r->stamp : s->stamp;
        *entry = (struct entry){.mark = {m.stream, 1}, .gap_to = m.seq, .lamport = stamp};
        if (take_gap(s, entry, stamp))
            return true;
    }
    return false;
}

/* How many messages from that one on have nothing but their digests left. */
static uint64_t
digests_alone(const struct batch *b, uint64_t i)
{
    uint64_t n = 0;
    while (i + n < b->count && b->msg[i + n].flags & MSG_DIGEST_ONLY)
        n++;
    return n;
}

/* A gap in memory, or messages of which only the digests are left. */
static bool
pull_tail_gap(struct session *s, const struct journal *j, const struct tail_item *t,
              struct entry *entry)
{
    const struct batch *b    = t->batch;
    uint64_t            i    = s->lsn - t->lsn;
    uint64_t            n    = batch_is_gap(b) ? 1 : digests_alone(b, i);
    uint64_t            last = batch_is_gap(b) ? b->gap_last : b->first + i + n - 1;
    *entry                   = (struct entry){.lsn     = s->lsn,
                                              .mark    = {b->stream, b->first + i},
                                              .gap_to  = last,
                                              .lamport = b->lamport_first + i + n - 1,
                                              .wall    = b->wall,
                                              .origin  = journal_find(j, b->stream)->origin};
    s->lsn += n;
    return take_gap(s, entry, entry->lamport);
}

/* The next wanted message of a batch in memory, or gap. */
static bool
pull_tail(struct session *s, const struct journal *j, const struct tail_item *t,
          struct entry *entry)
{
    const struct batch *b = t->batch;
    while (s->lsn < t->lsn + batch_lsns(b)) {
        uint32_t          i = (uint32_t)(s->lsn - t->lsn);
        const struct msg *m = batch_is_gap(b) ? NULL : &b->msg[i];
        if (!m || m->flags & MSG_DIGEST_ONLY) {
            if (pull_tail_gap(s, j, t, entry))
                return true;
            continue;
        }
        struct mark mark = {b->stream, b->first + i};
        uint64_t    lsn = s->lsn++, lamport = b->lamport_first + i;
        bool        is_seen = vector_has(&s->seen, mark);
        note(s, mark, lamport);
        if (is_seen || !wants(s->filters, m->topic))
            continue;
        *entry = (struct entry){.lsn     = lsn,
                                .mark    = mark,
                                .lamport = lamport,
                                .wall    = b->wall,
                                .origin  = journal_find(j, b->stream)->origin,
                                .topic   = m->topic,
                                .headers = m->headers,
                                .body    = m->body,
                                .late    = t->late};
        return true;
    }
    return false;
}

/* The next message or gap of a page from disk; false: the page is done with. */
static bool
pull_page(struct sessions *all, struct session *s, struct entry *entry)
{
    const struct page *p = s->page;
    while (s->page_at < p->count) {
        *entry = p->entry[s->page_at++];
        if (entry->gap_to != 0) {
            if (take_gap(s, entry, entry->lamport))
                return true;
            continue;
        }
        bool is_seen = vector_has(&s->seen, entry->mark);
        note(s, entry->mark, entry->lamport);
        if (!is_seen)
            return true;
    }
    for (uint32_t i = 0; i < p->scanned_count; i++)
        note(s, p->scanned[i], p->stamp);
    s->lsn = p->lsn_next;
    drop_page(all, s);
    return false;
}

/* sessions_mended() wakes it. */
static bool
waits_for_repair(const struct session *s)
{
    return s->until > 0 && s->lsn >= s->until;
}

static enum err
pull_log(struct sessions *all, struct session *s, const struct journal *j, struct entry *entry)
{
    while (s->state != SESSION_READING) {
        if (s->page) {
            if (!pull_page(all, s, entry))
                continue;
            all->deliveries += entry->gap_to == 0;
            return ERR_OK;
        }
        if (s->state == SESSION_HEAD)
            return ERR_MORE;
        if (pull_retired(s, j, entry))
            return ERR_OK;
        if (s->lsn > j->lsn) {
            enter_head(s, j);
            return ERR_MORE;
        }
        if (waits_for_repair(s))
            return ERR_MORE;
        const struct tail_item *t = s->lsn > 0 ? tail_at(&j->tail, s->lsn) : NULL;
        if (!t) {
            if (list_is_empty(&s->wants_disk))
                list_push_back(&all->wants_disk, &s->wants_disk);
            return ERR_BUSY;
        }
        if (pull_tail(s, j, t, entry)) {
            all->deliveries += entry->gap_to == 0;
            return ERR_OK;
        }
    }
    return ERR_BUSY;
}

/* In turns, so that neither waits for the end of the other. */
enum err
session_pull(struct sessions *all, struct session *s, const struct journal *j, struct entry *entry)
{
    list_remove(&s->stalled);
    s->live_next = !s->live_next;
    if (s->live_next && session_pull_live(all, s, entry))
        return ERR_OK;
    enum err e = pull_log(all, s, j, entry);
    if (e != ERR_OK && !s->live_next && session_pull_live(all, s, entry))
        return ERR_OK;
    return e;
}

void
session_stall(struct sessions *all, struct session *s)
{
    struct entry none;
    CHECK(s);
    bool is_done = s->page && s->page_at == s->page->count;
    if (is_done && !pull_page(all, s, &none))
        return;
    list_remove(&s->stalled);
    if (s->page)
        list_push_back(&all->stalled, &s->stalled);
    trim_pages(all);
}

struct session *
sessions_next_read(struct sessions *all, const struct journal *j, struct read *read)
{
    if (list_is_empty(&all->wants_disk) || all->reads == READS_MAX)
        return NULL;
    all->reads++;
    struct session *s = LIST_OF(all->wants_disk.next, struct session, wants_disk);
    list_remove(&s->wants_disk);
    *read = (struct read){
        .start         = s->lsn > 0   ? READ_AT_LSN
                         : s->by_time ? READ_SINCE
                                      : READ_AT_VECTOR,
        .lsn           = s->lsn,
        .lsn_last      = s->until > 0 ? s->until - 1 : j->lsn,
        .have          = s->seen,
        .since         = s->since,
        .want          = wants,
        .want_ctx      = s->filters,
        .literal       = s->filters->literal ? s->filters->at : NULL,
        .literal_count = s->filters->literal ? s->filters->count : 0,
        .bytes_max     = all->page_bytes < PAGES_BYTES ? READ_BYTES : READ_BYTES_SHORT,
        .count_max     = READ_COUNT_MAX,
    };
    enter(s, SESSION_READING);
    return s;
}

void
sessions_page(struct sessions *all, uint64_t session, struct page *page)
{
    struct session *s = sessions_find(all, session);
    CHECK(all->reads > 0);
    all->reads--;
    if (!s) {
        page_drop(page);
        return;
    }
    enter(s, SESSION_BEHIND);
    if (!page) { /* not at once: a disk that cannot be read would be asked without end */
        list_push_back(&all->failed, &s->wants_disk);
        return;
    }
    s->page    = page;
    s->page_at = 0;
    all->page_bytes += blob_bytes(page);
    trim_pages(all);
    for (uint32_t i = 0; i < page->before_count; i++)
        note(s, page->before[i], 0);
    if (s->by_time) { /* found: should this page be dropped, it begins here, not at the oldest */
        s->by_time = false;
        s->lsn     = page->lsn_first;
    }
    session_make_ready(all, s);
}

void
sessions_cut(struct sessions *all, uint64_t session, struct page *page, uint64_t lsn)
{
    struct session *s = sessions_find(all, session);
    CHECK(all->reads > 0);
    all->reads--;
    page_drop(page);
    if (!s)
        return;
    enter(s, SESSION_BEHIND);
    s->until = lsn;
    session_make_ready(all, s);
}

void
sessions_mended(struct sessions *all)
{
    struct session *s;
    for (uint32_t at = 0; (s = pool_next(&all->pool, &at));) {
        if (s->until > 0 && s->state == SESSION_BEHIND)
            session_make_ready(all, s);
        s->until = 0;
    }
}

void
sessions_retry(struct sessions *all)
{
    LIST_EACH(node, &all->failed)
    {
        struct session *s = LIST_OF(node, struct session, wants_disk);
        list_remove(&s->wants_disk);
        session_make_ready(all, s);
    }
}

struct session *
sessions_next_ready(struct sessions *all)
{
    if (list_is_empty(&all->ready))
        return NULL;
    struct session *s = LIST_OF(all->ready.next, struct session, ready);
    list_remove(&s->ready);
    return s;
}

struct session *
sessions_find(const struct sessions *all, uint64_t handle)
{
    return pool_find(&all->pool, handle);
}

bool
session_cursor(const struct session *s, const struct journal *j, struct vector *cursor,
               uint64_t *stamp)
{
    enum err e = vector_copy(cursor, s->state == SESSION_HEAD ? &j->durable : &s->seen);
    CHECK(e == ERR_OK);
    *stamp = s->stamp;
    if (s->state != SESSION_HEAD)
        return !s->by_time;
    e = vector_merge(cursor, &s->seen);
    (void)e; /* as in wake() */
    *stamp = highest(*stamp, j->stamp);
    return true;
}
