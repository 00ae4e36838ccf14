#include "io/sock.h"

#include "base/check.h"
#include "io/loop_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* Linux 6.15 and later; elsewhere it is refused, and nothing is lost but time. */
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

enum {
    BULK_CHUNK_BYTES  = 64 << 10,  /* what others cannot overtake once it was begun */
    KERNEL_BYTES_MAX  = 128 << 10, /* in the kernel, where nothing overtakes */
    KEPT_BYTES_MAX    = 16 << 10,  /* a larger empty buffer is not the sock's for longer */
    SPARE_BYTES_MAX   = 1 << 20,   /* nor kept for others beyond this */
    KEEPALIVE_SECONDS = 60,
    LINGER_MS         = 1000,
    GONE_MS           = 5000, /* between two looks at who sends no more */
};

enum sock_state {
    SOCK_DIALLING,
    SOCK_OPEN,
    SOCK_FLUSHING,
    SOCK_LINGERING,
    SOCK_DOOMED,
    SOCK_STATE_COUNT
};

#define TO(s) (1u << SOCK_##s)
static const uint8_t allowed[SOCK_STATE_COUNT] = {
    [SOCK_DIALLING]  = TO(OPEN) | TO(DOOMED),
    [SOCK_OPEN]      = TO(FLUSHING) | TO(DOOMED),
    [SOCK_FLUSHING]  = TO(LINGERING) | TO(DOOMED),
    [SOCK_LINGERING] = TO(DOOMED),
    [SOCK_DOOMED]    = 0,
};

struct sock {
    uv_tcp_t                  tcp;
    uv_connect_t              connect;
    uv_write_t                write;
    struct loop              *loop;
    const struct sock_events *events;
    void                     *ctx;
    struct list               dirty, doomed;
    struct loop_timer         timer; /* of a dial, a look, a flush, a linger */
    struct buf                out;
    struct buf                bulk;        /* frames one after another */
    struct buf                bulk_sizes;  /* uint32_t of each */
    struct buf                flight;      /* what libuv holds */
    size_t                    flight_bulk; /* how much of it is bulk */
    size_t                    counted;     /* in loop.unsent */
    enum sock_state           state;
    enum err                  why;
    bool                      writing, waited, ended, paused;
};

static void pump(struct sock *s);

static void
enter(struct sock *s, enum sock_state next)
{
    CHECK(allowed[s->state] & (1u << next));
    s->state = next;
}

static void
doom(struct sock *s, enum err why)
{
    if (s->state == SOCK_DOOMED)
        return;
    enter(s, SOCK_DOOMED);
    s->why = why;
    uv_read_stop((uv_stream_t *)&s->tcp);
    loop_timer_stop(s->loop, &s->timer);
    list_remove(&s->dirty);
    list_push_back(&s->loop->doomed, &s->doomed);
    loop_again(s->loop);
}

static void
mark_dirty(struct sock *s)
{
    if (s->dirty.next == &s->dirty && s->state != SOCK_DOOMED)
        list_push_back(&s->loop->dirty, &s->dirty);
}

void
sock_hasten(struct sock *s)
{
    if (list_is_empty(&s->dirty))
        return;
    list_remove(&s->dirty);
    list_push_back(s->loop->dirty.next, &s->dirty); /* before the first */
}

/* ---- reading ---- */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct sock *s = handle->data;
    *buf           = uv_buf_init(s->loop->read_bytes, READ_BYTES);
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct sock *s = stream->data;
    if (s->state == SOCK_DOOMED || n == 0)
        return;
    if (n > 0) {
        if (s->state == SOCK_OPEN)
            s->events->bytes(s->ctx, (struct str){(const uint8_t *)buf->base, (size_t)n});
    } else if (n == UV_EOF) {
        s->ended = true;
        if (s->state == SOCK_LINGERING)
            doom(s, ERR_OK);
        if (s->state == SOCK_OPEN) {
            loop_timer_set(s->loop, &s->timer, mono_after(loop_now(s->loop), GONE_MS));
            s->events->ended(s->ctx);
        }
    } else {
        doom(s, s->state == SOCK_LINGERING ? ERR_OK : ERR_IO);
    }
}

static void
read_start(struct sock *s)
{
    if (s->ended || s->paused)
        return;
    int error = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
    if (error != 0 && error != UV_EALREADY)
        doom(s, ERR_IO);
}

void
sock_pause(struct sock *s)
{
    s->paused = true;
    if (s->state == SOCK_OPEN)
        uv_read_stop((uv_stream_t *)&s->tcp);
}

void
sock_resume(struct sock *s)
{
    s->paused = false;
    if (s->state == SOCK_OPEN)
        read_start(s);
}

