#include "tests/crash/crash_story.h"

#include "base/blob.h"
#include "base/mem.h"
#include "core/batch.h"
#include "store/store_page.h"
#include "tests/crash/vfs_log.h"

#include <stdio.h>
#include <string.h>

enum { BODY_MAX = 64 << 10, TEXT_MAX = 64, TOGETHER_MAX = 6 };

static uint32_t
below(struct story *s, uint32_t n)
{
    return (uint32_t)prng_below(&s->random, n);
}

/* ---- batches ---- */

static void
begin_stream(struct story *s, struct story_writer *w)
{
    uint64_t lamport = w->lamport;
    *w = (struct story_writer){.stream = ++s->streams * 100, .next = 1, .lamport = lamport + 1};
}

static struct story_writer *
some_writer(struct story *s)
{
    return &s->writer[below(s, STORY_WRITERS)];
}

static void
remember(struct story *s, struct batch *b)
{
    struct story_truth *t = &s->truth;
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? t->cap * 2 : 64;
        t->at  = mem_resize(t->at, t->cap * sizeof(struct batch *));
    }
    blob_keep(b);
    t->at[t->count++] = b;
}

static struct vector
some_deps(struct story *s, const struct story_writer *w, struct mark mark[STORY_WRITERS])
{
    struct vector deps = {mark, 0, STORY_WRITERS};
    for (uint32_t i = 0; i < STORY_WRITERS; i++)
        if (&s->writer[i] != w && s->writer[i].next > 1 && below(s, 2))
            page_raise(&deps, (struct mark){s->writer[i].stream, s->writer[i].next - 1});
    return deps;
}

struct wanted {
    uint32_t    count;
    size_t      body;
    const char *topic; /* one that ends in '/' goes on with the seq */
};

static struct wanted
some_wanted(struct story *s)
{
    static const char *const topic[] = {"a", "b/", "c/d", "e", "a"};
    struct wanted            w       = {1 + below(s, 4), below(s, 300), topic[below(s, 5)]};
    if (below(s, s->is_small ? 30 : 12) == 0)
        w.body = below(s, s->is_small ? 9000 : BODY_MAX);
    else if (below(s, s->is_small ? 40 : 16) == 0)
        w = (struct wanted){1 + below(s, s->is_small ? 60 : 1000), below(s, 60), w.topic};
    return w;
}

/* The texts of one message, in `text`. */
static struct msg
message(const struct story_writer *w, uint32_t i, const struct wanted *wanted, char *text)
{
    unsigned long long seq  = w->next + i;
    char              *body = text + TEXT_MAX;
    struct msg         m    = {0};
    int                n    = snprintf(text, TEXT_MAX, "%s", wanted->topic);
    if (text[n - 1] == '/')
        snprintf(text + n, (size_t)(TEXT_MAX - n), "%llu", seq % 40);
    n = snprintf(body, TEXT_MAX, "%llu-%llu:", (unsigned long long)w->stream, seq);
    memset(body + n, 'a' + (char)(seq % 26), wanted->body);
    m.topic = str_of(text);
    m.body  = (struct str){(const uint8_t *)body, (size_t)n + wanted->body};
    if (seq % 2 == 0)
        m.headers = STR("content-type: text/plain\nmeta-a: b\n");
    return m;
}

/* Each batch is of a millisecond of its own: so age can cut between any two. */
static struct batch *
make_batch(struct story *s, struct story_writer *w, const struct wanted *wanted, bool is_latest)
{
    size_t        step = 2 * TEXT_MAX + wanted->body;
    struct msg   *msg  = mem_new(wanted->count * sizeof *msg);
    char         *text = mem_new(wanted->count * step);
    struct mark   mark[STORY_WRITERS];
    struct vector deps = some_deps(s, w, mark);
    for (uint32_t i = 0; i < wanted->count; i++)
        msg[i] = message(w, i, wanted, text + i * step);
    w->lamport += below(s, 3);
    struct batch_parts parts = {.stream        = w->stream,
                                .first         = w->next,
                                .prev          = w->chain,
                                .lamport_first = w->lamport,
                                .wall          = {++s->clock},
                                .origin        = STR("host:3000"),
                                .deps          = mark,
                                .deps_count    = deps.count,
                                .msg           = msg,
                                .count         = wanted->count};
    if (w->next > 1 && !is_latest)
        parts.origin = (struct str){0};
    struct batch *b = batch_make(&parts);
    w->next += wanted->count;
    w->lamport += wanted->count;
    w->chain = b->chain;
    remember(s, b);
    mem_free(text);
    mem_free(msg);
    return b;
}

