#include "codec/json_write.h"

#include "base/digits.h"
#include "base/utf8.h"
#include "codec/base64.h"
#include "codec/json_plain.h"

#include <string.h>

/* ---- strings ---- */

/* The letter behind the backslash; 'u': four hex digits follow. */
static uint8_t
escape_letter(uint8_t c)
{
    static const uint8_t control[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    if (c >= 0x20)
        return c; /* the quote and the backslash stand for themselves */
    return control[c] ? control[c] : 'u';
}

/* How long the text is once escaped; false: not UTF-8. */
static bool
measure(struct str s, size_t *bytes)
{
    size_t n  = s.n;
    size_t at = 0;
    for (;;) {
        at = json_plain_ascii(s, at);
        if (at == s.n) {
            *bytes = n;
            return true;
        }
        if (s.p[at] >= 0x80) {
            uint32_t code_point;
            size_t   used = utf8_decode(str_cut(s, at, s.n), &code_point);
            if (used == 0)
                return false;
            at += used;
            continue;
        }
        n += escape_letter(s.p[at++]) == 'u' ? 5 : 1;
    }
}

static uint8_t *
escape(struct str s, uint8_t *to)
{
    static const char digit[] = "0123456789abcdef";
    size_t            at      = 0;
    for (;;) {
        size_t stop = json_plain(s, at);
        memcpy(to, s.p + at, stop - at);
        to += stop - at;
        if (stop == s.n)
            return to;
        uint8_t c = s.p[stop];
        at        = stop + 1;
        *to++     = '\\';
        *to++     = escape_letter(c);
        if (to[-1] != 'u')
            continue;
        memcpy(to, "00", 2);
        to[2] = (uint8_t)digit[c >> 4];
        to[3] = (uint8_t)digit[c & 15];
        to += 4;
    }
}

/* `before` is a comma or nothing, `after` a colon or nothing. */
static enum err
add_text(struct buf *out, bool before, struct str text, bool after)
{
    size_t bytes;
    if (!measure(text, &bytes))
        return ERR_INVALID;
    uint8_t *to;
    size_t   all = bytes + 2 + (before ? 1 : 0) + (after ? 1 : 0);
    enum err e   = buf_room(out, all, &to);
    if (e != ERR_OK)
        return e;
    if (before)
        *to++ = ',';
    *to++ = '"';
    if (bytes != text.n)
        to = escape(text, to);
    else if (bytes > 0)
        to = (uint8_t *)memcpy(to, text.p, bytes) + bytes;
    *to++ = '"';
    if (after)
        *to = ':';
    buf_grew(out, all);
    return ERR_OK;
}

enum err
json_add_text(struct buf *out, struct str text)
{
    return add_text(out, false, text, false);
}

/* ---- the writer ---- */

void
json_write_begin(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out, .begin = out->n, .err = ERR_OK};
}

static void
put(struct json_writer *w, struct str s)
{
    if (w->err == ERR_OK)
        w->err = buf_add(w->out, s);
}

/* A comma where one is needed, then the value. */
static void
put_value(struct json_writer *w, struct str s)
{
    if (w->comma)
        put(w, STR(","));
    put(w, s);
    w->comma = true;
}

void
json_write_open(struct json_writer *w, char bracket)
{
    put_value(w, (struct str){(const uint8_t *)&bracket, 1});
    w->comma = false;
}

void
json_write_close(struct json_writer *w, char bracket)
{
    put(w, (struct str){(const uint8_t *)&bracket, 1});
    w->comma = true;
}

void
json_write_key(struct json_writer *w, struct str key)
{
    if (w->err == ERR_OK)
        w->err = add_text(w->out, w->comma, key, true);
    w->comma = false;
}

void
json_write_text(struct json_writer *w, struct str text)
{
    if (w->err == ERR_OK)
        w->err = add_text(w->out, w->comma, text, false);
    w->comma = true;
}

void
json_write_base64(struct json_writer *w, struct str bytes)
{
    put_value(w, STR("\""));
    if (w->err == ERR_OK)
        w->err = base64_encode(w->out, bytes);
    put(w, STR("\""));
}

enum err
json_write_end(struct json_writer *w)
{
    if (w->err != ERR_OK)
        w->out->n = w->begin;
    return w->err;
}
