#include "client/handle.h"

#include "base/check.h"
#include "client/request.h"
#include "io/clock.h"

#include <stdio.h>
#include <string.h>

/* Written requests are kept back up to here, so that a pipeline leaves in few sends. */
enum { FLUSH_BYTES = 64 << 10 };

static const struct hearsay_receipt nothing = {.id = "", .origin = "", .cursor = ""};

/* ---- what is on its way ---- */

static struct pending *
pending_at(struct hearsay *h, unsigned i)
{
    return &h->pending[(h->first + i) % HEARSAY_OUTSTANDING_MAX];
}

static void
enter(struct pending *p, enum pending_state to)
{
    static const bool may[PENDING_STATES][PENDING_STATES] = {
        [PENDING_WRITTEN] = {[PENDING_SENT] = true},
        [PENDING_SENT] =
            {[PENDING_WRITTEN] = true, [PENDING_ANSWERED] = true, [PENDING_UNKNOWN] = true},
    };
    CHECK(may[p->state][to]);
    p->state = to;
}

static bool
is_open(const struct pending *p)
{
    return p->state == PENDING_WRITTEN || p->state == PENDING_SENT;
}

/* NULL: no answer is owed. */
static struct pending *
first_sent(struct hearsay *h)
{
    for (unsigned i = 0; i < h->outstanding; i++)
        if (pending_at(h, i)->state == PENDING_SENT)
            return pending_at(h, i);
    return NULL;
}

/* What this very broker gave us as a receipt needs not be said to it: it has all of that. */
static const char *
after_of(const struct hearsay *h, const struct pending *p)
{
    if (p->kept.p.after)
        return p->kept.p.after;
    return h->context_via == h->pub.opened ? "" : handle_get(&h->context);
}

/* In the order they were begun, as far as the connection may take more. */
static void
put_written(struct hearsay *h)
{
    struct line *l = &h->pub;
    if (!line_is_open(l) || h->leaving || h->stuck)
        return;
    for (unsigned i = 0; i < h->outstanding; i++) {
        struct pending *p      = pending_at(h, i);
        size_t          before = l->out.n;
        if (p->state != PENDING_WRITTEN)
            continue;
        struct hearsay_publish whole = p->kept.p;
        whole.after                  = after_of(h, p);
        request_publish(&l->out, brokers_now(&l->brokers)->text, &whole, &p->as_line);
        p->wire_bytes = l->out.n - before;
        p->via        = l->opened;
        enter(p, PENDING_SENT);
    }
}

/* The connection is gone.  Who had left as a whole may be stored; who had not, cannot be. */
static void
take_back(struct hearsay *h, bool first_was_heard)
{
    size_t          unsent = h->pub.unsent;
    struct pending *heard  = first_was_heard ? first_sent(h) : NULL;
    for (unsigned i = h->outstanding; i-- > 0;) {
        struct pending *p = pending_at(h, i);
        if (p->state != PENDING_SENT)
            continue;
        bool left = unsent == 0;
        unsent -= left ? 0 : unsent < p->wire_bytes ? unsent : p->wire_bytes;
        enter(p, left && (p == heard || p->kept.p.once) ? PENDING_UNKNOWN : PENDING_WRITTEN);
        p->again = p->again || left;
    }
    h->stuck   = false;
    h->leaving = false;
}

/* ---- getting answers ---- */

/* This one failed or refused.  OK: there is another one to try, or time to try on. */
static enum hearsay_status
move_on(struct hearsay *h, enum hearsay_status status)
{
    struct mono now = mono_now();
    if (h->trouble.ms == 0)
        h->trouble = now;
    if (!brokers_failed(&h->pub.brokers, now) || mono_since(now, h->trouble) < h->patience_ms)
        return HEARSAY_OK;
    handle_keep_said(h, &h->said);
    return status;
}

static void
take_answer(struct hearsay *h, struct pending *p)
{
    struct line *l    = &h->pub;
    struct buf   swap = p->answer;
    h->answer_by      = (struct mono){0};
    p->answer         = l->body;
    l->body           = swap;
    p->status         = l->status;
    if (p->as_line && p->status == 200) /* the answer to the one line of the request */
        p->status = page_line_status(buf_str(&p->answer));
    if ((p->status == 503 || p->status == 507) &&
        handle_refusal_is_local(
            h, handle_refused(h, brokers_now(&l->brokers)->text, p->status, buf_str(&p->answer)))) {
        handle_keep_said(h, &h->refusal);
        h->leaving = true;
        enter(p, PENDING_WRITTEN);
        return;
    }
    enter(p, PENDING_ANSWERED);
    brokers_worked(&l->brokers);
    h->trouble = (struct mono){0};
}

