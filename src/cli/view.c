#include "cli/view.h"

#include "base/check.h"
#include "base/mem.h"
#include "cli/cli.h"

#include <stdio.h>

int
view_ask(struct view *v, struct hearsay *h, const char *command, const char *path, bool as_it_is)
{
    const char         *body;
    size_t              n;
    enum hearsay_status status = hearsay_call(h, "GET", path, &body, &n);
    if (status != HEARSAY_OK)
        return cli_fail(command, h, status);
    if (as_it_is) {
        printf("%s%s", body, n > 0 && body[n - 1] == '\n' ? "" : "\n");
        return -1;
    }
    if (view_open(v, (struct str){(const uint8_t *)body, n}))
        return -1;
    fprintf(stderr, "hearsay %s: %s does not answer like a Hearsay broker\n", command,
            hearsay_broker(h));
    return EXIT_ERROR;
}

bool
view_open(struct view *v, struct str json)
{
    const char *why;
    v->all.count = 0;
    return json_parse(json, &v->all, &why) == ERR_OK;
}

const struct json_value *
view_get(const struct view *v, const char *key)
{
    return json_member(&v->all, str_of(key));
}

struct str
view_items(const struct json_value *array)
{
    return array && array->kind == JSON_KIND_ARRAY ? json_items(array) : (struct str){0};
}

bool
view_next(struct str *rest, struct json_value *item)
{
    return rest->n > 0 && json_items_next(rest, item);
}

/* A name must not be able to move the cursor of a terminal or to forge a line. */
static void
show_text(struct str text, struct buf *out)
{
    uint8_t *room;
    CHECK(buf_room(out, text.n + 1, &room) == ERR_OK);
    for (size_t i = 0; i < text.n; i++)
        room[i] = text.p[i] < ' ' || text.p[i] == 0x7f ? '?' : text.p[i];
    buf_grew(out, text.n);
}

void
view_show(const struct json_value *value, struct buf *out)
{
    struct str text = STR("-");
    uint8_t   *room = NULL;

    if (value && value->kind == JSON_KIND_STRING) {
        room = mem_new(value->raw.n + 1);
        if (!json_text(value, room, &text))
            text = value->raw;
    } else if (value && value->kind == JSON_KIND_TRUE)
        text = STR("yes");
    else if (value && value->kind == JSON_KIND_FALSE)
        text = STR("no");
    else if (value && value->kind != JSON_KIND_NULL)
        text = value->raw;
    show_text(text, out);
    mem_free(room);
}
