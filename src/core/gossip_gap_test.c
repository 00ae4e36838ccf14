/* Of core/gossip.h: gaps that peers offer, and when they are taken. */
#include "tests/gap_kit.h"

/* ---- taking ---- */

/* Broken when a newcomer cannot get over what is gone everywhere, or takes it before all that
 * is offered with it came. */
static void
a_gap_is_taken_when_all_are_quiet(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40);
    open_with(&d, 1);
    get_floor(&d, 0, 7, 40, 41);
    struct frame_gap gap = gap_upto(&w, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    assert_int_equal(get(&d, 0, write_one(&w), PUSH_PULLED), ERR_OK); /* waits behind it */
    wait_ms(&d, OFFER_QUIET_MS - 1);
    turn(&d);
    assert_null(taken(&d, 0));
    assert_int_equal(gossip_deadline(&d.g).ms, d.now.ms + 1);
    wait_ms(&d, 1);
    turn(&d);
    assert_taken(&d, 0, 7, 1, 40);
    assert_true(str_eq(taken(&d, 0)->origin, STR("host:3000")));
    assert_int_equal(held(&d, 7), 41); /* and what waited for it */
    assert_int_equal(d.g.offers.used, 0);
    assert_int_equal(d.g.held_back.used, 0);
    assert_int_equal(d.g.link[0].held_back_bytes, 0);
    commit_all(&d);
    const struct stream *s = journal_find(&d.j, 7);
    assert_int_equal(s->floor, 40);
    assert_int_equal(s->durable, 41);
    assert_int_equal(d.j.lsn, 2);
    close_desk(&d);
}

/* Broken when what a link holds back is miscounted while our disk fails. */
static void
what_is_dropped_with_the_disk_takes_no_room(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40);
    open_with(&d, 1);
    get_floor(&d, 0, 7, 40, 41);
    struct frame_gap gap = gap_upto(&w, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    assert_int_equal(get(&d, 0, write_one(&w), PUSH_PULLED), ERR_OK); /* waits behind it */
    gossip_disk(&d.g, &d.j, false, d.now);
    assert_int_equal(d.g.held_back.used + d.g.offers.used, 0);
    assert_int_equal(d.g.link[0].held_back_bytes, 0);
    close_desk(&d);
}

/* Broken when a peer that sends gaps without end keeps all others from being taken. */
static void
gaps_that_keep_coming_are_judged_all_the_same(void **state)
{
    (void)state;
    struct desk d;
    uint32_t    n = 0;
    open_with(&d, 1);
    for (; n * 40 < OFFER_MAX_MS; n++) {
        struct writer    w   = gone_upto(100 + n, 5);
        struct frame_gap gap = gap_upto(&w, 1, &nothing);
        get_floor(&d, 0, w.stream, 5, 5);
        assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
        turn(&d);
        assert_null(taken(&d, 0));
        wait_ms(&d, 40);
    }
    turn(&d);
    assert_non_null(taken(&d, n - 1));
    close_desk(&d);
}

/* Broken when what one broker has lost is taken for lost, though another one still has it. */
static void
who_has_lost_less_is_pulled_from(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40);
    open_with(&d, 3);
    struct batch *real[] = {write_one(&w), write_one(&w)};
    get_floor(&d, 0, 7, 42, 42);
    get_floor(&d, 1, 7, 41, 42); /* the next in turn */
    get_floor(&d, 2, 7, 40, 42);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 2, FRAME_PULL), 1);
    assert_int_equal(d.g.pulls, 1);
    struct frame_gap far = gap_upto(&w, 1, &nothing); /* from an earlier pull */
    assert_int_equal(get_gap(&d, 0, &far), ERR_OK);
    judge(&d);
    assert_null(taken(&d, 0));
    struct writer    at_40 = gone_upto(7, 40);
    struct frame_gap near  = gap_upto(&at_40, 1, &nothing);
    assert_int_equal(get_gap(&d, 2, &near), ERR_OK);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40);
    assert_int_equal(get(&d, 2, real[0], PUSH_PULLED), ERR_OK);
    assert_int_equal(get(&d, 2, real[1], PUSH_PULLED), ERR_OK);
    assert_int_equal(held(&d, 7), 42);
    wait_ms(&d, OFFER_AGAIN_MS);
    turn(&d);
    assert_int_equal(d.g.offers.used, 0); /* the other one came to nothing */
    commit_all(&d);
    close_desk(&d);
}

