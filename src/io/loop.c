#include "io/loop.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop_private.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

/* ---- timers: a binary heap by deadline ---- */

static void
place(struct loop *l, uint32_t index, struct loop_timer *t)
{
    l->heap[index] = t;
    t->slot        = index + 1;
}

static void
sift_up(struct loop *l, uint32_t index)
{
    struct loop_timer *t = l->heap[index];
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (l->heap[parent]->at.ms <= t->at.ms)
            break;
        place(l, index, l->heap[parent]);
        index = parent;
    }
    place(l, index, t);
}

static void
sift_down(struct loop *l, uint32_t index)
{
    struct loop_timer *t = l->heap[index];
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child >= l->heap_count)
            break;
        if (child + 1 < l->heap_count && l->heap[child + 1]->at.ms < l->heap[child]->at.ms)
            child++;
        if (t->at.ms <= l->heap[child]->at.ms)
            break;
        place(l, index, l->heap[child]);
        index = child;
    }
    place(l, index, t);
}

void
loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    if (t->slot == 0)
        return;
    uint32_t index = t->slot - 1;
    CHECK(index < l->heap_count && l->heap[index] == t);
    struct loop_timer *last = l->heap[--l->heap_count];
    t->slot                 = 0;
    if (last == t)
        return;
    place(l, index, last);
    sift_up(l, index);
    sift_down(l, last->slot - 1);
}

void
loop_timer_set(struct loop *l, struct loop_timer *t, struct mono at)
{
    if (t->slot > 0 && t->at.ms == at.ms)
        return;
    loop_timer_stop(l, t);
    t->at = at;
    if (at.ms == MONO_NEVER.ms)
        return;
    CHECK(t->fire);
    if (l->heap_count == l->heap_cap) {
        l->heap_cap = l->heap_cap > 0 ? 2 * l->heap_cap : 64;
        l->heap     = mem_resize(l->heap, l->heap_cap * sizeof(struct loop_timer *));
    }
    place(l, l->heap_count++, t);
    sift_up(l, l->heap_count - 1);
}

static void
on_timer(uv_timer_t *handle)
{
    struct loop *l   = handle->data;
    struct mono  now = loop_now(l);
    l->timer_at      = UINT64_MAX;
    /* A timer that its own fire() sets anew for now waits for the next turn. */
    for (uint32_t n = l->heap_count; n > 0 && l->heap_count > 0; n--) {
        struct loop_timer *t = l->heap[0];
        if (!mono_reached(now, t->at))
            break;
        loop_timer_stop(l, t);
        t->fire(t->ctx);
        if (l->stepping)
            l->fired = true;
    }
}

static void
arm(struct loop *l)
{
    uint64_t at = l->heap_count > 0 ? l->heap[0]->at.ms : UINT64_MAX;
    if (at == l->timer_at)
        return;
    l->timer_at = at;
    if (at == UINT64_MAX)
        uv_timer_stop(&l->timer);
    else
        uv_timer_start(&l->timer, on_timer, mono_since((struct mono){at}, loop_now(l)), 0);
}

/* ---- turns ---- */

static void
on_idle(uv_idle_t *handle)
{
    (void)handle;
}

void
loop_again(struct loop *l)
{
    uv_idle_start(&l->idle, on_idle);
}

void
loop_touch(struct loop *l)
{
    if (l->in_tail)
        loop_again(l);
}

static void
on_prepare(uv_prepare_t *handle)
{
    struct loop *l = handle->data;
    uv_idle_stop(&l->idle);
    if (l->turn)
        l->turn(l->turn_ctx);
    l->in_tail = true;
    sock_flush_all(l);
    sock_reap_all(l);
    if (!list_is_empty(&l->dirty))
        loop_again(l);
    l->in_tail = false;
    if (l->fired)
        loop_again(l);
    l->fired = false;
    arm(l);
}

void
loop_trim(struct loop *l)
{
    sock_trim_all(l);
    malloc_trim(0);
}

void
loop_set_turn(struct loop *l, loop_hook *hook, void *ctx)
{
    l->turn     = hook;
    l->turn_ctx = ctx;
}

struct mono
loop_now(const struct loop *l)
{
    return (struct mono){uv_now(&l->uv)};
}

void
loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void
loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

void
loop_step(struct loop *l)
{
    l->stepping = true;
    uv_run(&l->uv, UV_RUN_ONCE);
    l->stepping = l->fired = false;
}

/* ---- signals ---- */

static const int signums[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

static void
on_signal(uv_signal_t *handle, int signum)
{
    struct loop *l = handle->data;
    l->on_signal(l->signal_ctx, signum);
}

void
loop_on_signals(struct loop *l, loop_signal *callback, void *ctx)
{
    signal(SIGPIPE, SIG_IGN);
    l->on_signal  = callback;
    l->signal_ctx = ctx;
    for (int i = 0; i < SIGNALS; i++)
        CHECK(uv_signal_start(&l->signal[i], on_signal, signums[i]) == 0);
}

/* ---- wake-ups ---- */

struct loop_waker {
    uv_async_t async;
    loop_hook *wake;
    void      *ctx;
};

static void
on_async(uv_async_t *handle)
{
    struct loop_waker *w = handle->data;
    w->wake(w->ctx);
}

struct loop_waker *
loop_waker_new(struct loop *l, loop_hook *wake, void *ctx)
{
    struct loop_waker *w = mem_new(sizeof *w);
    w->wake              = wake;
    w->ctx               = ctx;
    CHECK(uv_async_init(&l->uv, &w->async, on_async) == 0);
    w->async.data = w;
    return w;
}

void
loop_wake(struct loop_waker *w)
{
    uv_async_send(&w->async);
}

static void
on_waker_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void
loop_waker_free(struct loop_waker *w)
{
    uv_close((uv_handle_t *)&w->async, on_waker_closed);
}

/* ---- begin and end ---- */

struct loop *
loop_new(void)
{
    struct loop *l = mem_new(sizeof *l);
    CHECK(uv_loop_init(&l->uv) == 0);
    CHECK(uv_prepare_init(&l->uv, &l->prepare) == 0);
    CHECK(uv_idle_init(&l->uv, &l->idle) == 0);
    CHECK(uv_timer_init(&l->uv, &l->timer) == 0);
    l->prepare.data = l->timer.data = l;
    for (int i = 0; i < SIGNALS; i++) {
        CHECK(uv_signal_init(&l->uv, &l->signal[i]) == 0);
        l->signal[i].data = l;
    }
    l->timer_at = UINT64_MAX;
    list_init(&l->dirty);
    list_init(&l->doomed);
    CHECK(uv_prepare_start(&l->prepare, on_prepare) == 0);
    return l;
}

static void
close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void
loop_free(struct loop *l)
{
    sock_reap_all(l);
    uv_walk(&l->uv, close_handle, NULL);
    for (int i = 0; i < 4; i++)
        uv_run(&l->uv, UV_RUN_NOWAIT);
    /* A name that is still being resolved cannot be recalled: its thread would write
     * into freed memory, so the loop is left to the end of the process. */
    if (uv_loop_close(&l->uv) == UV_EBUSY)
        return;
    mem_free(l->heap);
    sock_free_spares(l);
    if (l->socks.object_bytes > 0)
        pool_fini(&l->socks);
    mem_free(l);
}

uint64_t
loop_raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 1024;
    if (r.rlim_cur < r.rlim_max) {
        struct rlimit up = {r.rlim_max, r.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &up) == 0)
            r = up;
    }
    return r.rlim_cur == RLIM_INFINITY ? UINT64_MAX : r.rlim_cur;
}
