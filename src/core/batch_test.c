#include "core/batch.h"

#include "tests/core_kit.h"

/* ---- canonical bytes, written here a second time ---- */

struct bytes {
    uint8_t at[4096];
    size_t  n;
};

static void
add(struct bytes *to, const void *p, size_t n)
{
    memcpy(to->at + to->n, p, n);
    to->n += n;
}

static void
add_u64(struct bytes *to, uint64_t v)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        to->at[to->n++] = (uint8_t)(v >> shift);
}

static void
add_u32(struct bytes *to, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        to->at[to->n++] = (uint8_t)(v >> shift);
}

static struct hash128
hash_of(const struct bytes *b)
{
    return hash128(&(struct str){b->at, b->n}, 1);
}

/* Without it another broker, or the next release, computes other digests and refuses all
 * that is stored. */
static void
digest_is_over_the_bytes_of_the_contract(void **state)
{
    (void)state;
    static const char canonical[] = "\x00\x06"
                                    "stocks"
                                    "\x00\x00\x00\x0a"
                                    "meta-a: b\n"
                                    "up";
    struct str        whole       = {(const uint8_t *)canonical, sizeof canonical - 1};
    struct hash128    got         = batch_digest(STR("stocks"), STR("meta-a: b\n"), STR("up"));
    assert_memory_equal(got.b, hash128(&whole, 1).b, 16);
    /* What moves from one part into the next is another message. */
    struct hash128 moved = batch_digest(STR("stocks"), STR("meta-a: b\nu"), STR("p"));
    assert_false(hash128_eq(got, moved));
    struct str empty = {(const uint8_t *)"\x00\x01t\x00\x00\x00\x00", 7};
    got              = batch_digest(STR("t"), (struct str){0}, (struct str){0});
    assert_memory_equal(got.b, hash128(&empty, 1).b, 16);
}

/* As above, for the chain: field by field, big-endian, in the order of the contract. */
static void
chain_is_over_the_bytes_of_the_contract(void **state)
{
    (void)state;
    static const struct mark deps[] = {{3, 9}, {0x1122334455667788, 0x0102030405060708}};
    static const struct msg  msg[]  = {
          {.topic = {(const uint8_t *)"a", 1}},
          {.topic = {(const uint8_t *)"b", 1}, .body = {(const uint8_t *)"body", 4}}};
    struct batch_parts parts   = {.stream        = 0x0123456789abcdef,
                                  .first         = 1,
                                  .lamport_first = 0x0010203040506070,
                                  .wall          = {1700000000123},
                                  .origin        = STR("host:3000"),
                                  .deps          = deps,
                                  .deps_count    = 2,
                                  .msg           = msg,
                                  .count         = 2};
    struct bytes       b       = {0};
    struct hash128     digest0 = batch_digest(msg[0].topic, (struct str){0}, (struct str){0});
    struct hash128     digest1 = batch_digest(msg[1].topic, (struct str){0}, msg[1].body);
    memset(parts.prev.b, 0x5a, 16);

    add(&b, parts.prev.b, 16);
    add(&b, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8); /* stream */
    add(&b, "\0\0\0\0\0\0\0\1", 8);                 /* first */
    add(&b, "\0\0\0\2", 4);                         /* count */
    add(&b, "\x00\x10\x20\x30\x40\x50\x60\x70", 8); /* lamport_first */
    add_u64(&b, 1700000000123);
    add(&b, "\x09host:3000", 10);
    add(&b, "\0\0\0\2", 4); /* deps */
    add(&b, "\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\x09", 16);
    add(&b, "\x11\x22\x33\x44\x55\x66\x77\x88\x01\x02\x03\x04\x05\x06\x07\x08", 16);
    add(&b, digest0.b, 16);
    add(&b, digest1.b, 16);

    struct batch *made = batch_make(&parts);
    assert_memory_equal(made->chain.b, hash_of(&b).b, 16);
    assert_int_equal(batch_last(made), 2);
    blob_drop(made);
}

/* A batch too large for the small buffer would have another chain than a small one. */
static void
chain_of_many_messages(void **state)
{
    (void)state;
    struct writer  w    = writer_of(5);
    struct batch  *big  = write_batch(&w, (struct writing){.count = 200});
    struct bytes   b    = {0};
    struct hash128 zero = {{0}};
    add(&b, zero.b, 16);
    add_u64(&b, 5);
    add_u64(&b, 1);
    add_u32(&b, 200);
    add_u64(&b, 1);
    add_u64(&b, 1700000000000);
    add(&b, "\x09host:3000", 10);
    add_u32(&b, 0);
    for (uint32_t i = 0; i < big->count; i++) {
        struct hash128 d = batch_digest(big->msg[i].topic, big->msg[i].headers, big->msg[i].body);
        add(&b, d.b, 16);
    }
    assert_memory_equal(big->chain.b, hash_of(&b).b, 16);
    blob_drop(big);
}

