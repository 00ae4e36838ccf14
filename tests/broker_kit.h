/* broker_kit.h - one broker and nothing else: facts go in, and what comes out is noted. */
#ifndef TESTS_BROKER_KIT_H
#define TESTS_BROKER_KIT_H

#include "tests/core_kit.h"

#include "core/broker.h"
#include "core/page.h"
#include "core/roster.h"

enum { SELF_PORT = 3001, SELF_NONCE = 1001, EFFECTS_PER_STEP_MAX = 256 };

/* An effect, as far as it outlives its step. */
struct seen {
    enum effect_kind kind;
    uint32_t         link;
    enum frame_kind  frame;
    uint64_t         a, b; /* see note() */
    enum err         err;
    struct mark      mark;
    uint64_t         lamport;
};

struct desk {
    struct broker *b;
    struct mono    now;
    struct effects last; /* of the last step */
    struct seen    seen[4096];
    uint32_t       seen_count;
    struct commit  commit[64]; /* at the store, a ring */
    uint32_t       commit_first, commit_count;
    uint64_t       lsn;
    size_t         blobs; /* before it all */
};

static inline struct addr
at_port(uint16_t port)
{
    return (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = port};
}

static inline void
open_desk_retiring(struct desk *d, uint64_t retire_ms)
{
    const struct broker_config config = {.cluster   = STR("hearsay"),
                                         .self      = at_port(SELF_PORT),
                                         .host      = STR("localhost"),
                                         .nonce     = SELF_NONCE,
                                         .seed      = 5,
                                         .retire_ms = retire_ms,
                                         .options   = {.tail_bytes = 1 << 20}};
    memset(d, 0, sizeof *d);
    d->blobs = blob_bytes_used();
    d->now   = (struct mono){50000};
    d->b     = broker_new(&config, d->now);
}

static inline void
open_desk(struct desk *d)
{
    open_desk_retiring(d, 0);
}

static inline void
close_desk(struct desk *d)
{
    for (; d->commit_count > 0; d->commit_count--, d->commit_first++)
        commit_drop(&d->commit[d->commit_first % 64]);
    broker_free(d->b);
    assert_int_equal(blob_bytes_used(), d->blobs);
}

static inline void
forget_seen(struct desk *d)
{
    d->seen_count = 0;
}

static inline void
note_frame(struct seen *s, const struct frame *f)
{
    s->frame = f->kind;
    if (f->kind == FRAME_REFUSE)
        s->a = f->refuse.reason;
    if (f->kind == FRAME_PING) {
        s->a = f->ping.id;
        s->b = f->ping.reply;
    }
    if (f->kind == FRAME_PUSH)
        s->mark = (struct mark){f->push.batch->stream, f->push.batch->first};
    if (f->kind == FRAME_HEADS)
        s->a = f->heads.flags;
}

static inline void
note(struct desk *d, const struct effect *e)
{
    assert_true(d->seen_count < 4096);
    struct seen *s = &d->seen[d->seen_count++];
    *s             = (struct seen){.kind = e->kind};
    switch (e->kind) {
    case EFFECT_SEND:
        s->link = e->send.link;
        note_frame(s, &e->send.frame);
        break;
    case EFFECT_CLOSE:
        s->link = e->close.link;
        break;
    case EFFECT_PERSIST:
        s->a = e->persist.kind;
        assert_true(d->commit_count < 64);
        d->commit[(d->commit_first + d->commit_count++) % 64] = e->persist;
        break;
    case EFFECT_READ:
        s->a = e->read.reader;
        break;
    case EFFECT_ANSWER:
        s->a       = e->answer.serial;
        s->b       = e->answer.count;
        s->err     = e->answer.err;
        s->mark    = e->answer.mark;
        s->lamport = e->answer.lamport;
        break;
    case EFFECT_AWAITED:
        s->a   = e->awaited.ref;
        s->b   = e->awaited.copies;
        s->err = e->awaited.reached ? ERR_OK : ERR_TIMEOUT;
        break;
    case EFFECT_DIAL:
        s->a = e->dial.addr.port;
        break;
    }
}

static inline enum err
step(struct desk *d, const struct fact *f)
{
    d->last = broker_step(d->b, d->now, (struct wall){1700000000000}, f);
    assert_true(d->last.count <= EFFECTS_PER_STEP_MAX);
    for (uint32_t i = 0; i < d->last.count; i++)
        note(d, &d->last.at[i]);
    return d->last.err;
}

static inline void
turn(struct desk *d)
{
    assert_int_equal(step(d, &(struct fact){.kind = FACT_TURN}), ERR_OK);
}

/* Time passes in small steps, as in a process that runs. */
static inline void
pass(struct desk *d, uint64_t ms)
{
    for (uint64_t gone = 0; gone < ms;) {
        uint64_t some = ms - gone < 100 ? ms - gone : 100;
        d->now        = mono_after(d->now, some);
        gone += some;
        turn(d);
    }
}

/* ---- what was seen ---- */

static inline const struct seen *
seen_nth(const struct desk *d, enum effect_kind kind, uint32_t n)
{
    for (uint32_t i = 0; i < d->seen_count; i++)
        if (d->seen[i].kind == kind && n-- == 0)
            return &d->seen[i];
    return NULL;
}

static inline const struct seen *
sent(const struct desk *d, uint32_t link, enum frame_kind kind)
{
    for (uint32_t i = 0; i < d->seen_count; i++)
        if (d->seen[i].kind == EFFECT_SEND && d->seen[i].link == link && d->seen[i].frame == kind)
            return &d->seen[i];
    return NULL;
}

