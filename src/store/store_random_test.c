/* The two stores told the same story: what one says, the other says. */
#include "store/store.h"

#include "base/prng.h"
#include "core/vector.h"
#include "store/store_page.h"
#include "tests/store_kit.h"

enum { WRITERS = 5, SEEDS = 6, STEPS = 120 };

struct story {
    struct prng   random;
    struct disk   disk[2]; /* SQLite, memory */
    struct writer writer[WRITERS];
    int64_t       clock;
    uint64_t      lsn;
    struct vector floor; /* of all that ever had one */
    uint64_t      floor_stamp;
    uint64_t      streams; /* how many were ever written to */
};

static uint32_t
below(struct story *s, uint32_t n)
{
    return (uint32_t)prng_below(&s->random, n);
}

static struct batch *
some_batch(struct story *s, struct writer *w)
{
    static const char *const topic[] = {"a", "b/", "c/d", "e"};
    struct mark              dep[WRITERS];
    struct vector            deps = {dep, 0, WRITERS};
    for (uint32_t i = 0; i < WRITERS; i++)
        if (&s->writer[i] != w && s->writer[i].next > 1 && below(s, 2))
            page_raise(&deps, (struct mark){s->writer[i].stream, s->writer[i].next - 1});
    uint32_t count = below(s, 8) ? 1 + below(s, 5) : 1 + below(s, 1024);
    w->lamport += below(s, 3);
    if (below(s, 12) == 0)
        return kit_gap(w, w->next + below(s, 3000), dep, deps.count);
    return kit_batch_with(w, count, topic[below(s, 4)], below(s, 60), dep, deps.count);
}

/* What is not a batch. */
static struct commit
some_other(struct story *s)
{
    static const char *const topic[] = {"a", "b/5", "c/d", "f"};
    struct writer            w       = s->writer[below(s, WRITERS)];
    if (below(s, 2))
        return (struct commit){.kind = COMMIT_WAIVED, .mark = {w.stream, w.next + below(s, 5)}};
    w.next += below(s, 3) * 3000; /* of some message that never comes here, or not yet */
    return (struct commit){.kind = COMMIT_LATEST, .batch = kit_batch(&w, 1, topic[below(s, 4)])};
}

static void
commit_some(struct story *s)
{
    struct commit        c[4];
    struct commit_result r[2][4];
    struct writer        before[WRITERS];
    uint32_t             count = 1 + below(s, 4);
    bool                 fails = below(s, 10) == 0;
    memcpy(before, s->writer, sizeof before);
    for (uint32_t i = 0; i < count; i++) {
        c[i] = (struct commit){.kind = COMMIT_BATCH, .late = below(s, 5) == 0};
        if (i > 0 && below(s, 10) == 0) /* one that writes for sure comes first */
            c[i] = some_other(s);
        else
            c[i].batch = some_batch(s, &s->writer[below(s, WRITERS)]);
    }
    s->clock += below(s, 40) ? below(s, 3) : below(s, 200);
    for (int d = 0; d < 2; d++) {
        disk_fails(&s->disk[d], fails);
        disk_commit(&s->disk[d], c, count, s->clock, r[d]);
        disk_fails(&s->disk[d], false);
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(r[0][i].err, fails ? ERR_FULL : ERR_OK);
        assert_int_equal(r[1][i].err, r[0][i].err);
        if (!fails)
            assert_int_equal(r[1][i].lsn_first, r[0][i].lsn_first);
        if (c[i].kind == COMMIT_BATCH && !fails) {
            s->lsn += batch_lsns(c[i].batch);
            if (batch_is_gap(c[i].batch)) /* maybe a floor */
                s->floor_stamp = batch_stamp(c[i].batch) > s->floor_stamp ? batch_stamp(c[i].batch)
                                                                          : s->floor_stamp;
        }
        blob_drop(c[i].batch);
    }
    if (!fails)
        return;
    memcpy(s->writer, before, sizeof before);
    struct commit probe = {.kind = COMMIT_PROBE};
    for (int d = 0; d < 2; d++) {
        disk_commit(&s->disk[d], &probe, 1, s->clock, r[d]);
        assert_int_equal(r[d][0].err, ERR_OK);
    }
}

/* ---- retention ---- */

