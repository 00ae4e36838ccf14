/* If these fail, figures of docs/BENCH.md are wrong: percentiles that are not, or answers that
 * are counted twice, or not at all, where a read cuts them. */
#include "bench/drivers.h"
#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK(number) "@00000000000000ff0000" number
#define BODY MARK("00000000") "xxx" /* 32 bytes */
#define NEXT MARK("00000001") "xxx"

static struct load l;
static struct conn c;

static void
begin(const struct driver *d)
{
    static uint32_t expected[1];
    static uint64_t sent[16];
    static char     cursor[4096];
    free(c.out);
    free(l.ids.at);
    l           = (struct load){.publishers = 1, .topic = "bench", .topics = 1, .body_bytes = 32};
    l.end       = 1000;
    l.now       = 500;
    expected[0] = 0;
    c = (struct conn){.driver = d, .load = &l, .expected = expected, .sent = sent, .sent_cap = 16};
    c.sent_next = 16;
    c.cursor    = cursor;
    strcpy(cursor, "0");
}

static const struct driver *
named(const struct driver *d, const char *name)
{
    while (strcmp(d->name, name) != 0)
        d++;
    return d;
}

/* As the loop does: what is no whole unit comes again with more behind it. */
static void
feed(const char *p, size_t n, size_t cut)
{
    char   in[2048];
    size_t used;
    memcpy(in, p, cut);
    used = c.driver->take(&c, in, cut);
    assert_true(used <= cut);
    memcpy(in, p + used, n - used);
    used += c.driver->take(&c, in, n - used);
    if (n - used > 2) /* the end of a chunk is taken with the next one */
        fail_msg("%s cut at %zu: %zu of %zu bytes taken", c.driver->name, cut, used, n);
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define RECEIPT "{\"id\":\"00000000000000ab-7\",\"copies\":1}"
#define POSTED "HTTP/1.1 201 Created\r\nContent-Length: 38\r\n\r\n" RECEIPT
#define REDIS_MESSAGE(body) "*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$32\r\n" body "\r\n"

static const struct row {
    const struct driver *table;
    const char          *name, *in;
    size_t               bytes;
    unsigned             acked, delivered, errors, ids;
    bool                 chunked;
} rows[] = {
#define ROW(table, name, in, ...)                                                                  \
    {                                                                                              \
        table, name, in, sizeof(in) - 1, __VA_ARGS__                                               \
    }
    ROW(publish_drivers, "http", POSTED POSTED, 2, 0, 0, 2, false),
    ROW(publish_drivers, "http", "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}" POSTED, 2, 0, 1,
        1, false),
    ROW(publish_drivers, "nchan", "HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nyes", 1, 0, 0,
        0, false),
    ROW(publish_drivers, "ndjson",
        CHUNKED "4e\r\n" RECEIPT "\n" RECEIPT "\n\r\n27\r\n" RECEIPT "\n\r\n", 3, 0, 0, 3, false),
    ROW(publish_drivers, "json",
        "{\"type\":\"ack\",\"id\":\"00000000000000ab-7\"}\n{\"type\":\"error\"}\n", 1, 0, 1, 1,
        false),
    ROW(subscribe_drivers, "json", "{\"type\":\"publish\",\"message\":\"" BODY "\"}\n", 0, 1, 0, 0,
        false),
    ROW(subscribe_drivers, "sse",
        "2a\r\ndata: " BODY "\n\n\n\n\r\n2\r\n:\n\r\n28\r\ndata: " NEXT "\n\n\r\n", 0, 2, 0, 0,
        true),
    ROW(subscribe_drivers, "nchan", "id: 1:0\ndata: " BODY "\n\nid: 2:0\ndata: " NEXT "\n\n", 0, 2,
        0, 0, false),
    ROW(subscribe_drivers, "poll",
        "HTTP/1.1 200 OK\r\nHearsay-Cursor: AX\r\nContent-Length: 72\r\n"
        "\r\n[\"" BODY "\",\"" NEXT "\"]x",
        0, 2, 0, 0, false),
    ROW(publish_drivers, "nats",
        "PING\r\nMSG bench 1 32\r\n" BODY "\r\nMSG bench 1 r 32\r\n" NEXT "\r\n-ERR 'x'\r\n", 0, 2,
        1, 0, false),
    ROW(publish_drivers, "jetstream",
        "MSG _INBOX.b0 1 9\r\n{\"seq\":7}\r\n"
        "MSG _INBOX.b0 1 12\r\n{\"error\":{}}\r\n",
        1, 0, 1, 0, false),
    ROW(publish_drivers, "redis", ":4\r\n-ERR x\r\n$15\r\n1700000000000-0\r\n", 2, 0, 1, 0, false),
    ROW(subscribe_drivers, "redis", REDIS_MESSAGE(BODY) REDIS_MESSAGE(NEXT), 0, 2, 0, 0, false),
    ROW(subscribe_drivers, "redis-stream",
        "*1\r\n*2\r\n$5\r\nbench\r\n*1\r\n*2\r\n$3\r\n9-1\r\n"
        "*2\r\n$1\r\nb\r\n$32\r\n" BODY "\r\n",
        0, 1, 0, 0, false),
    ROW(publish_drivers, "mqtt1", "\x40\2\0\1\x40\2\0\2", 2, 0, 0, 0, false),
    ROW(subscribe_drivers, "mqtt1", "\x32\x29\0\5bench\0\1" BODY "\x30\x27\0\5bench" NEXT, 0, 2, 0,
        0, false),
};

static void
answers_are_counted_wherever_they_are_cut(void **state)
{
    (void)state;
    assert_int_equal(strlen(BODY), 32);
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++)
        for (size_t cut = 0; cut <= r->bytes; cut++) {
            begin(named(r->table, r->name));
            c.chunked = r->chunked;
            l.errors  = 1000; /* the first would be printed */
            feed(r->in, r->bytes, cut);
            if (l.acked != r->acked || l.delivered != r->delivered ||
                l.errors != 1000 + r->errors || l.ids.count != r->ids)
                fail_msg("%s cut at %zu: %d acked, %d delivered, %d errors, %zu ids", r->name, cut,
                         (int)l.acked, (int)l.delivered, (int)l.errors - 1000, l.ids.count);
            assert_int_equal(l.lost + l.repeated, 0);
        }
}

