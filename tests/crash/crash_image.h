/* crash_image.h - what a disk may hold when power fails behind the first k entries of a log.
 *
 * Sure is what was synced: of a file since it was made, of names since their folder was.  Of all
 * that came later each piece is there or not, whatever came before or after it; of a write each
 * sector of 512 bytes by itself.  A sector is never half old, half new; what a write does not
 * name stays as it was, also in the same sector (SQLite's POWERSAFE_OVERWRITE).
 *
 * A disk that lies says that it synced and did not: image_lies(). */
#ifndef TESTS_CRASH_CRASH_IMAGE_H
#define TESTS_CRASH_CRASH_IMAGE_H

#include "base/prng.h"
#include "tests/crash/vfs_log.h"

struct image;

enum image_kind {
    IMAGE_ALL,    /* as if the process alone had died */
    IMAGE_NONE,   /* nothing that was not synced */
    IMAGE_TORN,   /* some of it, by sectors */
    IMAGE_PREFIX, /* all that came before some moment, the last write torn */
};

struct image *image_new(const struct vfs_log *log);
void          image_free(struct image *m);
/* The next entry of the log happened. */
void     image_step(struct image *m);
uint32_t image_at(const struct image *m);
/* How many entries are not sure yet. */
uint32_t image_loose(const struct image *m);
/* From now on no sync has an effect in `to`, which becomes what `m` is. */
void image_lies(struct image *to, const struct image *m);
/* Writes the files into an empty folder. */
void image_write(const struct image *m, enum image_kind kind, struct prng *random, const char *dir);

#endif
