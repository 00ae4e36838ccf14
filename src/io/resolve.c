#include "io/resolve.h"

#include "base/mem.h"
#include "io/loop_private.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = 255 };

void
endpoint_text(const struct endpoint *e, char text[ENDPOINT_TEXT_BYTES])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    inet_ntop(e->family == 6 ? AF_INET6 : AF_INET, e->ip, ip, sizeof ip);
    snprintf(text, ENDPOINT_TEXT_BYTES, e->family == 6 ? "[%s]:%u" : "%s:%u", ip, e->port);
}

/* A copy with a zero at the end, without the brackets of an IPv6 address. */
static bool
copy_name(struct str host, char name[NAME_BYTES_MAX + 1])
{
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_cut(host, 1, host.n - 1);
    if (host.n == 0 || host.n > NAME_BYTES_MAX || memchr(host.p, 0, host.n))
        return false;
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    return true;
}

enum err
endpoint_parse(struct str ip, uint16_t port, struct endpoint *e)
{
    char name[NAME_BYTES_MAX + 1];
    *e = (struct endpoint){.port = port};
    if (!copy_name(ip, name))
        return ERR_INVALID;
    if (inet_pton(AF_INET, name, e->ip) == 1)
        e->family = 4;
    else if (inet_pton(AF_INET6, name, e->ip) == 1)
        e->family = 6;
    return e->family != 0 ? ERR_OK : ERR_INVALID;
}

socklen_t
endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *sa)
{
    *sa = (struct sockaddr_storage){0};
    if (e->family == 6) {
        struct sockaddr_in6 *in = (void *)sa;
        in->sin6_family         = AF_INET6;
        in->sin6_port           = htons(e->port);
        memcpy(&in->sin6_addr, e->ip, 16);
        return sizeof *in;
    }
    struct sockaddr_in *in = (void *)sa;
    in->sin_family         = AF_INET;
    in->sin_port           = htons(e->port);
    memcpy(&in->sin_addr, e->ip, 4);
    return sizeof *in;
}

void
endpoint_from_sockaddr(const struct sockaddr_storage *sa, struct endpoint *e)
{
    *e = (struct endpoint){0};
    if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;
        e->family                     = 6;
        e->port                       = ntohs(in->sin6_port);
        memcpy(e->ip, &in->sin6_addr, 16);
    } else if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        e->family                    = 4;
        e->port                      = ntohs(in->sin_port);
        memcpy(e->ip, &in->sin_addr, 4);
    }
}

bool
endpoint_is_one_host(const struct endpoint *e)
{
    static const uint8_t unspecified[sizeof e->ip];
    if (e->family == 4)
        return e->ip[0] != 0 && e->ip[0] < 224;
    return e->ip[0] != 0xff && memcmp(e->ip, unspecified, sizeof unspecified) != 0;
}

bool
endpoint_is_local(const struct endpoint *e)
{
    struct sockaddr_storage sa;
    struct endpoint         probe = *e;
    probe.port                    = 0;
    socklen_t bytes               = endpoint_to_sockaddr(&probe, &sa);
    int       fd                  = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool local = bind(fd, (struct sockaddr *)&sa, bytes) == 0;
    close(fd);
    return local;
}

static bool
is_loopback(const struct endpoint *e)
{
    static const uint8_t one[16] = {[15] = 1};
    return e->family == 4 ? e->ip[0] == 127 : memcmp(e->ip, one, 16) == 0;
}

/* Which one all brokers agree on; b.family 0 is below none. */
static bool
is_before(const struct endpoint *a, const struct endpoint *b)
{
    if (b->family == 0)
        return true;
    if (a->family != b->family)
        return a->family < b->family;
    if (is_loopback(a) != is_loopback(b))
        return is_loopback(b);
    return memcmp(a->ip, b->ip, 16) < 0;
}

static void
choose(const struct addrinfo *list, uint16_t port, struct endpoint *best)
{
    *best = (struct endpoint){.port = port};
    for (; list; list = list->ai_next) {
        struct endpoint e = {.port = port};
        if (list->ai_family == AF_INET) {
            const struct sockaddr_in *in = (const void *)list->ai_addr;
            e.family                     = 4;
            memcpy(e.ip, &in->sin_addr, 4);
        } else if (list->ai_family == AF_INET6) {
            const struct sockaddr_in6 *in = (const void *)list->ai_addr;
            e.family                      = 6;
            memcpy(e.ip, &in->sin6_addr, 16);
        } else {
            continue;
        }
        if (is_before(&e, best))
            *best = e;
    }
}

enum err
resolve_now(struct str host, uint16_t port, struct endpoint *e, const char **why)
{
    char name[NAME_BYTES_MAX + 1];
    *why = "it is not a name";
    if (endpoint_parse(host, port, e) == ERR_OK)
        return ERR_OK;
    if (!copy_name(host, name))
        return ERR_NOTFOUND;

    struct addrinfo  hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list  = NULL;
    int              error = getaddrinfo(name, NULL, &hints, &list);
    if (error != 0) {
        *why = gai_strerror(error);
        return ERR_NOTFOUND;
    }
    choose(list, port, e);
    freeaddrinfo(list);
    *why = "it has no IPv4 or IPv6 address";
    return e->family != 0 ? ERR_OK : ERR_NOTFOUND;
}

/* ---- without waiting ---- */

struct question {
    uv_getaddrinfo_t req;
    uint16_t         port;
    resolve_found   *found;
    void            *ctx;
};

static void
on_answer(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct question *q = req->data;
    struct endpoint  e = {.port = q->port};
    if (status == 0)
        choose(list, q->port, &e);
    uv_freeaddrinfo(list);
    q->found(q->ctx, &e);
    mem_free(q);
}

void
resolve_start(struct loop *l, struct str host, uint16_t port, resolve_found *found, void *ctx)
{
    char            name[NAME_BYTES_MAX + 1];
    struct endpoint e;
    if (endpoint_parse(host, port, &e) == ERR_OK || !copy_name(host, name)) {
        found(ctx, &e);
        return;
    }
    struct addrinfo  hints = {.ai_socktype = SOCK_STREAM};
    struct question *q     = mem_new(sizeof *q);
    *q                     = (struct question){.port = port, .found = found, .ctx = ctx};
    q->req.data            = q;
    if (uv_getaddrinfo(&l->uv, &q->req, on_answer, name, NULL, &hints) != 0) {
        mem_free(q);
        found(ctx, &e);
    }
}
