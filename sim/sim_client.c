#include "base/check.h"
#include "base/mem.h"
#include "core/vector.h"
#include "sim/oracle.h"
#include "sim/oracle_part.h"

#include <stdio.h>
#include <string.h>

/* ---- publishing ---- */

static void
see(struct vector *past, const struct vector *v)
{
    enum err e = vector_merge(past, v);
    CHECK(e == ERR_OK);
}

static uint32_t
make(struct sim *s, uint32_t i, const char *topic, const char *body)
{
    if (s->publish_count == s->publish_cap) {
        s->publish_cap = s->publish_cap > 0 ? s->publish_cap * 2 : 64;
        s->publish     = mem_resize(s->publish, s->publish_cap * sizeof *s->publish);
    }
    uint32_t            number = s->publish_count++;
    struct sim_publish *p      = &s->publish[number];
    *p = (struct sim_publish){.node = i, .life = s->node[i].life, .outcome = SIM_PENDING};
    vector_init(&p->past);
    snprintf(p->topic, sizeof p->topic, "%s", topic);
    snprintf(p->body, sizeof p->body, "%s", body);
    return number;
}

static void
hand_in(struct sim *s, struct sim_publish *p)
{
    struct broker *b = s->node[p->node].broker;
    see(&p->past, broker_vector(b));
    struct effects effects = broker_step(
        b, (struct mono){s->now_ms}, sim_wall(s, p->node),
        &(struct fact){.kind    = FACT_PUBLISH,
                       .publish = {str_of(p->topic), .body = str_of(p->body), .stamp = p->stamp}});
    CHECK(effects.count == 0);
    p->serial    = effects.serial;
    p->live      = effects.live;
    p->outcome   = effects.err == ERR_OK ? SIM_PENDING : (int)effects.err;
    p->handed_ms = s->now_ms;
    oracle_handed_in(s, p);
}

static uint32_t
publish(struct sim *s, uint32_t i, const char *topic, const char *body)
{
    uint32_t number = make(s, i, topic, body);
    hand_in(s, &s->publish[number]);
    return number;
}

uint32_t
sim_publish(struct sim *s, uint32_t i, const char *topic, const char *body)
{
    uint32_t number = publish(s, i, topic, body);
    node_turn(s, i);
    return number;
}

uint32_t
sim_hand_in(struct sim *s, uint32_t i, const char *topic, const char *body)
{
    return publish(s, i, topic, body);
}

void
sim_turn(struct sim *s, uint32_t i)
{
    node_turn(s, i);
}

uint32_t
sim_acked(const struct sim *s)
{
    return s->acked;
}

uint32_t
sim_publish_stamp(struct sim *s, uint32_t i, const char *topic, const char *body, uint64_t stamp)
{
    uint32_t number          = make(s, i, topic, body);
    s->publish[number].stamp = stamp;
    s->stamped++;
    hand_in(s, &s->publish[number]);
    node_turn(s, i);
    return number;
}

uint32_t
sim_publish_acks(struct sim *s, uint32_t i, const char *topic, const char *body, int copies,
                 uint64_t ms)
{
    uint32_t            number = publish(s, i, topic, body);
    struct sim_publish *p      = &s->publish[number];
    if (copies > 0)
        sim_tell(s, "%s takes %s: %d copies within %llu ms", s->node[i].host, body, copies,
                 (unsigned long long)ms);
    else
        sim_tell(s, "%s takes %s: %s within %llu ms", s->node[i].host, body,
                 copies == COPIES_ALL ? "all copies" : "a majority of copies",
                 (unsigned long long)ms);
    p->wanted  = copies;
    p->wait_ms = ms;
    p->copies  = SIM_PENDING;
    node_turn(s, i);
    return number;
}

uint32_t
sim_publish_after(struct sim *s, uint32_t i, const char *topic, const char *body, uint32_t sub)
{
    uint32_t            number = make(s, i, topic, body);
    struct sim_publish *p      = &s->publish[number];
    p->is_after                = true;
    see(&p->past, &s->sub[sub].cursor);
    node_step(s, i,
              &(struct fact){.kind  = FACT_AWAIT,
                             .await = {.kind     = AWAIT_AFTER,
                                       .vector   = p->past,
                                       .deadline = {s->now_ms + 1000},
                                       .ref      = number}});
    node_turn(s, i);
    return number;
}

/* Nothing may step while effects are carried out: the wait begins behind them. */
static void
await_soon(struct sim *s, uint32_t number)
{
    if (s->stored_count == s->stored_cap) {
        s->stored_cap = s->stored_cap > 0 ? s->stored_cap * 2 : 16;
        s->stored     = mem_resize(s->stored, s->stored_cap * sizeof *s->stored);
    }
    s->stored[s->stored_count++] = number;
}

