/* What is damaged here is fetched from peers, and what they send in its place is no more than
 * they have. */
#include "base/trace.h"
#include "core/gossip_part.h"
#include "core/vector.h"
#include "tests/gossip_kit.h"

enum { BATCHES = 5 };

/* A stream of five batches of two messages, on disk here and known at peers. */
struct log {
    struct desk   d;
    struct writer w;
    struct batch *b[BATCHES];
};

static void
log_open(struct log *l, uint32_t links)
{
    memset(l, 0, sizeof *l);
    open_with(&l->d, links);
    l->w = writer_of(7);
    for (int i = 0; i < BATCHES; i++) {
        l->b[i] = write_batch(&l->w, (struct writing){.count = 2});
        journal_put(&l->d.j, again(l->b[i]));
    }
    for (uint32_t i = 0; i < links; i++)
        get_heads(&l->d, i, HEADS_FULL, 7, 2 * BATCHES);
    turn(&l->d);
    clear(&l->d);
}

static void
log_close(struct log *l)
{
    for (int i = 0; i < BATCHES; i++)
        blob_drop(l->b[i]);
    close_desk(&l->d);
}

/* Without the text of its first message. */
static struct batch *
without_text(const struct batch *b)
{
    struct msg msg[2] = {b->msg[0], b->msg[1]};
    msg[0].flags      = MSG_DIGEST_ONLY;
    msg[0].topic = msg[0].body = (struct str){0};
    struct batch *c            = batch_make(&(struct batch_parts){.stream        = b->stream,
                                                                  .first         = b->first,
                                                                  .prev          = b->prev,
                                                                  .lamport_first = b->lamport_first,
                                                                  .wall          = b->wall,
                                                                  .origin        = b->origin,
                                                                  .msg           = msg,
                                                                  .count         = 2});
    assert_true(hash128_eq(c->chain, b->chain));
    return c;
}

static void
find_damage(struct log *l, uint32_t i)
{
    const struct batch *b = l->b[i];
    const struct damage d = {b->stream, b->first, batch_last(b), b->chain, 0};
    const struct page   p = {.damage = &d, .damage_count = 1};
    gossip_damaged(IN(&l->d), &p);
}

/* Turns until so much time has passed; how many pulls went to each link. */
static void
pass(struct log *l, uint64_t ms, uint32_t pulls[3])
{
    memset(pulls, 0, 3 * sizeof *pulls);
    for (uint64_t gone = 0; gone < ms; gone += 100) {
        wait_ms(&l->d, 100);
        turn(&l->d);
        for (uint32_t i = 0; i < 3; i++)
            pulls[i] += count_sent(&l->d, i, FRAME_PULL);
    }
}

static void
assert_asks(const struct log *l, uint32_t link, uint64_t have)
{
    const struct frame *f = sent(&l->d, link, FRAME_PULL, 0);
    assert_non_null(f);
    assert_int_equal(f->pull.credit, 1);
    assert_int_equal(vector_seq(&f->pull.have, 7), have);
}

static const struct commit *
commit_asked(const struct log *l)
{
    for (uint32_t k = 0; k < l->d.out.count; k++)
        if (l->d.out.at[k].kind == EFFECT_PERSIST)
            return &l->d.out.at[k].persist;
    return NULL;
}

/* Without it a damaged batch stays damaged though a peer has it, or all that follows it comes
 * again, or it is asked for without end. */
