#include "codec/wire.h"

#include "base/blob.h"
#include "core/batch.h"
#include "tests/wire_kit.h"

#include <stdlib.h>
#include <string.h>

/* What hostile peers send, in sound frames, and all limits from both sides. */

static struct wire_scratch scratch;

/* Decode; `problem` NULL: it must be OK. */
static void
judge(const char *name, unsigned kind, struct str payload, const char *problem)
{
    struct str   in = framed(kind, payload);
    struct frame f;
    size_t       used, before = blob_bytes_used();
    enum err     e = wire_decode(in, &scratch, &f, &used);
    if (e != (problem ? ERR_PROTO : ERR_OK))
        fail_msg("%s: %s", name, e == ERR_PROTO ? scratch.problem : err_text(e));
    if (e == ERR_PROTO && !strstr(scratch.problem, problem))
        fail_msg("%s: %s", name, scratch.problem);
    if (e == ERR_OK)
        drop(&f);
    assert_int_equal(blob_bytes_used(), before);
    free((void *)(uintptr_t)in.p);
}

/* HEADS of two streams, to 10 with a floor of 2 and to 10 without, and of their gaps. */
#define GAPS_OF(gaps)                                                                              \
    "080000000000000000000000000000000000"                                                         \
    "02"                                                                                           \
    "0000000000000001"                                                                             \
    "0a02"                                                                                         \
    "0000000000000002"                                                                             \
    "0a00" gaps

