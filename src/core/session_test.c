#include "core/session.h"

#include "base/prng.h"
#include "core/page.h"
#include "core/vector.h"
#include "tests/core_kit.h"

enum { LOG_MAX = 256 };

/* A broker's log: the journal, and what the disk would give back. */
struct desk {
    struct sessions all;
    struct journal  j;
    struct batch   *log[LOG_MAX]; /* its place + 1 is the time when it came */
    uint64_t        lsn[LOG_MAX];
    uint32_t        count;
    uint32_t        page_max; /* messages scanned by one page; 0: no limit */
};

static void
open_desk(struct desk *d, size_t tail_bytes)
{
    memset(d, 0, sizeof *d);
    sessions_init(&d->all);
    journal_init(&d->j, NULL, tail_bytes);
}

static void
close_desk(struct desk *d)
{
    sessions_fini(&d->all);
    journal_fini(&d->j);
    for (uint32_t i = 0; i < d->count; i++)
        blob_drop(d->log[i]);
}

/* Takes over the reference. */
static void
store(struct desk *d, struct batch *b)
{
    assert_true(d->count < LOG_MAX);
    d->log[d->count] = b;
    d->lsn[d->count] = journal_put(&d->j, again(b));
    sessions_wake(&d->all, &d->j, b, d->lsn[d->count++]);
}

static struct session *
subscribe(struct desk *d, const char *filter, uint64_t ref)
{
    struct session *s = NULL;
    assert_int_equal(
        session_open(&d->all, &(struct str){(const uint8_t *)filter, strlen(filter)}, 1, ref, &s),
        ERR_OK);
    return s;
}

static struct session *
subscribe_at(struct desk *d, const char *filter, const struct vector *seen)
{
    struct session *s = subscribe(d, filter, 1);
    assert_int_equal(session_start_at(&d->all, s, &d->j, seen, 0), ERR_OK);
    return s;
}

/* ---- the disk ---- */

static uint64_t
scan_start(const struct desk *d, const struct read *r)
{
    if (r->start == READ_AT_LSN)
        return r->lsn;
    for (uint32_t i = 0; i < d->count; i++) {
        const struct batch *b = d->log[i];
        for (uint32_t k = 0; k < b->count; k++)
            if (r->start == READ_SINCE
                    ? (int64_t)i + 1 >= r->since.ms
                    : !vector_has(&r->have, (struct mark){b->stream, b->first + k}))
                return d->lsn[i] + k;
    }
    return r->lsn_last + 1;
}

/* What the reader thread would answer. */
static struct page *
page_of(const struct desk *d, const struct read *r)
{
    enum { ENTRIES = 4096, MARKS = 16 };
    struct page *p =
        blob_new(sizeof *p + ENTRIES * sizeof(struct entry) + 2 * MARKS * sizeof(struct mark));
    struct entry *e = (struct entry *)(void *)(p + 1);
    struct mark  *m = (struct mark *)(void *)(e + ENTRIES);
    struct vector scanned, before;
    vector_init(&scanned);
    vector_init(&before);
    p->lsn_first = p->lsn_next = scan_start(d, r);
    for (uint32_t i = 0; i < d->count; i++) {
        const struct batch *b = d->log[i];
        for (uint32_t k = 0; k < b->count; k++) {
            struct mark mark = {b->stream, b->first + k};
            if (d->lsn[i] + k < p->lsn_first) {
                assert_int_equal(vector_raise(&before, mark), ERR_OK);
                continue;
            }
            if (d->lsn[i] + k > r->lsn_last ||
                (d->page_max > 0 && p->lsn_next - p->lsn_first >= d->page_max))
                continue;
            p->lsn_next = d->lsn[i] + k + 1;
            p->stamp    = b->lamport_first + k > p->stamp ? b->lamport_first + k : p->stamp;
            assert_int_equal(vector_raise(&scanned, mark), ERR_OK);
            if (r->want(r->want_ctx, b->msg[k].topic) && !vector_has(&r->have, mark))
                e[p->count++] = (struct entry){.lsn     = d->lsn[i] + k,
                                               .mark    = mark,
                                               .lamport = b->lamport_first + k,
                                               .topic   = b->msg[k].topic,
                                               .body    = b->msg[k].body};
        }
    }
    p->entry         = e;
    p->scanned       = m;
    p->scanned_count = scanned.count;
    memcpy(m, scanned.at, scanned.count * sizeof *m);
    if (r->start == READ_SINCE && before.count > 0) {
        p->before       = m + MARKS;
        p->before_count = before.count;
        memcpy(m + MARKS, before.at, before.count * sizeof *m);
    }
    vector_fini(&scanned);
    vector_fini(&before);
    return p;
}

