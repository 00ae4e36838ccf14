#include "server/peers_file.h"

#include <string.h>

#include "tests/unit.h"

static bool
has(const struct buf *b, const char *text)
{
    return memmem(b->p + b->start, b->n, text, strlen(text)) != NULL;
}

static void
test_friendly_parts(void **state)
{
    /* Broken if what people and spreadsheets write into such a file is taken for errors. */
    (void)state;
    struct peer_places places;
    struct buf         problem;
    buf_init(&problem, 0);
    struct str text = STR("\xef\xbb\xbfHost,Port\r\n\r\n# ours\n localhost , 3000 # first\r\n"
                          "localhost,3000\n[::1],3001\n::1,3002\n\t\nbroker-c.example,65535");
    assert_int_equal(peers_parse(text, "f.csv", &places, &problem), ERR_OK);
    static const struct {
        const char *host;
        uint16_t    port;
    } want[] = {{"localhost", 3000}, {"::1", 3001}, {"::1", 3002}, {"broker-c.example", 65535}};
    assert_int_equal(places.count, 4);
    for (uint32_t i = 0; i < places.count; i++) {
        assert_true(str_eq(places.at[i].host, str_of(want[i].host)));
        assert_int_equal(places.at[i].port, want[i].port);
    }
    assert_int_equal(peers_parse(STR(""), "f.csv", &places, &problem), ERR_OK);
    assert_int_equal(places.count, 0);
    buf_fini(&problem);
}

static void
test_malformed_lines_are_named(void **state)
{
    /* Broken if an operator has to search for the line, or for what is wrong with it. */
    (void)state;
    static const struct {
        const char *line, *reason;
    } row[] = {
        {"localhost", "comma"},
        {",3000", "host is empty"},
        {"[],3000", "host is empty"},
        {"[::1,3000", "bracket"},
        {"localhost,", "port is missing"},
        {"localhost,x", "not a number"},
        {"localhost,-1", "not a number"},
        {"localhost,0", "out of range"},
        {"localhost,65536", "out of range"},
        {"localhost,99999999999999999999", "not a number"},
        {"localhost,3000,7", "more than"},
        {"lo\x01,3000", "character"},
        {"lo cal,3000", "character"},
        {"[[::1],3000", "character"},
        {"[::1]],3000", "character"},
        {"host,port", "not a number"}, /* a header comes first */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct peer_places places;
        struct buf         text, problem;
        buf_init(&text, 0);
        buf_init(&problem, 0);
        assert_int_equal(buf_addf(&text, "# x\na,1\n%s\nb,2\n", row[i].line), ERR_OK);
        assert_int_equal(peers_parse(buf_str(&text), "my.csv", &places, &problem), ERR_INVALID);
        assert_true(has(&problem, "my.csv:3: "));
        assert_true(has(&problem, row[i].reason));
        buf_fini(&text);
        buf_fini(&problem);
    }
}

static void
test_seventeenth_member(void **state)
{
    /* Broken if more members than a roster takes overrun the table. */
    (void)state;
    struct peer_places places;
    struct buf         text, problem;
    buf_init(&text, 0);
    buf_init(&problem, 0);
    for (int i = 1; i <= 17; i++)
        assert_int_equal(buf_addf(&text, "h,%d\n", i), ERR_OK);
    assert_int_equal(peers_parse(buf_str(&text), "f", &places, &problem), ERR_INVALID);
    assert_true(has(&problem, "f:17: "));
    buf_fini(&text);
    buf_fini(&problem);
}

static void
test_every_cut(void **state)
{
    /* Broken if a file that was cut short is read beyond its end. */
    (void)state;
    static const char whole[] = "\xef\xbb\xbfhost,port\r\n[::1],3000\r\n # c\na.b,1";
    for (size_t n = 0; n < sizeof whole; n++) {
        struct peer_places places;
        struct buf         text, problem;
        buf_init(&text, 0);
        buf_init(&problem, 0);
        assert_int_equal(buf_add(&text, (struct str){(const uint8_t *)whole, n}), ERR_OK);
        enum err e = peers_parse(buf_str(&text), "f", &places, &problem);
        assert_int_equal(e == ERR_OK, problem.n == 0);
        buf_fini(&text);
        buf_fini(&problem);
    }
}

static void
test_join(void **state)
{
    /* Broken if --join takes what it cannot dial. */
    (void)state;
    struct peer_place p;
    const char       *why;
    assert_int_equal(peer_place_parse(STR("[::1]:3000"), &p, &why), ERR_OK);
    assert_true(str_eq(p.host, STR("::1")));
    assert_int_equal(peer_place_parse(STR("a.b:1"), &p, &why), ERR_OK);
    assert_int_equal(p.port, 1);
    static const char *const bad[] = {
        "a",   "a:",    ":1",   "::1:3000", "a:0",
        "a:b", "[::1]", "[::1", "a,b:1"}; /* a comma parts the items of --join */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(peer_place_parse(str_of(bad[i]), &p, &why), ERR_INVALID);
        assert_non_null(why);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_friendly_parts),
        cmocka_unit_test(test_malformed_lines_are_named),
        cmocka_unit_test(test_seventeenth_member),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
