/* config_fuzz.c - any bytes as a configuration file, HEARSAY_HOST and flags: options within
 * their bounds, or a line that says what is wrong.
 *
 * Parts of the input end with a NUL: the file, what HEARSAY_HOST holds (nothing: not set), and
 * then a flag each. */
#include "base/check.h"
#include "base/limits.h"
#include "core/filter.h"
#include "server/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { FLAGS = 8, VALUE_BYTES_MAX = (8 << 10) + 1 }; /* of a list, with its last comma */

static char *host; /* NULL: not set */

static char *
env(const char *name)
{
    return strcmp(name, "HEARSAY_HOST") == 0 ? host : NULL;
}

static struct str
next_part(struct str *rest)
{
    size_t     n    = str_index(*rest, '\0');
    struct str part = str_cut(*rest, 0, n);
    *rest           = str_cut(*rest, n + 1, rest->n);
    return part;
}

/* No longer than it is: who reads on behind it is found out. */
static char *
copy(struct str s)
{
    char *to = malloc(s.n + 1);
    CHECK(to);
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
    return to;
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
    check_text(c->bind, 0, VALUE_BYTES_MAX);
    check_text(c->data, 0, VALUE_BYTES_MAX);
    check_text(c->peers, 0, VALUE_BYTES_MAX);
    check_text(c->join, 0, VALUE_BYTES_MAX);
    check_text(c->cors, 0, VALUE_BYTES_MAX);
    CHECK(c->port > 0 && c->causal_wait >= 100);
    CHECK(c->tail_bytes <= UINT64_MAX >> 20 && c->retention_bytes <= UINT64_MAX >> 20);
    CHECK(c->given.host || strcmp(c->host, "localhost") == 0);
    CHECK(c->given.port || c->port == 3000);
    CHECK(c->topics.count <= TOPIC_RULES_MAX);
    for (uint32_t i = 0; i < c->topics.count; i++)
        CHECK(!filter_problem(c->topics.rule[i].filter));
}

static unsigned
shift_of(char unit)
{
    const char *k = "KkMmGg", *at = unit ? strchr(k, unit) : NULL;
    return at ? 10 * (1 + (unsigned)(at - k) / 2) : 0;
}

static uint64_t
ms_of(const char *unit)
{
    if (strcmp(unit, "ms") == 0)
        return 1;
    return *unit == 's' ? 1000 : *unit == 'm' ? 60000 : *unit == 'h' ? 3600000 : 86400000;
}

/* What a flag that stands alone says, read in another way. */
static void
check_flag(const struct config *c, const char *flag)
{
    unsigned long long n;
    char               unit[3] = "";
    if (sscanf(flag, "--port=%llu", &n) == 1)
        CHECK(c->port == n);
    if (sscanf(flag, "--tail-bytes=%llu%1[KkMmGg]", &n, unit) >= 1)
        CHECK(c->tail_bytes == n << shift_of(unit[0]));
    if (sscanf(flag, "--retention=%llu%2[smhd]", &n, unit) == 2)
        CHECK(c->retention == n * ms_of(unit));
    if (strncmp(flag, "--cluster=", 10) == 0)
        CHECK(strcmp(c->cluster, flag + 10) == 0);
}

/* The input's first part; the fuzzer reads no other files. */
static char *
write_file(struct str text)
{
    static char path[64];
    static int  file = -1;
    if (file < 0) {
        file = memfd_create("config", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    CHECK(ftruncate(file, 0) == 0 && pwrite(file, text.p, text.n, 0) == (ssize_t)text.n);
    return path;
}

static void
load(int argc, char **argv)
{
    struct config c;
    struct buf    problem, help;
    buf_init(&problem, 0);
    enum config_do what = config_load(&c, argc, argv, env, &problem);
    CHECK((what == CONFIG_BAD || what == CONFIG_USAGE) == (problem.n > 0));
    if (what == CONFIG_RUN || what == CONFIG_CHECK)
        check_values(&c);
    if (what == CONFIG_RUN && argc == 4)
        check_flag(&c, argv[3]);
    if (what == CONFIG_HELP) {
        buf_init(&help, 0);
        config_help(&help);
        CHECK(help.n > 0);
        buf_fini(&help);
    }
    config_free(&c);
    buf_fini(&problem);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = {data, n}, text = next_part(&rest), name = next_part(&rest);
    char      *argv[FLAGS + 3] = {"broker", "--config", write_file(text)}, *flag[FLAGS];
    int        argc = 3, flags = 0;
    host = name.n > 0 ? copy(name) : NULL;
    for (; flags < FLAGS && rest.n > 0; flags++) {
        flag[flags] = copy(next_part(&rest));
        if (strncmp(flag[flags], "--config", 8) != 0)
            argv[argc++] = flag[flags];
    }
    load(argc, argv);
    while (flags > 0)
        free(flag[--flags]);
    free(host);
    return 0;
}
