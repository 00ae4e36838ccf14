#include "core/batch.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/digits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "core/filter.h"

#include <string.h>

/* ---- hashing: big-endian scalars into a small buffer ---- */

static uint8_t *
put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    return at + bytes;
}

struct hash128
batch_digest(struct str topic, struct str headers, struct str body)
{
    uint8_t topic_n[2], headers_n[4];
    put(topic_n, topic.n, sizeof topic_n);
    put(headers_n, headers.n, sizeof headers_n);
    const struct str part[] = {
        {topic_n, sizeof topic_n}, topic, {headers_n, sizeof headers_n}, headers, body};
    return hash128(part, sizeof part / sizeof *part);
}

static struct hash128
chain_of(const struct batch *b)
{
    enum { HEAD_BYTES = 16 + 8 + 8 + 4 + 8 + 8 + 1 };
    size_t   tail_n = 4 + (size_t)b->deps_count * 16 + (size_t)b->count * sizeof(struct hash128);
    uint8_t  head[HEAD_BYTES], small[2048];
    uint8_t *tail = tail_n <= sizeof small ? small : mem_new(tail_n);

    memcpy(head, b->prev.b, sizeof b->prev.b);
    uint8_t *at = put(head + sizeof b->prev.b, b->stream, 8);
    at          = put(at, b->first, 8);
    at          = put(at, b->count, 4);
    at          = put(at, b->lamport_first, 8);
    at          = put(at, (uint64_t)b->wall.ms, 8);
    put(at, b->origin.n, 1);

    at = put(tail, b->deps_count, 4);
    for (uint32_t i = 0; i < b->deps_count; i++)
        at = put(put(at, b->deps[i].stream, 8), b->deps[i].seq, 8);
    for (uint32_t i = 0; i < b->count; i++, at += sizeof(struct hash128))
        memcpy(at, b->msg[i].digest.b, sizeof(struct hash128));

    const struct str     part[] = {{head, sizeof head}, b->origin, {tail, tail_n}};
    const struct hash128 chain  = hash128(part, sizeof part / sizeof *part);
    if (tail != small)
        mem_free(tail);
    return chain;
}

/* ---- making ---- */

static size_t
msg_bytes(const struct msg *m)
{
    return m->topic.n + m->headers.n + m->body.n;
}

/* Copy `s` to *at and move on; an empty one points nowhere. */
static struct str
copy(uint8_t **at, struct str s)
{
    if (s.n == 0)
        return (struct str){0};
    struct str out = {*at, s.n};
    memcpy(*at, s.p, s.n);
    *at += s.n;
    return out;
}

/* All but digests and chain. */
static struct batch *
assemble(const struct batch_parts *p)
{
    CHECK(p->count > 0 && p->count <= BATCH_MESSAGES_MAX);
    CHECK(p->origin.n <= UINT8_MAX);
    size_t bytes = sizeof(struct batch) + p->count * sizeof(struct msg) +
                   p->deps_count * sizeof(struct mark) + p->origin.n;
    for (uint32_t i = 0; i < p->count; i++)
        bytes += msg_bytes(&p->msg[i]);

    struct batch *b    = blob_new(bytes);
    struct msg   *msg  = (struct msg *)(void *)(b + 1);
    struct mark  *deps = (struct mark *)(void *)(msg + p->count);
    uint8_t      *at   = (uint8_t *)(deps + p->deps_count);

    if (p->deps_count > 0)
        memcpy(deps, p->deps, p->deps_count * sizeof *deps);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct msg *m = &p->msg[i];
        msg[i].topic        = copy(&at, m->topic);
        msg[i].headers      = copy(&at, m->headers);
        msg[i].body         = copy(&at, m->body);
        msg[i].flags        = m->flags;
        msg[i].digest       = m->digest;
    }
    b->stream        = p->stream;
    b->first         = p->first;
    b->count         = p->count;
    b->prev          = p->prev;
    b->lamport_first = p->lamport_first;
    b->wall          = p->wall;
    b->origin        = copy(&at, p->origin);
    b->deps          = deps;
    b->deps_count    = p->deps_count;
    b->msg           = msg;
    return b;
}

