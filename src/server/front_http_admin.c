/* What operators ask for: /cluster, health, metrics; and the upgrade to a peer link. */
#include "server/front_http.h"

#include "base/blob.h"
#include "core/batch.h"
#include "core/bully.h"
#include "core/gossip.h"
#include "core/journal.h"
#include "core/roster.h"
#include "codec/http_url.h"
#include "io/resolve.h"
#include "server/render.h"

#include <string.h>

/* ---- /cluster ---- */

static void
field(struct buf *out, const char *name)
{
    render(out, STR(",\""));
    render(out, str_of(name));
    render(out, STR("\":"));
}

static void
flag(struct buf *out, const char *name, bool value)
{
    field(out, name);
    render(out, value ? STR("true") : STR("false"));
}

static void
number(struct buf *out, const char *name, uint64_t value)
{
    field(out, name);
    render_u64(out, value);
}

/* "address":…,"host":…,"nonce":… */
static void
identity(struct buf *out, const struct addr *addr, struct str host, uint64_t nonce)
{
    char text[ADDR_TEXT_BYTES];
    addr_text(addr, text);
    render(out, STR("\"address\":"));
    render_text(out, str_of(text));
    field(out, "host");
    render_text(out, host);
    field(out, "nonce");
    if (nonce == 0)
        render(out, STR("null"));
    else
        render_hex(out, nonce);
}

/* How many messages that we have this member is not known to have. */
static uint64_t
lag_of(const struct journal *j, uint8_t slot)
{
    uint64_t       lag = 0;
    uint32_t       at  = 0;
    struct stream *s;
    while ((s = pool_next(&j->streams, &at)))
        lag += s->durable > s->known[slot] ? s->durable - s->known[slot] : 0;
    return lag;
}

static void
members(struct buf *out, struct broker *b, struct mono now)
{
    const struct roster *r         = broker_roster(b);
    struct token         token     = bully_token(broker_bully(b));
    bool                 led       = bully_has_coordinator(broker_bully(b));
    uint32_t             reachable = roster_reachable(r, now);
    const char          *comma     = "";

    field(out, "members");
    render(out, STR("["));
    for (uint8_t i = 0; i < MEMBERS_MAX; i++) {
        const struct roster_member *m = roster_member(r, i);
        if (!m)
            continue;
        bool self = i == ROSTER_SELF;
        render(out, str_of(comma));
        comma = ",";
        render(out, STR("{"));
        identity(out, &m->addr, roster_host(m), m->nonce);
        flag(out, "self", self);
        flag(out, "linked", m->linked);
        flag(out, "reachable", reachable & (1u << i));
        flag(out, "able", self ? roster_is_able(r, now) : m->row.able);
        flag(out, "away", m->away);
        flag(out, "coordinator", led && addr_cmp(&token.addr, &m->addr) == 0);
        field(out, "lag");
        if (self || m->linked)
            render_u64(out, self ? 0 : lag_of(broker_journal(b), i));
        else
            render(out, STR("null"));
        render(out, STR("}"));
    }
    render(out, STR("]"));
}

static void
coordinator(struct buf *out, struct broker *b)
{
    const struct roster *r     = broker_roster(b);
    struct token         token = bully_token(broker_bully(b));
    int                  slot  = roster_find(r, &token.addr);

    field(out, "coordinator");
    if (!bully_has_coordinator(broker_bully(b))) {
        render(out, STR("null"));
    } else {
        struct str host = slot < 0 ? STR("") : roster_host(roster_member(r, (uint8_t)slot));
        render(out, STR("{"));
        identity(out, &token.addr, host, token.nonce);
        render(out, STR("}"));
    }
    number(out, "epoch", token.epoch);
    field(out, "election");
    render_text(out, str_of(bully_state_text(broker_bully(b))));
}

static void
heads(struct buf *out, const struct vector *v)
{
    field(out, "heads");
    render(out, STR("["));
    for (uint32_t i = 0; i < v->count; i++) {
        render(out, i > 0 ? STR(",{\"stream\":") : STR("{\"stream\":"));
        render_hex(out, v->at[i].stream);
        number(out, "head", v->at[i].seq);
        render(out, STR("}"));
    }
    render(out, STR("]"));
}

enum err
http_cluster(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    struct server             *s     = conn_server(c);
    struct broker             *b     = server_broker(s);
    const struct server_facts *facts = server_facts(s);
    struct buf                *out   = &h->text;
    (void)ask;

    buf_reset(out);
    render(out, STR("{\"cluster\":"));
    render_text(out, facts->cluster);
    field(out, "version");
    render_text(out, facts->version);
    render(out, STR(",\"self\":{"));
    identity(out, &facts->self, facts->host, roster_member(broker_roster(b), ROSTER_SELF)->nonce);
    render(out, STR("}"));
    flag(out, "ready", server_is_ready(s));
    field(out, "disk");
    render(out, broker_disk_works(b) ? STR("\"ok\"") : STR("\"full\""));
    number(out, "lamport", broker_clock(b));
    number(out, "stamp", broker_stamp(b));
    coordinator(out, b);
    members(out, b, server_now(s));
    heads(out, broker_vector(b));
    number(out, "lack", gossip_lack(broker_gossip(b)));
    render(out, STR("}\n"));
    http_reply(c, h, &(struct http_said){.status = 200, .type = HTTP_JSON, .body = buf_str(out)});
    return ERR_OK;
}

