/* session.h - one subscription: where it is in the log, and its next message.
 *
 *   HEAD    all that is durable was scanned; a message that matches wakes it
 *   BEHIND  the next lsn to scan lies in memory or on disk
 *   READING a page of history is on its way from the disk
 *
 * `seen` is what the client has: in BEHIND everything scanned and the cursor it came
 * with; in HEAD only what goes beyond the durable vector (it saw it at another
 * broker), so a session that waits takes next to no memory.
 *
 * What is gone before it was read is named by a gap, whatever the filters, and counts as
 * seen from then on.  A gap comes from memory (it was stored as one), at the front of a
 * page (retention took it), or from the journal's retired streams, which are in no page.
 *
 * What is live (never stored) comes to a session in any state, beside the log, and changes
 * nothing in it; session_live.c has it.
 *
 * Promised: per stream strictly rising seq; nothing that `seen` holds; lsn order, so
 * causal order; a message is skipped only when no filter wants it or a gap names it. */
#ifndef CORE_SESSION_H
#define CORE_SESSION_H

#include "base/err.h"
#include "base/list.h"
#include "base/pool.h"
#include "core/journal.h"
#include "core/live.h"
#include "core/subs.h"
#include "core/types.h"
#include "core/types_store.h"

enum session_state { SESSION_HEAD, SESSION_BEHIND, SESSION_READING, SESSION_STATE_COUNT };

struct session;
struct sessions;

void sessions_init(struct sessions *all);
void sessions_fini(struct sessions *all);

/* LIMIT: too many sessions or filters. */
MUST_USE enum err session_open(struct sessions *all, const struct str *filter,
                               uint32_t filter_count, uint64_t ref, struct session **out);
/* Go on from what `seen` holds.  A retired stream that it lacks is named by a gap when its
 * last stamp is above `stamp`.  LIMIT: more streams than a vector takes. */
MUST_USE enum err session_start_at(struct sessions *all, struct session *s, const struct journal *j,
                                   const struct vector *seen, uint64_t stamp);
/* Go on from the oldest message on: `floors` are where it lies. */
MUST_USE enum err session_start_earliest(struct sessions *all, struct session *s,
                                         const struct journal *j, const struct vector *floors);
void session_start_since(struct sessions *all, struct session *s, const struct journal *j,
                         struct wall since);
void session_close(struct sessions *all, struct session *s);

/* A batch is durable at lsn and in the tail: wake whom it concerns. */
void sessions_wake(struct sessions *all, const struct journal *j, const struct batch *b,
                   uint64_t lsn);
/* A live batch came, or was published: whom it concerns has it to pull, from now on and once.
 * Borrowed; what stays has references of its own. */
void sessions_live(struct sessions *all, struct batch *b);
/* What waits for one comes to the other, if they have the same filters. */
void session_take_live(struct sessions *all, struct session *from, struct session *to);
/* A stream was retired just now: no page will name what was not read of it. */
void sessions_retired(struct sessions *all, const struct journal *j, uint64_t stream);

/* As broker_pull(). */
MUST_USE enum err session_pull(struct sessions *all, struct session *s, const struct journal *j,
                               struct entry *entry);
/* The client takes nothing for now.  What was read for it may be dropped and read again: a
 * page holds a message at least, so thousands of clients that do not read hold thousands.  It
 * is dropped for those that do read. */
void session_stall(struct sessions *all, struct session *s);
/* The next session that must read from disk: fills `read` (borrowed), enters READING.
 * NULL: none, or READS_MAX are under way. */
struct session *sessions_next_read(struct sessions *all, const struct journal *j,
                                   struct read *read);
/* The page came, which is taken over; NULL: the read failed and is tried again later.
 * The session that asked may be gone. */
void sessions_page(struct sessions *all, uint64_t session, struct page *page);

/* The page came, and what lies at `lsn` may be mended soon: for the session the log ends before
 * it, until sessions_mended().  The page is taken over, and what lies before read anew. */
void sessions_cut(struct sessions *all, uint64_t session, struct page *page, uint64_t lsn);
/* What was waited for is mended, or never will be. */
void sessions_mended(struct sessions *all);

/* Sessions whose read failed try again. */
void sessions_retry(struct sessions *all);

struct session *sessions_next_ready(struct sessions *all);
struct session *sessions_find(const struct sessions *all, uint64_t handle);
/* False: by time, and the place was not read from disk yet. */
MUST_USE bool session_cursor(const struct session *s, const struct journal *j,
                             struct vector *cursor, uint64_t *stamp);

/* ---- private ---- */

#define SESSION_NAMED_ALL UINT32_MAX
/* A blob: the reader thread holds it too. */
struct filters {
    uint32_t   count;
    bool       literal; /* none has a wildcard */
    struct str at[];
};
bool filters_are_same(const struct filters *a, const struct filters *b);
struct session {
    enum session_state state;
    uint64_t           ref;
    struct filters    *filters;
    struct list        ready;      /* in sessions.ready */
    struct list        wants_disk; /* in sessions.wants_disk */
    struct list        stalled;    /* in sessions.stalled */
    struct vector      seen;
    uint64_t           stamp;     /* highest lamport seen */
    uint64_t           lsn;       /* BEHIND: next to scan; 0: not known yet */
    uint64_t           until;     /* BEHIND, READING: not from there on, for now; 0: no limit */
    uint32_t          retired_at; /* in journal.retired: next to look at; SESSION_NAMED_ALL: none */
    struct vector     gone;       /* retired while it lagged: their heads, yet to be named */
    bool              by_time;    /* by `since`: the place is not known yet */
    struct wall       since;
    struct page      *page;
    uint32_t          page_at;
    bool              live_next; /* live messages and those of the log take turns */
    struct live_runs *live;      /* live messages that wait for it; NULL: none ever did */
};
struct sessions {
    struct pool      pool;
    struct subs      subs;
    struct subs_hits hits;
    struct list      ready, wants_disk, failed;
    struct list      stalled;    /* with a page that nobody takes: the oldest first */
    uint32_t         reads;      /* under way, also for sessions that are gone */
    size_t           page_bytes; /* of all pages that sessions hold */
    uint64_t         deliveries;
    struct shelf     shelf;
    uint64_t         live_deliveries;
    uint32_t         live_runs; /* of all sessions */
};

static inline void
session_make_ready(struct sessions *all, struct session *s)
{
    if (list_is_empty(&s->ready))
        list_push_back(&all->ready, &s->ready);
}

/* ---- session_live.c ---- */

bool session_has_live(const struct session *s);
/* The next that waits; false: none does. */
bool session_pull_live(struct sessions *all, struct session *s, struct entry *entry);
/* Number of the next that it will be given, as in entry.live; 0: none, or some before it were
 * lost, of which it has to be told. */
uint64_t session_next_live(const struct sessions *all, const struct session *s);
/* So many were delivered to it, by another's copy. */
void session_skip_live(struct sessions *all, struct session *s, uint32_t count);
void session_drop_live(struct sessions *all, struct session *s);

#endif