/* Steps until one does nothing, whatever each of them takes, as text. */
static void
take(struct story *s, struct disk *d, const struct retention *policy, struct buf *out)
{
    struct vector floor;
    uint64_t      first = 0;
    bool          more  = true;
    vector_init(&floor);
    while (more) {
        struct retained *r = disk_retain(d, policy, s->clock);
        more               = r && r->more + r->count + r->retired_count + r->forgotten_count > 0;
        for (uint32_t i = 0; r && i < r->count; i++) {
            struct mark m = {r->floor[i].stream, r->floor[i].floor};
            assert_int_equal(vector_raise(&floor, m), ERR_OK);
            assert_int_equal(vector_raise(&s->floor, m), ERR_OK);
            if (r->floor[i].stamp > s->floor_stamp)
                s->floor_stamp = r->floor[i].stamp;
        }
        for (uint32_t i = 0; r && i < r->retired_count; i++)
            assert_int_equal(buf_addf(out, "retired %lu\n", (unsigned long)r->retired[i]), ERR_OK);
        for (uint32_t i = 0; r && i < r->forgotten_count; i++)
            assert_int_equal(buf_addf(out, "forgotten %lu\n", (unsigned long)r->forgotten[i]),
                             ERR_OK);
        first = r ? r->lsn_first : first;
        retained_drop(r);
    }
    for (uint32_t i = 0; i < floor.count; i++)
        assert_int_equal(buf_addf(out, "floor %lu-%lu\n", (unsigned long)floor.at[i].stream,
                                  (unsigned long)floor.at[i].seq),
                         ERR_OK);
    if (floor.count > 0)
        assert_int_equal(buf_addf(out, "first %lu\n", (unsigned long)first), ERR_OK);
    vector_fini(&floor);
}

static int
by_line(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of a map, so in any. */
static void
sort_lines(struct buf *text)
{
    char  *line[64], *at, *copy = mem_new(text->n + 1);
    size_t n = 0;
    if (text->n > 0)
        memcpy(copy, buf_str(text).p, text->n);
    for (char *l = strtok_r(copy, "\n", &at); l; l = strtok_r(NULL, "\n", &at)) {
        assert_true(n < 64);
        line[n++] = l;
    }
    qsort(line, n, sizeof *line, by_line);
    buf_reset(text);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_addf(text, "%s\n", line[i]), ERR_OK);
    mem_free(copy);
}

/* Nobody goes on with a stream that retired: a process would have begun another. */
static void
begin_anew(struct story *s, struct str said)
{
    for (uint32_t i = 0; i < WRITERS; i++) {
        char line[64];
        snprintf(line, sizeof line, "retired %lu\n", (unsigned long)s->writer[i].stream);
        if (said.n > 0 && memmem(said.p, said.n, line, strlen(line))) {
            uint64_t lamport     = s->writer[i].lamport;
            s->writer[i]         = kit_writer((++s->streams + 1) * 100);
            s->writer[i].lamport = lamport;
        }
    }
}

static void
retain_some(struct story *s)
{
    struct buf       said[2];
    struct retention policy = {.age_ms    = 20 + below(s, 60),
                               .retire_ms = below(s, 3) ? 30 + below(s, 60) : 0};
    for (int d = 0; d < 2; d++) {
        buf_init(&said[d], 0);
        take(s, &s->disk[d], &policy, &said[d]);
        sort_lines(&said[d]);
    }
    assert_int_equal(said[0].n, said[1].n);
    assert_true(str_eq(buf_str(&said[0]), buf_str(&said[1])));
    begin_anew(s, buf_str(&said[0]));
    buf_fini(&said[0]);
    buf_fini(&said[1]);
}

/* ---- reading ---- */

/* What a reader asks for; a blob. */
struct wish {
    struct str text;
    bool       is_literal;
};

static bool
is_wanted(const void *ctx, struct str topic)
{
    const struct wish *w = ctx;
    return w->is_literal ? str_eq(topic, w->text) : str_starts(topic, w->text);
}

/* What lies below lsn_first counts as known to who reads from there, so a store may say it
 * again, or not. */
static void
add_below(struct disk *d, uint64_t lsn_first, struct vector *scanned, uint64_t *stamp)
{
    struct read read = {.start = READ_AT_LSN, .lsn = 1, .bytes_max = 1 << 20};
    for (read.lsn_last = lsn_first - 1; read.lsn <= read.lsn_last;) {
        struct page *p = disk_read(d, &read);
        for (uint32_t i = 0; i < p->scanned_count; i++)
            assert_int_equal(vector_raise(scanned, p->scanned[i]), ERR_OK);
        *stamp   = p->stamp > *stamp ? p->stamp : *stamp;
        read.lsn = p->lsn_next;
        page_drop(p);
    }
}

