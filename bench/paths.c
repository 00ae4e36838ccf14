/* paths.c - fixed workloads over the hot paths, for counting instructions (bench/check).
 *
 *   paths NAME [wasteful]      prints how many messages the workload is about
 *   paths                      the names
 *
 * Only what runs inside measured() counts: the rest makes the inputs and carries the store's
 * answers back.  Inputs are always the same, so the counts are, but for a handful.  A wasteful
 * one decodes each JSON object twice: bench/check has to notice that. */
#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "codec/cursor.h"
#include "codec/http.h"
#include "codec/http_write.h"
#include "codec/json.h"
#include "codec/wire.h"
#include "core/batch.h"
#include "core/broker.h"
#include "core/page.h"
#include "core/subs.h"
#include "core/vector.h"
#include "server/front_json_request.h"
#include "server/render.h"
#include "store/store.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BODY     = 100,
    COUNT    = 100, /* messages in a batch */
    BATCHES  = 40,
    MESSAGES = COUNT * BATCHES,
    SESSIONS = 4,
    FILTERS  = 10000,
    STREAMS  = 5,
    STREAM   = 7,
    TOPICS   = 50,
    FOLDER   = 64,
};

struct work {
    bool                 is_wasteful;
    uint8_t              body[BODY];
    char                 topic[TOPICS][16];
    struct msg           msg[COUNT];
    struct batch        *batch[BATCHES];
    struct buf           in, out, room;
    struct wire_scratch  scratch;
    struct broker       *b;
    uint64_t             session[SESSIONS];
    struct commit        commit[BATCHES];
    uint32_t             commit_count;
    uint64_t             lsn;
    struct vector        cursor;
    struct subs          subs;
    struct subs_hits     hits;
    char                 dir[FOLDER];
    struct store        *store;
    struct store_reader *reader;
};

struct path {
    const char *name;
    void (*prepare)(struct work *w);
    void (*run)(struct work *w); /* one of `rounds`; measured */
    uint32_t rounds, messages;   /* in one round */
};

static struct str
topic_of(struct work *w, uint32_t i)
{
    return str_of(w->topic[i % TOPICS]);
}

/* ---- decoding and answering: http, json ---- */

static void
prepare_http(struct work *w)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        CHECK(buf_addf(&w->in,
                       "POST /topics/%s HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: check\r\n"
                       "Accept: */*\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n",
                       w->topic[i % TOPICS], BODY) == ERR_OK);
        CHECK(buf_add(&w->in, (struct str){w->body, BODY}) == ERR_OK);
    }
}

static void
run_http(struct work *w)
{
    struct str          rest = buf_str(&w->in);
    struct http_request r;
    struct http_problem problem;
    struct receipt      receipt = {.lamport = 1, .origin = STR("127.0.0.1:3000"), .copies = 1};
    for (size_t used = 0, seen = 0; rest.n > 0; used += BODY, rest.p += used, rest.n -= used) {
        CHECK(http_request_decode(rest, &seen, &r, &used, &problem) == ERR_OK);
        seen         = 0;
        receipt.mark = (struct mark){STREAM, ++receipt.lamport};
        buf_reset(&w->room);
        render_receipt(&w->room, &receipt);
        const struct http_answer a = {.status        = 201,
                                      .version_minor = r.version_minor,
                                      .keep_alive    = true,
                                      .content_type  = STR("application/json")};
        buf_reset(&w->out);
        CHECK(http_answer_write(&w->out, &a, buf_str(&w->room)) == ERR_OK);
    }
}

static void
prepare_json(struct work *w)
{
    for (uint32_t i = 0; i < MESSAGES; i++)
        CHECK(buf_addf(&w->in,
                       "{\"type\": \"publish\", \"topic\": \"%s\", \"message\": \"%.*s\", "
                       "\"lamport_timestamp\": %u, \"ack\": true}\n",
                       w->topic[i % TOPICS], BODY, (const char *)w->body, (unsigned)i) == ERR_OK);
}

