#include "cli/cli.h"

#include "base/nearest.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} command[] = {
#define COMMAND(name, help) {#name, cli_##name, help},
#include "cli/commands.def"
#undef COMMAND
};
enum { COMMANDS = sizeof command / sizeof *command };

static int
help(FILE *to)
{
    fprintf(to, "Hearsay: a broker you can curl, a log you can SELECT, a cluster you can cut in "
                "half.\n\nusage: hearsay COMMAND [OPTION...]\n\n");
    for (unsigned i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", command[i].name, command[i].help);
    fprintf(to, "\n'hearsay COMMAND --help' tells more; 'hearsay --version' the version.\n"
                "\nexit codes: 0 ok, 1 error, 2 wrong use, 3 cannot connect, 5 refused by the "
                "broker, 124 timeout\n");
    return to == stdout ? cli_finish("--help") : EXIT_USAGE;
}

static int
run(const char *name, int argc, char **argv)
{
    const char *all[COMMANDS];
    for (unsigned i = 0; i < COMMANDS; i++) {
        all[i] = command[i].name;
        if (strcmp(name, command[i].name) == 0)
            return command[i].run(argc, argv);
    }
    const char *near = nearest_name(name, all, COMMANDS);
    fprintf(stderr, "hearsay: unknown command '%.40s'", name);
    if (near)
        fprintf(stderr, "; did you mean '%s'?", near);
    fprintf(stderr, " (hearsay --help)\n");
    return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
    cli_standard_streams();
    if (argc < 2)
        return help(stderr);
    const char *first = argv[1];
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return help(stdout);
    if (strcmp(first, "--version") == 0) {
        puts("hearsay " HEARSAY_VERSION);
        return cli_finish("--version");
    }
    if (strcmp(first, "help") == 0) {
        static char help_flag[] = "--help";
        char       *words[]     = {argc > 2 ? argv[2] : NULL, help_flag, NULL};
        return argc > 2 ? run(argv[2], 2, words) : help(stdout);
    }
    return run(first, argc - 1, argv + 1);
}
