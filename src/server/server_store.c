/* server_store.c - the store's thread and the reader's, and the jobs they get. */
#include "server/server_private.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/trace.h"
#include "core/page.h"
#include "io/clock.h"

#include <string.h>

enum {
    STORE_JOBS_MAX   = 1 << 16,                   /* core bounds what it hands out far below */
    READ_JOBS_MAX    = READS_MAX + LINKS_MAX + 1, /* core hands out no more; and one to rest */
    TOPICS_JOBS_MAX  = 8,                         /* each holds the whole list for a moment */
    GROUP_MAX        = 256,                       /* commits in one transaction */
    LATEST_JOBS_MAX  = 1024,
    LATEST_GROUP_MAX = 64,       /* between two groups of commits, the rest in the next turn; */
    LATEST_BYTES_MAX = 16 << 20, /* ... and so much of bodies */
    STORE_LINGER_US  = 30,
    GROUP_MESSAGES   = 2048, /* in one transaction, while retention has something to take */

    RETIRE_MS_MIN       = 7 * 86400000, /* a week: younger streams may go on */
    RETAIN_EVERY_MIN_MS = 100,
    RETAIN_EVERY_MAX_MS = 60000,
    RETAIN_BYTES_MS     = 1000,
    RETAIN_WAIT_MS      = 20, /* for a group to go with */
};

enum job_kind { JOB_COMMIT, JOB_TEND, JOB_TOPICS, JOB_RETAIN, JOB_LATEST };

struct store_job {
    enum job_kind        kind;
    struct commit        commit; /* COMMIT */
    struct commit_result result;
    bool                 idle;      /* TEND: no commit since the last one */
    bool                 is_tidy;   /* TEND: nothing to do; nothing left to do */
    struct store_disk    disk;      /* TEND, and who leads */
    uint64_t             conn, ref; /* TOPICS, LATEST */
    struct buf           names;     /* LATEST: the topic */
    struct buf           found;     /* struct topic_found */
    enum err             err;       /* LATEST; BUSY: it has to wait for its turn */
    struct page         *page;      /* LATEST, when OK */
    bool                 leads;     /* the first of its transaction */
    bool                 alone;     /* RETAIN: at once; else with the groups that follow */
    bool                 carried;   /* the last of a group that a step went with */
    struct retained     *retained;  /* RETAIN when alone; carried */
};

/* Names may still move while topics are listed: lengths now, slices when it is done. */
struct topic_found {
    size_t   name_bytes;
    uint64_t count, newest_lsn;
};

struct read_job {
    uint64_t     reader;
    struct read  read;
    struct page *page;
    enum err     err;
    bool         rests; /* nothing is read: memory is given back */
};

/* ---- on the store's thread ---- */

static struct retention
retention_of(struct server *s)
{
    return (struct retention){
        .age_ms = s->retain_ms, .bytes = s->retain_bytes, .retire_ms = s->retire_ms};
}

/* A step needs no sync of its own then. */
static void
commit_retain(struct server *s, const struct commit *commit, uint32_t count,
              struct commit_result *result, struct store_job *last)
{
    struct retention policy = retention_of(s);
    last->carried =
        store_commit_retain(s->store, commit, count, wall_now(), result, &policy, &last->retained);
    if (last->carried)
        s->retains = last->retained && last->retained->more;
}

static void
commit_group(struct server *s, struct store_job *const *job, uint32_t count)
{
    struct commit        commit[GROUP_MAX];
    struct commit_result result[GROUP_MAX];
    for (uint32_t i = 0; i < count; i++)
        commit[i] = job[i]->commit;
    if (s->retains)
        commit_retain(s, commit, count, result, job[count - 1]);
    else
        store_commit(s->store, commit, count, wall_now(), result);
    for (uint32_t i = 0; i < count; i++)
        job[i]->result = result[i];
    job[0]->leads = true;
    job[0]->disk  = *store_disk(s->store);
}

static void
tend(struct server *s, struct store_job *j)
{
    if (!j->is_tidy)
        j->is_tidy = store_tend(s->store, j->idle) && j->idle;
    store_set_reserve(s->store, s->reserve_bytes);
    store_look(s->store);
    j->disk = *store_disk(s->store);
}

static void
add_topic(void *ctx, struct str name, uint64_t count, uint64_t newest_lsn)
{
    struct store_job  *j = ctx;
    struct topic_found f = {name.n, count, newest_lsn};
    CHECK(buf_add(&j->names, name) == ERR_OK);
    CHECK(buf_add(&j->found, (struct str){(const uint8_t *)&f, sizeof f}) == ERR_OK);
}

