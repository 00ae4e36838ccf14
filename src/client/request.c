#include "client/request.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "codec/http_url.h"
#include "codec/http_write.h"
#include "codec/json_write.h"

#include <stdio.h>
#include <string.h>

/* More meta than this is refused by the broker in any case: its heads are bounded. */
enum {
    META_MAX        = 48,
    HEADER_MAX      = META_MAX + 3,
    META_NAME_BYTES = 128,
    IN_HEAD_MAX     = 8 << 10, /* a longer cursor or query stands in a body; brokers do as much */
};
#define META_PREFIX "Hearsay-Meta-"

struct headers {
    struct http_header at[HEADER_MAX];
    size_t             count;
    char               name[META_MAX][META_NAME_BYTES];
    char               number[24];
};

static void
add_header(struct headers *h, const char *name, const char *value)
{
    h->at[h->count++] = (struct http_header){.name = str_of(name), .value = str_of(value)};
}

/* ---- publish ---- */

static const char *
wrong_meta(const struct hearsay_publish *p)
{
    if (p->meta_count > META_MAX)
        return "too much meta: at most 48 pairs";
    for (size_t i = 0; i < p->meta_count; i++) {
        const struct hearsay_pair *m = &p->meta[i];
        size_t                     n = m->name ? strlen(m->name) : 0;
        if (n == 0 || n >= META_NAME_BYTES - sizeof META_PREFIX || !m->value)
            return "meta: a name has 1 to 113 characters, and there is a value";
        if (!utf8_is_valid(str_of(m->value)))
            return "meta is not UTF-8";
    }
    return NULL;
}

static const char *
wrong_publish(const struct hearsay_publish *p)
{
    if (!p->topic || p->topic[0] == '\0')
        return "the topic is empty; name one, such as stocks or news/rome";
    if (!utf8_is_valid(str_of(p->topic)) || (p->type && !utf8_is_valid(str_of(p->type))))
        return "topic or type is not UTF-8";
    if (p->body_bytes > BODY_BYTES_MAX)
        return "the message has more than 1 MiB; publish it in parts";
    if (p->body_bytes > 0 && !p->body)
        return "the message has no body";
    if (p->lamport > STAMP_MAX)
        return "a Lamport time is below 2^53";
    if (p->after && p->after[0] && !request_is_cursor(p->after))
        return "`after` is not a cursor";
    return wrong_meta(p);
}

/* "?acks=...&timeout=..." */
static enum err
add_acks(struct buf *target, const struct hearsay_publish *p)
{
    int timeout = p->acks_timeout_ms > 0 ? p->acks_timeout_ms : ACKS_TIMEOUT_MS;
    if (!p->acks)
        return ERR_OK;
    enum err e = buf_add(target, STR("?acks="));
    if (e == ERR_OK)
        e = http_query_encode(target, str_of(p->acks));
    return e == ERR_OK ? buf_addf(target, "&timeout=%dms", timeout) : e;
}

static void
add_lamport(struct headers *h, const struct hearsay_publish *p)
{
    if (p->lamport == 0)
        return;
    snprintf(h->number, sizeof h->number, "%llu", (unsigned long long)p->lamport);
    add_header(h, "Hearsay-Lamport", h->number);
}

static enum err
add_call(struct buf *out, struct http_call *call, const struct headers *h, const struct buf *target)
{
    call->method       = STR("POST");
    call->framing      = FRAMING_LENGTH;
    call->header       = h->at;
    call->header_count = h->count;
    call->target       = buf_str(target);
    return http_call_write(out, call);
}

/* The head of a publish whose body is the message. */
static enum err
add_head(struct buf *out, const char *host, const struct hearsay_publish *p)
{
    struct headers   h = {0};
    struct buf       target;
    struct http_call call = {.host = str_of(host), .content_length = p->body_bytes};

    if (p->type)
        add_header(&h, "Content-Type", p->type);
    add_lamport(&h, p);
    if (p->after && p->after[0])
        add_header(&h, "Hearsay-After", p->after);
    for (size_t i = 0; i < p->meta_count; i++) {
        snprintf(h.name[i], META_NAME_BYTES, META_PREFIX "%s", p->meta[i].name);
        add_header(&h, h.name[i], p->meta[i].value);
    }
    buf_init(&target, 0);
    enum err e = buf_add(&target, STR("/topics/"));
    if (e == ERR_OK)
        e = http_path_encode(&target, str_of(p->topic));
    if (e == ERR_OK)
        e = add_acks(&target, p);
    if (e == ERR_OK)
        e = add_call(out, &call, &h, &target);
    buf_fini(&target);
    return e;
}

