/* hash.h - the three checks: XXH3-64 for tables, XXH3-128 for chains and digests,
 * CRC-32 (RFC 1952) for frames on a link.  None is a defence against malice. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/str.h"

/* A 128-bit hash in XXH3's canonical order: big-endian bytes. */
struct hash128 {
    uint8_t b[16];
};

/* XXH3-64. */
uint64_t hash64(struct str s);
/* XXH3-128 of a few runs of bytes put behind one another. */
struct hash128 hash128(const struct str *part, size_t count);
bool           hash128_eq(struct hash128 a, struct hash128 b);
/* CRC-32 continued from `crc` (0 at the start). */
uint32_t hash_crc32(uint32_t crc, struct str s);

#endif
