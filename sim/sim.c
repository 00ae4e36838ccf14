#include "sim/sim.h"

#include "base/blob.h"
#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/page.h"
#include "core/vector.h"
#include "sim/oracle_part.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- events: a binary heap by (time, order) ---- */

static bool
before(const struct event *a, const struct event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void
heap_push(struct sim *s, struct event *e)
{
    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap > 0 ? s->heap_cap * 2 : 64;
        s->heap     = mem_resize(s->heap, s->heap_cap * sizeof(struct event *));
    }
    uint32_t i = s->heap_count++;
    for (; i > 0 && before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

static struct event *
heap_pop(struct sim *s)
{
    struct event *top = s->heap[0], *last = s->heap[--s->heap_count];
    uint32_t      i = 0, n = s->heap_count;
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(s->heap[child], last))
            break;
        s->heap[i] = s->heap[child];
    }
    if (n > 0)
        s->heap[i] = last;
    return top;
}

struct event *
event_new(struct sim *s, enum event_kind kind, uint32_t node, uint64_t in_ms)
{
    struct event *e = mem_new(sizeof *e);
    e->at_ms        = s->now_ms + in_ms;
    e->order        = ++s->order;
    e->kind         = kind;
    e->node         = node;
    e->life         = s->node[node].life;
    list_init(&e->in_inbox);
    buf_init(&e->bytes, 0);
    heap_push(s, e);
    return e;
}

static void
event_free(struct event *e)
{
    buf_fini(&e->bytes);
    if (e->kind == EVENT_PAGE) {
        vector_fini(&e->read.have);
        blob_drop((void *)(uintptr_t)e->read.want_ctx);
    }
    mem_free(e);
}

/* ---- a node ---- */

struct wall
sim_wall(const struct sim *s, uint32_t i)
{
    return (struct wall){(int64_t)(s->now_ms + 1000 * i) + s->node[i].clock_ms};
}

static void
carry_out_one(struct sim *s, uint32_t i, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_DIAL:
        net_dial(s, i, &e->dial.addr);
        break;
    case EFFECT_SEND:
        net_send(s, i, e->send.link, &e->send.frame);
        break;
    case EFFECT_CLOSE:
        net_close(s, i, e->close.link);
        break;
    case EFFECT_PERSIST:
        disk_commit(s, i, &e->persist);
        break;
    case EFFECT_READ:
        disk_read(s, i, e->read.reader, &e->read.read);
        break;
    case EFFECT_ANSWER:
        client_answer(s, i, e);
        break;
    case EFFECT_AWAITED:
        client_awaited(s, i, e);
        break;
    }
}

/* Who is doomed does nothing any more; what was to be the store's is dropped. */
static void
carry_out(struct sim *s, uint32_t i, const struct effects *effects)
{
    struct sim_node *n = &s->node[i];
    for (uint32_t k = 0; k < effects->count; k++) {
        const struct effect *e = &effects->at[k];
        if (!n->doomed)
            carry_out_one(s, i, e);
        else if (e->kind == EFFECT_PERSIST)
            commit_drop(&e->persist);
        if (n->crash_in > 0 && --n->crash_in == 0)
            n->doomed = true;
    }
}

void
node_step(struct sim *s, uint32_t i, const struct fact *f)
{
    struct effects effects =
        broker_step(s->node[i].broker, (struct mono){s->now_ms}, sim_wall(s, i), f);
    oracle_effects(s, i, &effects);
    carry_out(s, i, &effects);
}

static void drop_node(struct sim *s, uint32_t i);

/* A process that died between two effects is gone before anything else happens. */
static bool
is_buried(struct sim *s, uint32_t i)
{
    if (!s->node[i].doomed)
        return false;
    sim_tell(s, "%s crashes in the middle of a step", s->node[i].host);
    drop_node(s, i);
    return true;
}

void
node_turn(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->node[i];
    node_step(s, i, &(struct fact){.kind = FACT_TURN});
    client_await(s, i);
    if (!n->doomed && client_drain(s, i))
        node_step(s, i, &(struct fact){.kind = FACT_TURN}); /* reads that pulling asked for */
    if (is_buried(s, i))
        return;
    oracle_event(s, i);
    live_turn(s, i);
    struct mono at = broker_deadline(n->broker);
    uint64_t    ms = at.ms > s->now_ms ? at.ms : s->now_ms + 1;
    if (ms < n->wake_ms) {
        n->wake_ms = ms;
        event_new(s, EVENT_WAKE, i, ms - s->now_ms);
    }
}

