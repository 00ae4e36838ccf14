/* crash_tell.c - what stores say, as text. */
#include "tests/crash/crash_story.h"

#include "base/hash.h"
#include "core/batch.h"
#include "core/vector.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char story_where[256];

void
story_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s\n  %s\n", file, line, what, story_where);
    fflush(NULL);
    _exit(STORY_FAILED);
}

void
story_differs(struct str heard, struct str told)
{
    const struct str text[] = {heard, told};
    char             dir[64], path[128];
    story_folder(dir);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, i ? "told" : "heard");
        FILE *out = fopen(path, "w");
        MUST(out && fwrite(text[i].p, 1, text[i].n, out) == text[i].n && fclose(out) == 0);
    }
    fprintf(stderr, "diff %s/heard %s/told\n", dir, dir);
    MUST(!"the same as was told");
    abort();
}

#define SAY(out, ...) MUST(buf_addf(out, __VA_ARGS__) == ERR_OK)

static void
say_hash(struct buf *out, struct hash128 h)
{
    uint64_t part[2];
    memcpy(part, h.b, sizeof part);
    SAY(out, " %016" PRIx64 "%016" PRIx64, part[0], part[1]);
}

static uint64_t
floor_in(const struct recovered *r, uint64_t stream)
{
    for (uint32_t i = 0; i < r->stream_count; i++)
        if (r->stream[i].stream == stream)
            return r->stream[i].floor;
    return UINT64_MAX; /* forgotten */
}

/* What lies below a floor is held, whether it is still owed or not. */
static void
say_owed(const struct recovered *r, const struct mark_list *owed, struct buf *out)
{
    for (uint32_t i = 0; owed && i < owed->count; i++)
        if (owed->at[i].seq > floor_in(r, owed->at[i].stream))
            SAY(out, " owes %" PRIu64 "-%" PRIu64, owed->at[i].stream, owed->at[i].seq);
}

static void
say_found(const struct recovered *r, struct buf *out)
{
    SAY(out, "lsn %" PRIu64 "..%" PRIu64 " epoch %" PRIu64 " token %" PRIu64 " %u %" PRIx64 "\n",
        r->lsn_first, r->lsn, r->epoch, r->token.epoch, r->token.addr.port, r->token.nonce);
    for (uint32_t i = 0; i < r->stream_count; i++) {
        const struct stream_state *st = &r->stream[i];
        SAY(out, "stream %" PRIu64 " %.*s %" PRIu64 "..%" PRIu64 " stamp %" PRIu64 "..%" PRIu64,
            st->stream, STR_ARG(st->origin), st->floor, st->head, st->floor_stamp, st->stamp);
        say_hash(out, st->chain);
        say_hash(out, st->floor_chain);
        SAY(out, " came %" PRId64 " waived %" PRIu64 " %d%d", st->came.ms, st->waived, st->frozen,
            st->retired);
        say_owed(r, st->owed, out);
        say_owed(r, st->floor_owed, out);
        SAY(out, "\n");
    }
    for (uint32_t i = 0; i < r->member_count; i++)
        SAY(out, "member %u %.*s %" PRIu64 " %" PRIx64 " %u\n", r->member[i].addr.port,
            STR_ARG(r->member[i].host), r->member[i].version, r->member[i].nonce,
            r->member[i].flags);
}

/* ---- the log ---- */

static struct page *
page_of(struct store_mem *mem, struct store_reader *reader, const struct read *read)
{
    struct page *p = NULL;
    MUST((mem ? store_mem_read(mem, read, &p) : store_read(reader, read, &p)) == ERR_OK);
    return p;
}

static uint64_t
hash_of(const struct entry *e)
{
    const struct str part[] = {e->origin, e->topic, e->headers, e->body};
    uint64_t         h      = e->gap_to > 0 ? 0 : e->lamport + (uint64_t)e->wall.ms;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        h = h * 31 + hash64(part[i]);
    return h;
}

static void
say_entry(const struct entry *e, struct buf *out)
{
    SAY(out, "entry %" PRIu64 ": %" PRIu64 "-%" PRIu64 "..%" PRIu64 " %d %016" PRIx64 "\n", e->lsn,
        e->mark.stream, e->mark.seq, e->gap_to, e->late, hash_of(e));
}

