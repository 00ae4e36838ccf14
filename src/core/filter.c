#include "core/filter.h"

#include "base/limits.h"
#include "base/utf8.h"

/* Control characters of ASCII and of Latin-1 (U+0080..U+009F), the latter as UTF-8. */
static bool
has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
        if (s.p[i] == 0xc2 && i + 1 < s.n && s.p[i + 1] < 0xa0)
            return true;
    }
    return false;
}

static size_t
level_count(struct str s)
{
    size_t n = 1;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '/';
    return n;
}

const char *
topic_problem(struct str topic)
{
    if (topic.n == 0)
        return "a topic has at least one character";
    if (topic.n > TOPIC_BYTES_MAX)
        return "a topic has at most 512 bytes";
    if (!utf8_is_valid(topic))
        return "a topic is UTF-8";
    if (has_control(topic))
        return "a topic has no control characters";
    if (level_count(topic) > TOPIC_LEVELS_MAX)
        return "a topic has at most 32 levels";
    if (str_index(topic, '+') < topic.n || str_index(topic, '#') < topic.n)
        return "a topic to publish to has no '+' and no '#': these are for subscriptions";
    return NULL;
}

/* The level at the front of `rest`, which moves behind it.  *more tells whether a
 * '/' followed, and so another level, which may be empty. */
static struct str
next_level(struct str *rest, bool *more)
{
    size_t     n     = str_index(*rest, '/');
    struct str level = str_cut(*rest, 0, n);
    *more            = n < rest->n;
    *rest            = str_cut(*rest, n + 1, rest->n);
    return level;
}

static bool
is(struct str level, char c)
{
    return level.n == 1 && level.p[0] == (uint8_t)c;
}

static const char *
wildcard_problem(struct str filter)
{
    for (bool more = true; more;) {
        struct str level = next_level(&filter, &more);
        if (is(level, '#') && more)
            return "'#' may only be the last level of a filter";
        if (level.n <= 1)
            continue;
        if (str_index(level, '#') < level.n)
            return "'#' stands alone in its level of a filter";
        if (str_index(level, '+') < level.n)
            return "'+' stands alone in its level of a filter";
    }
    return NULL;
}

const char *
filter_problem(struct str filter)
{
    if (filter.n == 0)
        return "a filter has at least one character";
    if (filter.n > TOPIC_BYTES_MAX)
        return "a filter has at most 512 bytes";
    if (!utf8_is_valid(filter))
        return "a filter is UTF-8";
    if (has_control(filter))
        return "a filter has no control characters";
    if (level_count(filter) > TOPIC_LEVELS_MAX)
        return "a filter has at most 32 levels";
    return wildcard_problem(filter);
}

bool
filter_is_literal(struct str filter)
{
    return str_index(filter, '+') == filter.n && str_index(filter, '#') == filter.n;
}

bool
filter_match(struct str filter, struct str topic)
{
    if (topic.n > 0 && topic.p[0] == '$' && (filter.p[0] == '+' || filter.p[0] == '#'))
        return false;
    bool filter_more = true, topic_more = true;
    while (filter_more) {
        struct str want = next_level(&filter, &filter_more);
        if (is(want, '#'))
            return true; /* also when the topic ended with the level before */
        if (!topic_more)
            return false;
        struct str have = next_level(&topic, &topic_more);
        if (!is(want, '+') && !str_eq(want, have))
            return false;
    }
    return !topic_more;
}
