#include "io/sock.h"

#include "base/mem.h"
#include "io/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit.h"

/* One side of a connection and what came to it. */
struct side {
    struct sock *sock; /* NULL: closed */
    struct buf   in;
    int          opened, ended, drained, closed;
    enum err     why;
    size_t       bulk_waiting;
    int          came; /* its last bytes, as a count of all such */
    bool         echo;
    const char  *reply; /* sent, then finished, when bytes come */
};

static struct {
    struct loop     *loop;
    struct listener *listener;
    struct endpoint  at;
    struct side      side[8]; /* of accepted ones */
    int              accepted, came;
    bool             echo;
    const char      *reply;
} lab;

static void
on_opened(void *ctx)
{
    struct side *s = ctx;
    s->opened++;
}

static void
on_bytes(void *ctx, struct str bytes)
{
    struct side *s = ctx;
    assert_int_equal(s->closed, 0);
    s->came = ++lab.came;
    assert_int_equal(buf_add(&s->in, bytes), ERR_OK);
    if (s->echo)
        assert_int_equal(buf_add(sock_out(s->sock), bytes), ERR_OK);
    if (s->reply) {
        assert_int_equal(buf_add(sock_out(s->sock), str_of(s->reply)), ERR_OK);
        sock_finish(s->sock, 2000);
    }
}

static void
on_ended(void *ctx)
{
    struct side *s = ctx;
    s->ended++;
}

static void
on_drained(void *ctx)
{
    struct side *s = ctx;
    s->drained++;
}

static void
on_bulk_sent(void *ctx, size_t bytes_waiting)
{
    struct side *s  = ctx;
    s->bulk_waiting = bytes_waiting;
}

static void
on_closed(void *ctx, enum err why)
{
    struct side *s = ctx;
    s->closed++;
    s->why  = why;
    s->sock = NULL;
}

static const struct sock_events events = {on_opened,  on_bytes,     on_ended,
                                          on_drained, on_bulk_sent, on_closed};

static void
on_accepted(void *ctx, struct sock *sock)
{
    (void)ctx;
    struct side *s = &lab.side[lab.accepted++ % 8];
    *s             = (struct side){.sock = sock, .echo = lab.echo, .reply = lab.reply};
    buf_init(&s->in, 0);
    sock_set_ctx(sock, &events, s);
}

static int
begin_with(uint32_t socks_max)
{
    struct buf problem;
    memset(&lab, 0, sizeof lab);
    lab.loop = loop_new();
    buf_init(&problem, 0);
    struct listener_config config = {.loop      = lab.loop,
                                     .at        = {.family = 4, .ip = {127, 0, 0, 1}},
                                     .socks_max = socks_max,
                                     .accepted  = on_accepted};
    enum err               e      = listener_open(&lab.listener, &config, &problem);
    buf_fini(&problem);
    if (e != ERR_OK)
        return -1;
    listener_at(lab.listener, &lab.at);
    return 0;
}

static int
begin(void **state)
{
    (void)state;
    return begin_with(100);
}

static void
nothing(void *ctx)
{
    (void)ctx;
}

/* A turn that waits a millisecond at most. */
static void
turn(void)
{
    struct loop_timer timer = {.fire = nothing};
    loop_timer_set(lab.loop, &timer, mono_after(loop_now(lab.loop), 1));
    loop_step(lab.loop);
    loop_timer_stop(lab.loop, &timer);
}

static int
end(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        if (lab.side[i].sock)
            sock_close(lab.side[i].sock);
    }
    turn();
    listener_close(lab.listener);
    loop_free(lab.loop);
    for (int i = 0; i < 8; i++)
        buf_fini(&lab.side[i].in);
    return 0;
}

/* A client without a loop. */
static int
raw_client(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(lab.at.port)};
    sa.sin_addr.s_addr    = htonl(INADDR_LOOPBACK);
    int fd                = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static void
side_init(struct side *s)
{
    *s = (struct side){0};
    buf_init(&s->in, 0);
    s->sock = sock_dial(lab.loop, &lab.at, 2000, &events, s);
    assert_non_null(s->sock);
}

/* Nothing may take longer: a test that hangs must say where. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        struct mono until = mono_after(mono_now(), 10000);                                         \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            assert_true(mono_now().ms < until.ms);                                                 \
        }                                                                                          \
    } while (0)

static void
close_side(struct side *s)
{
    if (s->sock)
        sock_close(s->sock);
    UNTIL(!s->sock);
    buf_fini(&s->in);
}

static void
test_echo_of_tiny_writes(void **state)
{
    /* Broken if bytes are lost, doubled or change places between two sockets. */
    (void)state;
    enum { N = 500 };
    struct side client;
    lab.echo = true;
    side_init(&client);
    for (int i = 0; i < N; i++) { /* the first ones before it is connected */
        uint8_t b = (uint8_t)i;
        assert_int_equal(buf_add(sock_out(client.sock), (struct str){&b, 1}), ERR_OK);
        turn();
    }
    UNTIL(client.in.n >= N);
    assert_int_equal(client.in.n, N);
    assert_int_equal(client.opened, 1);
    for (int i = 0; i < N; i++)
        assert_int_equal(client.in.p[client.in.start + (size_t)i], (uint8_t)i);
    close_side(&client);
    assert_int_equal(client.closed, 1);
    UNTIL(lab.side[0].ended == 1);
}