static const struct {
    const char *name;
    unsigned    kind;
    const char *hex, *problem;
} fault[] = {
    {"sound", 1, "484541525341593101010163047f0000010bb80168112233445566778800000000", NULL},
    {"other magic", 1, "484541525341593201010163047f0000010bb80168112233445566778800000000",
     "not a Hearsay peer"},
    {"HTTP", 1, "474554202f7065657220485454502f312e310d0a0d0a", "not a Hearsay peer"},
    {"version 0", 1, "484541525341593100010163047f0000010bb80168112233445566778800000000",
     "version range"},
    {"empty range", 1, "484541525341593103020163047f0000010bb80168112233445566778800000000",
     "version range"},
    {"no cluster", 1, "4845415253415931010100047f0000010bb80168112233445566778800000000",
     "no cluster"},
    {"long cluster", 1,
     "48454152534159310101416363636363636363636363636363636363636363636363636363636363636363636"
     "363636363636363636363636363636363636363636363636363636363636363047f0000010bb8016811223344"
     "5566778800000000",
     "text too long"},
    {"cluster not UTF-8", 1, "4845415253415931010101ff047f0000010bb80168112233445566778800000000",
     "UTF-8"},
    {"host with newline", 1,
     "484541525341593101010163047f0000010bb803610a62112233445566778800000000", "control"},
    {"host with DEL", 1, "484541525341593101010163047f0000010bb8017f112233445566778800000000",
     "control"},
    {"family 5", 1, "484541525341593101010163057f00000100010168112233445566778800000000", "family"},
    {"family 0", 1, "484541525341593101010163000168112233445566778800000000", "family"},
    {"port 0", 1, "484541525341593101010163047f00000100000168112233445566778800000000", "port 0"},
    {"a field more", 1, "484541525341593101010163047f0000010bb8016811223344556677880000000000",
     NULL},
    {"text beyond the end", 2, "010005616263", "too short"},
    {"gaps of two streams", 4,
     GAPS_OF("02"
             "0009"
             "0107"),
     NULL},
    {"no gaps", 4, GAPS_OF("00"), "no gaps"},
    {"gaps not sorted", 4,
     GAPS_OF("02"
             "0107"
             "0009"),
     "gaps not sorted"},
    {"a gap twice", 4,
     GAPS_OF("02"
             "0009"
             "0009"),
     "gaps not sorted"},
    {"gap of no stream", 4,
     GAPS_OF("01"
             "0205"),
     "gaps not sorted, or of no stream"},
    {"gap above the head", 4,
     GAPS_OF("01"
             "000b"),
     "gap out of range"},
    {"gap that the floor tells", 4,
     GAPS_OF("01"
             "0002"),
     "gap out of range"},
    {"gaps cut short", 4,
     GAPS_OF("02"
             "0009"),
     "too short"},
    {"sound", 3,
     "01047f0000010bb80168000000000000000111223344556677880001000111223344556677880000000000000"
     "00100000001",
     NULL},
    {"row of no member", 3,
     "01047f0000010bb80168000000000000000111223344556677880001010111223344556677880000000000000"
     "00100000001",
     "row of no member"},
    {"heard of no member", 3,
     "01047f0000010bb80168000000000000000111223344556677880001000111223344556677880000000000000"
     "00100000002",
     "heard of no member"},
    {"able 2", 3,
     "01047f0000010bb80168000000000000000111223344556677880001000211223344556677880000000000000"
     "00100000001",
     "neither 0 nor 1"},
    {"unknown member flag", 3, "01047f0000010bb80168000000000000000111223344556677880400",
     "unknown flag"},
    {"counts without entries", 3, "50", "too short"},
    {"empty", 4, "00000000000000000000000000000000000000", NULL},
    {"unknown heads flag", 4, "10000000000000000000000000000000000000", "unknown flag"},
    {"token without address", 4, "00000000000000000100000000000000000000", "family"},
    {"sound heads", 4,
     "000000000000000000000000000000000000020000000000000001010000000000000000020505", NULL},
    {"head 0", 4, "0000000000000000000000000000000000000100000000000000010000", "out of range"},
    {"floor above head", 4, "0000000000000000000000000000000000000100000000000000010405",
     "out of range"},
    {"not sorted", 4,
     "000000000000000000000000000000000000020000000000000002010000000000000000010100", "sorted"},
    {"twice", 4, "000000000000000000000000000000000000020000000000000002010000000000000000020100",
     "sorted"},
    {"stream 0", 4, "0000000000000000000000000000000000000100000000000000000100", "stream out"},
    {"stream 2^63", 4, "0000000000000000000000000000000000000180000000000000000100", "stream out"},
    {"too many streams", 4, "0000000000000000000000000000000000008130", "too many streams"},
    {"count beyond the end", 4, "000000000000000000000000000000000000803000000000000000010100",
     "too short"},
    {"sound pull", 6, "010000000000000001050000000000000000", NULL},
    {"seq 0", 6, "010000000000000001000000000000000000", "seq out"},
    {"count in two bytes", 6, "80000000000000000000", "shortest"},
    {"long seq", 6, "01000000000000000185000000000000000000", "shortest"},
    {"seq of ten bytes", 6, "010000000000000001808080808080808080010000000000000000",
     "varint too long"},
    {"seq without end", 6,
     "010000000000000001ffffffffffffffffffffffffffffffffffffffff0000000000000000",
     "varint too long"},
    {"no credit", 6, "00", "too short"},
    {"short credit", 7, "00000000000000", "too short"},
    {"sound push", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000",
     NULL},
    {"flag of a push", 5,
     "020000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000",
     "unknown flag"},
    {"stream 0", 5,
     "000000000000000000000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000",
     "stream out"},
    {"first 0", 5,
     "000000000000000001000000000000000000000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000",
     "seq out"},
    {"first 2^63", 5,
     "000000000000000001800000000000000000000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000",
     "seq out"},
    {"last 2^63", 5,
     "0000000000000000017fffffffffffffff00000002000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000000000000000"
     "016100000000",
     "seq out"},
    {"last 2^63-1", 5,
     "0000000000000000017ffffffffffffffe00000002000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000000000000000"
     "016100000000",
     NULL},
    {"no messages", 5,
     "000000000000000001000000000000000100000000000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000",
     "count of messages"},
    {"2^32-1 messages", 5,
     "0000000000000000010000000000000001ffffffff000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000",
     "count of messages"},
    {"fewer than counted", 5,
     "000000000000000001000000000000000100000002000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000",
     "too short"},
    {"more than counted", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000000000000000000"
     "016100000000",
     NULL}, /* behind what is counted: skipped */
    {"stamp 0", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000000000000000000000000000000000000016100000000",
     "stamp out"},
    {"stamp 2^53", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f002000000000000000000000000000000000000000000000016100000000",
     "stamp out"},
    {"last stamp 2^53", 5,
     "000000000000000001000000000000000100000002000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f001fffffffffffff00000000000000000000000000000000016100000000000000000000"
     "016100000000",
     "stamp out"},
    {"last stamp 2^53-1", 5,
     "000000000000000001000000000000000100000002000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f001ffffffffffffe00000000000000000000000000000000016100000000000000000000"
     "016100000000",
     NULL},
    {"deps not sorted", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000002000000000000000301000000000000000201"
     "000000000000016100000000",
     "sorted"},
    {"empty topic", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000100000000000078",
     "topic"},
    {"headers not UTF-8", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000001c0",
     "UTF-8"},
    {"NUL in headers", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f00000000000000010000000000000000000000000000000001610000000100",
     "control"},
    {"carriage return in headers", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f0000000000000001000000000000000000000000000000000161000000010d",
     "control"},
    {"DEL in headers", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f0000000000000001000000000000000000000000000000000161000000017f",
     "control"},
    {"tab and end of line in headers", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000000016100000002090a",
     NULL},
    {"unknown message flag", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000020000000000016100000000",
     "unknown flag"},
    {"short digest", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f00000000000000010000000000000000000001000102030405060708090a0b0c0d0e",
     "too short"},
    {"body beyond the end", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f000000000000000100000000000000000000000000000900016100000000616263",
     "too short"},
    {"huge body", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f00000000000000010000000000000000000000ffffffff00016100000000",
     "body too long"},
    {"huge headers", 5,
     "000000000000000001000000000000000100000001000102030405060708090a0b0c0d0e0f000102030405060"
     "708090a0b0c0d0e0f0000000000000001000000000000000000000000000000000161ffffffff",
     "headers too long"},
    {"sound gap", 8,
     "000000000000000100000000000000010000000000000002000102030405060708090a0b0c0d0e0f000000000"
     "0000001000000000000000003683a3100",
     NULL},
    {"from 0", 8,
     "000000000000000100000000000000000000000000000002000102030405060708090a0b0c0d0e0f000000000"
     "0000001000000000000000003683a3100",
     "seq out"},
    {"backwards", 8,
     "000000000000000100000000000000030000000000000002000102030405060708090a0b0c0d0e0f000000000"
     "0000001000000000000000003683a3100",
     "before it begins"},
    {"gap stamp", 8,
     "000000000000000100000000000000010000000000000002000102030405060708090a0b0c0d0e0f002000000"
     "0000000000000000000000003683a3100",
     "stamp out"},
    {"latest seq 0", 9,
     "0000000000000001000000000000000000000000000000010000000000000000000000000000016100000000",
     "seq out"},
    {"latest stamp", 9,
     "0000000000000001000000000000000100200000000000000000000000000000000000000000016100000000",
     "stamp out"},
    {"ping reply 2", 10, "0000000000000001020000000000000000000000000000000000", "neither"},
    {"short ping", 10, "0000000000000001", "too short"},
    {"election stamp", 11, "00200000000000000000000000000000000000000000000000", "stamp out"},
    {"nonce missing", 12, "00000000000000010000000000000007047f0000010bb8", "too short"},
    {"away with a field", 14, "78", NULL},
    {"forget nobody", 15, "0000000000000000010000000000000001", "family"},
    {"sound live", 16, "000000010000000000000001000000000000000003683a31000000000000016100000000",
     NULL},
    {"live without messages", 16, "000000000000000000000001000000000000000003683a31", "bad count"},
    {"live of 1025 messages", 16,
     "000004010000000000000001000000000000000003683a31000000000000016100000000", "bad count"},
    {"live beyond its end", 16,
     "000000020000000000000001000000000000000003683a31000000000000016100000000", "too short"},
    {"live stamp 0", 16, "000000010000000000000000000000000000000003683a31000000000000016100000000",
     "stamp out"},
    {"live stamp too high", 16,
     "000000010020000000000000000000000000000003683a31000000000000016100000000", "stamp out"},
    {"live of nobody", 16, "000000010000000000000001000000000000000000000000000000016100000000",
     "no origin"},
    {"live digest", 16,
     "000000010000000000000001000000000000000003683a3101000102030405060708090a0b0c0d0e0f",
     "without its body"},
    {"live and more", 16,
     "000000010000000000000001000000000000000003683a3100000000000001610000000000",
     NULL}, /* likewise */
    {"live flag", 16, "000000010000000000000001000000000000000003683a31020000000000016100000000",
     "unknown flag"},
};

