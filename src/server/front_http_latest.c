/* GET /latest/{topic}: the newest message of a topic, as it was sent.
 *
 * Its bytes were chosen by whoever published it, and they come from the address of the
 * broker: `sandbox` keeps a browser from running a page among them as one of our own. */
#include "server/front_http.h"

#include "core/batch.h"
#include "server/render.h"

enum err
http_latest(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    uint8_t                    room[HTTP_HEAD_BYTES_MAX];
    const struct http_headers *headers = &ask->request->headers;
    struct str                 topic;

    const struct http_problem p = http_read_topic(ask->param, room, &topic);
    if (p.status) {
        http_reply_problem(c, h, p.status, p.code, p.detail);
        return ERR_OK;
    }
    /* What the client has already: kept in the scratch until the answer. */
    buf_reset(&h->text);
    for (uint32_t i = 0; i < headers->count; i++) {
        if (!str_eq_nocase(headers->at[i].name, STR("If-None-Match")))
            continue;
        render(&h->text, headers->at[i].value);
        render(&h->text, STR(","));
    }
    if (server_latest(c, topic, 0) != ERR_OK)
        http_reply_problem(c, h, 503, "too_many", "too many ask: try again");
    return ERR_OK;
}

/* ---- the answer ---- */

/* Where to go on: it covers no more than what the store had looked through. */
static struct http_header
place(struct conn *c, struct http_conn *h)
{
    struct broker *b      = server_broker(conn_server(c));
    struct str     cursor = http_cursor_text(h, broker_vector(b), broker_stamp(b));
    return (struct http_header){STR("Hearsay-Cursor"), cursor};
}

/* If-None-Match (RFC 9110 13.1.2); weak tags match too.  The id says which bytes they are, so
 * it makes the tag. */
static bool
is_known(struct str list, struct mark m)
{
    char id[MARK_TEXT_BYTES];
    mark_text(m, id);
    while (list.n > 0) {
        size_t     end = str_index(list, ',');
        struct str one = str_trim(str_cut(list, 0, end));
        list           = str_cut(list, end + 1, list.n);
        if (str_eq(one, STR("*")))
            return true;
        if (str_starts(one, STR("W/")))
            one = str_cut(one, 2, one.n);
        bool quoted = one.n >= 2 && one.p[0] == '"' && one.p[one.n - 1] == '"';
        if (quoted && str_eq(str_cut(one, 1, one.n - 1), str_of(id)))
            return true;
    }
    return false;
}

static void
line(struct buf *out, const char *name, struct str value)
{
    if (!http_is_field_value(value))
        return; /* of a foreign program: nothing that a header could carry */
    render(out, str_of(name));
    render(out, STR(": "));
    render(out, value);
    render(out, STR("\r\n"));
}

static void
add_meta(struct buf *out, struct str headers)
{
    struct str name, value;
    while (render_next_header(&headers, &name, &value)) {
        if (!str_starts(name, STR("meta-")) || !http_is_token(name) || !http_is_field_value(value))
            continue;
        render(out, STR("Hearsay-Meta-"));
        render(out, str_cut(name, 5, name.n));
        render(out, STR(": "));
        render(out, value);
        render(out, STR("\r\n"));
    }
}

static struct str
type_of(struct str headers)
{
    struct str name, value;
    while (render_next_header(&headers, &name, &value))
        if (str_eq(name, STR("content-type")) && http_is_field_value(value))
            return value;
    return STR("");
}

static void
answer(struct conn *c, struct http_conn *h, const struct entry *e)
{
    char               id[MARK_TEXT_BYTES], time[WALL_TEXT_BYTES];
    struct buf        *out    = &h->text;
    struct http_header cursor = place(c, h);
    bool               known  = is_known(buf_str(out), e->mark);

    mark_text(e->mark, id);
    wall_text(e->wall, time);
    buf_reset(out);
    line(out, "Hearsay-Id", str_of(id));
    render(out, STR("Hearsay-Lamport: "));
    render_u64(out, e->lamport);
    render(out, STR("\r\nETag: "));
    render_mark(out, e->mark);
    render(out, STR("\r\n"));
    line(out, "Hearsay-Origin", e->origin);
    line(out, "Hearsay-Time", str_of(time));
    add_meta(out, e->headers);
    render(out, STR("Content-Security-Policy: sandbox\r\nX-Content-Type-Options: nosniff\r\n"));
    http_reply(c, h,
               &(struct http_said){.status      = known ? 304 : 200,
                                   .type        = known ? STR("") : type_of(e->headers),
                                   .body        = known ? STR("") : e->body,
                                   .extra       = &cursor,
                                   .extra_count = cursor.value.n <= HTTP_CURSOR_HEADER_MAX,
                                   .lines       = buf_str(out)});
}

void
http_latest_answer(struct conn *c, struct http_conn *h, enum err err, const struct entry *newest)
{
    struct http_header cursor;
    if (err == ERR_OK) {
        answer(c, h, newest);
    } else if (err == ERR_NOTFOUND) {
        cursor = place(c, h);
        http_reply_problem_with(
            c, h, &(struct http_problem){404, "no_message", "this topic has no message yet"},
            cursor.value.n <= HTTP_CURSOR_HEADER_MAX ? &cursor : NULL);
    } else if (err == ERR_BUSY)
        http_reply_problem(c, h, 503, "too_many", "too many ask: try again");
    else
        http_reply_problem(c, h, 503, "unreadable",
                           "the newest message cannot be read from disk: use another broker");
}
