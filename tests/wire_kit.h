/* wire_kit.h - frames for tests: from hex, around any payload, and given back. */
#ifndef TESTS_WIRE_KIT_H
#define TESTS_WIRE_KIT_H

#include "base/blob.h"
#include "base/hash.h"
#include "codec/wire.h"
#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

static inline unsigned
nibble(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* In memory of exactly that size, so that a read beyond it is seen. */
static inline struct str
unhex(const char *hex)
{
    struct str s = {.n = strlen(hex) / 2};
    uint8_t   *p = malloc(s.n + (s.n == 0));
    assert_non_null(p);
    for (size_t i = 0; i < s.n; i++)
        p[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    s.p = p;
    return s;
}

static inline void
release(struct str s)
{
    free((void *)(uintptr_t)s.p);
}

/* A length and a CRC that fit. */
static inline void
seal_frame(uint8_t *p, size_t n)
{
    uint32_t word[2] = {(uint32_t)n - 4, hash_crc32(0, (struct str){p + 8, n - 8})};
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(word[i / 4] >> (24 - 8 * (i % 4)));
}

/* A sound frame around a payload, in exactly as much memory. */
static inline struct str
framed(unsigned kind, struct str payload)
{
    struct str f = {.n = WIRE_HEAD_BYTES + payload.n};
    uint8_t   *p = malloc(f.n);
    assert_non_null(p);
    f.p  = p;
    p[8] = (uint8_t)kind;
    if (payload.n > 0)
        memcpy(p + 9, payload.p, payload.n);
    seal_frame(p, f.n);
    return f;
}

static inline void
drop(struct frame *f)
{
    if (f->kind == FRAME_PUSH)
        blob_drop(f->push.batch);
    if (f->kind == FRAME_LIVE)
        blob_drop(f->live.batch);
}

#endif
