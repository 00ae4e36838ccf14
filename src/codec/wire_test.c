#include "codec/wire.h"

#include "base/blob.h"
#include "core/batch.h"
#include "tests/wire_kit.h"

#include <stdlib.h>
#include <string.h>

/* Whole frames, put together by hand from docs/PEER.md and checked by another
 * program: these bytes are what a peer of another make sends. */
static const char *const golden[FRAME_KIND_END] = {
    [FRAME_HELLO] =
        "00000034d501d9b801484541525341593101020768656172736179047f0000010bb8096c6f63616c686f7374"
        "1122334455667788deadbeef",
    [FRAME_REFUSE] = "00000015a11506040202000d6f7468657220636c7573746572",
    [FRAME_MEMBERS] =
        "000000641ca195a50302047f0000010bb8096c6f63616c686f73740000000000000005112233445566778800"
        "0620010db80000000000000000000000010bb900000000000000000600000000000000000101010111223344"
        "55667788000000000000000900000003",
    [FRAME_HEADS] =
        "0000003ce5633b9204050000000000000007047f0000010bb81122334455667788020123456789abcdef8001"
        "007fffffffffffffffffffffffffffffff7fff7f",
    [FRAME_PUSH] =
        "000000a19e2cc3c905010123456789abcdef000000000000000100000002000102030405060708090a0b0c0d"
        "0e0f101112131415161718191a1b1c1d1e1f000000000000002a0000018bcfe5687b0e6c6f63616c686f7374"
        "3a33303030017fffffffffffffffac020000000002000673746f636b7300000019636f6e74656e742d747970"
        "653a20746578742f706c61696e0a757001202122232425262728292a2b2c2d2e2f",
    [FRAME_PULL]   = "00000021258619bc06020123456789abcdef017fffffffffffffffac020000000000400000",
    [FRAME_CREDIT] = "0000000d83aa1350070000000000010000",
    [FRAME_GAP] =
        "0000006076197438080123456789abcdef0000000000000001000000000000012c000102030405060708090a"
        "0b0c0d0e0f000000000000004dfffffffffffffffe0e6c6f63616c686f73743a33303030020123456789abcd"
        "ef017fffffffffffffffac02",
    [FRAME_LATEST] =
        "00000031d7f253ae090123456789abcdef000000000000000c0000000000000063ffffffffffffffff000000"
        "000000016100000000",
    [FRAME_PING] = "0000001f1bd4f2160a0000000000000021010000000000000000000000000000000000",
    [FRAME_ELECTION] =
        "000000309e2e85070b001fffffffffffff00000000000000070620010db80000000000000000000000010bb9"
        "1122334455667788",
    [FRAME_OK] = "00000024962162170c00000000000000050000000000000007047f0000010bb81122334455667788",
    [FRAME_COORDINATOR] =
        "000000243fe5ce950d00000000000000060000000000000007047f0000010bb81122334455667788",
    [FRAME_AWAY] = "0000000535bac28a0e",
    [FRAME_FORGET] =
        "000000286206189d0f0620010db80000000000000000000000010bb900000000000000051122334455667788",
    [FRAME_LIVE] =
        "00000061ec4d84e61000000002000000000000002a0000018bcfe5687b0e6c6f63616c686f73743a33303030"
        "000000000200077469636b732f6100000019636f6e74656e742d747970653a20746578742f706c61696e0a75"
        "70000000000000016100000000",
};

static const uint64_t stream1 = 0x0123456789abcdef, stream2 = INT64_MAX;
static const uint64_t nonce = 0x1122334455667788;

/* ---- the same frames as structs ---- */

static const struct addr addr4 = {4, {127, 0, 0, 1}, 3000};
static const struct addr addr6 = {6, {0x20, 1, 0xd, 0xb8, [15] = 1}, 3001};

static struct hash128
hash_from(uint8_t first)
{
    struct hash128 h;
    for (uint8_t i = 0; i < sizeof h.b; i++)
        h.b[i] = (uint8_t)(first + i);
    return h;
}

