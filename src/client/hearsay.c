#include "client/handle.h"

#include "base/check.h"
#include "base/mem.h"
#include "client/request.h"
#include "io/clock.h"

#include <stdio.h>
#include <string.h>

const char *
hearsay_version(void)
{
    return HEARSAY_VERSION;
}

const char *
hearsay_status_text(enum hearsay_status status)
{
    switch (status) {
    case HEARSAY_OK:
        return "ok";
    case HEARSAY_INVALID:
        return "not a valid call";
    case HEARSAY_UNREACHABLE:
        return "no broker can be reached";
    case HEARSAY_REFUSED:
        return "refused by the broker";
    case HEARSAY_UNCERTAIN:
        return "outcome unknown";
    case HEARSAY_FEWER:
        return "fewer copies than asked";
    case HEARSAY_GAP:
        return "messages were removed by retention";
    case HEARSAY_TIMEOUT:
        return "no answer in time";
    case HEARSAY_BROKEN:
        return "not an answer of a Hearsay broker";
    }
    return "no such status";
}

struct hearsay *
hearsay_open(const char *brokers)
{
    struct brokers list;
    if (!brokers || brokers_parse(&list, str_of(brokers)) != ERR_OK)
        return NULL;
    struct hearsay *h = mem_new(sizeof *h);
    line_init(&h->pub);
    line_init(&h->sub);
    watch_init(&h->watch);
    h->pub.brokers = h->sub.brokers = list;
    h->page_limit                   = PAGE_MESSAGES;
    page_init(&h->page);
    buf_init(&h->room, 0);
    buf_init(&h->context, 0);
    buf_init(&h->filters, 0);
    buf_init(&h->from, 0);
    buf_init(&h->cursor, 0);
    for (unsigned i = 0; i < HEARSAY_OUTSTANDING_MAX; i++) {
        kept_init(&h->pending[i].kept);
        buf_init(&h->pending[i].answer, LINE_BODY_BYTES_MAX + 1); /* as a line's */
    }
    return h;
}

void
hearsay_close(struct hearsay *h)
{
    if (!h)
        return;
    line_fini(&h->pub);
    line_fini(&h->sub);
    watch_close(&h->watch); /* behind the sockets, which leave it */
    page_fini(&h->page);
    buf_fini(&h->room);
    buf_fini(&h->context);
    buf_fini(&h->filters);
    buf_fini(&h->from);
    buf_fini(&h->cursor);
    for (unsigned i = 0; i < HEARSAY_OUTSTANDING_MAX; i++) {
        kept_fini(&h->pending[i].kept);
        buf_fini(&h->pending[i].answer);
    }
    mem_free(h);
}

void
hearsay_set_timeouts(struct hearsay *h, int connect_ms, int answer_ms)
{
    h->pub.connect_ms = h->sub.connect_ms = connect_ms > 0 ? connect_ms : LINE_CONNECT_MS;
    h->pub.answer_ms = h->sub.answer_ms = answer_ms > 0 ? answer_ms : LINE_ANSWER_MS;
}

void
hearsay_set_patience(struct hearsay *h, int ms)
{
    h->patience_ms = ms > 0 ? (uint64_t)ms : 0;
}

const char *
hearsay_text(const struct hearsay *h)
{
    return h->text;
}

int
hearsay_http_status(const struct hearsay *h)
{
    return h->http_status;
}

const char *
hearsay_broker(const struct hearsay *h)
{
    return brokers_now(h->filters.n > 0 ? &h->sub.brokers : &h->pub.brokers)->text;
}

const char *
hearsay_cursor(const struct hearsay *h)
{
    return handle_get(&h->cursor);
}

/* ---- shared by publish and subscribe ---- */

void
handle_set(struct buf *b, const char *text)
{
    buf_reset(b);
    CHECK(buf_add(b, (struct str){(const uint8_t *)text, strlen(text) + 1}) == ERR_OK);
}

const char *
handle_get(const struct buf *b)
{
    return b->n > 0 ? (const char *)buf_str(b).p : "";
}

/* What a broker says goes to terminals and logs: no byte of it moves a cursor or begins a line. */
static void
make_harmless(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        bool is_c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0; /* U+0080 to U+009F */
        if (is_c1)
            *at++ = '?';
        if (is_c1 || *at < ' ' || *at == 0x7f)
            *at = '?';
    }
}

