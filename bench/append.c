/* append - the floor under each acknowledgement: append to a file, fdatasync.
 *
 * usage: append FILE BYTES SECONDS RATE
 * RATE 0: one after the other.  Else an open loop: message k is due at k / RATE, each turn
 * writes all that are due and syncs once, and the wait counts from when a message was due.
 * Prints the waits in us as JSON, as generator does. */
#include "load/histogram.h"
#include "load/load.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static struct histogram waits;
static uint64_t         syncs;

static void
append(int fd, const char *p, size_t n)
{
    if (write(fd, p, n) != (ssize_t)n || fdatasync(fd) < 0)
        load_die("append");
    syncs++;
}

static void
one_by_one(int fd, const char *block, size_t bytes, uint64_t end)
{
    for (uint64_t begin; (begin = load_ns()) < end;) {
        append(fd, block, bytes);
        histogram_add(&waits, load_ns() - begin);
    }
}

static void
at_rate(int fd, const char *block, size_t bytes, uint64_t end, double rate)
{
    uint64_t begin = load_ns(), sent = 0;
    for (uint64_t now; (now = load_ns()) < end;) {
        uint64_t due = (uint64_t)((double)(now - begin) * rate / 1e9) + 1;
        if (due == sent) {
            uint64_t        next = begin + (uint64_t)((double)sent * 1e9 / rate);
            struct timespec t    = {0, next > now ? (long)(next - now) : 0};
            nanosleep(&t, NULL);
            continue;
        }
        if (due - sent > (uint64_t)rate)
            due = sent + (uint64_t)rate; /* the block has room for a second's messages */
        append(fd, block, bytes * (due - sent));
        for (now = load_ns(); sent < due; sent++)
            histogram_add(&waits, now - begin - (uint64_t)((double)sent * 1e9 / rate));
    }
}

int
main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: append FILE BYTES SECONDS RATE\n");
        return 2;
    }
    size_t   bytes = (size_t)load_number(argv[2], 1);
    long     rate  = load_number(argv[4], 0);
    uint64_t end   = load_ns() + (uint64_t)load_number(argv[3], 1) * 1000000000;
    int      fd    = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char    *block = calloc(rate > 0 ? (size_t)rate : 1, bytes);
    if (fd < 0 || !block)
        load_die(argv[1]);
    prctl(PR_SET_TIMERSLACK, 1UL);
    if (rate > 0)
        at_rate(fd, block, bytes, end, (double)rate);
    else
        one_by_one(fd, block, bytes, end);
    printf("{");
    histogram_print("append", &waits);
    printf(",\"syncs\":%llu}\n", (unsigned long long)syncs);
    return 0;
}