/* ---- writing ---- */

/* Memory fresh from the system has to be zeroed and mapped page by page: with large buffers
 * that costs more than to fill them.  So the last ones stay, for whoever writes next. */
static void
take_spare(struct loop *l, struct buf *b)
{
    if (l->spares > 0)
        *b = l->spare[--l->spares];
}

static void
drop_empty(struct loop *l, struct buf *b)
{
    if (b->n > 0 || b->cap <= KEPT_BYTES_MAX)
        return;
    if (b->cap > SPARE_BYTES_MAX || l->spares == SPARES_MAX) {
        buf_clear_free(b);
        return;
    }
    l->spare[l->spares++] = *b;
    buf_init(b, 0);
}

void
sock_free_spares(struct loop *l)
{
    while (l->spares > 0)
        buf_fini(&l->spare[--l->spares]);
}

struct buf *
sock_out(struct sock *s)
{
    mark_dirty(s);
    if (s->out.cap == 0)
        take_spare(s->loop, &s->out);
    return &s->out;
}

void
sock_write_bulk(struct sock *s, struct str frame)
{
    if (s->state == SOCK_DOOMED || frame.n == 0)
        return;
    uint32_t n = (uint32_t)frame.n;
    CHECK(n == frame.n);
    CHECK(buf_add(&s->bulk, frame) == ERR_OK);
    CHECK(buf_add(&s->bulk_sizes, (struct str){(const uint8_t *)&n, sizeof n}) == ERR_OK);
    mark_dirty(s);
}

size_t
sock_pending_bytes(const struct sock *s)
{
    return s->out.n + s->bulk.n + s->flight.n;
}

static void
set_counted(struct sock *s, size_t bytes)
{
    s->loop->unsent += bytes - s->counted;
    s->counted = bytes;
}

void
sock_count(struct sock *s)
{
    set_counted(s, s->out.n + (s->flight_bulk > 0 ? 0 : s->flight.n));
}

size_t
sock_unsent_bytes(const struct loop *l)
{
    return l->unsent;
}

/* Whole frames from the front of the bulk queue; their sizes are taken off. */
static struct str
take_bulk(struct sock *s)
{
    size_t bytes = 0;
    while (s->bulk_sizes.n > 0) {
        uint32_t n;
        memcpy(&n, s->bulk_sizes.p + s->bulk_sizes.start, sizeof n);
        if (bytes > 0 && bytes + n > BULK_CHUNK_BYTES)
            break;
        bytes += n;
        buf_consume(&s->bulk_sizes, sizeof n);
    }
    return str_cut(buf_str(&s->bulk), 0, bytes);
}

static void
on_written(uv_write_t *req, int status)
{
    struct sock *s = req->data;
    s->writing     = false;
    buf_reset(&s->flight);
    drop_empty(s->loop, &s->flight);
    size_t bulk    = s->flight_bulk;
    s->flight_bulk = 0;
    if (s->state == SOCK_DOOMED)
        return;
    if (status < 0) {
        doom(s, ERR_IO);
        return;
    }
    if (bulk > 0 && s->events->bulk_sent)
        s->events->bulk_sent(s->ctx, s->bulk.n);
    pump(s);
}

/* libuv keeps the rest and goes on when the socket takes more.  That may be never: thousands
 * of such rests are not to lie in buffers twice their size. */
static void
begin_flight(struct sock *s)
{
    if (s->flight.cap - s->flight.n > KEPT_BYTES_MAX)
        buf_fit(&s->flight);
    uv_buf_t buf  = uv_buf_init((char *)(s->flight.p + s->flight.start), (unsigned)s->flight.n);
    s->write.data = s;
    s->waited     = true;
    if (uv_write(&s->write, (uv_stream_t *)&s->tcp, &buf, 1, on_written) != 0) {
        doom(s, ERR_IO);
        return;
    }
    s->writing = true;
}

/* How much the socket took at once; false: it is broken. */
static bool
try_write(struct sock *s, struct str bytes, size_t *taken)
{
    enum { PIECE = 1 << 30 };
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes.p,
                               bytes.n > PIECE ? (unsigned)PIECE : (unsigned)bytes.n);
    int      n   = uv_try_write((uv_stream_t *)&s->tcp, &buf, 1);
    *taken       = n > 0 ? (size_t)n : 0;
    if (n < 0 && n != UV_EAGAIN && n != UV_ENOBUFS) {
        doom(s, ERR_IO);
        return false;
    }
    return true;
}

