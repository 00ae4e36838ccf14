#include "io/loop.h"

#include "io/clock.h"

#include <signal.h>
#include <sys/resource.h>

#include "tests/unit.h"

struct bell {
    struct loop      *loop;
    struct loop_timer timer;
    int              *next;
    int               rang; /* which one it was */
};

static void
ring(void *ctx)
{
    struct bell *b = ctx;
    b->rang        = ++*b->next;
}

static void
test_timers_fire_by_deadline(void **state)
{
    /* Broken if timers fire in the order of setting, twice, or after being stopped. */
    (void)state;
    enum { N = 50 };
    struct loop *l     = loop_new();
    struct mono  now   = loop_now(l);
    int          count = 0;
    struct bell  bell[N];
    for (int i = 0; i < N; i++) {
        int at        = (i * 37) % N; /* a permutation */
        bell[i]       = (struct bell){.loop = l, .next = &count};
        bell[i].timer = (struct loop_timer){.fire = ring, .ctx = &bell[i]};
        loop_timer_set(l, &bell[i].timer, mono_after(now, 1 + (uint64_t)at / 5));
    }
    loop_timer_stop(l, &bell[7].timer);
    loop_timer_set(l, &bell[8].timer, MONO_NEVER);
    loop_timer_set(l, &bell[9].timer, mono_after(now, 40)); /* moved to the end */
    while (bell[9].rang == 0)
        loop_step(l);
    assert_int_equal(count, N - 2);
    assert_int_equal(bell[9].rang, N - 2);
    assert_int_equal(bell[7].rang, 0);
    assert_int_equal(bell[8].rang, 0);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            if (bell[i].rang && bell[k].rang && bell[i].timer.at.ms < bell[k].timer.at.ms)
                assert_true(bell[i].rang < bell[k].rang);
    loop_free(l);
}

struct turns {
    struct loop *loop;
    int          turns, wakes, again;
};

static void
on_turn(void *ctx)
{
    struct turns *t = ctx;
    t->turns++;
    if (t->again-- > 0)
        loop_again(t->loop);
}

static void
on_wake(void *ctx)
{
    struct turns *t = ctx;
    t->wakes++;
}

static void
test_turns_follow_what_happened(void **state)
{
    /* Broken if a wake-up is lost or the hook does not run behind it. */
    (void)state;
    struct turns t = {.loop = loop_new()};
    loop_set_turn(t.loop, on_turn, &t);
    struct loop_waker *w = loop_waker_new(t.loop, on_wake, &t);
    loop_wake(w);
    loop_wake(w);
    loop_step(t.loop);
    assert_int_equal(t.turns, 1); /* before it waited */
    assert_int_equal(t.wakes, 1);
    t.again = 3; /* each asks for the next, none waits */
    for (int i = 0; i < 4; i++) {
        loop_wake(w);
        loop_step(t.loop);
    }
    assert_int_equal(t.turns, 5);
    loop_waker_free(w);
    loop_free(t.loop);
}

static int signal_seen;

static void
on_signal(void *ctx, int signum)
{
    (void)ctx;
    signal_seen = signum;
}

static void
test_signals_come_on_the_loop(void **state)
{
    /* Broken if SIGHUP kills the process instead of telling it. */
    (void)state;
    struct loop *l = loop_new();
    loop_on_signals(l, on_signal, NULL);
    raise(SIGHUP);
    while (signal_seen == 0)
        loop_step(l);
    assert_int_equal(signal_seen, SIGHUP);
    loop_free(l);
}

static void
test_idle_loop_sleeps(void **state)
{
    /* Broken if waiting for a timer takes processor time. */
    (void)state;
    struct loop  *l     = loop_new();
    int           count = 0;
    struct bell   bell  = {.next = &count};
    struct rusage before, after;
    bell.timer = (struct loop_timer){.fire = ring, .ctx = &bell};
    loop_timer_set(l, &bell.timer, mono_after(mono_now(), 150));
    getrusage(RUSAGE_SELF, &before);
    int steps = 0;
    for (; bell.rang == 0; steps++)
        loop_step(l);
    getrusage(RUSAGE_SELF, &after);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
              (after.ru_utime.tv_usec - before.ru_utime.tv_usec);
    assert_true(us < 50000);
    assert_true(steps < 20);
    loop_free(l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_by_deadline),
        cmocka_unit_test(test_turns_follow_what_happened),
        cmocka_unit_test(test_signals_come_on_the_loop),
        cmocka_unit_test(test_idle_loop_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
