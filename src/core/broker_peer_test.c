/* What peers say that is seldom said: refusals, farewells to us, other names of theirs, and
 * frames that cannot be. */
#include "core/broker.h"

#include "base/trace.h"
#include "core/vector.h"

#include "tests/broker_kit.h"

enum { A = 3000, C = 3002, OTHER_NAME = 6001 };

/* Lines of the trace, and the last of them. */
struct lines {
    int  count;
    char last[400];
};

static void
keep_line(void *ctx, enum trace_level level, const char *line)
{
    struct lines *l = ctx;
    (void)level;
    l->count++;
    snprintf(l->last, sizeof l->last, "%s", line);
}

static void
seed(struct desk *d, uint16_t port)
{
    const struct fact f = {.kind = FACT_SEED,
                           .seed = {.addr = at_port(port), .host = STR("localhost")}};
    assert_int_equal(step(d, &f), ERR_OK);
}

static void
get_refuse(struct desk *d, uint32_t link, enum refuse_reason reason, const char *text)
{
    get(d, link,
        &(struct frame){.kind = FRAME_REFUSE, .refuse = {.reason = reason, .text = str_of(text)}});
}

static bool
is_member(const struct desk *d, uint16_t port)
{
    const struct addr a = at_port(port);
    return roster_find(broker_roster(d->b), &a) >= 0;
}

/* Broken when an operator is not told why two brokers do not link, or is told so every second
 * for ever, or of what is in order. */
static void
what_a_peer_refuses_us_for_is_said_once(void **state)
{
    (void)state;
    static const struct {
        enum refuse_reason reason;
        bool               knows_us; /* its HELLO came first */
        int                lines;
    } row[] = {{REFUSE_VERSION, false, 1},
               {REFUSE_CLUSTER, true, 1},
               {REFUSE_FULL, true, 1},
               {REFUSE_DUPLICATE, true, 0},
               {REFUSE_END, true, 1}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct desk  d;
        struct lines said = {0};
        open_desk(&d);
        seed(&d, C);
        turn(&d);
        trace_set_sink(keep_line, &said);
        for (int again = 0; again < 3; again++) {
            open_link(&d, 1, C);
            if (row[i].knows_us)
                get_hello(&d, 1, C, 7);
            get_refuse(&d, 1, row[i].reason, "for a reason of theirs");
            assert_true(is_closed(&d, 1));
            assert_null(sent(&d, 1, FRAME_REFUSE));
            step(&d, &(struct fact){.kind = FACT_LINK_BROKE, .link = {.link = 1}});
            close_link(&d, 1);
        }
        assert_int_equal(said.count, row[i].lines);
        if (row[i].lines > 0) {
            assert_non_null(strstr(said.last, "127.0.0.1:3002"));
            assert_non_null(strstr(said.last, "for a reason of theirs"));
        }
        trace_set_sink(NULL, NULL);
        close_desk(&d);
    }
}

/* Broken when a complaint that is old news is never made again. */
static void
a_refusal_is_said_again_after_a_while(void **state)
{
    (void)state;
    struct desk  d;
    struct lines said = {0};
    open_desk(&d);
    turn(&d);
    trace_set_sink(keep_line, &said);
    for (int i = 0; i < 2; i++) {
        struct frame stranger  = hello_of(C, 7);
        stranger.hello.cluster = STR("other");
        open_link(&d, 1, 0);
        get(&d, 1, &stranger);
        close_link(&d, 1);
        assert_int_equal(said.count, 1 + i);
        for (int minute = 0; minute < 11; minute++)
            pass(&d, 60000);
        said.count = 1;
    }
    trace_set_sink(NULL, NULL);
    close_desk(&d);
}

/* Broken when a broker that an operator removed goes on as if nothing were, and tells nobody. */
static void
who_is_forgotten_says_so(void **state)
{
    (void)state;
    struct desk              d;
    struct lines             said = {0};
    const struct member_info us   = {at_port(SELF_PORT), STR("localhost"), 5, SELF_NONCE,
                                     MEMBER_FORGOTTEN};
    open_desk(&d);
    link_up(&d, 1, C, 7);
    link_up(&d, 2, A, 8);
    trace_set_sink(keep_line, &said);
    get(&d, 1,
        &(struct frame){.kind   = FRAME_FORGET,
                        .forget = {.addr = us.addr, .version = 5, .nonce = SELF_NONCE}});
    assert_int_equal(said.count, 1);
    assert_non_null(strstr(said.last, "removed this broker"));
    assert_null(sent(&d, 2, FRAME_FORGET)); /* it is for others to pass on */
    get(&d, 1,
        &(struct frame){.kind = FRAME_MEMBERS, .members = {.member = &us, .member_count = 1}});
    assert_int_equal(said.count, 2);
    assert_true(is_linked(&d, A));

    /* Of a former life of ours it is no news. */
    get(&d, 1,
        &(struct frame){.kind   = FRAME_FORGET,
                        .forget = {.addr = us.addr, .version = 6, .nonce = 1}});
    assert_int_equal(said.count, 2);
    trace_set_sink(NULL, NULL);
    close_desk(&d);
}

