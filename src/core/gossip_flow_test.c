#include "core/gossip.h"

#include "core/page.h"
#include "core/vector.h"
#include "tests/gossip_kit.h"

/* ---- asking ---- */

/* Broken when every push that is a little late costs a PULL, or a lost one is never asked for. */
static void
a_stream_that_lacks_is_pulled_after_150_ms(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7), x = writer_of(9);
    open_with(&d, 1);
    assert_int_equal(get(&d, 0, write_one(&w), 0), ERR_OK);
    commit_all(&d);
    wait_ms(&d, HEADS_SOON_MS);
    turn(&d);
    assert_int_equal(get(&d, 0, write_one(&x), 0), ERR_OK); /* held, not durable yet */
    get_heads(&d, 0, 0, 7, 3);
    assert_int_equal(gossip_lack(&d.g), 2);
    assert_int_equal(gossip_deadline(&d.g).ms, d.now.ms + LACK_MS);
    wait_ms(&d, 100);
    assert_int_equal(get(&d, 0, write_one(&w), 0), ERR_OK); /* progress */
    wait_ms(&d, LACK_MS - 1);
    turn(&d);
    assert_int_equal(d.out.count, 0);
    wait_ms(&d, 1);
    turn(&d);
    const struct frame *f = sent(&d, 0, FRAME_PULL, 0);
    assert_non_null(f);
    assert_vector(&f->pull.have, &VECTOR({7, 2}, {9, 1})); /* what is at our store, too */
    assert_int_equal(f->pull.credit, CREDIT_BYTES);
    wait_ms(&d, PULL_RETRY_MS - 1); /* one is outstanding */
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 0);
    assert_int_equal(get(&d, 0, write_one(&w), PUSH_PULLED), ERR_OK);
    assert_int_equal(gossip_lack(&d.g), 0);
    commit_all(&d);
    wait_ms(&d, 1000);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 0);
    assert_int_equal(d.g.pulls, 1);
    assert_false(d.g.pulling);
    close_desk(&d);
}

/* Broken when a holder that does not answer blocks the way, or all are asked at once. */
static void
the_next_holder_is_asked_after_500_ms(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 4);
    get_heads(&d, 1, 0, 7, 9);
    get_heads(&d, 3, 0, 7, 9);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    assert_int_equal(count_sent(&d, 3, FRAME_PULL), 0);
    wait_ms(&d, 400);
    assert_int_equal(get(&d, 1, write_one(&w), PUSH_PULLED), ERR_OK); /* progress */
    commit_all(&d);
    wait_ms(&d, PULL_RETRY_MS - 1);
    turn(&d);
    assert_int_equal(count_sent(&d, 3, FRAME_PULL), 0);
    assert_int_equal(gossip_deadline(&d.g).ms, d.now.ms + 1);
    wait_ms(&d, 1);
    turn(&d);
    assert_int_equal(count_sent(&d, 3, FRAME_PULL), 1);
    assert_vector(&sent(&d, 3, FRAME_PULL, 0)->pull.have, &VECTOR({7, 1}));
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 0);
    gossip_link_down(&d.g, &d.j, 3, d.now); /* gone: the other one at once */
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    gossip_link_down(&d.g, &d.j, 1, d.now); /* nobody has it now */
    wait_ms(&d, 1000);
    turn(&d);
    assert_int_equal(gossip_lack(&d.g), 0);
    assert_int_equal(d.g.pulls, 3);
    close_desk(&d);
}

/* Broken when a peer that sends as fast as our disk can take is given up for slow. */
static void
a_slow_commit_is_not_the_holders_fault(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    get_heads(&d, 0, 0, 7, 5);
    get_heads(&d, 1, 0, 7, 5);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(d.g.pull_link, 1);
    assert_int_equal(get(&d, 1, write_one(&w), PUSH_PULLED), ERR_OK);
    for (int i = 0; i < 10; i++) {
        wait_ms(&d, 400);
        turn(&d);
    }
    assert_int_equal(d.g.pulls, 1);
    commit_all(&d);
    wait_ms(&d, PULL_RETRY_MS);
    turn(&d);
    assert_int_equal(d.g.pulls, 2);
    close_desk(&d);
}