static void
handle(struct sim *s, const struct event *e)
{
    uint32_t i = e->node;
    switch (e->kind) {
    case EVENT_WAKE:
        s->node[i].wake_ms = UINT64_MAX;
        node_step(s, i, &(struct fact){.kind = FACT_TIME});
        break;
    case EVENT_COMMIT:
        disk_done(s, i);
        break;
    case EVENT_TOLD:
        disk_told(s, i);
        break;
    case EVENT_PAGE:
        disk_page(s, i, e);
        break;
    case EVENT_RETAIN:
        disk_retain(s, i);
        break;
    case EVENT_OPEN:
    case EVENT_FAIL:
    case EVENT_BYTES:
    case EVENT_CLOSE:
    case EVENT_GOOD:
        net_event(s, e);
        break;
    }
    if (s->node[i].broker)
        node_turn(s, i);
}

/* ---- the world ---- */

static struct addr
addr_of(uint32_t i)
{
    return (struct addr){.family = 4, .ip = {10, 0, 0, 1}, .port = (uint16_t)(3000 + i)};
}

struct sim *
sim_new(const struct sim_config *config)
{
    struct sim *s = mem_new(sizeof *s);
    CHECK(config->brokers > 0 && config->brokers <= SIM_BROKERS_MAX);
    s->config            = *config;
    s->config.delay_ms   = config->delay_ms > 0 ? config->delay_ms : 1;
    s->config.commit_ms  = config->commit_ms > 0 ? config->commit_ms : 2;
    s->config.tail_bytes = config->tail_bytes > 0 ? config->tail_bytes : 1 << 20;
    s->prng              = (struct prng){config->seed};
    s->now_ms            = 1000000;
    buf_init(&s->story, 0);
    wire_scratch_init(&s->scratch);
    for (uint32_t i = 0; i < config->brokers; i++) {
        struct sim_node *n = &s->node[i];
        n->disk            = store_mem_new();
        n->addr            = addr_of(i);
        n->commit_ms       = s->config.commit_ms;
        n->told_ms         = s->config.told_ms;
        n->retention       = config->retention;
        n->coordinator     = -1;
        list_init(&n->inbox);
        snprintf(n->host, sizeof n->host, "%c", 'A' + (int)i);
        for (uint32_t k = 0; k < config->brokers; k++)
            n->joins[k] = !config->no_seeds && k != i;
    }
    return s;
}

static void
drop_node(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->node[i];
    oracle_kept(s, i);
    client_crash(s, i);
    net_drop_all(s, i);
    broker_free(n->broker);
    n->broker = NULL;
    n->life++;
    for (uint32_t k = 0; k < n->waiting_count; k++)
        commit_drop(&n->waiting[k]);
    n->waiting_count = n->in_commit = n->crash_in = 0;
    mem_free(n->result);
    n->result = NULL;
    n->paused = n->doomed = false;
    LIST_EACH(node, &n->inbox)
    {
        list_remove(node);
        event_free(LIST_OF(node, struct event, in_inbox));
    }
}

void
sim_free(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        if (s->node[i].broker)
            drop_node(s, i);
        store_mem_free(s->node[i].disk);
        mem_free(s->node[i].waiting);
    }
    while (s->heap_count > 0)
        event_free(heap_pop(s));
    for (uint32_t i = 0; i < s->sub_count; i++) {
        vector_fini(&s->sub[i].cursor);
        vector_fini(&s->sub[i].told);
        vector_fini(&s->sub[i].past);
        buf_fini(&s->sub[i].got);
        mem_free(s->sub[i].mark);
        mem_free(s->sub[i].live);
    }
    past_fini(s);
    wire_scratch_fini(&s->scratch);
    buf_fini(&s->story);
    mem_free(s->heap);
    mem_free(s->conn);
    for (uint32_t i = 0; i < s->publish_count; i++)
        vector_fini(&s->publish[i].past);
    mem_free(s->publish);
    mem_free(s->stored);
    mem_free(s->claim);
    mem_free(s);
}

/* Two runs are the same as long as the same is folded in. */
static void
fold(struct sim *s, uint64_t what)
{
    struct prng mix = {s->hash ^ what};
    s->hash         = prng_next(&mix);
}

