#include "codec/wire.h"

#include "codec/wire_part.h"
#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"

struct kind {
    const char *name;
    wire_put   *put;
    wire_get   *get;
};

static const struct kind kinds[FRAME_KIND_END] = {
#define X(kind, number, name, put, get) [number] = {name, put, get},
#include "codec/wire.def"
#undef X
};

#define X(kind, number, name, put, get)                                                            \
    _Static_assert(FRAME_##kind == (number), "wire.def and types_frame.h agree");
#include "codec/wire.def"
#undef X

enum {
    CRC_AT  = 4, /* offsets in a frame */
    KIND_AT = 8,
#define X(kind, number, name, put, get) +1
    KIND_COUNT = 0
#include "codec/wire.def"
#undef X
};
_Static_assert(KIND_COUNT == FRAME_KIND_END - 1, "every kind has its row");

void
wire_scratch_init(struct wire_scratch *s)
{
    *s = (struct wire_scratch){0};
}

void
wire_scratch_fini(struct wire_scratch *s)
{
    mem_free(s->mark);
    mem_free(s->head);
    wire_scratch_init(s);
}

const char *
wire_name(unsigned kind)
{
    return kind < FRAME_KIND_END && kinds[kind].name ? kinds[kind].name : "?";
}

static uint32_t
load(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
save(uint8_t *p, uint32_t v)
{
    for (int i = 3; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

static enum err
refuse(struct wire_scratch *s, const char *problem)
{
    s->problem = problem;
    return ERR_PROTO;
}

static enum err
decode_payload(struct str payload, struct wire_scratch *s, struct frame *frame)
{
    struct wire_in in = {.p = payload.p, .end = payload.p + payload.n, .s = s};

    kinds[frame->kind].get(&in, frame); /* fields that are not known stand behind: skipped */
    if (!in.problem)
        return ERR_OK;
    if (frame->kind == FRAME_PUSH)
        blob_drop(frame->push.batch);
    if (frame->kind == FRAME_LIVE)
        blob_drop(frame->live.batch);
    return refuse(s, in.problem);
}

enum err
wire_decode(struct str in, struct wire_scratch *s, struct frame *frame, size_t *used)
{
    /* The length is judged as soon as it is there: garbage is not waited for. */
    if (in.n < CRC_AT)
        return ERR_MORE;
    size_t length = load(in.p);
    if (length < WIRE_HEAD_BYTES - CRC_AT)
        return refuse(s, "frame too short");
    if (length > FRAME_BYTES_MAX - CRC_AT)
        return refuse(s, "frame too long");
    if (in.n - CRC_AT < length)
        return ERR_MORE;

    struct str all = {in.p, CRC_AT + length};
    if (load(in.p + CRC_AT) != hash_crc32(0, str_cut(all, KIND_AT, all.n)))
        return refuse(s, "bad CRC");
    uint8_t kind = in.p[KIND_AT];
    if (kind >= FRAME_KIND_END || !kinds[kind].get) {
        *used = all.n;
        return ERR_NOTFOUND;
    }
    *frame     = (struct frame){.kind = (enum frame_kind)kind};
    enum err e = decode_payload(str_cut(all, WIRE_HEAD_BYTES, all.n), s, frame);
    if (e == ERR_OK)
        *used = all.n;
    return e;
}

enum err
wire_encode(struct buf *out, const struct frame *frame)
{
    CHECK(frame->kind > 0 && frame->kind < FRAME_KIND_END);
    size_t          before = out->n;
    struct wire_out w      = {.buf = out};
    uint8_t        *head;

    w.err = buf_room(out, WIRE_HEAD_BYTES, &head);
    if (w.err != ERR_OK)
        return w.err;
    buf_grew(out, WIRE_HEAD_BYTES);
    kinds[frame->kind].put(&w, frame);

    size_t bytes = out->n - before;
    if (w.err == ERR_OK && bytes > FRAME_BYTES_MAX)
        w.err = ERR_LIMIT;
    if (w.err != ERR_OK) {
        out->n = before;
        return w.err;
    }
    head          = out->p + out->start + before;
    head[KIND_AT] = (uint8_t)frame->kind;
    save(head, (uint32_t)(bytes - CRC_AT));
    save(head + CRC_AT, hash_crc32(0, (struct str){head + KIND_AT, bytes - KIND_AT}));
    return ERR_OK;
}
