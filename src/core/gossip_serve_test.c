/* Of core/gossip.h: what a peer gets that pulls from below our floors. */
#include "tests/gossip_kit.h"

static void
get_pull(struct desk *d, uint32_t link, const struct vector *have, uint64_t credit)
{
    gossip_on_pull(&d->g, link, &(struct frame_pull){.have = *have, .credit = credit});
}

/* Retention took what the writer wrote up to now. */
static void
expire(struct desk *d, const struct writer *w, const struct vector *owed)
{
    struct mark_list *list = NULL;
    if (owed->count > 0) {
        list        = blob_new(sizeof *list + owed->count * sizeof *owed->at);
        list->count = owed->count;
        memcpy(list->at, owed->at, owed->count * sizeof *owed->at);
    }
    journal_retain(&d->j, &(struct retained){.count = 1,
                                             .floor = &(struct stream_floor){
                                                 .stream = w->stream,
                                                 .floor  = w->next - 1,
                                                 .chain  = w->chain,
                                                 .stamp  = w->lamport - 1,
                                                 .owed   = list,
                                             }});
    blob_drop(list);
}

static void
assert_gap(const struct desk *d, uint32_t i, uint64_t stream, uint64_t from, uint64_t to)
{
    const struct frame *f = sent(d, 0, FRAME_GAP, i);
    assert_non_null(f);
    assert_int_equal(f->gap.stream, stream);
    assert_int_equal(f->gap.from, from);
    assert_int_equal(f->gap.to, to);
    assert_true(str_eq(f->gap.origin, STR("host:3000")));
    assert_true(f->gap.stamp >= to);
}

static void
assert_deps(const struct desk *d, uint32_t i, const struct vector *want)
{
    const struct frame_gap *gap = &sent(d, 0, FRAME_GAP, i)->gap;
    assert_vector(
        &(struct vector){.at = (struct mark *)(uintptr_t)gap->deps, .count = gap->deps_count},
        want);
}

static uint64_t
floor_in(const struct frame *f, uint64_t stream)
{
    assert_non_null(f);
    for (uint32_t i = 0; i < f->heads.count; i++)
        if (f->heads.head[i].stream == stream)
            return f->heads.head[i].floor;
    fail();
    return 0;
}

static struct page *
kept_page(const struct entry *entry, uint32_t count, uint64_t lsn_next)
{
    struct page  *p  = blob_new(sizeof *p + count * sizeof *entry);
    struct entry *at = (struct entry *)(void *)(p + 1);
    for (uint32_t i = 0; i < count; i++)
        at[i] = entry[i];
    p->entry    = at;
    p->count    = count;
    p->lsn_next = lsn_next;
    return p;
}

/* Nothing is kept. */
static void
keep_nothing(struct desk *d)
{
    assert_non_null(read_asked(d));
    assert_int_equal(read_asked(d)->read.read.start, READ_KEPT);
    gossip_on_page(&d->g, read_asked(d)->read.reader, kept_page(NULL, 0, 0), d->now);
    turn(d);
}

static struct batch *
gap_batch(const struct writer *w, uint64_t first, const struct vector *deps)
{
    const struct frame_gap gap = gap_upto(w, first, deps);
    return batch_gap(&gap, first, (struct wall){0});
}

static void
put_gap(struct desk *d, struct batch *b)
{
    journal_stream(&d->j, b->stream);
    journal_hand_over(&d->j, b);
    journal_persist(&d->j, b, d->j.lsn + 1, false);
    blob_drop(b);
}

/* ---- gaps of floors ---- */

/* Broken when a newcomer is not told of what is gone, is told before it knows our floors, or
 * after batches that lie behind it. */
