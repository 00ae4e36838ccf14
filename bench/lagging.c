/* lagging - what do subscribers cost that are subscribed and never read, and does each still
 * get everything once it reads?
 *
 * usage: lagging HOST PORT PID SUBSCRIBERS MESSAGES BYTES SECONDS FACES
 * FACES are letters that the subscribers take in turn: p long poll, s SSE, n NDJSON, j JSON
 * socket.  All are subscribed before the first message is published and read nothing until the
 * last is acknowledged.  Then all read at once: streams what is left on their connection, long
 * polls from cursor to cursor.  Each has to get every id once, in order.  After SECONDS of
 * reading it gives up.
 *
 * Prints: seconds of publishing; highest resident KiB of PID by then, and by the end; seconds
 * of reading; bytes read; messages read; subscribers that got all; answers 503. */
#include "load/load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_BYTES     = 512 << 10,
    CURSOR_BYTES = 512,
    CARRY_BYTES  = 1024, /* what may lie across two reads: an id, a cursor */
    TOKEN_BYTES  = 48,   /* `"id":"`, the id and the quote behind it take less */
    PUBLISHERS   = 4,
    WINDOW       = 1024,
    EVENTS       = 256,
    REPORT_S     = 5,
};

enum face { FACE_POLL = 'p', FACE_SSE = 's', FACE_NDJSON = 'n', FACE_JSON = 'j' };

struct sub {
    int       fd;
    enum face face;
    uint64_t  seq;                  /* the last that came */
    char      cursor[CURSOR_BYTES]; /* POLL */
    size_t    kept;                 /* in `carry` */
    char      carry[CARRY_BYTES];
};

static const char *host, *port;
static long        messages;
static uint64_t    stream; /* of all messages: one broker, one lifetime */
static uint64_t    bytes_read, messages_read, busy_answers;
static char        in[CARRY_BYTES + IN_BYTES];

static _Noreturn void
give_up(const struct sub *s, const char *what)
{
    fprintf(stderr, "lagging: face %c behind seq %llu: %s\n", (char)s->face,
            (unsigned long long)s->seq, what);
    exit(1);
}

static void
send_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
            continue;
        }
        if (sent < 0)
            load_die("send");
        text += sent;
        n -= (size_t)sent;
    }
}

/* ---- subscribing ---- */

static void
ask(struct sub *s, const char *query, const char *accept)
{
    char request[CURSOR_BYTES + 256];
    int  n =
        snprintf(request, sizeof request,
                 "GET /topics/lag?%s HTTP/1.1\r\nHost: bench\r\nAccept: %s\r\n\r\n", query, accept);
    send_all(s->fd, request, (size_t)n);
}

static void
ask_page(struct sub *s, const char *cursor, int wait_s)
{
    char query[CURSOR_BYTES + 64];
    snprintf(query, sizeof query, "cursor=%s&limit=10000&wait=%d", cursor, wait_s);
    ask(s, query, "application/json");
}

/* Reads until `text` has come, which the broker says before anything else. */
static void
await_text(struct sub *s, const char *text, char *got, size_t room)
{
    size_t n = 0;
    got[0]   = '\0';
    while (!strstr(got, text)) {
        ssize_t r = recv(s->fd, got + n, room - 1 - n, 0);
        if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (poll(&(struct pollfd){.fd = s->fd, .events = POLLIN}, 1, 10000) == 0)
                give_up(s, "no answer for 10 s");
            continue;
        }
        if (r <= 0)
            give_up(s, "the broker closed");
        n += (size_t)r;
        got[n] = '\0';
    }
}

static void
subscribe(struct sub *s)
{
    static const char json[] =
        "{\"type\":\"subscribe\",\"topic\":\"lag\",\"lamport_timestamp\":1,\"ack\":true}\n";
    char        got[2048];
    const char *at;
    s->fd = load_connect(host, port);
    switch (s->face) {
    case FACE_POLL: /* one answer for a cursor, then it waits for the first message */
        ask_page(s, "latest", 0);
        await_text(s, "\r\n\r\n", got, sizeof got);
        at = strcasestr(got, "hearsay-cursor: ");
        if (!at || sscanf(at + 16, "%511[^\r]", s->cursor) != 1)
            give_up(s, got);
        ask_page(s, s->cursor, 60);
        return;
    case FACE_SSE:
        ask(s, "cursor=latest", "text/event-stream");
        await_text(s, "event: cursor", got, sizeof got);
        return;
    case FACE_NDJSON:
        ask(s, "cursor=latest", "application/x-ndjson");
        await_text(s, "{\"cursor\":", got, sizeof got);
        return;
    case FACE_JSON:
        send_all(s->fd, json, sizeof json - 1);
        await_text(s, "\"subscribed\"", got, sizeof got);
        return;
    }
    fprintf(stderr, "lagging: no such face: %c\n", (char)s->face);
    exit(2);
}