/* Broken when one of those that all have what is next is pulled from for ever, since it has lost
 * least of what we have. */
static void
who_has_what_is_next_takes_turns(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    journal_put(&d.j, write_batch(&w, (struct writing){.count = 10}));
    get_floor(&d, 0, 7, 0, 20);
    get_floor(&d, 1, 7, 10, 20);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1); /* the one after link 0 */
    close_desk(&d);
}

/* Broken when two that have lost the same are taken for each other's keeper, since it lies in
 * the middle of their logs, where no floor tells of it; or less is taken than all have lost. */
static void
a_gap_of_another_link_says_that_it_is_lost_there_too(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40), more = gone_upto(7, 42);
    open_with(&d, 2);
    get_floor(&d, 0, 7, 0, 42);
    get_floor(&d, 1, 7, 0, 60);
    struct frame_gap near = gap_upto(&w, 1, &nothing), far = gap_upto(&more, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &near), ERR_OK);
    judge(&d);
    assert_null(taken(&d, 0));
    assert_int_equal(get_gap(&d, 1, &far), ERR_OK);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40); /* the rest may be there */
    assert_int_equal(get_gap(&d, 1, &far), ERR_OK);
    get_floor(&d, 0, 7, 41, 42);
    judge(&d);
    assert_null(taken(&d, 0));
    get_floor(&d, 0, 7, 42, 42);
    wait_ms(&d, OFFER_AGAIN_MS);
    turn(&d);
    assert_taken(&d, 0, 7, 41, 42);
    close_desk(&d);
}

/* Broken when less is taken than everybody has lost: the rest takes another round. */
static void
the_gap_that_reaches_furthest_is_taken(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40), more = gone_upto(7, 42);
    open_with(&d, 2);
    struct frame_gap near = gap_upto(&w, 1, &nothing), far = gap_upto(&more, 1, &nothing);
    for (uint32_t link = 0; link < 2; link++) {
        get_floor(&d, link, 7, 42, 42);
        assert_int_equal(get_gap(&d, link, link == 0 ? &far : &near), ERR_OK);
    }
    judge(&d);
    assert_taken(&d, 0, 7, 1, 42);
    assert_int_equal(d.g.offers.used, 0);
    close_desk(&d);
}

/* Broken when an offer that may not be taken ties us to the peer that made it, while another
 * one could supply. */
static void
an_offer_that_is_blocked_ends_the_pull(void **state)
{
    (void)state;
    struct desk   d;
    struct writer s = gone_upto(7, 40);
    open_with(&d, 2);
    get_floor(&d, 0, 7, 40, 40);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1);
    struct frame_gap gap = gap_upto(&s, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    get_floor(&d, 1, 7, 39, 40);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_null(taken(&d, 0));
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1); /* at once, without 500 ms */
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 0);
    wait_ms(&d, PULL_RETRY_MS);
    turn(&d); /* it says nothing, and nobody else could help */
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    assert_true(gossip_deadline(&d.g).ms > d.now.ms);
    gossip_link_down(&d.g, &d.j, 1, d.now);
    wait_ms(&d, OFFER_AGAIN_MS);
    turn(&d);
    assert_taken(&d, 0, 7, 1, 40); /* now nobody has it */
    close_desk(&d);
}

/* Broken when streams that nobody can go on with now take all the turns. */
static void
each_stream_that_lacks_has_its_turn(void **state)
{
    (void)state;
    struct desk d;
    bool        asked[3] = {false};
    open_with(&d, 3);
    for (uint32_t link = 0; link < 2; link++)
        get_heads(&d, link, 0, 7, 9);
    get_heads(&d, 2, 0, 9, 9);
    wait_ms(&d, LACK_MS);
    for (int i = 0; i < 3; i++) {
        turn(&d);
        asked[d.g.pull_link] = true;
        wait_ms(&d, PULL_RETRY_MS);
    }
    assert_true(asked[2]);
    assert_true(asked[0] || asked[1]);
    close_desk(&d);
}

/* Broken when a stuck holder of one stream keeps us from all others. */
static void
a_holder_that_does_not_answer_does_not_block_other_streams(void **state)
{
    (void)state;
    struct desk d;
    open_with(&d, 2);
    get_heads(&d, 0, 0, 7, 9);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1);
    get_heads(&d, 1, 0, 9, 9);
    wait_ms(&d, PULL_RETRY_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    wait_ms(&d, PULL_RETRY_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1);
    close_desk(&d);
}

