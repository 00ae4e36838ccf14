#include "base/blob.h"

#include "base/check.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

struct blob {
    atomic_size_t refs;
    size_t        bytes;
    _Alignas(16) uint8_t memory[];
};

static atomic_size_t bytes_used;

static struct blob *
blob_of(const void *memory)
{
    return (struct blob *)(uintptr_t)((const uint8_t *)memory - offsetof(struct blob, memory));
}

void *
blob_new(size_t bytes)
{
    struct blob *b = calloc(1, sizeof *b + bytes);
    CHECK(b);
    atomic_init(&b->refs, 1);
    b->bytes = bytes;
    atomic_fetch_add(&bytes_used, bytes);
    return b->memory;
}

void
blob_keep(void *memory)
{
    size_t before = atomic_fetch_add(&blob_of(memory)->refs, 1);
    CHECK(before > 0);
}

void
blob_drop(void *memory)
{
    if (!memory)
        return;
    struct blob *b      = blob_of(memory);
    size_t       before = atomic_fetch_sub(&b->refs, 1);
    CHECK(before > 0);
    if (before > 1)
        return;
    atomic_fetch_sub(&bytes_used, b->bytes);
    free(b);
}

size_t
blob_bytes(const void *memory)
{
    return blob_of(memory)->bytes;
}

size_t
blob_bytes_used(void)
{
    return atomic_load(&bytes_used);
}
