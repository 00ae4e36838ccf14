/* Reads without an end: Server-Sent Events (WHATWG HTML, section 9.2) and NDJSON.
 *
 * SSE: `id:` is the cursor, so that a browser that comes back says by Last-Event-ID
 * where it was.  It comes first of all, with each message and each gap, and when only the
 * cursor moved.  Where there is nothing else to say it comes as an event "cursor" with data:
 * many clients forget the id of a block that has none, though the standard keeps it. */
#include "server/front_http.h"

#include "base/check.h"
#include "base/hash.h"
#include "server/render.h"

enum { PING_MS = 15000 };

static const enum face face[2][2] = {
    /* by: is it SSE? in chunks? */
    {FACE_NDJSON, FACE_NDJSON_CHUNKED},
    {FACE_SSE, FACE_SSE_CHUNKED},
};

static void
say(struct conn *c, struct http_conn *h)
{
    struct buf *out = conn_out(c);
    if (h->as.version_minor > 0)
        CHECK(http_chunk_write(out, buf_str(&h->text)) == ERR_OK);
    else
        render(out, buf_str(&h->text));
}

/* False: `since`, and the disk has not told yet where that is. */
static bool
place(struct conn *c, struct http_conn *h, struct str *cursor)
{
    if (!http_poll_place(c, h, cursor))
        return false;
    h->poll->placed = hash64(*cursor);
    return true;
}

static void
say_place(struct conn *c, struct http_conn *h)
{
    bool       sse = h->poll->kind == HTTP_POLL_SSE;
    struct str cursor;
    if (!place(c, h, &cursor))
        return;
    buf_reset(&h->text);
    render(&h->text, sse ? STR("id: ") : STR("{\"cursor\":\""));
    render(&h->text, cursor);
    render(&h->text, sse ? STR("\nevent: cursor\ndata: {}\n\n") : STR("\"}\n"));
    say(c, h);
}

static void
say_gap(struct conn *c, struct http_conn *h, const struct entry *gap)
{
    bool       sse = h->poll->kind == HTTP_POLL_SSE;
    struct str cursor;
    CHECK(place(c, h, &cursor)); /* it was pulled from there */
    buf_reset(&h->text);
    if (sse) {
        render(&h->text, STR("id: "));
        render(&h->text, cursor);
    }
    render(&h->text, sse ? STR("\nevent: gap\ndata: ") : STR("{\"gap\":"));
    render_gap(&h->text, gap);
    if (!sse) {
        render(&h->text, STR(",\"cursor\":\""));
        render(&h->text, cursor);
    }
    render(&h->text, sse ? STR("\n\n") : STR("\"}\n"));
    say(c, h);
}

/* It moves no cursor, and has none. */
static void
say_live(struct conn *c, struct http_conn *h, const struct entry *e)
{
    bool sse = h->poll->kind == HTTP_POLL_SSE;
    buf_reset(&h->text);
    render(&h->text, sse ? STR("data: ") : STR(""));
    render_message(&h->text, e, STR(""));
    render(&h->text, sse ? STR("\n\n") : STR("\n"));
    say(c, h);
}

static void
say_message(struct conn *c, struct http_conn *h, const struct entry *e)
{
    struct str cursor;
    CHECK(place(c, h, &cursor)); /* as in say_gap() */
    buf_reset(&h->text);
    if (h->poll->kind == HTTP_POLL_SSE) {
        render(&h->text, STR("id: "));
        render(&h->text, cursor);
        render(&h->text, STR("\ndata: "));
        render_message(&h->text, e, STR(""));
        render(&h->text, STR("\n\n"));
    } else {
        render_message(&h->text, e, cursor);
        render(&h->text, STR("\n"));
    }
    say(c, h);
}

static void
ping_later(struct conn *c, struct http_conn *h)
{
    http_set_timer(c, h, HTTP_TIMER_POLL, mono_after(server_now(conn_server(c)), PING_MS));
}

/* Notes its place; what is live has none. */
static uint64_t
say_entry(struct conn *c, const struct entry *e)
{
    struct http_conn *h = conn_state(c);
    if (e->gap_to != 0)
        say_gap(c, h, e);
    else if (e->live != 0)
        say_live(c, h, e);
    else
        say_message(c, h, e);
    return e->live != 0 ? 0 : h->poll->placed;
}

void
http_stream_pull(struct conn *c, struct http_conn *h)
{
    bool     chunked = h->as.version_minor > 0, sse = h->poll->kind == HTTP_POLL_SSE;
    uint64_t placed = server_deliver(c, h->poll->sub, face[sse][chunked], say_entry);
    if (placed != 0)
        h->poll->placed = placed;
    if (!h->poll->placed)
        say_place(c, h);
    http_cursor_forget(h);
}

void
http_stream_begin(struct conn *c, struct http_conn *h)
{
    bool sse = h->poll->kind == HTTP_POLL_SSE;
    http_write_stream_head(c, &h->as, sse ? STR("text/event-stream") : STR("application/x-ndjson"));
    say_place(c, h);
    ping_later(c, h);
    http_stream_pull(c, h);
}

void
http_stream_ping(struct conn *c, struct http_conn *h)
{
    bool       sse  = h->poll->kind == HTTP_POLL_SSE;
    uint64_t   said = h->poll->placed;
    struct str cursor;
    ping_later(c, h);
    if (!conn_has_room(c))
        return; /* who does not read gets no pings either */
    if (sse) {
        buf_reset(&h->text);
        render(&h->text, STR(":\n\n"));
        say(c, h);
    }
    if (!sse || (http_poll_place(c, h, &cursor) && hash64(cursor) != said))
        say_place(c, h);
    http_cursor_forget(h);
}
