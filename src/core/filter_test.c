#include "core/filter.h"

#include "base/limits.h"
#include "tests/unit.h"

#include <string.h>

/* Broken when a topic is delivered to a filter that does not match it, or the
 * other way round.  Rows are the examples of MQTT 5.0 section 4.7, then edges. */
static void
matches_as_mqtt_says(void **state)
{
    static const struct {
        const char *filter, *topic;
        bool        want;
    } row[] = {
        {"sport/tennis/player1/#", "sport/tennis/player1", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/#", "sport", true},
        {"sport/#", "sports", false},
        {"#", "sport", true},
        {"#", "/", true},
        {"sport/tennis/+", "sport/tennis/player1", true},
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"sport/+", "sport/", true},
        {"+/+", "/finance", true},
        {"/+", "/finance", true},
        {"+", "/finance", false},
        {"+", "finance", true},
        {"+/tennis/#", "sport/tennis", true},
        {"#", "$SYS/broker", false},
        {"+/monitor/Clients", "$SYS/monitor/Clients", false},
        {"$SYS/#", "$SYS/", true},
        {"$SYS/#", "$SYS", true},
        {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
        {"+", "$SYS", false},
        {"a/+", "a/$b", true},
        {"a/#", "a/$b/c", true},
        {"stocks", "stocks", true},
        {"stocks", "Stocks", false},
        {"stocks", "stock", false},
        {"stock", "stocks", false},
        {"a/b", "a", false},
        {"a", "a/b", false},
        {"a", "a/", false},
        {"a/", "a", false},
        {"a/", "a/", true},
        {"a//b", "a//b", true},
        {"a/+/b", "a//b", true},
        {"a/#", "a//", true},
        {"/", "/", true},
        {"+/", "/", true},
        {"+/+/+", "//", true},
        {"+/+", "//", false},
        {"/#", "/", true},
        {"/#", "a", false},
        {"a/+/#", "a", false},
        {"a/+/#", "a/b", true},
        {"a/+/#", "a/b/c/d", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (filter_match(str_of(row[i].filter), str_of(row[i].topic)) != row[i].want)
            fail_msg("%s on %s", row[i].filter, row[i].topic);
}

/* Broken when a bad name comes into the log, where it stays, or when a good one is
 * refused; the text must name the rule. */
static void
names_the_rule_that_is_broken(void **state)
{
    static const struct {
        const char *text;
        size_t      n;
        const char *topic, *filter; /* a word of the problem; NULL: valid */
    } row[] = {
        {"a", 1, NULL, NULL},
        {"/", 1, NULL, NULL},
        {"a/b c/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 15, NULL, NULL},
        {"$SYS/x", 6, NULL, NULL},
        {"\xc2\xa0", 2, NULL, NULL}, /* no-break space: the first behind the C1 controls */
        {"", 0, "at least", "at least"},
        {"a\0b", 3, "control", "control"},
        {"a\nb", 3, "control", "control"},
        {"a\x7f", 2, "control", "control"},
        {"\xc2\x80", 2, "control", "control"},
        {"\xc2\x9f", 2, "control", "control"},
        {"\xff", 1, "UTF-8", "UTF-8"},
        {"a/\xc3", 3, "UTF-8", "UTF-8"},
        {"\xed\xa0\x80", 3, "UTF-8", "UTF-8"},
        {"+", 1, "'+'", NULL},
        {"#", 1, "'#'", NULL},
        {"a/+/b", 5, "'+'", NULL},
        {"+/+/#", 5, "'#'", NULL},
        {"a+", 2, "'+'", "'+' stands alone"},
        {"+a/b", 4, "'+'", "'+' stands alone"},
        {"a/++", 4, "'+'", "'+' stands alone"},
        {"a#", 2, "'#'", "'#' stands alone"},
        {"a/#b", 4, "'#'", "'#' stands alone"},
        {"##", 2, "'#'", "'#' stands alone"},
        {"#/a", 3, "'#'", "last"},
        {"a/#/", 4, "'#'", "last"},
        {"#/#", 3, "'#'", "last"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct str  s       = {(const uint8_t *)row[i].text, row[i].n};
        const char *topic   = topic_problem(s);
        const char *filter  = filter_problem(s);
        bool        good    = !topic == !row[i].topic && !filter == !row[i].filter;
        bool        worded  = good && (!topic || strstr(topic, row[i].topic));
        bool        worded2 = good && (!filter || strstr(filter, row[i].filter));
        if (!worded || !worded2)
            fail_msg("row %zu: %s / %s", i, topic ? topic : "ok", filter ? filter : "ok");
    }
}

/* Broken when the limits of the protocol are off by one: brokers would disagree. */
static void
keeps_the_limits_exactly(void **state)
{
    (void)state;
    char text[TOPIC_BYTES_MAX + 1];
    memset(text, 'x', sizeof text);
    struct str s = {(const uint8_t *)text, TOPIC_BYTES_MAX};
    assert_null(topic_problem(s));
    assert_null(filter_problem(s));
    s.n++;
    assert_non_null(strstr(topic_problem(s), "512"));
    assert_non_null(strstr(filter_problem(s), "512"));

    memset(text, '/', sizeof text);
    s.n = TOPIC_LEVELS_MAX - 1; /* so many slashes part 32 empty levels */
    assert_null(topic_problem(s));
    assert_null(filter_problem(s));
    s.n++;
    assert_non_null(strstr(topic_problem(s), "32"));
    assert_non_null(strstr(filter_problem(s), "32"));
}

/* Broken when a plain filter is not served by the index of its topic. */
static void
tells_literals_from_patterns(void **state)
{
    (void)state;
    assert_true(filter_is_literal(STR("a/b")));
    assert_false(filter_is_literal(STR("a/+")));
    assert_false(filter_is_literal(STR("#")));
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(matches_as_mqtt_says),
        cmocka_unit_test(names_the_rule_that_is_broken),
        cmocka_unit_test(keeps_the_limits_exactly),
        cmocka_unit_test(tells_literals_from_patterns),
    };
    return cmocka_run_group_tests_name("filter", test, NULL, NULL);
}
