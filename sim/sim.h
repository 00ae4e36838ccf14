/* sim.h - a cluster in virtual time: real core, real wire bytes, memory disks.
 *
 * Everything that happens is an event with a time; equal times go in the order of
 * making.  The same seed gives the same run, to the last byte.  A broker's crash keeps
 * its disk; what its store had not committed is lost.
 *
 * The network: per connection in order, with a delay.  A cut kills the connections
 * across it silently, in one direction or in both: the ends find out by themselves.
 * After every event the invariants of oracle.h that can be told then are checked. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/buf.h"
#include "core/broker.h"
#include "store/store_mem.h"

enum { SIM_BROKERS_MAX = 16, SIM_SUBS_MAX = 128 };

struct sim;

struct sim_config {
    uint64_t seed;
    uint32_t brokers;     /* 1 .. SIM_BROKERS_MAX; named A, B, C... by rising address */
    uint32_t delay_ms;    /* one way; 0: 1 ms */
    uint32_t commit_ms;   /* 0: 2 ms */
    uint32_t told_ms;     /* from a commit on disk until core knows of it */
    bool     no_seeds;    /* nobody lists anybody: sim_join() */
    bool     terse;       /* the story leaves out deliveries: for long runs */
    size_t   story_bytes; /* about so much of the story's end is kept; 0: all of it */

    struct retention retention; /* of all brokers; see sim_retention() */
    uint32_t         retain_ms; /* how often; 0: 1000 */
    uint64_t         causal_wait_ms;
    size_t           tail_bytes; /* 0: 1 MiB */
};

struct sim *sim_new(const struct sim_config *config);
void        sim_free(struct sim *s);

/* ---- what happens to brokers and links ---- */

void sim_start(struct sim *s, uint32_t i);
void sim_start_all(struct sim *s);
void sim_crash(struct sim *s, uint32_t i);
/* It crashes in the middle of a step: when so many effects more were carried out. */
void sim_crash_in(struct sim *s, uint32_t i, uint32_t effects);
/* SIGTERM: drains, says goodbye, is gone within a second. */
void sim_stop(struct sim *s, uint32_t i);
void sim_pause(struct sim *s, uint32_t i);
void sim_resume(struct sim *s, uint32_t i);
/* As `hearsay broker --join` of a starting broker. */
void sim_join(struct sim *s, uint32_t i, uint32_t to);
/* All that are up are told of each other, as when their files of peers are read anew. */
void sim_introduce(struct sim *s);
void sim_forget(struct sim *s, uint32_t at, uint32_t whom);
void sim_cut(struct sim *s, uint32_t i, uint32_t j);
/* Nothing that `from` sends comes to `to`; the other way it does. */
void sim_cut_one_way(struct sim *s, uint32_t from, uint32_t to);
void sim_heal(struct sim *s, uint32_t i, uint32_t j);
void sim_heal_all(struct sim *s);
/* From now on a frame takes so long, and up to as much again. */
void sim_delay(struct sim *s, uint32_t from, uint32_t to, uint32_t ms);
/* For so long nothing arrives; then everything, in its order. */
void sim_stall(struct sim *s, uint32_t from, uint32_t to, uint32_t ms);
/* The connections between them break, with what is under way. */
void sim_reset(struct sim *s, uint32_t i, uint32_t j);
/* No cut, delay, echo or loss any more. */
void sim_mend_links(struct sim *s);
void sim_slow_disk(struct sim *s, uint32_t i, uint32_t commit_ms);
/* So long core does not know of a commit that is on disk. */
void sim_slow_word(struct sim *s, uint32_t i, uint32_t told_ms);
/* The wall clock of one broker is set: by so much, forwards or back. */
void sim_step_clock(struct sim *s, uint32_t i, int64_t ms);
/* Each batch that `from` pushes to `to` arrives twice. */
void sim_echo_pushes(struct sim *s, uint32_t from, uint32_t to);
/* The next `count` batches that `from` pushes to `to` are lost, as by a full queue. */
void sim_lose_pushes(struct sim *s, uint32_t from, uint32_t to, uint32_t count);
/* An operator changes what can change; until the process ends, then it is as in sim_config. */
void sim_options(struct sim *s, uint32_t i, size_t tail_bytes);
/* Another policy for one broker. */
void sim_retention(struct sim *s, uint32_t i, struct retention policy);
/* Free disk falls below the reserve, or rises above it. */
void              sim_room(struct sim *s, uint32_t i, bool enough);
struct store_mem *sim_disk(struct sim *s, uint32_t i);
/* The broker must be down. */
void sim_replace_disk(struct sim *s, uint32_t i, struct store_mem *disk);

/* A bit of message `at` of those on this disk flips; false: there are not so many. */
bool sim_flip(struct sim *s, uint32_t i, uint32_t at);

/* ---- clients ---- */