static enum hearsay_status
line_failed(struct hearsay *h, enum err e)
{
    struct line        *l      = &h->pub;
    bool                heard  = l->heard;
    bool                idled  = l->answered && e != ERR_TIMEOUT && !heard;
    enum hearsay_status status = handle_line_failed(h, l, brokers_now(&l->brokers)->text, e);
    line_close(l);
    take_back(h, heard);
    h->answer_by = (struct mono){0};
    if (idled)
        return HEARSAY_OK; /* or it restarted: the same broker, anew */
    /* A publish that timed out is UNCERTAIN; those that had not left are just not published. */
    status = move_on(h, status == HEARSAY_TIMEOUT ? HEARSAY_UNREACHABLE : status);
    return heard ? HEARSAY_OK : status; /* who was heard is settled; the next call tries on */
}

/* One step towards the answers that are owed.  OK: look again.  MORE: `until` has come.
 * Else *status is what those come to that no broker has taken. */
static enum err
step(struct hearsay *h, struct mono until, enum hearsay_status *status)
{
    struct line *l = &h->pub;
    enum err     e = ERR_OK;
    if (h->leaving && !first_sent(h)) {
        line_close(l);
        take_back(h, false);
        handle_say_again(h, HEARSAY_REFUSED, &h->refusal);
        *status = move_on(h, HEARSAY_REFUSED);
        return *status == HEARSAY_OK ? ERR_OK : ERR_REFUSED;
    }
    if (!line_is_open(l)) {
        take_back(h, false); /* a broker may close behind any answer */
        e = line_open(l, until);
        if (e == ERR_MORE)
            return e;
    }
    if (e == ERR_OK) {
        h->stuck = h->stuck && first_sent(h);
        put_written(h);
        struct pending *p = first_sent(h);
        if (h->answer_by.ms == 0)
            h->answer_by = mono_after(mono_now(), (uint64_t)p->answer_ms);
        e = line_answer(l, METHOD_POST, mono_min(until, h->answer_by));
        if (e == ERR_OK) {
            take_answer(h, p);
            return ERR_OK;
        }
        if (e == ERR_TIMEOUT && line_is_open(l) && !mono_reached(mono_now(), h->answer_by))
            return ERR_MORE;
    }
    *status = line_failed(h, e);
    return *status == HEARSAY_OK ? ERR_OK : ERR_REFUSED;
}

/* false: `until` has come, or no broker takes them: the verdict. */
static bool
advance(struct hearsay *h, struct mono until)
{
    enum hearsay_status status = HEARSAY_OK;
    enum err            e      = step(h, until, &status);
    h->verdict                 = status;
    return e == ERR_OK;
}

static bool
has_open(struct hearsay *h)
{
    for (unsigned i = 0; i < h->outstanding; i++)
        if (is_open(pending_at(h, i)))
            return true;
    return false;
}

void
publish_work(struct hearsay *h)
{
    if (h->outstanding == 0)
        line_check(&h->pub); /* an end would leave the descriptor readable for ever */
    while (h->verdict == HEARSAY_OK && has_open(h) && advance(h, mono_now()))
        ;
}

bool
publish_is_ready(struct hearsay *h)
{
    return h->outstanding > 0 && (h->verdict != HEARSAY_OK || !is_open(pending_at(h, 0)));
}

struct mono
publish_due(struct hearsay *h)
{
    if (publish_is_ready(h))
        return (struct mono){0};
    if (h->outstanding == 0 || !has_open(h))
        return MONO_NEVER;
    return line_is_open(&h->pub) ? h->answer_by : line_open_at(&h->pub);
}

/* ---- the calls ---- */

int
hearsay_outstanding(const struct hearsay *h)
{
    return (int)h->outstanding;
}

