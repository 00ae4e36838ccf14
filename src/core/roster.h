/* roster.h - who belongs to the cluster, and who is on my side of a cut.
 *
 * Entries.  Each address has one entry, a member or a tombstone; the greater version
 * wins, at a tie the tombstone.  A forgotten instance stays out; a later one of the same
 * address, or one of an address that was forgotten before it was ever met, is re-added
 * with the next version.  Seeds (peers file, --join) are members of version 0
 * at once; a --join also beats a tombstone, see roster_join().  A member has a slot, stable while
 * it is a member; sets of members are bitmasks of slots; self is ROSTER_SELF.  At most MEMBERS_MAX
 * members (a further one is refused) and TOMBSTONES_MAX tombstones (the oldest is dropped).
 *
 * Instances.  A member's nonce is that of the last instance seen, by HELLO or row.  A
 * nonce not seen before replaces it, unless it comes by a row while the link with the
 * known instance is up (that link is better knowledge; a restart says HELLO anyway).
 * A replaced nonce is ignored in rows for ROSTER_OLD_MS: these are late.  A HELLO is
 * always believed: the caller has judged copies and duplicates before.
 *
 * Rows.  Each second every member says whom it heard within 3 s.  A row with a newer
 * count is news; it lives for 10 s after it came.  Own row: count 1, 2, 3...
 *
 * Reachable.  An edge counts when both living rows name each other; whoever a chain
 * of edges leads to from me is reachable, members that said AWAY are not.  What
 * links are open does not matter, only what was heard.
 *
 * Stall.  When own row is over a second overdue, this process slept and its picture
 * is old, while nobody else need have changed.  Then: (1) all ages are taken as if
 * the sleep had not been; (2) whoever was reachable before stays so for 3 s more: the
 * rows that wait in the sockets were written while I was silent, and only after that
 * time can everybody have heard me and said so; (3) no row is given to others until it
 * came anew.  So a paused broker does not elect itself over the living.
 *
 * Not promised: that two members see the same set at the same instant. */
#ifndef CORE_ROSTER_H
#define CORE_ROSTER_H

#include "base/err.h"
#include "base/prng.h"
#include "core/types_frame.h"
#include "core/types_store.h"

enum { ROSTER_SELF = 0 }; /* own slot */
enum {
    ROSTER_ROW_MS       = 1000,  /* own row's period */
    ROSTER_HEARD_MS     = 3000,  /* silent for longer: not heard */
    ROSTER_LIFE_MS      = 10000, /* of a row */
    ROSTER_ABLE_MS      = 3000,  /* not able before */
    ROSTER_STALL_MS     = 1000,  /* own row overdue by more: stalled */
    ROSTER_OLD_MS       = 60000, /* a replaced nonce is ignored for so long */
    ROSTER_DIAL_MIN_MS  = 100,
    ROSTER_DIAL_MAX_MS  = 2000,
    ROSTER_DIAL_LONG_MS = 3000, /* a dial without an answer for so long counts as tried */
    ROSTER_OLD_NONCES   = 4,
    ROSTER_CALL_MS      = 10000, /* between two dials of whom an operator wants back */
    ROSTER_CALLS        = 8,
};

struct roster;
struct roster_member;

struct roster_config {
    struct addr             self;
    struct str              host;        /* as the operator wrote it; cut at HOST_BYTES_MAX */
    uint64_t                nonce, seed; /* nonce > 0 */
    const struct recovered *recovered;   /* NULL: nothing */
};

void roster_init(struct roster *r, const struct roster_config *config, struct mono now);

/* ---- entries ---- */

/* OK (also when known or self).  STALE: an operator has forgotten this member.
 * LIMIT: the roster is full.  INVALID: no address (names that did not resolve). */
MUST_USE enum err roster_seed(struct roster *r, struct mono now, const struct addr *addr,
                              struct str host);

/* The operator's --join.  Like roster_seed(), but who was forgotten is called: dialled as long
 * as this process lives, and a member again once it answers, also in the life that was
 * forgotten.  Until then it is none: who is gone for good does not count.  A later forget ends
 * the call.  LIMIT: the roster is full, or ROSTER_CALLS are called. */
