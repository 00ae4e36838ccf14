/* The real file, and power that fails: two hundred operations on the production store, cut behind
 * each write, sync and truncate; what the disk may then hold is opened again.
 *
 * Some cuts are drawn from a seed; `make crash` (CRASH_ALL=1) takes all of them, CRASH_SEED=n
 * another story.  CRASH_PART=2/6 takes the second of six shares of the cuts: all six are all. */
#include "tests/unit.h"

#include "base/blob.h"
#include "base/mem.h"
#include "base/trace.h"
#include "core/batch.h"
#include "tests/crash/crash_image.h"
#include "tests/crash/crash_story.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    OPS        = 200,
    LOAD_AT    = 60, /* operations of their own kind */
    LOADS      = 5,
    CONDEMN_AT = 150,
    WORKERS    = 2,
    CUTS       = 200, /* of those that `make test` draws, beside the rare kinds */
    LIES_EVERY = 700,
};

/* State i is what is there after operation i; 0: an empty store. */
struct told {
    uint32_t   end; /* of the log, by then */
    uint64_t   stamp;
    struct buf text;
};

static struct told  told[OPS + 1];
static struct story story;

/* What the workers did. */
struct tally {
    uint64_t cuts, images, lies, torn_lies, said, put_aside, older, states, went_on;
    char     where[sizeof story_where];
};

static struct tally *tally; /* of this worker */

/* ---- the story ---- */

static void
tell(uint32_t i)
{
    buf_init(&told[i].text, 0);
    story_tell(&story, &told[i].text);
    if (told[i].end == 0)
        told[i].end = vfs_log()->count;
    told[i].stamp = store_mem_recover(story.mem)->stamp;
}

/* Once it is answered the file is as good as put aside. */
static void
condemn(uint32_t i)
{
    story_condemn(&story);
    told[i].end = vfs_log()->count;
    story_close(&story);
    story_open(&story);
}

static void
record(uint64_t seed, char dir[64])
{
    story_folder(dir);
    vfs_log_begin(dir);
    story_init(&story, seed, dir);
    story_open(&story);
    tell(0);
    for (uint32_t i = 1; i <= OPS; i++) {
        snprintf(story_where, sizeof story_where, "operation %u, seed %llu", i,
                 (unsigned long long)seed);
        if (i >= LOAD_AT && i < LOAD_AT + LOADS)
            story_load(&story);
        else if (i == CONDEMN_AT)
            condemn(i);
        else
            story_step(&story);
        tell(i);
    }
    story_close(&story);
    vfs_log_end();
    story_folder_gone(dir);
}

/* ---- what is found again ---- */

struct found {
    const char             *dir;
    struct store           *store;
    struct store_reader    *reader;
    const struct recovered *is;
};

static void
open_store(struct found *f)
{
    struct store_config config = {.dir = f->dir, .cluster = STR("hearsay")};
    struct buf          problem;
    buf_init(&problem, 0);
    enum err e = store_open(&f->store, &config, &f->is, &problem);
    if (e != ERR_OK)
        fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&problem)));
    MUST(e == ERR_OK);
    buf_fini(&problem);
    MUST(store_reader_open(&f->reader, f->store) == ERR_OK);
}

static void
close_store(struct found *f)
{
    store_reader_close(f->reader);
    store_close(f->store);
}

static bool
has_state(const struct buf *heard, uint32_t i)
{
    return i <= OPS && str_eq(buf_str(heard), buf_str(&told[i].text));
}

/* S1 to S5: all of what was answered, or of what was being done besides, and nothing else. */
static uint32_t
must_be_as_told(const struct found *f, uint32_t done, bool more_began)
{
    struct buf heard;
    uint32_t   state = done;
    buf_init(&heard, 0);
    story_hear(f->store, f->reader, f->is, f->dir, &heard);
    if (!has_state(&heard, state) && more_began)
        state = done + 1;
    if (!has_state(&heard, state))
        story_differs(buf_str(&heard), buf_str(&told[done].text));
    MUST(f->is->stamp >= told[state].stamp);
    MUST(!store_was_corrupt(f->store) || done + 1 == CONDEMN_AT || done == CONDEMN_AT);
    buf_fini(&heard);
    return state;
}

/* The disk forgot, but in order: what is there was there before. */
static void
must_be_older(const struct found *f, uint32_t done)
{
    struct buf heard;
    bool       is = false;
    buf_init(&heard, 0);
    story_hear(f->store, f->reader, f->is, f->dir, &heard);
    for (uint32_t i = 0; i <= done + 1 && !is; i++)
        is = has_state(&heard, i);
    MUST(is);
    tally->older++;
    buf_fini(&heard);
}

static bool
is_kept_aside(const char *dir)
{
    DIR *d  = opendir(dir);
    bool is = false;
    MUST(d);
    for (struct dirent *e; (e = readdir(d));)
        is |= strstr(e->d_name, ".corrupt-") != NULL;
    closedir(d);
    return is;
}

/* ---- it goes on ---- */

