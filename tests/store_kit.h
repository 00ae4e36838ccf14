/* store_kit.h - what the tests of the store share: batches, a folder, and one face for
 * store_sqlite and store_mem.  It takes the place of pwrite64() and fdatasync(), so
 * include it in one file of a program. */
#ifndef TESTS_STORE_KIT_H
#define TESTS_STORE_KIT_H

#include "tests/unit.h"

#include "base/blob.h"
#include "base/mem.h"
#include "base/trace.h"
#include "core/batch.h"
#include "core/page.h"
#include "store/store.h"
#include "store/store_mem.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- the disk fails when told ---- */

static int kit_writes_left = -1; /* writes that succeed before all fail; -1: none fails */
static int kit_fsync_errno;      /* 0: it works */
static int kit_fsyncs;
static bool (*kit_refuses)(int fd, size_t n, off64_t at); /* that write: the disk is full */
static int kit_dies_in; /* the process is killed at that write from now on; 0: it is not */

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    if (kit_dies_in > 0 && --kit_dies_in == 0)
        kill(getpid(), SIGKILL);
    if (kit_writes_left == 0 || (kit_refuses && kit_refuses(fd, n, at))) {
        errno = ENOSPC;
        return -1;
    }
    if (kit_writes_left > 0)
        kit_writes_left--;
    return syscall(SYS_pwrite64, fd, p, n, at);
}

