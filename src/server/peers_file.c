#include "server/peers_file.h"

#include <string.h>

static enum err
say(struct buf *problem, const char *file, unsigned line, const char *why)
{
    buf_sayf(problem, "%s:%u: %s", file, line, why);
    return ERR_INVALID;
}

static bool
is_host(struct str host)
{
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] >= 0x7f || strchr("\"/,[]", host.p[i]))
            return false;
    return true;
}

/* NULL when it is fine. */
static const char *
place_problem(struct str host, struct str port, struct peer_place *place)
{
    uint64_t n;
    bool     bracketed = host.n > 0 && host.p[0] == '[';
    if (bracketed && host.p[host.n - 1] != ']')
        return "the bracket of an IPv6 address is not closed";
    if (bracketed)
        host = str_cut(host, 1, host.n - 1);
    if (host.n == 0)
        return "the host is empty";
    if (host.n > HOST_BYTES_MAX)
        return "the host is longer than 255 bytes";
    if (!is_host(host))
        return "the host holds a character that no name or address has";
    if (port.n == 0)
        return "the port is missing";
    if (!str_to_u64(port, &n))
        return "the port is not a number";
    if (n < 1 || n > UINT16_MAX)
        return "the port is out of range (1 to 65535)";
    *place = (struct peer_place){host, (uint16_t)n};
    return NULL;
}

enum err
peer_place_parse(struct str text, struct peer_place *place, const char **why)
{
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0) {
        *why = "the colon between host and port is missing";
        return ERR_INVALID;
    }
    struct str host = str_cut(text, 0, colon - 1);
    if (str_index(host, ':') < host.n && host.p[0] != '[') {
        *why = "an IPv6 address needs brackets, as in [::1]:3000";
        return ERR_INVALID;
    }
    *why = place_problem(host, str_cut(text, colon, text.n), place);
    return *why ? ERR_INVALID : ERR_OK;
}

/* "host,port" and "ip;port"-like titles in the first line that says anything. */
static bool
is_header(struct str host, struct str port)
{
    return str_eq_nocase(port, STR("port")) &&
           (str_eq_nocase(host, STR("host")) || str_eq_nocase(host, STR("hostname")) ||
            str_eq_nocase(host, STR("ip")) || str_eq_nocase(host, STR("address")));
}

static enum err
add_line(struct str line, bool first, struct peer_places *places, const char **why)
{
    size_t comma = str_index(line, ',');
    if (comma == line.n) {
        *why = "the comma is missing: write host,port";
        return ERR_INVALID;
    }
    struct peer_place place;
    struct str        host = str_trim(str_cut(line, 0, comma));
    struct str        port = str_trim(str_cut(line, comma + 1, line.n));
    if (first && is_header(host, port))
        return ERR_OK;
    if (str_index(port, ',') < port.n) {
        *why = "there is more than host,port";
        return ERR_INVALID;
    }
    *why = place_problem(host, port, &place);
    if (*why)
        return ERR_INVALID;
    for (uint32_t i = 0; i < places->count; i++)
        if (places->at[i].port == place.port && str_eq_nocase(places->at[i].host, place.host))
            return ERR_OK;
    if (places->count == MEMBERS_MAX) {
        *why = "a cluster has at most 16 members";
        return ERR_INVALID;
    }
    places->at[places->count++] = place;
    return ERR_OK;
}

enum err
peers_parse(struct str text, const char *file, struct peer_places *places, struct buf *problem)
{
    bool first    = true;
    places->count = 0;
    if (str_starts(text, STR("\xef\xbb\xbf"))) /* a byte order mark, as spreadsheets write */
        text = str_cut(text, 3, text.n);
    for (unsigned number = 1; text.n > 0; number++) {
        size_t      end  = str_index(text, '\n');
        struct str  line = str_cut(text, 0, end);
        const char *why;
        text = str_cut(text, end + 1, text.n);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        line = str_trim(str_cut(line, 0, str_index(line, '#')));
        if (line.n == 0)
            continue;
        if (add_line(line, first, places, &why) != ERR_OK)
            return say(problem, file, number, why);
        first = false;
    }
    return ERR_OK;
}
