#include "server/front_http.h"

#include "tests/unit.h"

/* "since=10m" read as ten milliseconds would show nothing and say nothing. */
static void
durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool        fine;
        uint64_t    ms;
    } row[] = {
        {"0s", true, 0},
        {"500ms", true, 500},
        {"5s", true, 5000},
        {"10m", true, 600000},
        {"2h", true, 7200000},
        {"7d", true, 604800000},
        {"100000d", true, UINT64_C(8640000000000)},
        {"100001d", false, 0},
        {"99999999999999999999s", false, 0},
        {"18446744073709551615ms", false, 0},
        {"", false, 0},
        {"5", false, 0},
        {"s", false, 0},
        {"-5s", false, 0},
        {"5 s", false, 0},
        {"5S", false, 0},
        {"5sec", false, 0},
        {"1.5s", false, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint64_t ms = 0;
        assert_int_equal(http_duration_ms(str_of(row[i].text), &ms), row[i].fine);
        assert_int_equal(ms, row[i].ms);
    }
}

/* Taking a foreign origin for our own would let any web page use the broker. */
static void
origins(void **state)
{
    (void)state;
    const struct server_facts facts = {
        .host = STR("broker.example"),
        .self = {.family = 4, .ip = {10, 0, 0, 7}, .port = 3000},
        .cors = STR("https://page.example, http://other.example:8080,"),
    };
    static const struct {
        const char *origin;
        bool        fine;
        const char *allowed;
    } row[] = {
        {"http://broker.example:3000", true, ""},
        {"http://BROKER.example:3000", true, ""},
        {"http://10.0.0.7:3000", true, ""},
        {"http://localhost:3000", true, ""},
        {"http://127.0.0.1:3000", true, ""},
        {"http://[::1]:3000", true, ""},
        {"https://page.example", true, "https://page.example"},
        {"http://other.example:8080", true, "http://other.example:8080"},
        {"http://broker.example", false, ""},
        {"http://broker.example:3001", false, ""},
        {"http://broker.example:30000", false, ""},
        {"http://broker.example.evil:3000", false, ""},
        {"http://evil.broker.example:3000", false, ""},
        {"http://localhost.evil:3000", false, ""},
        {"http://[::1:3000", false, ""},
        {"http://::1:3000", false, ""},
        {"http://[::1]3000", false, ""},
        {"https://broker.example:3000", false, ""},
        {"http://page.example", false, ""},
        {"https://page.example, http://other.example:8080", false, ""},
        {"null", false, ""},
        {"", false, ""},
        {"http://", false, ""},
        {"*", false, ""},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct str  allowed;
        const char *problem = http_origin_problem(&facts, str_of(row[i].origin), &allowed);
        if ((problem == NULL) != row[i].fine)
            fail_msg("%s: %s", row[i].origin, problem ? problem : "taken");
        assert_true(str_eq(allowed, str_of(row[i].allowed)));
    }
}

/* A broker at an IPv6 address has pages of its own as well. */
static void
origin_with_ip6(void **state)
{
    (void)state;
    struct server_facts facts = {.host = STR("::1"), .self = {.family = 6, .port = 80}};
    struct str          allowed;
    facts.self.ip[15] = 1;
    assert_null(http_origin_problem(&facts, STR("http://[::1]"), &allowed));
    assert_null(http_origin_problem(&facts, STR("http://[::1]:80"), &allowed));
    assert_non_null(http_origin_problem(&facts, STR("http://[::2]"), &allowed));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(origins),
        cmocka_unit_test(origin_with_ip6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