static void
gaps_go_before_what_is_left(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(7), c = writer_of(9);
    open_with(&d, 1);
    journal_put(&d.j, write_batch(&a, (struct writing){.count = 4}));
    journal_put(&d.j, write_batch(&b, (struct writing){.count = 5}));
    journal_put(&d.j, write_one(&c));
    expire(&d, &a, &nothing);
    expire(&d, &b, &nothing);
    journal_put(&d.j, write_one(&b));
    get_pull(&d, 0, &VECTOR({7, 2}), CREDIT_BYTES);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_GAP), 0);
    assert_int_equal(gossip_deadline(&d.g).ms, 0);
    turn(&d);
    assert_int_equal(d.out.at[0].send.frame.kind, FRAME_HEADS); /* overtakes, so it is first */
    assert_int_equal(floor_in(&d.out.at[0].send.frame, 3), 4);
    assert_int_equal(floor_in(&d.out.at[0].send.frame, 7), 5);
    assert_int_equal(floor_in(&d.out.at[0].send.frame, 9), 0);
    assert_gap(&d, 0, 3, 1, 4);
    assert_gap(&d, 1, 7, 3, 5);
    assert_true(hash128_eq(sent(&d, 0, FRAME_GAP, 0)->gap.chain, a.chain));
    assert_int_equal(count_sent(&d, 0, FRAME_GAP), 2);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    keep_nothing(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_GAP), 0);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 2);
    assert_int_equal(sent(&d, 0, FRAME_PUSH, 0)->push.batch->stream, 9);
    assert_int_equal(sent(&d, 0, FRAME_PUSH, 1)->push.batch->first, 6);
    assert_false(d.g.link[0].serving);
    get_pull(&d, 0, &VECTOR({3, 4}, {7, 5}, {9, 1}), CREDIT_BYTES); /* at the floor: no gap */
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_GAP), 0);
    assert_null(read_asked(&d));
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    close_desk(&d);
}

/* Broken when what retention takes while a peer is served reaches it neither as messages nor
 * as a gap. */
static void
floors_that_move_while_serving_are_told(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    size_t        cost;
    open_with(&d, 1);
    struct batch *first = write_one(&w);
    cost                = batch_cost(first);
    journal_put(&d.j, first);
    struct writer at_2 = w;
    journal_put(&d.j, write_one(&w));
    at_2 = w;
    journal_put(&d.j, write_one(&w));
    get_pull(&d, 0, &nothing, cost);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    expire(&d, &at_2, &nothing);
    gossip_on_credit(&d.g, 0, CREDIT_BYTES);
    turn(&d);
    turn(&d);
    assert_gap(&d, 0, 7, 2, 2);
    assert_vector(&read_asked(&d)->read.read.have, &VECTOR({7, 1}));
    keep_nothing(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    assert_int_equal(sent(&d, 0, FRAME_PUSH, 0)->push.batch->first, 3);
    close_desk(&d);
}

/* Broken when gaps flood a peer beyond what it said it can take, or some of them get lost when
 * credit runs out between them. */
static void
gaps_are_under_credit(void **state)
{
    (void)state;
    enum { COST = 128 + 9 };
    struct desk d;
    open_with(&d, 1);
    for (uint64_t s = 100; s < 110; s++) {
        struct writer w = writer_of(s);
        journal_put(&d.j, write_one(&w));
        expire(&d, &w, &nothing);
    }
    get_pull(&d, 0, &nothing, 4 * COST);
    turn(&d);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_GAP), 4);
    assert_int_equal(d.g.link[0].queued, 4 * COST);
    assert_null(read_asked(&d));
    assert_true(gossip_deadline(&d.g).ms > d.now.ms);
    gossip_on_credit(&d.g, 0, CREDIT_BYTES);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_GAP), 6);
    assert_gap(&d, 5, 109, 1, 1);
    assert_int_equal(read_asked(&d)->read.read.have.count, 0); /* kept: all of it */
    close_desk(&d);
}

/* ---- what is owed ---- */

/* Broken when floors are told that do not tell all of their past: who takes a gap by them shows
 * an effect before its cause. */
