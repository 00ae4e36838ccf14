/* Topics that are not stored, in the eyes of core: published, delivered, pushed, answered. */
#include "core/broker.h"

#include "base/blob.h"
#include "base/mem.h"
#include "core/gossip.h"
#include "core/journal.h"
#include "tests/broker_kit.h"

enum { A = 3000, B = 3002 };

static void
open_ruled(struct desk *d)
{
    const struct topic_rule    rule[] = {{STR("live/#"), false}};
    const struct broker_config config = {
        .cluster = STR("hearsay"),
        .self    = at_port(SELF_PORT),
        .host    = STR("localhost"),
        .nonce   = SELF_NONCE,
        .seed    = 5,
        .options = {.tail_bytes = 1 << 20, .rule = rule, .rule_count = 1}};
    open_desk(d);
    broker_free(d->b);
    d->b = broker_new(&config, d->now);
}

static enum err
publish_to(struct desk *d, const char *topic, const char *body)
{
    return step(d, &(struct fact){.kind    = FACT_PUBLISH,
                                  .publish = {.topic = str_of(topic), .body = str_of(body)}});
}

static uint64_t
subscribe(struct desk *d, const char *filter)
{
    const struct str f = str_of(filter);
    assert_int_equal(
        step(d, &(struct fact){.kind      = FACT_SUBSCRIBE,
                               .subscribe = {.filter = &f, .filter_count = 1, .ref = 1}}),
        ERR_OK);
    return d->last.session;
}

/* Takes all that is ready; how many messages, the last in *e. */
static uint32_t
pull_all(struct desk *d, struct entry *e)
{
    uint64_t session, ref;
    uint32_t n = 0;
    while (broker_ready(d->b, &session, &ref))
        while (broker_pull(d->b, session, e) == ERR_OK)
            n++;
    return n;
}

static struct batch *
foreign(const char *topic, uint32_t count, uint64_t lamport)
{
    struct msg msg[8];
    for (uint32_t i = 0; i < count; i++)
        msg[i] = (struct msg){.topic = str_of(topic), .body = STR("x")};
    const struct batch_parts p = {
        .lamport_first = lamport, .origin = STR("a:1"), .msg = msg, .count = count};
    return batch_make_live(&p);
}

static void
get_live(struct desk *d, uint32_t link, struct batch *b)
{
    get(d, link, &(struct frame){.kind = FRAME_LIVE, .live = {.batch = b}});
}

/* Broken when a live publish waits for the disk, goes to it, or is delivered, pushed or
 * answered later than in its turn, or not at all. */
static void
all_in_one_turn_and_nothing_on_disk(void **state)
{
    (void)state;
    struct desk  d;
    struct entry e;
    open_ruled(&d);
    link_up(&d, 0, A, 7);
    link_up(&d, 1, B, 8);
    settle(&d);
    subscribe(&d, "live/+");
    turn(&d);
    pull_all(&d, &e);
    forget_seen(&d);
    assert_true(broker_stores(d.b, STR("t")));
    assert_false(broker_stores(d.b, STR("live/a")));
    assert_int_equal(publish_to(&d, "live/a", "up"), ERR_OK);
    assert_true(d.last.live);
    assert_int_equal(d.last.serial, 1);
    turn(&d);
    assert_int_equal(pull_all(&d, &e), 1);
    assert_true(e.live && str_eq(e.body, STR("up")) && str_eq(e.origin, STR("localhost:3001")));
    assert_int_equal(count_sent(&d, 0, FRAME_LIVE), 1);
    assert_int_equal(count_sent(&d, 1, FRAME_LIVE), 1);
    assert_int_equal(count_seen(&d, EFFECT_PERSIST), 0);
    const struct seen *answer = seen_nth(&d, EFFECT_ANSWER, 0);
    assert_int_equal(answer->a, 1);
    assert_int_equal(answer->b, 1);
    assert_int_equal(answer->err, ERR_OK);
    assert_int_equal(answer->mark.stream, 0);
    assert_int_equal(answer->lamport, e.lamport);
    assert_int_equal(broker_vector(d.b)->count, 0);
    assert_int_equal(broker_journal(d.b)->lsn, 0);
    pass(&d, 1000);
    assert_int_equal(count_sent(&d, 0, FRAME_LIVE), 1); /* once, and never again */
    close_desk(&d);
}

