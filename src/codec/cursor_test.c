#include "codec/cursor.h"

#include "base/prng.h"
#include "core/vector.h"
#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

enum { TAG = 0x12345678 };

/* Made by another program from the words of cursor.h. */
#define GOLDEN_TWO "ARI0VngqAgEjRWeJq83vAX__________rAKCAfqX"
#define GOLDEN_NONE "ARI0VngAAJUgAIo"

static struct prng rng = {7};

static uint64_t
number(uint64_t max)
{
    return (prng_next(&rng) >> prng_below(&rng, 64)) % (max + 1);
}

static void
random_vector(struct vector *v, uint32_t count)
{
    vector_reset(v);
    while (v->count < count)
        assert_int_equal(
            vector_raise(v, (struct mark){1 + number(INT64_MAX - 1), 1 + number(INT64_MAX - 1)}),
            ERR_OK);
}

static void
encode(struct buf *out, uint64_t stamp, const struct vector *v)
{
    buf_reset(out);
    assert_int_equal(cursor_encode(out, TAG, stamp, v), ERR_OK);
}

static bool
equal(const struct vector *a, const struct vector *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->at, b->at, a->count * sizeof *a->at) == 0);
}

/* Broken when cursors that clients have saved stop working: the text is for ever. */
static void
has_the_golden_text(void **state)
{
    (void)state;
    /* 01 12345678 2a 02 | 0123456789abcdef 01 | 7fffffffffffffff ac02 | CRC-32 */
    struct mark   mark[] = {{0x0123456789abcdef, 1}, {INT64_MAX, 300}};
    struct vector v      = {.at = mark, .count = 2};
    struct buf    out;
    buf_init(&out, 0);
    encode(&out, 42, &v);
    assert_int_equal(out.n, strlen(GOLDEN_TWO));
    assert_memory_equal(buf_str(&out).p, GOLDEN_TWO, out.n);
    v.count = 0;
    encode(&out, 0, &v);
    assert_int_equal(out.n, strlen(GOLDEN_NONE));
    assert_memory_equal(buf_str(&out).p, GOLDEN_NONE, out.n);
    buf_fini(&out);
}

/* Broken when a client that passes its cursor back loses or repeats messages. */
static void
comes_back_as_it_was(void **state)
{
    (void)state;
    struct vector v, back;
    struct buf    out;
    vector_init(&v);
    vector_init(&back);
    buf_init(&out, 0);
    for (int step = 0; step < 4000; step++) {
        uint64_t    stamp = number(STAMP_MAX), got = 0;
        const char *problem;
        random_vector(&v, (uint32_t)prng_below(&rng, step % 100 == 0 ? 500 : 12));
        encode(&out, stamp, &v);
        assert_int_equal(cursor_decode(buf_str(&out), TAG, &back, &got, &problem), ERR_OK);
        assert_int_equal(got, stamp);
        assert_true(equal(&v, &back));
        assert_null(problem);
    }
    vector_fini(&v);
    vector_fini(&back);
    buf_fini(&out);
}

/* Broken when the cursor of a cluster with as many streams as there may be does not
 * fit what faces take. */
static void
fits_with_every_stream_there_may_be(void **state)
{
    (void)state;
    struct vector v, back;
    struct buf    out;
    uint64_t      stamp;
    const char   *problem;
    vector_init(&v);
    vector_init(&back);
    buf_init(&out, 0);
    for (uint64_t i = 0; i < STREAMS_MAX; i++)
        assert_int_equal(
            vector_raise(&v, (struct mark){INT64_MAX - STREAMS_MAX + 1 + i, INT64_MAX}), ERR_OK);
    encode(&out, STAMP_MAX, &v);
    assert_true(out.n <= CURSOR_BYTES_MAX);
    assert_int_equal(cursor_decode(buf_str(&out), TAG, &back, &stamp, &problem), ERR_OK);
    assert_true(equal(&v, &back));
    /* What was decoded may be changed like any vector. */
    assert_int_equal(vector_raise(&back, (struct mark){1, 1}), ERR_LIMIT);
    buf_fini(&out);

    buf_init(&out, 20);
    assert_int_equal(cursor_encode(&out, TAG, 1, &v), ERR_LIMIT);
    assert_int_equal(out.n, 0);
    buf_fini(&out);
    /* One that nobody would take again is not made. */
    static struct mark mark[2 * STREAMS_MAX];
    struct vector      many = {.at = mark, .count = 2 * STREAMS_MAX};
    for (uint32_t i = 0; i < many.count; i++)
        mark[i] = (struct mark){i + 1, INT64_MAX};
    buf_init(&out, 0);
    assert_int_equal(cursor_encode(&out, TAG, 1, &many), ERR_LIMIT);
    assert_int_equal(out.n, 0);
    buf_fini(&out);
    vector_fini(&v);
    vector_fini(&back);
}