static void
send_urgent(struct sock *s)
{
    size_t taken;
    if (!try_write(s, buf_str(&s->out), &taken))
        return;
    buf_consume(&s->out, taken);
    if (s->out.n == 0) {
        drop_empty(s->loop, &s->out);
        return;
    }
    struct buf empty = s->flight;
    s->flight        = s->out;
    s->out           = empty;
    begin_flight(s);
}

static void
send_bulk(struct sock *s)
{
    struct str chunk = take_bulk(s);
    size_t     taken;
    if (!try_write(s, chunk, &taken))
        return;
    if (taken < chunk.n) {
        CHECK(buf_add(&s->flight, str_cut(chunk, taken, chunk.n)) == ERR_OK);
        s->flight_bulk = chunk.n;
        buf_consume(&s->bulk, chunk.n);
        begin_flight(s);
        return;
    }
    buf_consume(&s->bulk, chunk.n);
    drop_empty(s->loop, &s->bulk);
    if (s->events->bulk_sent)
        s->events->bulk_sent(s->ctx, s->bulk.n);
}

static void
on_flushed(struct sock *s)
{
    uv_os_fd_t fd;
    if (s->ended || uv_fileno((uv_handle_t *)&s->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0) {
        doom(s, ERR_OK);
        return;
    }
    enter(s, SOCK_LINGERING);
    loop_timer_set(s->loop, &s->timer, mono_after(loop_now(s->loop), LINGER_MS));
    s->paused = false;
    read_start(s);
}

static void
send_pending(struct sock *s)
{
    while (!s->writing && (s->state == SOCK_OPEN || s->state == SOCK_FLUSHING)) {
        if (s->out.n > 0) {
            send_urgent(s);
        } else if (s->bulk.n > 0) {
            send_bulk(s);
        } else if (s->state == SOCK_FLUSHING) {
            on_flushed(s);
        } else {
            if (s->waited && s->events->drained) {
                s->waited = false;
                s->events->drained(s->ctx);
            }
            return;
        }
    }
}

static void
pump(struct sock *s)
{
    send_pending(s);
    sock_count(s);
}

void
sock_tell_drained(struct sock *s)
{
    s->waited = true;
}

void
sock_flush_all(struct loop *l)
{
    /* What is written meanwhile comes behind the end, and is sent as well. */
    while (!list_is_empty(&l->dirty)) {
        struct sock *s = LIST_OF(l->dirty.next, struct sock, dirty);
        list_remove(&s->dirty);
        pump(s);
    }
}

/* ---- the end ---- */

/* Who sends no more may still listen, or be gone for good.  With nothing to read and nothing
 * to write libuv does not watch, and nothing would tell of a reset or a failed keepalive. */
static void
look(struct sock *s)
{
    struct pollfd p = {.fd = -1};
    int           e = uv_fileno((const uv_handle_t *)&s->tcp, &p.fd);
    if (e != 0 || (poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP | POLLNVAL)))
        doom(s, ERR_IO);
    else
        loop_timer_set(s->loop, &s->timer, mono_after(loop_now(s->loop), GONE_MS));
}

static void
on_time(void *ctx)
{
    struct sock *s = ctx;
    switch (s->state) {
    case SOCK_OPEN:
        look(s);
        return;
    case SOCK_DIALLING:
    case SOCK_FLUSHING:
        doom(s, ERR_TIMEOUT);
        return;
    case SOCK_LINGERING:
        doom(s, ERR_OK);
        return;
    case SOCK_DOOMED:
    case SOCK_STATE_COUNT:
        break;
    }
    CHECK(!"sock: a timer without a use");
}

void
sock_finish(struct sock *s, uint32_t flush_ms)
{
    if (s->state == SOCK_DIALLING) {
        doom(s, ERR_OK);
        return;
    }
    if (s->state != SOCK_OPEN)
        return;
    enter(s, SOCK_FLUSHING);
    uv_read_stop((uv_stream_t *)&s->tcp);
    loop_timer_set(s->loop, &s->timer, mono_after(loop_now(s->loop), flush_ms));
    mark_dirty(s);
    loop_again(s->loop);
}

void
sock_close(struct sock *s)
{
    doom(s, ERR_OK);
}

bool
sock_is_closing(const struct sock *s)
{
    return s->state >= SOCK_FLUSHING;
}

static void
on_closed(uv_handle_t *handle)
{
    struct sock *s = handle->data;
    buf_fini(&s->out);
    buf_fini(&s->bulk);
    buf_fini(&s->bulk_sizes);
    buf_fini(&s->flight);
    pool_give(&s->loop->socks, s);
}

