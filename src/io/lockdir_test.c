#include "io/lockdir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit.h"

static char root[64];

static int
make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/lockdir_test.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int
remove_root(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void
test_second_holder_is_refused(void **state)
{
    /* Broken if two brokers can share a folder, or a lock outlives its holder. */
    (void)state;
    char       dir[128];
    int        fd, second;
    struct buf problem;
    buf_init(&problem, 0);
    snprintf(dir, sizeof dir, "%s/a/b/c/", root);
    assert_int_equal(lockdir_take(dir, &fd, &problem), ERR_OK);
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777 & ~0750U, 0);
    assert_int_equal(lockdir_take(dir, &second, &problem), ERR_BUSY);
    assert_non_null(memmem(problem.p, problem.n, dir, strlen(dir)));
    assert_non_null(memmem(problem.p, problem.n, "--data", 6));
    assert_null(memchr(problem.p, '\n', problem.n));
    lockdir_release(fd);
    assert_int_equal(lockdir_take(dir, &fd, &problem), ERR_OK);
    lockdir_release(fd);
    buf_fini(&problem);
}

static void
test_file_in_the_way(void **state)
{
    /* Broken if a folder that cannot be made is not named, or the file is harmed. */
    (void)state;
    char       path[128], dir[160];
    int        fd;
    struct buf problem;
    buf_init(&problem, 0);
    snprintf(path, sizeof path, "%s/file", root);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    snprintf(dir, sizeof dir, "%s/data", path);
    assert_int_equal(lockdir_take(dir, &fd, &problem), ERR_IO);
    assert_non_null(memmem(problem.p, problem.n, dir, strlen(dir)));
    buf_reset(&problem);
    assert_int_equal(lockdir_take(path, &fd, &problem), ERR_IO);
    assert_non_null(memmem(problem.p, problem.n, "is a file", 9));
    assert_int_equal(access(path, F_OK), 0);
    buf_fini(&problem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_holder_is_refused),
        cmocka_unit_test(test_file_in_the_way),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