/* ---- DELETE /cluster/{member} ---- */

/* "host:port" as /cluster shows it: by number, or by the name of a member. */
static bool
find_member(const struct roster *r, struct str text, struct addr *addr)
{
    struct endpoint e;
    uint64_t        port;
    size_t          colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || !str_to_u64(str_cut(text, colon, text.n), &port) || port < 1 ||
        port > UINT16_MAX)
        return false;
    struct str host = str_cut(text, 0, colon - 1);
    for (uint8_t i = 0; i < MEMBERS_MAX; i++) {
        const struct roster_member *m = roster_member(r, i);
        if (m && m->addr.port == port && str_eq_nocase(roster_host(m), host)) {
            *addr = m->addr;
            return true;
        }
    }
    if (endpoint_parse(host, (uint16_t)port, &e) != ERR_OK)
        return false;
    *addr = (struct addr){.family = e.family, .port = e.port};
    memcpy(addr->ip, e.ip, sizeof addr->ip);
    return true;
}

enum err
http_forget(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    struct server *s = conn_server(c);
    uint8_t        room[HTTP_HEAD_BYTES_MAX];
    struct str     text;
    struct addr    addr;

    if (http_url_decode(ask->param, room, &text) != ERR_OK ||
        !find_member(broker_roster(server_broker(s)), text, &addr)) {
        http_reply_problem(c, h, 400, "bad_member",
                           "name a member as /cluster shows it, such as 127.0.0.1:3000");
        return ERR_OK;
    }
    enum err e = server_forget(s, &addr);
    if (e == ERR_OK)
        http_reply(c, h,
                   &(struct http_said){
                       .status = 200, .type = HTTP_JSON, .body = STR("{\"forgotten\":true}\n")});
    else if (e == ERR_NOTFOUND)
        http_reply_problem(c, h, 404, "not_found", "no such member: see /cluster");
    else
        http_reply_problem(c, h, 400, "bad_member",
                           "a broker does not forget itself: stop it, then ask another one");
    return ERR_OK;
}

/* ---- health ---- */

enum err
http_healthz(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    (void)ask;
    http_reply(c, h,
               &(struct http_said){.status = 200, .type = STR("text/plain"), .body = STR("ok\n")});
    return ERR_OK;
}

enum err
http_readyz(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    struct server *s = conn_server(c);
    (void)ask;
    if (server_is_rebuilding(s))
        http_reply_problem(c, h, 503, "not_ready",
                           "broker.db was corrupt and is filled anew: it waits for another broker; "
                           "--accept-empty yes serves at once");
    else if (!server_is_ready(s))
        http_reply_problem(c, h, 503, "not_ready", "it is starting or stopping");
    else if (!broker_disk_works(server_broker(s)))
        http_reply_problem(c, h, 503, "disk_full", "the disk takes no writes; reading goes on");
    else
        http_reply(
            c, h,
            &(struct http_said){.status = 200, .type = STR("text/plain"), .body = STR("ready\n")});
    return ERR_OK;
}

/* ---- /metrics ---- */

enum err
http_metrics(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    struct server             *s     = conn_server(c);
    struct broker             *b     = server_broker(s);
    const struct server_facts *facts = server_facts(s);
    struct server_counters     n     = server_counters(s);
    struct mono                now   = server_now(s);
    struct buf                *out   = &h->text;
    (void)ask;

    buf_reset(out);
#define METRIC(name, type, value, help)                                                            \
    render(out, STR("# HELP hearsay_" #name " " help "\n# TYPE hearsay_" #name " " #type "\n"      \
                    "hearsay_" #name " "));                                                        \
    render_u64(out, (uint64_t)(value));                                                            \
    render(out, STR("\n"));
#include "server/metrics.def"
#undef METRIC
    http_reply(c, h,
               &(struct http_said){
                   .status = 200, .type = STR("text/plain; version=0.0.4"), .body = buf_str(out)});
    return ERR_OK;
}

/* ---- /peer ---- */

enum err
http_peer(struct conn *c, struct http_conn *h, const struct http_ask *ask)
{
    const struct http_header upgrade = {STR("Upgrade"), STR("hearsay-peer/1")};

    if (!str_eq_nocase(ask->request->upgrade, upgrade.value)) {
        static const struct http_problem problem = {
            426, "upgrade_required", "this path is for brokers: ask for Upgrade: hearsay-peer/1"};
        http_reply_problem_with(c, h, &problem, &upgrade);
        return ERR_OK;
    }
    if (server_become_peer(c, ask->rest) == ERR_OK)
        return ERR_STALE;
    http_reply_problem(c, h, 503, "too_many", "no room for another link");
    return ERR_OK;
}
