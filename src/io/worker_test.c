#include "io/worker.h"

#include <pthread.h>

#include "tests/unit.h"

enum { JOBS = 500 };

struct lab {
    struct loop    *loop;
    pthread_mutex_t gate;
    int             job[JOBS];
    int             runs, biggest; /* on the worker's thread */
    int             done, out_of_order;
    pthread_t       done_on;
};

static void
run(void *ctx, void *const *job, uint32_t count)
{
    struct lab *lab = ctx;
    pthread_mutex_lock(&lab->gate);
    lab->runs++;
    if ((int)count > lab->biggest)
        lab->biggest = (int)count;
    for (uint32_t i = 0; i < count; i++)
        *(int *)job[i] += 1000;
    pthread_mutex_unlock(&lab->gate);
}

static void
done(void *ctx, void *job)
{
    struct lab *lab = ctx;
    if (*(int *)job != 1000 + lab->done || job != &lab->job[lab->done])
        lab->out_of_order++;
    lab->done++;
    lab->done_on = pthread_self();
}

static struct worker *
start(struct lab *lab, uint32_t jobs_max)
{
    *lab = (struct lab){.loop = loop_new(), .gate = PTHREAD_MUTEX_INITIALIZER};
    for (int i = 0; i < JOBS; i++)
        lab->job[i] = i;
    struct worker_config config = {.loop     = lab->loop,
                                   .name     = "test",
                                   .jobs_max = jobs_max,
                                   .run      = run,
                                   .done     = done,
                                   .ctx      = lab};
    return worker_start(&config);
}

static void
test_jobs_group_and_come_back_in_order(void **state)
{
    /* Broken if commits that wait are not taken at once, or answers change places. */
    (void)state;
    struct lab     lab;
    struct worker *w = start(&lab, JOBS);
    pthread_mutex_lock(&lab.gate); /* the first ones are held while the rest gathers */
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(worker_give(w, &lab.job[i]), ERR_OK);
    pthread_mutex_unlock(&lab.gate);
    while (lab.done < JOBS)
        loop_step(lab.loop);
    assert_int_equal(lab.out_of_order, 0);
    assert_true(lab.runs <= 2); /* what came before the gate was reached, and the rest */
    assert_true(lab.biggest >= JOBS / 2);
    assert_true(pthread_equal(lab.done_on, pthread_self()));
    worker_stop(w);
    loop_free(lab.loop);
}

static void
test_full_queue_says_busy(void **state)
{
    /* Broken if a queue grows without bound, or a refused job is run anyway. */
    (void)state;
    struct lab     lab;
    struct worker *w     = start(&lab, 4);
    int            given = 0;
    pthread_mutex_lock(&lab.gate);
    while (given < 100 && worker_give(w, &lab.job[given]) == ERR_OK)
        given++;
    pthread_mutex_unlock(&lab.gate);
    assert_in_range(given, 4, 8); /* 4 waiting, up to 4 already taken */
    while (lab.done < given)
        loop_step(lab.loop);
    assert_int_equal(lab.job[given], given);
    worker_stop(w);
    loop_free(lab.loop);
}

static void
test_stop_finishes_what_was_given(void **state)
{
    /* Broken if a stop loses a commit or its answer. */
    (void)state;
    struct lab     lab;
    struct worker *w = start(&lab, JOBS);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(worker_give(w, &lab.job[i]), ERR_OK);
    worker_stop(w);
    assert_int_equal(lab.done, JOBS);
    assert_int_equal(lab.out_of_order, 0);
    loop_free(lab.loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_group_and_come_back_in_order),
        cmocka_unit_test(test_full_queue_says_busy),
        cmocka_unit_test(test_stop_finishes_what_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