static void
retain(struct server *s, struct store_job *j)
{
    struct retention policy = retention_of(s);
    s->retains              = !j->alone;
    if (!j->alone)
        return;
    enum err failed = store_retain(s->store, &policy, wall_now(), &j->retained);
    (void)failed; /* told; tried again when its time comes */
}

static uint32_t
messages_of(const struct commit *c)
{
    return c->kind == COMMIT_BATCH ? c->batch->count : 1;
}

/* Behind the commits, which they would cut into smaller groups; all that is found is on disk
 * by then. */
static void
find_latest(struct server *s, void *const *job, uint32_t count)
{
    size_t   bytes = 0;
    uint32_t asked = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct store_job *j = job[i];
        if (j->kind != JOB_LATEST)
            continue;
        j->err = ERR_BUSY;
        if (asked++ < LATEST_GROUP_MAX && bytes < LATEST_BYTES_MAX)
            j->err = store_latest(s->store, buf_str(&j->names), &j->page);
        if (j->err == ERR_OK)
            bytes += j->page->entry->body.n;
    }
}

static void
run_store(void *ctx, void *const *job, uint32_t count)
{
    struct server    *s = ctx;
    struct store_job *group[GROUP_MAX];
    uint32_t          n = 0, messages = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct store_job *j    = job[i];
        bool              ends = j->kind != JOB_COMMIT && j->kind != JOB_LATEST;
        if (j->kind == JOB_COMMIT) {
            group[n++] = j;
            messages += messages_of(&j->commit);
        }
        bool is_full = n == GROUP_MAX || (s->retains && messages >= GROUP_MESSAGES);
        if (n > 0 && (is_full || ends || i + 1 == count)) {
            commit_group(s, group, n);
            n = messages = 0;
        }
        if (j->kind == JOB_TEND)
            tend(s, j);
        else if (j->kind == JOB_TOPICS)
            store_topics(s->store, add_topic, j);
        else if (j->kind == JOB_RETAIN)
            retain(s, j);
    }
    find_latest(s, job, count);
}

/* ---- on the reader's thread ---- */

static void
run_reads(void *ctx, void *const *job, uint32_t count)
{
    struct server *s = ctx;
    for (uint32_t i = 0; i < count; i++) {
        struct read_job *j = job[i];
        if (j->rests) {
            store_reader_rest(s->reader);
            continue;
        }
        enum err e = store_read(s->reader, &j->read, &j->page);
        if (e != ERR_OK)
            j->page = NULL;
        j->err = e;
    }
}

/* ---- on the loop's thread ---- */

/* How often retention looks, in milliseconds: what is to live for a second must not live for
 * a minute, and what is to live for a month need not be looked at each second. */
static uint64_t
retain_every(const struct config *c)
{
    uint64_t ms = RETAIN_EVERY_MAX_MS;
    if (c->retention > 0 && c->retention / 20 < ms)
        ms = c->retention / 20 > RETAIN_EVERY_MIN_MS ? c->retention / 20 : RETAIN_EVERY_MIN_MS;
    if (c->retention_bytes > 0 && ms > RETAIN_BYTES_MS)
        ms = RETAIN_BYTES_MS;
    return ms;
}

static void
retain_in(struct server *s, uint64_t ms)
{
    if (!s->closed)
        loop_timer_set(s->loop, &s->retain, mono_after(server_now(s), ms));
}

/* Core is told.  True: there is more to take. */
static bool
tell_retained(struct server *s, struct store_job *j)
{
    bool more = j->retained && j->retained->more;
    if (j->retained && !s->closed)
        server_step(s, &(struct fact){.kind = FACT_RETAINED, .retained = j->retained});
    retained_drop(j->retained);
    return more;
}

/* While there is more, the next groups take a step with them too. */
static void
carried(struct server *s, struct store_job *j)
{
    s->retain_waits = false;
    if (!tell_retained(s, j))
        retain_in(s, retain_every(s->config));
}

/* While there is more to take and nothing is published, step follows step. */
static void
retained(struct server *s, struct store_job *j)
{
    bool more = tell_retained(s, j);
    if (!j->alone)
        retain_in(s, RETAIN_WAIT_MS);
    else if (more && !s->closed)
        server_on_retain(s);
    else
        retain_in(s, retain_every(s->config));
}

static void
give(struct server *s, struct store_job *j)
{
    CHECK(worker_give(s->store_worker, j) == ERR_OK);
}