/* Without it a flipped bit on the way, in whatever field, is stored for ever. */
static void
digests_find_every_change(void **state)
{
    (void)state;
    enum { CHANGES = 10 };
    struct writer     w         = writer_of(5);
    const struct mark dep       = {3, 4};
    struct writing    how       = {.count = 3, .deps = &dep, .deps_count = 1};
    struct batch     *b         = write_batch(&w, how);
    struct batch      good      = *b;
    const struct mark other_dep = {3, 5};
    for (int change = 0; change < CHANGES; change++) {
        struct msg *msg = (struct msg *)(uintptr_t)b->msg, was = msg[1];
        switch (change) {
        case 0:
            b->stream++;
            break;
        case 1:
            b->first++;
            break;
        case 2:
            b->count--;
            break;
        case 3:
            b->prev.b[15] ^= 1;
            break;
        case 4:
            b->lamport_first++;
            break;
        case 5:
            b->wall.ms++;
            break;
        case 6:
            b->origin.n--;
            break;
        case 7:
            b->deps = &other_dep;
            break;
        case 8:
            msg[1].body = STR("9");
            break;
        case 9:
            msg[1].topic = STR("u");
            break;
        }
        if (batch_digests(b))
            fail_msg("change %d was not seen", change);
        *b     = good;
        msg[1] = was;
        assert_true(batch_digests(b));
    }
    blob_drop(b);
}

/* Without it what retention removed can no longer be verified, or passed on. */
static void
a_removed_message_leaves_its_digest(void **state)
{
    (void)state;
    struct writer w        = writer_of(5);
    struct batch *whole    = write_batch(&w, (struct writing){.count = 2});
    struct msg    msg[2]   = {whole->msg[0], whole->msg[1]};
    msg[0]                 = (struct msg){.digest = msg[0].digest, .flags = MSG_DIGEST_ONLY};
    struct batch_parts p   = {.stream        = 5,
                              .first         = 1,
                              .lamport_first = whole->lamport_first,
                              .wall          = whole->wall,
                              .origin        = whole->origin,
                              .msg           = msg,
                              .count         = 2};
    struct batch      *cut = batch_make(&p);
    assert_true(hash128_eq(cut->chain, whole->chain));
    assert_true(batch_digests(cut));
    assert_true(batch_is_valid(cut)); /* no topic, and yet valid */
    assert_true(hash128_eq(cut->msg[0].digest, whole->msg[0].digest));
    blob_drop(cut);
    blob_drop(whole);
}

/* Without it the parts of a batch die with what they were made of. */
static void
a_batch_owns_what_it_points_to(void **state)
{
    (void)state;
    char        topic[] = "topic", body[] = "body", headers[] = "meta-a: b\n", from[] = "h:1";
    struct mark dep = {2, 7};
    struct msg  m   = {.topic = str_of(topic), .headers = str_of(headers), .body = str_of(body)};
    struct batch_parts parts = {.stream        = 9,
                                .first         = 1,
                                .lamport_first = 1,
                                .origin        = str_of(from),
                                .deps          = &dep,
                                .deps_count    = 1,
                                .msg           = &m,
                                .count         = 1};
    size_t             used  = blob_bytes_used();
    struct batch      *b     = batch_make(&parts);
    assert_int_equal(batch_bytes(b), blob_bytes_used() - used);
    /* 128 for the batch, 16 a dep, 16 a message, and all the text. */
    assert_int_equal(batch_cost(b), 128 + 3 + 16 + 16 + 5 + 10 + 4);
    memset(topic, 'x', 5);
    memset(body, 'x', 4);
    memset(headers, 'x', 10);
    memset(from, 'x', 3);
    dep = (struct mark){0};
    assert_true(str_eq(b->msg[0].topic, STR("topic")));
    assert_true(str_eq(b->msg[0].body, STR("body")));
    assert_true(str_eq(b->msg[0].headers, STR("meta-a: b\n")));
    assert_true(str_eq(b->origin, STR("h:1")));
    assert_int_equal(b->deps[0].seq, 7);
    assert_true(batch_digests(b));
    blob_drop(b);
    assert_int_equal(blob_bytes_used(), used);
}

/* ---- validity ---- */

