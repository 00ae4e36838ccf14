#include "core/gossip.h"

#include "core/gossip_part.h"
#include "tests/gossip_kit.h"

enum { A = 7, B = 9, C = 11, D = 13, WAIT = CAUSAL_WAIT_MS };

/* The next batch of w, which needs (stream, seq). */
static struct batch *
write_after(struct writer *w, uint64_t stream, uint64_t seq)
{
    const struct mark dep = {stream, seq};
    return write_batch(w, (struct writing){.deps = &dep, .deps_count = 1});
}

static void
take(struct desk *d, uint32_t link, struct batch *b)
{
    assert_int_equal(get(d, link, b, 0), ERR_OK);
}

static void
turn_at(struct desk *d, uint64_t ms)
{
    d->now = (struct mono){ms};
    turn(d);
}

/* ---- what the last calls handed to the store ---- */

static const struct commit *
stored(const struct desk *d, uint32_t i)
{
    for (uint32_t k = 0; k < d->out.count; k++)
        if (d->out.at[k].kind == EFFECT_PERSIST && i-- == 0)
            return &d->out.at[k].persist;
    fail();
    return NULL;
}

static void
assert_waived(const struct desk *d, uint32_t i, uint64_t stream, uint64_t seq)
{
    const struct commit *c = stored(d, i);
    assert_int_equal(c->kind, COMMIT_WAIVED);
    assert_int_equal(c->mark.stream, stream);
    assert_int_equal(c->mark.seq, seq);
}

static void
assert_stored(const struct desk *d, uint32_t i, uint64_t stream, uint64_t seq, bool late)
{
    const struct commit *c = stored(d, i);
    assert_int_equal(c->kind, COMMIT_BATCH);
    assert_int_equal(c->batch->stream, stream);
    assert_int_equal(batch_last(c->batch), seq);
    assert_int_equal(c->late, late);
}

/* ---- waiving ---- */

/* Broken when a message waits for ever, too short, or each one anew, for what no disk in
 * reach has; or when what comes after all is called late. */
static void
what_nobody_shows_is_waived_once(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(A), b = writer_of(B), c = writer_of(C);
    open_with(&d, 2);
    uint64_t came = d.now.ms;
    take(&d, 0, write_after(&b, A, 1));
    turn_at(&d, came + WAIT - 1);
    assert_int_equal(d.c.count, 0);
    assert_int_equal(wait_deadline(&d.g).ms, came + WAIT);
    assert_true(gossip_deadline(&d.g).ms <= came + WAIT);
    turn_at(&d, came + WAIT);
    assert_int_equal(count_persists(&d), 2);
    assert_waived(&d, 0, A, 1); /* before it: both are on disk, or neither is */
    assert_stored(&d, 1, B, 1, true);
    assert_int_equal(wait_deadline(&d.g).ms, UINT64_MAX);
    commit_all(&d);
    assert_true(tail_at(&d.j.tail, 1)->late);

    clear(&d);
    take(&d, 1, write_after(&c, A, 1)); /* once: it does not wait again */
    take(&d, 0, write_one(&b));         /* all it needs is here */
    take(&d, 0, write_one(&a));         /* nothing came before it */
    take(&d, 0, write_after(&b, A, 1));
    assert_int_equal(count_persists(&d), 4);
    assert_stored(&d, 0, C, 1, true);
    assert_stored(&d, 1, B, 2, false);
    assert_stored(&d, 2, A, 1, false);
    assert_stored(&d, 3, B, 3, false);
    assert_int_equal(d.g.waived, 1);
    assert_int_equal(d.g.late, 1);
    close_desk(&d);
}

/* Broken when a message is late though who has what it waits for is there, when a holder
 * that was there for a moment shortens the wait, or when it waits for one that is gone. */