static void
a_damaged_batch_is_fetched_and_mended(void **state)
{
    struct log l;
    uint32_t   pulls[3];
    (void)state;
    for (uint32_t i = 0; i < BATCHES; i += 2) { /* the first of the stream too */
        log_open(&l, 1);
        find_damage(&l, i);
        find_damage(&l, i);
        turn(&l.d);
        assert_int_equal(count_sent(&l.d, 0, FRAME_PULL), 1);
        assert_asks(&l, 0, 2 * i);
        clear(&l.d);
        assert_int_equal(get(&l.d, 0, again(l.b[i]), PUSH_PULLED), ERR_OK);
        assert_int_equal(commit_asked(&l)->kind, COMMIT_REPAIR);
        assert_ptr_equal(commit_asked(&l)->batch, l.b[i]);
        commit_all(&l.d);
        assert_int_equal(l.d.j.lsn, 2 * BATCHES); /* nothing was appended */
        if (i + 1 < BATCHES) {
            clear(&l.d);
            get(&l.d, 0, again(l.b[i + 1]), PUSH_PULLED); /* it was on its way */
            assert_null(commit_asked(&l));
        }
        find_damage(&l, i); /* a page that was read before */
        pass(&l, 600000, pulls);
        assert_int_equal(pulls[0], 0);
        assert_int_equal(l.d.g.repairs.mended, 1);
        assert_int_equal(l.d.g.repairs.found, 1);
        assert_false(l.d.g.repairs.futile);
        log_close(&l);
    }
}

/* Without it the first peer that does not answer ends it all, or peers are asked for ever. */
static void
each_holder_is_asked_and_then_ever_more_seldom(void **state)
{
    struct log l;
    uint32_t   pulls[3];
    (void)state;
    log_open(&l, 3);
    get_floor(&l.d, 1, 7, 4, 2 * BATCHES); /* has lost it */
    find_damage(&l, 1);
    pass(&l, 5000, pulls);
    assert_true(pulls[0] >= 1 && pulls[1] == 0 && pulls[2] >= 1);
    pass(&l, 3600000, pulls);
    assert_in_range(pulls[0], 5, 20);
    assert_in_range(pulls[2], 5, 20);
    assert_int_equal(pulls[1], 0);
    /* Who comes back may have it by now. */
    gossip_link_down(&l.d.g, &l.d.j, 0, l.d.now);
    link_up(&l.d, 0);
    get_heads(&l.d, 0, HEADS_FULL, 7, 2 * BATCHES);
    pass(&l, 2000, pulls);
    assert_true(pulls[0] >= 1);
    get(&l.d, 0, again(l.b[1]), PUSH_PULLED);
    commit_all(&l.d);
    pass(&l, 7200000, pulls);
    assert_int_equal(pulls[0] + pulls[2], 0);
    log_close(&l);
}

/* Without it a broker alone asks nobody each second, or does not ask who comes. */
static void
nobody_has_it_at_first(void **state)
{
    struct log l;
    uint32_t   pulls[3];
    (void)state;
    log_open(&l, 0);
    find_damage(&l, 2);
    pass(&l, 100000, pulls);
    assert_int_equal(pulls[0], 0);
    uint64_t wait = repair_deadline(&l.d.g).ms - l.d.now.ms;
    assert_true(wait > 20000);
    link_up(&l.d, 0);
    get_heads(&l.d, 0, HEADS_FULL, 7, 2 * BATCHES);
    pass(&l, 1500, pulls);
    assert_int_equal(pulls[0], 1);
    log_close(&l);
}

/* Without it a batch that came with a digest in place of a message stays so, though another
 * peer has the message. */
static void
a_digest_that_came_is_asked_of_the_others(void **state)
{
    struct log    l;
    struct writer w = writer_of(9);
    (void)state;
    log_open(&l, 2);
    struct batch *whole = write_batch(&w, (struct writing){.count = 2});
    get_heads(&l.d, 0, HEADS_FULL, 9, 2);
    get_heads(&l.d, 1, HEADS_FULL, 9, 2);
    assert_int_equal(get(&l.d, 0, without_text(whole), 0), ERR_OK);
    assert_int_equal(commit_asked(&l)->kind, COMMIT_BATCH);
    commit_all(&l.d);
    turn(&l.d);
    assert_null(sent(&l.d, 0, FRAME_PULL, 0));
    assert_int_equal(vector_seq(&sent(&l.d, 1, FRAME_PULL, 0)->pull.have, 9), 0);
    assert_int_equal(vector_seq(&sent(&l.d, 1, FRAME_PULL, 0)->pull.have, 7), 2 * BATCHES);
    clear(&l.d);
    get(&l.d, 1, again(whole), PUSH_PULLED);
    assert_int_equal(commit_asked(&l)->kind, COMMIT_REPAIR);
    commit_all(&l.d);
    assert_ptr_equal(tail_at(&l.d.j.tail, l.d.j.lsn)->batch, whole); /* for readers too */
    struct batch *poor = without_text(whole);
    tail_mend(&l.d.j.tail, poor);
    assert_ptr_equal(tail_at(&l.d.j.tail, l.d.j.lsn)->batch, whole);
    blob_drop(poor);
    blob_drop(whole);
    log_close(&l);
}

