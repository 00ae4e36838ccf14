#include "codec/wire.h"

#include "base/blob.h"
#include "base/prng.h"
#include "tests/wire_kit.h"

#include <stdlib.h>
#include <string.h>

/* Random frames there and back, and random damage with a CRC that fits. */

enum { ENTRIES_MAX = 40, TEXT_BYTES = 600 };

static struct wire_scratch scratch;
static struct prng         rng;
static uint8_t             text[TEXT_BYTES];

/* What random frames point to. */
static struct mark        mark[ENTRIES_MAX];
static struct head        head[ENTRIES_MAX];
static struct member_info member[ENTRIES_MAX];
static struct member_row  row[ENTRIES_MAX];
static struct msg         msg[ENTRIES_MAX];
static struct batch       batch;

/* Of every magnitude, so that varints of every length come up. */
static uint64_t
number(uint64_t max)
{
    uint64_t v = prng_next(&rng) >> prng_below(&rng, 64);
    return max == UINT64_MAX ? v : v % (max + 1);
}

static uint64_t
positive(uint64_t max)
{
    return 1 + number(max - 1);
}

static struct str
words(size_t max)
{
    return (struct str){text, number(max)};
}

static struct hash128
random_hash(void)
{
    struct hash128 h;
    for (size_t i = 0; i < sizeof h.b; i++)
        h.b[i] = (uint8_t)prng_next(&rng);
    return h;
}

static struct addr
random_addr(void)
{
    struct addr a = {.family = prng_below(&rng, 2) ? 4 : 6, .port = (uint16_t)positive(65535)};
    for (int i = 0; i < (a.family == 4 ? 4 : 16); i++)
        a.ip[i] = (uint8_t)prng_next(&rng);
    return a;
}

static struct token
random_token(void)
{
    if (prng_below(&rng, 4) == 0)
        return (struct token){0};
    return (struct token){number(UINT64_MAX), random_addr(), number(UINT64_MAX)};
}

static uint32_t
random_marks(void)
{
    uint32_t n = (uint32_t)number(ENTRIES_MAX);
    uint64_t s = 0;
    for (uint32_t i = 0; i < n; i++) {
        s += positive(INT64_MAX / ENTRIES_MAX);
        mark[i] = (struct mark){s, positive(INT64_MAX)};
        head[i] = (struct head){s, mark[i].seq, number(mark[i].seq), 0};
        if (head[i].floor < head[i].head && prng_below(&rng, 4) == 0)
            head[i].gap = head[i].floor + positive(head[i].head - head[i].floor);
    }
    return n;
}

static struct msg
random_msg(void)
{
    if (prng_below(&rng, 5) == 0)
        return (struct msg){.flags = MSG_DIGEST_ONLY, .digest = random_hash()};
    struct msg m = {.topic = words(TOPIC_BYTES_MAX - 1), .headers = words(300), .body = words(500)};
    m.topic.n++;
    return m;
}

static struct frame_members
random_members(void)
{
    uint32_t n = 1 + (uint32_t)number(ENTRIES_MAX - 1), rows = (uint32_t)number(ENTRIES_MAX);
    for (uint32_t i = 0; i < n; i++)
        member[i] = (struct member_info){random_addr(), words(HOST_BYTES_MAX), number(UINT64_MAX),
                                         number(UINT64_MAX), (uint8_t)number(3)};
    for (uint32_t i = 0; i < rows; i++)
        row[i] = (struct member_row){(uint8_t)number(n - 1), prng_below(&rng, 2) == 1,
                                     number(UINT64_MAX), number(UINT64_MAX),
                                     (uint32_t)number(n < 32 ? (1u << n) - 1 : UINT32_MAX)};
    return (struct frame_members){member, row, n, rows};
}

static struct batch *
random_batch(void)
{
    uint32_t count = 1 + (uint32_t)number(ENTRIES_MAX - 1);
    for (uint32_t i = 0; i < count; i++)
        msg[i] = random_msg();
    batch = (struct batch){.stream        = positive(INT64_MAX),
                           .first         = positive(INT64_MAX - count),
                           .count         = count,
                           .prev          = random_hash(),
                           .chain         = random_hash(),
                           .lamport_first = positive(STAMP_MAX - count),
                           .wall          = {(int64_t)number(UINT64_MAX)},
                           .origin        = words(WIRE_ORIGIN_BYTES_MAX),
                           .deps          = mark,
                           .deps_count    = random_marks(),
                           .msg           = msg};
    return &batch;
}

static struct batch *
random_live(void)
{
    uint32_t count = 1 + (uint32_t)number(ENTRIES_MAX - 1);
    for (uint32_t i = 0; i < count; i++) {
        do
            msg[i] = random_msg();
        while (msg[i].flags != 0);
    }
    batch = (struct batch){.count         = count,
                           .lamport_first = positive(STAMP_MAX - count),
                           .wall          = {(int64_t)number(UINT64_MAX)},
                           .origin        = words(WIRE_ORIGIN_BYTES_MAX - 1),
                           .msg           = msg};
    batch.origin.n++;
    return &batch;
}