/* What its client waited for is there, or not in time. */
static void
go_on(struct sim *s, struct sim_publish *p)
{
    p->is_after = false;
    if (!p->reached)
        vector_reset(&p->past);
    hand_in(s, p);
    node_step(s, p->node, &(struct fact){.kind = FACT_TURN});
}

void
client_await(struct sim *s, uint32_t i)
{
    uint32_t left = 0;
    for (uint32_t k = 0; k < s->stored_count; k++) {
        struct sim_publish *p = &s->publish[s->stored[k]];
        if (p->node != i) {
            s->stored[left++] = s->stored[k];
            continue;
        }
        if (p->is_after) {
            go_on(s, p);
            continue;
        }
        node_step(s, i,
                  &(struct fact){.kind  = FACT_AWAIT,
                                 .await = {.kind     = AWAIT_COPIES,
                                           .mark     = p->mark,
                                           .copies   = p->wanted,
                                           .deadline = {s->now_ms + p->wait_ms},
                                           .ref      = s->stored[k]}});
    }
    s->stored_count = left;
}

enum { REF_AFTER = -1 }; /* of wait_for(), where others have the number of a publish */

static bool
is_after_over(struct sim *s)
{
    return s->after != SIM_PENDING;
}

static bool
wait_for(struct sim *s, uint32_t i, enum await_kind kind, struct vector vector, uint64_t ms)
{
    s->after = SIM_PENDING;
    node_step(s, i,
              &(struct fact){.kind  = FACT_AWAIT,
                             .await = {.kind     = kind,
                                       .vector   = vector,
                                       .deadline = {s->now_ms + ms},
                                       .ref      = (uint64_t)REF_AFTER}});
    node_turn(s, i);
    bool over = sim_until(s, is_after_over, ms + 1000);
    CHECK(over);
    return s->after != 0;
}

uint64_t
sim_after(struct sim *s, uint32_t i, struct mark m, bool *causal)
{
    uint64_t start = s->now_ms;
    *causal        = wait_for(s, i, AWAIT_AFTER, (struct vector){&m, 1, 1}, 1000);
    sim_tell(s, "%s lets a client publish after %llu ms, %s", s->node[i].host,
             (unsigned long long)(s->now_ms - start),
             *causal ? "with what it had seen" : "without what it had seen");
    return s->now_ms - start;
}

bool
sim_covered(struct sim *s, uint32_t i, uint32_t number, uint64_t ms)
{
    uint64_t start = s->now_ms;
    bool     has   = wait_for(s, i, AWAIT_COVERED, s->sub[number].cursor, ms);
    sim_tell(s, "%s %s what subscriber %u has seen, after %llu ms", s->node[i].host,
             has ? "has" : "lacks", number, (unsigned long long)(s->now_ms - start));
    return has;
}

void
client_awaited(struct sim *s, uint32_t i, const struct effect *e)
{
    if (e->awaited.ref == (uint64_t)REF_AFTER) {
        s->after = e->awaited.reached;
        return;
    }
    struct sim_publish *p = &s->publish[e->awaited.ref];
    if (p->is_after) {
        p->reached = e->awaited.reached;
        await_soon(s, (uint32_t)e->awaited.ref);
        return;
    }
    CHECK(p->copies == SIM_PENDING); /* answered once */
    p->copies  = (int)e->awaited.copies;
    p->reached = e->awaited.reached;
    oracle_copies(s, i, p->mark, e->awaited.copies);
    sim_tell(s, "%s answers %s: %d copies%s", s->node[i].host, p->body, p->copies,
             p->reached ? "" : ", too few in time");
}

int
sim_copies(const struct sim *s, uint32_t number, bool *reached)
{
    *reached = s->publish[number].reached;
    return s->publish[number].copies;
}

void
sim_waits(const struct sim *s, uint64_t *all, uint64_t *too_few)
{
    for (uint32_t k = 0; k < s->publish_count; k++) {
        const struct sim_publish *p = &s->publish[k];
        if (p->wanted == 0 || p->outcome != ERR_OK || p->copies == SIM_PENDING)
            continue;
        *all += p->reached && p->wanted == COPIES_ALL && p->copies > 1;
        *too_few += !p->reached;
    }
}