static void
who_shows_it_stops_the_clock_until_he_is_gone(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 3);
    uint64_t came = d.now.ms;
    take(&d, 0, write_after(&b, A, 5));
    get_heads(&d, 2, 0, A, 4); /* not enough */
    turn_at(&d, came + 6000);
    get_heads(&d, 1, 0, A, 5);
    turn_at(&d, came + WAIT);
    turn_at(&d, came + 10 * WAIT);
    assert_int_equal(d.c.count, 0);
    assert_int_equal(wait_deadline(&d.g).ms, UINT64_MAX);
    gossip_link_down(&d.g, &d.j, 1, d.now);
    turn_at(&d, came + 11 * WAIT - 1);
    assert_int_equal(d.c.count, 0);

    link_up(&d, 1); /* for a moment, between two looks */
    get_heads(&d, 1, 0, A, 9);
    wait_ms(&d, 1);
    gossip_link_down(&d.g, &d.j, 1, d.now);
    turn_at(&d, came + 12 * WAIT - 1);
    assert_int_equal(d.c.count, 0);
    turn_at(&d, came + 12 * WAIT);
    assert_waived(&d, 0, A, 5);
    assert_stored(&d, 1, B, 1, true);
    close_desk(&d);
}

/* Broken when a peer that has a part of it, and whose link comes and goes, holds it up for
 * ever; or when one of two holders that goes starts the clock. */
static void
who_has_less_or_has_company_changes_nothing(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B), c = writer_of(C);
    open_with(&d, 3);
    uint64_t came = d.now.ms;
    get_heads(&d, 1, 0, D, 1);
    get_heads(&d, 2, 0, D, 1);
    take(&d, 0, write_after(&b, A, 5));
    take(&d, 0, write_after(&c, D, 1));
    for (int i = 1; i <= 9; i++) {
        get_heads(&d, 1, 0, A, 4);
        turn_at(&d, came + (uint64_t)i * 1000);
        gossip_link_down(&d.g, &d.j, 1, d.now);
        link_up(&d, 1);
        assert_int_equal(d.c.count, 0);
    }
    turn_at(&d, came + WAIT);
    assert_waived(&d, 0, A, 5);
    assert_stored(&d, 1, B, 1, true);
    turn_at(&d, came + 10 * WAIT); /* link 2 has it */
    assert_int_equal(d.c.count, 2);
    close_desk(&d);
}

/* Broken when a hundred lost messages hold up their answers one after the other. */
static void
many_missing_ones_are_waited_for_together(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 1);
    uint64_t came = d.now.ms;
    for (uint64_t seq = 1; seq <= 100; seq++)
        take(&d, 0, write_after(&b, A, seq));
    const struct mark deps[] = {{A, 101}, {C, 1}, {D, 1}};
    take(&d, 0, write_batch(&b, (struct writing){.deps = deps, .deps_count = 3}));
    wait_ms(&d, 1);
    take(&d, 0, write_after(&b, A, 102)); /* a little later: a little longer */
    turn_at(&d, came + WAIT);
    assert_int_equal(journal_find(&d.j, B)->held, 101);
    assert_int_equal(d.g.waived, 103);
    assert_waived(&d, 200, A, 101);
    assert_waived(&d, 201, C, 1);
    assert_waived(&d, 202, D, 1);
    assert_stored(&d, 203, B, 101, true);
    turn_at(&d, came + WAIT + 1);
    assert_int_equal(journal_find(&d.j, B)->held, 102);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when what is missing behind a batch that waits is waived though its holder was
 * still there a moment ago. */
static void
what_is_missing_behind_is_not_waived_early(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 2);
    uint64_t came = d.now.ms;
    take(&d, 0, write_after(&b, A, 1));
    take(&d, 0, write_after(&b, C, 1));
    get_heads(&d, 1, 0, C, 1);
    turn_at(&d, came + 4000);
    gossip_link_down(&d.g, &d.j, 1, d.now);
    turn_at(&d, came + WAIT);
    assert_int_equal(journal_find(&d.j, B)->held, 1);
    turn_at(&d, came + 4000 + WAIT - 1);
    assert_int_equal(journal_find(&d.j, B)->held, 1);
    turn_at(&d, came + 4000 + WAIT);
    assert_waived(&d, 0, C, 1);
    assert_stored(&d, 1, B, 2, true);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when one that has waited for long waits behind those that came after it. */
