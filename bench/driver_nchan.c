/* driver_nchan.c - nchan, where it is not as Hearsay: the paths of nginx's configuration. */
#include "bench/drivers.h"

void
nchan_message(const struct conn *c, struct message *m)
{
    driver_post(c, m, "/pub/");
}

size_t
nchan_sse_hello(const struct conn *c, char *out)
{
    (void)c;
    return driver_get("/sub/bench", "", "text/event-stream", out);
}
