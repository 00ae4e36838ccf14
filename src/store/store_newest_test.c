/* Flipped bits in what GET /latest answers with. */
#include "base/trace.h"
#include "tests/store_kit.h"

static void
commit(struct disk *d, enum commit_kind kind, struct batch *b)
{
    struct commit        c = {.kind = kind, .batch = b};
    struct commit_result r;
    disk_commit(d, &c, 1, 7777, &r);
    assert_int_equal(r.err, ERR_OK);
}

/* Of "t"; 0: what there is of it cannot be read. */
static void
assert_newest(const struct disk *d, uint64_t seq, const char *after)
{
    struct page *p = NULL;
    enum err     e = store_latest(d->s, STR("t"), &p);
    if (e != (seq > 0 ? ERR_OK : ERR_CORRUPT) || (p && p->entry->mark.seq != seq))
        fail_msg("%d, message %d after %s", e, p ? (int)p->entry->mark.seq : 0, after);
    page_drop(p);
}

static void
start_anew(struct disk *d)
{
    disk_stop(d);
    disk_start(d);
}

/* Without it a broker whose newest message of a topic is damaged answers otherwise than one that
 * got its digest alone from it; or goes on with the older one when it is mended. */
static void
the_newest_is_one_that_can_be_read(void **state)
{
    static const char *const wound[] = {
        "UPDATE messages SET body = 'x' WHERE lsn = 4",
        "UPDATE messages SET headers = 'a: b' WHERE lsn = 4",
        "UPDATE messages SET seq = seq + 1 WHERE lsn = 4",
        "UPDATE messages SET lamport = lamport + 8 WHERE lsn = 4",
        "DELETE FROM messages WHERE lsn = 4",
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof wound / sizeof *wound; i++) {
        struct disk   d;
        struct writer w = kit_writer(7);
        disk_open(&d, false);
        disk_put(&d, kit_batch(&w, 2, "t"), 1);
        struct batch *b = kit_batch(&w, 2, "t");
        blob_keep(b);
        disk_put(&d, b, 1);
        assert_newest(&d, 4, "nothing");
        assert_true(disk_execute(&d, wound[i / 2]) > 0);
        for (int round = 0; round < 2; round++) {
            assert_newest(&d, 3, wound[i / 2]);
            if (i % 2)
                start_anew(&d);
        }
        commit(&d, COMMIT_REPAIR, b);
        assert_newest(&d, 4, wound[i / 2]);
        start_anew(&d);
        assert_newest(&d, 4, wound[i / 2]);
        blob_drop(b);
        disk_close(&d);
    }
}

/* Without it what is damaged in `kept` stays so, or is believed, though a peer tells what it
 * was. */
static void
what_is_kept_is_dropped_or_mended(void **state)
{
    static const char *const wound[] = {
        "UPDATE kept SET body = 'x'",
        "UPDATE kept SET headers = 'x: y'",
        "UPDATE kept SET digest = 7",
        "UPDATE kept SET seq = seq + 1",
        "UPDATE kept SET stream = stream + 1",
        "UPDATE kept SET topic = topic + 64",
        "UPDATE kept SET digest = zeroblob(16)",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wound / sizeof *wound; i++) {
        struct disk   d;
        struct writer w = kit_writer(7);
        disk_open(&d, false);
        struct batch *b = kit_batch(&w, 1, "t");
        commit(&d, COMMIT_LATEST, b);
        assert_newest(&d, 1, "nothing");
        assert_true(disk_execute(&d, wound[i]) > 0);
        for (int round = 0; round < 3; round++)
            assert_newest(&d, 0, wound[i]);
        commit(&d, COMMIT_LATEST, b);
        assert_newest(&d, 1, wound[i]);
        blob_drop(b);
        disk_close(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test(the_newest_is_one_that_can_be_read),
        cmocka_unit_test(what_is_kept_is_dropped_or_mended),
    };
    kit_quiet();
    return cmocka_run_group_tests_name("newest", test, NULL, NULL);
}
