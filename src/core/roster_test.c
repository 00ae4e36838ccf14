#include "core/roster.h"

#include "base/blob.h"
#include "core/batch.h"
#include "tests/unit.h"

#include <string.h>

static struct mono now;

static struct addr
addr_of(int i)
{
    return (struct addr){.family = 4, .ip = {10, 0, 0, 1}, .port = (uint16_t)(3000 + i)};
}

static struct member_info
info_of(int i, uint64_t version, uint8_t flags, uint64_t nonce)
{
    return (struct member_info){addr_of(i), STR("host"), version, nonce, flags};
}

static void
init(struct roster *r, int self)
{
    struct roster_config c = {addr_of(self), STR("host"), (uint64_t)self + 100, 7, NULL};
    now                    = (struct mono){50000};
    roster_init(r, &c, now);
}

static uint8_t
hello(struct roster *r, int i, uint64_t nonce)
{
    struct roster_instance who  = {addr_of(i), STR("host"), nonce};
    uint8_t                slot = 255;
    assert_int_equal(roster_hello(r, now, &who, &slot), ERR_OK);
    return slot;
}

static enum err
merge(struct roster *r, int i, uint64_t version, uint8_t flags, uint64_t nonce)
{
    struct member_info info = info_of(i, version, flags, nonce);
    return roster_merge(r, now, &info);
}

/* A row of broker `who` that names the brokers of `heard`; all brokers are in the frame. */
static uint32_t
row(struct roster *r, int who, uint64_t nonce, uint64_t count, uint32_t heard)
{
    struct member_info   info[8];
    struct member_row    one = {(uint8_t)who, true, nonce, count, heard};
    struct frame_members f   = {info, &one, 8, 1};
    for (int i = 0; i < 8; i++) {
        info[i] = info_of(i, 0, 0, 0);
        if (roster_find(r, &info[i].addr) < 0)
            info[i].addr.port = 0; /* not valid: no member comes by this frame */
    }
    return roster_merge_frame(r, now, &f).rows;
}

static void
seed(struct roster *r, int i)
{
    struct addr a = addr_of(i);
    assert_int_equal(roster_seed(r, now, &a, STR("host")), ERR_OK);
}

static uint32_t
bit(const struct roster *r, int i)
{
    struct addr a    = addr_of(i);
    int         slot = roster_find(r, &a);
    assert_true(slot >= 0);
    return 1u << slot;
}

/* ---- entries ---- */

/* Without it brokers disagree for ever on who belongs to the cluster. */
static void
the_greater_version_wins_and_a_tie_forgets(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    seed(&r, 1);
    assert_int_equal(merge(&r, 1, 0, 0, 0), ERR_STALE);
    assert_int_equal(merge(&r, 1, 0, MEMBER_FORGOTTEN, 0), ERR_OK);
    assert_int_equal(roster_count(&r), 1);
    assert_int_equal(merge(&r, 1, 0, 0, 0), ERR_STALE);
    assert_int_equal(merge(&r, 1, 1, 0, 0), ERR_OK);
    assert_int_equal(roster_count(&r), 2);
    assert_int_equal(merge(&r, 1, 0, MEMBER_FORGOTTEN, 0), ERR_STALE);
    assert_int_equal(merge(&r, 1, 3, MEMBER_FORGOTTEN, 0), ERR_OK);
    assert_int_equal(merge(&r, 1, 3, MEMBER_FORGOTTEN, 0), ERR_STALE);
    assert_int_equal(merge(&r, 1, 2, 0, 0), ERR_STALE);
    struct addr a = addr_of(1);
    assert_int_equal(roster_seed(&r, now, &a, STR("host")), ERR_STALE);
}

