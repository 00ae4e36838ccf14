#include "client/handle.h"

#include "base/check.h"
#include "client/request.h"
#include "io/clock.h"

#include <stdio.h>
#include <string.h>

/* Written requests are kept back up to here, so that a pipeline leaves in few sends. */
enum { FLUSH_BYTES = 64 << 10 };

static struct pending *
pending_at(struct hearsay *h, unsigned i)
{
    return &h->pending[(h->first + i) % HEARSAY_OUTSTANDING_MAX];
}

static void
put_out(struct line *l, struct pending *p)
{
    CHECK(buf_add(&l->out, buf_str(&p->bytes)) == ERR_OK);
    p->sent = true;
}

int
hearsay_outstanding(const struct hearsay *h)
{
    return (int)h->outstanding;
}

enum hearsay_status
hearsay_publish_begin(struct hearsay *h, const struct hearsay_publish *p)
{
    struct hearsay_publish whole = *p;
    const char            *why   = "";

    h->http_status = 0;
    if (h->outstanding == HEARSAY_OUTSTANDING_MAX)
        return handle_say(h, HEARSAY_INVALID, "%d publishes are on their way: take answers first",
                          HEARSAY_OUTSTANDING_MAX);
    struct pending *next = pending_at(h, h->outstanding);
    if (!whole.after)
        whole.after = handle_get(&h->context);
    buf_reset(&next->bytes);
    /* The name in Host stays as it is when another broker gets it: none looks at it here. */
    if (request_publish(&next->bytes, brokers_now(&h->pub.brokers)->text, &whole, &why) != ERR_OK)
        return handle_say(h, HEARSAY_INVALID, "%s", why);
    next->sent      = false;
    next->answer_ms = h->pub.answer_ms;
    if (p->acks)
        next->answer_ms += p->acks_timeout_ms > 0 ? p->acks_timeout_ms : ACKS_TIMEOUT_MS;
    h->outstanding++;

    struct line *l = &h->pub;
    if (!line_is_open(l))
        return HEARSAY_OK;
    put_out(l, next);
    /* A failure is found again, and dealt with, when the first answer is taken. */
    if (l->out.n >= FLUSH_BYTES &&
        line_flush(l, mono_after(mono_now(), (uint64_t)l->answer_ms)) != ERR_OK)
        line_close(l);
    return HEARSAY_OK;
}

static enum hearsay_status
drop_first(struct hearsay *h, enum hearsay_status status)
{
    h->first = (h->first + 1) % HEARSAY_OUTSTANDING_MAX;
    h->outstanding--;
    if (h->outstanding == 0)
        h->verdict = HEARSAY_OK;
    return status;
}

static enum hearsay_status
take_answer(struct hearsay *h, struct hearsay_receipt *r)
{
    struct line *l      = &h->pub;
    bool         parsed = page_receipt(buf_str(&l->body), &h->room, r) == ERR_OK;

    h->http_status = l->status;
    if (l->status == 201 || l->status == 202) {
        if (!parsed || r->id[0] == '\0') {
            *r = (struct hearsay_receipt){.id = "", .origin = "", .cursor = ""};
            return handle_say(h, HEARSAY_BROKEN, "an answer without a receipt");
        }
        brokers_worked(&l->brokers);
        if (r->cursor[0] != '\0')
            handle_set(&h->context, r->cursor);
        if (l->status == 201)
            return HEARSAY_OK;
        return handle_say(h, HEARSAY_FEWER,
                          "stored, but only %d copies were confirmed in time; it spreads on",
                          r->copies);
    }
    enum hearsay_status status = handle_refused(h, l);
    if (!handle_refusal_is_local(h, l))
        brokers_worked(&l->brokers);
    *r = (struct hearsay_receipt){.id = "", .origin = "", .cursor = ""};
    if (status == HEARSAY_UNCERTAIN && page_receipt(buf_str(&l->body), &h->room, r) != ERR_OK)
        r->id = "";
    return status;
}

/* The first one's answer began and broke off: it is not sent again.  The others are. */
static enum hearsay_status
broke_off(struct hearsay *h, const char *broker)
{
    handle_say(h, HEARSAY_UNCERTAIN, "the answer of %s broke off: the message may be stored",
               broker);
    return drop_first(h, HEARSAY_UNCERTAIN);
}

/* OK: an answer is there.  Else what all outstanding publishes come to, after a round. */
static enum hearsay_status
wait_for_answer(struct hearsay *h, bool *began)
{
    struct line *l = &h->pub;
    *began         = false;
    for (;;) {
        const char *broker = brokers_now(&l->brokers)->text;
        enum err    e      = ERR_OK;
        if (!line_is_open(l)) {
            e = line_open(l);
            for (unsigned i = 0; e == ERR_OK && i < h->outstanding; i++)
                put_out(l, pending_at(h, i));
        }
        bool reused = l->answered;
        if (e == ERR_OK)
            e = line_answer(l, METHOD_POST,
                            mono_after(mono_now(), (uint64_t)pending_at(h, 0)->answer_ms));
        if (e == ERR_OK)
            return HEARSAY_OK;

        enum hearsay_status status = handle_line_failed(h, l, broker, e);
        *began                     = l->heard;
        line_close(l);
        if (reused && e != ERR_TIMEOUT && !*began)
            continue; /* it had idled out: the same broker, anew */
        bool round = brokers_failed(&l->brokers, mono_now());
        if (*began || round)
            return status;
    }
}

enum hearsay_status
hearsay_publish_end(struct hearsay *h, struct hearsay_receipt *r)
{
    bool began;
    *r = (struct hearsay_receipt){.id = "", .origin = "", .cursor = ""};
    if (h->outstanding == 0)
        return handle_say(h, HEARSAY_INVALID, "no publish is on its way");
    if (h->verdict == HEARSAY_OK) {
        const char         *broker = brokers_now(&h->pub.brokers)->text;
        enum hearsay_status status = wait_for_answer(h, &began);
        if (status == HEARSAY_OK)
            return drop_first(h, take_answer(h, r));
        if (began)
            return broke_off(h, broker);
        h->verdict = status;
    }
    enum hearsay_status verdict = h->verdict;
    if (verdict == HEARSAY_UNREACHABLE && pending_at(h, 0)->sent)
        verdict = handle_say(h, HEARSAY_UNCERTAIN,
                             "the connection failed before the answer: the message may be stored");
    return drop_first(h, verdict);
}

enum hearsay_status
hearsay_publish(struct hearsay *h, const struct hearsay_publish *p, struct hearsay_receipt *r)
{
    struct line *l = &h->pub;
    *r             = (struct hearsay_receipt){.id = "", .origin = "", .cursor = ""};
    if (h->outstanding > 0)
        return handle_say(h, HEARSAY_INVALID, "take the answers of all publishes first");
    for (;;) {
        enum hearsay_status status = hearsay_publish_begin(h, p);
        if (status == HEARSAY_OK)
            status = hearsay_publish_end(h, r);
        if (status != HEARSAY_REFUSED || !handle_refusal_is_local(h, l))
            return status;
        line_close(l);
        if (brokers_failed(&l->brokers, mono_now()))
            return status;
    }
}
