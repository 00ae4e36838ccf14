#include "client/request.h"

#include "base/check.h"
#include "base/limits.h"
#include "codec/http_write.h"
#include "codec/http_url.h"

#include <stdio.h>
#include <string.h>

/* More meta than this is refused by the broker in any case: its heads are bounded. */
enum { CRLF = 2, META_MAX = 48, HEADER_MAX = META_MAX + 2, META_NAME_BYTES = 128 };
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

static enum err
add_meta(struct headers *h, const struct hearsay_publish *p, const char **why)
{
    if (p->meta_count > META_MAX) {
        *why = "too much meta: at most 48 pairs";
        return ERR_INVALID;
    }
    for (size_t i = 0; i < p->meta_count; i++) {
        const struct hearsay_pair *m = &p->meta[i];
        int n = m->name ? snprintf(h->name[i], META_NAME_BYTES, META_PREFIX "%s", m->name) : -1;
        if (n <= (int)sizeof META_PREFIX - 1 || n >= META_NAME_BYTES || !m->value) {
            *why = "meta: a name has 1 to 114 characters, and there is a value";
            return ERR_INVALID;
        }
        add_header(h, h->name[i], m->value);
    }
    return ERR_OK;
}

static enum err
publish_target(struct buf *out, const struct hearsay_publish *p)
{
    int      timeout = p->acks_timeout_ms > 0 ? p->acks_timeout_ms : ACKS_TIMEOUT_MS;
    enum err e       = buf_add(out, STR("/topics/"));
    if (e == ERR_OK)
        e = http_path_encode(out, str_of(p->topic));
    if (e == ERR_OK && p->acks)
        e = buf_add(out, STR("?acks="));
    if (e == ERR_OK && p->acks)
        e = http_query_encode(out, str_of(p->acks));
    if (e == ERR_OK && p->acks)
        e = buf_addf(out, "&timeout=%dms", timeout);
    return e;
}

static enum err
check_publish(const struct hearsay_publish *p, const char **why)
{
    *why = NULL;
    if (!p->topic || p->topic[0] == '\0')
        *why = "the topic is empty; name one, such as stocks or news/rome";
    else if (p->body_bytes > BODY_BYTES_MAX)
        *why = "the message has more than 1 MiB; publish it in parts";
    else if (p->body_bytes > 0 && !p->body)
        *why = "the message has no body";
    else if (p->lamport > STAMP_MAX)
        *why = "a Lamport time is below 2^53";
    else if (p->after && p->after[0] && !request_is_cursor(p->after))
        *why = "`after` is not a cursor";
    return *why ? ERR_INVALID : ERR_OK;
}

enum err
request_publish(struct buf *out, size_t *head, const char *host, const struct hearsay_publish *p,
                const char **why)
{
    struct headers   h = {0};
    struct buf       target;
    struct http_call call = {.method         = STR("POST"),
                             .host           = str_of(host),
                             .framing        = FRAMING_LENGTH,
                             .content_length = p->body_bytes};

    enum err e = check_publish(p, why);
    if (e == ERR_OK)
        e = add_meta(&h, p, why);
    if (e != ERR_OK)
        return e;
    if (p->type)
        add_header(&h, "Content-Type", p->type);
    if (p->lamport > 0) {
        snprintf(h.number, sizeof h.number, "%llu", (unsigned long long)p->lamport);
        add_header(&h, "Hearsay-Lamport", h.number);
    }
    call.header       = h.at;
    call.header_count = h.count;

    buf_init(&target, 0);
    e            = publish_target(&target, p);
    call.target  = buf_str(&target);
    size_t begin = out->n;
    if (e == ERR_OK)
        e = http_call_write(out, &call);
    if (e == ERR_OK) {
        out->n -= CRLF;
        *head = out->n - begin;
        e     = buf_add(out, (struct str){(const uint8_t *)p->body, p->body_bytes});
    }
    if (e != ERR_OK) {
        out->n = begin;
        *why   = "type or meta holds a control character or is no header";
    }
    buf_fini(&target);
    return e;
}

void
request_send(struct buf *out, struct str publish, size_t head, const char *after)
{
    CHECK(buf_add(out, str_cut(publish, 0, head)) == ERR_OK);
    if (after[0] != '\0')
        CHECK(buf_addf(out, "Hearsay-After: %s\r\n", after) == ERR_OK);
    CHECK(buf_add(out, STR("\r\n")) == ERR_OK);
    CHECK(buf_add(out, str_cut(publish, head, publish.n)) == ERR_OK);
}

bool
request_is_cursor(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return n > 0 && n <= CURSOR_BYTES_MAX && text[n] == '\0';
}

bool
request_is_time(const char *from)
{
    size_t                   digits = strspn(from, "0123456789");
    static const char *const unit[] = {"ms", "s", "m", "h", "d"};
    for (size_t i = 0; digits > 0 && i < sizeof unit / sizeof *unit; i++)
        if (strcmp(from + digits, unit[i]) == 0)
            return true;
    return false;
}

enum err
request_poll(struct buf *out, const char *host, const struct request_poll *p)
{
    struct buf       target;
    struct http_call call = {.method = STR("GET"), .host = str_of(host)};
    struct str       left = buf_str(p->filters);

    buf_init(&target, 0);
    enum err e = buf_add(&target, STR("/topics?"));
    while (e == ERR_OK && left.n > 0) {
        size_t end = str_index(left, 0);
        e          = buf_add(&target, STR("filter="));
        if (e == ERR_OK)
            e = http_query_encode(&target, str_cut(left, 0, end));
        if (e == ERR_OK)
            e = buf_add(&target, STR("&"));
        left = str_cut(left, end + 1, left.n);
    }
    if (e == ERR_OK)
        e = buf_add(&target, request_is_time(p->from) ? STR("since=") : STR("cursor="));
    if (e == ERR_OK)
        e = http_query_encode(&target, str_of(p->from));
    if (e == ERR_OK)
        e = buf_addf(&target, "&wait=%d&limit=%d", p->wait_s, p->limit);
    call.target = buf_str(&target);
    if (e == ERR_OK)
        e = http_call_write(out, &call);
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