/* Without it a forgotten broker that still runs walks in again, or a restarted cannot. */
static void
a_forgotten_instance_is_refused_and_a_new_one_readded(void **state)
{
    (void)state;
    struct roster r;
    struct addr   a = addr_of(1);
    init(&r, 0);
    (void)hello(&r, 1, 11);
    assert_int_equal(roster_forget(&r, &a), ERR_OK);
    assert_int_equal(roster_tombstone(&r, &a)->nonce, 11);
    assert_int_equal(roster_tombstone(&r, &a)->version, 1);
    assert_int_equal(roster_forget(&r, &a), ERR_OK);
    struct roster_instance same = {a, STR("host"), 11};
    uint8_t                slot;
    assert_int_equal(roster_hello(&r, now, &same, &slot), ERR_REFUSED);
    slot = hello(&r, 1, 12);
    assert_int_equal(roster_member(&r, slot)->version, 2);
    assert_null(roster_tombstone(&r, &a));
    /* Who forgot it elsewhere need not have met it: we have. */
    assert_int_equal(merge(&r, 1, 2, MEMBER_FORGOTTEN, 0), ERR_OK);
    assert_int_equal(roster_tombstone(&r, &a)->nonce, 12);
    a = addr_of(0);
    assert_int_equal(roster_forget(&r, &a), ERR_INVALID);
    a = addr_of(7);
    assert_int_equal(roster_forget(&r, &a), ERR_NOTFOUND);
}

static bool
is_dialled(struct roster *r, int i)
{
    struct addr whom, wanted = addr_of(i);
    struct str  host;
    return roster_call_next(r, now, &whom, &host) && addr_cmp(&whom, &wanted) == 0 &&
           str_eq(host, STR("host"));
}

static enum err
join(struct roster *r, int i)
{
    struct addr a = addr_of(i);
    return roster_join(r, now, &a, STR("host"));
}

/* Without it two that were made to forget each other never meet again; or a --join that stayed
 * in a script makes a member, and a vote, of who is gone for good. */
static void
who_is_joined_is_called(void **state)
{
    (void)state;
    struct roster r;
    struct addr   a = addr_of(1), b = addr_of(2);
    init(&r, 0);
    (void)hello(&r, 1, 11);
    assert_int_equal(roster_forget(&r, &a), ERR_OK);
    assert_int_equal(roster_seed(&r, now, &a, STR("host")), ERR_STALE);
    assert_false(is_dialled(&r, 1));
    assert_int_equal(join(&r, 1), ERR_OK);
    assert_int_equal(join(&r, 1), ERR_OK);
    assert_int_equal(roster_count(&r), 1);
    assert_int_equal(roster_call_deadline(&r).ms, now.ms);
    assert_true(is_dialled(&r, 1));
    assert_false(is_dialled(&r, 1)); /* once, until it fails */
    roster_dial_failed(&r, now, &b);
    roster_dial_failed(&r, now, &a);
    assert_false(is_dialled(&r, 1));
    now.ms += ROSTER_CALL_MS;
    assert_int_equal(roster_call_deadline(&r).ms, now.ms);
    assert_true(is_dialled(&r, 1));
    assert_int_equal(roster_member(&r, hello(&r, 1, 11))->version, 2); /* the very same life */
    roster_dial_failed(&r, now, &a);
    now.ms += ROSTER_CALL_MS;
    assert_false(is_dialled(&r, 1)); /* a member is dialled as such */
    /* What ends a call: a later forget, here and elsewhere, and another name at that address. */
    assert_int_equal(roster_forget(&r, &a), ERR_OK);
    assert_int_equal(join(&r, 1), ERR_OK);
    assert_int_equal(merge(&r, 1, 3, MEMBER_FORGOTTEN, 12), ERR_STALE);
    assert_int_equal(merge(&r, 1, 9, MEMBER_FORGOTTEN, 12), ERR_OK);
    assert_false(is_dialled(&r, 1));
    assert_int_equal(join(&r, 1), ERR_OK);
    assert_int_equal(roster_forget(&r, &a), ERR_OK);
    assert_false(is_dialled(&r, 1));
    assert_int_equal(join(&r, 1), ERR_OK);
    assert_false(roster_alias(&r, &a, &b));
    assert_false(is_dialled(&r, 1));
    a = addr_of(2);
    assert_int_equal(merge(&r, 2, 1, MEMBER_FORGOTTEN, 0), ERR_OK);
    assert_int_equal(join(&r, 2), ERR_OK);
    assert_int_equal(merge(&r, 2, 1, MEMBER_FORGOTTEN, 7), ERR_OK); /* the same forget */
    assert_true(is_dialled(&r, 2));
    roster_call_end(&r, &a);
    /* A name may be missing, or longer than any. */
    char       name[HOST_BYTES_MAX + 1];
    struct str host[] = {{0}, {(const uint8_t *)name, sizeof name}};
    memset(name, 'x', sizeof name);
    for (uint32_t i = 0; i < 2; i++) {
        struct str got;
        assert_int_equal(roster_join(&r, now, &a, host[i]), ERR_OK);
        assert_true(roster_call_next(&r, now, &b, &got));
        assert_int_equal(got.n, i * HOST_BYTES_MAX);
        roster_call_end(&r, &a);
    }
    /* No more than so many. */
    for (int i = 3; i < 3 + ROSTER_CALLS; i++) {
        assert_int_equal(merge(&r, i, 1, MEMBER_FORGOTTEN, 9), ERR_OK);
        assert_int_equal(join(&r, i), ERR_OK);
    }
    assert_int_equal(join(&r, 1), ERR_LIMIT);
}

