/* server_seeds.c - where to look for other brokers: the peers file and --join.
 *
 * Each place is resolved without waiting and told to core.  A name without an address
 * is told as well (nobody waits for it then), and asked for again every few seconds:
 * in a cluster of containers names come up one after another. */
#include "server/server_private.h"

#include "base/trace.h"
#include "io/file.h"

#include <string.h>

static bool
same_place(const struct seed *seed, const struct peer_place *place)
{
    return seed->port == place->port && str_eq(str_of(seed->host), place->host);
}

/* Where it stands already, or may.  NULL: there is no more room. */
static struct seed *
seed_for(struct server *s, const struct peer_place *place)
{
    struct seed *spare = NULL;
    for (uint32_t i = 0; i < s->seed_count; i++) {
        struct seed *seed = &s->seed[i];
        if (same_place(seed, place))
            return seed;
        if (!seed->named && !seed->asking)
            spare = seed;
    }
    if (!spare && s->seed_count < SEEDS_MAX)
        spare = &s->seed[s->seed_count++];
    if (spare)
        *spare = (struct seed){.server = s, .port = place->port};
    return spare;
}

static void
add_seed(struct server *s, const struct peer_place *place, bool join)
{
    struct seed *seed = seed_for(s, place);
    if (!seed) {
        tracef(TRACE_WARN, "more than %d places to look for peers: the rest is left out",
               SEEDS_MAX);
        return;
    }
    memcpy(seed->host, place->host.p, place->host.n);
    seed->named = true;
    seed->join |= join;
}

static enum err
load_file(struct server *s, struct buf *problem)
{
    const char        *path = s->config->peers;
    const char        *why  = "";
    struct peer_places places;
    struct buf         text;
    buf_init(&text, PEERS_FILE_BYTES_MAX);
    enum err e = file_read(path, &text, &why);
    if (e == ERR_NOTFOUND && !s->config->given.peers) {
        e = ERR_OK; /* nobody asked for it */
    } else if (e != ERR_OK) {
        buf_sayf(problem, "peers file '%s': %s; name another with --peers", path, why);
    } else {
        e = peers_parse(buf_str(&text), path, &places, problem);
        for (uint32_t i = 0; e == ERR_OK && i < places.count; i++)
            add_seed(s, &places.at[i], false);
    }
    buf_fini(&text);
    return e;
}

static enum err
load_joins(struct server *s, struct buf *problem)
{
    struct str rest = str_of(s->config->join);
    while (rest.n > 0) {
        size_t            end  = str_index(rest, ',');
        struct str        item = str_trim(str_cut(rest, 0, end));
        struct peer_place place;
        const char       *why;
        rest = str_cut(rest, end + 1, rest.n);
        if (item.n == 0)
            continue;
        if (peer_place_parse(item, &place, &why) != ERR_OK) {
            buf_sayf(problem, "--join '%.*s': %s; write host:port", STR_ARG(item), why);
            return ERR_INVALID;
        }
        add_seed(s, &place, true);
    }
    return ERR_OK;
}

/* A place that nobody names any more is asked for no more; with a fault in what does, all that
 * was named stays. */
enum err
server_load_seeds(struct server *s, struct buf *problem)
{
    struct seed was[SEEDS_MAX];
    memcpy(was, s->seed, sizeof was);
    uint32_t count = s->seed_count;
    for (uint32_t i = 0; i < count; i++)
        s->seed[i].named = s->seed[i].join = false;
    enum err e = load_file(s, problem);
    if (e == ERR_OK)
        e = load_joins(s, problem);
    if (e != ERR_OK) {
        memcpy(s->seed, was, sizeof was);
        s->seed_count = count;
    }
    return e;
}

static void
on_found(void *ctx, const struct endpoint *e)
{
    struct seed   *seed = ctx;
    struct server *s    = seed->server;
    struct fact    fact = {
           .kind = FACT_SEED,
           .seed = {.addr = addr_of(e), .host = str_of(seed->host), .join = seed->join}};
    seed->asking = false;
    seed->found  = e->family != 0;
    if (s->closed || !seed->named)
        return;
    if (!seed->found && !seed->told)
        tracef(TRACE_WARN, "no address for the peer %s: it is asked for again", seed->host);
    seed->told = !seed->found;
    if (!seed->found && s->retry.slot == 0)
        loop_timer_set(s->loop, &s->retry, mono_after(server_now(s), RESOLVE_RETRY_MS));
    server_step(s, &fact);
}

static void
ask(struct server *s, bool all)
{
    for (uint32_t i = 0; i < s->seed_count; i++) {
        struct seed *seed = &s->seed[i];
        if (!seed->named || seed->asking || (seed->found && !all))
            continue;
        seed->asking = true;
        resolve_start(s->loop, str_of(seed->host), seed->port, on_found, seed);
    }
}

void
server_resolve_seeds(struct server *s)
{
    ask(s, true);
}

void
server_on_retry(void *ctx)
{
    ask(ctx, false);
}