void
server_persist(struct server *s, const struct commit *commit)
{
    struct store_job *j = mem_new(sizeof *j);
    j->kind             = JOB_COMMIT;
    j->commit           = *commit;
    s->counters.commits++;
    s->is_tidy = false;
    give(s, j);
}

static void
persisted(struct server *s, struct store_job *j)
{
    struct fact fact = {
        .kind      = FACT_PERSISTED,
        .persisted = {j->commit.id, j->result.err, j->result.lsn_first},
    };
    if (j->result.err != ERR_OK)
        s->counters.commits_failed++;
    if (j->leads)
        s->counters.commit_groups++;
    server_step(s, &fact);
    if (j->leads)
        server_looked(s, &j->disk);
    if (j->carried)
        carried(s, j);
    commit_drop(&j->commit);
}

static void
topics_listed(struct server *s, struct store_job *j)
{
    struct conn              *c     = pool_find(&s->conns, j->conn);
    const struct topic_found *found = (const void *)(j->found.p + j->found.start);
    struct topic_list         list  = {.count = (uint32_t)(j->found.n / sizeof *found)};
    struct topic_row         *row   = mem_new((list.count + 1) * sizeof *row);
    struct str                names = buf_str(&j->names);
    for (uint32_t i = 0; i < list.count; i++) {
        row[i].name       = str_cut(names, 0, found[i].name_bytes);
        row[i].count      = found[i].count;
        row[i].newest_lsn = found[i].newest_lsn;
        names             = str_cut(names, found[i].name_bytes, names.n);
    }
    list.at = row;
    s->topics_waiting--;
    if (c && !conn_is_closing(c)) {
        c->front->topics(c, j->ref, &list);
        conn_count_unsent(c);
    }
    mem_free(row);
    buf_fini(&j->names);
    buf_fini(&j->found);
}

/* False: it was handed to the store again, since others had filled the room. */
static bool
latest_found(struct server *s, struct store_job *j)
{
    struct conn *c     = pool_find(&s->conns, j->conn);
    bool         wants = c && !conn_is_closing(c);
    if (j->err == ERR_BUSY && wants && !s->closed) {
        give(s, j);
        return false;
    }
    if (j->err == ERR_OK && s->unsent > UNSENT_BYTES_MAX)
        j->err = ERR_BUSY;
    s->latest_waiting--;
    if (wants) {
        c->front->latest(c, j->ref, j->err, j->err == ERR_OK ? j->page->entry : NULL);
        conn_count_unsent(c);
    }
    page_drop(j->page);
    buf_fini(&j->names);
    return true;
}

static void
tended(struct server *s, struct store_job *j)
{
    if (j->idle && !s->is_tidy) {
        server_step(s, &(struct fact){.kind = FACT_IDLE});
        runs_clear(&s->runs);
        loop_trim(s->loop);
    }
    s->is_tidy = j->is_tidy && s->counters.commits == s->commits_tended;
    server_looked(s, &j->disk);
    if (!s->closed)
        server_watch(s);
}

static void
on_store_done(void *ctx, void *job)
{
    struct server    *s = ctx;
    struct store_job *j = job;
    switch (j->kind) {
    case JOB_COMMIT:
        persisted(s, j);
        break;
    case JOB_TEND:
        tended(s, j);
        break;
    case JOB_TOPICS:
        topics_listed(s, j);
        break;
    case JOB_RETAIN:
        retained(s, j);
        break;
    case JOB_LATEST:
        if (!latest_found(s, j))
            return;
        break;
    }
    mem_free(j);
}

enum err
server_topics(struct conn *c, uint64_t ref)
{
    struct server *s = c->server;
    if (s->topics_waiting >= TOPICS_JOBS_MAX || s->unsent > UNSENT_BYTES_MAX)
        return ERR_BUSY;
    struct store_job *j = mem_new(sizeof *j);
    j->kind             = JOB_TOPICS;
    j->conn             = pool_handle(c);
    j->ref              = ref;
    buf_init(&j->names, 0);
    buf_init(&j->found, 0);
    s->topics_waiting++;
    give(s, j);
    return ERR_OK;
}

enum err
server_latest(struct conn *c, struct str topic, uint64_t ref)
{
    struct server *s = c->server;
    if (s->latest_waiting >= LATEST_JOBS_MAX || s->unsent > UNSENT_BYTES_MAX)
        return ERR_BUSY;
    struct store_job *j = mem_new(sizeof *j);
    j->kind             = JOB_LATEST;
    j->conn             = pool_handle(c);
    j->ref              = ref;
    buf_init(&j->names, TOPIC_BYTES_MAX);
    CHECK(buf_add(&j->names, topic) == ERR_OK);
    s->latest_waiting++;
    give(s, j);
    return ERR_OK;
}

