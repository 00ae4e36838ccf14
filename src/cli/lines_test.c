#include "cli/lines.h"

#include "base/limits.h"
#include "base/mem.h"

#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
feed(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void
gives_lines_as_they_come(void **state)
{
    (void)state;
    /* Broken: lines would be joined, cut, or held back until more of them came. */
    int          fd[2];
    struct lines l;
    struct str   line;
    assert_int_equal(pipe(fd), 0);
    lines_init(&l, fd[0]);
    assert_int_equal(lines_next(&l, LINES_ONLY_WHAT_IS_THERE, &line), ERR_MORE);
    feed(fd[1], "one\n\ntwo");
    assert_int_equal(lines_next(&l, LINES_ONLY_WHAT_IS_THERE, &line), ERR_OK);
    assert_true(str_eq(line, STR("one")));
    assert_int_equal(lines_next(&l, LINES_ONLY_WHAT_IS_THERE, &line), ERR_OK);
    assert_int_equal(line.n, 0);
    assert_int_equal(lines_next(&l, LINES_ONLY_WHAT_IS_THERE, &line), ERR_MORE);
    feed(fd[1], " halves\nlast");
    close(fd[1]);
    assert_int_equal(lines_next(&l, LINES_WAIT, &line), ERR_OK);
    assert_true(str_eq(line, STR("two halves")));
    assert_int_equal(lines_next(&l, LINES_WAIT, &line), ERR_OK);
    assert_true(str_eq(line, STR("last")));
    assert_int_equal(lines_next(&l, LINES_WAIT, &line), ERR_NOTFOUND);
    lines_fini(&l);
    close(fd[0]);
}

static void
skips_a_line_that_is_too_long(void **state)
{
    (void)state;
    /* Broken: one bad line would take the good ones behind it along, or all memory. */
    char         path[] = "/tmp/hearsay-lines.XXXXXX";
    int          fd     = mkstemp(path);
    size_t       n      = BODY_BYTES_MAX + 1;
    char        *big    = mem_new(n);
    struct lines l;
    struct str   line;
    assert_true(fd >= 0);
    memset(big, 'x', n);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(write(fd, big, n - (size_t)i), n - (size_t)i);
        feed(fd, "\n");
    }
    feed(fd, "good\n");
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    lines_init(&l, fd);
    assert_int_equal(lines_next(&l, LINES_WAIT, &line), ERR_LIMIT);
    assert_int_equal(lines_next(&l, LINES_WAIT, &line), ERR_OK);
    assert_int_equal(line.n, BODY_BYTES_MAX);
    assert_int_equal(lines_next(&l, LINES_WAIT, &line), ERR_OK);
    assert_true(str_eq(line, STR("good")));
    assert_int_equal(lines_next(&l, LINES_WAIT, &line), ERR_NOTFOUND);
    lines_fini(&l);
    mem_free(big);
    close(fd);
    unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_lines_as_they_come),
        cmocka_unit_test(skips_a_line_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