static void
the_longest_wait_ends_first(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(A), b = writer_of(B), c = writer_of(C);
    open_with(&d, 2);
    uint64_t          came   = d.now.ms;
    const struct mark deps[] = {{A, 1}, {D, 1}};
    get_heads(&d, 1, 0, A, 1);
    take(&d, 0, write_batch(&b, (struct writing){.deps = deps, .deps_count = 2}));
    turn_at(&d, came + 5000);
    take(&d, 0, write_after(&c, D, 2));
    turn_at(&d, came + 6000);
    take(&d, 1, write_one(&a)); /* now b waits for D, and does so since it came */
    commit_all(&d);
    turn_at(&d, came + WAIT);
    assert_waived(&d, 0, D, 1);
    assert_stored(&d, 1, B, 1, true);
    assert_int_equal(count_persists(&d), 2);
    turn_at(&d, came + WAIT + 5000);
    assert_waived(&d, 0, D, 2);
    assert_stored(&d, 1, C, 1, true);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when another bound does not hold for what waits already. */
static void
another_bound_holds_for_what_waits(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 1);
    uint64_t came = d.now.ms;
    take(&d, 0, write_after(&b, A, 1));
    gossip_set_causal_wait(&d.g, 2 * WAIT);
    turn_at(&d, came + WAIT);
    assert_int_equal(d.g.waived, 0);
    gossip_set_causal_wait(&d.g, WAIT + 500);
    assert_int_equal(gossip_deadline(&d.g).ms, came + WAIT + 500);
    turn_at(&d, came + WAIT + 500);
    assert_int_equal(d.g.waived, 1);
    assert_waived(&d, 0, A, 1);
    assert_stored(&d, 1, B, 1, true);
    commit_all(&d);
    close_desk(&d);
}

/* Broken when a batch that is stored another way meanwhile leaves a waiver behind. */
static void
nobody_waits_no_waiver(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 1);
    take(&d, 0, write_after(&b, A, 1));
    struct batch gap = {.stream = B, .first = 1, .gap_last = 5, .lamport_first = 9};
    journal_hand_over(&d.j, &gap); /* a peer's retention took it */
    wait_ms(&d, WAIT);
    turn(&d);
    assert_int_equal(d.c.count, 0);
    assert_int_equal(d.g.waived, 0);
    assert_int_equal(d.g.held_back.used, 0);
    journal_roll_back(&d.j);

    b = writer_of(B);
    take(&d, 0, write_after(&b, A, 1)); /* its link is gone, and it with it */
    gossip_link_down(&d.g, &d.j, 0, d.now);
    assert_int_equal(wait_deadline(&d.g).ms, UINT64_MAX);
    close_desk(&d);
}

/* Broken when a waiver that is not on disk counts there: after a restart all would wait
 * again, and messages lie behind what no waiver explains. */
static void
a_waiver_counts_from_the_disk_on(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B), c = writer_of(C), e = writer_of(D);
    open_with(&d, 1);
    struct batch *first = write_after(&b, A, 1);
    take(&d, 0, again(first));
    wait_ms(&d, WAIT);
    turn(&d);
    assert_int_equal(d.c.count, 2);
    while (d.c.count > 0) /* the disk takes neither */
        blob_drop(commits_take(&d.c, d.commit_next++).batch);
    journal_roll_back(&d.j);
    gossip_disk(&d.g, &d.j, false, d.now);
    gossip_disk(&d.g, &d.j, true, d.now);
    clear(&d);
    take(&d, 0, first);
    take(&d, 0, write_after(&c, A, 1));
    assert_int_equal(d.c.count, 0);
    wait_ms(&d, WAIT);
    turn(&d);
    assert_int_equal(d.c.count, 3);
    commit_all(&d);
    journal_roll_back(&d.j);
    clear(&d);
    take(&d, 0, write_after(&e, A, 1));
    assert_stored(&d, 0, D, 1, true);
    close_desk(&d);
}

/* Broken when a restart waits again for what was given up before it. */
static void
a_waiver_outlives_a_restart(void **state)
{
    (void)state;
    struct desk               d;
    struct writer             a = writer_of(A), b = writer_of(B), c = writer_of(C);
    const struct stream_state was  = {.stream = A, .waived = 3};
    const struct recovered    disk = {.stream = &was, .stream_count = 1};
    open_desk(&d);
    journal_fini(&d.j);
    journal_init(&d.j, &disk, 1 << 20);
    link_up(&d, 0);
    turn(&d);
    take(&d, 0, write_after(&b, A, 3));
    take(&d, 0, write_after(&c, A, 4)); /* that was never given up */
    take(&d, 0, write_one(&a));
    assert_int_equal(count_persists(&d), 2);
    assert_stored(&d, 0, B, 1, true);
    assert_stored(&d, 1, A, 1, false);
    commit_all(&d);
    assert_int_equal(d.j.durable.count, 2);
    close_desk(&d);
}