/* Without it one broker takes what another refuses, and they never agree again. */
static void
numbers_have_their_bounds(void **state)
{
    (void)state;
    const uint64_t end = INT64_MAX, top = (UINT64_C(1) << 53) - 1;
    const struct {
        uint64_t stream, first, lamport;
        uint32_t count;
        bool     valid;
    } row[] = {
        {1, 2, 1, 1, true},
        {0, 2, 1, 1, false},
        {end, 2, 1, 1, true},
        {end + 1, 2, 1, 1, false},
        {UINT64_MAX, 2, 1, 1, false},
        {1, 0, 1, 1, false},
        {1, end, 1, 1, true},
        {1, end + 1, 1, 1, false},
        {1, end - 1, 1, 2, true},
        {1, end, 1, 2, false},
        {1, UINT64_MAX, 1, 2, false},
        {1, 2, 0, 1, false},
        {1, 2, top, 1, true},
        {1, 2, top - 1, 2, true},
        {1, 2, top, 2, false},
        {1, 2, top + 1, 1, false},
        {1, 2, UINT64_MAX, 1, false},
        {1, 2, 1, 0, false},
        {1, 2, 1, 1024, true},
        {1, 2, 1, 1025, false},
        {1, 2, 1, UINT32_MAX, false},
        {1, 2, top - 1023, 1024, true},
        {1, 2, top - 1022, 1024, false},
    };
    static struct msg msg[1025];
    for (size_t i = 0; i < 1025; i++)
        msg[i].topic = STR("t");
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const struct batch b = {.stream        = row[i].stream,
                                .first         = row[i].first,
                                .lamport_first = row[i].lamport,
                                .count         = row[i].count,
                                .msg           = msg};
        if (batch_is_valid(&b) != row[i].valid)
            fail_msg("row %zu", i);
    }
}

/* As above, for what a batch carries. */
static void
contents_have_their_bounds(void **state)
{
    (void)state;
    enum { HEADERS = 7 };
    static uint8_t     space[BATCH_BODY_BYTES_MAX + 1];
    static struct msg  msg[HEADERS + 2];
    const struct str   t    = STR("t");
    const struct batch one  = {.stream = 1, .first = 2, .lamport_first = 1, .count = 1, .msg = msg};
    struct batch       many = one;
    const struct str   bad[] = {STR(""), STR("a/+"), STR("#"), STR("a\x01"), STR("\xff")};

    msg[0] = (struct msg){.topic = t, .body = {space, BATCH_BODY_BYTES_MAX}};
    assert_true(batch_is_valid(&one));
    msg[0].body.n++;
    assert_false(batch_is_valid(&one));
    msg[0].body.n -= 1;
    msg[1]     = (struct msg){.topic = t, .body = {space, 1}};
    many.count = 2; /* each is fine alone, both are too much */
    assert_false(batch_is_valid(&many));

    msg[0] = (struct msg){.topic = t, .headers = {space, HEADERS_BYTES_MAX}};
    assert_true(batch_is_valid(&one));
    msg[0].headers.n++;
    assert_false(batch_is_valid(&one));

    /* All topics and headers: 7 x (16384 + 1) + one of 16377 make 131072 bytes. */
    for (uint32_t i = 0; i < HEADERS; i++)
        msg[i] = (struct msg){.topic = t, .headers = {space, HEADERS_BYTES_MAX}};
    msg[HEADERS] = (struct msg){.topic = t, .headers = {space, HEADERS_BYTES_MAX - 8}};
    many.count   = HEADERS + 1;
    assert_true(batch_is_valid(&many));
    msg[HEADERS].headers.n++;
    assert_false(batch_is_valid(&many));
    /* Deps count 16 bytes each. */
    many.deps_count = 1;
    many.deps       = &(struct mark){2, 1};
    msg[HEADERS].headers.n -= 16;
    assert_false(batch_is_valid(&many));
    msg[HEADERS].headers.n -= 1;
    assert_true(batch_is_valid(&many));

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        msg[0] = (struct msg){.topic = bad[i]};
        assert_false(batch_is_valid(&one));
        msg[0].flags = MSG_DIGEST_ONLY;
        assert_true(batch_is_valid(&one));
    }
}

/* Without it a batch could wait for itself for ever, or the same deps have two forms. */
static void
deps_and_origin_have_their_rules(void **state)
{
    (void)state;
    static const struct {
        struct mark dep[3];
        uint32_t    count;
        bool        valid;
    } row[] = {
        {{{0}}, 0, true},
        {{{2, 1}, {3, 1}, {9, 1}}, 3, true},
        {{{2, 1}, {9, 1}, {3, 1}}, 3, false}, /* not sorted */
        {{{2, 1}, {2, 2}}, 2, false},         /* twice the same */
        {{{2, 0}}, 1, false},                 /* nothing of it */
        {{{4, 1}, {5, 1}}, 2, false},         /* its own stream */
    };
    struct msg msg = {.topic = STR("t")};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const struct batch b = {.stream        = 5,
                                .first         = 2,
                                .lamport_first = 1,
                                .count         = 1,
                                .msg           = &msg,
                                .deps          = row[i].dep,
                                .deps_count    = row[i].count};
        if (batch_is_valid(&b) != row[i].valid)
            fail_msg("row %zu", i);
    }
    struct batch b = {.stream = 5, .first = 1, .lamport_first = 1, .count = 1, .msg = &msg};
    assert_false(batch_is_valid(&b)); /* the first batch names its origin */
    b.origin = STR("h:1");
    assert_true(batch_is_valid(&b));
    b.first = 2; /* ... and no other does */
    assert_false(batch_is_valid(&b));
}

