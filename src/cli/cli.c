#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct hearsay *
cli_open(const struct options *o, const char *command)
{
    const char *broker = options_text(o, "broker");
    const char *host   = options_text(o, "host");
    char        one[300];
    bool        by_place = options_value(o, "host")->by_flag || options_value(o, "port")->by_flag;

    if (by_place && options_value(o, "broker")->by_flag) {
        fprintf(stderr, "hearsay %s: --broker replaces --host and --port; give one of them\n",
                command);
        return NULL;
    }
    if (by_place || !broker) {
        bool six = strchr(host, ':') && host[0] != '[';
        snprintf(one, sizeof one, six ? "[%s]:%ld" : "%s:%ld", host, options_number(o, "port"));
        broker = one;
    }
    struct hearsay *h = by_place && strchr(host, ',') ? NULL : hearsay_open(broker);
    if (!h)
        fprintf(
            stderr,
            "hearsay %s: '%s' names no broker; write host:port, the port from 1 to 65535, or up "
            "to 16 of them with commas between\n",
            command, broker);
    return h;
}

int
cli_exit_code(enum hearsay_status status)
{
    switch (status) {
    case HEARSAY_OK:
        return EXIT_OK;
    case HEARSAY_INVALID:
        return EXIT_USAGE;
    case HEARSAY_UNREACHABLE:
        return EXIT_UNREACHABLE;
    case HEARSAY_REFUSED:
        return EXIT_REFUSED;
    case HEARSAY_FEWER:
    case HEARSAY_TIMEOUT:
        return EXIT_TIMEOUT;
    case HEARSAY_UNCERTAIN:
    case HEARSAY_GAP:
    case HEARSAY_BROKEN:
        return EXIT_ERROR;
    }
    return EXIT_ERROR;
}

static void
say_no_output(const char *command)
{
    fprintf(stderr, "hearsay %s: cannot write to standard output: %s\n", command, strerror(errno));
}

int
cli_fail(const char *command, const struct hearsay *h, enum hearsay_status status)
{
    fprintf(stderr, "hearsay %s: %s\n", command, hearsay_text(h));
    return cli_exit_code(status);
}

bool
cli_write(const char *command, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes.p, bytes.n);
        if (n < 0 && errno == EAGAIN) { /* a terminal that somebody made non-blocking */
            struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
            poll(&p, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            say_no_output(command);
            return false;
        }
        bytes = str_cut(bytes, n > 0 ? (size_t)n : 0, bytes.n);
    }
    return true;
}

const char *
cli_plain(const char *text, char *to, size_t bytes)
{
    snprintf(to, bytes, "%s", text);
    for (char *p = to; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    return to;
}

void
cli_standard_streams(void)
{
    static const int unfit[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", unfit[fd]) < 0)
            return; /* not even that is to be had */
}

int
cli_finish(const char *command)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_OK;
    say_no_output(command);
    return EXIT_ERROR;
}

uint64_t
cli_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
