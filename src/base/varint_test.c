#include "base/varint.h"

#include "tests/unit.h"

/* Broken when a number does not come back, has two forms, or is read beyond its end. */
static void
each_number_has_one_form(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t high  = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
        uint64_t value = 77;
        uint8_t  text[VARINT_BYTES_MAX + 1];
        size_t   n = varint_put(text, high);
        assert_int_equal(n, bits == 0 ? 1 : (bits + 6) / 7);
        assert_int_equal(varint_bytes(high), n);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(varint_get((struct str){text, cut}, &value), 0);
        assert_int_equal(value, 77);
        text[n] = 0xff; /* not of it */
        assert_int_equal(varint_get((struct str){text, n + 1}, &value), n);
        assert_true(value == high);
        text[n - 1] |= 0x80;
        text[n] = 0; /* the same number, longer */
        assert_int_equal(varint_get((struct str){text, n + 1}, &value), 0);
    }
}

/* Broken when what no 64 bits hold is taken for something that they do. */
static void
too_large_is_none(void **state)
{
    (void)state;
    uint64_t   value;
    struct str most = STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    assert_int_equal(varint_get(most, &value), 10);
    assert_int_equal(varint_get(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), &value), 0);
    assert_int_equal(varint_get(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01"), &value), 0);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(each_number_has_one_form),
        cmocka_unit_test(too_large_is_none),
    };
    return cmocka_run_group_tests_name("varint", test, NULL, NULL);
}