/* The blob must be its maker's alone. */
static void
add_digests(struct batch *b)
{
    struct msg *msg = (struct msg *)(uintptr_t)b->msg;
    for (uint32_t i = 0; i < b->count; i++)
        if (!(msg[i].flags & MSG_DIGEST_ONLY))
            msg[i].digest = batch_digest(msg[i].topic, msg[i].headers, msg[i].body);
}

struct batch *
batch_make(const struct batch_parts *p)
{
    struct batch *b = assemble(p);
    add_digests(b);
    b->chain = chain_of(b);
    return b;
}

struct batch *
batch_make_live(const struct batch_parts *p)
{
    CHECK(p->stream == 0 && p->first == 0 && p->deps_count == 0 && p->origin.n > 0);
    return assemble(p);
}

struct batch *
batch_gap(const struct frame_gap *gap, uint64_t first, struct wall wall)
{
    CHECK(0 < first && first <= gap->to && gap->origin.n <= UINT8_MAX);
    size_t        deps_n = gap->deps_count * sizeof(struct mark);
    struct batch *b      = blob_new(sizeof *b + deps_n + gap->origin.n);
    struct mark  *deps   = (struct mark *)(void *)(b + 1);
    uint8_t      *at     = (uint8_t *)(deps + gap->deps_count);
    if (deps_n > 0)
        memcpy(deps, gap->deps, deps_n);
    *b = (struct batch){
        .stream        = gap->stream,
        .first         = first,
        .gap_last      = gap->to,
        .chain         = gap->chain,
        .lamport_first = gap->stamp,
        .wall          = wall,
        .origin        = copy(&at, gap->origin),
        .deps          = deps,
        .deps_count    = gap->deps_count,
    };
    return b;
}

size_t
batch_bytes(const struct batch *b)
{
    return blob_bytes(b);
}

enum { COST_OF_ONE = 128, COST_OF_MESSAGE = 16 };

size_t
batch_cost(const struct batch *b)
{
    size_t bytes = COST_OF_ONE + b->origin.n + (size_t)b->deps_count * sizeof(struct mark);
    for (uint32_t i = 0; i < b->count; i++)
        bytes += COST_OF_MESSAGE + msg_bytes(&b->msg[i]);
    return bytes;
}

size_t
latest_cost(const struct msg *m)
{
    return COST_OF_ONE + COST_OF_MESSAGE + msg_bytes(m);
}

bool
batch_digests(struct batch *b)
{
    add_digests(b);
    return hash128_eq(b->chain, chain_of(b));
}

/* ---- judging ---- */

static bool
messages_are_valid(const struct batch *b)
{
    size_t bodies = 0, rest = b->origin.n + b->deps_count * sizeof(struct mark);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct msg *m = &b->msg[i];
        if (!(m->flags & MSG_DIGEST_ONLY) && topic_problem(m->topic))
            return false;
        if (m->headers.n > HEADERS_BYTES_MAX)
            return false;
        bodies += m->body.n;
        rest += m->topic.n + m->headers.n;
    }
    return bodies <= BATCH_BODY_BYTES_MAX && rest <= BATCH_REST_BYTES_MAX;
}

static bool
is_mark(uint64_t stream, uint64_t seq)
{
    return 0 < stream && stream <= INT64_MAX && 0 < seq && seq <= INT64_MAX;
}

static bool
deps_are_valid(uint64_t stream, const struct mark *deps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (deps[i].seq == 0 || deps[i].stream == stream)
            return false;
        if (i > 0 && deps[i - 1].stream >= deps[i].stream)
            return false;
    }
    return true;
}

