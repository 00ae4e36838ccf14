#include "core/gossip.h"

#include "tests/gossip_kit.h"

/* ---- pushing ---- */

/* Broken when a batch reaches a peer twice or not at all, or one that said: not now. */
static void
an_own_batch_is_pushed_once_to_each_live_link(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 4);
    gossip_link_down(&d.g, &d.j, 1, d.now);
    get_heads(&d, 2, HEADS_CATCHING_UP, 0, 0);
    get_heads(&d, 3, HEADS_NO_STORE, 0, 0);
    struct batch *b = write_one(&w);
    gossip_push(&d.g, &d.out, b);
    assert_int_equal(d.out.count, 1);
    assert_ptr_equal(sent(&d, 0, FRAME_PUSH, 0)->push.batch, b);
    assert_int_equal(sent(&d, 0, FRAME_PUSH, 0)->push.flags, 0);
    clear(&d);
    get_heads(&d, 2, 0, 0, 0); /* it is live again */
    gossip_push(&d.g, &d.out, b);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    assert_int_equal(count_sent(&d, 2, FRAME_PUSH), 1);
    assert_int_equal(count_sent(&d, 3, FRAME_PUSH), 0);
    blob_drop(b);
    close_desk(&d);
}

/* Broken when tiny batches of a peer pile up at a store that hangs until its queue is full,
 * which ends the broker; or when what was dropped then is never asked for. */
static void
commits_at_a_store_that_hangs_are_limited(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 1);
    for (uint32_t i = 0; i < COMMITS_MAX + 10; i++) {
        get(&d, 0, write_one(&w), 0);
        clear(&d);
    }
    assert_int_equal(d.c.count, COMMITS_MAX);
    assert_int_equal(journal_find(&d.j, 7)->held, COMMITS_MAX);
    get_heads(&d, 0, 0, 7, COMMITS_MAX + 10);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_PULL), 1);
    close_desk(&d);
}

/* Broken when a slow peer's queue grows without end, or it never hears what it missed. */
static void
a_full_queue_turns_a_peer_to_catch_up(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    uint32_t pushed = 0;
    for (int i = 0; i < 10; i++) {
        struct batch *b = write_batch(&w, (struct writing){.body_n = BATCH_BODY_BYTES_MAX});
        gossip_push(&d.g, &d.out, b);
        pushed += count_sent(&d, 0, FRAME_PUSH);
        clear(&d);
        gossip_on_sent(&d.g, 1, 0); /* the other one is quick */
        blob_drop(b);
    }
    assert_int_equal(pushed, 7); /* 8 MiB, with what is around the bodies */
    assert_int_equal(d.g.link[1].pushes_out, 10);
    struct batch *b = write_one(&w);
    gossip_push(&d.g, &d.out, b); /* small enough, but there is a gap before it */
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 0);
    gossip_on_sent(&d.g, 0, 4000);
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_HEADS), 0);
    gossip_on_sent(&d.g, 0, 0);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.flags, HEADS_FULL);
    assert_int_equal(count_sent(&d, 1, FRAME_HEADS), 0);
    gossip_push(&d.g, &d.out, b);
    assert_int_equal(count_sent(&d, 0, FRAME_PUSH), 1);
    blob_drop(b);
    close_desk(&d);
}

/* ---- taking in ---- */

/* Broken when what came early waits for a PULL, or for ever, though what it waited for came:
 * chains of waiting are let go at once, in order, over streams and links. */
static void
held_back_batches_are_released_without_a_pull(void **state)
{
    (void)state;
    struct desk   d;
    struct writer a = writer_of(3), b = writer_of(5);
    open_with(&d, 2);
    struct batch *a1 = write_one(&a), *a2 = write_one(&a), *a3 = write_one(&a);
    struct batch *b1 =
        write_batch(&b, (struct writing){.deps = &(struct mark){3, 2}, .deps_count = 1});
    struct batch *b2 =
        write_batch(&b, (struct writing){.deps = &(struct mark){3, 3}, .deps_count = 1});
    assert_int_equal(get(&d, 1, b2, 0), ERR_OK); /* waits for b1 */
    assert_int_equal(get(&d, 1, b1, 0), ERR_OK); /* waits for a2 */
    assert_int_equal(get(&d, 0, a3, 0), ERR_OK); /* waits for a2 */
    assert_int_equal(get(&d, 0, a2, 0), ERR_OK); /* waits for a1 */
    assert_int_equal(count_persists(&d), 0);
    assert_int_equal(d.g.held_back.used, 4);
    assert_true(d.g.link[0].held_back_bytes > 0);
    assert_int_equal(get(&d, 0, a1, 0), ERR_OK);
    assert_int_equal(count_persists(&d), 5);
    assert_int_equal(journal_find(&d.j, 3)->held, 3);
    assert_int_equal(journal_find(&d.j, 5)->held, 2);
    assert_int_equal(d.g.held_back.used, 0);
    assert_int_equal(d.g.link[0].held_back_bytes, 0);
    assert_int_equal(d.g.link[1].held_back_bytes, 0);
    wait_ms(&d, 10000);
    turn(&d);
    assert_int_equal(d.g.pulls, 0);
    commit_all(&d);
    assert_vector(&d.j.durable, &VECTOR({3, 3}, {5, 2}));
    close_desk(&d);
}

