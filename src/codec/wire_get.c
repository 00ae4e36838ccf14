/* wire_get.c - payload -> struct frame, one function for each kind of wire.def.
 *
 * Every byte is hostile.  Nothing is allocated for a count before the payload is
 * known to be long enough to hold so many. */
#include "codec/wire_part.h"

#include "base/blob.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

static void
fail(struct wire_in *in, const char *problem)
{
    if (!in->problem)
        in->problem = problem;
    in->p = in->end;
}

static void
expect(struct wire_in *in, bool holds, const char *problem)
{
    if (!holds)
        fail(in, problem);
}

static size_t
left(const struct wire_in *in)
{
    return (size_t)(in->end - in->p);
}

static struct str
get_bytes(struct wire_in *in, size_t n)
{
    if (left(in) < n) {
        fail(in, "payload too short");
        return (struct str){0};
    }
    in->p += n;
    return (struct str){in->p - n, n};
}

static uint64_t
get(struct wire_in *in, unsigned bytes)
{
    struct str s = get_bytes(in, bytes);
    uint64_t   v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | s.p[i];
    return v;
}

static bool
get_bool(struct wire_in *in)
{
    uint64_t v = get(in, 1);
    expect(in, v <= 1, "neither 0 nor 1");
    return v == 1;
}

static uint8_t
get_flags(struct wire_in *in, unsigned known)
{
    uint64_t v = get(in, 1);
    expect(in, (v & ~(uint64_t)known) == 0, "unknown flag");
    return (uint8_t)v;
}

/* LEB128 in the shortest form, up to 2^63-1. */
static uint64_t
get_varint(struct wire_in *in)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < WIRE_VARINT_MAX; i++) {
        uint64_t byte = get(in, 1);
        v |= (byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        expect(in, i == 0 || byte > 0, "varint not in its shortest form");
        return in->problem ? 0 : v;
    }
    fail(in, "varint too long");
    return 0;
}

static uint64_t
get_stream(struct wire_in *in)
{
    uint64_t v = get(in, 8);
    expect(in, v > 0 && v <= INT64_MAX, "stream out of range");
    return v;
}

static uint64_t
get_seq(struct wire_in *in)
{
    uint64_t v = get(in, 8);
    expect(in, v > 0 && v <= INT64_MAX, "seq out of range");
    return v;
}

static uint64_t
get_stamp(struct wire_in *in)
{
    uint64_t v = get(in, 8);
    expect(in, v <= STAMP_MAX, "stamp out of range");
    return v;
}

static struct wall
get_wall(struct wire_in *in)
{
    return (struct wall){(int64_t)get(in, 8)};
}

static struct hash128
get_hash(struct wire_in *in)
{
    struct hash128 h = {{0}};
    struct str     s = get_bytes(in, sizeof h.b);
    if (s.n > 0)
        memcpy(h.b, s.p, s.n);
    return h;
}

/* A text for people: it ends up in traces and in JSON. */
static struct str
get_text(struct wire_in *in, unsigned length_bytes, size_t max)
{
    size_t n = get(in, length_bytes);
    expect(in, n <= max, "text too long");
    struct str s = get_bytes(in, n);
    expect(in, utf8_is_valid(s), "text is not UTF-8");
    for (size_t i = 0; i < s.n; i++)
        expect(in, s.p[i] >= 0x20 && s.p[i] != 0x7f, "control character in a text");
    return s;
}

static struct addr
get_addr(struct wire_in *in)
{
    struct addr a = {.family = (uint8_t)get(in, 1)};
    expect(in, a.family == 4 || a.family == 6, "unknown address family");
    struct str ip = get_bytes(in, a.family == 4 ? 4 : 16);
    if (ip.n > 0)
        memcpy(a.ip, ip.p, ip.n);
    a.port = (uint16_t)get(in, 2);
    expect(in, a.port > 0, "port 0");
    return a;
}

static struct token
get_token(struct wire_in *in)
{
    struct token t = {.epoch = get(in, 8)};
    if (t.epoch == 0 && left(in) > 0 && in->p[0] == 0)
        in->p++; /* no coordinator known: no address */
    else
        t.addr = get_addr(in);
    t.nonce = get(in, 8);
    return t;
}