/* Broken when other rules hold for what was published before them, or not for what is now. */
static void
other_rules_hold_from_now_on(void **state)
{
    (void)state;
    struct desk                 d;
    struct entry                e;
    const struct topic_rule     rule[] = {{STR("t"), false}, {STR("live/kept"), true}};
    const struct broker_options now    = {
           .tail_bytes = 1 << 20, .causal_wait_ms = 500, .rule = rule, .rule_count = 2};
    open_ruled(&d);
    settle(&d);
    subscribe(&d, "#");
    turn(&d);
    pull_all(&d, &e);
    publish_to(&d, "live/a", "not stored");
    publish_to(&d, "t", "stored");
    assert_false(d.last.live);
    assert_int_equal(step(&d, &(struct fact){.kind = FACT_OPTIONS, .options = &now}), ERR_OK);
    publish_to(&d, "live/a", "stored");
    assert_false(d.last.live);
    publish_to(&d, "t", "not stored");
    assert_true(d.last.live);
    turn(&d);
    settle(&d);
    assert_int_equal(pull_all(&d, &e), 4);
    assert_int_equal(broker_journal(d.b)->lsn, 2);
    assert_int_equal(broker_gossip(d.b)->causal_wait_ms, 500);
    assert_int_equal(
        step(&d, &(struct fact){.kind = FACT_OPTIONS, .options = &(struct broker_options){0}}),
        ERR_OK);
    assert_true(broker_stores(d.b, STR("t")));
    close_desk(&d);
}

/* Broken when a live publish takes a seq, so that the next stored one leaves a hole; or when its
 * serial is taken for one of those that are stored. */
static void
it_takes_no_seq_and_no_serial(void **state)
{
    (void)state;
    struct desk d;
    open_ruled(&d);
    settle(&d);
    for (int i = 0; i < 3; i++) {
        publish_to(&d, "live/a", "x");
        assert_true(d.last.live && d.last.serial == (uint64_t)i + 1);
        publish_to(&d, "t", "y");
        assert_true(!d.last.live && d.last.serial == (uint64_t)i + 1);
        turn(&d);
        store_answers_all(&d, ERR_OK);
    }
    assert_int_equal(broker_vector(d.b)->at[0].seq, 3);
    close_desk(&d);
}

/* Broken when a disk that is full, or fails, stops what is never written to it. */
static void
the_disk_does_not_matter(void **state)
{
    (void)state;
    struct desk  d;
    struct entry e;
    open_ruled(&d);
    settle(&d);
    subscribe(&d, "#");
    step(&d, &(struct fact){.kind = FACT_ROOM, .room = {false}});
    assert_int_equal(publish_to(&d, "t", "x"), ERR_FULL);
    assert_int_equal(publish_to(&d, "live/a", "x"), ERR_OK);
    turn(&d);
    assert_int_equal(pull_all(&d, &e), 1);
    step(&d, &(struct fact){.kind = FACT_ROOM, .room = {true}});
    publish_to(&d, "t", "x");
    turn(&d);
    store_answers(&d, ERR_IO);
    forget_seen(&d);
    assert_int_equal(publish_to(&d, "live/a", "x"), ERR_OK);
    turn(&d);
    assert_int_equal(pull_all(&d, &e), 1);
    assert_int_equal(seen_nth(&d, EFFECT_ANSWER, 0)->err, ERR_OK);
    step(&d, &(struct fact){.kind = FACT_STOP});
    assert_int_equal(publish_to(&d, "live/a", "x"), ERR_REFUSED);
    close_desk(&d);
}

/* Broken when a peer's live message is judged by our own rules, stored, sent on to others, or does
 * not move the clock; or a stored one is not stored since our rules would not. */
static void
the_origin_decides(void **state)
{
    (void)state;
    struct desk   d;
    struct entry  e;
    struct writer w = writer_of(9);
    open_ruled(&d);
    link_up(&d, 0, A, 7);
    link_up(&d, 1, B, 8);
    settle(&d);
    subscribe(&d, "#");
    turn(&d);
    pull_all(&d, &e);
    forget_seen(&d);
    get_live(&d, 0, foreign("t", 2, 5000));
    turn(&d);
    assert_int_equal(pull_all(&d, &e), 2);
    assert_int_equal(e.lamport, 5001);
    assert_true(broker_clock(d.b) >= 5001);
    assert_int_equal(count_seen(&d, EFFECT_PERSIST), 0);
    assert_int_equal(count_sent(&d, 1, FRAME_LIVE), 0);
    get_push(&d, 0, write_batch(&w, (struct writing){.topic = "live/a"}));
    turn(&d);
    store_answers_all(&d, ERR_OK);
    assert_vector(broker_vector(d.b), &VECTOR({9, 1}));
    close_desk(&d);
}