void
client_answer(struct sim *s, uint32_t i, const struct effect *e)
{
    uint64_t first = e->answer.serial, last = first + e->answer.count - 1;
    for (uint32_t k = 0; k < s->publish_count; k++) {
        struct sim_publish *p = &s->publish[k];
        if (p->node != i || p->life != s->node[i].life || p->serial < first || p->serial > last ||
            p->live != e->answer.live)
            continue;
        CHECK(p->outcome == SIM_PENDING); /* answered once */
        if (p->live) {
            live_answer(s, i, p, e);
            continue;
        }
        p->outcome = (int)e->answer.err;
        p->mark    = e->answer.mark;
        p->mark.seq += p->serial - first;
        p->answered_ms = s->now_ms;
        s->acked += p->outcome == ERR_OK;
        oracle_answer(s, i, p);
        if (e->answer.err == ERR_OK && p->wanted != 0)
            await_soon(s, k);
        if (e->answer.err != ERR_OK)
            sim_tell(s, "%s answers %s: %s", s->node[i].host, p->body, err_text(e->answer.err));
    }
}

int
sim_outcome(const struct sim *s, uint32_t publish)
{
    return s->publish[publish].outcome;
}

struct mark
sim_mark(const struct sim *s, uint32_t publish)
{
    return s->publish[publish].mark;
}

/* ---- subscribing ---- */

static void
note_place(struct sim *s, struct sim_sub *sub)
{
    bool placed = broker_cursor(s->node[sub->node].broker, sub->session, &sub->cursor, &sub->stamp);
    CHECK(placed || sub->by_time);
    if (sub->begun && placed)
        past_cursor(s, sub);
}

static uint32_t
split(struct str text, struct str filter[FILTERS_MAX])
{
    uint32_t n = 0;
    while (text.n > 0) {
        CHECK(n < FILTERS_MAX);
        filter[n] = str_cut(text, 0, str_index(text, ' '));
        text      = str_cut(text, filter[n++].n + 1, text.n);
    }
    return n;
}

static void
attach(struct sim *s, uint32_t number, enum subscribe_from from, uint64_t since_ms)
{
    struct sim_sub  *sub = &s->sub[number];
    struct sim_node *n   = &s->node[sub->node];
    struct str       filter[FILTERS_MAX];
    uint32_t         count = split(str_of(sub->filter), filter);
    if (from == FROM_CURSOR)
        oracle_cursor(s, sub);
    struct effects effects = broker_step(
        n->broker, (struct mono){s->now_ms}, sim_wall(s, sub->node),
        &(struct fact){.kind      = FACT_SUBSCRIBE,
                       .subscribe = {.filter       = filter,
                                     .filter_count = count,
                                     .from         = from,
                                     .cursor       = sub->cursor,
                                     .cursor_stamp = sub->stamp,
                                     .since = {(int64_t)(s->now_ms - since_ms) + n->clock_ms},
                                     .ref   = number}});
    CHECK(effects.err == ERR_OK);
    sub->session    = effects.session;
    sub->open       = true;
    sub->live_since = sub->live_count;
    sub->live_due   = 0;
    if (from == FROM_LATEST ||
        from == FROM_EARLIEST) { /* what lies before is nothing that it is to be given */
        note_place(s, sub);
        enum err e = vector_copy(&sub->told, &sub->cursor);
        CHECK(e == ERR_OK);
        sub->begun = true;
    }
    node_turn(s, sub->node);
}

static uint32_t
subscribe(struct sim *s, uint32_t i, const char *filter, enum subscribe_from from,
          uint64_t since_ms)
{
    CHECK(s->sub_count < SIM_SUBS_MAX);
    uint32_t        number = s->sub_count++;
    struct sim_sub *sub    = &s->sub[number];
    *sub = (struct sim_sub){.node = i, .takes = UINT32_MAX, .by_time = from == FROM_SINCE};
    CHECK(strlen(filter) < sizeof sub->filter);
    snprintf(sub->filter, sizeof sub->filter, "%s", filter);
    vector_init(&sub->cursor);
    vector_init(&sub->told);
    vector_init(&sub->past);
    buf_init(&sub->got, 0);
    attach(s, number, from, since_ms);
    if (sub->open)
        note_place(s, sub);
    return number;
}

uint32_t
sim_subscribe(struct sim *s, uint32_t i, const char *filter, enum subscribe_from from)
{
    return subscribe(s, i, filter, from, 0);
}

uint32_t
sim_subscribe_since(struct sim *s, uint32_t i, const char *filter, uint64_t ms)
{
    return subscribe(s, i, filter, FROM_SINCE, ms);
}

void
sim_take(struct sim *s, uint32_t number, uint32_t count)
{
    struct sim_sub *sub = &s->sub[number];
    sub->takes          = count;
    if (sub->open && s->node[sub->node].broker)
        node_turn(s, sub->node);
}

void
sim_hear_cursor(struct sim *s, uint32_t number)
{
    CHECK(s->sub[number].open);
    note_place(s, &s->sub[number]);
}

