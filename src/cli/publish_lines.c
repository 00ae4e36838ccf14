#include "cli/publish_lines.h"

#include "cli/lines.h"
#include "cli/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME "publish"

enum { WINDOW = 64, TEXT_BYTES = 700, FLUSH_MS = 100 };

/* Lines in a row of which the same is to be said. */
struct range {
    uint64_t first, last; /* 0: none */
    char     text[TEXT_BYTES];
};

struct stream {
    struct hearsay       *h;
    const struct options *o;
    struct progress       progress;
    uint64_t              line[WINDOW]; /* the numbers of those on their way, a ring */
    unsigned              first;
    struct range          range;
    uint64_t              stored, failed, unknown, twice;
    uint64_t              flushed_ms;
    int                   code;
    bool                  gave_up; /* do not try a million lines one by one */
};

/* ---- what is said of lines ---- */

static void
say_range(struct stream *s)
{
    const struct range *r = &s->range;
    if (r->first == 0)
        return;
    progress_clear(&s->progress);
    if (r->first == r->last)
        fprintf(stderr, "hearsay " NAME ": line %llu: %s\n", (unsigned long long)r->first, r->text);
    else
        fprintf(stderr, "hearsay " NAME ": lines %llu-%llu: %s\n", (unsigned long long)r->first,
                (unsigned long long)r->last, r->text);
    s->range.first = 0;
}