/* Broken when a peer's frame gets past the decoder into core with something that
 * core takes for granted, or when a link is closed without the right reason. */
static void
each_fault_has_its_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fault / sizeof *fault; i++) {
        struct str payload = unhex(fault[i].hex);
        judge(fault[i].name, fault[i].kind, payload, fault[i].problem);
        release(payload);
    }
}

/* ---- encoded here, changed on the way ---- */

static void
encoded(struct buf *out, const struct frame *f, enum err want)
{
    size_t before = out->n;
    assert_int_equal(wire_encode(out, f), want);
    if (want != ERR_OK)
        assert_int_equal(out->n, before);
}

/* The frame as it is encoded must decode; `count`: how many arrive. */
static void
passes(const struct frame *f, uint32_t count)
{
    struct buf   out;
    struct frame back;
    size_t       used;
    buf_init(&out, 0);
    encoded(&out, f, ERR_OK);
    assert_true(out.n <= FRAME_BYTES_MAX);
    if (wire_decode(buf_str(&out), &scratch, &back, &used) != ERR_OK)
        fail_msg("%s", scratch.problem);
    assert_int_equal(used, out.n);
    if (f->kind == FRAME_PUSH)
        assert_int_equal(back.push.batch->count, count);
    if (f->kind == FRAME_HEADS)
        assert_int_equal(back.heads.count, count);
    if (f->kind == FRAME_PULL)
        assert_int_equal(back.pull.have.count, count);
    drop(&back);
    buf_fini(&out);
}

