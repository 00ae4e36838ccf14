#include "client/page.h"

#include "tests/unit.h"

#include <stdio.h>

static void
reads_a_page(void **state)
{
    (void)state;
    /* Broken: a subscriber would get other texts than were published, or lose its place. */
    struct page            p;
    struct hearsay_message m;
    const char            *why;
    page_init(&p);
    assert_int_equal(
        page_start(
            &p,
            STR("{\"messages\":[{\"id\":\"5f0c6a1b2d3e4f50-1\",\"topic\":\"a/\\u00e9\","
                "\"lamport\":8,\"origin\":\"h:1\",\"time\":\"T\",\"type\":\"text/plain\","
                "\"meta\":{\"k\\\"\":\"v\",\"n\":\"\"},\"body\":\"x\\u0000y\",\"late\":true},"
                "{\"topic\":\"b\",\"lamport\":9,\"body_base64\":\"/wA=\"}],"
                "\"cursor\":\"AX\",\"gaps\":[{\"from\":1,\"to\":1}]}"),
            &why),
        ERR_OK);
    assert_string_equal((const char *)buf_str(&p.cursor).p, "AX");
    assert_int_equal(page_gap(&p, &m), ERR_OK);
    assert_int_equal(m.json_bytes, 17);
    assert_memory_equal(m.json, "{\"from\":1,\"to\":1}", 17);
    assert_int_equal(page_gap(&p, &m), ERR_NOTFOUND);

    assert_int_equal(page_message(&p, &m, &why), ERR_OK);
    assert_string_equal(m.id, "5f0c6a1b2d3e4f50-1");
    assert_string_equal(m.topic, "a/\xc3\xa9");
    assert_string_equal(m.type, "text/plain");
    assert_int_equal(m.lamport, 8);
    assert_true(m.late);
    assert_int_equal(m.meta_count, 2);
    assert_string_equal(m.meta[0].name, "k\"");
    assert_string_equal(m.meta[0].value, "v");
    assert_string_equal(m.meta[1].value, "");
    assert_int_equal(m.body_bytes, 3);
    assert_memory_equal(m.body, "x\0y", 4);

    assert_false(page_is_empty(&p));
    assert_int_equal(page_message(&p, &m, &why), ERR_OK);
    assert_null(m.type);
    assert_int_equal(m.body_bytes, 2);
    assert_memory_equal(m.body, "\xff\0", 2);
    assert_true(page_is_empty(&p));
    assert_int_equal(page_message(&p, &m, &why), ERR_NOTFOUND);
    page_fini(&p);
}

/* What is read next: 'g', 'm', or 0 at the end. */
static int
next_of(struct page *p, struct hearsay_message *m)
{
    const char *why;
    enum err    e = page_gap(p, m);
    if (e == ERR_OK)
        return 'g';
    assert_int_equal(e, ERR_NOTFOUND);
    e = page_message(p, m, &why);
    return e == ERR_OK ? 'm' : 0;
}

static void
gaps_come_in_their_place(void **state)
{
    (void)state;
    /* Broken: a subscriber would hear that messages are gone before those that came before
     * them, or not at all. */
    static const struct {
        const char *gaps, *order;
    } row[] = {
        {"{\"at\":0,\"from\":1,\"to\":1},{\"from\":2,\"to\":2,\"at\":1},"
         "{\"from\":3,\"to\":3,\"at\":1},{\"from\":4,\"to\":4,\"at\":2}",
         "gmggmg"},
        {"{\"from\":1,\"to\":1},{\"from\":2,\"to\":2}", "ggmm"}, /* of an older broker */
        {"{\"from\":1,\"to\":1,\"at\":7},{\"from\":2,\"to\":2,\"at\":1}", "mmgg"},
        {"", "mm"},
    };
    struct page            p;
    struct hearsay_message m;
    const char            *why;
    page_init(&p);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[400], got[8] = "";
        snprintf(text, sizeof text,
                 "{\"messages\":[{\"topic\":\"a\",\"lamport\":1,\"body\":\"\"},{\"topic\":\"a\","
                 "\"lamport\":2,\"body\":\"\"}],\"cursor\":\"A\",\"gaps\":[%s]}",
                 row[i].gaps);
        assert_int_equal(page_start(&p, str_of(text), &why), ERR_OK);
        for (size_t n = 0; !page_is_empty(&p); n++) {
            got[n] = (char)next_of(&p, &m);
            assert_in_range(n, 0, 5);
        }
        assert_string_equal(got, row[i].order);
        assert_int_equal(next_of(&p, &m), 0);
    }
    /* Its place says nothing outside of the page; what a later broker adds stays. */
    const char page[] = "{\"messages\":[],\"cursor\":\"A\",\"gaps\":[{ \"stream\" :\"s\\\"\", "
                        "\"at\":0,\"from\":1,\"to\":1,\"new\":[1, 2]}]}";
    assert_int_equal(page_start(&p, str_of(page), &why), ERR_OK);
    assert_int_equal(next_of(&p, &m), 'g');
    const char want[] = "{\"stream\":\"s\\\"\",\"from\":1,\"to\":1,\"new\":[1, 2]}";
    assert_int_equal(m.json_bytes, sizeof want - 1);
    assert_memory_equal(m.json, want, sizeof want - 1);
    assert_string_equal(m.id, "s\"");
    page_fini(&p);
}