/* Broken when the own stream, or a frozen one, is asked for: it can never come. */
static void
some_streams_are_never_pulled(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 1);
    assert_non_null(journal_mint(&d.j, 5, STR("me:1")));
    journal_put(&d.j, write_one(&w));
    journal_freeze(&d.j, journal_find(&d.j, 7));
    get_heads(&d, 0, 0, 5, 9);
    get_heads(&d, 0, 0, 7, 9);
    wait_ms(&d, 1000);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 0);
    assert_int_equal(gossip_lack(&d.g), 0);
    close_desk(&d);
}

/* Broken when `latest` delivers what is old news elsewhere. */
static void
heads_of_linked_peers_are_known(void **state)
{
    (void)state;
    struct desk   d;
    struct vector v;
    open_with(&d, 2);
    vector_init(&v);
    get_heads(&d, 0, 0, 7, 4);
    get_heads(&d, 1, 0, 7, 9);
    get_heads(&d, 1, 0, 3, 2);
    gossip_known(&d.j, &v);
    assert_vector(&v, &VECTOR({3, 2}, {7, 9}));
    gossip_link_down(&d.g, &d.j, 1, d.now);
    vector_reset(&v);
    gossip_known(&d.j, &v);
    assert_vector(&v, &VECTOR({7, 4}));
    vector_fini(&v);
    close_desk(&d);
}

/* Broken when peers push to one far behind, which must drop it all, or never push again. */
static void
one_far_behind_says_so_until_it_is_near(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    get_heads(&d, 0, 0, 7, CATCH_UP_ABOVE);
    turn(&d);
    assert_false(d.g.catching_up);
    get_heads(&d, 0, 0, 7, CATCH_UP_ABOVE + 1);
    turn(&d);
    assert_true(d.g.catching_up);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.flags, HEADS_CATCHING_UP);
    assert_int_equal(sent(&d, 1, FRAME_HEADS, 0)->heads.flags, HEADS_CATCHING_UP);
    while (journal_stream(&d.j, 7)->held + 1024 <= CATCH_UP_ABOVE + 1 - CATCH_UP_BELOW)
        assert_int_equal(get(&d, 0, write_batch(&w, (struct writing){.count = 1024}), PUSH_PULLED),
                         ERR_OK);
    assert_int_equal(gossip_lack(&d.g), CATCH_UP_BELOW + 1);
    turn(&d);
    assert_true(d.g.catching_up);
    assert_int_equal(get(&d, 0, write_one(&w), PUSH_PULLED), ERR_OK);
    turn(&d);
    assert_false(d.g.catching_up);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.flags, 0);
    assert_int_equal(sent(&d, 1, FRAME_HEADS, 0)->heads.flags, 0);
    close_desk(&d);
}

/* Broken when credit is granted for what still waits here, twice, or not at all. */
static void
credit_comes_back_as_batches_reach_the_disk(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w     = writer_of(7);
    size_t        costs = 0;
    open_with(&d, 1);
    get_heads(&d, 0, 0, 7, 100);
    wait_ms(&d, LACK_MS);
    turn(&d);
    for (int i = 0; i < 2; i++) {
        struct batch *b = write_batch(&w, (struct writing){.body_n = 700000});
        costs += batch_cost(b);
        assert_int_equal(get(&d, 0, b, PUSH_PULLED), ERR_OK);
    }
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_CREDIT), 0); /* at the store: not yet */
    commit(&d);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_CREDIT), 0); /* too little to mention */
    commit(&d);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_CREDIT, 0)->credit.bytes, costs);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_CREDIT), 0);
    struct batch *pushed = write_batch(&w, (struct writing){.body_n = BATCH_BODY_BYTES_MAX});
    assert_int_equal(get(&d, 0, again(pushed), 0), ERR_OK); /* not pulled: no credit */
    assert_int_equal(get(&d, 0, again(pushed), 0), ERR_OK);
    commit_all(&d);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_CREDIT), 0);
    costs = batch_cost(pushed);
    assert_int_equal(get(&d, 0, pushed, PUSH_PULLED), ERR_OK); /* a duplicate used up credit */
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_CREDIT, 0)->credit.bytes, costs);
    close_desk(&d);
}

/* ---- serving ---- */

static void
get_pull(struct desk *d, uint32_t link, const struct vector *have, uint64_t credit)
{
    gossip_on_pull(&d->g, link, &(struct frame_pull){.have = *have, .credit = credit});
}

static void
assert_pushed(const struct desk *d, uint32_t i, uint64_t stream, uint64_t first)
{
    const struct frame *f = sent(d, 0, FRAME_PUSH, i);
    assert_non_null(f);
    assert_int_equal(f->push.flags, PUSH_PULLED);
    assert_int_equal(f->push.batch->stream, stream);
    assert_int_equal(f->push.batch->first, first);
}

