#include "server/config.h"

#include "base/limits.h"
#include "base/mem.h"
#include "io/file.h"
#include "server/origin.h"

#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { FILE_BYTES_MAX = 64 << 10, LIST_BYTES_MAX = 8 << 10, CAUSAL_WAIT_MS_MIN = 100 };

enum kind { TEXT, LIST, PORT, SIZE, LEVEL, TIME, FLAG };

struct row {
    const char *name, *fallback, *shape, *help;
    enum kind   kind;
    size_t      value, given; /* offsets in struct config */
};

static const struct row row[] = {
#define OPTION(field, kind, name, fallback, shape, help)                                           \
    {name,                                                                                         \
     fallback,                                                                                     \
     shape,                                                                                        \
     help,                                                                                         \
     kind,                                                                                         \
     offsetof(struct config, field),                                                               \
     offsetof(struct config, given.field)},
#include "server/config.def"
#undef OPTION
};
enum { ROWS = sizeof row / sizeof *row };

static void
say(struct buf *problem, const char *format, const char *a, const char *b, const char *c)
{
    char line[1024];
    if (problem->n > 0)
        return; /* the first one is the one to mend */
    snprintf(line, sizeof line, format, a, b, c);
    enum err full = buf_add(problem, str_of(line));
    (void)full;
}

static const struct row *
find(const char *name)
{
    for (unsigned i = 0; i < ROWS; i++)
        if (strcmp(row[i].name, name) == 0)
            return &row[i];
    return NULL;
}

/* ---- values ---- */

static bool
parse_size(const char *text, uint64_t *size)
{
    size_t   n     = strlen(text);
    unsigned shift = 0;
    if (n > 0) {
        const char *unit = strchr("KkMmGg", text[n - 1]);
        if (unit)
            shift = text[n - 1] == 'K' || text[n - 1] == 'k'   ? 10
                    : text[n - 1] == 'M' || text[n - 1] == 'm' ? 20
                                                               : 30;
        n -= shift > 0;
    }
    if (!str_to_u64((struct str){(const uint8_t *)text, n}, size) ||
        *size > UINT64_MAX >> 20 >> shift)
        return false;
    *size <<= shift;
    return true;
}

/* Milliseconds. */
static bool
parse_time(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t    ms;
    } unit[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t n = strspn(text, "0123456789");
    if (!str_to_u64((struct str){(const uint8_t *)text, n}, ms))
        return false;
    if (*ms == 0 && text[n] == '\0')
        return true;
    for (unsigned i = 0; i < sizeof unit / sizeof *unit; i++) {
        if (strcmp(text + n, unit[i].unit) != 0)
            continue;
        *ms *= unit[i].ms;
        return *ms / unit[i].ms <= UINT32_MAX;
    }
    return false;
}

static bool
parse_flag(const char *text, bool *flag)
{
    *flag = strcmp(text, "yes") == 0;
    return *flag || strcmp(text, "no") == 0;
}

static bool
parse_level(const char *text, enum trace_level *level)
{
    static const char *const name[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < sizeof name / sizeof *name; i++) {
        if (strcmp(text, name[i]) == 0) {
            *level = (enum trace_level)i;
            return true;
        }
    }
    return false;
}

static const char *
text_problem(const struct row *r, const char *text)
{
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return "it holds a control character";
    if (strcmp(r->name, "host") == 0) {
        if (strlen(text) > HOST_BYTES_MAX)
            return "it is longer than 255 bytes";
        if (*text == '\0' || strpbrk(text, "/, \"[]"))
            return "give a name or an IP address (of IPv6 without brackets)";
    }
    if (strcmp(r->name, "cluster") == 0 && (*text == '\0' || strlen(text) > CLUSTER_BYTES_MAX))
        return "it must have 1 to 64 bytes";
    if (strcmp(r->name, "cors") == 0)
        return origins_problem(str_of(text));
    return NULL;
}

static const char *
set_text(char **value, bool append, const char *text)
{
    size_t old = append && *value ? strlen(*value) : 0, n = strlen(text);
    if (old + n > LIST_BYTES_MAX)
        return "it is too long";
    char *joined = mem_new(old + n + 2);
    if (old > 0) {
        memcpy(joined, *value, old);
        joined[old++] = ',';
    }
    memcpy(joined + old, text, n + 1);
    mem_free(*value);
    *value = joined;
    return NULL;
}

static const char *
set_time(const struct row *r, const char *text, uint64_t *value)
{
    if (!parse_time(text, value))
        return "a time is 0, or a number with ms, s, m, h or d";
    if (strcmp(r->name, "causal-wait") == 0 && *value < CAUSAL_WAIT_MS_MIN)
        return "it must be 100ms or more: members tell each other within 50ms what they have";
    return NULL;
}