static void
tell_entry(const struct entry *e, struct buf *out)
{
    if (e->gap_to > 0)
        assert_int_equal(buf_addf(out, "%lu gap of %lu %lu..%lu %lu %.*s\n", (unsigned long)e->lsn,
                                  (unsigned long)e->mark.stream, (unsigned long)e->mark.seq,
                                  (unsigned long)e->gap_to, (unsigned long)e->lamport,
                                  STR_ARG(e->origin)),
                         ERR_OK);
    else
        assert_int_equal(buf_addf(out, "%lu %lu-%lu %lu %d %.*s %.*s %.*s %.*s\n",
                                  (unsigned long)e->lsn, (unsigned long)e->mark.stream,
                                  (unsigned long)e->mark.seq, (unsigned long)e->lamport, e->late,
                                  STR_ARG(e->origin), STR_ARG(e->topic), STR_ARG(e->headers),
                                  STR_ARG(e->body)),
                         ERR_OK);
}

/* Everything a chain of reads says, as text. */
static void
tell(const struct story *s, struct disk *d, struct read read, struct buf *out)
{
    bool          first = true;
    uint64_t      stamp = s->floor_stamp; /* what is gone may be scanned, or not */
    struct vector scanned, have;
    vector_init(&scanned);
    vector_init(&have);
    assert_int_equal(vector_merge(&scanned, &s->floor), ERR_OK);
    assert_int_equal(vector_merge(&have, &read.have), ERR_OK);
    while (first || read.lsn <= read.lsn_last) {
        read.have      = have;
        struct page *p = disk_read(d, &read);
        assert_true(p->lsn_next > p->lsn_first || p->lsn_first > read.lsn_last || p->count > 0);
        if (first) {
            assert_int_equal(buf_addf(out, "from %lu\n", (unsigned long)p->lsn_first), ERR_OK);
            add_below(d, p->lsn_first, &scanned, &stamp);
        }
        for (uint32_t i = 0; i < p->before_count; i++)
            assert_int_equal(buf_addf(out, "before %lu-%lu\n", (unsigned long)p->before[i].stream,
                                      (unsigned long)p->before[i].seq),
                             ERR_OK);
        for (uint32_t i = 0; i < p->count && p->entry; i++) {
            const struct mark upto = {p->entry[i].mark.stream, p->entry[i].gap_to};
            tell_entry(&p->entry[i], out);
            if (upto.seq > 0) /* as a session does */
                assert_int_equal(vector_raise(&have, upto), ERR_OK);
        }
        for (uint32_t i = 0; i < p->count && p->batch; i++) {
            assert_int_equal(buf_addf(out, "batch %lu ", (unsigned long)p->batch_lsn[i]), ERR_OK);
            assert_int_equal(
                buf_add(out, (struct str){p->batch[i]->chain.b, sizeof(struct hash128)}), ERR_OK);
        }
        for (uint32_t i = 0; i < p->scanned_count; i++)
            assert_int_equal(vector_raise(&scanned, p->scanned[i]), ERR_OK);
        stamp      = p->stamp > stamp ? p->stamp : stamp;
        read.start = READ_AT_LSN;
        read.lsn   = p->lsn_next;
        first      = false;
        page_drop(p);
    }
    /* Where a page ends is up to the store; what all of them scanned is not. */
    for (uint32_t i = 0; i < scanned.count; i++)
        assert_int_equal(buf_addf(out, "scanned %lu-%lu of %lu\n",
                                  (unsigned long)scanned.at[i].stream,
                                  (unsigned long)scanned.at[i].seq, (unsigned long)stamp),
                         ERR_OK);
    vector_fini(&scanned);
    vector_fini(&have);
}

/* All that is kept, but for what `have` holds. */
static void
tell_kept(struct disk *d, struct read read, struct buf *out)
{
    read.start = READ_KEPT;
    read.lsn   = 0;
    do {
        struct page *p = disk_read(d, &read);
        for (uint32_t i = 0; i < p->count; i++)
            tell_entry(&p->entry[i], out);
        read.lsn = p->lsn_next;
        page_drop(p);
    } while (read.lsn > 0);
}

