#include "core/broker.h"

#include "base/trace.h"

#include "tests/broker_kit.h"

enum { A = 3000, C = 3002 }; /* one below us, one above */

/* Broken when a stranger's broker, of another version or cluster, or a copy of ourselves is
 * let in; or when it is told the wrong reason. */
static void
a_hello_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct desk  d;
    struct frame hello[8];
    for (int i = 0; i < 8; i++)
        hello[i] = hello_of(C, 7);
    static const uint8_t want[8] = {REFUSE_VERSION, REFUSE_VERSION, REFUSE_CLUSTER, REFUSE_CLUSTER,
                                    REFUSE_SELF,    REFUSE_COPY,    REFUSE_COPY,    0};
    hello[0].hello.version_min   = PROTOCOL_VERSION + 1;
    hello[0].hello.version_max   = PROTOCOL_VERSION + 9;
    hello[1].hello.version_max   = PROTOCOL_VERSION - 1;
    hello[1].hello.version_min   = 0;
    hello[2].hello.cluster       = STR("other");
    hello[3].hello.cluster       = STR("Hearsay");
    hello[4].hello.nonce         = SELF_NONCE;
    hello[4].hello.addr          = at_port(SELF_PORT);
    hello[5].hello.addr          = at_port(SELF_PORT); /* our address, another process */
    hello[6].hello.addr          = (struct addr){0};
    hello[7].hello.version_max   = PROTOCOL_VERSION + 9; /* it speaks ours too */
    for (int i = 0; i < 8; i++) {
        open_desk(&d);
        open_link(&d, 3, 0);
        assert_non_null(sent(&d, 3, FRAME_HELLO));
        assert_int_equal(d.last.at[0].send.frame.hello.nonce, SELF_NONCE);
        assert_true(str_eq(d.last.at[0].send.frame.hello.cluster, STR("hearsay")));
        get(&d, 3, &hello[i]);
        assert_refused(&d, 3, want[i]);
        assert_int_equal(is_linked(&d, C), want[i] == 0);
        assert_int_equal(sent(&d, 3, FRAME_MEMBERS) != NULL, want[i] == 0);
        close_link(&d, 3);
        close_desk(&d);
    }
}

static void
count_lines(void *ctx, enum trace_level level, const char *line)
{
    (void)level;
    (void)line;
    ++*(int *)ctx;
}

/* Broken when a refused peer, which dials again every few seconds, fills the log. */
static void
a_refusal_is_said_once(void **state)
{
    (void)state;
    struct desk  d;
    int          lines     = 0;
    struct frame stranger  = hello_of(C, 7);
    stranger.hello.cluster = STR("other");
    open_desk(&d);
    trace_set_sink(count_lines, &lines);
    for (int i = 0; i < 50; i++) {
        open_link(&d, 3, 0);
        get(&d, 3, &stranger);
        assert_refused(&d, 3, REFUSE_CLUSTER);
        close_link(&d, 3);
        pass(&d, 100);
        forget_seen(&d);
    }
    assert_int_equal(lines, 1);
    stranger.hello.addr = at_port(A); /* another stranger is worth another line */
    open_link(&d, 3, 0);
    get(&d, 3, &stranger);
    assert_int_equal(lines, 2);
    trace_set_sink(NULL, NULL);
    close_desk(&d);
}

/* Broken when the seventeenth member overruns the tables. */
static void
a_full_roster_refuses_one_more(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    for (uint16_t i = 0; i < MEMBERS_MAX - 1; i++)
        link_up(&d, i, (uint16_t)(4000 + i), 100 + i);
    open_link(&d, 40, 0);
    get_hello(&d, 40, 5000, 99);
    assert_refused(&d, 40, REFUSE_FULL);
    close_desk(&d);
}

/* Broken when a member that the operator removed comes back by itself, or can never return. */
static void
a_forgotten_member_stays_out_until_it_restarts(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    link_up(&d, 0, A, 7);
    link_up(&d, 1, C, 8);
    struct fact forget = {.kind = FACT_FORGET, .forget = {.addr = at_port(SELF_PORT)}};
    assert_int_equal(step(&d, &forget), ERR_INVALID);
    forget.forget.addr = at_port(9999);
    assert_int_equal(step(&d, &forget), ERR_NOTFOUND);
    forget.forget.addr = at_port(C);
    assert_int_equal(step(&d, &forget), ERR_OK);
    assert_refused(&d, 1, REFUSE_FORGOTTEN);
    assert_int_equal(count_sent(&d, 0, FRAME_FORGET), 1);
    close_link(&d, 1);
    forget_seen(&d);
    open_link(&d, 1, 0);
    get_hello(&d, 1, C, 8);
    assert_refused(&d, 1, REFUSE_FORGOTTEN);
    close_link(&d, 1);
    forget_seen(&d);
    link_up(&d, 1, C, 9);
    assert_true(is_linked(&d, C));
    close_desk(&d);
}

