#include "core/await.h"

#include "core/vector.h"
#include "tests/core_kit.h"

/* Five members; ourselves and links to `links` of them. */
struct desk {
    struct awaits  a;
    struct journal j;
    struct gossip  g;
    struct roster  r;
    struct out     out;
    struct mono    now;
    struct writer  seven; /* of stream 7 */
};

static void
open_desk(struct desk *d, uint32_t links)
{
    struct addr self = {.family = 4, .ip = {127, 0, 0, 1}, .port = 3000};
    d->now           = (struct mono){1000};
    awaits_init(&d->a, 1);
    journal_init(&d->j, NULL, 1 << 20);
    gossip_init(&d->g);
    out_init(&d->out);
    roster_init(&d->r, &(struct roster_config){.self = self, .host = STR("h"), .nonce = 9}, d->now);
    for (uint16_t i = 1; i < 5; i++) {
        self.port = (uint16_t)(3000 + i);
        assert_int_equal(roster_seed(&d->r, d->now, &self, STR("h")), ERR_OK);
        if (i <= links)
            gossip_link_up(&d->g, &d->j, i, i, d->now);
    }
    d->seven = writer_of(7);
    journal_put(&d->j, write_batch(&d->seven, (struct writing){.count = 3}));
}

static void
close_desk(struct desk *d)
{
    awaits_fini(&d->a);
    gossip_fini(&d->g);
    journal_fini(&d->j);
    out_fini(&d->out);
    assert_int_equal(blob_bytes_used(), 0);
}

static uint64_t
wait_for(struct desk *d, enum await_kind kind, struct mark m, int copies, uint64_t ms)
{
    uint64_t    handle = 0;
    struct mark one[1] = {m};
    struct fact f      = {.kind  = FACT_AWAIT,
                          .await = {.kind     = kind,
                                    .vector   = {one, 1, 1},
                                    .mark     = m,
                                    .copies   = copies,
                                    .deadline = mono_after(d->now, ms),
                                    .ref      = m.seq * 100 + (uint64_t)(copies + 10)}};
    out_reset(&d->out);
    assert_int_equal(awaits_add(&d->a, &d->j, &d->out, &f, &handle), ERR_OK);
    return handle;
}

static uint32_t
check(struct desk *d)
{
    const struct await_view view = {&d->j, &d->g, &d->r};
    out_reset(&d->out);
    awaits_check(&d->a, &view, &d->out, d->now);
    return d->out.count;
}

static void
assert_awaited(const struct desk *d, uint64_t ref, bool reached, uint32_t copies)
{
    assert_int_equal(d->out.count, 1);
    assert_int_equal(d->out.at[0].kind, EFFECT_AWAITED);
    assert_int_equal(d->out.at[0].awaited.ref, ref);
    assert_int_equal(d->out.at[0].awaited.reached, reached);
    assert_int_equal(d->out.at[0].awaited.copies, copies);
}

static void
heads(struct desk *d, uint32_t link, uint64_t seq)
{
    const struct head h = {.stream = 7, .head = seq};
    gossip_on_heads(&d->g, &d->j, link, &(struct frame_heads){.head = &h, .count = 1}, d->now);
}

/* Broken when acks=N is answered with fewer than N disks, or waits for one too many. */
static void
copies_count_disks(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 4);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 3}, 1, 1000);
    assert_int_equal(check(&d), 1); /* our own disk */
    assert_awaited(&d, 311, true, 1);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 3}, 2, 1000);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 2}, COPIES_MAJORITY, 1000);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 1}, COPIES_ALL, 1000);
    assert_int_equal(check(&d), 0);
    heads(&d, 1, 2);
    assert_int_equal(check(&d), 0); /* two have 7-2: not three of five; 7-3 is ours alone */
    heads(&d, 2, 2);
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 209, true, 3);
    heads(&d, 3, 1);
    assert_int_equal(check(&d), 0);
    heads(&d, 4, 1);
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 108, true, 5);
    heads(&d, 4, 3);
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 312, true, 2);
    assert_int_equal(check(&d), 0); /* each is answered once */
    close_desk(&d);
}

/* Broken when `covered` answers before this broker has what the cursor has seen. */
static void
covered_waits_for_the_disk(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(9);
    open_desk(&d, 0);
    wait_for(&d, AWAIT_COVERED, (struct mark){7, 3}, 0, 1000);
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 310, true, 0);
    wait_for(&d, AWAIT_COVERED, (struct mark){9, 1}, 0, 1000);
    struct batch *b = write_one(&w);
    journal_stream(&d.j, 9);
    journal_hand_over(&d.j, b);
    assert_int_equal(check(&d), 0); /* at the store is not on disk */
    journal_persist(&d.j, b, 4, false);
    blob_drop(b);
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 110, true, 0);
    close_desk(&d);
}