/* Broken when what is newer of a member or of its tombstone is not taken, or not passed on. */
static void
what_is_newer_is_taken_and_told(void **state)
{
    (void)state;
    struct roster r;
    struct addr   a = addr_of(1);
    init(&r, 0);
    assert_int_equal(merge(&r, 1, 1, 0, 11), ERR_OK);
    struct member_info renamed = info_of(1, 4, 0, 11);
    renamed.host               = STR("renamed");
    r.dirty                    = false;
    assert_int_equal(roster_merge(&r, now, &renamed), ERR_OK);
    const struct roster_member *m = roster_member(&r, (uint8_t)roster_find(&r, &a));
    assert_int_equal(m->version, 4);
    assert_memory_equal(m->host, "renamed", m->host_bytes);
    assert_int_equal(m->host_bytes, 7);
    assert_true(r.dirty);
    assert_int_equal(merge(&r, 1, 4, MEMBER_FORGOTTEN, 11), ERR_OK);
    r.dirty = false;
    assert_int_equal(merge(&r, 1, 3, MEMBER_FORGOTTEN, 12), ERR_STALE);
    assert_false(r.dirty);
    assert_int_equal(merge(&r, 1, 6, MEMBER_FORGOTTEN, 0), ERR_OK);
    assert_int_equal(roster_tombstone(&r, &a)->version, 6);
    assert_int_equal(roster_tombstone(&r, &a)->nonce, 11); /* none is told: it stays */
    assert_int_equal(merge(&r, 1, 7, MEMBER_FORGOTTEN, 12), ERR_OK);
    assert_int_equal(roster_tombstone(&r, &a)->nonce, 12);
    assert_true(r.dirty);
}

/* Without it a broker that was forgotten in a former life stays forgotten, or one that
 * was forgotten just now does not hear of it. */
static void
a_tombstone_of_ourselves(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    assert_int_equal(merge(&r, 0, 4, MEMBER_FORGOTTEN, 55), ERR_OK);
    assert_int_equal(roster_member(&r, ROSTER_SELF)->version, 5);
    assert_int_equal(merge(&r, 0, 4, MEMBER_FORGOTTEN, 55), ERR_STALE);
    assert_int_equal(merge(&r, 0, 6, MEMBER_FORGOTTEN, 100), ERR_REFUSED);
    assert_int_equal(roster_count(&r), 1);
}

/* Without it the tables overflow. */
static void
a_full_roster_refuses_and_old_tombstones_go(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    for (int i = 1; i < MEMBERS_MAX; i++)
        seed(&r, i);
    struct addr            a    = addr_of(MEMBERS_MAX);
    struct roster_instance who  = {a, STR("host"), 9};
    uint8_t                slot = 0;
    assert_int_equal(roster_seed(&r, now, &a, STR("host")), ERR_LIMIT);
    assert_int_equal(roster_hello(&r, now, &who, &slot), ERR_LIMIT);
    assert_int_equal(merge(&r, MEMBERS_MAX, 3, 0, 0), ERR_LIMIT);
    assert_int_equal(roster_majority(&r), 9);
    a = addr_of(5);
    assert_int_equal(roster_forget(&r, &a), ERR_OK);
    assert_int_equal(roster_majority(&r), 8);
    assert_int_equal(merge(&r, MEMBERS_MAX, 3, 0, 0), ERR_OK);
    for (int i = 0; i < TOMBSTONES_MAX; i++)
        assert_int_equal(merge(&r, 100 + i, 1, MEMBER_FORGOTTEN, 0), ERR_OK);
    assert_null(roster_tombstone(&r, &a));
    assert_int_equal(r.tombstone_count, TOMBSTONES_MAX);
    /* Two full tables must not pass their tombstones back and forth. */
    struct member_info   more = info_of(99, 1, MEMBER_FORGOTTEN, 0);
    struct frame_members f    = {&more, NULL, 1, 0};
    assert_false(roster_merge_frame(&r, now, &f).members);
    assert_non_null(roster_tombstone(&r, &more.addr));
}