static void say(struct stream *s, uint64_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void
say(struct stream *s, uint64_t line, const char *format, ...)
{
    struct range *r = &s->range;
    char          text[TEXT_BYTES];
    va_list       ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (r->first > 0 && r->last + 1 == line && strcmp(text, r->text) == 0) {
        r->last = line;
        return;
    }
    say_range(s);
    r->first = r->last = line;
    snprintf(r->text, sizeof r->text, "%s", text);
}

/* The worst that happened to any line. */
static void
end_with(struct stream *s, int code)
{
    static const int worst_first[] = {EXIT_UNREACHABLE, EXIT_ERROR, EXIT_REFUSED, EXIT_TIMEOUT};
    for (unsigned i = 0; i < sizeof worst_first / sizeof *worst_first; i++)
        if (s->code == worst_first[i] || code == worst_first[i]) {
            s->code = worst_first[i];
            return;
        }
}

static void
line_stored(struct stream *s, uint64_t line, const struct hearsay_receipt *r, bool enough)
{
    if (s->stored++ == 0) /* from now on a failure passes: the broker may restart */
        hearsay_set_patience(s->h, options_ms(s->o, "timeout"));
    publish_print_receipt(s->o, r);
    if (!enough) {
        say(s, line, "%s", hearsay_text(s->h));
        end_with(s, EXIT_TIMEOUT);
    }
    if (r->again) {
        s->twice++;
        say(s, line, PUBLISH_TWICE);
    }
}

static void
line_unknown(struct stream *s, uint64_t line, const struct hearsay_receipt *r)
{
    s->unknown++;
    end_with(s, EXIT_ERROR);
    if (r->id[0] != '\0')
        say(s, line, "outcome unknown, it would have the id %s: %s", r->id, hearsay_text(s->h));
    else
        say(s, line, "outcome unknown: %s", hearsay_text(s->h));
}

static void
line_failed(struct stream *s, uint64_t line, enum hearsay_status status)
{
    int http = hearsay_http_status(s->h);
    s->failed++;
    say(s, line, "not stored: %s", hearsay_text(s->h));
    end_with(s, status == HEARSAY_INVALID ? EXIT_ERROR : cli_exit_code(status));
    /* Each broker was asked, for as long as it is worth it. */
    if (status == HEARSAY_UNREACHABLE || (status == HEARSAY_REFUSED && http >= 500))
        s->gave_up = true;
}

/* ---- being stopped ---- */

/* What is on its way is settled first, and told; a second signal does not wait for that. */
static volatile sig_atomic_t stopped_by;

static void
on_signal(int signum)
{
    stopped_by = signum;
}

static void
catch_signals(void)
{
    static const int signums[] = {SIGINT, SIGTERM, SIGHUP};
    for (unsigned i = 0; i < sizeof signums / sizeof *signums; i++) {
        struct sigaction old, new = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
        if (sigaction(signums[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(signums[i], &new, NULL);
    }
}

/* ---- the stream ---- */

static void
take_answers(struct stream *s, int down_to)
{
    struct hearsay_receipt r;
    while (hearsay_outstanding(s->h) > down_to) {
        uint64_t            line   = s->line[s->first];
        enum hearsay_status status = hearsay_publish_end(s->h, &r);
        s->first                   = (s->first + 1) % WINDOW;
        if (status == HEARSAY_OK || status == HEARSAY_FEWER)
            line_stored(s, line, &r, status == HEARSAY_OK);
        else if (status == HEARSAY_UNCERTAIN)
            line_unknown(s, line, &r);
        else
            line_failed(s, line, status);
    }
    progress_show(&s->progress, s->stored, "lines/s", "%llu lines acknowledged, %d on their way",
                  (unsigned long long)s->stored, hearsay_outstanding(s->h));
    if (cli_now_ms() - s->flushed_ms >= FLUSH_MS) { /* receipts are news */
        s->flushed_ms = cli_now_ms();
        fflush(stdout);
    }
}

static void
send_line(struct stream *s, struct hearsay_publish *p, uint64_t number, struct str line)
{
    take_answers(s, WINDOW - 1);
    p->body                                                            = line.p;
    p->body_bytes                                                      = line.n;
    s->line[(s->first + (unsigned)hearsay_outstanding(s->h)) % WINDOW] = number;
    enum hearsay_status status = hearsay_publish_begin(s->h, p);
    if (status != HEARSAY_OK)
        line_failed(s, number, status);
}

/* All that is on its way, and what there is to say. */
static void
settle(struct stream *s)
{
    take_answers(s, 0);
    say_range(s);
    fflush(stdout);
}

static void
report(struct stream *s, uint64_t lines)
{
    progress_clear(&s->progress);
    if (s->gave_up || stopped_by)
        fprintf(stderr, "hearsay " NAME ": %s; nothing behind line %llu was sent\n",
                s->gave_up ? "gave up" : "stopped", (unsigned long long)lines);
    if (options_flag(s->o, "quiet"))
        return;
    fprintf(stderr, "%llu published, %llu failed", (unsigned long long)s->stored,
            (unsigned long long)s->failed);
    if (s->unknown > 0)
        fprintf(stderr, ", %llu of unknown outcome", (unsigned long long)s->unknown);
    if (s->twice > 0)
        fprintf(stderr, ", %llu perhaps twice", (unsigned long long)s->twice);
    fputc('\n', stderr);
}

/* Lines leave in a window over one connection.  When the next line is not there yet the
 * window is emptied first, so that `tail -f | hearsay publish --lines` delays nothing. */
int
publish_lines(struct hearsay *h, const struct options *o, struct hearsay_publish *p)
{
    struct stream s = {.h = h, .o = o, .code = EXIT_OK};
    struct lines  in;
    struct str    line;
    uint64_t      number = 0;
    enum err      e      = ERR_OK;

    progress_init(&s.progress, !options_flag(o, "quiet") && !isatty(STDIN_FILENO) &&
                                   !(options_flag(o, "json") && isatty(STDOUT_FILENO)));
    lines_init(&in, STDIN_FILENO);
    catch_signals();
    while (!s.gave_up && !stopped_by) {
        e = lines_next(&in, LINES_ONLY_WHAT_IS_THERE, &line);
        if (e == ERR_MORE) {
            settle(&s);
            e = s.gave_up ? ERR_NOTFOUND : lines_next(&in, LINES_WAIT, &line);
        }
        if (e == ERR_MORE)
            continue;
        if (e == ERR_NOTFOUND || e == ERR_IO)
            break;
        number++;
        if (e == ERR_OK)
            send_line(&s, p, number, line);
        else {
            s.failed++;
            end_with(&s, EXIT_ERROR);
            say(&s, number, "not stored: it has more than 1 MiB");
        }
    }
    int problem = errno;
    settle(&s);
    if (e == ERR_IO) {
        fprintf(stderr, "hearsay " NAME ": cannot read standard input: %s\n", strerror(problem));
        end_with(&s, EXIT_ERROR);
    }
    report(&s, number);
    lines_fini(&in);
    int code = cli_finish(NAME);
    if (stopped_by)
        raise(stopped_by);
    return s.code != EXIT_OK ? s.code : code;
}