static void
floors_that_owe_are_not_told_but_named(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(7), c = writer_of(9), e = writer_of(5);
    open_with(&d, 2);
    journal_put(&d.j, write_one(&a));
    journal_put(&d.j, write_one(&b));
    journal_put(&d.j, write_one(&c));
    expire(&d, &b, &VECTOR({3, 1}, {5, 2}));
    expire(&d, &c, &nothing); /* its past may end at b's floor, so it is not told either */
    get_pull(&d, 0, &VECTOR({3, 1}), CREDIT_BYTES);
    wait_ms(&d, HEADS_IDLE_MS);
    turn(&d);
    assert_int_equal(floor_in(sent(&d, 0, FRAME_HEADS, 0), 7), 0);
    assert_int_equal(floor_in(sent(&d, 0, FRAME_HEADS, 0), 9), 0);
    assert_gap(&d, 0, 7, 1, 1);
    assert_deps(&d, 0, &VECTOR({3, 1}, {5, 2}, {9, 1}));
    assert_gap(&d, 1, 9, 1, 1);
    assert_deps(&d, 1, &VECTOR({7, 1}));
    keep_nothing(&d);
    expire(&d, &a, &nothing); /* not enough: 5 is not even known here */
    wait_ms(&d, HEADS_IDLE_MS);
    turn(&d);
    assert_int_equal(floor_in(sent(&d, 0, FRAME_HEADS, 0), 3), 0);
    assert_int_equal(floor_in(sent(&d, 0, FRAME_HEADS, 0), 7), 0);
    blob_drop(write_batch(&e, (struct writing){.count = 2}));
    put_gap(&d, gap_batch(&e, 1, &nothing));
    turn(&d); /* now they say it all, at once and to all */
    for (uint32_t link = 0; link < 2; link++) {
        const struct frame *f = sent(&d, link, FRAME_HEADS, 0);
        assert_int_equal(floor_in(f, 3), 1);
        assert_int_equal(floor_in(f, 5), 2);
        assert_int_equal(floor_in(f, 7), 1);
        assert_int_equal(floor_in(f, 9), 1);
    }
    get_pull(&d, 0, &VECTOR({3, 1}, {5, 2}), CREDIT_BYTES);
    turn(&d);
    assert_deps(&d, 0, &VECTOR({3, 1}, {5, 2})); /* as it was stored: that may be less */
    assert_deps(&d, 1, &nothing);
    close_desk(&d);
}

/* Broken when a gap in the middle of a stream is lost on the way through us, comes out of its
 * place, forgets what is owed above it, or goes before the newest messages that lie in it. */
static void
a_gap_in_the_log_is_served_in_its_place(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7), other = writer_of(3);
    open_with(&d, 1);
    journal_put(&d.j, write_one(&w));
    blob_drop(write_batch(&w, (struct writing){.count = 9}));
    struct batch *gap = gap_batch(&w, 2, &VECTOR({3, 1}));
    put_gap(&d, again(gap));
    journal_put(&d.j, write_one(&other));
    journal_put(&d.j, write_one(&w));
    for (int from_disk = 0; from_disk < 2; from_disk++) {
        if (from_disk) {
            tail_trim(&d.j.tail, 0);
            gossip_on_sent(&d.g, 0, 0);
        }
        get_pull(&d, 0, &nothing, CREDIT_BYTES);
        turn(&d);
        if (from_disk) {
            struct writer part   = writer_of(7);
            struct batch *page[] = {write_one(&part), again(gap)};
            gossip_on_page(&d.g, read_asked(&d)->read.reader, page_with(page, 2, 3), d.now);
            turn(&d);
        }
        assert_int_equal(d.out.count, 1);
        assert_int_equal(d.out.at[0].send.frame.push.batch->first, 1);
        turn(&d);
        assert_vector(&read_asked(&d)->read.read.have, &VECTOR({7, 1}));
        keep_nothing(&d);
        if (from_disk) {
            assert_int_equal(read_asked(&d)->read.read.lsn, 2);
            gossip_on_page(&d.g, read_asked(&d)->read.reader, page_with(&gap, 1, 3), d.now);
            blob_keep(gap);
            turn(&d);
        }
        assert_gap(&d, 0, 7, 2, 10);
        assert_deps(&d, 0, &VECTOR({3, 1}));
        assert_int_equal(d.out.at[0].send.frame.kind, FRAME_GAP);
        if (from_disk)
            break;
        assert_int_equal(d.out.count, 3);
        assert_int_equal(d.out.at[1].send.frame.push.batch->stream, 3);
        assert_int_equal(d.out.at[2].send.frame.push.batch->first, 11);
    }
    assert_int_equal(d.j.lsn, 4);
    blob_drop(gap);
    close_desk(&d);
}

