#include "core/queue.h"

#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

static const uint8_t space[BODY_BYTES_MAX];

static uint64_t
add(struct queue *q, size_t headers, size_t body)
{
    const struct msg m = {.topic = STR("t"), .headers = {space, headers}, .body = {space, body}};
    uint64_t         serial = 0;
    assert_int_equal(queue_add(q, &m, &serial), ERR_OK);
    return serial;
}

static bool
is_full(struct queue *q)
{
    const struct msg m      = {.topic = STR("t"), .body = STR("b")};
    uint64_t         serial = 99;
    enum err         e      = queue_add(q, &m, &serial);
    if (e == ERR_OK)
        return false;
    assert_int_equal(e, ERR_BUSY);
    assert_int_equal(serial, 99);
    return true;
}

static uint32_t
cut(struct queue *q, size_t rest)
{
    uint32_t count;
    queue_front(q, rest, &count);
    queue_take(q, count);
    return count;
}

/* Broken when a message comes out with another's text, or is answered as another. */
static void
what_goes_in_comes_out_in_order(void **state)
{
    (void)state;
    struct queue q;
    uint64_t     in = 0, out = 0, serial;
    char         topic[32], body[32];
    queue_init(&q);
    for (int round = 0; round < 40; round++) { /* several times around the ring */
        for (int i = 0; i < 700; i++) {
            in++;
            snprintf(topic, sizeof topic, "t/%llu", (unsigned long long)in);
            snprintf(body, sizeof body, "%llu", (unsigned long long)(in * in));
            const struct msg m = {.topic   = str_of(topic),
                                  .headers = in % 3 ? (struct str){0} : STR("meta-a: b\n"),
                                  .body    = in % 7 ? str_of(body) : (struct str){0}};
            assert_int_equal(queue_add(&q, &m, &serial), ERR_OK);
            assert_int_equal(serial, in);
        }
        while (q.count >= (round < 39 ? 100u : 1u)) {
            uint32_t          count;
            const struct msg *m = queue_front(&q, 0, &count);
            for (uint32_t i = 0; i < count; i++) {
                uint64_t n = out + 1 + i;
                snprintf(topic, sizeof topic, "t/%llu", (unsigned long long)n);
                snprintf(body, sizeof body, "%llu", (unsigned long long)(n * n));
                assert_true(str_eq(m[i].topic, str_of(topic)));
                assert_true(str_eq(m[i].headers, n % 3 ? (struct str){0} : STR("meta-a: b\n")));
                assert_true(str_eq(m[i].body, n % 7 ? str_of(body) : (struct str){0}));
            }
            if (count > 83)
                count = 83; /* who takes less finds the others again */
            assert_int_equal(queue_take(&q, count), out + 1);
            out += count;
        }
    }
    assert_int_equal(in, out);
    queue_trim(&q);
    assert_int_equal(q.body_bytes, 0);
    queue_fini(&q);
}

/* Broken when a batch is larger than the protocol allows, or one that fits alone fits none. */
static void
a_batch_ends_at_each_limit(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q);
    for (int i = 0; i < BATCH_MESSAGES_MAX; i++) {
        assert_false(queue_has_full_batch(&q));
        add(&q, 0, 1);
    }
    assert_true(queue_has_full_batch(&q));
    add(&q, 0, 1);
    assert_int_equal(cut(&q, 0), BATCH_MESSAGES_MAX);
    assert_false(queue_has_full_batch(&q));
    assert_int_equal(cut(&q, 0), 1);

    add(&q, 0, BATCH_BODY_BYTES_MAX - 1); /* bodies: two fit to the byte */
    assert_false(queue_has_full_batch(&q));
    add(&q, 0, 1);
    assert_true(queue_has_full_batch(&q));
    add(&q, 0, 1);
    assert_int_equal(cut(&q, 0), 2);
    assert_int_equal(cut(&q, 0), 1);

    for (int i = 0; i < 17; i++) /* the rest: 8 x 16384 would fit, but for the topics */
        add(&q, HEADERS_BYTES_MAX, 1);
    assert_int_equal(cut(&q, 0), 7);
    assert_int_equal(cut(&q, HEADERS_BYTES_MAX), 6);
    assert_int_equal(cut(&q, BATCH_REST_BYTES_MAX), 1);
    assert_int_equal(cut(&q, 0), 3);
    queue_fini(&q);
}

/* Broken when a fast client takes all memory, loses a publish it was told OK for, or meets a
 * queue that stays shut. */
static void
a_full_queue_is_busy_until_it_is_cut(void **state)
{
    (void)state;
    struct queue q;
    uint64_t     serial;
    queue_init(&q);
    for (int i = 0; i < QUEUE_MESSAGES_MAX; i++) {
        assert_true(queue_takes(&q));
        add(&q, 0, 1);
    }
    assert_true(is_full(&q) && !queue_takes(&q));
    assert_int_equal(cut(&q, 0), BATCH_MESSAGES_MAX);
    assert_int_equal(add(&q, 0, 1), QUEUE_MESSAGES_MAX + 1);
    assert_int_equal(queue_drop(&q, &serial), QUEUE_MESSAGES_MAX - BATCH_MESSAGES_MAX + 1);
    assert_int_equal(serial, BATCH_MESSAGES_MAX + 1);
    assert_int_equal(queue_drop(&q, &serial), 0);

    for (int i = 0; i < 7; i++) { /* 8 MiB of bytes are less than 8 such messages */
        assert_true(queue_takes(&q));
        add(&q, 0, BODY_BYTES_MAX);
    }
    assert_false(queue_takes(&q)); /* a small one still fits */
    add(&q, 0, BODY_BYTES_MAX - 8);
    assert_true(is_full(&q));
    assert_int_equal(cut(&q, 0), 1);
    assert_false(is_full(&q));
    assert_int_equal(q.count, 8);
    queue_fini(&q);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out_in_order),
        cmocka_unit_test(a_batch_ends_at_each_limit),
        cmocka_unit_test(a_full_queue_is_busy_until_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