static void
is_refused(const struct frame *f, const char *problem)
{
    struct buf out;
    buf_init(&out, 0);
    encoded(&out, f, ERR_OK);
    judge(problem, f->kind, str_cut(buf_str(&out), WIRE_HEAD_BYTES, out.n), problem);
    buf_fini(&out);
}

static void
is_not_encoded(const struct frame *f)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(buf_add(&out, STR("kept")), ERR_OK);
    encoded(&out, f, ERR_INVALID);
    buf_fini(&out);
}

/* Broken when the most that a cluster may have of streams does not fit a frame. */
static void
as_many_streams_as_there_may_be(void **state)
{
    (void)state;
    struct mark *mark = calloc(STREAMS_MAX + 1, sizeof *mark);
    struct head *head = calloc(STREAMS_MAX + 1, sizeof *head);
    assert_true(mark && head);
    for (uint64_t i = 0; i <= STREAMS_MAX; i++) {
        mark[i] = (struct mark){INT64_MAX - STREAMS_MAX + i, INT64_MAX};
        head[i] = (struct head){mark[i].stream, INT64_MAX, INT64_MAX - 1, INT64_MAX};
    }
    struct frame pull  = {.kind = FRAME_PULL, .pull = {.have = {mark, STREAMS_MAX, 0}}};
    struct frame heads = {.kind = FRAME_HEADS, .heads = {.head = head, .count = STREAMS_MAX}};
    passes(&pull, STREAMS_MAX);
    passes(&heads, STREAMS_MAX);
    pull.pull.have.count = heads.heads.count = STREAMS_MAX + 1;
    is_not_encoded(&pull);
    is_not_encoded(&heads);
    free(mark);
    free(head);
}

/* A PUSH of `count` messages that have `body` and `others` bytes between them. */
static struct frame
big_push(uint32_t count, size_t body, size_t others)
{
    static struct msg   msg[BATCH_MESSAGES_MAX + 1];
    static struct batch b;
    static uint8_t      bytes[BODY_BYTES_MAX + 1];
    memset(bytes, 'x', sizeof bytes);
    for (uint32_t i = 0; i < count; i++) {
        size_t part = others / count + (i < others % count);
        msg[i]      = (struct msg){.topic   = {bytes, part < 100 ? part : 100},
                                   .headers = {bytes, part < 100 ? 0 : part - 100},
                                   .body    = {bytes, body / count + (i < body % count)}};
    }
    b = (struct batch){.stream = 1, .first = 1, .count = count, .lamport_first = 1, .msg = msg};
    return (struct frame){.kind = FRAME_PUSH, .push = {.batch = &b}};
}

/* Broken when the largest batch that may be sealed cannot be sent, or when a larger
 * one is taken: then brokers would disagree about what is in the log. */