/* Broken when both ends close the link that the other keeps, or keep both: brokers that dial
 * each other at once never get together, or send everything twice. */
static void
of_two_links_the_one_of_the_lower_address_stays(void **state)
{
    (void)state;
    static const struct {
        uint16_t peer;
        bool     older_is_ours, younger_is_ours, younger_stays;
    } row[] = {
        {A, true, false, true}, /* theirs stays: A is below us */
        {A, false, true, false},
        {C, true, false, false}, /* ours stays */
        {C, false, true, true},
        {A, false, false, true}, /* the same side again: it has given up the older one */
        {C, true, true, true},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct desk d;
        open_desk(&d);
        open_link(&d, 1, row[i].older_is_ours ? row[i].peer : 0);
        open_link(&d, 2, row[i].younger_is_ours ? row[i].peer : 0);
        get_hello(&d, 1, row[i].peer, 7);
        assert_refused(&d, 1, 0);
        get_hello(&d, 2, row[i].peer, 7);
        assert_refused(&d, 1, row[i].younger_stays ? REFUSE_DUPLICATE : 0);
        assert_refused(&d, 2, row[i].younger_stays ? 0 : REFUSE_DUPLICATE);
        assert_true(is_linked(&d, row[i].peer));
        uint32_t gone = row[i].younger_stays ? 1 : 2;
        close_link(&d, gone);
        assert_true(is_linked(&d, row[i].peer)); /* the other is not taken down with it */
        forget_seen(&d);
        pass(&d, 1000);
        assert_int_equal(count_sent(&d, 3 - gone, FRAME_PING), 1);
        assert_int_equal(count_sent(&d, gone, FRAME_PING), 0);
        close_desk(&d);
    }
}

/* Broken when a copy of a live broker pushes it out. */
static void
a_copy_is_refused_while_the_first_answers(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    link_up(&d, 1, C, 7);
    open_link(&d, 2, 0);
    get_hello(&d, 2, C, 8);
    assert_refused(&d, 2, 0); /* not yet known */
    assert_null(sent(&d, 2, FRAME_MEMBERS));
    uint64_t id = sent(&d, 1, FRAME_PING)->a;
    assert_int_equal(sent(&d, 1, FRAME_PING)->b, false);
    open_link(&d, 3, 0); /* a third one need not be tried */
    get_hello(&d, 3, C, 9);
    assert_refused(&d, 3, REFUSE_COPY);
    get_heads(&d, 2, 5, 5); /* a rival's word does not count yet */
    assert_null(journal_find(broker_journal(d.b), 5));
    d.now = mono_after(d.now, 900);
    get_ping(&d, 1, id + 77, true); /* an answer to something else */
    assert_refused(&d, 2, 0);
    get_ping(&d, 1, id, true);
    assert_refused(&d, 2, REFUSE_COPY);
    assert_refused(&d, 1, 0);
    assert_true(is_linked(&d, C));
    close_desk(&d);
}

/* Broken when a broker that restarted waits until its dead link is found silent. */
static void
a_restart_replaces_a_link_that_is_silent(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    turn(&d);
    link_up(&d, 1, C, 7);
    open_link(&d, 2, 0);
    get_hello(&d, 2, C, 8);
    pass(&d, 900);
    assert_false(is_closed(&d, 1));
    pass(&d, 100);
    assert_true(is_closed(&d, 1));
    assert_non_null(sent(&d, 2, FRAME_MEMBERS));
    assert_refused(&d, 2, 0);
    close_link(&d, 1);
    assert_true(is_linked(&d, C));
    forget_seen(&d);

    open_link(&d, 1, 0); /* ... and when the old link closes, at once */
    get_hello(&d, 1, C, 9);
    close_link(&d, 2);
    turn(&d);
    assert_non_null(sent(&d, 1, FRAME_MEMBERS));
    assert_true(is_linked(&d, C));
    close_desk(&d);
}

