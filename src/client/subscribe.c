#include "client/handle.h"

#include "base/check.h"
#include "client/request.h"
#include "io/clock.h"

#include <stdio.h>
#include <string.h>

/* A broker that stands still, or whose machine is gone, is found by its silence: after a wait
 * of half the time for an answer, and that time.  A longer wait would save next to nothing. */
static int
wait_s(const struct line *l)
{
    enum { WAIT_S_MAX = 30 };
    int half = l->answer_ms / 2000;
    return half < 1 ? 1 : half > WAIT_S_MAX ? WAIT_S_MAX : half;
}

/* The poll's answer is used up: the place moves on. */
static void
adopt(struct hearsay *h, const char *cursor)
{
    handle_set(&h->cursor, cursor);
    handle_set(&h->from, cursor);
    h->in_page = false;
}

static enum hearsay_status
take_answer(struct hearsay *h)
{
    struct line *l   = &h->sub;
    const char  *why = "";

    h->http_status = l->status;
    if (l->status == 204 && request_is_cursor(handle_get(&l->cursor))) {
        adopt(h, handle_get(&l->cursor));
        return HEARSAY_OK;
    }
    if (l->status != 200 && l->status != 204)
        return handle_refused(h, brokers_now(&l->brokers)->text, l->status, buf_str(&l->body));
    if (l->status == 204)
        return handle_say(h, HEARSAY_BROKEN, "an answer without Hearsay-Cursor");
    if (page_start(&h->page, buf_str(&l->body), &why) != ERR_OK)
        return handle_say(h, HEARSAY_BROKEN, "%s", why);
    if (!request_is_cursor(handle_get(&h->page.cursor)))
        return handle_say(h, HEARSAY_BROKEN, "an answer with a cursor that is none");
    h->in_page = true;
    if (page_is_empty(&h->page))
        adopt(h, handle_get(&h->page.cursor));
    else
        h->page_is_new = true;
    return HEARSAY_OK;
}

static enum hearsay_status
send_poll(struct hearsay *h, int wait)
{
    struct line        *l    = &h->sub;
    struct request_poll poll = {.filters = &h->filters,
                                .from    = handle_get(&h->from),
                                .wait_s  = wait,
                                .limit   = h->page_limit};
    if (request_poll(&l->out, brokers_now(&l->brokers)->text, &poll) != ERR_OK)
        return handle_say(h, HEARSAY_INVALID, "a filter or cursor cannot be sent");
    h->poll_sent     = true;
    h->poll_deadline = mono_after(mono_now(), (uint64_t)(wait * 1000 + l->answer_ms));
    return HEARSAY_OK;
}

/* When it has been silent for as long as it may.  A long page over a slow line is not. */
static struct mono
silent_at(const struct hearsay *h)
{
    const struct line *l = &h->sub;
    return l->heard ? mono_after(l->heard_at, (uint64_t)l->answer_ms) : h->poll_deadline;
}

static bool
is_silent(const struct hearsay *h)
{
    return mono_reached(mono_now(), silent_at(h));
}

/* This broker failed or has no time for us: the next one.  True: each has failed. */
static bool
move_on(struct hearsay *h)
{
    line_close(&h->sub);
    h->poll_sent = false;
    return brokers_failed(&h->sub.brokers, mono_now());
}

/* Connect, after the pause of a failed round.  TIMEOUT: the deadline came first. */
static enum hearsay_status
connect_in_time(struct hearsay *h, struct mono deadline, enum err *e)
{
    struct line *l = &h->sub;
    *e             = ERR_OK;
    if (line_is_open(l))
        return HEARSAY_OK;
    h->poll_sent = false;
    *e           = line_open(l, deadline);
    return *e == ERR_MORE ? handle_say(h, HEARSAY_TIMEOUT, "no broker answers yet") : HEARSAY_OK;
}

/* TIMEOUT: the deadline, or the broker is silent. */
static enum err
answer_in_time(struct hearsay *h, struct mono deadline)
{
    for (;;) {
        struct mono look = mono_after(mono_now(), (uint64_t)h->sub.answer_ms);
        look             = h->sub.heard ? look : h->poll_deadline;
        enum err e       = line_answer(&h->sub, METHOD_GET, mono_min(deadline, look));
        if (e != ERR_TIMEOUT || mono_reached(mono_now(), deadline) || is_silent(h))
            return e;
    }
}

