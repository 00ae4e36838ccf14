/* Answers of the HTTP face, and the text of the cursors in them. */
#include "server/front_http.h"

#include "base/check.h"
#include "codec/cursor.h"
#include "core/vector.h"
#include "server/render.h"

#include <string.h>

/* What a page of an allowed origin needs to see the answer. */
static size_t
add_cors(const struct http_reply_as *as, struct http_header *header)
{
    if (as->origin.n == 0)
        return 0;
    header[0] = (struct http_header){STR("Access-Control-Allow-Origin"), as->origin};
    header[1] = (struct http_header){
        STR("Access-Control-Expose-Headers"),
        /* The star is for Hearsay-Meta-*; older browsers take it for a name. */
        STR("Hearsay-Cursor, Hearsay-Id, Hearsay-Lamport, Hearsay-Origin, Hearsay-Time, ETag, *"),
    };
    header[2] = (struct http_header){STR("Vary"), STR("Origin")};
    return 3;
}

void
http_write(struct conn *c, const struct http_reply_as *as, const struct http_said *said)
{
    struct http_header header[HTTP_EXTRA_MAX + 3];
    size_t             n = 0;
    CHECK(said->extra_count <= HTTP_EXTRA_MAX);
    while (n < said->extra_count) {
        header[n] = said->extra[n];
        n++;
    }
    n += add_cors(as, header + n);
    struct http_answer a = {
        .status        = said->status,
        .version_minor = as->version_minor,
        .keep_alive    = as->keep_alive,
        .content_type  = said->type,
        .header        = header,
        .header_count  = n,
        .lines         = said->lines,
    };
    CHECK(http_answer_write(conn_out(c), &a, as->head ? STR("") : said->body) == ERR_OK);
    if (!as->keep_alive)
        conn_finish(c);
}

void
http_write_stream_head(struct conn *c, const struct http_reply_as *as, struct str type)
{
    struct http_header header[3];
    struct http_answer a = {
        .status        = 200,
        .version_minor = as->version_minor,
        .keep_alive    = as->keep_alive && as->version_minor > 0,
        .framing       = as->version_minor > 0 ? FRAMING_CHUNKED : FRAMING_UNTIL_CLOSE,
        .content_type  = type,
        .header        = header,
        .header_count  = add_cors(as, header),
    };
    CHECK(http_head_write(conn_out(c), &a) == ERR_OK);
}

void
http_problem_text(struct conn *c, const struct http_reply_as *as, struct buf *out,
                  const struct http_problem *p, struct mark m)
{
    struct trace_about before = conn_about(c, as->request);
    tracef(TRACE_DEBUG, "answered %u %s: %s", p->status, p->code, p->detail);
    trace_about(before);
    render(out, STR("{\"type\":\"about:blank\",\"title\":"));
    render_text(out, str_of(http_status_text(p->status)));
    render(out, STR(",\"status\":"));
    render_u64(out, p->status);
    render(out, STR(",\"code\":"));
    render_text(out, str_of(p->code));
    render(out, STR(",\"detail\":"));
    render_text(out, str_of(p->detail));
    if (m.stream != 0) {
        render(out, STR(",\"id\":"));
        render_mark(out, m);
    }
    render(out, STR("}\n"));
}

static void
end_solo(struct conn *c, struct http_conn *h)
{
    h->busy = false;
    if (h->in.n > 0 || h->stage != HTTP_HEAD || conn_has_ended(c))
        conn_again(c);
    if (h->text.cap > HTTP_KEEP_BYTES)
        buf_clear_free(&h->text);
    http_cursor_forget(h);
}

void
http_reply(struct conn *c, struct http_conn *h, const struct http_said *said)
{
    http_write(c, &h->as, said);
    end_solo(c, h);
}

void
http_reply_problem_with(struct conn *c, struct http_conn *h, const struct http_problem *p,
                        const struct http_header *extra)
{
    buf_reset(&h->text);
    http_problem_text(c, &h->as, &h->text, p, (struct mark){0});
    http_reply(c, h,
               &(struct http_said){.status      = p->status,
                                   .type        = HTTP_PROBLEM,
                                   .body        = buf_str(&h->text),
                                   .extra       = extra,
                                   .extra_count = extra ? 1 : 0});
}

void
http_reply_problem(struct conn *c, struct http_conn *h, uint16_t status, const char *code,
                   const char *detail)
{
    http_reply_problem_with(c, h, &(struct http_problem){status, code, detail}, NULL);
}

struct str
http_cursor_text(struct http_conn *h, const struct vector *v, uint64_t stamp)
{
    bool same = h->cursor.n > 0 && stamp == h->cursor_stamp && v->count == h->cursor_of.count &&
                (v->count == 0 || memcmp(v->at, h->cursor_of.at, v->count * sizeof *v->at) == 0);
    if (!same) {
        CHECK(vector_copy(&h->cursor_of, v) == ERR_OK);
        h->cursor_stamp = stamp;
        buf_reset(&h->cursor);
        CHECK(cursor_encode(&h->cursor, h->tag, stamp, v) == ERR_OK);
    }
    return buf_str(&h->cursor);
}

void
http_cursor_forget(struct http_conn *h)
{
    if (h->cursor.cap > HTTP_KEEP_BYTES) {
        buf_clear_free(&h->cursor);
        vector_fini(&h->cursor_of);
    }
    if (h->after_vector.cap * sizeof *h->after_vector.at > HTTP_KEEP_BYTES &&
        h->after == HTTP_AFTER_NONE)
        vector_fini(&h->after_vector);
}
