#include "core/subs.h"

#include "base/prng.h"
#include "core/filter.h"
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

static int subscriber[512]; /* only their addresses matter */

static uint32_t
hit_count(const struct subs_hits *h, const void *who)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->count; i++)
        n += h->at[i] == who;
    return n;
}

/* Broken when a message goes to the wrong subscribers. */
static void
finds_each_kind_of_filter(void **state)
{
    static const char *const filter[] = {"a/b", "a/+",    "a/#", "#", "+/b",
                                         "+/#", "$SYS/#", "a",   "/"};
    static const struct {
        const char *topic, *want; /* a '1' for each filter that matches */
    } row[] = {
        {"a/b", "111111000"},  {"a", "001101010"},      {"a/c", "011101000"}, {"b/b", "000111000"},
        {"$SYS", "000000100"}, {"$SYS/x", "000000100"}, {"/", "000101001"},   {"/b", "000111000"},
        {"a/", "011101000"},   {"a/b/c", "001101000"},  {"zz", "000101000"},
    };
    (void)state;
    struct subs      s;
    struct subs_hits hits;
    subs_init(&s, 16);
    subs_hits_init(&hits);
    for (size_t i = 0; i < strlen(row[0].want); i++)
        assert_int_equal(subs_add(&s, str_of(filter[i]), &subscriber[i]), ERR_OK);
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        subs_match(&s, str_of(row[r].topic), &hits);
        for (size_t i = 0; i < strlen(row[r].want); i++)
            if (hit_count(&hits, &subscriber[i]) != (uint32_t)(row[r].want[i] - '0'))
                fail_msg("%s on %s", filter[i], row[r].topic);
    }
    subs_hits_fini(&hits);
    subs_fini(&s);
}

/* Broken when one who subscribes with two filters, or twice with one, is lost from
 * the trie by the first leave, or stays after the last. */
static void
counts_each_pair(void **state)
{
    (void)state;
    struct subs      s;
    struct subs_hits hits;
    subs_init(&s, 16);
    subs_hits_init(&hits);
    assert_int_equal(subs_remove(&s, STR("a"), &subscriber[0]), ERR_NOTFOUND);
    assert_int_equal(subs_add(&s, STR("a"), &subscriber[0]), ERR_OK);
    assert_int_equal(subs_add(&s, STR("a"), &subscriber[0]), ERR_OK);
    assert_int_equal(subs_add(&s, STR("+"), &subscriber[0]), ERR_OK);
    subs_match(&s, STR("a"), &hits);
    assert_int_equal(hit_count(&hits, &subscriber[0]), 3);
    assert_int_equal(subs_remove(&s, STR("a"), &subscriber[1]), ERR_NOTFOUND);
    assert_int_equal(subs_remove(&s, STR("a"), &subscriber[0]), ERR_OK);
    assert_int_equal(subs_remove(&s, STR("a"), &subscriber[0]), ERR_OK);
    assert_int_equal(subs_remove(&s, STR("a"), &subscriber[0]), ERR_NOTFOUND);
    subs_match(&s, STR("a"), &hits);
    assert_int_equal(hits.count, 1);
    assert_int_equal(subs_remove(&s, STR("+"), &subscriber[0]), ERR_OK);
    assert_int_equal(subs_count(&s), 0);
    subs_match(&s, STR("a"), &hits);
    assert_int_equal(hits.count, 0);
    subs_hits_fini(&hits);
    subs_fini(&s);
}

/* Broken when clients that subscribe without end, or to filters of many levels,
 * take memory without end; or when a refusal leaves something behind. */
