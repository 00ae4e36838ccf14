/* The descriptor for foreign loops, and connecting without waiting. */
#include "io/dial_blocking.h"

#include "io/clock.h"
#include "tests/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEST(f) cmocka_unit_test(f)

static bool
is_readable(const struct watch *w, int ms)
{
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static void
test_a_moment(void **state)
{
    (void)state;
    /* Broken: a loop would sleep through a deadline, or never sleep. */
    struct watch w;
    watch_init(&w);
    assert_int_equal(watch_open(&w), ERR_OK);
    assert_false(is_readable(&w, 0));
    struct mono at = mono_after(mono_now(), 100);
    watch_at(&w, at);
    assert_false(is_readable(&w, 0));
    assert_true(is_readable(&w, 5000));
    assert_true(mono_reached(mono_now(), at));
    watch_at(&w, at);
    assert_true(is_readable(&w, 0)); /* until another is set */
    watch_at(&w, mono_after(mono_now(), 100000));
    assert_false(is_readable(&w, 0));
    watch_at(&w, (struct mono){0});
    assert_true(is_readable(&w, 1000));
    watch_at(&w, MONO_NEVER);
    assert_false(is_readable(&w, 0));
    watch_close(&w);
}

static int
listener(int backlog, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          n  = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void
test_a_socket(void **state)
{
    (void)state;
    /* Broken: a loop would not hear of an answer, or go on hearing that it may write. */
    uint16_t     port;
    struct watch w;
    struct dial  d;
    int          listening = listener(8, &port);
    watch_init(&w);
    dial_init(&d);
    assert_int_equal(watch_open(&w), ERR_OK);
    d.watch = &w;
    assert_int_equal(dial_start(&d, "127.0.0.1", port, 5000), ERR_OK);
    assert_int_equal(dial_open(&d, MONO_NEVER), ERR_OK);
    int other = accept(listening, NULL, NULL);
    assert_int_equal(dial_watch(&d, true), ERR_OK);
    assert_true(is_readable(&w, 1000));
    assert_int_equal(dial_watch(&d, false), ERR_OK);
    assert_false(is_readable(&w, 0));
    assert_int_equal(send(other, "x", 1, 0), 1);
    assert_true(is_readable(&w, 1000));

    /* The next connection may get the very number of this one. */
    dial_close(&d);
    assert_false(is_readable(&w, 0));
    assert_int_equal(dial_start(&d, "127.0.0.1", port, 5000), ERR_OK);
    assert_int_equal(dial_open(&d, MONO_NEVER), ERR_OK);
    assert_int_equal(dial_watch(&d, false), ERR_OK);
    close(other);
    assert_false(is_readable(&w, 0));
    other = accept(listening, NULL, NULL);
    close(other);
    assert_true(is_readable(&w, 1000));
    dial_close(&d);
    watch_close(&w);
    close(listening);
}

static void
test_connecting_without_waiting(void **state)
{
    (void)state;
    /* Broken: a machine that answers nothing would hold up the whole program. */
    enum { FULL = 4, CONNECT_MS = 300 };
    uint16_t    port;
    struct dial full[FULL], d;
    int         listening = listener(0, &port);
    for (int i = 0; i < FULL; i++) { /* more than its backlog takes */
        dial_init(&full[i]);
        assert_int_equal(dial_start(&full[i], "127.0.0.1", port, 5000), ERR_OK);
        enum err e = dial_open(&full[i], mono_now());
        assert_true(e == ERR_OK || e == ERR_MORE);
    }
    dial_init(&d);
    struct mono began = mono_now();
    assert_int_equal(dial_start(&d, "127.0.0.1", port, CONNECT_MS), ERR_OK);
    assert_int_equal(dial_open(&d, mono_now()), ERR_MORE);
    assert_true(dial_is_connecting(&d) && !dial_is_open(&d));
    assert_int_equal(dial_open(&d, mono_after(began, 50)), ERR_MORE);
    assert_true(mono_since(mono_now(), began) < CONNECT_MS);
    assert_int_equal(dial_open(&d, MONO_NEVER), ERR_TIMEOUT);
    assert_true(mono_since(mono_now(), began) >= CONNECT_MS);
    assert_false(dial_is_connecting(&d) || dial_is_open(&d));
    for (int i = 0; i < FULL; i++)
        dial_close(&full[i]);
    close(listening);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_moment),
        TEST(test_a_socket),
        TEST(test_connecting_without_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
