/* check - fixed work for `make bench-check`, which counts its instructions.
 *
 * usage: check WORK [DIR]     WORK: http json seal match render store; DIR (store): empty
 *        check planted        http with something slow in it, which must be found
 *
 * The same input each time, no clock and no randomness of its own: what differs between two
 * runs is the code. */
#include "base/blob.h"
#include "base/buf.h"
#include "base/check.h"
#include "codec/http.h"
#include "codec/json.h"
#include "core/batch.h"
#include "core/page.h"
#include "core/subs.h"
#include "server/render.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY = 100, NAMES = 64, PER_BATCH = 100, BATCHES = 60, FILTERS = 512, ROUNDS = 4000 };

static volatile uint64_t sink; /* so that no result is left out */

static _Noreturn void
die(const char *what)
{
    fprintf(stderr, "check: %s\n", what);
    exit(1);
}

static void
work_http(const char *dir)
{
    (void)dir;
    static const char head[] =
        "POST /topics/stocks/eu/dax?acks=1 HTTP/1.1\r\nHost: localhost:3000\r\n"
        "User-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Type: text/plain\r\n"
        "Hearsay-Meta-Unit: eur\r\nContent-Length: 100\r\n\r\n";
    static struct http_request r;
    for (int i = 0; i < ROUNDS; i++) {
        size_t              seen = 0, used;
        struct http_problem problem;
        if (http_request_decode(str_of(head), &seen, &r, &used, &problem) != ERR_OK)
            die("the head is refused");
        sink += used + r.headers.count;
    }
}

static __attribute__((noinline)) void
planted_slowdown(void)
{
    for (int i = 0; i < ROUNDS * 1000; i++)
        sink++;
}

static void
work_planted(const char *dir)
{
    work_http(dir);
    planted_slowdown();
}

static void
work_json(const char *dir)
{
    (void)dir;
    static const char object[] =
        "{\"type\":\"publish\",\"topic\":\"stocks/eu/dax\",\"message\":\"caf\xc3\xa9 \\u20ac "
        "a body of some hundred bytes, as most of them are, with nothing in it to be escaped\","
        "\"ack\":true,\"lamport_timestamp\":17,\"ref\":4711}\n";
    static struct json_members m;
    for (int i = 0; i < ROUNDS; i++) {
        struct json_scan scan = {0};
        struct str       found, text;
        size_t           used;
        const char      *why;
        uint8_t          room[sizeof object];
        if (json_find(&scan, str_of(object), &found, &used, &why) != ERR_OK ||
            json_parse(found, &m, &why) != ERR_OK ||
            !json_text(json_member(&m, STR("message")), room, &text))
            die("the object is refused");
        sink += text.n;
    }
}

static struct batch *
make(uint64_t first, struct hash128 prev)
{
    static char       name[NAMES][32], body[BODY];
    static struct msg msg[PER_BATCH];
    memset(body, 'x', sizeof body);
    for (uint32_t i = 0; i < PER_BATCH; i++) {
        unsigned at = (unsigned)((first + i) % NAMES);
        snprintf(name[at], sizeof name[at], "stocks/eu/%u", at);
        msg[i] = (struct msg){.topic   = str_of(name[at]),
                              .headers = STR("content-type: text/plain\n"),
                              .body    = {(const uint8_t *)body, sizeof body}};
    }
    struct batch_parts parts = {.stream        = 7,
                                .first         = first,
                                .prev          = prev,
                                .lamport_first = first,
                                .wall          = {1700000000000 + (int64_t)first},
                                .origin        = first == 1 ? STR("host:3000") : (struct str){0},
                                .msg           = msg,
                                .count         = PER_BATCH};
    return batch_make(&parts);
}

static void
work_seal(const char *dir)
{
    (void)dir;
    struct hash128 chain = {0};
    for (uint64_t i = 0; i < BATCHES; i++) {
        struct batch *b = make(1 + i * PER_BATCH, chain);
        chain           = b->chain;
        if (!batch_is_valid(b))
            die("a batch is not valid");
        blob_drop(b);
    }
    sink += chain.b[0];
}

