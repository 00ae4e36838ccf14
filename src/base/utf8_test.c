#include "base/utf8.h"

#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

static bool
is_scalar(uint32_t c)
{
    return c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
}

/* Broken when a character of any script does not survive. */
static void
every_code_point_comes_back(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint8_t  b[4];
        uint32_t back = 0;
        if (!is_scalar(c))
            continue;
        size_t n = utf8_encode(c, b);
        if (n != (c < 0x80      ? 1u
                  : c < 0x800   ? 2u
                  : c < 0x10000 ? 3u
                                : 4u) ||
            utf8_decode((struct str){b, n}, &back) != n || back != c)
            fail_msg("U+%04X", c);
        for (size_t cut = 1; cut < n; cut++)
            if (utf8_decode((struct str){b, cut}, &back) != 0)
                fail_msg("U+%04X cut", c);
    }
}

/* Broken when a byte sequence has two readings, which filters and log would take
 * differently.  The model decodes by the definition, not by the shape of heads. */
static size_t
model(const uint8_t *b, size_t n, uint32_t *code_point)
{
    for (size_t len = 1; len <= n && len <= 4; len++) {
        static const uint8_t mark[5] = {0, 0, 0xc0, 0xe0, 0xf0},
                             mask[5] = {0, 0x80, 0xe0, 0xf0, 0xf8};
        uint32_t v                   = b[0] & (uint8_t)~mask[len];
        bool     ok                  = (b[0] & mask[len]) == mark[len];
        for (size_t i = 1; i < len && ok; i++) {
            ok = (b[i] & 0xc0) == 0x80;
            v  = v << 6 | (b[i] & 0x3fu);
        }
        uint8_t again[4];
        if (!ok || !is_scalar(v) || utf8_encode(v, again) != len || memcmp(again, b, len) != 0)
            continue;
        *code_point = v;
        return len;
    }
    return 0;
}

/* Broken when text that RFC 3629 forbids is taken, or text that it allows refused: brokers would
 * differ in what a valid topic is. */
static void
agrees_with_the_definition(void **state)
{
    static const uint8_t tail[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f,
                                   0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xff};
    enum { TAILS = sizeof tail };
    (void)state;
    for (unsigned head = 0; head < 256; head++)
        for (unsigned i = 0; i < TAILS * TAILS * TAILS; i++) {
            uint8_t  b[4] = {(uint8_t)head, tail[i % TAILS], tail[i / TAILS % TAILS],
                             tail[i / TAILS / TAILS]};
            uint32_t got = 0, want = 0;
            size_t   n = utf8_decode((struct str){b, 4}, &got);
            if (n != model(b, 4, &want) || got != want)
                fail_msg("%02x %02x %02x %02x", b[0], b[1], b[2], b[3]);
        }
}

/* Broken when overlong forms, surrogates or what lies beyond Unicode get in. */
static void
knows_good_from_bad(void **state)
{
    static const struct {
        const char *text;
        bool        want;
    } row[] = {
        {"", true},
        {"plain ASCII, more than eight bytes", true},
        {"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true},
        {"\xed\x9f\xbf\xee\x80\x80", true},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x80\x80", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x80\x80\x80", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xed\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xf8\x88\x80\x80\x80", false},
        {"\xfe", false},
        {"\xff", false},
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\xf0\x9f\x98", false},
        {"\xc3(", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (size_t shift = 0; shift < 18; shift++) { /* against the stride of eight */
            size_t   n = shift + strlen(row[i].text);
            uint8_t *p = malloc(n + (n == 0));
            assert_non_null(p);
            memset(p, 'a', shift);
            memcpy(p + shift, row[i].text, n - shift);
            if (utf8_is_valid((struct str){p, n}) != row[i].want)
                fail_msg("row %zu behind %zu", i, shift);
            free(p);
        }
    assert_true(utf8_is_valid(STR("a\0b")));
    assert_true(utf8_is_valid((struct str){NULL, 0}));
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(every_code_point_comes_back),
        cmocka_unit_test(agrees_with_the_definition),
        cmocka_unit_test(knows_good_from_bad),
    };
    return cmocka_run_group_tests_name("utf8", test, NULL, NULL);
}
