/* history.c - how long it takes to read a topic's history from a large broker.db.
 *
 *   history fill DIR MESSAGES TOPICS STREAMS EVEN    makes DIR/broker.db, prints seconds, and
 *                                                    seconds of the processor
 *   history read DIR FILTER PAGES ROUNDS             reads as a session does; for each round a
 *                                                    line: messages, pages, and milliseconds:
 *                                                    all, the longest page, the first message
 *
 * Bodies have 100 bytes.  1 000 messages are of the topic "rare/one": spread evenly when EVEN
 * is 1, else in a row in the middle.  The others go around "t/0".."t/<TOPICS - 1>" at random.
 * STREAMS writers follow one another, as restarts of a broker do. */
#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/prng.h"
#include "core/batch.h"
#include "core/filter.h"
#include "core/page.h"
#include "core/vector.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RARE = 1000, BODY = 100, NAME = 32, GROUP = 8, PAGE_BYTES = 64 << 10, PAGE_COUNT = 4096 };

static double
seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double
cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static _Noreturn void
die(const char *what)
{
    fprintf(stderr, "history: %s\n", what);
    exit(1);
}

static struct store *
open_store(const char *dir, const struct recovered **found)
{
    struct store       *s = NULL;
    struct store_config c = {.dir = dir, .cluster = STR("hearsay")};
    struct buf          problem;
    buf_init(&problem, 0);
    if (store_open(&s, &c, found, &problem) != ERR_OK)
        die("the store cannot be opened");
    buf_fini(&problem);
    return s;
}

/* ---- making the file ---- */

struct fill {
    uint64_t    messages, topics, streams, per_stream;
    bool        even;
    uint64_t    at; /* messages made */
    struct prng prng;
};

static bool
is_rare(const struct fill *f, uint64_t i)
{
    if (f->even)
        return i % (f->messages / RARE) == f->messages / RARE / 2;
    return i >= f->messages / 2 && i < f->messages / 2 + RARE;
}

/* The next batch; it may end early, with its stream. */
static struct batch *
make_batch(struct fill *f, struct hash128 *chain)
{
    static struct msg msg[BATCH_MESSAGES_MAX];
    static char       name[BATCH_MESSAGES_MAX][NAME];
    uint8_t           body[BODY];
    memset(body, 0x78, sizeof body);
    uint64_t stream = f->at / f->per_stream, first = f->at % f->per_stream + 1;
    uint32_t count = 0;
    for (; count < BATCH_MESSAGES_MAX && f->at < f->messages && f->at / f->per_stream == stream;
         count++, f->at++) {
        unsigned topic = (unsigned)(prng_next(&f->prng) % f->topics);
        if (is_rare(f, f->at))
            snprintf(name[count], NAME, "rare/one");
        else
            snprintf(name[count], NAME, "t/%u", topic);
        msg[count] = (struct msg){.topic = str_of(name[count]), .body = {body, sizeof body}};
    }
    struct batch_parts parts = {.stream        = (stream + 1) * 1000003,
                                .first         = first,
                                .prev          = first == 1 ? (struct hash128){{0}} : *chain,
                                .lamport_first = f->at - count + 1,
                                .wall          = {1700000000000 + (int64_t)f->at},
                                .origin        = first == 1 ? STR("127.0.0.1:3000") : STR(""),
                                .msg           = msg,
                                .count         = count};
    struct batch      *b     = batch_make(&parts);
    *chain                   = b->chain;
    return b;
}

static void
fill(const char *dir, struct fill *f)
{
    const struct recovered *found;
    struct store           *s     = open_store(dir, &found);
    struct hash128          chain = {{0}};
    double                  start = seconds(), cpu = cpu_seconds();
    f->per_stream = f->messages / f->streams;
    f->prng.state = 1;
    for (uint32_t groups = 1; f->at < f->messages; groups++) {
        struct commit        commit[GROUP] = {0};
        struct commit_result result[GROUP];
        uint32_t             n = 0;
        for (; n < GROUP && f->at < f->messages; n++)
            commit[n] = (struct commit){.kind = COMMIT_BATCH, .batch = make_batch(f, &chain)};
        store_commit(s, commit, n, (struct wall){1700000000000 + (int64_t)f->at}, result);
        for (uint32_t i = 0; i < n; i++) {
            if (result[i].err != ERR_OK)
                die("a commit failed");
            blob_drop(commit[i].batch);
        }
        if (groups % 64 == 0)
            store_tend(s, false);
    }
    double took = seconds() - start;
    cpu         = cpu_seconds() - cpu;
    store_tend(s, false);
    store_tend(s, true);
    store_close(s);
    printf("%.2f %.2f\n", took, cpu);
}