/* Broken when a process that slept has no ear for those who have what it waits for. */
static void
sleep_is_no_wait(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B), c = writer_of(C);
    open_with(&d, 2);
    take(&d, 0, write_after(&b, A, 1));
    wait_ms(&d, 4000);
    take(&d, 0, write_after(&c, D, 1));
    wait_ms(&d, 60000);
    gossip_stalled(&d.g, d.now);
    wait_ms(&d, WAIT - 1);
    turn(&d);
    assert_int_equal(d.c.count, 0);
    wait_ms(&d, 1);
    turn(&d);
    assert_int_equal(d.c.count, 4);
    close_desk(&d);
}

/* ---- at once ---- */

/* Broken when messages wait for more of a stream of which nothing more is taken. */
static void
a_stream_that_freezes_frees_who_waits_for_it(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(A), fork = writer_of(A), b = writer_of(B), c = writer_of(C);
    open_with(&d, 2);
    fork.lamport = 77;
    take(&d, 0, write_one(&a));
    get_heads(&d, 1, 0, A, 9);
    take(&d, 0, write_after(&b, A, 2));
    blob_drop(write_one(&a));
    take(&d, 0, write_after(&a, B, 7)); /* of A itself, behind a hole */
    commit_all(&d);
    clear(&d);
    take(&d, 1, write_one(&fork));
    assert_int_equal(stored(&d, 0)->kind, COMMIT_FROZEN);
    assert_stored(&d, 1, B, 1, true);
    assert_int_equal(d.g.held_back.used, 0);
    clear(&d);
    take(&d, 0, write_after(&c, A, 5));
    assert_stored(&d, 0, C, 1, true);
    assert_int_equal(d.g.waived, 0); /* the mark of the freeze is enough */
    close_desk(&d);
}

/* Broken when messages wait for ever for a stream that there is no room for. */
static void
a_stream_without_room_holds_nobody_up(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B), c = writer_of(C);
    open_with(&d, 1);
    for (uint64_t id = 0; journal_find(&d.j, B) == NULL || id < STREAMS_MAX - 2; id++)
        assert_non_null(journal_stream(&d.j, id == 0 ? B : 1000 + id));
    take(&d, 0, write_after(&b, A, 1)); /* one more fits: A waits in it */
    assert_int_equal(d.c.count, 0);
    assert_non_null(journal_find(&d.j, A));
    assert_non_null(journal_stream(&d.j, C));
    take(&d, 0, write_after(&c, D, 1));
    assert_int_equal(count_persists(&d), 1);
    assert_stored(&d, 0, C, 1, true);
    close_desk(&d);
}

/* ---- behind a hole ---- */

/* Broken when what lies behind a hole that nobody can fill fills our memory for ever, or
 * never comes again though somebody can. */
static void
behind_a_hole_batches_are_dropped_in_the_end(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 2);
    struct batch *one  = write_one(&b);
    struct batch *two  = write_batch(&b, (struct writing){.body_n = BATCH_BODY_BYTES_MAX});
    uint64_t      came = d.now.ms;
    assert_int_equal(get(&d, 0, again(two), PUSH_PULLED), ERR_OK);
    wait_ms(&d, 500);
    take(&d, 0, write_one(&b));
    turn_at(&d, came + WAIT - 1);
    assert_int_equal(d.g.held_back.used, 2);
    turn_at(&d, came + WAIT);
    assert_int_equal(d.g.held_back.used, 1);
    turn_at(&d, came + WAIT + 500);
    assert_int_equal(d.g.held_back.used, 0);
    assert_int_equal(d.g.link[0].held_back_bytes, 0);
    assert_int_equal(d.g.link[0].credit_due, 0); /* it was granted at the turn */
    assert_int_equal(d.g.holes, 2);
    assert_int_equal(d.c.count, 0);
    assert_int_equal(journal_find(&d.j, B)->waived, 0);

    get_heads(&d, 1, 0, B, 2);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    assert_int_equal(get(&d, 1, two, PUSH_PULLED), ERR_OK);
    wait_ms(&d, 10 * WAIT); /* somebody has what is missing */
    turn(&d);
    assert_int_equal(d.g.held_back.used, 1);
    assert_int_equal(get(&d, 1, one, PUSH_PULLED), ERR_OK);
    assert_int_equal(d.c.count, 2);
    close_desk(&d);
}

