#include "load/load.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void
load_die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

static _Noreturn void
unreachable(const char *host, const char *port, const char *why)
{
    fprintf(stderr, "%s: cannot connect to %s:%s: %s; is a broker running there?\n",
            program_invocation_short_name, host, port, why);
    exit(3);
}

/* A name may stand for addresses of which some do not listen.  -1: errno says why. */
static int
connect_any(const struct addrinfo *a)
{
    for (; a; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
            return fd;
        int why = errno;
        if (fd >= 0)
            close(fd);
        errno = why;
    }
    return -1;
}

int
load_connect(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *a = NULL;
    int             one = 1;
    int             e   = getaddrinfo(host, port, &hints, &a);
    if (e != 0)
        unreachable(host, port, gai_strerror(e));
    int fd = connect_any(a);
    if (fd < 0)
        unreachable(host, port, strerror(errno));
    freeaddrinfo(a);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        load_die("fcntl");
    return fd;
}

double
load_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t
ns_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t
load_ns(void)
{
    return ns_of(CLOCK_MONOTONIC);
}

uint64_t
load_cpu_ns(void)
{
    return ns_of(CLOCK_PROCESS_CPUTIME_ID);
}

long
load_number(const char *text, long least)
{
    char *end;
    long  n = strtol(text, &end, 10);
    if (*end != '\0' || n < least) {
        fprintf(stderr, "not a number of at least %ld: %s\n", least, text);
        exit(2);
    }
    return n;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
load_id_add(struct load_ids *ids, const char *p, const char *end)
{
    struct load_id id = {0};
    if (end - p < 19 || p[16] != '-')
        return 0;
    for (int i = 0; i < 16; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return 0;
        id.stream = id.stream << 4 | (uint64_t)digit;
    }
    const char *q = p + 17;
    for (; q < end && *q >= '0' && *q <= '9'; q++)
        id.seq = id.seq * 10 + (uint64_t)(*q - '0');
    if (q == end || *q != '"')
        return 0;
    if (ids->count == ids->cap) {
        ids->cap = ids->cap > 0 ? ids->cap * 2 : 1 << 16;
        ids->at  = realloc(ids->at, ids->cap * sizeof *ids->at);
        if (!ids->at)
            load_die("ids");
    }
    ids->at[ids->count++] = id;
    return 1;
}

void
load_ids_write(const struct load_ids *ids, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(ids->at, sizeof *ids->at, ids->count, f) != ids->count || fclose(f) != 0)
        load_die(path);
}
