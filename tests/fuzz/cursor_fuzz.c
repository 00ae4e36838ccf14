/* cursor_fuzz.c - any text as a cursor: refused with a reason, or the one text of
 * what it decodes to.
 *
 * The first byte chooses: odd, the rest is the text as it stands; even, it is the
 * bytes within, which get a check that fits and become a text. */
#include "base/check.h"
#include "base/mem.h"
#include "codec/cursor.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TAG = 0x41424344 };

static void
decode(struct str text)
{
    struct vector v = {0};
    uint64_t      stamp;
    const char   *problem;
    enum err      e = cursor_decode(text, TAG, &v, &stamp, &problem);
    CHECK((e == ERR_OK && !problem) || (e == ERR_INVALID && problem && v.count == 0));
    if (e == ERR_OK) {
        struct buf again;
        buf_init(&again, 0);
        CHECK(v.count <= STREAMS_MAX && stamp <= STAMP_MAX);
        CHECK(cursor_encode(&again, TAG, stamp, &v) == ERR_OK);
        CHECK(str_eq(buf_str(&again), text));
        buf_fini(&again);
    }
    mem_free(v.at);
}

static void
decode_bytes(struct str bytes)
{
    static const char letter[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t            n = bytes.n + 4, count = 0;
    uint8_t          *all = malloc(n), *text = malloc(n * 2);
    uint32_t          crc = hash_crc32(0, bytes);
    CHECK(all && text);
    memcpy(all, bytes.p, bytes.n);
    for (size_t i = 0; i < 4; i++)
        all[bytes.n + i] = (uint8_t)(crc >> (24 - 8 * i));
    for (size_t bit = 0; bit < n * 8; bit += 6) {
        unsigned v = 0;
        for (size_t i = bit; i < bit + 6; i++)
            v = v << 1 | (i < n * 8 ? (unsigned)all[i / 8] >> (7 - i % 8) & 1u : 0);
        text[count++] = (uint8_t)letter[v];
    }
    decode((struct str){text, count});
    free(all);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    if (data[0] % 2 == 0)
        decode_bytes((struct str){data + 1, n - 1});
    else
        decode((struct str){data + 1, n - 1});
    return 0;
}
