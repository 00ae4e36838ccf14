#include "codec/json.h"

#include "codec/json_plain.h"

#include <string.h>

enum {
    SCAN_BETWEEN, /* blanks before an object */
    SCAN_OBJECT,  /* inside one, not in a string */
    SCAN_STRING,
    SCAN_ESCAPE, /* behind a backslash */
    SCAN_SKIP,   /* bad input: to the next newline */
    SCAN_LINE,   /* bad input: a newline and blanks came */
};

/* One call: indexes are into `in`. */
struct sweep {
    struct json_scan *scan;
    struct str        in;
    size_t            at;
    size_t            begin; /* of the object, or of what was not looked at */
    const char       *why;
};

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Bad input at w->at: what follows is dropped to the next newline before a '{'. */
static enum err
refuse(struct sweep *w, const char *why)
{
    w->why   = why;
    *w->scan = (struct json_scan){.state = SCAN_SKIP};
    return ERR_PROTO;
}

static enum err
open_level(struct sweep *w, uint8_t bracket)
{
    struct json_scan *s        = w->scan;
    bool              in_array = s->depth > 0 && s->arrays >> s->depth & 1;
    bool may_begin             = s->last == ':' || (in_array && (s->last == ',' || s->last == '['));
    if (s->depth > 0 && bracket == '{' && !may_begin) {
        bool fresh = s->line; /* first on its line: the object before was never closed */
        (void)refuse(w, "an object begins inside another, where no value may stand; is a '}' or a "
                        "',' missing?");
        if (fresh)
            w->scan->state = SCAN_BETWEEN;
        return ERR_PROTO;
    }
    if (s->depth == JSON_DEPTH_MAX)
        return refuse(w, "nested too deep: at most 16 levels");
    s->depth++;
    s->arrays &= ~(1u << s->depth);
    s->arrays |= (bracket == '[' ? 1u : 0u) << s->depth;
    return ERR_OK;
}

static enum err
close_level(struct sweep *w, uint8_t bracket)
{
    struct json_scan *s = w->scan;
    if ((s->arrays >> s->depth & 1) != (bracket == ']'))
        return refuse(w, "a bracket closes what it did not open");
    s->depth--;
    return ERR_OK;
}

/* Bytes outside of strings, up to the end of the object, a string or an error. */
static enum err
sweep_object(struct sweep *w)
{
    struct json_scan *s = w->scan;
    while (w->at < w->in.n) {
        uint8_t  c = w->in.p[w->at];
        enum err e = ERR_OK;
        if (is_blank(c)) {
            s->line = s->line || c == '\n';
            w->at++;
            continue;
        }
        if (c == '"')
            s->state = SCAN_STRING;
        else if (c == '{' || c == '[')
            e = open_level(w, c);
        else if (c == '}' || c == ']')
            e = close_level(w, c);
        if (e != ERR_OK)
            return e;
        s->last = c;
        s->line = false;
        w->at++;
        if (s->depth == 0)
            return ERR_OK;
        if (c == '"')
            break;
    }
    return ERR_MORE;
}

static enum err
sweep_string(struct sweep *w)
{
    struct json_scan *s = w->scan;
    w->at               = json_plain(w->in, w->at);
    if (w->at == w->in.n)
        return ERR_MORE;
    uint8_t c = w->in.p[w->at];
    if (c < 0x20)
        return refuse(w, "a control character inside a string; is a '\"' missing? (write \\n "
                         "for a newline)");
    w->at++;
    s->state = c == '"' ? SCAN_OBJECT : SCAN_ESCAPE;
    return ERR_MORE;
}

static enum err
sweep_escape(struct sweep *w)
{
    if (w->in.p[w->at] >= 0x20)
        w->at++; /* a control is looked at again, as part of the string */
    w->scan->state = SCAN_STRING;
    return ERR_MORE;
}

/* Blanks, in good input or behind a newline in bad: an object may begin. */
static enum err
sweep_blanks(struct sweep *w)
{
    while (w->at < w->in.n && is_blank(w->in.p[w->at]))
        w->at++;
    w->begin = w->at;
    if (w->at == w->in.n)
        return ERR_MORE;
    if (w->in.p[w->at] == '{') {
        *w->scan = (struct json_scan){.state = SCAN_OBJECT};
        return ERR_MORE;
    }
    if (w->scan->state == SCAN_BETWEEN)
        return refuse(w, "expected an object, which begins with '{'; go on with one on a new line");
    w->scan->state = SCAN_SKIP;
    return ERR_MORE;
}

static enum err
sweep_bad(struct sweep *w)
{
    const uint8_t *hit = memchr(w->in.p + w->at, '\n', w->in.n - w->at);
    w->at              = hit ? (size_t)(hit - w->in.p) + 1 : w->in.n;
    w->begin           = w->at;
    if (hit)
        w->scan->state = SCAN_LINE;
    return ERR_MORE;
}

typedef enum err sweep_state(struct sweep *w);

static sweep_state *const sweep_of[] = {
    [SCAN_BETWEEN] = sweep_blanks, [SCAN_OBJECT] = sweep_object, [SCAN_STRING] = sweep_string,
    [SCAN_ESCAPE] = sweep_escape,  [SCAN_SKIP] = sweep_bad,      [SCAN_LINE] = sweep_blanks,
};

enum err
json_find(struct json_scan *s, struct str in, struct str *object, size_t *used, const char **why)
{
    struct sweep w    = {.scan = s, .in = in, .at = s->seen};
    size_t       most = w.begin + JSON_OBJECT_BYTES_MAX; /* the same however the stream is cut */
    enum err     e    = ERR_MORE;
    while (e == ERR_MORE && w.at < in.n) {
        most   = w.begin + JSON_OBJECT_BYTES_MAX;
        w.in.n = in.n > most ? most : in.n;
        if (w.at == w.in.n)
            e = refuse(&w, "the object is longer than 8 MiB");
        else
            e = sweep_of[s->state](&w);
    }
    *used = e == ERR_MORE ? w.begin : w.at;
    if (e == ERR_MORE) {
        s->seen = w.at - w.begin;
    } else if (e == ERR_OK) {
        *object = str_cut(in, w.begin, w.at);
        *s      = (struct json_scan){.state = SCAN_BETWEEN};
    } else {
        *why = w.why;
    }
    return e;
}

bool
json_scan_is_idle(const struct json_scan *s)
{
    return s->state == SCAN_BETWEEN || s->state == SCAN_SKIP || s->state == SCAN_LINE;
}