static struct batch *
make_gap(struct story *s, struct story_writer *w)
{
    uint64_t      last   = w->next + below(s, 3000);
    struct str    origin = STR("host:3000");
    struct mark   mark[STORY_WRITERS];
    struct vector deps = some_deps(s, w, mark);
    struct batch *b    = blob_new(sizeof *b + sizeof mark + origin.n);
    struct mark  *at   = (struct mark *)(void *)(b + 1);
    uint8_t      *text = (uint8_t *)(at + STORY_WRITERS);
    memcpy(at, mark, deps.count * sizeof *at);
    memcpy(text, origin.p, origin.n);
    w->lamport += last - w->next;
    *b      = (struct batch){.stream        = w->stream,
                             .first         = w->next,
                             .gap_last      = last,
                             .lamport_first = w->lamport++,
                             .wall          = {++s->clock},
                             .origin        = {text, origin.n},
                             .deps          = at,
                             .deps_count    = deps.count};
    w->next = last + 1;
    memcpy(b->chain.b, &w->next, sizeof w->next); /* any other than what came before */
    w->chain = b->chain;
    remember(s, b);
    return b;
}

/* As a broker has it that lost the texts. */
static struct batch *
without_texts(const struct batch *b)
{
    struct msg *msg = mem_new(b->count * sizeof *msg);
    for (uint32_t i = 0; i < b->count; i++)
        msg[i] =
            i % 2 ? b->msg[i] : (struct msg){.digest = b->msg[i].digest, .flags = MSG_DIGEST_ONLY};
    struct batch_parts parts = {.stream        = b->stream,
                                .first         = b->first,
                                .prev          = b->prev,
                                .lamport_first = b->lamport_first,
                                .wall          = b->wall,
                                .origin        = b->origin,
                                .deps          = b->deps,
                                .deps_count    = b->deps_count,
                                .msg           = msg,
                                .count         = b->count};
    struct batch      *out   = batch_make(&parts);
    MUST(hash128_eq(out->chain, b->chain));
    mem_free(msg);
    return out;
}

/* ---- commits ---- */

static struct commit
batch_commit(struct story *s)
{
    struct wanted wanted = some_wanted(s);
    struct commit c      = {.kind = COMMIT_BATCH, .late = below(s, 6) == 0};
    c.batch              = make_batch(s, some_writer(s), &wanted, false);
    return c;
}

/* A batch comes without its texts; later they come too. */
static struct commit
damage_or_repair(struct story *s)
{
    struct wanted wanted = {1 + below(s, 6), 30, "lost/"};
    struct commit c      = {.kind = COMMIT_REPAIR, .batch = s->damaged};
    if (s->damaged) {
        s->damaged = NULL;
        blob_keep(c.batch);
        return c;
    }
    s->damaged = make_batch(s, some_writer(s), &wanted, false);
    blob_drop(s->damaged); /* truth holds it */
    return (struct commit){.kind = COMMIT_BATCH, .batch = without_texts(s->damaged)};
}

static struct commit
gaps_commit(struct story *s)
{
    uint32_t         first = below(s, STORY_WRITERS), count = 1 + below(s, 3);
    struct gap_list *list = blob_new(sizeof *list + count * sizeof list->at[0]);
    list->count           = count;
    for (uint32_t i = 0; i < count; i++)
        list->at[i] = make_gap(s, &s->writer[(first + i) % STORY_WRITERS]);
    return (struct commit){.kind = COMMIT_GAPS, .gaps = list};
}

static struct commit
latest_commit(struct story *s)
{
    struct story_writer w      = *some_writer(s);
    struct wanted       wanted = {1, 40, below(s, 2) ? "a" : "told"};
    w.next += below(s, 3) * 5000; /* of some message that never comes here, or not yet */
    return (struct commit){.kind = COMMIT_LATEST, .batch = make_batch(s, &w, &wanted, true)};
}

static struct commit
members_commit(struct story *s)
{
    uint32_t            count = below(s, STORY_MEMBERS + 1);
    size_t              bytes = count * sizeof(struct member_info);
    struct member_list *list  = blob_new(sizeof *list + bytes + 1);
    uint8_t            *text  = (uint8_t *)list + sizeof *list + bytes;
    list->count               = count;
    text[0]                   = 'h';
    for (uint32_t i = 0; i < count; i++)
        list->at[i] = (struct member_info){.addr    = {4, {127, 0, 0, 1}, (uint16_t)(3000 + i)},
                                           .host    = {text, 1},
                                           .version = below(s, 1000),
                                           .nonce   = prng_next(&s->random),
                                           .flags   = (uint8_t)below(s, 3)};
    return (struct commit){.kind = COMMIT_MEMBERS, .members = list};
}

