/* wire_fuzz.c - any bytes as what a peer sends: decoding never fails in itself, what decodes
 * has exactly one form, and where the reads end makes no difference.
 *
 * The first byte chooses: odd, the rest is a stream of frames as it stands; even, it
 * is a kind and a payload that get a frame with a CRC that fits, which the fuzzer
 * would not find; the frame comes twice.  What is left of that byte says where the reads end. */
#include "base/blob.h"
#include "base/check.h"
#include "codec/wire.h"
#include "tests/fuzz/cuts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct wire_scratch scratch;

/* But for what stands behind its payload. */
static void
check_one_form(const struct frame *f, struct str bytes)
{
    struct buf again;
    buf_init(&again, 0);
    CHECK(wire_encode(&again, f) == ERR_OK && again.n <= bytes.n);
    if (again.n == bytes.n)
        CHECK(str_eq(buf_str(&again), bytes));
    else
        CHECK(str_starts(str_cut(bytes, WIRE_HEAD_BYTES, bytes.n),
                         str_cut(buf_str(&again), WIRE_HEAD_BYTES, again.n)));
    buf_fini(&again);
}

/* Frame after frame; *end is behind the last.  What ended it. */
static enum err
decode_all(struct str in, uint32_t how, size_t *end)
{
    struct cuts cuts = {how};
    size_t      to   = 0;
    *end             = 0;
    for (;;) {
        struct frame f;
        size_t       used = 0;
        enum err     e    = wire_decode(str_cut(in, *end, to), &scratch, &f, &used);
        CHECK(e == ERR_OK || e == ERR_MORE || e == ERR_PROTO || e == ERR_NOTFOUND);
        CHECK(e != ERR_PROTO || scratch.problem);
        if (e == ERR_OK)
            check_one_form(&f, str_cut(in, *end, *end + used));
        if (e == ERR_OK && f.kind == FRAME_PUSH)
            blob_drop(f.push.batch);
        if (e == ERR_OK && f.kind == FRAME_LIVE)
            blob_drop(f.live.batch);
        if (e == ERR_PROTO || (e == ERR_MORE && to == in.n))
            return e;
        if (e == ERR_MORE)
            to = cuts_next(&cuts, to, in);
        *end += used;
    }
}

static void
decode(struct str in, uint32_t how)
{
    size_t      end, end_cut;
    enum err    e       = decode_all(in, CUTS_WHOLE, &end);
    const char *problem = scratch.problem;
    cuts_show(in, 0);
    CHECK(decode_all(in, how, &end_cut) == e && end_cut == end);
    CHECK(e != ERR_PROTO || scratch.problem == problem);
    cuts_show(in, in.n);
}

static void
decode_framed(struct str kind_and_payload, uint32_t how)
{
    size_t   n = kind_and_payload.n + 8;
    uint8_t *p = malloc(2 * n);
    CHECK(p);
    memcpy(p + 8, kind_and_payload.p, kind_and_payload.n);
    uint32_t word[2] = {(uint32_t)n - 4, hash_crc32(0, kind_and_payload)};
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(word[i / 4] >> (24 - 8 * (i % 4)));
    memcpy(p + n, p, n);
    decode((struct str){p, 2 * n}, how);
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
        decode_framed(in, data[0] / 2);
    else
        decode(in, data[0] / 2);
    CHECK(blob_bytes_used() == before);
    return 0;
}
