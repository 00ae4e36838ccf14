#include "server/config.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit.h"

static const char *env_name, *env_value;
static char        path[64];

static char *
test_env(const char *name)
{
    return env_name && strcmp(name, env_name) == 0 ? (char *)(uintptr_t)env_value : NULL;
}

static struct config config;
static struct buf    problem;

/* The options after "broker", up to NULL. */
static enum config_do
load(const char *const *word)
{
    char *argv[16] = {(char *)(uintptr_t) "broker"};
    int   argc     = 1;
    for (; *word; word++)
        argv[argc++] = (char *)(uintptr_t)*word;
    config_free(&config);
    buf_reset(&problem);
    return config_load(&config, argc, argv, test_env, &problem);
}
#define LOAD(...) load((const char *const[]){__VA_ARGS__, NULL})

static bool
says(const char *text)
{
    return problem.n > 0 && memmem(problem.p + problem.start, problem.n, text, strlen(text));
}

static void
write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int
setup(void **state)
{
    (void)state;
    strcpy(path, "/tmp/config_test.XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    env_name = NULL;
    buf_init(&problem, 0);
    memset(&config, 0, sizeof config);
    return fd < 0;
}

static int
teardown(void **state)
{
    (void)state;
    unlink(path);
    config_free(&config);
    buf_fini(&problem);
    return 0;
}

static void
test_defaults(void **state)
{
    /* Broken if a bare `hearsay broker` is not what the documents say. */
    (void)state;
    const char *none[] = {NULL};
    assert_int_equal(load(none), CONFIG_RUN);
    assert_string_equal(config.host, "localhost");
    assert_int_equal(config.port, 3000);
    assert_string_equal(config.peers, "globalState.csv");
    assert_false(config.given.peers);
    assert_string_equal(config.cluster, "hearsay");
    assert_int_equal(config.tail_bytes, 64 << 20);
    assert_int_equal(config.trace.of[TRACE_OF_STORE], TRACE_INFO);
}

static void
test_flag_over_environment_over_file(void **state)
{
    /* Broken if the three sources rank otherwise. */
    (void)state;
    write_file("port = 1111\ncluster = filed\n[broker]\ntail-bytes = 2K\njoin = a:1\njoin = b:2\n");
    assert_int_equal(LOAD("--config", path), CONFIG_RUN);
    assert_int_equal(config.port, 1111);
    assert_string_equal(config.cluster, "filed");
    assert_int_equal(config.tail_bytes, 2048);
    assert_string_equal(config.join, "a:1,b:2");
    env_name  = "HEARSAY_PORT";
    env_value = "2222";
    assert_int_equal(LOAD("--config", path), CONFIG_RUN);
    assert_int_equal(config.port, 2222);
    assert_int_equal(LOAD("--port=3333", "--config", path, "--join", "c:3"), CONFIG_RUN);
    assert_int_equal(config.port, 3333);
    assert_string_equal(config.join, "c:3"); /* a list is replaced, not mixed */
    env_name  = "HEARSAY_CONFIG";
    env_value = path;
    assert_int_equal(LOAD("--port", "4"), CONFIG_RUN);
    assert_string_equal(config.cluster, "filed");
    env_name  = "HEARSAY_DISK_RESERVE";
    env_value = "1G";
    assert_int_equal(LOAD("--port", "4"), CONFIG_RUN);
    assert_int_equal(config.disk_reserve, 1 << 30);
}

static void
test_wrong_options_are_named(void **state)
{
    /* Broken if a typing error is ignored, or the message does not say which option. */
    (void)state;
    assert_int_equal(LOAD("--prot", "1"), CONFIG_USAGE);
    assert_true(says("--prot") && says("--help"));
    assert_int_equal(LOAD("--host", "h", "--port", "1", "--causal-wait", "100ms"), CONFIG_RUN);
    assert_int_equal(LOAD("extra"), CONFIG_USAGE);
    assert_true(says("extra"));
    assert_int_equal(LOAD("--port"), CONFIG_USAGE);
    assert_true(says("--port"));
    static const char *const bad[][2] = {
        {"--port", "0"},
        {"--port", "65536"},
        {"--port", "-1"},
        {"--port", ""},
        {"--tail-bytes", "12Q"},
        {"--tail-bytes", "M"},
        {"--tail-bytes", "99999999999999999999G"},
        {"--disk-reserve", ""},
        {"--trace", "loud"},
        {"--host", ""},
        {"--host", "a/b"},
        {"--cluster", ""},
        {"--cluster", "a\nb"},
        {"--causal-wait", "0"},
        {"--causal-wait", "99ms"},
        {"--causal-wait", "10"},
        {"--cors", "https://x.org,*"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(LOAD(bad[i][0], bad[i][1]), CONFIG_USAGE);
        assert_true(says(bad[i][0]));
    }
    env_name  = "HEARSAY_PORT";
    env_value = "x";
    assert_int_equal(LOAD("--host", "h"), CONFIG_USAGE);
    assert_true(says("HEARSAY_PORT"));
}

static void
test_wrong_files_are_named(void **state)
{
    /* Broken if a faulty file starts a broker with half of its options. */
    (void)state;
    assert_int_equal(LOAD("--config", "/nowhere/x.ini"), CONFIG_BAD);
    assert_true(says("/nowhere/x.ini"));
    static const char *const bad[][2] = {
        {"prot = 1\n", "prot"},
        {"port = 70000\n", ", line 1: port: it must be"},
        {"[other]\nport = 1\n", "other"},
        {"port = 1\nwhat is this\n", "line 2: write name = value"},
        {"config = x\n", "line 1: "},
        {"[topic a]\nstore = no\n", "line 1: write [topic \"FILTER\"]"},
        {"port = 1\n[topic \"a]\nstore = no\n", "line 2: write [topic \"FILTER\"]"},
        {"[topic \"a\"\nstore = no\n", "write [topic \"FILTER\"]"},
        {"[topic \"a\"] x\nstore = no\n", "write [topic \"FILTER\"]"},
        {"[topic]\n", "write [topic \"FILTER\"]"},
        {"[topic \"\"]\nstore = no\n", "line 1: "},
        {"[topic \"a/#/b\"]\nstore = no\n", "line 1: "},
        {"[topic \"a\"]\nstore = maybe\n", "[topic \"a\"], store: it is yes or no"},
        {"[topic \"a\"]\nport = 1\n", "nothing can be said but store"},
        {"[topics \"a\"]\nstore = no\n", "section"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i][0]);
        assert_int_equal(LOAD("--config", path), CONFIG_BAD);
        assert_true(says(path) && says(bad[i][1]));
    }
}

static void
test_the_nearest_name_is_told(void **state)
{
    /* Broken if who mistyped a name has to look it up. */
    (void)state;
    assert_int_equal(LOAD("--prot", "1"), CONFIG_USAGE);
    assert_true(says("'--prot'; did you mean --port?"));
    write_file("port = 1\n\nretention-byte = 1G\n");
    assert_int_equal(LOAD("--config", path), CONFIG_BAD);
    assert_true(says(path) && says(", line 3: ") && says("did you mean retention-bytes?"));
    assert_int_equal(LOAD("--nonsense", "1"), CONFIG_USAGE);
    assert_false(says("did you mean"));
}

static void
test_lines_are_what_they_look_like(void **state)
{
    /* Broken if a line becomes part of another, two lines, or nothing, and nobody is told. */
    (void)state;
    char text[600] = "";
    write_file("cluster = prod\n  retention = 2d\n\tport = 24020\n");
    assert_int_equal(LOAD("--config", path), CONFIG_RUN);
    assert_string_equal(config.cluster, "prod");
    assert_int_equal(config.retention, 2 * 86400000);
    assert_int_equal(config.port, 24020);
    memset(text, '-', sizeof text);
    memcpy(text, "# ", 2);
    strcpy(text + 199, "port = 24029\nport = 5\n"); /* inih has room for 199 bytes */
    write_file(text);
    assert_int_equal(LOAD("--config", path), CONFIG_RUN);
    assert_int_equal(config.port, 5);
    memset(text, 'x', sizeof text);
    memcpy(text, "port = 5\ndata = ", 16);
    strcpy(text + 400, "\n= 7\n");
    write_file(text);
    assert_int_equal(LOAD("--config", path), CONFIG_BAD);
    assert_true(says(", line 2: the line is longer than"));
    write_file("port 3000\n= 5\n");
    assert_int_equal(LOAD("--config", path), CONFIG_BAD);
    assert_true(says(", line 1: write name = value"));
    write_file("port = 1\n= 5\n");
    assert_int_equal(LOAD("--config", path), CONFIG_BAD);
    assert_true(says(", line 2: ") && says("write name = value"));
    write_file("port = 1\njoin = a:1\njoin = b:1\nport = 2\n");
    assert_int_equal(LOAD("--config", path), CONFIG_BAD);
    assert_true(says(", line 4: port: it is given twice"));
}

static void
test_a_host_is_one_machine(void **state)
{
    /* Broken if a broker announces an address at which nobody can reach it. */
    (void)state;
    static const char *const bad[] = {
        "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "255.255.255.255", "ff02::1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(LOAD("--host", bad[i]), CONFIG_USAGE);
        assert_true(says("--bind 0.0.0.0"));
    }
    assert_int_equal(LOAD("--host", "::1", "--bind", "0.0.0.0"), CONFIG_RUN);
    assert_int_equal(LOAD("--host", "223.255.255.255"), CONFIG_RUN);
}

static void
test_levels_of_parts(void **state)
{
    /* Broken if a part cannot be listened to alone, or a mistyped one is ignored. */
    (void)state;
    assert_int_equal(LOAD("--trace", "warn,store=debug,http=error"), CONFIG_RUN);
    assert_int_equal(config.trace.of[TRACE_OF_CORE], TRACE_WARN);
    assert_int_equal(config.trace.of[TRACE_OF_STORE], TRACE_DEBUG);
    assert_int_equal(config.trace.of[TRACE_OF_HTTP], TRACE_ERROR);
    assert_int_equal(LOAD("--trace", "peer=debug"), CONFIG_RUN);
    assert_int_equal(config.trace.of[TRACE_OF_CORE], TRACE_INFO);
    assert_int_equal(config.trace.of[TRACE_OF_PEER], TRACE_DEBUG);
    static const char *const bad[] = {"stoer=debug", "", "store=", "=info", "info store"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(LOAD("--trace", bad[i]), CONFIG_USAGE);
        assert_true(says("--trace") && says("info,store=debug"));
    }
    assert_int_equal(LOAD("--trace-format", "json"), CONFIG_RUN);
    assert_int_equal(config.trace_format, TRACE_JSON);
    assert_int_equal(LOAD("--trace-format", "xml"), CONFIG_USAGE);
}

static void
test_bounds_are_told(void **state)
{
    /* Broken if a value beyond its bounds is taken, or the message does not say which they are. */
    (void)state;
    assert_int_equal(LOAD("--port", "65536"), CONFIG_USAGE);
    assert_true(says("--port '65536': it must be from 1 to 65535"));
    assert_int_equal(LOAD("--causal-wait", "99ms"), CONFIG_USAGE);
    assert_true(says("from 100ms to 24h"));
    assert_int_equal(LOAD("--causal-wait", "24h"), CONFIG_RUN);
    assert_int_equal(LOAD("--tail-bytes", "65G"), CONFIG_USAGE);
    assert_true(says("from 0 to 64G"));
    write_file("cluster = a\ncausal-wait = 25h\n");
    assert_int_equal(LOAD("--config", path), CONFIG_BAD);
    assert_true(says(", line 2: causal-wait: it must be from 100ms to 24h"));
}

/* Reads all of it once more.  What is wrong or has to wait is in `problem`. */
static enum err
reload(void)
{
    struct config was;
    struct buf    wrong, later;
    buf_init(&wrong, 0);
    buf_init(&later, 0);
    enum err e = config_reload(&config, &was, &later, &wrong);
    config_free(&was);
    buf_reset(&problem);
    assert_int_equal(buf_add(&problem, buf_str(e == ERR_OK ? &later : &wrong)), ERR_OK);
    buf_fini(&wrong);
    buf_fini(&later);
    return e;
}

static void
test_what_can_change_does(void **state)
{
    /* Broken if a reload changes what a running broker cannot, leaves out what it can, or does
     * not say so; or if what a flag said is overruled by the file. */
    (void)state;
    char *argv[] = {"broker", "--config", path, "--retention-bytes", "1G"};
    write_file("port = 1111\nretention = 1d\njoin = a:1\n");
    config_free(&config);
    assert_int_equal(config_load(&config, 5, argv, test_env, &problem), CONFIG_RUN);
    write_file("port = 2222\ndata = d\nretention = 2d\nretention-bytes = 5G\ntrace = debug\n"
               "join = b:2\njoin = c:3\ncors = https://x.org\ncausal-wait = 1s\n"
               "tail-bytes = 1M\ndisk-reserve = 2M\n[topic \"x\"]\nstore = no\n");
    assert_int_equal(reload(), ERR_OK);
    assert_true(str_eq(buf_str(&problem), STR("--port, --data")));
    assert_int_equal(config.port, 1111);
    assert_string_equal(config.data, "");
    assert_int_equal(config.topics.count, 1);
    assert_true(str_eq(config.topics.rule[0].filter, STR("x")) && !config.topics.rule[0].store);
    assert_string_equal(config.cors, "https://x.org");
    assert_int_equal(config.causal_wait, 1000);
    assert_int_equal(config.tail_bytes, 1 << 20);
    assert_int_equal(config.disk_reserve, 2 << 20);
    assert_int_equal(config.retention, 2 * 86400000);
    assert_int_equal(config.retention_bytes, 1 << 30);
    assert_int_equal(config.trace.of[TRACE_OF_STORE], TRACE_DEBUG);
    assert_string_equal(config.join, "b:2,c:3");
    write_file("port = 1111\n"); /* what is not said any more is as by default */
    assert_int_equal(reload(), ERR_OK);
    assert_int_equal(problem.n, 0);
    assert_int_equal(config.retention, (uint64_t)30 * 86400000);
    assert_string_equal(config.join, "");
    assert_string_equal(config.cors, "");
    assert_int_equal(config.topics.count, 0);
}

static void
test_a_faulty_file_changes_nothing(void **state)
{
    /* Broken if a reload takes over the half of a file that is fine. */
    (void)state;
    write_file("retention = 1d\n");
    char *argv[] = {"broker", "--config", path};
    config_free(&config);
    assert_int_equal(config_load(&config, 3, argv, test_env, &problem), CONFIG_RUN);
    write_file("retention = 2d\ntrace = debug\nretention-bytes = many\n");
    assert_int_equal(reload(), ERR_INVALID);
    assert_true(says(path) && says("line 3: retention-bytes"));
    assert_int_equal(config.retention, 86400000);
    assert_int_equal(config.trace.of[TRACE_OF_STORE], TRACE_INFO);
    unlink(path);
    assert_int_equal(reload(), ERR_INVALID);
    assert_true(says(path));
    assert_int_equal(config.retention, 86400000);
}

static void
test_mistyped_variables_are_told(void **state)
{
    /* Broken if a typing error in the environment is silently no option, or what belongs to
     * somebody else is told. */
    (void)state;
    char *const variable[] = {"HEARSAY_RETENTION=1d",
                              "HEARSAY_RETENTON=1d",
                              "PATH=/bin",
                              "HEARSAY_TAIL_BYTE=",
                              "HEARSAY_",
                              "HEARSAY_PORT_3000_TCP_ADDR=::1",
                              "HEARSAY_SERVICE_HOST=h",
                              "hearsay_prot=1",
                              NULL};
    buf_reset(&problem);
    config_strangers(variable, &problem);
    assert_true(str_eq(buf_str(&problem),
                       STR("HEARSAY_RETENTON sets no option; did you mean --retention?, "
                           "HEARSAY_TAIL_BYTE sets no option; did you mean --tail-bytes?")));
}

/* The file at `name` from its mark on, or all of it; GOLDEN=1 writes it. */
static void
stands_in(const char *name, const char *mark, struct buf *want)
{
    static char text[1 << 16];
    FILE       *f = fopen(name, "r");
    size_t      n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n]       = '\0';
    if (f)
        fclose(f);
    char *at = mark ? strstr(text, mark) : text;
    assert_non_null(at);
    at += mark ? strlen(mark) : 0;
    if (getenv("GOLDEN")) {
        f = fopen(name, "w");
        assert_non_null(f);
        fprintf(f, "%.*s%.*s", (int)(at - text), text, STR_ARG(buf_str(want)));
        fclose(f);
    } else if (!str_eq(str_of(at), buf_str(want))) {
        fail_msg("%s is not what config.def says: GOLDEN=1 %s writes it", name,
                 "build/src/server/config_test");
    }
    buf_fini(want);
}

