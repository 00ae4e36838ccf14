#include "core/live.h"

#include "base/blob.h"
#include "core/batch.h"
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

static const uint8_t space[BODY_BYTES_MAX];

static enum err
add(struct queue *q, const char *body, uint64_t *serial)
{
    const struct msg m = {.topic = STR("t"), .headers = STR("meta-a: b\n"), .body = str_of(body)};
    return queue_add(q, &m, serial);
}

static struct batch *
seal(struct queue *q, struct stamp *clock, uint64_t *serial)
{
    struct sealed sealed;
    assert_int_equal(live_seal(q, STR("me:1"), clock, (struct wall){77}, &sealed), ERR_OK);
    assert_true(live_is_valid(sealed.batch));
    *serial = sealed.serial;
    return sealed.batch;
}

/* Broken when a message is delivered with another's text, stamp or time, or answered as another. */
static void
what_was_published_is_what_is_sealed(void **state)
{
    (void)state;
    struct queue q;
    struct stamp clock;
    uint64_t     serial = 0;
    char         body[16];
    queue_init(&q);
    stamp_init(&clock, 40);
    for (uint64_t i = 1; i <= BATCH_MESSAGES_MAX + 10; i++) {
        snprintf(body, sizeof body, "%llu", (unsigned long long)i);
        assert_int_equal(add(&q, body, &serial), ERR_OK);
        assert_int_equal(serial, i);
    }
    for (uint64_t from = 1; from <= BATCH_MESSAGES_MAX + 1; from += BATCH_MESSAGES_MAX) {
        struct batch *b = seal(&q, &clock, &serial);
        assert_int_equal(serial, from);
        assert_int_equal(b->count, from == 1 ? BATCH_MESSAGES_MAX : 10);
        assert_int_equal(b->lamport_first, 40 + from);
        assert_int_equal(b->wall.ms, 77);
        assert_true(str_eq(b->origin, STR("me:1")));
        for (uint32_t i = 0; i < b->count; i++) {
            snprintf(body, sizeof body, "%llu", (unsigned long long)(from + i));
            assert_true(str_eq(b->msg[i].body, str_of(body)));
            assert_true(str_eq(b->msg[i].topic, STR("t")));
            assert_true(str_eq(b->msg[i].headers, STR("meta-a: b\n")));
        }
        blob_drop(b);
    }
    assert_int_equal(q.count, 0);
    assert_int_equal(clock.now, 40 + BATCH_MESSAGES_MAX + 10);
    queue_trim(&q);
    queue_fini(&q);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when stamps are given out that are not there. */
static void
without_stamps_nothing_is_sealed(void **state)
{
    (void)state;
    struct queue  q;
    struct stamp  clock;
    struct sealed sealed = {0};
    uint64_t      serial;
    queue_init(&q);
    stamp_init(&clock, STAMP_MAX);
    assert_int_equal(add(&q, "x", &serial), ERR_OK);
    assert_int_equal(live_seal(&q, STR("me:1"), &clock, (struct wall){0}, &sealed), ERR_LIMIT);
    assert_null(sealed.batch);
    assert_int_equal(queue_drop(&q, &serial), 1);
    assert_int_equal(serial, 1);
    queue_fini(&q);
}

/* ---- the shelf ---- */

static struct batch *
batch_of(size_t bytes)
{
    const struct msg         m = {.topic = STR("t"), .body = {space, bytes}};
    const struct batch_parts p = {.lamport_first = 1, .origin = STR("me:1"), .msg = &m, .count = 1};
    return batch_make_live(&p);
}

static uint64_t
put(struct shelf *s, size_t bytes)
{
    struct batch *b     = batch_of(bytes);
    uint64_t      place = shelf_put(s, b);
    blob_drop(b);
    return place;
}

/* Broken when a batch leaves while somebody uses it, or stays when nobody does. */
static void
it_stays_as_long_as_it_is_used(void **state)
{
    (void)state;
    struct shelf s;
    shelf_init(&s);
    uint64_t a = put(&s, 10), b = put(&s, 10);
    shelf_use(&s, a);
    shelf_done(&s, a);
    shelf_done(&s, b);
    assert_non_null(shelf_at(&s, a));
    assert_null(shelf_at(&s, b));
    const struct batch *last = shelf_at(&s, a);
    shelf_done(&s, a);
    assert_null(shelf_at(&s, a));
    assert_int_equal(last->msg[0].body.n, 10); /* still to be read */
    assert_int_equal(s.bytes, 0);
    shelf_tidy(&s);
    assert_int_equal(blob_bytes_used(), 0);
    shelf_fini(&s);
}

/* Broken when what is not taken grows beyond its budget, or not the oldest goes. */
static void
the_oldest_goes(void **state)
{
    (void)state;
    struct shelf s;
    uint64_t     n = LIVE_WAITING_BYTES_MAX / BODY_BYTES_MAX + 2;
    shelf_init(&s);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(put(&s, BODY_BYTES_MAX), i);
    assert_true(s.bytes <= LIVE_WAITING_BYTES_MAX);
    assert_null(shelf_at(&s, 0));
    assert_null(shelf_at(&s, 2));
    assert_non_null(shelf_at(&s, 3));
    shelf_done(&s, 0); /* who used it is told by shelf_at() */
    shelf_done(&s, n - 1);
    shelf_fini(&s);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when small ones that wait take more than their table, or are mixed up as it grows. */
static void
so_do_small_ones_when_there_are_many(void **state)
{
    (void)state;
    enum { MANY = 70000, MOST = 65536 };
    struct shelf  s;
    struct batch *b = batch_of(1);
    shelf_init(&s);
    for (uint64_t i = 0; i < MANY; i++)
        assert_int_equal(shelf_put(&s, b), i);
    assert_int_equal(s.next - s.first, MOST);
    assert_null(shelf_at(&s, MANY - MOST - 1));
    assert_ptr_equal(shelf_at(&s, MANY - MOST), b);
    assert_ptr_equal(shelf_at(&s, MANY - 1), b);
    shelf_fini(&s);
    blob_drop(b);
    assert_int_equal(blob_bytes_used(), 0);
}

/* Broken when memory is given back that what waits lies in, or is kept when nothing does. */
static void
memory_goes_when_nothing_waits(void **state)
{
    (void)state;
    struct queue  q;
    struct stamp  clock;
    uint64_t      serial;
    struct batch *b;
    queue_init(&q);
    stamp_init(&clock, 0);
    assert_int_equal(add(&q, "body", &serial), ERR_OK);
    queue_trim(&q);
    b = seal(&q, &clock, &serial);
    assert_true(str_eq(b->msg[0].body, STR("body")));
    blob_drop(b);
    queue_trim(&q);
    assert_int_equal(q.bytes.cap, 0);
    queue_fini(&q);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(what_was_published_is_what_is_sealed),
        cmocka_unit_test(without_stamps_nothing_is_sealed),
        cmocka_unit_test(memory_goes_when_nothing_waits),
        cmocka_unit_test(it_stays_as_long_as_it_is_used),
        cmocka_unit_test(the_oldest_goes),
        cmocka_unit_test(so_do_small_ones_when_there_are_many),
    };
    return cmocka_run_group_tests_name("live", test, NULL, NULL);
}
