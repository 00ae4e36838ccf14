#include "base/nearest.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

/* Levenshtein's distance of two short words. */
static unsigned
distance(const char *a, const char *b)
{
    unsigned row[NEAREST_WORD_MAX + 1];
    size_t   na = strlen(a), nb = strlen(b);
    if (na > NEAREST_WORD_MAX || nb > NEAREST_WORD_MAX)
        return UINT_MAX;
    for (size_t j = 0; j <= nb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        unsigned corner = row[0];
        row[0]          = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            best          = row[j] + 1 < best ? row[j] + 1 : best;
            best          = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            corner        = row[j];
            row[j]        = best;
        }
    }
    return row[nb];
}

const char *
nearest_name(const char *word, const char *const *name, unsigned count)
{
    const char *best      = NULL;
    unsigned    best_away = (unsigned)strlen(word) / 3 + 1;
    for (unsigned i = 0; i < count; i++) {
        unsigned away = distance(word, name[i]);
        if (away <= best_away && (!best || away < best_away)) {
            best      = name[i];
            best_away = away;
        }
    }
    return best;
}