static struct batch *
next_batch(const struct stream_state *st, uint64_t stamp)
{
    struct msg         msg[] = {{.topic = STR("after"), .body = STR("power is back")},
                                {.topic = STR("a"), .body = STR("and more")}};
    struct batch_parts parts = {.stream        = st->stream,
                                .first         = st->head + 1,
                                .prev          = st->chain,
                                .lamport_first = stamp + 1,
                                .wall          = {story.clock + 1},
                                .origin        = st->head > 0 ? (struct str){0} : STR("host:3000"),
                                .msg           = msg,
                                .count         = 2};
    return batch_make(&parts);
}

static const struct stream_state *
some_stream(const struct recovered *r, struct prng *random)
{
    uint32_t n = r->stream_count, from = n > 0 ? (uint32_t)prng_below(random, n) : 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct stream_state *st = &r->stream[(from + i) % n];
        if (st->head > 0 && !st->frozen && !st->retired)
            return st;
    }
    return NULL;
}

/* Commits to a stream that was there and to a new one, reads them, takes from the front. */
static uint64_t
go_on(struct found *f, struct prng *random, bool must)
{
    static const struct stream_state fresh = {.stream = STORY_AFTER};
    const struct stream_state       *old   = must ? some_stream(f->is, random) : NULL;
    struct commit                    c[2];
    struct commit_result             r[2];
    struct retained                 *took = NULL;
    struct retention                 age  = {.age_ms = 1};
    struct wall                      now  = {story.clock + 1000};
    uint32_t                         n    = 0;
    uint64_t                         lsn  = f->is->lsn + 1;
    c[n++] = (struct commit){.batch = next_batch(&fresh, f->is->stamp)};
    if (old)
        c[n++] = (struct commit){.batch = next_batch(old, f->is->stamp)};
    store_commit(f->store, c, n, now, r);
    for (uint32_t i = 0; i < n; i++) {
        MUST(!must || (r[i].err == ERR_OK && r[i].lsn_first == lsn + 2 * i));
        struct read  read = {.lsn = lsn + 2 * i, .lsn_last = lsn + 2 * i + 1, .batches = true};
        struct page *p    = NULL;
        read.bytes_max    = 1;
        enum err e        = store_read(f->reader, &read, &p);
        MUST(!must ||
             (e == ERR_OK && p->count == 1 && hash128_eq(p->batch[0]->chain, c[i].batch->chain)));
        page_drop(p);
        blob_drop(c[i].batch);
    }
    enum err e = store_retain(f->store, &age, now, &took);
    MUST(!must || (e == ERR_OK && took && took->lsn_first > f->is->lsn_first));
    retained_drop(took);
    tally->went_on++;
    return lsn + 2 * n - 1;
}

static void
go_on_and_start_again(struct found *f, struct prng *random)
{
    uint64_t lsn = go_on(f, random, true);
    close_store(f);
    if (prng_below(random, 4) > 0)
        return;
    open_store(f);
    MUST(f->is->lsn == lsn && !store_was_corrupt(f->store));
    close_store(f);
}

/* ---- an image ---- */

struct cut {
    struct image *image, *lying;
    struct prng   random;
    uint32_t      done; /* operations by now */
    bool          more_began;
    const char   *dir;
};

static void
at(const struct cut *c, const char *what, int kind)
{
    snprintf(story_where, sizeof story_where,
             "power fails behind entry %u of the log, in operation %u; %s %d", image_at(c->image),
             c->done + 1, what, kind);
    memcpy(tally->where, story_where, sizeof story_where);
}

static void
check_honest(struct cut *c, enum image_kind kind)
{
    struct found f = {.dir = c->dir};
    at(c, "image", (int)kind);
    image_write(c->image, kind, &c->random, c->dir);
    open_store(&f);
    tally->states += must_be_as_told(&f, c->done, c->more_began) != c->done;
    go_on_and_start_again(&f, &c->random);
    story_folder_empty(c->dir);
    tally->images++;
}

static void
check_lie_in_order(struct cut *c)
{
    struct found f = {.dir = c->dir};
    at(c, "a lying disk, in order", 0);
    image_write(c->lying, IMAGE_PREFIX, &c->random, c->dir);
    open_store(&f);
    must_be_older(&f, c->done);
    go_on_and_start_again(&f, &c->random);
    story_folder_empty(c->dir);
    tally->lies++;
}

static void
check_lie(struct cut *c)
{
    struct found f = {.dir = c->dir};
    at(c, "a lying disk", 0);
    image_write(c->lying, IMAGE_TORN, &c->random, c->dir);
    open_store(&f);
    if (store_was_corrupt(f.store)) {
        MUST(is_kept_aside(c->dir));
        tally->put_aside++;
    }
    tally->said += story_believe(&story.truth, f.reader, f.is->lsn);
    go_on(&f, &c->random, false);
    tally->said += story_believe(&story.truth, f.reader, f.is->lsn);
    close_store(&f);
    story_folder_empty(c->dir);
    tally->torn_lies++;
}

/* ---- all cuts ---- */

static bool
takes_all(void)
{
    const char *all = getenv("CRASH_ALL");
    return all && strcmp(all, "0") != 0;
}

struct share {
    unsigned part, of; /* part < of */
};

