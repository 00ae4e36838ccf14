#include "base/instant.h"

/* Days since 1970-01-01 to a civil date; Howard Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms", civil_from_days. */
static void
civil(int64_t days, int *year, int *month, int *day)
{
    int64_t z   = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp  = (5 * doy + 2) / 153;
    *day        = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month      = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year       = (int)(yoe + era * 400 + (*month <= 2));
}

static void
digits(char *out, int64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
}

void
wall_text(struct wall t, char text[WALL_TEXT_BYTES])
{
    const int64_t day_ms = 86400000, min = -62167219200000, max = 253402300799999;
    int64_t       ms     = t.ms < min ? min : t.ms > max ? max : t.ms;
    int64_t       days   = ms / day_ms - (ms % day_ms < 0);
    int64_t       rest   = ms - days * day_ms;
    int           year, month, day;

    civil(days, &year, &month, &day);
    const char *pattern = "0000-00-00T00:00:00.000Z";
    for (int i = 0; i < WALL_TEXT_BYTES; i++)
        text[i] = pattern[i];
    digits(text, year, 4);
    digits(text + 5, month, 2);
    digits(text + 8, day, 2);
    digits(text + 11, rest / 3600000, 2);
    digits(text + 14, rest / 60000 % 60, 2);
    digits(text + 17, rest / 1000 % 60, 2);
    digits(text + 20, rest % 1000, 3);
}