void
sock_reap_all(struct loop *l)
{
    while (!list_is_empty(&l->doomed)) {
        struct sock *s = LIST_OF(l->doomed.next, struct sock, doomed);
        list_remove(&s->doomed);
        list_remove(&s->dirty);
        set_counted(s, 0);
        if (s->events)
            s->events->closed(s->ctx, s->why);
        uv_close((uv_handle_t *)&s->tcp, on_closed);
    }
}

/* ---- the beginning ---- */

static struct sock *
make(struct loop *l)
{
    if (l->socks.object_bytes == 0)
        pool_init(&l->socks, sizeof(struct sock), SOCKS_MAX);
    struct sock *s = pool_take(&l->socks);
    if (!s)
        return NULL;
    CHECK(uv_tcp_init(&l->uv, &s->tcp) == 0);
    s->tcp.data = s;
    s->loop     = l;
    s->timer    = (struct loop_timer){.fire = on_time, .ctx = s};
    list_init(&s->dirty);
    list_init(&s->doomed);
    buf_init(&s->out, 0);
    buf_init(&s->bulk, 0);
    buf_init(&s->bulk_sizes, 0);
    buf_init(&s->flight, 0);
    return s;
}

/* What the other side does not take yet waits here, where it is counted and overtaken, and not
 * in the kernel, which would hold megabytes for each that never reads. */
static void
limit_unsent(struct sock *s)
{
    uv_os_fd_t fd;
    int        unsent = KERNEL_BYTES_MAX;
    if (uv_fileno((uv_handle_t *)&s->tcp, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

static void
on_open(struct sock *s)
{
    enter(s, SOCK_OPEN);
    limit_unsent(s);
    uv_tcp_nodelay(&s->tcp, 1);
    uv_tcp_keepalive(&s->tcp, 1, KEEPALIVE_SECONDS);
    read_start(s);
}

struct sock *
sock_accepted(struct loop *l, int fd)
{
    struct sock *s = make(l);
    if (!s)
        return NULL;
    if (uv_tcp_open(&s->tcp, fd) != 0) {
        doom(s, ERR_IO);
        return NULL;
    }
    on_open(s);
    return s;
}

void
sock_set_ctx(struct sock *s, const struct sock_events *events, void *ctx)
{
    s->events = events;
    s->ctx    = ctx;
}

static enum err
dial_error(int status)
{
    return status == UV_ETIMEDOUT ? ERR_TIMEOUT : status == UV_ECONNREFUSED ? ERR_REFUSED : ERR_IO;
}

static void
on_connected(uv_connect_t *req, int status)
{
    struct sock *s = req->data;
    if (s->state == SOCK_DOOMED)
        return;
    if (status != 0) {
        doom(s, dial_error(status));
        return;
    }
    loop_timer_stop(s->loop, &s->timer);
    on_open(s);
    mark_dirty(s);
    if (s->state == SOCK_OPEN && s->events->opened)
        s->events->opened(s->ctx);
}

struct sock *
sock_dial(struct loop *l, const struct endpoint *to, uint32_t timeout_ms,
          const struct sock_events *events, void *ctx)
{
    struct sockaddr_storage sa;
    struct sock            *s = make(l);
    if (!s)
        return NULL;
    sock_set_ctx(s, events, ctx);
    endpoint_to_sockaddr(to, &sa);
    s->connect.data = s;
    loop_timer_set(l, &s->timer, mono_after(loop_now(l), timeout_ms));
    int error = uv_tcp_connect(&s->connect, &s->tcp, (struct sockaddr *)&sa, on_connected);
    if (error != 0)
        doom(s, dial_error(error));
    return s;
}

/* ---- the rest ---- */

void
sock_set_peer(struct sock *s, uint32_t timeout_ms)
{
    static const int linear = 1, rto_max_ms = 1000;
    uv_os_fd_t       fd;
    if (uv_fileno((uv_handle_t *)&s->tcp, &fd) != 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    setsockopt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &linear, sizeof linear);
    setsockopt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, &rto_max_ms, sizeof rto_max_ms);
}

void
sock_remote(const struct sock *s, struct endpoint *e)
{
    struct sockaddr_storage sa    = {0};
    int                     bytes = sizeof sa;
    *e                            = (struct endpoint){0};
    if (uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&sa, &bytes) == 0)
        endpoint_from_sockaddr(&sa, e);
}

void
sock_trim_all(struct loop *l)
{
    uint32_t at = 0;
    sock_free_spares(l);
    for (struct sock *s; l->socks.made > 0 && (s = pool_next(&l->socks, &at));) {
        struct buf *const all[] = {&s->out, &s->bulk, &s->bulk_sizes};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            if (all[i]->n == 0)
                buf_clear_free(all[i]);
        if (!s->writing)
            buf_clear_free(&s->flight);
    }
}