/* Broken when the memory of a link that is gone, or that floods, is never given back. */
static void
what_is_held_back_is_bounded_and_dies_with_its_link(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    blob_drop(write_one(&w)); /* never comes */
    for (int i = 0; i < 20; i++)
        assert_int_equal(
            get(&d, 0, write_batch(&w, (struct writing){.body_n = BATCH_BODY_BYTES_MAX}), 0),
            ERR_OK);
    assert_int_equal(d.g.held_back.used, 15);
    assert_true(d.g.link[0].held_back_bytes <= HELD_BACK_BYTES_MAX);
    assert_true(blob_bytes_used() <= HELD_BACK_BYTES_MAX);
    assert_int_equal(get(&d, 1, write_one(&w), 0), ERR_OK);
    gossip_link_down(&d.g, &d.j, 0, d.now);
    assert_int_equal(d.g.held_back.used, 1); /* the other link's */
    gossip_link_down(&d.g, &d.j, 1, d.now);
    assert_int_equal(blob_bytes_used(), 0);
    close_desk(&d);
}

/* Broken when a duplicate is stored again, or a damaged batch at all. */
static void
duplicates_are_dropped_and_damage_ends_the_link(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    struct batch *b1 = write_one(&w), *b2 = write_one(&w);
    assert_int_equal(get(&d, 0, again(b1), 0), ERR_OK);
    assert_int_equal(get(&d, 1, b1, 0), ERR_OK); /* while the first is at the store */
    assert_int_equal(count_persists(&d), 1);
    assert_int_equal(d.g.link[1].duplicates, 1);
    commit_all(&d);
    b2->lamport_first++;
    assert_int_equal(get(&d, 0, again(b2), 0), ERR_PROTO);
    b2->lamport_first--;
    b2->count = 0;
    assert_int_equal(get(&d, 0, again(b2), 0), ERR_PROTO);
    b2->count = 1;
    assert_int_equal(d.g.refused, 2);
    assert_vector(&d.j.durable, &VECTOR({7, 1}));
    clear(&d);
    assert_int_equal(get(&d, 0, b2, 0), ERR_OK);
    assert_int_equal(count_persists(&d), 1);
    close_desk(&d);
}

/* Broken when a fork is stored, forgotten at a restart, or pulled again and again. */
static void
a_fork_freezes_its_stream(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7), fork;
    open_with(&d, 1);
    assert_int_equal(get(&d, 0, write_one(&w), 0), ERR_OK);
    commit_all(&d);
    fork = w;
    blob_drop(write_one(&fork)); /* another second batch, and the third after it */
    struct batch *third = write_one(&fork);
    assert_int_equal(get(&d, 0, write_batch(&w, (struct writing){.topic = "u"}), 0), ERR_OK);
    clear(&d);
    assert_int_equal(get(&d, 0, third, 0), ERR_OK);
    assert_int_equal(d.out.count, 1);
    assert_int_equal(d.out.at[0].persist.kind, COMMIT_FROZEN);
    assert_int_equal(d.out.at[0].persist.stream, 7);
    commit_all(&d);
    assert_vector(&d.j.durable, &VECTOR({7, 2}));
    get_heads(&d, 0, 0, 7, 900);
    get_heads(&d, 0, 0, 8, 1);
    wait_ms(&d, LACK_MS);
    turn(&d);
    const struct frame *pull = sent(&d, 0, FRAME_PULL, 0);
    assert_non_null(pull); /* for 8; of 7 it wants nothing, ever */
    assert_vector(&pull->pull.have, &VECTOR({7, INT64_MAX}));
    close_desk(&d);
}

/* Broken when batches of peers pile up before a slow disk. */
static void
a_slow_disk_bounds_what_is_taken_in(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 1);
    for (int i = 0; i < 40; i++)
        assert_int_equal(
            get(&d, 0, write_batch(&w, (struct writing){.body_n = BATCH_BODY_BYTES_MAX}), 0),
            ERR_OK);
    assert_int_equal(d.c.count, 32);
    assert_true(d.c.bytes < COMMITS_BYTES_MAX + (2 << 20));
    commit_all(&d);
    assert_int_equal(journal_find(&d.j, 7)->durable, 32);
    close_desk(&d);
}

