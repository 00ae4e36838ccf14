#include "server/front_json_request.h"

#include "base/check.h"
#include "base/limits.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "core/filter.h"

#include <string.h>

/* Takes the text of a string out of the object; what is unescaped lies in `room`. */
static bool
text(const struct json_value *v, uint8_t **room, struct str *out)
{
    if (!json_text(v, *room, out))
        return false;
    if (v->escaped)
        *room += out->n;
    return true;
}

static const char *
read_ref(const struct json_members *m, struct json_request *r)
{
    const struct json_value *v = json_member(m, STR("ref"));
    if (!v)
        return NULL;
    if (v->kind != JSON_KIND_STRING && v->kind != JSON_KIND_NUMBER)
        return "\"ref\" must be a string or a number";
    size_t quote = v->kind == JSON_KIND_STRING ? 1 : 0;
    if (v->raw.n + 2 * quote > JSON_REF_BYTES_MAX)
        return "\"ref\" is longer than 256 bytes";
    r->ref = (struct str){v->raw.p - quote, v->raw.n + 2 * quote};
    return NULL;
}

/* One, or for a subscription a list of them. */
static const char *
read_topics(const struct json_value *v, struct json_request *r, uint8_t **room)
{
    bool              publish = r->verb == JSON_VERB_PUBLISH;
    struct str        rest;
    struct json_value one;
    const char       *wrong = NULL;
    if (v && v->kind == JSON_KIND_STRING && text(v, room, &r->topic[0])) {
        r->topic_count = 1;
        return publish ? topic_problem(r->topic[0]) : filter_problem(r->topic[0]);
    }
    if (publish || !v || v->kind != JSON_KIND_ARRAY)
        return publish ? "\"topic\" must be a string"
                       : "\"topic\" must be a string or a list of strings";
    for (rest = json_items(v); !wrong && json_items_next(&rest, &one); r->topic_count++) {
        if (r->topic_count == FILTERS_MAX)
            return "at most 16 filters in one subscription";
        if (!text(&one, room, &r->topic[r->topic_count]))
            return "\"topic\" must be a string or a list of strings";
        wrong = filter_problem(r->topic[r->topic_count]);
    }
    return wrong || r->topic_count > 0 ? wrong : "\"topic\" must name something";
}

static const char *
read_common(const struct json_members *m, struct json_request *r, uint8_t **room)
{
    const struct json_value *type  = json_member(m, STR("type"));
    const struct json_value *topic = json_member(m, STR("topic"));
    const struct json_value *stamp = json_member(m, STR("lamport_timestamp"));
    const struct json_value *ack   = json_member(m, STR("ack"));

    if (!type || type->kind != JSON_KIND_STRING)
        return "\"type\" must be \"publish\" or \"subscribe\"";
    if (json_text_is(type, STR("publish")))
        r->verb = JSON_VERB_PUBLISH;
    else if (json_text_is(type, STR("subscribe")))
        r->verb = JSON_VERB_SUBSCRIBE;
    else
        return "unknown \"type\": send \"publish\" or \"subscribe\"";
    if (stamp && !json_u64(stamp, &r->stamp))
        return "\"lamport_timestamp\" must be a whole number from 0 to 2^53-1";
    if (ack && !json_bool(ack, &r->ack))
        return "\"ack\" must be true or false";
    return read_topics(topic, r, room);
}

static const char *
read_message(const struct json_members *m, struct json_request *r, uint8_t **room)
{
    const struct json_value *plain  = json_member(m, STR("message"));
    const struct json_value *base64 = json_member(m, STR("message_base64"));

    if (plain && base64)
        return "send \"message\" or \"message_base64\", not both";
    if (!plain && !base64)
        return "\"message\" is missing";
    if (!text(plain ? plain : base64, room, &r->message))
        return plain ? "\"message\" must be a string" : "\"message_base64\" must be a string";
    if (base64) {
        struct str coded = r->message;
        if (base64_decode(coded, *room, &r->message) != ERR_OK)
            return "\"message_base64\" is not base64 with padding (RFC 4648)";
        *room += r->message.n;
    }
    return r->message.n > BODY_BYTES_MAX ? "the message is longer than 1 MiB" : NULL;
}

static const char *
read_cursor(const struct json_members *m, struct json_request *r, uint8_t **room)
{
    bool                     publish = r->verb == JSON_VERB_PUBLISH;
    const struct json_value *v       = json_member(m, publish ? STR("after") : STR("cursor"));
    if (!v)
        return NULL;
    if (!text(v, room, &r->cursor))
        return publish ? "\"after\" must be a cursor, in a string"
                       : "\"cursor\" must be a cursor, \"latest\" or \"earliest\", in a string";
    r->has_cursor = true;
    return NULL;
}

enum err
json_request_decode(struct str object, struct buf *room, struct json_request *r, const char **why)
{
    struct json_members m;
    uint8_t            *at = NULL;

    *r = (struct json_request){0};
    if (json_parse(object, &m, why) != ERR_OK)
        return ERR_INVALID;
    /* Unescaping never grows a text, and base64 takes three quarters of one. */
    if (memchr(object.p, '\\', object.n) || json_member(&m, STR("message_base64"))) {
        buf_reset(room);
        CHECK(buf_room(room, 2 * object.n, &at) == ERR_OK);
    }
    *why = read_ref(&m, r);
    if (!*why)
        *why = read_common(&m, r, &at);
    if (!*why && r->verb == JSON_VERB_PUBLISH)
        *why = read_message(&m, r, &at);
    if (!*why)
        *why = read_cursor(&m, r, &at);
    return *why ? ERR_INVALID : ERR_OK;
}
