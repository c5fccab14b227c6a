/* cli/commands.c — the only list of subcommands, in the order in which the help shows them. */
#include "cli/commands.h"
#include "cli/cli.h"
#include <string.h>

const Command *const cli_commands[] = {
#define COMMAND(name) &command_##name,
#include "cli/commands.def"
#undef COMMAND
    NULL};

const Command *cli_command(const char *name)
{
    for (const Command *const *c = cli_commands; *c; c++)
        if (!strcmp((*c)->name, name))
            return *c;
    return NULL;
}
