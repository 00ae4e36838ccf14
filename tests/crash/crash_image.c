#include "tests/crash/crash_image.h"

#include "base/check.h"
#include "base/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SECTOR = 512, NODES_MAX = 256, NONE = -1 };

struct content {
    uint8_t *p;
    size_t   n, cap;
};

struct image {
    const struct vfs_log *log;
    uint32_t              at;
    bool                  lies;
    struct content        sure[NODES_MAX];
    int                   name[VFS_NAMES_MAX]; /* the node that surely bears it */
    uint32_t             *loose;               /* entries, in order */
    uint32_t              loose_count, loose_cap;
};

struct image *
image_new(const struct vfs_log *log)
{
    struct image *m = mem_new(sizeof *m);
    m->log          = log;
    for (int i = 0; i < VFS_NAMES_MAX; i++)
        m->name[i] = NONE;
    return m;
}

void
image_free(struct image *m)
{
    for (int i = 0; i < NODES_MAX; i++)
        mem_free(m->sure[i].p);
    mem_free(m->loose);
    mem_free(m);
}

uint32_t
image_at(const struct image *m)
{
    return m->at;
}

uint32_t
image_loose(const struct image *m)
{
    return m->loose_count;
}

/* ---- contents ---- */

/* Zeros fill what lies between. */
static void
resize(struct content *c, size_t n)
{
    if (n > c->cap) {
        c->cap = n + n / 4 + SECTOR;
        c->p   = mem_resize(c->p, c->cap);
    }
    if (n > c->n)
        memset(c->p + c->n, 0, n - c->n);
    c->n = n;
}

static void
put(struct content *c, const uint8_t *p, size_t n, size_t at)
{
    if (n == 0)
        return;
    if (at + n > c->n)
        resize(c, at + n);
    memcpy(c->p + at, p, n);
}

static void
copy(struct content *to, const struct content *from)
{
    resize(to, 0);
    put(to, from->p, from->n, 0);
}

static void
apply(struct content *c, const struct vfs_op *op)
{
    if (op->kind == VFS_WRITE)
        put(c, op->bytes, op->n, op->at);
    else if (op->kind == VFS_TRUNCATE)
        resize(c, op->at);
}

static void
apply_torn(struct content *c, const struct vfs_op *op, struct prng *random)
{
    for (size_t done = 0, n; done < op->n; done += n) {
        size_t at = op->at + done;
        n         = SECTOR - at % SECTOR;
        n         = n < op->n - done ? n : op->n - done;
        if (prng_below(random, 2))
            put(c, op->bytes + done, n, at);
    }
}

/* ---- what is sure ---- */

static bool
is_of_names(const struct vfs_op *op)
{
    return op->kind == VFS_CREATE || op->kind == VFS_DELETE || op->kind == VFS_RENAME;
}

static void
apply_name(int name[], const struct vfs_op *op)
{
    if (op->kind == VFS_CREATE)
        name[op->name] = (int)op->node;
    else if (op->kind == VFS_DELETE)
        name[op->name] = NONE;
    else if (name[op->name] != NONE) {
        name[op->to]   = name[op->name];
        name[op->name] = NONE;
    }
}

static bool
settles(const struct vfs_op *sync, const struct vfs_op *op)
{
    if (sync->kind == VFS_SYNC_FOLDER)
        return is_of_names(op);
    return !is_of_names(op) && op->node == sync->node;
}

static void
settle(struct image *m, const struct vfs_op *sync)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < m->loose_count; i++) {
        const struct vfs_op *op = &m->log->op[m->loose[i]];
        if (!settles(sync, op))
            m->loose[left++] = m->loose[i];
        else if (is_of_names(op))
            apply_name(m->name, op);
        else
            apply(&m->sure[op->node], op);
    }
    m->loose_count = left;
}

