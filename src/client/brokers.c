#include "client/brokers.h"

#include <stdio.h>
#include <string.h>

/* The port behind the last ':'; more than one colon without brackets is a bare IPv6
 * address, which we do not guess at. */
static enum err
parse_one(struct broker_at *to, struct str s)
{
    struct str host, port = {0};
    bool       six    = s.n > 0 && s.p[0] == '[';
    uint64_t   number = BROKER_PORT_DEFAULT;

    if (six) {
        size_t end = str_index(s, ']');
        if (end == s.n)
            return ERR_INVALID;
        host = str_cut(s, 1, end);
        s    = str_cut(s, end + 1, s.n);
        if (s.n > 0 && s.p[0] != ':')
            return ERR_INVALID;
        port = str_cut(s, 1, s.n);
    } else {
        size_t colon = str_index(s, ':');
        host         = str_cut(s, 0, colon);
        port         = str_cut(s, colon + 1, s.n);
        s            = str_cut(s, colon, s.n);
    }
    if (host.n == 0 || host.n > HOST_BYTES_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] >= 0x7f || strchr("/@?#[]%\"", host.p[i]))
            return ERR_INVALID;
    if (s.n > 0 && (!str_to_u64(port, &number) || number == 0 || number > UINT16_MAX))
        return ERR_INVALID;

    to->port = (uint16_t)number;
    snprintf(to->host, sizeof to->host, "%.*s", STR_ARG(host));
    snprintf(to->text, sizeof to->text, six ? "[%s]:%u" : "%s:%u", to->host, to->port);
    return ERR_OK;
}

enum err
brokers_parse(struct brokers *b, struct str list)
{
    *b = (struct brokers){0};
    for (;;) {
        size_t comma = str_index(list, ',');
        if (b->count == BROKERS_MAX)
            return ERR_LIMIT;
        enum err e = parse_one(&b->at[b->count], str_trim(str_cut(list, 0, comma)));
        if (e != ERR_OK)
            return e;
        b->count++;
        if (comma == list.n)
            return ERR_OK;
        list = str_cut(list, comma + 1, list.n);
    }
}

const struct broker_at *
brokers_now(const struct brokers *b)
{
    return &b->at[b->now];
}

bool
brokers_failed(struct brokers *b, struct mono now)
{
    b->now = (b->now + 1) % b->count;
    if (++b->failures < b->count)
        return false;
    b->failures   = 0;
    b->pause_ms   = b->pause_ms == 0 ? PAUSE_MS_MIN : b->pause_ms * 2;
    b->pause_ms   = b->pause_ms > PAUSE_MS_MAX ? PAUSE_MS_MAX : b->pause_ms;
    b->not_before = mono_after(now, b->pause_ms);
    return true;
}

void
brokers_worked(struct brokers *b)
{
    b->failures   = 0;
    b->pause_ms   = 0;
    b->not_before = (struct mono){0};
}