static void
rest(struct server *s)
{
    struct read_job *j = mem_new(sizeof *j);
    j->rests           = true;
    CHECK(worker_give(s->read_worker, j) == ERR_OK);
    s->reader_rests = true;
}

/* Each second: others may fill the disk while nothing is published. */
void
server_on_tend(void *ctx)
{
    struct server    *s = ctx;
    struct store_job *j = mem_new(sizeof *j);
    j->kind             = JOB_TEND;
    j->idle             = s->counters.commits == s->commits_tended;
    j->is_tidy          = j->idle && s->is_tidy;
    s->commits_tended   = s->counters.commits;
    loop_timer_set(s->loop, &s->tend, mono_after(server_now(s), TEND_MS));
    give(s, j);
    if (s->counters.reads != s->reads_tended) {
        s->reads_tended = s->counters.reads;
        s->reader_rests = false;
    } else if (!s->reader_rests) {
        rest(s);
    }
}

/* ---- options and retention ---- */

/* The same as long as the broker runs: core goes on with a stream of its own by it, and the
 * store must not retire that one before. */
uint64_t
server_retire_ms(const struct config *c)
{
    uint64_t quiet = c->retention > RETIRE_MS_MIN ? c->retention : RETIRE_MS_MIN;
    return c->retention > 0 || c->retention_bytes > 0 ? quiet : 0;
}

void
server_store_options(struct server *s)
{
    s->retain_ms     = s->config->retention;
    s->retain_bytes  = s->config->retention_bytes;
    s->reserve_bytes = s->config->disk_reserve;
    if (s->store_worker)
        retain_in(s, 0);
}

/* While commits come, steps go with them.  By itself one is made when none came since the
 * last time, or none would take it along: they are refused. */
void
server_on_retain(void *ctx)
{
    struct server    *s     = ctx;
    struct store_job *j     = mem_new(sizeof *j);
    bool              quiet = s->counters.commits == s->commits_retained;
    j->kind                 = JOB_RETAIN;
    j->alone                = quiet || s->retain_waits;
    s->retain_waits         = !j->alone;
    s->commits_retained     = s->counters.commits;
    give(s, j);
}

/* ---- reading ---- */

void
server_read(struct server *s, uint64_t reader, const struct read *read)
{
    struct read_job *j     = mem_new(sizeof *j);
    size_t           bytes = read->have.count * sizeof(struct mark);
    j->reader              = reader;
    j->read                = *read;
    j->read.have.cap       = read->have.count;
    j->read.have.at        = bytes > 0 ? mem_new(bytes) : NULL;
    if (bytes > 0)
        memcpy(j->read.have.at, read->have.at, bytes);
    if (read->want_ctx)
        blob_keep((void *)(uintptr_t)read->want_ctx);
    s->counters.reads++;
    CHECK(worker_give(s->read_worker, j) == ERR_OK);
}

static void
on_read_done(void *ctx, void *job)
{
    struct server   *s    = ctx;
    struct read_job *j    = job;
    struct fact      fact = {.kind = FACT_PAGE, .page = {j->reader, j->page}};
    if (j->rests) {
        mem_free(j);
        return;
    }
    s->read_corrupt |= j->err == ERR_CORRUPT; /* whatever failed, the store has said it */
    if (s->closed)
        page_drop(j->page);
    else
        server_step(s, &fact);
    mem_free(j->read.have.at);
    blob_drop((void *)(uintptr_t)j->read.want_ctx);
    mem_free(j);
}

/* ---- threads ---- */

void
server_start_workers(struct server *s)
{
    struct worker_config config = {
        .loop      = s->loop,
        .name      = "store",
        .jobs_max  = STORE_JOBS_MAX,
        .linger_us = STORE_LINGER_US,
        .run       = run_store,
        .done      = on_store_done,
        .ctx       = s,
    };
    s->store_worker = worker_start(&config);
    loop_timer_set(s->loop, &s->tend, mono_after(server_now(s), TEND_MS));
    server_on_retain(s);
    config.name      = "reader";
    config.linger_us = 0;
    config.jobs_max  = READ_JOBS_MAX;
    config.run       = run_reads;
    config.done      = on_read_done;
    s->read_worker   = worker_start(&config);
}

/* What they still hold is finished, but core is told nothing more: it would ask for
 * more. */
void
server_stop_workers(struct server *s)
{
    s->closed = true;
    if (s->read_worker)
        worker_stop(s->read_worker);
    if (s->store_worker)
        worker_stop(s->store_worker);
}