static void
test_pause_holds_the_writer_back(void **state)
{
    /* Broken if a paused socket keeps reading, or reads nothing after it was resumed. */
    (void)state;
    enum { BYTES = 16 << 20 };
    struct side client;
    side_init(&client);
    UNTIL(lab.accepted == 1 && client.opened);
    sock_pause(lab.side[0].sock);
    uint8_t *room;
    assert_int_equal(buf_room(sock_out(client.sock), BYTES, &room), ERR_OK);
    memset(room, 'x', BYTES);
    buf_grew(sock_out(client.sock), BYTES);
    for (int i = 0; i < 100; i++) {
        turn();
    }
    assert_int_equal(lab.side[0].in.n, 0);
    assert_true(sock_pending_bytes(client.sock) > 0);
    assert_int_equal(client.drained, 0);
    sock_resume(lab.side[0].sock);
    UNTIL(lab.side[0].in.n == BYTES);
    UNTIL(client.drained == 1);
    assert_int_equal(sock_pending_bytes(client.sock), 0);
    close_side(&client);
}

static void
write_bytes(struct sock *s, size_t bytes)
{
    uint8_t *room;
    assert_int_equal(buf_room(sock_out(s), bytes, &room), ERR_OK);
    memset(room, 'x', bytes);
    buf_grew(sock_out(s), bytes);
}

static void
test_what_all_have_unsent_is_counted(void **state)
{
    /* Broken if what waits for clients that do not read is not held against a budget, or
     * stays in it when it was sent or its socket is gone. */
    (void)state;
    enum { BYTES = 16 << 20 };
    struct side one, two;
    side_init(&one);
    side_init(&two);
    UNTIL(lab.accepted == 2 && one.opened && two.opened);
    sock_pause(lab.side[0].sock);
    sock_pause(lab.side[1].sock);
    write_bytes(one.sock, BYTES);
    assert_int_equal(sock_unsent_bytes(lab.loop), 0);
    sock_count(one.sock);
    sock_count(one.sock);
    assert_int_equal(sock_unsent_bytes(lab.loop), BYTES);
    write_bytes(two.sock, BYTES);
    turn();
    assert_true(sock_pending_bytes(two.sock) > 0);
    assert_int_equal(sock_unsent_bytes(lab.loop),
                     sock_pending_bytes(one.sock) + sock_pending_bytes(two.sock));
    write_bytes(two.sock, 1000); /* behind what waits */
    turn();
    assert_int_equal(sock_unsent_bytes(lab.loop),
                     sock_pending_bytes(one.sock) + sock_pending_bytes(two.sock));
    sock_resume(lab.side[0].sock);
    sock_resume(lab.side[1].sock);
    UNTIL(lab.side[0].in.n == BYTES || lab.side[1].in.n == BYTES);
    struct side *done = sock_pending_bytes(one.sock) == 0 ? &one : &two;
    close_side(done == &one ? &two : &one);
    UNTIL(done->drained > 0);
    assert_int_equal(sock_unsent_bytes(lab.loop), 0);
    sock_write_bulk(done->sock, STR("not a client's"));
    turn();
    assert_int_equal(sock_unsent_bytes(lab.loop), 0);
    close_side(done);
}

static void
test_what_nobody_reads_is_not_left_to_the_kernel(void **state)
{
    /* Broken if the kernel takes megabytes for each client that never reads. */
    (void)state;
    enum { BYTES = 16 << 20, KERNEL_MAX = 1 << 20 };
    int                little = 4096, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(lab.at.port)};
    sa.sin_addr.s_addr    = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    UNTIL(lab.accepted == 1);
    write_bytes(lab.side[0].sock, BYTES);
    for (int i = 0; i < 100; i++)
        turn();
    assert_in_range(sock_pending_bytes(lab.side[0].sock), BYTES - KERNEL_MAX, BYTES);
    close(fd);
}

static void
test_send_and_close_at_once(void **state)
{
    /* Broken if what a client sent before it closed is lost. */
    (void)state;
    int fd = raw_client();
    assert_int_equal(write(fd, "{\"one\":1}", 9), 9);
    close(fd);
    UNTIL(lab.side[0].ended == 1);
    assert_int_equal(lab.side[0].in.n, 9);
    assert_non_null(lab.side[0].sock); /* ours to close */
}