/* How many entries follow, each of at least `bytes` bytes. */
static uint32_t
get_count(struct wire_in *in, size_t bytes)
{
    uint64_t count = get_varint(in);
    expect(in, count <= STREAMS_MAX, "too many streams");
    expect(in, count <= left(in) / bytes, "payload too short");
    return in->problem ? 0 : (uint32_t)count;
}

/* Into s->mark; the count. */
static uint32_t
get_marks(struct wire_in *in)
{
    struct wire_scratch *s     = in->s;
    uint32_t             count = get_count(in, 8 + 1);
    if (count > s->mark_cap) {
        s->mark     = mem_resize(s->mark, count * sizeof *s->mark);
        s->mark_cap = count;
    }
    for (uint32_t i = 0; i < count && !in->problem; i++) {
        s->mark[i].stream = get_stream(in);
        s->mark[i].seq    = get_varint(in);
        expect(in, s->mark[i].seq > 0, "seq out of range");
        expect(in, i == 0 || s->mark[i - 1].stream < s->mark[i].stream, "streams not sorted");
    }
    return in->problem ? 0 : count;
}

/* They leave in heads of HTTP one day, and SQLite shows text up to a NUL: so of control
 * characters there is the end of a line, and the tab that HTTP allows in a value. */
static bool
headers_are_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] < 0x20 && s.p[i] != '\n' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return utf8_is_valid(s);
}

/* Topic, headers and body are slices of the payload. */
static void
get_msg(struct wire_in *in, struct msg *m)
{
    m->flags = get_flags(in, WIRE_MSG_FLAGS);
    if (m->flags & MSG_DIGEST_ONLY) {
        m->digest = get_hash(in);
        return;
    }
    size_t body = get(in, 4);
    expect(in, body <= BODY_BYTES_MAX, "body too long");
    size_t topic = get(in, 2);
    expect(in, topic > 0 && topic <= TOPIC_BYTES_MAX, "topic empty or too long");
    m->topic       = get_bytes(in, topic);
    size_t headers = get(in, 4);
    expect(in, headers <= HEADERS_BYTES_MAX, "headers too long");
    m->headers = get_bytes(in, headers);
    m->body    = get_bytes(in, body);
    expect(in, headers_are_text(m->headers), "headers are not UTF-8, or hold a control character");
}

void
wire_get_hello(struct wire_in *in, struct frame *f)
{
    struct frame_hello *h = &f->hello;
    expect(in, str_eq(get_bytes(in, WIRE_MAGIC.n), WIRE_MAGIC), "not a Hearsay peer");
    h->version_min = (uint8_t)get(in, 1);
    h->version_max = (uint8_t)get(in, 1);
    expect(in, h->version_min > 0 && h->version_min <= h->version_max, "bad version range");
    h->cluster = get_text(in, 1, CLUSTER_BYTES_MAX);
    expect(in, h->cluster.n > 0, "no cluster name");
    h->addr         = get_addr(in);
    h->host         = get_text(in, 1, HOST_BYTES_MAX);
    h->nonce        = get(in, 8);
    h->capabilities = (uint32_t)get(in, 4);
}

void
wire_get_refuse(struct wire_in *in, struct frame *f)
{
    f->refuse.reason = (uint8_t)get(in, 1);
    f->refuse.text   = get_text(in, 2, WIRE_REFUSE_BYTES_MAX);
}

static void
get_member(struct wire_in *in, struct member_info *m)
{
    m->addr    = get_addr(in);
    m->host    = get_text(in, 1, HOST_BYTES_MAX);
    m->version = get(in, 8);
    m->nonce   = get(in, 8);
    m->flags   = get_flags(in, WIRE_MEMBER_FLAGS);
}

static void
get_row(struct wire_in *in, struct member_row *r, uint32_t members)
{
    r->member = (uint8_t)get(in, 1);
    expect(in, r->member < members, "row of no member");
    r->able  = get_bool(in);
    r->nonce = get(in, 8);
    r->count = get(in, 8);
    r->heard = (uint32_t)get(in, 4);
    expect(in, members >= 32 || r->heard >> members == 0, "heard of no member");
}

