#include "client/page.h"

#include "base/check.h"
#include "codec/base64.h"

#include <string.h>

void
page_init(struct page *p)
{
    *p = (struct page){0};
    buf_init(&p->cursor, 0);
    buf_init(&p->room, 0);
}

void
page_fini(struct page *p)
{
    buf_fini(&p->cursor);
    buf_fini(&p->room);
}

/* Texts come out of a room that is made large enough beforehand, so that it never moves:
 * a JSON text with its two quotes is never shorter than itself with a zero behind it. */
static void
room_begin(struct buf *room, size_t bytes)
{
    uint8_t *unused;
    buf_reset(room);
    CHECK(buf_room(room, bytes + 1, &unused) == ERR_OK);
}

static uint8_t *
room_end(struct buf *room)
{
    return room->p + room->start + room->n;
}

static const char *
room_put(struct buf *room, struct str text)
{
    uint8_t *at = room_end(room);
    if (text.n > 0)
        memmove(at, text.p, text.n);
    at[text.n] = 0;
    buf_grew(room, text.n + 1);
    return (const char *)at;
}

/* NULL: there is no such text. */
static const char *
text_of(struct buf *room, const struct json_value *v)
{
    struct str text;
    if (!v || !json_text(v, room_end(room), &text))
        return NULL;
    return room_put(room, text);
}

static const char *
text_or(struct buf *room, const struct json_members *m, struct str key, const char *other)
{
    const char *text = text_of(room, json_member(m, key));
    return text ? text : other;
}

enum err
page_start(struct page *p, struct str body, const char **why)
{
    struct json_members m;
    buf_reset(&p->cursor);
    p->messages = p->gaps = (struct str){0};
    p->taken = p->gap_at = 0;
    if (json_parse(body, &m, why) != ERR_OK)
        return ERR_PROTO;

    const struct json_value *messages = json_member(&m, STR("messages"));
    const struct json_value *gaps     = json_member(&m, STR("gaps"));
    const struct json_value *cursor   = json_member(&m, STR("cursor"));
    *why                              = "an answer without messages and cursor";
    if (!messages || messages->kind != JSON_KIND_ARRAY || !cursor)
        return ERR_PROTO;
    room_begin(&p->cursor, cursor->raw.n);
    if (!text_of(&p->cursor, cursor))
        return ERR_PROTO;
    p->messages = json_items(messages);
    if (gaps && gaps->kind == JSON_KIND_ARRAY)
        p->gaps = json_items(gaps);
    return ERR_OK;
}

bool
page_is_empty(const struct page *p)
{
    struct json_value v;
    struct str        messages = p->messages, gaps = p->gaps;
    return !json_items_next(&messages, &v) && !json_items_next(&gaps, &v);
}

/* A broker that does not say it means: before all messages. */
static uint64_t
gap_place(const struct json_members *gap)
{
    const struct json_value *at = json_member(gap, STR("at"));
    uint64_t                 n;
    return at && json_u64(at, &n) ? n : 0;
}

/* Does a message come before the first gap that is left, as far as that was looked at? */
static bool
is_later(const struct page *p)
{
    struct json_value v;
    struct str        messages = p->messages;
    return p->gap_at > p->taken && json_items_next(&messages, &v);
}

static void
add(struct buf *room, struct str text)
{
    CHECK(buf_add(room, text) == ERR_OK);
}

/* A string with the quotes around it. */
static struct str
quoted(struct str text)
{
    return (struct str){text.p - 1, text.n + 2};
}

/* The gap without its place in the page, which means nothing outside of it. */
static struct str
gap_json(struct buf *room, const struct json_members *gap)
{
    size_t     before = room->n;
    struct str comma  = STR("");
    add(room, STR("{"));
    for (uint32_t i = 0; i < gap->count; i++) {
        const struct json_value *v = &gap->at[i].value;
        if (str_eq(gap->at[i].key, STR("at")))
            continue;
        add(room, comma);
        add(room, quoted(gap->at[i].key));
        add(room, STR(":"));
        add(room, v->kind == JSON_KIND_STRING ? quoted(v->raw) : v->raw);
        comma = STR(",");
    }
    add(room, STR("}"));
    return str_cut(buf_str(room), before, room->n);
}

enum err
page_gap(struct page *p, struct hearsay_message *m)
{
    struct json_value   v;
    struct json_members all;
    const char         *why;
    struct str          rest = p->gaps;

    if (is_later(p) || !json_items_next(&rest, &v))
        return ERR_NOTFOUND;
    if (v.kind != JSON_KIND_OBJECT || json_parse(v.raw, &all, &why) != ERR_OK)
        return ERR_PROTO;
    p->gap_at = gap_place(&all);
    if (is_later(p))
        return ERR_NOTFOUND;
    p->gaps   = rest;
    p->gap_at = 0;
    room_begin(&p->room, 2 * v.raw.n + 2);
    struct str json = gap_json(&p->room, &all);
    *m              = (struct hearsay_message){.json = (const char *)json.p, .json_bytes = json.n};
    m->id           = text_or(&p->room, &all, STR("stream"), "");
    m->origin       = text_or(&p->room, &all, STR("origin"), "");
    m->topic = m->time = m->body = "";
    m->stored                    = 1;

    const struct json_value *from = json_member(&all, STR("from"));
    const struct json_value *to   = json_member(&all, STR("to"));
    bool whole = from && to && json_u64(from, &m->gap_from) && json_u64(to, &m->gap_to);
    return whole && m->gap_from <= m->gap_to ? ERR_OK : ERR_PROTO;
}