static void
test_large_memory_goes_to_the_next_writer(void **state)
{
    /* Broken if each large write takes memory from the system anew, or an idle loop keeps it. */
    (void)state;
    enum { BYTES = 100000 };
    struct side one, two;
    side_init(&one);
    side_init(&two);
    UNTIL(lab.accepted == 2 && one.opened && two.opened);
    write_bytes(one.sock, BYTES);
    UNTIL(lab.side[0].in.n == BYTES || lab.side[1].in.n == BYTES);
    assert_int_equal(sock_pending_bytes(one.sock), 0);
    assert_true(sock_out(two.sock)->cap >= BYTES);
    assert_int_equal(sock_out(one.sock)->cap, 0);
    loop_trim(lab.loop);
    assert_int_equal(sock_out(two.sock)->cap, 0);
    close_side(&one);
    close_side(&two);
}

static void
test_half_closed_client_is_answered(void **state)
{
    /* Broken if the end of the client's half closes ours. */
    (void)state;
    char answer[16] = "";
    int  fd         = raw_client();
    assert_int_equal(write(fd, "ask", 3), 3);
    shutdown(fd, SHUT_WR);
    UNTIL(lab.side[0].ended == 1);
    assert_int_equal(buf_add(sock_out(lab.side[0].sock), STR("answer")), ERR_OK);
    sock_finish(lab.side[0].sock, 1000);
    UNTIL(lab.side[0].closed == 1);
    assert_int_equal(lab.side[0].why, ERR_OK);
    assert_int_equal(read(fd, answer, sizeof answer), 6);
    assert_string_equal(answer, "answer");
    assert_int_equal(read(fd, answer, sizeof answer), 0);
    close(fd);
}

static void
test_answer_survives_unread_input(void **state)
{
    /* Broken if closing with input unread resets the connection: the client would never
     * see why it was refused. */
    (void)state;
    static char more[4 << 20];
    char        answer[16] = "";
    lab.reply              = "too large";
    int fd                 = raw_client();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    ssize_t sent = write(fd, more, sizeof more);
    assert_true(sent > 0);
    UNTIL(lab.accepted == 1 && lab.side[0].in.n > 0);
    for (int i = 0; i < 50; i++) {
        sent = write(fd, more, sizeof more);
        assert_true(sent > 0 || errno == EAGAIN);
        turn();
    }
    assert_int_equal(read(fd, answer, sizeof answer), 9);
    assert_string_equal(answer, "too large");
    close(fd);
    UNTIL(lab.side[0].closed == 1);
    assert_int_equal(lab.side[0].why, ERR_OK);
}

static void
test_urgent_overtakes_between_frames(void **state)
{
    /* Broken if a ping waits behind megabytes of batches, or lands inside of one. */
    (void)state;
    enum { FRAMES = 60, BYTES = 150000 };
    struct side client;
    uint8_t    *frame = mem_new(BYTES);
    side_init(&client);
    UNTIL(lab.accepted == 1 && client.opened);
    sock_set_peer(client.sock, 5000);
    sock_pause(lab.side[0].sock);
    for (int i = 0; i < FRAMES; i++) {
        memset(frame, i, BYTES);
        sock_write_bulk(client.sock, (struct str){frame, BYTES});
    }
    for (int i = 0; i < 20; i++) {
        turn();
    }
    assert_true(client.bulk_waiting > 0);
    assert_int_equal(buf_add(sock_out(client.sock), STR("\xff")), ERR_OK);
    sock_resume(lab.side[0].sock);
    UNTIL(lab.side[0].in.n == (size_t)FRAMES * BYTES + 1);
    assert_int_equal(client.bulk_waiting, 0);
    const uint8_t *in     = lab.side[0].in.p + lab.side[0].in.start;
    size_t         urgent = 0;
    while (in[urgent] != 0xff)
        urgent++;
    assert_int_equal(urgent % BYTES, 0);
    assert_true(urgent < (size_t)(FRAMES - 1) * BYTES);
    for (size_t i = 0; i < FRAMES; i++)
        assert_int_equal(in[i * BYTES + (i * BYTES >= urgent)], i);
    mem_free(frame);
    close_side(&client);
}

