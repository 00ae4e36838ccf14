/* store_mem_part.h - what the files of store_mem share; nobody else includes it.
 *
 *   store_mem.c  life, commits     store_mem_retain.c  what expires, what is kept
 *   store_mem_read.c  reads */
#ifndef STORE_STORE_MEM_PART_H
#define STORE_STORE_MEM_PART_H

#include "base/map.h"
#include "store/store_mem.h"
#include "store/store_page.h"

struct kept_batch {
    struct batch *batch; /* one reference */
    uint64_t      lsn;
    struct wall   received;
    bool          late;
};

struct mem_stream {
    struct stream_state state; /* origin, owed and floor_owed lie in blobs below */
    struct wall         received;
    struct batch       *origin_of; /* one reference to the batch that its origin lies in */
    struct mark_list   *head_owed, *floor_owed; /* one reference each, or NULL */
};

/* By number: at[number - 1]. */
struct mem_topic {
    struct str    name; /* in `last` */
    struct batch *last; /* one reference: some batch that names it */
    uint64_t      lamport;
    struct mark   newest;
    struct batch *kept; /* its newest message when that was taken; or NULL */
};

struct store_mem {
    struct kept_batch  *at; /* by lsn */
    uint32_t            count, cap;
    struct mem_stream  *stream; /* by id */
    uint32_t            stream_count, stream_cap;
    struct mem_topic   *topic;
    uint32_t            topic_count, topic_cap;
    struct map          topic_by_name; /* value: number, as a pointer */
    struct member_list *members;       /* one reference; NULL: never stored */
    struct token        token;
    uint64_t            epoch, lsn;

    /* Of the process, not of the disk. */
    struct recovered recovered;
    bool             is_refusing;
    uint32_t         fail_in, fail_count; /* transactions until the first failure; failures */
    enum err         fail_err;
};

/* ---- store_mem.c ---- */

struct mem_stream *mem_stream_find(const struct store_mem *m, uint64_t stream);

/* How many of its messages are digests alone. */
uint32_t mem_digests(const struct batch *b);

/* ---- store_mem_retain.c ---- */

/* Made on demand; `from` is a batch that names it. */
struct mem_topic *mem_topic_of(struct store_mem *m, struct str name, struct batch *from);
/* A message of it was stored. */
void mem_topic_count(struct mem_topic *t, uint64_t lamport, struct mark mark);
/* The one message of `b` is kept when it is the newest of its topic. */
void mem_keep(struct store_mem *m, struct batch *b);
/* A gap's floor jump. */
void mem_floor_jump(struct mem_stream *st, const struct batch *gap);
void mem_topics_fini(struct store_mem *m);
void mem_topics_copy(struct store_mem *to, const struct store_mem *from);

#endif
