/* day_test - a day of a small cluster: restarts, cuts, retention, clients that move.
 *
 * Everything the simulator checks after each event holds for 24 hours, and what is kept in
 * memory, on disk and in cursors at the end of the day is what it was in the morning. */
#include "tests/unit.h"

#include "story.h"

#include "base/prng.h"
#include "core/journal.h"

#include <stdio.h>

enum { BROKERS = 3, SUBS = 4, MINUTES = 24 * 60 };

struct day {
    struct sim *s;
    struct prng prng;
    uint32_t    published, sub[SUBS];
    uint32_t    down; /* broker + 1; 0: all run */
    uint32_t    streams_max, batches_max;
};

static uint32_t
any(struct day *d, uint32_t below)
{
    return (uint32_t)prng_below(&d->prng, below);
}

static uint32_t
one_that_runs(struct day *d)
{
    uint32_t i = any(d, BROKERS);
    return d->down == i + 1 ? (i + 1) % BROKERS : i;
}

static void
publish(struct day *d)
{
    char topic[16], body[16];
    snprintf(topic, sizeof topic, "t/%u", any(d, 8));
    snprintf(body, sizeof body, "%u", ++d->published);
    sim_publish(d->s, one_that_runs(d), topic, body);
}

/* Those whose broker is gone go on elsewhere; now and then one moves for no reason. */
static void
move_clients(struct day *d, bool all)
{
    for (uint32_t k = 0; k < SUBS; k++)
        if (all || any(d, 20) == 0)
            sim_move(d->s, d->sub[k], one_that_runs(d));
}

static void
trouble(struct day *d, uint32_t minute)
{
    if (minute % 20 == 7) {
        d->down = 1 + any(d, BROKERS);
        sim_crash(d->s, d->down - 1);
        move_clients(d, true);
    } else if (minute % 20 == 9) {
        sim_start(d->s, d->down - 1);
        d->down = 0;
    } else if (minute % 60 == 31) {
        sim_cut(d->s, 0, 1 + any(d, 2));
    } else if (minute % 60 == 39) {
        sim_heal_all(d->s);
    }
}

static void
measure(struct day *d)
{
    for (uint32_t i = 0; i < BROKERS; i++) {
        if (!sim_is_up(d->s, i))
            continue;
        uint32_t streams = broker_vector(sim_broker(d->s, i))->count;
        uint32_t batches = store_mem_batches(sim_disk(d->s, i));
        d->streams_max   = streams > d->streams_max ? streams : d->streams_max;
        d->batches_max   = batches > d->batches_max ? batches : d->batches_max;
    }
}

static void
run_minutes(struct day *d, uint32_t from, uint32_t to)
{
    d->streams_max = d->batches_max = 0;
    for (uint32_t minute = from; minute < to; minute++) {
        for (uint32_t n = any(d, 5); n > 0; n--) {
            publish(d);
            sim_run(d->s, 1 + any(d, 5000));
        }
        trouble(d, minute);
        move_clients(d, false);
        sim_run(d->s, 60000 - sim_now(d->s) % 60000);
        measure(d);
    }
}

/* Something would grow, or some invariant break, only after hours. */
static void
a_day_goes_by(void **state)
{
    (void)state;
    struct day d = {.prng = {24}};
    d.s          = sim_new(&(struct sim_config){
                 .seed      = 24,
                 .brokers   = BROKERS,
                 .terse     = true,
                 .retention = {.age_ms = 20 * 60000, .retire_ms = 40 * 60000},
                 .retain_ms = 10000,
    });
    sim_start_all(d.s);
    story_settle(d.s, 20000);
    for (uint32_t k = 0; k < SUBS; k++)
        d.sub[k] = sim_subscribe(d.s, k % BROKERS, k % 2 ? "t/#" : "#", FROM_LATEST);
    run_minutes(&d, 0, MINUTES / 4);
    uint32_t streams = d.streams_max, batches = d.batches_max;
    run_minutes(&d, MINUTES / 4, MINUTES - 10);
    story_settle(d.s, 60000);
    sim_run(d.s, 10000);
    oracle_check(d.s);
    oracle_heads(d.s);
    assert_true(d.published > 2000);
    assert_true(d.streams_max <= streams + streams / 2 + 2);
    assert_true(d.batches_max <= batches + batches / 2);
    sim_free(d.s);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(a_day_goes_by),
    };
    story_quiet();
    return cmocka_run_group_tests_name("a day", test, NULL, NULL);
}
