/* cli/commands.h — every subcommand's row. */
#pragma once
#include "cli/cli.h"

#define COMMAND(name) extern const Command command_##name;
#include "cli/commands.def"
#undef COMMAND