/* Broken when a broker takes a gap while one that it is not linked with, or that has not told
 * what it has, may keep what is in it; or waits for such a one for ever. */
static void
members_that_are_not_linked_are_waited_for(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40), v = gone_upto(9, 5);
    open_with(&d, 2);
    get_floor(&d, 0, 7, 40, 40);
    get_heads(&d, 1, 0, 3, 1);
    struct frame_gap gap = gap_upto(&w, 1, &nothing), other = gap_upto(&v, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    judge(&d);
    assert_null(taken(&d, 0)); /* the second link has not told all */
    get_floor(&d, 1, 3, 0, 1);
    d.scattered = true;
    wait_ms(&d, OFFER_WAIT_MS - OFFER_QUIET_MS - OFFER_AGAIN_MS);
    turn(&d);
    assert_null(taken(&d, 0));
    get_floor(&d, 0, 9, 5, 5);
    assert_int_equal(get_gap(&d, 0, &other), ERR_OK);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK); /* said again: it waits since it came first */
    wait_ms(&d, OFFER_AGAIN_MS);
    turn(&d);
    assert_taken(&d, 0, 7, 1, 40);
    assert_null(taken(&d, 1));
    d.scattered = false;
    wait_ms(&d, OFFER_AGAIN_MS);
    turn(&d);
    assert_taken(&d, 0, 9, 1, 5);
    close_desk(&d);
}

/* Broken when a broker gives up who offers gaps that it makes wait itself, and pulls the same
 * from one after the other. */
static void
who_offers_is_not_given_up_while_we_wait(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40);
    open_with(&d, 2);
    get_floor(&d, 0, 7, 40, 60);
    get_floor(&d, 1, 7, 40, 60);
    wait_ms(&d, LACK_MS);
    turn(&d);
    uint32_t         first = d.g.pull_link;
    struct frame_gap gap   = gap_upto(&w, 1, &nothing);
    d.scattered            = true;
    assert_int_equal(get_gap(&d, first, &gap), ERR_OK);
    for (uint32_t ms = 0; ms < 4500; ms += 100) {
        wait_ms(&d, 100);
        turn(&d);
    }
    assert_int_equal(d.g.pulls, 1);
    wait_ms(&d, 600);
    turn(&d);
    assert_taken(&d, 0, 7, 1, 40);
    close_desk(&d);
}

/* Broken when a blocked offer makes us wait for a link that sends nothing else, while others
 * could. */
static void
a_blocked_offer_is_no_reason_for_patience(void **state)
{
    (void)state;
    struct desk   d;
    struct writer s = gone_upto(7, 40);
    open_with(&d, 2);
    const struct head x[] = {{7, 40, 40, 0}, {9, 5, 0, 0}}, y[] = {{7, 40, 39, 0}, {9, 5, 0, 0}};
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){HEADS_FULL, {0}, x, 2}, d.now);
    wait_ms(&d, LACK_MS);
    turn(&d);
    struct frame_gap gap = gap_upto(&s, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    gossip_on_heads(&d.g, &d.j, 1, &(struct frame_heads){HEADS_FULL, {0}, y, 2}, d.now);
    judge(&d);
    assert_int_equal(d.g.pulls, 1); /* it may still send 9 */
    wait_ms(&d, PULL_RETRY_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    close_desk(&d);
}

/* Broken when gaps that our own slow disk holds up are pulled again and again. */
static void
gaps_at_a_slow_store_are_not_asked_for_again(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40);
    open_with(&d, 2);
    get_floor(&d, 0, 7, 40, 60);
    get_floor(&d, 1, 7, 40, 60);
    wait_ms(&d, LACK_MS);
    turn(&d);
    struct frame_gap gap = gap_upto(&w, 1, &nothing);
    assert_int_equal(get_gap(&d, d.g.pull_link, &gap), ERR_OK);
    judge(&d);
    assert_non_null(taken(&d, 0));
    for (int i = 0; i < 20; i++) {
        wait_ms(&d, 100);
        turn(&d);
    }
    assert_int_equal(d.g.pulls, 1);
    commit_all(&d);
    wait_ms(&d, PULL_RETRY_MS);
    turn(&d);
    assert_int_equal(d.g.pulls, 2);
    close_desk(&d);
}