/* NULL, or what is wrong with the text.  `append`: another item for a list. */
static const char *
set(struct config *c, const struct row *r, bool append, const char *text)
{
    void    *value = (char *)c + r->value;
    uint64_t n;
    switch (r->kind) {
    case TEXT:
    case LIST: {
        const char *wrong = text_problem(r, text);
        return wrong ? wrong : set_text(value, append && r->kind == LIST, text);
    }
    case PORT:
        if (!str_to_u64(str_of(text), &n) || n < 1 || n > UINT16_MAX)
            return "a port is a number from 1 to 65535";
        *(uint16_t *)value = (uint16_t)n;
        return NULL;
    case SIZE:
        return parse_size(text, value) ? NULL : "a size is a number of bytes, or ends in K, M or G";
    case LEVEL:
        return parse_level(text, value) ? NULL : "a level is error, warn, info or debug";
    case TIME:
        return set_time(r, text, value);
    case FLAG:
        return parse_flag(text, value) ? NULL : "it is yes or no";
    }
    return "impossible";
}

/* One source of options; within it a list gathers, a later source begins it anew. */
struct source {
    struct config *config;
    struct buf    *problem;
    const char    *path; /* of the file */
    bool           seen[ROWS];
};

static const char *
take(struct source *s, const struct row *r, const char *text)
{
    size_t      index = (size_t)(r - row);
    const char *wrong = set(s->config, r, s->seen[index], text);
    s->seen[index]    = true;

    *((bool *)((char *)s->config + r->given)) = true;
    return wrong;
}

/* ---- the file ---- */

static int
on_topic_line(struct source *s, uint32_t number, const char *name, const char *value)
{
    char        text[TOPIC_BYTES_MAX + 32];
    struct str  filter = s->config->topics.rule[number].filter;
    const char *wrong  = config_topics_line(&s->config->topics, number, name, value);
    if (!wrong)
        return 1;
    snprintf(text, sizeof text, "[topic \"%.*s\"], %.16s", (int)filter.n, (const char *)filter.p,
             name);
    say(s->problem, "config file '%s': %s: %s", s->path, text, wrong);
    return 0;
}

static int
on_ini_line(void *ctx, const char *section, const char *name, const char *value)
{
    struct source *s = ctx;
    uint32_t       number;
    if (config_topics_is(&s->config->topics, section, &number))
        return on_topic_line(s, number, name, value);
    if (*section != '\0' && strcmp(section, "broker") != 0) {
        say(s->problem,
            "config file '%s': section [%s] is unknown; use [broker], [topic \"FILTER\"] or none%s",
            s->path, section, "");
        return 0;
    }
    const struct row *r = find(name);
    if (!r || strcmp(name, "config") == 0) {
        say(s->problem, "config file '%s': unknown option '%s'; see hearsay broker --help%s",
            s->path, name, "");
        return 0;
    }
    const char *wrong = take(s, r, value);
    if (wrong)
        say(s->problem, "config file '%s': %s: %s", s->path, name, wrong);
    return !wrong;
}

static bool
load_file(struct config *c, struct buf *problem)
{
    struct source s = {.config = c, .problem = problem, .path = c->config};
    struct buf    text;
    const char   *why = "";
    if (c->config[0] == '\0')
        return true;
    buf_init(&text, FILE_BYTES_MAX);
    if (file_read(c->config, &text, &why) != ERR_OK ||
        buf_add(&text, (struct str){(const uint8_t *)"", 1}) != ERR_OK) {
        say(problem, "config file '%s': %s%s", c->config, why, "");
        buf_fini(&text);
        return false;
    }
    int line = (int)config_topics_heads(&c->topics, &text, &why);
    if (line == 0) {
        why  = "write name = value";
        line = ini_parse_string((const char *)text.p + text.start, on_ini_line, &s);
    }
    config_topics_settle(&c->topics);
    buf_fini(&text);
    if (line != 0 && problem->n == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", line);
        say(problem, "config file '%s', line %s: %s", c->config, number, why);
    }
    return line == 0 && problem->n == 0;
}

/* ---- the environment ---- */

