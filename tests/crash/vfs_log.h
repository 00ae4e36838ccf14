/* vfs_log.h - a VFS over SQLite's own for this system: files are real, and what is done to
 * them is logged, or fails when told.
 *
 * Logged is what a power failure may take back: writes, truncates, syncs, and the making,
 * removing and renaming of names until their folder is synced.  The index of a WAL (-shm) is
 * not: a start makes it anew.  What the store does to files beside SQLite comes here by the
 * linker (--wrap, see crash.mk). */
#ifndef TESTS_CRASH_VFS_LOG_H
#define TESTS_CRASH_VFS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VFS_NAMES_MAX = 32 };

enum vfs_kind {
    VFS_WRITE,
    VFS_TRUNCATE, /* to `at` bytes */
    VFS_SYNC,
    VFS_CREATE, /* `name` is node now */
    VFS_DELETE,
    VFS_RENAME, /* from `name` to `to` */
    VFS_SYNC_FOLDER,
};

/* A node is a file whatever its name is; nodes count from 0 in the order they were made. */
struct vfs_op {
    enum vfs_kind kind;
    uint32_t      node, name, to;
    uint64_t      at;
    size_t        n;
    uint8_t      *bytes;
};

struct vfs_log {
    struct vfs_op *op;
    uint32_t       count, cap;
    char           name[VFS_NAMES_MAX][64];
    uint32_t       names, nodes;
};

/* Becomes the default VFS, once. */
void vfs_log_register(void);
/* Everything that happens in the empty folder `dir`, until vfs_log_end(). */
void                  vfs_log_begin(const char *dir);
void                  vfs_log_end(void);
const struct vfs_log *vfs_log(void);
void                  vfs_log_forget(void);

/* ---- failing ---- */

enum vfs_call {
    CALL_READ,
    CALL_WRITE,
    CALL_TRUNCATE,
    CALL_SYNC,
    CALL_OPEN,
    CALL_DELETE,
    CALL_INDEX,  /* of the WAL: its memory */
    CALL_BESIDE, /* SQLite: open, write, rename and unlink by the store itself */
    CALL_MALLOC, /* by SQLite */
    CALL_MEM,    /* by base/mem */
};

/* The k-th call of that kind from now on fails (1: the next), and with `stays` all of them
 * from there. */
void vfs_fail(enum vfs_call call, uint64_t k, bool stays, int error);
/* From now on none does. */
void vfs_heal(void);
/* How often it failed. */
uint64_t vfs_failed(void);
/* SQLite takes its memory from here; first of all that a program does with it. */
void vfs_take_malloc(void);

#endif