enum hearsay_status
handle_say(struct hearsay *h, enum hearsay_status status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(h->text, sizeof h->text, format, ap);
    va_end(ap);
    make_harmless(h->text);
    return status;
}

enum hearsay_status
handle_line_failed(struct hearsay *h, const struct line *l, const char *broker, enum err e)
{
    h->http_status = 0;
    if (e == ERR_PROTO)
        return handle_say(h, HEARSAY_BROKEN, "%s does not answer like a Hearsay broker: %s", broker,
                          line_problem(l));
    if (e == ERR_TIMEOUT && line_is_open(l))
        return handle_say(h, HEARSAY_TIMEOUT, "%s took the request and gave no answer in time",
                          broker);
    return handle_say(h, HEARSAY_UNREACHABLE, "cannot reach a broker at %s: %s", broker,
                      line_problem(l));
}

enum hearsay_status
handle_refused(struct hearsay *h, const char *broker, int http_status, struct str body)
{
    struct page_problem p;
    h->http_status = http_status;
    page_problem(body, &h->room, &p);
    if (p.code[0] == '\0')
        return handle_say(h, HEARSAY_REFUSED, "%s refused with status %d", broker, http_status);
    handle_say(h, HEARSAY_REFUSED, "%s (%s)", p.detail, p.code);
    return strcmp(p.code, "outcome_unknown") == 0 ? HEARSAY_UNCERTAIN : HEARSAY_REFUSED;
}

void
handle_keep_said(const struct hearsay *h, struct said *to)
{
    memcpy(to->text, h->text, sizeof to->text);
    to->http_status = h->http_status;
}

enum hearsay_status
handle_say_again(struct hearsay *h, enum hearsay_status status, const struct said *said)
{
    memcpy(h->text, said->text, sizeof h->text);
    h->http_status = said->http_status;
    return status;
}

bool
handle_refusal_is_local(const struct hearsay *h, enum hearsay_status status)
{
    return status == HEARSAY_REFUSED && (h->http_status == 503 || h->http_status == 507);
}

/* ---- everything else ---- */

/* Only what may be asked twice without harm comes this way, so any failure moves on. */
static enum hearsay_status
call(struct hearsay *h, const char *method, const char *path, const char **body, size_t *body_bytes)
{
    struct line        *l = &h->pub;
    enum hearsay_status status;

    h->http_status = 0;
    if (h->outstanding > 0)
        return handle_say(h, HEARSAY_INVALID, "take the answers of all publishes first");
    if (!method || !path || path[0] != '/')
        return handle_say(h, HEARSAY_INVALID, "not a method and a path");
    for (;;) {
        const char *broker = brokers_now(&l->brokers)->text;
        bool        reused = line_is_open(l) && l->answered;
        enum err    e      = line_is_open(l) ? ERR_OK : line_open(l, MONO_NEVER);
        if (e == ERR_OK && request_call(&l->out, broker, method, path) != ERR_OK)
            return handle_say(h, HEARSAY_INVALID, "not a method and a path");
        if (e == ERR_OK)
            e = line_answer(l, METHOD_GET, mono_after(mono_now(), (uint64_t)l->answer_ms));
        if (e == ERR_OK)
            break;
        status = handle_line_failed(h, l, broker, e);
        line_close(l);
        if (!reused && brokers_failed(&l->brokers, mono_now()))
            return status;
    }
    brokers_worked(&l->brokers);
    h->http_status = l->status;
    CHECK(buf_add(&l->body, STR("\0")) == ERR_OK);
    *body       = (const char *)buf_str(&l->body).p;
    *body_bytes = l->body.n - 1;
    l->body.n--; /* the zero is behind the end */
    if (l->status >= 300)
        return handle_refused(h, brokers_now(&l->brokers)->text, l->status, buf_str(&l->body));
    return HEARSAY_OK;
}

enum hearsay_status
hearsay_call(struct hearsay *h, const char *method, const char *path, const char **body,
             size_t *body_bytes)
{
    enum hearsay_status status = call(h, method, path, body, body_bytes);
    handle_arm(h);
    return status;
}