/* ---- publishing ---- */

struct publisher {
    int    fd;
    long   unsent, waiting;
    size_t kept;
    char   buf[64 << 10];
};

/* Acknowledged ids come in order on each socket; all of them are one run in the end. */
static void
take_acks(struct publisher *p, struct load_ids *ids)
{
    static const char ack[] = "{\"type\":\"ack\",\"id\":\"";
    ssize_t           n     = recv(p->fd, p->buf + p->kept, sizeof p->buf - p->kept, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        load_die("the broker closed");
    char *at = p->buf, *end = p->buf + p->kept + n, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        if (strncmp(at, ack, sizeof ack - 1) != 0 ||
            !load_id_add(ids, at + sizeof ack - 1, newline))
            load_die("not an acknowledgement");
        at = newline + 1;
        p->waiting--;
    }
    p->kept = (size_t)(end - at);
    memmove(p->buf, at, p->kept);
}

static int
by_seq(const void *a, const void *b)
{
    const struct load_id *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void
check_acks(struct load_ids *ids)
{
    qsort(ids->at, ids->count, sizeof *ids->at, by_seq);
    stream = ids->at[0].stream;
    for (size_t i = 0; i < ids->count; i++)
        if (ids->at[i].stream != stream || ids->at[i].seq != i + 1) {
            fprintf(stderr, "lagging: what was acknowledged is not 1 to %ld of a stream\n",
                    messages);
            exit(1);
        }
    free(ids->at);
}

static void
publish_all(long body)
{
    static struct publisher p[PUBLISHERS];
    struct load_ids         ids  = {0};
    char                   *line = malloc((size_t)body + 256);
    int n = sprintf(line, "{\"type\":\"publish\",\"topic\":\"lag\",\"message\":\"");
    memset(line + n, 'x', (size_t)body);
    n += (int)body;
    n += sprintf(line + n, "\",\"lamport_timestamp\":1,\"ack\":true}\n");
    for (int i = 0; i < PUBLISHERS; i++) {
        p[i].fd     = load_connect(host, port);
        p[i].unsent = messages / PUBLISHERS + (i < messages % PUBLISHERS);
    }
    while (ids.count < (size_t)messages) {
        struct pollfd ready[PUBLISHERS];
        for (int i = 0; i < PUBLISHERS; i++) {
            for (; p[i].unsent > 0 && p[i].waiting < WINDOW; p[i].unsent--, p[i].waiting++)
                send_all(p[i].fd, line, (size_t)n);
            ready[i] = (struct pollfd){.fd = p[i].fd, .events = POLLIN};
        }
        if (poll(ready, PUBLISHERS, 20000) == 0)
            load_die("no acknowledgement for 20 s");
        for (int i = 0; i < PUBLISHERS; i++)
            if (ready[i].revents)
                take_acks(&p[i], &ids);
    }
    for (int i = 0; i < PUBLISHERS; i++)
        close(p[i].fd);
    check_acks(&ids);
    free(line);
}

/* ---- reading ---- */

static int
begins(const char *p, const char *token)
{
    return memcmp(p, token, strlen(token)) == 0;
}

static void
take_id(struct sub *s, const char *p)
{
    char    *dash, *quote;
    uint64_t from = strtoull(p, &dash, 16);
    uint64_t seq  = *dash == '-' ? strtoull(dash + 1, &quote, 10) : 0;
    if (from != stream || seq != s->seq + 1 || *quote != '"')
        give_up(s, "what comes is not the next message");
    s->seq = seq;
    messages_read++;
}

/* An answer of a long poll ends with its cursor.  False: not all of it is there. */
static int
take_cursor(struct sub *s, const char *p, const char *end)
{
    const char *quote = memchr(p, '"', (size_t)(end - p));
    if (!quote && (size_t)(end - p) < sizeof s->cursor)
        return 0;
    if (!quote || (size_t)(quote - p) >= sizeof s->cursor)
        give_up(s, "a long cursor");
    memcpy(s->cursor, p, (size_t)(quote - p));
    s->cursor[quote - p] = '\0';
    if (s->seq < (uint64_t)messages)
        ask_page(s, s->cursor, 30);
    return 1;
}

/* Looks at all that stands behind a quote: bodies have none.  Returns where to go on when more
 * has come; TOKEN_BYTES before the end nothing begins that has to be seen at once. */
static const char *
take(struct sub *s, const char *p, const char *end)
{
    for (; (p = memchr(p, '"', (size_t)(end - p))); p++) {
        if (end - p < TOKEN_BYTES)
            return p;
        if (begins(p, "\"id\":\"")) {
            take_id(s, p + 6);
        } else if (begins(p, "\"gap\"") || begins(p, "\"error\"") ||
                   (begins(p, "\"gaps\":[") && p[8] != ']')) {
            give_up(s, "a gap, or an error");
        } else if (s->face == FACE_POLL && begins(p, "\"cursor\":\"")) {
            if (!take_cursor(s, p + 10, end))
                return p;
        } else if (s->face == FACE_POLL && begins(p, "\"too_many\"")) {
            busy_answers++;
            ask_page(s, s->cursor, 30);
        }
    }
    return end;
}

/* True: it has all. */
static int
read_some(struct sub *s)
{
    memcpy(in, s->carry, s->kept);
    ssize_t n = recv(s->fd, in + s->kept, IN_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        give_up(s, "the broker closed");
    bytes_read += (uint64_t)n;
    const char *end = in + s->kept + n, *rest = take(s, in, end);
    s->kept = (size_t)(end - rest);
    if (s->kept > CARRY_BYTES)
        give_up(s, "an endless token");
    memcpy(s->carry, rest, s->kept);
    return s->seq == (uint64_t)messages;
}

/* Returns how many got all within the time. */
static long
read_all(struct sub *sub, long count, double limit)
{
    int    ep    = epoll_create1(EPOLL_CLOEXEC);
    double begin = load_seconds(), told = begin;
    long   done = 0;
    for (long i = 0; i < count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &sub[i]};
        if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, sub[i].fd, &e) < 0)
            load_die("epoll");
    }
    while (done < count && load_seconds() - begin < limit) {
        struct epoll_event got[EVENTS];
        int                n = epoll_wait(ep, got, EVENTS, 20000);
        if (n == 0)
            load_die("nothing comes for 20 s");
        for (int i = 0; i < n; i++) {
            struct sub *s = got[i].data.ptr;
            if (!read_some(s))
                continue;
            epoll_ctl(ep, EPOLL_CTL_DEL, s->fd, NULL);
            close(s->fd);
            done++;
        }
        if (load_seconds() - told < REPORT_S)
            continue;
        told = load_seconds();
        fprintf(stderr, "  lagging: %.0f s, %.2f GB, %.1f M messages, %ld have all\n", told - begin,
                (double)bytes_read / 1e9, (double)messages_read / 1e6, done);
    }
    return done;
}

