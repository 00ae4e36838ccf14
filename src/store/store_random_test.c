/* The two stores told the same story: what one says, the other says. */
#include "store/store.h"

#include "base/prng.h"
#include "core/vector.h"
#include "tests/store_kit.h"

enum { WRITERS = 5, SEEDS = 6, STEPS = 120 };

struct story {
    struct prng   random;
    struct disk   disk[2]; /* SQLite, memory */
    struct writer writer[WRITERS];
    int64_t       clock;
    uint64_t      lsn;
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
    uint32_t                 deps = 0;
    for (uint32_t i = 0; i < WRITERS; i++)
        if (&s->writer[i] != w && s->writer[i].next > 1 && below(s, 2))
            dep[deps++] = (struct mark){s->writer[i].stream, s->writer[i].next - 1};
    uint32_t count = below(s, 8) ? 1 + below(s, 5) : 1 + below(s, 1024);
    w->lamport += below(s, 3);
    return kit_batch_with(w, count, topic[below(s, 4)], below(s, 60), dep, deps);
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
    for (uint32_t i = 0; i < count; i++)
        c[i] = (struct commit){.kind  = COMMIT_BATCH,
                               .late  = below(s, 5) == 0,
                               .batch = some_batch(s, &s->writer[below(s, WRITERS)])};
    s->clock += below(s, 3);
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
        s->lsn += fails ? 0 : c[i].batch->count;
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

/* Everything a chain of reads says, as text. */
static void
tell(struct disk *d, struct read read, struct buf *out)
{
    bool          first = true;
    uint64_t      stamp = 0;
    struct vector scanned;
    vector_init(&scanned);
    while (first || read.lsn <= read.lsn_last) {
        struct page *p = disk_read(d, &read);
        assert_true(p->lsn_next > p->lsn_first || p->lsn_first > read.lsn_last);
        if (first) {
            assert_int_equal(buf_addf(out, "from %lu\n", (unsigned long)p->lsn_first), ERR_OK);
            add_below(d, p->lsn_first, &scanned, &stamp);
        }
        for (uint32_t i = 0; i < p->before_count; i++)
            assert_int_equal(buf_addf(out, "before %lu-%lu\n", (unsigned long)p->before[i].stream,
                                      (unsigned long)p->before[i].seq),
                             ERR_OK);
        for (uint32_t i = 0; i < p->count && p->entry; i++) {
            const struct entry *e = &p->entry[i];
            assert_int_equal(buf_addf(out, "%lu %lu-%lu %lu %d %.*s %.*s %.*s %.*s\n",
                                      (unsigned long)e->lsn, (unsigned long)e->mark.stream,
                                      (unsigned long)e->mark.seq, (unsigned long)e->lamport,
                                      e->late, STR_ARG(e->origin), STR_ARG(e->topic),
                                      STR_ARG(e->headers), STR_ARG(e->body)),
                             ERR_OK);
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
}

static void
read_some(struct story *s)
{
    static const char *const text[] = {"a", "b/1", "b/17", "c/d", "zz"};
    struct wish             *wish   = blob_new(sizeof *wish);
    struct mark              have[WRITERS];
    uint32_t                 count = 0;
    for (uint32_t i = 0; i < WRITERS; i++)
        if (below(s, 2))
            have[count++] =
                (struct mark){s->writer[i].stream, below(s, (uint32_t)s->writer[i].next + 3)};
    *wish               = (struct wish){str_of(text[below(s, 5)]), below(s, 2)};
    bool        batches = below(s, 3) == 0;
    struct read read    = {.start     = (enum read_start)below(s, 3),
                           .lsn       = below(s, (uint32_t)s->lsn + 3),
                           .lsn_last  = s->lsn,
                           .have      = {have, count, WRITERS},
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
        tell(&s->disk[d], read, &said[d]);
    }
    assert_int_equal(said[0].n, said[1].n);
    assert_true(str_eq(buf_str(&said[0]), buf_str(&said[1])));
    buf_fini(&said[0]);
    buf_fini(&said[1]);
    blob_drop(wish);
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
    assert_int_equal(a->stamp, b->stamp);
    assert_int_equal(a->stream_count, b->stream_count);
    for (uint32_t i = 0; i < a->stream_count; i++) {
        assert_true(a->stream[i].stream == b->stream[i].stream);
        assert_int_equal(a->stream[i].head, b->stream[i].head);
        assert_int_equal(a->stream[i].stamp, b->stream[i].stamp);
        assert_true(hash128_eq(a->stream[i].chain, b->stream[i].chain));
        assert_true(str_eq(a->stream[i].origin, b->stream[i].origin));
    }
}

/* Without it the simulator proves things of a store that nobody runs. */
static void
both_stores_say_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct story s = {.random = {seed}, .clock = 1000};
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
            if (below(&s, 40) == 0)
                restart(&s);
        }
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
