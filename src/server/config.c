#include "server/config.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "io/file.h"
#include "io/resolve.h"
#include "server/config_row.h"
#include "server/origin.h"

#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FILE_BYTES_MAX = 64 << 10, LIST_BYTES_MAX = 8 << 10 };

/* The first one is the one to mend. */
static void __attribute__((format(printf, 2, 3))) say(struct buf *problem, const char *format, ...)
{
    char    line[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (problem->n == 0)
        buf_sayf(problem, "%s", line);
}

struct wrong {
    char text[96];
};

static const struct config_row *
find(const char *name)
{
    for (unsigned i = 0; i < CONFIG_ROWS; i++)
        if (strcmp(row[i].name, name) == 0)
            return &row[i];
    return NULL;
}

/* "; did you mean port?", or nothing. */
static const char *
guess(const char *name, const char *before, char *to, size_t bytes)
{
    const char *all[CONFIG_ROWS];
    for (unsigned i = 0; i < CONFIG_ROWS; i++)
        all[i] = row[i].name;
    const char *near = nearest_name(name, all, CONFIG_ROWS);
    to[0]            = '\0';
    if (near)
        snprintf(to, bytes, "; did you mean %s%s?", before, near);
    return to;
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

/* Milliseconds; nothing needs no unit. */
static bool
parse_time(const char *text, uint64_t *ms)
{
    return str_to_ms(str_of(text), ms) || (str_to_u64(str_of(text), ms) && *ms == 0);
}

static bool
parse_flag(const char *text, bool *flag)
{
    *flag = strcmp(text, "yes") == 0;
    return *flag || strcmp(text, "no") == 0;
}

static bool
parse_level(struct str text, uint8_t *level)
{
    static const char *const name[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < sizeof name / sizeof *name; i++) {
        if (str_eq(text, str_of(name[i]))) {
            *level = (uint8_t)i;
            return true;
        }
    }
    return false;
}

/* "info", or "info,store=debug,http=error": a level for all, or of one part. */
static bool
parse_levels(const char *text, struct trace_levels *levels)
{
    struct str rest = str_of(text);
    memset(levels->of, TRACE_INFO, sizeof levels->of);
    do {
        size_t     end    = str_index(rest, ',');
        struct str item   = str_trim(str_cut(rest, 0, end));
        size_t     equals = str_index(item, '=');
        bool       all = equals == item.n, known = false;
        uint8_t    level;
        if (!parse_level(all ? item : str_cut(item, equals + 1, item.n), &level))
            return false;
        for (unsigned i = 0; i < TRACE_MODULES; i++) {
            if (all || str_eq(str_cut(item, 0, equals), str_of(trace_module_name[i]))) {
                levels->of[i] = level;
                known         = true;
            }
        }
        if (!known)
            return false;
        rest = str_cut(rest, end + 1, rest.n);
    } while (rest.n > 0);
    return true;
}

static bool
parse_format(const char *text, enum trace_format *format)
{
    *format = strcmp(text, "json") == 0 ? TRACE_JSON : TRACE_TEXT;
    return *format == TRACE_JSON || strcmp(text, "text") == 0;
}

static const char *
text_problem(const struct config_row *r, const char *text)
{
    struct endpoint e;
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return "it holds a control character";
    if (strcmp(r->name, "host") == 0) {
        if (strlen(text) > HOST_BYTES_MAX)
            return "it is longer than 255 bytes";
        if (*text == '\0' || strpbrk(text, "/, \"[]"))
            return "give a name or an IP address (of IPv6 without brackets)";
        if (endpoint_parse(str_of(text), 0, &e) == ERR_OK && !endpoint_is_one_host(&e))
            return "that is no address of one machine, at which others could reach this broker; to "
                   "listen at all addresses use --bind 0.0.0.0";
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

/* In the units of its kind; false: not such a value. */
static bool
parse_number(enum config_kind kind, const char *text, uint64_t *n)
{
    switch (kind) {
    case PORT:
        return str_to_u64(str_of(text), n);
    case SIZE:
        return parse_size(text, n);
    case TIME:
        return parse_time(text, n);
    case TEXT:
    case LIST:
    case LEVELS:
    case FORMAT:
    case FLAG:
        break;
    }
    return false;
}

/* NULL, or what is wrong; `why` is room for it. */
static const char *
set_number(const struct config_row *r, const char *text, uint64_t *n, struct wrong *why)
{
    static const char *const form[] = {
        [PORT] = "a port is a number",
        [SIZE] = "a size is a number of bytes, or ends in K, M or G",
        [TIME] = "a time is 0, or a number with ms, s, m, h or d",
    };
    uint64_t least, most;
    bool     has_least = parse_number(r->kind, r->least, &least);
    bool     has_most  = parse_number(r->kind, r->most, &most);
    CHECK(has_least && has_most); /* ours */
    if (!parse_number(r->kind, text, n))
        snprintf(why->text, sizeof why->text, "%s", form[r->kind]);
    else if (*n < least || *n > most)
        snprintf(why->text, sizeof why->text, "it must be from %s to %s", r->least, r->most);
    else
        return NULL;
    return why->text;
}

/* NULL, or what is wrong with the text.  `append`: another item for a list. */
static const char *
set(struct config *c, const struct config_row *r, bool append, const char *text, struct wrong *why)
{
    void       *value = (char *)c + r->value;
    const char *bad;
    uint64_t    n;
    switch (r->kind) {
    case TEXT:
    case LIST: {
        const char *wrong = text_problem(r, text);
        return wrong ? wrong : set_text(value, append && r->kind == LIST, text);
    }
    case PORT:
        bad = set_number(r, text, &n, why);
        if (!bad)
            *(uint16_t *)value = (uint16_t)n;
        return bad;
    case SIZE:
    case TIME:
        return set_number(r, text, value, why);
    case LEVELS:
        return parse_levels(text, value)
                   ? NULL
                   : "a level is error, warn, info or debug, and that of a part (core, store, io, "
                     "server, http, json, peer, others) as in info,store=debug";
    case FORMAT:
        return parse_format(text, value) ? NULL : "it is text or json";
    case FLAG:
        return parse_flag(text, value) ? NULL : "it is yes or no";
    }
    return "impossible";
}

/* One source of options; within it a list gathers, a later source begins it anew. */
struct source {
    struct config *config;
    struct buf    *problem;
    bool           seen[CONFIG_ROWS];
    struct wrong   why;
};

static const char *
take(struct source *s, const struct config_row *r, const char *text)
{
    size_t      index = (size_t)(r - row);
    const char *wrong = set(s->config, r, s->seen[index], text, &s->why);
    s->seen[index]    = true;

    *((bool *)((char *)s->config + r->given)) = true;
    return wrong;
}

/* ---- the file ---- */

/* What is left of it, for inih, which reads on behind a faulty line, and tells the first that it
 * met; of which line ours was the word, it does not tell. */
struct reading {
    struct source source; /* for our handler */
    const char   *at;
    int           line, said; /* the one that is read; the first of which something was said */
};

/* A line of the file, without what inih would take for more: it goes on with the value above where
 * a line is indented, and takes what is beyond its room for another line. */
static char *
read_line(char *to, int room, void *ctx)
{
    struct reading *r = ctx;
    if (*r->at == '\0')
        return NULL;
    size_t      whole = strcspn(r->at, "\n"), blank = strspn(r->at, " \t");
    const char *line = r->at + (blank < whole ? blank : whole);
    size_t      n    = whole - (size_t)(line - r->at);
    r->at += whole + (r->at[whole] == '\n');
    r->line++;
    if (*line == '#' || *line == ';')
        n = 0;
    if (n + 2 > (size_t)room) {
        say(r->source.problem,
            "the line is longer than %d bytes: give items of a list, as of join, a line each; "
            "what is longer, as a flag",
            room - 2);
        r->said = r->said == 0 ? r->line : r->said;
        n       = 0;
    }
    memcpy(to, line, n);
    memcpy(to + n, "\n", 2);
    return to;
}

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
    say(s->problem, "%s: %s", text, wrong);
    return 0;
}

static int
take_line(struct source *s, const char *section, const char *name, const char *value)
{
    uint32_t number;
    if (*name == '\0') {
        say(s->problem, "the name is missing: write name = value");
        return 0;
    }
    if (config_topics_is(&s->config->topics, section, &number))
        return on_topic_line(s, number, name, value);
    if (*section != '\0' && strcmp(section, "broker") != 0) {
        say(s->problem, "section [%s] is unknown; use [broker], [topic \"FILTER\"] or none",
            section);
        return 0;
    }
    const struct config_row *r = find(name);
    if (!r || strcmp(name, "config") == 0) {
        char near[64];
        say(s->problem, "unknown option '%s'%s; see hearsay broker --help", name,
            r ? "" : guess(name, "", near, sizeof near));
        return 0;
    }
    bool        twice = s->seen[r - row] && r->kind != LIST;
    const char *wrong = twice ? "it is given twice: leave one out" : take(s, r, value);
    if (wrong)
        say(s->problem, "%s: %s", name, wrong);
    return !wrong;
}

static int
on_ini_line(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *r    = ctx;
    int             fine = take_line(&r->source, section, name, value);
    if (!fine && r->said == 0)
        r->said = r->line;
    return fine;
}

static bool
load_file(struct config *c, struct buf *problem)
{
    struct buf     text, wrong; /* in a line */
    struct reading r   = {.source = {.config = c, .problem = &wrong}};
    const char    *why = "";
    if (c->config[0] == '\0')
        return true;
    buf_init(&wrong, 0);
    buf_init(&text, FILE_BYTES_MAX);
    bool is_read = file_read(c->config, &text, &why) == ERR_OK;
    if (is_read)
        why = "it is too large";
    if (!is_read || buf_add(&text, (struct str){(const uint8_t *)"", 1}) != ERR_OK) {
        say(problem, "config file '%s': %s", c->config, why);
        buf_fini(&text);
        buf_fini(&wrong);
        return false;
    }
    int line = (int)config_topics_heads(&c->topics, &text, &why);
    if (line == 0) {
        why  = "write name = value";
        r.at = (const char *)text.p + text.start;
        line = ini_parse_stream(read_line, &r, on_ini_line, &r);
        if (r.said != 0 && (line == 0 || r.said < line))
            line = r.said;
    }
    config_topics_settle(&c->topics);
    buf_fini(&text);
    if (line != 0) {
        bool     is_said = r.said == line;
        enum err e       = buf_add(&wrong, (struct str){(const uint8_t *)"", 1});
        CHECK(e == ERR_OK);
        say(problem, "config file '%s', line %d: %s", c->config, line,
            is_said ? (const char *)buf_str(&wrong).p : why);
    }
    buf_fini(&wrong);
    return line == 0;
}

/* ---- the environment ---- */

#define VARIABLE "HEARSAY_"

static bool
load_env(struct config *c, char *(*env)(const char *), bool only_config, struct buf *problem)
{
    struct source s = {.config = c, .problem = problem};
    for (unsigned i = 0; i < CONFIG_ROWS; i++) {
        char name[64] = VARIABLE;
        for (size_t k = 0, at = strlen(VARIABLE); row[i].name[k] && at < sizeof name - 1;
             k++, at++) {
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

void
config_strangers(char *const *variable, struct buf *out)
{
    size_t prefix = strlen(VARIABLE);
    for (; *variable; variable++) {
        char   name[NEAREST_WORD_MAX + 1], near[64];
        size_t n = strcspn(*variable, "=");
        if (strncmp(*variable, VARIABLE, prefix) != 0 || n - prefix >= sizeof name)
            continue;
        for (size_t i = 0; i < n - prefix; i++) {
            char b  = (*variable)[prefix + i];
            name[i] = b == '_' ? '-' : b >= 'A' && b <= 'Z' ? (char)(b - 'A' + 'a') : b;
        }
        name[n - prefix] = '\0';
        if (find(name) || *guess(name, "--", near, sizeof near) == '\0')
            continue;
        buf_sayf(out, "%s%.*s sets no option%s", out->n > 0 ? ", " : "", (int)n, *variable, near);
    }
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
    const struct config_row *r = find(name);
    if (!r) {
        char near[64];
        say(s->problem, "unknown option '%.64s'%s; see hearsay broker --help", word,
            guess(name, "--", near, sizeof near));
        return false;
    }
    const char *text = value_of(argc, argv, at);
    if (!text) {
        say(s->problem, "--%s needs a value (%s); see hearsay broker --help", r->name, r->shape);
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
    struct wrong why;
    *c = (struct config){.version = "", .argc = argc, .argv = argv, .env = env};
    for (unsigned i = 0; i < CONFIG_ROWS; i++)
        CHECK(!set(c, &row[i], false, row[i].fallback, &why));
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
    for (unsigned i = 0; i < CONFIG_ROWS; i++) {
        if (row[i].kind == TEXT || row[i].kind == LIST) {
            char **text = (char **)(void *)((char *)c + row[i].value);
            mem_free(*text);
            *text = NULL;
        }
    }
    config_topics_free(&c->topics);
}

/* ---- once more ---- */

static bool
is_same(const struct config *a, const struct config *b, const struct config_row *r)
{
    const void *x = (const char *)a + r->value, *y = (const char *)b + r->value;
    switch (r->kind) {
    case TEXT:
    case LIST:
        return strcmp(*(char *const *)x, *(char *const *)y) == 0;
    case PORT:
        return memcmp(x, y, sizeof(config_PORT)) == 0;
    case SIZE:
    case TIME:
        return memcmp(x, y, sizeof(uint64_t)) == 0;
    case LEVELS:
        return memcmp(x, y, sizeof(config_LEVELS)) == 0;
    case FORMAT:
        return memcmp(x, y, sizeof(config_FORMAT)) == 0;
    case FLAG:
        return memcmp(x, y, sizeof(config_FLAG)) == 0;
    }
    return true;
}

/* What `fresh` says of it; that gets what it was, to be freed. */
static void
take_over(struct config *c, struct config *fresh, const struct config_row *r)
{
    static const size_t bytes[] = {
        [TEXT] = sizeof(config_TEXT),     [LIST] = sizeof(config_LIST),
        [PORT] = sizeof(config_PORT),     [SIZE] = sizeof(config_SIZE),
        [LEVELS] = sizeof(config_LEVELS), [FORMAT] = sizeof(config_FORMAT),
        [TIME] = sizeof(config_TIME),     [FLAG] = sizeof(config_FLAG),
    };
    uint8_t kept[sizeof(uint64_t)];
    CHECK(bytes[r->kind] <= sizeof kept);
    char *mine = (char *)c + r->value, *its = (char *)fresh + r->value;
    memcpy(kept, mine, bytes[r->kind]);
    memcpy(mine, its, bytes[r->kind]);
    memcpy(its, kept, bytes[r->kind]);
    *((bool *)((char *)c + r->given)) = *((bool *)((char *)fresh + r->given));
}

enum err
config_reload(struct config *c, struct config *was, struct buf *later, struct buf *problem)
{
    enum config_do what = config_load(was, c->argc, c->argv, c->env, problem);
    if (what != CONFIG_RUN)
        return ERR_INVALID;
    for (unsigned i = 0; i < CONFIG_ROWS; i++) {
        if (row[i].when == AT_SIGHUP) {
            take_over(c, was, &row[i]);
        } else if (!is_same(c, was, &row[i])) {
            buf_sayf(later, "%s--%s", later->n > 0 ? ", " : "", row[i].name);
        }
    }
    struct config_topics topics = c->topics;
    c->topics                   = was->topics;
    was->topics                 = topics;
    return ERR_OK;
}