/* Broken when one that came out of order keeps those behind it from being seen. */
static void
all_that_wait_are_found_in_any_order(void **state)
{
    (void)state;
    enum { MANY = 6 };
    static const int order[MANY] = {4, 2, 6, 3, 5, 1};
    struct desk      d;
    struct writer    a = writer_of(A), b = writer_of(B);
    struct batch    *batch[MANY + 1], *other[MANY + 1];
    open_with(&d, 1);
    for (uint64_t i = 1; i <= MANY; i++) {
        struct writer w = writer_of(100 + i);
        batch[i]        = write_one(&a);
        other[i]        = write_after(&w, A, i);
    }
    for (int i = 0; i < MANY; i++)
        take(&d, 0, other[order[i]]);
    for (int i = 0; i < MANY; i++)
        take(&d, 0, batch[order[i]]);
    assert_int_equal(d.g.held_back.used, 0);
    assert_int_equal(d.c.count, 2 * MANY);
    commit_all(&d);
    take(&d, 0, write_after(&b, A, MANY));
    assert_int_equal(d.c.count, 1);
    close_desk(&d);
}

/* Broken when what is in hand already is asked for again and again while it waits, or is not
 * asked for when it is gone. */
static void
what_is_in_hand_is_not_pulled(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B), c = writer_of(C);
    open_with(&d, 2);
    struct batch *one = write_after(&b, A, 1), *two = write_one(&b);
    get_heads(&d, 0, 0, B, 2);
    get_heads(&d, 1, 0, B, 3);
    take(&d, 0, one);
    take(&d, 0, two);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1); /* who has more than that */
    assert_vector(&sent(&d, 1, FRAME_PULL, 0)->pull.have, &VECTOR({B, 2}));
    take(&d, 0, write_one(&b)); /* all that link 1 has: the pull is over */
    turn(&d);
    get_heads(&d, 1, 0, C, 1);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_vector(&sent(&d, 1, FRAME_PULL, 0)->pull.have, &VECTOR({B, 3}));
    assert_int_equal(get(&d, 1, write_one(&c), PUSH_PULLED), ERR_OK);
    assert_int_equal(gossip_lack(&d.g), 3); /* in hand is not held */
    for (int i = 0; i < 8; i++) {
        wait_ms(&d, 1000);
        turn(&d);
        assert_true(gossip_deadline(&d.g).ms > d.now.ms);
    }
    assert_int_equal(d.g.pulls, 2);
    commit_all(&d);
    gossip_link_down(&d.g, &d.j, 0, d.now); /* all of it goes */
    wait_ms(&d, PULL_RETRY_MS);
    turn(&d);
    assert_vector(&sent(&d, 1, FRAME_PULL, 0)->pull.have, &VECTOR({C, 1}));
    close_desk(&d);
}

/* Broken when two batches that wait for more of each other's streams are kept, though all of
 * it is gone everywhere else: gaps could come for both, and are never asked for. */
static void
what_is_in_hand_and_gone_is_pulled(void **state)
{
    (void)state;
    struct desk       d;
    struct writer     a = writer_of(A), b = writer_of(B);
    const struct head gone[] = {{.stream = A, .head = 1, .floor = 1},
                                {.stream = B, .head = 1, .floor = 1}};
    open_with(&d, 1);
    get_heads(&d, 0, 0, A, 1);
    get_heads(&d, 0, 0, B, 1);
    take(&d, 0, write_after(&a, B, 1));
    take(&d, 0, write_after(&b, A, 1));
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 0);
    gossip_on_heads(&d.g, &d.j, 0, &(struct frame_heads){.head = gone, .count = 2}, d.now);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1);
    assert_int_equal(sent(&d, 0, FRAME_PULL, 0)->pull.have.count, 0);
    close_desk(&d);
}