/* Broken when two links of one member are up: what is pushed goes out twice, and the end of
 * either makes the other look dead. */
static void
a_rival_does_not_join_a_link_that_came_up_meanwhile(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    turn(&d);
    link_up(&d, 1, C, 7);
    open_link(&d, 2, 0);
    get_hello(&d, 2, C, 8); /* the restarted one waits for the old link's answer */
    close_link(&d, 1);
    open_link(&d, 3, C);
    get_hello(&d, 3, C, 8); /* ... and answers our own dial in the same turn */
    turn(&d);
    forget_seen(&d);
    pass(&d, 1000);
    assert_int_equal(count_sent(&d, 2, FRAME_PING) + count_sent(&d, 3, FRAME_PING), 1);
    assert_true(is_linked(&d, C));
    close_desk(&d);
}

/* Broken when bytes of who has not said who he is do anything. */
static void
frames_before_hello_are_not_the_protocol(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    for (int kind = FRAME_MEMBERS; kind < FRAME_KIND_END; kind++) {
        struct frame f = {.kind = (enum frame_kind)kind};
        open_desk(&d);
        open_link(&d, 1, 0);
        if (kind == FRAME_PUSH) {
            w            = writer_of(7);
            f.push.batch = write_one(&w);
        }
        get(&d, 1, &f);
        assert_refused(&d, 1, REFUSE_PROTOCOL);
        assert_int_equal(d.commit_count, 0);
        get_hello(&d, 1, C, 7); /* too late */
        assert_false(is_linked(&d, C));
        close_link(&d, 1);
        close_desk(&d); /* nothing leaks */
    }
    open_desk(&d);
    link_up(&d, 1, C, 7);
    get_hello(&d, 1, C, 7);
    assert_refused(&d, 1, REFUSE_PROTOCOL);
    assert_false(is_linked(&d, C));
    get_push(&d, 1, write_one(&w)); /* what still comes over a link that closes is dropped */
    assert_int_equal(d.commit_count, 0);
    close_desk(&d);
}

/* Broken when damage is stored, or its sender goes on. */
static void
a_malformed_batch_ends_the_link(void **state)
{
    (void)state;
    struct desk   d;
    struct writer w = writer_of(7);
    open_desk(&d);
    link_up(&d, 1, C, 7);
    struct batch *b = write_one(&w);
    b->chain.b[0] ^= 1;
    get_push(&d, 1, b);
    assert_refused(&d, 1, REFUSE_PROTOCOL);
    assert_int_equal(d.commit_count, 0);
    close_link(&d, 1);
    forget_seen(&d);
    link_up(&d, 1, C, 7);
    step(&d, &(struct fact){.kind = FACT_LINK_BROKE, .link = {.link = 1}});
    assert_refused(&d, 1, REFUSE_PROTOCOL);
    step(&d, &(struct fact){.kind = FACT_LINK_BROKE, .link = {.link = 1}});
    assert_int_equal(count_sent(&d, 1, FRAME_REFUSE), 1); /* said once */
    close_desk(&d);
}

/* Broken when a connection that says nothing keeps its slot. */
static void
without_hello_a_link_ends_after_five_seconds(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    turn(&d);
    open_link(&d, 1, 0);
    pass(&d, 4900);
    assert_false(is_closed(&d, 1));
    pass(&d, 100);
    assert_true(is_closed(&d, 1));
    close_link(&d, 1);
    open_link(&d, 1, 0); /* the slot is free again */
    close_desk(&d);
}

/* Broken when a half-open link is believed for ever, or a quiet one is cut. */
static void
a_silent_link_ends_after_ten_seconds(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    turn(&d);
    link_up(&d, 1, C, 7);
    pass(&d, 9000);
    assert_int_equal(count_sent(&d, 1, FRAME_PING), 9); /* one a second */
    get_ping(&d, 1, 4711, false);
    assert_int_equal(d.last.at[0].send.frame.ping.id, 4711);
    assert_true(d.last.at[0].send.frame.ping.reply);
    pass(&d, 9900);
    assert_false(is_closed(&d, 1));
    assert_true(is_linked(&d, C));
    pass(&d, 100);
    assert_true(is_closed(&d, 1));
    assert_false(is_linked(&d, C));
    close_desk(&d);
}