/* Without it a peer's digest is stored though another has the message, or a broker is content
 * with it for ever. */
static void
who_has_all_of_it_goes_first(void **state)
{
    struct log l;
    uint32_t   pulls[3];
    (void)state;
    log_open(&l, 2);
    find_damage(&l, 1);
    turn(&l.d);
    uint32_t first = sent(&l.d, 0, FRAME_PULL, 0) ? 0 : 1;
    get(&l.d, first, without_text(l.b[1]), PUSH_PULLED);
    assert_null(commit_asked(&l));
    turn(&l.d);
    assert_asks(&l, 1 - first, 2);
    get(&l.d, 1 - first, without_text(l.b[1]), PUSH_PULLED); /* nobody has more */
    assert_int_equal(commit_asked(&l)->kind, COMMIT_REPAIR);
    commit_all(&l.d);
    assert_int_equal(l.d.g.repairs.mended, 0);
    pass(&l, 3600000, pulls);
    assert_in_range(pulls[0], 1, 20);
    assert_in_range(pulls[1], 1, 20);
    log_close(&l);
}

/* Without it a file that cannot hold what is written into it is mended for ever; or one is given
 * up because no peer has a message. */
static void
what_does_not_stay_mended_is_futile(void **state)
{
    struct log l;
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        log_open(&l, 1);
        find_damage(&l, 1);
        turn(&l.d);
        get(&l.d, 0, whole ? again(l.b[1]) : without_text(l.b[1]), PUSH_PULLED);
        assert_int_equal(commit_asked(&l)->kind, COMMIT_REPAIR);
        commit_all(&l.d);
        wait_ms(&l.d, 5000);
        find_damage(&l, 1);
        assert_int_equal(l.d.g.repairs.futile, whole);
        log_close(&l);
    }
}

/* Without it what retention took is still asked for. */
static void
what_is_gone_is_not_asked_for(void **state)
{
    struct log l;
    uint32_t   pulls[3];
    (void)state;
    log_open(&l, 1);
    find_damage(&l, 1);
    journal_retain(&l.d.j, &(struct retained){.count = 1,
                                              .floor = &(struct stream_floor){7, 4, l.b[1]->chain,
                                                                              4, .owed = NULL}});
    pass(&l, 10000, pulls);
    assert_int_equal(pulls[0], 0);
    assert_int_equal(l.d.g.repairs.count, 0);
    log_close(&l);
}

/* Without it a rotten disk fills the memory with what is to be mended. */
static void
what_is_noted_is_bounded(void **state)
{
    struct log l;
    uint32_t   pulls[3];
    (void)state;
    log_open(&l, 1);
    for (uint64_t i = 0; i < 10 * REPAIRS_MAX; i++) {
        const struct damage d = {100 + i, 1, 1, {{0}}, 0};
        const struct page   p = {.damage = &d, .damage_count = 1};
        gossip_damaged(IN(&l.d), &p);
    }
    assert_int_equal(l.d.g.repairs.count, REPAIRS_MAX);
    pass(&l, 1000, pulls); /* streams that nobody knows: they are gone */
    assert_int_equal(l.d.g.repairs.count, 0);
    find_damage(&l, 1);
    pass(&l, 1000, pulls);
    assert_int_equal(pulls[0], 1);
    log_close(&l);
}