/* Broken when a page brings a gap of a stream that was retired while it was read. */
static void
a_gap_of_a_stream_that_was_retired_since_is_served(void **state)
{
    (void)state;
    struct desk    d;
    struct writer  w = writer_of(7), part = writer_of(7);
    const uint64_t retired = 7;
    open_with(&d, 1);
    journal_put(&d.j, write_one(&w));
    blob_drop(write_batch(&w, (struct writing){.count = 9}));
    struct batch *gap = gap_batch(&w, 2, &nothing);
    put_gap(&d, again(gap));
    tail_trim(&d.j.tail, 0);
    get_pull(&d, 0, &nothing, CREDIT_BYTES);
    turn(&d);
    uint64_t reader = read_asked(&d)->read.reader;
    expire(&d, &w, &nothing);
    journal_retain(&d.j, &(struct retained){.retired_count = 1, .retired = &retired});
    assert_null(journal_find(&d.j, 7));
    struct batch *page[] = {write_one(&part), again(gap)};
    gossip_on_page(&d.g, reader, page_with(page, 2, 3), d.now);
    turn(&d);
    turn(&d);
    turn(&d);
    keep_nothing(&d);
    gossip_on_page(&d.g, read_asked(&d)->read.reader, page_with(&gap, 1, 3), d.now);
    turn(&d);
    assert_gap(&d, 0, 7, 2, 10);
    close_desk(&d);
}

/* ---- the newest messages of topics ---- */

/* Broken when a newcomer does not learn the newest message of a topic that is older than the
 * log, or learns it before the gap that it lies in. */
static void
kept_messages_go_between_gaps_and_batches(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(7);
    open_with(&d, 1);
    journal_put(&d.j, write_batch(&a, (struct writing){.count = 4}));
    expire(&d, &a, &nothing);
    journal_put(&d.j, write_one(&b));
    get_pull(&d, 0, &VECTOR({3, 1}), 128 + 9 + 3 * (128 + 16 + 2) - 1);
    turn(&d);
    turn(&d);
    assert_gap(&d, 0, 3, 2, 4);
    const struct effect *e = read_asked(&d);
    assert_int_equal(e->read.read.start, READ_KEPT);
    assert_int_equal(e->read.read.lsn, 0);
    assert_false(e->read.read.batches);
    assert_vector(&e->read.read.have, &VECTOR({3, 1})); /* as it was before the gap */
    const struct entry one[] = {
        {.mark = {3, 2}, .lamport = 2, .wall = {7}, .topic = STR("t"), .body = STR("x")},
        {.mark = {3, 3}, .lamport = 3, .wall = {8}, .topic = STR("u"), .body = STR("y")}};
    gossip_on_page(&d.g, e->read.reader, kept_page(one, 2, 3), d.now);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_LATEST), 2);
    const struct frame_latest *f = &sent(&d, 0, FRAME_LATEST, 1)->latest;
    assert_int_equal(f->mark.stream, 3);
    assert_int_equal(f->mark.seq, 3);
    assert_int_equal(f->lamport, 3);
    assert_int_equal(f->wall.ms, 8);
    assert_true(str_eq(f->msg.topic, STR("u")));
    assert_true(str_eq(f->msg.body, STR("y")));
    turn(&d);
    e = read_asked(&d);
    assert_int_equal(e->read.read.start, READ_KEPT);
    assert_int_equal(e->read.read.lsn, 3);
    gossip_on_page(&d.g, e->read.reader, kept_page(one, 2, 0), d.now);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_LATEST), 1); /* credit is over */
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_LATEST), 0);
    gossip_on_credit(&d.g, 0, CREDIT_BYTES);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_LATEST), 1);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    assert_false(d.g.link[0].serving);
    close_desk(&d);
}

/* Broken when what retention takes while kept messages are sent is missing among them. */
static void
kept_messages_begin_anew_with_each_gap(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(7);
    open_with(&d, 1);
    journal_put(&d.j, write_one(&a));
    expire(&d, &a, &nothing);
    journal_put(&d.j, write_one(&b));
    get_pull(&d, 0, &nothing, CREDIT_BYTES);
    turn(&d);
    turn(&d);
    gossip_on_page(&d.g, read_asked(&d)->read.reader, kept_page(NULL, 0, 50), d.now);
    expire(&d, &b, &nothing);
    turn(&d);
    turn(&d);
    assert_gap(&d, 0, 7, 1, 1);
    assert_int_equal(read_asked(&d)->read.read.lsn, 0);
    assert_int_equal(read_asked(&d)->read.read.have.count, 0); /* as it was at first */
    close_desk(&d);
}

