#include "cli/cursor_file.h"

#include "base/limits.h"

#include "tests/unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    char folder[32], path[64], temp[80];
};

static void
make_place(struct place *p)
{
    strcpy(p->folder, "/tmp/hearsay-cursor.XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/c", p->folder);
    snprintf(p->temp, sizeof p->temp, "%s.hearsay-new", p->path);
}

static void
put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void
remove_place(struct place *p)
{
    unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0); /* and nothing else is left in it */
}

static void
keeps_a_cursor_between_runs(void **state)
{
    (void)state;
    /* Broken: a subscriber would begin anew. */
    struct place       p;
    struct cursor_file f;
    struct buf         cursor;
    struct stat        st;
    make_place(&p);
    buf_init(&cursor, 0);
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_NOTFOUND);
    cursor_file_close(&f);
    assert_int_equal(access(p.path, F_OK), -1); /* nothing came of it: nothing is left */

    put_file(p.temp, "of a run that was killed");
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_NOTFOUND);
    assert_int_equal(cursor_file_write(&f, "AX-_9"), ERR_OK);
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(chmod(p.path, 0640), 0);
    assert_int_equal(cursor_file_write(&f, "BY"), ERR_OK);
    cursor_file_close(&f);
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_OK);
    assert_string_equal((const char *)buf_str(&cursor).p, "BY");
    cursor_file_close(&f);
    /* mktemp(1), or a run that was killed before its first cursor. */
    put_file(p.path, "");
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_NOTFOUND);
    cursor_file_close(&f);
    assert_int_equal(access(p.path, F_OK), 0);
    remove_place(&p);
    buf_fini(&cursor);
}

static void
follows_links(void **state)
{
    (void)state;
    /* Broken: a link would turn into a file, and the file behind it grow old. */
    struct place       p;
    struct cursor_file f;
    struct buf         cursor;
    struct stat        st;
    char               link[64], beside[96];
    make_place(&p);
    buf_init(&cursor, 0);
    snprintf(link, sizeof link, "%s/link", p.folder);
    assert_int_equal(symlink("c", link), 0);
    assert_int_equal(cursor_file_open(&f, link, &cursor), ERR_BUSY);
    cursor_file_close(&f);
    put_file(p.path, "AX\n");
    assert_int_equal(cursor_file_open(&f, link, &cursor), ERR_OK);
    assert_int_equal(cursor_file_write(&f, "BY"), ERR_OK);
    cursor_file_close(&f);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_OK);
    assert_string_equal((const char *)buf_str(&cursor).p, "BY");
    cursor_file_close(&f);
    /* What lies where the new one is made is not written through. */
    snprintf(beside, sizeof beside, "%s/beside", p.folder);
    put_file(beside, "precious");
    assert_int_equal(symlink("beside", p.temp), 0);
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_OK);
    assert_int_equal(cursor_file_write(&f, "CZ"), ERR_OK);
    cursor_file_close(&f);
    assert_int_equal(stat(beside, &st), 0);
    assert_int_equal(st.st_size, 8);
    unlink(beside);
    unlink(link);
    remove_place(&p);
    buf_fini(&cursor);
}

static void
belongs_to_one_run(void **state)
{
    (void)state;
    /* Broken: two runs would take turns in moving each other's place. */
    struct place       p;
    struct cursor_file one, two;
    struct buf         cursor;
    make_place(&p);
    buf_init(&cursor, 0);
    assert_int_equal(cursor_file_open(&one, p.path, &cursor), ERR_NOTFOUND);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cursor_file_open(&two, p.path, &cursor), ERR_INVALID);
        assert_non_null(strstr(two.why, "in use by another"));
        cursor_file_close(&two);
        assert_int_equal(cursor_file_write(&one, i % 2 ? "AX" : "BY"), ERR_OK);
    }
    cursor_file_close(&one);
    assert_int_equal(cursor_file_open(&two, p.path, &cursor), ERR_OK);
    cursor_file_close(&two);
    remove_place(&p);
    buf_fini(&cursor);
}

