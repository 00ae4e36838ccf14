/* The real file, and calls that fail: a short story with the k-th call of one kind failing, once
 * or from then on, for k = 1, 2, 3... until it ends without having come so far.
 *
 * Each is a process of its own, since a failed sync ends it, and so does memory that the system
 * refuses to base/mem.  `make test` passes over some k; `make crash` (CRASH_ALL=1) takes all
 * but of SQLite's calls for memory, and `make crash-memory` (CRASH_ALL=2) all of those.
 * CRASH_PART=2/6 takes the second of six shares of the k. */
#include "tests/unit.h"

#include "base/trace.h"
#include "tests/crash/crash_story.h"
#include "tests/crash/vfs_log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPS = 36, CONDEMN_AT = 24, K_MAX = 100000, DENSE = 8 };
#define SEED 3

/* What the process that fails leaves to the one that looks. */
struct shared {
    uint32_t done; /* operations that were answered */
    bool     fired, ended;
    bool     closing; /* it came when the store was closed or opened */
    uint64_t failures;
    char     where[sizeof story_where];
};

static struct shared *shared;
static struct buf     told[OPS + 1]; /* state after each operation, when nothing fails */

/* ---- the story ---- */

/* Does the store close in it? */
static bool
step(struct story *s, uint32_t i)
{
    if (i != CONDEMN_AT)
        return strcmp(story_step(s), "reopen") == 0;
    story_condemn(s);
    story_close(s);
    story_open(s);
    return true;
}

static void
begin(struct story *s, const char *dir)
{
    story_init(s, SEED, dir);
    s->is_small = true;
}

static void
tell_all(void)
{
    struct story s;
    char         dir[64];
    story_folder(dir);
    begin(&s, dir);
    for (uint32_t i = 0; i <= OPS; i++) {
        if (i == 0)
            story_open(&s);
        else
            step(&s, i);
        buf_init(&told[i], 0);
        story_tell(&s, &told[i]);
    }
    story_close(&s);
    story_fini(&s);
    story_folder_gone(dir);
}

static void
hear(struct story *s, struct buf *out)
{
    buf_init(out, 0);
    story_hear(s->store, s->reader, s->found, s->dir, out);
}

/* ---- one failure ---- */

struct fault {
    enum vfs_call call;
    const char   *name;
    int           error;
    bool          stays;
};

/* What was answered is there, also after another start, and it goes on. */
static void
look_again(struct story *s)
{
    struct buf wanted, heard;
    buf_init(&wanted, 0);
    story_tell(s, &wanted);
    story_close(s);
    story_open(s);
    hear(s, &heard);
    if (!str_eq(buf_str(&heard), buf_str(&wanted)))
        story_differs(buf_str(&heard), buf_str(&wanted));
    buf_fini(&heard);
    buf_fini(&wanted);
    s->may_fail = false; /* from now on nothing is refused */
    for (int i = 0; i < 3; i++)
        story_step(s);
    buf_init(&wanted, 0);
    story_tell(s, &wanted); /* which holds it against the model */
    buf_fini(&wanted);
}

static void
run(const struct fault *f, uint64_t k, const char *dir)
{
    struct story s;
    begin(&s, dir);
    s.may_fail = true;
    vfs_fail(f->call, k, f->stays, f->error);
    story_open(&s);
    for (uint32_t i = 1; i <= OPS; i++) {
        snprintf(shared->where, sizeof shared->where, "%s %llu fails%s with %s, operation %u",
                 f->name, (unsigned long long)k, f->stays ? " for ever" : "", strerror(f->error),
                 i);
        memcpy(story_where, shared->where, sizeof story_where);
        bool closing    = step(&s, i);
        shared->done    = i;
        shared->closing = shared->fired ? shared->closing : closing;
        shared->fired   = vfs_failed() > 0;
    }
    vfs_heal();
    shared->fired    = vfs_failed() > 0;
    shared->failures = s.failures;
    look_again(&s);
    story_close(&s);
    story_fini(&s);
    shared->ended = true;
}

/* Where the process had to end: what it had answered is there. */
static void
look_after(const char *dir)
{
    struct story s;
    struct buf   heard;
    begin(&s, dir);
    s.is_condemned = true; /* maybe */
    memcpy(story_where, shared->where, sizeof story_where);
    story_open(&s);
    hear(&s, &heard);
    bool is = str_eq(buf_str(&heard), buf_str(&told[shared->done])) ||
              (shared->done < OPS && str_eq(buf_str(&heard), buf_str(&told[shared->done + 1])));
    if (!is)
        story_differs(buf_str(&heard), buf_str(&told[shared->done]));
    buf_fini(&heard);
    story_close(&s);
    story_fini(&s);
}

/* How a process may end beside having got through. */
static bool
may_end_so(const struct fault *f, int status)
{
    if (f->call == CALL_SYNC)
        return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE;
    if (f->call == CALL_MEM) /* CHECK says where, and aborts */
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    return false;
}

static int
status_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Did the story come as far as k? */
static bool
fails_well(const struct fault *f, uint64_t k, const char *dir)
{
    *shared     = (struct shared){0};
    pid_t child = fork();
    if (child == 0) {
        run(f, k, dir);
        _exit(0);
    }
    int status = status_of(child);
    if (status != 0) {
        if (!may_end_so(f, status))
            fail_msg("status %x: %s", (unsigned)status, shared->where);
        shared->fired = true;
        child         = fork();
        if (child == 0) {
            look_after(dir);
            _exit(0);
        }
        assert_int_equal(status_of(child), 0);
    } else {
        assert_true(shared->ended);
        /* What is not synced at the end is in the WAL still. */
        assert_false(f->call == CALL_SYNC && shared->fired && !shared->closing);
    }
    story_folder_empty(dir);
    return shared->fired;
}