MUST_USE enum err roster_join(struct roster *r, struct mono now, const struct addr *addr,
                              struct str host);

/* One gossiped entry (MEMBERS, FORGET).  OK: something changed, pass it on.  STALE:
 * known or older.  LIMIT: a member that the full roster has no slot for.  INVALID: nonsense.
 * REFUSED: it forgets this very instance of us; only a restart rejoins. */
MUST_USE enum err roster_merge(struct roster *r, struct mono now, const struct member_info *info);

/* The operator's forget.  OK: roster_tombstone() has what FORGET says to others, who
 * all are to be told; the caller closes the link.  NOTFOUND.  INVALID: self. */
MUST_USE enum err roster_forget(struct roster *r, const struct addr *addr);
/* NULL: none for this address.  Valid until the roster changes. */
const struct member_info *roster_tombstone(const struct roster *r, const struct addr *addr);

struct roster_instance {
    struct addr addr; /* announced */
    struct str  host;
    uint64_t    nonce;
};
/* A HELLO came that no rule about duplicates or copies refuses.  OK: *slot is its member,
 * added or re-added as needed.  REFUSED: this instance was forgotten (REFUSE_FORGOTTEN).
 * LIMIT: the roster is full.  INVALID: it announces our own address, or nonsense. */
MUST_USE enum err roster_hello(struct roster *r, struct mono now, const struct roster_instance *who,
                               uint8_t *slot);

/* What was dialled turned out to announce another address (or to be ourselves): its
 * entry goes, for everybody.  Call after roster_hello() or when REFUSE_SELF came.
 * True: the roster changed, pass it on.  False: the entry stays, it was met once under
 * this address; it is dialled again later. */
bool roster_alias(struct roster *r, const struct addr *dialled, const struct addr *announced);

/* ---- what is heard ---- */

/* Any frame came over the link of this member. */
void roster_heard(struct roster *r, struct mono now, uint8_t slot);
/* AWAY came over its link: not reachable until a newer row or instance, so who says AWAY
 * sends no row after it. */
void roster_away(struct roster *r, uint8_t slot);
/* Does the own disk take writes?  A change makes the own row due: roster_tick() next. */
void roster_disk(struct roster *r, bool works);

struct roster_news {
    uint32_t rows;      /* slots whose row is newer than what was known: to be relayed */
    bool     members;   /* entries changed: pass everything on */
    bool     forgotten; /* ... and one forgets this instance of us */
};
/* A whole MEMBERS frame: its members, then its rows, translated to slots by address.
 * Rows of, and bits about, whom we do not have as a member are ignored. */
struct roster_news roster_merge_frame(struct roster *r, struct mono now,
                                      const struct frame_members *frame);

/* May this row go to that member?  Not when stale or dead, and not when both hear each
 * other: then it comes directly. */
bool roster_should_relay(const struct roster *r, struct mono now, uint8_t row, uint8_t to);

struct roster_frame {
    struct member_info member[MEMBERS_MAX + TOMBSTONES_MAX];
    struct member_row  row[MEMBERS_MAX];
};
/* Fills a MEMBERS frame in `space` with the rows of these slots, where they live and are
 * not stale, and with the members they speak of; `all`: with every entry. */
struct frame_members roster_frame(const struct roster *r, struct mono now, uint32_t rows, bool all,
                                  struct roster_frame *space);
#define ROSTER_ALL UINT32_MAX /* rows: all; for a link that has just opened */

/* ---- time ---- */

/* Call first in every step, before anything is heard.  True: this process had slept
 * (handled here; tell bully_stalled() too). */
bool roster_stalled(struct roster *r, struct mono now);
/* True: the own row is new, send it to every linked member.  After roster_stalled(). */
bool roster_tick(struct roster *r, struct mono now);
/* The next own row, dial, or end of something heard. */
struct mono roster_deadline(const struct roster *r, struct mono now);

/* ---- links and dials ----
 *
 * When entries change a member may be gone, and its slot be taken by another: then close
 * each link whose address roster_find() does not know, without roster_link_down(). */