void
sim_tell(struct sim *s, const char *format, ...)
{
    char    line[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    fold(s, hash64(str_of(line)));
    if (s->config.story_bytes > 0 && s->story.n > 2 * s->config.story_bytes)
        buf_consume(&s->story, s->story.n - s->config.story_bytes);
    enum err e =
        buf_addf(&s->story, "%8llu  %s\n", (unsigned long long)(s->now_ms - 1000000), line);
    CHECK(e == ERR_OK);
}

const char *
sim_story(const struct sim *s)
{
    struct buf *story = (struct buf *)(uintptr_t)&s->story;
    uint8_t    *room;
    enum err    e = buf_room(story, 1, &room);
    CHECK(e == ERR_OK);
    *room = 0;
    return (const char *)buf_str(story).p;
}

/* Of topics that are not stored. */
#define RULE                                                                                       \
    {                                                                                              \
        STR("live/#"), false                                                                       \
    }

static struct broker_options
options_of(const struct sim *s, uint32_t i, size_t tail_bytes, const struct topic_rule *rule)
{
    return (struct broker_options){.tail_bytes     = tail_bytes,
                                   .causal_wait_ms = s->config.causal_wait_ms,
                                   .rule           = rule,
                                   .rule_count     = sim_rules_live(i)};
}

void
sim_options(struct sim *s, uint32_t i, size_t tail_bytes)
{
    const struct topic_rule     rule    = RULE;
    const struct broker_options options = options_of(s, i, tail_bytes, &rule);
    sim_tell(s, "%s may keep %zu bytes in memory", s->node[i].host, tail_bytes);
    node_step(s, i, &(struct fact){.kind = FACT_OPTIONS, .options = &options});
    node_turn(s, i);
}

void
sim_start(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->node[i];
    CHECK(!n->broker);
    past_start(s, i, store_mem_recover(n->disk));
    n->nonce                     = prng_next(&s->prng) | 1;
    const struct topic_rule rule = RULE;
    struct broker_config    bc   = {
             .cluster   = STR("sim"),
             .self      = n->addr,
             .host      = str_of(n->host),
             .nonce     = n->nonce,
             .seed      = prng_next(&s->prng),
             .retire_ms = n->retention.retire_ms,
             .recovered = store_mem_recover(n->disk),
             .options   = options_of(s, i, s->config.tail_bytes, &rule),
    };
    n->broker   = broker_new(&bc, (struct mono){s->now_ms});
    n->wake_ms  = UINT64_MAX;
    n->accepted = (struct token){0};
    n->seen     = (struct sim_seen){.trouble_ms = s->now_ms};
    sim_tell(s, "%s starts", n->host);
    oracle_kept(s, i);
    oracle_known(s, i);
    for (uint32_t k = 0; k < s->config.brokers; k++)
        if (n->joins[k])
            node_step(s, i,
                      &(struct fact){.kind = FACT_SEED,
                                     .seed = {.addr = s->node[k].addr,
                                              .host = str_of(s->node[k].host),
                                              .join = n->asked[k]}});
    if (disk_retains(&n->retention))
        event_new(s, EVENT_RETAIN, i, 1);
    node_turn(s, i);
}

void
sim_start_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        sim_start(s, i);
}

void
sim_crash(struct sim *s, uint32_t i)
{
    CHECK(s->node[i].broker);
    sim_tell(s, "%s crashes", s->node[i].host);
    drop_node(s, i);
}

void
sim_crash_in(struct sim *s, uint32_t i, uint32_t effects)
{
    CHECK(s->node[i].broker && effects > 0);
    s->node[i].crash_in = effects;
}

void
sim_stop(struct sim *s, uint32_t i)
{
    struct sim_node *n    = &s->node[i];
    uint64_t         life = n->life;
    sim_tell(s, "%s is asked to stop", n->host);
    node_step(s, i, &(struct fact){.kind = FACT_STOP});
    node_turn(s, i);
    for (int k = 0; k < 1000 && n->life == life && !broker_is_drained(n->broker); k++)
        sim_run(s, 1);
    sim_run(s, 10); /* its goodbye arrives */
    if (n->life == life)
        drop_node(s, i);
}

void
sim_pause(struct sim *s, uint32_t i)
{
    sim_tell(s, "%s is paused", s->node[i].host);
    reach_node(s, i, false);
    s->node[i].paused = true;
}

void
sim_resume(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->node[i];
    sim_tell(s, "%s goes on", n->host);
    n->paused = false;
    reach_node(s, i, true);
    while (!list_is_empty(&n->inbox)) {
        struct event *e = LIST_OF(n->inbox.next, struct event, in_inbox);
        list_remove(&e->in_inbox);
        if (n->broker)
            handle(s, e);
        event_free(e);
    }
}

void
sim_join(struct sim *s, uint32_t i, uint32_t to)
{
    s->node[i].joins[to] = true;
    s->node[i].asked[to] = true;
}

void
sim_introduce(struct sim *s)
{
    for (uint32_t i = 0; i < s->config.brokers; i++)
        for (uint32_t k = 0; k < s->config.brokers && s->node[i].broker; k++)
            if (k != i && s->node[k].broker)
                node_step(s, i,
                          &(struct fact){
                              .kind = FACT_SEED,
                              .seed = {.addr = s->node[k].addr, .host = str_of(s->node[k].host)}});
}