/* Broken when a batch is dropped behind one that only waits for something else, or is kept
 * for ever when that one is dropped. */
static void
what_is_in_hand_is_no_hole(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 3);
    uint64_t came = d.now.ms;
    get_heads(&d, 2, 0, A, 1);
    take(&d, 0, write_after(&b, A, 1));
    take(&d, 1, write_one(&b));
    take(&d, 1, write_one(&b));
    turn_at(&d, came + WAIT);
    assert_int_equal(d.g.held_back.used, 3);
    turn_at(&d, came + 2 * WAIT);
    gossip_link_down(&d.g, &d.j, 0, d.now); /* and with it the first */
    turn_at(&d, came + 3 * WAIT - 1);
    assert_int_equal(d.g.held_back.used, 2);
    turn_at(&d, came + 3 * WAIT);
    assert_int_equal(d.g.held_back.used, 0);
    assert_int_equal(d.c.count, 0);
    close_desk(&d);
}

/* Broken when a disk that failed leaves the belief behind that something is in hand. */
static void
a_failed_disk_empties_the_hand(void **state)
{
    (void)state;
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 1);
    get_heads(&d, 0, 0, B, 2);
    take(&d, 0, write_after(&b, A, 1));
    take(&d, 0, write_one(&b));
    wait_ms(&d, WAIT);
    turn(&d);
    assert_int_equal(d.c.count, 3);
    while (d.c.count > 0)
        blob_drop(commits_take(&d.c, d.commit_next++).batch);
    journal_roll_back(&d.j);
    gossip_disk(&d.g, &d.j, false, d.now);
    gossip_disk(&d.g, &d.j, true, d.now);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1);
    assert_int_equal(sent(&d, 0, FRAME_PULL, 0)->pull.have.count, 0);
    close_desk(&d);
}

/* Broken when many that give up at once hold up everything else. */
static void
a_turn_does_a_bounded_piece_of_work(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    struct desk   d;
    struct writer b = writer_of(B);
    open_with(&d, 1);
    blob_drop(write_one(&b));
    for (int i = 0; i < MANY; i++)
        take(&d, 0, write_one(&b));
    uint64_t before, turns = 0;
    wait_ms(&d, WAIT);
    do {
        assert_true(gossip_deadline(&d.g).ms <= d.now.ms);
        before = d.g.held_back.used;
        turn(&d);
        assert_true(before - d.g.held_back.used <= 1024);
        turns++;
    } while (d.g.held_back.used > 0);
    assert_int_equal(turns, 3);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_shows_is_waived_once),
        cmocka_unit_test(who_shows_it_stops_the_clock_until_he_is_gone),
        cmocka_unit_test(who_has_less_or_has_company_changes_nothing),
        cmocka_unit_test(many_missing_ones_are_waited_for_together),
        cmocka_unit_test(what_is_missing_behind_is_not_waived_early),
        cmocka_unit_test(the_longest_wait_ends_first),
        cmocka_unit_test(another_bound_holds_for_what_waits),
        cmocka_unit_test(nobody_waits_no_waiver),
        cmocka_unit_test(a_waiver_counts_from_the_disk_on),
        cmocka_unit_test(a_waiver_outlives_a_restart),
        cmocka_unit_test(sleep_is_no_wait),
        cmocka_unit_test(a_stream_that_freezes_frees_who_waits_for_it),
        cmocka_unit_test(a_stream_without_room_holds_nobody_up),
        cmocka_unit_test(behind_a_hole_batches_are_dropped_in_the_end),
        cmocka_unit_test(all_that_wait_are_found_in_any_order),
        cmocka_unit_test(what_is_in_hand_is_not_pulled),
        cmocka_unit_test(what_is_in_hand_and_gone_is_pulled),
        cmocka_unit_test(what_is_in_hand_is_no_hole),
        cmocka_unit_test(a_failed_disk_empties_the_hand),
        cmocka_unit_test(a_turn_does_a_bounded_piece_of_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