static void
sample_peers(struct frame *f)
{
    static struct member_info member[2];
    static struct member_row  row[1];
    switch ((int)f->kind) {
    case FRAME_HELLO:
        f->hello =
            (struct frame_hello){1, 2, STR("hearsay"), addr4, STR("localhost"), nonce, 0xdeadbeef};
        break;
    case FRAME_REFUSE:
        f->refuse = (struct frame_refuse){REFUSE_CLUSTER, STR("other cluster")};
        break;
    case FRAME_MEMBERS:
        member[0]  = (struct member_info){addr4, STR("localhost"), 5, nonce, 0};
        member[1]  = (struct member_info){addr6, STR(""), 6, 0, MEMBER_FORGOTTEN};
        row[0]     = (struct member_row){1, true, nonce, 9, 3};
        f->members = (struct frame_members){member, row, 2, 1};
        break;
    case FRAME_FORGET:
        f->forget = (struct frame_forget){addr6, 5, nonce};
        break;
    }
}

static struct batch *
sample_batch(void)
{
    static struct msg   msg[2];
    static struct mark  dep;
    static struct batch b;
    msg[0] = (struct msg){
        .topic = STR("stocks"), .headers = STR("content-type: text/plain\n"), .body = STR("up")};
    msg[1] = (struct msg){.flags = MSG_DIGEST_ONLY, .digest = hash_from(32)};
    dep    = (struct mark){stream2, 300};
    b      = (struct batch){.stream        = stream1,
                            .first         = 1,
                            .count         = 2,
                            .prev          = hash_from(0),
                            .chain         = hash_from(16),
                            .lamport_first = 42,
                            .wall          = {1700000000123},
                            .origin        = STR("localhost:3000"),
                            .deps          = &dep,
                            .deps_count    = 1,
                            .msg           = msg};
    return &b;
}

static struct batch *
sample_live(void)
{
    static struct msg   msg[2];
    static struct batch b;
    msg[0] = (struct msg){
        .topic = STR("ticks/a"), .headers = STR("content-type: text/plain\n"), .body = STR("up")};
    msg[1] = (struct msg){.topic = STR("a")};
    b      = (struct batch){.count         = 2,
                            .lamport_first = 42,
                            .wall          = {1700000000123},
                            .origin        = STR("localhost:3000"),
                            .msg           = msg};
    return &b;
}

static void
sample_log(struct frame *f)
{
    static struct mark mark[2];
    static struct head head[2];
    struct token       token = {7, addr4, nonce};
    mark[0]                  = (struct mark){stream1, 1};
    mark[1]                  = (struct mark){stream2, 300};
    head[0]                  = (struct head){stream1, 128, 0, 0};
    head[1]                  = (struct head){stream2, INT64_MAX, 16383, 0};
    switch ((int)f->kind) {
    case FRAME_HEADS:
        f->heads = (struct frame_heads){HEADS_FULL | HEADS_NO_STORE, token, head, 2};
        break;
    case FRAME_PUSH:
        f->push = (struct frame_push){PUSH_PULLED, sample_batch()};
        break;
    case FRAME_LIVE:
        f->live.batch = sample_live();
        break;
    case FRAME_PULL:
        f->pull = (struct frame_pull){{mark, 2, 2}, 4 << 20};
        break;
    case FRAME_CREDIT:
        f->credit.bytes = 65536;
        break;
    case FRAME_GAP:
        f->gap = (struct frame_gap){stream1, 1, 300, hash_from(0), 77, {-2}, STR("localhost:3000"),
                                    mark,    2};
        break;
    case FRAME_LATEST:
        f->latest = (struct frame_latest){{stream1, 12}, 99, {-1}, {.topic = STR("a")}};
        break;
    case FRAME_PING:
        f->ping = (struct frame_ping){.id = 33, .reply = true};
        break;
    case FRAME_ELECTION:
        f->election = (struct frame_election){STAMP_MAX, {7, addr6, nonce}};
        break;
    case FRAME_OK:
        f->election = (struct frame_election){5, token};
        break;
    case FRAME_COORDINATOR:
        f->election = (struct frame_election){6, token};
        break;
    }
}

static struct frame
sample(enum frame_kind kind)
{
    struct frame f = {.kind = kind};
    sample_peers(&f);
    sample_log(&f);
    return f;
}

/* ---- bytes ---- */