/* Broken when an address that is another name of a member's is dialled for ever, or counted as
 * a member of its own. */
static void
another_name_of_a_member_goes(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    seed(&d, OTHER_NAME);
    turn(&d);
    open_link(&d, 1, OTHER_NAME);
    get_hello(&d, 1, C, 7);
    assert_refused(&d, 1, 0);
    assert_true(is_linked(&d, C));
    assert_false(is_member(&d, OTHER_NAME));
    /* Refused, and never a member: what was dialled may still be somebody's. */
    struct frame stranger = hello_of(A, 9);
    seed(&d, OTHER_NAME + 1);
    turn(&d);
    stranger.hello.cluster = STR("other");
    open_link(&d, 2, OTHER_NAME + 1);
    get(&d, 2, &stranger);
    assert_refused(&d, 2, REFUSE_CLUSTER);
    assert_true(is_member(&d, OTHER_NAME + 1));
    close_desk(&d);
}

/* Broken when a name that is missing or too long is read beyond its end. */
static void
a_name_may_be_missing_or_long(void **state)
{
    (void)state;
    char         name[HOST_BYTES_MAX + 10];
    struct desk  d;
    struct frame hello = hello_of(C, 7);
    memset(name, 'h', sizeof name);
    open_desk(&d);
    hello.hello.host = STR("");
    open_link(&d, 1, 0);
    get(&d, 1, &hello);
    assert_true(is_linked(&d, C));
    close_link(&d, 1);
    hello.hello.host = (struct str){(const uint8_t *)name, sizeof name};
    open_link(&d, 1, 0);
    get(&d, 1, &hello);
    assert_true(is_linked(&d, C));
    const struct addr a    = at_port(C);
    int               slot = roster_find(broker_roster(d.b), &a);
    assert_int_equal(roster_host(roster_member(broker_roster(d.b), (uint8_t)slot)).n,
                     HOST_BYTES_MAX);
    close_desk(&d);
}

/* Broken when nonsense of a peer is taken in, or its sender goes on. */
static void
gaps_and_newest_messages_that_cannot_be_end_the_link(void **state)
{
    (void)state;
    static const struct mark bad_deps[] = {{9, 1}, {8, 1}};
    const struct frame       nonsense[] = {
              {.kind = FRAME_GAP, .gap = {.stream = 7, .from = 5, .to = 4}},
              {.kind = FRAME_GAP,
               .gap  = {.stream = 7, .from = 1, .to = 4, .deps = bad_deps, .deps_count = 2}},
              {.kind = FRAME_LATEST, .latest = {.mark = {7, 1}, .lamport = 0}},
              {.kind = FRAME_LATEST, .latest = {.mark = {0, 1}, .lamport = 1}},
    };
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        struct desk d;
        open_desk(&d);
        link_up(&d, 1, C, 7);
        get(&d, 1, &nonsense[i]);
        assert_refused(&d, 1, REFUSE_PROTOCOL);
        assert_int_equal(d.commit_count, 0);
        close_desk(&d);
    }
    struct desk d;
    open_desk(&d);
    link_up(&d, 1, C, 7);
    get(&d, 1, &(struct frame){.kind = FRAME_CREDIT, .credit = {.bytes = UINT32_MAX}});
    get(&d, 1, &(struct frame){.kind = FRAME_CREDIT, .credit = {.bytes = UINT32_MAX}});
    assert_true(is_linked(&d, C));
    close_desk(&d);
}

/* Broken when the younger of two restarts takes the place of one that is linked by now. */
static void
a_rival_gives_way_to_who_came_up_meanwhile(void **state)
{
    (void)state;
    static const struct {
        uint64_t           nonce; /* of who comes up meanwhile; the rival's is 8 */
        enum refuse_reason want;
    } row[] = {{9, REFUSE_COPY}, {8, REFUSE_DUPLICATE}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct desk d;
        open_desk(&d);
        turn(&d);
        link_up(&d, 1, C, 7);
        open_link(&d, 2, 0);
        get_hello(&d, 2, C, 8);
        close_link(&d, 1);
        open_link(&d, 3, 0);
        get_hello(&d, 3, C, row[i].nonce);
        turn(&d);
        assert_refused(&d, 2, row[i].want);
        assert_refused(&d, 3, 0);
        assert_true(is_linked(&d, C));
        close_desk(&d);
    }
}

/* Broken when a gap is taken although somebody is back who may have what lies in it: the link
 * that is still up was that of the process before. */
static void
a_gap_waits_for_who_is_back(void **state)
{
    (void)state;
    for (int is_back = 0; is_back < 2; is_back++) {
        struct desk       d;
        const struct head h = {.stream = 5, .head = 4, .floor = 4};
        open_desk(&d);
        turn(&d);
        link_up(&d, 1, A, 7);
        link_up(&d, 2, C, 7);
        get(&d, 2, &(struct frame){.kind = FRAME_HEADS, .heads = {.flags = HEADS_FULL}});
        if (is_back) {
            open_link(&d, 3, 0);
            get_hello(&d, 3, C, 8);
        }
        get(&d, 1,
            &(struct frame){.kind  = FRAME_HEADS,
                            .heads = {.flags = HEADS_FULL, .head = &h, .count = 1}});
        get(&d, 1,
            &(struct frame){.kind = FRAME_GAP,
                            .gap  = {.stream = 5,
                                     .from   = 1,
                                     .to     = 4,
                                     .chain  = {{1}},
                                     .stamp  = 9,
                                     .origin = STR("g:1")}});
        pass(&d, 900);
        store_answers_all(&d, ERR_OK);
        assert_int_equal(vector_has(broker_vector(d.b), (struct mark){5, 4}), !is_back);
        close_desk(&d);
    }
}