/* Broken when streams without end, which a peer may name at no cost, take memory or the process. */
static void
a_stream_too_many_is_dropped(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 1);
    for (uint64_t i = 0; i < STREAMS_MAX; i++)
        assert_non_null(journal_stream(&d.j, 1000 + i));
    assert_int_equal(get(&d, 0, write_one(&w), 0), ERR_OK);
    assert_null(journal_find(&d.j, 7));
    assert_int_equal(d.c.count, 0);
    const struct frame_pull monster = {.have = {.count = STREAMS_MAX + 1}, .credit = 1 << 20};
    gossip_on_pull(&d.g, 0, &monster);
    assert_false(d.g.link[0].serving);
    /* What was on its way when a link went finds it gone. */
    gossip_link_down(&d.g, &d.j, 0, d.now);
    gossip_link_down(&d.g, &d.j, 0, d.now);
    gossip_on_sent(&d.g, 0, 0);
    close_desk(&d);
}

/* ---- telling ---- */

/* Broken when the origin waits for the durable ack, or others hear of it late or twice. */
static void
a_commit_is_told_to_the_pusher_at_once_and_to_others_soon(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 3);
    assert_int_equal(get(&d, 1, write_batch(&w, (struct writing){.count = 4}), 0), ERR_OK);
    turn(&d);
    assert_int_equal(d.out.count, 0); /* not before it is on disk */
    commit(&d);
    turn(&d);
    const struct frame *f = sent(&d, 1, FRAME_HEADS, 0);
    assert_head(f, 0, 7, 4);
    assert_int_equal(f->heads.count, 1);
    assert_int_equal(f->heads.flags, 0);
    assert_int_equal(f->heads.token.epoch, 3);
    assert_int_equal(d.out.count, 1);
    assert_int_equal(gossip_deadline(&d.g).ms, d.now.ms + HEADS_SOON_MS);
    wait_ms(&d, 20);
    assert_int_equal(get(&d, 1, write_one(&w), 0), ERR_OK);
    commit(&d); /* does not put the others off */
    wait_ms(&d, 29);
    turn(&d);
    assert_head(sent(&d, 1, FRAME_HEADS, 0), 0, 7, 5);
    assert_int_equal(d.out.count, 1);
    wait_ms(&d, 1);
    turn(&d);
    assert_int_equal(count_sent(&d, 1, FRAME_HEADS), 0);
    assert_head(sent(&d, 0, FRAME_HEADS, 0), 0, 7, 5);
    assert_head(sent(&d, 2, FRAME_HEADS, 0), 0, 7, 5);
    wait_ms(&d, 1000);
    turn(&d);
    assert_int_equal(d.out.count, 0);
    close_desk(&d);
}

/* Broken when HEADS tell old news, or come unsorted: a frame that the codec refuses. */
static void
heads_hold_what_changed_and_at_times_everything(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w[] = {writer_of(9), writer_of(3), writer_of(5)};
    open_with(&d, 1);
    for (int i = 0; i < 3; i++)
        journal_put(&d.j, write_one(&w[i]));
    gossip_changed(&d.g, d.now);
    wait_ms(&d, HEADS_SOON_MS);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.count, 3);
    journal_put(&d.j, write_one(&w[2]));
    journal_put(&d.j, write_one(&w[1]));
    gossip_changed(&d.g, d.now);
    wait_ms(&d, HEADS_SOON_MS);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.count, 2);
    assert_head(sent(&d, 0, FRAME_HEADS, 0), 0, 3, 2);
    assert_head(sent(&d, 0, FRAME_HEADS, 0), 1, 5, 2);
    wait_ms(&d, HEADS_IDLE_MS - 2 * HEADS_SOON_MS - 1);
    turn(&d);
    assert_int_equal(d.out.count, 0);
    assert_int_equal(gossip_deadline(&d.g).ms, d.now.ms + 1);
    wait_ms(&d, 1);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.flags, HEADS_FULL);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.count, 3);
    assert_head(sent(&d, 0, FRAME_HEADS, 0), 2, 9, 1);
    link_up(&d, 1); /* a new link hears everything at once */
    turn(&d);
    assert_int_equal(sent(&d, 1, FRAME_HEADS, 0)->heads.flags, HEADS_FULL);
    assert_int_equal(count_sent(&d, 0, FRAME_HEADS), 0);
    close_desk(&d);
}