/* Publishes at broker i; its number, for sim_outcome(). */
uint32_t sim_publish(struct sim *s, uint32_t i, const char *topic, const char *body);
/* The same without a turn: several are sealed together.  Then sim_turn(). */
uint32_t sim_hand_in(struct sim *s, uint32_t i, const char *topic, const char *body);
void     sim_turn(struct sim *s, uint32_t i);
/* As the first, by a client that says that its clock, of the Lamport kind, stands there. */
uint32_t sim_publish_stamp(struct sim *s, uint32_t i, const char *topic, const char *body,
                           uint64_t stamp);
/* The same as the first, and waits until so many brokers have it on disk (> 0 or COPIES_*), or
 * `ms`. */
uint32_t sim_publish_acks(struct sim *s, uint32_t i, const char *topic, const char *body,
                          int copies, uint64_t ms);
/* The same as the first, by a client that has seen what a subscriber was given: it waits until
 * the broker has that too, 1 s at most. */
uint32_t sim_publish_after(struct sim *s, uint32_t i, const char *topic, const char *body,
                           uint32_t sub);
enum { SIM_PENDING = -1, SIM_LIVE = -2 };
/* SIM_PENDING, SIM_LIVE (delivered, its topic is not stored), or an enum err. */
int         sim_outcome(const struct sim *s, uint32_t publish);
struct mark sim_mark(const struct sim *s, uint32_t publish);
/* Of sim_publish_acks(): SIM_PENDING, or how many have it; *reached says whether in time. */
int sim_copies(const struct sim *s, uint32_t publish, bool *reached);
/* A client that has seen `m` elsewhere is about to publish at broker i: runs until it may, at
 * most 2 s.  How many ms that took; *causal says whether i has m by then. */
uint64_t sim_after(struct sim *s, uint32_t i, struct mark m, bool *causal);
/* A subscriber at broker i; its number.  It keeps what it got when it moves.  Several filters
 * have a blank between them. */
uint32_t sim_subscribe(struct sim *s, uint32_t i, const char *filter, enum subscribe_from from);
/* From what came to broker i within so many ms; its first message says where that began. */
uint32_t sim_subscribe_since(struct sim *s, uint32_t i, const char *filter, uint64_t ms);
/* It takes so many messages and gaps more, and no other until it is told anew. */
void sim_take(struct sim *s, uint32_t sub, uint32_t count);
/* Its broker tells it its cursor alone, as now and then when nothing else comes. */
void sim_hear_cursor(struct sim *s, uint32_t sub);
/* Runs until broker i has what the subscriber has seen, at most `ms`: has it? */
bool sim_covered(struct sim *s, uint32_t i, uint32_t sub, uint64_t ms);
/* It goes on at broker i, with its cursor. */
void sim_move(struct sim *s, uint32_t sub, uint32_t i);
/* It goes away, and may come back by sim_move(). */
void sim_leave(struct sim *s, uint32_t sub);
/* How many messages it was told are gone; how many came flagged `late`. */
uint64_t sim_gone(const struct sim *s, uint32_t sub);
uint64_t sim_late(const struct sim *s, uint32_t sub);
/* How many waits for copies: of all members, several, were reached; ended with too few. */
void sim_waits(const struct sim *s, uint64_t *all, uint64_t *too_few);
/* How many streams some disk retired. */
uint64_t sim_retired(const struct sim *s);
/* How often a disk forgot a stream that was retired. */
uint64_t sim_forgotten(const struct sim *s);
/* "body body body", in the order of delivery, of those that are stored. */
const char *sim_got(const struct sim *s, uint32_t sub);

/* ---- time ---- */

void     sim_run(struct sim *s, uint64_t ms);
uint64_t sim_now(const struct sim *s);
/* Runs until it is true or so much time has passed; whether it became true. */
bool sim_until(struct sim *s, bool (*is_true)(struct sim *s), uint64_t ms_max);

/* ---- looking ---- */

/* How often each invariant was looked at: S1.. and L1.. by number. */
struct sim_checks {
    uint64_t s[20], l[10];
};
const struct sim_checks *sim_checks(const struct sim *s);

bool                 sim_is_up(const struct sim *s, uint32_t i);
bool                 sim_is_paused(const struct sim *s, uint32_t i);
const struct broker *sim_broker(const struct sim *s, uint32_t i);
/* Everybody who is up has the same vector, and nothing is on its way. */
bool sim_is_level(struct sim *s);
/* All that are up accept one coordinator, which is up. */
bool sim_has_coordinator(struct sim *s);
/* Its number, or -1: as broker i accepts it. */
int      sim_coordinator(const struct sim *s, uint32_t i);
uint64_t sim_frames(const struct sim *s, enum frame_kind kind); /* sent so far */
uint64_t sim_events(const struct sim *s);
uint32_t sim_acked(const struct sim *s); /* publishes answered with OK */
/* Of all that happened: equal runs have equal ones. */
uint64_t sim_hash(const struct sim *s);
/* What happened, a line each: starts, crashes, cuts, links, coordinators, deliveries. */
const char *sim_story(const struct sim *s);
void        sim_tell(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