void
wire_get_members(struct wire_in *in, struct frame *f)
{
    struct frame_members *m = &f->members;
    m->member               = in->s->member;
    m->row                  = in->s->row;
    m->member_count         = (uint32_t)get(in, 1);
    expect(in, m->member_count <= WIRE_MEMBERS_COUNT_MAX, "too many members");
    for (uint32_t i = 0; i < m->member_count && !in->problem; i++)
        get_member(in, &in->s->member[i]);
    m->row_count = (uint32_t)get(in, 1);
    expect(in, m->row_count <= WIRE_MEMBERS_COUNT_MAX, "too many rows");
    for (uint32_t i = 0; i < m->row_count && !in->problem; i++)
        get_row(in, &in->s->row[i], m->member_count);
}

/* In the order of the list, and none that its floor tells. */
static void
get_head_gaps(struct wire_in *in, struct head *head, uint32_t heads)
{
    uint32_t count = get_count(in, 1 + 1);
    uint64_t next  = 0;
    expect(in, count > 0, "no gaps, and a flag that says so");
    for (uint32_t i = 0; i < count && !in->problem; i++) {
        uint64_t at  = get_varint(in);
        uint64_t gap = get_varint(in);
        expect(in, at >= next && at < heads, "gaps not sorted, or of no stream");
        if (in->problem)
            return;
        expect(in, gap > head[at].floor && gap <= head[at].head, "gap out of range");
        head[at].gap = gap;
        next         = at + 1;
    }
}

void
wire_get_heads(struct wire_in *in, struct frame *f)
{
    struct wire_scratch *s = in->s;
    struct frame_heads  *h = &f->heads;
    h->flags               = get_flags(in, WIRE_HEADS_FLAGS);
    h->token               = get_token(in);
    h->count               = get_count(in, 8 + 1 + 1);
    if (h->count > s->head_cap) {
        s->head     = mem_resize(s->head, h->count * sizeof *s->head);
        s->head_cap = h->count;
    }
    for (uint32_t i = 0; i < h->count && !in->problem; i++) {
        struct head *at = &s->head[i];
        at->stream      = get_stream(in);
        at->head        = get_varint(in);
        at->floor       = get_varint(in);
        at->gap         = 0;
        expect(in, at->head > 0 && at->floor <= at->head, "head or floor out of range");
        expect(in, i == 0 || at[-1].stream < at->stream, "streams not sorted");
    }
    if (h->flags & HEADS_GAPS && !in->problem)
        get_head_gaps(in, s->head, h->count);
    h->flags &= (uint8_t)~HEADS_GAPS;
    h->head = s->head;
}

/* The batch's blob: batch, messages, deps, origin, then the payload's messages as
 * they came, which topics, headers and bodies are slices of.  One copy. */
static void
get_batch(struct wire_in *in, struct batch **batch, const struct batch *head)
{
    size_t        msg_n = head->count * sizeof(struct msg);
    size_t        dep_n = head->deps_count * sizeof(struct mark), rest = left(in);
    struct batch *b    = blob_new(sizeof *b + msg_n + dep_n + head->origin.n + rest);
    struct msg   *msg  = (struct msg *)(void *)(b + 1);
    struct mark  *deps = (struct mark *)(void *)(msg + head->count);
    uint8_t      *at   = (uint8_t *)(deps + head->deps_count);

    *b      = *head;
    b->msg  = msg;
    b->deps = deps;
    if (dep_n > 0)
        memcpy(deps, in->s->mark, dep_n);
    b->origin.p = at;
    if (head->origin.n > 0)
        memcpy(at, head->origin.p, head->origin.n);
    at += head->origin.n;
    memcpy(at, in->p, rest);
    *batch = b; /* dropped by wire_decode when a problem is found below */

    *in           = (struct wire_in){.p = at, .end = at + rest, .s = in->s};
    size_t bodies = 0, others = head->origin.n + dep_n;
    for (uint32_t i = 0; i < b->count && !in->problem; i++) {
        get_msg(in, &msg[i]);
        bodies += msg[i].body.n;
        others += msg[i].topic.n + msg[i].headers.n;
    }
    expect(in, bodies <= BATCH_BODY_BYTES_MAX, "bodies of a batch too long");
    expect(in, others <= BATCH_REST_BYTES_MAX, "topics, headers and deps of a batch too long");
}