static struct wire_scratch scratch;

/* ---- tests ---- */

/* Broken when a byte of any frame moves: brokers of this and of the last release
 * would no longer understand each other. */
static void
encodes_the_golden_bytes(void **state)
{
    (void)state;
    for (enum frame_kind kind = FRAME_HELLO; kind < FRAME_KIND_END; kind++) {
        struct frame f    = sample(kind);
        struct str   want = unhex(golden[kind]);
        struct buf   out;
        buf_init(&out, 0);
        assert_int_equal(buf_add(&out, STR("before")), ERR_OK);
        assert_int_equal(wire_encode(&out, &f), ERR_OK);
        struct str got = str_cut(buf_str(&out), 6, out.n);
        if (!str_eq(got, want))
            fail_msg("%s", wire_name(kind));
        buf_fini(&out);
        release(want);
    }
}

/* Broken when a field that was sent does not arrive: what is decoded must give the
 * same bytes again, and not consume those of the next frame. */
static void
decodes_the_golden_bytes(void **state)
{
    (void)state;
    for (enum frame_kind kind = FRAME_HELLO; kind < FRAME_KIND_END; kind++) {
        struct str   in = unhex(golden[kind]);
        struct frame f;
        size_t       used = 0;
        struct buf   two, again;
        buf_init(&two, 0);
        buf_init(&again, 0);
        assert_int_equal(buf_add(&two, in), ERR_OK);
        assert_int_equal(buf_add(&two, in), ERR_OK);
        if (wire_decode(buf_str(&two), &scratch, &f, &used) != ERR_OK)
            fail_msg("%s: %s", wire_name(kind), scratch.problem);
        assert_int_equal(used, in.n);
        assert_int_equal(f.kind, kind);
        assert_int_equal(wire_encode(&again, &f), ERR_OK);
        assert_true(str_eq(buf_str(&again), in));
        drop(&f);
        buf_fini(&two);
        buf_fini(&again);
        release(in);
    }
}

/* Broken when a batch borrows from the receive buffer: it would change under the
 * store's hands.  It stands alone, and its fields are those that were sent. */
static void
a_pushed_batch_stands_alone(void **state)
{
    (void)state;
    struct str   in = unhex(golden[FRAME_PUSH]);
    struct frame f;
    size_t       used, before = blob_bytes_used();
    assert_int_equal(wire_decode(in, &scratch, &f, &used), ERR_OK);
    memset((void *)(uintptr_t)in.p, 0xff, in.n);
    wire_scratch_fini(&scratch);

    const struct batch *b = f.push.batch, *want = sample_batch();
    assert_int_equal(f.push.flags, PUSH_PULLED);
    assert_int_equal(b->stream, want->stream);
    assert_int_equal(b->count, want->count);
    assert_int_equal(batch_last(b), 2);
    assert_int_equal(b->lamport_first, want->lamport_first);
    assert_int_equal(b->wall.ms, want->wall.ms);
    assert_true(hash128_eq(b->prev, want->prev) && hash128_eq(b->chain, want->chain));
    assert_true(str_eq(b->origin, want->origin));
    assert_int_equal(b->deps_count, 1);
    assert_int_equal(b->deps[0].stream, stream2);
    assert_int_equal(b->deps[0].seq, 300);
    assert_true(str_eq(b->msg[0].topic, want->msg[0].topic));
    assert_true(str_eq(b->msg[0].headers, want->msg[0].headers));
    assert_true(str_eq(b->msg[0].body, want->msg[0].body));
    assert_true(hash128_eq(b->msg[0].digest, (struct hash128){{0}}));
    assert_int_equal(b->msg[1].flags, MSG_DIGEST_ONLY);
    assert_true(hash128_eq(b->msg[1].digest, want->msg[1].digest));
    assert_true(blob_bytes_used() > before);
    drop(&f);
    assert_int_equal(blob_bytes_used(), before);
    release(in);
}

/* Broken when a live batch borrows from the receive buffer, passes for one that is stored, or
 * loses what it says. */