static void
run_json(struct work *w)
{
    struct str          object, rest = buf_str(&w->in);
    struct json_scan    scan = {0};
    struct json_request r;
    const char         *why;
    uint64_t            seq = 0;
    for (size_t used = 0; rest.n > 0; rest.p += used, rest.n -= used) {
        enum err e = json_find(&scan, rest, &object, &used, &why);
        if (e == ERR_MORE)
            break;
        CHECK(e == ERR_OK);
        for (int i = 0; i <= w->is_wasteful; i++) {
            buf_reset(&w->room);
            CHECK(json_request_decode(object, &w->room, &r, &why) == ERR_OK);
        }
        buf_reset(&w->out);
        render_ack(&w->out, (struct mark){STREAM, ++seq}, r.stamp, CAUSAL_UNASKED, r.ref);
    }
}

/* ---- between peers ---- */

static void
make_batches(struct work *w)
{
    struct batch_parts parts = {.stream = STREAM,
                                .first  = 1,
                                .wall   = {1700000000000},
                                .origin = STR("127.0.0.1:3000"),
                                .msg    = w->msg,
                                .count  = COUNT};
    for (uint32_t i = 0; i < BATCHES; i++) {
        parts.lamport_first = parts.first;
        w->batch[i]         = batch_make(&parts);
        parts.first += COUNT;
        parts.prev   = w->batch[i]->chain;
        parts.origin = (struct str){0};
    }
}

static void
run_push(struct work *w)
{
    for (uint32_t i = 0; i < BATCHES; i++) {
        struct frame f = {.kind = FRAME_PUSH, .push = {.batch = w->batch[i]}};
        size_t       used;
        buf_reset(&w->out);
        CHECK(wire_encode(&w->out, &f) == ERR_OK);
        CHECK(wire_decode(buf_str(&w->out), &w->scratch, &f, &used) == ERR_OK);
        CHECK(batch_digests(f.push.batch) && batch_is_valid(f.push.batch));
        blob_drop(f.push.batch);
    }
}

/* ---- a cursor's text, there and back ---- */

static void
prepare_cursor(struct work *w)
{
    for (uint64_t i = 1; i <= STREAMS; i++)
        CHECK(vector_set(&w->cursor, (struct mark){i << 59 | 0x123456789abcdef, i * 100000}) ==
              ERR_OK);
}

static void
run_cursor(struct work *w)
{
    const char *problem;
    uint64_t    stamp = 1;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        buf_reset(&w->out);
        CHECK(cursor_encode(&w->out, 1, stamp + i, &w->cursor) == ERR_OK);
        CHECK(cursor_decode(buf_str(&w->out), 1, &w->cursor, &stamp, &problem) == ERR_OK);
    }
}

/* ---- a topic against many filters ---- */

static void
prepare_match(struct work *w)
{
    static const char *const form[] = {"site/%u/+/temp", "site/%u/#", "site/%u/room%u/temp"};
    subs_init(&w->subs, FILTERS);
    subs_hits_init(&w->hits);
    for (uint32_t i = 0; i < FILTERS; i++) {
        char filter[64];
        snprintf(filter, sizeof filter, form[i % 3], (unsigned)i / 2, (unsigned)i % 7);
        CHECK(subs_add(&w->subs, str_of(filter), w) == ERR_OK);
    }
    for (uint32_t i = 0; i < MESSAGES; i++)
        CHECK(buf_addf(&w->in, "site/%04u/room%u/temp", (unsigned)i, (unsigned)i % 7) == ERR_OK);
}

static void
run_match(struct work *w)
{
    enum { TOPIC = sizeof "site/0000/room0/temp" - 1 };
    for (uint32_t i = 0; i < MESSAGES; i++)
        subs_match(&w->subs, (struct str){buf_str(&w->in).p + i * (size_t)TOPIC, TOPIC}, &w->hits);
}

/* ---- core: from a publish to what subscribers read ---- */

