#include "sim/tally.h"

#include <stdarg.h>

/* Fewer seeds need not meet all there is.  Less than so many percent of them is by luck. */
enum { SEEDS_FOR_ALL = 200, SHARE_MIN = 5, S_MAX = 19, L_MAX = 7 };

static const char *const rare_name[] = {
#define RARE(name, text) #name,
#include "sim/rare.def"
};
static const char *const rare_text[] = {
#define RARE(name, text) text,
#include "sim/rare.def"
};

void
tally_add(struct tally *t, const struct swarm_report *r, uint64_t cpu_us)
{
    struct swarm_report *sum = &t->sum;
    t->seeds++;
    if (!swarm_counts(r) && t->too_small++ == 0)
        t->small_seed = r->seed;
    t->virtual_ms[r->brokers] += r->virtual_ms;
    t->cpu_us[r->brokers] += cpu_us;
    sum->virtual_ms += r->virtual_ms;
    sum->events += r->events;
    sum->publishes += r->publishes;
    sum->mended += r->mended;
    for (int k = 0; k < RARE_END; k++) {
        sum->rare[k] += r->rare[k];
        t->with[k] += r->rare[k] > 0;
    }
    for (int f = 0; f < FAULT_END; f++) {
        sum->fired[f] += r->fired[f];
        t->fired[f] += r->fired[f] > 0;
    }
    for (int k = 0; k <= S_MAX; k++)
        sum->checks.s[k] += r->checks.s[k];
    for (int k = 0; k <= L_MAX; k++)
        sum->checks.l[k] += r->checks.l[k];
}

static unsigned long long
ull(uint64_t n)
{
    return n;
}

static double
percent(const struct tally *t, uint64_t seeds)
{
    return t->seeds > 0 ? 100.0 * (double)seeds / (double)t->seeds : 0;
}

static void
print_speed(const struct tally *t, FILE *to)
{
    uint64_t cpu_us = 0;
    for (int n = 1; n <= SWARM_BROKERS_MAX; n++)
        cpu_us += t->cpu_us[n];
    fprintf(to, "%.1f h of virtual time in %.1f s of one core; with so many brokers, x real time:",
            (double)t->sum.virtual_ms / 3.6e6, (double)cpu_us / 1e6);
    for (int n = 1; n <= SWARM_BROKERS_MAX; n++)
        if (t->cpu_us[n] > 0)
            fprintf(to, "  %d: %.0f", n, (double)t->virtual_ms[n] * 1000 / (double)t->cpu_us[n]);
    fputs("\n", to);
}

/* How often, and in which share of the seeds. */
static void
print_rare(const struct tally *t, FILE *to)
{
    fputs("happened:", to);
    for (int k = 0; k < RARE_END; k++)
        fprintf(to, "  %s %llu (%.1f %%)", rare_name[k], ull(t->sum.rare[k]),
                percent(t, t->with[k]));
    fprintf(to, "  mended %llu\nfired:", ull(t->sum.mended));
    for (int f = 0; f < FAULT_END; f++)
        fprintf(to, "  %s %llu (%.0f %%)", fault_name((enum fault)f), ull(t->sum.fired[f]),
                percent(t, t->fired[f]));
}

void
tally_print(const struct tally *t, FILE *to)
{
    const struct swarm_report *s = &t->sum;
    fprintf(to, "%llu seeds: %llu events, %llu publishes acknowledged\n", ull(t->seeds),
            ull(s->events), ull(s->publishes));
    print_speed(t, to);
    if (t->too_small > 0)
        fprintf(to, "%llu do not count (publishes < %d, or no fault): %llu and on\n",
                ull(t->too_small), SWARM_PUBLISHES_MIN, ull(t->small_seed));
    print_rare(t, to);
    fputs("\nlooked at:", to);
    for (int k = 1; k <= S_MAX; k++)
        fprintf(to, "  S%d %llu", k, ull(s->checks.s[k]));
    for (int k = 1; k <= L_MAX; k++)
        fprintf(to, "  L%d %llu", k, ull(s->checks.l[k]));
    fputs("\n", to);
}

static uint32_t __attribute__((format(printf, 3, 4)))
blame(bool is, FILE *to, const char *format, ...)
{
    va_list args;
    if (!is)
        return 0;
    fprintf(to, "in these seeds ");
    va_start(args, format);
    vfprintf(to, format, args);
    va_end(args);
    fputs("\n", to);
    return 1;
}

uint32_t
tally_blind(const struct tally *t, FILE *to)
{
    uint32_t n = 0;
    if (t->seeds < SEEDS_FOR_ALL)
        return 0;
    for (int f = 0; f < FAULT_END; f++)
        n += blame(t->sum.fired[f] == 0, to, "this fault never fired: %s",
                   fault_name((enum fault)f));
    for (int k = 1; k <= S_MAX; k++)
        n += blame(t->sum.checks.s[k] == 0, to, "nothing was there to hold S%d against", k);
    for (int k = 1; k <= L_MAX; k++)
        n += blame(t->sum.checks.l[k] == 0, to, "nothing was there to hold L%d against", k);
    for (int k = 0; k < RARE_END; k++)
        n += blame(t->with[k] * 100 < t->seeds * SHARE_MIN, to,
                   "too rare, in %.1f %% of them: %s (%s)", percent(t, t->with[k]), rare_name[k],
                   rare_text[k]);
    return n;
}
