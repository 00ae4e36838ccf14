#include "tests/unit.h"

#include "story.h"

#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
has_settled(struct sim *s)
{
    return sim_is_level(s) && sim_has_coordinator(s);
}

struct sim *
story_cluster(uint32_t brokers)
{
    struct sim *s = sim_new(&(struct sim_config){.seed = 1, .brokers = brokers});
    sim_start_all(s);
    story_settle(s, 8000);
    return s;
}

void
story_settle(struct sim *s, uint64_t ms_max)
{
    if (!sim_until(s, has_settled, ms_max))
        fail_msg("not settled after %llu ms:\n%s", (unsigned long long)ms_max, sim_story(s));
}

void
story_quiet(void)
{
    trace_set_sink(trace_drop, NULL);
}

static void
compare(const char *path, const char *story)
{
    static char golden[256 << 10];
    FILE       *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is missing; `make golden` writes it from:\n%s", path, story);
    size_t n = fread(golden, 1, sizeof golden - 1, f);
    fclose(f);
    golden[n] = 0;
    if (strcmp(golden, story) != 0)
        fail_msg("the story differs from %s (`make golden` rewrites it):\n%s", path, story);
}

void
story_ends(struct sim *s, const char *name)
{
    char path[256];
    oracle_check(s);
    snprintf(path, sizeof path, "tests/scenario/golden/%s.txt", name);
    if (getenv("GOLDEN")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(sim_story(s), f);
        fclose(f);
    }
    compare(path, sim_story(s));
    sim_free(s);
}