static struct effects
step(struct work *w, const struct fact *f)
{
    struct effects e = broker_step(w->b, (struct mono){50000}, (struct wall){1700000000000}, f);
    for (uint32_t i = 0; i < e.count; i++)
        if (e.at[i].kind == EFFECT_PERSIST) {
            CHECK(w->commit_count < BATCHES);
            w->commit[w->commit_count++] = e.at[i].persist;
        }
    return e;
}

static void
answer_commits(struct work *w)
{
    struct commit done[BATCHES];
    uint32_t      count = w->commit_count;
    memcpy(done, w->commit, count * sizeof *done);
    w->commit_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct fact f = {.kind = FACT_PERSISTED, .persisted = {.id = done[i].id}};
        if (done[i].kind == COMMIT_BATCH) {
            f.persisted.lsn_first = w->lsn + 1;
            w->lsn += batch_lsns(done[i].batch);
        }
        step(w, &f);
        commit_drop(&done[i]);
    }
}

static void
publish(struct work *w)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        struct fact f = {
            .kind    = FACT_PUBLISH,
            .publish = {.topic = w->msg[i].topic, .body = w->msg[i].body},
        };
        CHECK(step(w, &f).err == ERR_OK);
    }
    step(w, &(struct fact){.kind = FACT_TURN});
    answer_commits(w);
}

static void
prepare_publish(struct work *w)
{
    const struct broker_config c = {.cluster = STR("hearsay"),
                                    .self    = {.family = 4, .ip = {127, 0, 0, 1}, .port = 3001},
                                    .host    = STR("localhost"),
                                    .nonce   = 1,
                                    .seed    = 5,
                                    .options = {.tail_bytes = 8 << 20}};
    w->b                         = broker_new(&c, (struct mono){50000});
    publish(w);
}

static void
prepare_deliver(struct work *w)
{
    const struct str all = STR("#");
    prepare_publish(w);
    for (int i = 0; i < SESSIONS; i++) {
        const struct fact f = {
            .kind      = FACT_SUBSCRIBE,
            .subscribe = {.filter = &all, .filter_count = 1, .ref = (uint64_t)i},
        };
        w->session[i] = step(w, &f).session;
    }
}

static void
render_all(struct work *w, uint64_t session)
{
    struct entry e;
    enum err     err;
    uint64_t     stamp;
    while ((err = broker_pull(w->b, session, &e)) == ERR_OK) {
        CHECK(broker_cursor(w->b, session, &w->cursor, &stamp));
        buf_reset(&w->room);
        CHECK(cursor_encode(&w->room, 1, stamp, &w->cursor) == ERR_OK);
        render_message(&w->out, &e, buf_str(&w->room));
    }
    CHECK(err == ERR_MORE);
}

static void
deliver(struct work *w)
{
    uint64_t session, ref;
    while (broker_ready(w->b, &session, &ref)) {
        buf_reset(&w->out);
        render_all(w, session);
    }
}

static void
publish_deliver(struct work *w)
{
    publish(w);
    deliver(w);
}

/* ---- the disk ---- */

static void
prepare_store(struct work *w)
{
    struct store_config     c = {.dir = w->dir, .cluster = STR("hearsay")};
    const struct recovered *found;
    struct buf              problem;
    make_batches(w);
    CHECK(mkdtemp(w->dir));
    buf_init(&problem, 0);
    CHECK(store_open(&w->store, &c, &found, &problem) == ERR_OK);
    buf_fini(&problem);
}

static void
commit_all(struct work *w)
{
    enum { GROUP = 10 };
    for (uint32_t at = 0; at < BATCHES; at += GROUP) {
        struct commit        c[GROUP] = {0};
        struct commit_result result[GROUP];
        for (uint32_t i = 0; i < GROUP; i++)
            c[i] = (struct commit){.kind = COMMIT_BATCH, .batch = w->batch[at + i], .id = i + 1};
        store_commit(w->store, c, GROUP, (struct wall){1700000001000}, result);
        CHECK(result[0].err == ERR_OK);
    }
}

static void
prepare_read(struct work *w)
{
    prepare_store(w);
    commit_all(w);
    CHECK(store_reader_open(&w->reader, w->store) == ERR_OK);
}

