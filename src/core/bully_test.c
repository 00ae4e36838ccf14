/* Single steps, with a view made by hand: self is the middle one of three.  The stories
 * are in bully_story_test.c. */
#include "core/bully.h"

#include "core/batch.h"
#include "tests/unit.h"

static struct mono now = {1000};

static struct addr
addr_of(int i)
{
    return (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(3000 + i)};
}

static int
node_of(const struct addr *a)
{
    return a->port - 3000;
}

static struct roster_view
view_of_three(struct bully *b)
{
    static const int   port[] = {1, 0, 2};
    struct roster_view view   = {.reachable = 7, .able = 7, .linked = 6, .all_tried = true};
    for (int i = 0; i < 3; i++) {
        view.at[i].addr  = addr_of(port[i]);
        view.at[i].nonce = (uint64_t)port[i] + 100;
        view.at[i].edges = 7u & ~(1u << i);
    }
    bully_init(b, &view.at[0].addr, view.at[0].nonce, NULL, now);
    return view;
}

static struct bully_do
show(struct bully *b, const struct roster_view *view, enum frame_kind kind, struct token t)
{
    struct bully_message m = {kind, node_of(&t.addr) == 2 ? 2 : 1, t};
    return bully_receive(b, now, view, &m);
}

static struct bully_do
tick_after(struct bully *b, const struct roster_view *view, uint64_t ms)
{
    now = mono_after(now, ms);
    return bully_tick(b, now, view);
}

/* Self leads: the higher one is gone for the moment. */
static struct token
make_lead(struct bully *b, struct roster_view *view)
{
    view->reachable = view->able = 3;
    view->linked                 = 2;
    (void)tick_after(b, view, 3000);
    struct bully_do out = tick_after(b, view, 1000);
    assert_true(out.persist);
    assert_false(bully_is_leading(b));
    assert_int_equal(bully_token(b).epoch, 0); /* not claimed before it is on the disk */
    out = bully_persisted(b, now, view, &out.token, ERR_OK);
    assert_int_equal(out.coordinator, 2);
    assert_true(bully_is_leading(b));
    return bully_token(b);
}

/* Without it a broker claims blindly in its first seconds. */
static void
nobody_claims_too_early(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    view.able               = 1;
    assert_false(tick_after(&b, &view, 2999).persist);
    view.all_tried = false;
    assert_false(tick_after(&b, &view, 2000).persist);
    view.all_tried = true;
    assert_false(tick_after(&b, &view, 1).persist);
    assert_false(tick_after(&b, &view, 999).persist);
    bully_stalled(&b, now);
    assert_false(tick_after(&b, &view, 0).persist);
    assert_false(tick_after(&b, &view, 2999).persist);
    assert_false(tick_after(&b, &view, 1).persist);
    assert_true(tick_after(&b, &view, 1000).persist);
    assert_true(bully_deadline(&b).ms == UINT64_MAX);
}

/* Without it a commit that fails lets the same token be claimed twice. */
static void
a_failed_claim_is_never_repeated(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    view.able               = 1;
    (void)tick_after(&b, &view, 3000);
    struct token lost = tick_after(&b, &view, 1000).token;
    assert_int_equal(lost.epoch, 1);
    struct bully_do out = bully_persisted(&b, now, &view, &lost, ERR_FULL);
    assert_int_equal(out.coordinator, 0);
    assert_false(bully_is_leading(&b));
    out = tick_after(&b, &view, 1000);
    assert_true(out.persist);
    assert_int_equal(out.token.epoch, 2);
    (void)bully_persisted(&b, now, &view, &lost, ERR_OK); /* late news of another commit */
    assert_false(bully_is_leading(&b));
}

/* Without it the higher ones are not asked, or asked at every tick. */
static void
an_election_asks_the_higher_ones_once(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    assert_int_equal(bully_tick(&b, now, &view).election, 4);
    assert_int_equal(tick_after(&b, &view, 100).election, 0);
    assert_int_equal(tick_after(&b, &view, 900).election, 0);
    assert_int_equal(b.state, BULLY_DEFER);
    assert_int_equal(tick_after(&b, &view, 2999).election, 0);
    assert_int_equal(tick_after(&b, &view, 1).election, 4); /* waited in vain */
    assert_true(tick_after(&b, &view, 1000).persist);
}

/* Without it one restart of the highest has two claim at once: a lower one that was waited for
 * in vain long ago is passed over for ever, since it had no reason to claim since then. */
static void
who_was_passed_over_is_waited_for_again(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view   = view_of_three(&b);
    struct token       higher = {7, addr_of(2), view.at[2].nonce};
    b.passed_over[1]          = view.at[1].nonce;
    b.passed_over[2]          = view.at[2].nonce;
    (void)show(&b, &view, FRAME_COORDINATOR, higher);
    assert_int_equal(b.passed_over[1], 0);
    assert_int_equal(b.passed_over[2], 0);
    struct token lower = {8, addr_of(0), view.at[1].nonce};
    b.passed_over[2]   = view.at[2].nonce;
    (void)show(&b, &view, FRAME_COORDINATOR, lower);
    assert_true(token_cmp(&b.accepted, &lower) == 0);
    assert_true(b.passed_over[2] != 0); /* it is higher, and did not claim */
}