static void
lost_and_repeated_messages_are_told_apart(void **state)
{
    (void)state;
    begin(named(subscribe_drivers, "json"));
    driver_delivered(&c, MARK("00000000"));
    driver_delivered(&c, MARK("00000003"));
    driver_delivered(&c, MARK("00000003"));
    assert_int_equal(l.delivered, 3);
    assert_int_equal(l.lost, 2);
    assert_int_equal(l.repeated, 1);
    assert_int_equal(l.delivery.count, 3);
    assert_int_equal(l.delivery.max, 500 - 0xff);
}

/* Where what is sent has the shape of what comes, each must understand the other. */
static void
a_message_is_as_long_as_it_says(void **state)
{
    static const char *name[] = {"redis", "mqtt0", "mqtt1"};
    (void)state;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        for (size_t bytes = 32; bytes < 400; bytes++) {
            struct message m;
            begin(named(subscribe_drivers, name[i]));
            l.body_bytes = bytes;
            named(publish_drivers, name[i])->message(&c, &m);
            memcpy(m.at + m.mark, BODY, MARK_BYTES);
            if (strcmp(name[i], "mqtt1") == 0)
                mqtt1_number(m.at, 258);
            feed(m.at, m.bytes, m.bytes / 2);
            assert_int_equal(l.delivered, 1);
            if (strcmp(name[i], "mqtt1") == 0)
                assert_memory_equal(c.out, "\x40\2\1\3", 4);
            free(m.at);
        }
}

static void
a_percentile_is_at_most_a_hundredth_too_high(void **state)
{
    static struct histogram h;
    (void)state;
    for (uint64_t v = 0; v < UINT64_C(1) << 62; v = v + v / 7 + 1) {
        h = (struct histogram){0};
        histogram_add(&h, v);
        histogram_add(&h, UINT64_MAX);
        uint64_t p = histogram_percentile(&h, 0.5);
        assert_true(p >= v && p <= v + v / 100);
        assert_true(h.max == UINT64_MAX && histogram_percentile(&h, 1) == UINT64_MAX);
    }
}

static void
percentiles_of_a_thousand(void **state)
{
    static struct histogram h;
    (void)state;
    assert_int_equal(histogram_percentile(&h, 0.5), 0);
    for (uint64_t v = 1; v <= 1000; v++)
        histogram_add(&h, v);
    assert_in_range(histogram_percentile(&h, 0.5), 500, 504);
    assert_in_range(histogram_percentile(&h, 0.99), 990, 997);
    assert_in_range(histogram_percentile(&h, 0.001), 1, 1);
    assert_int_equal(histogram_percentile(&h, 0.9999), 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_counted_wherever_they_are_cut),
        cmocka_unit_test(lost_and_repeated_messages_are_told_apart),
        cmocka_unit_test(a_message_is_as_long_as_it_says),
        cmocka_unit_test(a_percentile_is_at_most_a_hundredth_too_high),
        cmocka_unit_test(percentiles_of_a_thousand),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(c.out);
    free(l.ids.at);
    return failed;
}