/* Broken when a dial that met ourselves is tried for ever, whoever of both ends finds out. */
static void
a_dialled_address_that_is_our_own_goes(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    const struct fact other = {.kind = FACT_SEED,
                               .seed = {.addr = at_port(6001), .host = STR("localhost")}};
    assert_int_equal(step(&d, &other), ERR_OK);
    turn(&d);
    open_link(&d, 2, 6001);
    get_hello(&d, 2, SELF_PORT, SELF_NONCE);
    assert_refused(&d, 2, REFUSE_SELF);
    assert_int_equal(roster_find(broker_roster(d.b), &other.seed.addr), -1);
    forget_seen(&d);
    const struct fact seed = {.kind = FACT_SEED,
                              .seed = {.addr = at_port(6000), .host = STR("localhost")}};
    assert_int_equal(step(&d, &seed), ERR_OK);
    turn(&d);
    assert_int_equal(seen_nth(&d, EFFECT_DIAL, 0)->a, 6000);
    open_link(&d, 1, 6000);
    get(&d, 1,
        &(struct frame){.kind   = FRAME_REFUSE,
                        .refuse = {.reason = REFUSE_SELF, .text = STR("you dialled yourself")}});
    assert_true(is_closed(&d, 1));
    assert_null(sent(&d, 1, FRAME_REFUSE));
    const struct addr a = at_port(6000);
    assert_int_equal(roster_find(broker_roster(d.b), &a), -1);
    forget_seen(&d);
    pass(&d, 5000);
    assert_null(seen_nth(&d, EFFECT_DIAL, 0));
    close_desk(&d);
}

/* Without it who was forgotten is not looked for when an operator names it, or is dialled by a
 * broker that is about to end. */
static void
who_was_forgotten_is_called(void **state)
{
    (void)state;
    struct desk       d;
    const struct fact gone = {.kind = FACT_FORGET, .forget = {at_port(6001)}},
                      fell = {.kind = FACT_DIAL_FAILED, .link = {.addr = at_port(6001)}},
                      stop = {.kind = FACT_STOP, .stop = {.copies_ms = 1000}};
    struct fact seed       = {.kind = FACT_SEED,
                              .seed = {.addr = at_port(6001), .host = STR("localhost")}};
    open_desk(&d);
    assert_int_equal(step(&d, &seed), ERR_OK);
    assert_int_equal(step(&d, &gone), ERR_OK);
    pass(&d, 5000);
    forget_seen(&d);
    assert_int_equal(step(&d, &seed), ERR_STALE);
    pass(&d, ROSTER_CALL_MS);
    assert_null(seen_nth(&d, EFFECT_DIAL, 0));
    seed.seed.join = true;
    assert_int_equal(step(&d, &seed), ERR_OK);
    turn(&d);
    assert_int_equal(seen_nth(&d, EFFECT_DIAL, 0)->a, 6001);
    assert_int_equal(step(&d, &fell), ERR_OK);
    assert_int_equal(step(&d, &stop), ERR_OK);
    forget_seen(&d);
    pass(&d, ROSTER_CALL_MS);
    assert_null(seen_nth(&d, EFFECT_DIAL, 0));
    assert_false(mono_reached(d.now, roster_call_deadline(broker_roster(d.b))));
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hello_that_does_not_fit_is_refused),
        cmocka_unit_test(a_refusal_is_said_once),
        cmocka_unit_test(a_full_roster_refuses_one_more),
        cmocka_unit_test(a_forgotten_member_stays_out_until_it_restarts),
        cmocka_unit_test(of_two_links_the_one_of_the_lower_address_stays),
        cmocka_unit_test(a_copy_is_refused_while_the_first_answers),
        cmocka_unit_test(a_restart_replaces_a_link_that_is_silent),
        cmocka_unit_test(a_rival_does_not_join_a_link_that_came_up_meanwhile),
        cmocka_unit_test(frames_before_hello_are_not_the_protocol),
        cmocka_unit_test(a_malformed_batch_ends_the_link),
        cmocka_unit_test(without_hello_a_link_ends_after_five_seconds),
        cmocka_unit_test(a_silent_link_ends_after_ten_seconds),
        cmocka_unit_test(a_dialled_address_that_is_our_own_goes),
        cmocka_unit_test(who_was_forgotten_is_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