/* Broken when a frame that comes twice is delivered twice, or a far stamp is taken as it is. */
static void
what_came_before_is_dropped(void **state)
{
    (void)state;
    struct desk  d;
    struct entry e;
    open_ruled(&d);
    link_up(&d, 0, A, 7);
    link_up(&d, 1, B, 8);
    settle(&d);
    subscribe(&d, "#");
    get_live(&d, 0, foreign("t", 2, 50));
    get_live(&d, 0, foreign("t", 2, 50));
    get_live(&d, 0, foreign("t", 1, 51));
    assert_int_equal(pull_all(&d, &e), 2);
    get_live(&d, 0, foreign("t", 1, 52));
    get_live(&d, 1, foreign("t", 1, 1)); /* another origin has stamps of its own */
    assert_int_equal(pull_all(&d, &e), 2);
    uint64_t clock = broker_clock(d.b);
    get_live(&d, 0, foreign("t", 1, STAMP_MAX));
    assert_int_equal(pull_all(&d, &e), 1);
    assert_true(broker_clock(d.b) <= clock + STAMP_AHEAD_MAX);
    assert_refused(&d, 0, 0);
    close_desk(&d);
}

/* Broken when a peer can have something delivered that no client may publish. */
static void
what_is_not_valid_ends_the_link(void **state)
{
    (void)state;
    struct desk  d;
    struct entry e;
    open_ruled(&d);
    link_up(&d, 0, A, 7);
    settle(&d);
    subscribe(&d, "#");
    get_live(&d, 0, foreign("t/#", 1, 50));
    assert_refused(&d, 0, REFUSE_PROTOCOL);
    assert_int_equal(pull_all(&d, &e), 0);
    close_desk(&d);
}

/* Broken when a peer's batch is delivered that bears what only stored ones do, or nothing. */
static void
only_what_is_live_is_valid(void **state)
{
    (void)state;
    struct batch *b = foreign("live/a", 2, 5);
    struct batch  was;
    memcpy(&was, b, sizeof was);
#define ASSERT_BAD(field, value)                                                                   \
    b->field = (value);                                                                            \
    assert_false(live_is_valid(b));                                                                \
    b->field = was.field;                                                                          \
    assert_true(live_is_valid(b))
    ASSERT_BAD(stream, 1);
    ASSERT_BAD(first, 1);
    ASSERT_BAD(deps_count, 1);
    ASSERT_BAD(origin.n, 0);
    ASSERT_BAD(count, 0);
    ASSERT_BAD(count, BATCH_MESSAGES_MAX + 1);
    ASSERT_BAD(lamport_first, 0);
    ASSERT_BAD(lamport_first, STAMP_MAX);
#undef ASSERT_BAD
    blob_drop(b);
    struct msg               removed = {.topic = STR("live/a"), .flags = MSG_DIGEST_ONLY};
    const struct batch_parts p       = {
              .lamport_first = 5, .origin = STR("a:1"), .msg = &removed, .count = 1};
    b = batch_make_live(&p);
    assert_false(live_is_valid(b));
    blob_drop(b);
}

static uint64_t
subscribe_after(struct desk *d, uint64_t before, const char *one, const char *two)
{
    const struct str f[] = {str_of(one), str_of(two ? two : "")};
    assert_int_equal(step(d, &(struct fact){.kind      = FACT_SUBSCRIBE,
                                            .subscribe = {.filter       = f,
                                                          .filter_count = two ? 2 : 1,
                                                          .ref          = 2,
                                                          .before       = before}}),
                     ERR_OK);
    return d->last.session;
}

/* Broken when a client that polls loses what came between two polls, or gets what it did not ask
 * for; or when a message that is not for it, between two that are, hides the second. */
static void
the_next_poll_has_what_waits(void **state)
{
    (void)state;
    struct desk  d;
    struct entry e;
    open_ruled(&d);
    settle(&d);
    uint64_t first = subscribe(&d, "live/a"), other, same;
    publish_to(&d, "live/a", "1");
    publish_to(&d, "live/b", "2");
    publish_to(&d, "live/a", "3");
    turn(&d);
    other = subscribe_after(&d, first, "live/b", NULL);
    assert_int_equal(broker_pull(d.b, other, &e), ERR_MORE);
    other = subscribe_after(&d, first, "live/a", "live/b");
    assert_int_equal(broker_pull(d.b, other, &e), ERR_MORE);
    same = subscribe_after(&d, first, "live/a", NULL);
    assert_int_equal(broker_pull(d.b, first, &e), ERR_MORE);
    assert_int_equal(broker_pull(d.b, same, &e), ERR_OK);
    assert_true(str_eq(e.body, STR("1")));
    assert_int_equal(broker_pull(d.b, same, &e), ERR_OK);
    assert_true(str_eq(e.body, STR("3")));
    assert_int_equal(broker_pull(d.b, same, &e), ERR_MORE);
    close_desk(&d);
}