static void
refuses_what_is_no_page(void **state)
{
    (void)state;
    /* Broken: some other server on the port could make the client crash or skip messages. */
    static const char *const bad[] = {
        "",
        "[]",
        "{\"messages\":[]}",
        "{\"messages\":{},\"cursor\":\"A\"}",
        "{\"messages\":[],\"cursor\":7}",
        "{\"messages\":[],\"cursor\":\"A\"",
    };
    static const char *const bad_message[] = {
        "7",
        "{}",
        "{\"topic\":\"a\",\"body\":\"\"}",
        "{\"topic\":\"a\",\"lamport\":1}",
        "{\"topic\":\"\",\"lamport\":1,\"body\":\"\"}",
        "{\"topic\":\"a\",\"lamport\":-1,\"body\":\"\"}",
        "{\"topic\":\"a\",\"lamport\":1,\"body\":7}",
        "{\"topic\":\"a\",\"lamport\":1,\"body_base64\":\"?\"}",
        "{\"topic\":\"a\",\"lamport\":1,\"body\":\"\",\"meta\":[]}",
    };
    struct page            p;
    struct hearsay_message m;
    const char            *why;
    page_init(&p);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(page_start(&p, str_of(bad[i]), &why), ERR_PROTO);
    static const char *const bad_gap[] = {
        "7", "{}", "{\"from\":1}", "{\"from\":2,\"to\":1}", "{\"from\":\"1\",\"to\":1}",
    };
    for (size_t i = 0; i < sizeof bad_gap / sizeof *bad_gap; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"messages\":[],\"gaps\":[%s],\"cursor\":\"A\"}", bad_gap[i]);
        assert_int_equal(page_start(&p, str_of(text), &why), ERR_OK);
        assert_int_equal(page_gap(&p, &m), ERR_PROTO);
    }
    for (size_t i = 0; i < sizeof bad_message / sizeof *bad_message; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"messages\":[%s],\"cursor\":\"A\"}", bad_message[i]);
        assert_int_equal(page_start(&p, str_of(text), &why), ERR_OK);
        if (page_message(&p, &m, &why) != ERR_PROTO)
            fail_msg("taken: %s", bad_message[i]);
    }
    page_fini(&p);
}

static void
reads_receipts_and_problems(void **state)
{
    (void)state;
    /* Broken: a publisher would be told a wrong id, or not why it was refused. */
    struct hearsay_receipt r;
    struct page_problem    problem;
    struct buf             room;
    buf_init(&room, 0);
    assert_int_equal(
        page_receipt(STR("{\"id\":\"s-1\",\"lamport\":8,\"origin\":\"h:1\",\"copies\":2,"
                         "\"cursor\":\"C\",\"causal\":false}\n"),
                     &room, &r),
        ERR_OK);
    assert_string_equal(r.id, "s-1");
    assert_string_equal(r.origin, "h:1");
    assert_string_equal(r.cursor, "C");
    assert_int_equal(r.lamport, 8);
    assert_int_equal(r.copies, 2);
    assert_int_equal(r.causal, 0);
    assert_int_equal(r.json[r.json_bytes - 1], '}');
    assert_int_equal(page_receipt(STR("{\"id\":\"s-1\",\"lamport\":\"8\"}"), &room, &r), ERR_PROTO);
    assert_int_equal(page_receipt(STR("nonsense"), &room, &r), ERR_PROTO);

    assert_int_equal(page_line_status(STR("{\"id\":\"s-1\"}\n")), 201);
    assert_int_equal(page_line_status(STR("{\"id\":\"s-1\",\"status\":202}\n")), 202);
    assert_int_equal(page_line_status(STR("{\"status\":507,\"code\":\"disk_full\"}\n")), 507);
    assert_int_equal(page_line_status(STR("{\"status\":\"507\"}\n")), 0);
    assert_int_equal(page_line_status(STR("")), 0);

    page_problem(STR("{\"code\":\"bad_topic\",\"detail\":\"it is empty\",\"id\":\"s-2\"}"), &room,
                 &problem);
    assert_string_equal(problem.code, "bad_topic");
    assert_string_equal(problem.detail, "it is empty");
    assert_string_equal(problem.id, "s-2");
    page_problem(STR("<html>"), &room, &problem);
    assert_string_equal(problem.code, "");
    buf_fini(&room);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_page),
        cmocka_unit_test(gaps_come_in_their_place),
        cmocka_unit_test(refuses_what_is_no_page),
        cmocka_unit_test(reads_receipts_and_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