/* Broken when the broker spins while a stream lacks what nobody can go on with now. */
static void
nobody_to_pull_from_is_no_reason_to_wake(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 1);
    get_floor(&d, 0, 7, 0, 1);
    const struct mark dep = {9, 1};
    assert_int_equal(
        get(&d, 0, write_batch(&w, (struct writing){.deps = &dep, .deps_count = 1}), PUSH_PULLED),
        ERR_OK);
    wait_ms(&d, 2 * LACK_MS);
    turn(&d);
    assert_int_equal(d.g.pulls, 0); /* all of it is in hand */
    assert_true(gossip_deadline(&d.g).ms > d.now.ms);
    close_desk(&d);
}

/* ---- what ends an offer ---- */

/* Broken when a gap further on in a stream takes the place of the one that comes first: it is
 * never taken, and the first one never comes again. */
static void
the_gap_that_is_next_stays_offered(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40), far = gone_upto(7, 60);
    open_with(&d, 1);
    get_floor(&d, 0, 7, 40, 60);
    struct frame_gap next = gap_upto(&w, 1, &nothing), later = gap_upto(&far, 50, &nothing);
    assert_int_equal(get_gap(&d, 0, &later), ERR_OK);
    assert_int_equal(get_gap(&d, 0, &next), ERR_OK); /* in its place */
    assert_int_equal(get_gap(&d, 0, &later), ERR_OK);
    assert_int_equal(d.g.offers.used, 1);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when a gap is taken of which the newest messages were still on their way: nobody asks
 * for them again. */
static void
a_gap_waits_for_the_newest_messages_in_it(void **state)
{
    (void)state;
    struct desk               d;
    struct writer             w      = gone_upto(7, 40);
    const struct frame_latest latest = {.mark    = {7, 39},
                                        .lamport = 39,
                                        .wall    = {5},
                                        .msg     = {.topic = STR("a/b"), .body = STR("x")}};
    open_with(&d, 1);
    get_floor(&d, 0, 7, 40, 40);
    struct frame_gap gap = gap_upto(&w, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    wait_ms(&d, OFFER_QUIET_MS - 1);
    assert_int_equal(gossip_on_latest(IN(&d), 0, &latest), ERR_OK);
    commit_all(&d);
    wait_ms(&d, 1);
    turn(&d);
    assert_null(taken(&d, 0)); /* on disk, but another one may follow */
    wait_ms(&d, OFFER_QUIET_MS - 1);
    assert_int_equal(gossip_on_latest(IN(&d), 0, &latest), ERR_OK);
    const struct commit *c = &d.out.at[d.out.count - 1].persist;
    assert_int_equal(c->kind, COMMIT_LATEST);
    assert_int_equal(c->batch->first, 39);
    assert_int_equal(c->batch->lamport_first, 39);
    assert_true(str_eq(c->batch->msg[0].topic, STR("a/b")));
    assert_true(str_eq(c->batch->origin, STR("host:3000")));
    turn(&d);
    assert_null(taken(&d, 0));
    judge(&d);
    assert_null(taken(&d, 0)); /* quiet, but not on disk */
    commit_all(&d);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40);
    commit_all(&d);
    assert_int_equal(d.g.link[0].storing, 0);
    assert_int_equal(d.g.link[0].credit_due,
                     128 + 9 +
                         2 * (128 + 16 + 3 + 1)); /* all count as they did for who sent them */
    close_desk(&d);
}

/* Broken when brokers that were offered the same gaps in another order write other logs than
 * those that can be compared, or owe what they just took. */
