#include "base/hash.h"

#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

/* The bytes that xxHash's own sanity check hashes. */
static void
fill(uint8_t *p, size_t n)
{
    uint64_t v = 2654435761u;
    for (size_t i = 0; i < n; i++, v *= UINT64_C(11400714785074694797))
        p[i] = (uint8_t)(v >> 56);
}

static uint64_t
word(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

/* Broken when another build or another machine hashes differently: chains would not
 * verify, and cursors would be of another cluster.  Values: xxHash's sanity check. */
static void
gives_the_published_hashes(void **state)
{
    static const struct {
        size_t   n;
        uint64_t h64, high, low;
    } row[] = {
        {0, 0x2d06800538d394c2, 0x99aa06d3014798d8, 0x6001c324468d497f},
        {1, 0xc44bdff4074eecdb, 0xa6cd5e9392000f6a, 0xc44bdff4074eecdb},
        {6, 0x27b56a84cd2d7325, 0x082afe0b8162d12a, 0x3e7039bdda43cfc6},
        {12, 0xa713daf0dfbb77e7, 0x6e3efd8fc7802b18, 0x061a192713f69ad9},
        {24, 0xa3fe70bf9d3510eb, 0x0ce966e4678d3761, 0x1e7044d28b1b901d},
        {48, 0x397da259ecba1f11, 0xa002ac4e5478227e, 0xf942219aed80f67b},
        {403, 0xcdeb804d65c6dea4, 0x1b6de21e332dd73d, 0xcdeb804d65c6dea4},
        {512, 0x617e49599013cb6b, 0x18d2d110dcc9bca1, 0x617e49599013cb6b},
        {2048, 0xdd59e2c3a5f038e0, 0xf736557fd47073a5, 0xdd59e2c3a5f038e0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint8_t *p = malloc(row[i].n + 1);
        assert_non_null(p);
        fill(p, row[i].n);
        struct str     s = {p, row[i].n};
        struct hash128 h = hash128(&s, 1);
        assert_true(hash64(s) == row[i].h64);
        assert_true(word(h.b) == row[i].high);
        assert_true(word(h.b + 8) == row[i].low);
        free(p);
    }
}

/* Broken when it matters how a message is cut into parts, or whether it is small
 * enough for the stack: then a batch verifies at one broker and not at another. */
static void
parts_do_not_matter(void **state)
{
    enum { BYTES = 1200 };
    static const size_t total[] = {0, 1, 3, 240, 241, 511, 512, 513, 1024, BYTES};
    uint8_t             p[BYTES];
    (void)state;
    fill(p, sizeof p);
    for (size_t t = 0; t < sizeof total / sizeof *total; t++) {
        size_t         n   = total[t];
        struct str     all = {p, n};
        struct hash128 one = hash128(&all, 1);
        for (size_t cut = 0; cut <= n; cut += 1 + cut / 7) {
            struct str part[] = {
                {NULL, 0}, {p, cut / 2}, str_cut(all, cut / 2, cut), {p, 0}, str_cut(all, cut, n)};
            assert_true(hash128_eq(hash128(part, 5), one));
        }
    }
    struct hash128 none = hash128(NULL, 0);
    struct str     s    = STR("");
    assert_true(hash128_eq(none, hash128(&s, 1)));
}

/* Broken when two different hashes count as equal. */
static void
every_byte_of_a_hash_counts(void **state)
{
    (void)state;
    struct hash128 a = {{0}};
    for (size_t i = 0; i < sizeof a.b; i++) {
        struct hash128 b = a;
        assert_true(hash128_eq(a, b));
        b.b[i] = 1;
        assert_false(hash128_eq(a, b));
    }
}

/* Broken when frames of another implementation are refused for their CRC. */
static void
crc_is_that_of_rfc_1952(void **state)
{
    (void)state;
    assert_int_equal(hash_crc32(0, STR("")), 0);
    assert_int_equal(hash_crc32(0, STR("123456789")), 0xcbf43926);
    uint32_t crc = hash_crc32(0, STR("1234"));
    assert_int_equal(hash_crc32(crc, STR("56789")), 0xcbf43926);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(gives_the_published_hashes),
        cmocka_unit_test(parts_do_not_matter),
        cmocka_unit_test(every_byte_of_a_hash_counts),
        cmocka_unit_test(crc_is_that_of_rfc_1952),
    };
    return cmocka_run_group_tests_name("hash", test, NULL, NULL);
}