static void
is_refused(struct str in, const char *want)
{
    struct vector v;
    uint64_t      stamp   = 77;
    const char   *problem = NULL;
    uint8_t      *p       = malloc(in.n + 1); /* its own memory: a read beyond is seen */
    assert_non_null(p);
    if (in.n > 0)
        memcpy(p, in.p, in.n);
    vector_init(&v);
    assert_int_equal(cursor_decode((struct str){p, in.n}, TAG, &v, &stamp, &problem), ERR_INVALID);
    assert_int_equal(v.count, 0);
    assert_int_equal(stamp, 77);
    if (!strstr(problem, want))
        fail_msg("%s, not %s", problem, want);
    vector_fini(&v);
    free(p);
}

/* Broken when a cursor that was damaged by one bit, one letter or a cut takes a
 * client somewhere else in silence. */
static void
every_flip_and_cut_is_found(void **state)
{
    (void)state;
    struct vector v;
    struct buf    out;
    vector_init(&v);
    buf_init(&out, 0);
    for (uint32_t streams = 0; streams < 6; streams++) { /* text of every length mod 4 */
        random_vector(&v, streams);
        encode(&out, number(STAMP_MAX), &v);
        for (size_t bit = 0; bit < out.n * 8; bit++) {
            out.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            is_refused(buf_str(&out), "the cursor");
            out.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t n = 0; n < out.n; n++)
            is_refused(str_cut(buf_str(&out), 0, n), "the cursor");
        assert_int_equal(buf_add(&out, STR("A")), ERR_OK);
        is_refused(buf_str(&out), "the cursor");
    }
    vector_fini(&v);
    buf_fini(&out);
}

