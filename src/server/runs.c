#include "server/runs.h"

#include "base/check.h"

void
runs_init(struct runs *r)
{
    *r = (struct runs){0};
    for (uint32_t i = 0; i < RUNS_MAX; i++) {
        place_init(&r->at[i].from);
        place_init(&r->at[i].to);
        buf_init(&r->at[i].bytes, 0);
    }
}

void
runs_clear(struct runs *r)
{
    for (uint32_t i = 0; i < RUNS_MAX; i++) {
        place_fini(&r->at[i].from);
        place_fini(&r->at[i].to);
        buf_fini(&r->at[i].bytes);
    }
    runs_init(r);
}

static bool
fits(const struct run *run, size_t room)
{
    return run->bytes.n <= room || run->messages + run->gaps == 1;
}

/* The newest first. */
const struct run *
runs_find(const struct runs *r, const struct broker *b, uint64_t session, enum face face,
          size_t room)
{
    for (uint32_t i = 1; i <= RUNS_MAX; i++) {
        const struct run *run = &r->at[(r->next + RUNS_MAX - i) % RUNS_MAX];
        if (run->bytes.n > 0 && run->face == face && fits(run, room) &&
            broker_is_at(b, session, &run->from))
            return run;
    }
    return NULL;
}

struct run *
run_begin(struct runs *r, const struct broker *b, uint64_t session, enum face face)
{
    struct run *run = &r->at[r->next];
    buf_reset(&run->bytes);
    run->messages = run->gaps = 0;
    run->note                 = 0;
    run->face                 = face;
    return broker_place(b, session, &run->from) ? run : NULL;
}

static void
drop_bytes(struct runs *r, struct run *run)
{
    r->held -= run->bytes.cap;
    buf_clear_free(&run->bytes);
}

static void
keep_bytes(struct runs *r, struct run *run, struct str bytes)
{
    drop_bytes(r, run);
    CHECK(buf_add(&run->bytes, bytes) == ERR_OK);
    buf_fit(&run->bytes);
    r->held += run->bytes.cap;
    for (uint32_t i = 1; r->held > RUNS_BYTES_MAX && i < RUNS_MAX; i++)
        drop_bytes(r, &r->at[(r->next + i) % RUNS_MAX]);
}

void
run_end(struct runs *r, struct run *run, const struct broker *b, uint64_t session, struct str bytes)
{
    if (bytes.n == 0 || bytes.n > RUNS_BYTES_MAX || !broker_place(b, session, &run->to))
        return;
    keep_bytes(r, run, bytes);
    r->next = (r->next + 1) % RUNS_MAX;
}