/* Broken when copies are counted that a link which is gone, or held memory alone, vouched for. */
static void
copies_are_what_direct_links_say(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 3);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 1}), 0);
    assert_int_equal(get(&d, 0, write_batch(&w, (struct writing){.count = 2}), 0), ERR_OK);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 1}), 0);
    commit_all(&d);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 2}), 1);
    get_heads(&d, 0, 0, 7, 2);
    get_heads(&d, 1, 0, 7, 1);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 1}), 3);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 2}), 2);
    gossip_link_down(&d.g, &d.j, 0, d.now);
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 2}), 1);
    link_up(&d, 0); /* what was believed held for that link only */
    assert_int_equal(gossip_copies(&d.g, &d.j, (struct mark){7, 2}), 1);
    close_desk(&d);
}

/* ---- the disk fails ---- */

/* Broken when a broker whose disk is full still asks for more, or never again. */
static void
nothing_is_asked_for_while_the_store_fails(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_with(&d, 2);
    get_heads(&d, 1, 0, 9, 5);
    struct batch *b1 = write_one(&w), *b2 = write_one(&w);
    assert_int_equal(get(&d, 0, again(b2), 0), ERR_OK); /* held back */
    gossip_disk(&d.g, &d.j, false, d.now);
    assert_int_equal(d.g.held_back.used, 0);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.flags, HEADS_NO_STORE);
    assert_int_equal(sent(&d, 1, FRAME_HEADS, 0)->heads.flags, HEADS_NO_STORE);
    assert_int_equal(get(&d, 0, again(b1), 0), ERR_OK);
    assert_int_equal(count_persists(&d), 0);
    wait_ms(&d, 3000);
    turn(&d);
    assert_int_equal(d.out.count, 0);
    assert_true(gossip_deadline(&d.g).ms > d.now.ms); /* and no spinning either */
    gossip_disk(&d.g, &d.j, true, d.now);
    wait_ms(&d, LACK_MS);
    turn(&d);
    assert_int_equal(sent(&d, 0, FRAME_HEADS, 0)->heads.flags, 0);
    assert_int_equal(count_sent(&d, 1, FRAME_PULL), 1);
    blob_drop(b1);
    blob_drop(b2);
    close_desk(&d);
}

/* Broken when a broker that is about to lose its disk believes that others have what they do
 * not have, or when it never sees that they do. */
static void
covered_is_what_one_linked_member_has_all_of(void **state)
{
    (void)state;
    struct desk   d;
    struct writer seven = writer_of(7);
    open_with(&d, 2);
    journal_put(&d.j, write_batch(&seven, (struct writing){.count = 3}));
    get_heads(&d, 0, 0, 7, 3);
    assert_false(gossip_is_covered(&d.g, &d.j, false)); /* not all of its heads were told */
    assert_false(gossip_has_caught_up(&d.g));
    get_heads(&d, 1, HEADS_FULL, 7, 2);
    assert_false(gossip_is_covered(&d.g, &d.j, false)); /* one lacks, and one may lack */
    assert_false(gossip_is_covered(&d.g, &d.j, true));
    assert_true(gossip_has_caught_up(&d.g));
    journal_find(&d.j, 7)->live = true;
    assert_true(gossip_is_covered(&d.g, &d.j, true)); /* the last that was published here */
    assert_false(gossip_is_covered(&d.g, &d.j, false));
    get_heads(&d, 1, 0, 7, 3);
    assert_true(gossip_is_covered(&d.g, &d.j, false));
    get_heads(&d, 1, 0, 8, 4);
    assert_false(gossip_has_caught_up(&d.g));
    assert_true(gossip_is_covered(&d.g, &d.j, false)); /* what they have beyond us is no matter */
    gossip_link_down(&d.g, &d.j, 1, d.now);
    assert_false(gossip_is_covered(&d.g, &d.j, true));
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_own_batch_is_pushed_once_to_each_live_link),
        cmocka_unit_test(commits_at_a_store_that_hangs_are_limited),
        cmocka_unit_test(a_full_queue_turns_a_peer_to_catch_up),
        cmocka_unit_test(held_back_batches_are_released_without_a_pull),
        cmocka_unit_test(what_is_held_back_is_bounded_and_dies_with_its_link),
        cmocka_unit_test(duplicates_are_dropped_and_damage_ends_the_link),
        cmocka_unit_test(a_fork_freezes_its_stream),
        cmocka_unit_test(a_slow_disk_bounds_what_is_taken_in),
        cmocka_unit_test(a_stream_too_many_is_dropped),
        cmocka_unit_test(a_commit_is_told_to_the_pusher_at_once_and_to_others_soon),
        cmocka_unit_test(heads_hold_what_changed_and_at_times_everything),
        cmocka_unit_test(copies_are_what_direct_links_say),
        cmocka_unit_test(nothing_is_asked_for_while_the_store_fails),
        cmocka_unit_test(covered_is_what_one_linked_member_has_all_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