/* Broken when a cursor that still has a mark of a retired stream waits in vain: whatever seq it
 * names, nothing of it will come. */
static void
what_is_retired_is_covered(void **state)
{
    (void)state;
    struct desk               d;
    const struct stream_floor floor = {.stream = 7, .floor = 3};
    open_desk(&d, 0);
    wait_for(&d, AWAIT_COVERED, (struct mark){7, 4}, 0, 1000);
    assert_int_equal(check(&d), 0);
    journal_retain(&d.j, &(struct retained){.lsn_first     = 4,
                                            .floor         = &floor,
                                            .count         = 1,
                                            .retired       = &floor.stream,
                                            .retired_count = 1});
    assert_int_equal(d.j.durable.count, 0);
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 410, true, 0);
    wait_for(&d, AWAIT_COVERED, (struct mark){8, 1}, 0, 1000); /* another one */
    assert_int_equal(check(&d), 0);
    close_desk(&d);
}

/* A publish after these marks: 'w' when it waits, else the answer that came at once. */
static char
after(struct desk *d, struct mark *m, uint32_t count)
{
    uint64_t    handle;
    struct fact f = {.kind  = FACT_AWAIT,
                     .await = {.kind     = AWAIT_AFTER,
                               .vector   = {m, count, count},
                               .deadline = mono_after(d->now, 1000),
                               .ref      = 1}};
    out_reset(&d->out);
    assert_int_equal(awaits_add(&d->a, &d->j, &d->out, &f, &handle), ERR_OK);
    if (d->out.count == 0)
        return 'w';
    assert_int_equal(d->out.at[0].awaited.ref, 1);
    return d->out.at[0].awaited.reached ? 'y' : 'n';
}

static char
after_one(struct desk *d, uint64_t stream, uint64_t seq)
{
    return after(d, &(struct mark){stream, seq}, 1);
}

/* Waits until all that wait are answered. */
static void
miss(struct desk *d)
{
    uint32_t waiting = d->a.pool.used;
    d->now.ms += 1000;
    assert_int_equal(check(d), waiting);
    for (uint32_t i = 0; i < waiting; i++)
        assert_false(d->out.at[i].awaited.reached);
}

/* Broken when a client that came from a broker that is gone publishes once a second; or when
 * what is on its way is not waited for since something else was missed. */
static void
what_was_missed_is_not_waited_for_again(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w     = writer_of(9);
    struct mark   two[] = {{7, 4}, {9, 1}};
    open_desk(&d, 2);
    assert_int_equal(after_one(&d, 7, 3), 'y');
    assert_int_equal(after_one(&d, 7, 5), 'w');
    assert_int_equal(after_one(&d, 7, 5), 'w'); /* they wait together */
    miss(&d);
    assert_int_equal(after_one(&d, 7, 5), 'n');
    assert_int_equal(after_one(&d, 7, 4), 'n'); /* nothing of it came since, so neither will that */
    assert_int_equal(after_one(&d, 7, 9), 'n');
    assert_int_equal(after_one(&d, 7, 3), 'y');
    wait_for(&d, AWAIT_COVERED, (struct mark){7, 5}, 0, 100); /* who asks to wait, waits */
    assert_int_equal(d.out.count, 0);

    /* With something that may come it waits for that, and says that this is not all. */
    assert_int_equal(after(&d, two, 2), 'w');
    journal_put(&d.j, write_one(&w));
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 1, false, 0);
    d.now.ms += 100;
    assert_int_equal(check(&d), 1); /* the one that asked */

    /* It is shown now, so it is on its way; and so is the rest when some of it came. */
    heads(&d, 1, 4);
    assert_int_equal(after_one(&d, 7, 4), 'w');
    miss(&d);
    assert_int_equal(after_one(&d, 7, 4), 'n'); /* but slow */
    heads(&d, 1, 6);
    assert_int_equal(after_one(&d, 7, 4), 'n');
    assert_int_equal(after_one(&d, 7, 5), 'w');
    miss(&d);
    journal_put(&d.j, write_batch(&d.seven, (struct writing){.count = 1}));
    assert_int_equal(after_one(&d, 7, 4), 'y');
    assert_int_equal(after_one(&d, 7, 5), 'n'); /* shown, and waited for */
    assert_int_equal(after_one(&d, 7, 6), 'w');
    miss(&d);
    misses_forget(&d.a.misses);
    assert_int_equal(after_one(&d, 7, 5), 'w');
    close_desk(&d);
}

/* Broken when a client that was shown some of a stream that nobody shows more of is not waited
 * for although that stream goes on. */
