/* config_fuzz.c - any bytes as a configuration file, HEARSAY_HOST and flags: options within
 * their bounds, or a line that says what is wrong.
 *
 * Parts of the input end with a NUL: the file, what HEARSAY_HOST holds (nothing: not set), and
 * then a flag each. */
#include "base/check.h"
#include "base/limits.h"
#include "server/config.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TEXT_MAX = 4096, FLAGS = 8 };

static char host[TEXT_MAX];

static char *
env(const char *name)
{
    return strcmp(name, "HEARSAY_HOST") == 0 && host[0] ? host : NULL;
}

static struct str
next_part(struct str *rest)
{
    size_t     n    = str_index(*rest, '\0');
    struct str part = str_cut(*rest, 0, n);
    *rest           = str_cut(*rest, n + 1, rest->n);
    return part;
}

static void
copy(char *to, struct str s)
{
    size_t n = s.n < TEXT_MAX - 1 ? s.n : TEXT_MAX - 1;
    if (n > 0)
        memcpy(to, s.p, n);
    to[n] = '\0';
}

static void
check_text(const char *text, size_t min, size_t max)
{
    CHECK(strlen(text) >= min && strlen(text) <= max);
    for (const char *at = text; *at; at++)
        CHECK((unsigned char)*at >= ' ' && *at != 0x7f);
}

static void
check_values(const struct config *c)
{
    check_text(c->host, 1, HOST_BYTES_MAX);
    check_text(c->cluster, 1, CLUSTER_BYTES_MAX);
    check_text(c->bind, 0, TEXT_MAX * FLAGS);
    check_text(c->data, 0, TEXT_MAX * FLAGS);
    check_text(c->peers, 0, TEXT_MAX * FLAGS);
    check_text(c->join, 0, TEXT_MAX * FLAGS);
    check_text(c->cors, 0, TEXT_MAX * FLAGS);
    CHECK(c->port > 0 && c->causal_wait >= 100);
    CHECK(c->tail_bytes <= UINT64_MAX >> 20 && c->retention_bytes <= UINT64_MAX >> 20);
    CHECK(c->given.host || strcmp(c->host, "localhost") == 0);
    CHECK(c->given.port || c->port == 3000);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char flag[FLAGS][TEXT_MAX], path[64];
    static int  file            = -1;
    char       *argv[FLAGS + 3] = {"broker", "--config", path};
    struct str  rest            = {data, n};
    int         argc            = 3;
    if (file < 0) {
        file = memfd_create("config", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    struct str text = next_part(&rest);
    CHECK(ftruncate(file, 0) == 0 && pwrite(file, text.p, text.n, 0) == (ssize_t)text.n);
    copy(host, next_part(&rest));
    for (int i = 0; i < FLAGS && rest.n > 0; i++) {
        copy(flag[i], next_part(&rest));
        if (strncmp(flag[i], "--config", 8) != 0) /* the fuzzer reads no other files */
            argv[argc++] = flag[i];
    }

    struct config c;
    struct buf    problem;
    buf_init(&problem, 0);
    enum config_do what = config_load(&c, argc, argv, env, &problem);
    CHECK((what == CONFIG_BAD || what == CONFIG_USAGE) == (problem.n > 0));
    if (what == CONFIG_RUN || what == CONFIG_CHECK)
        check_values(&c);
    config_free(&c);
    buf_fini(&problem);
    return 0;
}