static inline uint32_t
count_sent(const struct desk *d, uint32_t link, enum frame_kind kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->seen_count; i++)
        n += d->seen[i].kind == EFFECT_SEND && d->seen[i].link == link && d->seen[i].frame == kind;
    return n;
}

static inline uint32_t
count_seen(const struct desk *d, enum effect_kind kind)
{
    uint32_t n = 0;
    while (seen_nth(d, kind, n))
        n++;
    return n;
}

static inline bool
is_closed(const struct desk *d, uint32_t link)
{
    for (uint32_t i = 0; i < d->seen_count; i++)
        if (d->seen[i].kind == EFFECT_CLOSE && d->seen[i].link == link)
            return true;
    return false;
}

/* Refused for this reason and closed; 0: neither. */
static inline void
assert_refused(const struct desk *d, uint32_t link, enum refuse_reason reason)
{
    const struct seen *s = sent(d, link, FRAME_REFUSE);
    assert_int_equal(s ? s->a : 0, reason);
    assert_int_equal(is_closed(d, link), reason != 0);
}

/* ---- links ---- */

static inline void
open_link(struct desk *d, uint32_t link, uint16_t dialled_port)
{
    step(d,
         &(struct fact){
             .kind = FACT_LINK_OPENED,
             .link = {.link = link, .dialled = dialled_port > 0, .addr = at_port(dialled_port)}});
}

static inline void
close_link(struct desk *d, uint32_t link)
{
    step(d, &(struct fact){.kind = FACT_LINK_CLOSED, .link = {.link = link}});
}

static inline void
get(struct desk *d, uint32_t link, const struct frame *f)
{
    step(d, &(struct fact){.kind = FACT_FRAME, .frame = {.link = link, .frame = f}});
}

static inline struct frame
hello_of(uint16_t port, uint64_t nonce)
{
    return (struct frame){.kind  = FRAME_HELLO,
                          .hello = {.version_min = PROTOCOL_VERSION,
                                    .version_max = PROTOCOL_VERSION,
                                    .cluster     = STR("hearsay"),
                                    .addr        = at_port(port),
                                    .host        = STR("localhost"),
                                    .nonce       = nonce}};
}

static inline void
get_hello(struct desk *d, uint32_t link, uint16_t port, uint64_t nonce)
{
    struct frame hello = hello_of(port, nonce);
    get(d, link, &hello);
}

static inline void
get_ping(struct desk *d, uint32_t link, uint64_t id, bool reply)
{
    get(d, link, &(struct frame){.kind = FRAME_PING, .ping = {.id = id, .reply = reply}});
}

/* Takes over the batch's reference. */
static inline void
get_push(struct desk *d, uint32_t link, struct batch *b)
{
    get(d, link, &(struct frame){.kind = FRAME_PUSH, .push = {.batch = b}});
}

static inline void
get_heads(struct desk *d, uint32_t link, uint64_t stream, uint64_t seq)
{
    const struct head h = {.stream = stream, .head = seq};
    get(d, link, &(struct frame){.kind = FRAME_HEADS, .heads = {.head = &h, .count = 1}});
}

/* A link that they opened, up; what was said on the way is forgotten. */
static inline void
link_up(struct desk *d, uint32_t link, uint16_t port, uint64_t nonce)
{
    open_link(d, link, 0);
    get_hello(d, link, port, nonce);
    assert_refused(d, link, 0);
    forget_seen(d);
}

static inline bool
is_linked(const struct desk *d, uint16_t port)
{
    const struct addr a    = at_port(port);
    int               slot = roster_find(broker_roster(d->b), &a);
    return slot >= 0 && roster_linked(broker_roster(d->b)) >> slot & 1;
}

/* ---- clients and the store ---- */

static inline enum err
publish(struct desk *d, const char *body)
{
    return step(d, &(struct fact){.kind    = FACT_PUBLISH,
                                  .publish = {.topic = STR("t"), .body = str_of(body)}});
}

/* The store answers its oldest commit. */
static inline enum commit_kind
store_answers(struct desk *d, enum err err)
{
    assert_true(d->commit_count > 0);
    struct commit c     = d->commit[d->commit_first++ % 64];
    uint64_t      first = d->lsn + 1;
    d->commit_count--;
    if (err == ERR_OK && c.kind == COMMIT_BATCH)
        d->lsn += batch_lsns(c.batch);
    if (err == ERR_OK && c.kind == COMMIT_GAPS)
        d->lsn += c.gaps->count;
    step(d, &(struct fact){.kind      = FACT_PERSISTED,
                           .persisted = {.id = c.id, .err = err, .lsn_first = first}});
    commit_drop(&c);
    return c.kind;
}

static inline void
store_answers_all(struct desk *d, enum err err)
{
    while (d->commit_count > 0)
        store_answers(d, err);
}

/* What the start of the broker and its links set in motion is done and forgotten. */
static inline void
settle(struct desk *d)
{
    turn(d);
    store_answers_all(d, ERR_OK);
    forget_seen(d);
}

/* The n-th answer since forget_seen(). */
static inline void
assert_answer(const struct desk *d, uint32_t n, uint64_t serial, uint64_t count, enum err err)
{
    const struct seen *s = seen_nth(d, EFFECT_ANSWER, n);
    assert_non_null(s);
    assert_int_equal(s->a, serial);
    assert_int_equal(s->b, count);
    assert_int_equal(s->err, err);
}

#endif