static void
a_stream_that_goes_on_is_waited_for(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1);
    assert_int_equal(after_one(&d, 7, 5), 'w');
    miss(&d);
    assert_int_equal(after_one(&d, 7, 5), 'n');
    journal_put(&d.j, write_batch(&d.seven, (struct writing){.count = 1}));
    assert_int_equal(after_one(&d, 7, 5), 'w');
    close_desk(&d);
}

/* Broken when cursors with ever new streams take memory without end. */
static void
misses_are_limited(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1);
    for (uint64_t i = 0; i < MISSED_MAX; i++)
        misses_note(&d.a.misses, &d.j, (struct mark){1000 + i, 1});
    assert_int_equal(after_one(&d, 1000, 1), 'n');
    assert_int_equal(after_one(&d, 1000 + MISSED_MAX - 1, 1), 'n');
    misses_note(&d.a.misses, &d.j, (struct mark){1000, 2}); /* no new one */
    assert_int_equal(after_one(&d, 1001, 1), 'n');
    misses_note(&d.a.misses, &d.j, (struct mark){999, 1});
    assert_int_equal(d.a.misses.pool.used, 1);
    assert_int_equal(after_one(&d, 999, 1), 'n');
    assert_int_equal(after_one(&d, 1001, 1), 'w');
    close_desk(&d);
}

/* Broken when a request hangs beyond its time, or one that left is answered. */
static void
each_ends_by_its_deadline_or_is_dropped(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1);
    assert_int_equal(d.a.deadline.ms, MONO_NEVER.ms);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 3}, 4, 500);
    uint64_t left = wait_for(&d, AWAIT_COPIES, (struct mark){7, 3}, 5, 200);
    wait_for(&d, AWAIT_COVERED, (struct mark){7, 4}, 0, 900);
    assert_int_equal(d.a.deadline.ms, 1200);
    awaits_drop(&d.a, left);
    awaits_drop(&d.a, left); /* twice is harmless */
    d.now.ms = 1499;
    assert_int_equal(check(&d), 0);
    assert_int_equal(d.a.deadline.ms, 1500);
    d.now.ms = 1500;
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 314, false, 1);
    assert_int_equal(d.a.deadline.ms, 1900);
    d.now.ms = 5000;
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 410, false, 0);
    check(&d);
    assert_int_equal(d.a.pool.used, 0);
    close_desk(&d);
}

/* Broken when a broker that stops leaves without a word those who wait for copies of what it has
 * stored. */
static void
who_stops_answers_those_that_wait_for_copies(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 3}, 4, 9000);
    wait_for(&d, AWAIT_COVERED, (struct mark){7, 4}, 0, 9000);
    awaits_hurry(&d.a, mono_after(d.now, 500));
    assert_int_equal(d.a.deadline.ms, 1500);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 3}, 5, 9000);
    wait_for(&d, AWAIT_COPIES, (struct mark){7, 3}, 6, 200);
    d.now.ms = 1200;
    assert_int_equal(check(&d), 1);
    assert_awaited(&d, 316, false, 1);
    d.now.ms = 1500;
    assert_int_equal(check(&d), 2);
    assert_int_equal(d.a.deadline.ms, 10000);
    close_desk(&d);
}

/* Broken when requests that wait take memory without end. */
static void
waiting_is_limited(void **state)
{
    (void)state;
    struct desk d;
    uint64_t    handle;
    open_desk(&d, 0);
    for (int i = 0; i < AWAITS_MAX; i++)
        wait_for(&d, AWAIT_COVERED, (struct mark){7, 9}, 0, 100);
    struct fact f = {.kind = FACT_AWAIT, .await = {.kind = AWAIT_COVERED}};
    assert_int_equal(awaits_add(&d.a, &d.j, &d.out, &f, &handle), ERR_LIMIT);
    d.now.ms += 100;
    assert_int_equal(check(&d), AWAITS_MAX);
    f.await.vector.count = STREAMS_MAX + 1; /* more than any cursor may have */
    assert_int_equal(awaits_add(&d.a, &d.j, &d.out, &f, &handle), ERR_LIMIT);
    f.await.vector.count = 0;
    assert_int_equal(awaits_add(&d.a, &d.j, &d.out, &f, &handle), ERR_OK);
    close_desk(&d); /* with one still waiting: nothing leaks */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_count_disks),
        cmocka_unit_test(covered_waits_for_the_disk),
        cmocka_unit_test(what_is_retired_is_covered),
        cmocka_unit_test(what_was_missed_is_not_waited_for_again),
        cmocka_unit_test(a_stream_that_goes_on_is_waited_for),
        cmocka_unit_test(misses_are_limited),
        cmocka_unit_test(each_ends_by_its_deadline_or_is_dropped),
        cmocka_unit_test(who_stops_answers_those_that_wait_for_copies),
        cmocka_unit_test(waiting_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
