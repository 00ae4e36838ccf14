/* store_wanted.c - which topics a reader wants, by their ids.
 *
 * Literal filters are few ids, looked up by name.  Patterns are asked once for each topic:
 * what they said is kept for the next pages of the same subscription, two bits a topic, and
 * who was not here for longest goes first.  Topics are never removed and keep their ids. */
#include "store/store_reader.h"

#include "base/blob.h"
#include "base/mem.h"

#include <string.h>

enum {
    VERDICTS_BYTES_MAX = 4 << 20, /* of all that are kept; the one in use may be larger */
    TOPICS_MIN         = 1024,
    KNOWN              = 1,
    WANTED             = 2,
};

/* ---- names ---- */

/* Borrowed until the statement is reset. */
static enum err
find_name(struct store_reader *r, uint64_t id, struct str *name)
{
    sqlite3_stmt *q = r->sql[READ_TOPIC];
    sql_bind_u64(q, 1, id);
    enum err e = read_first(r, q);
    if (e == ERR_OK)
        *name = sql_bytes(q, 0);
    r->work += WORK_LOOKUP;
    return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

enum err
wanted_name(struct store_reader *r, struct page_maker *page, uint64_t id, struct str *name)
{
    struct name_known *n = &r->name[id % NAMES_CACHED];
    if (n->id != id) {
        struct str found;
        enum err   e = find_name(r, id, &found);
        if (e != ERR_OK)
            return e;
        *n = (struct name_known){id, page_text(page, found)};
        sqlite3_reset(r->sql[READ_TOPIC]);
    }
    *name = n->name;
    return ERR_OK;
}

/* ---- literal filters ---- */

static enum err
find_ids(struct store_reader *r, const struct read *read)
{
    sqlite3_stmt *q = r->sql[READ_TOPIC_ID];
    for (uint32_t i = 0; i < read->literal_count; i++) {
        sql_bind_text(q, 1, read->literal[i]);
        enum err e = read_first(r, q);
        if (e == ERR_NOTFOUND)
            continue; /* nothing of it was ever stored here */
        if (e != ERR_OK)
            return e;
        r->id[r->id_count++] = sql_u64(q, 0);
        sqlite3_reset(q);
    }
    return ERR_OK;
}

/* ---- patterns ---- */

static void
drop_verdicts(struct store_reader *r, struct verdicts *v)
{
    r->verdicts_bytes -= v->topics / 4;
    blob_drop(v->filters);
    mem_free(v->bits);
    *v = (struct verdicts){0};
}

static struct verdicts *
longest_unused(struct store_reader *r, const struct verdicts *but)
{
    struct verdicts *old = NULL;
    for (uint32_t i = 0; i < VERDICTS_MAX; i++) {
        struct verdicts *v = &r->verdicts[i];
        if (v != but && (!old || v->used < old->used))
            old = v;
    }
    return old;
}

/* Those of the filters, which stay alive as long as the verdicts do: no others can lie at
 * the same place. */
static struct verdicts *
verdicts_of(struct store_reader *r, const void *filters)
{
    struct verdicts *v = NULL;
    for (uint32_t i = 0; filters && i < VERDICTS_MAX && !v; i++)
        if (r->verdicts[i].filters == filters)
            v = &r->verdicts[i];
    if (!v) {
        v = longest_unused(r, NULL);
        drop_verdicts(r, v);
        v->filters = (void *)(uintptr_t)filters;
        if (filters)
            blob_keep(v->filters);
    }
    v->used = ++r->calls;
    return v;
}

static void
make_room(struct store_reader *r, struct verdicts *v, uint64_t id)
{
    uint32_t topics = v->topics > 0 ? v->topics : TOPICS_MIN;
    while (topics <= id)
        topics *= 2;
    v->bits = mem_resize(v->bits, topics / 4);
    memset(v->bits + v->topics / 4, 0, (topics - v->topics) / 4);
    r->verdicts_bytes += (topics - v->topics) / 4;
    v->topics = topics;
    for (uint32_t i = 1; i < VERDICTS_MAX && r->verdicts_bytes > VERDICTS_BYTES_MAX; i++)
        drop_verdicts(r, longest_unused(r, v));
}

static enum err
ask(struct store_reader *r, const struct read *read, uint64_t id, uint32_t *verdict)
{
    struct str name;
    enum err   e = find_name(r, id, &name);
    if (e != ERR_OK)
        return e;
    *verdict = KNOWN | (read->want(read->want_ctx, name) ? WANTED : 0);
    sqlite3_reset(r->sql[READ_TOPIC]);
    return ERR_OK;
}

static enum err
judge(struct store_reader *r, const struct read *read, uint64_t id, bool *wanted)
{
    struct verdicts *v       = r->in_use;
    uint32_t         shift   = id % 4 * 2;
    uint32_t         verdict = id < v->topics ? (uint32_t)v->bits[id / 4] >> shift & 3 : 0;
    if (!(verdict & KNOWN)) {
        enum err e = ask(r, read, id, &verdict);
        if (e != ERR_OK)
            return e;
        if (id >= v->topics) /* there is such a topic: a damaged id takes no memory */
            make_room(r, v, id);
        v->bits[id / 4] = (uint8_t)(v->bits[id / 4] | verdict << shift);
    }
    *wanted = verdict & WANTED;
    return ERR_OK;
}

/* ---- a call ---- */

enum err
wanted_begin(struct store_reader *r, const struct read *read)
{
    memset(r->name, 0, sizeof r->name);
    r->in_use   = NULL;
    r->id_count = 0;
    if (read->literal)
        return find_ids(r, read);
    if (read->want)
        r->in_use = verdicts_of(r, read->want_ctx);
    return ERR_OK;
}

enum err
wanted_topic(struct store_reader *r, const struct read *read, uint64_t id, bool *wanted)
{
    if (id == 0 || id >= UINT32_MAX / 2)
        return ERR_CORRUPT;
    *wanted = !read->want;
    for (uint32_t i = 0; read->literal && i < r->id_count && !*wanted; i++)
        *wanted = r->id[i] == id;
    return r->in_use ? judge(r, read, id, wanted) : ERR_OK;
}

void
wanted_forget(struct store_reader *r)
{
    for (uint32_t i = 0; i < VERDICTS_MAX; i++)
        drop_verdicts(r, &r->verdicts[i]);
}