/* Broken when a rival is let in for one that it has nothing to do with. */
static void
a_rival_whose_member_was_forgotten_is_refused(void **state)
{
    (void)state;
    struct desk       d;
    const struct fact forget = {.kind = FACT_FORGET, .forget = {.addr = at_port(C)}};
    open_desk(&d);
    turn(&d);
    link_up(&d, 1, C, 7);
    open_link(&d, 2, 0);
    get_hello(&d, 2, C, 7 + 1);
    assert_int_equal(step(&d, &forget), ERR_OK);
    assert_refused(&d, 1, REFUSE_FORGOTTEN);
    pass(&d, 1100);
    assert_true(is_linked(&d, C)); /* another process than the one that was forgotten */
    get_refuse(&d, 2, REFUSE_FULL, "no room");
    assert_false(is_linked(&d, C));
    close_desk(&d);
}

/* Broken when a rival that says goodbye by itself keeps its slot. */
static void
a_rival_may_go(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    turn(&d);
    link_up(&d, 1, C, 7);
    seed(&d, OTHER_NAME);
    turn(&d);
    open_link(&d, 2, OTHER_NAME);
    get_hello(&d, 2, C, 8);
    get_refuse(&d, 2, REFUSE_FULL, "no room");
    assert_true(is_closed(&d, 2));
    close_link(&d, 2);
    open_link(&d, 2, 0); /* the slot is free */
    close_desk(&d);
}

/* Broken when a broker that leaves goes on dialling. */
static void
who_stops_dials_nobody(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    turn(&d);
    seed(&d, C);
    step(&d, &(struct fact){.kind = FACT_STOP});
    pass(&d, 5000);
    assert_null(seen_nth(&d, EFFECT_DIAL, 0));
    close_desk(&d);
}

/* Broken when members that could not be written are never written. */
static void
members_that_were_not_saved_are_saved_later(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d);
    settle(&d);
    seed(&d, C);
    turn(&d);
    const struct seen *s = seen_nth(&d, EFFECT_PERSIST, 0);
    assert_non_null(s);
    assert_int_equal(s->a, COMMIT_MEMBERS);
    assert_int_equal(store_answers(&d, ERR_FULL), COMMIT_MEMBERS);
    forget_seen(&d);
    bool again = false;
    for (int i = 0; i < 100 && !again; i++) {
        pass(&d, 1000);
        while (d.commit_count > 0)
            again |= store_answers(&d, ERR_OK) == COMMIT_MEMBERS;
    }
    assert_true(again);
    close_desk(&d);
}

/* Broken when a stamp that no number is left for is used twice, or a client waits for ever. */
static void
without_stamps_publishes_are_refused(void **state)
{
    (void)state;
    struct desk   d;
    struct lines  said = {0};
    struct writer w    = writer_of(7);
    open_desk(&d);
    link_up(&d, 1, C, 7);
    get_push(&d, 1, write_batch(&w, (struct writing){.lamport = STAMP_MAX}));
    turn(&d);
    store_answers_all(&d, ERR_OK);
    forget_seen(&d);
    trace_set_sink(keep_line, &said);
    assert_int_equal(publish(&d, "one too many"), ERR_OK);
    turn(&d);
    const struct seen *answer = seen_nth(&d, EFFECT_ANSWER, 0);
    assert_non_null(answer);
    assert_int_not_equal(answer->err, ERR_OK);
    assert_int_equal(answer->mark.seq, 0); /* refused, not of unknown outcome */
    assert_int_equal(said.count, 1);
    assert_int_equal(d.commit_count, 0);
    trace_set_sink(NULL, NULL);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_peer_refuses_us_for_is_said_once),
        cmocka_unit_test(a_refusal_is_said_again_after_a_while),
        cmocka_unit_test(who_is_forgotten_says_so),
        cmocka_unit_test(another_name_of_a_member_goes),
        cmocka_unit_test(a_name_may_be_missing_or_long),
        cmocka_unit_test(gaps_and_newest_messages_that_cannot_be_end_the_link),
        cmocka_unit_test(a_rival_gives_way_to_who_came_up_meanwhile),
        cmocka_unit_test(a_rival_whose_member_was_forgotten_is_refused),
        cmocka_unit_test(a_gap_waits_for_who_is_back),
        cmocka_unit_test(a_rival_may_go),
        cmocka_unit_test(who_stops_dials_nobody),
        cmocka_unit_test(members_that_were_not_saved_are_saved_later),
        cmocka_unit_test(without_stamps_publishes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