static void
test_documents_are_of_the_table(void **state)
{
    /* Broken if an option changes and what is written of it does not. */
    (void)state;
    struct buf text;
    buf_init(&text, 0);
    config_example(&text);
    stands_in("hearsay.conf.example", NULL, &text);
    buf_init(&text, 0);
    config_table(&text);
    stands_in("docs/CONFIG.md", "<!-- of src/server/config.def -->\n\n", &text);
    assert_int_equal(LOAD("--config", "hearsay.conf.example"), CONFIG_RUN);
}

static void
rule_is(uint32_t i, const char *filter, bool store)
{
    assert_true(i < config.topics.count);
    assert_true(str_eq(config.topics.rule[i].filter, str_of(filter)));
    assert_int_equal(config.topics.rule[i].store, store);
}

static void
test_rules_for_topics(void **state)
{
    /* Broken if a topic is ruled otherwise than its operator wrote, or a section swallows options
     * behind it. */
    (void)state;
    char text[2048], longest[TOPIC_BYTES_MAX + 1] = "";
    memset(longest, 'x', TOPIC_BYTES_MAX);
    snprintf(text, sizeof text,
             "[topic \"ticks/#\"]\nstore = no\n\n"
             "[topic \t\"says nothing\"]\n"
             "[topic\"a\\\"b\\\\c ] ; \xc3\xa9\"] ; a comment\r\n store = no\n"
             "[topic \"%s\"]\nstore = yes\nstore = no\n"
             "[topic \"ticks/#\"]\nstore = yes\n"
             "[broker]\nport = 4711\n",
             longest);
    write_file(text);
    assert_int_equal(LOAD("--config", path), CONFIG_RUN);
    assert_int_equal(config.topics.count, 4);
    rule_is(0, "ticks/#", false);
    rule_is(1, "a\"b\\c ] ; \xc3\xa9", false);
    rule_is(2, longest, false);
    rule_is(3, "ticks/#", true);
    assert_int_equal(config.port, 4711);
    write_file("port = 1\n");
    assert_int_equal(LOAD("--config", path), CONFIG_RUN);
    assert_int_equal(config.topics.count, 0);
}