static void
gaps_are_taken_in_the_order_of_their_streams(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w[] = {gone_upto(9, 4), gone_upto(8, 6), gone_upto(7, 5)};
    open_with(&d, 1);
    const struct head h[] = {{.stream = 7, .head = 5, .floor = 5},
                             {.stream = 8, .head = 6, .floor = 6},
                             {.stream = 9, .head = 4, .floor = 4}};
    gossip_on_heads(&d.g, &d.j, 0,
                    &(struct frame_heads){.flags = HEADS_FULL, .head = h, .count = 3}, d.now);
    for (int i = 0; i < 3; i++) { /* each owes of the two others, and of one that is not here */
        struct vector    all = VECTOR({3, 2}, {7, 5}, {8, 6}, {9, 4});
        struct frame_gap gap = gap_upto(&w[i], 1, &all);
        struct mark      owed[4];
        gap.deps       = owed;
        gap.deps_count = 0;
        for (uint32_t k = 0; k < all.count; k++)
            if (all.at[k].stream != w[i].stream)
                owed[gap.deps_count++] = all.at[k];
        assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    }
    judge(&d);
    for (uint32_t i = 0; i < 3; i++) {
        assert_taken(&d, i, h[i].stream, 1, h[i].head);
        assert_owed(taken(&d, i), &VECTOR({3, 2}));
    }
    commit_all(&d);
    close_desk(&d);
}

/* Broken when newest messages without end wait for a store that hangs, or for one that fails,
 * or when gaps are taken that lack those that were dropped. */
static void
newest_messages_are_bounded(void **state)
{
    (void)state;
    struct desk               d;
    struct writer             w      = gone_upto(7, 40);
    const struct frame_latest latest = {
        .mark = {7, 39}, .lamport = 39, .msg = {.topic = STR("a"), .body = STR("x")}};
    const struct frame_latest unknown = {
        .mark = {8, 1}, .lamport = 1, .msg = {.topic = STR("b"), .body = STR("y")}};
    open_with(&d, 1);
    get_floor(&d, 0, 7, 40, 40);
    struct frame_gap gap = gap_upto(&w, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    assert_int_equal(gossip_on_latest(IN(&d), 0, &unknown), ERR_OK);
    while (d.c.count < 2 * COMMITS_MAX) {
        assert_int_equal(gossip_on_latest(IN(&d), 0, &latest), ERR_OK);
        clear(&d);
    }
    uint64_t due = d.g.link[0].credit_due;
    assert_int_equal(gossip_on_latest(IN(&d), 0, &latest), ERR_OK);
    assert_int_equal(d.c.count, 2 * COMMITS_MAX);
    assert_true(d.g.link[0].credit_due > due); /* it counts as it did for who sent it */
    commit_all(&d);
    judge(&d);
    assert_null(taken(&d, 0)); /* its gap went with it, and is pulled anew */

    gossip_disk(&d.g, &d.j, false, d.now);
    assert_int_equal(gossip_on_latest(IN(&d), 0, &latest), ERR_OK);
    assert_int_equal(d.c.count, 0);
    close_desk(&d);
}

/* Broken when a link that died half way leaves gaps to be taken without the messages that were
 * to come with them, or keeps memory. */
static void
offers_die_with_their_link_and_with_the_disk(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 40);
    open_with(&d, 1);
    struct frame_gap gap = gap_upto(&w, 1, &nothing);
    for (uint32_t k = 0; k < 2; k++) {
        get_floor(&d, 0, 7, 40, 40);
        assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
        assert_int_equal(get_gap(&d, 0, &gap), ERR_OK); /* in place of the first */
        assert_int_equal(d.g.offers.used, 1);
        assert_true(d.g.link[0].held_back_bytes > 0);
        if (k == 0) {
            gossip_link_down(&d.g, &d.j, 0, d.now);
            assert_int_equal(blob_bytes_used(), d.blobs);
            link_up(&d, 0);
        } else {
            gossip_disk(&d.g, &d.j, false, d.now);
            assert_int_equal(get_gap(&d, 0, &gap), ERR_OK); /* nothing is taken now */
            gossip_disk(&d.g, &d.j, true, d.now);
        }
        assert_int_equal(d.g.offers.used, 0);
        assert_int_equal(d.g.link[0].held_back_bytes, 0);
        wait_ms(&d, 1000);
        turn(&d);
        assert_null(taken(&d, 0));
    }
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1); /* it is asked for again */
    close_desk(&d);
}

/* Broken when a gap is taken that builds on floors which were told before we took the link, so
 * that nobody here knows them: what lies in it would not be owed. */