/* ---- asking ---- */

static void
assert_next(struct desk *d, struct session *s, uint64_t stream, uint64_t seq)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_OK);
    assert_int_equal(e.mark.stream, stream);
    assert_int_equal(e.mark.seq, seq);
}

static void
assert_quiet(struct desk *d, struct session *s)
{
    struct entry e;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_MORE);
    assert_int_equal(s->state, SESSION_HEAD);
}

/* It waits for the disk, and for nothing else; the page it gets. */
static struct page *
assert_reads(struct desk *d, struct session *s, enum read_start start)
{
    struct entry e;
    struct read  r;
    assert_int_equal(session_pull(&d->all, s, &d->j, &e), ERR_BUSY);
    assert_ptr_equal(sessions_next_read(&d->all, &d->j, &r), s);
    assert_int_equal(s->state, SESSION_READING);
    assert_int_equal(r.start, start);
    assert_int_equal(r.lsn_last, d->j.lsn);
    assert_false(r.batches);
    return page_of(d, &r);
}

static void
assert_cursor(struct desk *d, const struct session *s, const struct vector *want)
{
    struct vector v;
    uint64_t      stamp;
    vector_init(&v);
    session_cursor(s, &d->j, &v, &stamp);
    assert_vector(&v, want);
    vector_fini(&v);
}

/* ---- starting ---- */

/* Broken when a live subscriber gets old messages, or none, or the same twice. */
static void
one_at_the_head_gets_what_comes(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&w, (struct writing){.count = 2}));
    struct session *s = subscribe_at(&d, "t", &VECTOR({7, 2}));
    assert_null(sessions_next_ready(&d.all));
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({7, 2}));
    store(&d, write_batch(&w, (struct writing){.topic = "other"}));
    assert_null(sessions_next_ready(&d.all)); /* not its topic */
    assert_cursor(&d, s, &VECTOR({7, 3}));    /* ... but its cursor moves */
    store(&d, write_batch(&w, (struct writing){.count = 2}));
    store(&d, write_one(&w));
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_null(sessions_next_ready(&d.all)); /* woken once */
    assert_next(&d, s, 7, 4);
    assert_cursor(&d, s, &VECTOR({7, 4}));
    assert_next(&d, s, 7, 5);
    assert_next(&d, s, 7, 6);
    assert_quiet(&d, s);
    assert_int_equal(d.all.deliveries, 3);
    assert_null(s->seen.at); /* one that waits takes no memory */
    close_desk(&d);
}

/* Broken when an entry is delivered with the place, stamp or origin of another. */
static void
an_entry_says_where_it_is_from(void **state)
{
    (void)state;
    struct desk   d;
    struct entry  e;
    struct writer w = writer_of(7);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&w, (struct writing){.count = 3, .lamport = 40}));
    struct session *s = subscribe_at(&d, "#", &VECTOR({7, 1}));
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_OK);
    assert_int_equal(e.lsn, 2);
    assert_int_equal(e.mark.seq, 2);
    assert_int_equal(e.lamport, 41);
    assert_int_equal(e.wall.ms, 1700000000000);
    assert_true(str_eq(e.origin, STR("host:3000")));
    assert_true(str_eq(e.topic, STR("t")));
    assert_true(str_eq(e.body, STR("2")));
    assert_false(e.late);
    close_desk(&d);
}

