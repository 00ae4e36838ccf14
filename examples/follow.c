/* follow.c - prints what is published, and goes on after it where it ended the last time.
 *
 *     cc follow.c -o follow $(pkg-config --cflags --libs hearsay)
 *     ./follow localhost:3000,localhost:3001 'stocks/#' stocks.cursor
 *
 * The cursor is valid at every broker of the cluster.  It is kept after the messages that it
 * covers were printed: after a crash some come again, none are lost. */
#include <hearsay.h>

#include <stdio.h>
#include <string.h>

static void
load(const char *path, char *cursor, size_t bytes)
{
    FILE *f = fopen(path, "r");
    if (!f || !fgets(cursor, (int)bytes, f))
        strcpy(cursor, "earliest");
    cursor[strcspn(cursor, "\n")] = '\0';
    if (f)
        fclose(f);
}

/* The new one takes the place of the old one at once, or not at all. */
static int
keep(const char *path, const char *cursor)
{
    char  beside[4096];
    FILE *f;
    int   written;
    sprintf(beside, "%.4000s.new", path);
    f = fopen(beside, "w");
    if (!f)
        return 0;
    written = fprintf(f, "%s\n", cursor) > 0;
    return fclose(f) == 0 && written && rename(beside, path) == 0;
}

/* A broker that is down, or not ready yet. */
static int
is_passing(const struct hearsay *h, enum hearsay_status status)
{
    return status == HEARSAY_UNREACHABLE ||
           (status == HEARSAY_REFUSED && hearsay_http_status(h) == 503);
}

int
main(int argc, char **argv)
{
    static char              cursor[(1 << 18) + 2]; /* as long as one may be */
    const char              *filter[1];
    struct hearsay          *h;
    struct hearsay_subscribe s;
    struct hearsay_message   m;
    enum hearsay_status      status;

    if (argc != 4 || strlen(argv[3]) > 4000) {
        fprintf(stderr, "usage: follow BROKERS FILTER CURSOR-FILE\n");
        return 2;
    }
    h = hearsay_open(argv[1]);
    if (!h) {
        fprintf(stderr, "follow: '%s' is no list of brokers\n", argv[1]);
        return 2;
    }
    load(argv[3], cursor, sizeof cursor);
    filter[0] = argv[2];
    memset(&s, 0, sizeof s);
    s.filter       = filter;
    s.filter_count = 1;
    s.from         = cursor;
    do {
        status = hearsay_subscribe(h, &s);
        if (is_passing(h, status))
            fprintf(stderr, "follow: %s; trying on\n", hearsay_text(h));
    } while (is_passing(h, status));
    while (status == HEARSAY_OK || status == HEARSAY_GAP || status == HEARSAY_TIMEOUT ||
           is_passing(h, status)) {
        status = hearsay_next(h, 60000, &m);
        if (status == HEARSAY_OK)
            printf("%s %.*s\n", m.topic, (int)m.body_bytes, (const char *)m.body);
        else if (status == HEARSAY_GAP)
            fprintf(stderr, "follow: %lu messages of %s were removed before they were read\n",
                    (unsigned long)(m.gap_to - m.gap_from + 1), m.origin);
        else if (is_passing(h, status)) /* it goes on trying, in its own time */
            fprintf(stderr, "follow: %s; trying on\n", hearsay_text(h));
        if (status != HEARSAY_OK || !m.cursor)
            continue; /* within a page */
        if (fflush(stdout) != 0 || !keep(argv[3], m.cursor)) {
            perror(argv[3]);
            break;
        }
    }
    if (status != HEARSAY_OK)
        fprintf(stderr, "follow: %s\n", hearsay_text(h));
    hearsay_close(h);
    return 1;
}