static void
answers_at_its_limits(void **state)
{
    (void)state;
    struct subs s;
    char        text[80];
    subs_init(&s, 4);
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "a/%d", i);
        assert_int_equal(subs_add(&s, str_of(text), &subscriber[i]), ERR_OK);
    }
    assert_int_equal(subs_add(&s, STR("b"), &subscriber[4]), ERR_LIMIT);
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "a/%d", i);
        assert_int_equal(subs_remove(&s, str_of(text), &subscriber[i]), ERR_OK);
    }
    assert_int_equal(s.nodes, 0);

    memset(text, '/', sizeof text);
    struct str all = {(const uint8_t *)text, 31}; /* 32 levels: all that 4 may have */
    assert_int_equal(subs_add(&s, all, &subscriber[0]), ERR_OK);
    assert_int_equal(s.nodes, 32);
    assert_int_equal(subs_add(&s, STR("x/y"), &subscriber[1]), ERR_LIMIT);
    assert_int_equal(subs_add(&s, STR("/x"), &subscriber[1]), ERR_LIMIT);
    assert_int_equal(subs_add(&s, STR("/#"), &subscriber[1]), ERR_OK);
    assert_int_equal(s.nodes, 32);
    assert_int_equal(subs_remove(&s, all, &subscriber[0]), ERR_OK);
    assert_int_equal(s.nodes, 1);
    assert_int_equal(s.root.children, 1);
    subs_fini(&s);
}

/* Broken when the trie and filter_match() disagree about anything, at any time. */
struct pair {
    char text[40];
    int *who;
};

static void
random_name(struct prng *r, bool filter, char *text)
{
    static const char *const level[] = {"a", "b", "", "$s", "cc", "+", "+"};
    uint64_t                 n       = 1 + prng_below(r, 5);
    text[0]                          = '\0';
    for (uint64_t i = 0; i < n; i++) {
        strcat(text, i > 0 ? "/" : "");
        strcat(text, level[prng_below(r, filter ? 7 : 5)]);
    }
    if (filter && prng_below(r, 4) == 0)
        strcat(text, text[0] ? "/#" : "#");
    if (!text[0])
        strcpy(text, "/");
}

static void
compare(const struct subs *s, const struct pair *pair, uint32_t count, const char *topic)
{
    struct subs_hits hits;
    uint32_t         want = 0;
    subs_hits_init(&hits);
    subs_match(s, str_of(topic), &hits);
    for (uint32_t i = 0; i < count; i++) {
        if (!filter_match(str_of(pair[i].text), str_of(topic)))
            continue;
        want++;
        if (hit_count(&hits, pair[i].who) == 0)
            fail_msg("%s is missed on %s", pair[i].text, topic);
    }
    if (hits.count != want)
        fail_msg("%u hits, not %u, on %s", hits.count, want, topic);
    subs_hits_fini(&hits);
}

/* Broken when an index of many filters finds others than each filter by itself would. */
static void
agrees_with_filter_match(void **state)
{
    (void)state;
    struct prng        r = {20};
    struct subs        s;
    static struct pair pair[512];
    uint32_t           count = 0;
    subs_init(&s, 512);
    for (int step = 0; step < 20000; step++) {
        /* Grow and shrink in turn, so that nodes come and go at all depths. */
        bool grow = prng_below(&r, 100) < (step / 2000 % 2 ? 25u : 75u);
        if (grow && count < 512) {
            random_name(&r, true, pair[count].text);
            pair[count].who = &subscriber[prng_below(&r, 512)];
            assert_null(filter_problem(str_of(pair[count].text)));
            assert_int_equal(subs_add(&s, str_of(pair[count].text), pair[count].who), ERR_OK);
            count++;
        } else if (count > 0) {
            uint32_t i = (uint32_t)prng_below(&r, count);
            assert_int_equal(subs_remove(&s, str_of(pair[i].text), pair[i].who), ERR_OK);
            pair[i] = pair[--count];
        }
        char topic[40];
        random_name(&r, false, topic);
        compare(&s, pair, count, topic);
        assert_int_equal(subs_count(&s), count);
    }
    while (count > 0) {
        count--;
        assert_int_equal(subs_remove(&s, str_of(pair[count].text), pair[count].who), ERR_OK);
    }
    assert_int_equal(s.nodes, 0);
    assert_int_equal(s.literal.count, 0);
    assert_null(s.root.plus);
    subs_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(finds_each_kind_of_filter),
        cmocka_unit_test(counts_each_pair),
        cmocka_unit_test(answers_at_its_limits),
        cmocka_unit_test(agrees_with_filter_match),
    };
    return cmocka_run_group_tests_name("subs", test, NULL, NULL);
}
