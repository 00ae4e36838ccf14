/* Durations and origins: the parts of a request that have a grammar of their own. */
#include "server/front_http.h"

#include "core/batch.h"
#include "server/origin.h"

bool
http_duration_ms(struct str text, uint64_t *ms)
{
    uint64_t all;
    if (!str_to_ms(text, &all) || all > UINT64_C(100000) * 86400000)
        return false;
    *ms = all;
    return true;
}

/* Is `authority` this host (a name or a bare address) with our port? */
static bool
is_own_name(struct str authority, struct str host, struct str port)
{
    bool ip6 = str_index(host, ':') < host.n;
    if (ip6) {
        if (authority.n < 2 || authority.p[0] != '[')
            return false;
        authority = str_cut(authority, 1, authority.n);
    }
    if (!str_eq_nocase(str_cut(authority, 0, host.n), host))
        return false;
    authority = str_cut(authority, host.n, authority.n);
    if (ip6 && (authority.n == 0 || authority.p[0] != ']'))
        return false;
    authority = str_cut(authority, ip6 ? 1 : 0, authority.n);
    if (authority.n == 0)
        return str_eq(port, STR("80"));
    return authority.p[0] == ':' && str_eq(str_cut(authority, 1, authority.n), port);
}

const char *
http_origin_problem(const struct server_facts *facts, struct str origin, struct str *allowed)
{
    char address[ADDR_TEXT_BYTES];
    addr_text(&facts->self, address);
    struct str own  = str_of(address);
    size_t     port = own.n;
    while (port > 0 && own.p[port - 1] != ':')
        port--;
    struct str number = str_cut(own, port, own.n);

    struct str rest = facts->cors, one;
    *allowed        = (struct str){NULL, 0};
    while (origins_next(&rest, &one)) {
        if (str_eq(one, origin)) {
            *allowed = one;
            return NULL;
        }
    }
    if (str_starts(origin, STR("http://"))) {
        struct str       authority = str_cut(origin, 7, origin.n);
        const struct str name[]    = {facts->host, STR("localhost"), STR("127.0.0.1"), STR("::1")};
        if (str_eq(authority, own))
            return NULL;
        for (size_t i = 0; i < sizeof name / sizeof *name; i++)
            if (name[i].n > 0 && is_own_name(authority, name[i], number))
                return NULL;
    }
    return "this page may not use the broker: add its origin to the option cors";
}