static bool
load_env(struct config *c, char *(*env)(const char *), bool only_config, struct buf *problem)
{
    struct source s = {.config = c, .problem = problem};
    for (unsigned i = 0; i < ROWS; i++) {
        char name[64] = "HEARSAY_";
        for (size_t k = 0, at = 8; row[i].name[k] && at < sizeof name - 1; k++, at++) {
            char b   = row[i].name[k];
            name[at] = b == '-' ? '_' : (char)(b - 'a' + 'A');
        }
        bool        is_config = strcmp(row[i].name, "config") == 0;
        const char *text      = is_config == only_config ? env(name) : NULL;
        const char *wrong     = text ? take(&s, &row[i], text) : NULL;
        if (wrong) {
            say(problem, "%s '%s': %s", name, text, wrong);
            return false;
        }
    }
    return true;
}

/* ---- flags ---- */

/* The value of argv[*at]: behind '=' or the next word, which is skipped then. */
static const char *
value_of(int argc, char *const *argv, int *at)
{
    const char *equals = strchr(argv[*at], '=');
    if (equals)
        return equals + 1;
    return *at + 1 < argc ? argv[++*at] : NULL;
}

static bool
load_flag(struct source *s, int argc, char *const *argv, int *at, bool only_config)
{
    const char *word     = argv[*at];
    char        name[64] = "";
    if (strncmp(word, "--", 2) == 0)
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const struct row *r = find(name);
    if (!r) {
        say(s->problem, "unknown option '%.64s'%s; see hearsay broker --help%s", word, "", "");
        return false;
    }
    const char *text = value_of(argc, argv, at);
    if (!text) {
        say(s->problem, "--%s needs a value (%s); see hearsay broker --help%s", r->name, r->shape,
            "");
        return false;
    }
    if ((strcmp(r->name, "config") == 0) != only_config)
        return true;
    const char *wrong = take(s, r, text);
    if (wrong)
        say(s->problem, "--%s '%.200s': %s", r->name, text, wrong);
    return !wrong;
}

static enum config_do
load_flags(struct config *c, int argc, char *const *argv, bool only_config, struct buf *problem)
{
    struct source  s    = {.config = c, .problem = problem};
    enum config_do what = CONFIG_RUN;
    for (int at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
            return CONFIG_HELP;
        if (strcmp(argv[at], "--version") == 0)
            return CONFIG_VERSION;
        if (strcmp(argv[at], "--check-config") == 0)
            what = CONFIG_CHECK;
        else if (!load_flag(&s, argc, argv, &at, only_config))
            return CONFIG_USAGE;
    }
    return what;
}

/* ---- all of it ---- */

enum config_do
config_load(struct config *c, int argc, char *const *argv, char *(*env)(const char *),
            struct buf *problem)
{
    *c = (struct config){.version = ""};
    for (unsigned i = 0; i < ROWS; i++)
        set(c, &row[i], false, row[i].fallback);
    /* First which file: it ranks below what names it. */
    if (!load_env(c, env, true, problem))
        return CONFIG_USAGE;
    enum config_do what = load_flags(c, argc, argv, true, problem);
    if (what != CONFIG_RUN && what != CONFIG_CHECK)
        return what;
    if (!load_file(c, problem))
        return CONFIG_BAD;
    if (!load_env(c, env, false, problem))
        return CONFIG_USAGE;
    return load_flags(c, argc, argv, false, problem);
}

void
config_free(struct config *c)
{
    for (unsigned i = 0; i < ROWS; i++) {
        if (row[i].kind == TEXT || row[i].kind == LIST) {
            char **text = (char **)(void *)((char *)c + row[i].value);
            mem_free(*text);
            *text = NULL;
        }
    }
    config_topics_free(&c->topics);
}

static void
help_line(struct buf *out, const char *name, const char *shape, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, "--%s %s", name, shape);
    enum err full = buf_addf(out, "  %-24s %s", left, help);
    (void)full;
}

void
config_help(struct buf *out)
{
    enum err full =
        buf_add(out, STR("usage: hearsay broker [OPTION...]\n\n"
                         "Runs a broker: clients and other brokers share its port.\n\n"));
    for (unsigned i = 0; i < ROWS; i++) {
        help_line(out, row[i].name, row[i].shape, row[i].help);
        full = row[i].fallback[0] != '\0' ? buf_addf(out, " (%s)\n", row[i].fallback)
                                          : buf_add(out, STR("\n"));
    }
    help_line(out, "check-config", "", "check the options and the peers file, then exit\n");
    help_line(out, "help, --version", "", "this text; the version\n");
    full =
        buf_add(out, STR("\nEach option is also HEARSAY_<NAME> in the environment (HEARSAY_PORT) "
                         "and a line\nof the file (port = 3000); a flag wins over the "
                         "environment, that over the file.\n"
                         "SIGTERM and SIGINT say goodbye and stop; SIGHUP reads the peers file "
                         "again.\n"
                         "exit codes: 0 ok, 1 error, 2 wrong use\n"));
    (void)full;
}