void
image_step(struct image *m)
{
    const struct vfs_op *op = &m->log->op[m->at];
    CHECK(m->at < m->log->count && m->log->nodes <= NODES_MAX);
    if (op->kind == VFS_SYNC || op->kind == VFS_SYNC_FOLDER) {
        if (!m->lies)
            settle(m, op);
        m->at++;
        return;
    }
    if (m->loose_count == m->loose_cap) {
        m->loose_cap = m->loose_cap > 0 ? m->loose_cap * 2 : 256;
        m->loose     = mem_resize(m->loose, m->loose_cap * sizeof *m->loose);
    }
    m->loose[m->loose_count++] = m->at++;
}

void
image_lies(struct image *to, const struct image *m)
{
    for (int i = 0; i < NODES_MAX; i++)
        copy(&to->sure[i], &m->sure[i]);
    memcpy(to->name, m->name, sizeof to->name);
    to->at          = m->at;
    to->lies        = true;
    to->loose_count = 0;
    to->loose_cap   = m->loose_count + 1;
    to->loose       = mem_resize(to->loose, to->loose_cap * sizeof *to->loose);
    for (uint32_t i = 0; i < m->loose_count; i++)
        to->loose[to->loose_count++] = m->loose[i];
}

/* ---- onto a disk ---- */

static void
write_file(const char *dir, const char *name, const struct content *c)
{
    char path[PATH_MAX];
    int  n  = snprintf(path, sizeof path, "%s/%s", dir, name);
    int  fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    CHECK(n > 0 && (size_t)n < sizeof path && fd >= 0);
    for (size_t done = 0; done < c->n;) {
        ssize_t wrote = write(fd, c->p + done, c->n - done);
        CHECK(wrote > 0);
        done += (size_t)wrote;
    }
    close(fd);
}

/* What becomes of an entry that is not sure. */
static void
apply_loosely(struct content now[], int name[], const struct vfs_op *op, uint64_t there_of_ten,
              struct prng *random)
{
    bool there = prng_below(random, 10) < there_of_ten;
    if (is_of_names(op)) {
        if (there)
            apply_name(name, op);
    } else if (there) {
        apply(&now[op->node], op);
    } else if (op->kind == VFS_WRITE && prng_below(random, 2)) {
        apply_torn(&now[op->node], op, random);
    }
}

/* Only of what has a name, or may get one. */
static struct content *
copy_sure(const struct image *m)
{
    struct content *now             = mem_new(NODES_MAX * sizeof *now);
    bool            used[NODES_MAX] = {0};
    for (int i = 0; i < VFS_NAMES_MAX; i++)
        if (m->name[i] != NONE)
            used[m->name[i]] = true;
    for (uint32_t i = 0; i < m->loose_count; i++)
        used[m->log->op[m->loose[i]].node] = true;
    for (int i = 0; i < NODES_MAX; i++)
        if (used[i])
            copy(&now[i], &m->sure[i]);
    return now;
}

void
image_write(const struct image *m, enum image_kind kind, struct prng *random, const char *dir)
{
    struct content      *now   = copy_sure(m);
    uint64_t             there = kind == IMAGE_TORN ? prng_below(random, 10) : 10;
    uint32_t             n     = m->loose_count;
    const struct vfs_op *torn  = NULL;
    int                  name[VFS_NAMES_MAX];
    memcpy(name, m->name, sizeof name);
    if (kind == IMAGE_NONE)
        n = 0;
    if (kind == IMAGE_PREFIX)
        n = (uint32_t)prng_below(random, n + 1);
    for (uint32_t i = 0; i < n; i++)
        apply_loosely(now, name, &m->log->op[m->loose[i]], there, random);
    if (kind == IMAGE_PREFIX && n < m->loose_count)
        torn = &m->log->op[m->loose[n]];
    if (torn && torn->kind == VFS_WRITE)
        apply_torn(&now[torn->node], torn, random);
    for (int i = 0; i < VFS_NAMES_MAX; i++)
        if (name[i] != NONE)
            write_file(dir, m->log->name[i], &now[name[i]]);
    for (int i = 0; i < NODES_MAX; i++)
        mem_free(now[i].p);
    mem_free(now);
}
