/* cursor_fuzz.c - any text as a cursor: refused with a reason, or the one text of
 * what it decodes to; and what was written can be read.
 *
 * The first byte chooses: 0 of 3, the rest is the bytes within, which get a check that fits and
 * become a text; 1, it is the text as it stands; 2, it is a vector that is written and read. */
#include "base/check.h"
#include "base/mem.h"
#include "codec/cursor.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TAG = 0x41424344, MARKS_MAX = 512 };

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
    uint8_t          *all = malloc(n), *text = malloc((n * 8 + 5) / 6);
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

static uint64_t
take_number(struct str *s, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes && i < s->n; i++)
        v = v << 8 | s->p[i];
    *s = str_cut(*s, bytes, s->n);
    return v;
}

/* Numbers of all sizes. */
static void
check_round(struct str in)
{
    static struct mark mark[MARKS_MAX];
    struct vector      v = {.at = mark}, again = {0};
    uint64_t           stamp = take_number(&in, 7) & STAMP_MAX, was = 0;
    const char        *problem;
    struct buf         out;
    buf_init(&out, 0);
    while (in.n > 0 && v.count < MARKS_MAX) {
        unsigned shift    = in.p[0] % 56;
        uint64_t stream   = 1 + was + (take_number(&in, 1) << shift);
        mark[v.count].seq = 1 + (take_number(&in, 1 + shift % 7) << shift % 8);
        if (stream > INT64_MAX)
            break;
        mark[v.count++].stream = was = stream;
    }
    CHECK(cursor_encode(&out, TAG, stamp, &v) == ERR_OK);
    CHECK(cursor_decode(buf_str(&out), TAG, &again, &was, &problem) == ERR_OK && was == stamp);
    CHECK(again.count == v.count);
    for (uint32_t i = 0; i < v.count; i++)
        CHECK(again.at[i].stream == mark[i].stream && again.at[i].seq == mark[i].seq);
    mem_free(again.at);
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    struct str in = {data + 1, n - 1};
    switch (data[0] % 3) {
    case 0:
        decode_bytes(in);
        break;
    case 1:
        decode(in);
        break;
    default:
        check_round(in);
    }
    return 0;
}
