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

enum err
topics_of(struct store *s, struct str name, struct topic **out)
{
    *out = topics_find(&s->topics, name);
    if (*out)
        return ERR_OK;
    *out            = topics_add(&s->topics, name);
    sqlite3_stmt *q = s->sql[SQL_TOPIC];
    sql_bind_u64(q, 1, (*out)->id);
    sql_bind_text(q, 2, name);
    return sql_run(s->db, q);
}

bool
topics_is_newer(const struct topic *t, const struct entry *e)
{
    if (e->lamport != t->lamport)
        return e->lamport > t->lamport;
    if (e->mark.stream != t->mark.stream)
        return e->mark.stream > t->mark.stream;
    return e->mark.seq > t->mark.seq;
}

void
topics_newest(struct topic *t, const struct entry *e)
{
    t->lsn     = e->lsn;
    t->lamport = e->lamport;
    t->mark    = e->mark;
}

void
topics_count(struct topic *topic, const struct entry *e)
{
    topic->count++;
    if (topics_is_newer(topic, e))
        topics_newest(topic, e);
    topic->is_dirty = true;
}

enum err
topics_write_newest(struct store *s, const struct topic *t)
{
    sqlite3_stmt *q = s->sql[SQL_TOPIC_NEWEST];
    sql_bind_u64(q, 1, t->id);
    sql_bind_u64(q, 2, t->lsn);
    sql_bind_u64(q, 3, t->lamport);
    sql_bind_u64(q, 4, t->mark.stream);
    sql_bind_u64(q, 5, t->mark.seq);
    return sql_run(s->db, q);
}

/* A row for each topic that was written to: where they are many that is work for more messages
 * than LEAST.  A start counts what came since, a million in a tenth of a second. */
bool
topics_are_due(const struct store *s, uint64_t least)
{
    enum { MESSAGES_PER_TOPIC = 8, MOST = 1000000 };
    uint64_t wanted = (uint64_t)s->topics.count * MESSAGES_PER_TOPIC;
    wanted          = wanted < MOST ? wanted : MOST;
    return s->lsn - s->topics.lsn >= (wanted > least ? wanted : least);
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
        sql_bind_u64(q, 7, t->removed);
        enum err e = sql_run(s->db, q);
        if (e != ERR_OK)
            return e;
        t->removed_row = t->removed;
        t->is_dirty    = false; /* a rollback loads all anew */
    }
    enum err e = sql_meta_put(s, "topics_lsn", s->lsn);
    if (e == ERR_OK && s->topics.removals > 0)
        e = sql_run(s->db, s->sql[SQL_REMOVALS_CLEAR]);
    if (e != ERR_OK)
        return e;
    s->topics.lsn      = s->lsn;
    s->topics.removals = 0;
    s->tends_waited    = 0;
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
        const struct topic *t    = s->topics.at[i];
        uint64_t            left = t->count > t->removed ? t->count - t->removed : 0;
        visit(ctx, (struct str){t->name, t->name_bytes}, left, t->lsn);
    }
}
