/* retain.c - how long a step of retention holds up the store's thread, and with what.
 *
 *   retain DIR MESSAGES COUNT BODY GROUP ROUNDS
 *
 * Fills DIR/broker.db with MESSAGES of BODY bytes in batches of COUNT.  Then, in each round and
 * one after the other: 4 KiB are appended to a file and synced, as the disk's own figure; a group
 * of GROUP batches is committed; another one and then a step of retention in a transaction of
 * its own; another one with a step in the same transaction.  A line for each: its name, how
 * many, and for each part of it the 50th and 99th percentile and the highest, in milliseconds.
 * The parts: all of the next three; work (SQL); writing to the WAL; its sync.  Then, not in all,
 * the checkpoint behind it, where there was one, and in brackets how often there was.
 * `lsns` are what a step took; `cpu` is what `all` took of the processor, which other programs
 * do not change much.
 *
 * It takes the place of pwrite64() and fdatasync(), so as to know what SQLite does. */
#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/page.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FDS = 64, GROUPS_MAX = 256, NAMES = 1000, BLOCK = 4096, GROW_STEP = 64 << 10 };

static double
now_ms(clockid_t which)
{
    struct timespec at;
    clock_gettime(which, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec * 1e-6;
}

static _Noreturn void
die(const char *what)
{
    fprintf(stderr, "retain: %s\n", what);
    exit(1);
}

/* ---- what the time goes to ---- */

enum part {
    PART_ALL,
    PART_WORK,
    PART_WRITE,
    PART_SYNC,
    PART_CHECKPOINT,
    PART_LSNS,
    PART_CPU,
    PARTS
};

static const char *const part_name[PARTS] = {"all",        "work", "write", "sync",
                                             "checkpoint", "lsns", "cpu"};

static struct {
    double part[PARTS];
    double mark, cpu; /* up to here all is told; of the processor */
    bool   is_written, is_copied;
} t;

static char known[FDS]; /* once the store is open */

/* What a file is, by its name: 'w' the WAL, 'd' the database, 'o' another. */
static char
kind_of(int fd)
{
    char link[64], path[4096];
    if (fd >= FDS)
        return 'o';
    if (known[fd])
        return known[fd];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n           = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    const char *end     = strstr(path, "broker.db");
    known[fd]           = !end ? 'o' : strcmp(end, "broker.db-wal") == 0 ? 'w' : 'd';
    return known[fd];
}

static void
spend(enum part p)
{
    double now = now_ms(CLOCK_MONOTONIC), cpu = now_ms(CLOCK_THREAD_CPUTIME_ID);
    t.part[p] += now - t.mark;
    if (p != PART_CHECKPOINT)
        t.part[PART_CPU] += cpu - t.cpu;
    t.mark = now;
    t.cpu  = cpu;
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    char kind = kind_of(fd);
    spend(kind == 'd' ? PART_CHECKPOINT : PART_WORK);
    ssize_t done = syscall(SYS_pwrite64, fd, p, n, at);
    t.is_written |= kind == 'w' && n != GROW_STEP;
    t.is_copied |= kind == 'd';
    spend(kind == 'd' ? PART_CHECKPOINT : PART_WRITE);
    return done;
}

int
fdatasync(int fd)
{
    char kind    = kind_of(fd);
    bool commits = kind == 'w' && t.is_written;
    spend(commits ? PART_WORK : PART_CHECKPOINT);
    int rc       = (int)syscall(SYS_fdatasync, fd);
    t.is_written = false;
    spend(commits ? PART_SYNC : PART_CHECKPOINT);
    return rc;
}

static void
start(void)
{
    memset(&t, 0, sizeof t);
    t.mark = now_ms(CLOCK_MONOTONIC);
    t.cpu  = now_ms(CLOCK_THREAD_CPUTIME_ID);
}

static void
stop(void)
{
    spend(t.is_copied ? PART_CHECKPOINT : PART_WORK);
    for (enum part p = PART_WORK; p <= PART_SYNC; p++)
        t.part[PART_ALL] += t.part[p];
}

/* ---- figures ---- */

struct series {
    const char *name;
    uint32_t    count;
    double     *at[PARTS];
};

static void
add(struct series *s)
{
    for (int p = 0; p < PARTS; p++) {
        s->at[p]           = mem_resize(s->at[p], (s->count + 1) * sizeof(double));
        s->at[p][s->count] = t.part[p];
    }
    s->count++;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void
print(struct series *s)
{
    printf("%-10s %5u", s->name, s->count);
    for (int p = 0; p < PARTS && s->count > 0; p++) {
        uint32_t first = 0;
        qsort(s->at[p], s->count, sizeof(double), by_size);
        while (p == PART_CHECKPOINT && first < s->count && s->at[p][first] == 0)
            first++;
        uint32_t n = s->count - first;
        double  *v = s->at[p] + first;
        if (p == PART_CHECKPOINT)
            printf("  %s[%u]", part_name[p], n);
        else
            printf("  %s", part_name[p]);
        if (n == 0 || v[n - 1] == 0)
            printf(" -");
        else if (p == PART_LSNS)
            printf(" %.0f/%.0f", v[n / 2], v[n - 1]);
        else
            printf(" %.2f/%.2f/%.2f", v[n / 2], v[n - 1 - n / 100], v[n - 1]);
        mem_free(s->at[p]);
    }
    printf("\n");
}

/* ---- the store ---- */

struct run {
    struct store  *s;
    uint32_t       count, group; /* messages in a batch, batches in a commit */
    size_t         body;
    uint64_t       next, lsn_first; /* seq; what is left */
    struct hash128 chain;
    uint8_t       *text;
};

static struct batch *
make_batch(struct run *r)
{
    static struct msg  msg[BATCH_MESSAGES_MAX];
    static char        name[NAMES][16];
    struct batch_parts parts = {.stream        = 7,
                                .first         = r->next,
                                .prev          = r->chain,
                                .lamport_first = r->next,
                                .wall          = {1700000000000},
                                .origin        = r->next == 1 ? STR("127.0.0.1:3000") : STR(""),
                                .msg           = msg,
                                .count         = r->count};
    for (uint32_t i = 0; i < r->count; i++) {
        char *topic = name[(r->next + i) % NAMES];
        snprintf(topic, sizeof *name, "t/%u", (unsigned)((r->next + i) % NAMES));
        msg[i] = (struct msg){.topic = str_of(topic), .body = {r->text, r->body}};
    }
    struct batch *b = batch_make(&parts);
    r->next += r->count;
    r->chain = b->chain;
    return b;
}

static void
commit(struct run *r, struct retention *policy, struct retained **retained)
{
    struct commit        c[GROUPS_MAX] = {0};
    struct commit_result result[GROUPS_MAX];
    struct wall          now = {1700000001000};
    for (uint32_t i = 0; i < r->group; i++)
        c[i] = (struct commit){.kind = COMMIT_BATCH, .batch = make_batch(r)};
    start();
    if (policy)
        store_commit_retain(r->s, c, r->group, now, result, policy, retained);
    else
        store_commit(r->s, c, r->group, now, result);
    stop();
    for (uint32_t i = 0; i < r->group; i++) {
        if (result[i].err != ERR_OK)
            die("a commit failed");
        blob_drop(c[i].batch);
    }
}

static void
took(struct run *r, struct retained *retained)
{
    t.part[PART_LSNS] = retained ? (double)(retained->lsn_first - r->lsn_first) : 0;
    r->lsn_first      = retained ? retained->lsn_first : r->lsn_first;
    retained_drop(retained);
}

static void
append(int fd, const uint8_t *block)
{
    start();
    if (write(fd, block, BLOCK) != BLOCK)
        die("no room");
    t.is_written = true;
    spend(PART_WRITE);
    fdatasync(fd);
    t.part[PART_SYNC] += t.part[PART_CHECKPOINT];
    t.part[PART_CHECKPOINT] = 0;
    stop();
}

static void
rounds(struct run *r, int fd, uint32_t count)
{
    struct series    disk = {.name = "disk"}, alone = {.name = "commit"};
    struct series    step = {.name = "step"}, both = {.name = "with-step"};
    struct retention all = {.age_ms = 1};
    uint8_t          block[BLOCK];
    memset(block, 1, sizeof block);
    for (uint32_t i = 0; i < count && r->lsn_first < r->next; i++) {
        struct retained *retained = NULL;
        append(fd, block);
        add(&disk);
        commit(r, NULL, NULL);
        add(&alone);
        commit(r, NULL, NULL);
        add(&alone);
        start();
        if (store_retain(r->s, &all, (struct wall){1700000001000}, &retained) != ERR_OK)
            die("a step failed");
        stop();
        took(r, retained);
        add(&step);
        retained = NULL;
        commit(r, &all, &retained);
        took(r, retained);
        add(&both);
    }
    print(&disk);
    print(&alone);
    print(&step);
    print(&both);
}

int
main(int argc, char **argv)
{
    const struct recovered *found;
    struct buf              problem;
    char                    path[4096];
    if (argc != 7)
        die("DIR MESSAGES COUNT BODY GROUP ROUNDS");
    struct store_config config   = {.dir = argv[1], .cluster = STR("hearsay")};
    uint64_t            messages = strtoull(argv[2], NULL, 10);
    struct run          r        = {.count     = (uint32_t)strtoul(argv[3], NULL, 10),
                                    .body      = strtoul(argv[4], NULL, 10),
                                    .next      = 1,
                                    .lsn_first = 1};
    if (r.count == 0 || r.count > BATCH_MESSAGES_MAX)
        die("COUNT makes no sense");
    buf_init(&problem, 0);
    if (store_open(&r.s, &config, &found, &problem) != ERR_OK)
        die("the store cannot be opened");
    memset(known, 0, sizeof known);
    r.text = mem_new(r.body + 1);
    memset(r.text, 'x', r.body);
    for (r.group = r.count < 100 ? 100 : 1; r.next <= messages;) {
        commit(&r, NULL, NULL);
        if (r.next % 100000 < r.count * r.group)
            store_tend(r.s, false);
    }
    snprintf(path, sizeof path, "%s/append", argv[1]);
    int fd  = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    r.group = (uint32_t)strtoul(argv[5], NULL, 10);
    if (fd < 0 || r.group == 0 || r.group > GROUPS_MAX)
        die("GROUP makes no sense");
    rounds(&r, fd, (uint32_t)strtoul(argv[6], NULL, 10));
    close(fd);
    store_close(r.s);
    mem_free(r.text);
    buf_fini(&problem);
    return 0;
}