static struct frame
random_data_frame(enum frame_kind kind)
{
    struct frame f = {.kind = kind};
    uint32_t     n = random_marks();
    switch ((int)kind) {
    case FRAME_HEADS:
        f.heads = (struct frame_heads){(uint8_t)number(7), random_token(), head, n};
        break;
    case FRAME_PUSH:
        f.push = (struct frame_push){(uint8_t)number(1), random_batch()};
        break;
    case FRAME_LIVE:
        f.live.batch = random_live();
        break;
    case FRAME_PULL:
        f.pull = (struct frame_pull){{mark, n, n}, number(UINT64_MAX)};
        break;
    case FRAME_GAP:
        f.gap      = (struct frame_gap){.stream     = positive(INT64_MAX),
                                        .to         = positive(INT64_MAX),
                                        .chain      = random_hash(),
                                        .stamp      = number(STAMP_MAX),
                                        .came       = {(int64_t)number(UINT64_MAX)},
                                        .origin     = words(WIRE_ORIGIN_BYTES_MAX),
                                        .deps       = mark,
                                        .deps_count = n};
        f.gap.from = positive(f.gap.to);
        break;
    case FRAME_LATEST:
        f.latest = (struct frame_latest){{positive(INT64_MAX), positive(INT64_MAX)},
                                         number(STAMP_MAX),
                                         {(int64_t)number(UINT64_MAX)},
                                         random_msg()};
        break;
    }
    return f;
}

static struct frame
random_frame(enum frame_kind kind)
{
    struct frame f = random_data_frame(kind);
    switch ((int)kind) {
    case FRAME_HELLO:
        f.hello             = (struct frame_hello){.version_max  = (uint8_t)positive(255),
                                                   .cluster      = words(CLUSTER_BYTES_MAX - 1),
                                                   .addr         = random_addr(),
                                                   .host         = words(HOST_BYTES_MAX),
                                                   .nonce        = number(UINT64_MAX),
                                                   .capabilities = (uint32_t)number(UINT32_MAX)};
        f.hello.version_min = (uint8_t)positive(f.hello.version_max);
        f.hello.cluster.n++;
        break;
    case FRAME_REFUSE:
        f.refuse = (struct frame_refuse){(uint8_t)number(255), words(TEXT_BYTES)};
        break;
    case FRAME_MEMBERS:
        f.members = random_members();
        break;
    case FRAME_CREDIT:
        f.credit.bytes = number(UINT64_MAX);
        break;
    case FRAME_PING:
        f.ping = (struct frame_ping){number(UINT64_MAX), prng_below(&rng, 2) == 1, random_token()};
        break;
    case FRAME_ELECTION:
    case FRAME_OK:
    case FRAME_COORDINATOR:
        f.election = (struct frame_election){number(STAMP_MAX), random_token()};
        break;
    case FRAME_FORGET:
        f.forget = (struct frame_forget){random_addr(), number(UINT64_MAX), number(UINT64_MAX)};
        break;
    }
    return f;
}

/* Broken when some value, of any field, does not survive the way over a link. */
static void
random_frames_come_back(void **state)
{
    (void)state;
    struct buf out, again;
    buf_init(&out, 0);
    buf_init(&again, 0);
    for (unsigned step = 0; step < 20000; step++) {
        enum frame_kind kind = (enum frame_kind)(1 + step % (FRAME_KIND_END - 1));
        struct frame    f    = random_frame(kind), back;
        size_t          used;
        buf_reset(&out);
        buf_reset(&again);
        assert_int_equal(wire_encode(&out, &f), ERR_OK);
        if (wire_decode(buf_str(&out), &scratch, &back, &used) != ERR_OK)
            fail_msg("%s: %s", wire_name(kind), scratch.problem);
        assert_int_equal(used, out.n);
        assert_int_equal(wire_encode(&again, &back), ERR_OK);
        assert_true(str_eq(buf_str(&out), buf_str(&again)));
        drop(&back);
    }
    buf_fini(&out);
    buf_fini(&again);
}

/* The bytes lie in memory of exactly their size, so that a read beyond is seen. */
static void
damage_and_decode(struct str whole)
{
    size_t n = WIRE_HEAD_BYTES + prng_below(&rng, whole.n - WIRE_HEAD_BYTES + 1);
    if (prng_below(&rng, 4) > 0)
        n = whole.n;
    uint8_t *p = malloc(n);
    assert_non_null(p);
    memcpy(p, whole.p, n);
    for (uint64_t flips = prng_below(&rng, 4); flips > 0; flips--)
        p[8 + prng_below(&rng, n - 8)] ^= (uint8_t)(1u << prng_below(&rng, 8));
    seal_frame(p, n);

    struct frame f;
    struct buf   again;
    size_t       used;
    struct str   in = {p, n};
    buf_init(&again, 0);
    if (wire_decode(in, &scratch, &f, &used) == ERR_OK) {
        /* But for the head, and for what stands behind its fields now: that is skipped. */
        assert_int_equal(wire_encode(&again, &f), ERR_OK);
        assert_true(str_starts(str_cut(in, WIRE_HEAD_BYTES, in.n),
                               str_cut(buf_str(&again), WIRE_HEAD_BYTES, again.n)));
        drop(&f);
    }
    buf_fini(&again);
    free(p);
}

/* Broken when a hostile peer can make us read or write outside of a frame, leak a
 * batch, or take one frame for another: what decodes has exactly one form. */
static void
damage_behind_the_crc_is_harmless(void **state)
{
    (void)state;
    size_t     before = blob_bytes_used();
    struct buf out;
    buf_init(&out, 0);
    for (unsigned step = 0; step < 20000; step++) {
        struct frame f = random_frame((enum frame_kind)(1 + step % (FRAME_KIND_END - 1)));
        buf_reset(&out);
        assert_int_equal(wire_encode(&out, &f), ERR_OK);
        for (int i = 0; i < 5; i++)
            damage_and_decode(buf_str(&out));
    }
    buf_fini(&out);
    assert_int_equal(blob_bytes_used(), before);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(random_frames_come_back),
        cmocka_unit_test(damage_behind_the_crc_is_harmless),
    };
    rng.state = 4;
    memset(text, 'x', sizeof text);
    wire_scratch_init(&scratch);
    int failed = cmocka_run_group_tests_name("wire_random", test, NULL, NULL);
    wire_scratch_fini(&scratch);
    return failed;
}