/* Broken when a peer that pulls gets what it has, gets it in another order than ours, or
 * misses something. */
static void
a_pull_is_served_from_memory_in_lsn_order(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(9), b = writer_of(3);
    open_with(&d, 1);
    journal_put(&d.j, write_batch(&a, (struct writing){.count = 2}));
    journal_put(&d.j, write_one(&b));
    journal_put(&d.j, write_one(&a));
    journal_put(&d.j, write_one(&b));
    get_pull(&d, 0, &VECTOR({3, 1}), CREDIT_BYTES);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 3);
    assert_pushed(&d, 0, 9, 1);
    assert_pushed(&d, 1, 9, 3);
    assert_pushed(&d, 2, 3, 2);
    assert_false(d.g.link[0].serving);
    journal_put(&d.j, write_one(&b)); /* it is up to date: live again, not pulled */
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    get_pull(&d, 0, &VECTOR({3, 3}, {9, 3}), CREDIT_BYTES);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    close_desk(&d);
}

/* Broken when a peer is flooded beyond what it said it can take, or starves. */
static void
credit_bounds_what_is_served(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w    = writer_of(7);
    size_t        cost = 0;
    open_with(&d, 1);
    for (int i = 0; i < 20; i++) {
        struct batch *b = write_batch(&w, (struct writing){.body_n = 1000});
        if (i == 1) /* the first one names its origin and costs more */
            cost = batch_cost(b);
        journal_put(&d.j, b);
    }
    get_pull(&d, 0, &VECTOR({7, 1}), 3 * cost);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 3);
    assert_true(gossip_deadline(&d.g).ms > d.now.ms); /* waits, and does not spin */
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    gossip_on_credit(&d.g, 0, 1); /* at most one batch too much */
    assert_int_equal(gossip_deadline(&d.g).ms, 0);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    assert_pushed(&d, 0, 7, 5);
    gossip_on_credit(&d.g, 0, 1); /* ... over all: what was overdrawn is paid back first */
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    gossip_on_credit(&d.g, 0, UINT64_MAX);
    gossip_on_credit(&d.g, 0, UINT64_MAX); /* no wrap-around */
    gossip_on_credit(&d.g, 0, 1);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 15);
    close_desk(&d);
}

/* Broken when a huge credit fills the link's queue. */
static void
the_links_queue_bounds_what_is_served(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 1);
    for (int i = 0; i < 9; i++)
        journal_put(&d.j, write_batch(&w, (struct writing){.body_n = BATCH_BODY_BYTES_MAX}));
    get_pull(&d, 0, &nothing, UINT64_MAX);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 4); /* half of it is for pushes */
    gossip_on_sent(&d.g, 0, 0);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 4);
    gossip_on_sent(&d.g, 0, 0);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    close_desk(&d);
}

/* A log of six batches of one message whose first four are on disk alone. */
static void
open_with_history(struct desk *d, struct batch *log[6])
{
    struct writer w = writer_of(7);
    open_with(d, 2);
    for (int i = 0; i < 6; i++) {
        log[i] = write_one(&w);
        journal_put(&d->j, again(log[i]));
    }
    tail_trim(&d->j.tail, batch_bytes(log[4]) + batch_bytes(log[5]));
    assert_int_equal(d->j.tail.lsn_first, 5);
}

static void
close_with_history(struct desk *d, struct batch *log[6])
{
    for (int i = 0; i < 6; i++)
        blob_drop(log[i]);
    close_desk(d);
}