/* Broken when who joins after a stream was retired never learns its newest messages, since there
 * is no gap for it; or when that goes out with each pull. */
static void
kept_messages_of_retired_streams_go_once(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(7);
    open_with(&d, 1);
    d.j.retire_ms = 1000;
    journal_put(&d.j, write_one(&b));
    get_pull(&d, 0, &nothing, CREDIT_BYTES);
    turn(&d);
    const struct entry one = {
        .mark = {3, 2}, .lamport = 2, .wall = {7}, .topic = STR("t"), .body = STR("x")};
    assert_int_equal(read_asked(&d)->read.read.start, READ_KEPT);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    gossip_on_page(&d.g, read_asked(&d)->read.reader, kept_page(&one, 1, 0), d.now);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_LATEST, 0)->latest.mark.stream, 3);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    get_pull(&d, 0, &nothing, CREDIT_BYTES);
    turn(&d);
    assert_null(read_asked(&d));
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    close_desk(&d);
}

/* Broken when who joins while all streams are retired never asks; or when others ask for
 * nothing. */
static void
a_joiner_pulls_from_everybody_once(void **state)
{
    (void)state;
    struct desk   d;
    struct writer own = writer_of(7);
    open_with(&d, 2);
    d.j.retire_ms = 1000;
    journal_put(&d.j, write_one(&own)); /* all of one broker, so of itself perhaps */
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL) + count_sent(&d, 1, FRAME_PULL), 0);
    get_heads(&d, 1, HEADS_FULL, 0, 0);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    get_heads(&d, 0, HEADS_FULL, 0, 0);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL) + count_sent(&d, 1, FRAME_PULL), 0);
    close_desk(&d);
}

/* Broken when what retention took between two pages comes neither as messages nor as a gap,
 * since what lies behind it was sent. */
static void
a_hole_in_a_page_is_filled_by_a_gap(void **state)
{
    (void)state;
    struct desk   d;
    struct batch *log[4];
    struct writer w = writer_of(7), at_2 = w;
    open_with(&d, 1);
    for (int i = 0; i < 4; i++) {
        log[i] = write_one(&w);
        journal_put(&d.j, again(log[i]));
        at_2 = i == 1 ? w : at_2;
    }
    tail_trim(&d.j.tail, 0);
    get_pull(&d, 0, &nothing, batch_cost(log[2]));
    turn(&d);
    gossip_on_page(&d.g, read_asked(&d)->read.reader, page_with(log + 2, 2, 5), d.now);
    turn(&d); /* the store has taken 1 and 2; we do not know it yet */
    assert_int_equal(sent(&d, 0, FRAME_PUSH, 0)->push.batch->first, 3);
    expire(&d, &at_2, &nothing);
    gossip_on_credit(&d.g, 0, CREDIT_BYTES);
    turn(&d);
    turn(&d);
    turn(&d);
    assert_gap(&d, 0, 7, 1, 2);
    blob_drop(log[0]);
    blob_drop(log[1]);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_go_before_what_is_left),
        cmocka_unit_test(floors_that_move_while_serving_are_told),
        cmocka_unit_test(gaps_are_under_credit),
        cmocka_unit_test(floors_that_owe_are_not_told_but_named),
        cmocka_unit_test(a_gap_in_the_log_is_served_in_its_place),
        cmocka_unit_test(a_gap_of_a_stream_that_was_retired_since_is_served),
        cmocka_unit_test(kept_messages_begin_anew_with_each_gap),
        cmocka_unit_test(kept_messages_of_retired_streams_go_once),
        cmocka_unit_test(a_joiner_pulls_from_everybody_once),
        cmocka_unit_test(a_hole_in_a_page_is_filled_by_a_gap),
        cmocka_unit_test(kept_messages_go_between_gaps_and_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
