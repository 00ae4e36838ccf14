#include "server/render.h"

#include "base/check.h"
#include "base/digits.h"
#include "codec/base64.h"
#include "codec/json_write.h"
#include "core/batch.h"

/* Every LIMIT is far below what these buffers take: a refusal is our own bug. */
#define SURE(call) CHECK((call) == ERR_OK)

void
render_u64(struct buf *out, uint64_t value)
{
    uint8_t *to;
    SURE(buf_room(out, DIGITS_U64_MAX, &to));
    buf_grew(out, digits_u64((char *)to, value));
}

void
render_text(struct buf *out, struct str s)
{
    if (json_add_text(out, s) != ERR_OK)
        render(out, STR("\"\\ufffd\""));
}

void
render_hex(struct buf *out, uint64_t value)
{
    char text[1 + DIGITS_HEX64 + 1];
    text[0] = text[sizeof text - 1] = '"';
    digits_hex64(text + 1, value);
    render(out, (struct str){(const uint8_t *)text, sizeof text});
}

/* Cursors, ids and times hold neither quotes nor backslashes. */
static void
quoted(struct buf *out, struct str plain)
{
    render(out, STR("\""));
    render(out, plain);
    render(out, STR("\""));
}

void
render_mark(struct buf *out, struct mark m)
{
    char text[MARK_TEXT_BYTES];
    quoted(out, (struct str){(const uint8_t *)text, mark_text(m, text)});
}

/* `name` is `,"body` or `,"message`. */
static void
body(struct buf *out, struct str name, struct str bytes)
{
    size_t before = out->n;
    render(out, name);
    render(out, STR("\":"));
    if (json_add_text(out, bytes) == ERR_OK)
        return;
    out->n = before;
    render(out, name);
    render(out, STR("_base64\":\""));
    SURE(base64_encode(out, bytes));
    render(out, STR("\""));
}

/* A line without a colon, which only a foreign program can have stored, is skipped. */
bool
render_next_header(struct str *rest, struct str *name, struct str *value)
{
    while (rest->n > 0) {
        size_t     end   = str_index(*rest, '\n');
        struct str line  = str_cut(*rest, 0, end);
        size_t     colon = str_index(line, ':');
        *rest            = str_cut(*rest, end + 1, rest->n);
        if (colon == line.n)
            continue;
        *name  = str_cut(line, 0, colon);
        *value = str_trim(str_cut(line, colon + 1, line.n));
        return true;
    }
    return false;
}

static void
type_and_meta(struct buf *out, struct str headers)
{
    struct str rest = headers, name, value;
    bool       meta = false, type = false;
    while (render_next_header(&rest, &name, &value)) {
        if (type || !str_eq(name, STR("content-type")))
            continue;
        render(out, STR(",\"type\":"));
        render_text(out, value);
        type = true;
    }
    rest = headers;
    while (render_next_header(&rest, &name, &value)) {
        if (!str_starts(name, STR("meta-")))
            continue;
        render(out, meta ? STR(",") : STR(",\"meta\":{"));
        render_text(out, str_cut(name, 5, name.n));
        render(out, STR(":"));
        render_text(out, value);
        meta = true;
    }
    if (meta)
        render(out, STR("}"));
}

/* Its id; or in its place that it has none. */
static void
id_or_not_stored(struct buf *out, struct mark m)
{
    if (m.stream == 0) {
        render(out, STR("\"stored\":false"));
        return;
    }
    render(out, STR("\"id\":"));
    render_mark(out, m);
}

static void
lost(struct buf *out, const struct entry *e)
{
    if (e->lost == 0)
        return;
    render(out, STR(",\"lost\":"));
    render_u64(out, e->lost);
}

void
render_message(struct buf *out, const struct entry *e, struct str cursor)
{
    char time[WALL_TEXT_BYTES];
    wall_text(e->wall, time);
    render(out, STR("{"));
    id_or_not_stored(out, e->mark);
    render(out, STR(",\"topic\":"));
    render_text(out, e->topic);
    render(out, STR(",\"lamport\":"));
    render_u64(out, e->lamport);
    render(out, STR(",\"origin\":"));
    render_text(out, e->origin);
    render(out, STR(",\"time\":"));
    quoted(out, str_of(time));
    type_and_meta(out, e->headers);
    body(out, STR(",\"body"), e->body);
    if (e->late)
        render(out, STR(",\"late\":true"));
    lost(out, e);
    if (cursor.n > 0) {
        render(out, STR(",\"cursor\":"));
        quoted(out, cursor);
    }
    render(out, STR("}"));
}