static void
say_messages(struct store_mem *mem, struct store_reader *reader, uint64_t lsn, struct buf *out)
{
    struct read   read = {.start = READ_AT_LSN, .lsn = 1, .lsn_last = lsn, .bytes_max = 1 << 22};
    struct vector have;
    vector_init(&have);
    while (read.lsn <= lsn) {
        read.have      = have;
        struct page *p = page_of(mem, reader, &read);
        MUST(p->lsn_next > read.lsn || p->count > 0);
        for (uint32_t i = 0; i < p->count; i++) {
            const struct entry *e = &p->entry[i];
            if (e->gap_to > 0 && vector_has(&have, (struct mark){e->mark.stream, e->gap_to}))
                continue; /* a session passes over it too */
            say_entry(e, out);
            if (e->gap_to > 0)
                MUST(vector_raise(&have, (struct mark){e->mark.stream, e->gap_to}) == ERR_OK);
        }
        read.lsn = p->lsn_next;
        page_drop(p);
    }
    vector_fini(&have);
}

static void
say_batches(struct store_mem *mem, struct store_reader *reader, uint64_t lsn, struct buf *out)
{
    struct read read = {
        .start = READ_AT_LSN, .lsn = 1, .lsn_last = lsn, .bytes_max = 1 << 22, .batches = true};
    while (read.lsn <= lsn) {
        struct page *p = page_of(mem, reader, &read);
        MUST(p->lsn_next > read.lsn || p->count > 0);
        for (uint32_t i = 0; i < p->count; i++) {
            const struct batch *b = p->batch[i];
            SAY(out, "batch %" PRIu64 ": %" PRIu64 " %" PRIu64 "..%" PRIu64 " wall %" PRId64,
                p->batch_lsn[i], b->stream, b->first, batch_last(b), b->wall.ms);
            say_hash(out, b->prev);
            say_hash(out, b->chain);
            for (uint32_t k = 0; k < b->count; k++)
                if (b->msg[k].flags != 0)
                    SAY(out, " lost %u", k);
            SAY(out, "\n");
        }
        read.lsn = p->lsn_next;
        page_drop(p);
    }
}

/* ---- what the model does not know: counts of topics, what is kept, the view `lag` ---- */

static void
say_topic(void *ctx, struct str name, uint64_t count, uint64_t newest)
{
    SAY(ctx, "topic %.*s %" PRIu64 " %" PRIu64 "\n", STR_ARG(name), count, newest);
}

static void
say_kept(struct store_reader *reader, struct buf *out)
{
    struct read read = {.start = READ_KEPT, .bytes_max = 1 << 22};
    do {
        struct page *p = page_of(NULL, reader, &read);
        for (uint32_t i = 0; i < p->count; i++) {
            SAY(out, "kept %.*s ", STR_ARG(p->entry[i].topic));
            say_entry(&p->entry[i], out);
        }
        read.lsn = p->lsn_next;
        page_drop(p);
    } while (read.lsn > 0);
}

static void
say_latest(struct store *store, struct buf *out)
{
    static const char *const topic[] = {"a", "b/1", "b/2", "c/d", "e", "told", "lost/3"};
    for (size_t i = 0; i < sizeof topic / sizeof *topic; i++) {
        struct page *p = NULL;
        enum err     e = store_latest(store, str_of(topic[i]), &p);
        MUST(e == ERR_OK || e == ERR_NOTFOUND);
        SAY(out, "latest %s %" PRIu64 "-%" PRIu64 "\n", topic[i], p ? p->entry[0].mark.stream : 0,
            p ? p->entry[0].mark.seq : 0);
        page_drop(p);
    }
}

static void
say_known(const char *dir, struct buf *out)
{
    static const char sql[] = "SELECT addr || ' ' || stream || '-' || seq FROM vectors"
                              " ORDER BY addr, stream";
    char              path[128];
    sqlite3          *db;
    sqlite3_stmt     *q;
    snprintf(path, sizeof path, "%s/broker.db", dir);
    MUST(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, "unix") == SQLITE_OK);
    MUST(sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW)
        SAY(out, "known %s\n", (const char *)sqlite3_column_text(q, 0));
    MUST(sqlite3_finalize(q) == SQLITE_OK);
    sqlite3_close(db);
}

static void
say_beside(struct store *store, struct store_reader *reader, const char *dir, struct buf *out)
{
    SAY(out, "rebuilding %d\n", store_is_rebuilding(store));
    store_topics(store, say_topic, out);
    say_kept(reader, out);
    say_latest(store, out);
    say_known(dir, out);
}

void
story_hear(struct store *store, struct store_reader *reader, const struct recovered *found,
           const char *dir, struct buf *out)
{
    say_found(found, out);
    say_batches(NULL, reader, found->lsn, out);
    say_messages(NULL, reader, found->lsn, out);
    say_beside(store, reader, dir, out);
}