/* Broken when a message that was removed is delivered as an empty one. */
static void
a_digest_is_not_delivered(void **state)
{
    (void)state;
    struct desk        d;
    const struct msg   msg[2] = {{.flags = MSG_DIGEST_ONLY}, {.topic = {(const uint8_t *)"t", 1}}};
    struct batch_parts parts  = {
         .stream = 7, .first = 1, .lamport_first = 1, .origin = STR("h:1"), .msg = msg, .count = 1};
    open_desk(&d, 1 << 20);
    struct session *s     = subscribe_at(&d, "#", &nothing);
    struct batch   *first = batch_make(&parts);
    struct hash128  chain = first->chain;
    store(&d, first);
    assert_null(sessions_next_ready(&d.all));
    parts = (struct batch_parts){
        .stream = 7, .first = 2, .prev = chain, .lamport_first = 2, .msg = msg, .count = 2};
    store(&d, batch_make(&parts));
    assert_next(&d, s, 7, 3);
    assert_quiet(&d, s);
    s = subscribe_at(&d, "#", &nothing);
    assert_next(&d, s, 7, 3);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a cursor in the middle of a batch repeats or skips the rest of it. */
static void
one_behind_starts_at_what_it_lacks(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 3}));
    store(&d, write_batch(&b, (struct writing){.count = 2}));
    store(&d, write_one(&a));
    struct session *s = subscribe_at(&d, "t", &VECTOR({3, 2}, {5, 1}));
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    assert_next(&d, s, 3, 3);
    assert_next(&d, s, 5, 2); /* 5-1 lies behind 3-3 and is skipped */
    assert_next(&d, s, 3, 4);
    assert_quiet(&d, s);
    s = subscribe_at(&d, "t", &nothing);
    assert_next(&d, s, 3, 1);
    close_desk(&d);
}

/* Broken when a client that moved here gets what it saw at another broker, once it arrives. */
static void
a_cursor_ahead_of_this_broker_is_kept(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    store(&d, write_one(&a));
    struct session *s = subscribe_at(&d, "t", &VECTOR({3, 2}, {5, 2}, {9, 4}));
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 2}, {9, 4}));
    store(&d, write_batch(&b, (struct writing){.count = 3}));
    assert_next(&d, s, 5, 3);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 3}, {9, 4}));
    store(&d, write_one(&a)); /* 3-2: seen */
    assert_quiet(&d, s);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 3}, {9, 4}));
    store(&d, write_one(&a));
    assert_next(&d, s, 3, 3);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when the highest stamp of a cursor falls: retired streams would look like gaps. */
static void
a_cursor_carries_the_highest_stamp(void **state)
{
    (void)state;
    struct desk     d;
    struct vector   v;
    uint64_t        stamp;
    struct writer   w = writer_of(3);
    struct session *s;
    open_desk(&d, 1 << 20);
    vector_init(&v);
    store(&d, write_batch(&w, (struct writing){.lamport = 10}));
    s = subscribe(&d, "t", 1);
    assert_int_equal(session_start_at(&d.all, s, &d.j, &nothing, 7), ERR_OK);
    session_cursor(s, &d.j, &v, &stamp);
    assert_int_equal(stamp, 7);
    assert_next(&d, s, 3, 1);
    session_cursor(s, &d.j, &v, &stamp);
    assert_int_equal(stamp, 10);
    assert_quiet(&d, s);
    store(&d, write_batch(&w, (struct writing){.topic = "other", .lamport = 20}));
    session_cursor(s, &d.j, &v, &stamp);
    assert_int_equal(stamp, 20);
    vector_fini(&v);
    close_desk(&d);
}

/* ---- from the disk ---- */

/* Broken when what is no longer in memory is lost, or delivered twice where the disk's
 * part and the memory's part meet. */
