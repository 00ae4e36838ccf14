#include "base/instant.h"

#include "base/digits.h"

#include <string.h>

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

void
wall_text(struct wall t, char text[WALL_TEXT_BYTES])
{
    const int64_t day_ms = 86400000, min = -62167219200000, max = 253402300799999;
    int64_t       ms   = t.ms < min ? min : t.ms > max ? max : t.ms;
    int64_t       days = ms / day_ms - (ms % day_ms < 0);
    int64_t       rest = ms - days * day_ms;
    int           year, month, day;

    civil(days, &year, &month, &day);
    memcpy(text, "0000-00-00T00:00:00.000Z", WALL_TEXT_BYTES);
    digits_fixed(text, 4, (uint64_t)year);
    digits_fixed(text + 5, 2, (uint64_t)month);
    digits_fixed(text + 8, 2, (uint64_t)day);
    digits_fixed(text + 11, 2, (uint64_t)(rest / 3600000));
    digits_fixed(text + 14, 2, (uint64_t)(rest / 60000 % 60));
    digits_fixed(text + 17, 2, (uint64_t)(rest / 1000 % 60));
    digits_fixed(text + 20, 3, (uint64_t)(rest % 1000));
}
