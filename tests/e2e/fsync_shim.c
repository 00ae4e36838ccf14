/* fsync_shim.c - preloaded into a broker: a disk that takes its time.
 *
 * While the file $FSYNC_SHIM_BLOCK exists, fsync and fdatasync wait.  The first that
 * does makes the file $FSYNC_SHIM_BLOCKED, so that a test knows that one hangs there. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fsync(int fd);
int fdatasync(int fd);

static void
wait_while_blocked(void)
{
    const char *block   = getenv("FSYNC_SHIM_BLOCK");
    const char *blocked = getenv("FSYNC_SHIM_BLOCKED");
    if (!block || access(block, F_OK) != 0)
        return;
    if (blocked)
        close(open(blocked, O_WRONLY | O_CREAT, 0600));
    while (access(block, F_OK) == 0) {
        struct timespec tick = {.tv_nsec = 2 * 1000 * 1000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
    }
}

int
fsync(int fd)
{
    wait_while_blocked();
    return (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
    wait_while_blocked();
    return (int)syscall(SYS_fdatasync, fd);
}