static void
a_live_batch_stands_alone(void **state)
{
    (void)state;
    struct str   in = unhex(golden[FRAME_LIVE]);
    struct frame f;
    size_t       used, before = blob_bytes_used();
    assert_int_equal(wire_decode(in, &scratch, &f, &used), ERR_OK);
    memset((void *)(uintptr_t)in.p, 0xff, in.n);

    const struct batch *b = f.live.batch, *want = sample_live();
    assert_true(b->stream == 0 && b->first == 0 && b->deps_count == 0);
    assert_int_equal(b->count, 2);
    assert_int_equal(batch_stamp(b), 43);
    assert_int_equal(b->wall.ms, want->wall.ms);
    assert_true(str_eq(b->origin, want->origin));
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(str_eq(b->msg[i].topic, want->msg[i].topic));
        assert_true(str_eq(b->msg[i].headers, want->msg[i].headers));
        assert_true(str_eq(b->msg[i].body, want->msg[i].body));
    }
    assert_true(live_is_valid(b));
    assert_false(batch_is_valid(b));
    drop(&f);
    assert_int_equal(blob_bytes_used(), before);
    release(in);
}

/* Broken when a batch does not verify after its way over a link; and what docs say
 * of the digest must be true: it is the hash of the bytes from the topic's length on. */
static void
chains_survive_the_link(void **state)
{
    (void)state;
    struct batch_parts parts = {.stream = stream1, .first = 1, .lamport_first = 1, .count = 2};
    struct msg  msg[] = {{.topic = STR("a/b"), .headers = STR("meta-x: y\n"), .body = STR("z")},
                         {.flags = MSG_DIGEST_ONLY, .digest = hash_from(3)}};
    struct mark dep   = {stream2, 7};
    parts.msg         = msg;
    parts.deps        = &dep;
    parts.deps_count  = 1;
    parts.origin      = STR("h:1");
    struct frame f    = {.kind = FRAME_PUSH, .push = {.batch = batch_make(&parts)}}, back;
    struct buf   out;
    size_t       used;
    buf_init(&out, 0);
    assert_int_equal(wire_encode(&out, &f), ERR_OK);
    assert_int_equal(wire_decode(buf_str(&out), &scratch, &back, &used), ERR_OK);
    assert_true(batch_digests(back.push.batch));

    size_t     end  = out.n - 17; /* the second message: flags and digest */
    struct str one  = str_cut(buf_str(&out), end - (2 + 3 + 4 + 10 + 1), end);
    struct str part = one;
    assert_true(hash128_eq(hash128(&part, 1), f.push.batch->msg[0].digest));
    drop(&f);
    drop(&back);
    buf_fini(&out);
}

/* Broken when a live batch goes out that every peer would refuse, and end the link for. */
static void
a_live_batch_of_none_or_too_many_is_not_sent(void **state)
{
    (void)state;
    static const struct msg msg[BATCH_MESSAGES_MAX + 1];
    const uint32_t          count[] = {0, BATCH_MESSAGES_MAX + 1};
    for (size_t i = 0; i < sizeof count / sizeof *count; i++) {
        struct batch b   = {.count = count[i], .lamport_first = 1, .origin = STR("a:1")};
        struct buf   out = {0};
        b.msg            = (struct msg *)(uintptr_t)msg;
        buf_init(&out, 0);
        assert_int_equal(
            wire_encode(&out, &(struct frame){.kind = FRAME_LIVE, .live = {.batch = &b}}),
            ERR_INVALID);
        buf_fini(&out);
    }
}

/* Broken when bytes that arrive in pieces are taken for a whole frame, or refused. */
static void
every_cut_asks_for_more(void **state)
{
    (void)state;
    for (enum frame_kind kind = FRAME_HELLO; kind < FRAME_KIND_END; kind++) {
        struct str whole = unhex(golden[kind]);
        for (size_t n = 0; n < whole.n; n++) {
            uint8_t     *p = malloc(n + (n == 0));
            struct frame f;
            size_t       used = 77;
            assert_non_null(p);
            memcpy(p, whole.p, n);
            assert_int_equal(wire_decode((struct str){p, n}, &scratch, &f, &used), ERR_MORE);
            assert_int_equal(used, 77);
            free(p);
        }
        release(whole);
    }
}