/* Broken when what is no longer in memory does not reach a peer, or only it does. */
static void
a_pull_is_served_from_disk_and_then_from_memory(void **state)
{
    (void)state;
    struct desk          d;
    struct batch        *log[6];
    const struct effect *e;
    open_with_history(&d, log);
    get_pull(&d, 0, &VECTOR({7, 1}), CREDIT_BYTES);
    turn(&d);
    e = read_asked(&d);
    assert_non_null(e);
    assert_true(e->read.reader & GOSSIP_READER);
    assert_int_equal(e->read.read.start, READ_AT_VECTOR);
    assert_vector(&e->read.read.have, &VECTOR({7, 1}));
    assert_int_equal(e->read.read.lsn_last, 6);
    assert_true(e->read.read.batches);
    uint64_t reader = e->read.reader;
    turn(&d);
    assert_null(read_asked(&d)); /* one at a time */
    struct batch *part[] = {again(log[1]), again(log[2])};
    gossip_on_page(&d.g, reader, page_with(part, 2, 4), d.now);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 2);
    assert_pushed(&d, 0, 7, 2);
    assert_pushed(&d, 1, 7, 3);
    turn(&d);
    e = read_asked(&d);
    assert_non_null(e);
    assert_int_equal(e->read.read.start, READ_AT_LSN);
    assert_int_equal(e->read.read.lsn, 4);
    gossip_on_page(&d.g, e->read.reader, page_with((struct batch *[]){again(log[3])}, 1, 5), d.now);
    turn(&d);
    assert_pushed(&d, 0, 7, 4);
    turn(&d);
    assert_null(read_asked(&d));
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 2);
    assert_pushed(&d, 0, 7, 5);
    assert_pushed(&d, 1, 7, 6);
    assert_false(d.g.link[0].serving);
    close_with_history(&d, log);
}

/* Broken when a page outlives its link, or a failed read is asked for without end. */
static void
pages_that_fail_or_come_late_are_dropped(void **state)
{
    (void)state;
    struct desk   d;
    struct batch *log[6];
    open_with_history(&d, log);
    get_pull(&d, 0, &nothing, CREDIT_BYTES);
    turn(&d);
    gossip_on_page(&d.g, read_asked(&d)->read.reader, NULL, d.now);
    turn(&d);
    assert_null(read_asked(&d)); /* the peer asks the next holder */
    get_pull(&d, 0, &nothing, CREDIT_BYTES);
    turn(&d);
    uint64_t reader = read_asked(&d)->read.reader;
    gossip_link_down(&d.g, &d.j, 0, d.now);
    link_up(&d, 0);
    gossip_on_page(&d.g, reader, page_with((struct batch *[]){again(log[0])}, 1, 2), d.now);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    get_pull(&d, 0, &nothing, 1);
    turn(&d);
    struct batch *two[] = {again(log[0]), again(log[1])};
    gossip_on_page(&d.g, read_asked(&d)->read.reader, page_with(two, 2, 3), d.now);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    gossip_link_down(&d.g, &d.j, 0, d.now); /* in the middle of a page */
    close_with_history(&d, log);
}

/* Broken when the page of an older pull is taken for the answer to a newer one: what lies
 * before it is left out. */
static void
the_page_of_an_older_pull_does_not_serve_a_newer_one(void **state)
{
    (void)state;
    struct desk          d;
    struct batch        *log[6];
    const struct effect *e;
    open_with_history(&d, log);
    get_pull(&d, 0, &VECTOR({7, 2}), CREDIT_BYTES);
    turn(&d);
    uint64_t reader = read_asked(&d)->read.reader;
    get_pull(&d, 0, &nothing, CREDIT_BYTES); /* its disk failed meanwhile */
    turn(&d);
    assert_null(read_asked(&d)); /* one at a time, whatever a peer sends */
    struct batch *two[] = {again(log[2]), again(log[3])};
    gossip_on_page(&d.g, reader, page_with(two, 2, 5), d.now);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    e = read_asked(&d);
    assert_non_null(e);
    assert_int_equal(e->read.read.start, READ_AT_VECTOR);
    assert_int_equal(e->read.read.have.count, 0);
    gossip_on_page(&d.g, e->read.reader, page_with((struct batch *[]){again(log[0])}, 1, 2), d.now);
    turn(&d);
    assert_pushed(&d, 0, 7, 1);
    close_with_history(&d, log);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_that_lacks_is_pulled_after_150_ms),
        cmocka_unit_test(the_next_holder_is_asked_after_500_ms),
        cmocka_unit_test(a_slow_commit_is_not_the_holders_fault),
        cmocka_unit_test(some_streams_are_never_pulled),
        cmocka_unit_test(heads_of_linked_peers_are_known),
        cmocka_unit_test(one_far_behind_says_so_until_it_is_near),
        cmocka_unit_test(credit_comes_back_as_batches_reach_the_disk),
        cmocka_unit_test(a_pull_is_served_from_memory_in_lsn_order),
        cmocka_unit_test(credit_bounds_what_is_served),
        cmocka_unit_test(the_links_queue_bounds_what_is_served),
        cmocka_unit_test(a_pull_is_served_from_disk_and_then_from_memory),
        cmocka_unit_test(pages_that_fail_or_come_late_are_dropped),
        cmocka_unit_test(the_page_of_an_older_pull_does_not_serve_a_newer_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