/* Base64url of bytes that get a CRC that fits, by the simplest means. */
static struct str
text_of(const uint8_t *bytes, size_t n, char *text)
{
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t           all[256];
    size_t            count = 0;
    memcpy(all, bytes, n);
    uint32_t crc = hash_crc32(0, (struct str){bytes, n});
    for (int i = 0; i < 4; i++)
        all[n + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    for (size_t bit = 0; bit < (n + 4) * 8; bit += 6) {
        unsigned v = 0;
        for (size_t i = bit; i < bit + 6; i++)
            v = v << 1 | (i < (n + 4) * 8 ? (unsigned)all[i / 8] >> (7 - i % 8) & 1u : 0);
        text[count++] = letter[v];
    }
    return (struct str){(const uint8_t *)text, count};
}

/* Broken when a user gets the wrong advice, or a well-made lie gets through. */
static void
each_fault_has_its_reason(void **state)
{
#define ROW(bytes, problem)                                                                        \
    {                                                                                              \
        bytes, sizeof bytes - 1, problem                                                           \
    }
    static const struct {
        const char *bytes;
        size_t      n;
        const char *problem; /* NULL: fine */
    } row[] = {
        ROW("\x01\x12\x34\x56\x78\x05\x00", NULL),
        ROW("\x01\x12\x34\x56\x78\x05\x01\0\0\0\0\0\0\0\x01\x07", NULL),
        ROW("\x02\x12\x34\x56\x78\x05\x00", "newer version"),
        ROW("\x00\x12\x34\x56\x78\x05\x00", "malformed"),
        ROW("\x01\x12\x34\x56\x79\x05\x00", "another cluster"),
        ROW("\x01\x12\x34\x56\x78\x05\x01", "malformed"),     /* count 1, none */
        ROW("\x01\x12\x34\x56\x78\x05\x00\x00", "malformed"), /* bytes behind */
        ROW("\x01\x12\x34\x56\x78\x85\x00\x00", "malformed"), /* long varint */
        ROW("\x01\x12\x34\x56\x78\x80\x80\x80\x80\x80\x80\x80\x10\x00", "malformed"), /* 2^53 */
        ROW("\x01\x12\x34\x56\x78\x05\x01\0\0\0\0\0\0\0\x01\x00", "malformed"),       /* seq 0 */
        ROW("\x01\x12\x34\x56\x78\x05\x01\0\0\0\0\0\0\0\0\x01", "malformed"),         /* stream 0 */
        ROW("\x01\x12\x34\x56\x78\x05\x01\x80\0\0\0\0\0\0\0\x01", "malformed"),       /* 2^63 */
        ROW("\x01\x12\x34\x56\x78\x05\x01\0\0\0\0\0\0\0\x01\x87\x00", "malformed"),
        ROW("\x01\x12\x34\x56\x78\x05\x01\0\0\0\0\0\0\0\x01\x87", "malformed"),
        ROW("\x01\x12\x34\x56\x78\x05\x02\0\0\0\0\0\0\0\x01\x07\0\0\0\0\0\0\0\x01\x08", "sorted"),
        ROW("\x01\x12\x34\x56\x78\x05\x02\0\0\0\0\0\0\0\x02\x07\0\0\0\0\0\0\0\x01\x08", "sorted"),
        ROW("\x01\x12\x34\x56\x78\x05", "too short"),
        ROW("\x01\x12\x34\x56\x78\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "malformed"),
        /* a seq of 2^63: a varint that is sound, and more than a seq may be */
        ROW("\x01\x12\x34\x56\x78\x05\x01\0\0\0\0\0\0\0\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80"
            "\x01",
            "malformed"),
        ROW("\x01\x12\x34\x56\x78\x05\x85", "malformed"), /* the count is cut off */
        /* Two entries by their number, but the first took what the second needs. */
        ROW("\x01\x12\x34\x56\x78\x05\x02\0\0\0\0\0\0\0\x01\x87\x87\x07\0\0\0\0\0\0\0",
            "malformed"),
        ROW("\x01\x12\x34\x56\x78\x05\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "malformed"),
    };
#undef ROW
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char          text[400];
        struct vector v;
        uint64_t      stamp;
        const char   *problem;
        struct str    in = text_of((const uint8_t *)row[i].bytes, row[i].n, text);
        if (row[i].problem) {
            is_refused(in, row[i].problem);
            continue;
        }
        vector_init(&v);
        assert_int_equal(cursor_decode(in, TAG, &v, &stamp, &problem), ERR_OK);
        assert_int_equal(stamp, 5);
        vector_fini(&v);
    }
    is_refused(STR(""), "too short");
    is_refused(STR("latest"), "too short");
    is_refused(STR("AAAAAAAAAAAAAAAA+AAA"), "base64url"); /* the other alphabet */
    is_refused(STR("AAAAAAAAAAAAAAAAAAA="), "base64url"); /* padded */
    is_refused(STR("AAAAAAAAAAAAAAAAAAAAAAAA"), "damaged");
}

/* Broken when a hostile text makes the decoder work or allocate without end. */
static void
too_long_is_refused_at_once(void **state)
{
    (void)state;
    uint8_t *p = malloc(CURSOR_BYTES_MAX + 1);
    assert_non_null(p);
    memset(p, 'A', CURSOR_BYTES_MAX + 1);
    is_refused((struct str){p, CURSOR_BYTES_MAX}, "damaged");
    is_refused((struct str){p, CURSOR_BYTES_MAX + 1}, "too long");
    free(p);
}

/* Broken when brokers of one cluster disown each other's cursors. */
static void
the_tag_is_that_of_the_name(void **state)
{
    (void)state;
    assert_int_equal(cursor_cluster_tag(STR("hearsay")), (uint32_t)hash64(STR("hearsay")));
    assert_int_not_equal(cursor_cluster_tag(STR("hearsay")), cursor_cluster_tag(STR("other")));
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(has_the_golden_text),
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(fits_with_every_stream_there_may_be),
        cmocka_unit_test(every_flip_and_cut_is_found),
        cmocka_unit_test(each_fault_has_its_reason),
        cmocka_unit_test(too_long_is_refused_at_once),
        cmocka_unit_test(the_tag_is_that_of_the_name),
    };
    return cmocka_run_group_tests_name("cursor", test, NULL, NULL);
}