void
sim_forget(struct sim *s, uint32_t at, uint32_t whom)
{
    sim_tell(s, "at %s: forget %s", s->node[at].host, s->node[whom].host);
    node_step(s, at, &(struct fact){.kind = FACT_FORGET, .forget = {s->node[whom].addr}});
    node_turn(s, at);
}

/* ---- time ---- */

static void
one_event(struct sim *s)
{
    struct event    *e = heap_pop(s);
    struct sim_node *n = &s->node[e->node];
    s->now_ms          = e->at_ms;
    s->events++;
    fold(s, e->at_ms << 16 | (uint64_t)e->kind << 8 | e->node);
    if (e->bytes.n > 0)
        fold(s, hash64(buf_str(&e->bytes)));
    /* Only the last one that was asked for wakes: else a broker that forgets a deadline would
     * be woken by one of those that it no longer wants. */
    bool is_stale = e->kind == EVENT_WAKE && e->at_ms != n->wake_ms;
    if (n->life != e->life || !n->broker || is_stale) {
        event_free(e);
        return;
    }
    if (n->paused) {
        list_push_back(&n->inbox, &e->in_inbox);
        return;
    }
    handle(s, e);
    event_free(e);
    for (uint32_t i = 0; i < s->config.brokers; i++)
        is_buried(s, i); /* who was stepped by what happened to another */
}

void
sim_run(struct sim *s, uint64_t ms)
{
    uint64_t end = s->now_ms + ms;
    while (s->heap_count > 0 && s->heap[0]->at_ms <= end)
        one_event(s);
    s->now_ms = end;
}

bool
sim_until(struct sim *s, bool (*is_true)(struct sim *s), uint64_t ms_max)
{
    uint64_t end = s->now_ms + ms_max;
    while (!is_true(s)) {
        if (s->heap_count == 0 || s->heap[0]->at_ms > end) {
            s->now_ms = end;
            return is_true(s);
        }
        one_event(s);
    }
    return true;
}

uint64_t
sim_now(const struct sim *s)
{
    return s->now_ms;
}

/* ---- looking ---- */

const struct sim_checks *
sim_checks(const struct sim *s)
{
    return &s->checks;
}

bool
sim_is_up(const struct sim *s, uint32_t i)
{
    return s->node[i].broker != NULL;
}

bool
sim_is_paused(const struct sim *s, uint32_t i)
{
    return s->node[i].paused;
}

const struct broker *
sim_broker(const struct sim *s, uint32_t i)
{
    return s->node[i].broker;
}

/* But for streams that some have retired already and some not yet. */
static bool
covers(const struct sim *s, const struct vector *v, const struct vector *other)
{
    for (uint32_t i = 0; i < other->count; i++)
        if (!vector_has(v, other->at[i]) && (vector_seq(v, other->at[i].stream) > 0 ||
                                             !past_stream(s, other->at[i].stream)->retired))
            return false;
    return true;
}

bool
sim_is_level(struct sim *s)
{
    const struct vector *first = NULL;
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        if (!s->node[i].broker)
            continue;
        const struct vector *v = broker_vector(s->node[i].broker);
        if (s->node[i].waiting_count > 0)
            return false;
        if (first && (!covers(s, first, v) || !covers(s, v, first)))
            return false;
        first = v;
    }
    return true;
}

int
sim_coordinator(const struct sim *s, uint32_t i)
{
    const struct bully *bully = broker_bully(s->node[i].broker);
    struct token        token = bully_token(bully);
    if (!bully_has_coordinator(bully))
        return -1;
    for (uint32_t k = 0; k < s->config.brokers; k++)
        if (addr_cmp(&s->node[k].addr, &token.addr) == 0)
            return s->node[k].nonce == token.nonce ? (int)k : -1;
    return -1;
}

bool
sim_has_coordinator(struct sim *s)
{
    int who = -1;
    for (uint32_t i = 0; i < s->config.brokers; i++) {
        if (!s->node[i].broker || s->node[i].paused)
            continue;
        int accepted = sim_coordinator(s, i);
        if (accepted < 0 || (who >= 0 && accepted != who))
            return false;
        who = accepted;
    }
    return who >= 0 && s->node[who].broker && bully_is_leading(broker_bully(s->node[who].broker));
}

uint64_t
sim_frames(const struct sim *s, enum frame_kind kind)
{
    return s->frames[kind];
}

uint64_t
sim_events(const struct sim *s)
{
    return s->events;
}

uint64_t
sim_hash(const struct sim *s)
{
    return s->hash;
}