/* After a HELLO was accepted; counts as tried.  One link a member: the caller sees to it. */
void roster_link_up(struct roster *r, struct mono now, uint8_t slot);
void roster_link_down(struct roster *r, struct mono now, uint8_t slot);
/* Whom to dial now: neither linked nor being dialled.  First at once, then 100 ms
 * doubling to 2 s, with jitter; members that are away at 2 s.  False: nobody. */
bool roster_dial_next(struct roster *r, struct mono now, uint8_t *slot);
/* The dial failed, or its link closed before a HELLO was accepted.  An address that is
 * no member any more is ignored. */
void roster_dial_failed(struct roster *r, struct mono now, const struct addr *addr);

/* Whom to dial now of those that are called; the host is valid until the roster changes. */
bool roster_call_next(struct roster *r, struct mono now, struct addr *addr, struct str *host);

/* ---- queries ---- */

/* -1: no such member. */
int roster_find(const struct roster *r, const struct addr *addr);
/* NULL: the slot is free. */
const struct roster_member *roster_member(const struct roster *r, uint8_t slot);
struct str                  roster_host(const struct roster_member *m);
uint32_t                    roster_members(const struct roster *r); /* slots, self included */
uint32_t                    roster_linked(const struct roster *r);  /* slots */
uint32_t                    roster_reachable(const struct roster *r, struct mono now);
uint32_t                    roster_count(const struct roster *r);    /* M: `all` */
uint32_t                    roster_majority(const struct roster *r); /* floor(M/2) + 1 */
bool                        roster_is_able(const struct roster *r, struct mono now); /* self */

/* What the election looks at, at one instant. */
struct roster_view {
    uint32_t reachable, able, linked; /* slots; self is in reachable */
    bool     all_tried;               /* each member but self was dialled once or linked */
    struct {
        struct addr addr;
        uint64_t    nonce; /* 0: unknown */
        uint32_t    edges; /* slots with a mutual edge */
    } at[MEMBERS_MAX];
};
void roster_view(const struct roster *r, struct mono now, struct roster_view *view);

/* ---- persistence ---- */

bool roster_is_dirty(const struct roster *r);
/* For COMMIT_MEMBERS: a blob with one reference; clean from here on. */
struct member_list *roster_list(struct roster *r);
/* That commit failed: dirty again. */
void roster_unsaved(struct roster *r);

/* ---- private: complete so that callers can embed it and displays read it ---- */
struct roster_row {
    uint64_t    count; /* 0: none of this instance yet */
    struct mono until; /* dead from here on */
    uint32_t    heard; /* slots */
    bool        able;
    bool        stale; /* from before a stall: not given to others */
};
struct roster_old {
    uint64_t    nonce;
    struct mono until;
};
struct roster_dial {
    struct mono next, began;
    uint32_t    backoff_ms;
    bool        pending, tried;
};
struct roster_call {
    struct addr addr; /* family 0: free */
    uint8_t     host_bytes;
    char        host[HOST_BYTES_MAX];
    bool        pending;
    struct mono next;
};
struct roster_member {
    bool               used, away, linked;
    struct addr        addr;
    uint8_t            host_bytes;
    char               host[HOST_BYTES_MAX];
    uint64_t           version, nonce;
    struct roster_old  old[ROSTER_OLD_NONCES];
    uint32_t           old_at;
    struct mono        heard_until;
    struct mono        linked_at;
    struct roster_row  row; /* self: as last published */
    struct roster_dial dial;
};
struct roster {
    struct roster_member slot[MEMBERS_MAX];
    struct member_info   tombstone[TOMBSTONES_MAX]; /* oldest first; no hosts */
    uint32_t             tombstone_count;
    struct roster_call   call[ROSTER_CALLS];
    struct mono          start, row_due;
    uint32_t             kept;       /* reachable before the stall */
    struct mono          kept_until; /* ... and believed until then */
    struct mono          complained; /* about a full roster */
    bool                 disk_works, dirty;
    struct prng          prng;
};
/* Parts of the above, see roster_call.c. */
bool        roster_is_called(const struct roster *r, const struct addr *addr);
void        roster_call_failed(struct roster *r, struct mono now, const struct addr *addr);
void        roster_call_end(struct roster *r, const struct addr *addr);
struct mono roster_call_deadline(const struct roster *r);

#endif