/* The log of the running store is held against the model on the way. */
void
story_tell(struct story *s, struct buf *out)
{
    const struct recovered *found = store_mem_recover(s->mem);
    struct buf              heard;
    buf_init(&heard, 0);
    say_found(found, out);
    size_t before = out->n;
    say_batches(s->mem, NULL, found->lsn, out);
    say_messages(s->mem, NULL, found->lsn, out);
    say_batches(NULL, s->reader, found->lsn, &heard);
    say_messages(NULL, s->reader, found->lsn, &heard);
    struct str told = str_cut(buf_str(out), before, out->n);
    if (!str_eq(buf_str(&heard), told))
        story_differs(buf_str(&heard), told);
    say_beside(s->store, s->reader, s->dir, out);
    buf_fini(&heard);
}

/* ---- what survived a disk that lies ---- */

static bool
has_text(const struct msg *m, struct str topic, struct str headers, struct str body)
{
    return str_eq(m->topic, topic) && str_eq(m->headers, headers) && str_eq(m->body, body);
}

static bool
is_entry_of(const struct entry *e, const struct batch *b)
{
    if (batch_is_gap(b) || b->stream != e->mark.stream || b->first > e->mark.seq ||
        batch_last(b) < e->mark.seq)
        return false;
    uint64_t i = e->mark.seq - b->first;
    return e->lamport == b->lamport_first + i && e->wall.ms == b->wall.ms &&
           has_text(&b->msg[i], e->topic, e->headers, e->body);
}

/* What a peer told as newest may be a message that never came. */
static void
believe_entry(const struct story_truth *t, const struct entry *e)
{
    bool is = e->gap_to > 0 || e->mark.stream == STORY_AFTER; /* said to be gone, or ours */
    for (uint32_t i = 0; i < t->count && !is; i++)
        is = is_entry_of(e, t->at[i]);
    MUST(is);
}

/* Of a gap only its place is told: somebody wrote there. */
static bool
is_batch(const struct batch *b, const struct batch *was)
{
    if (batch_is_gap(b))
        return b->stream == was->stream && batch_last(b) <= batch_last(was);
    bool is = b->stream == was->stream && b->first == was->first && b->count == was->count &&
              hash128_eq(was->chain, b->chain) && hash128_eq(was->prev, b->prev);
    for (uint32_t i = 0; i < b->count && is; i++)
        is = b->msg[i].flags & MSG_DIGEST_ONLY ||
             has_text(&was->msg[i], b->msg[i].topic, b->msg[i].headers, b->msg[i].body);
    return is;
}

/* To a peer nothing goes but what was sealed. */
static void
believe_batch(const struct story_truth *t, const struct batch *b)
{
    bool is = b->stream == STORY_AFTER;
    for (uint32_t i = 0; i < t->count && !is; i++)
        is = is_batch(b, t->at[i]);
    MUST(is);
}

/* A file that cannot be read any further says so. */
static bool
believe_page(const struct story_truth *t, struct store_reader *reader, struct read *read,
             uint32_t *said)
{
    struct page *p = NULL;
    if (store_read(reader, read, &p) != ERR_OK)
        return false;
    for (uint32_t i = 0; i < p->count; i++, ++*said)
        if (read->batches)
            believe_batch(t, p->batch[i]);
        else
            believe_entry(t, &p->entry[i]);
    bool moves = p->lsn_next > read->lsn;
    read->lsn  = p->lsn_next;
    page_drop(p);
    return moves;
}

uint32_t
story_believe(const struct story_truth *truth, struct store_reader *reader, uint64_t lsn)
{
    uint32_t said = 0;
    for (int batches = 0; batches < 2; batches++) {
        struct read read = {.start     = READ_AT_LSN,
                            .lsn       = 1,
                            .lsn_last  = lsn,
                            .bytes_max = 1 << 22,
                            .batches   = batches};
        while (read.lsn <= lsn && believe_page(truth, reader, &read, &said)) {
        }
    }
    struct read kept = {.start = READ_KEPT, .bytes_max = 1 << 22};
    while (believe_page(truth, reader, &kept, &said)) {
    }
    return said;
}

/* ---- folders ---- */

void
story_folder(char dir[64])
{
    static const char *const place[] = {"/dev/shm", NULL, "/tmp"};
    for (size_t i = 0; i < sizeof place / sizeof *place; i++) {
        const char *in = place[i] ? place[i] : getenv("TMPDIR");
        int         n  = in ? snprintf(dir, 64, "%s/hearsay-crash-XXXXXX", in) : 0;
        if (n > 0 && n < 64 && mkdtemp(dir))
            return;
    }
    MUST(!"a folder to write to");
}

static int
take_away(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    return where->level > 0 ? remove(path) : 0;
}

void
story_folder_empty(const char *dir)
{
    nftw(dir, take_away, 16, FTW_DEPTH | FTW_PHYS);
}

void
story_folder_gone(const char *dir)
{
    story_folder_empty(dir);
    rmdir(dir);
}