void
render_delivery(struct buf *out, const struct entry *e, struct str cursor)
{
    render(out, STR("{\"type\":\"publish\",\"topic\":"));
    render_text(out, e->topic);
    body(out, STR(",\"message"), e->body);
    render(out, STR(",\"lamport_timestamp\":"));
    render_u64(out, e->lamport);
    render(out, STR(","));
    id_or_not_stored(out, e->mark);
    if (e->late)
        render(out, STR(",\"late\":true"));
    lost(out, e);
    if (e->live == 0) {
        render(out, STR(",\"cursor\":"));
        quoted(out, cursor);
    }
    render(out, STR("}\n"));
}

static void
gap_members(struct buf *out, const struct entry *gap)
{
    render(out, STR("\"stream\":"));
    render_hex(out, gap->mark.stream);
    render(out, STR(",\"origin\":"));
    render_text(out, gap->origin);
    render(out, STR(",\"from\":"));
    render_u64(out, gap->mark.seq);
    render(out, STR(",\"to\":"));
    render_u64(out, gap->gap_to);
}

void
render_gap(struct buf *out, const struct entry *gap)
{
    render(out, STR("{"));
    gap_members(out, gap);
    render(out, STR("}"));
}

void
render_page_gap(struct buf *out, const struct entry *gap, uint32_t at)
{
    render(out, STR("{"));
    gap_members(out, gap);
    render(out, STR(",\"at\":"));
    render_u64(out, at);
    render(out, STR("}"));
}

void
render_gap_delivery(struct buf *out, const struct entry *gap, struct str cursor)
{
    render(out, STR("{\"type\":\"gap\","));
    gap_members(out, gap);
    render(out, STR(",\"cursor\":"));
    quoted(out, cursor);
    render(out, STR("}\n"));
}

static void
ref_and_end(struct buf *out, struct str ref)
{
    if (ref.n > 0) {
        render(out, STR(",\"ref\":"));
        render(out, ref);
    }
    render(out, STR("}\n"));
}

void
render_ack(struct buf *out, struct mark m, uint64_t lamport, enum causal causal, struct str ref)
{
    static const struct str text[] = {
        [CAUSAL_UNASKED] = {NULL, 0},
        [CAUSAL_YES]     = {(const uint8_t *)",\"causal\":true", 14},
        [CAUSAL_NO]      = {(const uint8_t *)",\"causal\":false", 15},
    };
    render(out, STR("{\"type\":\"ack\","));
    id_or_not_stored(out, m);
    render(out, STR(",\"lamport_timestamp\":"));
    render_u64(out, lamport);
    render(out, text[causal]);
    ref_and_end(out, ref);
}

void
render_subscribed(struct buf *out, struct str cursor, struct str ref)
{
    render(out, STR("{\"type\":\"subscribed\",\"cursor\":"));
    quoted(out, cursor);
    ref_and_end(out, ref);
}

void
render_error(struct buf *out, struct str error, struct mark m, struct str ref)
{
    render(out, STR("{\"type\":\"error\",\"error\":"));
    render_text(out, error);
    if (m.stream != 0) {
        render(out, STR(",\"id\":"));
        render_mark(out, m);
    }
    ref_and_end(out, ref);
}

void
render_receipt(struct buf *out, const struct receipt *r)
{
    render(out, STR("{"));
    id_or_not_stored(out, r->mark);
    render(out, STR(",\"lamport\":"));
    render_u64(out, r->lamport);
    render(out, STR(",\"origin\":"));
    render_text(out, r->origin);
    render(out, STR(",\"copies\":"));
    render_u64(out, r->copies);
    render(out, STR(",\"cursor\":"));
    quoted(out, r->cursor);
    render(out, r->causal ? STR(",\"causal\":true") : STR(",\"causal\":false"));
    render(out, r->fewer ? STR(",\"status\":202}\n") : STR("}\n"));
}