/* ---- all ---- */

/* The highest that the kernel ever saw: nothing between two looks escapes. */
static long
peak_kib(const char *pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    FILE *f = fopen(path, "r");
    while (f && kib == 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kib) != 1)
            kib = 0;
    if (!f || kib == 0)
        load_die(path);
    fclose(f);
    return kib;
}

static void
raise_files(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

int
main(int argc, char **argv)
{
    if (argc != 9) {
        fprintf(stderr, "usage: lagging HOST PORT PID SUBSCRIBERS MESSAGES BYTES SECONDS FACES\n");
        return 2;
    }
    host              = argv[1];
    port              = argv[2];
    long count        = load_number(argv[4], 1);
    messages          = load_number(argv[5], 1);
    double      limit = (double)load_number(argv[7], 1);
    struct sub *s     = calloc((size_t)count, sizeof *s);
    if (!s)
        load_die("memory");
    raise_files();
    for (long i = 0; i < count; i++) {
        s[i].face = (enum face)argv[8][(size_t)i % strlen(argv[8])];
        subscribe(&s[i]);
    }
    double begin = load_seconds();
    publish_all(load_number(argv[6], 1));
    double published = load_seconds() - begin;
    long   kib       = peak_kib(argv[3]);
    fprintf(stderr, "  lagging: published in %.1f s, resident %ld MiB\n", published, kib >> 10);
    begin     = load_seconds();
    long done = read_all(s, count, limit);
    printf("%.3f %ld %ld %.3f %llu %llu %ld %llu\n", published, kib, peak_kib(argv[3]),
           load_seconds() - begin, (unsigned long long)bytes_read,
           (unsigned long long)messages_read, done, (unsigned long long)busy_answers);
    return 0;
}