static struct share
share_asked_for(void)
{
    const char  *text  = getenv("CRASH_PART");
    struct share share = {0, 1};
    if (!text || !*text)
        return share;
    MUST(sscanf(text, "%u/%u", &share.part, &share.of) == 2);
    MUST(share.part >= 1 && share.part <= share.of);
    share.part--;
    return share;
}

static bool
is_mine(uint32_t p, uint32_t worker, const struct share *share)
{
    return p % WORKERS == worker && p / WORKERS % share->of == share->part;
}

static bool
is_drawn(struct cut *c, const struct vfs_log *log)
{
    if (takes_all() || image_at(c->image) == log->count)
        return true;
    enum vfs_kind next = log->op[image_at(c->image)].kind;
    return (next != VFS_WRITE && next != VFS_SYNC) ||
           prng_below(&c->random, log->count) < (next == VFS_SYNC ? 8 * CUTS : CUTS);
}

static void
check_cut(struct cut *c)
{
    bool all = takes_all();
    tally->cuts++;
    if (all || prng_below(&c->random, 4) == 0)
        check_honest(c, IMAGE_ALL);
    if (all || prng_below(&c->random, 2) == 0)
        check_honest(c, IMAGE_NONE);
    check_honest(c, IMAGE_TORN);
    if (all || prng_below(&c->random, 4) == 0)
        check_lie_in_order(c);
    if (all || prng_below(&c->random, 3) == 0)
        check_lie(c);
}

static void
work(uint32_t worker, uint64_t seed)
{
    const struct vfs_log *log   = vfs_log();
    struct share          share = share_asked_for();
    char                  dir[64];
    struct cut c = {.image = image_new(log), .lying = image_new(log), .random = {seed}, .dir = dir};
    story_folder(dir);
    for (uint32_t p = 0; p <= log->count; p++) {
        if (p > 0) {
            image_step(c.image);
            image_step(c.lying);
        }
        while (c.done < OPS && told[c.done + 1].end <= p)
            c.done++;
        c.more_began = p > told[c.done].end;
        if (p == 0 || prng_below(&c.random, LIES_EVERY) == 0)
            image_lies(c.lying, c.image);
        if (is_drawn(&c, log) && is_mine(p, worker, &share))
            check_cut(&c);
    }
    image_free(c.image);
    image_free(c.lying);
    story_folder_gone(dir);
}

static void
add_up(const struct tally *t)
{
    struct tally sum = {0};
    for (int i = 0; i < WORKERS; i++) {
        const uint64_t *from = (const uint64_t *)(const void *)&t[i];
        uint64_t       *to   = (uint64_t *)(void *)&sum;
        for (size_t k = 0; k < offsetof(struct tally, where) / sizeof *to; k++)
            to[k] += from[k];
    }
    print_message("%llu cuts of %u: %llu images and %llu of a disk that lies (%llu in order; "
                  "%llu put aside)\n",
                  (unsigned long long)sum.cuts, vfs_log()->count, (unsigned long long)sum.images,
                  (unsigned long long)(sum.lies + sum.torn_lies), (unsigned long long)sum.lies,
                  (unsigned long long)sum.put_aside);
    print_message("%llu had what was not answered yet; %llu entries believed\n",
                  (unsigned long long)sum.states, (unsigned long long)sum.said);
    assert_true(sum.cuts > CUTS / 2 && sum.images > sum.cuts && sum.states > 0);
    assert_true(sum.lies > 0 && sum.torn_lies > 0 && sum.put_aside > 0 && sum.said > 0);
    assert_true(sum.older == sum.lies && sum.went_on > sum.images);
}

/* Without it power that fails takes what was acknowledged, or leaves half of something. */
static void
power_may_fail_at_any_moment(void **state)
{
    const char   *seed = getenv("CRASH_SEED");
    uint64_t      n    = seed ? strtoull(seed, NULL, 10) : 1;
    char          dir[64];
    struct tally *t =
        mmap(NULL, WORKERS * sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child[WORKERS];
    bool  failed = false;
    (void)state;
    assert_true(t != MAP_FAILED);
    tally = t;
    vfs_log_register();
    record(n, dir);
    assert_int_equal(sqlite3_vfs_register(sqlite3_vfs_find("unix"), 1), SQLITE_OK);
    for (uint32_t i = 0; i < WORKERS; i++) {
        child[i] = fork();
        tally    = &t[i];
        if (child[i] == 0) {
            work(i, n + i);
            _exit(0);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        if (status != 0)
            print_error("status %x: %s\n", (unsigned)status, t[i].where);
        failed |= status != 0;
    }
    assert_false(failed);
    add_up(t);
    munmap(t, WORKERS * sizeof *t);
    story_fini(&story);
    for (int i = 0; i <= OPS; i++)
        buf_fini(&told[i].text);
    vfs_log_forget();
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(power_may_fail_at_any_moment),
    };
    const char *said = getenv("CRASH_TRACE");
    if (!said || !*said) /* errors are what is asked for here */
        trace_set_sink(trace_drop, NULL);
    return cmocka_run_group_tests_name("crash", test, NULL, NULL);
}
