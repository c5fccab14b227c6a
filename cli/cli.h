/* cli/cli.h — the `pawl` program: one file a subcommand, one row of a table each. */
#pragma once
#include "base/context.h"
#include "cli/options.h"
#include <signal.h>
#include <stdio.h>

typedef struct Cli Cli;

typedef struct Command {
    const char *name;
    const char *args;                   /* as in the usage line: "TASK [-o FILE.pawl]" */
    const char *about;                  /* one line, for the list of commands */
    const char *more;                   /* paragraphs and examples of its own help, or NULL */
    const char *verbs;                  /* first argument, one of "list|show", or NULL */
    uint32_t    min_args, max_args;     /* positional arguments */
    const OptionGroup *const *groups;   /* ends with NULL */
    ExitCode  (*run)(Cli *c);
} Command;

/* One run of the program. Human text goes to `err`, data to `out`. */
struct Cli {
    Context *cx;                        /* of the command line; tasks have contexts of their own */
    const Command *command;
    CommandLine line;
    Options  o;
    const Arg *args; uint32_t n_args;   /* positional */
    FILE    *out, *err;
    bool     colour, terminal;          /* of err */
    bool     progress_shown;            /* a progress line stands on the terminal */
    ExitCode code;                      /* of the first error printed so far */
    Vec(const Source *) inputs;         /* texts read so far: for the reproducer */
};

/* The whole program; `out` and `err` are stdout and stderr, or a test's. Returns the exit code. */
int cli_main(int argc, const char *const *argv, FILE *out, FILE *err);

extern const Command *const cli_commands[];             /* ends with NULL */
const Command *cli_command(const char *name);

/* ---- talking -------------------------------------------------------------------------------- */
void cli_say(Cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));      /* a line on err, unless --quiet */
void cli_detail(Cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* with --verbose only */
void cli_progress(Cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* one line, on terminals only */
void cli_progress_end(Cli *c);
/* Prints and clears the diagnostics of `cx`, keeps the code of the first error. False when there was an error. */
bool cli_flush(Cli *c, Context *cx);
/* cli_flush of the command line's own context, and its code: what a subcommand returns. */
ExitCode cli_end(Cli *c);
/* A usage error at positional argument i: always PAWL_EXIT_INVALID. */
ExitCode cli_bad_arg(Cli *c, uint32_t i, const char *hint, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ---- stopping ------------------------------------------------------------------------------- */
extern volatile sig_atomic_t cli_stop;  /* SIGINT or SIGTERM came; the second one ends the process at once */
bool cli_stopped(Cli *c);               /* true: diagnosed (PAWL_EXIT_STOPPED), once */

/* ---- help and completion (help.c) ----------------------------------------------------------- */
void help_program(const Cli *c, FILE *to);
void help_command(const Cli *c, const Command *command, FILE *to);
bool completion_print(const char *shell, FILE *to);

/* ---- when an assertion fails (reproducer.c) ------------------------------------------------- */
void reproducer_arm(Cli *c);            /* on this thread, until the process ends */
void reproducer_disarm(void);

/* ---- option groups that several commands share (groups.c) ----------------------------------- */
extern const OptionGroup options_general, options_device, options_database, options_passes, options_compile, options_workload,
    options_seed;