static struct commit
known_commit(struct story *s)
{
    struct known_vector *known = blob_new(sizeof *known + STORY_WRITERS * sizeof(struct mark));
    struct mark          mark[STORY_WRITERS];
    struct vector        v = {mark, 0, STORY_WRITERS};
    for (uint32_t i = 0; i < STORY_WRITERS; i++)
        page_raise(&v, (struct mark){s->writer[i].stream, 1 + below(s, 100)});
    known->addr  = (struct addr){4, {127, 0, 0, 1}, (uint16_t)(3000 + below(s, 3))};
    known->count = v.count;
    memcpy(known->at, mark, v.count * sizeof *mark);
    return (struct commit){.kind = COMMIT_KNOWN, .known = known};
}

static struct commit
election_commit(struct story *s)
{
    struct addr addr = {4, {127, 0, 0, 1}, (uint16_t)(3000 + below(s, 6))};
    s->epoch += 1 + below(s, 3);
    return (struct commit){.kind  = COMMIT_ELECTION,
                           .token = {s->epoch, addr, prng_next(&s->random)},
                           .epoch = s->epoch};
}

static struct commit
some_commit(struct story *s)
{
    struct story_writer *w = some_writer(s);
    switch (below(s, 24)) {
    case 0:
        return gaps_commit(s);
    case 1:
        return (struct commit){.kind = COMMIT_WAIVED, .mark = {w->stream, w->next + below(s, 5)}};
    case 2:
        return latest_commit(s);
    case 3:
    case 4:
        return damage_or_repair(s);
    case 5:
        return (struct commit){.kind = COMMIT_FROZEN, .stream = ++s->streams * 100};
    case 6:
        return election_commit(s);
    case 7:
        return members_commit(s);
    case 8:
        return known_commit(s);
    case 9:
        return (struct commit){.kind = COMMIT_PROBE};
    default:
        return batch_commit(s);
    }
}

/* ---- what fails ---- */

/* As a server does: it probes, and goes on once that succeeds. */
static void
probe(struct story *s)
{
    struct commit        c = {.kind = COMMIT_PROBE}, early = {.kind = COMMIT_FROZEN, .stream = 1};
    struct commit_result r;
    store_commit(s->store, &early, 1, (struct wall){s->clock}, &r);
    MUST(r.err == ERR_FULL);
    for (int i = 0;; i++) {
        store_commit(s->store, &c, 1, (struct wall){s->clock}, &r);
        if (r.err == ERR_OK)
            return;
        MUST(r.err == ERR_FULL || r.err == ERR_IO);
        MUST(i < 4);
        if (i == 2)
            vfs_heal();
    }
}

static void
failed(struct story *s, enum err e)
{
    MUST(s->may_fail && vfs_failed() > 0);
    MUST(e == ERR_FULL || e == ERR_IO);
    s->failures++;
}

/* All or none of them are stored, here and in the model. */
static void
commit(struct story *s, struct commit *c, uint32_t count, const struct story *before)
{
    struct commit_result got[TOGETHER_MAX], wanted[TOGETHER_MAX];
    struct wall          now = {s->clock};
    store_commit(s->store, c, count, now, got);
    for (uint32_t i = 1; i < count; i++)
        MUST(got[i].err == got[0].err);
    if (got[0].err != ERR_OK) {
        failed(s, got[0].err);
        memcpy(s->writer, before->writer, sizeof s->writer);
        s->damaged = before->damaged;
        s->epoch   = before->epoch;
        probe(s);
    } else {
        store_mem_commit(s->mem, c, count, now, wanted);
        for (uint32_t i = 0; i < count; i++)
            MUST(wanted[i].err == ERR_OK && wanted[i].lsn_first == got[i].lsn_first);
    }
    for (uint32_t i = 0; i < count; i++)
        commit_drop(&c[i]);
}

static void
commit_some(struct story *s)
{
    struct commit c[TOGETHER_MAX];
    struct story  before = *s;
    uint32_t      count  = below(s, 2) ? 1 : 1 + below(s, 4);
    for (uint32_t i = 0; i < count; i++)
        c[i] = some_commit(s);
    s->clock++;
    commit(s, c, count, &before);
}

void
story_load(struct story *s)
{
    struct commit c[2];
    struct story  before = *s;
    for (uint32_t i = 0; i < 2; i++) {
        struct wanted wanted = {9, 50000, "a"};
        c[i]                 = (struct commit){.kind = COMMIT_BATCH};
        c[i].batch           = make_batch(s, some_writer(s), &wanted, false);
    }
    commit(s, c, 2, &before);
}

/* ---- retention ---- */

