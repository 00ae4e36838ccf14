/* broker.c - hearsay broker: options in, a running server, an exit code. */
#include "cli/cli.h"

#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int
complain(const struct buf *problem, int code)
{
    fprintf(stderr, "hearsay broker: %.*s\n", STR_ARG(buf_str(problem)));
    return code;
}

static void
warn_of_strangers(void)
{
    struct buf names;
    buf_init(&names, 0);
    config_strangers(environ, &names);
    if (names.n > 0)
        tracef(TRACE_WARN, "%.*s", STR_ARG(buf_str(&names)));
    buf_fini(&names);
}

static int
serve(struct config *config, struct buf *problem)
{
    struct server  *s;
    struct endpoint at;
    char            text[ENDPOINT_TEXT_BYTES];
    if (server_open(&s, config, problem) != ERR_OK)
        return complain(problem, EXIT_ERROR);
    warn_of_strangers();
    server_listening(s, &at);
    endpoint_text(&at, text);
    if (config->trace_format == TRACE_JSON)
        tracef(TRACE_INFO, "listening on %s (data in %s)", text, server_data_dir(s));
    else
        fprintf(stderr, "hearsay: listening on %s (data in %s)\n", text, server_data_dir(s));
    server_run(s);
    int code = server_failed(s) ? EXIT_ERROR : EXIT_OK;
    server_free(s);
    return code;
}

static int
act(enum config_do what, struct config *config, struct buf *problem)
{
    switch (what) {
    case CONFIG_RUN:
        return serve(config, problem);
    case CONFIG_CHECK:
        if (server_check(config, problem) != ERR_OK)
            return complain(problem, EXIT_ERROR);
        warn_of_strangers();
        fprintf(stderr, "hearsay broker: the options are fine\n");
        return EXIT_OK;
    case CONFIG_HELP:
        config_help(problem);
        printf("%.*s", STR_ARG(buf_str(problem)));
        return cli_finish("broker");
    case CONFIG_VERSION:
        puts("hearsay " HEARSAY_VERSION);
        return cli_finish("broker");
    case CONFIG_USAGE:
        return complain(problem, EXIT_USAGE);
    case CONFIG_BAD:
        return complain(problem, EXIT_ERROR);
    }
    return EXIT_ERROR;
}

int
cli_broker(int argc, char **argv)
{
    struct config config;
    struct buf    problem;
    buf_init(&problem, 0);
    enum config_do what = config_load(&config, argc, argv, getenv, &problem);
    config.version      = HEARSAY_VERSION;
    int code            = act(what, &config, &problem);
    config_free(&config);
    buf_fini(&problem);
    return code;
}