/* ---- names and order ---- */

static struct addr
v4(uint8_t last, uint16_t port)
{
    return (struct addr){.family = 4, .ip = {127, 0, 0, last}, .port = port};
}

/* Without it two brokers disagree about who is the higher, and both lead. */
static void
addresses_and_tokens_are_ordered(void **state)
{
    (void)state;
    const struct addr rising[] = {
        {0},
        {.family = 4, .ip = {9, 255, 255, 255}, .port = 65535},
        {.family = 4, .ip = {10, 0, 0, 1}, .port = 1},
        v4(1, 255),
        v4(1, 256), /* host order: not bytewise little-endian */
        v4(2, 1),
        {.family = 6, .ip = {0}, .port = 1}, /* any IPv6 is above any IPv4 */
        {.family = 6, .ip = {[15] = 1}, .port = 1},
        {.family = 6, .ip = {[0] = 1}, .port = 1},
    };
    enum { N = sizeof rising / sizeof *rising };
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            assert_int_equal(addr_cmp(&rising[i], &rising[k]), i < k ? -1 : i > k);
    const struct token token[] = {{0, v4(9, 9), 9}, {1, v4(1, 1), 2}, {1, v4(1, 1), 3},
                                  {1, v4(1, 2), 1}, {1, v4(2, 1), 1}, {2, v4(1, 1), 1}};
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 6; k++)
            assert_int_equal(token_cmp(&token[i], &token[k]), i < k ? -1 : i > k);
}

/* Without it the same broker has two names, or one that nothing else understands. */
static void
addresses_are_written_as_rfc_5952_says(void **state)
{
    (void)state;
    static const struct {
        uint8_t     ip[16];
        const char *text;
    } row[] = {
        {{0}, "[::]:80"},
        {{[15] = 1}, "[::1]:80"},
        {{[0] = 0x20, 0x01, 0x0d, 0xb8, [15] = 1}, "[2001:db8::1]:80"},
        {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}, "[2001:db8::1:0:0:1]:80"},
        {{0x20, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1}, "[2001:0:1::1:1]:80"},
        {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, "[2001:db8:0:1:1:1:1:1]:80"},
        {{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "[2001:db8::]:80"},
        {{0xfe, 0x80, [8] = 2, 0, 0x5e, 0xff, 0xfe, 0, 0x53, 0xab},
         "[fe80::200:5eff:fe00:53ab]:80"},
        {{0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 0}, "[0:1:2:3:4:5:6:0]:80"},
        {{0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 7, 0, 8}, "[::3:4:0:0:7:8]:80"},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff},
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80"},
    };
    char text[ADDR_TEXT_BYTES];
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct addr a = {.family = 6, .port = 80};
        memcpy(a.ip, row[i].ip, 16);
        addr_text(&a, text);
        assert_string_equal(text, row[i].text);
    }
    addr_text(&(struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = 3000}, text);
    assert_string_equal(text, "127.0.0.1:3000");
    addr_text(&(struct addr){.family = 4, .ip = {255, 255, 255, 255}, .port = 65535}, text);
    assert_string_equal(text, "255.255.255.255:65535");
}

/* Without it the id in a receipt finds no message. */
static void
a_mark_is_written_as_an_id(void **state)
{
    (void)state;
    char text[MARK_TEXT_BYTES];
    mark_text((struct mark){0x0123456789abcdef, 42}, text);
    assert_string_equal(text, "0123456789abcdef-42");
    mark_text((struct mark){1, 0}, text);
    assert_string_equal(text, "0000000000000001-0");
    mark_text((struct mark){UINT64_MAX, UINT64_MAX}, text);
    assert_string_equal(text, "ffffffffffffffff-18446744073709551615");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_is_over_the_bytes_of_the_contract),
        cmocka_unit_test(chain_is_over_the_bytes_of_the_contract),
        cmocka_unit_test(chain_of_many_messages),
        cmocka_unit_test(digests_find_every_change),
        cmocka_unit_test(a_removed_message_leaves_its_digest),
        cmocka_unit_test(a_batch_owns_what_it_points_to),
        cmocka_unit_test(numbers_have_their_bounds),
        cmocka_unit_test(contents_have_their_bounds),
        cmocka_unit_test(deps_and_origin_have_their_rules),
        cmocka_unit_test(addresses_and_tokens_are_ordered),
        cmocka_unit_test(addresses_are_written_as_rfc_5952_says),
        cmocka_unit_test(a_mark_is_written_as_an_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