static enum hearsay_status
begin(struct hearsay *h, const struct hearsay_publish *p)
{
    const char  *why = "";
    struct line *l   = &h->pub;

    h->http_status = 0;
    if (h->outstanding == HEARSAY_OUTSTANDING_MAX)
        return handle_say(h, HEARSAY_INVALID, "%d publishes are on their way: take answers first",
                          HEARSAY_OUTSTANDING_MAX);
    if (request_check(&h->room, p, &why) != ERR_OK)
        return handle_say(h, HEARSAY_INVALID, "%s", why);
    struct pending *next = pending_at(h, h->outstanding);
    kept_set(&next->kept, p);
    next->again     = false;
    next->state     = PENDING_WRITTEN;
    next->answer_ms = l->answer_ms;
    if (p->acks)
        next->answer_ms += p->acks_timeout_ms > 0 ? p->acks_timeout_ms : ACKS_TIMEOUT_MS;

    if (h->outstanding++ == 0)
        line_check(l);
    put_written(h);
    if (h->watch.fd >= 0) /* hearsay_work() sends, as the socket takes it */
        return HEARSAY_OK;
    /* A failure is found again, and dealt with, when the first answer is taken. */
    if (line_is_open(l) && !h->stuck && l->out.n >= FLUSH_BYTES)
        h->stuck = line_flush(l, mono_after(mono_now(), (uint64_t)l->answer_ms)) != ERR_OK;
    return HEARSAY_OK;
}

enum hearsay_status
hearsay_publish_begin(struct hearsay *h, const struct hearsay_publish *p)
{
    enum hearsay_status status = begin(h, p);
    handle_arm(h);
    return status;
}

/* What the broker said to the first one. */
static enum hearsay_status
read_answer(struct hearsay *h, const struct pending *p, struct hearsay_receipt *r)
{
    bool parsed    = page_receipt(buf_str(&p->answer), &h->room, r) == ERR_OK;
    h->http_status = p->status;
    bool live      = parsed && !r->stored && (p->status == 200 || p->status == 201);
    if (live || p->status == 0 || p->status == 201 || p->status == 202) {
        if (p->status == 0 || !parsed || (r->id[0] == '\0' && !live)) {
            *r = nothing;
            return handle_say(h, HEARSAY_BROKEN, "an answer without a receipt");
        }
        if (request_is_cursor(r->cursor)) {
            handle_set(&h->context, r->cursor);
            h->context_via = r->causal ? p->via : 0;
        }
        if (live || p->status == 201)
            return HEARSAY_OK;
        return handle_say(h, HEARSAY_FEWER,
                          "stored, but only %d copies were confirmed in time; it spreads on",
                          r->copies);
    }
    enum hearsay_status status =
        handle_refused(h, brokers_now(&h->pub.brokers)->text, p->status, buf_str(&p->answer));
    *r = nothing;
    if (status == HEARSAY_UNCERTAIN && page_receipt(buf_str(&p->answer), &h->room, r) != ERR_OK)
        *r = nothing;
    return status;
}

/* No broker has taken it: why, and whether one may have. */
static enum hearsay_status
give_up(struct hearsay *h, const struct pending *p)
{
    handle_say_again(h, h->verdict, &h->said);
    if (!p->again)
        return h->verdict;
    return handle_say(h, HEARSAY_UNCERTAIN,
                      "a connection failed before the answer, the message may be stored; then: %s",
                      h->said.text);
}

enum hearsay_status
hearsay_publish_end(struct hearsay *h, struct hearsay_receipt *r)
{
    struct pending     *p = pending_at(h, 0);
    enum hearsay_status status;
    *r = nothing;
    if (h->outstanding == 0)
        return handle_say(h, HEARSAY_INVALID, "no publish is on its way");
    while (is_open(p) && h->verdict == HEARSAY_OK)
        advance(h, MONO_NEVER);

    if (p->state == PENDING_ANSWERED)
        status = read_answer(h, p, r);
    else if (p->state == PENDING_UNKNOWN)
        status = handle_say(h, HEARSAY_UNCERTAIN,
                            "the connection failed before the answer: the message may be stored");
    else
        status = give_up(h, p);
    r->again = p->again;
    r->data  = p->kept.p.data;
    h->first = (h->first + 1) % HEARSAY_OUTSTANDING_MAX;
    if (--h->outstanding == 0)
        h->verdict = HEARSAY_OK;
    handle_arm(h);
    return status;
}

enum hearsay_status
hearsay_publish(struct hearsay *h, const struct hearsay_publish *p, struct hearsay_receipt *r)
{
    *r = nothing;
    if (h->outstanding > 0)
        return handle_say(h, HEARSAY_INVALID, "take the answers of all publishes first");
    enum hearsay_status status = hearsay_publish_begin(h, p);
    return status == HEARSAY_OK ? hearsay_publish_end(h, r) : status;
}