/* Broken when a bit that fell over on the way is believed. */
static void
every_flipped_bit_is_found(void **state)
{
    (void)state;
    size_t before = blob_bytes_used();
    for (enum frame_kind kind = FRAME_HELLO; kind < FRAME_KIND_END; kind++) {
        struct str in = unhex(golden[kind]);
        uint8_t   *p  = (uint8_t *)(uintptr_t)in.p;
        for (size_t bit = 0; bit < in.n * 8; bit++) {
            struct frame f;
            size_t       used;
            p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum err e = wire_decode(in, &scratch, &f, &used);
            p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            /* A longer length waits for bytes, a shorter one takes fewer: never OK. */
            assert_true(e == ERR_PROTO || (e == ERR_MORE && bit < 32));
        }
        release(in);
    }
    assert_int_equal(blob_bytes_used(), before);
}

/* Broken when a later release that says more than we know ends the link. */
static void
unknown_kinds_are_skipped(void **state)
{
    (void)state;
    static const unsigned unknown[] = {0, FRAME_KIND_END, 200, 255};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        struct str   in = framed(unknown[i], STR("whatever"));
        struct frame f;
        size_t       used = 0;
        assert_int_equal(wire_decode(in, &scratch, &f, &used), ERR_NOTFOUND);
        assert_int_equal(used, in.n);
        release(in);
    }
    assert_string_equal(wire_name(FRAME_PUSH), "PUSH");
    assert_string_equal(wire_name(0), "?");
    assert_string_equal(wire_name(FRAME_KIND_END), "?");
}

/* Broken when a frame of a later release, with fields that we do not know, ends the link, means
 * something else, or is kept with them. */
static void
unknown_fields_are_skipped(void **state)
{
    (void)state;
    for (enum frame_kind kind = FRAME_HELLO; kind < FRAME_KIND_END; kind++) {
        struct str   whole = unhex(golden[kind]);
        struct frame f;
        size_t       used, bytes[2];
        uint8_t      longer[1024] = {[1023] = 0xff};
        size_t       n            = whole.n - WIRE_HEAD_BYTES;
        memcpy(longer, whole.p + WIRE_HEAD_BYTES, n);
        for (int i = 0; i < 2; i++) {
            struct str in = framed(kind, (struct str){longer, i == 0 ? n : sizeof longer});
            struct buf out;
            buf_init(&out, 0);
            assert_int_equal(wire_decode(in, &scratch, &f, &used), ERR_OK);
            assert_int_equal(used, in.n);
            bytes[i] = blob_bytes_used();
            assert_int_equal(wire_encode(&out, &f), ERR_OK);
            assert_true(str_eq(buf_str(&out), whole));
            drop(&f);
            buf_fini(&out);
            release(in);
        }
        assert_int_equal(bytes[0], bytes[1]);
        release(whole);
    }
}

/* Broken when the length is trusted: garbage would be waited for, or fill memory. */
static void
lengths_are_judged_at_once(void **state)
{
    static const struct {
        const char *hex;
        enum err    want;
    } row[] = {
        {"00000000", ERR_PROTO}, {"00000004", ERR_PROTO}, {"00000005", ERR_MORE},
        {"001ffffc", ERR_MORE},  {"001ffffd", ERR_PROTO}, {"ffffffff", ERR_PROTO},
        {"47455420", ERR_PROTO}, /* "GET " */
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct str   in = unhex(row[i].hex);
        struct frame f;
        size_t       used;
        assert_int_equal(wire_decode(in, &scratch, &f, &used), row[i].want);
        release(in);
    }
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(encodes_the_golden_bytes),
        cmocka_unit_test(decodes_the_golden_bytes),
        cmocka_unit_test(a_pushed_batch_stands_alone),
        cmocka_unit_test(a_live_batch_stands_alone),
        cmocka_unit_test(a_live_batch_of_none_or_too_many_is_not_sent),
        cmocka_unit_test(chains_survive_the_link),
        cmocka_unit_test(every_cut_asks_for_more),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(unknown_kinds_are_skipped),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(lengths_are_judged_at_once),
    };
    wire_scratch_init(&scratch);
    int failed = cmocka_run_group_tests_name("wire", test, NULL, NULL);
    wire_scratch_fini(&scratch);
    return failed;
}
