#include "core/rules.h"

#include "base/limits.h"
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

static struct topic_rule
rule(const char *filter, bool store)
{
    return (struct topic_rule){str_of(filter), store};
}

static bool
stores(const struct topic_rule *rule, uint32_t count, const char *topic)
{
    struct rules r;
    rules_init(&r, rule, count);
    bool is = rules_store(&r, str_of(topic));
    rules_fini(&r);
    return is;
}

/* Broken when a topic that no rule names is not stored. */
static void
what_no_rule_names_is_stored(void **state)
{
    (void)state;
    const struct topic_rule one[] = {rule("ticks/#", false)};
    assert_true(stores(NULL, 0, "ticks/a"));
    assert_true(stores(one, 1, "tick"));
    assert_true(stores(one, 1, "a/ticks"));
    assert_false(stores(one, 1, "ticks"));
    assert_false(stores(one, 1, "ticks/a/b"));
}

/* Broken when not the last rule that matches decides, whatever the order of a match is. */
static void
the_last_that_matches_counts(void **state)
{
    (void)state;
    const struct topic_rule some[] = {rule("a/#", false), rule("a/b", true), rule("a/+", false),
                                      rule("+/c", true),  rule("a/#", true), rule("a/d", false)};
    assert_false(stores(some, 1, "a/b"));
    assert_true(stores(some, 2, "a/b"));
    assert_false(stores(some, 3, "a/b"));
    assert_true(stores(some, 4, "a/c"));
    assert_false(stores(some, 4, "a/x"));
    assert_true(stores(some, 5, "a/x"));
    assert_true(stores(some, 6, "a/b"));
    assert_false(stores(some, 6, "a/d"));
}

/* Broken when topics that begin with '$' fall under a rule for all. */
static void
a_rule_for_all_leaves_out_what_begins_with_a_dollar(void **state)
{
    (void)state;
    const struct topic_rule all[] = {rule("#", false)};
    assert_false(stores(all, 1, "x/y"));
    assert_true(stores(all, 1, "$x/y"));
}

/* Broken when as many rules as there may be, as deep as they may be, are too many. */
static void
as_many_as_there_may_be(void **state)
{
    (void)state;
    static char       name[TOPIC_RULES_MAX][160];
    struct topic_rule some[TOPIC_RULES_MAX];
    for (unsigned i = 0; i < TOPIC_RULES_MAX; i++) {
        int n = snprintf(name[i], sizeof name[i], "%u", i);
        for (int k = 1; k < TOPIC_LEVELS_MAX; k++)
            n += snprintf(name[i] + n, sizeof name[i] - (size_t)n, "/%d", k);
        some[i] = rule(name[i], false);
    }
    assert_false(stores(some, TOPIC_RULES_MAX, name[0]));
    assert_false(stores(some, TOPIC_RULES_MAX, name[TOPIC_RULES_MAX - 1]));
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(what_no_rule_names_is_stored),
        cmocka_unit_test(the_last_that_matches_counts),
        cmocka_unit_test(a_rule_for_all_leaves_out_what_begins_with_a_dollar),
        cmocka_unit_test(as_many_as_there_may_be),
    };
    return cmocka_run_group_tests_name("rules", test, NULL, NULL);
}
