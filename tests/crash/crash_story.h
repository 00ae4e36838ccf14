/* crash_story.h - what happens to a store: operations drawn from a seed, on the production store
 * and, where they succeed, on store_mem, which says what has to be there.
 *
 * Whatever is not as it must be ends the process with exit code STORY_FAILED and says so. */
#ifndef TESTS_CRASH_CRASH_STORY_H
#define TESTS_CRASH_CRASH_STORY_H

#include "base/prng.h"
#include "core/page.h"
#include "store/store.h"
#include "store/store_mem.h"

/* STORY_AFTER is a stream that no story has. */
enum { STORY_WRITERS = 5, STORY_MEMBERS = 6, STORY_FAILED = 70, STORY_AFTER = 7 };

struct story_writer {
    uint64_t       stream, next, lamport;
    struct hash128 chain;
};

/* Everything that was ever handed to a commit. */
struct story_truth {
    struct batch **at; /* one reference each */
    uint32_t       count, cap;
};

struct story {
    const char             *dir;
    bool                    is_small; /* few messages: to be told some thousand times */
    bool                    may_fail; /* what fails is tried again once vfs_fail() is over */
    struct prng             random;
    struct store           *store;
    struct store_reader    *reader;
    const struct recovered *found;
    struct store_mem       *mem;
    struct story_writer     writer[STORY_WRITERS];
    struct story_truth      truth;
    struct batch           *damaged; /* stored without some texts; borrowed from truth */
    uint64_t                streams, epoch;
    int64_t                 clock; /* milliseconds; no two batches are of the same */
    uint32_t                failures;
    bool                    is_condemned; /* the next start may put the file aside */
};

/* `where` is said when something is not as it must be. */
extern char    story_where[256];
_Noreturn void story_fail(const char *file, int line, const char *what);
/* Leaves both texts in files. */
_Noreturn void story_differs(struct str heard, struct str told);
#define MUST(is) ((is) ? (void)0 : story_fail(__FILE__, __LINE__, #is))

/* Nothing is open yet; dir is an empty folder and stays the caller's. */
void story_init(struct story *s, uint64_t seed, const char *dir);
void story_fini(struct story *s);
void story_open(struct story *s);
void story_close(struct story *s);
/* The next operation; what it is. */
const char *story_step(struct story *s);
/* A large commit; five of them in a row fill the WAL. */
void story_load(struct story *s);
/* The file is found broken: the next start puts it aside, and an empty one takes its place.  It
 * may do so too where this failed. */
void story_condemn(struct story *s);

/* What must be there now, as text. */
void story_tell(struct story *s, struct buf *out);
/* What a store says, as text. */
void story_hear(struct store *store, struct store_reader *reader, const struct recovered *found,
                const char *dir, struct buf *out);
/* Whatever it says is what was written, though some of it may be lost; how much it says. */
uint32_t story_believe(const struct story_truth *truth, struct store_reader *reader, uint64_t lsn);

/* A folder for files that need not outlive the test, where it is fast. */
void story_folder(char dir[64]);
void story_folder_empty(const char *dir);
void story_folder_gone(const char *dir);

#endif