/* One poll.  OK: a page or a new cursor is there.  Reading may be repeated without harm,
 * so every failure moves on. */
static enum hearsay_status
fetch(struct hearsay *h, int wait, struct mono deadline)
{
    struct line *l = &h->sub;
    for (;;) {
        const char         *broker = brokers_now(&l->brokers)->text;
        enum err            e;
        enum hearsay_status status = connect_in_time(h, deadline, &e);
        bool                reused = l->answered;
        if (status == HEARSAY_OK && e == ERR_OK && !h->poll_sent)
            status = send_poll(h, wait);
        if (status != HEARSAY_OK)
            return status;
        if (e == ERR_OK)
            e = answer_in_time(h, deadline);
        if (e == ERR_TIMEOUT && line_is_open(l) && !is_silent(h))
            return handle_say(h, HEARSAY_TIMEOUT, "no message in time");
        if (e == ERR_OK) {
            h->poll_sent = false;
            status       = take_answer(h);
            if (status != HEARSAY_BROKEN && !handle_refusal_is_local(h, status)) {
                brokers_worked(&l->brokers);
                return status;
            }
        } else {
            status = handle_line_failed(h, l, broker, e);
            if (reused && !l->heard && e != ERR_TIMEOUT) {
                line_close(l); /* it had idled out, or restarted: the same broker, anew */
                continue;
            }
        }
        if (move_on(h))
            return status == HEARSAY_TIMEOUT ? HEARSAY_UNREACHABLE : status;
    }
}

static enum hearsay_status
check_subscribe(struct hearsay *h, const struct hearsay_subscribe *s)
{
    if (s->filter_count == 0 || s->filter_count > FILTERS_MAX)
        return handle_say(h, HEARSAY_INVALID, "subscribe to 1 to %d filters", FILTERS_MAX);
    for (size_t i = 0; i < s->filter_count; i++)
        if (!s->filter[i] || s->filter[i][0] == '\0')
            return handle_say(h, HEARSAY_INVALID, "an empty filter; '#' stands for all topics");
    return HEARSAY_OK;
}

/* A cursor, as opposed to a word or a time. */
static bool
is_place(const char *from)
{
    return strcmp(from, "latest") != 0 && strcmp(from, "earliest") != 0 && !request_is_time(from) &&
           request_is_cursor(from);
}

void
hearsay_set_page(struct hearsay *h, int page)
{
    h->page_limit = page > 0 && page < PAGE_MESSAGES ? page : PAGE_MESSAGES;
}

/* Everything but asking a broker. */
static enum hearsay_status
begin(struct hearsay *h, const struct hearsay_subscribe *s)
{
    h->http_status             = 0;
    enum hearsay_status status = check_subscribe(h, s);
    if (status != HEARSAY_OK)
        return status;
    line_close(&h->sub);
    h->poll_sent = h->in_page = h->pinned = h->over = false;
    h->met                                          = HEARSAY_OK;
    hearsay_set_page(h, s->page);
    buf_reset(&h->cursor);
    buf_reset(&h->filters);
    for (size_t i = 0; i < s->filter_count; i++) {
        struct str text = {(const uint8_t *)s->filter[i], strlen(s->filter[i]) + 1};
        CHECK(buf_add(&h->filters, text) == ERR_OK);
    }
    handle_set(&h->from, s->from && s->from[0] ? s->from : "latest");
    if (is_place(handle_get(&h->from)))
        handle_set(&h->cursor, handle_get(&h->from));
    return HEARSAY_OK;
}

/* One poll.  The first does not wait: its answer pins the place. */
static enum hearsay_status
poll_once(struct hearsay *h, struct mono deadline)
{
    enum hearsay_status status = fetch(h, h->pinned ? wait_s(&h->sub) : 0, deadline);
    h->pinned                  = h->pinned || status == HEARSAY_OK;
    h->over                    = status == HEARSAY_REFUSED && !handle_refusal_is_local(h, status);
    if (h->over) {
        handle_keep_said(h, &h->met_said);
        line_close(&h->sub);
    }
    return status;
}

