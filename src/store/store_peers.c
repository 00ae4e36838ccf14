/* store_peers.c - the roster as it is stored, and what peers have on disk. */
#include "store/store_private.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { PEER_TEXT_BYTES = INET6_ADDRSTRLEN + 9 };

static void
peer_text(const struct addr *a, char out[PEER_TEXT_BYTES])
{
    char        ip[INET6_ADDRSTRLEN] = "";
    const char *form                 = a->family == 6 ? "[%s]:%u" : "%s:%u";
    inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->ip, ip, sizeof ip);
    snprintf(out, PEER_TEXT_BYTES, form, ip, a->port);
}

enum err
peers_write(struct store *s, const struct member_list *list)
{
    sqlite3_stmt *q = s->sql[SQL_PEER];
    enum err      e = sql_run(s->db, s->sql[SQL_PEERS_CLEAR]);
    for (uint32_t i = 0; i < list->count && e == ERR_OK; i++) {
        const struct member_info *m = &list->at[i];
        char                      text[PEER_TEXT_BYTES];
        peer_text(&m->addr, text);
        sql_bind_text(q, 1, str_of(text));
        sql_bind_u64(q, 2, m->addr.family);
        sql_bind_blob(q, 3, m->addr.ip, m->addr.family == 6 ? 16 : 4);
        sql_bind_u64(q, 4, m->addr.port);
        sql_bind_text(q, 5, m->host);
        sql_bind_u64(q, 6, m->version);
        sql_bind_u64(q, 7, m->nonce);
        sql_bind_u64(q, 8, m->flags);
        e = sql_run(s->db, q);
    }
    return e;
}

/* ---- what a peer has ---- */

/* What is to be written: rows that differ; seq 0: the row goes. */
struct changes {
    struct mark *at;
    uint32_t     count;
};

/* Rows come sorted by stream; `now` had better be.  Else more is written than need be. */
static enum err
compare(struct store *s, struct str addr, const struct mark *now, uint32_t count,
        struct changes *out)
{
    sqlite3_stmt *q = s->sql[SQL_KNOWN];
    uint32_t      i = 0, cap = count;
    enum err      e = ERR_OK;
    sql_bind_text(q, 1, addr);
    while (sql_next(s->db, q, &e)) {
        struct mark old = {sql_u64(q, 0), sql_u64(q, 1)};
        while (i < count && now[i].stream < old.stream)
            out->at[out->count++] = now[i++];
        if (i < count && now[i].stream == old.stream) {
            if (now[i].seq != old.seq)
                out->at[out->count++] = now[i];
            i++;
            continue;
        }
        if (out->count + (count - i) == cap) {
            cap     = cap * 2 + 16;
            out->at = mem_resize(out->at, cap * sizeof *out->at);
        }
        out->at[out->count++] = (struct mark){old.stream, 0};
    }
    while (i < count)
        out->at[out->count++] = now[i++];
    return e;
}

/* Thousands of rows of which a few differ each time. */
enum err
peers_known(struct store *s, const struct known_vector *known)
{
    char           text[PEER_TEXT_BYTES];
    struct changes changes = {.at = mem_new((known->count + 1) * sizeof(struct mark))};
    peer_text(&known->addr, text);
    enum err e = compare(s, str_of(text), known->at, known->count, &changes);
    for (uint32_t i = 0; i < changes.count && e == ERR_OK; i++) {
        sqlite3_stmt *q = s->sql[changes.at[i].seq > 0 ? SQL_KNOWN_PUT : SQL_KNOWN_DROP];
        sql_bind_text(q, 1, str_of(text));
        sql_bind_u64(q, 2, changes.at[i].stream);
        if (changes.at[i].seq > 0)
            sql_bind_u64(q, 3, changes.at[i].seq);
        e = sql_run(s->db, q);
    }
    mem_free(changes.at);
    return e;
}
