/* server_disk.c - what the store's thread saw of the disk, and what follows from it. */
#include "server/server_private.h"

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