/* ---- all of them ---- */

static int
takes_all(void)
{
    const char *all = getenv("CRASH_ALL");
    return all ? atoi(all) : 0;
}

/* All of the first, and then a quarter more each time; SQLite asks for memory some forty thousand
 * times, and of these even `make crash` passes over most. */
static uint64_t
next_k(const struct fault *f, uint64_t k, uint64_t shares)
{
    bool     all  = takes_all() > (f->call == CALL_MALLOC ? 1 : 0);
    uint64_t step = all ? 0 : takes_all() ? k / 100 : k < DENSE ? 0 : k / 4;
    return k + (step > 0 ? step : 1) * shares;
}

static void
share_asked_for(uint64_t *part, uint64_t *of)
{
    const char *text = getenv("CRASH_PART");
    unsigned    p, n;
    if (!text || !*text)
        return;
    assert_int_equal(sscanf(text, "%u/%u", &p, &n), 2);
    assert_true(p >= 1 && p <= n);
    *part = p;
    *of   = n;
}

static uint64_t
fail_each(const struct fault *f)
{
    char     dir[64];
    uint64_t k = 1, shares = 1, runs = 0, refused = 0, ended = 0;
    story_folder(dir);
    share_asked_for(&k, &shares);
    for (; fails_well(f, k, dir); k = next_k(f, k, shares), runs++) {
        assert_true(k < K_MAX);
        refused += shared->failures > 0;
        ended += !shared->ended;
    }
    story_folder_gone(dir);
    print_message("%-8s %-26s %-8s below %5llu: %3llu runs, %3llu refused, %3llu ended\n", f->name,
                  strerror(f->error), f->stays ? "for ever" : "once", (unsigned long long)k,
                  (unsigned long long)runs, (unsigned long long)refused, (unsigned long long)ended);
    return runs;
}

static void
each_of(const struct fault *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(fail_each(&row[i]) > 0);
}

/* Without it a disk that is full, or fails, takes the process or what it had acknowledged. */
static void
any_call_of_the_file_may_fail(void **state)
{
    static const struct fault row[] = {
        {CALL_WRITE, "write", ENOSPC, false},
        {CALL_WRITE, "write", ENOSPC, true},
        {CALL_WRITE, "write", EIO, false},
        {CALL_WRITE, "write", EIO, true},
        {CALL_READ, "read", EIO, false},
        {CALL_READ, "read", EIO, true},
        {CALL_TRUNCATE, "truncate", EIO, true},
        {CALL_TRUNCATE, "truncate", EIO, false},
        {CALL_OPEN, "open", EIO, false},
        {CALL_OPEN, "open", ENOSPC, true},
        {CALL_DELETE, "delete", EIO, false},
        {CALL_DELETE, "delete", EIO, true},
        {CALL_INDEX, "index", ENOSPC, false},
        {CALL_INDEX, "index", ENOSPC, true},
        {CALL_BESIDE, "beside", EIO, false},
        {CALL_BESIDE, "beside", ENOSPC, true},
        {CALL_TRUNCATE, "truncate", ENOSPC, false},
        {CALL_OPEN, "open", ENOSPC, false},
        {CALL_DELETE, "delete", ENOSPC, false},
        {CALL_INDEX, "index", EIO, false},
        {CALL_BESIDE, "beside", ENOSPC, false},
        {CALL_BESIDE, "beside", EIO, true},
    };
    (void)state;
    each_of(row, sizeof row / sizeof *row);
}

/* Without it a broker goes on after a sync that failed, and loses what it acknowledges. */
static void
a_sync_that_fails_ends_the_process(void **state)
{
    static const struct fault row[] = {{CALL_SYNC, "sync", EIO, false},
                                       {CALL_SYNC, "sync", ENOSPC, false},
                                       {CALL_SYNC, "sync", EIO, true},
                                       {CALL_SYNC, "sync", ENOSPC, true}};
    (void)state;
    each_of(row, sizeof row / sizeof *row);
}

/* Without it memory that runs out takes more than the process. */
static void
memory_may_run_out(void **state)
{
    static const struct fault row[] = {{CALL_MALLOC, "malloc", ENOMEM, false},
                                       {CALL_MALLOC, "malloc", ENOMEM, true},
                                       {CALL_MEM, "mem", ENOMEM, false}};
    (void)state;
    each_of(row, sizeof row / sizeof *row);
}

static int
prepare(void **state)
{
    (void)state;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    vfs_take_malloc();
    vfs_log_register();
    tell_all();
    return 0;
}

static int
clean_up(void **state)
{
    (void)state;
    for (int i = 0; i <= OPS; i++)
        buf_fini(&told[i]);
    return munmap(shared, sizeof *shared);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(any_call_of_the_file_may_fail),
        cmocka_unit_test(a_sync_that_fails_ends_the_process),
        cmocka_unit_test(memory_may_run_out),
    };
    const char *said = getenv("CRASH_TRACE");
    if (!said || !*said) /* failures are what is asked for here */
        trace_set_sink(trace_drop, NULL);
    if (takes_all() > 1)
        cmocka_set_test_filter("memory*");
    return cmocka_run_group_tests_name("failing", test, prepare, clean_up);
}