static enum err
take_meta(struct page *p, const struct json_value *v, struct hearsay_message *m)
{
    struct json_members all;
    const char         *why;
    if (!v)
        return ERR_OK;
    if (v->kind != JSON_KIND_OBJECT || json_parse(v->raw, &all, &why) != ERR_OK)
        return ERR_PROTO;
    m->meta = p->meta;
    for (uint32_t i = 0; i < all.count; i++) {
        struct hearsay_pair *pair = &p->meta[m->meta_count];

        pair->name  = room_put(&p->room, json_key_text(&all.at[i], room_end(&p->room)));
        pair->value = text_of(&p->room, &all.at[i].value);
        if (pair->value)
            m->meta_count++;
    }
    return ERR_OK;
}

static enum err
take_body(struct page *p, const struct json_members *all, struct hearsay_message *m)
{
    const struct json_value *base64 = json_member(all, STR("body_base64"));
    const struct json_value *plain  = json_member(all, STR("body"));
    struct str               text;

    if (!plain && !base64)
        return ERR_PROTO;
    if (!json_text(plain ? plain : base64, room_end(&p->room), &text))
        return ERR_PROTO;
    /* Decoding in place is fine: three bytes come out of four. */
    if (!plain && base64_decode(text, room_end(&p->room), &text) != ERR_OK)
        return ERR_PROTO;
    m->body_bytes = text.n;
    m->body       = room_put(&p->room, text);
    return ERR_OK;
}

/* What does not say that it is not, is. */
static bool
is_stored(const struct json_members *all)
{
    const struct json_value *v      = json_member(all, STR("stored"));
    bool                     stored = true;
    return !v || !json_bool(v, &stored) || stored;
}

enum err
page_message(struct page *p, struct hearsay_message *m, const char **why)
{
    struct json_value   v;
    struct json_members all;

    if (!json_items_next(&p->messages, &v))
        return ERR_NOTFOUND;
    p->taken++;
    if (v.kind != JSON_KIND_OBJECT || json_parse(v.raw, &all, why) != ERR_OK)
        return ERR_PROTO;
    room_begin(&p->room, v.raw.n);
    *m        = (struct hearsay_message){.json = (const char *)v.raw.p, .json_bytes = v.raw.n};
    m->id     = text_or(&p->room, &all, STR("id"), "");
    m->topic  = text_or(&p->room, &all, STR("topic"), "");
    m->origin = text_or(&p->room, &all, STR("origin"), "");
    m->time   = text_or(&p->room, &all, STR("time"), "");
    m->type   = text_or(&p->room, &all, STR("type"), NULL);

    const struct json_value *lamport = json_member(&all, STR("lamport"));
    const struct json_value *late    = json_member(&all, STR("late"));
    bool                     is_late = false;
    *why                             = "a message without topic, Lamport time or body";
    if (!lamport || !json_u64(lamport, &m->lamport) || m->topic[0] == '\0')
        return ERR_PROTO;
    m->late   = late && json_bool(late, &is_late) && is_late;
    m->stored = is_stored(&all);

    const struct json_value *lost = json_member(&all, STR("lost"));
    if (lost && !json_u64(lost, &m->lost))
        return ERR_PROTO;
    enum err e = take_meta(p, json_member(&all, STR("meta")), m);
    return e == ERR_OK ? take_body(p, &all, m) : e;
}

enum err
page_receipt(struct str body, struct buf *room, struct hearsay_receipt *r)
{
    struct json_members all;
    const char         *why;
    uint64_t            copies = 0;
    bool                causal = true;

    *r = (struct hearsay_receipt){.id = "", .origin = "", .cursor = "", .causal = 1};
    if (json_parse(body, &all, &why) != ERR_OK)
        return ERR_PROTO;
    room_begin(room, body.n);
    r->id     = text_or(room, &all, STR("id"), "");
    r->origin = text_or(room, &all, STR("origin"), "");
    r->cursor = text_or(room, &all, STR("cursor"), "");

    const struct json_value *v = json_member(&all, STR("lamport"));
    if (v && !json_u64(v, &r->lamport))
        return ERR_PROTO;
    v = json_member(&all, STR("copies"));
    if (v && (!json_u64(v, &copies) || copies > MEMBERS_MAX))
        return ERR_PROTO;
    v = json_member(&all, STR("causal"));
    if (v && !json_bool(v, &causal))
        return ERR_PROTO;
    r->stored     = is_stored(&all);
    r->json       = (const char *)body.p;
    r->json_bytes = body.n > 0 && body.p[body.n - 1] == '\n' ? body.n - 1 : body.n;
    r->copies     = (int)copies;
    r->causal     = causal;
    return ERR_OK;
}

int
page_line_status(struct str body)
{
    struct json_members all;
    const char         *why;
    uint64_t            status = 201;

    if (json_parse(body, &all, &why) != ERR_OK)
        return 0;
    const struct json_value *v = json_member(&all, STR("status"));
    return !v || (json_u64(v, &status) && status <= 999) ? (int)status : 0;
}

void
page_problem(struct str body, struct buf *room, struct page_problem *problem)
{
    struct json_members all;
    const char         *why;

    *problem = (struct page_problem){.code = "", .detail = "", .id = ""};
    if (json_parse(body, &all, &why) != ERR_OK)
        return;
    room_begin(room, body.n);
    problem->code   = text_or(room, &all, STR("code"), "");
    problem->detail = text_or(room, &all, STR("detail"), "");
    problem->id     = text_or(room, &all, STR("id"), "");
}