enum hearsay_status
hearsay_subscribe(struct hearsay *h, const struct hearsay_subscribe *s)
{
    uint64_t patience = (uint64_t)(h->sub.connect_ms + h->sub.answer_ms) * h->sub.brokers.count;
    enum hearsay_status status = begin(h, s);
    if (status == HEARSAY_OK) {
        status = poll_once(h, mono_after(mono_now(), patience + PAUSE_MS_MAX));
        if (status != HEARSAY_OK) {
            buf_reset(&h->filters);
            buf_reset(&h->cursor);
        }
    }
    handle_arm(h);
    return status;
}

enum hearsay_status
hearsay_subscribe_begin(struct hearsay *h, const struct hearsay_subscribe *s)
{
    enum hearsay_status status = begin(h, s);
    handle_arm(h);
    return status;
}

int
hearsay_subscribed(const struct hearsay *h)
{
    return h->filters.n > 0 && h->pinned;
}

static enum hearsay_status
next_of_page(struct hearsay *h, struct hearsay_message *m)
{
    const char         *why    = "a gap that is none";
    enum hearsay_status status = HEARSAY_GAP;
    enum err            e      = page_gap(&h->page, m);
    if (e == ERR_OK)
        handle_say(h, HEARSAY_GAP, "retention removed messages before they were read");
    if (e == ERR_NOTFOUND) {
        status = HEARSAY_OK;
        e      = page_message(&h->page, m, &why);
    }
    if (e != ERR_OK) {
        h->in_page = false;
        move_on(h);
        return handle_say(h, HEARSAY_BROKEN, "%s", why);
    }
    if (h->page_is_new) {
        /* Whoever publishes from now on may answer what it reads here. */
        handle_set(&h->context, handle_get(&h->page.cursor));
        h->context_via = 0;
        h->page_is_new = false;
    }
    if (page_is_empty(&h->page)) {
        adopt(h, handle_get(&h->page.cursor));
        m->cursor = handle_get(&h->cursor);
    }
    return status;
}

static enum hearsay_status
next(struct hearsay *h, struct mono deadline, struct hearsay_message *m)
{
    if (h->filters.n == 0)
        return handle_say(h, HEARSAY_INVALID, "subscribe first");
    if (h->met != HEARSAY_OK || h->over) {
        enum hearsay_status met = h->over ? HEARSAY_REFUSED : h->met;
        h->met                  = HEARSAY_OK;
        return handle_say_again(h, met, &h->met_said);
    }
    while (!h->in_page) {
        enum hearsay_status status = poll_once(h, deadline);
        if (status != HEARSAY_OK)
            return status;
        if (!h->in_page && mono_reached(mono_now(), deadline))
            return handle_say(h, HEARSAY_TIMEOUT, "no message in time");
    }
    return next_of_page(h, m);
}

enum hearsay_status
hearsay_next(struct hearsay *h, int timeout_ms, struct hearsay_message *m)
{
    struct mono deadline       = mono_after(mono_now(), timeout_ms > 0 ? (uint64_t)timeout_ms : 0);
    *m                         = (struct hearsay_message){0};
    enum hearsay_status status = next(h, deadline, m);
    handle_arm(h);
    return status;
}

/* ---- for an event loop ---- */

void
subscribe_work(struct hearsay *h)
{
    while (h->filters.n > 0 && !h->over && !subscribe_is_ready(h)) {
        enum hearsay_status status = poll_once(h, mono_now());
        if (status == HEARSAY_TIMEOUT)
            return;
        h->met = status;
        handle_keep_said(h, &h->met_said);
    }
}

bool
subscribe_is_ready(const struct hearsay *h)
{
    return h->filters.n > 0 && (h->met != HEARSAY_OK || h->in_page);
}

struct mono
subscribe_due(const struct hearsay *h)
{
    if (h->filters.n == 0 || (h->over && h->met == HEARSAY_OK))
        return MONO_NEVER;
    if (subscribe_is_ready(h) || (line_is_open(&h->sub) && !h->poll_sent))
        return (struct mono){0};
    return line_is_open(&h->sub) ? silent_at(h) : line_open_at(&h->sub);
}
