#include "sim/tally.h"

/* Fewer seeds need not meet all there is. */
enum { SEEDS_FOR_ALL = 200, S_MAX = 19, L_MAX = 7 };

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
    sum->gaps += r->gaps;
    sum->latest += r->latest;
    sum->gone += r->gone;
    sum->late += r->late;
    sum->mended += r->mended;
    sum->retired += r->retired;
    for (int f = 0; f < FAULT_END; f++)
        sum->fired[f] += r->fired[f];
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
    fprintf(to,
            "sent: %llu gaps, %llu newest messages; clients were told that %llu messages are "
            "gone, and given %llu late ones; %llu mended, %llu streams retired\n",
            ull(s->gaps), ull(s->latest), ull(s->gone), ull(s->late), ull(s->mended),
            ull(s->retired));
    fputs("fired:", to);
    for (int f = 0; f < FAULT_END; f++)
        fprintf(to, "  %s %llu", fault_name((enum fault)f), ull(s->fired[f]));
    fputs("\nlooked at:", to);
    for (int k = 1; k <= S_MAX; k++)
        fprintf(to, "  S%d %llu", k, ull(s->checks.s[k]));
    for (int k = 1; k <= L_MAX; k++)
        fprintf(to, "  L%d %llu", k, ull(s->checks.l[k]));
    fputs("\n", to);
}

static uint32_t
blind(uint64_t n, const char *kind, const char *name, FILE *to)
{
    if (n == 0)
        fprintf(to, "in all these seeds %s %s\n", kind, name);
    return n == 0;
}

uint32_t
tally_blind(const struct tally *t, FILE *to)
{
    uint32_t n = 0;
    if (t->seeds < SEEDS_FOR_ALL)
        return 0;
    for (int f = 0; f < FAULT_END; f++)
        n += blind(t->sum.fired[f], "this fault never fired:", fault_name((enum fault)f), to);
    return n;
}