/* ---- reading it ---- */

static bool
wants(const void *ctx, struct str topic)
{
    return filter_match(str_of(ctx), topic);
}

struct figures {
    uint64_t messages, pages;
    double   took, longest, first;
};

/* Reads page after page, as a session does, until the end or `pages`. */
static struct figures
read_all(struct store_reader *r, uint64_t last, void *filter, uint64_t pages)
{
    struct figures    f = {0};
    struct vector     seen;
    struct str        topic   = str_of(filter);
    bool              literal = filter_is_literal(topic);
    enum read_start   how     = READ_AT_VECTOR;
    uint64_t          lsn     = 0;
    const struct read base    = {.lsn_last      = last,
                                 .want          = wants,
                                 .want_ctx      = filter,
                                 .literal       = literal ? &topic : NULL,
                                 .literal_count = literal,
                                 .bytes_max     = PAGE_BYTES,
                                 .count_max     = PAGE_COUNT};
    vector_init(&seen);
    for (double start = seconds(); lsn <= last && f.pages < pages; f.pages++) {
        struct read  read = base;
        struct page *p;
        double       before = seconds();
        read.start          = how;
        read.lsn            = lsn;
        read.have           = seen;
        if (store_read(r, &read, &p) != ERR_OK)
            die("a read failed");
        double took = seconds() - before;
        f.longest   = took > f.longest ? took : f.longest;
        for (uint32_t i = 0; i < p->count; i++) {
            struct mark gone = {p->entry[i].mark.stream, p->entry[i].gap_to};
            if (gone.seq > 0)
                CHECK(vector_raise(&seen, gone) == ERR_OK);
            f.messages += gone.seq == 0;
        }
        for (uint32_t i = 0; i < p->scanned_count; i++)
            CHECK(vector_raise(&seen, p->scanned[i]) == ERR_OK);
        lsn = p->lsn_next;
        how = READ_AT_LSN;
        page_drop(p);
        f.took = seconds() - start;
        if (f.messages > 0 && f.first == 0)
            f.first = f.took;
    }
    vector_fini(&seen);
    return f;
}

static void
measure(const char *dir, const char *filter, uint64_t pages, uint64_t rounds)
{
    const struct recovered *found;
    struct store           *s = open_store(dir, &found);
    struct store_reader    *r;
    void                   *ctx = blob_new(strlen(filter) + 1);
    memcpy(ctx, filter, strlen(filter) + 1);
    if (store_reader_open(&r, s) != ERR_OK)
        die("no reader");
    for (uint64_t i = 0; i < rounds; i++) {
        struct figures f = read_all(r, found->lsn, ctx, pages);
        printf("%llu %llu %.2f %.2f %.2f\n", (unsigned long long)f.messages,
               (unsigned long long)f.pages, f.took * 1e3, f.longest * 1e3, f.first * 1e3);
    }
    blob_drop(ctx);
    store_reader_close(r);
    store_close(s);
}

int
main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "fill") == 0) {
        struct fill f = {.messages = strtoull(argv[3], NULL, 10),
                         .topics   = strtoull(argv[4], NULL, 10),
                         .streams  = strtoull(argv[5], NULL, 10),
                         .even     = argv[6][0] == '1'};
        if (f.messages < RARE || f.topics == 0 || f.streams == 0 || f.messages < f.streams)
            die("numbers that make no sense");
        fill(argv[2], &f);
        return 0;
    }
    if (argc == 6 && strcmp(argv[1], "read") == 0) {
        measure(argv[2], argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
        return 0;
    }
    die("fill DIR MESSAGES TOPICS STREAMS EVEN | read DIR FILTER PAGES ROUNDS");
}