/* Without it a restarted lower broker does not learn whom to follow. */
static void
election_is_answered_with_the_token(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    make_lead(&b, &view);
    struct bully_do out = show(&b, &view, FRAME_ELECTION, (struct token){.addr = addr_of(0)});
    assert_int_equal(out.ok, 2);
    assert_int_equal(out.coordinator, 0);
}

/* Without it a lower broker that came from the other side of a cut deposes a higher one. */
static void
a_lower_claim_is_answered_by_a_claim(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view  = view_of_three(&b);
    struct token       own   = make_lead(&b, &view);
    struct token       lower = {own.epoch + 3, addr_of(0), 100};
    struct bully_do    out   = show(&b, &view, FRAME_PING, lower);
    assert_true(out.persist);
    assert_true(out.token.epoch == lower.epoch + 1);
    struct token accepted = bully_token(&b);
    assert_int_equal(token_cmp(&accepted, &own), 0);
    view.able &= ~1u; /* but one that cannot write gives way */
    out = bully_persisted(&b, now, &view, &out.token, ERR_FULL);
    assert_false(tick_after(&b, &view, 0).persist);
    assert_false(bully_is_leading(&b));
    accepted = bully_token(&b);
    assert_int_equal(token_cmp(&accepted, &lower), 0);
}

/* Without it a deposed coordinator goes on. */
static void
a_lower_token_is_refused_and_its_holder_told(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    struct token       t2 = {9, addr_of(2), 102}, older = {8, addr_of(0), 100};
    struct bully_do    out = show(&b, &view, FRAME_COORDINATOR, t2);
    assert_int_equal(b.state, BULLY_FOLLOW);
    assert_int_equal(out.coordinator, 0); /* its holder hears them all */
    assert_int_equal(show(&b, &view, FRAME_COORDINATOR, older).coordinator, 2);
    view.reachable &= ~4u; /* a lost holder's token is no advice */
    assert_int_equal(show(&b, &view, FRAME_COORDINATOR, older).coordinator, 0);
    (void)tick_after(&b, &view, 0);
    assert_false(bully_has_coordinator(&b));
}

/* Without it a token that comes before its holder's row is lost until the next ping, and
 * does not pass on to those who do not hear the holder. */
static void
a_token_waits_for_its_holder_and_is_passed_on(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    struct token       t2   = {9, addr_of(2), 102};
    view.reachable &= ~4u;
    view.at[2].edges = 1;
    (void)show(&b, &view, FRAME_OK, t2);
    assert_int_equal(bully_token(&b).epoch, 0);
    assert_int_equal(b.epoch, 9);
    view.reachable |= 4u;
    struct bully_do out = tick_after(&b, &view, 50);
    assert_int_equal(bully_token(&b).epoch, 9);
    assert_int_equal(out.coordinator, 2);
    view.at[2].nonce = 103; /* it restarted: that token's instance is gone */
    (void)tick_after(&b, &view, 50);
    assert_false(bully_has_coordinator(&b));
    assert_int_equal(b.state, BULLY_CANVASS);
}

/* Without it what a broker accepted is forgotten with its process. */
static void
others_tokens_go_along_with_the_next_commit(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view  = view_of_three(&b);
    struct token       t2    = {9, addr_of(2), 102}, saved;
    uint64_t           epoch = 0;
    assert_false(bully_save(&b, &saved, &epoch));
    (void)show(&b, &view, FRAME_COORDINATOR, t2);
    assert_true(bully_save(&b, &saved, &epoch));
    assert_int_equal(token_cmp(&saved, &t2), 0);
    assert_int_equal(epoch, 9);
    assert_false(bully_save(&b, &saved, &epoch));
    (void)bully_persisted(&b, now, &view, &saved, ERR_FULL);
    assert_true(bully_save(&b, &saved, &epoch));
    struct recovered was = {.token = saved, .epoch = 12};
    bully_init(&b, &view.at[0].addr, 200, &was, now);
    assert_int_equal(b.epoch, 12);
    assert_int_equal(bully_token(&b).epoch, 9);
}

