#include "cli/cli.h"

#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

static const struct option_row rows[] = {
    CLI_BROKER_ROWS,
    {"topic", OPTION_LIST, NULL, "T", "topics"},
    {"cursor-file", OPTION_TEXT, NULL, "F", "file"},
    {"timeout", OPTION_TIME, "10s", "TIME", "time"},
    {"json", OPTION_FLAG, NULL, "", "json"},
};
static const struct command_line usage = {
    .name = "try", .operands = "", .about = "", .operands_max = 2, CLI_ROWS(rows)};

/* Values point into the words, so these stay until the process ends. */
static char    *kept[200];
static unsigned kept_count;

/* Words behind "try", up to a NULL. */
static int
parse(struct options *o, const char *const *word)
{
    char *argv[20] = {NULL};
    int   argc     = 1;
    char  name[]   = "try";
    argv[0]        = name;
    for (; *word; word++) {
        assert_true(kept_count < sizeof kept / sizeof *kept);
        kept[kept_count] = strdup(*word);
        assert_non_null(kept[kept_count]);
        argv[argc++] = kept[kept_count++];
    }
    return options_parse(o, &usage, argc, argv);
}
#define PARSE(o, ...) parse(o, (const char *const[]){__VA_ARGS__, NULL})

static void
reads_flags(void **state)
{
    (void)state;
    /* Broken: a command would run with other values than were typed. */
    struct options o;
    assert_int_equal(PARSE(&o, "--port=3001", "--topic", "a", "--topic", "b/#", "--json", "x",
                           "--timeout", "2m", "--", "--json"),
                     -1);
    assert_int_equal(options_number(&o, "port"), 3001);
    assert_string_equal(options_text(&o, "host"), "localhost");
    assert_int_equal(options_value(&o, "topic")->count, 2);
    assert_string_equal(options_value(&o, "topic")->text[1], "b/#");
    assert_true(options_flag(&o, "json"));
    assert_int_equal(options_ms(&o, "timeout"), 120000);
    assert_int_equal(o.operand_count, 2);
    assert_string_equal(o.operand[1], "--json");
    assert_null(options_text(&o, "cursor-file"));
}

static void
refuses_wrong_words(void **state)
{
    (void)state;
    /* Broken: a typo would be ignored in silence. */
    struct options o;
    assert_int_equal(PARSE(&o, "--topik", "a"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--port", "x"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--port", "-1"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--port", "99999999999999999999"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--port"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--topic", ""), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--timeout", "5 parsecs"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--json=perhaps"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "-t", "a"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "a", "b", "c"), EXIT_USAGE);
    assert_int_equal(PARSE(&o, "--help", "--nonsense"), EXIT_OK);
}

static void
a_flag_wins_over_the_environment(void **state)
{
    (void)state;
    /* Broken: what is typed would be overruled by a forgotten setting. */
    struct options o;
    setenv("HEARSAY_PORT", "4000", 1);
    setenv("HEARSAY_TOPIC", "from-env", 1);
    setenv("HEARSAY_CURSOR_FILE", "f", 1);
    setenv("HEARSAY_JSON", "no", 1);
    assert_int_equal(PARSE(&o, "--topic", "typed"), -1);
    assert_int_equal(options_number(&o, "port"), 4000);
    assert_string_equal(options_text(&o, "cursor-file"), "f");
    assert_false(options_flag(&o, "json"));
    assert_int_equal(options_value(&o, "topic")->count, 1);
    assert_string_equal(options_text(&o, "topic"), "typed");
    setenv("HEARSAY_PORT", "many", 1);
    assert_int_equal(PARSE(&o, "a"), EXIT_USAGE);
    unsetenv("HEARSAY_PORT");
    unsetenv("HEARSAY_TOPIC");
    unsetenv("HEARSAY_CURSOR_FILE");
    unsetenv("HEARSAY_JSON");
}

static void
knows_times_and_near_names(void **state)
{
    (void)state;
    /* Broken: "10m" would be ten of something else. */
    int ms;
    assert_true(options_time("500ms", &ms) && ms == 500);
    assert_true(options_time("3", &ms) && ms == 3000);
    assert_true(options_time("1h", &ms) && ms == 3600000);
    assert_false(options_time("", &ms) || options_time("h", &ms) || options_time("-1s", &ms));
    assert_false(options_time("25d", &ms) || options_time("99999999999999999999s", &ms));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_flags),
        cmocka_unit_test(refuses_wrong_words),
        cmocka_unit_test(a_flag_wins_over_the_environment),
        cmocka_unit_test(knows_times_and_near_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