int
fdatasync(int fd)
{
    kit_fsyncs++;
    if (kit_fsync_errno != 0) {
        errno = kit_fsync_errno;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* ---- what it says is not for whoever reads the outcome ---- */

static inline void
kit_quiet(void)
{
    trace_set_sink(trace_drop, NULL);
}

/* ---- batches ---- */

struct writer {
    uint64_t       stream, next, lamport;
    struct hash128 chain;
};

static inline struct writer
kit_writer(uint64_t stream)
{
    return (struct writer){.stream = stream, .next = 1, .lamport = 1};
}

/* `topic` may end in '/': the message's seq follows.  Bodies are "<seq>:xxx". */
static inline struct batch *
kit_batch_with(struct writer *w, uint32_t count, const char *topic, size_t body,
               const struct mark *deps, uint32_t deps_count)
{
    enum { NAME = 64 };
    struct msg *msg  = mem_new(count * sizeof *msg);
    size_t      step = NAME + body + 24;
    char       *text = mem_new(count * step);
    for (uint32_t i = 0; i < count; i++) {
        unsigned seq  = (unsigned)(w->next + i);
        char    *name = text + i * step, *at = name + NAME;
        if (topic[strlen(topic) - 1] == '/')
            snprintf(name, NAME, "%s%u", topic, seq);
        else
            snprintf(name, NAME, "%s", topic);
        int n = snprintf(at, 24, "%u:", seq);
        memset(at + n, 'x', body);
        msg[i].topic = str_of(name);
        msg[i].body  = (struct str){(const uint8_t *)at, body};
        if (seq % 2 == 0)
            msg[i].headers = STR("content-type: text/plain\nmeta-a: b\n");
    }
    struct batch_parts parts = {.stream        = w->stream,
                                .first         = w->next,
                                .prev          = w->chain,
                                .lamport_first = w->lamport,
                                .wall          = {1700000000000 + (int64_t)w->lamport},
                                .origin        = w->next == 1 ? STR("host:3000") : (struct str){0},
                                .deps          = deps,
                                .deps_count    = deps_count,
                                .msg           = msg,
                                .count         = count};
    struct batch      *b     = batch_make(&parts);
    w->next += count;
    w->lamport += count;
    w->chain = b->chain;
    mem_free(text);
    mem_free(msg);
    return b;
}

static inline struct batch *
kit_batch(struct writer *w, uint32_t count, const char *topic)
{
    return kit_batch_with(w, count, topic, 20, NULL, 0);
}

/* Nobody has what the writer wrote next, up to `last`. */
static inline struct batch *
kit_gap(struct writer *w, uint64_t last, const struct mark *deps, uint32_t deps_count)
{
    struct str    origin = STR("host:3000");
    struct batch *b      = blob_new(sizeof *b + deps_count * sizeof *deps + origin.n);
    struct mark  *mark   = (struct mark *)(void *)(b + 1);
    uint8_t      *text   = (uint8_t *)(mark + deps_count);
    if (deps_count > 0)
        memcpy(mark, deps, deps_count * sizeof *deps);
    memcpy(text, origin.p, origin.n);
    w->lamport += last - w->next;
    *b      = (struct batch){.stream        = w->stream,
                             .first         = w->next,
                             .gap_last      = last,
                             .lamport_first = w->lamport++,
                             .wall          = {1700000000000 + (int64_t)w->lamport},
                             .origin        = {text, origin.n},
                             .deps          = mark,
                             .deps_count    = deps_count};
    w->next = last + 1;
    memcpy(b->chain.b, &w->next, sizeof w->next); /* any other than what came before */
    w->chain = b->chain;
    return b;
}

static inline bool
kit_same_msg(const struct msg *a, const struct msg *b)
{
    return str_eq(a->topic, b->topic) && str_eq(a->headers, b->headers) &&
           str_eq(a->body, b->body) && a->flags == b->flags && hash128_eq(a->digest, b->digest);
}

static inline bool
kit_same(const struct batch *a, const struct batch *b)
{
    if (a->stream != b->stream || a->first != b->first || a->count != b->count ||
        a->gap_last != b->gap_last || !hash128_eq(a->prev, b->prev) ||
        !hash128_eq(a->chain, b->chain) || a->lamport_first != b->lamport_first ||
        a->wall.ms != b->wall.ms || !str_eq(a->origin, b->origin) || a->deps_count != b->deps_count)
        return false;
    for (uint32_t i = 0; i < a->deps_count; i++)
        if (a->deps[i].stream != b->deps[i].stream || a->deps[i].seq != b->deps[i].seq)
            return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!kit_same_msg(&a->msg[i], &b->msg[i]))
            return false;
    return true;
}

/* ---- a folder, a clock ---- */

static inline double
kit_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int
kit_remove(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void
kit_folder(char dir[64])
{
    snprintf(dir, 64, "%s", "/tmp/store-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static inline void
kit_folder_gone(const char *dir)
{
    nftw(dir, kit_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- either store ---- */

struct disk {
    bool                    in_memory;
    char                    dir[64];
    size_t                  reserve_bytes;
    struct store           *s;
    struct store_reader    *r;
    struct store_mem       *m;
    const struct recovered *found;
};

/* broker.db, or its companion of that suffix. */
static inline void
disk_path(const struct disk *d, const char *suffix, char out[128])
{
    snprintf(out, 128, "%s/broker.db%s", d->dir, suffix);
}

/* -1: there is none. */
static inline long
disk_bytes(const struct disk *d, const char *suffix)
{
    struct stat st;
    char        path[128];
    disk_path(d, suffix, path);
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

/* Opens what is there. */
static inline void
disk_start(struct disk *d)
{
    struct store_config config = {
        .dir = d->dir, .cluster = STR("hearsay"), .reserve_bytes = d->reserve_bytes};
    struct buf problem;
    if (d->in_memory) {
        d->found = store_mem_recover(d->m);
        return;
    }
    buf_init(&problem, 0);
    enum err e = store_open(&d->s, &config, &d->found, &problem);
    if (e != ERR_OK)
        print_error("%.*s\n", STR_ARG(buf_str(&problem)));
    assert_int_equal(e, ERR_OK);
    buf_fini(&problem);
    assert_int_equal(store_reader_open(&d->r, d->s), ERR_OK);
}

/* Opens, expects `e` and `words` in the message. */
static inline void
disk_refuses(const struct disk *d, struct str cluster, enum err e, const char *words)
{
    struct store_config     config = {.dir = d->dir, .cluster = cluster};
    struct store           *s      = NULL;
    const struct recovered *found;
    struct buf              problem;
    buf_init(&problem, 0);
    assert_int_equal(store_open(&s, &config, &found, &problem), e);
    assert_null(s);
    assert_int_equal(buf_add(&problem, (struct str){(const uint8_t *)"", 1}), ERR_OK);
    const char *text = (const char *)buf_str(&problem).p;
    if (!strstr(text, words) || strchr(text, '\n'))
        fail_msg("\"%s\" does not say \"%s\"", text, words);
    buf_fini(&problem);
}

static inline void
disk_stop(struct disk *d)
{
    store_reader_close(d->r);
    store_close(d->s);
    d->r = NULL;
    d->s = NULL;
}

static inline void
disk_open(struct disk *d, bool in_memory)
{
    *d = (struct disk){.in_memory = in_memory};
    if (in_memory)
        d->m = store_mem_new();
    else
        kit_folder(d->dir);
    disk_start(d);
}

static inline void
disk_close(struct disk *d)
{
    disk_stop(d);
    store_mem_free(d->m);
    if (!d->in_memory)
        kit_folder_gone(d->dir);
}

static inline void
disk_commit(struct disk *d, const struct commit *c, uint32_t count, int64_t received,
            struct commit_result *result)
{
    if (d->in_memory)
        store_mem_commit(d->m, c, count, (struct wall){received}, result);
    else
        store_commit(d->s, c, count, (struct wall){received}, result);
}

/* Commits it alone and keeps no reference; its lsn. */
static inline uint64_t
disk_put(struct disk *d, struct batch *b, int64_t received)
{
    struct commit        c = {.kind = COMMIT_BATCH, .batch = b};
    struct commit_result r;
    disk_commit(d, &c, 1, received, &r);
    assert_int_equal(r.err, ERR_OK);
    blob_drop(b);
    return r.lsn_first;
}

/* What somebody else does to broker.db; how many rows it changed. */
static inline int
disk_execute(const struct disk *d, const char *sql)
{
    sqlite3 *db;
    char     path[128], *why = NULL;
    snprintf(path, sizeof path, "%s/broker.db", d->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 1000);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    int changes = sqlite3_changes(db);
    sqlite3_close(db);
    return changes;
}

static inline struct page *
disk_read(struct disk *d, const struct read *read)
{
    struct page *p = NULL;
    enum err     e = d->in_memory ? store_mem_read(d->m, read, &p) : store_read(d->r, read, &p);
    assert_int_equal(e, ERR_OK);
    return p;
}

/* A step of retention; NULL: nothing was to be done. */
static inline struct retained *
disk_retain(struct disk *d, const struct retention *policy, int64_t now)
{
    struct retained *r = NULL;
    struct wall      w = {now};
    assert_int_equal(d->in_memory ? store_mem_retain(d->m, policy, w, &r)
                                  : store_retain(d->s, policy, w, &r),
                     ERR_OK);
    return r;
}

/* Every commit fails from now on, or none. */
static inline void
disk_fails(struct disk *d, bool fails)
{
    if (d->in_memory)
        store_mem_fail(d->m, 1, fails ? UINT32_MAX : 0, ERR_FULL);
    else
        kit_writes_left = fails ? 0 : -1;
}

#endif
