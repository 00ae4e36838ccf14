#include "base/hash.h"

#include "base/check.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>
#include <zlib.h>

uint64_t
hash64(struct str s)
{
    return XXH3_64bits(s.p, s.n);
}

static struct hash128
canonical(XXH128_hash_t h)
{
    XXH128_canonical_t c;
    struct hash128     out;
    XXH128_canonicalFromHash(&c, h);
    memcpy(out.b, c.digest, sizeof out.b);
    return out;
}

struct hash128
hash128(const struct str *part, size_t count)
{
    /* Most inputs are small: joined on the stack, the one-shot form is several
     * times faster than the streaming one, and by definition gives the same. */
    uint8_t joined[512];
    size_t  n = 0;
    for (size_t i = 0; i < count; i++)
        n += part[i].n;
    if (n <= sizeof joined) {
        size_t at = 0;
        for (size_t i = 0; i < count; at += part[i++].n)
            if (part[i].n > 0)
                memcpy(joined + at, part[i].p, part[i].n);
        return canonical(XXH3_128bits(joined, n));
    }
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    for (size_t i = 0; i < count; i++)
        XXH3_128bits_update(&state, part[i].p, part[i].n);
    return canonical(XXH3_128bits_digest(&state));
}

bool
hash128_eq(struct hash128 a, struct hash128 b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

uint32_t
hash_crc32(uint32_t crc, struct str s)
{
    CHECK(s.n <= UINT32_MAX);
    return (uint32_t)crc32(crc, s.p, (uInt)s.n);
}
