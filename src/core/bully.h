/* bully.h - who coordinates: the highest able member on this side of a cut.
 *
 * After Garcia-Molina 1982, with terms: a token (epoch, address, nonce) is claimed once,
 * ever, and of two the greater counts.  Priority is the announced address.
 *
 *   CANVASS  asked every higher linked member     after 1 s: CLAIM, or DEFER to the highest
 *   DEFER    a higher member is to claim          after 3 s: it is passed over, CANVASS
 *   CLAIM    own token goes to disk               persisted: LEAD
 *   LEAD     the accepted token is our own
 *   FOLLOW   the accepted token is another's, and its holder reachable
 *
 * accepted: the highest token we took up; we never take up a lower one.  It stays when
 * its holder is lost, so it is a coordinator only while the holder - that very instance -
 * is reachable.  A greater token is taken up as soon as its holder is reachable, from
 * whomever it came; but a coordinator that is able and higher answers with a claim of
 * its own.  Before that it only raises the highest epoch seen.
 *
 * Two rules beyond the textbook: a broker is ready to claim one second after it became
 * able, so that the rows of all that start together have told of each other; and a
 * coordinator to which a reachable member shows, for 3 s, a greater token of a lost
 * holder claims anew, since that member cannot take up the old token.
 *
 * Not promised: one coordinator across a cut, or during the second it takes to heal.
 * The caller ticks the Lamport clock for each ELECTION, OK, COORDINATOR. */
#ifndef CORE_BULLY_H
#define CORE_BULLY_H

#include "base/err.h"
#include "core/roster.h"

enum bully_state {
    BULLY_CANVASS,
    BULLY_DEFER,
    BULLY_CLAIM,
    BULLY_LEAD,
    BULLY_FOLLOW,
    BULLY_STATE_COUNT
};

enum {
    BULLY_CANVASS_MS = 1000,
    BULLY_DEFER_MS   = 3000,
    BULLY_START_MS   = 3000, /* nobody claims earlier in its process, or after a stall */
    BULLY_OUTBID_MS  = 3000,
};
#define BULLY_EPOCH_MAX ((UINT64_C(1) << 53) - 1)
#define BULLY_EPOCH_AHEAD_MAX (UINT64_C(1) << 32) /* a token further ahead is ignored */

/* What the caller does now; sets are bitmasks of slots, all linked.  Each of these frames
 * carries bully_token() as it is after the call. */
struct bully_do {
    uint32_t election, ok, coordinator;
    /* COMMIT_ELECTION at once, then bully_persisted(): it is claimed only then. */
    bool         persist;
    struct token token;
    uint64_t     epoch;
};

struct bully_message {
    enum frame_kind kind;
    uint8_t         from; /* slot */
    struct token    token;
};

struct bully;

/* `recovered` may be NULL. */
void bully_init(struct bully *b, const struct addr *self, uint64_t nonce,
                const struct recovered *recovered, struct mono now);

/* Time passed or the view changed.  Harmless when called often. */
struct bully_do bully_tick(struct bully *b, struct mono now, const struct roster_view *view);

/* FRAME_ELECTION, _OK, _COORDINATOR came from this linked member; FRAME_PING and
 * FRAME_HEADS too, for the token in them.  Other kinds are ignored. */
struct bully_do bully_receive(struct bully *b, struct mono now, const struct roster_view *view,
                              const struct bully_message *message);

/* The commit of this token is done or failed; also of one that bully_save() gave. */
struct bully_do bully_persisted(struct bully *b, struct mono now, const struct roster_view *view,
                                const struct token *token, enum err err);

/* roster_stalled() said so: waits begin anew, no claim for BULLY_START_MS. */
void bully_stalled(struct bully *b, struct mono now);

struct mono bully_deadline(const struct bully *b);

/* True: something changed that goes along with the next commit, whatever that is for;
 * clean from here on (bully_persisted() with an error makes it dirty again). */
bool bully_save(struct bully *b, struct token *token, uint64_t *epoch);

/* Accepted; epoch 0: none.  What PING, HEADS and all election frames carry. */
struct token bully_token(const struct bully *b);
/* As of the last call: is the accepted token's holder reachable? */
bool bully_has_coordinator(const struct bully *b);
bool bully_is_leading(const struct bully *b);
/* "canvass", "defer"...: for displays. */
const char *bully_state_text(const struct bully *b);

/* ---- private: complete only so that callers can embed it ---- */
struct bully {
    struct addr      self;
    uint64_t         nonce;
    enum bully_state state;
    struct mono      deadline;    /* of CANVASS and DEFER */
    struct mono      claim_after; /* start or stall + BULLY_START_MS */
    struct mono      ready;       /* since when we may claim; MONO_NEVER: not */
    struct token     accepted;
    struct token     pending;      /* CLAIM: being persisted */
    struct token     offered;      /* highest seen above accepted; epoch 0: none */
    uint8_t          offered_from; /* slot */
    struct mono      offered_at;
    uint64_t         epoch;                    /* highest seen */
    uint32_t         asked;                    /* slots that got our ELECTION */
    uint8_t          waited;                   /* DEFER: for this slot */
    uint64_t         passed_over[MEMBERS_MAX]; /* nonce waited for in vain; 0: none */
    bool             has_coordinator, dirty;
};

#endif
