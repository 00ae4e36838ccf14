/* simulator - many seeds of the swarm, or one with its story.
 *
 *   simulator --seeds 1000 [--first 1] [--jobs 2] [--failures 5] [--without crash,cut]
 *   simulator --seed 7 [--without crash,cut]
 *
 * Each job is a process that takes every jobs-th seed; one that dies of a violation is followed
 * by another, which goes on behind that seed.  Ends with "N passed, M failed", and 1 when a seed
 * failed or when something was never tried. */
#include "sim/tally.h"

#include "base/check.h"
#include "base/str.h"
#include "base/trace.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64, SECONDS_MAX = 300 }; /* the latter of CPU for a seed: it hangs */

static struct {
    uint64_t seed, seeds, first, jobs, failures;
    uint64_t without; /* faults */
} arg = {.seeds = 60, .first = 1, .jobs = 1, .failures = 5};

struct job {
    pid_t    pid;
    int      fd;   /* what it reports; -1: it is done */
    uint64_t next; /* the seed that it runs now */
};

struct result {
    struct swarm_report report;
    uint64_t            cpu_us;
};

static struct options
options_of(uint64_t seed)
{
    struct options o = options_draw(seed);
    o.faults &= ~arg.without;
    return o;
}

static void
run(uint64_t seed, bool story, struct result *r)
{
    struct options o     = options_of(seed);
    clock_t        began = clock();
    swarm_run(&o, story, &r->report);
    r->cpu_us = (uint64_t)(clock() - began) * 1000000 / CLOCKS_PER_SEC;
}

/* ---- one ---- */

static void
tell_options(const struct options *o)
{
    printf("%u brokers, %u windows, faults in %u %% of the steps:", o->brokers, o->windows,
           o->fault_percent);
    for (int f = 0; f < FAULT_END; f++)
        if (options_has(o, (enum fault)f))
            printf(" %s", fault_name((enum fault)f));
    puts("");
    fflush(stdout);
}

static int
replay(void)
{
    struct options o = options_of(arg.seed);
    struct tally   t = {0};
    struct result  r;
    tell_options(&o);
    run(arg.seed, true, &r);
    tally_add(&t, &r.report, r.cpu_us);
    tally_print(&t, stdout);
    printf("trace %016llx\n", (unsigned long long)r.report.hash);
    return 0;
}

/* ---- many ---- */

static _Noreturn void
work(uint64_t seed, int fd)
{
    for (; seed < arg.first + arg.seeds; seed += arg.jobs) {
        struct result r = {0};
        alarm(SECONDS_MAX);
        run(seed, false, &r);
        if (write(fd, &r, sizeof r) != sizeof r)
            _exit(2);
    }
    exit(0); /* not _exit(): what was covered is counted */
}

static void
start(struct job *job, uint64_t seed)
{
    int fd[2];
    CHECK(pipe(fd) == 0);
    fflush(stdout);
    *job = (struct job){.fd = fd[0], .next = seed, .pid = fork()};
    CHECK(job->pid >= 0);
    if (job->pid == 0) {
        close(fd[0]);
        work(seed, fd[1]);
    }
    close(fd[1]);
}

/* It ended: with its last seed, or in the middle of one.  False: in the middle. */
static bool
bury(struct job *job)
{
    int status;
    close(job->fd);
    job->fd = -1;
    waitpid(job->pid, &status, 0);
    if (status == 0)
        return true;
    printf("seed %llu failed%s; `make sim SEED=%llu` replays it\n", (unsigned long long)job->next,
           WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it never ends" : "",
           (unsigned long long)job->next);
    fflush(stdout);
    return false;
}

static void
stop(struct job *job, uint64_t count)
{
    for (uint64_t k = 0; k < count; k++)
        if (job[k].fd >= 0) {
            kill(job[k].pid, SIGKILL);
            waitpid(job[k].pid, NULL, 0);
            close(job[k].fd);
        }
}

/* False: it is over with this job. */
static bool
hear(struct job *job, struct tally *t, uint64_t *failed)
{
    struct result r;
    if (read(job->fd, &r, sizeof r) == sizeof r) {
        tally_add(t, &r.report, r.cpu_us);
        job->next += arg.jobs;
        return true;
    }
    if (bury(job))
        return false;
    ++*failed;
    start(job, job->next + arg.jobs);
    return true;
}

static uint64_t
run_all(struct tally *t)
{
    struct job    job[JOBS_MAX];
    struct pollfd poll_at[JOBS_MAX];
    uint64_t      failed = 0, running = arg.jobs;
    for (uint64_t k = 0; k < arg.jobs; k++)
        start(&job[k], arg.first + k);
    while (running > 0) {
        for (uint64_t k = 0; k < arg.jobs; k++)
            poll_at[k] = (struct pollfd){.fd = job[k].fd, .events = POLLIN};
        if (poll(poll_at, arg.jobs, -1) < 0)
            continue;
        for (uint64_t k = 0; k < arg.jobs; k++)
            if (poll_at[k].revents && !hear(&job[k], t, &failed))
                running--;
        if (failed >= arg.failures) {
            stop(job, arg.jobs);
            break;
        }
    }
    return failed;
}

static int
run_many(void)
{
    static struct tally t;
    uint64_t            failed = run_all(&t);
    tally_print(&t, stdout);
    failed += tally_blind(&t, stdout);
    printf("%llu passed, %llu failed\n", (unsigned long long)t.seeds, (unsigned long long)failed);
    return failed > 0;
}

/* ---- arguments ---- */

static _Noreturn void
refuse(const char *name, const char *value, const char *what)
{
    fprintf(stderr, "simulator: %s %s: %s\n", name, value, what);
    fputs("usage: simulator --seeds N [--first N] [--jobs N] [--failures N] [--without LIST]\n"
          "       simulator --seed N [--without LIST]\n",
          stderr);
    exit(2);
}

static void
leave_out(char *list)
{
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        enum fault f = fault_of(name);
        if (f == FAULT_END)
            refuse("--without", name, "no such class of faults: sim/faults.def has them");
        arg.without |= UINT64_C(1) << f;
    }
}

static void
read_arg(const char *name, char *value)
{
    static const struct {
        const char *name;
        uint64_t   *to;
    } number[] = {{"--seed", &arg.seed},
                  {"--seeds", &arg.seeds},
                  {"--first", &arg.first},
                  {"--jobs", &arg.jobs},
                  {"--failures", &arg.failures}};
    if (strcmp(name, "--without") == 0) {
        leave_out(value);
        return;
    }
    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        if (strcmp(name, number[i].name) == 0) {
            if (!str_to_u64(str_of(value), number[i].to) || *number[i].to == 0)
                refuse(name, value, "a number from 1 on");
            return;
        }
    refuse(name, value, "no such option");
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            refuse(argv[i], "", "its value is missing");
        read_arg(argv[i], argv[i + 1]);
    }
    if (arg.jobs > JOBS_MAX)
        arg.jobs = JOBS_MAX;
    trace_set_sink(trace_drop, NULL);
    return arg.seed > 0 ? replay() : run_many();
}
