/* small_test.c - the words of base that are too small for a test of their own. */
#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "base/prng.h"
#include "base/trace.h"
#include "tests/unit.h"

#include <string.h>

/* Broken when a simulation cannot be repeated from its seed.  The numbers are those
 * of the reference SplitMix64 for seed 1234567. */
static void
prng_repeats_itself(void **state)
{
    static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
                                    9817491932198370423u, 4593380528125082431u,
                                    16408922859458223821u};
    (void)state;
    struct prng r = {1234567};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_true(prng_next(&r) == want[i]);
    uint32_t seen = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = prng_below(&r, 7);
        assert_true(v < 7);
        seen |= 1u << v;
    }
    assert_int_equal(seen, 0x7f);
    assert_int_equal(prng_below(&r, 1), 0);
}

struct thing {
    int         id;
    struct list node;
};

static void
ids(struct list *head, char *text)
{
    for (struct list *at = head->next; at != head; at = at->next) {
        assert_ptr_equal(at->next->prev, at);
        *text++ = (char)('0' + LIST_OF(at, struct thing, node)->id);
    }
    *text = '\0';
}

/* Broken when a queue changes its order, or a walk trips over what it removes. */
static void
lists_keep_their_order(void **state)
{
    (void)state;
    struct list  head;
    struct thing thing[6];
    char         text[8];
    list_init(&head);
    assert_true(list_is_empty(&head));
    for (int i = 0; i < 6; i++) {
        thing[i].id = i;
        list_push_back(&head, &thing[i].node);
    }
    list_remove(&thing[0].node);
    list_remove(&thing[3].node);
    list_remove(&thing[3].node); /* harmless */
    ids(&head, text);
    assert_string_equal(text, "1245");
    list_push_back(&head, &thing[3].node);
    LIST_EACH(at, &head)
    {
        if (LIST_OF(at, struct thing, node)->id % 2 == 1)
            list_remove(at);
    }
    ids(&head, text);
    assert_string_equal(text, "24");
    LIST_EACH(at, &head)
    list_remove(at);
    assert_true(list_is_empty(&head));
}

/* ---- trace ---- */

static char             last[2000];
static enum trace_level last_level;
static int              lines;

static void
set_all(enum trace_level level)
{
    struct trace_levels all;
    memset(all.of, (int)level, sizeof all.of);
    trace_set_levels(&all);
}

static void
remember(void *ctx, enum trace_level level, const char *line)
{
    assert_ptr_equal(ctx, last);
    last_level = level;
    lines++;
    strncpy(last, line, sizeof last - 1);
}

/* Broken when a hostile name can forge a second trace line or drive a terminal, or a
 * long one is more than a line. */