/* The model takes what the store took. */
static void
retain_mem(struct story *s, const struct retention *policy, const struct retained *got)
{
    struct retention front = {.age_ms = 1}, ends = {.retire_ms = policy->retire_ms};
    uint64_t         lsn   = 0;
    int64_t          until = s->clock + 1;
    struct retained *r;
    for (uint32_t i = 0; i < store_mem_batches(s->mem); i++) {
        const struct batch *b = store_mem_batch(s->mem, i, &lsn);
        if (lsn >= got->lsn_first) {
            MUST(lsn == got->lsn_first);
            until = b->wall.ms;
            break;
        }
    }
    do {
        MUST(store_mem_retain(s->mem, &front, (struct wall){until + 1}, &r) == ERR_OK);
        bool more = r && r->more;
        retained_drop(r);
        if (!more)
            break;
    } while (true);
    if (got->retired_count + got->forgotten_count == 0)
        return;
    MUST(store_mem_retain(s->mem, &ends, (struct wall){s->clock}, &r) == ERR_OK);
    MUST(r && r->retired_count == got->retired_count && r->forgotten_count == got->forgotten_count);
    retained_drop(r);
}

static void
retain_some(struct story *s)
{
    struct retention policy = {.age_ms    = 20 + below(s, 60),
                               .retire_ms = below(s, 3) ? 30 + below(s, 60) : 0};
    struct retained *r;
    if (below(s, 3) == 0)
        policy = (struct retention){.age_ms = 1000, .bytes = 200000 + below(s, 400000)};
    s->clock += below(s, 3) ? 0 : below(s, 60);
    enum err e = store_retain(s->store, &policy, (struct wall){s->clock}, &r);
    if (e != ERR_OK) {
        failed(s, e);
        MUST(!r);
        return;
    }
    if (!r)
        return;
    retain_mem(s, &policy, r);
    for (uint32_t i = 0; i < STORY_WRITERS; i++)
        for (uint32_t k = 0; k < r->retired_count; k++)
            if (s->writer[i].stream == r->retired[k])
                begin_stream(s, &s->writer[i]);
    retained_drop(r);
}

/* ---- opening ---- */

static bool
try_open(struct story *s)
{
    struct store_config config = {.dir = s->dir, .cluster = STR("hearsay")};
    struct buf          problem;
    buf_init(&problem, 0);
    enum err e = store_open(&s->store, &config, &s->found, &problem);
    if (e != ERR_OK) {
        failed(s, e);
        MUST(problem.n > 0);
    } else {
        e = store_reader_open(&s->reader, s->store);
        if (e != ERR_OK) {
            failed(s, e);
            store_close(s->store);
        }
    }
    buf_fini(&problem);
    return e == ERR_OK;
}

/* All of it was put aside. */
static void
begin_anew(struct story *s)
{
    s->is_condemned = false;
    store_mem_wipe(s->mem);
    s->damaged = NULL;
    s->epoch   = 0;
    for (int i = 0; i < STORY_WRITERS; i++)
        begin_stream(s, &s->writer[i]);
}

void
story_open(struct story *s)
{
    for (int i = 0; !try_open(s); i++) {
        s->store  = NULL;
        s->reader = NULL;
        MUST(i < 3);
        if (i == 2)
            vfs_heal();
    }
    MUST(!store_was_corrupt(s->store) || s->is_condemned);
    if (s->is_condemned && store_is_rebuilding(s->store)) /* maybe by an attempt that failed */
        begin_anew(s);
}

void
story_close(struct story *s)
{
    store_reader_close(s->reader);
    store_close(s->store);
    s->reader = NULL;
    s->store  = NULL;
}

void
story_condemn(struct story *s)
{
    s->is_condemned = true;
    enum err e      = store_condemn(s->store);
    if (e != ERR_OK)
        failed(s, e);
}

void
story_init(struct story *s, uint64_t seed, const char *dir)
{
    *s     = (struct story){.dir = dir, .random = {seed}, .clock = 1700000000000};
    s->mem = store_mem_new();
    for (int i = 0; i < STORY_WRITERS; i++)
        begin_stream(s, &s->writer[i]);
}

void
story_fini(struct story *s)
{
    store_mem_free(s->mem);
    for (uint32_t i = 0; i < s->truth.count; i++)
        blob_drop(s->truth.at[i]);
    mem_free(s->truth.at);
}

const char *
story_step(struct story *s)
{
    uint32_t what = below(s, 40);
    if (what < 24) {
        commit_some(s);
        return "commit";
    }
    if (what < 32) {
        retain_some(s);
        return "retain";
    }
    if (what < 38) { /* a checkpoint only when nothing was committed since the last one */
        store_tend(s->store, what & 1);
        store_tend(s->store, what & 2);
        return "tend";
    }
    if (what == 38 && store_is_rebuilding(s->store)) {
        store_rebuilt(s->store);
        return "rebuilt";
    }
    story_close(s);
    story_open(s);
    return "reopen";
}
