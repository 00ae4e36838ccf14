/* server_disk.c - what the threads saw of the disk and of broker.db, and what follows from it.
 *
 * A file that is broken in its structure cannot be mended while it is in use.  Where a linked
 * broker has all that is in it, this one ends with a reason, and its next start begins a new
 * file that is filled from the others.  Else it goes on with what can be read: its copy may be
 * the only one. */
#include "server/server_private.h"

#include "base/trace.h"
#include "core/gossip.h"

/* ---- room ---- */

void
server_looked(struct server *s, const struct store_disk *disk)
{
    bool turned                 = disk->has_room != s->disk.has_room;
    s->disk                     = *disk;
    s->counters.disk_free_bytes = disk->free_bytes;
    s->counters.file_bytes      = disk->file_bytes;
    s->counters.wal_bytes       = disk->wal_bytes;
    if (turned)
        server_step(s, &(struct fact){.kind = FACT_ROOM, .room = {disk->has_room}});
}

/* ---- a file that is broken ---- */

static bool
others_have_all(const struct server *s, bool but_live)
{
    return gossip_is_covered(broker_gossip(s->broker), broker_journal(s->broker), but_live);
}

static bool
is_broken(const struct server *s)
{
    return s->read_corrupt || s->disk.is_corrupt || broker_gossip(s->broker)->repairs.futile;
}

static void
watch_file(struct server *s)
{
    if (s->stopping || !is_broken(s))
        return;
    if (!s->broken_told)
        tracef(TRACE_ERROR,
               "broker.db in %s is broken; this broker ends when another one has all that is in "
               "it, and until then goes on with what can be read. Check the disk",
               s->data_dir);
    s->broken_told = true;
    if (!others_have_all(s, true))
        return;
    tracef(TRACE_ERROR, "broker.db is broken, and another broker has what is in it: ending. The "
                        "next start keeps the old file aside and fetches all anew");
    s->failed = true;
    server_stop(s);
}

bool
server_waits_for_others(const struct server *s)
{
    return s->failed && !others_have_all(s, false);
}

/* The links are still there. */
void
server_condemn(struct server *s)
{
    if (!s->failed || s->condemned || !others_have_all(s, false))
        return;
    s->condemned = store_condemn(s->store) == ERR_OK;
}

bool
server_failed(const struct server *s)
{
    return s->failed;
}

/* ---- a file that is new in the place of a corrupt one ---- */

static void
watch_rebuild(struct server *s)
{
    if (!s->rebuilding)
        return;
    if (s->config->accept_empty)
        tracef(TRACE_WARN, "broker.db was corrupt, and is taken as it is: --accept-empty");
    else if (gossip_has_caught_up(broker_gossip(s->broker)))
        tracef(TRACE_INFO, "broker.db is filled again from the other brokers");
    else
        return;
    store_rebuilt(s->store);
    s->rebuilding = false;
}

void
server_rebuild_begins(struct server *s)
{
    s->rebuilding = store_is_rebuilding(s->store);
    if (s->rebuilding && !s->config->accept_empty)
        tracef(TRACE_WARN, "broker.db was corrupt: not ready until another broker gave back what "
                           "it has; --accept-empty yes serves at once");
    if (s->config->accept_empty)
        watch_rebuild(s);
}

void
server_watch(struct server *s)
{
    watch_file(s);
    watch_rebuild(s);
    server_unpark(s);
}