/* Without it a pull for what we lack, which takes its place, counts as an answer. */
static void
another_pull_takes_its_place(void **state)
{
    struct log    l;
    struct writer w = writer_of(9);
    (void)state;
    log_open(&l, 1);
    find_damage(&l, 1);
    turn(&l.d);
    assert_asks(&l, 0, 2);
    get_heads(&l.d, 0, 0, 9, 1);
    wait_ms(&l.d, LACK_MS);
    turn(&l.d);
    assert_int_equal(sent(&l.d, 0, FRAME_PULL, 0)->pull.credit, CREDIT_BYTES);
    turn(&l.d);
    assert_null(sent(&l.d, 0, FRAME_PULL, 0));
    get(&l.d, 0, write_one(&w), PUSH_PULLED);
    commit_all(&l.d);
    turn(&l.d); /* nothing is lacked any more: once more */
    assert_asks(&l, 0, 2);
    log_close(&l);
}

/* ---- what others get of it ---- */

static struct page *
page_of(const struct log *l, const uint32_t *index, uint32_t count, const struct damage *d)
{
    struct batch *b[BATCHES];
    for (uint32_t i = 0; i < count; i++)
        b[i] = again(l->b[index[i]]);
    struct page *p = page_with(b, count, 2 * BATCHES + 1);
    if (d) {
        p->damage       = d;
        p->damage_count = 1;
    }
    return p;
}

/* Without it a peer gets what is of no use behind a batch that we cannot read, again and
 * again; or nothing at all. */
static void
nothing_is_sent_from_behind_a_hole(void **state)
{
    static const uint32_t left[] = {0, 2, 3, 4}, all[] = {0, 1, 2, 3, 4};
    struct log            l;
    (void)state;
    for (int readable = 0; readable < 2; readable++) {
        log_open(&l, 1);
        tail_trim(&l.d.j.tail, 0);
        const struct damage d = {7, 3, 4, l.b[1]->chain, 0};
        gossip_on_pull(&l.d.g, 0, &(struct frame_pull){.credit = CREDIT_BYTES});
        turn(&l.d);
        uint64_t reader = read_asked(&l.d)->read.reader;
        clear(&l.d);
        gossip_on_page(&l.d.g, reader, page_of(&l, readable ? all : left, readable ? 5 : 4, &d),
                       l.d.now);
        turn(&l.d);
        assert_int_equal(count_sent(&l.d, 0, FRAME_PUSH), readable ? 5 : 1);
        clear(&l.d);
        turn(&l.d);
        assert_null(read_asked(&l.d)); /* that was the end of the log */
        assert_int_equal(vector_seq(&l.d.g.link[0].have, 7), readable ? 10 : INT64_MAX);
        log_close(&l);
    }
}

/* In the place of batch 1. */
static struct batch *
gap_at_1(const struct log *l)
{
    const struct batch    *b = l->b[1];
    const struct frame_gap f = {.stream = 7,
                                .from   = b->first,
                                .to     = batch_last(b),
                                .chain  = b->chain,
                                .stamp  = batch_stamp(b),
                                .origin = STR("host:3000")};
    return batch_gap(&f, b->first, b->wall);
}

static struct page *
gap_page(const struct log *l, const struct damage *d)
{
    struct batch *b[BATCHES];
    for (uint32_t i = 0; i < BATCHES; i++)
        b[i] = i == 1 ? gap_at_1(l) : again(l->b[i]);
    struct page *p  = page_with(b, BATCHES, 2 * BATCHES + 1);
    p->damage       = d;
    p->damage_count = 1;
    return p;
}

/* Pulls all from us over link 0; what the page is that its read gives. */
static void
serve_gap(struct log *l, const struct damage *d)
{
    gossip_on_pull(&l->d.g, 0, &(struct frame_pull){.credit = CREDIT_BYTES});
    turn(&l->d);
    uint64_t reader = read_asked(&l->d)->read.reader;
    clear(&l->d);
    struct page *p = gap_page(l, d);
    gossip_damaged(IN(&l->d), p);
    gossip_on_page(&l->d.g, reader, p, l->d.now);
    turn(&l->d);
}

/* Without it a peer that pulls waits for ever behind a batch that only we hold, damaged; or takes
 * it for gone though another one has it. */
