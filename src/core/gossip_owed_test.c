/* Of core/gossip.h: what gaps that are taken owe, so that no effect comes before its cause. */
#include "tests/gap_kit.h"

/* ---- two that have each lost what the other keeps ---- */

/* X lost s to 100 and t to 50, Y s to 99 and t to 52. */
struct crossed {
    struct writer s, t;
    struct batch *s100, *t51, *t52;
};

static struct crossed
cross(struct desk *d)
{
    struct crossed c = {.s = gone_upto(7, 99), .t = gone_upto(9, 50)};
    open_with(d, 2);
    c.s100                = write_one(&c.s);
    c.t51                 = write_one(&c.t);
    c.t52                 = write_one(&c.t);
    const struct head x[] = {{7, 100, 100, 0}, {9, 52, 50, 0}},
                      y[] = {{7, 100, 99, 0}, {9, 52, 52, 0}};
    gossip_on_heads(&d->g, &d->j, 0, &(struct frame_heads){HEADS_FULL, {0}, x, 2}, d->now);
    gossip_on_heads(&d->g, &d->j, 1, &(struct frame_heads){HEADS_FULL, {0}, y, 2}, d->now);
    return c;
}

static void
x_answers(struct desk *d, struct crossed *c, uint64_t have_s)
{
    struct writer    t50 = gone_upto(9, 50);
    struct frame_gap s = gap_upto(&c->s, have_s + 1, &nothing), t = gap_upto(&t50, 1, &nothing);
    assert_int_equal(get_gap(d, 0, &s), ERR_OK);
    assert_int_equal(get_gap(d, 0, &t), ERR_OK);
    assert_int_equal(get(d, 0, again(c->t51), PUSH_PULLED), ERR_OK);
    assert_int_equal(get(d, 0, again(c->t52), PUSH_PULLED), ERR_OK);
}

static void
y_answers(struct desk *d, struct crossed *c, uint64_t have_t)
{
    struct writer    s99 = gone_upto(7, 99);
    struct frame_gap s   = gap_upto(&s99, 1, &nothing);
    struct frame_gap t   = gap_upto(&c->t, have_t + 1, &nothing);
    assert_int_equal(get_gap(d, 1, &s), ERR_OK);
    if (have_t < 52)
        assert_int_equal(get_gap(d, 1, &t), ERR_OK);
    assert_int_equal(get(d, 1, again(c->s100), PUSH_PULLED), ERR_OK);
}

static void
assert_nothing_lost(struct desk *d, struct crossed *c)
{
    assert_int_equal(held(d, 7), 100);
    assert_int_equal(held(d, 9), 52);
    commit_all(d);
    assert_int_equal(journal_find(&d->j, 7)->floor, 99);
    assert_int_equal(journal_find(&d->j, 9)->floor, 50);
    assert_int_equal(d->j.lsn, 5);
    blob_drop(c->s100);
    blob_drop(c->t51);
    blob_drop(c->t52);
    close_desk(d);
}

/* Broken when two peers that each keep what the other has lost make us lose some of it, or wait
 * for each other for ever; whoever is pulled from first. */
static void
each_supplies_what_the_other_has_lost(void **state)
{
    (void)state;
    struct desk d;
    for (uint32_t first = 0; first < 2; first++) {
        struct crossed c = cross(&d);
        if (first == 0)
            x_answers(&d, &c, 0);
        else
            y_answers(&d, &c, 0);
        judge(&d);
        /* Not what the first one has lost: what both have, in which the other gap's past ends. */
        assert_null(taken(&d, 1));
        assert_owed(taken(&d, 0), first == 0 ? &VECTOR({7, 99}) : &VECTOR({9, 50}));
        if (first == 0)
            y_answers(&d, &c, held(&d, 9));
        else
            x_answers(&d, &c, held(&d, 7));
        judge(&d);
        assert_nothing_lost(&d, &c);
    }
    struct crossed c = cross(&d);
    x_answers(&d, &c, 0);
    y_answers(&d, &c, 0);
    judge(&d); /* both at once */
    assert_owed(taken(&d, 0), &nothing);
    assert_owed(taken(&d, 1), &nothing);
    assert_nothing_lost(&d, &c);
}

/* ---- what is owed ---- */

/* Broken when a message is delivered before one that it may depend on, since what stood
 * between them is gone. */