void
sim_leave(struct sim *s, uint32_t number)
{
    struct sim_sub *sub = &s->sub[number];
    if (sub->open && s->node[sub->node].broker)
        node_step(s, sub->node,
                  &(struct fact){.kind = FACT_UNSUBSCRIBE, .unsubscribe = {sub->session}});
    sub->open    = false;
    sub->held_up = false;
}

void
sim_move(struct sim *s, uint32_t number, uint32_t i)
{
    sim_leave(s, number);
    s->sub[number].node = i;
    attach(s, number, FROM_CURSOR, 0);
}

uint64_t
sim_gone(const struct sim *s, uint32_t sub)
{
    return s->sub[sub].gone;
}

uint64_t
sim_late(const struct sim *s, uint32_t sub)
{
    return s->sub[sub].late;
}

const char *
sim_got(const struct sim *s, uint32_t sub)
{
    struct buf *got = (struct buf *)(uintptr_t)&s->sub[sub].got;
    uint8_t    *room;
    enum err    e = buf_room(got, 1, &room);
    CHECK(e == ERR_OK);
    *room = 0;
    return (const char *)buf_str(got).p;
}

static void
tell_gap(struct sim *s, struct sim_sub *sub, const struct entry *entry)
{
    uint64_t count = entry->gap_to - entry->mark.seq + 1;
    sub->gone += count;
    if (!s->config.terse)
        sim_tell(s, "%s says that %llu of %.*s are gone", s->node[sub->node].host,
                 (unsigned long long)count, STR_ARG(entry->origin));
    note_place(s, sub);
}

/* It came from some time on: what lies before its first message is nothing that it is to be
 * given. */
static void
begin_by_time(struct sim *s, struct sim_sub *sub, struct mark first)
{
    note_place(s, sub);
    enum err e = vector_copy(&sub->told, &sub->cursor);
    CHECK(e == ERR_OK);
    e = vector_set(&sub->told, (struct mark){first.stream, first.seq - 1});
    CHECK(e == ERR_OK);
    sub->by_time = false;
}

static void
deliver(struct sim *s, uint32_t number, const struct entry *entry)
{
    struct sim_sub *sub = &s->sub[number];
    if (entry->live > 0) {
        live_deliver(s, sub, entry);
        return;
    }
    if (sub->by_time)
        begin_by_time(s, sub, entry->mark);
    past_deliver(s, sub, entry);
    if (entry->gap_to > 0) {
        tell_gap(s, sub, entry);
        return;
    }
    sub->late += entry->late;
    if (sub->count == sub->cap) {
        sub->cap  = sub->cap > 0 ? sub->cap * 2 : 16;
        sub->mark = mem_resize(sub->mark, sub->cap * sizeof *sub->mark);
    }
    sub->mark[sub->count++] = entry->mark;
    enum err e = buf_addf(&sub->got, "%s%.*s", sub->got.n > 0 ? " " : "", STR_ARG(entry->body));
    CHECK(e == ERR_OK);
    if (!s->config.terse)
        sim_tell(s, "%s delivers %.*s: %.*s%s", s->node[sub->node].host, STR_ARG(entry->topic),
                 STR_ARG(entry->body), entry->late ? " (late)" : "");
    note_place(s, sub);
}

/* As a socket does: pulls while there is room. */
static void
take(struct sim *s, uint32_t number)
{
    struct sim_sub *sub = &s->sub[number];
    struct broker  *b   = s->node[sub->node].broker;
    struct entry    entry;
    sub->held_up = false;
    while (sub->takes > 0 && broker_pull(b, sub->session, &entry) == ERR_OK) {
        sub->takes -= sub->takes < UINT32_MAX;
        deliver(s, number, &entry);
    }
    if (sub->takes == 0) {
        broker_stall(b, sub->session);
        sub->held_up = true;
    }
    note_place(s, sub);
}

bool
client_drain(struct sim *s, uint32_t i)
{
    uint64_t session, ref;
    bool     any = false;
    for (uint32_t k = 0; k < s->sub_count; k++) {
        if (s->sub[k].node != i || !s->sub[k].held_up || s->sub[k].takes == 0)
            continue;
        take(s, k);
        any = true;
    }
    while (broker_ready(s->node[i].broker, &session, &ref)) {
        CHECK(s->sub[ref].open && s->sub[ref].session == session);
        take(s, (uint32_t)ref);
        any = true;
    }
    return any;
}

void
client_crash(struct sim *s, uint32_t i)
{
    for (uint32_t k = 0; k < s->sub_count; k++)
        if (s->sub[k].node == i)
            s->sub[k].open = s->sub[k].held_up = false;
}