/* As names of headers, which have no case. */
static void
write_meta(struct json_writer *w, const struct hearsay_publish *p)
{
    char name[META_NAME_BYTES];
    json_write_key(w, STR("meta"));
    json_write_open(w, '{');
    for (size_t i = 0; i < p->meta_count; i++) {
        snprintf(name, sizeof name, "%s", p->meta[i].name);
        for (char *c = name; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
        json_write_key(w, str_of(name));
        json_write_text(w, str_of(p->meta[i].value));
    }
    json_write_close(w, '}');
}

static void
write_line(struct buf *line, const struct hearsay_publish *p)
{
    struct str         body = {p->body, p->body_bytes};
    struct json_writer w;
    json_write_begin(&w, line);
    json_write_open(&w, '{');
    json_write_key(&w, STR("topic"));
    json_write_text(&w, str_of(p->topic));
    json_write_key(&w, STR("after"));
    json_write_text(&w, str_of(p->after));
    if (p->type) {
        json_write_key(&w, STR("type"));
        json_write_text(&w, str_of(p->type));
    }
    if (p->meta_count > 0)
        write_meta(&w, p);
    json_write_key(&w, utf8_is_valid(body) ? STR("body") : STR("body_base64"));
    if (utf8_is_valid(body))
        json_write_text(&w, body);
    else
        json_write_base64(&w, body);
    json_write_close(&w, '}');
    CHECK(json_write_end(&w) == ERR_OK);
}

/* POST /topics, of one line. */
static void
add_as_line(struct buf *out, const char *host, const struct hearsay_publish *p)
{
    struct headers   h    = {0};
    struct http_call call = {.host = str_of(host)};
    struct buf       target, line;

    buf_init(&target, 0);
    buf_init(&line, 0);
    write_line(&line, p);
    call.content_length = line.n;
    add_header(&h, "Content-Type", "application/x-ndjson");
    add_lamport(&h, p);
    CHECK(buf_add(&target, STR("/topics")) == ERR_OK && add_acks(&target, p) == ERR_OK);
    CHECK(add_call(out, &call, &h, &target) == ERR_OK);
    CHECK(buf_add(out, buf_str(&line)) == ERR_OK);
    buf_fini(&target);
    buf_fini(&line);
}

enum err
request_check(struct buf *scratch, const struct hearsay_publish *p, const char **why)
{
    *why = wrong_publish(p);
    buf_reset(scratch);
    if (!*why && add_head(scratch, "h", p) != ERR_OK)
        *why = "type, meta or acks holds a control character or is no header";
    return *why ? ERR_INVALID : ERR_OK;
}

void
request_publish(struct buf *out, const char *host, const struct hearsay_publish *p, bool *as_line)
{
    size_t begin = out->n, after = p->after ? strlen(p->after) : 0;
    *as_line = after > IN_HEAD_MAX;
    if (!*as_line) {
        CHECK(add_head(out, host, p) == ERR_OK);
        *as_line = after > 0 && out->n - begin > HTTP_HEAD_BYTES_MAX;
        out->n   = *as_line ? begin : out->n;
    }
    if (*as_line)
        add_as_line(out, host, p);
    else
        CHECK(buf_add(out, (struct str){p->body, p->body_bytes}) == ERR_OK);
}

/* ---- all else ---- */

static enum err
add_filters(struct buf *target, struct str filters)
{
    enum err e = ERR_OK;
    while (e == ERR_OK && filters.n > 0) {
        size_t end = str_index(filters, 0);
        e          = buf_add(target, STR("filter="));
        if (e == ERR_OK)
            e = http_query_encode(target, str_cut(filters, 0, end));
        if (e == ERR_OK)
            e = buf_add(target, STR("&"));
        filters = str_cut(filters, end + 1, filters.n);
    }
    return e;
}

static enum err
add_query(struct buf *query, const struct request_poll *p)
{
    enum err e = add_filters(query, buf_str(p->filters));
    if (e == ERR_OK)
        e = buf_addf(query, "wait=%d&limit=%d&%s=", p->wait_s, p->limit,
                     request_is_time(p->from) ? "since" : "cursor");
    return e == ERR_OK ? http_query_encode(query, str_of(p->from)) : e;
}

/* What is too long for a head stands in a body, as that of a form. */
enum err
request_poll(struct buf *out, const char *host, const struct request_poll *p)
{
    const struct http_header form = {STR("Content-Type"), STR("application/x-www-form-urlencoded")};
    struct http_call         call = {.method = STR("GET"), .host = str_of(host)};
    size_t                   begin = out->n;
    struct buf               query, target;

    buf_init(&query, 0);
    buf_init(&target, 0);
    enum err e = add_query(&query, p);
    if (e == ERR_OK && query.n > IN_HEAD_MAX) {
        call.target         = STR("/topics");
        call.framing        = FRAMING_LENGTH;
        call.content_length = query.n;
        call.header         = &form;
        call.header_count   = 1;
    } else if (e == ERR_OK) {
        e           = buf_add(&target, STR("/topics?"));
        e           = e == ERR_OK ? buf_add(&target, buf_str(&query)) : e;
        call.target = buf_str(&target);
    }
    if (e == ERR_OK)
        e = http_call_write(out, &call);
    if (e == ERR_OK && call.framing == FRAMING_LENGTH)
        e = buf_add(out, buf_str(&query));
    if (e != ERR_OK)
        out->n = begin;
    buf_fini(&query);
    buf_fini(&target);
    return e;
}

enum err
request_call(struct buf *out, const char *host, const char *method, const char *path)
{
    struct buf       target;
    struct http_call call = {.method = str_of(method), .host = str_of(host)};

    buf_init(&target, 0);
    enum err e  = http_path_encode(&target, str_of(path));
    call.target = buf_str(&target);
    if (e == ERR_OK)
        e = http_call_write(out, &call);
    buf_fini(&target);
    return e;
}

bool
request_is_time(const char *from)
{
    uint64_t ms;
    return str_to_ms(str_of(from), &ms);
}

bool
request_is_cursor(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return n > 0 && n <= CURSOR_BYTES_MAX && text[n] == '\0';
}