static void
test_too_many_rules(void **state)
{
    /* Broken if a file with more rules than core takes ends the broker, or as many do not fit. */
    (void)state;
    static char text[8192];
    size_t      n = 0;
    for (int i = 0; i < TOPIC_RULES_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "[topic \"+\"]\nstore = no\n");
    write_file(text);
    assert_int_equal(LOAD("--config", path), CONFIG_RUN);
    assert_int_equal(config.topics.count, TOPIC_RULES_MAX);
    snprintf(text + n, sizeof text - n, "[topic \"a\"]\n");
    write_file(text);
    assert_int_equal(LOAD("--config", path), CONFIG_BAD);
    assert_true(says("at most 256"));
}

static void
test_words_that_do_not_run(void **state)
{
    /* Broken if asking for help starts a broker. */
    (void)state;
    struct buf help;
    assert_int_equal(LOAD("--help"), CONFIG_HELP);
    assert_int_equal(LOAD("--port", "1", "-h"), CONFIG_HELP);
    assert_int_equal(LOAD("--version"), CONFIG_VERSION);
    assert_int_equal(LOAD("--check-config", "--port", "7"), CONFIG_CHECK);
    assert_int_equal(config.port, 7);
    buf_init(&help, 0);
    config_help(&help);
    assert_non_null(memmem(help.p, help.n, "--disk-reserve SIZE", 19));
    buf_fini(&help);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_flag_over_environment_over_file),
        TEST(test_wrong_options_are_named),
        TEST(test_wrong_files_are_named),
        TEST(test_the_nearest_name_is_told),
        TEST(test_lines_are_what_they_look_like),
        TEST(test_a_host_is_one_machine),
        TEST(test_levels_of_parts),
        TEST(test_bounds_are_told),
        TEST(test_what_can_change_does),
        TEST(test_a_faulty_file_changes_nothing),
        TEST(test_mistyped_variables_are_told),
        TEST(test_documents_are_of_the_table),
        TEST(test_rules_for_topics),
        TEST(test_too_many_rules),
        TEST(test_words_that_do_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
