#include "load/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_BYTES  = 8 << 20,   /* a unit of a protocol that is longer ends the run */
    OUT_BYTES = 64 << 10,  /* of a closed loop, unsent: then the socket is written first */
    OUT_MAX   = 256 << 20, /* of an open loop, unsent: then the peer is hopelessly behind */
    EVENTS    = 512,
    RING      = 1 << 12, /* times of unacknowledged messages, at first */
    PATIENCE  = 10,      /* seconds without anything until what is due counts as lost */
};
#define SECOND UINT64_C(1000000000)
#define AWAKE_NS UINT64_C(50000) /* before a message is due: a timer comes so late */

static int          ep;
static struct conn *conns;
static unsigned     conn_count, ready_count;
static char         in[IN_BYTES];

static _Noreturn void
give_up(const struct conn *c, const char *what, const char *p, size_t n)
{
    fprintf(stderr, "%s: %s connection %u: %s\n%.*s%s", program_invocation_short_name,
            c->driver->name, c->index, what, (int)(n < 500 ? n : 500), p, n > 0 ? "\n" : "");
    exit(1);
}

/* ---- bytes out and in ---- */

static void
watch(struct conn *c, bool out)
{
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    if (c->wants_out != out && epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e) < 0)
        load_die("epoll_ctl");
    c->wants_out = out;
}

static void
flush(struct conn *c)
{
    while (c->out_at < c->out_end) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_end - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0)
            give_up(c, strerror(errno), "", 0);
        c->out_at += (size_t)n;
    }
    watch(c, c->out_at < c->out_end);
}

/* True: it is ready now; the bytes behind the answer to the hello are still to be taken. */
static bool
shake(struct conn *c, const char *p, size_t *n)
{
    long used = c->driver->ready(c, p, *n);
    if (used == TAKE_REFUSED)
        give_up(c, "refused", p, *n);
    if (used == 0)
        return false;
    c->ready = true;
    ready_count++;
    if (c->driver->begin)
        c->driver->begin(c);
    *n -= (size_t)used;
    return true;
}

