#include "store/store_private.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

static bool
has_name(const void *value, const void *key)
{
    const struct topic *t    = value;
    const struct str   *name = key;
    return t->name_bytes == name->n && memcmp(t->name, name->p, name->n) == 0;
}

struct topic *
topics_find(const struct topics *t, struct str name)
{
    return map_find(&t->by_name, hash64(name), has_name, &name);
}

struct topic *
topics_add(struct topics *t, struct str name)
{
    CHECK(name.n <= UINT16_MAX && t->count < UINT32_MAX);
    struct topic *topic = mem_new(sizeof *topic + name.n);
    topic->id           = t->count + 1;
    topic->name_bytes   = (uint16_t)name.n;
    if (name.n > 0)
        memcpy(topic->name, name.p, name.n);
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? t->cap * 2 : 64;
        t->at  = mem_resize(t->at, t->cap * sizeof(struct topic *));
    }
    t->at[t->count++] = topic;
    map_add(&t->by_name, hash64(name), topic);
    return topic;
}

void
topics_fini(struct topics *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        mem_free(t->at[i]);
    mem_free(t->at);
    map_fini(&t->by_name);
    *t = (struct topics){0};
}

/* (lamport, stream, seq) is the total order of messages. */
static bool
is_newer(const struct entry *e, const struct topic *t)
{
    if (e->lamport != t->lamport)
        return e->lamport > t->lamport;
    if (e->mark.stream != t->mark.stream)
        return e->mark.stream > t->mark.stream;
    return e->mark.seq > t->mark.seq;
}

void
topics_count(struct topic *topic, const struct entry *e)
{
    topic->count++;
    if (is_newer(e, topic)) {
        topic->lsn     = e->lsn;
        topic->lamport = e->lamport;
        topic->mark    = e->mark;
    }
    topic->is_dirty = true;
}

enum err
topics_write(struct store *s)
{
    sqlite3_stmt *q = s->sql[SQL_TOPIC_COUNTS];
    for (uint32_t i = 0; i < s->topics.count; i++) {
        struct topic *t = s->topics.at[i];
        if (!t->is_dirty)
            continue;
        sql_bind_u64(q, 1, t->id);
        sql_bind_u64(q, 2, t->count);
        sql_bind_u64(q, 3, t->lsn);
        sql_bind_u64(q, 4, t->lamport);
        sql_bind_u64(q, 5, t->mark.stream);
        sql_bind_u64(q, 6, t->mark.seq);
        enum err e = sql_run(s->db, q);
        if (e != ERR_OK)
            return e;
        t->is_dirty = false; /* a rollback loads all anew */
    }
    enum err e = sql_meta_put(s, "topics_lsn", s->lsn);
    if (e != ERR_OK)
        return e;
    s->topics.lsn   = s->lsn;
    s->tends_waited = 0;
    return ERR_OK;
}

enum err
topics_snapshot(struct store *s)
{
    enum err e = commit_begin(s);
    if (e == ERR_OK)
        e = topics_write(s);
    e = commit_end(s, e);
    /* No commit of core's failed: unless the disk is out of reach, none will be refused. */
    if (e != ERR_OK && load_state(s) == ERR_OK)
        s->is_refusing = false;
    return e;
}

void
store_topics(struct store *s, store_topic_visitor *visit, void *ctx)
{
    for (uint32_t i = 0; i < s->topics.count; i++) {
        const struct topic *t = s->topics.at[i];
        visit(ctx, (struct str){t->name, t->name_bytes}, t->count, t->lsn);
    }
}
