/* wire_fuzz.c - any bytes as what a peer sends: decoding never fails in itself, and
 * what decodes has exactly one form.
 *
 * The first byte chooses: odd, the rest is a stream of frames as it stands; even, it
 * is a kind and a payload that get a frame with a CRC that fits, which the fuzzer
 * would not find. */
#include "base/blob.h"
#include "base/check.h"
#include "codec/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct wire_scratch scratch;

/* Bytes taken; 0 at the end. */
static size_t
decode_one(struct str in)
{
    struct frame f;
    size_t       used = 0;
    enum err     e    = wire_decode(in, &scratch, &f, &used);
    CHECK(e == ERR_OK || e == ERR_MORE || e == ERR_PROTO || e == ERR_NOTFOUND);
    CHECK(e != ERR_PROTO || scratch.problem);
    if (e != ERR_OK)
        return e == ERR_NOTFOUND ? used : 0;

    struct buf again;
    buf_init(&again, 0);
    CHECK(wire_encode(&again, &f) == ERR_OK);
    CHECK(str_eq(buf_str(&again), str_cut(in, 0, used)));
    if (f.kind == FRAME_PUSH)
        blob_drop(f.push.batch);
    buf_fini(&again);
    return used;
}

static void
decode_framed(struct str kind_and_payload)
{
    size_t   n = kind_and_payload.n + 8;
    uint8_t *p = malloc(n);
    CHECK(p);
    memcpy(p + 8, kind_and_payload.p, kind_and_payload.n);
    uint32_t word[2] = {(uint32_t)n - 4, hash_crc32(0, kind_and_payload)};
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(word[i / 4] >> (24 - 8 * (i % 4)));
    decode_one((struct str){p, n});
    free(p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t before = blob_bytes_used();
    if (n < 2)
        return 0;
    struct str in = {data + 1, n - 1};
    if (data[0] % 2 == 0)
        decode_framed(in);
    else
        for (size_t used; (used = decode_one(in)) > 0;)
            in = str_cut(in, used, in.n);
    CHECK(blob_bytes_used() == before);
    return 0;
}
