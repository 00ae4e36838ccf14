/* json_fuzz.c - any bytes as a stream of objects: where it is cut makes no difference,
 * what is accepted can be read, and written again it means the same.
 *
 * The first byte says where the reads end. */
#include "base/check.h"
#include "base/utf8.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/json_write.h"
#include "tests/fuzz/cuts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_base64(struct str text)
{
    uint8_t   *room = malloc(text.n / 4 * 3);
    struct str bytes;
    struct buf out;
    buf_init(&out, 0);
    if (base64_decode(text, room, &bytes) == ERR_OK) {
        CHECK(base64_encode(&out, bytes) == ERR_OK);
        CHECK(str_eq(buf_str(&out), text)); /* one text for the bytes, no other */
    }
    buf_reset(&out);
    CHECK(base64_encode(&out, text) == ERR_OK);
    uint8_t *more = malloc(out.n / 4 * 3);
    CHECK(base64_decode(buf_str(&out), more, &bytes) == ERR_OK && str_eq(bytes, text));
    free(more);
    free(room);
    buf_fini(&out);
}

static void
check_items(const struct json_value *array, size_t depth)
{
    struct str        rest = json_items(array);
    struct json_value v;
    while (json_items_next(&rest, &v)) {
        CHECK(depth < JSON_DEPTH_MAX);
        if (v.kind == JSON_KIND_ARRAY)
            check_items(&v, depth + 1);
        if (v.kind != JSON_KIND_OBJECT)
            continue;
        struct json_members m;
        const char         *why;
        CHECK(json_parse(v.raw, &m, &why) == ERR_OK);
    }
}

/* Every member read and written anew: the result is accepted and means the same. */
static void
check_members(const struct json_members *m)
{
    struct buf         out;
    struct json_writer w;
    buf_init(&out, 0);
    json_write_begin(&w, &out);
    json_write_open(&w, '{');
    for (uint32_t i = 0; i < m->count; i++) {
        const struct json_member *at  = &m->at[i];
        uint8_t                  *key = malloc(at->key.n), *room = malloc(at->value.raw.n);
        struct str                text = json_key_text(at, key);
        uint64_t                  number;
        CHECK(utf8_is_valid(text));
        CHECK(json_member(m, text) == &at->value);
        json_write_key(&w, text);
        if (json_text(&at->value, room, &text)) {
            CHECK(utf8_is_valid(text) && text.n <= at->value.raw.n);
            CHECK(json_text_is(&at->value, text));
            json_write_text(&w, text);
        } else {
            if (json_u64(&at->value, &number))
                CHECK(number <= STAMP_MAX);
            CHECK(buf_add(&out, at->value.raw) == ERR_OK); /* as it is */
            w.comma = true;
        }
        check_items(&at->value, 1);
        free(key);
        free(room);
    }
    json_write_close(&w, '}');
    CHECK(json_write_end(&w) == ERR_OK);

    struct json_members again;
    const char         *why;
    CHECK(json_parse(buf_str(&out), &again, &why) == ERR_OK && again.count == m->count);
    for (uint32_t i = 0; i < m->count; i++)
        CHECK(again.at[i].value.kind == m->at[i].value.kind);
    buf_fini(&out);
}

/* All that json_find() says about the stream. */
static void
sweep(struct str in, uint32_t how, struct buf *said)
{
    struct cuts      cuts = {how};
    struct json_scan scan = {0};
    size_t           from = 0, to = 0;
    for (;;) {
        struct str  object;
        size_t      used;
        const char *why;
        enum err    e = json_find(&scan, str_cut(in, from, to), &object, &used, &why);
        CHECK(used <= to - from);
        from += used;
        if (e == ERR_OK) {
            CHECK(object.p + object.n == in.p + from);
            CHECK(buf_add(said, object) == ERR_OK && buf_add(said, STR("\n")) == ERR_OK);
        } else if (e == ERR_PROTO) {
            CHECK(buf_add(said, str_of(why)) == ERR_OK);
        } else if (to == in.n) {
            break;
        } else {
            to = cuts_next(&cuts, to, in);
        }
    }
    CHECK(buf_addf(said, "%zu %d", from, json_scan_is_idle(&scan)) == ERR_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    struct str in = {data + 1, n - 1};
    struct buf whole, cut;
    buf_init(&whole, 0);
    buf_init(&cut, 0);
    sweep(in, CUTS_WHOLE, &whole);
    cuts_show(in, 0);
    sweep(in, data[0], &cut);
    CHECK(str_eq(buf_str(&whole), buf_str(&cut)));
    buf_fini(&whole);
    buf_fini(&cut);

    struct json_members m;
    const char         *why = NULL;
    if (json_parse(in, &m, &why) == ERR_OK)
        check_members(&m);
    else
        CHECK(why);

    struct buf out;
    buf_init(&out, 0);
    CHECK((json_add_text(&out, in) == ERR_OK) == utf8_is_valid(in));
    buf_fini(&out);
    check_base64(in);
    return 0;
}