/* Broken when a publish for which no stamp is left waits for ever. */
static void
without_stamps_it_is_refused(void **state)
{
    (void)state;
    struct desk                d;
    const struct recovered     was    = {.stamp = STAMP_MAX};
    const struct topic_rule    rule[] = {{STR("live/#"), false}};
    const struct broker_config c      = {.cluster   = STR("hearsay"),
                                         .self      = at_port(SELF_PORT),
                                         .host      = STR("localhost"),
                                         .nonce     = SELF_NONCE,
                                         .recovered = &was,
                                         .options   = {.rule = rule, .rule_count = 1}};
    open_desk(&d);
    broker_free(d.b);
    d.b = broker_new(&c, d.now);
    turn(&d);
    assert_int_equal(publish_to(&d, "live/a", "x"), ERR_OK);
    turn(&d);
    const struct seen *answer = seen_nth(&d, EFFECT_ANSWER, 0);
    assert_int_equal(answer->a, 1);
    assert_int_equal(answer->err, ERR_FULL);
    close_desk(&d);
}

/* Broken when a burst that makes many batches is spread in part, or outlives its turn. */
static void
a_burst_is_spread_in_one_turn(void **state)
{
    (void)state;
    enum { MANY = 11, BYTES = 700 << 10 };
    struct desk  d;
    struct entry e;
    char        *body = mem_new(BYTES);
    size_t       used = blob_bytes_used();
    memset(body, 'x', BYTES - 1);
    open_ruled(&d);
    settle(&d);
    subscribe(&d, "live/a");
    for (int i = 0; i < MANY; i++)
        assert_int_equal(publish_to(&d, "live/a", body), ERR_OK);
    turn(&d);
    assert_int_equal(count_seen(&d, EFFECT_ANSWER), MANY);
    assert_int_equal(pull_all(&d, &e), MANY);
    assert_int_equal(e.body.n, BYTES - 1);
    close_desk(&d);
    assert_int_equal(blob_bytes_used(), used);
    mem_free(body);
}

/* Broken when a peer that takes nothing holds memory without end, gets no more once it takes
 * again, or is made to catch up by what it need not have. */
static void
a_slow_peer_misses_some(void **state)
{
    (void)state;
    static char body[BODY_BYTES_MAX / 2];
    struct desk d;
    memset(body, 'x', sizeof body - 1);
    open_ruled(&d);
    link_up(&d, 0, A, 7);
    link_up(&d, 1, B, 8);
    settle(&d);
    for (int i = 0; i < 20; i++) {
        publish_to(&d, "live/a", body);
        turn(&d);
        step(&d, &(struct fact){.kind = FACT_SENT, .sent = {.link = 1, .bytes_queued = 0}});
    }
    assert_int_equal(count_sent(&d, 0, FRAME_LIVE), LIVE_LINK_BYTES_MAX / sizeof body - 1);
    assert_int_equal(count_sent(&d, 1, FRAME_LIVE), 20);
    assert_int_equal(broker_live(d.b).missed, 20 - count_sent(&d, 0, FRAME_LIVE));
    assert_false(broker_gossip(d.b)->link[0].push_off);
    step(&d, &(struct fact){.kind = FACT_SENT, .sent = {.link = 0, .bytes_queued = 0}});
    forget_seen(&d);
    publish_to(&d, "live/a", "y");
    turn(&d);
    assert_int_equal(count_sent(&d, 0, FRAME_LIVE), 1);
    close_desk(&d);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(all_in_one_turn_and_nothing_on_disk),
        cmocka_unit_test(other_rules_hold_from_now_on),
        cmocka_unit_test(it_takes_no_seq_and_no_serial),
        cmocka_unit_test(the_disk_does_not_matter),
        cmocka_unit_test(the_origin_decides),
        cmocka_unit_test(what_came_before_is_dropped),
        cmocka_unit_test(what_is_not_valid_ends_the_link),
        cmocka_unit_test(only_what_is_live_is_valid),
        cmocka_unit_test(the_next_poll_has_what_waits),
        cmocka_unit_test(without_stamps_it_is_refused),
        cmocka_unit_test(a_burst_is_spread_in_one_turn),
        cmocka_unit_test(a_slow_peer_misses_some),
    };
    return cmocka_run_group_tests_name("broker_live", test, NULL, NULL);
}