static void
what_a_gap_owes_holds_back_the_next_batch(void **state)
{
    (void)state;
    struct desk   d;
    struct writer s = gone_upto(7, 40), t = writer_of(9);
    open_with(&d, 2);
    struct batch     *t1  = write_one(&t);
    const struct head x[] = {{7, 41, 40, 0}, {9, 1, 1, 0}}, y[] = {{9, 1, 0, 0}};
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){HEADS_FULL, {0}, x, 2}, d.now);
    gossip_on_heads(&d.g, &d.j, 1, &(struct frame_heads){HEADS_FULL, {0}, y, 1}, d.now);
    struct frame_gap gap = gap_upto(&s, 1, &VECTOR({11, 3}));
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40);
    assert_owed(taken(&d, 0), &VECTOR({9, 1}, {11, 3})); /* X lost t:1, Y has it */
    assert_int_equal(get(&d, 0, write_one(&s), PUSH_PULLED), ERR_OK);
    assert_int_equal(held(&d, 7), 40);
    commit_all(&d);
    struct writer u = gone_upto(11, 2);
    get_floor(&d, 0, 11, 2, 3);
    gap = gap_upto(&u, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    judge(&d);
    assert_owed(taken(&d, 0), &VECTOR({9, 1}));
    assert_int_equal(get(&d, 1, t1, PUSH_PULLED), ERR_OK);
    assert_int_equal(held(&d, 7), 40);
    assert_int_equal(get(&d, 0, write_one(&u), PUSH_PULLED), ERR_OK);
    assert_int_equal(held(&d, 11), 3);
    assert_int_equal(held(&d, 7), 41);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when what we hold, but may pass on out of order, is not named to who gets the gap from
 * us; or what is below our own floor is. */
static void
what_is_owed_is_all_that_is_not_below_our_floors(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), s = gone_upto(7, 40), t = gone_upto(9, 5);
    open_with(&d, 2);
    journal_put(&d.j, write_one(&a)); /* ours, in full */
    const struct head x[] = {{3, 1, 1, 0}, {7, 41, 40, 0}, {9, 5, 5, 0}, {11, 2, 2, 0}};
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){HEADS_FULL, {0}, x, 4}, d.now);
    get_floor(&d, 1, 11, 0, 2);
    struct frame_gap gap_s = gap_upto(&s, 1, &nothing), gap_t = gap_upto(&t, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap_s), ERR_OK);
    assert_int_equal(get_gap(&d, 0, &gap_t), ERR_OK);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40);
    assert_owed(taken(&d, 0), &VECTOR({3, 1}, {11, 2})); /* t is lost here too, with it */
    assert_owed(taken(&d, 1), &VECTOR({3, 1}, {11, 2}));
    commit_all(&d);
    close_desk(&d);
}

/* Broken when the floors of one that has not told all of them say what a gap depends on: its
 * first HEADS were lost with a link that we took later, and what it told since is a part. */
static void
who_has_told_some_floors_is_no_witness(void **state)
{
    (void)state;
    struct desk   d;
    struct writer s = gone_upto(7, 40);
    open_with(&d, 2);
    const struct head x[] = {{7, 41, 40, 0}, {9, 1, 1, 0}}, y[] = {{7, 41, 40, 0}};
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){HEADS_FULL, {0}, x, 2}, d.now);
    gossip_on_heads(&d.g, &d.j, 1, &(struct frame_heads){0, {0}, y, 1}, d.now);
    struct frame_gap gap = gap_upto(&s, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    wait_ms(&d, OFFER_WAIT_MS);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40);
    assert_owed(taken(&d, 0), &VECTOR({9, 1}));
    commit_all(&d);
    close_desk(&d);
}

/* Broken when each of many gaps names all the others: thousands of streams would be millions of
 * marks. */
static void
two_thousand_gaps_are_taken_at_once(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    struct desk  d;
    struct head *head = mem_new(MANY * sizeof *head);
    open_with(&d, 2);
    for (uint32_t i = 0; i < MANY; i++)
        head[i] = (struct head){1000 + i, 4, 4, 0};
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){HEADS_FULL, {0}, head, MANY}, d.now);
    gossip_on_heads(&d.g, &d.j, 1, &(struct frame_heads){HEADS_FULL, {0}, head, MANY}, d.now);
    for (uint32_t i = 0; i < MANY; i++) {
        struct writer    w   = gone_upto(1000 + i, 4);
        struct frame_gap gap = gap_upto(&w, 1, &nothing);
        assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    }
    judge(&d);
    assert_int_equal(count_persists(&d), 1);
    assert_taken(&d, 0, 1000, 1, 4);
    assert_taken(&d, MANY - 1, 1000 + MANY - 1, 1, 4);
    assert_null(taken(&d, MANY));
    for (uint32_t i = 0; i < MANY; i++)
        assert_owed(taken(&d, i), &nothing);
    assert_int_equal(d.g.offers.used, 0);
    commit_all(&d);
    assert_int_equal(d.j.lsn, MANY);
    turn(&d);
    assert_int_equal(gossip_lack(&d.g), 0);
    mem_free(head);
    close_desk(&d);
}

/* Broken when two streams whose gaps owe more of each other than there is wait for each other
 * for ever, though all of both is in hand. */