static void
receive(struct conn *c)
{
    if (c->carry_bytes > 0)
        memcpy(in, c->carry, c->carry_bytes);
    ssize_t got = recv(c->fd, in + c->carry_bytes, IN_BYTES - c->carry_bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        give_up(c, "the other side closed", in, c->carry_bytes);
    size_t all = c->carry_bytes + (size_t)got, n = all;
    c->load->now = c->load->last_came = load_ns();
    if (c->ready || shake(c, in, &n))
        n -= c->driver->take(c, in + all - n, n);
    if (n == IN_BYTES)
        give_up(c, "an endless answer", in, n);
    if (n > c->carry_cap) {
        c->carry_cap = n * 2;
        c->carry     = realloc(c->carry, c->carry_cap);
        if (!c->carry)
            load_die("memory");
    }
    if (n > 0)
        memcpy(c->carry, in + all - n, n);
    c->carry_bytes = n;
}

/* ---- messages ---- */

static void
put_hex(char *p, int digits, uint64_t n)
{
    while (digits-- > 0) {
        p[digits] = "0123456789abcdef"[n & 15];
        n >>= 4;
    }
}

static void
put_topic(char *p, uint64_t n)
{
    for (int i = 5; i >= 0; i--, n /= 10)
        p[i] = (char)('0' + n % 10);
}

static void
remember(struct conn *c, uint64_t due)
{
    uint32_t waiting = c->sent_next - c->sent_first;
    if (waiting == c->sent_cap) {
        uint64_t *ring = malloc((size_t)c->sent_cap * 2 * sizeof *ring);
        if (!ring)
            load_die("memory");
        for (uint32_t i = 0; i < waiting; i++)
            ring[i] = c->sent[(c->sent_first + i) & (c->sent_cap - 1)];
        free(c->sent);
        c->sent       = ring;
        c->sent_first = 0;
        c->sent_next  = waiting;
        c->sent_cap *= 2;
    }
    c->sent[c->sent_next++ & (c->sent_cap - 1)] = due;
}

static void
publish(struct conn *c, uint64_t due)
{
    struct load *l = c->load;
    driver_send(c, c->message.at, c->message.bytes);
    char *m    = c->out + c->out_end - c->message.bytes;
    char *mark = m + c->message.mark;
    mark[0]    = '@';
    put_hex(mark + 1, 16, due);
    put_hex(mark + 17, 4, c->index);
    put_hex(mark + 21, 8, c->number);
    if (c->message.topic > 0)
        put_topic(m + c->message.topic, l->published % l->topics);
    if (c->driver->number)
        c->driver->number(m, c->number);
    c->number++;
    l->published++;
    l->published_warm += due >= l->warm && due < l->end;
    if (c->driver->acks)
        remember(c, due);
}

/* A quarter of the window at a time: whole segments instead of a packet for each answer. */
static void
fill(struct conn *c)
{
    struct load *l    = c->load;
    long         many = c->driver->acks ? c->unsent : OUT_BYTES / (long)c->message.bytes + 1;
    if ((c->driver->acks && many < l->window / 4) || c->out_end - c->out_at >= OUT_BYTES)
        return;
    for (; many > 0 && (l->count == 0 || l->published < l->count); many--) {
        publish(c, l->now);
        c->unsent--;
    }
    flush(c);
}

/* ---- the phases ---- */

static void
turn(struct load *l, uint64_t until, bool filling)
{
    struct epoll_event got[EVENTS];
    struct timespec    t    = {0};
    uint64_t           now  = load_ns();
    uint64_t           wait = until > now ? until - now : 0;
    t.tv_sec                = (time_t)(wait / SECOND);
    t.tv_nsec               = (long)(wait % SECOND);
    int n                   = epoll_pwait2(ep, got, EVENTS, &t, NULL);
    l->now                  = load_ns();
    for (int i = 0; i < n; i++) {
        struct conn *c = got[i].data.ptr;
        if (got[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(c);
        flush(c);
        if (filling && c->index < l->publishers && !c->expected)
            fill(c);
    }
}

static void
open_conn(struct load *l, unsigned i, const struct driver *d, bool subscribes)
{
    struct conn       *c = &conns[i];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    char               hello[HELLO_BYTES];
    *c        = (struct conn){.driver = d, .load = l, .fd = load_connect(l->host, l->port)};
    c->index  = subscribes ? i - l->publishers : i;
    c->unsent = l->window;
    if (subscribes) {
        c->expected = calloc(l->publishers, sizeof *c->expected);
    } else {
        c->sent_cap = RING;
        c->sent     = malloc(RING * sizeof *c->sent);
        d->message(c, &c->message);
    }
    if ((!c->expected && !c->sent) || epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) < 0)
        load_die("connection");
    driver_send(c, hello, d->hello(c, hello));
    if (!d->ready) {
        c->ready = true;
        ready_count++;
    }
    flush(c);
}

/* All subscribe before anyone publishes; some at a time, since each may cost the peer work. */
static void
connect_all(struct load *l, struct roles roles)
{
    conns = calloc(l->publishers + l->subscribers, sizeof *conns);
    if (!conns)
        load_die("memory");
    for (unsigned k = 0; k < l->subscribers + l->publishers; k++) {
        bool     subscribes = k < l->subscribers;
        unsigned i          = subscribes ? l->publishers + k : k - l->subscribers;
        open_conn(l, i, subscribes ? roles.subscribe : roles.publish, subscribes);
        conn_count++;
        l->last_came = load_ns();
        while (conn_count - ready_count > 64 ||
               (k + 1 >= l->subscribers && ready_count < conn_count)) {
            turn(l, load_ns() + SECOND, false);
            if (load_ns() > l->last_came + PATIENCE * SECOND)
                load_die("a connection that is not answered");
        }
    }
}

static bool
all_full(const struct load *l)
{
    for (unsigned i = 0; i < l->publishers; i++)
        if (!conns[i].wants_out)
            return false;
    return true;
}

static void
closed_loop(struct load *l)
{
    l->now = load_ns();
    for (unsigned i = 0; i < l->publishers; i++)
        fill(&conns[i]);
    bool acks = conns[0].driver->acks;
    while (l->now < l->end && (l->count == 0 || l->published < l->count)) {
        turn(l, acks || all_full(l) ? l->end : 0, true);
        for (unsigned i = 0; !acks && i < l->publishers; i++)
            fill(&conns[i]);
    }
}

static void
open_loop(struct load *l)
{
    double   step = 1e9 / l->rate;
    uint64_t due  = l->begin;
    while (due < l->end && (l->count == 0 || l->published < l->count)) {
        l->now = load_ns();
        for (; due <= l->now && due < l->end && (l->count == 0 || l->published < l->count);
             due = l->begin + (uint64_t)((double)l->published * step)) {
            struct conn *c = &conns[l->published % l->publishers];
            if (c->out_end - c->out_at > OUT_MAX)
                give_up(c, "takes less than this rate", "", 0);
            publish(c, due);
            if (due >= l->warm)
                histogram_add(&l->late, l->now - due);
        }
        for (unsigned i = 0; i < l->publishers; i++)
            if (!conns[i].wants_out)
                flush(&conns[i]);
        turn(l, due - AWAKE_NS, false);
    }
}

static bool
all_came(const struct load *l)
{
    bool     acks   = conns[0].driver->acks;
    uint64_t wanted = l->published * l->subscribers;
    return (!acks || l->acked == l->published) && l->delivered + l->lost >= wanted;
}

static void
drain(struct load *l)
{
    l->last_came = load_ns();
    while (!all_came(l) && load_ns() < l->last_came + PATIENCE * SECOND)
        turn(l, load_ns() + SECOND / 5, false);
    if (l->delivered + l->lost < l->published * l->subscribers)
        l->lost = l->published * l->subscribers - l->delivered;
}

/* Someone measures what these connections cost, and says when it is enough. */
static void
hold(void)
{
    char c;
    printf("ready\n");
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
}

void
load_run(struct load *l, struct roles roles)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    prctl(PR_SET_TIMERSLACK, 1UL);
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (ep < 0)
        load_die("epoll");
    connect_all(l, roles);
    if (l->hold) {
        hold();
        return;
    }
    uint64_t cpu = load_cpu_ns();
    l->begin     = load_ns();
    l->warm      = l->begin + (uint64_t)(l->warm_seconds * 1e9);
    l->end       = l->warm + (uint64_t)(l->seconds * 1e9);
    if (l->rate > 0)
        open_loop(l);
    else
        closed_loop(l);
    drain(l);
    l->cpu_ns = load_cpu_ns() - cpu;
}

/* Of a core, from the first message until the last was there. */
static double
processor(const struct load *l)
{
    return (double)l->cpu_ns / (double)(load_ns() - l->begin + 1);
}

void
load_print(const struct load *l)
{
    struct {
        const char *name;
        uint64_t    n;
    } row[] = {{"published", l->published}, {"acked", l->acked}, {"delivered", l->delivered},
               {"errors", l->errors},       {"lost", l->lost},   {"repeated", l->repeated}};
    printf("{\"seconds\":%g,\"took\":%.6f", l->seconds, (double)(l->last_came - l->begin) / 1e9);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        printf(",\"%s\":%llu", row[i].name, (unsigned long long)row[i].n);
    printf(",\"published_s\":%.1f,\"acked_s\":%.1f,\"delivered_s\":%.1f,\"cpu\":%.3f",
           (double)l->published_warm / l->seconds, (double)l->acked_warm / l->seconds,
           (double)l->delivered_warm / l->seconds, processor(l));
    printf(",");
    histogram_print("ack", &l->ack);
    printf(",");
    histogram_print("delivery", &l->delivery);
    printf(",");
    histogram_print("late", &l->late);
    printf("}\n");
}