static void
batches_up_to_their_limits(void **state)
{
    (void)state;
    enum { N = BATCH_MESSAGES_MAX, BODY = BATCH_BODY_BYTES_MAX, REST = BATCH_REST_BYTES_MAX };
    struct frame f = big_push(N, BODY, REST);
    passes(&f, N);
    f = big_push(N, BODY + 1, REST);
    is_refused(&f, "bodies");
    f = big_push(N, BODY, REST + 1);
    is_refused(&f, "topics, headers and deps");
    f = big_push(N + 1, N + 1, N + 1);
    is_not_encoded(&f);
    f = big_push(0, 0, 0);
    is_not_encoded(&f);

    f = big_push(1, BODY_BYTES_MAX, HEADERS_BYTES_MAX + 100);
    passes(&f, 1);
    f = big_push(1, BODY_BYTES_MAX + 1, 1);
    is_not_encoded(&f);
    f = big_push(1, 1, HEADERS_BYTES_MAX + 101);
    is_not_encoded(&f);
    static uint8_t topic[TOPIC_BYTES_MAX + 1];
    struct msg     m = {.topic = {topic, sizeof topic}};
    f                = big_push(1, 1, 1);
    struct batch b   = *f.push.batch;
    b.msg            = &m;
    f.push.batch     = &b;
    memset(topic, 'x', sizeof topic);
    is_not_encoded(&f);

    struct buf out; /* each message is sound, and the frame too long for any receiver */
    buf_init(&out, 0);
    assert_int_equal(buf_add(&out, STR("kept")), ERR_OK);
    f = big_push(3, 3 * BODY_BYTES_MAX, 3);
    encoded(&out, &f, ERR_LIMIT);
    buf_fini(&out);
}

/* Broken when a roster that is too large, or a text that is too long, gets in or out. */
static void
members_and_texts_up_to_their_limits(void **state)
{
    (void)state;
    static struct member_info member[WIRE_MEMBERS_COUNT_MAX + 1];
    static struct member_row  row[WIRE_MEMBERS_COUNT_MAX + 1];
    static uint8_t            text[WIRE_REFUSE_BYTES_MAX + 2];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i <= WIRE_MEMBERS_COUNT_MAX; i++) {
        member[i] = (struct member_info){.addr = {4, {127}, 1}, .host = {text, HOST_BYTES_MAX}};
        row[i]    = (struct member_row){.heard = UINT32_MAX};
    }
    struct frame f = {.kind    = FRAME_MEMBERS,
                      .members = {member, row, WIRE_MEMBERS_COUNT_MAX, WIRE_MEMBERS_COUNT_MAX}};
    passes(&f, 0);
    f.members.row_count++;
    is_not_encoded(&f);
    f.members.row_count = 0;
    f.members.member_count++;
    is_not_encoded(&f);
    f.members.member_count = 1;
    member[0].host.n       = HOST_BYTES_MAX + 1;
    is_not_encoded(&f);

    f = (struct frame){.kind = FRAME_REFUSE, .refuse = {1, {text, WIRE_REFUSE_BYTES_MAX}}};
    passes(&f, 0);
    f.refuse.text.n++;
    is_not_encoded(&f);
    text[0] = 1;
    text[1] = WIRE_REFUSE_BYTES_MAX >> 8;
    text[2] = (WIRE_REFUSE_BYTES_MAX & 0xff) + 1;
    judge("long text", FRAME_REFUSE, (struct str){text, sizeof text}, "text too long");
    text[0] = WIRE_MEMBERS_COUNT_MAX + 1;
    judge("81 members", FRAME_MEMBERS, (struct str){text, sizeof text}, "too many members");
    text[0] = 0;
    text[1] = WIRE_MEMBERS_COUNT_MAX + 1;
    judge("81 rows", FRAME_MEMBERS, (struct str){text, sizeof text}, "too many rows");
}

/* Broken when a full queue gets half a frame: the link could never be read again. */
static void
a_full_buffer_stays_as_it_was(void **state)
{
    (void)state;
    struct frame f = big_push(10, 1000, 1000);
    struct buf   all;
    buf_init(&all, 0);
    encoded(&all, &f, ERR_OK);
    size_t whole = all.n;
    buf_fini(&all);
    for (size_t limit = 4; limit <= whole + 4; limit += limit < 100 ? 1 : 61) {
        struct buf out;
        buf_init(&out, limit);
        assert_int_equal(buf_add(&out, STR("kept")), ERR_OK);
        encoded(&out, &f, limit < whole + 4 ? ERR_LIMIT : ERR_OK);
        assert_true(str_starts(buf_str(&out), STR("kept")));
        buf_fini(&out);
    }
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(each_fault_has_its_reason),
        cmocka_unit_test(as_many_streams_as_there_may_be),
        cmocka_unit_test(batches_up_to_their_limits),
        cmocka_unit_test(members_and_texts_up_to_their_limits),
        cmocka_unit_test(a_full_buffer_stays_as_it_was),
    };
    wire_scratch_init(&scratch);
    int failed = cmocka_run_group_tests_name("wire_bad", test, NULL, NULL);
    wire_scratch_fini(&scratch);
    return failed;
}
