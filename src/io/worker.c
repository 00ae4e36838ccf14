#include "io/worker.h"

#include "base/check.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* A list of jobs that only grows, until it is taken whole. */
struct jobs {
    void   **at;
    uint32_t count, cap;
};

struct worker {
    struct worker_config config;
    pthread_t            thread;
    pthread_mutex_t      lock;
    pthread_cond_t       given;
    bool                 stop; /* under the lock, as are the next two */
    struct jobs          waiting;
    struct jobs          finished;
    atomic_bool          has_given; /* a hint for who lingers: something was given, or stop */
    struct loop_waker   *waker;
    struct jobs          returning; /* the loop's, like `finished` emptied */
};

static void
add(struct jobs *j, void *const *job, uint32_t count)
{
    if (j->count + count > j->cap) {
        while (j->count + count > j->cap)
            j->cap = j->cap > 0 ? 2 * j->cap : 16;
        j->at = mem_resize(j->at, j->cap * sizeof(void *));
    }
    memcpy(j->at + j->count, job, count * sizeof(void *));
    j->count += count;
}

static void
swap(struct jobs *a, struct jobs *b)
{
    struct jobs t = *a;
    *a            = *b;
    *b            = t;
}

static uint64_t
now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Not sched_yield(): who yields may be passed over for as long as others are busy, and the
 * next job is there long before that. */
static void
linger(struct worker *w)
{
    if (w->config.linger_us == 0)
        return;
    uint64_t until = now_us() + w->config.linger_us;
    while (!atomic_load_explicit(&w->has_given, memory_order_relaxed) && now_us() < until)
        pause_briefly();
}

static void *
work(void *arg)
{
    struct worker *w     = arg;
    struct jobs    taken = {0};

    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->waiting.count == 0 && !w->stop)
            pthread_cond_wait(&w->given, &w->lock);
        if (w->waiting.count == 0)
            break;
        swap(&taken, &w->waiting);
        atomic_store_explicit(&w->has_given, false, memory_order_relaxed);
        pthread_mutex_unlock(&w->lock);

        w->config.run(w->config.ctx, taken.at, taken.count);

        pthread_mutex_lock(&w->lock);
        add(&w->finished, taken.at, taken.count);
        taken.count = 0;
        pthread_mutex_unlock(&w->lock);
        loop_wake(w->waker); /* unlocked: who wakes needs the lock */
        linger(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    mem_free(taken.at);
    return NULL;
}

static void
hand_back(void *ctx)
{
    struct worker *w = ctx;
    pthread_mutex_lock(&w->lock);
    swap(&w->returning, &w->finished);
    pthread_mutex_unlock(&w->lock);
    for (uint32_t i = 0; i < w->returning.count; i++)
        w->config.done(w->config.ctx, w->returning.at[i]);
    w->returning.count = 0;
}

struct worker *
worker_start(const struct worker_config *config)
{
    CHECK(strlen(config->name) < 16);
    struct worker *w = mem_new(sizeof *w);
    w->config        = *config;
    w->waker         = loop_waker_new(config->loop, hand_back, w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->given, NULL);

    /* Signals are the loop's alone. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&w->thread, NULL, work, w) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setname_np(w->thread, config->name);
    return w;
}

enum err
worker_give(struct worker *w, void *job)
{
    CHECK(job);
    enum err e = ERR_BUSY;
    pthread_mutex_lock(&w->lock);
    if (w->waiting.count < w->config.jobs_max) {
        add(&w->waiting, &job, 1);
        atomic_store_explicit(&w->has_given, true, memory_order_relaxed);
        e = ERR_OK;
    }
    pthread_mutex_unlock(&w->lock);
    if (e == ERR_OK)
        pthread_cond_signal(&w->given); /* unlocked: who wakes needs the lock */
    return e;
}

void
worker_stop(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    atomic_store_explicit(&w->has_given, true, memory_order_relaxed);
    pthread_cond_signal(&w->given);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    hand_back(w);
    loop_waker_free(w->waker);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->given);
    mem_free(w->waiting.at);
    mem_free(w->finished.at);
    mem_free(w->returning.at);
    mem_free(w);
}