static void
run_read(struct work *w)
{
    struct read r = {.start     = READ_AT_LSN,
                     .lsn       = 1,
                     .lsn_last  = MESSAGES,
                     .bytes_max = 64 << 10,
                     .count_max = 4096};
    while (r.lsn <= MESSAGES) {
        struct page *p = NULL;
        CHECK(store_read(w->reader, &r, &p) == ERR_OK);
        for (uint32_t i = 0; i < p->count; i++) {
            buf_reset(&w->out);
            render_message(&w->out, &p->entry[i], STR("x"));
        }
        r.lsn = p->lsn_next;
        page_drop(p);
    }
}

static bool
is_rare(const void *ctx, struct str topic)
{
    return str_eq(topic, *(const struct str *)ctx);
}

static void
run_rare(struct work *w)
{
    struct str *rare = blob_new(sizeof *rare);
    struct read r    = {.start         = READ_AT_LSN,
                        .lsn           = 1,
                        .lsn_last      = MESSAGES,
                        .want          = is_rare,
                        .want_ctx      = rare,
                        .literal       = rare,
                        .literal_count = 1,
                        .bytes_max     = 64 << 10,
                        .count_max     = 4096};
    for (uint32_t i = 0; i < TOPICS; i++) {
        struct page *p = NULL;
        *rare          = topic_of(w, i);
        CHECK(store_read(w->reader, &r, &p) == ERR_OK && p->count == MESSAGES / TOPICS);
        page_drop(p);
    }
    blob_drop(rare);
}

/* ---- */

static const struct path path[] = {
    {"http", prepare_http, run_http, 1, MESSAGES},
    {"json", prepare_json, run_json, 1, MESSAGES},
    {"push", make_batches, run_push, 1, MESSAGES},
    {"cursor", prepare_cursor, run_cursor, 1, MESSAGES},
    {"match", prepare_match, run_match, 1, MESSAGES},
    {"publish", prepare_publish, publish, BATCHES, COUNT},
    {"deliver", prepare_deliver, publish_deliver, BATCHES, COUNT},
    {"commit", prepare_store, commit_all, 1, MESSAGES},
    {"read", prepare_read, run_read, 1, MESSAGES},
    {"rare", prepare_read, run_rare, 1, MESSAGES},
};
enum { PATHS = sizeof path / sizeof *path };

/* Callgrind counts from here on, and until it returns. */
void measured(const struct path *p, struct work *w);
__attribute__((noinline)) void
measured(const struct path *p, struct work *w)
{
    for (uint32_t i = 0; i < p->rounds; i++)
        p->run(w);
}

static int
unlink_one(const char *name, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(name);
}

static void
start(struct work *w)
{
    buf_init(&w->in, 0);
    buf_init(&w->out, 0);
    buf_init(&w->room, 0);
    wire_scratch_init(&w->scratch);
    vector_init(&w->cursor);
    memset(w->body, 'x', BODY);
    for (uint32_t i = 0; i < TOPICS; i++)
        snprintf(w->topic[i], sizeof w->topic[i], "room/%u/temp", (unsigned)i);
    for (uint32_t i = 0; i < COUNT; i++)
        w->msg[i] = (struct msg){.topic = topic_of(w, i), .body = {w->body, BODY}};
    snprintf(w->dir, sizeof w->dir, "/tmp/paths.XXXXXX");
}

int
main(int argc, char **argv)
{
    static struct work w;
    const struct path *p = NULL;
    for (uint32_t i = 0; i < PATHS; i++) {
        if (argc < 2)
            puts(path[i].name);
        else if (strcmp(argv[1], path[i].name) == 0)
            p = &path[i];
    }
    if (!p)
        return argc < 2 ? 0 : 2;
    w.is_wasteful = argc > 2;
    start(&w);
    p->prepare(&w);
    measured(p, &w);
    printf("%u\n", (unsigned)(p->rounds * p->messages));
    if (w.store) {
        store_reader_close(w.reader);
        store_close(w.store);
        nftw(w.dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    return 0; /* what it holds goes with it */
}