static void
who_has_not_told_all_offers_nothing(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = gone_upto(7, 3);
    open_with(&d, 1);
    get_heads(&d, 0, 0, 9, 9);
    struct frame_gap gap = gap_upto(&w, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    assert_int_equal(d.g.offers.used, 0);
    get_heads(&d, 0, HEADS_FULL, 9, 9);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    assert_int_equal(d.g.offers.used, 1);
    close_desk(&d);
}

/* Broken when gaps of a peer fill the memory, or tie up the credit that its batches need. */
static void
offers_are_bounded_and_hold_no_credit(void **state)
{
    (void)state;
    struct desk  d;
    struct mark *deps = mem_new(STREAMS_MAX * sizeof *deps);
    size_t       cost = 0;
    open_with(&d, 2);
    get_heads(&d, 0, HEADS_FULL, 3, 1);
    get_heads(&d, 1, 0, 3, 1); /* it has not told all: every gap waits */
    for (uint32_t i = 0; i < 5000; i++)
        deps[i] = (struct mark){100 + i, 1};
    const struct vector many = {.at = deps, .count = 5000};
    for (uint32_t i = 0; i < 300; i++) {
        struct writer    w   = gone_upto(100000 + i, 1);
        struct frame_gap gap = gap_upto(&w, 1, &many);
        cost += 128 + gap.origin.n + 16 * gap.deps_count;
        assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    }
    assert_true(d.g.offers.used > 100 && d.g.offers.used < 300);
    assert_true(d.g.link[0].held_back_bytes <= HELD_BACK_BYTES_MAX);
    assert_true(blob_bytes_used() <= HELD_BACK_BYTES_MAX);
    judge(&d);
    assert_null(taken(&d, 0));
    assert_int_equal(sent(&d, 0, FRAME_CREDIT, 0)->credit.bytes, cost);
    mem_free(deps);
    close_desk(&d);
}

/* Broken when a gap gets into a stream that takes nothing: our own, a frozen or a retired one. */
static void
some_streams_take_no_gaps(void **state)
{
    (void)state;
    struct desk   d;
    struct writer f = writer_of(7), own = gone_upto(5, 9), r = writer_of(3);
    open_with(&d, 1);
    assert_non_null(journal_mint(&d.j, 5, STR("me:1")));
    journal_put(&d.j, write_one(&f));
    journal_freeze(&d.j, journal_find(&d.j, 7));
    journal_put(&d.j, write_one(&r));
    const uint64_t retired = 3;
    journal_retain(&d.j,
                   &(struct retained){.count = 1,
                                      .floor = &(struct stream_floor){.stream = 3, .floor = 1},
                                      .retired_count = 1,
                                      .retired       = &retired});
    assert_non_null(journal_retired(&d.j, 3));
    blob_drop(write_batch(&f, (struct writing){.count = 5}));
    blob_drop(write_batch(&r, (struct writing){.count = 5}));
    const struct writer *all[] = {&f, &own, &r};
    for (int i = 0; i < 3; i++) {
        struct frame_gap gap = gap_upto(all[i], 1, &nothing);
        get_floor(&d, 0, gap.stream, gap.to, gap.to);
        assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
        assert_int_equal(d.g.offers.used, 0);
    }
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_persists(&d), 0);
    assert_null(journal_find(&d.j, 3));
    assert_int_equal(gossip_lack(&d.g), 0);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 0);
    close_desk(&d);
}

/* Broken when a gap joins two branches of a stream: what follows it would be refused at some
 * brokers and stored at others. */