/* Without it a token of a former life, or nonsense, makes or unmakes coordinators. */
static void
hostile_tokens_change_nothing(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view  = view_of_three(&b);
    struct token       own   = make_lead(&b, &view);
    uint64_t           next  = own.epoch + 1;
    struct token       bad[] = {
              {UINT64_MAX, addr_of(0), 100},
              {own.epoch + BULLY_EPOCH_AHEAD_MAX + 1, addr_of(0), 100},
              {next, addr_of(1), 101},
              {next, addr_of(1), 4711},
              {next, addr_of(0), 4711},
              {next, addr_of(4), 100},
              {0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bully_do out = show(&b, &view, FRAME_COORDINATOR, bad[i]);
        assert_int_equal(out.election | out.ok | out.coordinator | out.persist, 0);
        struct token accepted = bully_token(&b);
        assert_int_equal(token_cmp(&accepted, &own), 0);
        assert_true(bully_is_leading(&b));
    }
    assert_true(b.epoch <= next);
}

/* Without it a broker that slept takes the silence of its own sleep for the other's. */
static void
a_stall_begins_the_wait_anew(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    (void)tick_after(&b, &view, 1000);
    assert_int_equal(b.state, BULLY_DEFER);
    (void)tick_after(&b, &view, 2000);
    bully_stalled(&b, now);
    (void)tick_after(&b, &view, 2999);
    assert_int_equal(b.state, BULLY_DEFER);
    (void)tick_after(&b, &view, 1);
    assert_int_equal(b.state, BULLY_CANVASS); /* waited in vain */
}

/* Without it a broker waits three seconds for one of whom it knows that he will not claim, or
 * begins an election that nobody needs any more. */
static void
who_waits_looks_up(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    (void)tick_after(&b, &view, 1000);
    assert_int_equal(b.state, BULLY_DEFER);
    assert_string_equal(bully_state_text(&b), "defer");
    view.able &= ~4u; /* his disk is full */
    (void)tick_after(&b, &view, 10);
    assert_int_equal(b.state, BULLY_CANVASS);

    view             = view_of_three(&b);
    struct token t2  = {9, addr_of(2), 102};
    view.at[2].addr  = addr_of(3); /* another one is higher than the coordinator, */
    view.at[2].nonce = 103;
    view.at[3].addr  = addr_of(2); /* who cannot be seen for a moment */
    view.at[3].nonce = 102;
    view.reachable = view.able = 15;
    (void)show(&b, &view, FRAME_COORDINATOR, t2);
    assert_int_equal(b.state, BULLY_FOLLOW);
    view.reachable &= ~8u;
    (void)tick_after(&b, &view, 0);
    (void)tick_after(&b, &view, 1000);
    assert_int_equal(b.state, BULLY_DEFER);
    view.reachable |= 8u;
    (void)tick_after(&b, &view, 10);
    assert_int_equal(b.state, BULLY_FOLLOW);
    assert_true(bully_has_coordinator(&b));
}

/* Without it a coordinator whose new claim could not be written is none any more. */
static void
a_claim_that_failed_leaves_the_old_token(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view  = view_of_three(&b);
    struct token       own   = make_lead(&b, &view);
    struct token       lower = {own.epoch + 3, addr_of(0), 100};
    struct bully_do    out   = show(&b, &view, FRAME_PING, lower);
    assert_true(out.persist);
    assert_false(
        bully_save(&b, &own, &(uint64_t){0})); /* nothing lower may follow it to the disk */
    view.reachable = view.able = 1;            /* the lower one is gone meanwhile */
    out                        = bully_persisted(&b, now, &view, &out.token, ERR_FULL);
    assert_int_equal(b.state, BULLY_CANVASS);
    (void)tick_after(&b, &view, 10);
    assert_true(bully_is_leading(&b));
    struct token accepted = bully_token(&b);
    assert_int_equal(token_cmp(&accepted, &own), 0);
    /* What outbid us is gone: nobody has to be outbid. */
    assert_false(tick_after(&b, &view, 3000).persist);
}

/* Without it an epoch runs over its end, and the lowest token wins. */
static void
after_the_last_epoch_nobody_claims(void **state)
{
    (void)state;
    struct bully       b;
    struct roster_view view = view_of_three(&b);
    struct recovered   was  = {.epoch = BULLY_EPOCH_MAX};
    bully_init(&b, &view.at[0].addr, view.at[0].nonce, &was, now);
    view.able = 1;
    (void)tick_after(&b, &view, 3000);
    for (int i = 0; i < 10; i++)
        assert_false(tick_after(&b, &view, 1000).persist);
    assert_int_equal(b.state, BULLY_CANVASS);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(nobody_claims_too_early),
        cmocka_unit_test(a_failed_claim_is_never_repeated),
        cmocka_unit_test(an_election_asks_the_higher_ones_once),
        cmocka_unit_test(who_was_passed_over_is_waited_for_again),
        cmocka_unit_test(election_is_answered_with_the_token),
        cmocka_unit_test(a_lower_claim_is_answered_by_a_claim),
        cmocka_unit_test(a_lower_token_is_refused_and_its_holder_told),
        cmocka_unit_test(a_token_waits_for_its_holder_and_is_passed_on),
        cmocka_unit_test(others_tokens_go_along_with_the_next_commit),
        cmocka_unit_test(hostile_tokens_change_nothing),
        cmocka_unit_test(a_stall_begins_the_wait_anew),
        cmocka_unit_test(who_waits_looks_up),
        cmocka_unit_test(a_claim_that_failed_leaves_the_old_token),
        cmocka_unit_test(after_the_last_epoch_nobody_claims),
    };
    return cmocka_run_group_tests_name("bully", test, NULL, NULL);
}