static void
traces_are_one_harmless_line(void **state)
{
    (void)state;
    trace_set_sink(remember, last);
    tracef(TRACE_WARN, "refused %s", "a\nb\r\t\x1b[2J\x7f\x01 \xc3\xa4");
    assert_string_equal(last, "refused a\\x0ab\\x0d\\x09\\x1b[2J\\x7f\\x01 \xc3\xa4");
    assert_int_equal(last_level, TRACE_WARN);

    tracef(TRACE_WARN, "%s",
           "\xff\xc2\x9b"
           "1m \xc3");
    assert_string_equal(last, "\\xff\\xc2\\x9b1m \\xc3");

    char name[3000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    tracef(TRACE_ERROR, "%s", name);
    assert_int_equal(strlen(last), 1023);

    lines = 0;
    tracef(TRACE_DEBUG, "not by default");
    assert_int_equal(lines, 0);
    set_all(TRACE_DEBUG);
    tracef(TRACE_DEBUG, "now");
    assert_int_equal(lines, 1);
    set_all(TRACE_ERROR);
    tracef(TRACE_WARN, "no more");
    assert_int_equal(lines, 1);
    set_all(TRACE_INFO);
    trace_set_sink(NULL, NULL);
}

/* Broken when the level of one part changes another's, or a file counts to the wrong part. */
static void
each_part_has_its_level(void **state)
{
    (void)state;
    struct trace_levels levels = {{0}};
    memset(levels.of, TRACE_WARN, sizeof levels.of);
    levels.of[TRACE_OF_STORE] = TRACE_DEBUG;
    trace_set_sink(remember, last);
    trace_set_levels(&levels);
    lines = 0;
    trace_line(TRACE_DEBUG, TRACE_OF_STORE, "one");
    trace_line(TRACE_INFO, TRACE_OF_CORE, "two");
    assert_int_equal(lines, 1);
    assert_string_equal(last, "one");
    assert_int_equal(trace_module_of("src/store/store_sql.c"), TRACE_OF_STORE);
    assert_int_equal(trace_module_of("src/core/gossip.c"), TRACE_OF_CORE);
    assert_int_equal(trace_module_of("src/server/front_peer.c"), TRACE_OF_PEER);
    assert_int_equal(trace_module_of("src/server/server.c"), TRACE_OF_SERVER);
    assert_int_equal(trace_module_of("sim/main.c"), TRACE_OF_OTHERS);
    set_all(TRACE_INFO);
    trace_set_sink(NULL, NULL);
}

/* Broken when memory of a turn overlaps, moves, or holds the last turn's bytes. */
static void
arenas_give_memory_of_its_own(void **state)
{
    static const size_t size[] = {1, 16, 100, 5000, 20000, 300000, 3};
    enum { N = sizeof size / sizeof *size };
    (void)state;
    struct arena a;
    arena_init(&a);
    for (int turn = 0; turn < 20; turn++) {
        uint8_t *p[N];
        for (size_t i = 0; i < N; i++) {
            p[i] = arena_take(&a, size[i]);
            assert_int_equal((uintptr_t)p[i] % 16, 0);
            for (size_t k = 0; k < size[i]; k++)
                if (p[i][k] != 0)
                    fail_msg("not zeroed");
            memset(p[i], (int)i + 1, size[i]);
        }
        for (size_t i = 0; i < N; i++)
            for (size_t k = 0; k < size[i]; k++)
                if (p[i][k] != i + 1)
                    fail_msg("overlapping");
        arena_reset(&a);
    }
    arena_fini(&a);
    arena_fini(&a); /* nothing left to free */
}

/* Broken when an error has no words for the user. */
static void
every_error_has_its_text(void **state)
{
    (void)state;
    for (int e = 0; e < ERR_COUNT; e++)
        assert_true(strlen(err_text((enum err)e)) > 1);
    assert_string_equal(err_text(ERR_OK), "ok");
}

/* Broken when core finds old bytes in new memory. */
static void
new_memory_is_zeroed(void **state)
{
    (void)state;
    uint8_t *p = mem_new(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    memset(p, 7, 100);
    p = mem_resize(p, 5000);
    assert_int_equal(p[99], 7);
    mem_free(p);
    mem_free(NULL);
}

/* Broken when typos get odd advice. */
static void
the_nearest_name_is_near(void **state)
{
    (void)state;
    static const char *const name[] = {"publish", "subscribe", "status"};
    assert_string_equal(nearest_name("publsih", name, 3), "publish");
    assert_string_equal(nearest_name("stat", name, 3), "status");
    assert_null(nearest_name("x", name, 3));
    assert_null(nearest_name("nonsense", name, 3));
    assert_null(nearest_name("subscribesubscribesubscribesubscribe", name, 3));
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(the_nearest_name_is_near), cmocka_unit_test(prng_repeats_itself),
        cmocka_unit_test(lists_keep_their_order),   cmocka_unit_test(traces_are_one_harmless_line),
        cmocka_unit_test(each_part_has_its_level),  cmocka_unit_test(arenas_give_memory_of_its_own),
        cmocka_unit_test(every_error_has_its_text), cmocka_unit_test(new_memory_is_zeroed),
    };
    return cmocka_run_group_tests_name("small", test, NULL, NULL);
}