static void
test_what_is_hastened_leaves_first(void **state)
{
    /* Broken if who publishes learns that it is stored before a subscriber has it. */
    (void)state;
    struct side client[2];
    side_init(&client[0]);
    side_init(&client[1]);
    UNTIL(lab.accepted == 2 && client[0].opened && client[1].opened);
    turn();                        /* the system looks again at what was ready, in that order */
    sock_hasten(lab.side[1].sock); /* nothing to send: nothing happens */
    assert_int_equal(buf_add(sock_out(lab.side[0].sock), STR("a receipt")), ERR_OK);
    assert_int_equal(buf_add(sock_out(lab.side[1].sock), STR("delivered")), ERR_OK);
    sock_hasten(lab.side[1].sock);
    UNTIL(client[0].in.n == 9 && client[1].in.n == 9);
    bool swapped = str_eq(buf_str(&client[0].in), STR("delivered"));
    assert_true(client[swapped ? 0 : 1].came < client[swapped ? 1 : 0].came);
    close_side(&client[0]);
    close_side(&client[1]);
}

static void
test_dial_that_fails(void **state)
{
    /* Broken if a dead address is never reported, or reported twice. */
    (void)state;
    struct side        client = {0};
    struct endpoint    gone   = lab.at;
    int                fd     = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa     = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t          n      = sizeof sa;
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, n), 0); /* bound, not listening */
    getsockname(fd, (struct sockaddr *)&sa, &n);
    gone.port   = ntohs(sa.sin_port);
    client.sock = sock_dial(lab.loop, &gone, 2000, &events, &client);
    UNTIL(client.closed);
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.why, ERR_REFUSED);
    assert_int_equal(client.opened, 0);
    close(fd);
}

static void
test_port_in_use(void **state)
{
    /* Broken if a second broker at a port starts deaf, or does not say which port. */
    (void)state;
    struct listener       *second;
    struct buf             problem;
    char                   port[8];
    struct listener_config config = {
        .loop = lab.loop, .at = lab.at, .socks_max = 1, .accepted = on_accepted};
    buf_init(&problem, 0);
    assert_int_equal(listener_open(&second, &config, &problem), ERR_BUSY);
    snprintf(port, sizeof port, "%u", lab.at.port);
    assert_non_null(memmem(problem.p, problem.n, port, strlen(port)));
    assert_non_null(memmem(problem.p, problem.n, "in use", 6));
    buf_fini(&problem);
}

static int
begin_with_room_for_two(void **state)
{
    (void)state;
    return begin_with(2);
}

static void
test_connections_over_the_limit_are_closed(void **state)
{
    /* Broken if the limit lets more in, or leaves them waiting for ever. */
    (void)state;
    char byte;
    int  fd[3];
    for (int i = 0; i < 3; i++)
        fd[i] = raw_client();
    UNTIL(listener_counts(lab.listener).over_limit == 1);
    assert_int_equal(lab.accepted, 2);
    assert_int_equal(read(fd[2], &byte, 1), 0);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    UNTIL(lab.side[0].ended && lab.side[1].ended);
}

static int64_t
cpu_us(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * INT64_C(1000000) + r.ru_utime.tv_usec +
           r.ru_stime.tv_usec;
}

static void
on_time(void *ctx)
{
    *(bool *)ctx = true;
}

static void
test_used_up_files_do_not_spin(void **state)
{
    /* Broken if a listener without file descriptors eats a whole core, or never takes
     * the waiting connection when there are some again. */
    (void)state;
    struct rlimit before, low;
    int           fd     = raw_client();
    int           lowest = dup(fd);
    close(lowest);
    getrlimit(RLIMIT_NOFILE, &before);
    low = (struct rlimit){(rlim_t)lowest, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);

    bool              over  = false;
    struct loop_timer timer = {.fire = on_time, .ctx = &over};
    loop_timer_set(lab.loop, &timer, mono_after(mono_now(), 350));
    int64_t used  = cpu_us();
    int     steps = 0;
    for (; !over; steps++)
        loop_step(lab.loop);
    used = cpu_us() - used;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);

    assert_in_range(listener_counts(lab.listener).out_of_files, 1, 6);
    assert_true(steps < 50);
    assert_true(used < 100000);
    assert_int_equal(lab.accepted, 0);
    UNTIL(lab.accepted == 1);
    close(fd);
    UNTIL(lab.side[0].ended);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_echo_of_tiny_writes),
        TEST(test_pause_holds_the_writer_back),
        TEST(test_what_all_have_unsent_is_counted),
        TEST(test_what_nobody_reads_is_not_left_to_the_kernel),
        TEST(test_send_and_close_at_once),
        TEST(test_large_memory_goes_to_the_next_writer),
        TEST(test_half_closed_client_is_answered),
        TEST(test_answer_survives_unread_input),
        TEST(test_urgent_overtakes_between_frames),
        TEST(test_what_is_hastened_leaves_first),
        TEST(test_dial_that_fails),
        TEST(test_port_in_use),
        cmocka_unit_test_setup_teardown(test_connections_over_the_limit_are_closed,
                                        begin_with_room_for_two, end),
        TEST(test_used_up_files_do_not_spin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