static void
history_comes_from_disk_and_goes_on_in_memory(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_desk(&d, 1);
    for (int i = 0; i < 4; i++)
        store(&d, write_batch(&w, (struct writing){.count = 2}));
    assert_int_equal(d.j.tail_lsn, 7);
    struct session *s = subscribe_at(&d, "t", &VECTOR({7, 1}));
    d.page_max        = 3; /* ends in the middle of a batch */
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_next(&d, s, 7, 2);
    assert_cursor(&d, s, &VECTOR({7, 2}));
    assert_next(&d, s, 7, 3);
    assert_next(&d, s, 7, 4);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_next(&d, s, 7, 5);
    store(&d, write_one(&w)); /* the tail moves on meanwhile */
    assert_int_equal(d.j.tail_lsn, 9);
    assert_next(&d, s, 7, 6);
    assert_next(&d, s, 7, 7);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_next(&d, s, 7, 8);
    assert_next(&d, s, 7, 9);
    assert_quiet(&d, s);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when scanning what nobody wants leads nowhere: the same page is read for ever. */
static void
a_page_without_matches_moves_the_cursor(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1);
    store(&d, write_batch(&a, (struct writing){.count = 2, .topic = "other", .lamport = 90}));
    store(&d, write_batch(&b, (struct writing){.topic = "other"}));
    store(&d, write_one(&b));
    struct session *s = subscribe_at(&d, "t", &nothing);
    d.page_max        = 2;
    struct page *p    = assert_reads(&d, s, READ_AT_VECTOR);
    assert_int_equal(p->lsn_first, 1);
    assert_int_equal(p->lsn_next, 3);
    assert_int_equal(p->count, 0);
    sessions_page(&d.all, pool_handle(s), p);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_LSN));
    assert_cursor(&d, s, &VECTOR({3, 2}));
    assert_int_equal(s->stamp, 91);
    assert_next(&d, s, 5, 2);
    assert_cursor(&d, s, &VECTOR({3, 2}, {5, 2}));
    close_desk(&d);
}

/* Broken when `since` delivers too much, or its cursor would deliver the old again. */
static void
since_a_time_starts_where_the_disk_says(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_desk(&d, 1 << 20);
    store(&d, write_batch(&a, (struct writing){.count = 2}));
    store(&d, write_one(&b));
    store(&d, write_one(&a));
    struct session *s = subscribe(&d, "t", 1);
    session_start_since(&d.all, s, (struct wall){2});
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_SINCE));
    assert_cursor(&d, s, &VECTOR({3, 2}));
    assert_next(&d, s, 5, 1);
    assert_next(&d, s, 3, 3);
    assert_quiet(&d, s);
    close_desk(&d);
}