static void
what_is_in_hand_may_show_that_nothing_is_owed(void **state)
{
    (void)state;
    struct desk   d;
    struct writer s = gone_upto(7, 40), t = gone_upto(9, 30);
    open_with(&d, 2);
    const struct head x[] = {{7, 41, 40, 0}, {9, 50, 50, 0}};
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){HEADS_FULL, {0}, x, 2}, d.now);
    struct frame_gap gap = gap_upto(&s, 1, &nothing);
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    get_floor(&d, 1, 9, 30, 31);
    judge(&d);
    assert_owed(taken(&d, 0), &VECTOR({9, 50}));
    const struct head y[] = {{7, 41, 41, 0}, {9, 31, 30, 0}, {11, 1, 0, 0}};
    gossip_on_heads(&d.g, &d.j, 1, &(struct frame_heads){HEADS_FULL, {0}, y, 3}, d.now);
    gap = gap_upto(&t, 1, &VECTOR({7, 41}));
    gossip_link_down(&d.g, &d.j, 0, d.now);
    assert_int_equal(get_gap(&d, 1, &gap), ERR_OK);
    judge(&d);
    assert_owed(taken(&d, 0), &VECTOR({7, 41}));
    s.lamport = t.lamport = 100;
    const struct mark dep = {11, 1};
    assert_int_equal(get(&d, 1, write_one(&s), PUSH_PULLED), ERR_OK);
    assert_int_equal(held(&d, 7), 40); /* t may still have what is stamped before */
    assert_int_equal(
        get(&d, 1, write_batch(&t, (struct writing){.deps = &dep, .deps_count = 1}), PUSH_PULLED),
        ERR_OK);
    assert_int_equal(held(&d, 7), 41); /* no: its next one is stamped 100 */
    assert_int_equal(held(&d, 9), 30); /* waits for something else */
    struct writer u = writer_of(11);
    assert_int_equal(get(&d, 1, write_one(&u), PUSH_PULLED), ERR_OK);
    assert_int_equal(held(&d, 9), 31);
    assert_int_equal(d.g.held_back.used, 0);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when a publisher is told of copies where there may be only a gap: one that lies behind
 * messages, that no floor tells yet, or that a peer offers. */
static void
a_gap_in_the_log_is_no_copy(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7), other = gone_upto(9, 20);
    open_with(&d, 3);
    journal_put(&d.j, write_batch(&w, (struct writing){.count = 40}));
    const struct head h = {.stream = 7, .head = 40, .gap = 30};
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){HEADS_FULL, {0}, &h, 1}, d.now);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 30}), 1);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 31}), 2);
    gossip_link_down(&d.g, &d.j, 0, d.now);
    link_up(&d, 0);
    get_floor(&d, 0, 7, 0, 40);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 30}), 2);

    struct frame_gap gap = gap_upto(&other, 1, &nothing);
    get_floor(&d, 1, 9, 0, 20);
    assert_int_equal(get_gap(&d, 1, &gap), ERR_OK);
    assert_int_equal(journal_find(&d.j, 9)->known_gap[d.g.link[1].member], 20);
    close_desk(&d);
}

/* Broken when a peer counts what lies in a gap here as a copy: it must be told of it with the
 * very HEADS that tell the head, though the floor of it is not told yet. */
static void
the_end_of_a_gap_is_told_with_the_head(void **state)
{
    (void)state;
    struct desk   d;
    struct writer s = gone_upto(7, 40);
    open_with(&d, 1);
    get_floor(&d, 0, 7, 40, 41);
    struct frame_gap gap = gap_upto(&s, 1, &VECTOR({9, 3}));
    assert_int_equal(get_gap(&d, 0, &gap), ERR_OK);
    wait_ms(&d, OFFER_WAIT_MS);
    judge(&d);
    assert_taken(&d, 0, 7, 1, 40);
    commit_all(&d);
    const struct stream *st = journal_find(&d.j, 7);
    assert_int_equal(st->gap, 40);
    assert_int_equal(st->floor, 40);
    wait_ms(&d, HEADS_IDLE_MS);
    turn(&d);
    const struct frame *f = sent(&d, 0, FRAME_HEADS, 0);
    assert_non_null(f);
    assert_int_equal(f->heads.count, 1);
    assert_int_equal(f->heads.head[0].head, 40);
    assert_int_equal(f->heads.head[0].floor, 0); /* what it owes is not below any floor here */
    assert_int_equal(f->heads.head[0].gap, 40);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_supplies_what_the_other_has_lost),
        cmocka_unit_test(what_a_gap_owes_holds_back_the_next_batch),
        cmocka_unit_test(what_is_owed_is_all_that_is_not_below_our_floors),
        cmocka_unit_test(who_has_told_some_floors_is_no_witness),
        cmocka_unit_test(two_thousand_gaps_are_taken_at_once),
        cmocka_unit_test(what_is_in_hand_may_show_that_nothing_is_owed),
        cmocka_unit_test(a_gap_in_the_log_is_no_copy),
        cmocka_unit_test(the_end_of_a_gap_is_told_with_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