static void
work_match(const char *dir)
{
    (void)dir;
    static int       subscriber[FILTERS];
    struct subs      s;
    struct subs_hits hits;
    char             text[64];
    subs_init(&s, FILTERS);
    subs_hits_init(&hits);
    for (int i = 0; i < FILTERS; i++) {
        static const char *const form[] = {"stocks/eu/%d", "stocks/+/%d", "stocks/%d/#", "+/eu/%d"};
        snprintf(text, sizeof text, form[i % 4], i);
        if (subs_add(&s, str_of(text), &subscriber[i]) != ERR_OK)
            die("a filter is refused");
    }
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(text, sizeof text, "stocks/eu/%d", i % FILTERS);
        subs_match(&s, str_of(text), &hits);
        sink += hits.count;
    }
    subs_hits_fini(&hits);
    subs_fini(&s);
}

static void
work_render(const char *dir)
{
    (void)dir;
    struct entry e = {.lsn     = 9,
                      .mark    = {0x1234567890abcdef, 70000},
                      .lamport = 4200000,
                      .wall    = {1767323045678},
                      .origin  = STR("localhost:3000"),
                      .topic   = STR("stocks/eu/dax"),
                      .headers = STR("content-type: text/plain\nmeta-unit: eur\n"),
                      .body = STR("some \"quoted\" text and a line's end\n, caf\xc3\xa9, and more "
                                  "of it, up to about a hundred bytes")};
    struct buf   out;
    buf_init(&out, 0);
    for (int i = 0; i < ROUNDS; i++) {
        buf_reset(&out);
        render_message(&out, &e, STR("CURSOR"));
        render_delivery(&out, &e, STR("CURSOR"));
        render_ack(&out, e.mark, e.lamport, CAUSAL_YES, STR("17"));
        render_receipt(&out, &(struct receipt){.mark    = e.mark,
                                               .lamport = e.lamport,
                                               .origin  = e.origin,
                                               .cursor  = STR("CURSOR"),
                                               .copies  = 1,
                                               .causal  = true});
        sink += out.n;
    }
    buf_fini(&out);
}

static void
read_all(const struct store *s)
{
    struct store_reader *reader;
    struct page         *page;
    struct read          read = {.start     = READ_AT_LSN,
                                 .lsn       = 1,
                                 .lsn_last  = (uint64_t)BATCHES * PER_BATCH,
                                 .bytes_max = 256 << 10};
    if (store_reader_open(&reader, s) != ERR_OK)
        die("no reader");
    while (read.lsn <= read.lsn_last) {
        if (store_read(reader, &read, &page) != ERR_OK)
            die("cannot read");
        read.lsn = page->lsn_next;
        sink += page->count;
        page_drop(page);
    }
    store_reader_close(reader);
}

static void
work_store(const char *dir)
{
    struct store           *s;
    const struct recovered *found;
    struct buf              problem;
    struct hash128          chain = {0};
    buf_init(&problem, 4096);
    if (store_open(&s, &(struct store_config){.dir = dir, .cluster = STR("check")}, &found,
                   &problem) != ERR_OK)
        die("cannot open the store");
    for (uint64_t i = 0; i < BATCHES; i++) {
        struct batch        *b = make(1 + i * PER_BATCH, chain);
        struct commit        c = {.kind = COMMIT_BATCH, .batch = b};
        struct commit_result r;
        chain = b->chain;
        store_commit(s, &c, 1, (struct wall){1700000000000}, &r);
        if (r.err != ERR_OK)
            die("a commit failed");
        blob_drop(b);
    }
    read_all(s);
    store_close(s);
    buf_fini(&problem);
}

static const struct {
    const char *name;
    void (*run)(const char *dir);
} work[] = {
    {"http", work_http},       {"json", work_json},   {"seal", work_seal},
    {"match", work_match},     {"store", work_store}, {"render", work_render},
    {"planted", work_planted},
};

int
main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof work / sizeof *work; i++)
        if (strcmp(argv[1], work[i].name) == 0) {
            work[i].run(argc > 2 ? argv[2] : ".");
            return 0;
        }
    fprintf(stderr, "usage: check http|json|seal|match|render|store|planted [DIR]\n");
    return 2;
}