bool
batch_is_valid(const struct batch *b)
{
    if (!is_mark(b->stream, b->first))
        return false;
    if (b->count == 0 || b->count > BATCH_MESSAGES_MAX)
        return false;
    if (b->first > (uint64_t)INT64_MAX - b->count + 1)
        return false;
    if (b->lamport_first == 0 || b->lamport_first > STAMP_MAX - b->count + 1)
        return false;
    if ((b->first == 1) != (b->origin.n > 0))
        return false;
    return deps_are_valid(b->stream, b->deps, b->deps_count) && messages_are_valid(b);
}

bool
live_is_valid(const struct batch *b)
{
    if (b->stream != 0 || b->first != 0 || b->deps_count != 0 || b->origin.n == 0)
        return false;
    if (b->count == 0 || b->count > BATCH_MESSAGES_MAX)
        return false;
    if (b->lamport_first == 0 || b->lamport_first > STAMP_MAX - b->count + 1)
        return false;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->msg[i].flags != 0)
            return false;
    return messages_are_valid(b);
}

bool
gap_is_valid(const struct frame_gap *gap)
{
    return is_mark(gap->stream, gap->from) && is_mark(gap->stream, gap->to) &&
           gap->from <= gap->to && 0 < gap->stamp && gap->stamp <= STAMP_MAX && 0 < gap->origin.n &&
           gap->origin.n <= UINT8_MAX && gap->deps_count <= STREAMS_MAX &&
           deps_are_valid(gap->stream, gap->deps, gap->deps_count);
}

bool
latest_is_valid(const struct frame_latest *latest)
{
    const struct msg *m = &latest->msg;
    return is_mark(latest->mark.stream, latest->mark.seq) && 0 < latest->lamport &&
           latest->lamport <= STAMP_MAX && !(m->flags & MSG_DIGEST_ONLY) &&
           !topic_problem(m->topic) && m->headers.n <= HEADERS_BYTES_MAX &&
           utf8_is_valid(m->headers) && m->body.n <= BODY_BYTES_MAX;
}

/* ---- names and order ---- */

int
addr_cmp(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    int c = memcmp(a->ip, b->ip, sizeof a->ip);
    if (c != 0)
        return c < 0 ? -1 : 1;
    return a->port < b->port ? -1 : a->port > b->port;
}

int
token_cmp(const struct token *a, const struct token *b)
{
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    int c = addr_cmp(&a->addr, &b->addr);
    if (c != 0)
        return c;
    return a->nonce < b->nonce ? -1 : a->nonce > b->nonce;
}

size_t
mark_text(struct mark m, char text[MARK_TEXT_BYTES])
{
    digits_hex64(text, m.stream);
    text[DIGITS_HEX64] = '-';
    size_t n           = DIGITS_HEX64 + 1;
    n += digits_u64(text + n, m.seq);
    text[n] = '\0';
    return n;
}

/* RFC 5952: lower case, no leading zeros, the longest run of zero groups (two or
 * more, the first of equals) as "::". */
static char *
put_ip6(char *at, const uint8_t ip[16])
{
    unsigned group[8], run_at = 8, run_n = 1;
    for (unsigned i = 0; i < 8; i++)
        group[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > run_n) {
            run_at = i;
            run_n  = n;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == run_at) {
            *at++ = ':';
            *at++ = ':';
            i += run_n - 1;
            continue;
        }
        if (i > 0 && i != run_at + run_n)
            *at++ = ':';
        bool begun = false;
        for (int shift = 12; shift >= 0; shift -= 4) {
            unsigned nibble = group[i] >> shift & 15;
            if (nibble > 0 || begun || shift == 0) {
                *at++ = "0123456789abcdef"[nibble];
                begun = true;
            }
        }
    }
    return at;
}

void
addr_text(const struct addr *a, char text[ADDR_TEXT_BYTES])
{
    char *at = text;
    if (a->family == 6) {
        *at++ = '[';
        at    = put_ip6(at, a->ip);
        *at++ = ']';
    } else {
        for (int i = 0; i < 4; i++) {
            at += digits_u64(at, a->ip[i]);
            if (i < 3)
                *at++ = '.';
        }
    }
    *at++ = ':';
    at += digits_u64(at, a->port);
    *at = '\0';
}
