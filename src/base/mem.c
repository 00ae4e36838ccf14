#include "base/mem.h"

#include "base/check.h"

#include <stdlib.h>

void *
mem_new(size_t bytes)
{
    void *p = calloc(1, bytes);
    CHECK(p);
    return p;
}

void *
mem_resize(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    CHECK(p);
    return p;
}

void
mem_free(void *p)
{
    free(p);
}