/* Broken when a disk that cannot be read is asked without end, or never again. */
static void
a_failed_read_waits_to_be_retried(void **state)
{
    (void)state;
    struct desk   d;
    struct entry  e;
    struct read   r;
    struct writer w = writer_of(7);
    open_desk(&d, 1);
    store(&d, write_one(&w));
    store(&d, write_one(&w));
    struct session *s = subscribe_at(&d, "t", &nothing);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    blob_drop(assert_reads(&d, s, READ_AT_VECTOR));
    sessions_page(&d.all, pool_handle(s), NULL);
    assert_null(sessions_next_ready(&d.all));
    assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
    assert_null(sessions_next_read(&d.all, &d.j, &r));
    sessions_retry(&d.all);
    assert_ptr_equal(sessions_next_ready(&d.all), s);
    sessions_page(&d.all, pool_handle(s), assert_reads(&d, s, READ_AT_VECTOR));
    assert_next(&d, s, 7, 1);
    assert_next(&d, s, 7, 2);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* ---- filters and limits ---- */

/* Broken when a message that two filters want comes twice, or one of them is forgotten. */
static void
several_filters_are_one_subscription(void **state)
{
    (void)state;
    struct desk      d;
    struct session  *s        = NULL;
    const struct str filter[] = {STR("a/+"), STR("a/#"), STR("b")};
    struct writer    w        = writer_of(7);
    open_desk(&d, 1 << 20);
    assert_int_equal(session_open(&d.all, filter, 3, 5, &s), ERR_OK);
    assert_int_equal(session_start_at(&d.all, s, &d.j, &nothing, 0), ERR_OK);
    store(&d, write_batch(&w, (struct writing){.topic = "a/x"}));
    store(&d, write_batch(&w, (struct writing){.topic = "c"}));
    store(&d, write_batch(&w, (struct writing){.topic = "b"}));
    assert_next(&d, s, 7, 1);
    assert_next(&d, s, 7, 3);
    assert_quiet(&d, s);
    uint64_t handle = pool_handle(s);
    assert_ptr_equal(sessions_find(&d.all, handle), s);
    session_close(&d.all, s);
    assert_null(sessions_find(&d.all, handle));
    store(&d, write_batch(&w, (struct writing){.topic = "b"})); /* wakes nobody */
    assert_null(sessions_next_ready(&d.all));
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when one session too many takes memory, or spoils those that are. */
static void
sessions_and_filters_are_limited(void **state)
{
    (void)state;
    struct desk     d;
    struct session *s;
    struct str      filter[FILTERS_MAX];
    for (uint32_t i = 0; i < FILTERS_MAX; i++)
        filter[i] = STR("a");
    open_desk(&d, 1 << 20);
    for (uint32_t i = 0; i < SUBSCRIBED_FILTERS_MAX / FILTERS_MAX; i++)
        assert_int_equal(session_open(&d.all, filter, FILTERS_MAX, i, &s), ERR_OK);
    assert_int_equal(session_open(&d.all, filter, 1, 0, &s), ERR_LIMIT);
    size_t used = blob_bytes_used();
    assert_int_equal(session_open(&d.all, filter, 2, 0, &s), ERR_LIMIT);
    assert_int_equal(blob_bytes_used(), used);
    assert_int_equal(d.all.pool.used, SUBSCRIBED_FILTERS_MAX / FILTERS_MAX);
    assert_int_equal(subs_count(&d.all.subs), SUBSCRIBED_FILTERS_MAX);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when clients that ask for history and leave at once pile up reads without end. */
static void
reads_under_way_are_limited(void **state)
{
    (void)state;
    struct desk     d;
    struct session *s = NULL;
    struct read     r;
    struct entry    e;
    struct str      filter = STR("t");
    struct writer   w      = writer_of(7);
    open_desk(&d, 1);
    for (int i = 0; i < 4; i++)
        store(&d, write_one(&w)); /* all but the newest on disk alone */
    uint64_t first = 0;
    for (uint32_t i = 0; i <= READS_MAX; i++) {
        assert_int_equal(session_open(&d.all, &filter, 1, i, &s), ERR_OK);
        assert_int_equal(session_start_at(&d.all, s, &d.j, &VECTOR({0, 0}), 0), ERR_OK);
        assert_int_equal(session_pull(&d.all, s, &d.j, &e), ERR_BUSY);
        first = i == 0 ? pool_handle(s) : first;
    }
    for (uint32_t i = 0; i < READS_MAX; i++)
        assert_non_null(sessions_next_read(&d.all, &d.j, &r));
    assert_null(sessions_next_read(&d.all, &d.j, &r));
    session_close(&d.all, sessions_find(&d.all, first));
    assert_null(sessions_next_read(&d.all, &d.j, &r)); /* its read is still under way */
    sessions_page(&d.all, first, NULL);
    assert_ptr_equal(sessions_next_read(&d.all, &d.j, &r), s);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), 0);
}

/* ---- cursor algebra ---- */

enum { ORIGINS = 4, BATCHES = 120, SEQS = 1024 };

struct world {
    struct prng   prng;
    struct desk   desk[2];
    struct batch *batch[BATCHES];             /* in some order that is causal */
    uint64_t      past[BATCHES][ORIGINS + 1]; /* what each follows, at whatever distance */
    bool          is_at[2][BATCHES];
    bool          got[ORIGINS + 1][SEQS];
    uint64_t      last[ORIGINS + 1];
    struct vector cursor;
    uint64_t      stamp;
};

/* past[batch] takes in the batch that ends at m, and that one's past. */
static void
follow(struct world *w, uint32_t batch, struct mark m)
{
    for (uint32_t i = 0; i < batch; i++) {
        if (w->batch[i]->stream != m.stream || batch_last(w->batch[i]) != m.seq)
            continue;
        for (uint32_t k = 1; k <= ORIGINS; k++)
            if (w->past[i][k] > w->past[batch][k])
                w->past[batch][k] = w->past[i][k];
        w->past[batch][m.stream] = m.seq;
    }
}

static void
make_history(struct world *w)
{
    struct writer writer[ORIGINS];
    uint64_t      lamport = 1;
    for (uint64_t i = 0; i < ORIGINS; i++)
        writer[i] = writer_of(i + 1);
    for (uint32_t i = 0; i < BATCHES; i++) {
        uint64_t       by = prng_below(&w->prng, ORIGINS);
        struct mark    dep[ORIGINS];
        struct writing how = {.count   = 1 + (uint32_t)prng_below(&w->prng, 5),
                              .topic   = prng_below(&w->prng, 3) ? "t" : "other",
                              .lamport = lamport,
                              .deps    = dep};
        for (uint32_t k = 0; k < ORIGINS; k++) {
            struct mark head = {k + 1, writer[k].next - 1};
            if (head.seq == 0 || (k != by && prng_below(&w->prng, 4) > 0))
                continue;
            follow(w, i, head);
            if (k != by)
                dep[how.deps_count++] = head;
        }
        w->batch[i] = write_batch(&writer[by], how);
        lamport     = writer[by].lamport;
    }
}

/* Does what any broker delivers come after all that it follows? */
static void
check_past(const struct world *w, uint32_t batch)
{
    for (uint32_t i = 0; i < batch; i++) {
        const struct batch *b = w->batch[i];
        if (batch_last(b) > w->past[batch][b->stream] || !str_eq(b->msg[0].topic, STR("t")))
            continue;
        for (uint32_t k = 0; k < b->count; k++)
            assert_true(w->got[b->stream][b->first + k]);
    }
}

/* Some batch that this broker may store now reaches it; false: it has all. */
static bool
gossip_one(struct world *w, uint32_t at)
{
    struct mark missing;
    uint32_t    from = (uint32_t)prng_below(&w->prng, BATCHES);
    for (uint32_t k = 0; k < BATCHES; k++) {
        uint32_t i = (from + k) % BATCHES;
        if (w->is_at[at][i] ||
            journal_judge(&w->desk[at].j, w->batch[i], &missing) != VERDICT_STORE)
            continue;
        w->is_at[at][i] = true;
        store(&w->desk[at], again(w->batch[i]));
        return true;
    }
    return false;
}

static void
check_entry(struct world *w, const struct entry *e)
{
    uint64_t stream = e->mark.stream, seq = e->mark.seq;
    assert_true(seq < SEQS);
    assert_true(str_eq(e->topic, STR("t")));
    assert_true(seq > w->last[stream]); /* rising, so never twice */
    w->last[stream]     = seq;
    w->got[stream][seq] = true;
    for (uint32_t i = 0; i < BATCHES; i++)
        if (w->batch[i]->stream == stream && seq >= w->batch[i]->first &&
            seq <= batch_last(w->batch[i]))
            check_past(w, i);
}

/* The client reads up to `max` messages at one broker, and leaves with its cursor. */
static void
visit(struct world *w, uint32_t at, uint32_t max)
{
    struct desk    *d = &w->desk[at];
    struct session *s = subscribe(d, "t", 9);
    struct entry    e;
    struct read     r;
    assert_int_equal(session_start_at(&d->all, s, &d->j, &w->cursor, w->stamp), ERR_OK);
    for (uint32_t n = 0; n < max;) {
        enum err err = session_pull(&d->all, s, &d->j, &e);
        if (err == ERR_MORE)
            break;
        if (err == ERR_BUSY) {
            sessions_retry(&d->all);
            while (sessions_next_ready(&d->all))
                ;
            if (sessions_next_read(&d->all, &d->j, &r))
                sessions_page(&d->all, pool_handle(s),
                              prng_below(&w->prng, 4) ? page_of(d, &r) : NULL);
            continue;
        }
        assert_int_equal(err, ERR_OK);
        session_cursor(s, &d->j, &w->cursor, &w->stamp);
        check_entry(w, &e);
        assert_true(w->stamp >= e.lamport);
        n++;
        if (prng_below(&w->prng, 8) == 0)
            gossip_one(w, at);
    }
    session_cursor(s, &d->j, &w->cursor, &w->stamp);
    session_close(&d->all, s);
}

/* Broken when a client that hops between brokers loses a message, gets one twice, or gets an
 * effect before its cause; the brokers hold the same in different orders. */
static void
a_client_that_hops_gets_everything_once(void **state)
{
    (void)state;
    static struct world w;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        memset(&w, 0, sizeof w);
        w.prng.state = seed;
        make_history(&w);
        for (uint32_t i = 0; i < 2; i++) {
            open_desk(&w.desk[i], seed % 3 == 0 ? 1 : seed % 3 == 1 ? 4000 : 1 << 20);
            w.desk[i].page_max = (uint32_t)prng_below(&w.prng, 20);
        }
        for (bool more = true; more;) {
            more = false;
            for (uint32_t i = 0; i < 2; i++)
                for (uint64_t k = prng_below(&w.prng, 6) + 1; k > 0; k--)
                    more |= gossip_one(&w, i);
            visit(&w, (uint32_t)prng_below(&w.prng, 2), (uint32_t)prng_below(&w.prng, 30));
        }
        visit(&w, (uint32_t)prng_below(&w.prng, 2), UINT32_MAX);
        assert_vector(&w.cursor, &w.desk[0].j.durable);
        assert_vector(&w.cursor, &w.desk[1].j.durable);
        for (uint32_t i = 0; i < BATCHES; i++)
            for (uint32_t k = 0; k < w.batch[i]->count; k++)
                assert_int_equal(w.got[w.batch[i]->stream][w.batch[i]->first + k],
                                 str_eq(w.batch[i]->msg[k].topic, STR("t")));
        for (uint32_t i = 0; i < 2; i++)
            close_desk(&w.desk[i]);
        for (uint32_t i = 0; i < BATCHES; i++)
            blob_drop(w.batch[i]);
        vector_fini(&w.cursor);
        assert_int_equal(blob_bytes_used(), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_the_head_gets_what_comes),
        cmocka_unit_test(an_entry_says_where_it_is_from),
        cmocka_unit_test(a_digest_is_not_delivered),
        cmocka_unit_test(one_behind_starts_at_what_it_lacks),
        cmocka_unit_test(a_cursor_ahead_of_this_broker_is_kept),
        cmocka_unit_test(a_cursor_carries_the_highest_stamp),
        cmocka_unit_test(history_comes_from_disk_and_goes_on_in_memory),
        cmocka_unit_test(a_page_without_matches_moves_the_cursor),
        cmocka_unit_test(since_a_time_starts_where_the_disk_says),
        cmocka_unit_test(a_failed_read_waits_to_be_retried),
        cmocka_unit_test(several_filters_are_one_subscription),
        cmocka_unit_test(sessions_and_filters_are_limited),
        cmocka_unit_test(reads_under_way_are_limited),
        cmocka_unit_test(a_client_that_hops_gets_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