/* Without it a name for the loopback address counts as a member of its own for ever. */
static void
an_alias_is_replaced_for_everybody(void **state)
{
    (void)state;
    struct roster r;
    struct addr   dialled = addr_of(1), announced = addr_of(2);
    init(&r, 0);
    seed(&r, 1);
    (void)hello(&r, 2, 22);
    assert_true(roster_alias(&r, &dialled, &announced));
    assert_int_equal(roster_count(&r), 2);
    assert_int_equal(roster_tombstone(&r, &dialled)->version, 1);
    uint8_t slot = 0;
    assert_true(roster_dial_next(&r, now, &slot));
    assert_false(roster_alias(&r, &announced, &dialled)); /* that one was met */
    assert_false(roster_dial_next(&r, now, &slot));
    now.ms += ROSTER_DIAL_MAX_MS;
    assert_true(roster_dial_next(&r, now, &slot)); /* and is looked for again */
    assert_false(roster_alias(&r, &announced, &announced));
    (void)hello(&r, 1, 33); /* it exists after all */
    assert_int_equal(roster_count(&r), 3);
}

/* Without it a peer's bytes stop the broker or plant nonsense. */
static void
hostile_entries_are_ignored(void **state)
{
    (void)state;
    struct roster      r;
    struct member_info bad[] = {info_of(1, UINT64_MAX, 0, 0), info_of(1, 0, 0, 0),
                                info_of(1, 0, 0, 0), info_of(1, 0, 0, 0)};
    bad[1].addr.family       = 7;
    bad[2].addr.port         = 0;
    bad[3].host.n            = 256;
    init(&r, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(roster_merge(&r, now, &bad[i]), ERR_INVALID);
    struct member_row    rows[] = {{200, true, 1, 1, UINT32_MAX}, {3, true, 1, 1, UINT32_MAX}};
    struct frame_members f      = {bad, rows, 4, 2};
    struct roster_news   news   = roster_merge_frame(&r, now, &f);
    assert_int_equal(news.rows, 0);
    assert_false(news.members);
    assert_int_equal(roster_count(&r), 1);
}

/* Without it a name that is long or missing runs over its room, or an address that nobody can
 * dial becomes a member. */
static void
odd_names_and_addresses(void **state)
{
    (void)state;
    struct roster r;
    char          name[HOST_BYTES_MAX + 20];
    struct addr   a = addr_of(1), none = {.family = 4, .ip = {10, 0, 0, 1}}, odd = {.port = 1};
    struct addr   six = {.family = 6, .ip = {1}, .port = 3000};
    memset(name, 'h', sizeof name);
    init(&r, 0);
    assert_int_equal(roster_seed(&r, now, &none, STR("host")), ERR_INVALID);
    assert_int_equal(roster_seed(&r, now, &odd, STR("host")), ERR_INVALID);
    assert_int_equal(roster_seed(&r, now, &six, STR("")), ERR_OK);
    assert_int_equal(roster_seed(&r, now, &a, (struct str){(uint8_t *)name, sizeof name}), ERR_OK);
    assert_int_equal(roster_host(roster_member(&r, 1)).n, 0);
    assert_int_equal(roster_host(roster_member(&r, 2)).n, HOST_BYTES_MAX);
    struct member_list *list = roster_list(&r);
    assert_int_equal(list->count, 3);
    blob_drop(list);
    struct roster_instance nobody[] = {
        {none, STR("h"), 5}, {a, STR("h"), 0}, {addr_of(0), STR("h"), 5}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(roster_hello(&r, now, &nobody[i], &(uint8_t){0}), ERR_INVALID);
    assert_null(roster_member(&r, 3));
    assert_null(roster_member(&r, MEMBERS_MAX));
    roster_link_up(&r, now, 3); /* forgotten between its HELLO and now */
    roster_away(&r, 3);
    assert_int_equal(roster_count(&r), 3);
}

/* Without it a version that nothing can follow makes a member that nobody can remove, or takes
 * a broker out for good that could still come back. */
static void
the_last_version_there_is(void **state)
{
    (void)state;
    const uint64_t last = (UINT64_C(1) << 53) - 1;
    struct roster  r;
    struct addr    a = addr_of(1);
    init(&r, 0);
    assert_int_equal(merge(&r, 1, last, 0, 0), ERR_OK);
    assert_int_equal(roster_forget(&r, &a), ERR_OK);
    assert_int_equal(roster_tombstone(&r, &a)->version, last);
    struct roster_instance back = {a, STR("host"), 77};
    assert_int_equal(roster_hello(&r, now, &back, &(uint8_t){0}), ERR_REFUSED);
    assert_int_equal(merge(&r, 0, last, MEMBER_FORGOTTEN, 4711), ERR_REFUSED);
    assert_int_equal(merge(&r, 0, 3, 0, 0), ERR_OK);
    assert_int_equal(merge(&r, 0, 2, MEMBER_FORGOTTEN, 100), ERR_STALE);
}

/* Without it a frame with more members than there may be runs over the table. */
static void
a_frame_is_read_no_further_than_it_may_be(void **state)
{
    (void)state;
    struct roster      r;
    struct member_info info[MEMBERS_MAX + TOMBSTONES_MAX + 1];
    const uint32_t     count = MEMBERS_MAX + TOMBSTONES_MAX + 1;
    init(&r, 0);
    for (uint32_t i = 0; i < count; i++)
        info[i] = info_of(1, 0, 0, 0);
    info[count - 1]             = info_of(2, 0, 0, 0);
    struct member_row    rows[] = {{(uint8_t)(count - 1), true, 1, 1, UINT32_MAX},
                                   {0, true, 11, 1, UINT32_MAX},
                                   {0, true, 0, 2, 0},
                                   {0, true, 11, 0, 0}};
    struct frame_members f      = {info, rows, count, 4};
    uint32_t             fresh  = roster_merge_frame(&r, now, &f).rows;
    assert_int_equal(fresh, bit(&r, 1));
    assert_int_equal(roster_count(&r), 2); /* the last one was not looked at */
}

/* Without it the instance that came back is taken for the one that it followed. */
static void
an_old_instance_may_come_back(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    uint8_t slot = hello(&r, 1, 11);
    (void)hello(&r, 1, 12);
    assert_int_equal(row(&r, 1, 11, 5, 0), 0); /* its rows are still about */
    (void)hello(&r, 1, 11);                    /* but here it is itself */
    assert_int_equal(roster_member(&r, slot)->nonce, 11);
    assert_int_equal(row(&r, 1, 11, 5, 0), bit(&r, 1));
    assert_int_equal(row(&r, 1, 12, 5, 0), 0);
    now.ms += ROSTER_OLD_MS;
    assert_int_equal(row(&r, 1, 12, 5, 0), bit(&r, 1));
}

/* ---- rows ---- */

/* Without it old rows circle for ever, or a dead instance is seen alive. */
static void
a_row_is_news_once(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    seed(&r, 1);
    assert_int_equal(row(&r, 1, 11, 5, 1), bit(&r, 1));
    assert_int_equal(row(&r, 1, 11, 5, 1), 0);
    assert_int_equal(row(&r, 1, 11, 4, 1), 0);
    assert_int_equal(row(&r, 1, 12, 1, 1), bit(&r, 1)); /* it restarted */
    assert_int_equal(row(&r, 1, 11, 6, 1), 0);          /* a late row of the one before */
    assert_int_equal(row(&r, 1, 0, 9, 1), 0);
    assert_int_equal(row(&r, 0, 100, 9, 1), 0); /* our own comes back */
    roster_link_up(&r, now, hello(&r, 1, 12));
    assert_int_equal(row(&r, 1, 13, 1, 1), 0); /* while 12 is linked nobody else is it */
    roster_link_down(&r, now, 1);
    assert_int_equal(row(&r, 1, 13, 1, 1), bit(&r, 1));
}

/* Without it the reachable set follows links and not what is heard by both. */
static void
edges_need_both_rows_and_end_with_silence(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    for (int i = 1; i < 4; i++)
        seed(&r, i);
    (void)row(&r, 1, 11, 1, 1 | 4); /* names us and 2 */
    (void)row(&r, 2, 12, 1, 2 | 8); /* names 1 and 3 */
    (void)row(&r, 3, 13, 1, 0);     /* names nobody */
    assert_int_equal(roster_reachable(&r, now), 1);
    roster_heard(&r, now, 1);
    assert_int_equal(roster_reachable(&r, now), 1 | bit(&r, 1) | bit(&r, 2));
    (void)row(&r, 3, 13, 2, 4);
    assert_int_equal(roster_reachable(&r, now), 15);
    assert_true(roster_deadline(&r, now).ms <= now.ms + 1000);
    now.ms += ROSTER_HEARD_MS;
    assert_int_equal(roster_reachable(&r, now), 1);
    roster_heard(&r, now, 1);
    assert_int_equal(roster_reachable(&r, now), 15);
    now.ms += ROSTER_LIFE_MS - ROSTER_HEARD_MS;
    roster_heard(&r, now, 1);
    assert_int_equal(roster_reachable(&r, now), 1); /* the rows died */
}

/* Without it who said goodbye is waited for, or never comes back. */
static void
away_lasts_until_a_newer_row(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    uint8_t slot = hello(&r, 1, 11);
    (void)row(&r, 1, 11, 1, 1);
    assert_int_equal(roster_reachable(&r, now), 3);
    roster_away(&r, slot);
    assert_int_equal(roster_reachable(&r, now), 1);
    (void)hello(&r, 1, 11);
    (void)row(&r, 1, 11, 1, 1);
    assert_int_equal(roster_reachable(&r, now), 1);
    (void)row(&r, 1, 11, 2, 1);
    assert_int_equal(roster_reachable(&r, now), 3);
    assert_int_equal(roster_count(&r), 2);
}

/* Without it slots of one broker are read as slots of another. */
static void
a_frame_is_translated_by_address(void **state)
{
    (void)state;
    struct roster       a, b;
    struct roster_frame space;
    init(&b, 2);
    seed(&b, 1);
    init(&a, 0);
    for (int i = 1; i < 4; i++)
        (void)hello(&a, i, (uint64_t)i + 100);
    assert_true(roster_tick(&a, now));
    (void)row(&a, 3, 103, 7, 2);
    struct addr gone = addr_of(1);
    assert_int_equal(merge(&a, 6, 1, MEMBER_FORGOTTEN, 0), ERR_OK);
    struct frame_members f = roster_frame(&a, now, ROSTER_ALL, true, &space);
    assert_int_equal(f.member_count, 5);
    assert_int_equal(f.row_count, 2);
    struct roster_news news = roster_merge_frame(&b, now, &f);
    assert_true(news.members);
    assert_int_equal(news.rows, bit(&b, 0) | bit(&b, 3));
    assert_int_equal(roster_count(&b), 4);
    int slot = __builtin_ctz(bit(&b, 0));
    assert_int_equal(b.slot[slot].row.heard, bit(&b, 1) | bit(&b, 2) | bit(&b, 3));
    news = roster_merge_frame(&b, now, &f);
    assert_false(news.members);
    assert_int_equal(news.rows, 0);
    assert_int_equal(roster_forget(&b, &gone), ERR_OK); /* its bits go with it */
    assert_int_equal(b.slot[slot].row.heard, bit(&b, 2) | bit(&b, 3));
    f = roster_frame(&b, now, bit(&b, 3), false, &space);
    assert_int_equal(f.row_count, 1);
    assert_int_equal(f.member_count, 1);
}

/* Without it rows flood a full mesh, or do not pass round a cut. */
static void
rows_pass_on_to_those_who_do_not_hear_them(void **state)
{
    (void)state;
    struct roster r;
    init(&r, 0);
    for (int i = 1; i < 4; i++)
        seed(&r, i);
    (void)row(&r, 1, 11, 1, 4);
    (void)row(&r, 2, 12, 1, 2 | 8);
    (void)row(&r, 3, 13, 1, 2);
    assert_false(roster_should_relay(&r, now, 1, 2));
    assert_true(roster_should_relay(&r, now, 2, 3)); /* 3 does not hear 2 */
    assert_true(roster_should_relay(&r, now, 1, 3));
    assert_false(roster_should_relay(&r, now, 1, 1));
    assert_false(roster_should_relay(&r, now, 1, ROSTER_SELF));
    assert_false(roster_should_relay(&r, now, 7, 2));
    assert_true(roster_should_relay(&r, now, ROSTER_SELF, 2));
    now.ms += ROSTER_LIFE_MS;
    assert_false(roster_should_relay(&r, now, 1, 3));
}

/* Without it a paused broker believes itself alone, and spreads an old picture. */
static void
a_stall_judges_nobody(void **state)
{
    (void)state;
    struct roster       r;
    struct roster_frame space;
    init(&r, 0);
    (void)hello(&r, 1, 11);
    (void)row(&r, 1, 11, 1, 1);
    assert_false(roster_stalled(&r, now));
    assert_true(roster_tick(&r, now));
    assert_false(roster_tick(&r, now));
    now.ms += 2000; /* a second late is not yet a stall */
    assert_false(roster_stalled(&r, now));
    assert_true(roster_tick(&r, now));
    (void)row(&r, 1, 11, 2, 1);
    roster_heard(&r, now, 1);
    now.ms += 60000;
    assert_true(roster_stalled(&r, now));
    assert_false(roster_stalled(&r, now));
    assert_true(roster_tick(&r, now));
    assert_int_equal(roster_reachable(&r, now), 3);
    assert_int_equal(roster_frame(&r, now, ROSTER_ALL, true, &space).row_count, 1);
    assert_false(roster_should_relay(&r, now, 1, 2));
    (void)row(&r, 1, 11, 9, 0); /* written while we were silent */
    assert_int_equal(roster_reachable(&r, now), 3);
    assert_int_equal(roster_frame(&r, now, ROSTER_ALL, true, &space).row_count, 2);
    now.ms += ROSTER_HEARD_MS;
    assert_int_equal(roster_reachable(&r, now), 1);
}

/* Without it a broker is able before its time, or with a broken disk. */
static void
able_means_a_disk_and_three_seconds(void **state)
{
    (void)state;
    struct roster      r;
    struct roster_view view;
    init(&r, 0);
    assert_true(roster_tick(&r, now));
    now.ms += 2000;
    assert_true(roster_tick(&r, now));
    assert_int_equal(roster_deadline(&r, now).ms, now.ms + 1000);
    now.ms += 999;
    assert_false(roster_is_able(&r, now));
    now.ms += 1;
    assert_true(roster_tick(&r, now));
    roster_view(&r, now, &view);
    assert_int_equal(view.able, 1);
    assert_true(view.all_tried);
    roster_disk(&r, false);
    assert_true(roster_tick(&r, now)); /* told at once */
    assert_int_equal(r.slot[ROSTER_SELF].row.count, 4);
    roster_view(&r, now, &view);
    assert_int_equal(view.able, 0);
}

/* ---- dials ---- */

/* Without it a dead member is dialled in a loop, or a live one late. */
static void
dials_back_off(void **state)
{
    (void)state;
    struct roster      r;
    struct roster_view view;
    struct addr        a        = addr_of(1);
    uint8_t            slot     = 0;
    uint64_t           delay_ms = 0;
    init(&r, 0);
    assert_false(roster_dial_next(&r, now, &slot));
    seed(&r, 1);
    assert_true(roster_dial_next(&r, now, &slot));
    assert_int_equal(slot, 1);
    assert_false(roster_dial_next(&r, now, &slot)); /* it is on its way */
    roster_view(&r, now, &view);
    assert_false(view.all_tried);
    now.ms += ROSTER_DIAL_LONG_MS;
    roster_view(&r, now, &view);
    assert_true(view.all_tried);
    for (uint64_t want = 100; want <= 6400; want *= 2) {
        roster_dial_failed(&r, now, &a);
        delay_ms      = r.slot[1].dial.next.ms - now.ms;
        uint64_t most = want < 2000 ? want : 2000;
        assert_in_range(delay_ms, most - most / 4, most);
        assert_false(roster_dial_next(&r, now, &slot));
        now.ms += delay_ms;
        assert_true(roster_dial_next(&r, now, &slot));
    }
    roster_link_up(&r, now, slot);
    assert_int_equal(roster_linked(&r), 2);
    now.ms += 60000;
    assert_false(roster_dial_next(&r, now, &slot));
    roster_link_down(&r, now, 1);
    assert_true(roster_dial_next(&r, now, &slot)); /* first at once */
    roster_link_up(&r, now, slot);
    roster_link_down(&r, now, slot);
    assert_false(roster_dial_next(&r, now, &slot)); /* a link of no time is a failure */
    a = addr_of(7);
    roster_dial_failed(&r, now, &a);
}

/* Without it a restarted broker knows only its peers file, and takes back the forgotten. */
static void
the_roster_survives_a_restart(void **state)
{
    (void)state;
    struct roster r, again;
    init(&r, 0);
    assert_false(roster_is_dirty(&r));
    (void)hello(&r, 1, 11);
    assert_int_equal(merge(&r, 2, 3, MEMBER_FORGOTTEN, 22), ERR_OK);
    assert_true(roster_is_dirty(&r));
    struct member_list *list = roster_list(&r);
    assert_false(roster_is_dirty(&r));
    roster_unsaved(&r);
    assert_true(roster_is_dirty(&r));
    assert_int_equal(list->count, 3);
    memset(&r, 0xff, sizeof r); /* the list owns its hosts */
    struct recovered     was = {.member = list->at, .member_count = list->count};
    struct roster_config c   = {addr_of(0), STR("host"), 200, 7, &was};
    roster_init(&again, &c, now);
    blob_drop(list);
    assert_int_equal(roster_count(&again), 2);
    struct str host = roster_host(roster_member(&again, 1));
    assert_true(str_eq(host, STR("host")));
    assert_int_equal(roster_member(&again, 1)->nonce, 11);
    struct addr a = addr_of(2);
    assert_int_equal(roster_tombstone(&again, &a)->version, 3);
    assert_int_equal(roster_tombstone(&again, &a)->nonce, 22);
    assert_false(roster_is_dirty(&again));

    struct member_info   bad    = info_of(3, UINT64_MAX, 0, 0);
    struct recovered     broken = {.member = &bad, .member_count = 1};
    struct roster_config odd    = {addr_of(0), STR("host"), 300, 7, &broken};
    roster_init(&again, &odd, now);
    assert_int_equal(roster_count(&again), 1);
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(the_greater_version_wins_and_a_tie_forgets),
        cmocka_unit_test(a_forgotten_instance_is_refused_and_a_new_one_readded),
        cmocka_unit_test(what_is_newer_is_taken_and_told),
        cmocka_unit_test(who_is_joined_is_called),
        cmocka_unit_test(a_tombstone_of_ourselves),
        cmocka_unit_test(a_full_roster_refuses_and_old_tombstones_go),
        cmocka_unit_test(an_alias_is_replaced_for_everybody),
        cmocka_unit_test(hostile_entries_are_ignored),
        cmocka_unit_test(odd_names_and_addresses),
        cmocka_unit_test(the_last_version_there_is),
        cmocka_unit_test(a_frame_is_read_no_further_than_it_may_be),
        cmocka_unit_test(an_old_instance_may_come_back),
        cmocka_unit_test(a_row_is_news_once),
        cmocka_unit_test(edges_need_both_rows_and_end_with_silence),
        cmocka_unit_test(away_lasts_until_a_newer_row),
        cmocka_unit_test(a_frame_is_translated_by_address),
        cmocka_unit_test(rows_pass_on_to_those_who_do_not_hear_them),
        cmocka_unit_test(a_stall_judges_nobody),
        cmocka_unit_test(able_means_a_disk_and_three_seconds),
        cmocka_unit_test(dials_back_off),
        cmocka_unit_test(the_roster_survives_a_restart),
    };
    return cmocka_run_group_tests_name("roster", test, NULL, NULL);
}