static void
a_gap_goes_out_when_nobody_has_it(void **state)
{
    struct log l;
    uint32_t   pulls[3];
    (void)state;
    for (int has_it = 0; has_it < 2; has_it++) {
        log_open(&l, has_it ? 2 : 0);
        if (!has_it) { /* two that know nothing of it */
            link_up(&l.d, 0);
            link_up(&l.d, 1);
        }
        tail_trim(&l.d.j.tail, 0);
        const struct damage d = {7, 3, 4, l.b[1]->chain, 0};
        serve_gap(&l, &d);
        assert_int_equal(count_sent(&l.d, 0, FRAME_PUSH), has_it ? 1 : 4);
        assert_int_equal(count_sent(&l.d, 0, FRAME_GAP), !has_it);
        clear(&l.d);
        pass(&l, 5000, pulls); /* who should have it does not answer */
        clear(&l.d);
        serve_gap(&l, &d);
        assert_int_equal(count_sent(&l.d, 0, FRAME_PUSH), 4);
        assert_int_equal(count_sent(&l.d, 0, FRAME_GAP), 1);
        const struct frame *f = sent(&l.d, 0, FRAME_GAP, 0);
        assert_true(f->gap.from == 3 && f->gap.to == 4);
        assert_true(hash128_eq(f->gap.chain, l.b[1]->chain));
        log_close(&l);
    }
}

/* Without it others are asked for what our own store can tell, or a broker alone never mends
 * it. */
static void
what_the_store_tells_mends_it(void **state)
{
    struct log l;
    (void)state;
    for (int proved = 0; proved < 2; proved++) {
        log_open(&l, 1);
        const struct damage d    = {7, 3, 4, l.b[1]->chain, 3};
        const struct page   seen = {.damage = &d, .damage_count = 1}; /* by who reads messages */
        gossip_damaged(IN(&l.d), &seen);
        turn(&l.d);
        const struct effect *e = read_asked(&l.d);
        assert_true(e->read.reader & GOSSIP_REPAIR && e->read.read.batches);
        assert_int_equal(e->read.read.lsn, 3);
        assert_int_equal(count_sent(&l.d, 0, FRAME_PULL), 0);
        uint64_t reader = e->read.reader;
        turn(&l.d);
        assert_null(read_asked(&l.d)); /* one at a time */
        struct batch *b = proved ? again(l.b[1]) : without_text(l.b[1]);
        struct page  *p = page_with(&b, 1, 5);
        p->damage       = &d;
        p->damage_count = 1;
        gossip_damaged(IN(&l.d), p);
        gossip_on_page(&l.d.g, reader, p, l.d.now);
        if (proved) {
            assert_int_equal(commit_asked(&l)->kind, COMMIT_REPAIR);
            assert_ptr_equal(commit_asked(&l)->batch, l.b[1]);
            commit_all(&l.d);
        }
        turn(&l.d);
        assert_int_equal(l.d.g.repairs.mended, proved);
        assert_int_equal(count_sent(&l.d, 0, FRAME_PULL), !proved);
        log_close(&l);
    }
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(a_damaged_batch_is_fetched_and_mended),
        cmocka_unit_test(each_holder_is_asked_and_then_ever_more_seldom),
        cmocka_unit_test(nobody_has_it_at_first),
        cmocka_unit_test(a_digest_that_came_is_asked_of_the_others),
        cmocka_unit_test(who_has_all_of_it_goes_first),
        cmocka_unit_test(what_does_not_stay_mended_is_futile),
        cmocka_unit_test(what_is_gone_is_not_asked_for),
        cmocka_unit_test(what_is_noted_is_bounded),
        cmocka_unit_test(another_pull_takes_its_place),
        cmocka_unit_test(nothing_is_sent_from_behind_a_hole),
        cmocka_unit_test(a_gap_goes_out_when_nobody_has_it),
        cmocka_unit_test(what_the_store_tells_mends_it),
    };
    trace_set_sink(trace_drop, NULL);
    return cmocka_run_group_tests_name("repair", test, NULL, NULL);
}