static void
a_gap_of_another_branch_freezes_the_stream(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 1);
    journal_put(&d.j, write_batch(&w, (struct writing){.lamport = 1000}));
    struct writer other = gone_upto(7, 40); /* its stamps are lower */
    get_floor(&d, 0, 7, 40, 40);
    struct frame_gap gap = gap_upto(&other, 2, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    judge(&d);
    assert_null(taken(&d, 0));
    assert_true(journal_find(&d.j, 7)->frozen);
    assert_int_equal(d.out.at[0].persist.kind, COMMIT_FROZEN);
    assert_int_equal(d.g.offers.used, 0);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when nonsense of a peer gets in, or a sound frame ends the link. */
static void
malformed_gaps_and_messages_are_refused(void **state)
{
    (void)state;
    struct desk            d;
    struct writer          w    = gone_upto(7, 40);
    const struct frame_gap good = gap_upto(&w, 1, &nothing);
    open_with(&d, 1);
    for (int i = 0; i < 10; i++) {
        struct frame_gap bad    = good;
        struct mark      deps[] = {{9, 1}, {11, 1}};
        bad.deps                = deps;
        bad.deps_count          = 2;
        if (i == 0)
            bad.stream = 0;
        else if (i == 1)
            bad.from = 0;
        else if (i == 2)
            bad.from = 41;
        else if (i == 3)
            bad.to = UINT64_MAX;
        else if (i == 4)
            bad.stamp = 0;
        else if (i == 5)
            bad.stamp = STAMP_MAX + 1;
        else if (i == 6)
            bad.origin.n = 0;
        else if (i == 7)
            deps[1].stream = 9;
        else if (i == 8)
            deps[0].stream = 7;
        else
            deps[0].seq = 0;
        assert_int_equal(get_gap(&d, 0, &bad), ERR_PROTO);
    }
    static const uint8_t broken[] = {'a', ':', ' ', 0xff, '\n'};
    for (int i = 0; i < 7; i++) {
        struct frame_latest bad = {.mark = {7, 3}, .lamport = 3, .msg = {.topic = STR("t")}};
        if (i == 0)
            bad.msg.topic = STR("a/+");
        else if (i == 1)
            bad.msg.topic = (struct str){0};
        else if (i == 2)
            bad.msg.flags = MSG_DIGEST_ONLY;
        else if (i == 3)
            bad.lamport = STAMP_MAX + 1;
        else if (i == 4)
            bad.mark.seq = 0;
        else if (i == 5)
            bad.msg.headers = (struct str){broken, sizeof broken};
        else
            bad.msg.body.n = BODY_BYTES_MAX + 1;
        assert_int_equal(gossip_on_latest(IN(&d), 0, &bad), ERR_PROTO);
    }
    assert_int_equal(d.g.refused, 17);
    assert_int_equal(d.g.offers.used, 0);
    assert_int_equal(d.c.count, 0);
    assert_int_equal(get_gap(&d, 0, &good), ERR_OK);
    close_desk(&d);
}

/* Broken when a publisher is told of copies where there is only a gap. */
static void
a_gap_is_no_copy(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    journal_put(&d.j, write_batch(&w, (struct writing){.count = 40}));
    get_floor(&d, 0, 7, 0, 40);
    get_floor(&d, 1, 7, 30, 40);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 30}), 2);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 31}), 3);
    gossip_link_down(&d.g, &d.j, 1, d.now); /* what was believed is for that link alone */
    link_up(&d, 1);
    get_floor(&d, 1, 7, 0, 40);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 30}), 3);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_is_taken_when_all_are_quiet),
        cmocka_unit_test(what_is_dropped_with_the_disk_takes_no_room),
        cmocka_unit_test(gaps_that_keep_coming_are_judged_all_the_same),
        cmocka_unit_test(who_has_lost_less_is_pulled_from),
        cmocka_unit_test(who_has_what_is_next_takes_turns),
        cmocka_unit_test(a_gap_of_another_link_says_that_it_is_lost_there_too),
        cmocka_unit_test(the_gap_that_reaches_furthest_is_taken),
        cmocka_unit_test(a_blocked_offer_is_no_reason_for_patience),
        cmocka_unit_test(gaps_at_a_slow_store_are_not_asked_for_again),
        cmocka_unit_test(nobody_to_pull_from_is_no_reason_to_wake),
        cmocka_unit_test(an_offer_that_is_blocked_ends_the_pull),
        cmocka_unit_test(each_stream_that_lacks_has_its_turn),
        cmocka_unit_test(a_holder_that_does_not_answer_does_not_block_other_streams),
        cmocka_unit_test(members_that_are_not_linked_are_waited_for),
        cmocka_unit_test(who_offers_is_not_given_up_while_we_wait),
        cmocka_unit_test(the_gap_that_is_next_stays_offered),
        cmocka_unit_test(a_gap_waits_for_the_newest_messages_in_it),
        cmocka_unit_test(newest_messages_are_bounded),
        cmocka_unit_test(gaps_are_taken_in_the_order_of_their_streams),
        cmocka_unit_test(offers_die_with_their_link_and_with_the_disk),
        cmocka_unit_test(who_has_not_told_all_offers_nothing),
        cmocka_unit_test(offers_are_bounded_and_hold_no_credit),
        cmocka_unit_test(some_streams_take_no_gaps),
        cmocka_unit_test(a_gap_of_another_branch_freezes_the_stream),
        cmocka_unit_test(malformed_gaps_and_messages_are_refused),
        cmocka_unit_test(a_gap_is_no_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