static void
read_some(struct story *s)
{
    static const char *const text[] = {"a", "b/1", "b/17", "c/d", "zz"};
    struct wish             *wish   = blob_new(sizeof *wish);
    struct mark              mark[WRITERS];
    struct vector            have = {mark, 0, WRITERS};
    for (uint32_t i = 0; i < WRITERS; i++)
        if (below(s, 2))
            page_raise(&have, (struct mark){s->writer[i].stream,
                                            below(s, (uint32_t)s->writer[i].next + 3)});
    *wish               = (struct wish){str_of(text[below(s, 5)]), below(s, 2)};
    bool        batches = below(s, 3) == 0;
    struct read read    = {.start     = (enum read_start)below(s, 3),
                           .lsn       = below(s, (uint32_t)s->lsn + 3),
                           .lsn_last  = s->lsn,
                           .have      = have,
                           .since     = {s->clock - below(s, 50)},
                           .batches   = batches,
                           .want      = batches || below(s, 4) == 0 ? NULL : is_wanted,
                           .want_ctx  = wish,
                           .bytes_max = 1 + below(s, 200000),
                           .count_max = below(s, 2) ? 0 : 200};
    if (read.want && wish->is_literal) {
        read.literal       = &wish->text;
        read.literal_count = 1;
    }
    if (!batches && below(s, 2)) /* core does not know of the newest yet */
        read.lsn_last = below(s, (uint32_t)s->lsn + 1);
    struct buf said[2];
    for (int d = 0; d < 2; d++) {
        buf_init(&said[d], 0);
        tell(s, &s->disk[d], read, &said[d]);
        tell_kept(&s->disk[d], read, &said[d]);
    }
    assert_int_equal(said[0].n, said[1].n);
    assert_true(str_eq(buf_str(&said[0]), buf_str(&said[1])));
    buf_fini(&said[0]);
    buf_fini(&said[1]);
    blob_drop(wish);
}

/* What lies below a floor is held, whether it is still owed or not. */
static uint32_t
owed_beyond(const struct story *s, const struct mark_list *owed)
{
    uint32_t n = 0;
    for (uint32_t i = 0; owed && i < owed->count; i++)
        n += !vector_has(&s->floor, owed->at[i]);
    return n;
}

static void
same_stream(const struct story *s, const struct stream_state *a, const struct stream_state *b)
{
    assert_true(a->stream == b->stream);
    assert_int_equal(a->head, b->head);
    assert_int_equal(a->stamp, b->stamp);
    assert_true(hash128_eq(a->chain, b->chain));
    assert_int_equal(a->floor, b->floor);
    assert_int_equal(a->gap, b->gap);
    assert_int_equal(a->floor_stamp, b->floor_stamp);
    assert_true(hash128_eq(a->floor_chain, b->floor_chain));
    assert_int_equal(a->waived, b->waived);
    assert_int_equal(a->came.ms, b->came.ms);
    assert_int_equal(a->retired, b->retired);
    assert_int_equal(owed_beyond(s, a->owed), owed_beyond(s, b->owed));
    assert_int_equal(owed_beyond(s, a->floor_owed), owed_beyond(s, b->floor_owed));
    assert_true(str_eq(a->origin, b->origin));
}

static void
restart(struct story *s)
{
    for (int d = 0; d < 2; d++) {
        disk_stop(&s->disk[d]);
        disk_start(&s->disk[d]);
    }
    const struct recovered *a = s->disk[0].found, *b = s->disk[1].found;
    assert_int_equal(a->lsn, b->lsn);
    assert_int_equal(a->lsn_first, b->lsn_first);
    assert_true(a->stamp >= b->stamp); /* memory forgets it with the stream */
    assert_int_equal(a->stream_count, b->stream_count);
    for (uint32_t i = 0; i < a->stream_count; i++) /* also where a gap is all there is */
        assert_int_equal(
            vector_raise(&s->floor, (struct mark){a->stream[i].stream, a->stream[i].floor}),
            ERR_OK);
    for (uint32_t i = 0; i < a->stream_count; i++)
        same_stream(s, &a->stream[i], &b->stream[i]);
}

/* Without it the simulator proves things of a store that nobody runs. */
static void
both_stores_say_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct story s = {.random = {seed}, .clock = 1000, .streams = WRITERS};
        disk_open(&s.disk[0], false);
        disk_open(&s.disk[1], true);
        for (uint32_t i = 0; i < WRITERS; i++)
            s.writer[i] = kit_writer((i + 1) * 100);
        for (int step = 0; step < STEPS; step++) {
            if (below(&s, 3) > 0)
                commit_some(&s);
            else
                read_some(&s);
            if (below(&s, 20) == 0)
                store_tend(s.disk[0].s, below(&s, 2));
            if (below(&s, 6) == 0)
                retain_some(&s);
            if (below(&s, 40) == 0)
                restart(&s);
        }
        vector_fini(&s.floor);
        disk_close(&s.disk[0]);
        disk_close(&s.disk[1]);
    }
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(both_stores_say_the_same),
    };
    return cmocka_run_group_tests_name("store at random", test, NULL, NULL);
}