/* All that follows `head`. */
static void
get_messages(struct wire_in *in, struct batch **batch, const struct batch *head)
{
    expect(in, head->count > 0 && head->count <= BATCH_MESSAGES_MAX, "bad count of messages");
    expect(in, head->lamport_first > 0 && head->lamport_first + head->count - 1 <= STAMP_MAX,
           "stamp out of range");
    expect(in, left(in) / WIRE_MSG_BYTES_MIN >= head->count, "payload too short");
    if (in->problem)
        return;
    struct wire_in before = *in;
    get_batch(in, batch, head);
    if (in->problem || left(in) == 0)
        return;
    /* Fields of a later release, which would be kept for as long as the batch is. */
    before.end -= left(in);
    blob_drop(*batch);
    *in = before;
    get_batch(in, batch, head);
}

void
wire_get_push(struct wire_in *in, struct frame *f)
{
    struct batch head  = {0};
    f->push.flags      = get_flags(in, WIRE_PUSH_FLAGS);
    head.stream        = get_stream(in);
    head.first         = get_seq(in);
    head.count         = (uint32_t)get(in, 4);
    head.prev          = get_hash(in);
    head.chain         = get_hash(in);
    head.lamport_first = get_stamp(in);
    head.wall          = get_wall(in);
    head.origin        = get_text(in, 1, WIRE_ORIGIN_BYTES_MAX);
    head.deps_count    = get_marks(in);

    expect(in, head.first + head.count - 1 <= INT64_MAX, "seq out of range");
    get_messages(in, &f->push.batch, &head);
}

void
wire_get_live(struct wire_in *in, struct frame *f)
{
    struct batch head  = {0};
    head.count         = (uint32_t)get(in, 4);
    head.lamport_first = get_stamp(in);
    head.wall          = get_wall(in);
    head.origin        = get_text(in, 1, WIRE_ORIGIN_BYTES_MAX);
    expect(in, head.origin.n > 0, "no origin");
    get_messages(in, &f->live.batch, &head);
    for (uint32_t i = 0; i < head.count && !in->problem; i++)
        expect(in, f->live.batch->msg[i].flags == 0, "a live message without its body");
}

void
wire_get_pull(struct wire_in *in, struct frame *f)
{
    f->pull.have.count = get_marks(in);
    f->pull.have.at    = in->s->mark;
    f->pull.credit     = get(in, 8);
}

void
wire_get_credit(struct wire_in *in, struct frame *f)
{
    f->credit.bytes = get(in, 8);
}

void
wire_get_gap(struct wire_in *in, struct frame *f)
{
    struct frame_gap *g = &f->gap;
    g->stream           = get_stream(in);
    g->from             = get_seq(in);
    g->to               = get_seq(in);
    expect(in, g->from <= g->to, "gap ends before it begins");
    g->chain      = get_hash(in);
    g->stamp      = get_stamp(in);
    g->came       = get_wall(in);
    g->origin     = get_text(in, 1, WIRE_ORIGIN_BYTES_MAX);
    g->deps_count = get_marks(in);
    g->deps       = in->s->mark;
}

void
wire_get_latest(struct wire_in *in, struct frame *f)
{
    struct frame_latest *l = &f->latest;
    l->mark.stream         = get_stream(in);
    l->mark.seq            = get_seq(in);
    l->lamport             = get_stamp(in);
    l->wall                = get_wall(in);
    get_msg(in, &l->msg);
}

void
wire_get_ping(struct wire_in *in, struct frame *f)
{
    f->ping.id    = get(in, 8);
    f->ping.reply = get_bool(in);
    f->ping.token = get_token(in);
}

void
wire_get_election(struct wire_in *in, struct frame *f)
{
    f->election.stamp = get_stamp(in);
    f->election.token = get_token(in);
}

void
wire_get_away(struct wire_in *in, struct frame *f)
{
    (void)in, (void)f;
}

void
wire_get_forget(struct wire_in *in, struct frame *f)
{
    f->forget.addr    = get_addr(in);
    f->forget.version = get(in, 8);
    f->forget.nonce   = get(in, 8);
}