static void
refuses_what_is_no_cursor(void **state)
{
    (void)state;
    /* Broken: somebody's file would be overwritten, or /dev/null replaced. */
    struct place       p;
    struct cursor_file f;
    struct buf         cursor;
    char               fifo[64];
    static char        big[CURSOR_BYTES_MAX + 3];
    const char        *bad[] = {"../etc/passwd\n", "two words\n", big};
    make_place(&p);
    buf_init(&cursor, 0);
    memset(big, 'A', CURSOR_BYTES_MAX + 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_file(p.path, bad[i]);
        assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_INVALID);
        assert_non_null(strstr(f.why, "is not a cursor"));
        cursor_file_close(&f);
    }
    big[CURSOR_BYTES_MAX] = '\n';
    put_file(p.path, big);
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_OK);
    cursor_file_close(&f);

    snprintf(fifo, sizeof fifo, "%s/fifo", p.folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    /* Stands for /dev/null too, which a test must not put at risk. */
    assert_int_equal(cursor_file_open(&f, fifo, &cursor), ERR_INVALID);
    assert_non_null(strstr(f.why, "not a regular file"));
    cursor_file_close(&f);
    unlink(fifo);
    assert_int_equal(cursor_file_open(&f, p.folder, &cursor), ERR_IO);
    cursor_file_close(&f);
    remove_place(&p);
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_IO);
    assert_non_null(strstr(f.why, "No such file or directory"));
    cursor_file_close(&f);
    buf_fini(&cursor);
}

static void
keeps_the_old_one_when_the_new_cannot_be_written(void **state)
{
    (void)state;
    /* Broken: a full disk would take the place that was there. */
    struct place       p;
    struct cursor_file f;
    struct buf         cursor;
    struct rlimit      was, none;
    make_place(&p);
    buf_init(&cursor, 0);
    put_file(p.path, "AX\n");
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_OK);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    none = (struct rlimit){.rlim_cur = 1, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(cursor_file_write(&f, "BY"), ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_non_null(strstr(f.why, p.path));
    assert_int_equal(access(p.temp, F_OK), -1);
    /* It is still ours. */
    struct cursor_file two;
    assert_int_equal(cursor_file_open(&two, p.path, &cursor), ERR_INVALID);
    cursor_file_close(&two);
    cursor_file_close(&f);
    assert_int_equal(cursor_file_open(&f, p.path, &cursor), ERR_OK);
    assert_string_equal((const char *)buf_str(&cursor).p, "AX");
    cursor_file_close(&f);
    remove_place(&p);
    buf_fini(&cursor);
}

/* Writes two cursors in turn until it is killed; a byte says that it has begun. */
static void
write_for_ever(const char *path, int told)
{
    static char        a[4001], b[7001];
    struct cursor_file f;
    struct buf         cursor;
    memset(a, 'A', sizeof a - 1);
    memset(b, 'B', sizeof b - 1);
    buf_init(&cursor, 0);
    enum err e = cursor_file_open(&f, path, &cursor);
    if (e != ERR_OK && e != ERR_NOTFOUND)
        _exit(1);
    for (int i = 0; cursor_file_write(&f, i % 2 ? a : b) == ERR_OK; i++)
        if (i < 40 && write(told, "", 1) != 1)
            break;
    _exit(2);
}

static void
outlives_a_kill(void **state)
{
    (void)state;
    /* Broken: a run that was killed while it wrote would leave half a cursor, none, or a lock. */
    struct place       p;
    struct cursor_file f;
    struct buf         cursor;
    make_place(&p);
    buf_init(&cursor, 0);
    for (int round = 0; round < 20; round++) {
        int  told[2], status;
        char byte;
        assert_int_equal(pipe(told), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            write_for_ever(p.path, told[1]);
        close(told[1]);
        for (int i = 0; i < round; i++)
            assert_int_equal(read(told[0], &byte, 1), 1);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        close(told[0]);

        enum err e = cursor_file_open(&f, p.path, &cursor);
        assert_true(e == ERR_OK || (e == ERR_NOTFOUND && round == 0));
        const char *is = (const char *)buf_str(&cursor).p;
        if (e == ERR_OK)
            assert_true(strspn(is, "A") == 4000 || strspn(is, "B") == 7000);
        cursor_file_close(&f);
    }
    remove_place(&p);
    buf_fini(&cursor);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_cursor_between_runs),
        cmocka_unit_test(follows_links),
        cmocka_unit_test(belongs_to_one_run),
        cmocka_unit_test(refuses_what_is_no_cursor),
        cmocka_unit_test(outlives_a_kill),
        cmocka_unit_test(keeps_the_old_one_when_the_new_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
