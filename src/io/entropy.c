#include "io/entropy.h"

#include "base/check.h"

#include <errno.h>
#include <sys/random.h>

static void
fill(void *p, size_t bytes)
{
    uint8_t *at = p;
    while (bytes > 0) {
        ssize_t n = getrandom(at, bytes, 0);
        CHECK(n > 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
        }
    }
}

uint64_t
entropy_u64(void)
{
    uint64_t v;
    fill(&v, sizeof v);
    return v;
}
